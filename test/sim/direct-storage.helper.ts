// The device's side of the direct engine: a journal of objects, cut at a random place by a crash.
import { decodeBatch } from '../../src/ops/codec.ts'
import type { AuthorId, Batch } from '../../src/ops/types.ts'
import { Ids } from '../../src/ops/ids.ts'
import { SeededRandom } from '../support/random.ts'
import type { SimDevice, Storage } from './device.helper.ts'
import { DirectEngine, DirectJournal } from './direct-engine.helper.ts'
import type { DirectRules } from './direct-engine.helper.ts'
import type { SimEngine } from './engine.helper.ts'
import { deviceLabel } from './workload.helper.ts'

const ids = new Ids(Buffer.alloc(32, 9))
const ROOT = ids.root(Buffer.alloc(16))

/** Not in the order of the devices: ties are broken by author. */
export function directAuthor(index: number): AuthorId {
  return Buffer.alloc(32, [0x51, 0x13, 0xc7, 0x99, 0x2e, 0xe4, 0x78, 0x05][index % 8])
    .fill(index, 31).toString('latin1') as AuthorId
}

export class DirectStorage implements Storage {
  readonly hasCrashed = false
  readonly liar = { ids, open: decoded, seal: (plain: Uint8Array): Uint8Array => plain }
  readonly #journal = new DirectJournal()
  readonly #random: SeededRandom
  readonly #rules: DirectRules
  readonly #labels: Map<AuthorId, string>

  constructor(seed: number, rules: DirectRules, devices: number) {
    this.#random = new SeededRandom(seed)
    this.#rules = rules
    this.#labels = new Map(
      Array.from({ length: devices }, (_, i) => [directAuthor(i), deviceLabel(i)]),
    )
  }

  async open(device: SimDevice): Promise<SimEngine> {
    return new DirectEngine({
      author: device.author,
      ids,
      root: ROOT,
      clock: device.clock,
      logs: device.logs,
      chief: directAuthor(0),
      journal: this.#journal,
      rules: this.#rules,
      label: (author) => this.#labels.get(author) ?? '',
    })
  }

  arm(): void {}
  disarm(): void {}
  fail(): void {}
  fill(): void {}
  backUp(): void {}
  dropIndex(): void {}
  async close(): Promise<void> {}

  restore(): boolean {
    return false
  }

  powerCut(): void {
    this.#journal.crash(this.#random)
  }

  kill(): void {
    this.#journal.crash(this.#random)
  }
}

function decoded(block: Uint8Array, author: AuthorId, seq: number): Batch | undefined {
  try {
    return decodeBatch(block, author, seq, ids)
  } catch {
    return undefined
  }
}
