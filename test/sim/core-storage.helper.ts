// What a device with the whole engine keeps across crashes: a disk that forgets what was not
// flushed, the index of the last checkpoint (or none, when that is lost, too), and a backup.
import type { MemberRules } from '../../src/state/members-rules.ts'
import { openBlock } from '../../src/vault/journal-batch.ts'
import { NONCE_BYTES } from '../../src/crypto/aead.ts'
import { sealBatch } from '../../src/ops/envelope.ts'
import type { AuthorId, Batch } from '../../src/ops/types.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import { SeededRandom } from '../support/random.ts'
import { SimDisk } from '../support/sim-disk.ts'
import { CoreEngine } from './core-engine.helper.ts'
import type { SimDevice, Storage } from './device.helper.ts'
import type { SimEngine } from './engine.helper.ts'
import type { IndexPlace } from './index-place.helper.ts'
import { VAULT_ID, ids } from './sim-vault.helper.ts'
import type { SimKeys } from './sim-vault.helper.ts'

export interface CoreStorageOptions {
  seed: number
  keys: SimKeys
  index: IndexPlace
  memberRules: Partial<MemberRules> | undefined
  /** What the journal keeps free for itself. */
  spareBytes: number
}

export class CoreStorage implements Storage {
  readonly keys: SimKeys
  readonly #options: CoreStorageOptions
  readonly #random: SeededRandom
  #disk: SimDisk | undefined
  #backup: SimDisk | undefined
  #device: SimDevice | undefined

  constructor(options: CoreStorageOptions) {
    this.#options = options
    this.#random = new SeededRandom(options.seed)
    this.keys = options.keys
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
      const held = this.keys.held()
      const seal = held.length > 1 && this.#random.chance(0.5)
        ? this.#random.pick(held) : this.keys.current(() => [])
      return sealBatch(plain, { vaultId: VAULT_ID, author, seq }, { ...seal, nonce })
    },
  }

  async open(device: SimDevice): Promise<SimEngine> {
    this.#device = device
    const seed = this.#random.int(0, 2 ** 31)
    const { memberRules, spareBytes } = this.#options
    const { disk, keys } = this
    const index = await this.#options.index.open()
    return CoreEngine.open({ device, disk, index, keys, seed, memberRules, spareBytes })
  }

  arm(calls: number): void {
    this.disk.crashAfter(calls)
  }

  disarm(): void {
    if (!this.hasCrashed) this.disk.crashAfter(Infinity)
    this.disk.healed()
    this.disk.capacityBytes = Infinity
  }

  fail(random: SeededRandom): void {
    const calls = ['writeAndSync', 'sync', 'create', 'syncDirectory'] as const
    this.disk.fail(random.pick(calls), random.int(1, 4))
  }

  fill(roomBytes: number): void {
    this.disk.capacityBytes = this.disk.usedBytes() + roomBytes
  }

  powerCut(): void {
    this.#nextDisk(this.disk.reboot())
    this.#mayLoseIndex(0.2)
  }

  kill(): void {
    this.#nextDisk(this.disk.restart())
    this.#mayLoseIndex(0)
  }

  backUp(): void {
    this.#backup = this.disk.copy(this.#random.int(0, 2 ** 31))
  }

  restore(): boolean {
    if (this.#backup === undefined) return false
    this.#disk = this.#backup.copy(this.#random.int(0, 2 ** 31))
    this.dropIndex()
    return true
  }

  dropIndex(): void {
    this.#options.index.drop()
  }

  close(): Promise<void> {
    return this.#options.index.close()
  }

  #mayLoseIndex(chance: number): void {
    if (this.#random.chance(chance)) this.dropIndex()
  }

  #nextDisk(next: SimDisk): void {
    next.capacityBytes = this.disk.capacityBytes
    this.#disk = next
  }

  #latency(): Promise<void> {
    const device = this.#device as SimDevice
    return device.world.scheduler.sleep(this.#random.next() * 2, device.life)
  }
}
