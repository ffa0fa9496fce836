// MemoryContent: the port ContentStore over whole arrays: nothing is cut, sealed or shared. Every
// step that really waits for workers or disks yields to the loop here, so that the same races can
// happen. Partial jobs leave a tail, as a chunker does. Faults are injected by `fault`.

import type { FileBuffers, FrozenJob, ReadPiece } from '../../src/vault/buffers.ts'
import type { Content } from '../../src/ops/types.ts'
import type { ContentStore, ReadPlan, Sealed, SealOptions } from '../../src/vault/content.ts'
import type { WorkingContent } from '../../src/vault/content.ts'

const TAIL_BYTES = 100

class Flat implements WorkingContent {
  bytes: Uint8Array
  holes: Uint8Array // 1 where a hole is
  changed = false

  constructor(bytes: Uint8Array, holes: Uint8Array) {
    this.bytes = bytes
    this.holes = holes
  }

  get sizeBytes(): number {
    return this.bytes.length
  }

  resize(sizeBytes: number): void {
    if (sizeBytes === this.bytes.length) return
    this.bytes = resized(this.bytes, sizeBytes, 0)
    this.holes = resized(this.holes, sizeBytes, 1)
    this.changed = true
  }
}

const holesOf = new WeakMap<Content, Uint8Array>()
const pause = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export class MemoryContent implements ContentStore {
  readonly #buffers: FileBuffers
  /** Called at the start of each step; what it throws is the step's failure. */
  fault: (step: 'seal' | 'describe' | 'plan') => void = () => undefined
  plans = 0

  constructor(buffers: FileBuffers) {
    this.#buffers = buffers
  }

  open(content: Content | undefined, sizeBytes: number): WorkingContent {
    if (content === undefined) {
      return new Flat(new Uint8Array(sizeBytes), new Uint8Array(sizeBytes).fill(1))
    }
    if (content.kind !== 'inline') throw new Error('memory content knows inline bytes only')
    const holes = holesOf.get(content) ?? new Uint8Array(sizeBytes)
    return new Flat(content.bytes.slice(), holes.slice())
  }

  presence(): { state: 'local' } {
    return { state: 'local' }
  }

  holeBytes(working: WorkingContent): number {
    return (working as Flat).holes.reduce((sum, hole) => sum + hole, 0)
  }

  async seal(working: WorkingContent, job: FrozenJob, options: SealOptions): Promise<Sealed> {
    const flat = working as Flat
    await pause()
    this.fault('seal')
    const size = job.attr.sizeBytes
    const sealedEnd = options.final ? Number.MAX_SAFE_INTEGER : Math.max(0, size - TAIL_BYTES)
    const bytes = resized(flat.bytes, size, 0)
    const holes = resized(flat.holes, size, 1)
    for (const { offset, length, hole } of job.extents) {
      const end = Math.min(offset + length, sealedEnd)
      if (end <= offset) continue
      this.#buffers.readFrozen(job.job, offset, bytes.subarray(offset, end))
      holes.fill(hole ? 1 : 0, offset, end)
      await pause()
    }
    flat.bytes = bytes
    flat.holes = holes
    flat.changed = true
    return { sealedEnd }
  }

  async describe(working: WorkingContent): Promise<Content> {
    await pause()
    this.fault('describe')
    const flat = working as Flat
    const content: Content = { kind: 'inline', bytes: flat.bytes.slice() }
    holesOf.set(content, flat.holes.slice())
    flat.changed = false
    return content
  }

  unfolded(): undefined {}

  reopen(): never {
    throw new Error('memory content is always described')
  }

  async plan(working: WorkingContent, offset: number, length: number): Promise<ReadPlan> {
    await pause()
    this.fault('plan')
    return this.#plan(working as Flat, offset, length)
  }

  planNow(working: WorkingContent, offset: number, length: number): ReadPlan | undefined {
    this.fault('plan')
    return this.plans % 2 === 0 ? undefined : this.#plan(working as Flat, offset, length)
  }

  async places(): Promise<ReadPlan> {
    return { pieces: [], release: () => undefined }
  }

  #plan(flat: Flat, offset: number, length: number): ReadPlan {
    this.plans++
    const pieces: ReadPiece[] = []
    const end = Math.min(offset + length, flat.bytes.length)
    for (let at = offset; at < end; ) {
      const hole = flat.holes[at] === 1
      let to = at
      while (to < end && (flat.holes[to] === 1) === hole) to++
      if (hole) pieces.push({ kind: 'hole', offset: at, length: to - at })
      else pieces.push({ kind: 'bytes', offset: at, bytes: flat.bytes.slice(at, to) })
      at = to
    }
    return { pieces, release: () => undefined }
  }

  async copyRange(
    source: WorkingContent,
    sourceOffset: number,
    target: WorkingContent,
    targetOffset: number,
    length: number,
  ): Promise<void> {
    await pause()
    const from = source as Flat
    const to = target as Flat
    to.resize(Math.max(to.sizeBytes, targetOffset + length))
    to.bytes.set(from.bytes.slice(sourceOffset, sourceOffset + length), targetOffset)
    to.holes.set(from.holes.slice(sourceOffset, sourceOffset + length), targetOffset)
    to.changed = true
  }

  async seek(working: WorkingContent, offset: number, wanted: 'data' | 'hole'): Promise<number> {
    await pause()
    const { holes } = working as Flat
    for (let at = offset; at < holes.length; at++) {
      if ((holes[at] === 1) === (wanted === 'hole')) return at
    }
    return holes.length
  }

  async sync(): Promise<void> {
    await pause()
  }

  async flush(): Promise<void> {}
  async close(): Promise<void> {}
}

function resized(bytes: Uint8Array, length: number, fill: number): Uint8Array {
  const out = new Uint8Array(length).fill(fill)
  out.set(bytes.subarray(0, length))
  return out
}
