// Random bytes for nonces, ids and keys, from the operating system through node:crypto. Small
// draws come from a pool that is refilled in one call (a system call per nonce would double the
// cost of a small record); bytes leave the pool once and are zeroed there.

import { randomFillSync } from 'node:crypto'
import { newSecret } from './secret.ts'
import type { Secret } from './secret.ts'

const POOL_BYTES = 8192
const pool = new Uint8Array(POOL_BYTES)
let poolAt = POOL_BYTES

/** Fills `out` and returns it. */
export function randomFill(out: Uint8Array): Uint8Array {
  if (out.length > 64) {
    randomFillSync(out)
    return out
  }
  if (poolAt + out.length > POOL_BYTES) {
    randomFillSync(pool)
    poolAt = 0
  }
  for (let i = 0; i < out.length; i++) {
    out[i] = pool[poolAt] as number
    pool[poolAt++] = 0
  }
  return out
}

export function randomBytes(sizeBytes: number): Uint8Array {
  return randomFill(new Uint8Array(sizeBytes))
}

/** A fresh key, drawn straight into guarded memory. */
export function randomSecret(sizeBytes = 32): Secret {
  const secret = newSecret(sizeBytes)
  randomFillSync(secret)
  return secret
}
