// `lattice key replace-phrase`: another 24 words for a vault; the old ones open nothing new.

import type { Context } from './command.ts'
import { disableCoreDumps } from './core-dumps.ts'
import { phraseLines } from './creation.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { confirm, oneVault } from './pairing.ts'
import { hasTerminal } from './passphrase.ts'

export async function run(context: Context): Promise<undefined> {
  const { output } = context
  const withPhrase = hasTerminal() && !output.json
  if (withPhrase) await disableCoreDumps()
  await withRunningDaemon(context.paths, async (client) => {
    const vault = await oneVault(context, await client.status())
    await confirm(context, `Replace the recovery phrase of ${vault.name}?`)
    const { phrase, epoch } = await client.replacePhrase(vault.id, { withPhrase })
    output.result({ vault: vault.name, epoch }, [`the phrase of ${vault.name} was replaced`])
    if (phrase === undefined) output.notice('the words are shown by: lattice key recovery')
    else process.stderr.write(`\nThe new words:\n\n${phraseLines(phrase).join('\n')}\n\n`)
  })
  return undefined
}
