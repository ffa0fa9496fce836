// What the simulator drives: the engine of one device, whatever it stands on. Opened anew after
// every crash, on what the crash left.
import type { Ids } from '../../src/ops/ids.ts'
import type { AuthorId, NodeId } from '../../src/ops/types.ts'
import type { Store } from '../../src/state/store.ts'
import type { UserOperation } from '../../src/vault/pending.ts'
import type { Tree } from '../../src/vault/tree.ts'
import type { Calls } from './calls.helper.ts'
import type { ModelBatch, ModelStanding } from '../state/naive-model.helper.ts'

export interface SimEngine {
  readonly author: AuthorId
  readonly tree: Tree
  readonly store: Store
  readonly calls: Calls
  /** Operations queued since the last call. */
  takeOperations(): UserOperation[]
  /** Everything queued so far is durable when it resolves. */
  fsync(): Promise<void>
  /** Applies what can be applied; publishes what is durable. */
  pump(): Promise<void>
  checkpoint(): Promise<void>
  /** False when it knows that its changes count for nothing. */
  readonly mayWrite: boolean
  /** Own batches in the journal. */
  readonly ownLength: number
  /** Batches applied, of each author. */
  applied(author: AuthorId): number
  /** Batches that are here but not applied, for people. */
  waiting(): string[]
  /** Of what is replicated. Everything must be placed. */
  stateHash(): Promise<string>
  /** Bytes and items that wait in RAM, to be bounded. */
  queued(): number
  close(): Promise<void>
  /** For the naive model: all batches applied, as their authors made them, and what it takes. */
  naive(): Promise<NaiveInput>
}

export interface NaiveInput {
  batches: ModelBatch[]
  root: NodeId
  ids: Ids
  standing: (author: AuthorId, seq: number) => ModelStanding
  label: (author: AuthorId) => string
}
