// The records that state is made of, decoded. One NodeRecord is everything this device knows about
// one replicated node: positions of its links, content heads, attributes, what the view makes of
// it, and what is local to the device (ino, cookies, access and change times). Beside them stand
// groups (names that more than one link claims), directory moves, and what is noted of each batch.
//
// Invariants:
//   - a record belongs to the generation in `epoch`; whoever changes it asks Store.edit() first;
//   - what hangs below a record (arrays, links, heads, xattrs) is never changed in place but
//     replaced: a shallow clone is a copy. Two exceptions: an OpRef is filled in when its op is
//     placed, and content that a head still waits for (vault/blocked-renames.ts) once;
//   - `heads` of content ascend; the last one wins, uncovered ones before covered.

import type {
  AuthorId, Content, LinkId, Name, NodeId, NodeKind, OpRef,
} from '../ops/types.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'

export const ROOT_INO = 1
/** The first cookie of an entry; 1 and 2 are '.' and '..'. */
export const FIRST_COOKIE = 3

/** A name in a directory of the view. Immutable. */
export interface Entry {
  readonly parent: number // ino
  readonly cookie: number
  readonly name: Name
  readonly ino: number
  readonly kind: NodeKind
}

export interface ContentHead {
  ref: OpRef
  /** Some rm named it: it keeps nothing alive. */
  covered: boolean
  sizeBytes: number
  mtimeSec: number
  mtimeNsec: number
  content: Content
}

export interface XattrRecord {
  name: string
  value: Uint8Array | undefined // undefined: removed; the ref still decides
  ref: OpRef
}

export interface TagRecord {
  tag: string
  add: OpRef
}

export interface LinkRecord {
  readonly link: LinkId
  /** Position by the greatest mk, link or mv; of directories, as the move log has it. */
  readonly parent: NodeId
  readonly name: Name
  readonly pos: OpRef
  /** The mk or link ops that made it: one, but for conflict copies that several devices made. */
  readonly births: readonly OpRef[]
  /** Position ops that no later position op and no rm has seen. Not empty = this link is kept. */
  readonly heads: readonly OpRef[]
  /** The greatest rm of this link. */
  readonly rm: OpRef | undefined
  /** Directories: the greatest valid move is one that was skipped. */
  readonly skipped: boolean

  // of the view
  /** Kept, revived, or a directory with something wanted in it: counted in `claimCount` of the
   *  parent, and a claim of its name. */
  readonly wanted: boolean
  /** Whether the view shows it, and where: ino of the directory, cookie, and the name, which is
   *  `name` or a conflict name. */
  readonly shown: boolean
  readonly shownParent: number
  readonly cookie: number
  readonly shownName: Name
}

/** A link of the group, and its node. */
export interface GroupClaim {
  readonly link: LinkId
  readonly node: NodeId
}

/** One displayed item of a group. */
export interface GroupShown {
  readonly name: Name
  readonly kind: 'main' | 'variant'
  readonly link: LinkId
  /** Of what is displayed: a variant's own id for a variant. */
  readonly node: NodeId
}

/**
 * What (directory, name) shows, where that is more than one ordinary entry: several claims, a
 * variant, or names passed over. Immutable. Links that are alone in their group have no record.
 */
export interface GroupRecord {
  readonly claims: readonly GroupClaim[]
  readonly shown: readonly GroupShown[]
  /** Conflict names that were not available. */
  readonly skipped: readonly Name[]
}

/** Where a directory is. */
export interface DirectoryPosition {
  readonly parent: NodeId
  readonly name: Name
  /** The mk or mv that says so. */
  readonly pos: OpRef
}

/** A move of a directory, in the log of all of them. Immutable. */
export interface MoveRecord {
  readonly ref: OpRef
  /** = the directory's node id. */
  readonly link: LinkId
  readonly parent: NodeId
  readonly name: Name
  /** A cut move, of a directory that has no valid claim. */
  readonly fallback: boolean
  /** It would have made a cycle: nothing moved. */
  readonly skipped: boolean
  /** The position that it replaced (when skipped: that it would have replaced). */
  readonly before: DirectoryPosition
}

/** What is known about an applied batch. Immutable. */
export interface BatchInfo {
  /** JournalPosition of its record. */
  readonly position: number
  /** Effective time. */
  readonly ms: number
  readonly counter: number
}

/** An applied batch of control ops, whole. Immutable. */
export interface ControlBatch {
  readonly author: AuthorId
  readonly seq: number
  /** Effective time. */
  readonly ms: number
  readonly counter: number
  /** Author → number of batches that it had seen, its own included. */
  readonly vv: ReadonlyMap<AuthorId, number>
  readonly ops: readonly ControlBody[]
}

export interface ControlBody {
  /** Of the op in its batch. */
  readonly index: number
  readonly control: number
  readonly critical: boolean
  /** As encoded by its author. */
  readonly body: Uint8Array
}

/** Parent of what has no position at all: a link whose claims are all void. */
export const NOWHERE = '' as NodeId

export const NO_REFS: readonly OpRef[] = Object.freeze([])
const NO_HEADS: readonly ContentHead[] = Object.freeze([])
const NO_XATTRS: readonly XattrRecord[] = Object.freeze([])
const NO_TAGS: readonly TagRecord[] = Object.freeze([])
const NO_LINKS: readonly LinkRecord[] = Object.freeze([])
export const NO_NODES: readonly NodeId[] = Object.freeze([])
export const NO_NAMES: readonly Name[] = Object.freeze([])

/** Where LMDB has the record: nowhere yet, inside its entry, or under its ino. */
export const STORED_NOWHERE = 0
export const STORED_IN_ENTRY = 1
export const STORED_BY_INO = 2
/** Among the hidden nodes, or on its way there. */
export const STORED_HIDDEN = 3

export class NodeRecord {
  /** Generation that may change this object; 0 = none (clean). */
  epoch = 0

  // local
  ino: number
  generation = 0
  atimeSec = 0
  atimeNsec = 0
  ctimeSec = 0
  ctimeNsec = 0

  // replicated
  readonly node: NodeId
  readonly kind: NodeKind
  mode = 0
  modeRef: OpRef | undefined = undefined
  uid = -1
  gid = -1
  ownerRef: OpRef | undefined = undefined
  /** Of files: by the greatest put or explicit change. Directories: also by changes of entries. */
  mtimeSec = 0
  mtimeNsec = 0
  mtimeRef: OpRef | undefined = undefined
  rdev = 0
  rdevRef: OpRef | undefined = undefined
  target = ''
  targetRef: OpRef | undefined = undefined
  links: readonly LinkRecord[] = NO_LINKS
  heads: readonly ContentHead[] = NO_HEADS
  xattrs: readonly XattrRecord[] = NO_XATTRS
  tags: readonly TagRecord[] = NO_TAGS
  /** Attribute and tag ops that nothing has superseded and no rm has seen. */
  touches: readonly OpRef[] = NO_REFS
  /** Some op on it is cut: what counts is worked out from its history. */
  hasCut = false

  // of the view
  /** Some link of it stands in a GroupRecord. */
  grouped = false
  /** A variant that the view shows as a file of its own, though no op made it: the node whose
   *  content it has. Its id is derived from its only head; it is no part of the state hash. */
  virtualOf: NodeId | '' = ''

  // directories: of the view
  entryCount = 0
  subdirCount = 0
  nextCookie = FIRST_COOKIE
  /** Wanted links whose position is in this very node. */
  claimCount = 0
  /** The representative of the union that it is merged into; such a record is hidden. */
  mergedInto: NodeId | '' = ''
  /** Of a representative: all members of the union, itself included; else empty. */
  members: readonly NodeId[] = NO_NODES
  /** Names that groups in it have passed over. */
  skipCount = 0

  // local
  /** The op that this device applied to it last: head of its history. */
  last: OpRef | undefined = undefined

  // the index's own: what the last checkpoint wrote
  /** Sum of the name keys of the entries (db/), latin1. */
  namesHash = ''
  /** What this record contributes to the state hash, latin1; '' = nothing yet. */
  stateHash = ''
  stored = STORED_NOWHERE
  storedParent = 0
  storedCookie = 0

  constructor(ino: number, node: NodeId, kind: NodeKind) {
    this.ino = ino
    this.node = node
    this.kind = kind
  }

  clone(): NodeRecord {
    return Object.assign(new NodeRecord(this.ino, this.node, this.kind), this)
  }

  get isDirectory(): boolean {
    return this.kind === KIND_DIRECTORY
  }

  /** Content heads that the view shows: those that are not covered, if there are any. */
  get contents(): readonly ContentHead[] {
    const { heads } = this
    if (heads.length < 2 || !heads.some(({ covered }) => covered)) return heads
    const uncovered = heads.filter(({ covered }) => !covered)
    return uncovered.length === 0 ? heads : uncovered
  }

  /** The content that counts; undefined = never written. */
  get winner(): ContentHead | undefined {
    const last = this.heads[this.heads.length - 1]
    return last?.covered === true ? this.contents.at(-1) : last
  }

  get sizeBytes(): number {
    if (this.target !== '') return this.target.length
    return this.winner?.sizeBytes ?? 0
  }

  /** Links that the view shows. */
  get shownLinks(): number {
    let count = 0
    for (const link of this.links) if (link.shown) count++
    return count
  }

  /** The one shown link, or undefined when there is none or several. */
  get onlyLink(): LinkRecord | undefined {
    let only: LinkRecord | undefined
    for (const link of this.links) {
      if (!link.shown) continue
      if (only !== undefined) return undefined
      only = link
    }
    return only
  }

  get nlink(): number {
    return this.kind === KIND_DIRECTORY ? 2 + this.subdirCount : this.shownLinks
  }
}
