// Differences as `lattice conflicts show` and `lattice log --diff` print them.
import t from 'tap'
import { textDiff } from '../../src/cli/text-diff.ts'

const names = ['a', 'b'] as const
const diff = (one: string, other: string) => (
  textDiff(names, [Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1')])
)

t.test('texts, line by line', (t) => {
  const lines = ['--- a', '+++ b', '@@ -1,2 +1,2 @@', ' one', '-two', '+2']
  t.same(diff('one\ntwo\n', 'one\n2\n'), lines)
  t.same(diff('', 'new\n').slice(0, 2), ['--- a', '+++ b'])
  t.end()
})

t.test('what is not compared is said', (t) => {
  t.same(diff('x', 'x'), ['(the same content)'])
  t.same(diff('x\0', 'y'), ['(not text)'])
  t.same(diff('\xff\xfe', 'y'), ['(not text)'])
  t.same(textDiff(names, [undefined, Buffer.from('x')]), ['(too large to compare)'])
  const lines = (word: string) => Array.from({ length: 9000 }, (_, i) => `${word} ${i}`).join('\n')
  t.same(diff(lines('a'), lines('b')), ['(too many differences)'])
  t.end()
})
