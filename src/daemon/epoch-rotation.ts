// Mints the epochs that are due without anybody asking: a joint one after concurrent removals, one
// without whom the current one was boxed to wrongly, one that a member lacks (FORMATS, "Epochs").
// Who mints is the most senior device that may; the others leave it to that one. Until it has, what
// is sealed may be readable to somebody who was removed elsewhere at the same time.
//
// A new epoch may leave another reason behind, or have the same one again (a member that reports
// every epoch): so each one waits twice as long as the one before.
//
// Owner: DaemonPairing, from the opening of a vault until before its engine is closed.

import { isBlind } from '../crypto/vault-keys.ts'
import type { Rotation } from '../state/members-types.ts'
import { toHex } from '../util/bytes.ts'
import type { EngineKeys } from './engine-keys.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import type { VaultMembership } from './membership.ts'

/** What else comes with the news is waited for. */
const FIRST_WAIT_MS = 2000
const WAIT_MAX_MS = 24 * 3600_000

export interface EpochRotationOptions {
  membership: Pick<VaultMembership, 'members' | 'own' | 'self' | 'rotate'>
  keys: Pick<EngineKeys, 'onMembers' | 'epochs' | 'currentEpoch'>
  log: Pick<Log, 'info' | 'warn'>
  firstWaitMs?: number
}

export class EpochRotation {
  readonly #options: EpochRotationOptions
  #waitMs: number
  #timer: NodeJS.Timeout | undefined
  #minting: Promise<void> | undefined
  #isClosed = false

  constructor(options: EpochRotationOptions) {
    this.#options = options
    this.#waitMs = options.firstWaitMs ?? FIRST_WAIT_MS
    options.keys.onMembers(() => this.#considerLater())
    this.#considerLater()
  }

  /** Nothing is minted any more when it resolves. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#minting
  }

  #considerLater(): void {
    if (this.#timer !== undefined || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const due = this.#due()
      if (due === undefined || this.#isClosed) return
      this.#minting = this.#mint(due).finally(() => this.#considerLater())
    }, this.#waitMs)
    this.#timer.unref()
  }

  async #mint({ reasons }: Rotation): Promise<void> {
    const { membership, log } = this.#options
    this.#waitMs = Math.min(WAIT_MAX_MS, this.#waitMs * 2)
    try {
      await membership.rotate()
      log.info({ reasons }, 'a new epoch was due, and seals from now on')
    } catch (error) {
      log.warn({ reasons, ...loggable(error) }, 'a new epoch is due, and cannot be made')
    }
  }

  /** Undefined when nothing is, or somebody else is to mint it. */
  #due(): Rotation | undefined {
    const { membership, keys } = this.#options
    const { members, self } = membership
    if (!members.hasGenesis || membership.own?.role === undefined) return undefined
    const held = new Set(keys.epochs.flatMap((epoch) => (
      isBlind(epoch) ? [] : [toHex(epoch.epochId)]
    )))
    const under = toHex(keys.currentEpoch().epochId)
    const rotation = members.rotation(under, (id) => held.has(id))
    return rotation.reasons.length > 0 && rotation.minter === self ? rotation : undefined
  }
}
