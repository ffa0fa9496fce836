// Two devices of one vault in the test's process: `near` is mounted, `far` is elsewhere; their logs
// are exchanged in memory. The mount is used by other processes only: User for calls of node:fs,
// Inside for what only a C++ program sees (remote/inside.cc).

import { execFileSync, fork, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defaultConfig } from '../../src/config/config-schema.ts'
import { boxKeyPair } from '../../src/crypto/sign.ts'
import { newVaultKeys } from '../../src/crypto/vault-keys.ts'
import type { VaultKeys } from '../../src/crypto/vault-keys.ts'
import { SystemRandom } from '../../src/daemon/clock.ts'
import { Engine } from '../../src/daemon/engine.ts'
import { openLog } from '../../src/daemon/log.ts'
import { MountedVault } from '../../src/daemon/mounted-vault.ts'
import { OpenVault } from '../../src/daemon/open-vault.ts'
import { makeStateDirectory } from '../../src/daemon/state-directory.ts'
import type { StateDirectory } from '../../src/daemon/state-directory.ts'
import type { NameMatching } from '../../src/fs/name-keys.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { Name } from '../../src/ops/types.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import { authorOf, createVaultKeys, genesisOf } from '../../src/vault/create.ts'
import { genesisOp } from '../../src/vault/genesis.ts'
import type { VaultMembers } from '../../src/vault/members-view.ts'
import { Membership } from '../../src/vault/membership.ts'
import type { NodeInfo } from '../../src/vault/tree.ts'
import { logsOnly } from '../support/peers.helper.ts'
import { MemoryLogs } from '../vault/cores.helper.ts'
import { detach, temporaryDirectory, until, type Teardown } from './system.helper.ts'

const log = openLog('error')
const WAIT_MS = 20_000

export class Device {
  readonly keys: VaultKeys
  readonly logs: MemoryLogs
  engine!: Engine

  constructor(keys: VaultKeys) {
    this.keys = keys
    this.logs = new MemoryLogs(authorOf(keys))
  }

  async open(state: StateDirectory, names: NameMatching): Promise<void> {
    const { keys: vaultKeys, logs } = this
    const config = defaultConfig()
    const peers = logsOnly(logs)
    this.engine = await Engine.open({
      state, vaultKeys, config, readOnly: false, log, peers, names,
    })
  }

  at(path: string): { parent: Ino; name: Name; node: NodeInfo | undefined } {
    const { tree } = this.engine
    const names = Buffer.from(path).toString('latin1').split('/') as Name[]
    const name = names.pop()!
    const parent = names.reduce((at, one) => tree.lookup(at, one)!.ino, tree.root)
    return { parent, name, node: tree.lookupNode(parent, name) }
  }

  write(path: string, text: string): void {
    const { tree } = this.engine
    const { parent, name, node: old } = this.at(path)
    const init = { kind: KIND_FILE, mode: 0o644, uid: 0, gid: 0, rdev: 0, target: '' } as const
    const node = old ?? tree.make(parent, name, init)
    const bytes = Buffer.from(text)
    const { mtimeSec } = node.attr
    const attr = { ...node.attr, sizeBytes: bytes.length, mtimeSec: mtimeSec + 1 }
    tree.put(node.ino, { kind: 'inline', bytes }, attr)
  }

  mkdir(path: string): void {
    const { parent, name } = this.at(path)
    const init = { kind: KIND_DIRECTORY, mode: 0o755, uid: 0, gid: 0, rdev: 0, target: '' } as const
    this.engine.tree.make(parent, name, init)
  }

  remove(path: string): void {
    const { parent, name } = this.at(path)
    this.engine.tree.unlink(parent, name)
  }

  rename(path: string, to: string): void {
    const from = this.at(path)
    const there = this.at(to)
    this.engine.tree.rename(from.parent, from.name, there.parent, there.name)
  }

  link(path: string, to: string): void {
    const { node } = this.at(path)
    const there = this.at(to)
    this.engine.tree.link(node!.ino, there.parent, there.name)
  }

  chmod(path: string, mode: number): void {
    const { node } = this.at(path)
    this.engine.tree.setAttrs(node!.ino, 1, { ...node!.attr, mode })
  }

  names(path = ''): string[] {
    const { tree } = this.engine
    const ino = path === '' ? tree.root : this.at(path).node!.ino
    const names = tree.list(ino, 0, 1_000_000).map(({ name }) => name)
    return names.map((name) => Buffer.from(name, 'latin1').toString()).toSorted()
  }

  /** Of inline content. */
  read(path: string): string {
    const { node } = this.at(path)
    const content = node?.content
    if (content?.kind !== 'inline') return String(content?.kind)
    return Buffer.from(content.bytes).toString()
  }
}

function joiningKeys(keys: VaultKeys): VaultKeys {
  const { vaultId, idKey, cutKey, epochs } = keys
  const copies = epochs.map((epoch) => ({ ...epoch }))
  return { ...newVaultKeys('second'), vaultId, idKey, cutKey, epochs: copies }
}

export class Pair {
  readonly near: Device
  readonly far: Device
  readonly mount: string
  readonly base: string
  mounted!: MountedVault
  readonly id: string
  #program: string | undefined

  private constructor(near: Device, far: Device, mount: string, base: string, id: string) {
    this.near = near
    this.far = far
    this.mount = mount
    this.base = base
    this.id = id
  }

  static async open(t: Teardown, names: NameMatching = 'bytes'): Promise<Pair> {
    const base = temporaryDirectory(t, 0o700)
    const mount = join(base, 'mount')
    const near = new Device(createVaultKeys('test', 'first'))
    const id = Buffer.from(near.keys.vaultId).toString('hex')
    const far = new Device(joiningKeys(near.keys))
    await near.open(await makeStateDirectory(join(base, 'first')), names)
    await near.engine.core.control([genesisOp(genesisOf(near.keys, 'first'))])
    await far.open(await makeStateDirectory(join(base, 'second')), 'bytes')
    const { members } = near.engine.core.members as VaultMembers
    const { ops } = new Membership(members, near.keys, new SystemRandom()).add({
      device: authorOf(far.keys),
      boxKey: boxKeyPair(far.keys.boxSeed).publicKey,
      role: 'writer',
      label: 'second',
    })
    await near.engine.core.control(ops)
    mkdirSync(mount, { recursive: true })
    const pair = new Pair(near, far, mount, base, id)
    await pair.give()
    const entry = { id, name: 'test', path: mount }
    const options = { readOnly: false, allowOther: false, dev: false, suid: false }
    const vault = new OpenVault(near.engine, undefined, names)
    pair.mounted = await MountedVault.open(entry, vault, options, log)
    t.teardown(() => pair.close())
    await pair.mounted.poked()
    return pair
  }

  /** What the far device did arrives; the kernel has been told. */
  async take(): Promise<void> {
    await this.far.engine.sync()
    await this.far.engine.core.pump()
    this.near.logs.pull(this.far.logs)
    await this.near.engine.core.pump()
    const { applier } = this.near.engine.core
    const length = this.far.engine.core.committer.nextSeq
    if (applier.length(this.far.logs.own) < length) {
      const waiting = this.near.engine.core.waiting().map((one) => JSON.stringify(one))
      throw new Error(`not all of ${length} batches: ${waiting.join()}`)
    }
    await this.mounted.notified()
  }

  /** What was done here goes to the far device. */
  async give(): Promise<void> {
    await this.near.engine.sync()
    await this.near.engine.core.pump()
    this.far.logs.pull(this.near.logs)
    await this.far.engine.core.pump()
  }

  /** take(), until watchers were told. */
  async takeLoudly(): Promise<void> {
    await this.take()
    await this.mounted.poked()
  }

  path(...parts: string[]): string {
    return join(this.mount, ...parts)
  }

  /** remote/inside.cc */
  inside(t: Teardown, ...words: string[]): Promise<Inside> {
    if (this.#program === undefined) {
      this.#program = join(this.base, 'inside')
      const source = fileURLToPath(new URL('remote/inside.cc', import.meta.url))
      const flags = ['-std=c++17', '-Wall', '-Wextra', '-Werror', '-O1']
      execFileSync('c++', [...flags, '-o', this.#program, source])
    }
    return Inside.start(t, this.#program, words)
  }

  async close(): Promise<void> {
    await this.mounted.shutDown().catch((error: unknown) => {
      detach(this.mount)
      throw error
    })
    await this.far.engine.close()
  }
}

export class Inside {
  readonly #child: ChildProcess
  lines: string[] = []

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(t: Teardown, program: string, words: string[]): Promise<Inside> {
    const child = spawn(program, words, { cwd: '/', stdio: ['pipe', 'pipe', 'inherit'] })
    const inside = new Inside(child)
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part
      const lines = text.split('\n')
      text = lines.pop() ?? ''
      inside.lines.push(...lines)
    })
    t.teardown(() => inside.end())
    await inside.sees('ready')
    inside.lines = []
    return inside
  }

  async end(): Promise<void> {
    const { exitCode, signalCode } = this.#child
    if (exitCode !== null || signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }

  /** Waits for a line. */
  async sees(line: string): Promise<void> {
    await until(WAIT_MS, () => `never: ${line}; ${this.lines.join('; ')}`, () => (
      this.lines.includes(line)
    ))
  }

  /** The answer to a line on its standard input. */
  async ask(): Promise<string> {
    const count = this.lines.length
    this.#child.stdin?.write('\n')
    await until(WAIT_MS, () => 'no answer', () => this.lines.length > count)
    return this.lines[count]!
  }

  take(): string[] {
    const { lines } = this
    this.lines = []
    return lines
  }
}

interface Answer {
  id: number
  value?: unknown
  code?: string
}

export interface Stat {
  ino: number
  size: number
  mode: number
  nlink: number
  mtimeMs: number
}

export class User {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #count = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (answer: Answer) => this.#waiting.get(answer.id)?.(answer))
  }

  static async start(t: Teardown): Promise<User> {
    const program = fileURLToPath(new URL('remote-user.helper.ts', import.meta.url))
    const child = fork(program, { execArgv: ['--import', import.meta.resolve('tsx')], cwd: '/' })
    const user = new User(child)
    await new Promise<void>((resolve) => {
      user.#waiting.set(0, () => resolve())
    })
    t.teardown(() => user.end())
    return user
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }

  /** A function of node:fs; throws an Error whose message is the code of its error. */
  do<T = unknown>(call: string, ...args: unknown[]): Promise<T> {
    const id = ++this.#count
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, ({ value, code }) => {
        this.#waiting.delete(id)
        if (code === undefined) resolve(value as T)
        else reject(new Error(code))
      })
      this.#child.send({ id, call, args })
    })
  }

  read(path: string): Promise<string> {
    return this.do('readFileSync', path, 'utf8')
  }

  stat(path: string): Promise<Stat> {
    return this.do('statSync', path)
  }

  list(path: string): Promise<string[]> {
    return this.do<string[]>('readdirSync', path).then((names) => names.toSorted())
  }
}
