// A node worked out from all its ops at once, where each op is valid, cut or void: the definition
// that the fold's step by step way must agree with, and what it falls back to when an op is cut or
// the standing of old ops changes. Pure; the order in which the ops are given does not matter.
//
// Registers: the position of each link, the node's content, its touches, its tags. A valid op that
// names members of a register supersedes them, and, through each cut op that it names, what that
// one names in the register, and so on; of contents only what the cut op's author had before his
// eyes. Cut ops supersede nothing by themselves; void ones are births.

import { compareRefs } from '../ops/order.ts'
import {
  ATTR_KEY_MODE, ATTR_KEY_MTIME, ATTR_KEY_OWNER, ATTR_KEY_RDEV, ATTR_KEY_TARGET, ATTR_KEY_XATTR,
  KIND_DIRECTORY,
} from '../ops/types.ts'
import type {
  AttrChange, AuthorId, LinkId, Name, NodeId, NodeKind, Op, OpRef,
} from '../ops/types.ts'
import type { ContentHead, TagRecord, XattrRecord } from './records.ts'
import { sameContent } from './registers.ts'

/** What the ops of a batch count for; a matter of the members of the vault. */
export type Standing = 'valid' | 'cut' | 'void'

/** An op on a node, with its effective time. */
export interface HistoryOp {
  readonly op: Op
  readonly ref: OpRef
}

export interface LinkPart {
  readonly link: LinkId
  /** Directories: of the mk; the move log knows more. '' = nowhere: all claims are void. */
  readonly parent: NodeId | ''
  readonly name: Name | ''
  readonly pos: OpRef
  readonly births: readonly OpRef[]
  readonly heads: readonly OpRef[]
  readonly rm: OpRef | undefined
}

/** A move that belongs into the log of directory moves. */
export interface MovePart {
  readonly ref: OpRef
  readonly parent: NodeId
  readonly name: Name
}

/** What is replicated of a NodeRecord, under the same names. Lists ascend in the order of ops. */
export interface ReplicatedPart {
  mode: number
  modeRef: OpRef | undefined
  uid: number
  gid: number
  ownerRef: OpRef | undefined
  mtimeSec: number
  mtimeNsec: number
  mtimeRef: OpRef | undefined
  rdev: number
  rdevRef: OpRef | undefined
  target: string
  targetRef: OpRef | undefined
  /** Ascending by first birth. */
  links: LinkPart[]
  heads: ContentHead[]
  xattrs: XattrRecord[]
  tags: TagRecord[]
  touches: OpRef[]
  hasCut: boolean
  /** Directories: all moves to be in the log; the greatest of them may be one that is skipped. */
  moves: MovePart[]
  /** Directories: `moves` are cut ones, since no claim is valid: a fallback, never `skipped`. */
  movesAreCut: boolean
}

export type StandingOf = (author: AuthorId, seq: number) => Standing

interface Sorted {
  valid: HistoryOp[]
  cut: HistoryOp[]
  all: HistoryOp[]
  /** The cut ops by name: supersession passes through them. */
  cutByName: Map<string, Op>
  /** Valid and cut puts by name, when there are cut ones. */
  puts: Map<string, Put>
}

type Put = Op & { kind: 'put' }

type Register = 'position' | 'content' | 'touches' | 'tags'

/** `ops`: every op on the node that is not void by itself, in any order, each once. */
export function rebuildNode(
  kind: NodeKind, ops: readonly HistoryOp[], standing: StandingOf,
): ReplicatedPart {
  const sorted = sortByStanding(ops, standing)
  const part = attributesOf(sorted)
  part.hasCut = sorted.valid.length < sorted.all.length
  part.links = linksOf(kind, sorted)
  part.heads = contentOf(sorted)
  part.touches = touchesOf(sorted)
  part.tags = tagsOf(sorted)
  if (kind === KIND_DIRECTORY) putMoves(part, sorted)
  return part
}

function sortByStanding(ops: readonly HistoryOp[], standing: StandingOf): Sorted {
  const all = ops.toSorted((a, b) => compareRefs(a.ref, b.ref))
  const sorted: Sorted = { valid: [], cut: [], all, cutByName: new Map(), puts: new Map() }
  for (const one of all) {
    const now = one.ref.seq < 0 ? 'valid' : standing(one.ref.author, one.ref.seq)
    if (now === 'valid') sorted.valid.push(one)
    if (now !== 'cut') continue
    sorted.cut.push(one)
    sorted.cutByName.set(nameOf(one.ref), one.op)
  }
  if (sorted.cut.length === 0) return sorted
  for (const { op, ref } of all) {
    const isVoid = ref.seq >= 0 && standing(ref.author, ref.seq) === 'void'
    if (op.kind === 'put' && !isVoid) sorted.puts.set(nameOf(ref), op)
  }
  return sorted
}

// ---- registers ----

/** Which ops of a register `op` says that its caller saw. */
function namesIn(register: Register, op: Op, link: LinkId | undefined): readonly OpRef[] {
  switch (op.kind) {
    case 'mv':
      return register === 'position' && op.link === link ? op.prev : []
    case 'rm':
      if (register === 'position') return op.link === link ? op.prev : []
      if (register === 'content') return op.contentHeads
      return register === 'touches' ? op.prev : []
    case 'put':
      return register === 'content' ? op.base : []
    case 'attr':
      return register === 'touches' ? op.prev : []
    case 'tag':
      return register === 'touches' || register === 'tags' ? op.removeAdds : []
    default:
      return []
  }
}

/** Names of all ops that the valid ones of `kinds` have superseded in the register. */
function reached(
  sorted: Sorted, register: Register, kinds: readonly Op['kind'][], link?: LinkId,
): Set<string> {
  const seen = new Set<string>()
  const todo: OpRef[] = []
  for (const { op } of sorted.valid) {
    if (kinds.includes(op.kind)) todo.push(...namesIn(register, op, link))
  }
  for (let ref = todo.pop(); ref !== undefined; ref = todo.pop()) {
    const name = nameOf(ref)
    if (seen.has(name)) continue
    seen.add(name)
    const cut = sorted.cutByName.get(name)
    if (cut === undefined) continue
    if (cut.kind === 'put') todo.push(...replacedBy(cut, sorted))
    else todo.push(...namesIn(register, cut, link))
  }
  return seen
}

/**
 * What a cut put replaced with its author looking at it, so that whoever builds on the put replaces
 * it, too: of what it names the puts with its very content, if there are any (it made a conflict's
 * copies real, and they are cut with it), else the greatest one and its equals.
 */
function replacedBy(cut: Put, { puts, all }: Sorted): readonly OpRef[] {
  if (cut.base.length < 2) return cut.base
  const named = cut.base.filter((ref) => puts.has(nameOf(ref)))
  const equalTo = (to: Put): OpRef[] => (
    named.filter((ref) => sameContent(puts.get(nameOf(ref)) as Put, to))
  )
  const same = equalTo(cut)
  if (same.length > 0) return same
  const names = new Set(named.map(nameOf))
  const last = all.findLast(({ ref }) => names.has(nameOf(ref)))
  return last?.op.kind === 'put' ? equalTo(last.op) : []
}

function linksOf(kind: NodeKind, sorted: Sorted): LinkPart[] {
  const births = new Map<LinkId, OpRef[]>()
  for (const { op, ref } of sorted.all) {
    const link = bornLink(op)
    if (link === undefined) continue
    const of = births.get(link)
    if (of === undefined) births.set(link, [ref])
    else of.push(ref)
  }
  return [...births].map(([link, refs]) => linkOf(kind, sorted, link, refs))
}

function linkOf(
  kind: NodeKind, sorted: Sorted, link: LinkId, births: readonly OpRef[],
): LinkPart {
  const superseded = reached(sorted, 'position', ['mv', 'rm'], link)
  const heads: OpRef[] = []
  let rm: OpRef | undefined
  for (const { op, ref } of sorted.valid) {
    if (claimOf(op, link) !== undefined && !superseded.has(nameOf(ref))) heads.push(ref)
    if (op.kind === 'rm' && op.link === link) rm = ref
  }
  const isDirectory = kind === KIND_DIRECTORY
  const claim = lastClaim(sorted.valid, link, isDirectory)
    ?? lastClaim(sorted.cut, link, isDirectory)
  const nowhere = { parent: '' as const, name: '' as const, pos: births[0] as OpRef }
  return { link, births, heads, rm, ...(claim ?? nowhere) }
}

interface Claim {
  parent: NodeId
  name: Name
  pos: OpRef
}

/** The greatest; with `bornOnly` moves do not count. */
function lastClaim(
  ops: readonly HistoryOp[], link: LinkId, bornOnly: boolean,
): Claim | undefined {
  for (let i = ops.length - 1; i >= 0; i--) {
    const { op, ref } = ops[i] as HistoryOp
    const claim = claimOf(op, link)
    if (claim === undefined || (bornOnly && op.kind === 'mv')) continue
    return { parent: claim.parent, name: claim.name, pos: ref }
  }
  return undefined
}

function bornLink(op: Op): LinkId | undefined {
  if (op.kind === 'mk') return op.node as string as LinkId
  return op.kind === 'link' ? op.link : undefined
}

function claimOf(op: Op, link: LinkId): { parent: NodeId; name: Name } | undefined {
  if (op.kind === 'mv') return op.link === link ? op : undefined
  if (op.kind === 'mk') return (op.node as string) === link ? op : undefined
  return op.kind === 'link' && op.link === link ? op : undefined
}

function contentOf(sorted: Sorted): ContentHead[] {
  const superseded = reached(sorted, 'content', ['put'])
  const covered = reached(sorted, 'content', ['rm'])
  const heads: ContentHead[] = []
  for (const { op, ref } of sorted.valid) {
    if (op.kind !== 'put' || superseded.has(nameOf(ref))) continue
    const { sizeBytes, mtimeSec, mtimeNsec, content } = op
    const isCovered = covered.has(nameOf(ref))
    heads.push({ ref, covered: isCovered, sizeBytes, mtimeSec, mtimeNsec, content })
  }
  return heads
}

function touchesOf(sorted: Sorted): OpRef[] {
  const superseded = reached(sorted, 'touches', ['attr', 'rm', 'tag'])
  const touches: OpRef[] = []
  for (const { op, ref } of sorted.valid) {
    if (op.kind !== 'attr' && op.kind !== 'tag') continue
    if (!superseded.has(nameOf(ref))) touches.push(ref)
  }
  return touches
}

function tagsOf(sorted: Sorted): TagRecord[] {
  const removed = reached(sorted, 'tags', ['tag'])
  const tags: TagRecord[] = []
  for (const { op, ref } of sorted.valid) {
    if (op.kind !== 'tag' || removed.has(nameOf(ref))) continue
    for (const tag of op.add) tags.push({ tag, add: ref })
  }
  return tags.sort((a, b) => (
    a.tag !== b.tag ? (a.tag < b.tag ? -1 : 1) : compareRefs(a.add, b.add)
  ))
}

function putMoves(part: ReplicatedPart, sorted: Sorted): void {
  const isValid = sorted.valid.some(({ op }) => op.kind === 'mk' || op.kind === 'mv')
  part.movesAreCut = !isValid
  for (const { op, ref } of isValid ? sorted.valid : sorted.cut) {
    if (op.kind === 'mv') part.moves.push({ ref, parent: op.parent, name: op.name })
  }
}

// ---- attributes: each on its own, the greatest writer; cut ones only of what nobody valid made
// ----

function attributesOf(sorted: Sorted): ReplicatedPart {
  const part: ReplicatedPart = {
    mode: 0, modeRef: undefined, uid: -1, gid: -1, ownerRef: undefined,
    mtimeSec: 0, mtimeNsec: 0, mtimeRef: undefined, rdev: 0, rdevRef: undefined,
    target: '', targetRef: undefined,
    links: [], heads: [], xattrs: [], tags: [], touches: [], hasCut: false,
    moves: [], movesAreCut: false,
  }
  const xattrs = new Map<string, XattrRecord>()
  const isMade = sorted.valid.some(({ op }) => op.kind === 'mk')
  // ascending: whoever comes later wins; valid ones come after all cut ones
  for (const ops of isMade ? [sorted.valid] : [sorted.cut, sorted.valid]) {
    for (const { op, ref } of ops) {
      if (op.kind === 'attr') write(part, xattrs, op.change, ref)
      if (op.kind === 'mk') for (const change of op.attrs) write(part, xattrs, change, ref)
      if (op.kind !== 'put') continue
      part.mtimeSec = op.mtimeSec
      part.mtimeNsec = op.mtimeNsec
      part.mtimeRef = ref
    }
  }
  part.xattrs = [...xattrs.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  return part
}

function write(
  part: ReplicatedPart, xattrs: Map<string, XattrRecord>, change: AttrChange, ref: OpRef,
): void {
  switch (change.key) {
    case ATTR_KEY_MODE:
      part.mode = change.mode
      part.modeRef = ref
      return
    case ATTR_KEY_OWNER:
      part.uid = change.uid
      part.gid = change.gid
      part.ownerRef = ref
      return
    case ATTR_KEY_MTIME:
      part.mtimeSec = change.sec
      part.mtimeNsec = change.nsec
      part.mtimeRef = ref
      return
    case ATTR_KEY_XATTR:
      xattrs.set(change.name, { name: change.name, value: change.value, ref })
      return
    case ATTR_KEY_TARGET:
      part.target = change.target
      part.targetRef = ref
      return
    case ATTR_KEY_RDEV:
      part.rdev = change.rdev
      part.rdevRef = ref
  }
}

function nameOf(ref: OpRef): string {
  return ref.seq < 0 ? `?${ref.order}` : `${ref.author}${ref.seq}.${ref.index}`
}
