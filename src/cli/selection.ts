// Which vaults a command is about: the one recorded for a directory, or all of them.

import type { Status, VaultStatus } from '../api/client-types.ts'
import { LatticeError } from '../util/errors.ts'
import { resolveDirectory } from './directories.ts'

/** Throws 'vault-not-found'. A directory inside a mounted vault means that vault. */
export async function selectVaults(
  status: Status,
  argument: string | undefined,
): Promise<VaultStatus[]> {
  if (argument === undefined) {
    if (status.vaults.length > 0) return status.vaults
    throw new LatticeError('vault-not-found', 'there is no vault yet', {
      hint: 'create one: lattice mount DIR',
    })
  }
  const directory = await resolveDirectory(argument)
  const found = status.vaults.find(
    (vault) => directory === vault.directory || directory.startsWith(`${vault.directory}/`),
  )
  if (found !== undefined) return [found]
  throw new LatticeError('vault-not-found', `no vault is recorded for ${directory}`, {
    hint: 'lattice status lists the vaults',
  })
}
