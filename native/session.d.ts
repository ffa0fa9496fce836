// The addon's FUSE session and file buffers, as JavaScript sees them (native/session*.cc,
// table*.cc). Hand-written; one FileTable per process-wide vault mount, one Session per mounted
// directory.

/** Attributes cross the boundary as one Float64Array of 12 in the order of `Attr` in
 *  src/vault/buffers.ts: mode nlink uid gid rdev size atimeSec atimeNsec mtimeSec mtimeNsec
 *  ctimeSec ctimeNsec. */
export type PackedAttr = Float64Array

/** Events are drained as packed Float64Array rows of 5: kind, ino, a, b, c.
 *  1 need(offset, length, sequential)  2 dirty  3 full  4 flush  5 released  6 pressure  7
 *  forgotten 8 fetchDone(fetchId, result 0 filled 1 stale 2 damaged 3 io-error)  9 ended(reason: 1
 *  unmounted, 2 error errno) 10 interrupt(unique) for a request that JavaScript holds
 *  11 notified(ino of a notify of kind 5) */
export interface FileTable {
  /** Stops the table's threads; parked readers and writers get ENOTCONN. Idempotent. */
  close(): void
  /** Without a session: called on this thread when events wait; coalesced. Does not keep the
   * process. */
  onWake(wake: () => void): void
  /** Events of the table alone, as Session.takeEvents. */
  takeEvents(into: Float64Array): number
  /** Limits in bytes: dirty memory (writers are parked above), clean cache. */
  setLimits(dirtyBytesMax: number, cleanBytesMax: number): void
  attach(ino: number, attr: PackedAttr): void
  openData(ino: number): void
  attrs(ino: number, into: PackedAttr): boolean
  setAttrs(ino: number, mask: number, attr: PackedAttr): void
  changeAttrs(ino: number, mask: number, attr: PackedAttr): void
  /** Rows of 14: ino, mask, then the 12 of PackedAttr. Returns the number of rows written (0 =
   * none). */
  takeDirtyAttrs(into: Float64Array): number
  /** Bytes of holes in the base, so that blocks (du) can be told; 0 unless set. */
  /** True when the kernel may remember another number of blocks. */
  setBaseHoles(ino: number, bytes: number, baseBytes: number): boolean
  /** `forgotten` comes at once when there is no record, or none that the kernel knows. */
  watchForget(ino: number): void
  write(ino: number, offset: number, bytes: Uint8Array): boolean
  /** While set (errno, positive), writers above the dirty limit get it instead of waiting. */
  refuseWrites(errno: number): void
  read(ino: number, offset: number, length: number): Uint8Array | undefined
  truncate(ino: number, sizeBytes: number): void
  zero(ino: number, offset: number, length: number, mayGrow: boolean): void
  /** Rows of 4: offset, length, state (1 dirty 2 frozen 3 clean), hole (0/1). */
  overlay(ino: number, offset: number, end: number): Float64Array
  /** [job, dataBytes, 12 attributes, then rows of 3: offset, length, hole], or undefined. */
  freeze(ino: number): Float64Array | undefined
  readFrozen(job: number, offset: number, into: Uint8Array): number
  settle(job: number, ok: boolean, thawBegin: number): void
  baseEpoch(ino: number): number
  replaceBase(ino: number, offset: number, length: number): void
  /** 0 filled, 1 stale. */
  fill(ino: number, epoch: number, offset: number, bytes: Uint8Array): number
  /** As fill, with zeros that need no memory. */
  fillHole(ino: number, epoch: number, offset: number, length: number): number
  /** Bundle pieces as rows of 9: offset, length, fd, bundleOffset, bundleBytes, plainOffset, and
   *  of an LZ4 block its storedBytes, plainBytes, begin, else zeros; the others go through fill. A
   *  small fetch that the page cache can answer is done at once: the return value is then -1 minus
   *  its result. Else it runs on the addon's fetch threads (2), ends with event 8, and the return
   *  value is its fetchId. */
  fetch(ino: number, epoch: number, rows: Float64Array): number
  /** Rows as fetch: what a READ of an open file needs no event for. Descriptors are duplicated.
   *  False: no room. */
  setPlaces(ino: number, epoch: number, rows: Float64Array): boolean
  /** The bundle key of an epoch, for fetch. */
  setBundleKey(epochId: Uint8Array, key: Uint8Array): void
  fail(ino: number, offset: number, length: number, errno: number): void
  reportError(ino: number, errno: number): void
  takeError(ino: number): number
  openCount(ino: number): number
  dirtyBytes(ino: number): number
  isDirty(ino: number): boolean
  /** [dirtyBytes, cleanBytes, records, parkedReads, parkedWrites, slabsInUse] */
  totals(): Float64Array
  drop(ino: number): void
  /** A number by which seal workers (other threads, same process) reach the same table. */
  readonly handle: number
}

export interface SessionOptions {
  /** The device (/dev/fuse, already mounted on) or one end of a SOCK_SEQPACKET pair (fake kernel).
   * The
   *  session owns it from now on. */
  fd: number
  table: FileTable
  readOnly: boolean
  /** Called on the JavaScript thread when requests or events wait; coalesced (uv_async). */
  onWake: () => void
  /** max_write in bytes (1 MiB), attribute and entry lifetimes in seconds (3600). */
  maxWriteBytes: number
  lifetimeSec: number
}

export interface Session {
  /** Requests for JavaScript as whole FUSE messages (header and body) in one shared arena:
   *  `into` gets rows of 2 (offset, length); returns the number of rows. A request stays valid
   *  until release() is called with the number of requests that were handled, in order of take().
   *  */
  readonly requests: ArrayBuffer
  take(into: Uint32Array): number
  release(count: number): void
  /** Replies: `count` records in `packed`, each: u32 length of the record (16 + payload, EXACT, so
   * that the
   *  payload's length is known), i32 error (0 or -errno), u64 unique, then the payload; the next
   *  record starts at the next multiple of 8. For LOOKUP, CREATE, MKNOD, MKDIR, SYMLINK, LINK,
   *  TMPFILE (entry replies), READDIRPLUS, GETATTR and SETATTR replies the session registers inode
   *  records, counts lookups and opens, and puts its own authoritative size and times into the
   *  attributes before it writes them to the device: `packed` is changed in place. */
  reply(packed: Uint8Array, count: number): void
  /** Events of table and session. Returns rows written. */
  takeEvents(into: Float64Array): number
  /** kind 1 inval-inode(ino, offset, length; offset -1: attributes only) 2 inval-entry(parent,
   *  name) 3 delete(parent, child, name)
   *  4 everything that the kernel remembers, instead of all that is queued (entries: from Linux
   *  6.16) 5 nothing: raises event 11 with this ino when all before it has been written
   *  Written by the notify thread. A request that JavaScript took before is answered with lifetime
   *  0 for the same ino, and nothing is known any more of the names in that directory: LOOKUP of a
   *  name that a directory made in this session cannot have is answered without JavaScript. False
   *  when the queue is full: try again later, or kind 4. */
  notify(kind: number, ino: number, a: number, b: number, name?: Uint8Array): boolean
  /** Entries of a directory as they are in this turn, ahead of their LOOKUP: the payload of a
   *  READDIRPLUS reply, which lies on a multiple of 8. Each is used once, without JavaScript,
   *  unless the kernel knows the inode by then, a request that may change the directory's names
   *  comes, or notify() names the directory or the inode. `isWhole`: there are no others, so that
   *  missing names are answered, too. */
  tell(directory: number, entries: Uint8Array, isWhole: boolean): void
  /** Behind this cookie the directory lists nothing: READDIR(PLUS) there is answered at once, as
   *  long as no name of the directory changes. */
  tellEnd(directory: number, cookie: number): void
  /** Takes back all that tell() and tellEnd() told, but which names are missing. Whoever was
   *  answered by it before has a record in the table by now: so, after a change past the kernel,
   *  whom to notify is looked up behind this. */
  untell(): void
  /** [requests read, answered natively, handed to JavaScript, replies, wakes, landing hits, landing
   *  misses, malformed, LOOKUPs answered by tell()] */
  stats(): Float64Array
  /** WRITE, SETATTR and FALLOCATE get EROFS from now on, or not any more. */
  refuseChanges(refused: boolean): void
  /** Requests of this process (0: of none) are pokes; native/poke-gate.h. */
  setPoker(pid: number): void
  /** The only poke that is answered until finishPoke(). op: 1 edit 2 create 3 remove 4 move
   *  5 attrib. `mode`: the type of what was removed. */
  expectPoke(
    op: number, ino: number, generation: number, mode: number,
    parent: number, name: Uint8Array, newParent: number, newName: Uint8Array,
  ): void
  /** [parts of it that were asked for: 1 the call itself, 2 times, 4 a look
   *  at what is to go; pokes ever refused] */
  finishPoke(): Float64Array
  /** Stops the threads; every waiting request gets ENOTCONN or EINTR. Idempotent. */
  close(): void
}

export function createFileTable(): FileTable
/** In a worker: the table that another thread made. Only readFrozen may be called on it. */
export function openFileTable(handle: number): Pick<FileTable, 'readFrozen'>
export function createSession(options: SessionOptions): Session
/** mount(2) as root: opens /dev/fuse and mounts; returns the descriptor. The type is fuse.`fsname`,
 *  `flags` are MS_*, `options` follow fd, rootmode, user_id and group_id. Throws with `errno`. */
export function mountDirect(
  source: string,
  directory: string,
  fsname: string,
  flags: number,
  options: string,
): number
/** umount2(2). flags: 2 = MNT_DETACH. Throws with `errno`. */
export function unmountDirect(directory: string, flags: number): void
/** fusermount3 with _FUSE_COMMFD: the descriptor. Rejects with `code` 'no-helper' (not installed),
 *  'helper-failed' (its words in the message) or 'system', and `errno`. */
export function mountWithHelper(directory: string, options: string): Promise<number>
/** SOCK_SEQPACKET pair for the fake kernel in tests. */
export function socketPair(): [number, number]
/** Forced-sync statx of a path off the JavaScript thread: resolves to errno (0 = alive). */
export function probeMount(directory: string): Promise<number>
/** One datagram to $NOTIFY_SOCKET (path or @abstract). Returns errno. */
export function sdNotify(socketPath: string, message: string): number
/** prctl(PR_SET_DUMPABLE, 0) and RLIMIT_CORE 0. */
export function disableCoreDumps(): void
/** pwrite (all of it) and fdatasync on one pool thread: one hop. Resolves when durable. */
export function writeAndSync(fd: number, offset: number, bytes: Uint8Array): Promise<void>
