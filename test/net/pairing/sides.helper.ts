// An inviter and a joiner with real keys and no vault behind them.
import { randomBytes } from '../../../src/crypto/random.ts'
import { boxKeyPair, signKeyPair } from '../../../src/crypto/sign.ts'
import type { VaultKeys } from '../../../src/crypto/vault-keys.ts'
import { inviterHash } from '../../../src/net/pairing/code.ts'
import type { InviteCode, InviteRole } from '../../../src/net/pairing/code.ts'
import type { InviterSide, JoiningDevice } from '../../../src/net/pairing/inviter.ts'
import type { JoinerSide } from '../../../src/net/pairing/joiner.ts'
import { inviteSecrets } from '../../../src/net/pairing/secrets.ts'
import type { InviteSecrets } from '../../../src/net/pairing/secrets.ts'
import { sealWelcome } from '../../../src/net/pairing/welcome.ts'
import type { Welcome } from '../../../src/net/pairing/welcome.ts'
import { createVaultKeys } from '../../../src/vault/create.ts'

export const TIMES = { stepMs: 1000, confirmMs: 1000, storeMs: 1000 }

export class Scene {
  readonly vault: VaultKeys = createVaultKeys('Photos', 'desk')
  readonly secrets: InviteSecrets
  readonly code: InviteCode
  readonly digits: { inviter?: string; joiner?: string } = {}
  readonly done: string[] = []
  received: Welcome | undefined

  constructor(role: InviteRole = 'writer') {
    const sign = signKeyPair(this.vault.signSeed)
    const seed = randomBytes(16)
    this.secrets = inviteSecrets(seed)
    this.code = {
      seed, inviterHash: inviterHash(sign.publicKey), role, expiryMs: 2e12, addresses: [],
    }
  }

  inviter(changes: Partial<InviterSide> = {}): InviterSide {
    const { vault } = this
    const box = boxKeyPair(vault.boxSeed)
    const { recoveryBoxKey, recoverySignKey, signSeed } = vault
    const sign = signKeyPair(signSeed)
    return {
      sign, label: 'desk', vaultId: vault.vaultId, vaultName: vault.name, role: this.code.role,
      codeKey: this.secrets.code.publicKey, timeouts: TIMES,
      begin: async () => ({ isResumed: false }),
      confirm: async (digits) => void (this.digits.inviter = digits),
      admit: async (device: JoiningDevice) => {
        this.done.push('admit')
        const genesis = {
          deviceSignKey: sign.publicKey, deviceBoxKey: box.publicKey, recoveryBoxKey,
          recoverySignKey,
        }
        const phrase = { boxKey: recoveryBoxKey, signKey: recoverySignKey }
        const source = {
          keys: vault, name: vault.name, role: this.code.role, genesis, phrase,
          addresses: [{ host: '192.0.2.7', port: 4000 }],
        }
        return sealWelcome(source, device.boxKey, randomBytes(32))
      },
      stored: () => void this.done.push('stored'),
      ...changes,
    }
  }

  joiner(changes: Partial<JoinerSide> = {}): JoinerSide {
    return {
      code: this.code, secrets: this.secrets, label: 'laptop', timeouts: TIMES,
      sign: signKeyPair(randomBytes(32)), box: boxKeyPair(randomBytes(32)),
      confirm: async (digits) => void (this.digits.joiner = digits),
      store: async (welcome) => void (this.received = welcome),
      ...changes,
    }
  }
}
