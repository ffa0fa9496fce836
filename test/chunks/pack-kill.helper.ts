// A process to be killed: writes files through real seal workers, syncs, and says so, for ever.
//   node --import tsx pack-kill.helper.ts DIRECTORY SEED
import { Frozen, bytesOf, openStore, randomOf, writeWhole } from './content.helper.ts'

/** File n of a seed: long enough to be in packs. */
export function fileOf(seed: number, n: number): Uint8Array {
  const random = randomOf(seed * 1000 + n)
  return bytesOf(random, 20_000 + random(random(3) === 0 ? 3_000_000 : 200_000))
}

const [directory, seed] = process.argv.slice(2)
if (directory !== undefined && process.argv[1]?.endsWith('pack-kill.helper.ts') === true) {
  const bench = await openStore({ directory, workers: true, frozen: new Frozen(64 * 1024 * 1024) })
  let n = 0
  const lane = async (): Promise<void> => {
    for (;;) {
      const first = n
      n += 3
      for (let i = first; i < first + 3; i++) {
        await writeWhole(bench, fileOf(Number(seed), i), i % 2 === 0)
      }
      await bench.store.sync()
      process.stdout.write(`synced ${first}\n`)
    }
  }
  await Promise.all([lane(), lane(), lane()])
}
