// A process that publishes its own logs for ever; crash.ts kills it. It has everything in advance,
// as a journal would, appends what its logs lack, and says how long they are.
import { openStore } from './logs.helper.ts'
import { blockAt } from './crash-blocks.helper.ts'

const [letter, directory] = process.argv.slice(2) as [string, string]
const { store, author } = await openStore(letter, directory)
for (;;) {
  const ops = store.length(author, 'ops')
  const count = 1 + (ops * 7919) % 50
  await store.append(Array.from({ length: count }, (_, i) => blockAt(ops + i)), ops)
  const content = store.length(author, 'content')
  await store.appendContent([blockAt(content)], content)
  process.stdout.write(`${ops + count} ${content + 1}\n`)
}
