// Where a seal worker reads frozen plaintext from: the native table of this process, by its handle,
// or memory shared between threads (tests, benches).

import { loadAddon } from '../crypto/native.ts'
import { assert } from '../util/assert.ts'

/** Copies frozen bytes of the job at the file offset; fills `into` whole. */
export type ReadFrozen = (job: number, offset: number, into: Uint8Array) => void

export type FrozenSource =
  | { kind: 'native'; handle: number }
  /** Job n is the file whose bytes begin at bases[n]. */
  | { kind: 'shared'; memory: SharedArrayBuffer; bases: Float64Array }

type TableAddon = {
  openFileTable(handle: number): {
    readFrozen(job: number, offset: number, into: Uint8Array): number
  }
}

export function openFrozen(source: FrozenSource): ReadFrozen {
  if (source.kind === 'native') {
    const table = loadAddon<TableAddon>().openFileTable(source.handle)
    return (job, offset, into) => {
      assert(table.readFrozen(job, offset, into) === into.length, 'readFrozen: short')
    }
  }
  const memory = Buffer.from(source.memory) // copy() is much faster than set() on shared memory
  return (job, offset, into) => {
    const begin = (source.bases[job] ?? 0) + offset
    assert(begin + into.length <= memory.length, 'shared frozen bytes: out of range')
    memory.copy(into, 0, begin, begin + into.length)
  }
}
