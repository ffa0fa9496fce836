// The oracles at quiescence: what must hold once every honest device has heard everything.
import type { AuthorId } from '../../src/ops/types.ts'
import { equalBytes } from '../../src/util/bytes.ts'
import { CoreEngine } from './core-engine.helper.ts'
import type { SimDevice } from './device.helper.ts'
import type { NaiveInput } from './engine.helper.ts'
import type { SimLogs } from './logs.helper.ts'
import { foldNaively } from '../state/naive-model.helper.ts'
import { viewNaively } from '../state/naive-view.helper.ts'
import { checkSecrecy, checkStale, isForked, noteOutcasts } from './membership.helper.ts'
import { difference, naiveLines, showView, treeLines } from './view.helper.ts'
import type { Shown } from './view.helper.ts'
import { Violation, promise } from './violation.helper.ts'
import type { World } from './world.helper.ts'

/** All honest devices hold and apply the same; nothing waits that could go on. */
export function isSettled(world: World): boolean {
  noteOutcasts(world)
  const first = world.honest[0]
  if (first === undefined) return true
  const hasLiar = world.devices.some((device) => device.isLiar)
  for (const device of world.honest) {
    if (device.engine === undefined) return false
    if (!hasLiar && device.live.waiting().length > 0) return false
  }
  const outcasts = new Set(world.devices.filter((one) => one.isOutcast).map((one) => one.author))
  const authors = new Set(world.honest.flatMap((device) => device.logs.authors()))
  if (world.plan.profile.engine === 'direct' && !hasLiar) outcasts.clear()
  for (const author of authors) {
    const length = first.logs.length(author)
    const hash = first.logs.hashAt(author, length)
    for (const { logs, live } of world.honest) {
      if (logs.length(author) !== length || logs.hashAt(author, length) !== hash) return false
      const wanted = outcasts.has(author) ? first.live.applied(author) : length
      if (live.applied(author) !== wanted) return false
    }
  }
  return true
}

/** Why it is not, for people. */
export function unsettled(world: World): string {
  return world.honest.map(({ index, engine, logs }) => {
    const heads = logs.heads().map(({ author, length }) => `${length}/${engine?.applied(author)}`)
    return `d${index}: held/applied ${heads.join(' ')}, waiting: ${engine?.waiting().join('; ')}`
  }).join('\n')
}

export async function checkEqual(world: World): Promise<Shown> {
  const views: { device: SimDevice; shown: Shown; hash: string }[] = []
  for (const device of world.honest) {
    const hash = await world.scheduler.drive(device.live.stateHash(), 'a state hash')
    views.push({ device, shown: showView(device.tree), hash })
  }
  const first = views[0]
  if (first === undefined) throw new Error('nobody is honest')
  for (const { device, shown, hash } of views.slice(1)) {
    const differs = shown.shared.join('\n') !== first.shown.shared.join('\n')
    promise(!differs, 'equal views', () => (
      `d${first.device.index} (-) and d${device.index} (+):\n` +
      difference(first.shown.shared, shown.shared)
    ))
    promise(hash === first.hash, 'equal state', () => (
      `d${first.device.index} and d${device.index} show the same, but ${first.hash} is not ${hash}`
    ))
  }
  return first.shown
}

/** The device shows what the naive model makes of the same batches. */
export async function checkNaive(
  world: World, device: SimDevice, input: NaiveInput,
): Promise<void> {
  const model = foldNaively(input.batches, input)
  await checkSecrecy(world, model)
  if (world.plan.profile.engine === 'core') await checkStale(world, input)
  const view = viewNaively(model, input)
  const should = naiveLines(view)
  const is = treeLines(device.tree)
  promise(should.join('\n') === is.join('\n'), 'the naive model agrees', () => (
    `d${device.index} (-) and the model (+):\n${difference(is, should)}`
  ))
}

/** Every content that nobody meant to be gone is shown under some path. */
export async function checkNothingLost(
  world: World, shown: Shown, { standing }: NaiveInput,
): Promise<void> {
  for (const device of world.devices) world.ledger.find(device.index)
  const { logs } = world.honest[0] as SimDevice
  await forgetBranches(world, logs)
  const counts = (author: AuthorId, seq: number): boolean => standing(author, seq) === 'valid'
  const hashAt = (author: AuthorId, length: number): string | undefined => (
    logs.hashAt(author, length)
  )
  for (const token of world.ledger.expected(counts, hashAt)) {
    promise(shown.tokens.has(token), 'nothing is lost', () => (
      `"${token}" was written, nobody removed or replaced it, and no path shows it`
    ))
  }
}

/** What whoever has forked himself did beyond what the others have. */
async function forgetBranches(world: World, logs: SimLogs): Promise<void> {
  for (const device of world.devices) {
    const { engine, author, index } = device
    if (!isForked(device) || !(engine instanceof CoreEngine)) continue
    promise(!engine.mayWrite, 'who has forked himself stops', () => `d${index} goes on`)
    const shared = new Set<number>()
    for (let seq = 0; seq < engine.ownLength; seq++) {
      const block = await logs.read(author, seq)
      if (block !== undefined && equalBytes(block, engine.ownBlock(seq))) shared.add(seq)
    }
    world.ledger.keepOnly(index, (seq) => shared.has(seq))
  }
}

/** At any moment: a device shows what is left of everything that it has applied so far. */
export function checkSoFar(world: World, device: SimDevice): void {
  const { live, index } = device
  const { tokens } = showView(device.tree)
  const expected = world.ledger.expectedOn(index, (author) => live.applied(author))
  for (const token of expected) {
    promise(tokens.has(token), 'nothing is lost on the way', () => (
      `d${index} has applied the batch that wrote "${token}", none that ends it, and hides it`
    ))
  }
}

/** Closed and opened again, a device comes to the same; `isWhole`: made from its journal alone. */
export async function checkRebuild(
  world: World, device: SimDevice, isWhole: boolean,
): Promise<void> {
  const { scheduler } = world
  const hash = await scheduler.drive(device.live.stateHash(), 'a state hash')
  const before = showView(device.tree)
  await scheduler.drive(device.live.close(), 'closing')
  device.crash(false)
  if (isWhole) device.storage.dropIndex()
  await scheduler.drive(device.start(), 'a rebuild')
  const after = showView(device.tree)
  promise(before.shared.join() === after.shared.join(), 'rebuilt view', () => (
    `d${device.index} before (-), rebuilt (+):\n${difference(before.shared, after.shared)}`
  ))
  // the direct engine keeps no facts of what a cutoff recomputes
  if (world.ledger.clouded && world.plan.profile.engine === 'direct') return
  promise(before.local.join() === after.local.join(), 'rebuilt inos and times', () => (
    `d${device.index} before (-), rebuilt (+):\n${difference(before.local, after.local)}`
  ))
  const again = await scheduler.drive(device.live.stateHash(), 'a state hash')
  promise(hash === again, 'rebuilt state', () => `d${device.index}: ${hash} became ${again}`)
}

export function checkEmpty(world: World): void {
  for (const device of world.honest) {
    const { shared } = showView(device.tree)
    if (shared.length === 0) continue
    throw new Violation('deletes stay deleted', (
      `everything was removed, but d${device.index} shows\n${shared.slice(0, 8).join('\n')}`
    ))
  }
}
