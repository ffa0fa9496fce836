// A content store over a temporary directory, inline or with real workers, and files whose frozen
// jobs live in shared memory.
import fs from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { MemoryChunkIndex, MemoryLooseChunks } from '../../src/chunks/chunk-index-port.ts'
import { SealedContentStore } from '../../src/chunks/content-store.ts'
import type { Clock, FrozenJob, WorkingContent } from '../../src/chunks/content-store-ports.ts'
import { DirectDisk } from '../../src/chunks/pack-disk.ts'
import type { PackDisk } from '../../src/chunks/pack-disk.ts'
import { PackStore } from '../../src/chunks/pack-store.ts'
import { executePieces } from '../../src/chunks/read-plan.ts'
import { openFrozen } from '../../src/chunks/seal-frozen.ts'
import { InlineSealer } from '../../src/chunks/seal-inline.ts'
import { SealPool } from '../../src/chunks/seal-pool.ts'
import type { SealBackend, SealKeys } from '../../src/chunks/seal-protocol.ts'
import type { Content } from '../../src/ops/types.ts'
import type { Ino, JobId } from '../../src/vault/buffers.ts'

export function randomOf(start: number) {
  let state = start >>> 0
  return (below: number) => {
    state = (state + 0x6d2b79f5) >>> 0
    let z = Math.imul(state ^ (state >>> 15), state | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) % below
  }
}

export const keys: SealKeys = {
  vaultId: new Uint8Array(16).fill(1),
  epochId: new Uint8Array(8).fill(2),
  sealer: new Uint8Array(32).fill(3),
  bundleKey: new Uint8Array(32).fill(4),
  idKey: new Uint8Array(32).fill(5),
  cutKey: new Uint8Array(32).fill(6),
}

export const bundleKey = (): Uint8Array => keys.bundleKey

export const clock: Clock = {
  nowMs: () => Date.now(),
  now: () => ({ sec: Math.floor(Date.now() / 1000), nsec: 0 }),
  setTimer: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs) // referenced: nothing else keeps a test alive
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Frozen bytes for jobs: a ring of shared memory, and where each job's file begins in it. */
export class Frozen {
  readonly memory: SharedArrayBuffer
  readonly bases = new Float64Array(new SharedArrayBuffer(8 * 65536))
  readonly read
  #at = 0
  #jobs = 0

  constructor(sizeBytes: number) {
    this.memory = new SharedArrayBuffer(sizeBytes)
    this.read = openFrozen(this.source)
  }

  get source() {
    return { kind: 'shared' as const, memory: this.memory, bases: this.bases }
  }

  /** A job of these dirty ranges of the file, as it is now. */
  job(file: Uint8Array, dirty: { offset: number; length: number; hole?: boolean }[]): FrozenJob {
    if (this.#at + file.length > this.memory.byteLength) this.#at = 0
    const job = ++this.#jobs % this.bases.length
    this.bases[job] = this.#at
    new Uint8Array(this.memory).set(file, this.#at)
    this.#at += file.length
    const extents = dirty.map(({ hole = false, ...range }) => ({ ...range, hole }))
    return {
      job: job as JobId,
      ino: 1 as Ino,
      attr: attrOf(file.length),
      extents,
      dataBytes: extents.reduce((sum, one) => sum + (one.hole ? 0 : one.length), 0),
    }
  }
}

function attrOf(sizeBytes: number) {
  return {
    mode: 0o100644, nlink: 1, uid: 0, gid: 0, rdev: 0, sizeBytes,
    atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0,
  }
}

export type Bench = {
  store: SealedContentStore
  packs: PackStore
  index: MemoryChunkIndex
  loose: MemoryLooseChunks
  frozen: Frozen
  directory: string
}

export type OpenOptions = {
  directory: string
  workers: boolean
  frozen: Frozen
  disk?: PackDisk
  index?: MemoryChunkIndex
  loose?: MemoryLooseChunks
  packBytes?: number
  unitBytes?: number
}

export async function openStore(options: OpenOptions): Promise<Bench> {
  const { directory, frozen } = options
  const disk = options.disk ?? new DirectDisk()
  const packs = await PackStore.open({ disk, directory, vaultId: keys.vaultId, bundleKey })
  const index = options.index ?? new MemoryChunkIndex()
  const loose = options.loose ?? new MemoryLooseChunks()
  const backend: SealBackend = options.workers
    ? new SealPool({
        keys,
        frozen: frozen.source,
        directory,
        writers: [1, 2],
        nextOf: (writer) => packs.nextOf(writer),
        syncLast: (writer) => packs.syncLast(writer),
        clock,
      })
    : new InlineSealer({
        keys,
        readFrozen: frozen.read,
        disk,
        directory: join(directory, '0'),
        writer: 0,
        ...packs.nextOf(0),
        clock,
        ...(options.packBytes === undefined ? {} : { packBytes: options.packBytes }),
        ...(options.unitBytes === undefined ? {} : { unitBytes: options.unitBytes }),
      })
  const store = new SealedContentStore({
    index, loose, packs, backend, idKey: keys.idKey, bundleKey, readFrozen: frozen.read,
  })
  return { store, packs, index, loose, frozen, directory }
}

export async function readAll(
  store: SealedContentStore,
  working: WorkingContent,
  offset = 0,
  length = working.sizeBytes,
): Promise<Uint8Array> {
  const plan = await store.plan(working, offset, length)
  try {
    return executePieces(plan.pieces, bundleKey)
  } finally {
    plan.release()
  }
}

/** Writes a whole new file in one job and returns its content. */
export async function writeWhole(
  { store, frozen }: Bench,
  bytes: Uint8Array,
  urgent = false,
): Promise<Content> {
  const working = store.open(undefined, 0)
  const job = frozen.job(bytes, [{ offset: 0, length: bytes.length }])
  await store.seal(working, job, { final: true, urgent })
  return store.describe(working)
}

export function tempDirectory(t: { teardown(task: () => void): void }): string {
  const directory = fs.mkdtempSync(join(os.tmpdir(), 'lattice-content-'))
  t.teardown(() => fs.rmSync(directory, { recursive: true, force: true }))
  return join(directory, 'packs')
}

/** Bytes that do not compress, or text-like ones that do. */
export function bytesOf(
  random: (below: number) => number,
  sizeBytes: number,
  isText = random(3) === 0,
): Uint8Array {
  const bytes = new Uint8Array(sizeBytes)
  const words = new Uint32Array(bytes.buffer, 0, sizeBytes >>> 2)
  for (let i = 0; i < words.length; i++) {
    words[i] = isText ? 0x20656874 + random(9) : random(2 ** 32)
  }
  for (let i = sizeBytes & ~3; i < sizeBytes; i++) bytes[i] = random(256)
  return bytes
}
