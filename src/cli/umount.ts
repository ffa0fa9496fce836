// `lattice umount DIR`: everything is stored, then the mount goes. A mount whose daemon was killed
// is cleared as well.

import { LatticeError } from '../util/errors.ts'
import { flag } from './command.ts'
import type { Context } from './command.ts'
import { withDaemon } from './daemon-process.ts'
import { resolveDirectory } from './directories.ts'

export async function run(context: Context): Promise<undefined> {
  const directory = await resolveDirectory(context.arguments[0] ?? '')
  await withDaemon(context.paths, async (client) => {
    const { vaults } = await client.status()
    const vault = vaults.find((entry) => entry.mounted && entry.directory === directory)
    if (vault === undefined) {
      const around = vaults.find((v) => v.mounted && directory.startsWith(`${v.directory}/`))
      if (around !== undefined) {
        throw new LatticeError('not-mounted', `${directory} is only a part of a vault`, {
          hint: `lattice umount ${around.directory}`,
        })
      }
      await client.clearDeadMount(directory)
      context.output.result({ directory, dead: true }, [`cleared the dead mount on ${directory}`])
      return
    }
    const after = await client.unmount(vault.id, { lazy: flag(context, 'lazy') })
    context.output.result({ vault: after, dead: false }, [`unmounted ${directory}`])
  })
  return undefined
}
