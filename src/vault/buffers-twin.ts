// BuffersTwin: FileBuffers in plain TypeScript. The oracle of the native file table, and the file
// buffers of whatever runs without the addon (tests of fs/ and vault/, the simulator).
//
// One Node per ino; its `extents` say for every range below the size whether it is dirty, frozen,
// clean or absent (buffers.ts). Invariants:
//   - no extent reaches beyond the size; what is beyond the base but below the size is an extent;
//   - frozen extents exist only while `job` does, and the job's own copy of them never changes;
//   - `sizeDirty`: the size was cut since the last freeze, and no extent shows it.
// Events are queued and delivered in a microtask, as the native table's reach JavaScript after the
// call that caused them; deliver() hands them out at once.
// The kernel's side (opens, lookups, flush, release, forget) is played through kernel*().

import { assert, must } from '../util/assert.ts'
import * as port from './buffers.ts'
import type { Attr, BufferEvents, DirtyAttr, FetchResult, FileBuffers } from './buffers.ts'
import type { FrozenJob, Ino, JobId, OverlayExtent, ReadPiece } from './buffers.ts'
import { Extents, joinAlike, type Extent } from './extents.ts'

export const FULL_BYTES = 8 * 1024 * 1024

export interface TwinOptions {
  now: () => { sec: number; nsec: number }
  /** Writers are refused while this much dirty and frozen data is held. */
  dirtyBytesMax?: number
  /** Reads and opens a piece of a sealed bundle; undefined = no such pieces are expected. */
  readBundle?: (piece: Extract<ReadPiece, { kind: 'bundle' }>) => Promise<Uint8Array>
}

interface Job {
  id: JobId
  ino: Ino
  extents: Extent[]
  sizeDirty: boolean
}

interface ParkedRead {
  offset: number
  length: number
  resolve: (bytes: Uint8Array) => void
  reject: (errno: number) => void
}

class Node {
  attr: Attr
  extents: Extents | undefined
  dirtyMask = 0
  sizeDirty = false
  job: Job | undefined
  epoch = 0
  error = 0
  toldDirty = false
  toldFull = false
  watched = false
  opens = 0
  lookups = 0
  /** The kernel has known it: then its record goes when the kernel forgets. */
  seen = false
  lastReadEnd = -1
  /** Ranges that `need` was raised for and that nobody answered yet. */
  asked = new Extents()
  parked: ParkedRead[] = []

  constructor(attr: Attr) {
    this.attr = { ...attr }
  }

  get dirty(): boolean {
    return this.sizeDirty || (this.extents?.some('dirty') ?? false)
  }
}

export class BuffersTwin implements FileBuffers {
  readonly #options: TwinOptions
  readonly #nodes = new Map<Ino, Node>()
  readonly #jobs = new Map<JobId, Job>()
  readonly #dirtyAttrs = new Set<Ino>()
  #events: BufferEvents | undefined
  #queue: ((events: BufferEvents) => void)[] = []
  #jobCounter = 0
  #refusal = 0

  constructor(options: TwinOptions) {
    this.#options = options
  }

  listen(events: BufferEvents): void {
    this.#events = events
  }

  // ---- records and attributes

  attach(ino: Ino, attr: Attr): void {
    const node = this.#nodes.get(ino)
    if (node === undefined) {
      this.#nodes.set(ino, new Node(attr))
      return
    }
    let kept = node.dirtyMask
    if (kept !== 0) kept |= port.ATTR_CTIME
    if (node.extents !== undefined) kept |= port.ATTR_SIZE | port.ATTR_MTIME | port.ATTR_CTIME
    assign(node.attr, port.ATTR_ALL & ~kept, attr)
    node.attr.rdev = attr.rdev
  }

  openData(ino: Ino): void {
    this.#node(ino).extents ??= new Extents()
  }

  attrs(ino: Ino): Attr | undefined {
    const node = this.#nodes.get(ino)
    return node === undefined ? undefined : { ...node.attr }
  }

  setAttrs(ino: Ino, mask: number, attr: Attr): void {
    assign(this.#node(ino).attr, mask, attr)
  }

  changeAttrs(ino: Ino, mask: number, attr: Attr): void {
    assert((mask & port.ATTR_SIZE) === 0, 'changeAttrs: sizes go through truncate')
    const node = this.#node(ino)
    const nlink = node.attr.nlink
    assign(node.attr, mask, attr)
    node.attr.nlink = nlink
    if ((mask & port.ATTR_CTIME) === 0) this.#touch(node, false)
    node.dirtyMask |= mask
    this.#dirtyAttrs.add(ino)
  }

  takeDirtyAttrs(): DirtyAttr[] {
    const out: DirtyAttr[] = []
    for (const ino of this.#dirtyAttrs) {
      const node = this.#node(ino)
      out.push({ ino, mask: node.dirtyMask, attr: { ...node.attr } })
      node.dirtyMask = 0
    }
    this.#dirtyAttrs.clear()
    return out
  }

  watchForget(ino: Ino): void {
    const node = this.#node(ino)
    node.watched = true
    this.#maybeForget(ino, node)
  }

  // ---- data

  write(ino: Ino, offset: number, bytes: Uint8Array): boolean {
    const { node, extents } = this.#data(ino)
    if (bytes.length === 0) return true
    if (this.#memoryBytes() >= (this.#options.dirtyBytesMax ?? Infinity)) {
      this.#tell((events) => events.pressure())
      return false
    }
    const end = offset + bytes.length
    this.#growTo(node, extents, offset)
    extents.put({ begin: offset, end, state: 'dirty', bytes: bytes.slice() })
    node.attr.sizeBytes = Math.max(node.attr.sizeBytes, end)
    this.#changed(ino, node, extents)
    return true
  }

  read(ino: Ino, offset: number, length: number): Uint8Array | undefined {
    const { node, extents } = this.#data(ino)
    const end = Math.max(offset, Math.min(offset + length, node.attr.sizeBytes))
    const sequential = offset === node.lastReadEnd
    node.lastReadEnd = end
    const absent = extents.absent(offset, end)
    if (absent.length === 0) return gather(extents.within(offset, end), offset, end)
    for (const gap of absent) {
      for (const range of node.asked.absent(gap.begin, gap.end)) {
        node.asked.put({ ...range, state: 'clean', bytes: undefined })
        const size = range.end - range.begin
        this.#tell((events) => events.need(ino, range.begin, size, sequential))
      }
    }
    return undefined
  }

  /** As the kernel's READ: waits for absent ranges. Rejects with an errno (a number). */
  async readWait(ino: Ino, offset: number, length: number): Promise<Uint8Array> {
    const bytes = this.read(ino, offset, length)
    if (bytes !== undefined) return bytes
    const { node } = this.#data(ino)
    return new Promise((resolve, reject) => {
      node.parked.push({ offset, length, resolve, reject })
    })
  }

  truncate(ino: Ino, sizeBytes: number): void {
    const { node, extents } = this.#data(ino)
    if (sizeBytes > node.attr.sizeBytes) {
      this.#growTo(node, extents, sizeBytes)
    } else {
      extents.remove(sizeBytes, Infinity)
      node.asked.remove(sizeBytes, Infinity)
      node.attr.sizeBytes = sizeBytes
      node.sizeDirty = true
    }
    this.#changed(ino, node, extents)
    this.#wakeReaders(ino, node)
  }

  zero(ino: Ino, offset: number, length: number, mayGrow: boolean): void {
    const { node, extents } = this.#data(ino)
    const end = mayGrow ? offset + length : Math.min(offset + length, node.attr.sizeBytes)
    if (end <= offset) return
    this.#growTo(node, extents, offset)
    extents.put({ begin: offset, end, state: 'dirty', bytes: undefined })
    node.attr.sizeBytes = Math.max(node.attr.sizeBytes, end)
    this.#changed(ino, node, extents)
    this.#wakeReaders(ino, node)
  }

  overlay(ino: Ino, offset: number, end: number): OverlayExtent[] {
    const pieces = this.#data(ino).extents.within(offset, end)
    const plain = pieces.map(({ begin, end: to, state, bytes }): OverlayExtent => {
      return { offset: begin, length: to - begin, state, hole: bytes === undefined }
    })
    return joinAlike(plain, (a, b) => a.state === b.state)
  }

  // ---- jobs

  freeze(ino: Ino): FrozenJob | undefined {
    const { node, extents } = this.#data(ino)
    assert(node.job === undefined, 'freeze: a job of this ino is in flight')
    if (!node.dirty) return undefined
    const id = ++this.#jobCounter as JobId
    const taken = extents.all.filter((extent) => extent.state === 'dirty')
    const job: Job = { id, ino, extents: taken, sizeDirty: node.sizeDirty }
    extents.move('dirty', 'frozen', Infinity, 'frozen')
    node.job = job
    node.sizeDirty = false
    node.toldFull = false
    this.#jobs.set(id, job)
    let dataBytes = 0
    const list = taken.map(({ begin, end, bytes }) => {
      if (bytes !== undefined) dataBytes += end - begin
      return { offset: begin, length: end - begin, hole: bytes === undefined }
    })
    return { job: id, ino, attr: { ...node.attr }, extents: joinAlike(list), dataBytes }
  }

  readFrozen(id: JobId, offset: number, into: Uint8Array): number {
    const job = must(this.#jobs.get(id), 'readFrozen: no such job')
    let at = offset
    for (const extent of job.extents) {
      const begin = Math.max(at, extent.begin)
      const end = Math.min(offset + into.length, extent.end)
      if (begin >= end) continue
      assert(begin === at, 'readFrozen: outside the job')
      const target = into.subarray(begin - offset, end - offset)
      if (extent.bytes === undefined) target.fill(0)
      else target.set(extent.bytes.subarray(begin - extent.begin, end - extent.begin))
      at = end
    }
    assert(at === offset + into.length, 'readFrozen: outside the job')
    return into.length
  }

  settle(id: JobId, ok: boolean, thawBegin: number): void {
    const job = must(this.#jobs.get(id), 'settle: no such job')
    const { node, extents } = this.#data(job.ino)
    assert(node.job === job, 'settle: not the job in flight')
    this.#jobs.delete(id)
    node.job = undefined
    extents.move('frozen', 'clean', ok ? thawBegin : 0, 'dirty')
    if (!ok && job.sizeDirty) node.sizeDirty = true
    node.epoch++
    if (!node.dirty) node.toldDirty = false
    this.#maybeFull(job.ino, node, extents)
    this.#maybeForget(job.ino, node)
  }

  baseEpoch(ino: Ino): number {
    return this.#node(ino).epoch
  }

  replaceBase(ino: Ino, offset: number, length: number): void {
    const { node, extents } = this.#data(ino)
    assert(node.job === undefined, 'replaceBase: a job is in flight')
    assert(offset <= node.attr.sizeBytes, 'replaceBase: beyond the size')
    extents.remove(offset, offset + length)
    node.attr.sizeBytes = Math.max(node.attr.sizeBytes, offset + length)
    node.epoch++
    if (!node.dirty) node.toldDirty = false
    this.#touch(node, true)
  }

  // ---- base content

  fill(ino: Ino, epoch: number, offset: number, bytes: Uint8Array): FetchResult {
    return this.#fill(ino, epoch, offset, offset + bytes.length, bytes)
  }

  async fetch(ino: Ino, epoch: number, pieces: ReadPiece[]): Promise<FetchResult> {
    for (const piece of pieces) {
      const result = await this.#fetchPiece(ino, epoch, piece)
      if (result !== 'filled') return result
    }
    return 'filled'
  }

  async #fetchPiece(ino: Ino, epoch: number, piece: ReadPiece): Promise<FetchResult> {
    if (piece.kind === 'bytes') return this.fill(ino, epoch, piece.offset, piece.bytes)
    const end = piece.offset + piece.length
    if (piece.kind === 'hole') return this.#fill(ino, epoch, piece.offset, end, undefined)
    const readBundle = must(this.#options.readBundle, 'twin: no reader of bundles')
    try {
      return this.fill(ino, epoch, piece.offset, await readBundle(piece))
    } catch {
      return 'damaged'
    }
  }

  #fill(ino: Ino, epoch: number, offset: number, end: number, bytes?: Uint8Array): FetchResult {
    const node = this.#nodes.get(ino)
    if (node?.extents === undefined || node.epoch !== epoch) return 'stale'
    const to = Math.min(end, node.attr.sizeBytes)
    for (const gap of node.extents.absent(offset, Math.max(offset, to))) {
      const part = bytes?.slice(gap.begin - offset, gap.end - offset)
      node.extents.put({ ...gap, state: 'clean', bytes: part })
    }
    node.asked.remove(offset, end)
    this.#wakeReaders(ino, node)
    return 'filled'
  }

  /** Every read that lacks something asks. */
  setPlaces(): boolean {
    return false
  }

  fail(ino: Ino, offset: number, length: number, errno: number): void {
    const node = this.#nodes.get(ino)
    if (node === undefined) return
    const end = offset + length
    node.asked.remove(offset, end)
    const hit = (read: ParkedRead): boolean =>
      read.offset < end && offset < read.offset + read.length
    const failed = node.parked.filter(hit)
    node.parked = node.parked.filter((read) => !hit(read))
    for (const read of failed) read.reject(errno)
  }

  reportError(ino: Ino, errno: number): void {
    const node = this.#nodes.get(ino)
    if (node !== undefined) node.error = errno
  }

  takeError(ino: Ino): number {
    const node = this.#nodes.get(ino)
    if (node === undefined) return 0
    const error = node.error
    node.error = 0
    return error
  }

  openCount(ino: Ino): number {
    return this.#nodes.get(ino)?.opens ?? 0
  }

  dirtyBytes(ino: Ino): number {
    return this.#nodes.get(ino)?.extents?.dataBytes('dirty') ?? 0
  }

  isDirty(ino: Ino): boolean {
    return this.#nodes.get(ino)?.dirty ?? false
  }

  /** It tells no blocks. */
  setBaseHoles(): void {}

  totals(): { dirtyBytes: number; cleanBytes: number; records: number } {
    let cleanBytes = 0
    for (const node of this.#nodes.values()) cleanBytes += node.extents?.dataBytes('clean') ?? 0
    return { dirtyBytes: this.#memoryBytes(), cleanBytes, records: this.#nodes.size }
  }

  drop(ino: Ino): void {
    const node = this.#nodes.get(ino)
    if (node === undefined) return
    assert(node.job === undefined, 'drop: frozen')
    assert(node.opens === 0, 'drop: open')
    this.#nodes.delete(ino)
    this.#dirtyAttrs.delete(ino)
  }

  /** While set (positive errno), writers get this error instead of waiting; 0 ends it. */
  refuseWrites(errno: number): void {
    this.#refusal = errno
  }

  get writeRefusal(): number {
    return this.#refusal
  }

  // ---- the kernel's side

  kernelLookup(ino: Ino): void {
    const node = this.#node(ino)
    node.lookups++
    node.seen = true
  }

  kernelForget(ino: Ino, count: number): void {
    const node = this.#nodes.get(ino)
    if (node === undefined) return
    assert(node.lookups >= count, 'forget: more than looked up')
    node.lookups -= count
    this.#maybeForget(ino, node)
  }

  kernelOpen(ino: Ino): void {
    const node = this.#node(ino)
    node.opens++
    node.seen = true
  }

  kernelFlush(ino: Ino): number {
    if (this.isDirty(ino)) this.#tell((events) => events.flush(ino))
    return this.takeError(ino)
  }

  kernelRelease(ino: Ino): void {
    const node = this.#node(ino)
    assert(node.opens > 0, 'release: not open')
    node.opens--
    if (node.opens > 0) return
    this.#tell((events) => events.released(ino))
    this.#maybeForget(ino, node)
  }

  /** Hands out what is queued, now. */
  deliver(): void {
    while (this.#queue.length > 0) {
      const queue = this.#queue
      this.#queue = []
      for (const event of queue) if (this.#events !== undefined) event(this.#events)
    }
  }

  // ---- inside

  #node(ino: Ino): Node {
    return must(this.#nodes.get(ino), () => `no record of ino ${ino}`)
  }

  #data(ino: Ino): { node: Node; extents: Extents } {
    const node = this.#node(ino)
    return { node, extents: must(node.extents, () => `ino ${ino} has no overlay`) }
  }

  #memoryBytes(): number {
    let sum = 0
    for (const { extents } of this.#nodes.values()) {
      if (extents !== undefined) sum += extents.dataBytes('dirty') + extents.dataBytes('frozen')
    }
    return sum
  }

  #growTo(node: Node, extents: Extents, end: number): void {
    const begin = node.attr.sizeBytes
    if (end <= begin) return
    extents.put({ begin, end, state: 'dirty', bytes: undefined })
    node.attr.sizeBytes = end
  }

  #changed(ino: Ino, node: Node, extents: Extents): void {
    this.#touch(node, true)
    if (!node.toldDirty) {
      node.toldDirty = true
      this.#tell((events) => events.dirty(ino))
    }
    this.#maybeFull(ino, node, extents)
  }

  #maybeFull(ino: Ino, node: Node, extents: Extents): void {
    if (node.toldFull || extents.dataBytes('dirty') < FULL_BYTES) return
    node.toldFull = true
    this.#tell((events) => events.full(ino))
  }

  #touch(node: Node, modified: boolean): void {
    const { sec, nsec } = this.#options.now()
    node.attr.ctimeSec = sec
    node.attr.ctimeNsec = nsec
    if (!modified) return
    node.attr.mtimeSec = sec
    node.attr.mtimeNsec = nsec
  }

  #wakeReaders(ino: Ino, node: Node): void {
    const parked = node.parked
    node.parked = []
    for (const read of parked) {
      const bytes = this.read(ino, read.offset, read.length)
      if (bytes === undefined) node.parked.push(read)
      else read.resolve(bytes)
    }
  }

  #maybeForget(ino: Ino, node: Node): void {
    if (node.lookups > 0 || node.opens > 0) return
    if (node.dirty || node.job !== undefined || node.dirtyMask !== 0) return
    if (!node.watched && !node.seen) return
    this.#nodes.delete(ino)
    if (node.watched) this.#tell((events) => events.forgotten(ino))
  }

  #tell(event: (events: BufferEvents) => void): void {
    if (this.#events === undefined) return
    this.#queue.push(event)
    if (this.#queue.length === 1) queueMicrotask(() => this.deliver())
  }
}

/** Copies the attributes in `mask`, and nlink. */
function assign(target: Attr, mask: number, from: Attr): void {
  target.nlink = from.nlink
  if (mask & port.ATTR_MODE) target.mode = from.mode
  if (mask & port.ATTR_UID) target.uid = from.uid
  if (mask & port.ATTR_GID) target.gid = from.gid
  if (mask & port.ATTR_SIZE) target.sizeBytes = from.sizeBytes
  if (mask & port.ATTR_ATIME) {
    target.atimeSec = from.atimeSec
    target.atimeNsec = from.atimeNsec
  }
  if (mask & port.ATTR_MTIME) {
    target.mtimeSec = from.mtimeSec
    target.mtimeNsec = from.mtimeNsec
  }
  if (mask & port.ATTR_CTIME) {
    target.ctimeSec = from.ctimeSec
    target.ctimeNsec = from.ctimeNsec
  }
}

function gather(pieces: Extent[], begin: number, end: number): Uint8Array {
  const out = new Uint8Array(end - begin)
  for (const piece of pieces) if (piece.bytes) out.set(piece.bytes, piece.begin - begin)
  return out
}
