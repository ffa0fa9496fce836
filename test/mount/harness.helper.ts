// The harness of mounted tests, in two shapes. Both close themselves with their test, however that
// ends: no process, no mount, no file is left.
//
//   const place = await Place.open(t)            a directory to work in, served by a child of the
//   await place.kill(); await place.recover()    test; `PLACE=plain` or `PLACE=gocryptfs` runs the
//                                                same test where its expectations were checked
//                                                against others: what fails there is its own fault
//
//   const lattice = await Instance.create(t)     the command line on a LATTICE_HOME of its own, and
//   const mount = await lattice.mount()          the background daemon that `lattice mount` leaves
//   await lattice.sh('git init . && …', mount)
//
// The test's own process serves nothing, so it may use the mounts directly.

import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  detach, hasProgram, isMounted, isRoot, isRunning, mountsBelow, temporaryDirectory, until,
  untilGone, type Teardown,
} from './system.helper.ts'

export const checkout = fileURLToPath(new URL('../..', import.meta.url))

export type PlaceKind = 'plain' | 'gocryptfs' | 'lattice'

const MOUNT_TIMEOUT_MS = 30_000
const UNMOUNT_TIMEOUT_MS = 120_000
const EXIT_GRACE_MS = 5_000
const LOG_KEPT_BYTES = 1024 * 1024

/** What the environment asks for: PLACE, by default a lattice mount. */
export function placeKind(): PlaceKind {
  const kind = process.env['PLACE'] ?? 'lattice'
  if (kind !== 'plain' && kind !== 'gocryptfs' && kind !== 'lattice') {
    throw new Error(`PLACE=${kind}: plain, gocryptfs or lattice`)
  }
  return kind
}

/** Why nothing can be mounted here, for t.skip; undefined when it can. */
export function noMount(kind: PlaceKind = placeKind()): string | undefined {
  if (kind === 'plain') return undefined
  if (!existsSync('/dev/fuse')) return 'no /dev/fuse'
  if (kind === 'gocryptfs') return hasProgram('gocryptfs') ? undefined : 'no gocryptfs'
  return isRoot() || hasProgram('fusermount3') ? undefined : 'not root, no fusermount3'
}

let command: string[] | undefined

/**
 * argv of the command line: compiled when that is fresh, else from TypeScript; decided once, so
 * that a test never meets two versions. LATTICE_MAIN names another compiled main.js.
 */
export function latticeCommand(): readonly string[] {
  command ??= findCommand()
  return command
}

function findCommand(): string[] {
  const named = process.env['LATTICE_MAIN']
  if (named !== undefined && named !== '') return [process.execPath, named]
  if (isCompiled()) return [process.execPath, join(checkout, 'dist/cli/main.js')]
  const loader = import.meta.resolve('tsx')
  return [process.execPath, '--import', loader, join(checkout, 'src/cli/main.ts')]
}

function isCompiled(): boolean {
  const stamp = join(checkout, 'dist/.built')
  if (!existsSync(stamp)) return false
  return newestMs(join(checkout, 'src')) <= statSync(stamp).mtimeMs
}

function newestMs(folder: string): number {
  let newest = statSync(folder).mtimeMs
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    newest = Math.max(newest, entry.isDirectory() ? newestMs(path) : statSync(path).mtimeMs)
  }
  return newest
}

/** A child that serves a mount, and what it says. */
class Server {
  readonly #child: ChildProcess
  #told = ''
  /** Standard error, the newest part of it: the daemon's log. */
  log = ''

  constructor(argv: readonly string[], env: NodeJS.ProcessEnv, cwd: string) {
    const [command = '', ...words] = argv
    this.#child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], env, cwd })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.log = (this.log + text).slice(-LOG_KEPT_BYTES)
    })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#told += text))
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** How it ended. */
  get end(): number | string | null {
    return this.#child.signalCode ?? this.#child.exitCode
  }

  /** `says`: it tells so. A dead mount is in the table as well, and answers from the kernel's
   *  cache. */
  async mounted(directory: string, says: boolean): Promise<void> {
    await until(MOUNT_TIMEOUT_MS, () => `no mount: ${this.log}`, () => {
      if (!this.isAlive) throw new Error(`mounting ended with ${this.end}: ${this.log}`)
      if (says && !/^mounted |"mounted":true/m.test(this.#told)) return false
      return isMounted(directory)
    })
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async gone(timeoutMs: number): Promise<void> {
    await until(timeoutMs, () => `process ${this.pid} does not end`, () => !this.isAlive)
  }
}

export interface PlaceOptions {
  /** Everything lies below it; a fresh temporary directory by default. */
  base?: string
  /** LATTICE_HOME, or gocryptfs' store; `base`/home by default. */
  home?: string
  /** Further words for `lattice mount`. */
  words?: string[]
  kind?: PlaceKind
}

export class Place {
  readonly kind: PlaceKind
  readonly base: string
  /** Where programs work. */
  readonly directory: string
  /** Where the bytes end up. */
  readonly home: string
  readonly #words: string[]
  #server: Server | undefined

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
    return this.#server?.pid ?? 0
  }

  async mount(): Promise<void> {
    if (this.kind === 'plain') return
    this.#server = new Server(this.#argv(), this.#env, this.base)
    await this.#server.mounted(this.directory, this.kind === 'lattice')
  }

  /** As umount(8); returns when everything is stored and the serving process has ended. */
  async unmount(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    if (isMounted(this.directory)) {
      const words = isRoot() ? ['umount'] : ['fusermount3', '-u']
      const options = { timeout: UNMOUNT_TIMEOUT_MS }
      execFileSync(words[0] as string, [...words.slice(1), this.directory], options)
    }
    await server.gone(UNMOUNT_TIMEOUT_MS)
    this.#server = undefined
    if (this.kind === 'lattice' && server.end !== 0) {
      throw new Error(`the daemon ended with ${server.end} after umount: ${server.log}`)
    }
  }

  async remount(): Promise<void> {
    await this.unmount()
    await this.mount()
  }

  /** SIGKILL; returns when the process is gone, the dead mount stays. */
  async kill(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    server.kill()
    await server.gone(UNMOUNT_TIMEOUT_MS)
    this.#server = undefined
  }

  /** Mounts after a kill; lattice clears the dead mount by itself, others need help. */
  async recover(): Promise<void> {
    if (this.kind === 'gocryptfs') spawnSync('umount', ['-l', this.directory])
    await this.mount()
  }

  isAlive(): boolean {
    return this.#server?.isAlive ?? false
  }

  /** Whatever state it is in: no process, no mount afterwards. */
  async close(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (this.kind === 'plain') return
    detach(this.directory)
    if (server !== undefined) {
      await server.gone(EXIT_GRACE_MS).catch(() => server.kill())
      await server.gone(EXIT_GRACE_MS)
    }
    detach(this.directory) // mounted meanwhile
  }

  /** A command of lattice's on this place's LATTICE_HOME. */
  lattice(...words: string[]): { code: number | null; out: string } {
    const [command = '', ...argv] = [...latticeCommand(), ...words]
    const result = spawnSync(command, argv, { env: this.#env, encoding: 'utf8' })
    return { code: result.status, out: result.stdout + result.stderr }
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

  get #env(): NodeJS.ProcessEnv {
    return { ...process.env, LATTICE_HOME: this.home }
  }

  #argv(): string[] {
    if (this.kind === 'gocryptfs') {
      const words = ['-fg', '-q', '-allow_other', '-passfile', join(this.base, 'passphrase')]
      return ['gocryptfs', ...words, this.home, this.directory]
    }
    return [...latticeCommand(), 'mount', this.directory, '--foreground', ...this.#words]
  }
}

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

export class Instance {
  readonly root: string
  readonly home: string
  readonly env: NodeJS.ProcessEnv
  /** What `lattice` is run with, such as in a network of its own. */
  enter: readonly string[] = []
  readonly #children = new Set<ChildProcess>()
  readonly #mounts = new Set<string>()
  #foreground: Server | undefined

  private constructor(root: string) {
    this.root = root
    this.home = join(root, 'home')
    this.env = { ...process.env, LATTICE_HOME: this.home }
    delete this.env['INIT_CWD']
    delete this.env['LATTICE_PASSPHRASE_FILE']
  }

  /** Removed, with its processes and mounts, when the test ends. */
  static create(t: Teardown): Promise<Instance> {
    const instance = new Instance(temporaryDirectory(t, 0o700))
    t.teardown(() => instance.destroy())
    mkdirSync(instance.home, { mode: 0o700 })
    return Promise.resolve(instance)
  }

  /** A path below the temporary directory. */
  path(...parts: string[]): string {
    return join(this.root, ...parts)
  }

  /** Runs `lattice …` to its end. */
  run(...words: string[]): Promise<Ran> {
    return this.program([...this.enter, ...latticeCommand(), ...words], this.root)
  }

  /** As run(); throws unless it ends with 0. Returns stdout. */
  async ok(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...words)
    if (code !== 0) throw new Error(`lattice ${words.join(' ')} ended with ${code}:\n${stderr}`)
    return stdout
  }

  /** As ok(), with --json, parsed. */
  async json<T = Record<string, unknown>>(...words: string[]): Promise<T> {
    return JSON.parse(await this.ok(...words, '--json')) as T
  }

  /** Mounts in the background (default directory: `mount` in the temporary directory). */
  async mount(directory = this.path('mount'), ...words: string[]): Promise<string> {
    this.#mounts.add(directory)
    await this.ok('mount', directory, ...words)
    return directory
  }

  /** Mounts with the daemon as a child of the test; resolves when mounted. */
  async mountForeground(directory = this.path('mount'), ...words: string[]): Promise<string> {
    this.#mounts.add(directory)
    const argv = [...latticeCommand(), 'mount', '--foreground', directory, ...words]
    this.#foreground = new Server(argv, this.env, this.root)
    await this.#foreground.mounted(directory, true)
    return directory
  }

  async umount(directory = this.path('mount'), ...words: string[]): Promise<void> {
    await this.ok('umount', directory, ...words)
    this.#mounts.delete(directory)
  }

  /** Pid of the daemon of this home; undefined when none runs. Named in the daemon's lock, since a
   *  wedged daemon answers nothing. */
  daemonPid(): number | undefined {
    try {
      const lock = readFileSync(join(this.home, 'lock'), 'utf8')
      const pid = Number(/^process (\d+)/.exec(lock)?.[1])
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      const ours = words.some((word) => /\/(daemon|cli)\/main\.(js|ts)$/.test(word))
      return ours && isRunning(pid) ? pid : undefined
    } catch {
      return undefined // no lock yet, or the process has ended
    }
  }

  /** Ends the daemon without any chance to clean up. Its mounts are dead until mounted again. */
  async kill9(): Promise<void> {
    await this.signal('SIGKILL')
  }

  /** Returns when the process is gone; other signals end it cleanly. */
  async signal(name: NodeJS.Signals): Promise<void> {
    const pid = this.#foreground?.pid ?? this.daemonPid()
    if (pid === undefined) throw new Error('no daemon runs')
    process.kill(pid, name)
    await untilGone(pid)
    this.#foreground = undefined
  }

  /** A shell command in `directory`; throws when it fails. Returns stdout. */
  async sh(script: string, directory = this.path('mount')): Promise<string> {
    const ran = await this.program(['bash', '-euo', 'pipefail', '-c', script], directory)
    if (ran.code === 0) return ran.stdout
    throw new Error(`${script}\nended with ${ran.code}:\n${ran.stdout}${ran.stderr}`)
  }

  /** Any program, to its end. */
  program(argv: string[], cwd: string): Promise<Ran> {
    const [command = '', ...words] = argv
    const child = spawn(command, words, { cwd, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#children.add(child)
    return new Promise((resolve, reject) => {
      let stdout = ''
      let stderr = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
      child.once('error', reject)
      child.once('close', (code, signal) => {
        this.#children.delete(child)
        resolve({ code: code ?? -1, stdout, stderr: `${stderr}${signal ?? ''}` })
      })
    })
  }

  /** What the daemon wrote: the background one into a file, one in the foreground to its stderr. */
  daemonLog(): string {
    if (this.#foreground !== undefined) return this.#foreground.log
    const path = join(this.home, 'state/daemon.log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }

  /** Ends every process of this instance and clears its mounts. Idempotent. */
  async destroy(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL')
    this.#foreground?.kill()
    const daemon = this.daemonPid()
    if (daemon !== undefined) process.kill(daemon, 'SIGKILL')
    for (const mount of [...this.#mounts, ...mountsBelow(this.root)]) detach(mount)
    if (daemon !== undefined) await untilGone(daemon)
  }
}
