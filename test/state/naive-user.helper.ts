// A user on one device of the naive world: makes the ops of file work from what the naive view
// shows there, by the rules of what a local change does ("Local changes" in FORMATS.md): normalise
// on touch, unions as one directory, puts that name the winner and its equals. Each action is one
// batch; within it the model is folded again over what the batch has so far, so that later ops see
// the earlier ones.
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { Ids } from '../../src/ops/ids.ts'
import type {
  AttrChange, AuthorId, Name, NodeId, NodeKind, Op, OpRef,
} from '../../src/ops/types.ts'
import { contentText, contentsOf, foldNaively } from './naive-model.helper.ts'
import type {
  Model, ModelBatch, ModelHead, ModelLink, ModelNode, ModelStanding, PlacedOp,
} from './naive-model.helper.ts'
import { viewNaively } from './naive-view.helper.ts'
import type { View, ViewDirectory, ViewEntry, ViewGroup } from './naive-view.helper.ts'

export interface Vault {
  ids: Ids
  root: NodeId
  label: (author: AuthorId) => string
}

/**
 * `follow`: a rename over, by which an ino moves. `detached`: a write through an old handle.
 * `hostile`: not what a device does by itself.
 */
export interface BatchSort {
  follow?: boolean
  detached?: boolean
  hostile?: boolean
}
export type UserBatch = ModelBatch & BatchSort

export class NaiveUser {
  vault: Vault
  readonly author: AuthorId
  standing: (author: AuthorId, seq: number) => ModelStanding
  /** What this device has applied, in its order. */
  readonly batches: ModelBatch[] = []
  mint = 0
  #published = new Map<AuthorId, number>()
  #ops: Op[] = []
  #claim = { ms: 0, counter: 0 }
  #seen: { model: Model; view: View } | undefined

  constructor(vault: Vault, author: AuthorId, standing: NaiveUser['standing']) {
    this.vault = vault
    this.author = author
    this.standing = standing
  }

  lengthOf(author: AuthorId): number {
    return this.#lengths.get(author) ?? 0
  }

  readonly #lengths = new Map<AuthorId, number>()

  receive(batch: ModelBatch): void {
    this.batches.push(batch)
    this.#lengths.set(batch.author, batch.seq + 1)
    this.#seen = undefined
  }

  changeLabels(label: Vault['label']): void {
    this.vault = { ...this.vault, label }
    this.#seen = undefined
  }

  changeStanding(standing: NaiveUser['standing']): void {
    this.standing = standing
    this.#seen = undefined
  }

  canApply(batch: ModelBatch): boolean {
    return this.lengthOf(batch.author) === batch.seq
      && batch.deps.every(({ author, length }) => this.lengthOf(author) >= length)
  }

  /** The model and view of what is applied and of the batch under way. */
  get seen(): { model: Model; view: View } {
    if (this.#seen !== undefined) return this.#seen
    const partial = this.#ops.length === 0 ? [] : [this.#batch()]
    const model = foldNaively([...this.batches, ...partial], {
      root: this.vault.root, standing: this.standing,
    })
    this.#seen = { model, view: viewNaively(model, this.vault) }
    return this.#seen
  }

  get view(): View {
    return this.seen.view
  }

  begin(claim: { ms: number; counter: number }): void {
    this.#claim = claim
    this.#ops = []
    this.#seen = undefined
  }

  add(...ops: Op[]): void {
    this.#ops.push(...ops)
    if (ops.length > 0) this.#seen = undefined
  }

  /** The batch under way, applied here; undefined when it has no ops. */
  commit(sort: BatchSort = {}): UserBatch | undefined {
    if (this.#ops.length === 0) return undefined
    const batch = this.#batch()
    for (const { author, length } of batch.deps) this.#published.set(author, length)
    this.#ops = []
    this.receive(batch)
    return { ...batch, ...sort }
  }

  #batch(): ModelBatch {
    const deps: { author: AuthorId; length: number }[] = []
    for (const [author, length] of this.#lengths) {
      if (author === this.author || length === (this.#published.get(author) ?? 0)) continue
      deps.push({ author, length })
    }
    deps.sort((a, b) => (a.author < b.author ? -1 : 1))
    return {
      author: this.author, seq: this.lengthOf(this.author), ...this.#claim, deps,
      ops: [...this.#ops],
    }
  }

  // ---- file work ----

  make(at: ViewDirectory, name: Name, kind: NodeKind, attrs: AttrChange[] = []): NodeId {
    const mint = ++this.mint
    const node = this.vault.ids.node(this.author, mint, kind)
    this.add({ kind: 'mk', mint, node, nodeKind: kind, parent: at.node, name, attrs })
    return node
  }

  /** A write: replaces the winner and its equals; what bears a conflict name becomes real first. */
  write(at: ViewDirectory, name: Name, bytes: Uint8Array, time: number): void {
    const entry = this.entry(at, name)
    if (entry === undefined) return
    if (entry.isConflictName) this.normalise(at, entry)
    const node = this.#fileAt(at, name)
    this.add(putOp(node.node, bytes, seenHeads(node), time))
  }

  /** A write through a handle that was opened when `base` was the content. */
  writeDetached(node: NodeId, base: OpRef[], bytes: Uint8Array, time: number): void {
    this.add(putOp(node, bytes, base, time))
  }

  remove(at: ViewDirectory, name: Name): void {
    const entry = this.entry(at, name)
    if (entry === undefined) return
    this.normalise(at, entry)
    this.#keepNames(at, name)
    const found = this.entry(this.again(at), name)
    if (found !== undefined) this.#removeEntry(found)
  }

  #removeEntry(entry: ViewEntry): void {
    for (const node of membersOf(entry)) {
      for (const link of node.links) {
        if (node.kind === KIND_DIRECTORY || link.link === entry.link) this.add(removeOp(node, link))
      }
    }
  }

  setAttr(at: ViewDirectory, name: Name, change: AttrChange): void {
    const entry = this.entry(at, name)
    if (entry === undefined) return
    if (entry.isVariant) this.normalise(at, entry)
    const nodes = entry.isVariant ? [this.#fileAt(at, name)] : membersOf(entry)
    for (const { node, touches } of nodes) {
      this.add({ kind: 'attr', node, change, prev: touches.map(refOf) })
    }
  }

  tag(at: ViewDirectory, name: Name, add: string[], removes: (index: number) => boolean): void {
    const entry = this.entry(at, name)
    if (entry === undefined || entry.isVariant) return
    const { node, tags } = entry.of
    const gone = new Map(tags.filter((_, i) => removes(i)).map(({ by }) => [keyOf(by), refOf(by)]))
    this.add({ kind: 'tag', node, add, removeAdds: [...gone.values()] })
  }

  link(at: ViewDirectory, name: Name, to: ViewDirectory, newName: Name): void {
    const entry = this.entry(at, name)
    if (entry === undefined || entry.kind === KIND_DIRECTORY) return
    this.normalise(at, entry)
    // a link that only was revived would go, now that there is one that is kept
    for (const one of this.#fileAt(at, name).links) {
      if (one.wanted && one.heads.length === 0) {
        this.add(moveOp(one, one.parent as NodeId, one.name as Name))
      }
    }
    const mint = ++this.mint
    const { node } = this.#fileAt(at, name)
    const link = this.vault.ids.link(this.author, mint, node)
    this.add({ kind: 'link', mint, link, node, parent: to.node, name: newName })
  }

  /** rename(2): true when the target takes the source's ino (rename over, one link each). */
  rename(at: ViewDirectory, name: Name, to: ViewDirectory, newName: Name, time: number): boolean {
    const source = this.entry(at, name)
    if (source === undefined) return false
    this.normalise(at, source)
    const target = this.entry(this.again(to), newName)
    if (target !== undefined) this.normalise(this.again(to), target)
    this.#keepNames(at, name)
    const from = this.entry(this.again(at), name)
    const over = this.entry(this.again(to), newName)
    if (from === undefined || from.of === over?.of) return false
    const links = (node: ModelNode) => node.links.filter((one) => one.wanted).length
    const isOver = over !== undefined && from.kind === KIND_FILE && over.kind === KIND_FILE
      && links(from.of) === 1 && links(over.of) === 1
    if (isOver) {
      const head = from.head?.put
      const put = putOp(over.of.node, new Uint8Array(), seenHeads(over.of), time)
      if (head !== undefined) {
        put.sizeBytes = head.sizeBytes
        put.content = head.content
      }
      const prev = over.of.touches.map(refOf)
      const attrs = [...from.of.attrs.values()].map(({ change }): Op => (
        { kind: 'attr', node: over.of.node, change, prev }
      ))
      this.add(put, ...attrs)
      this.#removeEntry(from)
      return true
    }
    if (over !== undefined) this.#removeEntry(over)
    for (const node of membersOf(from)) {
      for (const link of node.links) {
        if (node.kind !== KIND_DIRECTORY && link.link !== from.link) continue
        this.add(moveOp(link, to.node, newName))
      }
    }
    return false
  }

  /** Before a name is free: conflict copies that would have liked it stay what they are. */
  #keepNames(at: ViewDirectory, name: Name): void {
    for (;;) {
      const now = this.again(at)
      const group = [...now.groups.values()].find((one) => one.passed.has(name))
      const shown = group?.items.find((one) => one.shown !== undefined)?.shown
      if (shown === undefined) return
      this.normalise(now, now.entries.get(shown)!)
    }
  }

  /** Makes every item of the entry's group real, if the group is conflicted. */
  normalise(at: ViewDirectory, entry: ViewEntry): void {
    const group = groupOf(at, entry)
    if (group?.conflicted !== true) return
    const done = new Set<ModelNode>()
    for (const { link, head, isVariant, shown } of group.items) {
      const node = link.node
      if (!isVariant && shown !== undefined && shown !== group.name) {
        this.add(moveOp(link, link.parent as NodeId, shown))
      }
      if (!isVariant || head === undefined) continue
      if (!done.has(node)) {
        done.add(node)
        const winner = contentsOf(node).at(-1) as ModelHead
        const base = node.heads.map(({ by }) => refOf(by))
        this.add({ ...winner.put, ...mtimeOf(node), base })
      }
      if (shown !== undefined) this.#makeReal(link, head, shown)
    }
    // last, and one by one: each names what the ops before it have made
    for (const { link, isVariant, shown } of group.items) {
      if (isVariant || shown !== undefined) continue
      const now = this.seen.model.links.get(link.link) as ModelLink
      this.add(removeOp(now.node, now))
    }
  }

  #makeReal(link: ModelLink, head: ModelHead, name: Name): void {
    const source = refOf(head.by)
    const derived = this.vault.ids.derived(source)
    // where that node is there already, what is made is another one
    const isThere = this.seen.model.nodes.has(derived)
    const mint = isThere ? ++this.mint : 0
    const node = isThere ? this.vault.ids.node(this.author, mint, KIND_FILE) : derived
    const how = isThere ? { mint } : { mint, source }
    const attrs = [...link.node.attrs.values()].map(({ change }) => change)
      .filter(({ key }) => key !== 3).toSorted(compareAttrs)
    const parent = link.parent as NodeId
    this.add(
      { kind: 'mk', ...how, node, nodeKind: KIND_FILE, attrs, parent, name },
      { ...head.put, node, base: [] },
    )
  }

  // ---- finding ----

  entry(at: ViewDirectory, name: Name): ViewEntry | undefined {
    return at.entries.get(name)
  }

  /** The same directory in the view as it is now. */
  again(at: ViewDirectory): ViewDirectory {
    return this.view.directories.get(at.node) ?? this.view.root
  }

  /** What the name is now, within the batch under way. */
  #fileAt(at: ViewDirectory, name: Name): ModelNode {
    const entry = this.entry(this.again(at), name)
    if (entry === undefined || entry.isVariant) throw new Error('user: no file to change')
    return entry.of
  }
}

export function groupOf(at: ViewDirectory, entry: ViewEntry): ViewGroup | undefined {
  if (entry.kind === KIND_DIRECTORY) return at.groups.get(entry.name)
  for (const group of at.groups.values()) {
    if (group.items.some((item) => item.shown === entry.name)) return group
  }
  return undefined
}

export function membersOf(entry: ViewEntry): ModelNode[] {
  return entry.directory?.members ?? [entry.of]
}

export const keyOf = (by: PlacedOp) => {
  const { author, seq } = by.batch.batch
  return `${Buffer.from(author.slice(0, 4), 'latin1').toString('hex')}.${seq}.${by.index}`
}

export function refOf(by: PlacedOp): OpRef {
  const { author, seq } = by.batch.batch
  return { ms: by.batch.ms, counter: by.batch.counter, author, seq, index: by.index, order: 0 }
}

/** What a writer replaces: the winner and what equals it. */
export function seenHeads(node: ModelNode): OpRef[] {
  const winner = contentsOf(node).at(-1)
  const same = contentText(winner?.put)
  return node.heads.filter(({ put }) => contentText(put) === same).map(({ by }) => refOf(by))
}

export function putOp(
  node: NodeId,
  bytes: Uint8Array,
  base: OpRef[],
  time: number,
): Op & { kind: 'put' } {
  return {
    kind: 'put', node, base, sizeBytes: bytes.length, mtimeSec: time, mtimeNsec: 0,
    content: { kind: 'inline', bytes },
  }
}

/** As the view shows it: the put of a normalisation must not change it. */
function mtimeOf(node: ModelNode): { mtimeSec?: number; mtimeNsec?: number } {
  const change = node.attrs.get('3')?.change
  return change?.key === 3 ? { mtimeSec: change.sec, mtimeNsec: change.nsec } : {}
}

function moveOp(link: ModelLink, parent: NodeId, name: Name): Op {
  return { kind: 'mv', link: link.link, parent, name, prev: link.heads.map(refOf) }
}

function removeOp(node: ModelNode, link: ModelLink): Op {
  const isLast = node.links.filter((one) => one.wanted && one !== link).length === 0
  const heads = link.heads.map(refOf)
  if (!isLast) return { kind: 'rm', link: link.link, prev: heads, contentHeads: [] }
  return {
    kind: 'rm', link: link.link, prev: [...heads, ...node.touches.map(refOf)],
    contentHeads: node.heads.filter((one) => !one.covered).map(({ by }) => refOf(by)),
  }
}

function compareAttrs(a: AttrChange, b: AttrChange): number {
  if (a.key !== b.key) return a.key - b.key
  return a.key === 4 && b.key === 4 && a.name < b.name ? -1 : 1
}
