// Files: the content of every file that is open, dirty or not yet put. It stands between the
// buffers (plaintext in RAM), the content store (sealed) and the tree (which content a file has).
//
// One OpenFile per ino, made at open or at the first change, gone when nobody has the file open and
// everything has been put. Size and times of a file with a record are the buffers'; in the gap
// between seal and put they are this class's; otherwise the tree's: see attrs().
// All methods run on the engine's thread. Errors are LatticeErrors of the ports, unchanged.

import { must } from '../util/assert.ts'
import { ATTR_CTIME, ATTR_MTIME, ATTR_SIZE } from './buffers.ts'
import type { Attr, BufferEvents, FileBuffers, Ino } from './buffers.ts'
import { isSparse } from './content.ts'
import type { ContentStore, WorkingContent } from './content.ts'
import type { Clock, JournalPort, Timer } from './ports.ts'
import type { NodeInfo, Tree, UnsealedContent } from './tree.ts'
import { FileReader } from './file-reader.ts'
import type { HeldContents } from './held.ts'
import { FileSealer } from './file-sealer.ts'
import { OpenFile, SEAL_FINAL, SEAL_PARTIAL, SEAL_URGENT } from './open-file.ts'
import { Orphans } from './orphans.ts'

const HURRY_MS = 5
const MODE_TYPE = 0o170000
const MODE_DIRECTORY = 0o040000
/** Beyond it, what the kernel has forgotten is taken out. */
const WITH_DATA_COUNT = 4096

export interface FilesOptions {
  tree: Tree
  content: ContentStore
  buffers: FileBuffers
  clock: Clock
  /** Positive errno of anything thrown; logs the cause of an EIO once. */
  toErrno: (error: unknown, operation: string, ino: number) => number
  /** Bytes of disk that new content may still take, the reserve not counted. Must not block. */
  spaceBytes?: (() => number) | undefined
  /** Small chunks go there: none while it cannot be flushed. */
  journal?: Pick<JournalPort, 'trouble' | 'flush'> | undefined
  /** Writers get this errno instead of waiting for memory; 0 = they may write again. */
  refuseWrites?: ((errno: number) => void) | undefined
  /** Whether other devices are to see changes at once. */
  isShared?: (() => boolean) | undefined
  /** Keeps what cannot be put yet; none: it stays in RAM, and whoever wants it durable is told. */
  held?: HeldContents | undefined
}

export class Files implements UnsealedContent, BufferEvents {
  readonly orphans: Orphans
  readonly #tree: Tree
  readonly #content: ContentStore
  readonly #buffers: FileBuffers
  readonly #clock: Clock
  readonly #sealer: FileSealer
  readonly #reader: FileReader
  readonly #files = new Map<Ino, OpenFile>()
  /** Inodes whose records may hold content: the buffers keep it until the kernel forgets them. */
  #withData = new Set<Ino>()
  #withDataMax = WITH_DATA_COUNT
  readonly #toErrno: FilesOptions['toErrno']
  readonly #held: HeldContents | undefined

  /** Becomes the listener of `buffers`. */
  constructor(options: FilesOptions) {
    this.#tree = options.tree
    this.#content = options.content
    this.#buffers = options.buffers
    this.#clock = options.clock
    this.#toErrno = options.toErrno
    this.#held = options.held
    const { spaceBytes, refuseWrites, journal } = options
    const idle = (file: OpenFile): void => this.#maybeClose(file)
    const mayPut = (file: OpenFile): boolean => this.#mayPut(file)
    this.#sealer = new FileSealer({ ...options, spaceBytes, refuseWrites, journal }, mayPut, idle)
    this.#reader = new FileReader(options, idle)
    const discard = (ino: Ino): void => this.#discard(ino)
    this.orphans = new Orphans(this.#tree, this.#buffers, discard, (ino) => this.isInUse(ino))
    this.#buffers.listen(this)
  }

  get openFiles(): number {
    return this.#files.size
  }

  /** Files whose last content is on this disk only, and waits for content of others. */
  get heldFiles(): number {
    return this.#held?.count ?? 0
  }

  // ---- content that waits for others (held.ts)

  /** Takes up what was held at the last end. Once, before anybody uses the files. */
  async restoreHeld(): Promise<void> {
    await this.#held?.restore(({ ino, isDetached }, working, attr) => {
      if (this.#files.has(ino)) return undefined
      const file = new OpenFile(ino, working, attr)
      file.isHeld = true
      this.#files.set(ino, file)
      if (isDetached) this.orphans.addDetached(ino)
      this.#sealer.markDirty(file)
      return file
    })
  }

  /** Others came, or know more. */
  retryHeld(): void {
    this.#sealer.retryHeld()
  }

  // ---- attributes

  /** The newest attributes: the record's, or the tree's with a size that is not put yet. */
  attrs(ino: Ino, treeAttr: Attr): Attr {
    const held = this.#buffers.attrs(ino)
    if (held !== undefined) return held
    const file = this.#files.get(ino)
    if (file === undefined || !file.unput) return treeAttr
    const { mtimeSec, mtimeNsec, ctimeSec, ctimeNsec } = file.attr
    const { sizeBytes } = file.working
    return { ...treeAttr, sizeBytes, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec }
  }

  /** The kernel will hear of the file: if it has holes, the record that it gets tells so. Not for
   *  records that are there: a file that was opened may be cut without us. */
  tellHoles({ ino, content, attr }: NodeInfo): void {
    const { sizeBytes } = attr
    if (!isSparse(content, sizeBytes)) return
    if (this.#files.has(ino) || this.#buffers.attrs(ino) !== undefined) return
    this.#buffers.attach(ino, attr)
    this.#countHoles(ino, this.#content.open(content, sizeBytes))
  }

  /** The tree has all there is to say of the node, holes included: it is neither open nor sealed
   *  without being put. The buffers may still have a record of it. */
  isAtRest({ ino, content, attr }: NodeInfo): boolean {
    return !this.#files.has(ino) && !isSparse(content, attr.sizeBytes)
  }

  #countHoles(ino: Ino, working: WorkingContent): void {
    this.#buffers.setBaseHoles(ino, this.#content.holeBytes(working), working.sizeBytes)
  }

  /**
   * Brings attributes that the buffers answered themselves to the tree: before every change of a
   * name and every commit. The mtime of unsealed content comes with its put.
   */
  drainAttrs(): void {
    for (const { ino, mask, attr } of this.#buffers.takeDirtyAttrs()) {
      if (this.#tree.node(ino) === undefined) continue
      const explicit = mask & ~(this.isUnsealed(ino) ? ATTR_SIZE | ATTR_MTIME : ATTR_SIZE)
      if (explicit !== 0) this.#tree.setAttrs(ino, explicit, attr)
    }
  }

  // ---- open, truncate

  /** The file is about to be opened, or changed without being open. With `prefill`, small content
   * is
   *  brought in at once. The ino must be a regular file of the tree. */
  open(ino: Ino, prefill: boolean): void {
    const file = this.#open(ino)
    if (prefill) this.#reader.prefill(file)
  }

  /** Sets the size, whether somebody has the file open or not. `opening`: an open follows, and with
   *  it a close; nothing is sealed before that. */
  truncate(ino: Ino, sizeBytes: number, opening: boolean): void {
    const file = this.#open(ino)
    this.#buffers.truncate(ino, sizeBytes)
    this.#sealer.markDirty(file)
    if (opening || this.#buffers.openCount(ino) > 0) return
    this.#sealer.request(file, SEAL_FINAL)
  }

  /** Makes the range a hole; grows the file only if it may. */
  zero(ino: Ino, offset: number, length: number, mayGrow: boolean): void {
    const file = this.#open(ino)
    this.#buffers.zero(ino, offset, length, mayGrow)
    if (this.#buffers.isDirty(ino)) this.#sealer.markDirty(file)
  }

  #open(ino: Ino): OpenFile {
    const known = this.#files.get(ino)
    if (known !== undefined) {
      if (this.#buffers.attrs(ino) === undefined) {
        this.#buffers.attach(ino, this.attrs(ino, this.#node(ino).attr))
      }
      this.#openData(ino)
      return known
    }
    const node = this.#node(ino)
    const working = this.#content.open(node.content, node.attr.sizeBytes)
    const file = new OpenFile(ino, working, node.attr)
    this.#files.set(ino, file)
    if (this.#buffers.attrs(ino) === undefined) this.#buffers.attach(ino, node.attr)
    this.#openData(ino)
    this.#countHoles(ino, working)
    return file
  }

  #openData(ino: Ino): void {
    this.#buffers.openData(ino)
    this.#withData.add(ino)
    if (this.#withData.size <= this.#withDataMax) return
    const known = [...this.#withData].filter((one) => this.#buffers.attrs(one) !== undefined)
    this.#withData = new Set(known)
    this.#withDataMax = Math.max(WITH_DATA_COUNT, 2 * known.length)
  }

  // ---- sealing, from outside

  // ---- changes by other devices

  /** Of files that somebody has open, or that are not stored yet. */
  openInos(): Ino[] {
    return [...this.#files.keys()].filter((ino) => (
      this.#buffers.openCount(ino) > 0 || this.isUnsealed(ino)
    ))
  }

  /** Somebody has it open, or not all of it is in the tree, or content of it is held: another
   *  device's content must come under another ino (FoldContext.isOpen). */
  isInUse(ino: Ino): boolean {
    if (this.#files.has(ino) || this.#buffers.openCount(ino) > 0) return true
    return this.#withData.has(ino) && this.#buffers.attrs(ino) !== undefined
  }

  /** As isInUse(), or a directory that the kernel knows: it may be a process's working directory,
   *  which must live on when another device removes it. */
  isHeld(ino: Ino): boolean {
    if (this.isInUse(ino)) return true
    const attr = this.#buffers.attrs(ino)
    return attr !== undefined && (attr.mode & MODE_TYPE) === MODE_DIRECTORY
  }

  /** Whether the kernel may have the inode in mind. */
  isKnown(ino: Ino): boolean {
    return this.#buffers.attrs(ino) !== undefined
  }

  /** Attributes that another device changed, or content of a file that is not in use. */
  changedElsewhere(ino: Ino): void {
    const held = this.#buffers.attrs(ino)
    if (held === undefined) return
    const node = this.#tree.node(ino)
    if (node !== undefined) this.#buffers.attach(ino, node.attr)
    else if (held.nlink > 0) this.#buffers.setAttrs(ino, 0, { ...held, nlink: 0 })
  }

  /** An ino in use lost its name, or its content, to another device's change; the tree keeps it. */
  detached(ino: Ino): void {
    this.changedElsewhere(ino)
    this.orphans.addDetached(ino)
  }

  /** UnsealedContent */
  isUnsealed(ino: Ino): boolean {
    const file = this.#files.get(ino)
    return file !== undefined && this.#sealer.isUnsealed(file)
  }

  /** UnsealedContent: for a rename over a file; puts even when the source lost its name since.
   *  When it fails, the promise stands: whoever asked asks again. */
  async seal(ino: Ino): Promise<void> {
    const file = this.#files.get(ino)
    if (file === undefined || !this.#sealer.isUnsealed(file)) return
    file.promised = true
    const asked = ++file.asked
    await this.#sealer.seal(file, SEAL_FINAL)
    if (asked !== file.asked) return
    file.promised = false
    if (this.#isAbandoned(ino)) this.#discard(ino)
  }

  /** Content, attributes and names of the file are durable when it resolves. */
  async fsync(ino: Ino): Promise<void> {
    const file = this.#files.get(ino)
    if (file !== undefined && this.#sealer.isUnsealed(file) && this.#mayPut(file)) {
      await this.#hurried(this.#sealer.seal(file, SEAL_URGENT))
    }
    await this.fsyncNames()
  }

  /** Every operation so far is durable when it resolves; unsealed content is not waited for. */
  async fsyncNames(): Promise<void> {
    this.drainAttrs()
    await this.#hurried(this.#tree.durable(this.#tree.ticket()))
  }

  /** While somebody waits, bundles are closed as soon as something is in them: the pass that is
   *  waited for, or a rename that waits for another file's pass, may have begun without haste. */
  async #hurried(work: Promise<void>): Promise<void> {
    let timer: Timer | undefined
    const hurry = (): void => {
      if (this.#sealer.busy) this.#content.flush().catch(() => undefined) // told to the passes
      timer = this.#clock.setTimer(HURRY_MS, hurry)
    }
    hurry()
    try {
      await work
    } finally {
      timer?.cancel()
    }
  }

  /** Everything that has a name is durable when it resolves. Rejects with the first error, after
   * all
   *  the others were tried. */
  async syncAll(): Promise<void> {
    // Every file is asked: events that tell of dirt may still be on their way.
    const waiting: Promise<void>[] = []
    for (const file of this.#files.values()) {
      if (!this.#sealer.isUnsealed(file) || !this.#mayPut(file)) continue
      waiting.push(this.#sealer.seal(file, SEAL_FINAL))
    }
    let failures: PromiseSettledResult<void>[] = []
    await this.#hurried(
      Promise.allSettled(waiting).then((results) => {
        failures = results
      }),
    )
    await this.fsyncNames()
    for (const result of failures) if (result.status === 'rejected') throw result.reason
  }

  /** Seals and syncs everything, then stops. Content that cannot be sealed is reported, and lost.
   * */
  async close(): Promise<void> {
    try {
      await this.syncAll()
    } finally {
      this.#sealer.close()
      await this.#held?.close()
    }
  }

  // ---- ranges

  /**
   * Copies by reference; both files must be open. Returns the number of bytes, less than `length`
   * only where the source ends.
   */
  async copyRange(
    source: Ino,
    sourceOffset: number,
    target: Ino,
    targetOffset: number,
    length: number,
  ): Promise<number> {
    const from = this.#open(source)
    const to = this.#open(target)
    const locks = source === target ? [from] : [from, to].sort((a, b) => a.ino - b.ino)
    for (const file of locks) await file.lock.lock()
    try {
      await this.#sealer.pass(from, SEAL_FINAL, false)
      if (to !== from) await this.#sealer.pass(to, SEAL_FINAL, false)
      const count = Math.min(length, from.working.sizeBytes - sourceOffset)
      if (count <= 0) return 0
      if (targetOffset > to.working.sizeBytes) {
        this.#growTo(target, targetOffset)
        await this.#sealer.pass(to, SEAL_FINAL, false)
      }
      const { working } = from
      await this.#content.copyRange(working, sourceOffset, to.working, targetOffset, count)
      this.#growTo(target, targetOffset)
      this.#buffers.replaceBase(target, targetOffset, count)
      this.#countHoles(target, to.working)
      this.#touch(target)
      return count
    } finally {
      for (const file of locks) {
        file.lock.unlock()
        this.#sealer.markDirty(file)
      }
      if (this.#buffers.openCount(target) === 0) this.#sealer.request(to, SEAL_FINAL)
    }
  }

  #growTo(ino: Ino, sizeBytes: number): void {
    const attr = must(this.#buffers.attrs(ino), 'copyRange: no record')
    if (attr.sizeBytes < sizeBytes) this.#buffers.truncate(ino, sizeBytes)
  }

  #touch(ino: Ino): void {
    const { sec, nsec } = this.#clock.now()
    const attr = must(this.#buffers.attrs(ino), 'copyRange: no record')
    const times = { mtimeSec: sec, mtimeNsec: nsec, ctimeSec: sec, ctimeNsec: nsec }
    this.#buffers.setAttrs(ino, ATTR_MTIME | ATTR_CTIME, { ...attr, ...times })
  }

  /** The next offset >= `offset` that is data (or hole); the size when there is none. */
  async seek(ino: Ino, offset: number, wanted: 'data' | 'hole'): Promise<number> {
    const file = this.#open(ino)
    const sizeBytes = must(this.#buffers.attrs(ino), 'seek: no record').sizeBytes
    let at = offset
    for (const piece of this.#buffers.overlay(ino, offset, sizeBytes)) {
      const found = await this.#seekBase(file, at, piece.offset, wanted)
      if (found < piece.offset) return found
      at = Math.max(at, piece.offset)
      // A cached range knows of no holes in its base: ask the base.
      const end = piece.offset + piece.length
      if (piece.state === 'clean') {
        const inside = await this.#seekBase(file, at, end, wanted)
        if (inside < end) return inside
      } else if (piece.hole === (wanted === 'hole')) {
        return at
      }
      at = end
    }
    return this.#seekBase(file, at, sizeBytes, wanted)
  }

  async #seekBase(
    file: OpenFile,
    at: number,
    end: number,
    wanted: 'data' | 'hole',
  ): Promise<number> {
    if (at >= end) return end
    if (at >= file.working.sizeBytes) return wanted === 'hole' ? at : end
    return Math.min(end, await this.#content.seek(file.working, at, wanted))
  }

  /** For user.lattice.state. */
  state(ino: Ino): string {
    if (this.isUnsealed(ino)) return 'unsealed'
    const node = this.#tree.node(ino)
    const { state, bytes } = this.#content.presence(node?.content, node?.attr.sizeBytes ?? 0)
    return bytes === undefined ? state : `${state} ${bytes.here}/${bytes.all}`
  }

  // ---- BufferEvents

  need(ino: Ino, offset: number, length: number, sequential: boolean): void {
    try {
      this.#reader.need(this.#open(ino), offset, length, sequential)
    } catch (error) {
      this.#buffers.fail(ino, offset, length, this.#toErrno(error, 'read', ino))
    }
  }

  dirty(ino: Ino): void {
    const file = this.#files.get(ino)
    if (file !== undefined) this.#sealer.markDirty(file)
  }

  full(ino: Ino): void {
    const file = this.#files.get(ino)
    if (file !== undefined && !this.#isOrphan(ino)) this.#sealer.request(file, SEAL_PARTIAL)
  }

  flush(ino: Ino): void {
    const file = this.#files.get(ino)
    if (file !== undefined && this.#mayPut(file)) this.#sealer.requestLater(file)
  }

  released(ino: Ino): void {
    this.orphans.released(ino)
    const file = this.#files.get(ino)
    if (file === undefined) return
    // Stores through a mapping may have come after the last FLUSH.
    if (this.#sealer.isUnsealed(file) && this.#mayPut(file)) this.#sealer.requestLater(file)
    else this.#maybeClose(file)
  }

  pressure(): void {
    this.#sealer.pressure()
  }

  forgotten(ino: Ino): void {
    this.orphans.forgotten(ino)
  }

  // ---- inside

  #node(ino: Ino): NonNullable<ReturnType<Tree['node']>> {
    return must(this.#tree.node(ino), () => `no node for ino ${ino}`)
  }

  #isOrphan(ino: Ino): boolean {
    return this.#tree.node(ino)?.orphan ?? true
  }

  #isAbandoned(ino: Ino): boolean {
    if (this.#buffers.openCount(ino) > 0 || this.orphans.isUnnamed(ino)) return false
    return this.#isOrphan(ino)
  }

  /** A name wants the content, or will (O_TMPFILE), or a queued rename over a file does. */
  #mayPut(file: OpenFile): boolean {
    const node = this.#tree.node(file.ino)
    if (node === undefined) return false
    return !node.orphan || file.promised || this.orphans.isUnnamed(file.ino)
  }

  #maybeClose(file: OpenFile): void {
    if (!file.idle || file.fetching.length > 0) return
    if (this.#buffers.openCount(file.ino) > 0 || this.#sealer.isUnsealed(file)) return
    if (this.#files.get(file.ino) === file) this.#drop(file)
  }

  #drop(file: OpenFile): void {
    file.closed = true
    this.#held?.release(file)
    this.#files.delete(file.ino)
    this.#sealer.forget(file)
    this.orphans.closed(file.ino)
  }

  /** Gives up the content of an orphan that nobody has open; what a rename waits for is put
   *  first. */
  #discard(ino: Ino): void {
    const file = this.#files.get(ino)
    if (file === undefined) return
    if (!file.lock.tryLock()) {
      // Inside the lock, not after it: two that take turns at trying would never end.
      void file.lock.run(() => this.#discardLocked(file))
      return
    }
    try {
      this.#discardLocked(file)
    } finally {
      file.lock.unlock()
    }
  }

  #discardLocked(file: OpenFile): void {
    const { ino } = file
    if (file.closed || file.promised || !this.#isAbandoned(ino)) return
    const job = this.#buffers.attrs(ino) === undefined ? undefined : this.#buffers.freeze(ino)
    if (job !== undefined) this.#buffers.settle(job.job, true, Number.MAX_SAFE_INTEGER)
    this.#drop(file)
  }
}
