// Manifest trees and working contents against a naive model: an array with one cell a byte.
import t from 'tap'
import type { ChunkId } from '../../src/chunks/chunk-id.ts'
import { chunkIdOf } from '../../src/chunks/chunk-id.ts'
import { REFS_MAX, holeOf, pushExtent, totalBytes } from '../../src/chunks/manifest.ts'
import type { Extent, Placed } from '../../src/chunks/manifest.ts'
import {
  NODE_MAX,
  decodeNode,
  encodeNode,
  holeBytesUnder,
  makeNode,
} from '../../src/chunks/manifest-node.ts'
import type { ManifestNode } from '../../src/chunks/manifest-node.ts'
import { readTree, rewrite, runAsync, runNow } from '../../src/chunks/manifest-tree.ts'
import type { NodeWanted, Rewritten, Tree } from '../../src/chunks/manifest-tree.ts'
import { Working } from '../../src/chunks/working-content.ts'
import type { NodeId } from '../../src/ops/types.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import type { Attr } from '../../src/vault/buffers.ts'
import { decodeHeld, encodeHeld } from '../../src/vault/held-record.ts'
import { testSeed } from '../support/seed.ts'

const seed = testSeed()
t.comment(`SEED=${seed}`)

function randomOf(start: number) {
  let state = start >>> 0
  return (below: number) => {
    state = (state + 0x6d2b79f5) >>> 0
    let z = Math.imul(state ^ (state >>> 15), state | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) % below
  }
}

const splitKey = new Uint8Array(32).map((_, i) => i * 37 + 11)
const idKey = new Uint8Array(32).fill(7)

/** Nodes by id, through their bytes; counts what was made and read. */
class Nodes {
  readonly bytes = new Map<string, Uint8Array>()
  madeBytes = 0
  reads = 0
  readonly rewriter = {
    splitKey,
    make: (level: number, entries: Extent[]): Extent => {
      const bytes = encodeNode(level, entries)
      const id = chunkIdOf(idKey, bytes)
      if (!this.bytes.has(id)) this.madeBytes += bytes.length
      this.bytes.set(id, bytes)
      const begin = holeBytesUnder(level, entries)
      return { chunk: id, chunkBytes: bytes.length, begin, length: totalBytes(entries) }
    },
  }

  readonly get = (wanted: NodeWanted): ManifestNode => {
    this.reads++
    const bytes = this.bytes.get(wanted.ref.chunk)
    if (bytes === undefined) throw new Error('no such node')
    const node = decodeNode(bytes, wanted.level)
    if (node.contentBytes !== wanted.ref.length) throw new Error('node of another length')
    return node
  }
}

function chunkName(n: number): ChunkId {
  const words = new Uint32Array(8).map((_, i) => Math.imul(n + 1, 0x9e3779b1) ^ (n << i * 3))
  return Buffer.from(words.buffer).toString('latin1') as ChunkId
}

function scratch(nodes: Nodes, extents: Extent[]): Rewritten {
  const size = totalBytes(extents)
  if (extents.length <= REFS_MAX) return { extents }
  const edits = [{ begin: 0, end: size, entries: extents }]
  return runNow(rewrite(undefined, edits, size, nodes.rewriter, REFS_MAX), nodes.get)!
}

function cellsOf(placed: Placed[]): string[] {
  const cells: string[] = []
  for (const { offset, extent } of placed) {
    if (offset !== cells.length) throw new Error('extents leave a gap or overlap')
    for (let i = 0; i < extent.length; i++) {
      cells.push(extent.chunk === '' ? '' : `${extent.chunk}${extent.begin + i}`)
    }
  }
  return cells
}

function normalOf(placed: Placed[]): Extent[] {
  const extents: Extent[] = []
  for (const { extent } of placed) pushExtent(extents, extent)
  return extents
}

t.test('random edits equal the naive model, and the tree has no history', async (t) => {
  for (let round = 0; round < 12; round++) {
    const random = randomOf(seed + round)
    const nodes = new Nodes()
    const working = new Working(undefined, 0)
    let model: string[] = []
    let named = 0
    let reopened = 0
    const freshRun = (length: number): Extent[] => {
      const run: Extent[] = []
      while (length > 0) {
        const size = Math.min(length, 1 + random(6))
        const pick = random(10)
        if (pick === 0) run.push(holeOf(size))
        else {
          const chunkBytes = size + (pick < 4 ? random(4) : 0)
          const begin = random(chunkBytes - size + 1)
          const name = pick === 1 ? random(5) : named++
          run.push({ chunk: chunkName(name), chunkBytes: chunkBytes + 9, begin, length: size })
        }
        length -= size
      }
      return run
    }
    for (let step = 0; step < 60; step++) {
      const action = random(20)
      if (action < 3) {
        const size = action === 0
          ? random(model.length * 2 + 9)
          : Math.max(0, model.length - random(40))
        working.resize(size)
        while (model.length < size) model.push('')
        model = model.slice(0, size)
      } else if (action < 15) {
        const length = random(5) === 0 ? random(3000) : random(30)
        const at = random(3) === 0 ? model.length : random(model.length + 20)
        const run = freshRun(length)
        working.splice(at, run)
        if (length > 0) while (model.length < at) model.push('')
        cellsOf(run.map((extent, i) => ({ offset: totalBytes(run.slice(0, i)), extent })))
          .forEach((cell, i) => { model[at + i] = cell })
      } else {
        const folded = runNow(working.fold(nodes.rewriter), nodes.get)!
        const placed: Placed[] = []
        runNow(working.extents(0, Infinity, placed), nodes.get)
        const expected = scratch(nodes, normalOf(placed))
        t.same(folded, expected, `round ${round} step ${step}: same tree as from scratch`)
        working.rebase(folded)
        const holes = model.filter((cell) => cell === '').length
        if (working.holeBytes !== holes) t.fail(`${working.holeBytes} of ${holes} bytes of holes`)
      }
      if (working.holeBytes > model.filter((cell) => cell === '').length) t.fail('too many holes')
      if (working.sizeBytes !== model.length) t.fail('sizes differ')
      const placed: Placed[] = []
      const all = working.extents(0, Infinity, placed)
      await runAsync(all, () => undefined, async (wanted) => nodes.get(wanted))
      const cells = cellsOf(placed)
      if (cells.length !== model.length || cells.some((cell, i) => cell !== model[i])) {
        t.fail(`round ${round} step ${step}: content differs`)
        break
      }
      const { unfolded } = working
      if (unfolded !== undefined) {
        const attr = {} as Attr
        const record = { node: 'n' as NodeId, base: [], attr, content: unfolded }
        const again = Working.reopen(decodeHeld(encodeHeld(record)).content)
        const kept: Placed[] = []
        runNow(again.extents(0, Infinity, kept), nodes.get)
        const isSame = again.changed && again.sizeBytes === working.sizeBytes
          && cellsOf(kept).join() === cells.join()
        if (!isSame) t.fail(`round ${round} step ${step}: kept and taken up, it differs`)
        reopened++
      }
      const from = random(model.length + 1)
      const to = from + random(50)
      const part: Placed[] = []
      runNow(working.extents(from, to, part), nodes.get)
      const shifted = part.map(({ offset, extent }) => ({ offset: offset - from, extent }))
      if (cellsOf(shifted).join() !== model.slice(from, to).join()) t.fail('a part differs')
    }
    t.ok(reopened > 0, `round ${round}: trees with edits were kept and taken up`)
  }
})

t.test('reopened contents read the same', async (t) => {
  const nodes = new Nodes()
  const random = randomOf(seed)
  const extents: Extent[] = []
  for (let i = 0; i < 5000; i++) {
    const chunkBytes = 1 + random(500)
    pushExtent(extents, { chunk: chunkName(i), chunkBytes, begin: 0, length: chunkBytes })
  }
  const size = totalBytes(extents)
  const first = new Working(undefined, 0)
  first.splice(0, extents)
  const content = first.rebase(runNow(first.fold(nodes.rewriter), nodes.get)!)
  t.equal(content.kind, 'tree')
  t.equal(first.changed, false)
  const again = new Working(content, size)
  const placed: Placed[] = []
  runNow(again.extents(0, size, placed), nodes.get)
  t.strictSame(normalOf(placed), extents)
  again.resize(extents[0]!.length)
  t.strictSame(again.rebase(runNow(again.fold(nodes.rewriter), nodes.get)!), {
    kind: 'refs',
    chunker: 1,
    refs: [extents[0]],
  }, 'a cut to one chunk needs no tree')
})

t.test('nodes that cannot be read stay, and nothing else suffers', async (t) => {
  for (const count of [30, 300, 5000, 40_000]) {
    const random = randomOf(seed + count)
    const nodes = new Nodes()
    const extents: Extent[] = []
    for (let i = 0; i < count; i++) {
      const chunkBytes = 1 + random(500)
      extents.push({ chunk: chunkName(i), chunkBytes, begin: 0, length: chunkBytes })
    }
    const size = totalBytes(extents)
    const first = new Working(undefined, 0)
    first.splice(0, extents)
    const content = first.rebase(runNow(first.fold(nodes.rewriter), nodes.get)!)
    const reread = async (working: Working, from: number, to: number): Promise<Extent[]> => {
      const placed: Placed[] = []
      const load = async (wanted: NodeWanted) => nodes.get(wanted)
      await runAsync(working.extents(from, to, placed), () => undefined, load)
      return normalOf(placed)
    }
    // Every node on the right edge in turn, the root too.
    const edge: NodeWanted[] = []
    for (const step = first.extents(size - 1, size, []); ;) {
      const { value, done } = edge.length === 0
        ? step.next()
        : step.next(nodes.get(edge.at(-1) as NodeWanted))
      if (done === true) break
      edge.push(value as NodeWanted)
    }
    for (const { ref, level } of edge) {
      const bytes = nodes.bytes.get(ref.chunk)!
      nodes.bytes.set(ref.chunk, bytes.subarray(0, 1))
      const working = new Working(content, size)
      let end = size
      for (let append = 0; append < 120; append++) {
        const length = 1 + random(400)
        working.splice(end, [{ chunk: chunkName(1e6 + append), chunkBytes: 400, begin: 0, length }])
        end += length
        if (random(3) > 0) continue
        const load = async (wanted: NodeWanted) => nodes.get(wanted)
        working.rebase(await runAsync(working.fold(nodes.rewriter), () => undefined, load))
      }
      const appended = totalBytes(await reread(working, size, end))
      t.equal(appended, end - size, `${count} extents, damage at level ${level}: appends are kept`)
      await t.rejects(reread(working, size - 1, size), 'what is damaged stays an error')
      const whole = size - ref.length
      t.equal(totalBytes(await reread(working, 0, whole)), whole, 'what is before it reads')
      for (const at of [0, whole - 9]) {
        if (whole === 0) break
        working.splice(at, [{ chunk: chunkName(2e6), chunkBytes: 9, begin: 0, length: 9 }])
        const load = async (wanted: NodeWanted) => nodes.get(wanted)
        working.rebase(await runAsync(working.fold(nodes.rewriter), () => undefined, load))
        t.equal(totalBytes(await reread(working, 0, whole)), whole, 'and can be changed')
      }
      nodes.bytes.set(ref.chunk, bytes)
      const sum = totalBytes(await reread(working, 0, end))
      t.equal(sum, end, 'healed, all of it is there')
    }
  }
})

t.test('work does not grow with the file', async (t) => {
  const nodes = new Nodes()
  const extents: Extent[] = []
  let size = 0
  while (size < 100e9) {
    const chunkBytes = 64 * 1024 + ((size * 7) % 170000)
    extents.push({ chunk: chunkName(extents.length), chunkBytes, begin: 0, length: chunkBytes })
    size += chunkBytes
  }
  const tree = scratch(nodes, extents) as Tree
  t.equal(tree.root.length, size)
  t.ok(tree.depth >= 3 && tree.depth <= 4, `depth ${tree.depth}`)
  const root = { ...tree.root, chunk: tree.root.chunk as ChunkId }
  const working = new Working({ kind: 'tree', chunker: 1, root, depth: tree.depth }, size)
  nodes.reads = nodes.madeBytes = 0
  working.splice(50e9, [{ chunk: chunkName(1e6), chunkBytes: 1, begin: 0, length: 1 }])
  const edited = runNow(working.fold(nodes.rewriter), nodes.get)!
  t.ok(nodes.madeBytes < 40_000, `one byte in 100 GB: ${nodes.madeBytes} bytes of new nodes`)
  t.comment(`one changed byte: ${nodes.madeBytes} bytes, ${nodes.reads} node reads`)
  working.rebase(edited)
  nodes.reads = nodes.madeBytes = 0
  working.splice(size, [{ chunk: chunkName(1e6 + 1), chunkBytes: 9999, begin: 0, length: 9999 }])
  working.rebase(runNow(working.fold(nodes.rewriter), nodes.get)!)
  t.ok(nodes.madeBytes < 40_000 && nodes.reads < 30, `append: ${nodes.madeBytes}, ${nodes.reads}`)
  nodes.reads = 0
  const placed: Placed[] = []
  runNow(working.extents(70e9, 70e9 + 4096, placed), nodes.get)
  t.ok(nodes.reads <= 4, 'a lookup reads one node a level')

  const sparse = new Working(undefined, 0)
  sparse.resize(100e9)
  sparse.splice(30e9, [{ chunk: chunkName(1), chunkBytes: 1e5, begin: 0, length: 1e5 }])
  const content = sparse.rebase(runNow(sparse.fold(nodes.rewriter), nodes.get)!)
  t.equal(content.kind === 'refs' && content.refs.length, 3, 'a sparse file is tiny')
})

t.test('nodes: every broken rule has its name', async (t) => {
  const a: Extent = { chunk: chunkName(1), chunkBytes: 100, begin: 0, length: 100 }
  const part: Extent = { chunk: chunkName(2), chunkBytes: 100, begin: 5, length: 20 }
  const good = encodeNode(0, [a, holeOf(7), part])
  t.strictSame(decodeNode(good, 0), makeNode(0, [a, holeOf(7), part]))
  const rule = (bytes: Uint8Array, level = 0): string => {
    try {
      decodeNode(bytes, level)
      return 'none'
    } catch (error) {
      if (!isLatticeError(error)) throw error
      return String(error.details['rule'] ?? error.code)
    }
  }
  const changed = (at: number, value: number) => {
    const bytes = good.slice()
    bytes[at] = value
    return bytes
  }
  const partAt = 3 + 34 + 2
  t.equal(rule(changed(0, 1)), 'version')
  t.equal(rule(changed(1, 1)), 'level')
  t.equal(rule(good, 1), 'level')
  t.equal(rule(changed(2, 0)), 'count')
  t.equal(rule(Uint8Array.of(0, 0, 0x81, 0x03, 0)), 'count', `more than ${NODE_MAX}`)
  t.equal(rule(changed(3, 3)), 'tag')
  t.equal(rule(changed(3 + 34 + 1, 0)), 'entry-length')
  t.equal(rule(changed(3 + 33, 0)), 'chunk-size')
  t.equal(rule(changed(partAt + 35, 0)), 'part-range')
  t.equal(rule(changed(partAt + 34, 90)), 'part-range')
  const whole = changed(partAt + 35, 100)
  whole[partAt + 34] = 0
  t.equal(rule(whole), 'part-whole')
  t.equal(rule(encodeNode(0, [holeOf(1), holeOf(2)])), 'joins')
  t.equal(rule(good.subarray(0, good.length - 20)), 'truncated')
  t.equal(rule(good.subarray(0, 2)), 'truncated')
  t.equal(rule(new Uint8Array([...good, 0])), 'canonical')
  let survived = 0
  const random = randomOf(seed)
  for (let i = 0; i < 3000; i++) {
    const bytes = good.slice(0, 1 + random(good.length))
    bytes[random(bytes.length)] = random(256)
    const outcome = rule(bytes)
    if (outcome === 'none') survived++
  }
  t.ok(survived < 3000, 'damage is refused or another valid node, never a crash')
})

t.test('readTree of nothing reads nothing', async (t) => {
  const out: Placed[] = []
  const root: Extent = { chunk: chunkName(1), chunkBytes: 10, begin: 0, length: 10 }
  runNow(readTree({ root, depth: 1 }, 5, 5, out), () => undefined)
  t.equal(out.length, 0)
})
