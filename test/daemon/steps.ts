// What takes long, followed by asking again.
import t from 'tap'
import { Steps } from '../../src/daemon/steps.ts'

t.test('it is begun once, told on the way, and ends once', async (t) => {
  const steps = new Steps<number>()
  let begun = 0
  let state = 0
  let end: () => void = () => undefined
  const begin = () => {
    begun++
    return { state: () => state, ended: new Promise<void>((resolve) => { end = resolve }) }
  }
  t.same(await steps.step('a', begin), { state: 0, isDone: false })
  state = 7
  t.same(await steps.step('a', begin), { state: 7, isDone: false })
  const last = steps.step('a', begin)
  state = 9
  end()
  t.same(await last, { state: 9, isDone: true })
  t.equal(begun, 1)
  t.same(await steps.step('a', begin), { state: 9, isDone: false }, 'then it is begun anew')
  t.equal(begun, 2)
  end()
})

t.test('what fails is told once', async (t) => {
  const steps = new Steps<number>()
  const begin = () => ({ state: () => 1, ended: Promise.reject(new Error('no')) })
  await t.rejects(steps.step('a', begin), { message: 'no' })
  const again = () => ({ state: () => 2, ended: Promise.resolve() })
  t.same(await steps.step('a', again), { state: 2, isDone: true })
})
