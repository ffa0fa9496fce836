// A liar: a member whose device keeps no rule. It has a log like everybody, and appends to it what
// no honest engine would: garbage, batches of the wrong form, names that are none, ops on what it
// has not seen, of the wrong kind, with ids minted twice, directories in circles, claims far in the
// future, deps on what does not exist. Nothing of it may harm, stop or divide the others.
import { encodeBatch } from '../../src/ops/codec.ts'
import type { Ids } from '../../src/ops/ids.ts'
import {
  KIND_DIRECTORY, KIND_FILE, KIND_SYMLINK,
} from '../../src/ops/types.ts'
import type {
  AttrChange, AuthorId, Batch, Content, LinkId, Name, NodeId, NodeKind, Op, OpRef,
} from '../../src/ops/types.ts'
import type { SeededRandom } from '../support/random.ts'
import type { SimLogs } from './logs.helper.ts'

/** What a liar has picked up about the vault. */
export interface Known {
  nodes: NodeId[]
  links: LinkId[]
  refs: OpRef[]
  /** Length of each log, as far as it has it. */
  lengths: Map<AuthorId, number>
}

export interface LiarPlace {
  author: AuthorId
  seq: number
  nowMs: number
  ids: Ids
  treeHash: (author: AuthorId, length: number) => Uint8Array
}

const NAME = 'HOSTILE-NAME'
const HOSTILE = ['../../passwd', '/etc/shadow!', 'a/b/c/d/e/f/', '\0\0\0\0\0\0\0\0\0\0\0\0']
const KINDS: NodeKind[] = [KIND_DIRECTORY, KIND_FILE, KIND_SYMLINK]

/** The plain bytes of a batch: of the right form or not. */
export function lie(random: SeededRandom, known: Known, place: LiarPlace): Uint8Array {
  const roll = random.next()
  if (roll < 0.1) return random.bytes(random.int(0, 200))
  const batch = lyingBatch(random, known, place)
  const bytes = Buffer.from(encodeBatch(batch, place.author, place.seq))
  if (roll < 0.2) return damage(random, bytes)
  if (roll < 0.25) return Buffer.concat([bytes, random.bytes(random.int(1, 20))])
  if (roll < 0.28) return Buffer.concat([bytes, Buffer.alloc(300_000)])
  if (roll < 0.45) {
    const at = bytes.indexOf(NAME, 0, 'latin1')
    if (at >= 0) bytes.write(random.pick(HOSTILE), at, 'latin1')
  }
  return bytes
}

/** Reads up on the vault, from blocks as `open` shows them. */
export async function learn(
  logs: SimLogs, open: (block: Uint8Array, author: AuthorId, seq: number) => Batch | undefined,
): Promise<Known> {
  const known: Known = { nodes: [], links: [], refs: [], lengths: new Map() }
  for (const author of logs.authors()) {
    const length = logs.length(author)
    known.lengths.set(author, length)
    for (let seq = 0; seq < length; seq++) {
      const batch = open((await logs.read(author, seq)) as Uint8Array, author, seq)
      batch?.ops.forEach((op, index) => {
        if (op.kind === 'mk') known.nodes.push(op.node)
        if (op.kind === 'link' || op.kind === 'mv') known.links.push(op.link)
        known.refs.push({ ms: 0, counter: 0, author, seq, index, order: 0 })
      })
    }
  }
  return known
}

function damage(random: SeededRandom, bytes: Buffer): Uint8Array {
  const out = Buffer.from(bytes)
  for (let i = random.int(1, 4); i > 0; i--) out[random.int(0, out.length)] = random.int(0, 256)
  return random.chance(0.3) ? out.subarray(0, random.int(0, out.length)) : out
}

function lyingBatch(random: SeededRandom, known: Known, place: LiarPlace): Batch {
  const ops: Op[] = []
  for (let i = random.int(1, 6); i > 0; i--) ops.push(lyingOp(random, known, place))
  const deps: Batch['deps'] = []
  for (const [author, length] of known.lengths) {
    if (author === place.author || length === 0 || random.chance(0.5)) continue
    const told = random.int(1, length + 1)
    deps.push({ author, length: told, treeHash: place.treeHash(author, told) })
  }
  deps.sort((a, b) => (a.author < b.author ? -1 : 1))
  const claims = [place.nowMs, 0, 2 ** 47, 2 ** 47 + 1, 2 ** 48 - 1, place.nowMs + 3e10]
  return { ms: random.pick(claims), counter: random.pick([0, 1, 0xffff]), deps, ops }
}

function anyNode(random: SeededRandom, known: Known, place: LiarPlace): NodeId {
  const roll = random.next()
  if (roll < 0.15 || known.nodes.length === 0) {
    return place.ids.node(place.author, random.int(1, 6), random.pick(KINDS))
  }
  return random.pick(known.nodes)
}

/** Heads that it may not have seen. None that it could remove: only what is void, or adds. */
function unseenRefs(random: SeededRandom, known: Known, { author }: LiarPlace): OpRef[] {
  if (random.chance(0.5) || known.refs.length === 0) return []
  const ref = random.pick(known.refs)
  if (ref.author === author) return [] // the codec refuses to write what points forward
  const seq = (known.lengths.get(ref.author) ?? 0) + random.int(1, 1000)
  return [{ ...ref, seq, index: random.int(0, 4) }]
}

function lyingOp(random: SeededRandom, known: Known, place: LiarPlace): Op {
  const { author, ids } = place
  const node = anyNode(random, known, place)
  const parent = anyNode(random, known, place)
  const name = random.pick([NAME, 'a', 'x.txt', 'l'.repeat(255), '\u001b[2Jboo']) as Name
  const link = known.links.length > 0 && random.chance(0.7)
    ? random.pick(known.links) : node as string as LinkId
  const mint = random.int(1, 6) // so that many are minted twice
  switch (random.int(0, 8)) {
    case 0:
    case 1: {
      const nodeKind = random.pick(KINDS)
      const attrs: AttrChange[] = [{ key: 1, mode: random.int(0, 0o10000) }]
      if (nodeKind === KIND_SYMLINK) attrs.push({ key: 5, target: '/etc/passwd' })
      const made = ids.node(author, mint, nodeKind)
      return { kind: 'mk', mint, node: made, nodeKind, parent, name, attrs }
    }
    case 2:
      return { kind: 'link', mint, link: ids.link(author, mint, node), node, parent, name }
    case 3:
      return { kind: 'mv', link, parent, name, prev: unseenRefs(random, known, place) }
    case 4: {
      const bytes = Buffer.from(`lie ${random.int(0, 1000)}`)
      const content: Content = { kind: 'inline', bytes }
      const base = unseenRefs(random, known, place)
      const times = { mtimeSec: random.int(-1e9, 1e9), mtimeNsec: 0 }
      return { kind: 'put', node, base, sizeBytes: bytes.length, ...times, content }
    }
    case 5: {
      const removed = unseenRefs(random, known, place)
      return { kind: 'rm', link, prev: removed, contentHeads: unseenRefs(random, known, place) }
    }
    case 6:
      return { kind: 'attr', node, change: { key: 1, mode: 0o777 }, prev: [] }
    default:
      return {
        kind: 'unknown', opKind: random.int(40, 60), critical: random.chance(0.5),
        body: random.bytes(random.int(0, 40)),
      }
  }
}
