// What a machine that everybody can reach may do for the devices of others: be the first node of a
// distributed hash table (`lattice bootstrap`), or pass on what two devices that cannot reach each
// other say (`lattice relay`). Neither has a vault, a key of one, or a look at what passes.
// Loaded by name, from the command line only (cli/public-node.ts).

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Paths } from '../config/paths.ts'
import { ensurePrivateDirectory, replaceFile } from '../config/private-files.ts'
import { randomBytes } from '../crypto/random.ts'
import type { HostPort } from '../net/ports.ts'
import { runBootstrap, runRelay } from '../net/relay.ts'
import type { RunningNode } from '../net/relay.ts'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'
import { openLog } from './log.ts'

const SEED_BYTES = 32

/** `host`: the address under which others reach this machine. Rejects 'usage', 'busy', 'io'. */
export function startBootstrap({ host, port }: HostPort): Promise<RunningNode> {
  return runBootstrap({ host, port })
}

/** The relay has the same name from start to start: its seed lies in the state directory. */
export async function startRelay(
  paths: Paths, options: { port?: number; bootstrap?: readonly HostPort[] },
): Promise<RunningNode> {
  const log = openLog('info')
  return runRelay({
    ...options,
    seed: await relaySeed(paths),
    log: (level, event, details) => log[level]({ ...details }, event),
  })
}

async function relaySeed(paths: Paths): Promise<Uint8Array> {
  const path = join(paths.stateDirectory, 'relay-seed')
  try {
    const seed = await readFile(path)
    if (seed.length === SEED_BYTES) return seed
    throw new LatticeError('corrupt', `${path} is not a relay's seed`, {
      hint: 'remove it: the relay gets another name',
    })
  } catch (error) {
    if (errnoName(error) !== 'ENOENT') throw fromSystemError(error, 'read the seed of the relay')
  }
  const seed = randomBytes(SEED_BYTES)
  await ensurePrivateDirectory(paths.stateDirectory)
  await replaceFile(path, seed)
  return seed
}
