// What a device with the whole engine keeps across crashes: a disk that forgets what was not
// flushed, and the index of the last checkpoint (or none, when that is lost, too).
import type { MemberRules } from '../../src/state/members-rules.ts'
import { openBlock } from '../../src/vault/journal-batch.ts'
import { MemoryIndex } from '../support/sim-index.ts'
import { NONCE_BYTES } from '../../src/crypto/aead.ts'
import { sealBatch } from '../../src/ops/envelope.ts'
import type { AuthorId, Batch } from '../../src/ops/types.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import { SeededRandom } from '../support/random.ts'
import { SimDisk } from '../support/sim-disk.ts'
import { CoreEngine } from './core-engine.helper.ts'
import type { SimDevice, Storage } from './device.helper.ts'
import type { SimEngine } from './engine.helper.ts'
import { ROOT, VAULT_ID, ids } from './sim-vault.helper.ts'
import type { SimKeys } from './sim-vault.helper.ts'

export class CoreStorage implements Storage {
  readonly keys: SimKeys
  readonly #random: SeededRandom
  readonly #memberRules: Partial<MemberRules> | undefined
  #disk: SimDisk | undefined
  #index = new MemoryIndex(ROOT)
  #device: SimDevice | undefined

  constructor(seed: number, keys: SimKeys, memberRules: Partial<MemberRules> | undefined) {
    this.#random = new SeededRandom(seed)
    this.keys = keys
    this.#memberRules = memberRules
  }

  get hasCrashed(): boolean {
    return this.#disk?.hasCrashed === true
  }

  get disk(): SimDisk {
    return (this.#disk ??= new SimDisk(this.#random.int(0, 2 ** 31), () => this.#latency()))
  }

  readonly liar = {
    ids,
    open: (block: Uint8Array, author: AuthorId, seq: number): Batch | undefined => {
      try {
        const opened = openBlock(block, { author, seq }, this.keys)
        return 'missing' in opened ? undefined : opened
      } catch (error) {
        if (!isLatticeError(error, 'invalid')) throw error
        return undefined
      }
    },
    seal: (plain: Uint8Array, author: AuthorId, seq: number): Uint8Array => {
      const nonce = this.#random.bytes(NONCE_BYTES)
      if (plain.length > 200_000 || this.#random.chance(0.05)) return Uint8Array.from(plain)
      const seal = this.keys.current(() => [])
      return sealBatch(plain, { vaultId: VAULT_ID, author, seq }, { ...seal, nonce })
    },
  }

  async open(device: SimDevice): Promise<SimEngine> {
    this.#device = device
    const seed = this.#random.int(0, 2 ** 31)
    return CoreEngine.open({
      device, disk: this.disk, index: this.#index, keys: this.keys, seed,
      memberRules: this.#memberRules,
    })
  }

  arm(calls: number): void {
    this.disk.crashAfter(calls)
  }

  disarm(): void {
    if (!this.hasCrashed) this.disk.crashAfter(Infinity)
    this.disk.healed()
  }

  fail(random: SeededRandom): void {
    const calls = ['writeAndSync', 'sync', 'create', 'syncDirectory'] as const
    this.disk.fail(random.pick(calls), random.int(1, 4))
  }

  powerCut(): void {
    this.#disk = this.disk.reboot()
    this.#reopenIndex(0.2)
  }

  kill(): void {
    this.#disk = this.disk.restart()
    this.#reopenIndex(0)
  }

  /** The index is derived from the journal: without it everything is folded anew. */
  dropIndex(): void {
    this.#index = new MemoryIndex(ROOT)
  }

  #reopenIndex(lossChance: number): void {
    if (this.#random.chance(lossChance)) this.dropIndex()
    else this.#index.reopen()
  }

  #latency(): Promise<void> {
    const device = this.#device as SimDevice
    return device.world.scheduler.sleep(this.#random.next() * 2, device.life)
  }
}
