// `lattice check [DIR]`: verifies what is stored; 26 when something is wrong.

import type { CheckResult } from '../api/client-types.ts'
import { EXIT_CHECK_FOUND, EXIT_OK } from '../config/exit-codes.ts'
import { flag } from './command.ts'
import type { Context } from './command.ts'
import { withDaemon } from './daemon-process.ts'
import { countText } from './output.ts'
import { withKeyAccess } from './passphrase.ts'
import { selectVaults } from './selection.ts'

const SHOWN_MAX = 50

export async function run(context: Context): Promise<number> {
  const readData = flag(context, 'readData')
  const results = await withDaemon(context.paths, async (client) => {
    const status = await client.status()
    const all: CheckResult[] = []
    for (const vault of await selectVaults(status, context.arguments[0])) {
      const keys = all.length === 0 ? status.keys : ({ ...status.keys, state: 'open' } as const)
      const check = withKeyAccess(context, keys, (access) =>
        client.check(vault.id, { readData, ...access }),
      )
      all.push(await check)
    }
    return all
  })
  context.output.result({ vaults: results }, results.flatMap(lines))
  return results.some((result) => result.findingCount > 0) ? EXIT_CHECK_FOUND : EXIT_OK
}

function lines(result: CheckResult): string[] {
  const counts = Object.entries(result.counts).map(([name, count]) => `${name} ${count}`)
  const found = result.findings.slice(0, SHOWN_MAX)
  const verdict =
    result.findingCount === 0 ? 'no errors found' : countText(result.findingCount, 'error')
  return [
    `vault ${result.vault.name}: ${verdict} (${result.seconds.toFixed(1)} s)`,
    `  ${counts.join(', ')}`,
    ...found.map(({ where, reason, message }) => `  ${where}: ${reason}: ${message}`),
    ...(result.findingCount > found.length ? [`  … all of them with --json`] : []),
  ]
}
