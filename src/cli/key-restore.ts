// `lattice key restore --phrase-file F`: a new key file from the 24 words of a vault.

import { LatticeError } from '../util/errors.ts'
import { text } from './command.ts'
import type { Context } from './command.ts'
import { withDaemon } from './daemon-process.ts'
import { UNPROTECTED_WARNING, newPassphrase, readSecretFile } from './passphrase.ts'

export async function run(context: Context): Promise<undefined> {
  const { output } = context
  const file = text(context, 'phraseFile')
  if (file === undefined) {
    throw new LatticeError('usage', 'the file with the recovery phrase is missing', {
      hint: 'lattice key restore --phrase-file FILE',
    })
  }
  const phrase = await readSecretFile(file, 'recovery phrase')
  const access = await newPassphrase(context)
  const result = await withDaemon(context.paths, (client) =>
    client.restoreKeys({ phrase, ...access }),
  )
  if (access.passphrase === undefined) output.warning(UNPROTECTED_WARNING)
  if (result.missing.length > 0) {
    const names = result.missing.join(', ')
    output.warning(`still without keys, restore them by their own phrases: ${names}`)
  }
  output.result(result, [
    `the key file ${result.keyFile} opens: ${result.restored.join(', ')}`,
    `the old key file is kept: ${result.oldKeyFile}`,
  ])
  return undefined
}
