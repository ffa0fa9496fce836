// NativeBuffers: FileBuffers over the addon's file table. It packs arguments, hands out events in
// order, and turns fetches into promises; whoever drains the session passes the event rows to
// dispatch(). Without a session it drains the table itself, after the call that caused an event.
//
// Invariants: events reach the listener only from dispatch(), never from inside another call of
// this class; a fetch's promise settles exactly once, with 'stale' when the table is closed first;
// one that begins later rejects with 'closed', so that nobody plans it again for ever.

import { assert, must } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import type { FileTable } from '../../native/session.d.ts'
import type {
  Attr,
  BufferEvents,
  DirtyAttr,
  FetchResult,
  FileBuffers,
  FrozenExtent,
  FrozenJob,
  Ino,
  JobId,
  OverlayExtent,
  ReadPiece,
} from '../vault/buffers.ts'
import { sessionAddon } from './addon.ts'

const ATTR_COLUMNS = 12
const DIRTY_COLUMNS = 14
const EVENT_COLUMNS = 5
const PIECE_COLUMNS = 9
const ROWS_PER_TAKE = 256
const KEEP_ALIVE_MS = 2 ** 30

const FETCH_RESULTS: readonly FetchResult[] = ['filled', 'stale', 'damaged', 'io-error']
const STATES: readonly OverlayExtent['state'][] = ['dirty', 'frozen', 'clean']

type BundlePiece = Extract<ReadPiece, { kind: 'bundle' }>

export interface NativeBuffersOptions {
  /** Bytes of dirty memory above which writers wait. */
  dirtyBytesMax: number
  /** Bytes of clean cache that are kept at most. */
  cleanBytesMax: number
}

export class NativeBuffers implements FileBuffers {
  readonly table: FileTable
  /** The blocks that the kernel was told are others now; set by the session. */
  onBlocksMoved: (ino: Ino) => void = () => undefined
  readonly #packed = new Float64Array(ATTR_COLUMNS)
  readonly #dirtyRows = new Float64Array(DIRTY_COLUMNS * ROWS_PER_TAKE)
  readonly #eventRows = new Float64Array(EVENT_COLUMNS * ROWS_PER_TAKE)
  readonly #fetches = new Map<number, (result: FetchResult) => void>()
  /** Referenced while a fetch is under way: the table's own wake does not keep the process. */
  readonly #keepAlive = setInterval(() => undefined, KEEP_ALIVE_MS).unref()
  #events: BufferEvents | undefined
  #refusal = 0
  #closed = false

  constructor(options: NativeBuffersOptions) {
    this.table = sessionAddon().createFileTable()
    this.table.setLimits(options.dirtyBytesMax, options.cleanBytesMax)
    this.table.onWake(() => this.drain())
  }

  /** The number by which seal workers open the same table for readFrozen(). */
  get handle(): number {
    return this.table.handle
  }

  listen(events: BufferEvents): void {
    this.#events = events
  }

  /** Takes what is waiting in the table and hands it out, now. */
  drain(): void {
    for (;;) {
      const rows = this.table.takeEvents(this.#eventRows)
      if (rows === 0) return
      this.dispatch(this.#eventRows, rows)
    }
  }

  /** Hands out `rows` event rows; those of the session itself (9, 10) are the caller's. */
  dispatch(events: Float64Array, rows: number): void {
    // A listener may come back here through drain(), which reuses the buffer: take the rows first.
    const taken = events.slice(0, rows * EVENT_COLUMNS)
    for (let at = 0; at < taken.length; at += EVENT_COLUMNS) {
      this.#dispatchRow(
        taken[at] as number,
        taken[at + 1] as Ino,
        taken[at + 2] as number,
        taken[at + 3] as number,
        taken[at + 4] as number,
      )
    }
  }

  #dispatchRow(kind: number, ino: Ino, a: number, b: number, c: number): void {
    if (kind === 8) {
      const settle = this.#fetches.get(a)
      this.#fetches.delete(a)
      if (this.#fetches.size === 0) this.#keepAlive.unref()
      settle?.(must(FETCH_RESULTS[b], 'fetch result'))
      return
    }
    const events = this.#events
    if (events === undefined) return
    if (kind === 1) events.need(ino, a, b, c !== 0)
    else if (kind === 2) events.dirty(ino)
    else if (kind === 3) events.full(ino)
    else if (kind === 4) events.flush(ino)
    else if (kind === 5) events.released(ino)
    else if (kind === 6) events.pressure()
    else if (kind === 7) events.forgotten(ino)
  }

  /** Stops the table's threads. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.table.close()
    clearInterval(this.#keepAlive)
    for (const settle of this.#fetches.values()) settle('stale')
    this.#fetches.clear()
  }

  // ---- records and attributes

  attach(ino: Ino, attr: Attr): void {
    this.table.attach(ino, this.#pack(attr))
  }

  openData(ino: Ino): void {
    this.table.openData(ino)
  }

  attrs(ino: Ino): Attr | undefined {
    return this.table.attrs(ino, this.#packed) ? unpackAttr(this.#packed, 0) : undefined
  }

  setAttrs(ino: Ino, mask: number, attr: Attr): void {
    this.table.setAttrs(ino, mask, this.#pack(attr))
  }

  changeAttrs(ino: Ino, mask: number, attr: Attr): void {
    this.table.changeAttrs(ino, mask, this.#pack(attr))
  }

  takeDirtyAttrs(): DirtyAttr[] {
    const out: DirtyAttr[] = []
    for (;;) {
      const rows = this.table.takeDirtyAttrs(this.#dirtyRows)
      for (let row = 0; row < rows; row++) {
        const at = row * DIRTY_COLUMNS
        const ino = this.#dirtyRows[at] as Ino
        const mask = this.#dirtyRows[at + 1] as number
        out.push({ ino, mask, attr: unpackAttr(this.#dirtyRows, at + 2) })
      }
      if (rows < ROWS_PER_TAKE) return out
    }
  }

  watchForget(ino: Ino): void {
    this.table.watchForget(ino)
  }

  setBaseHoles(ino: Ino, bytes: number, baseBytes: number): void {
    if (this.table.setBaseHoles(ino, bytes, baseBytes)) this.onBlocksMoved(ino)
  }

  // ---- data

  write(ino: Ino, offset: number, bytes: Uint8Array): boolean {
    return this.table.write(ino, offset, bytes)
  }

  read(ino: Ino, offset: number, length: number): Uint8Array | undefined {
    return this.table.read(ino, offset, length)
  }

  truncate(ino: Ino, sizeBytes: number): void {
    this.table.truncate(ino, sizeBytes)
  }

  zero(ino: Ino, offset: number, length: number, mayGrow: boolean): void {
    this.table.zero(ino, offset, length, mayGrow)
  }

  overlay(ino: Ino, offset: number, end: number): OverlayExtent[] {
    const rows = this.table.overlay(ino, offset, end)
    const out: OverlayExtent[] = []
    for (let at = 0; at < rows.length; at += 4) {
      out.push({
        offset: rows[at] as number,
        length: rows[at + 1] as number,
        state: must(STATES[(rows[at + 2] as number) - 1], 'overlay state'),
        hole: rows[at + 3] !== 0,
      })
    }
    return out
  }

  /** While set (positive errno), writers get this error instead of waiting; 0 ends it. */
  refuseWrites(errno: number): void {
    this.#refusal = errno
    this.table.refuseWrites(errno)
  }

  get writeRefusal(): number {
    return this.#refusal
  }

  // ---- jobs

  freeze(ino: Ino): FrozenJob | undefined {
    const row = this.table.freeze(ino)
    if (row === undefined) return undefined
    const extents: FrozenExtent[] = []
    for (let at = 2 + ATTR_COLUMNS; at < row.length; at += 3) {
      extents.push({
        offset: row[at] as number,
        length: row[at + 1] as number,
        hole: row[at + 2] !== 0,
      })
    }
    return {
      job: row[0] as JobId,
      ino,
      attr: unpackAttr(row, 2),
      extents,
      dataBytes: row[1] as number,
    }
  }

  readFrozen(job: JobId, offset: number, into: Uint8Array): number {
    return this.table.readFrozen(job, offset, into)
  }

  settle(job: JobId, ok: boolean, thawBegin: number): void {
    this.table.settle(job, ok, thawBegin)
  }

  baseEpoch(ino: Ino): number {
    return this.table.baseEpoch(ino)
  }

  replaceBase(ino: Ino, offset: number, length: number): void {
    this.table.replaceBase(ino, offset, length)
  }

  // ---- base content

  fill(ino: Ino, epoch: number, offset: number, bytes: Uint8Array): FetchResult {
    return must(FETCH_RESULTS[this.table.fill(ino, epoch, offset, bytes)], 'fill result')
  }

  fetch(ino: Ino, epoch: number, pieces: ReadPiece[]): FetchResult | Promise<FetchResult> {
    const bundles: BundlePiece[] = []
    for (const piece of pieces) {
      if (piece.kind === 'bundle') {
        bundles.push(piece)
        continue
      }
      const result =
        piece.kind === 'bytes'
          ? this.table.fill(ino, epoch, piece.offset, piece.bytes)
          : this.table.fillHole(ino, epoch, piece.offset, piece.length)
      if (result !== 0) return 'stale'
    }
    if (bundles.length === 0) return 'filled'
    if (this.#closed) throw new LatticeError('closed', 'the buffers are closed')
    const id = this.table.fetch(ino, epoch, pieceRows(bundles))
    if (id < 0) return must(FETCH_RESULTS[-1 - id], 'fetch result')
    return new Promise((resolve) => {
      this.#fetches.set(id, resolve)
      this.#keepAlive.ref()
    })
  }

  setPlaces(ino: Ino, epoch: number, pieces: ReadPiece[]): boolean {
    const bundles = pieces.filter((piece) => piece.kind === 'bundle')
    return this.table.setPlaces(ino, epoch, pieceRows(bundles))
  }

  /** The key that opens the bundles of an epoch (8-byte id, 32-byte key), for fetch(). */
  setBundleKey(epochId: Uint8Array, key: Uint8Array): void {
    this.table.setBundleKey(epochId, key)
  }

  fail(ino: Ino, offset: number, length: number, errno: number): void {
    this.table.fail(ino, offset, length, errno)
  }

  reportError(ino: Ino, errno: number): void {
    this.table.reportError(ino, errno)
  }

  takeError(ino: Ino): number {
    return this.table.takeError(ino)
  }

  // ---- figures

  openCount(ino: Ino): number {
    return this.table.openCount(ino)
  }

  dirtyBytes(ino: Ino): number {
    return this.table.dirtyBytes(ino)
  }

  isDirty(ino: Ino): boolean {
    return this.table.isDirty(ino)
  }

  totals(): { dirtyBytes: number; cleanBytes: number; records: number } {
    const [dirtyBytes, cleanBytes, records] = this.table.totals()
    return {
      dirtyBytes: must(dirtyBytes, 'totals'),
      cleanBytes: must(cleanBytes, 'totals'),
      records: must(records, 'totals'),
    }
  }

  drop(ino: Ino): void {
    this.table.drop(ino)
  }

  #pack(attr: Attr): Float64Array {
    const p = this.#packed
    p[0] = attr.mode
    p[1] = attr.nlink
    p[2] = attr.uid
    p[3] = attr.gid
    p[4] = attr.rdev
    p[5] = attr.sizeBytes
    p[6] = attr.atimeSec
    p[7] = attr.atimeNsec
    p[8] = attr.mtimeSec
    p[9] = attr.mtimeNsec
    p[10] = attr.ctimeSec
    p[11] = attr.ctimeNsec
    return p
  }
}

function pieceRows(pieces: readonly BundlePiece[]): Float64Array {
  const rows = new Float64Array(pieces.length * PIECE_COLUMNS)
  pieces.forEach((piece, i) => {
    const at = i * PIECE_COLUMNS
    rows[at] = piece.offset
    rows[at + 1] = piece.length
    rows[at + 2] = piece.fd
    rows[at + 3] = piece.bundleOffset
    rows[at + 4] = piece.bundleBytes
    rows[at + 5] = piece.plainOffset
    rows[at + 6] = piece.block?.storedBytes ?? 0
    rows[at + 7] = piece.block?.plainBytes ?? 0
    rows[at + 8] = piece.block?.begin ?? 0
  })
  return rows
}

function unpackAttr(from: Float64Array, at: number): Attr {
  assert(at + ATTR_COLUMNS <= from.length, 'packed attributes are cut off')
  return {
    mode: from[at] as number,
    nlink: from[at + 1] as number,
    uid: from[at + 2] as number,
    gid: from[at + 3] as number,
    rdev: from[at + 4] as number,
    sizeBytes: from[at + 5] as number,
    atimeSec: from[at + 6] as number,
    atimeNsec: from[at + 7] as number,
    mtimeSec: from[at + 8] as number,
    mtimeNsec: from[at + 9] as number,
    ctimeSec: from[at + 10] as number,
    ctimeNsec: from[at + 11] as number,
  }
}
