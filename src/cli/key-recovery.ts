// `lattice key recovery`: the 24 words of every vault whose keys are in the key file.

import type { Context } from './command.ts'
import { disableCoreDumps } from './core-dumps.ts'
import { phraseLines } from './creation.ts'
import { withDaemon } from './daemon-process.ts'
import { withKeyAccess } from './passphrase.ts'

export async function run(context: Context): Promise<undefined> {
  await disableCoreDumps()
  await withDaemon(context.paths, async (client) => {
    const { keys } = await client.status()
    const { phrases } = await withKeyAccess(context, keys, (access) =>
      client.recoveryPhrases(access),
    )
    const lines = phrases.flatMap(({ vault, phrase }) => [`${vault}:`, ...phraseLines(phrase)])
    context.output.result({ phrases }, lines)
  })
  return undefined
}
