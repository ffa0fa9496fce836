// Names that other systems see differently, and keys under which they are equal.
import t from 'tap'
import { DirectoryNames, problemsOf } from '../../src/fs/foreign-names.ts'
import { nameKey, nameOfText, shownName, textOfName } from '../../src/fs/name-keys.ts'
import type { Name } from '../../src/ops/types.ts'

const bytes = (...list: number[]) => String.fromCharCode(...list) as Name

t.test('keys', (t) => {
  const composed = nameOfText('caf\u00e9')
  const decomposed = nameOfText('cafe\u0301')
  t.not(nameKey(composed, 'bytes'), nameKey(decomposed, 'bytes'))
  t.equal(nameKey(composed, 'nfc'), nameKey(decomposed, 'nfc'))
  t.not(nameKey(nameOfText('A'), 'nfc'), nameKey(nameOfText('a'), 'nfc'))
  const same: [string, string][] = [
    ['README', 'readme'],
    ['Stra\u00dfe', 'STRASSE'],
    ['\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2', '\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3'],
    ['\u00c9t\u00e9', 'e\u0301TE\u0301'],
  ]
  for (const [one, two] of same) {
    t.equal(nameKey(nameOfText(one), 'caseless'), nameKey(nameOfText(two), 'caseless'), one)
  }
  t.not(nameKey(bytes(0xff), 'nfc'), nameKey(bytes(0xfe), 'nfc'), 'bad bytes equal themselves')
  t.equal(textOfName(bytes(0xc3)), undefined)
  t.end()
})

t.test('a text view escapes bytes that are no text', (t) => {
  t.equal(shownName(bytes(0x61, 0xff, 0x62)), 'a%FFb')
  t.equal(shownName(nameOfText('\u00e9')), nameOfText('\u00e9'))
  t.equal(shownName(bytes(0xc3, 0xa9, 0xc3)), `${nameOfText('\u00e9')}%C3`)
  t.end()
})

t.test('what is said about a name', (t) => {
  const table: [string, string[]][] = [
    ['ordinary.txt', []],
    ['a:b', ['windows-character']],
    ['con', ['windows-reserved']],
    ['Lpt1.txt', ['windows-reserved']],
    ['console', []],
    ['dot.', ['windows-end']],
    ['space ', ['windows-end']],
    ['.hidden', []],
    ['cafe\u0301', ['not-nfc']],
    ['tab\t', ['windows-character']],
  ]
  for (const [name, problems] of table) t.same(problemsOf(nameOfText(name)), problems, name)
  t.same(problemsOf(bytes(0xff)), ['not-utf8'])
  t.end()
})

t.test('two names of one directory that are one elsewhere', (t) => {
  const names = new DirectoryNames()
  const add = (text: string) => names.add(nameOfText(text)).map(({ problem }) => problem)
  t.same(add('Makefile'), [])
  t.same(add('makefile'), ['same-without-case'])
  t.same(add('caf\u00e9'), [])
  t.same(add('cafe\u0301'), ['not-nfc', 'same-after-nfc'])
  t.same(add('CAF\u00c9'), ['same-without-case'])
  const found = names.add(nameOfText('MAKEFILE'))
  t.equal(found[0]?.other, 'Makefile')
  t.end()
})
