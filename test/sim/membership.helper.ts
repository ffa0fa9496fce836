// What admins and owners do in a simulated world: remove and demote devices at some length of their
// logs, readmit, declare batches void, rotate keys. Done by whoever may, on what he has seen: two
// of them may do it to each other while they do not hear each other.
import { controlOp, encodeControl } from '../../src/ops/control-codec.ts'
import { epochIdOf } from '../../src/ops/control-genesis.ts'
import { CHAIN_ENTRY_BYTES, FULL_BOX_BYTES, rankOf } from '../../src/ops/control-types.ts'
import type { ControlOp, EpochOp, LogMark } from '../../src/ops/control-types.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import { envelopeKeyName } from '../../src/ops/envelope.ts'
import { toHex } from '../../src/util/bytes.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import type { Model } from '../state/naive-model.helper.ts'
import type { SeededRandom } from '../support/random.ts'
import { CoreEngine } from './core-engine.helper.ts'
import type { SimDevice } from './device.helper.ts'
import type { NaiveInput } from './engine.helper.ts'
import type { StepKind } from './plan.helper.ts'
import { boxKey, fixedKey } from './sim-vault.helper.ts'
import { promise } from './violation.helper.ts'
import type { World } from './world.helper.ts'

export async function changeMembers(
  world: World, device: SimDevice, kind: StepKind, random: SeededRandom,
): Promise<void> {
  const { engine } = device
  if (!(engine instanceof CoreEngine) || !engine.mayWrite) return
  const { members } = engine.members
  const rank = rankOf(members.roleAt(device.author, engine.ownLength) ?? 'blind')
  if (rank < rankOf('admin')) return
  const others = members.list().filter((one) => (
    one.device !== device.author && one.role !== undefined
      && members.isJunior(one.device, device.author)
  ))
  const target = others.length === 0 ? undefined : random.pick(others).device
  const ops = await opsFor(world, device, engine, kind, target, random)
  if (ops.length === 0) return
  world.trace.note(`d${device.index}: ${ops.map((op) => op.kind).join(' and ')}`)
  world.ledger.clouded = true
  await engine.control(ops.map((op) => controlOp(op)))
}

async function opsFor(
  world: World, device: SimDevice, engine: CoreEngine, kind: StepKind,
  target: AuthorId | undefined, random: SeededRandom,
): Promise<ControlOp[]> {
  if (kind === 'rotate') return [rotation(world, engine, undefined, random)]
  if (target === undefined) return []
  const known = engine.applied(target)
  const length = random.chance(0.5) ? known : random.int(Math.max(0, known - 4), known + 1)
  const mark = markOf(device, target, length)
  if (mark === undefined) return []
  switch (kind) {
    case 'remove':
      return [
        { kind: 'remove', device: target, logs: [mark] },
        rotation(world, engine, target, random),
      ]
    case 'role':
      return [{ kind: 'role', device: target, role: 'reader', change: 'lower', logs: [mark] }]
    case 'readmit': {
      const cutoff = engine.members.members.cutoffs().find((one) => one.device !== device.author)
      const whole = cutoff && markOf(device, cutoff.device, engine.applied(cutoff.device))
      if (cutoff === undefined || whole === undefined) return []
      return [{ kind: 'readmit', target: cutoff.ref, logs: [whole] }]
    }
    case 'void': {
      if (known === 0) return []
      const end = random.int(1, known + 1)
      const until = markOf(device, target, end)
      if (until === undefined) return []
      world.ledger.hasVoid = true
      const begin = Math.max(0, end - random.int(1, 3))
      return [{ kind: 'void', device: target, begin, end, treeHash: until.treeHash }]
    }
    default:
      return []
  }
}

/** Devices that the owner knows as removed are outcasts: nobody waits for them. */
export function noteOutcasts(world: World): void {
  const owner = world.devices[0]?.engine
  if (!(owner instanceof CoreEngine)) return
  const { members } = owner.members
  for (const device of world.devices) {
    if (device.isLiar || members.get(device.author) === undefined) continue
    device.isOutcast = members.get(device.author)?.role === undefined || isForked(device)
  }
}

/** It was put back to a backup, and has gone on before it heard what it had done since. */
export function isForked({ engine, wasRestored, isOutcast }: SimDevice): boolean {
  if (!wasRestored) return false
  return engine instanceof CoreEngine ? engine.isOwnForked : isOutcast
}

/** The owner removes whoever has forked himself, with all that was shared before. */
export async function removeForked(world: World): Promise<void> {
  const first = world.devices[0] as SimDevice
  const { engine } = first
  if (!(engine instanceof CoreEngine)) return
  for (const device of world.devices) {
    const { author } = device
    if (!isForked(device) || engine.members.members.get(author)?.role === undefined) continue
    const mark = markOf(first, author, engine.applied(author))
    if (mark === undefined) continue
    world.trace.note(`d0 removes d${device.index}, which has forked itself`)
    const remove: ControlOp = { kind: 'remove', device: author, logs: [mark] }
    const ops = [remove, rotation(world, engine, author, world.random)]
    await engine.control(ops.map((op) => controlOp(op)))
  }
}

/** Who is asked to mint an epoch, by what it knows, does so. */
export async function mintWhereNeeded(world: World): Promise<void> {
  for (const { engine, author, index } of world.devices) {
    if (!(engine instanceof CoreEngine) || !engine.mayWrite) continue
    const { reasons, minter } = engine.members.members.rotation(undefined, (hex) => (
      world.epochs.get(hex)?.holders.has(author) === true
    ))
    if (reasons.length === 0 || minter !== author) continue
    world.trace.note(`d${index} mints: ${reasons.join()}`)
    await engine.control([controlOp(rotation(world, engine, undefined, world.random))])
  }
}

/** Nothing that a device seals after it has applied a removal can be opened by who was removed. */
export async function checkSecrecy(world: World, model: Model): Promise<void> {
  const owner = world.devices[0]?.engine
  if (!(owner instanceof CoreEngine)) return
  const { logs } = world.devices[0] as SimDevice
  const cutoffs = owner.members.members.cutoffs()
  // of concurrent removals each has its epoch; until there is a joint one, either is used
  if (new Set(cutoffs.map(({ by }) => by)).size > 1) return
  for (const { device, ref, rank } of cutoffs) {
    if (rank >= 0 || owner.members.members.get(device)?.role !== undefined) continue
    for (const [author, batches] of model.batches) {
      if (world.devices.some((one) => one.author === author && one.isOutcast)) continue
      for (const { batch: { seq }, vv } of batches) {
        if (author === ref.author || (vv.get(ref.author) ?? 0) <= ref.seq) continue
        const block = await logs.read(author, seq)
        if (block === undefined) continue
        const name = nameOf(block)
        if (name === undefined) continue
        const { epochId, isControl } = name
        if (isControl) continue // an epoch's own op is sealed under the one before
        const epoch = world.epochs.get(toHex(epochId))
        promise(epoch?.holders.has(device) !== true, 'who was removed reads nothing new', () => (
          `batch ${seq} of ${toHex(Buffer.from(author, 'latin1')).slice(0, 6)} has seen a removal, `
          + `and is sealed under epoch ${epoch?.hex}, which the removed device can open`
        ))
      }
    }
  }
}

/** Data sealed under an epoch that comes before one under which something is sealed that it saw
 *  counts for nothing. */
export async function checkStale(world: World, { batches }: NaiveInput): Promise<void> {
  const { logs } = world.devices[0] as SimDevice
  const counting = new Set(
    batches.filter(({ ops }) => ops.length > 0).map(({ author, seq }) => `${author}${seq}`),
  )
  const epochOf = async (author: AuthorId, seq: number): Promise<string | undefined> => {
    const block = counting.has(`${author}${seq}`) ? await logs.read(author, seq) : undefined
    const name = block === undefined ? undefined : nameOf(block)
    return name === undefined ? undefined : toHex(name.epochId)
  }
  for (const { author, seq, deps, ops } of batches) {
    if (ops.length === 0 || ops[0]?.kind === 'control') continue
    const own = await epochOf(author, seq)
    if (own === undefined) continue
    const seen = deps.map((dep) => epochOf(dep.author, dep.length - 1))
    for (const other of await Promise.all([...seen, epochOf(author, seq - 1)])) {
      const isStale = other !== undefined && world.epochs.precedes(own, other)
      promise(!isStale, 'old keys seal nothing', () => (
        `batch ${seq} of ${toHex(Buffer.from(author, 'latin1')).slice(0, 6)} is sealed under `
        + `${own}, has seen something under ${other}, and counts`
      ))
    }
  }
}

function nameOf(block: Uint8Array): ReturnType<typeof envelopeKeyName> | undefined {
  try {
    return envelopeKeyName(block)
  } catch (error) {
    if (!isLatticeError(error, 'invalid')) throw error
    return undefined
  }
}

/** The device's ops log, as the one who acts has it. */
function markOf(device: SimDevice, of: AuthorId, length: number): LogMark | undefined {
  const hash = device.logs.hashAt(of, length)
  if (hash === undefined) return undefined
  const treeHash = length === 0 ? new Uint8Array(32) : Buffer.from(hash, 'latin1')
  return { log: of, length, treeHash }
}

/** A new epoch for all who are members, but one. */
function rotation(
  world: World, engine: CoreEngine, without: AuthorId | undefined, random: SeededRandom,
): EpochOp {
  const { members } = engine.members
  const label = `epoch ${random.int(0, 2 ** 31)}`
  const holders = members.list()
    .filter(({ device, role }) => role !== undefined && device !== without)
  const indexes = holders.map(({ device }) => (
    world.devices.find((one) => one.author === device)?.index ?? 0
  ))
  const boxes = indexes.map((index) => ({
    boxKey: boxKey(index), box: new Uint8Array(FULL_BOX_BYTES).fill(index),
  }))
  boxes.push({ boxKey: fixedKey('public recovery box'), box: new Uint8Array(FULL_BOX_BYTES) })
  boxes.sort((a, b) => Buffer.compare(a.boxKey, b.boxKey))
  const heads = [...members.epochHeads(), ...members.strandedEpochs().filter(({ epochId }) => (
    world.epochs.get(epochId)?.holders.has(engine.author) === true
  ))]
  const parents = heads.map(({ epochId }) => ({
    epochId: Buffer.from(epochId, 'hex'),
    chain: new Uint8Array(CHAIN_ENTRY_BYTES),
    controlChain: new Uint8Array(CHAIN_ENTRY_BYTES),
  }))
  parents.sort((a, b) => Buffer.compare(a.epochId, b.epochId))
  const op: EpochOp = {
    kind: 'epoch', parents, boxes,
    epochCommitment: fixedKey(label), controlCommitment: fixedKey(`control ${label}`),
  }
  world.epochs.add(
    epochIdOf(encodeControl(op)), label, holders.map(({ device }) => device),
    heads.map(({ epochId }) => epochId),
  )
  return op
}
