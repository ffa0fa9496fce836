// `lattice doctor --names [DIR]`: names in mounted vaults that other systems would see differently.

import type { NamesResult } from '../api/client-types.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { countText } from './output.ts'
import { mountedVaults, shownPath } from './vault-path.ts'

const SENTENCES: Record<string, string> = {
  'not-utf8': 'is not UTF-8: macOS and Windows cannot show it',
  'not-nfc': 'is not in composed form: macOS may spell it otherwise',
  'same-after-nfc': 'is one with this on macOS:',
  'same-without-case': 'is one with this on macOS and Windows:',
  'windows-character': 'has a character that Windows does not allow',
  'windows-reserved': 'is a reserved name on Windows',
  'windows-end': 'ends with a dot or space, which Windows drops',
}

export async function run(context: Context): Promise<undefined> {
  const results = await withRunningDaemon(context.paths, async (client) => {
    const all: { directory: string; lines: string[]; result: NamesResult }[] = []
    const chosen = await mountedVaults(await client.status(), context.arguments[0])
    for (const { vault, path } of chosen) {
      const result = await client.names(vault.id, { path })
      const lines = result.findings.map(({ path: at, problem, other }) => {
        const more = other === undefined ? '' : ` ${other}`
        return `${shownPath(vault, at)}: ${SENTENCES[problem] ?? problem}${more}`
      })
      const verdict = result.findingCount === 0
        ? 'every system sees them alike'
        : `${result.findingCount.toLocaleString('en')} to look at`
      lines.push(`${vault.directory}: ${countText(result.names, 'name')}, ${verdict}`)
      all.push({ directory: vault.directory, lines, result })
    }
    return all
  })
  const vaults = results.map(({ directory, result }) => ({ directory, ...result }))
  context.output.result({ vaults }, results.flatMap(({ lines }) => lines))
  return undefined
}
