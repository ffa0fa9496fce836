// Chunk ids: BLAKE3-256 of the plaintext, keyed with the vault's K_id. Equal content has equal ids
// within a vault and unrelated ones elsewhere. Ids never leave ciphertext: not on the wire, not in
// logs, not as plain keys of the index. In memory an id is a latin1 string, one character a byte.

import { blake3Keyed } from '../crypto/hash.ts'
import { bufferView } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'

export const CHUNK_ID_BYTES = 32

export type ChunkId = string & { readonly __chunk: true }

/** `idKey` is K_id. About 15 µs for 64 KiB. */
export function chunkIdOf(idKey: Uint8Array, plain: Uint8Array): ChunkId {
  return blake3Keyed(idKey, plain).toString('latin1') as ChunkId
}

/** The id whose bytes stand at `at`. */
export function readChunkId(bytes: Uint8Array, at = 0): ChunkId {
  return bufferView(bytes).toString('latin1', at, at + CHUNK_ID_BYTES) as ChunkId
}

/** Writes the 32 bytes of `id` at `at`. */
export function writeChunkId(bytes: Uint8Array, at: number, id: ChunkId): void {
  bufferView(bytes).write(id, at, CHUNK_ID_BYTES, 'latin1')
}

/** Throws 'chunk-id-mismatch' when the plaintext is not what the id names. */
export function checkChunkId(idKey: Uint8Array, id: ChunkId, plain: Uint8Array): void {
  if (chunkIdOf(idKey, plain) !== id) {
    throw new LatticeError('chunk-id-mismatch', 'a chunk does not have the content of its id', {
      details: { plainBytes: plain.length },
    })
  }
}
