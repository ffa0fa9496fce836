// The rules themselves, on the executable specification alone: devices that collide in every way
// keep their own writes, lose no content, and normalising changes nothing that anybody sees.
// SEED=n repeats a run, RUNS=n makes more worlds.
import t from 'tap'
import { rebuildNode } from '../../src/state/node-history.ts'
import { testSeed } from '../support/random.ts'
import { FuzzWorld, optionsOf, standingOf } from './fuzz-world.helper.ts'
import { compareTexts, describeModelNode, describePart } from './naive-compare.helper.ts'
import { contentText } from './naive-model.helper.ts'
import { refOf } from './naive-user.helper.ts'
import { viewLines } from './naive-view.helper.ts'

const seed = testSeed()
const runs = Number(process.env['RUNS'] ?? 12)

t.setTimeout((60 + runs) * 1000)

t.test(`worlds, seed ${seed}`, (t) => {
  const counts = new Map<string, number>()
  for (let run = 0; run < runs; run++) {
    const world = new FuzzWorld(seed + run, optionsOf(seed + run))
    t.doesNotThrow(() => live(world), `seed ${seed + run}`)
    for (const [what, n] of world.counts) counts.set(what, (counts.get(what) ?? 0) + n)
  }
  t.comment([...counts].map(([what, n]) => `${what} ${n}`).join(', '))
  t.end()
})

function sortedLines(view: Parameters<typeof viewLines>[0]): [string, string][] {
  return [...viewLines(view)].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function live(world: FuzzWorld): void {
  const { random, users } = world
  for (let step = 0; step < 160; step++) {
    const user = random.pick(users)
    if (random.chance(0.6)) world.act(user)
    else if (random.chance(0.05)) world.normalise(user)
    else {
      const batch = world.next(user)
      if (batch !== undefined) user.receive(world.encoded(batch))
    }
    if (world.options.cuts && random.chance(0.03)) {
      world.changeStanding()
      users.forEach((one) => one.changeStanding(standingOf(world.standing)))
    }
  }
  for (const user of users) {
    for (let batch = world.next(user); batch !== undefined; batch = world.next(user)) {
      user.receive(world.encoded(batch))
    }
  }
  world.settleStanding()
  users.forEach((one) => one.changeStanding(standingOf(world.standing)))
  const views = users.map((user) => JSON.stringify(sortedLines(user.view)))
  if (views.some((one) => one !== views[0])) throw new Error('views differ')
  nothingLost(world)
  rebuildNodes(world)
}

/** The product's way from a node's history to its record, on the same ops in any order. */
function rebuildNodes(world: FuzzWorld): void {
  const { model } = world.users[0]!.seen
  const standing = standingOf(world.standing)
  for (const node of model.nodes.values()) {
    const history = node.ops.map((by) => ({ op: by.op, ref: refOf(by) }))
    for (let i = history.length - 1; i > 0; i--) {
      const j = world.random.int(0, i + 1)
      const [a, b] = [history[i]!, history[j]!]
      history[i] = b
      history[j] = a
    }
    const part = rebuildNode(node.kind, history, standing)
    const wrong = compareTexts(describePart(part, node), describeModelNode(node))
    if (wrong !== undefined) throw new Error(`rebuildNode: ${wrong}`)
  }
}

function nothingLost(world: FuzzWorld): void {
  const user = world.users[0]!
  const { model, view } = user.seen
  const shown = new Set<string>()
  let conflicts = 0
  let unions = 0
  for (const directory of new Set(view.directories.values())) {
    if (directory.members.length > 1) unions++
    for (const entry of directory.entries.values()) {
      shown.add(contentText(entry.head?.put))
      if (entry.isConflictName) conflicts++
    }
  }
  for (let i = 0; i < conflicts; i++) world.count('conflict names')
  for (let i = 0; i < unions; i++) world.count('unions')
  for (const node of model.nodes.values()) {
    const isPlaced = node.links.some((link) => link.pos !== undefined)
    for (const head of node.heads) {
      const isIn = shown.has(contentText(head.put))
      if (!isIn && !head.covered && isPlaced && world.standing.voids.size === 0) {
        throw new Error('a content is lost')
      }
    }
    for (const link of node.links) if (link.skipped) world.count('cycles')
  }
  for (const { void: rule } of model.voids) world.count(`void ${rule}`)
}
