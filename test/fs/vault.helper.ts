// A vault's filesystem without a mount, for tests: FileSystem and Files over BuffersTwin, on the
// naive tree and content. Clocks are real, but advance by at least a microsecond at each look.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DiskSpace } from '../../src/fs/disk-space.ts'
import { ErrnoMapper, type Trouble } from '../../src/fs/errno.ts'
import { FileSystem } from '../../src/fs/file-system.ts'
import { BuffersTwin, type TwinOptions } from '../../src/vault/buffers-twin.ts'
import { Files } from '../../src/vault/files.ts'
import type { Clock, Timer } from '../../src/vault/ports.ts'
import { MemoryContent } from '../support/memory-content.ts'
import { MemoryTree } from '../support/memory-tree.ts'

/** Real time that never stands still; timers run `speed` times as fast. */
export class TestClock implements Clock {
  readonly #speed: number
  #lastNs = 0n

  constructor(speed = 1) {
    this.#speed = speed
  }

  nowMs(): number {
    return Math.floor(performance.timeOrigin + performance.now() * this.#speed)
  }

  now(): { sec: number; nsec: number } {
    let ns = BigInt(Date.now()) * 1_000_000n
    if (ns <= this.#lastNs) ns = this.#lastNs + 1000n
    this.#lastNs = ns
    return { sec: Number(ns / 1_000_000_000n), nsec: Number(ns % 1_000_000_000n) }
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const timer = setTimeout(fire, delayMs / this.#speed)
    return { cancel: () => clearTimeout(timer) }
  }
}

export interface MemoryVault {
  fs: FileSystem
  files: Files
  buffers: BuffersTwin
  tree: MemoryTree
  content: MemoryContent
  clock: TestClock
  troubles: Trouble[]
  close: () => Promise<void>
}

export interface MemoryVaultOptions {
  speed?: number
  readOnly?: boolean
  twin?: Partial<TwinOptions>
  spaceBytes?: () => number
  tree?: MemoryTree
}

export function memoryVault(options: MemoryVaultOptions = {}): MemoryVault {
  const directory = mkdtempSync(join(tmpdir(), 'lattice-fs-'))
  const clock = new TestClock(options.speed)
  const buffers = new BuffersTwin({ now: () => clock.now(), ...options.twin })
  const tree = options.tree ?? new MemoryTree(() => clock.now())
  const content = new MemoryContent(buffers)
  const troubles: Trouble[] = []
  const errors = new ErrnoMapper((trouble) => troubles.push(trouble))
  const files = new Files({
    tree,
    content,
    buffers,
    clock,
    toErrno: (error, operation, ino) => errors.toErrno(error, operation, ino),
    spaceBytes: options.spaceBytes,
    refuseWrites: (number) => buffers.refuseWrites(number),
  })
  const space = new DiskSpace(directory, clock)
  const readOnly = options.readOnly ?? false
  const fs = new FileSystem({ tree, files, buffers, clock, space, readOnly })
  const close = async (): Promise<void> => {
    rmSync(directory, { recursive: true, force: true })
    await files.close()
  }
  return { fs, files, buffers, tree, content, clock, troubles, close }
}
