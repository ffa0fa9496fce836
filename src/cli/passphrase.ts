// Where a passphrase comes from: --passphrase-file, LATTICE_PASSPHRASE_FILE, or a prompt on the
// terminal. Never an argument, never the environment itself. Without a terminal and without a file
// a new key file stands unprotected, which is said, and an existing one asks for its passphrase.

import { readFile } from 'node:fs/promises'
import type { KeyAccess, KeyInfo } from '../api/client-types.ts'
import { PASSPHRASE_BYTES_MAX } from '../config/limits.ts'
import { LatticeError, errnoName, fromSystemError, isLatticeError } from '../util/errors.ts'
import { text } from './command.ts'
import type { Context } from './command.ts'
import { disableCoreDumps } from './core-dumps.ts'
import { resolveFile } from './directories.ts'

const PROMPTS_MAX = 3

export function hasTerminal(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true
}

/** For a new key file: the passphrase, or none where nobody can be asked. */
export async function newPassphrase(context: Context): Promise<KeyAccess> {
  const given = await passphraseFromFile(context)
  if (given !== undefined) return { passphrase: given }
  if (!hasTerminal() || context.output.json) return { allowUnprotected: true }
  const first = await prompt('New passphrase for your keys')
  const second = await prompt('The same again')
  if (first === second) return { passphrase: first }
  throw new LatticeError('wrong-passphrase', 'the two passphrases differ', { hint: 'try again' })
}

/**
 * Runs `use` with what opens the key file: nothing when it is open or unprotected already. On a
 * terminal a wrong passphrase may be corrected.
 */
export async function withKeyAccess<T>(
  context: Context,
  keys: KeyInfo,
  use: (access: KeyAccess) => Promise<T>,
): Promise<T> {
  if (keys.state !== 'locked' || keys.protection === 'none') return use({})
  const given = await passphraseFromFile(context)
  if (given !== undefined) return use({ passphrase: given })
  if (!hasTerminal() || context.output.json) return use({}) // the daemon says what is missing
  for (let count = 1; ; count++) {
    try {
      return await use({ passphrase: await prompt('Passphrase') })
    } catch (error) {
      if (!isLatticeError(error, 'wrong-passphrase') || count >= PROMPTS_MAX) throw error
      context.output.notice('the passphrase is wrong, try again')
    }
  }
}

export const UNPROTECTED_WARNING =
  'disk theft: unprotected. The key file has no passphrase: whoever reads it reads the vault'

async function passphraseFromFile(context: Context): Promise<string | undefined> {
  const named = text(context, 'passphraseFile') ?? process.env['LATTICE_PASSPHRASE_FILE']
  if (named === undefined || named === '') return undefined
  const passphrase = (await readSecretFile(named, 'passphrase')).replace(/\r?\n$/, '')
  if (passphrase !== '') return passphrase
  throw new LatticeError('empty-passphrase', 'the passphrase file is empty', {
    hint: 'its first and only line is the passphrase',
  })
}

/** `-` is standard input. `what` names it in errors. */
export async function readSecretFile(named: string, what: string): Promise<string> {
  const path = named === '-' ? '/dev/stdin' : resolveFile(named)
  await disableCoreDumps()
  let bytes: Buffer
  try {
    bytes = await readFile(path)
  } catch (error) {
    if (errnoName(error) === 'ENOENT') {
      throw new LatticeError('not-found', `the ${what} file ${path} does not exist`)
    }
    throw fromSystemError(error, `the ${what} file ${path} cannot be read`)
  }
  if (bytes.length > PASSPHRASE_BYTES_MAX) {
    const message = `the ${what} file has more than ${PASSPHRASE_BYTES_MAX} bytes`
    throw new LatticeError('too-large', message)
  }
  return bytes.toString('utf8')
}

async function prompt(message: string): Promise<string> {
  await disableCoreDumps()
  const { isCancel, password } = await import('@clack/prompts')
  const answer = await password({ message, output: process.stderr })
  if (isCancel(answer)) throw new LatticeError('cancelled', 'cancelled')
  if (answer !== undefined && answer !== '') return answer
  throw new LatticeError('empty-passphrase', 'the passphrase is empty')
}
