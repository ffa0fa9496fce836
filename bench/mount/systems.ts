// The file systems that bench/mount.ts compares: how each is set up, mounted and unmounted, and
// which process serves it. Everything lives under one temporary directory and is cleaned up.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export interface System {
  readonly name: string
  /** Where the client works. */
  readonly directory: string
  /** Where the bytes end up. */
  readonly store: string
  mount(): Promise<void>
  unmount(): Promise<void>
  /** The serving process, 0 when the kernel serves alone. */
  pid(): number
}

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url))
const MOUNT_TIMEOUT_MS = 20_000
const UNMOUNT_TIMEOUT_MS = 120_000

export function plainSystem(base: string): System {
  const directory = join(base, 'plain')
  mkdirSync(directory, { recursive: true })
  return {
    name: 'plain',
    directory,
    store: directory,
    mount: async () => undefined,
    unmount: async () => undefined,
    pid: () => 0,
  }
}

export function gocryptfsSystem(base: string): System {
  const store = join(base, 'gocryptfs-store')
  const directory = join(base, 'gocryptfs')
  const passphrase = join(base, 'gocryptfs-passphrase')
  mkdirSync(store, { recursive: true })
  mkdirSync(directory, { recursive: true })
  writeFileSync(passphrase, 'bench\n')
  execFileSync('gocryptfs', ['-q', '-init', '-scryptn', '10', '-passfile', passphrase, store])
  return served('gocryptfs', directory, store, () =>
    spawn('gocryptfs', ['-fg', '-q', '-passfile', passphrase, store, directory], {
      stdio: ['ignore', 'ignore', 'inherit'],
    }),
  )
}

/** `checkout`: whose dist/ is to serve. */
export function latticeSystem(base: string, name = 'lattice', checkout = CHECKOUT): System {
  const store = join(base, `${name}-home`)
  const directory = join(base, name)
  const program = join(checkout, 'dist/cli/main.js')
  mkdirSync(store, { recursive: true, mode: 0o700 })
  mkdirSync(directory, { recursive: true })
  return served(name, directory, store, () =>
    spawn(process.execPath, [program, 'mount', directory, '--foreground'], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, LATTICE_HOME: store },
    }),
  )
}

function served(
  name: string,
  directory: string,
  store: string,
  start: () => ChildProcess,
): System {
  let child: ChildProcess | undefined
  return {
    name,
    directory,
    store,
    pid: () => child?.pid ?? 0,
    async mount() {
      const outside = statSync(join(directory, '..')).dev
      child = start()
      await until(MOUNT_TIMEOUT_MS, `${name} did not mount`, () => {
        if (child?.exitCode !== null) throw new Error(`${name} ended with ${child?.exitCode}`)
        return isMounted(directory) && statSync(directory).dev !== outside
      })
    },
    async unmount() {
      if (child === undefined) return
      const ended = child
      if (isMounted(directory)) execFileSync('umount', [directory])
      await until(UNMOUNT_TIMEOUT_MS, `${name} did not end`, () => ended.exitCode !== null)
      child = undefined
    },
  }
}

export async function cleanUp(base: string, systems: System[]): Promise<void> {
  for (const system of systems) {
    const pid = system.pid()
    if (isMounted(system.directory)) {
      try {
        execFileSync('umount', ['-l', system.directory], { stdio: 'ignore' })
      } catch {
        console.error(`${system.directory} stays mounted`)
      }
    }
    if (pid > 0) await endProcess(pid)
  }
  rmSync(base, { recursive: true, force: true })
}

async function endProcess(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGTERM')
    await delay(2000)
    process.kill(pid, 'SIGKILL')
  } catch {
    return // it ended by itself
  }
}

function isMounted(directory: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8').includes(` ${directory} `)
}

async function until(timeoutMs: number, message: string, check: () => boolean): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!check()) {
    if (performance.now() > end) throw new Error(message)
    await delay(20)
  }
}

/** CPU seconds that a process has used so far, all threads; 0 for pid 0. */
export function processCpuSeconds(pid: number): number {
  if (pid === 0) return 0
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Anonymous resident memory of a process in bytes. */
export function residentAnonBytes(pid: number): number {
  const line = /RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(line?.[1] ?? 0) * 1024
}

export function diskBytes(directory: string): number {
  const out = execFileSync('du', ['-s', '--block-size=1', directory], { encoding: 'utf8' })
  return Number(out.split('\t')[0])
}
