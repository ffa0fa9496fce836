// The harness of mounted tests: a LATTICE_HOME in a temporary directory, the command line and the
// daemon as processes, mounts that are gone when the test ends, however it ends.
//
//   const lattice = await Instance.create(t)
//   const mount = await lattice.mount()          // its directory; served by a process of its own
//   await lattice.sh('git init . && …', mount)   // programs in the mount
//   await lattice.kill9(); await lattice.mount() // crash and recover
//
// The test's own process serves nothing, so it may use the mount directly. With `foreground` the
// daemon is a child of the test; otherwise it is the background daemon that `lattice mount` leaves.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs'
import { rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export const checkout = fileURLToPath(new URL('../..', import.meta.url))

/** What create() needs of a tap test. */
export interface TestLike {
  teardown(task: () => unknown): void
}

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

export interface InstanceOptions {
  /** Where to make the temporary directory; default: the system's (TMPDIR). */
  parent?: string
  env?: Record<string, string>
  /** Run the command line as this user (root only). */
  uid?: number
}

/** Why mounted tests cannot run here, for t.skip; undefined when they can. */
export function cannotMount(): string | undefined {
  return existsSync('/dev/fuse') ? undefined : '/dev/fuse does not exist'
}

/**
 * argv of the command line: compiled when that is fresh, else from TypeScript. LATTICE_MAIN names
 * another compiled main.js.
 */
export function latticeCommand(): string[] {
  const named = process.env['LATTICE_MAIN']
  if (named !== undefined && named !== '') return [process.execPath, named]
  if (isCompiled()) return [process.execPath, join(checkout, 'dist/cli/main.js')]
  const loader = import.meta.resolve('tsx')
  return [process.execPath, '--import', loader, join(checkout, 'src/cli/main.ts')]
}

export class Instance {
  readonly root: string
  readonly home: string
  readonly env: NodeJS.ProcessEnv
  readonly #uid: number | undefined
  readonly #children = new Set<ChildProcess>()
  readonly #mounts = new Set<string>()
  #foreground: ChildProcess | undefined
  /** Standard error of foreground daemons: their log. */
  log = ''

  private constructor(root: string, options: InstanceOptions) {
    this.root = root
    this.home = join(root, 'home')
    this.#uid = options.uid
    this.env = { ...process.env, LATTICE_HOME: this.home, ...options.env }
    delete this.env['INIT_CWD']
    delete this.env['LATTICE_PASSPHRASE_FILE']
  }

  /** Removed, with its processes and mounts, when the test ends. */
  static create(t: TestLike, options: InstanceOptions = {}): Promise<Instance> {
    const root = mkdtempSync(join(options.parent ?? tmpdir(), 'lm-'))
    const instance = new Instance(root, options)
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
    return this.#collect(this.#spawn([...latticeCommand(), ...words], {}))
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
    const child = this.#spawn(argv, {})
    this.#foreground = child
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.log = (this.log + text).slice(-1024 * 1024)
    })
    await new Promise<void>((resolve, reject) => {
      let text = ''
      child.stdout?.setEncoding('utf8').on('data', (part: string) => {
        text += part
        if (/^mounted |"mounted":true/m.test(text)) resolve()
      })
      child.once('close', (code) => {
        const how = code ?? 'a signal'
        reject(new Error(`lattice mount --foreground ended with ${how}:\n${this.log}`))
      })
    })
    return directory
  }

  async umount(directory = this.path('mount'), ...words: string[]): Promise<void> {
    await this.ok('umount', directory, ...words)
    this.#mounts.delete(directory)
  }

  /** Pid of the daemon of this home; undefined when none runs. */
  daemonPid(): number | undefined {
    return daemonPidOf(this.home)
  }

  /** Ends the daemon without any chance to clean up. Its mounts are dead until mounted again. */
  async kill9(): Promise<void> {
    const pid = this.#foreground?.pid ?? this.daemonPid()
    if (pid === undefined) throw new Error('no daemon runs')
    process.kill(pid, 'SIGKILL')
    await untilGone(pid)
    this.#foreground = undefined
  }

  /** A clean end by a signal; returns when the process is gone. */
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
  program(argv: string[], directory: string): Promise<Ran> {
    return this.#collect(this.#spawn(argv, { cwd: directory }))
  }

  /** The background daemon's log. */
  daemonLog(): string {
    const path = join(this.home, 'state/daemon.log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }

  /** Ends every process of this instance and clears its mounts. Idempotent. */
  async destroy(): Promise<void> {
    for (const child of this.#children) kill(child.pid)
    const daemon = this.daemonPid()
    kill(daemon)
    for (const mount of [...this.#mounts, ...mountsBelow(this.root)]) await forceUnmount(mount)
    if (daemon !== undefined) await untilGone(daemon)
    rmSync(this.root, { recursive: true, force: true, maxRetries: 5 })
  }

  #spawn(argv: string[], options: { cwd?: string }): ChildProcess {
    const [command = '', ...words] = argv
    const child = spawn(command, words, {
      cwd: options.cwd ?? this.root,
      env: this.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(this.#uid === undefined ? {} : { uid: this.#uid, gid: this.#uid }),
    })
    this.#children.add(child)
    child.once('close', () => this.#children.delete(child))
    return child
  }

  #collect(child: ChildProcess): Promise<Ran> {
    return new Promise((resolve, reject) => {
      let stdout = ''
      let stderr = ''
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        stdout += text
      })
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        stderr += text
      })
      child.once('error', reject)
      child.once('close', (code, signal) => {
        resolve({ code: code ?? -1, stdout, stderr: `${stderr}${signal ?? ''}` })
      })
    })
  }
}

/** Mount points at or below a path, deepest first. */
export function mountsBelow(path: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const points = lines.map((line) => (line.split(' ')[4] ?? '').replaceAll('\\040', ' '))
  return points.filter((point) => point === path || point.startsWith(`${path}/`)).sort().reverse()
}

export async function untilGone(pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < 60_000; waitedMs += 10) {
    if (!isRunning(pid)) return
    await delay(10)
  }
  throw new Error(`process ${pid} does not end`)
}

/** A zombie counts as gone. */
function isRunning(pid: number): boolean {
  try {
    const state = /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]
    return state !== 'Z' && state !== 'X'
  } catch {
    return false
  }
}

/** Named in the daemon's lock, since a wedged daemon answers nothing. */
function daemonPidOf(home: string): number | undefined {
  try {
    const pid = Number(/^process (\d+)/.exec(readFileSync(join(home, 'lock'), 'utf8'))?.[1])
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    const ours = words.some((word) => /\/(daemon|cli)\/main\.(js|ts)$/.test(word))
    return ours && isRunning(pid) ? pid : undefined
  } catch {
    return undefined // no lock yet, or the process has ended
  }
}

function kill(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function forceUnmount(path: string): Promise<void> {
  return new Promise((resolve) => {
    const argv = process.geteuid?.() === 0 ? ['umount', '-l'] : ['fusermount3', '-u', '-z', '-q']
    const child = spawn(argv[0] ?? '', [...argv.slice(1), path], { stdio: 'ignore', cwd: '/' })
    child.once('error', () => resolve())
    child.once('close', () => resolve())
  })
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
