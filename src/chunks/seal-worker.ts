// A seal worker: one SealCore on its own thread, with its own pack directory. Requests come in
// lists and are begun in order; replies go out in lists, in the order in which they are ready.
// Started by seal-pool.ts only.

import { parentPort, workerData } from 'node:worker_threads'
import { wipe } from '../crypto/secret.ts'
import { assert, unreachable } from '../util/assert.ts'
import { isLatticeError } from '../util/errors.ts'
import type { ErrorCode, ErrorDetails } from '../util/errors.ts'
import { DirectDisk, alignedBytes } from './pack-disk.ts'
import { SealCore } from './seal-core.ts'
import { openFrozen } from './seal-frozen.ts'
import type { FrozenSource } from './seal-frozen.ts'
import type {
  CutRequest,
  CutResult,
  Moved,
  SealKeys,
  SealRequest,
  SealResult,
} from './seal-protocol.ts'

export type WorkerInit = {
  keys: SealKeys
  frozen: FrozenSource
  directory: string
  writer: number
  nextNumber: number
  previousNumber: number
  previousBytes: number
}

export type WorkerTask =
  | { kind: 'cut'; request: CutRequest }
  | { kind: 'seal'; request: SealRequest }
  | { kind: 'epoch'; epochId: Uint8Array; bundleKey: Uint8Array }
  | { kind: 'flush' | 'sync' | 'wipe' | 'close' }

export type WorkerRequest = { seq: number; task: WorkerTask }

export type WorkerReply =
  | { seq: number; result: CutResult | SealResult | undefined }
  | { seq: number; error: { code: ErrorCode; message: string; details: ErrorDetails } }
  | { moved: Moved }

const port = parentPort
assert(port !== null, 'a seal worker is a worker thread')
const init = workerData as WorkerInit
const replies: WorkerReply[] = []

const core = new SealCore({
  ...init,
  readFrozen: openFrozen(init.frozen),
  disk: new DirectDisk(),
  allocate: alignedBytes,
  moved: (moved) => reply({ moved }),
})

port.on('message', (requests: WorkerRequest[]) => {
  for (const { seq, task } of requests) {
    run(task).then(
      (result) => reply({ seq, result }),
      (error: unknown) => reply({ seq, error: plainError(error) }),
    )
  }
})

async function run(task: WorkerTask): Promise<CutResult | SealResult | undefined> {
  switch (task.kind) {
    case 'cut':
      return core.cut(task.request)
    case 'seal':
      return await core.seal(task.request)
    case 'flush':
      await core.flush()
      return undefined
    case 'sync':
      await core.sync()
      return undefined
    case 'epoch':
      await core.useEpoch(task.epochId, task.bundleKey)
      wipe(init.keys.bundleKey)
      init.keys.bundleKey = task.bundleKey
      return undefined
    case 'wipe':
      core.wipe()
      return undefined
    case 'close':
      await core.close()
      for (const key of [init.keys.bundleKey, init.keys.idKey, init.keys.cutKey]) wipe(key)
      return undefined
    default:
      return unreachable(task)
  }
}

function reply(message: WorkerReply): void {
  if (replies.push(message) > 1) return
  queueMicrotask(() => port?.postMessage(replies.splice(0)))
}

function plainError(error: unknown) {
  if (isLatticeError(error)) {
    return { code: error.code, message: error.message, details: error.details }
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { code: 'internal' as const, message, details: {} }
}
