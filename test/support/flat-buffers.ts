// FlatBuffers: FileBuffers as naive as can be: one array of bytes and one array of states per ino,
// a byte at a time. Small files only. The oracle of BuffersTwin (test/vault/buffers-fuzz.ts).

import type * as port from '../../src/vault/buffers.ts'
import { ATTR_ALL, ATTR_CTIME, ATTR_MTIME, ATTR_SIZE } from '../../src/vault/buffers.ts'

type Ino = port.Ino
type Attr = port.Attr

const ABSENT = 0
const DIRTY = 1
const DIRTY_HOLE = 2
const FROZEN = 3
const FROZEN_HOLE = 4
const CLEAN = 5
const CLEAN_HOLE = 6
const STATE_NAMES = ['', 'dirty', 'dirty', 'frozen', 'frozen', 'clean', 'clean'] as const

interface Flat {
  attr: Attr
  bytes: number[] // as long as the file
  states: number[]
  asked: boolean[]
  sizeDirty: boolean
  job: { id: number; bytes: number[]; states: number[]; sizeDirty: boolean } | undefined
  epoch: number
  mask: number
  error: number
  toldDirty: boolean
  lastReadEnd: number
}

const isHole = (state: number): boolean => state > 0 && state % 2 === 0

export class FlatBuffers implements port.FileBuffers {
  #files = new Map<Ino, Flat>()
  #events: port.BufferEvents | undefined
  #changed: Ino[] = []
  #jobs = 0

  listen(events: port.BufferEvents): void {
    this.#events = events
  }
  attach(ino: Ino, attr: Attr): void {
    const file = this.#files.get(ino)
    if (file === undefined) {
      const length = attr.sizeBytes
      this.#files.set(ino, {
        attr: { ...attr },
        bytes: Array<number>(length).fill(0),
        states: Array<number>(length).fill(ABSENT),
        asked: [],
        sizeDirty: false,
        job: undefined,
        epoch: 0,
        mask: 0,
        error: 0,
        toldDirty: false,
        lastReadEnd: -1,
      })
      return
    }
    const kept = file.mask | (file.mask ? ATTR_CTIME : 0) | ATTR_SIZE | ATTR_MTIME | ATTR_CTIME
    set(file.attr, ATTR_ALL & ~kept, attr)
  }
  openData(): void {}
  attrs(ino: Ino): Attr | undefined {
    const file = this.#files.get(ino)
    return file && { ...file.attr }
  }
  setAttrs(ino: Ino, mask: number, attr: Attr): void {
    set(this.#file(ino).attr, mask, attr)
  }
  changeAttrs(ino: Ino, mask: number, attr: Attr): void {
    const file = this.#file(ino)
    set(file.attr, mask, { ...attr, nlink: file.attr.nlink })
    file.mask |= mask
    if (!this.#changed.includes(ino)) this.#changed.push(ino)
  }
  takeDirtyAttrs(): port.DirtyAttr[] {
    const out = this.#changed.map((ino) => {
      const file = this.#file(ino)
      const mask = file.mask
      file.mask = 0
      return { ino, mask, attr: { ...file.attr } }
    })
    this.#changed = []
    return out
  }
  watchForget(): void {}
  write(ino: Ino, offset: number, bytes: Uint8Array): boolean {
    const file = this.#file(ino)
    if (bytes.length === 0) return true
    this.#grow(file, offset)
    bytes.forEach((byte, i) => {
      file.bytes[offset + i] = byte
      file.states[offset + i] = DIRTY
    })
    this.#dirtied(ino, file)
    return true
  }
  read(ino: Ino, offset: number, length: number): Uint8Array | undefined {
    const file = this.#file(ino)
    const end = Math.max(offset, Math.min(offset + length, file.bytes.length))
    const sequential = file.lastReadEnd === offset
    file.lastReadEnd = end
    let absent = false
    let begin = -1
    for (let at = offset; at <= end; at++) {
      const missing = at < end && file.states[at] === ABSENT
      absent ||= missing
      const ask = missing && file.asked[at] !== true
      if (ask) {
        file.asked[at] = true
        if (begin < 0) begin = at
      } else if (begin >= 0) {
        this.#events?.need(ino, begin, at - begin, sequential)
        begin = -1
      }
    }
    return absent ? undefined : Uint8Array.from(file.bytes.slice(offset, end))
  }
  truncate(ino: Ino, sizeBytes: number): void {
    const file = this.#file(ino)
    if (sizeBytes > file.bytes.length) this.#grow(file, sizeBytes)
    else {
      file.bytes.length = sizeBytes
      file.states.length = sizeBytes
      file.asked.length = Math.min(file.asked.length, sizeBytes)
      file.sizeDirty = true
    }
    this.#dirtied(ino, file)
  }
  zero(ino: Ino, offset: number, length: number, mayGrow: boolean): void {
    const file = this.#file(ino)
    const end = mayGrow ? offset + length : Math.min(offset + length, file.bytes.length)
    if (end <= offset) return
    this.#grow(file, end)
    for (let at = offset; at < end; at++) {
      file.bytes[at] = 0
      file.states[at] = DIRTY_HOLE
    }
    this.#dirtied(ino, file)
  }
  overlay(ino: Ino, offset: number, end: number): port.OverlayExtent[] {
    const { states } = this.#file(ino)
    return runs(states, offset, Math.min(end, states.length), (state) => state !== ABSENT).map(
      ({ begin, length, state }) => {
        const name = STATE_NAMES[state] as port.OverlayExtent['state']
        return { offset: begin, length, state: name, hole: isHole(state) }
      },
    )
  }
  freeze(ino: Ino): port.FrozenJob | undefined {
    const file = this.#file(ino)
    if (!this.isDirty(ino)) return undefined
    const { bytes, states } = file
    const job = ++this.#jobs as port.JobId
    const taken = (state: number): boolean => state === DIRTY || state === DIRTY_HOLE
    const extents = runs(states, 0, states.length, taken).map(({ begin, length, state }) => {
      return { offset: begin, length, hole: isHole(state) }
    })
    file.job = { id: job, bytes: [...bytes], states: [...states], sizeDirty: file.sizeDirty }
    file.sizeDirty = false
    file.states = states.map((state) => (taken(state) ? state + 2 : state))
    let dataBytes = 0
    for (const extent of extents) if (!extent.hole) dataBytes += extent.length
    return { job, ino, attr: { ...file.attr }, extents, dataBytes }
  }
  readFrozen(job: port.JobId, offset: number, into: Uint8Array): number {
    for (const file of this.#files.values()) {
      if (file.job?.id !== job) continue
      for (let i = 0; i < into.length; i++) {
        into[i] = file.job.states[offset + i] === DIRTY ? (file.job.bytes[offset + i] ?? 0) : 0
      }
    }
    return into.length
  }
  settle(job: port.JobId, ok: boolean, thawBegin: number): void {
    for (const file of this.#files.values()) {
      if (file.job?.id !== job) continue
      file.states = file.states.map((state, at) => {
        if (state !== FROZEN && state !== FROZEN_HOLE) return state
        return ok && at < thawBegin ? state + 2 : state - 2
      })
      if (!ok && file.job.sizeDirty) file.sizeDirty = true
      file.job = undefined
      file.epoch++
      if (!dirtyIn(file)) file.toldDirty = false
    }
  }
  baseEpoch(ino: Ino): number {
    return this.#file(ino).epoch
  }
  replaceBase(ino: Ino, offset: number, length: number): void {
    const file = this.#file(ino)
    for (let at = offset; at < offset + length; at++) {
      file.bytes[at] = 0
      file.states[at] = ABSENT
    }
    file.attr.sizeBytes = file.bytes.length
    file.epoch++
    if (!dirtyIn(file)) file.toldDirty = false
  }
  fill(ino: Ino, epoch: number, offset: number, bytes: Uint8Array): port.FetchResult {
    return this.#fill(ino, epoch, offset, bytes, CLEAN)
  }
  async fetch(ino: Ino, epoch: number, pieces: port.ReadPiece[]): Promise<port.FetchResult> {
    for (const piece of pieces) {
      if (piece.kind === 'bundle') throw new Error('flat: no bundles')
      const hole = piece.kind === 'hole'
      const bytes = hole ? new Uint8Array(piece.length) : piece.bytes
      const result = this.#fill(ino, epoch, piece.offset, bytes, hole ? CLEAN_HOLE : CLEAN)
      if (result !== 'filled') return result
    }
    return 'filled'
  }
  setPlaces(): boolean {
    return false
  }
  fail(ino: Ino, offset: number, length: number): void {
    const { asked } = this.#file(ino)
    for (let at = offset; at < offset + length; at++) asked[at] = false
  }
  reportError(ino: Ino, errno: number): void {
    this.#file(ino).error = errno
  }
  takeError(ino: Ino): number {
    const file = this.#file(ino)
    const { error } = file
    file.error = 0
    return error
  }
  openCount(): number {
    return 0
  }
  dirtyBytes(ino: Ino): number {
    return this.#file(ino).states.filter((state) => state === DIRTY).length
  }
  isDirty(ino: Ino): boolean {
    return dirtyIn(this.#file(ino))
  }
  totals(): { dirtyBytes: number; cleanBytes: number; records: number } {
    let dirtyBytes = 0
    let cleanBytes = 0
    for (const { states } of this.#files.values()) {
      dirtyBytes += states.filter((state) => state === DIRTY || state === FROZEN).length
      cleanBytes += states.filter((state) => state === CLEAN).length
    }
    return { dirtyBytes, cleanBytes, records: this.#files.size }
  }
  setBaseHoles(): void {}

  drop(ino: Ino): void {
    this.#files.delete(ino)
    this.#changed = this.#changed.filter((other) => other !== ino)
  }

  #file(ino: Ino): Flat {
    const file = this.#files.get(ino)
    if (file === undefined) throw new Error(`flat: no ino ${ino}`)
    return file
  }
  #grow(file: Flat, end: number): void {
    while (file.bytes.length < end) {
      file.bytes.push(0)
      file.states.push(DIRTY_HOLE)
    }
  }
  #dirtied(ino: Ino, file: Flat): void {
    file.attr.sizeBytes = file.bytes.length
    if (!file.toldDirty) this.#events?.dirty(ino)
    file.toldDirty = true
  }
  #fill(ino: Ino, epoch: number, offset: number, bytes: Uint8Array, as: number): port.FetchResult {
    const file = this.#files.get(ino)
    if (file === undefined || file.epoch !== epoch) return 'stale'
    bytes.forEach((byte, i) => {
      file.asked[offset + i] = false
      if (offset + i >= file.bytes.length || file.states[offset + i] !== ABSENT) return
      file.bytes[offset + i] = byte
      file.states[offset + i] = as
    })
    return 'filled'
  }
}

function dirtyIn(file: Flat): boolean {
  const { states } = file
  return file.sizeDirty || states.includes(DIRTY) || states.includes(DIRTY_HOLE)
}

function runs(
  states: number[],
  begin: number,
  end: number,
  wanted: (state: number) => boolean,
): { begin: number; length: number; state: number }[] {
  const out: { begin: number; length: number; state: number }[] = []
  for (let at = begin; at < end; at++) {
    const state = states[at] ?? ABSENT
    if (!wanted(state)) continue
    const last = out.at(-1)
    if (last?.state === state && last.begin + last.length === at) last.length++
    else out.push({ begin: at, length: 1, state })
  }
  return out
}

function set(target: Attr, mask: number, from: Attr): void {
  target.nlink = from.nlink
  if (mask & 1) target.mode = from.mode
  if (mask & 2) target.uid = from.uid
  if (mask & 4) target.gid = from.gid
  if (mask & 8) target.sizeBytes = from.sizeBytes
  if (mask & 16) [target.atimeSec, target.atimeNsec] = [from.atimeSec, from.atimeNsec]
  if (mask & 32) [target.mtimeSec, target.mtimeNsec] = [from.mtimeSec, from.mtimeNsec]
  if (mask & 64) [target.ctimeSec, target.ctimeNsec] = [from.ctimeSec, from.ctimeNsec]
}
