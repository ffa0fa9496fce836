// What the inviting side makes of its vault for others: the text of a code, and the sealed keys.

import { randomBytes } from '../crypto/random.ts'
import type { Role } from '../ops/control-types.ts'
import type { AuthorId } from '../ops/types.ts'
import { encodeCode, inviterHash } from '../net/pairing/code.ts'
import type { Address } from '../net/pairing/ports.ts'
import { sealWelcome } from '../net/pairing/welcome.ts'
import { must } from '../util/assert.ts'
import { equalBytes, fromHex } from '../util/bytes.ts'
import type { VaultMembership } from './membership.ts'
import type { InviteRecord } from './pairing-invites.ts'

export function authorKey(signKey: Uint8Array): AuthorId {
  return Buffer.from(signKey).toString('latin1') as AuthorId
}

export function inviteCodeOf(
  { seed, role, expiryMs }: InviteRecord, self: AuthorId, addresses: readonly Address[],
): string {
  return encodeCode({
    seed: must(fromHex(seed), 'a seed in hex'), role, expiryMs, addresses,
    inviterHash: inviterHash(Buffer.from(self, 'latin1')),
  })
}

/** `boxKey`: of the device, or of the phrase, which `phraseKey` names then. */
export function sealedWelcome(
  membership: VaultMembership, name: string, role: Role, boxKey: Uint8Array,
  addresses: readonly Address[], phraseKey?: Uint8Array,
): Uint8Array {
  const { keys, members } = membership
  const genesis = must(members.genesis, 'a vault with members has a genesis')
  const phrases = members.phrases()
  const phrase = phraseKey === undefined
    ? phrases[0]
    : phrases.find(({ signKey }) => equalBytes(signKey, phraseKey))
  const { boxKey: phraseBox, signKey } = must(phrase, 'a vault has a phrase')
  return sealWelcome({
    keys, name, role, genesis, phrase: { boxKey: phraseBox, signKey }, addresses,
  }, boxKey, randomBytes(32))
}
