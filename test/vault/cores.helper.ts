// Several engine cores on simulated disks that exchange batches through logs in memory. Members are
// what control ops of these tests say: a cut, a void batch, a device's name, an epoch.
import { blake2b } from '../../src/crypto/hash.ts'
import { Journal } from '../../src/journal/journal.ts'
import { Ids } from '../../src/ops/ids.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { AuthorId, Name, Op } from '../../src/ops/types.ts'
import type { Standing } from '../../src/state/node-history.ts'
import type { ControlBatch } from '../../src/state/records.ts'
import type { Attr, Ino } from '../../src/vault/buffers.ts'
import type { StateIndex } from '../../src/vault/checkpoint.ts'
import { EngineCore } from '../../src/vault/engine-core.ts'
import type { EngineCoreOptions } from '../../src/vault/engine-core.ts'
import type { LogPort, MembersView } from '../../src/vault/ports.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MemoryIndex } from '../support/memory-index.ts'
import { SeededRandom } from '../support/random.ts'
import { SimDisk } from '../support/sim-disk.ts'

export const vaultId = Buffer.alloc(16, 3)
export const ids = new Ids(Buffer.alloc(32, 7))
export const rootNode = ids.root(vaultId)
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export const authorNamed = (name: string): AuthorId => name.repeat(32).slice(0, 32) as AuthorId
export const epochNamed = (name: string): Buffer => Buffer.from(name.repeat(8).slice(0, 8))

// ---- logs ----

interface Log { blocks: Uint8Array[]; hashes: Buffer[] }

export class MemoryLogs implements LogPort {
  readonly own: AuthorId
  logs = new Map<AuthorId, Log>()
  appends = 0
  #listeners: ((author: AuthorId) => void)[] = []
  #forkListeners: (() => void)[] = []
  isOwnForked = false

  constructor(own: AuthorId) {
    this.own = own
  }

  authors(): AuthorId[] {
    return [...this.logs.keys()].toSorted()
  }

  length(author: AuthorId): number {
    return this.logs.get(author)?.blocks.length ?? 0
  }

  async read(author: AuthorId, seq: number): Promise<Uint8Array | undefined> {
    return this.logs.get(author)?.blocks[seq]
  }

  async treeHash(author: AuthorId, length: number): Promise<Uint8Array | undefined> {
    return this.logs.get(author)?.hashes[length - 1]
  }

  async append(blocks: readonly Uint8Array[]): Promise<void> {
    await turn()
    if (this.isOwnForked) return
    this.appends++
    for (const block of blocks) this.put(this.own, block)
  }

  onGrowth(grown: (author: AuthorId) => void): void {
    this.#listeners.push(grown)
  }

  onOwnFork(forked: () => void): void {
    this.#forkListeners.push(forked)
    if (this.isOwnForked) forked()
  }

  /** A peer holds another branch of the own log. */
  forkOwn(): void {
    this.isOwnForked = true
    for (const listener of this.#forkListeners) listener()
  }

  put(author: AuthorId, block: Uint8Array): void {
    let log = this.logs.get(author)
    if (log === undefined) this.logs.set(author, (log = { blocks: [], hashes: [] }))
    const before = log.hashes.at(-1) ?? Buffer.alloc(32)
    log.hashes.push(Buffer.from(blake2b(32, Buffer.concat([before, block]))))
    log.blocks.push(Uint8Array.from(block))
    for (const listener of this.#listeners) listener(author)
  }

  /** Takes what `other` has beyond the logs here, at most `max` blocks of each author. */
  pull(other: MemoryLogs, max = Infinity): void {
    for (const [author, { blocks }] of other.logs) {
      const from = this.length(author)
      for (const block of blocks.slice(from, from + max)) this.put(author, block)
    }
  }

  /** Loses blocks at the end of the logs. */
  cutOff(random: SeededRandom): void {
    this.#listeners = []
    for (const log of this.logs.values()) {
      if (random.chance(0.5)) continue
      log.blocks.length = log.hashes.length = random.int(0, log.blocks.length + 1)
    }
  }
}

// ---- members ----

export type TestControl =
  | { cut: string; from: number } // latin1 of the author; batches from there on are cut
  | { void: string; seq: number }
  | { label: string; name: string }
  | { epoch: string; after: string } // names
  | { needs: string }

export function controlOp(control: TestControl): Op {
  const body = Buffer.from(JSON.stringify(control))
  return { kind: 'control', control: 'needs' in control ? 30 : 7, critical: true, body }
}

/** Cuts by anybody count; the smallest wins. */
export function foldTestMembers(batches: readonly ControlBatch[]): MembersView {
  const cuts = new Map<string, number>()
  const voids = new Set<string>()
  const labels = new Map<string, string>()
  const after = new Map<string, string>()
  for (const { ops } of batches) {
    for (const { body } of ops) {
      const control = JSON.parse(Buffer.from(body).toString()) as TestControl
      if ('cut' in control) {
        cuts.set(control.cut, Math.min(control.from, cuts.get(control.cut) ?? Infinity))
      } else if ('void' in control) voids.add(`${control.void}${control.seq}`)
      else if ('label' in control) labels.set(control.label, control.name)
      else if ('epoch' in control) after.set(control.epoch, control.after)
    }
  }
  const standing = (author: AuthorId, seq: number): Standing => {
    if (voids.has(`${author}${seq}`)) return 'void'
    return seq >= (cuts.get(author) ?? Infinity) ? 'cut' : 'valid'
  }
  const precedes = (one: Uint8Array, other: Uint8Array): boolean => {
    const wanted = Buffer.from(one).toString('latin1')
    let at: string | undefined = Buffer.from(other).toString('latin1')
    while ((at = after.get(at)) !== undefined) if (at === wanted) return true
    return false
  }
  return { standing, precedes, label: (author) => labels.get(author) ?? '', mayRequire: () => true }
}

// ---- devices ----

/** Keys by epoch name; which of them a device has. */
export class TestKeys {
  readonly known = new Set<string>(['1'])
  sealing = '1'
}

const keyOf = (epoch: Uint8Array, kind: string): Buffer => (
  Buffer.from(blake2b(32, Buffer.concat([epoch, Buffer.from(kind)])))
)

export class Device {
  readonly author: AuthorId
  readonly clock: FakeClock
  readonly random: SeededRandom
  readonly keys = new TestKeys()
  readonly logs: MemoryLogs
  readonly open = new Set<number>()
  /** Since the last start. */
  troubles: unknown[] = []
  rootNode = rootNode
  disk: SimDisk
  index: MemoryIndex
  journal!: Journal
  core!: EngineCore
  isManual = true
  members = foldTestMembers
  contentSyncs = 0
  contentFails = 0

  constructor(name: string, seed: number, author = authorNamed(name)) {
    this.author = author
    this.random = new SeededRandom(seed)
    this.clock = new FakeClock(1_800_000_000_000 + this.random.int(-1e9, 1e9))
    this.logs = new MemoryLogs(this.author)
    this.disk = new SimDisk(seed)
    this.index = this.newIndex()
  }

  newIndex(): MemoryIndex {
    return new MemoryIndex({ rootNode: this.rootNode, pause: turn })
  }

  static async start(name: string, seed: number): Promise<Device> {
    const device = new Device(name, seed)
    await device.start()
    return device
  }

  get tree() {
    return this.core.tree
  }

  async start(): Promise<void> {
    this.journal = await Journal.open({
      directory: '/j', disk: this.disk, vaultId,
      segmentBytes: 1 << 20, firstFileBytes: 8192, spareBytes: 16384,
      durable: this.index.resume === undefined ? undefined : this.index.cursor,
    })
    this.core = await EngineCore.open(this.options())
  }

  options(): EngineCoreOptions {
    const troubles: unknown[] = (this.troubles = [])
    const has = (epoch: Uint8Array, kind: string): Uint8Array | undefined => (
      [...this.keys.known].some((name) => epochNamed(name).equals(epoch))
        ? keyOf(epoch, kind)
        : undefined
    )
    return {
      index: this.index, journal: this.journal, logs: this.logs,
      clock: this.clock, random: this.random,
      keys: {
        vaultId, ids, author: this.author, localKey: Buffer.alloc(32, 5),
        opKey: (epoch) => has(epoch, 'op'),
        controlKey: (epoch) => keyOf(epoch, 'control'),
        current: () => {
          const epochId = epochNamed(this.keys.sealing)
          return { epochId, opKey: keyOf(epochId, 'op'), controlKey: keyOf(epochId, 'control') }
        },
      },
      foldMembers: (batches) => this.members(batches),
      knowsControl: (control) => control !== 30,
      isOpen: (ino) => this.open.has(ino),
      owner: { uid: 1000, gid: 1000 },
      content: {
        sync: async () => {
          await turn()
          this.contentSyncs++
          if (this.contentFails-- > 0) throw new Error('simulated: pack')
        },
      },
      pause: turn,
      isManual: this.isManual,
      onTrouble: (error) => troubles.push(error),
    }
  }

  /** Everything is lost that was not flushed; `cutLogs`: and a part of the logs. */
  async crash(cutLogs = false): Promise<void> {
    this.disk = this.disk.reboot()
    this.index = this.index.crash()
    this.open.clear()
    if (cutLogs) this.logs.cutOff(this.random)
    await this.start()
  }

  async stop(): Promise<void> {
    await this.core.close()
    await this.journal.close()
  }

  async checkpoint(): Promise<void> {
    await this.core.checkpointer.run()
  }

  async sync(): Promise<void> {
    await this.core.sync()
    await this.core.pump()
  }

  async stateHash(): Promise<string> {
    await this.checkpoint()
    return this.index.stateHash()
  }

  /** The state made anew from the journal alone, on an index of its own. Not to be used on. */
  async rebuilt(index?: StateIndex): Promise<Device> {
    const twin = new Device('?', 1)
    Object.assign(twin, { author: this.author, logs: new MemoryLogs(this.author) })
    twin.keys.known.clear()
    for (const name of this.keys.known) twin.keys.known.add(name)
    twin.keys.sealing = this.keys.sealing
    twin.members = this.members
    twin.journal = this.journal
    const options = { ...twin.options(), logs: undefined, readOnly: true }
    twin.core = await EngineCore.open({ ...options, ...(index && { index }) })
    return twin
  }

  // ---- file work ----

  at(path: string): number {
    let ino: number = this.tree.root
    for (const name of path.split('/').filter(Boolean)) {
      const entry = this.tree.lookup(ino as Ino, name as Name)
      if (entry === undefined) throw new Error(`no ${path}`)
      ino = entry.ino
    }
    return ino
  }

  make(path: string, kind: 1 | 2 = KIND_FILE): number {
    const { parent, name } = this.#split(path)
    const init = { kind, mode: 0o644, uid: 1000, gid: 1000, rdev: 0, target: '' }
    return this.tree.make(parent as Ino, name, init).ino
  }

  mkdir(path: string): number {
    return this.make(path, KIND_DIRECTORY)
  }

  /** Content inside the op, or, for packs, as a ref to a chunk. */
  write(ino: number, text: string, inPack = false): void {
    const node = this.tree.node(ino as Ino)
    if (node === undefined) throw new Error('no such inode')
    const { sec, nsec } = this.clock.now()
    const bytes = Buffer.from(text)
    const time = { mtimeSec: sec, mtimeNsec: nsec, ctimeSec: sec, ctimeNsec: nsec }
    const attr: Attr = { ...node.attr, ...time, sizeBytes: bytes.length }
    const chunk = blake2b(32, bytes).toString('latin1') as never
    const ref = { chunk, chunkBytes: bytes.length, begin: 0, length: bytes.length }
    const content = inPack
      ? { kind: 'refs' as const, chunker: 1, refs: [ref] }
      : { kind: 'inline' as const, bytes }
    this.tree.put(ino as Ino, content, attr)
  }

  save(path: string, text: string): void {
    const { parent, name } = this.#split(path)
    const found = this.tree.lookup(parent as Ino, name)
    this.write(found?.ino ?? this.make(path), text)
  }

  unlink(path: string): void {
    const { parent, name } = this.#split(path)
    const { ino } = this.tree.unlink(parent as Ino, name)
    this.tree.release(ino)
  }

  rename(from: string, to: string): void {
    const a = this.#split(from)
    const b = this.#split(to)
    const { replaced } = this.tree.rename(a.parent as Ino, a.name, b.parent as Ino, b.name)
    if (replaced !== undefined) this.tree.release(replaced)
  }

  /** Every path below, sorted: `path kind size content`; with `local`: inos and cookies too. */
  list(local = false): string[] {
    const lines: string[] = []
    const walk = (ino: number, path: string): void => {
      for (const { entry, node } of this.tree.listNodes(ino as Ino, 0, 1e6)) {
        const name = `${path}/${entry.name}`
        const content = node.content?.kind === 'inline'
          ? Buffer.from(node.content.bytes).toString()
          : (node.content?.kind ?? '')
        const { mode, nlink } = node.attr
        const numbers = local ? ` #${entry.ino}.${node.generation} @${entry.cookie}` : ''
        const times = local
          ? ` ${node.attr.mtimeSec} ${node.attr.ctimeSec} ${node.attr.atimeSec}`
          : ''
        lines.push(`${name} ${entry.kind} ${mode} ${nlink} "${content}"${numbers}${times}`)
        if (entry.kind === KIND_DIRECTORY) walk(entry.ino, name)
      }
    }
    walk(this.tree.root, '')
    return lines.toSorted()
  }

  #split(path: string): { parent: number; name: Name } {
    const at = path.lastIndexOf('/')
    return { parent: this.at(path.slice(0, Math.max(at, 0))), name: path.slice(at + 1) as Name }
  }
}

/** All devices know all, and nothing is left to do. */
export async function heal(devices: readonly Device[]): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const device of devices) await device.sync()
    for (const device of devices) for (const other of devices) device.logs.pull(other.logs)
    for (const device of devices) await device.core.pump()
  }
}
