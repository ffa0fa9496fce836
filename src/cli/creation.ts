// Creating a vault, as `init` and `mount` do it: passphrase if the key file is new, what was made,
// and the recovery phrase once, on a terminal only.

import type { ControlClient } from '../api/client.ts'
import type { CreateVaultResult, Status } from '../api/client-types.ts'
import type { Context } from './command.ts'
import { disableCoreDumps } from './core-dumps.ts'
import { UNPROTECTED_WARNING, hasTerminal, newPassphrase, withKeyAccess } from './passphrase.ts'

export async function createVault(
  context: Context,
  client: ControlClient,
  status: Status,
  request: { directory: string; forMount: boolean },
): Promise<CreateVaultResult> {
  const withPhrase = hasTerminal() && !context.output.json
  if (withPhrase) await disableCoreDumps()
  const created =
    status.keys.state === 'absent'
      ? await client.createVault({ ...request, withPhrase, ...(await newPassphrase(context)) })
      : await withKeyAccess(context, status.keys, (access) =>
          client.createVault({ ...request, withPhrase, ...access }),
        )
  const { output } = context
  output.notice(`created the vault ${created.vault.name} for ${created.vault.directory}`)
  if (created.recoveryPhrase !== undefined) showPhrase(created.recoveryPhrase)
  else output.notice('its recovery phrase (24 words) is shown by: lattice key recovery')
  if (created.newKeyFile && created.protection === 'none') output.warning(UNPROTECTED_WARNING)
  return created
}

/** On the terminal itself; never on stdout, which may be a file. */
function showPhrase(phrase: string): void {
  process.stderr.write(
    '\nRecovery phrase of this vault. Write it down: it opens the vault without the ' +
      `passphrase.\n\n${phraseLines(phrase).join('\n')}\n\n`,
  )
}

/** 24 words in four rows of six, numbered by row. */
export function phraseLines(phrase: string): string[] {
  const words = phrase.split(' ')
  const rows: string[] = []
  for (let at = 0; at < words.length; at += 6) {
    rows.push(`  ${words.slice(at, at + 6).map((word) => word.padEnd(9)).join(' ').trimEnd()}`)
  }
  return rows
}
