// timeoutSeconds: 240
// Content that another device puts while a program looks a file up and opens it: what is read is
// one version, whole. A file that nobody has opened yet keeps its inode when its content changes,
// so that the size that the kernel remembers may be of another version than the bytes.

import t from 'tap'
import { noMount } from './harness.helper.ts'
import { Pair, User } from './remote.helper.ts'

const skip = noMount() ?? false
const ROUNDS = 120
const FILES = 8
const OLD = 'old\n'
const NEW = `new${'x'.repeat(500)}\n`

for (const isKnown of [true, false]) {
  const what = isKnown ? 'that the kernel knows' : 'that nobody has looked up'
  void t.test(`a file ${what} is put and opened at once`, { skip }, async (t) => {
    const pair = await Pair.open(t)
    const { far } = pair
    const users = [await User.start(t), await User.start(t)] as const
    const seen = new Set<string>()
    for (let round = 0; round < ROUNDS && t.passing(); round++) {
      far.mkdir(`d${round}`)
      const names = Array.from({ length: FILES }, (_, i) => `d${round}/f${i}`)
      for (const name of names) far.write(name, OLD)
      await pair.take()
      // two of a directory: the others are told ahead
      for (const name of isKnown ? names : names.slice(0, 2)) await users[0].stat(pair.path(name))
      for (const name of names) far.write(name, NEW)
      const taken = pair.take()
      const texts = await Promise.all(names.map((name, i) => users[i & 1]!.read(pair.path(name))))
      await taken
      for (const text of texts) seen.add(text)
      const torn = texts.filter((text) => text !== OLD && text !== NEW)
      t.same(torn, [], `round ${round}`)
      const now = await Promise.all(names.map((name) => users[0].stat(pair.path(name))))
      t.same(now.filter(({ size }) => size !== NEW.length), [], 'all was told')
    }
    t.same([...seen].toSorted(), [NEW, OLD], 'both met the readers')
  })
}
