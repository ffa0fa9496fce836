// A place: a directory for a test to work in, and what serves it. By default a lattice mount with a
// LATTICE_HOME of its own; `PLACE=plain` or `PLACE=gocryptfs` runs the same test where its
// expectations were checked against another file system: what fails there is the test's own fault.
// A place closes itself with its test (t.teardown), however that ends. Nothing here works inside a
// mount while a daemon may be dying.

import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export type PlaceKind = 'plain' | 'gocryptfs' | 'lattice'

export interface PlaceOptions {
  /** Everything lies below it; a fresh temporary directory by default. */
  base?: string
  /** LATTICE_HOME, or gocryptfs' store; `base`/home by default. */
  home?: string
  /** Further words for `lattice mount`. */
  words?: string[]
  kind?: PlaceKind
}

export interface Teardown {
  teardown(close: () => void | Promise<void>): void
}

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const MOUNT_TIMEOUT_MS = 30_000
const UNMOUNT_TIMEOUT_MS = 120_000
const POLL_MS = 20
const EXIT_GRACE_MS = 5_000
const STDERR_KEPT_BYTES = 64 * 1024

/** What the environment asks for: PLACE, by default a lattice mount. */
export function placeKind(): PlaceKind {
  const kind = process.env['PLACE'] ?? 'lattice'
  if (kind !== 'plain' && kind !== 'gocryptfs' && kind !== 'lattice') {
    throw new Error(`PLACE=${kind}: plain, gocryptfs or lattice`)
  }
  return kind
}

/** Why nothing can be mounted here; undefined when it can. */
export function noMount(kind: PlaceKind = placeKind()): string | undefined {
  if (kind === 'plain') return undefined
  if (!existsSync('/dev/fuse')) return 'no /dev/fuse'
  if (kind === 'gocryptfs') return hasProgram('gocryptfs') ? undefined : 'no gocryptfs'
  if (process.getuid?.() !== 0 && !hasProgram('fusermount3')) return 'not root, no fusermount3'
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is not built: npm run build`)
  return undefined
}

export function isRoot(): boolean {
  return process.getuid?.() === 0
}

export function hasProgram(name: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status === 0
}

/** A temporary directory that goes with its test. */
export function temporaryDirectory(t: Teardown, mode = 0o755): string {
  const path = mkdtempSync(join(tmpdir(), 'mt-'))
  chmodSync(path, mode)
  t.teardown(() => rmSync(path, { recursive: true, force: true, maxRetries: 3 }))
  return path
}

export class Place {
  readonly kind: PlaceKind
  readonly base: string
  /** Where programs work. */
  readonly directory: string
  /** Where the bytes end up. */
  readonly home: string
  readonly #words: string[]
  #child: ChildProcess | undefined
  #errors = ''

  /** Made and mounted; unmounted when its test ends. */
  static async open(t: Teardown, options: PlaceOptions = {}): Promise<Place> {
    const base = options.base ?? temporaryDirectory(t)
    const place = new Place(base, options)
    t.teardown(() => place.close())
    place.#prepare()
    await place.mount()
    return place
  }

  private constructor(base: string, options: PlaceOptions) {
    this.kind = options.kind ?? placeKind()
    this.base = base
    this.directory = join(base, 'vault')
    this.home = options.home ?? (this.kind === 'plain' ? this.directory : join(base, 'home'))
    this.#words = options.words ?? []
  }

  /** The serving process; 0 when there is none. */
  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** What the serving process wrote to standard error so far (the newest part). */
  get errors(): string {
    return this.#errors
  }

  async mount(): Promise<void> {
    if (this.kind === 'plain') return
    const child = this.#start()
    this.#child = child
    this.#errors = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-STDERR_KEPT_BYTES)
    })
    let told = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (told += text))
    const ended = (): boolean => child.exitCode !== null || child.signalCode !== null
    await until(MOUNT_TIMEOUT_MS, () => `no mount: ${this.#errors}`, () => {
      if (ended()) throw new Error(`mounting ended with ${child.exitCode}: ${this.#errors}`)
      // A dead mount is still in the table, and answers from the kernel's cache: wait for the word.
      if (this.kind === 'lattice' && !told.includes('mounted')) return false
      return isMounted(this.directory)
    })
  }

  /** As umount(8); returns when everything is stored and the serving process has ended. */
  async unmount(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    if (isMounted(this.directory)) unmountAs(this.directory)
    await exit(child, UNMOUNT_TIMEOUT_MS)
    this.#child = undefined
    if (this.kind === 'lattice' && child.exitCode !== 0) {
      const how = child.signalCode ?? child.exitCode
      throw new Error(`the daemon ended with ${how} after umount: ${this.#errors}`)
    }
  }

  async remount(): Promise<void> {
    await this.unmount()
    await this.mount()
  }

  /** SIGKILL; returns when the process is gone, the dead mount stays. */
  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    child.kill('SIGKILL')
    await exit(child, UNMOUNT_TIMEOUT_MS)
    this.#child = undefined
  }

  /** Mounts after a kill; lattice clears the dead mount by itself, others need help. */
  async recover(): Promise<void> {
    if (this.kind === 'gocryptfs') spawnSync('umount', ['-l', this.directory])
    await this.mount()
  }

  isAlive(): boolean {
    const child = this.#child
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  /** Whatever state it is in: no process, no mount afterwards. */
  async close(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (this.kind === 'plain') return
    detach(this.directory)
    if (child !== undefined) {
      await exit(child, EXIT_GRACE_MS).catch(() => child.kill('SIGKILL'))
      await exit(child, EXIT_GRACE_MS)
    }
    detach(this.directory) // mounted meanwhile
  }

  #prepare(): void {
    mkdirSync(this.directory, { recursive: true })
    if (this.kind === 'plain') return
    mkdirSync(this.home, { recursive: true, mode: 0o700 })
    if (this.kind === 'lattice') return
    const passphrase = join(this.base, 'passphrase')
    writeFileSync(passphrase, 'test\n')
    const words = ['-q', '-init', '-scryptn', '10', '-passfile', passphrase, this.home]
    execFileSync('gocryptfs', words)
  }

  #start(): ChildProcess {
    const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe']
    if (this.kind === 'gocryptfs') {
      const words = ['-fg', '-q', '-allow_other', '-passfile', join(this.base, 'passphrase')]
      return spawn('gocryptfs', [...words, this.home, this.directory], { stdio })
    }
    const env = { ...process.env, LATTICE_HOME: this.home }
    const words = [MAIN, 'mount', this.directory, '--foreground', ...this.#words]
    return spawn(process.execPath, words, { stdio, env, cwd: this.base })
  }
}

/** A command of lattice's on this place's LATTICE_HOME. */
export function lattice(place: Place, ...words: string[]): { code: number | null; out: string } {
  const env = { ...process.env, LATTICE_HOME: place.home }
  const result = spawnSync(process.execPath, [MAIN, ...words], { env, encoding: 'utf8' })
  return { code: result.status, out: result.stdout + result.stderr }
}

/** Is something mounted there; never touches it. */
export function isMounted(directory: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8').includes(` ${directory} `)
}

function detach(directory: string): void {
  if (!isMounted(directory)) return
  spawnSync('umount', ['-l', directory], { stdio: 'ignore' })
  if (isMounted(directory)) spawnSync('fusermount3', ['-u', '-z', directory], { stdio: 'ignore' })
}

function unmountAs(directory: string): void {
  const words = isRoot() ? ['umount', directory] : ['fusermount3', '-u', directory]
  execFileSync(words[0] as string, words.slice(1), { timeout: UNMOUNT_TIMEOUT_MS })
}

async function exit(child: ChildProcess, timeoutMs: number): Promise<void> {
  await until(timeoutMs, () => `process ${child.pid} does not end`, () =>
    child.exitCode !== null || child.signalCode !== null)
}

export async function until(
  timeoutMs: number,
  message: () => string,
  check: () => boolean,
): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!check()) {
    if (performance.now() > end) throw new Error(message())
    await delay(POLL_MS)
  }
}
