// Names the bundles of a stretch of a pack: their ids, and the chunks in them. For whoever
// announces own content; reads every byte, so it belongs to a thread of its own.

import type { ChunkId } from '../ops/types.ts'
import { LatticeError } from '../util/errors.ts'
import { bundleIdOf } from './bundle-id.ts'
import type { BundleId } from './bundle-id.ts'
import { openBundleIndex } from './bundle.ts'
import { parseHeader } from './bundle-layout.ts'
import type { BundlePlace } from './chunk-index-port.ts'
import { GoneList } from './gone-list.ts'
import type { PackDisk } from './pack-disk.ts'
import { BLOCK_BYTES, scanPack } from './pack-layout.ts'

/** Bundles named at one go. */
const BUNDLES_AT_ONCE = 32
const STRETCH_BYTES = 32 * 1024 * 1024

/** A bundle that an own pack holds. */
export type FoundBundle = { id: BundleId; place: BundlePlace; chunks: ChunkId[] }

/** Bytes [begin, end) of the pack with this number, at this path. 0 = from its first bundle on. */
export type PackStretch = { path: string; file: number; begin: number; end: number }

/**
 * The first bundles of the stretch, in their order; none when there are no more. What is damaged is
 * passed over: its chunks cannot be read here either. Throws 'missing-key', 'io'.
 */
export function nameBundles(
  disk: PackDisk,
  bundleKey: (epochId: Uint8Array) => Uint8Array | undefined,
  vaultId: Uint8Array,
  { path, file, begin, end }: PackStretch,
): FoundBundle[] {
  const gone = GoneList.read(disk, path, vaultId)
  const pack = disk.open(path, 'read')
  try {
    const read = (offset: number, into: Uint8Array): number => pack.readSync(offset, into)
    const found: FoundBundle[] = []
    for (let from = Math.max(begin, BLOCK_BYTES); from < end && found.length === 0;) {
      const to = Math.min(end, from + STRETCH_BYTES)
      const { records } = scanPack(read, from, to, { goneAt: (offset) => gone.at(offset) })
      for (const { bundleOffset, bundleBytes } of records.slice(0, BUNDLES_AT_ONCE)) {
        const sealed = Buffer.allocUnsafe(bundleBytes)
        read(bundleOffset, sealed)
        const place = { file, bundleOffset, bundleBytes }
        found.push({ id: bundleIdOf(sealed), place, chunks: chunksIn(sealed, bundleKey) })
      }
      from = to
    }
    return found
  } finally {
    pack.close()
  }
}

function chunksIn(
  sealed: Uint8Array,
  bundleKey: (epochId: Uint8Array) => Uint8Array | undefined,
): ChunkId[] {
  const key = bundleKey(parseHeader(sealed, sealed.length).epochId)
  if (key === undefined) throw new LatticeError('missing-key', 'no key for the epoch of a bundle')
  return openBundleIndex(key, sealed).map(({ chunk }) => chunk)
}
