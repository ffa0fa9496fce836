// Several authors at once in the naive world: honest users who do file work on what they see, in
// directories that collide, with offline times and skewed clocks; and hostile authors whose ops are
// well-formed and mean harm: what nobody has seen, wrong kinds, ids minted twice, rings of moves,
// any refs. Everything from one seed. Batches go through the codec, so that each replica has
// objects of its own.
import { decodeBatch, encodeBatch } from '../../src/ops/codec.ts'
import { Ids } from '../../src/ops/ids.ts'
import { KIND_DIRECTORY, KIND_FIFO, KIND_FILE, KIND_SYMLINK } from '../../src/ops/types.ts'
import type {
  AttrChange, AuthorId, LinkId, Name, NodeId, NodeKind, Op, OpRef,
} from '../../src/ops/types.ts'
import { SeededRandom } from '../support/random.ts'
import { contentText } from './naive-model.helper.ts'
import type { ModelStanding } from './naive-model.helper.ts'
import { viewLines } from './naive-view.helper.ts'
import { hex } from './naive-compare.helper.ts'
import type { View, ViewDirectory, ViewEntry } from './naive-view.helper.ts'
import { NaiveUser, putOp, refOf } from './naive-user.helper.ts'
import type { BatchSort, UserBatch, Vault } from './naive-user.helper.ts'

const TREE_HASH = new Uint8Array(32)
const LABELS = ['laptop', 'böse/\n Kiste ' + 'ü'.repeat(20), '', 'phone']
const ids = new Ids(Buffer.alloc(32, 9))

export const VAULT: Vault = {
  ids,
  root: ids.root(Buffer.alloc(16)),
  label: (author) => LABELS[author.charCodeAt(31) - 65] ?? '',
}

/** Which batches count: cutoffs by author, single void batches. Immutable. */
export interface StandingVersion {
  cutoffs: Map<AuthorId, number>
  voids: Set<string>
}

export function standingOf(version: StandingVersion) {
  return (author: AuthorId, seq: number): ModelStanding => {
    if (version.voids.has(`${author}${seq}`)) return 'void'
    return seq >= (version.cutoffs.get(author) ?? Infinity) ? 'cut' : 'valid'
  }
}

export interface WorldOptions {
  authors: number
  /** Few names and many directories: unions, and moves into each other. */
  dense: boolean
  hostile: boolean
  cuts: boolean
}

/** What an action was, and what is wrong with what its user sees then, if anything. */
interface Done { follow: boolean; check?: () => string | undefined }

export function optionsOf(seed: number): WorldOptions {
  return {
    authors: 2 + seed % 3, dense: seed % 5 < 2, hostile: seed % 2 === 1, cuts: seed % 4 >= 2,
  }
}

/** A file that somebody holds open: what it was when opened. */
interface Handle { user: NaiveUser; node: NodeId; base: OpRef[] }

export class FuzzWorld {
  readonly random: SeededRandom
  readonly users: NaiveUser[]
  readonly logs = new Map<AuthorId, UserBatch[]>()
  readonly counts = new Map<string, number>()
  standing: StandingVersion = { cutoffs: new Map(), voids: new Set() }
  label = VAULT.label
  readonly options: WorldOptions
  readonly #handles: Handle[] = []
  #time = 1000
  #contents = 0

  constructor(seed: number, options: WorldOptions) {
    this.random = new SeededRandom(seed)
    this.options = options
    this.users = Array.from({ length: options.authors }, (_, i) => {
      // orders by author and by label differ
      const author = (String.fromCharCode(90 - i).repeat(31) + String.fromCharCode(65 + i))
      return new NaiveUser(VAULT, author as AuthorId, standingOf(this.standing))
    })
    for (const user of this.users) this.logs.set(user.author, [])
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  /** One user's batch, already applied there; undefined when there was nothing to do. */
  act(user: NaiveUser): UserBatch | undefined {
    const seq = user.lengthOf(user.author)
    if (user.standing(user.author, seq) !== 'valid') return undefined
    user.begin(this.#claim(user))
    const before = viewLines(user.view)
    let sort: BatchSort = {}
    let check: (() => string | undefined) | undefined
    if (this.options.hostile && this.random.chance(0.12)) {
      this.#hostile(user)
      sort = { hostile: true }
    } else if (this.random.chance(0.05)) {
      this.#detached(user)
      sort = { detached: true }
    } else {
      const made = this.#work(user)
      sort = { follow: made.follow }
      check = made.check
    }
    const batch = user.commit(sort)
    const wrong = batch === undefined ? undefined : check?.()
    if (wrong !== undefined) {
      throw new Error(`own write: ${wrong}\n${[...before.keys()].join('\n')}`)
    }
    if (batch === undefined) return undefined
    const placed = { ...batch, ops: this.encoded(batch).ops }
    this.logs.get(user.author)!.push(placed)
    return placed
  }

  /** The batch as another device decodes it. */
  encoded(batch: UserBatch): UserBatch {
    const deps = batch.deps.map((dep) => ({ ...dep, treeHash: TREE_HASH }))
    const bytes = encodeBatch({ ...batch, deps, ops: [...batch.ops] }, batch.author, batch.seq)
    return { ...batch, ops: decodeBatch(bytes, batch.author, batch.seq, ids).ops }
  }

  /** Some batch that the user may apply next. */
  next(user: NaiveUser): UserBatch | undefined {
    const ready = [...this.logs.values()].flatMap((log) => {
      const batch = log[user.lengthOf(log[0]?.author ?? user.author)]
      return batch !== undefined && user.canApply(batch) ? [batch] : []
    })
    return ready.length === 0 ? undefined : this.random.pick(ready)
  }

  /** A device is renamed. */
  changeLabels(): void {
    const label = this.random.pick(['laptop', 'phone', '', 'new name'])
    const author = this.random.pick(this.users).author
    const before = this.label
    this.label = (of) => (of === author ? label : before(of))
  }

  /** In a world with cuts, somebody is cut off in the end. */
  settleStanding(): void {
    while (this.options.cuts && this.standing.cutoffs.size === 0) this.changeStanding()
  }

  /** Cuts somebody off, or lets them in again, or declares a batch void. */
  changeStanding(): void {
    const { random } = this
    const author = random.pick(this.users).author
    const length = this.logs.get(author)!.length
    const cutoffs = new Map(this.standing.cutoffs)
    const voids = new Set(this.standing.voids)
    const roll = random.int(0, 10)
    if (roll < 4) cutoffs.set(author, random.int(0, length + 1))
    else if (roll < 6) cutoffs.delete(author)
    else if (roll < 9) voids.add(`${author}${random.int(0, length + 1)}`)
    else voids.clear()
    this.standing = { cutoffs, voids }
  }

  #claim(user: NaiveUser): { ms: number; counter: number } {
    const { random } = this
    if (random.chance(0.01)) return { ms: 2 ** 47 + random.int(0, 2) * 9, counter: 3 }
    const skew = (user.author.charCodeAt(31) - 65) * 40
    const day = random.chance(0.03) ? random.int(0, 3) * 86_400_000 : 0
    return { ms: this.#time++ + skew + day + random.int(0, 60), counter: random.int(0, 2) }
  }

  // ---- file work ----

  #work(user: NaiveUser): Done {
    const { random } = this
    const directories = directoriesOf(user)
    const at = random.pick(directories)
    const to = random.chance(0.6) ? at : random.pick(directories)
    const names = [...at.entries.keys()]
    const name = names.length === 0 ? undefined : random.pick(names)
    const entry = name === undefined ? undefined : at.entries.get(name)
    const roll = random.int(0, 100)
    if (roll < 30 || name === undefined || entry === undefined) return this.#create(user, at)
    // a removed directory is shown while something is in it: it may go with its last entry
    const again = (directory: ViewDirectory) => (
      user.view.directories.get(directory.node)?.entries ?? new Map<Name, ViewEntry>()
    )
    const time = this.#time
    if (roll < 48) {
      if (entry.kind !== KIND_FILE) return { follow: false }
      this.#open(user, entry)
      const bytes = this.#bytes()
      user.write(at, name, bytes, time)
      return { follow: false, check: () => {
        const is = contentText(again(at).get(name)?.head?.put)
        return is === contentText(putOp(entry.node, bytes, [], 0)) ? undefined : `content ${name}`
      } }
    }
    if (roll < 66) return this.#rename(user, at, entry, to)
    if (roll < 80) {
      if ((entry.directory?.entries.size ?? 0) > 0) return { follow: false }
      this.count(entry.kind === KIND_DIRECTORY ? 'rmdir' : 'rm')
      user.remove(at, name)
      return { follow: false, check: () => {
        const found = again(at).get(name)
        return found === undefined ? undefined : `still there ${name}`
      } }
    }
    if (roll < 85) {
      const newName = this.#name(user, to)
      if (to.entries.has(newName)) return { follow: false }
      this.count('link')
      const text = contentText(entry.head?.put)
      user.link(at, name, to, newName)
      return { follow: false, check: () => {
        const [one, two] = [again(at).get(name), again(to).get(newName)]
        const isBoth = contentText(one?.head?.put) === text && contentText(two?.head?.put) === text
        return isBoth && one?.of === two?.of ? undefined : `link ${name} ${newName}`
      } }
    }
    if (roll < 95) {
      user.setAttr(at, name, this.#attr(entry))
      return { follow: false }
    }
    user.tag(at, name, random.chance(0.7) ? [random.pick(['x', 'y', 'z'])] : [], () => (
      random.chance(0.5)
    ))
    return { follow: false }
  }

  #create(user: NaiveUser, at: ViewDirectory): Done {
    const { random } = this
    const name = this.#name(user, at)
    if (at.entries.has(name)) return { follow: false }
    const kind = this.options.dense && random.chance(0.4) ? KIND_DIRECTORY : random.pick<NodeKind>([
      KIND_FILE, KIND_FILE, KIND_FILE, KIND_FILE, KIND_DIRECTORY, KIND_DIRECTORY, KIND_DIRECTORY,
      KIND_SYMLINK, KIND_FIFO,
    ])
    const attrs: AttrChange[] = [{ key: 1, mode: random.int(0, 512) }]
    if (kind === KIND_SYMLINK) attrs.push({ key: 5, target: random.pick(['a', 'b']) })
    const node = user.make(at, name, kind, attrs)
    const bytes = this.#bytes()
    if (kind === KIND_FILE && random.chance(0.8)) user.add(putOp(node, bytes, [], this.#time))
    return { follow: false, check: () => {
      const found = user.again(at).entries.get(name)
      return found?.node === node || found?.directory !== undefined ? undefined : `made ${name}`
    } }
  }

  #rename(user: NaiveUser, at: ViewDirectory, entry: ViewEntry, to: ViewDirectory): Done {
    const { random } = this
    const others = [...to.entries.keys()]
    const newName = others.length > 0 && random.chance(0.5)
      ? random.pick(others) : this.#name(user, to)
    const over = to.entries.get(newName)
    const isDirectory = entry.kind === KIND_DIRECTORY
    const nothing = { follow: false }
    if (over === entry || (over !== undefined && over.of === entry.of)) return nothing
    if (entry.directory !== undefined && isBelow(entry.directory, to)) return nothing
    if (over !== undefined && isDirectory !== (over.kind === KIND_DIRECTORY)) return nothing
    if (over?.directory !== undefined && over.directory.entries.size > 0) return nothing
    this.count(over !== undefined ? 'rename over' : isDirectory ? 'move directory' : 'rename')
    const text = contentText(entry.head?.put)
    const follow = user.rename(at, entry.name, to, newName, this.#time)
    return { follow, check: () => {
      const left = user.view.directories.get(at.node)?.entries.get(entry.name)
      if (left !== undefined && !(at === to && entry.name === newName)) return `left ${entry.name}`
      const now = user.again(to).entries.get(newName)
      if (entry.kind === KIND_FILE && contentText(now?.head?.put) !== text) return `at ${newName}`
      return now?.kind === entry.kind ? undefined : `no ${newName}`
    } }
  }

  #open(user: NaiveUser, { of, isVariant, head }: ViewEntry): void {
    if (isVariant || head === undefined || this.#handles.length > 20) return
    this.#handles.push({ user, node: of.node, base: [refOf(head.by)] })
  }

  /** A write through an old handle: concurrent with what this device itself knows. */
  #detached(user: NaiveUser): void {
    const handle = this.#handles.find((one) => one.user === user)
    if (handle === undefined) return
    this.#handles.splice(this.#handles.indexOf(handle), 1)
    this.count('detached')
    user.writeDetached(handle.node, handle.base, this.#bytes(), this.#time)
  }

  #attr(entry: ViewEntry): AttrChange {
    const { random } = this
    const list: AttrChange[] = [
      { key: 1, mode: random.int(0, 512) },
      { key: 2, uid: random.int(0, 5), gid: 3 },
      { key: 4, name: random.pick(['user.a', 'user.b']), value: random.bytes(2) },
      { key: 4, name: random.pick(['user.a', 'user.b']), value: undefined },
    ]
    if (entry.kind === KIND_FILE) list.push({ key: 3, sec: random.int(0, 1000), nsec: 1 })
    return random.pick(list)
  }

  #bytes(): Uint8Array {
    // some equal, most not
    const { random } = this
    return random.chance(0.3) ? Buffer.from(random.pick(['', 'same', 'equal']))
      : Buffer.from(`content ${++this.#contents}`)
  }

  /** Few names, so that they collide; long ones; names that a conflict copy has or would get. */
  #name(user: NaiveUser, at: ViewDirectory): Name {
    const { random } = this
    const roll = random.int(0, 20)
    if (this.options.dense && roll < 17) return random.pick(['a', 'b', 'c.txt']) as Name
    if (roll < 14) return random.pick(['a', 'b', 'c.txt', 'd.tar.gz', '.e', 'f.', 'd']) as Name
    if (roll === 14) return random.pick(['n', '\xc3\xa9']).repeat(127).padEnd(255, 'x') as Name
    if (roll === 15) return `${'y'.repeat(250)}.${random.pick(['txt', 'html'])}` as Name
    const taken = [...at.entries.values()].filter((one) => one.isConflictName)
    if (roll < 18 && taken.length > 0) {
      this.count('conflict name taken')
      return random.pick(taken).name
    }
    const label = random.pick([VAULT.label(user.author).slice(0, 5), 'laptop', 'phone'])
    return `a (conflict 1970-01-01 ${label.replaceAll(/[/\n]/g, '_')})` as Name
  }

  /** Makes some conflicted group real: the user must see no difference. */
  normalise(user: NaiveUser): UserBatch | undefined {
    if (user.standing(user.author, user.lengthOf(user.author)) !== 'valid') return undefined
    const groups = directoriesOf(user).flatMap((at) => (
      [...at.groups.values()].filter((one) => one.conflicted).map((group) => ({ at, group }))
    ))
    if (groups.length === 0) return undefined
    const { at, group } = this.random.pick(groups)
    const item = group.items.find((one) => one.shown !== undefined)!
    user.begin(this.#claim(user))
    const before = user.view
    user.normalise(at, at.entries.get(item.shown!)!)
    const batch = user.commit()
    this.count('normalise')
    const gone = this.#membersGone(before, user.view)
    const wrong = difference(viewLines(before, false, gone), viewLines(user.view, false))
    if (wrong !== undefined) throw new Error(`normalising is seen: ${wrong}`)
    const still = user.again(at).groups.get(group.name)
    if (still?.conflicted === true) throw new Error(`still conflicted: ${group.name}`)
    if (batch === undefined) return undefined
    this.logs.get(user.author)!.push(batch)
    return batch
  }

  /** Removed directories that duplicates alone had kept in their unions: they go with those. */
  #membersGone(before: View, after: View): Set<NodeId> {
    const gone = new Set<NodeId>()
    for (const { node, members } of before.directories.values()) {
      const stays = after.directories.get(node) ?? members.map((one) => (
        after.directories.get(one.node)
      )).find((one) => one !== undefined)
      for (const member of members) {
        if (stays?.members.some((one) => one.node === member.node) === true) continue
        if (member.links.some((link) => link.heads.length > 0)) {
          throw new Error(`normalising takes a directory: ${hex(member.node)}`)
        }
        gone.add(member.node)
        this.count('member gone')
      }
    }
    return gone
  }

  // ---- hostile ----

  #hostile(user: NaiveUser): void {
    this.count('hostile')
    for (let n = this.random.int(1, 4); n > 0; n--) user.add(this.#hostileOp(user))
  }

  #hostileOp(user: NaiveUser): Op {
    const { random } = this
    const mint = user.mint > 0 && random.chance(0.5) ? random.int(1, user.mint + 1) : ++user.mint
    const kind = random.pick<NodeKind>([1, 2, 2, 3])
    const name = this.#name(user, user.view.root)
    const parent = this.#anyNode(user)
    const node = this.#anyNode(user)
    const link = this.#anyLink(user)
    const refs = () => this.#anyRefs()
    switch (random.int(0, 8)) {
      case 0:
        return {
          kind: 'mk', mint, node: ids.node(user.author, mint, kind), nodeKind: kind, parent, name,
          attrs: [],
        }
      case 1:
        return { kind: 'link', mint, link: ids.link(user.author, mint, node), node, parent, name }
      case 2:
      case 3:
        return { kind: 'mv', link, parent, name, prev: refs() }
      case 4:
        return { ...putOp(node, this.#bytes(), refs(), 5) }
      case 5:
        return { kind: 'rm', link, prev: refs(), contentHeads: refs() }
      case 6: {
        const source = this.#anyRefs()[0]
        if (source === undefined) return { kind: 'tag', node, add: ['h'], removeAdds: refs() }
        return {
          kind: 'mk', mint: 0, source, node: ids.derived(source), nodeKind: 2, parent, name,
          attrs: [],
        }
      }
      default:
        return { kind: 'attr', node, change: { key: 1, mode: random.int(0, 512) }, prev: refs() }
    }
  }

  #anyBatch(): UserBatch | undefined {
    return this.random.pick(this.logs.get(this.random.pick(this.users).author)!)
  }

  #anyOp(kinds: Op['kind'][]): Op | undefined {
    for (let n = 0; n < 8; n++) {
      const found = this.#anyBatch()?.ops.filter((op) => kinds.includes(op.kind)) ?? []
      if (found.length > 0) return this.random.pick(found)
    }
    return undefined
  }

  /** Any node, seen or not, at times one that does not exist. */
  #anyNode(user: NaiveUser): NodeId {
    if (this.random.chance(0.1)) return VAULT.root
    const op = this.#anyOp(['mk'])
    if (op?.kind === 'mk' && this.random.chance(0.9)) return op.node
    return ids.node(user.author, 900 + this.random.int(0, 9), this.random.pick<NodeKind>([1, 2]))
  }

  #anyLink(user: NaiveUser): LinkId {
    const op = this.#anyOp(['link', 'mv', 'mk', 'mk'])
    if (op?.kind === 'link' || op?.kind === 'mv') return op.link
    return this.#anyNode(user) as string as LinkId
  }

  #anyRefs(): OpRef[] {
    const refs = new Map<string, OpRef>()
    for (let n = this.random.int(0, 4); n > 0; n--) {
      const batch = this.#anyBatch()
      if (batch === undefined) continue
      const { author, seq, ms } = batch
      const index = this.random.int(0, batch.ops.length + (this.random.chance(0.1) ? 2 : 0))
      refs.set(`${author}${seq}.${index}`, {
        ms: Math.min(ms, 2 ** 47), counter: 0, author, seq, index, order: 0,
      })
    }
    return [...refs.values()]
  }
}

/** Where two views differ first. */
export function difference(a: Map<string, string>, b: Map<string, string>): string | undefined {
  for (const path of [...new Set([...a.keys(), ...b.keys()])].toSorted()) {
    if (a.get(path) !== b.get(path)) return `${path}: ${a.get(path)} -> ${b.get(path)}`
  }
  return undefined
}

function directoriesOf(user: NaiveUser): ViewDirectory[] {
  return [...new Set(user.view.directories.values())]
}

/** Whether `below` is `directory` or in it. */
function isBelow(directory: ViewDirectory, below: ViewDirectory): boolean {
  if (directory === below) return true
  for (const entry of directory.entries.values()) {
    if (entry.directory !== undefined && isBelow(entry.directory, below)) return true
  }
  return false
}
