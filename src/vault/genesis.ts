// The genesis as an op of the first batch (ops/control-genesis.ts has its bytes).

import { CONTROL_NUMBERS } from '../ops/control-types.ts'
import type { Op } from '../ops/types.ts'

/** `body`: of encodeGenesis(). */
export function genesisOp(body: Uint8Array): Op {
  return { kind: 'control', control: CONTROL_NUMBERS.genesis, critical: true, body }
}
