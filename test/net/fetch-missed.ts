// What nobody could send a moment ago is not waited for once more: a program that reads on asks for
// the same content again and again, and each time would be a timeout. Who comes is asked anew.
import t, { type Test } from 'tap'
import type { BundleId } from '../../src/chunks/bundle-id.ts'
import { FetchScheduler } from '../../src/net/fetch-scheduler.ts'
import type { FetchPeer } from '../../src/net/fetch-scheduler.ts'
import type { FetchPriority } from '../../src/net/ports.ts'
import { BufferPool } from '../../src/util/buffer-pool.ts'

const A = 'a'.repeat(32) as BundleId
const B = 'b'.repeat(32) as BundleId
const WAIT = { timeoutMs: 15_000 }

function open(t: Test) {
  const clock = { nowMs: 1000 }
  const scheduler = new FetchScheduler({
    sink: { store: async () => undefined },
    log: { info: () => undefined, warn: () => undefined } as never,
    buffers: new BufferPool(0),
    nowMs: () => clock.nowMs,
    isExpecting: () => false,
    onBadBytes: () => undefined,
  })
  t.teardown(() => scheduler.close())
  const ask = (id: BundleId, priority: FetchPriority = 'read') => {
    const outcome: { code: string | undefined } = { code: undefined }
    const done = scheduler.fetch(id, 1000, priority, WAIT).catch((error: { code: string }) => {
      outcome.code = error.code
    })
    return { outcome, done }
  }
  return { clock, scheduler, ask }
}

const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

t.test('what nobody has', async (t) => {
  const { clock, scheduler, ask } = open(t)
  const first = ask(A)
  await settled()
  t.equal(first.outcome.code, undefined, 'is waited for')
  clock.nowMs += 2000
  await first.done
  t.equal(first.outcome.code, 'not-available')

  // no time passes from here on
  const again = ask(A)
  const ahead = ask(A, 'ahead')
  const other = ask(B)
  const pin = ask(A, 'pin')
  await settled()
  t.equal(again.outcome.code, 'not-available', 'is not waited for again')
  t.equal(ahead.outcome.code, 'not-available')
  t.equal(other.outcome.code, undefined, 'something else is')
  t.equal(pin.outcome.code, undefined, 'and who has time waits')
  clock.nowMs += 2000
  await Promise.all([other.done, pin.done])

  scheduler.addPeer({ isReady: false } as FetchPeer)
  const asked = ask(A)
  await settled()
  t.equal(asked.outcome.code, undefined, 'until somebody comes')
  clock.nowMs += 20_000
  await asked.done
  clock.nowMs += 10_000
  const later = ask(A)
  await settled()
  t.equal(later.outcome.code, undefined, 'or some time has passed')
})
