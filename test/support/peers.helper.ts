// Other devices of which only the ops logs are there: batches are exchanged, content is not.

import type { Peers } from '../../src/daemon/peers.ts'
import { LatticeError } from '../../src/util/errors.ts'
import type { LogPort } from '../../src/vault/ports.ts'

export function logsOnly(logs: LogPort): Peers {
  return {
    logs,
    isWanted: () => true,
    alone: () => new Promise(() => undefined), // whoever waits has a bound of its own
    scout: () => Promise.resolve([]),
    fetch: () => Promise.reject(new LatticeError('not-available', 'nobody has it')),
    publishContent: () => Promise.resolve(),
    syncReceived: () => Promise.resolve(),
  }
}
