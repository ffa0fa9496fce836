// `lattice conflicts resolve PATH --keep mine|theirs|both|N`: decides one conflict. What is not
// kept leaves the directory, and stays in the history.

import type { Context } from './command.ts'
import { text } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { LatticeError } from '../util/errors.ts'
import { shownPath, vaultPath } from './vault-path.ts'

const WORDS = ['mine', 'theirs', 'both']

export async function run(context: Context): Promise<undefined> {
  const keep = text(context, 'keep')
  if (keep === undefined || !(WORDS.includes(keep) || /^[1-9][0-9]{0,5}$/.test(keep))) {
    throw new LatticeError('usage', 'which one is to be kept?', {
      hint: '--keep mine, theirs, both, or a number: lattice conflicts show PATH',
    })
  }
  await withRunningDaemon(context.paths, async (client) => {
    const { vault, path } = await vaultPath(await client.status(), context.arguments[0] ?? '')
    const { kept, removed } = await client.resolve(vault.id, { path, keep })
    context.output.result({ vault: vault.name, kept, removed }, [
      ...kept.map((one) => `kept     ${shownPath(vault, one)}`),
      ...removed.map((one) => `removed  ${shownPath(vault, one)}`),
    ])
  })
  return undefined
}
