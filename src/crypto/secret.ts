// Memory for keys: libsodium's guarded allocations (locked, outside core dumps, between guard
// pages, freed with zeroes by the collector). Ownership: whoever makes a Secret wipes it when the
// key is no longer needed. A wiped secret reads as zeroes, it is never unmapped while referenced.

import sodium from 'sodium-native'
import { assert } from '../util/assert.ts'

/** A Uint8Array in guarded memory. */
export type Secret = Buffer & { readonly __brand?: 'secret' }

export function newSecret(sizeBytes: number): Secret {
  const secret = sodium.sodium_malloc(sizeBytes)
  secret.fill(0)
  return secret
}

/** A guarded copy; the source stays as it is. */
export function secretFrom(bytes: Uint8Array): Secret {
  const secret = sodium.sodium_malloc(bytes.length)
  secret.set(bytes)
  return secret
}

/** A guarded copy; the source is zeroed. */
export function takeSecret(bytes: Uint8Array): Secret {
  const secret = secretFrom(bytes)
  wipe(bytes)
  return secret
}

export function wipe(bytes: Uint8Array): void {
  sodium.sodium_memzero(bytes)
}

/** Equality in constant time; lengths are public. */
export function equalSecrets(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && (a.length === 0 || sodium.sodium_memcmp(a, b))
}

export function assertKey(key: Uint8Array, what: string): void {
  assert(key.length === 32, () => `${what} must be 32 bytes, not ${key.length}`)
}
