// FuseSession: serves one mounted directory. It wakes when the native session has requests or
// events, gives events to the buffers and requests to the handlers, and sends all replies of one
// wake in one call. Requests that must wait (fsync, a cold open) answer later, in any order.
//
// Invariants: every request gets exactly one reply; a request's bytes are used only until its
// handler returns; replies are sent before the arena space of their requests is given back. Owned
// by the daemon. Never touches the mount itself.

import { ErrnoMapper, EIO, ENOSYS, type Trouble } from '../fs/errno.ts'
import type { FileSystem } from '../fs/file-system.ts'
import type { Session } from '../../native/session.d.ts'
import { sessionAddon } from './addon.ts'
import { HANDLERS, type Reply } from './handlers.ts'
import type { NativeBuffers } from './native-buffers.ts'
import { NameTeller } from './name-teller.ts'
import { OP_LOOKUP, OP_RENAME, OP_RENAME2, OP_RMDIR, OP_UNLINK } from './protocol.ts'
import { ReplyWriter } from './reply-writer.ts'
import { RequestReader } from './request-reader.ts'

const LIFETIME_SEC = 3600
const WRITE_BYTES_MAX = 1024 * 1024
const REQUESTS_PER_TAKE = 256
const EVENTS_PER_TAKE = 512
const EVENT_COLUMNS = 5
const EVENT_ENDED = 9
const EVENT_NOTIFIED = 11
const NOTIFY_INODE = 1
const NOTIFY_ENTRY = 2
const NOTIFY_ALL = 4
const NOTIFY_MARK = 5
const ATTRIBUTES_ONLY = -1
const REMOVING = new Set([OP_UNLINK, OP_RMDIR, OP_RENAME, OP_RENAME2])
const REPLY_BATCH_BYTES = 512 * 1024

export interface FuseSessionOptions {
  /** The FUSE device, mounted; the session owns it from now on. */
  fd: number
  fileSystem: FileSystem
  buffers: NativeBuffers
  readOnly: boolean
  /** Names match otherwise than by their bytes: the kernel is to remember none. */
  foldsNames?: boolean
  /** Told once per cause of an EIO. */
  log: (trouble: Trouble) => void
}

/** What pokes need of the native session. */
export type PokeGate = Pick<Session, 'setPoker' | 'expectPoke' | 'finishPoke'>

export type SessionEnd = 'unmounted' | 'error' | 'closed'

export class FuseSession {
  readonly #fs: FileSystem
  readonly #buffers: NativeBuffers
  readonly #native: Session
  readonly #errors: ErrnoMapper
  readonly #reader: RequestReader
  readonly #writer: ReplyWriter
  readonly #teller: NameTeller | undefined
  readonly #rows = new Uint32Array(REQUESTS_PER_TAKE * 2)
  readonly #events = new Float64Array(EVENTS_PER_TAKE * EVENT_COLUMNS)
  readonly #marks = new Map<number, () => void>()
  readonly #lifetimeSec: number
  #lastMark = 0
  #waiting = 0
  #closed = false
  #resolveEnded: (end: SessionEnd) => void = () => undefined

  /** Resolves when the kernel has let go of the mount, or the session was closed. */
  readonly ended: Promise<SessionEnd>

  private constructor(options: FuseSessionOptions) {
    this.#fs = options.fileSystem
    this.#buffers = options.buffers
    this.#errors = new ErrnoMapper(options.log)
    const lifetimeSec = options.foldsNames === true ? 0 : LIFETIME_SEC
    this.#lifetimeSec = lifetimeSec
    this.#writer = new ReplyWriter(lifetimeSec)
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    this.#native = sessionAddon().createSession({
      fd: options.fd,
      table: options.buffers.table,
      readOnly: options.readOnly,
      onWake: () => this.#wake(),
      maxWriteBytes: WRITE_BYTES_MAX,
      lifetimeSec,
    })
    this.#reader = new RequestReader(this.#native.requests)
    if (lifetimeSec > 0) this.#teller = new NameTeller(this.#fs, this.#native, lifetimeSec)
    options.buffers.onBlocksMoved = (ino) => this.invalidateAttributes(ino)
  }

  static open(options: FuseSessionOptions): FuseSession {
    return new FuseSession(options)
  }

  /** Requests that wait for an answer from JavaScript. */
  get waiting(): number {
    return this.#waiting
  }

  stats(): Float64Array {
    return this.#native.stats()
  }

  // ---- changes that did not come through the kernel; their records are up to date already

  /** Nothing that the native session was told ahead is answered any more: before it is looked up of
   *  which changes the kernel must be told. */
  untell(): void {
    if (!this.#closed) this.#native.untell()
  }

  /** The content of a file that nobody has open, and its attributes, are others. */
  invalidateInode(ino: number): void {
    this.#notify(NOTIFY_INODE, ino, 0)
  }

  /** As invalidateInode(), the attributes alone. */
  invalidateAttributes(ino: number): void {
    this.#notify(NOTIFY_INODE, ino, ATTRIBUTES_ONLY)
  }

  /** The name came, went or names another inode. Not to be told of one that is as it was: to those
   *  who work in a directory, it would seem removed until somebody looks it up. */
  invalidateEntry(parent: number, name: string): void {
    // what may not be remembered at all is asked for anyway
    if (this.#lifetimeSec === 0) return
    this.#notify(NOTIFY_ENTRY, parent, 0, Buffer.from(name, 'latin1'))
  }

  /** Resolves when the kernel has been told of all changes before it. */
  notified(): Promise<void> {
    if (this.#closed) return Promise.resolve()
    const mark = ++this.#lastMark
    return new Promise((resolve) => {
      this.#marks.set(mark, resolve)
      this.#notify(NOTIFY_MARK, mark, 0)
    })
  }

  #notify(kind: number, ino: number, a: number, name?: Uint8Array): void {
    if (this.#closed || this.#native.notify(kind, ino, a, 0, name)) return
    // so much waits that everything is better than each
    this.#native.notify(NOTIFY_ALL, 1, 0, 0)
    this.#native.notify(kind, ino, a, 0, name)
  }

  /** WRITE to open files, and changes of attributes, are refused as well, or not any more. */
  refuseChanges(isRefused: boolean): void {
    if (!this.#closed) this.#native.refuseChanges(isRefused)
  }

  /** For pokes (pokes.ts): the native side, and inos whose names are not to be remembered. */
  pokeGate(isYoung: (ino: number) => boolean): PokeGate {
    this.#writer.isYoung = isYoung
    if (this.#teller !== undefined) this.#teller.isYoung = isYoung
    return this.#native
  }

  /** Stops serving; the caller has unmounted, or gives the mount up. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#native.close()
    for (const resolve of this.#marks.values()) resolve()
    this.#marks.clear()
    this.#resolveEnded('closed')
  }

  #wake(): void {
    if (this.#closed) return
    this.#takeEvents()
    // What comes while this runs wakes again.
    let count: number
    do {
      count = this.#native.take(this.#rows)
      this.#fs.drainAttrs()
      for (let i = 0; i < count; i++) {
        this.#serve(this.#rows[i * 2] ?? 0, this.#rows[i * 2 + 1] ?? 0)
        if (this.#writer.usedBytes > REPLY_BATCH_BYTES) this.#send()
      }
      this.#send()
      if (count > 0) this.#native.release(count)
      this.#teller?.tell()
    } while (count === REQUESTS_PER_TAKE)
  }

  #takeEvents(): void {
    for (;;) {
      const rows = this.#native.takeEvents(this.#events)
      if (rows === 0) return
      for (let row = 0; row < rows; row++) {
        const kind = this.#events[row * EVENT_COLUMNS]
        if (kind === EVENT_NOTIFIED) this.#marked(this.#events[row * EVENT_COLUMNS + 1] ?? 0)
        if (kind !== EVENT_ENDED) continue
        this.#resolveEnded(this.#events[row * EVENT_COLUMNS + 2] === 1 ? 'unmounted' : 'error')
      }
      this.#buffers.dispatch(this.#events, rows)
    }
  }

  #marked(mark: number): void {
    this.#marks.get(mark)?.()
    this.#marks.delete(mark)
  }

  #serve(offset: number, length: number): void {
    const request = this.#reader
    try {
      request.set(offset, length)
    } catch (error) {
      const number = this.#errors.toErrno(error, 'request', 0)
      this.#writer.error(request.uniqueLow, request.uniqueHigh, number)
      return
    }
    const { opcode, nodeId, uniqueLow, uniqueHigh } = request
    // What was opened before a name goes must count as open by then: replies count it.
    if (REMOVING.has(opcode)) this.#send()
    const entry = HANDLERS.get(opcode)
    if (entry === undefined) {
      this.#writer.error(uniqueLow, uniqueHigh, ENOSYS)
      return
    }
    try {
      if (opcode === OP_LOOKUP) this.#teller?.asked(nodeId, request)
      const reply = entry.handle(this.#fs, request)
      if (reply instanceof Promise) {
        this.#answerLater(reply, entry.name, nodeId, uniqueLow, uniqueHigh)
      } else {
        this.#answer(reply, entry.name, nodeId, uniqueLow, uniqueHigh)
      }
    } catch (error) {
      this.#writer.error(uniqueLow, uniqueHigh, this.#errors.toErrno(error, entry.name, nodeId))
    }
  }

  #answer(reply: Reply, name: string, nodeId: number, low: number, high: number): void {
    this.#writer.begin(low, high)
    try {
      reply(this.#writer)
      const { endCookie } = this.#writer
      if (endCookie > 0) this.#native.tellEnd(nodeId, endCookie)
      this.#writer.end()
    } catch (error) {
      this.#writer.abandon()
      this.#errors.toErrno(error, name, nodeId)
      this.#writer.error(low, high, EIO)
    }
  }

  #answerLater(
    reply: Promise<Reply>,
    name: string,
    nodeId: number,
    low: number,
    high: number,
  ): void {
    this.#waiting++
    reply
      .then(
        (write) => this.#answer(write, name, nodeId, low, high),
        (error: unknown) => {
          this.#writer.error(low, high, this.#errors.toErrno(error, name, nodeId))
        },
      )
      .finally(() => {
        this.#waiting--
        if (!this.#closed) this.#send()
      })
      .catch((error: unknown) => void this.#errors.toErrno(error, name, nodeId))
  }

  #send(): void {
    if (this.#writer.count === 0) return
    this.#native.reply(this.#writer.packed(), this.#writer.count)
    this.#writer.clear()
  }
}
