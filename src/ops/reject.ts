/**
 * Why a batch, an envelope or a claim from disk or wire is refused: one name per rule, so that a
 * test can ask for that reason. Thrown as LatticeError 'invalid' with details.rule.
 */

import { LatticeError } from '../util/errors.ts'

export type RejectRule =
  // Primitives
  | 'truncated' // ends before its fields do
  | 'trailing' // goes on behind its last field
  | 'number-range' // a number beyond its bound
  | 'length' // a length or count beyond its bound
  | 'utf8'
  // Batch
  | 'batch-size'
  | 'authors-count'
  | 'author-self' // the author table names the author itself
  | 'author-index' // a ref to an author that is not in the table
  | 'deps-count'
  | 'dep-length'
  | 'ops-count'
  | 'control-mixed' // control ops stand in batches of their own
  | 'not-canonical' // decodes, but is not what the encoder writes
  // Ops
  | 'op-flags'
  | 'op-control-number'
  | 'mint' // 0 where an id must be minted
  | 'node-kind'
  | 'name'
  | 'target'
  | 'xattr-name'
  | 'attr-key'
  | 'attr-order' // not ascending by key and name, or twice
  | 'ref-count'
  | 'ref-seq'
  | 'ref-forward' // names an op of the same batch that does not come before
  | 'ref-index'
  | 'ref-order' // not ascending by author, sequence and index, or twice
  | 'content-kind'
  | 'content-size' // the parts do not add up to the size
  | 'content-refs'
  | 'content-range' // a stretch outside its chunk
  | 'content-depth'
  | 'tag-order'
  // Control ops
  | 'control-kind' // not one of those that this version knows
  | 'control-form' // a variant of a control op that does not exist
  | 'control-role'
  | 'log-count'
  | 'log-order' // not ascending by log, or twice
  | 'log-hash' // a tree hash at length 0
  | 'box-size'
  | 'box-order' // not ascending by box key, or twice
  | 'epoch-parents' // none, too many, not ascending, or twice
  | 'serial'
  | 'batch-range' // an empty range of batches
  // Envelope
  | 'envelope-short'
  | 'envelope-version'
  | 'envelope-suite'
  | 'envelope-size'
  | 'envelope-seal'

export function reject(rule: RejectRule, details: Record<string, string | number> = {}): never {
  throw new LatticeError('invalid', `invalid op batch: ${rule}`, { details: { rule, ...details } })
}
