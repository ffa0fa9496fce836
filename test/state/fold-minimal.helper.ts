// From a failing device of the fuzz to the few ops that make it fail: every op that is not needed
// becomes an empty acknowledgement, so that sequences and indexes stay. For whoever debugs.
import type { AuthorId, Op } from '../../src/ops/types.ts'
import { FoldReplica } from './fold-replica.helper.ts'
import type { ReplicaEvent } from './fold-replica.helper.ts'
import { standingOf } from './fuzz-world.helper.ts'
import type { StandingVersion } from './fuzz-world.helper.ts'
import { hex } from './naive-compare.helper.ts'
import { foldNaively } from './naive-model.helper.ts'
import type { ModelBatch } from './naive-model.helper.ts'
import type { Vault } from './naive-user.helper.ts'
import { viewNaively } from './naive-view.helper.ts'

const NOTHING: Op = { kind: 'ack', heads: [] }

/** Applies the events to a new device and compares with the model after each, or at the end. */
export function replayEvents(
  vault: Vault, events: readonly ReplicaEvent[], isEach: boolean,
): string | undefined {
  const replica = new FoldReplica(vault)
  const batches: ModelBatch[] = []
  let { label } = vault
  let version: StandingVersion = { cutoffs: new Map(), voids: new Set() }
  for (const [i, event] of events.entries()) {
    try {
      if ('batch' in event) {
        batches.push(event.batch)
        replica.apply(event.batch, event.own)
      } else if ('labels' in event) {
        label = event.labels
        replica.changeLabels(label)
      } else {
        version = event.standing
        replica.changeStanding(version)
      }
    } catch (error) {
      return `event ${i}: ${error instanceof Error ? error.stack ?? '' : String(error)}`
    }
    if (!isEach && i < events.length - 1) continue
    const model = foldNaively(batches, { root: vault.root, standing: standingOf(version) })
    const wrong = replica.compare(model, viewNaively(model, { ids: vault.ids, label }))
    if (wrong !== undefined) return `event ${i}: ${wrong}`
  }
  return undefined
}

/** As few ops as still fail, greedily; `failed` is what the whole list said. */
export function minimise(vault: Vault, given: readonly ReplicaEvent[], failed: string): string {
  let message = failed
  let events = [...given]
  const sort = sortOf(failed)
  const fails = (isEach: boolean) => {
    const wrong = replayEvents(vault, given, isEach)
    return wrong !== undefined && sortOf(wrong) === sort
  }
  const isEach = fails(true)
  if (!isEach && !fails(false)) message = `not so when it is applied again: ${message}`
  const tryIt = (next: ReplicaEvent[]) => {
    const wrong = replayEvents(vault, next, isEach)
    if (wrong === undefined || sortOf(wrong) !== sort) return
    message = wrong
    const last = Number(/^event (\d+)/.exec(wrong)?.[1] ?? next.length)
    events = next.slice(0, last + 1)
  }
  tryIt(events)
  // own ops are not asked what they see: without what they stand on, they would fail otherwise
  tryIt(events.map((event) => ('batch' in event ? { ...event, own: false } : event)))
  for (let pass = 0; pass < 3; pass++) {
    for (let i = events.length - 1; i >= 0; i--) {
      const event = events[i]
      if (event === undefined) continue
      if (!('batch' in event)) {
        tryIt(events.filter((one) => one !== event))
        continue
      }
      const { ops } = event.batch
      const without = (which: (index: number) => boolean) => {
        const left = ops.map((op, index) => (which(index) ? NOTHING : op))
        const { follow: _follow, ...batch } = { ...event.batch, ops: left }
        tryIt(events.map((one) => (one === event ? { ...event, batch } : one)))
      }
      if (ops.some((op) => op.kind !== 'ack')) without(() => true)
      const now = events[i]
      if (now !== event || ops.length < 2) continue
      for (let index = ops.length - 1; index >= 0; index--) {
        const current = events[i]
        if (current === undefined || !('batch' in current)) break
        const left = current.batch.ops.map((op, at) => (at === index ? NOTHING : op))
        if (current.batch.ops[index]?.kind === 'ack') continue
        const { follow: _follow, ...batch } = { ...current.batch, ops: left }
        tryIt(events.map((one) => (one === current ? { ...current, batch } : one)))
      }
    }
  }
  return `${message}\n${events.map((event, i) => eventText(event, i)).filter(Boolean).join('\n')}`
}

/** What sort of failure it is: a smaller list must fail alike. */
function sortOf(message: string): string {
  const text = message.replace(/^(refold: |event \d+: )+/, '')
  const frames = [...text.matchAll(/^ +at (\S+)/gm)].slice(2, 6).map(([, name]) => name)
  if (frames.length > 0) return frames.join()
  const field = /^node [0-9a-f]+: (\w+)/.exec(text)?.[1]
  if (field !== undefined) return `node ${field}`
  const atPath = /^\/.*?( is| has| needs|: \w+)/.exec(text)?.[1]
  return atPath ?? text.slice(0, 40).replaceAll(/[0-9a-f]{6,}|[0-9]/g, '')
}

function eventText(event: ReplicaEvent, i: number): string {
  if ('labels' in event) return `${i} labels`
  if (!('batch' in event)) {
    const cutoffs = [...event.standing.cutoffs].map(([author, length]) => (
      `${short(author)}:${length}`
    ))
    const voids = [...event.standing.voids].map((one) => `${short(one)}.${one.slice(32)}`)
    return `${i} standing: cut ${cutoffs.join()} void ${voids.join()}`
  }
  const { author, seq, ms, deps, ops } = event.batch
  const lines = ops.flatMap((op, index) => (op.kind === 'ack' ? [] : [`  .${index} ${opText(op)}`]))
  if (lines.length === 0) return ''
  const seen = deps.map((dep) => `${short(dep.author)}:${dep.length}`).join()
  return [`${i} ${event.own ? 'own ' : ''}${short(author)}.${seq} ms ${ms} deps ${seen}`, ...lines]
    .join('\n')
}

const short = (author: string) => author.slice(31, 32)

function opText(op: Op): string {
  return JSON.stringify(op, (key, value: unknown) => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1')
    if (['node', 'link', 'parent'].includes(key)) return hex(value as string).slice(0, 8)
    if (typeof value === 'object' && value !== null && 'seq' in value && 'index' in value) {
      const ref = value as { author: AuthorId; seq: number; index: number }
      return `${short(ref.author)}.${ref.seq}.${ref.index}`
    }
    return value
  })
}
