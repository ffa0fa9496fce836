// `lattice recover DIR`: a new owner device from the 24 words and any full member in reach.

import { LatticeError } from '../util/errors.ts'
import { text } from './command.ts'
import type { Context } from './command.ts'
import { disableCoreDumps } from './core-dumps.ts'
import { resolveDirectory } from './directories.ts'
import { joining, requestOf } from './join.ts'
import { hasTerminal, readSecretFile } from './passphrase.ts'

export async function run(context: Context): Promise<undefined> {
  const directory = await resolveDirectory(context.arguments[0] ?? '')
  const phrase = await phraseOf(context)
  await joining(context, (client, access) => (
    client.recover({ ...access, ...requestOf(context, directory), phrase })
  ))
  return undefined
}

async function phraseOf(context: Context): Promise<string> {
  const named = text(context, 'phraseFile')
  if (named !== undefined) return (await readSecretFile(named, 'recovery phrase')).trim()
  if (!hasTerminal()) {
    throw new LatticeError('usage', 'the recovery phrase is needed', {
      hint: 'give it by --phrase-file, or run this on a terminal',
    })
  }
  await disableCoreDumps()
  const { isCancel, password } = await import('@clack/prompts')
  const answer = await password({ message: 'The 24 words', output: process.stderr })
  if (isCancel(answer)) throw new LatticeError('cancelled', 'cancelled')
  return answer ?? ''
}
