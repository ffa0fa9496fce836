// Several authors at once: each makes ops on what its own replica shows (hard links, renames over
// files, puts, attributes, tags, removals, directories), batches travel in any causal order, and at
// the end every replica must agree with a naive model that looks at the set of all ops: positions,
// heads, attributes, tags, liveness, entries of the view, and the state hash. Names are unique for
// each creation, since two nodes of one name are the next rules' business; directories do not move.
// SEED=n repeats a run.
import t from 'tap'
import { effectiveTime } from '../../src/ops/hlc.ts'
import type { HlcTime } from '../../src/ops/hlc.ts'
import { Ids } from '../../src/ops/ids.ts'
import { compareRefs } from '../../src/ops/order.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { AttrChange, AuthorId, LinkId, Name, NodeId, Op, OpRef } from '../../src/ops/types.ts'
import { FACTS_FOLLOW, Facts } from '../../src/state/facts.ts'
import { Fold, makeRoot } from '../../src/state/fold.ts'
import { MemoryBase } from '../../src/state/memory-base.ts'
import { StateMeta } from '../../src/state/meta.ts'
import { Overlay } from '../../src/state/overlay.ts'
import type { NodeRecord } from '../../src/state/records.ts'
import { seenHeads } from '../../src/state/registers.ts'
import { attrDifference, moveOp, removeOp } from '../../src/vault/tree-records.ts'
import { SeededRandom, testSeed } from '../support/random.ts'

const ids = new Ids(Buffer.alloc(32, 9))
const ROOT = ids.root(Buffer.alloc(16))

interface TestBatch {
  author: number
  seq: number
  ms: number
  counter: number
  deps: number[] // batches of each author that were applied before
  ops: Op[]
  refs: OpRef[]
  kind: 0 | 1
}

class Replica {
  readonly base = new MemoryBase()
  readonly store: Overlay
  readonly fold: Fold
  readonly index: number
  readonly author: AuthorId
  readonly applied: number[]
  last = { ms: 0, counter: 0 }
  mint = 0
  now = 0

  constructor(index: number, count: number) {
    this.index = index
    this.author = String.fromCharCode(65 + index).repeat(32) as AuthorId
    this.applied = Array.from({ length: count }, () => 0)
    this.store = new Overlay(this.base, new StateMeta())
    makeRoot(this.store, ROOT)
    this.fold = new Fold(this.store)
  }

  apply(batch: TestBatch, own: boolean): void {
    const facts = new Facts(++this.now, 0)
    if (own) facts.kind = batch.kind
    this.fold.apply(batch.ops, batch.refs.map((ref) => ({ ...ref })), facts)
    if (this.fold.voids.length > 0) throw new Error(`void: ${this.fold.voids.join()}`)
    this.applied[batch.author] = batch.seq + 1
    if (compareTime(batch, this.last) > 0) this.last = { ms: batch.ms, counter: batch.counter }
  }

  /** What the view shows, by walking it. */
  walk(): { entries: string[]; files: NodeRecord[]; directories: NodeRecord[] } {
    const entries: string[] = []
    const files: NodeRecord[] = []
    const directories: NodeRecord[] = [this.store.node(1)!]
    for (const directory of directories) {
      let count = 0
      for (let after = 0; ;) {
        const page = this.store.entries(directory.ino, after, 2, true)
        count += page.length
        for (const entry of page) {
          after = entry.cookie
          const record = this.store.node(entry.ino)!
          entries.push(`${directory.node} ${entry.name} ${record.node}`)
          const named = this.store.entry(directory.ino, entry.name)
          if (named?.ino !== entry.ino) throw new Error('name')
          if (record.kind === KIND_DIRECTORY) directories.push(record)
          else if (!files.includes(record)) files.push(record)
        }
        if (page.length < 2) break
      }
      if (count !== directory.entryCount) throw new Error('a directory has lost count')
    }
    return { entries: entries.toSorted(), files, directories }
  }

  checkpoint(): void {
    this.base.absorb(this.store.freeze())
    this.store.release()
  }
}

function compareTime(a: HlcTime, b: HlcTime): number {
  return a.ms - b.ms || a.counter - b.counter
}

class World {
  readonly random: SeededRandom
  readonly replicas: Replica[]
  readonly logs: TestBatch[][]
  names = 0
  overs = 0
  links = 0

  constructor(seed: number, count: number) {
    this.random = new SeededRandom(seed)
    this.replicas = Array.from({ length: count }, (_, i) => new Replica(i, count))
    this.logs = this.replicas.map(() => [])
  }

  emit(replica: Replica, ops: Op[], kind: 0 | 1 = 0): void {
    if (ops.length === 0) return
    const skew = replica.index * 50
    const claim = { ms: 1000 + skew + this.random.int(0, 300), counter: 0 }
    const time = effectiveTime(claim, [replica.last])
    const seq = this.logs[replica.index]!.length
    const refs = ops.map((_, index) => ({ ...time, author: replica.author, seq, index, order: 0 }))
    const deps = [...replica.applied]
    const batch = { author: replica.index, seq, ...time, deps, ops, refs, kind }
    this.logs[replica.index]!.push(batch)
    replica.apply(batch, true)
  }

  /** Delivers one batch from somebody, if its dependencies are there. */
  deliver(to: Replica): boolean {
    const from = this.random.int(0, this.replicas.length)
    const batch = this.logs[from]![to.applied[from]!]
    if (batch === undefined || !batch.deps.every((n, i) => to.applied[i]! >= n)) return false
    to.apply(batch, false)
    return true
  }

  syncAll(): void {
    const isBehind = () => (
      this.replicas.some((to) => this.logs.some((log, i) => to.applied[i]! < log.length))
    )
    while (isBehind()) this.deliver(this.random.pick(this.replicas))
  }

  step(replica: Replica): void {
    const { random } = this
    const { entries, files, directories } = replica.walk()
    const parent = random.pick(directories)
    const name = `name ${++this.names}` as Name
    const file = files.length > 0 ? random.pick(files) : undefined
    const roll = random.int(0, 100)
    if (roll < 30 || file === undefined) {
      const kind = random.chance(0.25) ? KIND_DIRECTORY : KIND_FILE
      const mint = ++replica.mint
      const node = ids.node(replica.author, mint, kind)
      const attrs: AttrChange[] = [{ key: 1, mode: random.int(0, 512) }]
      this.emit(replica, [
        { kind: 'mk', mint, node, nodeKind: kind, parent: parent.node, name, attrs },
      ])
    } else if (roll < 38) {
      const mint = ++replica.mint
      const link = ids.link(replica.author, mint, file.node)
      this.links++
      this.emit(replica, [{ kind: 'link', mint, link, node: file.node, parent: parent.node, name }])
    } else if (roll < 48) {
      const link = random.pick(file.links.filter((one) => one.shown))
      this.emit(replica, [moveOp(link, parent, name)])
    } else if (roll < 62) {
      this.emit(replica, [this.put(file, seenHeads(file))])
    } else if (roll < 72) {
      const changes: AttrChange[] = [
        { key: 1, mode: random.int(0, 512) },
        { key: 2, uid: random.int(0, 5), gid: 3 },
        { key: 3, sec: random.int(0, 1000), nsec: 1 },
        { key: 4, name: random.pick(['user.a', 'user.b']), value: random.bytes(3) },
        { key: 4, name: random.pick(['user.a', 'user.b']), value: undefined },
      ]
      const change = random.pick(changes)
      this.emit(replica, [{ kind: 'attr', node: file.node, change, prev: [...file.touches] }])
    } else if (roll < 76) {
      const removeAdds = file.tags.filter(() => random.chance(0.5)).map((one) => one.add)
      const add = random.chance(0.7) ? [random.pick(['x', 'y', 'z'])] : []
      this.emit(replica, [{ kind: 'tag', node: file.node, add, removeAdds }])
    } else if (roll < 86) {
      const link = random.pick(file.links.filter((one) => one.shown))
      this.emit(replica, [removeOp(file, link)])
    } else if (roll < 92) {
      const empty = directories.filter((one) => one.entryCount === 0 && one.ino !== 1)
      if (empty.length > 0) {
        const directory = random.pick(empty)
        this.emit(replica, [removeOp(directory, directory.links[0]!)])
      }
    } else {
      this.renameOver(replica, file, random.pick(files))
    }
    if (entries.length > 1000) throw new Error('too many entries')
  }

  put(record: NodeRecord, base: OpRef[], content?: Op & { kind: 'put' }): Op {
    const bytes = this.random.bytes(this.random.int(0, 3))
    return {
      kind: 'put',
      node: record.node,
      base,
      sizeBytes: content?.sizeBytes ?? bytes.length,
      mtimeSec: this.random.int(0, 1000),
      mtimeNsec: 0,
      content: content?.content ?? { kind: 'inline', bytes },
    }
  }

  renameOver(replica: Replica, source: NodeRecord, target: NodeRecord): void {
    const link = this.random.pick(source.links.filter((one) => one.shown))
    const goal = this.random.pick(target.links.filter((one) => one.shown))
    if (source === target) return
    const winner = source.winner
    if (source.shownLinks !== 1 || target.shownLinks !== 1) {
      // to a name of its own: the target may come back, and two nodes would have one name
      const parent = replica.store.node(goal.shownParent)!
      const name = `name ${++this.names}` as Name
      this.emit(replica, [removeOp(target, goal), moveOp(link, parent, name)])
      return
    }
    this.overs++
    const put = this.put(target, seenHeads(target))
    if (put.kind === 'put' && winner !== undefined) {
      Object.assign(put, { content: winner.content, sizeBytes: winner.sizeBytes })
    }
    const attrs = attrDifference(target, source).map((change): Op => (
      { kind: 'attr', node: target.node, change, prev: [...target.touches] }
    ))
    this.emit(replica, [put, ...attrs, removeOp(source, link)], FACTS_FOLLOW)
  }
}

// ---- the naive model: a function of the set of ops ----

const refKey = (ref: OpRef) => `${ref.author[0]}${ref.seq}.${ref.index}`
const greatest = <T extends { ref: OpRef }>(list: T[]): T | undefined => (
  list.toSorted((a, b) => compareRefs(a.ref, b.ref)).at(-1)
)

interface Seen { op: Op; ref: OpRef }

interface ModelLink {
  link: LinkId
  node: NodeId
  parent: NodeId
  name: Name
  heads: string[]
  rm: OpRef | undefined
}

function naive(all: Seen[]) {
  const superseded = new Set<string>()
  const covered = new Set<string>()
  for (const { op } of all) {
    if (op.kind === 'mv' || op.kind === 'rm' || op.kind === 'attr') {
      for (const ref of op.prev) superseded.add(refKey(ref))
    }
    if (op.kind === 'put') for (const ref of op.base) superseded.add(refKey(ref))
    if (op.kind === 'rm') for (const ref of op.contentHeads) covered.add(refKey(ref))
    if (op.kind === 'tag') for (const ref of op.removeAdds) superseded.add(refKey(ref))
  }
  const live = ({ ref }: Seen) => !superseded.has(refKey(ref))
  const links: ModelLink[] = []
  for (const { op, ref } of all) {
    if (op.kind !== 'mk' && op.kind !== 'link') continue
    const id = (op.kind === 'mk' ? op.node as string : op.link) as LinkId
    const moves = all.filter((one) => one.op.kind === 'mv' && one.op.link === id)
    const position = greatest([{ op, ref }, ...moves])!.op as { parent: NodeId; name: Name }
    const rms = all.filter((one) => one.op.kind === 'rm' && one.op.link === id)
    links.push({
      link: id,
      node: op.node,
      parent: position.parent,
      name: position.name,
      heads: [{ op, ref }, ...moves].filter(live).map((one) => refKey(one.ref)).toSorted(),
      rm: greatest(rms)?.ref,
    })
  }
  const nodes = new Map<NodeId, ReturnType<typeof node>>()
  const node = (id: NodeId) => {
    const of = (kind: Op['kind']) => (
      all.filter(({ op }) => op.kind === kind && 'node' in op && op.node === id)
    )
    const heads = of('put').filter(live).toSorted((a, b) => compareRefs(a.ref, b.ref))
    const touches = of('attr').filter(live).map((one) => refKey(one.ref)).toSorted()
    const mine = links.filter((one) => one.node === id)
    const kept = mine.filter((one) => one.heads.length > 0)
    const keeps = touches.length > 0 || heads.some((one) => !covered.has(refKey(one.ref)))
    const removed = mine.filter((one) => one.rm !== undefined) as (ModelLink & { rm: OpRef })[]
    const last = removed.toSorted((a, b) => compareRefs(a.rm, b.rm)).at(-1)
    const alive = kept.length > 0 ? kept : keeps && last !== undefined ? [last] : []
    const changes = [...of('mk'), ...of('attr')]
    const value = (key: string) => greatest(changes.flatMap(({ op, ref }) => {
      const list = op.kind === 'mk' ? op.attrs : op.kind === 'attr' ? [op.change] : []
      return list.filter((one) => attrKey(one) === key).map((change) => ({ change, ref }))
    }))?.change
    const puts = of('put').map(({ op, ref }) => {
      const put = op as Op & { kind: 'put' }
      return { change: { key: 3, sec: put.mtimeSec } as AttrChange, ref }
    })
    const times = changes.flatMap(({ op, ref }) => (
      op.kind === 'attr' && op.change.key === 3 ? [{ change: op.change, ref }] : []
    ))
    const tags = of('tag').flatMap(({ op, ref }) => (
      op.kind === 'tag' && live({ op, ref }) ? op.add.map((tag) => `${tag} ${refKey(ref)}`) : []
    ))
    return {
      alive,
      heads: heads.map((one) => `${refKey(one.ref)} ${covered.has(refKey(one.ref))}`),
      touches,
      mode: (value('1') as { mode: number } | undefined)?.mode,
      uid: (value('2') as { uid: number } | undefined)?.uid ?? -1,
      mtime: (greatest([...puts, ...times])?.change as { sec: number } | undefined)?.sec,
      xattrs: ['user.a', 'user.b'].flatMap((name) => {
        const found = value(`4 ${name}`) as { value: Uint8Array | undefined } | undefined
        return found?.value === undefined ? [] : [`${name} ${found.value.join()}`]
      }),
      tags: tags.toSorted(),
    }
  }
  for (const { op } of all) if (op.kind === 'mk') nodes.set(op.node, node(op.node))
  // whatever is alive shows the directories that it lies in
  const shown = new Map<LinkId, ModelLink>()
  const show = (link: ModelLink) => {
    shown.set(link.link, link)
    const parent = links.find((one) => (one.link as string) === link.parent)
    if (parent !== undefined && !shown.has(parent.link)) show(parent)
  }
  for (const one of nodes.values()) one.alive.forEach(show)
  const entries = [...shown.values()].map((one) => `${one.parent} ${one.name} ${one.node}`)
  return { nodes, links, entries: entries.toSorted() }
}

function attrKey(change: AttrChange): string {
  return change.key === 4 ? `4 ${change.name}` : String(change.key)
}

function describe(record: NodeRecord, model: { mtime: number | undefined }) {
  return {
    heads: record.heads.map((one) => `${refKey(one.ref)} ${one.covered}`),
    touches: record.touches.map(refKey).toSorted(),
    mode: record.mode,
    uid: record.uid,
    mtime: model.mtime === undefined ? undefined : record.mtimeSec,
    xattrs: record.xattrs.flatMap(({ name, value }) => (
      value === undefined ? [] : [`${name} ${value.join()}`]
    )),
    tags: record.tags.map((one) => `${one.tag} ${refKey(one.add)}`).toSorted(),
  }
}

function compare(world: World): string | undefined {
  const all = world.logs.flatMap((log) => (
    log.flatMap(({ ops, refs }) => ops.map((op, i) => ({ op, ref: refs[i]! })))
  ))
  const model = naive(all)
  for (const replica of world.replicas) {
    const where = `replica ${replica.index}`
    const { entries } = replica.walk()
    const wrong = entries.find((one) => !model.entries.includes(one))
      ?? model.entries.find((one) => !entries.includes(one))
    if (wrong !== undefined) {
      const should = entries.includes(wrong) ? 'should not' : 'should'
      return `${where}: ${should} have ${Buffer.from(wrong, 'latin1').toString('hex')}`
    }
    for (const [node, expected] of model.nodes) {
      const ino = replica.store.inoOf(node)
      const record = ino === undefined ? replica.store.hidden(node) : replica.store.node(ino)
      if (record === undefined) return `${where}: a node is missing`
      const { alive: _alive, ...rest } = expected
      const is = JSON.stringify(describe(record, expected))
      const should = JSON.stringify(rest)
      if (is !== should) return `${where}: is ${is}, should be ${should}`
      for (const link of record.links) {
        const one = model.links.find((other) => other.link === link.link)
        const same = one?.parent === link.parent && one.name === link.name
          && one.heads.join() === link.heads.map(refKey).toSorted().join()
        if (!same) return `${where}: a link is elsewhere`
      }
    }
    const { files, directories } = replica.store.meta
    const view = replica.walk()
    if (files !== view.files.length || directories !== view.directories.length) {
      return `${where}: counts ${files} files and ${directories} directories`
    }
    replica.checkpoint()
  }
  const [first, ...others] = world.replicas.map((one) => one.base.stateHash.digest())
  return others.every((one) => one === first) ? undefined : 'state hashes differ'
}

const seed = testSeed()
const runs = Number(process.env['RUNS'] ?? 60)

t.test(`authors at once, seed ${seed}`, (t) => {
  let overs = 0
  let links = 0
  for (let run = 0; run < runs; run++) {
    const world = new World(seed + run, 2 + (run % 2))
    try {
      for (let step = 0; step < 90; step++) {
        const replica = world.random.pick(world.replicas)
        if (world.random.chance(0.55)) world.step(replica)
        else world.deliver(replica)
        if (world.random.chance(0.03)) replica.checkpoint()
      }
      world.syncAll()
      const trouble = compare(world)
      if (trouble !== undefined) throw new Error(trouble)
    } catch (error) {
      throw new Error(`seed ${seed + run}: ${String(error)}`, { cause: error })
    }
    overs += world.overs
    links += world.links
  }
  t.ok(overs > runs / 4 && links > runs / 2, `${overs} renames over, ${links} hard links`)
  t.end()
})
