// An executable specification of the rules (FORMATS.md, "Rules"), simple and slow: from the set of
// batches that a device holds to every node's state, as if everything had come at once. It knows
// nothing of src/state, shares only plain types and the codec's ids with the code that it judges,
// and is rebuilt from nothing each time. naive-view.helper.ts makes the tree of it.
//
// Sections follow the rules: R1 time and causality, R2 what counts, R3 nodes, R4 directories, and
// which links are wanted. A few milliseconds for some hundred ops.
import { ATTR_KEY_MTIME, ATTR_KEY_XATTR, KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type {
  AttrChange, AuthorId, Content, LinkId, Name, NodeId, NodeKind, Op, OpRef,
} from '../../src/ops/types.ts'

export type ModelStanding = 'valid' | 'cut' | 'void'

/** One batch as decoded; an invalid one claims 0 and has neither deps nor ops. */
export interface ModelBatch {
  author: AuthorId
  seq: number
  ms: number // claimed
  counter: number
  deps: readonly { author: AuthorId; length: number }[]
  ops: readonly Op[]
}

export interface ModelContext {
  root: NodeId
  standing: (author: AuthorId, seq: number) => ModelStanding
}

export type VoidRule =
  | 'unseen-birth' | 'unseen-ref' | 'wrong-kind' | 'bad-name' | 'root' | 'duplicate-mint'

export interface PlacedBatch {
  batch: ModelBatch
  vv: Map<AuthorId, number>
  ms: number // effective
  counter: number
  standing: ModelStanding
  ops: PlacedOp[]
}

/** One op in its place. `void` undefined = it exists. */
export interface PlacedOp {
  op: Op
  batch: PlacedBatch
  index: number
  void: VoidRule | undefined
}

export interface ModelHead {
  by: PlacedOp
  put: Op & { kind: 'put' }
  covered: boolean
}

export interface ModelLink {
  link: LinkId
  node: ModelNode
  births: PlacedOp[]
  claims: PlacedOp[] // not void: its births and mv ops
  rms: PlacedOp[]
  heads: PlacedOp[]
  rm: PlacedOp | undefined
  pos: PlacedOp | undefined
  parent: NodeId | undefined
  name: Name | undefined
  skipped: boolean
  wanted: boolean
}

export interface ModelNode {
  node: NodeId
  kind: NodeKind
  ops: PlacedOp[] // all that name it or a link of it, void batches' too
  links: ModelLink[]
  heads: ModelHead[] // ascending
  touches: PlacedOp[]
  attrs: Map<string, { change: AttrChange; by: PlacedOp }>
  tags: { tag: string; by: PlacedOp }[]
}

export interface Model {
  batches: Map<AuthorId, PlacedBatch[]>
  nodes: Map<NodeId, ModelNode>
  links: Map<LinkId, ModelLink>
  voids: PlacedOp[]
  root: NodeId
}

export function foldNaively(given: Iterable<ModelBatch>, context: ModelContext): Model {
  const model: Model = {
    batches: new Map(), nodes: new Map(), links: new Map(), voids: [], root: context.root,
  }
  for (const batch of place(given, context, model)) {
    for (const one of batch.ops) exist(model, one)
  }
  for (const node of model.nodes.values()) {
    for (const link of node.links) foldLink(link)
    foldContent(node)
    foldTouches(node)
    foldAttributes(node)
    foldTags(node)
  }
  foldDirectories(model)
  findWanted(model)
  return model
}

// ---- R1 time, causality ----

interface Time { ms: number; counter: number }

const CLAIM_MAX_MS = 2 ** 47

function later(a: Time, b: Time): boolean {
  return a.ms > b.ms || (a.ms === b.ms && a.counter > b.counter)
}

function tick(time: Time): Time {
  return time.counter < 0xffff
    ? { ms: time.ms, counter: time.counter + 1 } : { ms: time.ms + 1, counter: 0 }
}

/** The batches that may be applied, each after what it depends on, with effective times. */
function place(
  given: Iterable<ModelBatch>,
  context: ModelContext,
  { batches }: Model,
): PlacedBatch[] {
  const logs = new Map<AuthorId, ModelBatch[]>()
  for (const one of given) {
    const isEmpty = one.deps.some(({ author }) => author === one.author)
    const batch = isEmpty ? { ...one, ms: 0, counter: 0, deps: [], ops: [] } : one
    const log = logs.get(batch.author) ?? []
    log[batch.seq] = batch
    logs.set(batch.author, log)
    batches.set(batch.author, [])
  }
  const placed: PlacedBatch[] = []
  for (let isMoving = true; isMoving;) {
    isMoving = false
    for (const [author, log] of logs) {
      const own = batches.get(author)!
      for (;;) {
        const batch = log[own.length]
        const has = ({ author, length }: { author: AuthorId; length: number }) => (
          (batches.get(author)?.length ?? 0) >= length
        )
        if (batch === undefined || !batch.deps.every(has)) break
        const one = placeOne(batch, context, batches)
        own.push(one)
        placed.push(one)
        isMoving = true
      }
    }
  }
  return placed
}

function placeOne(
  batch: ModelBatch,
  context: ModelContext,
  batches: Map<AuthorId, PlacedBatch[]>,
): PlacedBatch {
  const before = batches.get(batch.author)![batch.seq - 1]
  const vv = new Map(before?.vv)
  vv.set(batch.author, batch.seq)
  let time: Time = batch.ms > CLAIM_MAX_MS ? { ms: 0, counter: 0 } : batch
  if (before !== undefined && !later(time, before)) time = tick(before)
  for (const { author, length } of batch.deps) {
    vv.set(author, Math.max(vv.get(author) ?? 0, length))
    const last = batches.get(author)![length - 1]
    if (last !== undefined && !later(time, last)) time = tick(last)
  }
  const placed: PlacedBatch = {
    batch, vv, ms: time.ms, counter: time.counter, ops: [],
    standing: context.standing(batch.author, batch.seq),
  }
  placed.ops = batch.ops.map((op, index) => ({ op, batch: placed, index, void: undefined }))
  return placed
}

/** The order of ops: effective time, author, sequence, index. */
export function compareOps(a: PlacedOp, b: PlacedOp): number {
  if (a.batch === b.batch) return a.index - b.index
  if (later(a.batch, b.batch)) return 1
  if (later(b.batch, a.batch)) return -1
  const one = a.batch.batch
  const two = b.batch.batch
  if (one.author !== two.author) return one.author < two.author ? -1 : 1
  return one.seq - two.seq
}

function greatest(list: Iterable<PlacedOp>): PlacedOp | undefined {
  let found: PlacedOp | undefined
  for (const one of list) if (found === undefined || compareOps(one, found) > 0) found = one
  return found
}

function sees(by: PlacedOp, author: AuthorId, seq: number, index: number): boolean {
  const { batch, vv } = by.batch
  if (author === batch.author && seq === batch.seq) return index < by.index
  return seq < (vv.get(author) ?? 0)
}

// ---- R2 what counts ----

function refsOf(op: Op): readonly OpRef[] {
  switch (op.kind) {
    case 'mk': return op.source === undefined ? [] : [op.source]
    case 'mv': return op.prev
    case 'rm': return [...op.prev, ...op.contentHeads]
    case 'put': return op.base
    case 'attr': return op.prev
    case 'tag': return op.removeAdds
    default: return []
  }
}

const kindOf = (id: NodeId | LinkId) => id.charCodeAt(0) as NodeKind

/** Why the op does not exist, in whatever standing; undefined = it does. */
function voidRule(model: Model, by: PlacedOp): VoidRule | undefined {
  const { op } = by
  const wasBorn = (births: readonly PlacedOp[] | undefined) => births !== undefined
    && births.some(({ batch, index }) => sees(by, batch.batch.author, batch.batch.seq, index))
  const seesNode = (id: NodeId) => (
    id === model.root || wasBorn(model.links.get(id as string as LinkId)?.births)
  )
  const seesLink = (id: LinkId) => wasBorn(model.links.get(id)?.births)
  if (op.kind === 'mk' || op.kind === 'link' || op.kind === 'mv') {
    if (!isGoodName(op.name)) return 'bad-name'
    if (kindOf(op.parent) !== KIND_DIRECTORY) return 'wrong-kind'
  }
  if ('link' in op && (op.link as string) === model.root) return 'root'
  if (op.kind === 'mk' && kindOf(op.node) !== op.nodeKind) return 'wrong-kind'
  if (op.kind === 'link' && kindOf(op.node) === KIND_DIRECTORY) return 'wrong-kind'
  if (op.kind === 'put' && kindOf(op.node) !== KIND_FILE) return 'wrong-kind'
  if (!refsOf(op).every((ref) => sees(by, ref.author, ref.seq, ref.index))) return 'unseen-ref'
  if (op.kind === 'mk') {
    if (op.source === undefined && model.nodes.has(op.node)) return 'duplicate-mint'
    return seesNode(op.parent) ? undefined : 'unseen-birth'
  }
  if (op.kind === 'link') {
    if (model.links.has(op.link)) return 'duplicate-mint'
    return seesNode(op.node) && seesNode(op.parent) ? undefined : 'unseen-birth'
  }
  if (op.kind === 'mv') {
    return seesLink(op.link) && seesNode(op.parent) ? undefined : 'unseen-birth'
  }
  if (op.kind === 'rm') return seesLink(op.link) ? undefined : 'unseen-birth'
  return 'node' in op && !seesNode(op.node) ? 'unseen-birth' : undefined
}

function isGoodName(name: string): boolean {
  return name.length > 0 && name.length <= 255 && name !== '.' && name !== '..'
    && !name.includes('/') && !name.includes('\0')
}

/** Enters the op among those of its node, if it exists. */
function exist(model: Model, by: PlacedOp): void {
  const { op } = by
  if (!('node' in op) && !('link' in op)) return
  by.void = voidRule(model, by)
  if (by.void !== undefined) {
    model.voids.push(by)
    return
  }
  if (op.kind === 'mk') giveBirth(model, op.node, op.node as string as LinkId, by)
  else if (op.kind === 'link') giveBirth(model, op.node, op.link, by)
  else if (op.kind === 'mv' || op.kind === 'rm') {
    const link = model.links.get(op.link)!
    link.node.ops.push(by)
    if (by.batch.standing === 'void') return
    if (op.kind === 'mv') link.claims.push(by)
    else link.rms.push(by)
  } else if (op.node !== model.root) model.nodes.get(op.node)!.ops.push(by)
  else rootNode(model).ops.push(by)
}

function emptyNode(node: NodeId): ModelNode {
  return {
    node, kind: kindOf(node), ops: [], links: [], heads: [], touches: [], attrs: new Map(),
    tags: [],
  }
}

function rootNode(model: Model): ModelNode {
  const root = model.nodes.get(model.root) ?? emptyNode(model.root)
  model.nodes.set(model.root, root)
  return root
}

function giveBirth(model: Model, id: NodeId, linkId: LinkId, by: PlacedOp): void {
  const node = model.nodes.get(id) ?? emptyNode(id)
  model.nodes.set(id, node)
  node.ops.push(by)
  let link = model.links.get(linkId)
  if (link === undefined) {
    link = {
      link: linkId, node, births: [], claims: [], rms: [], heads: [], rm: undefined,
      pos: undefined, parent: undefined, name: undefined, skipped: false, wanted: false,
    }
    model.links.set(linkId, link)
    node.links.push(link)
  }
  link.births.push(by)
  if (by.batch.standing !== 'void') link.claims.push(by)
}

// ---- R3 a node from its ops ----

const isValid = (one: PlacedOp) => one.batch.standing === 'valid'
const isCut = (one: PlacedOp) => one.batch.standing === 'cut'

type Names = (op: Op) => readonly OpRef[]

/**
 * What `by` reaches in one register: the members of it that it names, and through cut ones what
 * those name. `names` gives the refs of an op in that register; of a cut put: what its author saw.
 */
function reach(by: PlacedOp, members: Map<string, PlacedOp>, names: Names): Set<PlacedOp> {
  const found = new Set<PlacedOp>()
  const todo = [by]
  for (const one of todo) {
    const all = names(one.op).map((ref) => members.get(`${ref.author}${ref.seq}.${ref.index}`))
    for (const named of one === by ? all : onlyWatched(one, all)) {
      if (named === undefined || found.has(named)) continue
      found.add(named)
      if (isCut(named)) todo.push(named)
    }
  }
  return found
}

/** Of what a cut put names: the contents that it repeats, else the greatest and what equals it. */
function onlyWatched(
  { op }: PlacedOp, named: readonly (PlacedOp | undefined)[],
): readonly (PlacedOp | undefined)[] {
  if (op.kind !== 'put') return named
  const puts = named.filter((one) => one !== undefined && (isValid(one) || isCut(one)))
    .map((one) => one as PlacedOp).toSorted(compareOps)
  const text = (one: PlacedOp) => (one.op.kind === 'put' ? contentText(one.op) : undefined)
  const repeated = puts.filter((one) => text(one) === contentText(op))
  return repeated.length > 0 ? repeated : puts.filter((one) => text(one) === text(puts.at(-1)!))
}

function byName(ops: Iterable<PlacedOp>): Map<string, PlacedOp> {
  const map = new Map<string, PlacedOp>()
  for (const one of ops) {
    const { author, seq } = one.batch.batch
    map.set(`${author}${seq}.${one.index}`, one)
  }
  return map
}

/** Everything that some valid op of `ops` reaches. */
function reached(ops: readonly PlacedOp[], names: Names): Set<PlacedOp> {
  const all = new Set<PlacedOp>()
  const members = byName(ops)
  for (const one of ops) {
    if (isValid(one)) for (const other of reach(one, members, names)) all.add(other)
  }
  return all
}

function foldLink(link: ModelLink): void {
  const names: Names = (op) => (op.kind === 'mv' || op.kind === 'rm' ? op.prev : [])
  const gone = reached([...link.claims, ...link.rms], names)
  link.heads = link.claims.filter((one) => isValid(one) && !gone.has(one))
  link.rm = greatest(link.rms.filter(isValid))
  const pos = greatest(link.claims.filter(isValid)) ?? greatest(link.claims)
  if (pos !== undefined && link.node.kind !== KIND_DIRECTORY) setPosition(link, pos)
}

function setPosition(link: ModelLink, by: PlacedOp): void {
  const op = by.op as Op & { kind: 'mk' | 'link' | 'mv' }
  link.pos = by
  link.parent = op.parent
  link.name = op.name
}

function foldContent(node: ModelNode): void {
  const ops = node.ops.filter((one) => one.op.kind === 'put' || one.op.kind === 'rm')
  const members = byName(ops)
  const superseded = new Set<PlacedOp>()
  const covered = new Set<PlacedOp>()
  const names: Names = (op) => (
    op.kind === 'put' ? op.base : op.kind === 'rm' ? op.contentHeads : []
  )
  for (const one of ops) {
    if (!isValid(one)) continue
    const into = one.op.kind === 'put' ? superseded : covered
    for (const other of reach(one, members, names)) into.add(other)
  }
  node.heads = ops
    .filter((one) => one.op.kind === 'put' && isValid(one) && !superseded.has(one))
    .toSorted(compareOps)
    .map((by) => ({ by, put: by.op as Op & { kind: 'put' }, covered: covered.has(by) }))
}

/** The heads that are shown: uncovered ones, if there are any. Ascending: the last one wins. */
export function contentsOf({ heads }: ModelNode): ModelHead[] {
  const uncovered = heads.filter((one) => !one.covered)
  return uncovered.length > 0 ? uncovered : heads
}

function foldTouches(node: ModelNode): void {
  const gone = reached(node.ops, (op) => {
    if (op.kind === 'attr' || op.kind === 'rm') return op.prev
    return op.kind === 'tag' ? op.removeAdds : []
  })
  node.touches = node.ops.filter((one) => (
    (one.op.kind === 'attr' || one.op.kind === 'tag') && isValid(one) && !gone.has(one)
  ))
}

export function attrKey(change: AttrChange): string {
  return change.key === ATTR_KEY_XATTR ? `x${change.name}` : String(change.key)
}

function changesOf(op: Op): readonly AttrChange[] {
  if (op.kind === 'mk') return op.attrs
  if (op.kind === 'attr') return [op.change]
  if (op.kind !== 'put') return []
  return [{ key: ATTR_KEY_MTIME, sec: op.mtimeSec, nsec: op.mtimeNsec }]
}

/**
 * Each attribute: the greatest valid writer. Of what only cut ops have made: else the greatest cut
 * one.
 */
function foldAttributes(node: ModelNode): void {
  const isMade = node.ops.some((one) => one.op.kind === 'mk' && isValid(one))
  for (const by of node.ops) {
    if (!isValid(by) && (isMade || !isCut(by))) continue
    for (const change of changesOf(by.op)) {
      const key = attrKey(change)
      const old = node.attrs.get(key)?.by
      const wins = old === undefined
        || (isValid(by) === isValid(old) ? compareOps(by, old) > 0 : isValid(by))
      if (wins) node.attrs.set(key, { change, by })
    }
  }
}

function foldTags(node: ModelNode): void {
  const ops = node.ops.filter((one) => one.op.kind === 'tag')
  const gone = reached(ops, (op) => (op.kind === 'tag' ? op.removeAdds : []))
  for (const by of ops) {
    if (by.op.kind !== 'tag' || !isValid(by) || gone.has(by)) continue
    for (const tag of by.op.add) node.tags.push({ tag, by })
  }
}

// ---- R4 positions of directories ----

function foldDirectories(model: Model): void {
  const moves: { by: PlacedOp; link: ModelLink }[] = []
  for (const link of model.links.values()) {
    if (link.node.kind !== KIND_DIRECTORY) continue
    const made = link.claims.find((one) => one.op.kind === 'mk')
    if (made !== undefined) setPosition(link, made)
    const valid = link.claims.filter(isValid)
    for (const by of valid.length > 0 ? valid : link.claims) {
      if (by.op.kind === 'mv') moves.push({ by, link })
    }
  }
  moves.sort((a, b) => compareOps(a.by, b.by))
  for (const { by, link } of moves) {
    const { parent } = by.op as Op & { kind: 'mv' }
    const isCycle = isWithin(model, parent, link.node.node)
    if (!isCycle) setPosition(link, by)
    // ascending: the last valid one decides
    if (isValid(by)) link.skipped = isCycle
  }
}

function isWithin(model: Model, inner: NodeId, outer: NodeId): boolean {
  for (let at: NodeId | undefined = inner; at !== undefined;) {
    if (at === outer) return true
    at = model.links.get(at as string as LinkId)?.parent
  }
  return false
}

// ---- which links are wanted ----

function findWanted(model: Model): void {
  const todo: ModelLink[] = []
  const want = (link: ModelLink | undefined) => {
    if (link === undefined || link.wanted || link.pos === undefined) return
    link.wanted = true
    todo.push(link)
  }
  for (const node of model.nodes.values()) {
    const kept = node.links.filter((link) => link.heads.length > 0)
    kept.forEach(want)
    if (kept.length === 0) want(revived(node))
  }
  for (const link of todo) want(model.links.get(link.parent as string as LinkId))
}

function revived(node: ModelNode): ModelLink | undefined {
  if (node.touches.length === 0 && node.heads.every((one) => one.covered)) return undefined
  const by = (op: (link: ModelLink) => PlacedOp | undefined) => {
    const last = greatest(node.links.flatMap((link) => op(link) ?? []))
    return node.links.find((link) => last !== undefined && op(link) === last)
  }
  const placed = (link: ModelLink) => link.pos !== undefined
  return by((link) => (placed(link) ? link.rm : undefined)) ?? by((link) => link.pos)
}

// ---- equality of contents ----

/** Equal texts = equal contents. Never written = nothing inline. */
export function contentText(put: { sizeBytes: number; content: Content } | undefined): string {
  if (put === undefined) return '0 inline '
  const { sizeBytes, content } = put
  if (content.kind === 'inline') {
    return `${sizeBytes} inline ${Buffer.from(content.bytes).toString('latin1')}`
  }
  const part = (ref: { chunk: string; begin: number; length: number }) => (
    `${ref.chunk}/${ref.begin}/${ref.length}`
  )
  if (content.kind === 'tree') {
    return `${sizeBytes} tree ${content.chunker} ${content.depth} ${part(content.root)}`
  }
  const parts = content.refs.map((ref) => ('hole' in ref ? `hole ${ref.hole}` : part(ref)))
  return `${sizeBytes} refs ${content.chunker} ${parts.join()}`
}
