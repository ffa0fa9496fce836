// A disk of the test's own: ext4 in a file, on a loop device, that can lose its power. The shutdown
// ioctl of ext4 without a flush of its log (EXT4_IOC_SHUTDOWN, include/uapi/linux/ext4.h) makes all
// later writes fail and forgets what was not yet synced, as pulling the plug does. Root only.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { hasProgram, isMounted, isRoot, type Teardown } from '../mount/system.helper.ts'

const SHUTDOWN_SOURCE = `
#include <fcntl.h>
#include <linux/types.h>
#include <stdio.h>
#include <sys/ioctl.h>
int main(int argc, char** argv) {
  __u32 withoutLog = 2;
  int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
  if (fd < 0 || ioctl(fd, _IOR('X', 125, __u32), &withoutLog) != 0) { perror(argv[1]); return 1; }
  return 0;
}
`
const UNMOUNT_TRIES = 100

export class LoopDisk {
  readonly directory: string
  readonly #image: string
  readonly #program: string

  /** Why there can be none here. */
  static missing(): string | undefined {
    if (!isRoot()) return 'not root: no loop devices'
    for (const program of ['mkfs.ext4', 'losetup']) {
      if (!hasProgram(program)) return `no ${program}`
    }
    return spawnSync('losetup', ['-f']).status === 0 ? undefined : 'no loop devices'
  }

  /** Made and mounted; gone when the test ends. */
  static async open(t: Teardown, base: string, sizeMiB: number): Promise<LoopDisk> {
    const disk = new LoopDisk(base)
    t.teardown(() => disk.#close())
    execFileSync('truncate', ['-s', `${sizeMiB}M`, disk.#image])
    execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', disk.#image])
    const source = join(base, 'shutdown.cc')
    writeFileSync(source, SHUTDOWN_SOURCE)
    execFileSync('c++', ['-o', disk.#program, source])
    disk.mount()
    return disk
  }

  private constructor(base: string) {
    this.directory = join(base, 'disk')
    this.#image = join(base, 'disk.img')
    this.#program = join(base, 'shutdown')
    mkdirSync(this.directory)
  }

  mount(): void {
    execFileSync('mount', ['-o', 'loop', this.#image, this.directory])
  }

  /** Nothing that was not synced will be there again. */
  cutPower(): void {
    execFileSync(this.#program, [this.directory])
  }

  /** Waits until nobody uses it. */
  async unmount(): Promise<void> {
    for (let i = 0; isMounted(this.directory); i++) {
      const { status, stderr } = spawnSync('umount', [this.directory], { encoding: 'utf8' })
      if (status === 0) return
      if (i === UNMOUNT_TRIES) throw new Error(`the loop disk stays busy: ${stderr}`)
      await delay(50)
    }
  }

  async #close(): Promise<void> {
    await this.unmount().catch(() => spawnSync('umount', ['-l', this.directory]))
  }
}
