// The key that a passphrase yields: Argon2id 1.3 (RFC 9106), lanes = 1, through sodium, in libuv's
// thread pool, since 256 MiB take 0.7 s. Parameters are stored with what the key seals and bounded
// when they are read: a damaged file must not ask for a terabyte.

import sodium from 'sodium-native'
import { assert } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import { newSecret } from './secret.ts'
import type { Secret } from './secret.ts'

export const SALT_BYTES = 16

export type ArgonParameters = { passes: number; memoryKib: number }

export const ARGON_DEFAULT: ArgonParameters = { passes: 3, memoryKib: 256 * 1024 }

const PASSES_MAX = 16
const MEMORY_MIN_KIB = 8
const MEMORY_MAX_KIB = 2 * 1024 * 1024

export function isArgonParameters(parameters: ArgonParameters): boolean {
  const { passes, memoryKib } = parameters
  return (
    Number.isInteger(passes) &&
    passes >= 1 &&
    passes <= PASSES_MAX &&
    Number.isInteger(memoryKib) &&
    memoryKib >= MEMORY_MIN_KIB &&
    memoryKib <= MEMORY_MAX_KIB
  )
}

/** 32 bytes in guarded memory. Throws 'empty-passphrase'; the passphrase stays the caller's. */
export async function passphraseKey(
  passphrase: Uint8Array,
  salt: Uint8Array,
  parameters: ArgonParameters,
): Promise<Secret> {
  assert(salt.length === SALT_BYTES, 'Argon2id salt length')
  assert(isArgonParameters(parameters), 'Argon2id parameters')
  if (passphrase.length === 0) {
    throw new LatticeError('empty-passphrase', 'the passphrase is empty')
  }
  const key = newSecret(32)
  await sodium.crypto_pwhash_async(
    key,
    passphrase,
    salt,
    parameters.passes,
    parameters.memoryKib * 1024,
    sodium.crypto_pwhash_ALG_ARGON2ID13,
  )
  return key
}
