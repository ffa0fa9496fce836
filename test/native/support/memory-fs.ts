// A toy filesystem in memory behind the native session: names and inodes in Maps, committed file
// content ("base") in Buffers. It plays the engine: attaches records, seals dirty data by copying
// frozen bytes into the base, answers `need` from the base. Independent of src/fs on purpose.

import type { FileTable, Session } from '../../../native/session.d.ts'
import { sessionAddon } from '../../../src/fuse/addon.ts'

export const ENOENT = 2
export const EEXIST = 17
export const ENOSYS = 38
const ENOTEMPTY = 39
const ENODATA = 61
const EINVAL = 22

interface Node {
  ino: number
  mode: number
  nlink: number
  uid: number
  gid: number
  rdev: number
  names: Map<string, number> // of a directory
  target: string
  base: Buffer
  open: boolean
}

export interface MemoryFsOptions {
  fd: number
  dirtyBytesMax?: number
  cleanBytesMax?: number
  /** Answer `need` only when told (tests of parked reads). */
  manual?: boolean
  readOnly?: boolean
  /** Dirty data is sealed that long after its first byte; 50 ms. */
  sealAfterMs?: number
  /** Any exception of the toy's is EINVAL (requests that no kernel would send). */
  lenient?: boolean
}

export class MemoryFs {
  readonly table: FileTable
  readonly session: Session
  readonly nodes = new Map<number, Node>()
  /** Events as they came: [kind, ino, a, b, c]. */
  readonly events: number[][] = []
  readonly #options: MemoryFsOptions
  readonly #rows = new Uint32Array(512)
  readonly #eventRows = new Float64Array(5 * 256)
  readonly #requests: Buffer
  #nextIno = 2
  #seal = new Map<number, NodeJS.Timeout>()
  #resolveEnded: () => void = () => undefined
  readonly ended = new Promise<void>((resolve) => {
    this.#resolveEnded = resolve
  })
  /** Called for each event, after it was recorded. */
  onEvent: (row: number[]) => void = () => undefined
  /** What becomes of the next job: 0 all of it is settled, 1 its first half, 2 none. */
  spoil: () => number = () => 0
  /** Requests of these opcodes are kept, not answered. */
  readonly ignored = new Set<number>()

  constructor(options: MemoryFsOptions) {
    const addon = sessionAddon()
    this.#options = options
    this.table = addon.createFileTable()
    this.table.setLimits(options.dirtyBytesMax ?? 256 << 20, options.cleanBytesMax ?? 64 << 20)
    this.#make(0o40777).ino = 1
    this.session = addon.createSession({
      fd: options.fd,
      table: this.table,
      readOnly: options.readOnly ?? false,
      onWake: () => this.wake(),
      maxWriteBytes: 1 << 20,
      lifetimeSec: 3600,
    })
    this.#requests = Buffer.from(this.session.requests)
  }

  close(): void {
    for (const timer of this.#seal.values()) clearTimeout(timer)
    this.session.close()
    this.table.close()
  }

  wake(): void {
    for (;;) {
      const events = this.session.takeEvents(this.#eventRows)
      for (let i = 0; i < events; i++) this.#event([...this.#eventRows.subarray(i * 5, i * 5 + 5)])
      const count = this.session.take(this.#rows)
      for (let i = 0; i < count; i++) {
        const offset = this.#rows[i * 2]!
        this.#request(this.#requests.subarray(offset, offset + this.#rows[i * 2 + 1]!))
      }
      this.session.release(count)
      if (count === 0 && events === 0) return
    }
  }

  // ---- the engine's side

  #event(row: number[]): void {
    this.events.push(row)
    const [kind, ino, a, b] = row as [number, number, number, number]
    if (this.#options.manual !== true) {
      if (kind === 1) this.fillFromBase(ino, a, b)
      if (kind === 2) this.#sealLater(ino)
      if (kind === 3 || kind === 4 || kind === 5) this.seal(ino)
      if (kind === 6) for (const node of this.nodes.values()) if (node.open) this.seal(node.ino)
    }
    if (kind === 9) this.#resolveEnded()
    this.onEvent(row)
  }

  #sealLater(ino: number): void {
    if (this.#seal.has(ino)) return
    this.#seal.set(ino, setTimeout(() => this.seal(ino), this.#options.sealAfterMs ?? 50))
  }

  fillFromBase(ino: number, offset: number, length: number): void {
    const node = this.nodes.get(ino)!
    const bytes = Buffer.alloc(length)
    // An old question may reach beyond a base that was cut since: nobody needs that part any more.
    if (offset < node.base.length) node.base.copy(bytes, 0, offset, offset + length)
    this.table.fill(ino, this.table.baseEpoch(ino), offset, bytes)
  }

  /** Moves everything dirty into the base. */
  seal(ino: number): void {
    clearTimeout(this.#seal.get(ino))
    this.#seal.delete(ino)
    const node = this.nodes.get(ino)
    const job = this.table.freeze(ino)
    if (node === undefined || job === undefined) return
    const spoil = this.spoil()
    const base = Buffer.alloc(job[7]!)
    node.base.copy(base, 0, 0, base.length)
    const thawBegin = spoil === 1 ? Math.floor(base.length / 2) : Infinity
    for (let at = 14; at < job.length; at += 3) {
      const offset = job[at]!
      const end = Math.min(offset + job[at + 1]!, thawBegin)
      if (offset < end) this.table.readFrozen(job[0]!, offset, base.subarray(offset, end))
    }
    if (spoil !== 2) node.base = base
    this.table.settle(job[0]!, spoil !== 2, thawBegin)
    if (this.table.isDirty(ino)) this.#sealLater(ino)
  }

  packed(ino: number): Float64Array {
    const into = new Float64Array(12)
    if (this.table.attrs(ino, into)) return into
    const n = this.nodes.get(ino)!
    const now = Date.now() / 1000
    const sec = Math.floor(now)
    into.set([n.mode, n.nlink, n.uid, n.gid, n.rdev, n.base.length, sec, 0, sec, 0, sec, 0])
    return into
  }

  #make(mode: number, uid = 0, gid = 0): Node {
    const dir = (mode & 0o170000) === 0o40000
    const ino = this.nodes.size === 0 ? 1 : this.#nextIno++
    const node: Node = {
      ino,
      mode,
      nlink: dir ? 2 : 1,
      uid,
      gid,
      rdev: 0,
      names: new Map(),
      target: '',
      base: Buffer.alloc(0),
      open: false,
    }
    this.nodes.set(ino, node)
    return node
  }

  #nlink(node: Node, by: number): void {
    node.nlink += by
    const attr = this.packed(node.ino)
    attr[1] = node.nlink
    if (this.table.attrs(node.ino, new Float64Array(12))) this.table.setAttrs(node.ino, 0, attr)
  }

  // ---- requests

  reply(unique: bigint, error: number, payload: Uint8Array = new Uint8Array()): void {
    const record = Buffer.alloc(16 + payload.length)
    record.writeUInt32LE(record.length, 0)
    record.writeInt32LE(-error, 4)
    record.writeBigUInt64LE(unique, 8)
    record.set(payload, 16)
    this.session.reply(record, 1)
  }

  attrBytes(ino: number): Buffer {
    const a = this.packed(ino)
    const out = Buffer.alloc(88)
    out.writeBigUInt64LE(BigInt(ino), 0)
    out.writeBigUInt64LE(BigInt(a[5]!), 8)
    out.writeBigUInt64LE(BigInt(Math.ceil(a[5]! / 512)), 16)
    const seconds = [6, 8, 10]
    seconds.forEach((from, i) => out.writeBigInt64LE(BigInt(a[from]!), 24 + i * 8))
    const words = [7, 9, 11, 0, 1, 2, 3, 4]
    words.forEach((from, i) => out.writeUInt32LE(a[from]!, 48 + i * 4))
    return out
  }

  #attrOut(ino: number): Uint8Array {
    const lifetime = Buffer.alloc(16)
    lifetime.writeUInt32LE(3600, 0)
    return Buffer.concat([lifetime, this.attrBytes(ino)])
  }

  entry(ino: number): Uint8Array {
    const out = Buffer.alloc(40)
    out.writeBigUInt64LE(BigInt(ino), 0)
    out.writeBigUInt64LE(3600n, 16)
    out.writeBigUInt64LE(3600n, 24)
    return Buffer.concat([out, this.attrBytes(ino)])
  }

  #openData(node: Node): void {
    this.table.attach(node.ino, this.packed(node.ino))
    this.table.openData(node.ino)
    node.open = true
  }

  #request(message: Buffer): void {
    const opcode = message.readUInt32LE(4)
    const unique = message.readBigUInt64LE(8)
    if (this.ignored.has(opcode)) return
    try {
      this.reply(unique, 0, this.#answer(opcode, message) ?? new Uint8Array())
    } catch (error) {
      if (typeof error !== 'number' && this.#options.lenient !== true) throw error
      this.reply(unique, typeof error === 'number' ? error : EINVAL)
    }
  }

  #answer(opcode: number, message: Buffer): Uint8Array | undefined {
    const node = this.nodes.get(Number(message.readBigUInt64LE(16)))
    if (node === undefined) throw ENOENT
    const uid = message.readUInt32LE(24)
    const gid = message.readUInt32LE(28)
    const body = message.subarray(40)
    const text = (at: number): string => body.toString('latin1', at, body.indexOf(0, at))
    const add = (name: string, mode: number): Node => {
      if (node.names.has(name)) throw EEXIST
      const made = this.#make(mode, uid, gid)
      node.names.set(name, made.ino)
      return made
    }
    const child = (name: string): Node => {
      const found = this.nodes.get(node.names.get(name) ?? 0)
      if (found === undefined) throw ENOENT
      return found
    }
    const openOut = Buffer.alloc(16)
    switch (opcode) {
      case 1: // LOOKUP
        return this.entry(child(text(0)).ino)
      case 3: // GETATTR
        return this.#attrOut(node.ino)
      case 4: { // SETATTR of a size: the native side has no overlay yet
        this.#openData(node)
        this.table.truncate(node.ino, Number(body.readBigUInt64LE(16)))
        return this.#attrOut(node.ino)
      }
      case 5: // READLINK
        return Buffer.from(node.target, 'latin1')
      case 6: { // SYMLINK
        const made = add(text(0), 0o120777)
        made.target = text(text(0).length + 1)
        made.base = Buffer.alloc(made.target.length)
        return this.entry(made.ino)
      }
      case 8: { // MKNOD
        return this.entry(add(text(16), body.readUInt32LE(0)).ino)
      }
      case 9: // MKDIR
        this.#nlink(node, 1)
        return this.entry(add(text(8), 0o40000 | body.readUInt32LE(0)).ino)
      case 10: { // UNLINK
        const gone = child(text(0))
        node.names.delete(text(0))
        this.#nlink(gone, -1)
        if (gone.nlink === 0) this.table.watchForget(gone.ino)
        return undefined
      }
      case 11: { // RMDIR
        const gone = child(text(0))
        if (gone.names.size > 0) throw ENOTEMPTY
        node.names.delete(text(0))
        this.#nlink(node, -1)
        return undefined
      }
      case 12:
      case 45: { // RENAME, RENAME2
        const at = opcode === 12 ? 8 : 16
        const to = this.nodes.get(Number(body.readBigUInt64LE(0)))!
        const from = text(at)
        const name = text(at + from.length + 1)
        const moved = child(from)
        const over = this.nodes.get(to.names.get(name) ?? 0)
        node.names.delete(from)
        to.names.set(name, moved.ino)
        if (over !== undefined) this.#nlink(over, -1)
        return undefined
      }
      case 13: { // LINK
        const target = this.nodes.get(Number(body.readBigUInt64LE(0)))!
        node.names.set(text(8), target.ino)
        this.#nlink(target, 1)
        return this.entry(target.ino)
      }
      case 14: // OPEN
        this.#openData(node)
        if (body.readUInt32LE(0) & 0o1000) this.table.truncate(node.ino, 0)
        return openOut
      case 35: { // CREATE
        const made = add(text(16), 0o100000 | (body.readUInt32LE(4) & 0o7777))
        this.#openData(made)
        return Buffer.concat([this.entry(made.ino), openOut])
      }
      case 51: { // TMPFILE
        const made = this.#make(0o100600, uid, gid)
        made.nlink = 0
        this.#openData(made)
        this.table.watchForget(made.ino)
        return Buffer.concat([this.entry(made.ino), openOut])
      }
      case 17: { // STATFS
        const statfs = Buffer.alloc(80)
        statfs.writeBigUInt64LE(1n << 28n, 0)
        return statfs
      }
      case 20:
      case 30: { // FSYNC, FSYNCDIR
        if (opcode === 20) this.seal(node.ino)
        const errno = this.table.takeError(node.ino)
        if (errno !== 0) throw errno
        return undefined
      }
      case 27:
        return openOut
      case 29:
        return undefined
      case 28:
      case 44:
        return this.#list(node, opcode === 44, body)
      case 22:
        throw ENODATA
      default:
        throw ENOSYS
    }
  }

  #list(node: Node, plus: boolean, body: Buffer): Uint8Array {
    const names: [string, number][] = [['.', node.ino], ['..', 1], ...node.names]
    const limit = body.readUInt32LE(16)
    const out: Uint8Array[] = []
    let size = 0
    for (let i = Number(body.readBigUInt64LE(8)); i < names.length; i++) {
      const [name, ino] = names[i]!
      const head = Buffer.alloc(24)
      head.writeBigUInt64LE(BigInt(ino), 0)
      head.writeBigUInt64LE(BigInt(i + 1), 8)
      head.writeUInt32LE(name.length, 16)
      head.writeUInt32LE(this.nodes.get(ino)!.mode >> 12, 20)
      const padded = name.padEnd(Math.ceil(name.length / 8) * 8, '\0')
      const parts: Uint8Array[] = [head, Buffer.from(padded, 'latin1')]
      if (plus) parts.unshift(i < 2 ? Buffer.alloc(128) : this.entry(ino))
      const entry = Buffer.concat(parts)
      if (size + entry.length > limit) break
      size += entry.length
      out.push(entry)
    }
    return Buffer.concat(out)
  }
}
