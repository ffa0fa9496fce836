// Content of regular files: opening, reading and writing, holes, copying by reference, syncing.
// Where the buffers are native, READ, WRITE and FLUSH never come here; the rest does.

import { KIND_DIRECTORY, KIND_FILE, KIND_SYMLINK } from '../ops/types.ts'
import { FILE_MAX_BYTES } from './attributes.ts'
import type { FsContext } from './context.ts'
import { EAGAIN, EFBIG, EINVAL, EISDIR, ELOOP, ENOSPC, ENXIO, EOPNOTSUPP } from './errno.ts'
import { EROFS, errno } from './errno.ts'
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from './types.ts'
import { OPEN_ACCMODE, OPEN_RDONLY, OPEN_TRUNC, SEEK_DATA, SEEK_HOLE, type Ino } from './types.ts'

export class Data {
  readonly #fs: FsContext

  constructor(context: FsContext) {
    this.#fs = context
  }

  /** Makes the content ready for reads and writes; `flags` as of open(2). */
  open(ino: Ino, flags: number): void {
    const fs = this.#fs
    const node = fs.node(ino)
    const writes = (flags & OPEN_ACCMODE) !== OPEN_RDONLY || (flags & OPEN_TRUNC) !== 0
    if (node.kind === KIND_DIRECTORY) throw errno(EISDIR)
    if (node.kind === KIND_SYMLINK) throw errno(ELOOP)
    if (node.kind !== KIND_FILE) throw errno(ENXIO)
    if (writes && fs.readOnly) throw errno(EROFS)
    const truncates = (flags & OPEN_TRUNC) !== 0
    fs.files.open(ino, !truncates)
    if (truncates) fs.files.truncate(ino, 0, true)
  }

  /** Bytes of the range, cut at the end of the file. */
  async read(ino: Ino, offset: number, length: number): Promise<Uint8Array> {
    const { buffers } = this.#fs
    if (buffers.readWait === undefined) {
      const bytes = buffers.read(ino, offset, length)
      if (bytes === undefined) throw errno(EAGAIN)
      return bytes
    }
    try {
      return await buffers.readWait(ino, offset, length)
    } catch (error) {
      throw typeof error === 'number' ? errno(error) : error
    }
  }

  /** Takes all bytes; EAGAIN when memory for dirty data is full. */
  write(ino: Ino, offset: number, bytes: Uint8Array): number {
    const fs = this.#fs
    if (fs.readOnly) throw errno(EROFS)
    if (offset + bytes.length > FILE_MAX_BYTES) throw errno(EFBIG)
    if (!fs.buffers.write(ino, offset, bytes)) throw errno(EAGAIN)
    return bytes.length
  }

  /** A descriptor was closed: reports what went wrong so far, and queues what is dirty. */
  flush(ino: Ino): void {
    const { buffers, files } = this.#fs
    files.flush(ino)
    const kept = buffers.takeError(ino)
    if (kept !== 0) throw errno(kept)
  }

  /** The file is durable when it resolves. Throws what failed, earlier failures included, once. */
  async fsync(ino: Ino): Promise<void> {
    const { buffers, files } = this.#fs
    const kept = buffers.takeError(ino)
    await files.fsync(ino)
    if (kept !== 0) throw errno(kept)
  }

  async fsyncdir(ino: Ino): Promise<void> {
    this.#fs.directory(ino)
    await this.#fs.files.fsyncNames()
  }

  fallocate(ino: Ino, mode: number, offset: number, length: number): void {
    const fs = this.#fs
    fs.begin()
    fs.regular(ino)
    if (offset < 0 || length <= 0) throw errno(EINVAL)
    const keepsSize = (mode & FALLOC_KEEP_SIZE) !== 0
    const kind = mode & ~FALLOC_KEEP_SIZE
    const punches = kind === FALLOC_PUNCH_HOLE && keepsSize
    if (kind !== 0 && kind !== FALLOC_ZERO_RANGE && !punches) throw errno(EOPNOTSUPP)
    const end = offset + length
    if (end > FILE_MAX_BYTES) throw errno(EFBIG)
    fs.files.open(ino, false)
    if (kind !== 0) {
      fs.files.zero(ino, offset, length, !keepsSize)
      return
    }
    const { sizeBytes } = fs.attrs(fs.node(ino))
    if (end - Math.min(sizeBytes, end) > fs.space.availableBytes()) throw errno(ENOSPC)
    if (!keepsSize && end > sizeBytes) fs.files.truncate(ino, end, false)
  }

  /** SEEK_DATA and SEEK_HOLE; the others are the kernel's. */
  async lseek(ino: Ino, offset: number, whence: number): Promise<number> {
    const fs = this.#fs
    const { sizeBytes } = fs.attrs(fs.regular(ino))
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw errno(EINVAL)
    if (offset < 0 || offset >= sizeBytes) throw errno(ENXIO)
    const found = await fs.files.seek(ino, offset, whence === SEEK_DATA ? 'data' : 'hole')
    if (whence === SEEK_DATA && found >= sizeBytes) throw errno(ENXIO)
    return found
  }

  /** Returns the number of bytes copied: fewer only where the source ends. */
  async copyFileRange(
    source: Ino,
    sourceOffset: number,
    target: Ino,
    targetOffset: number,
    length: number,
  ): Promise<number> {
    const fs = this.#fs
    fs.begin()
    if (sourceOffset < 0 || targetOffset < 0) throw errno(EINVAL)
    const { sizeBytes } = fs.attrs(fs.regular(source))
    fs.regular(target)
    if (targetOffset + length > FILE_MAX_BYTES) throw errno(EFBIG)
    const count = Math.min(length, Math.max(0, sizeBytes - sourceOffset))
    const distance = Math.abs(sourceOffset - targetOffset)
    if (source === target && distance < count) throw errno(EINVAL)
    if (count === 0) return 0
    return fs.files.copyRange(source, sourceOffset, target, targetOffset, count)
  }
}
