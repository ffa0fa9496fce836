// What invite, join and recover share: which vault is meant, how long, waiting in steps, and the
// question whether both screens show the same digits.

import type { VaultStatus, Status } from '../api/client-types.ts'
import type { DecideRequest } from '../api/client-pairing-types.ts'
import { LatticeError } from '../util/errors.ts'
import { flag, text } from './command.ts'
import type { Context } from './command.ts'
import { hasTerminal } from './passphrase.ts'
import { mountedVaults } from './vault-path.ts'

const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3600_000, d: 86_400_000 }

/** '90s', '30m', '1h', '2d'. Throws 'usage'. */
export function durationMs(words: string): number {
  const found = /^(\d{1,6})([smhd])$/.exec(words.trim())
  const unit = UNITS[found?.[2] ?? '']
  if (unit !== undefined) return Number(found?.[1]) * unit
  throw new LatticeError('usage', `${words} is no length of time`, { hint: '90s, 30m, 1h or 2d' })
}

/** The mounted vault that --vault names, the working directory lies in, or the only one. */
export async function oneVault(context: Context, status: Status): Promise<VaultStatus> {
  const found = await mountedVaults(status, text(context, 'vault'))
  const [one] = found
  if (one !== undefined && found.length === 1) return one.vault
  throw new LatticeError('ambiguous', 'several vaults are mounted', {
    hint: `name one: --vault ${found.map(({ vault }) => vault.directory).join(' or --vault ')}`,
  })
}

/** 'same', 'differ' or 'refuse' (Ctrl-C); throws 'usage' where nobody can be asked. */
export async function askDigits(
  context: Context, digits: string, device: string,
): Promise<DecideRequest['decision']> {
  checkCanAsk(context)
  const { isCancel, select } = await import('@clack/prompts')
  const answer = await select({
    message: `${device}\n   This screen shows   ${digits}   – does the other one, too?`,
    options: [
      { value: 'refuse' as const, label: 'Cancel' },
      { value: 'same' as const, label: `Yes, both show ${digits}` },
      { value: 'differ' as const, label: 'No, the digits differ: end the invite' },
    ],
    output: process.stderr,
  })
  return isCancel(answer) ? 'refuse' : answer
}

/** Before anything is begun that a person must answer for. */
export function checkCanAsk(context: Context): void {
  if (flag(context, 'yes') || (hasTerminal() && !context.output.json)) return
  throw new LatticeError('usage', 'nobody is there to compare the digits', {
    hint: 'run it on a terminal, or give --yes',
  })
}

/** One change that nobody should make by mistake. Throws 'cancelled', or 'usage' as above. */
export async function confirm(context: Context, question: string): Promise<void> {
  if (flag(context, 'yes')) return
  if (!hasTerminal() || context.output.json) {
    throw new LatticeError('usage', 'this needs a confirmation', { hint: 'give --yes' })
  }
  const prompts = await import('@clack/prompts')
  const answer = await prompts.confirm({
    message: question, initialValue: false, output: process.stderr,
  })
  if (answer !== true) throw new LatticeError('cancelled', 'cancelled')
}

/** As an error of this process: what the daemon says an attempt failed of. */
export function failure(problem: { reason: string; message: string; hint?: string }): LatticeError {
  return new LatticeError(problem.reason as LatticeError['code'], problem.message, {
    hint: problem.hint,
  })
}
