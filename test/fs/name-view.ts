// Views in which names match by NFC or without case: against a naive view that is computed from
// the whole directory each time, and as a filesystem over a real tree. SEED=n repeats a run.
import t from 'tap'
import { DirectoryView } from '../../src/fs/directory-view.ts'
import type { NameOrder } from '../../src/fs/directory-view.ts'
import { nameKey, nameOfText, shownName } from '../../src/fs/name-keys.ts'
import { NameView } from '../../src/fs/name-view.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { Name } from '../../src/ops/types.ts'
import { MemoryTree } from '../support/memory-tree.ts'
import { SeededRandom, testSeed } from '../support/random.ts'

const seed = testSeed()
t.comment(`SEED=${seed}`)

/** Short names, so that conflict names of one group are real names of another. */
const suffixes = ['', '!', '!!', '!!!', '!!!!', '!!!!!']
const order: NameOrder = {
  compare: (one, other) => (one < other ? -1 : 1),
  conflictName: (name, k) => `${name}${'!'.repeat(k)}` as Name,
}

/** Every real name to the name it is shown under, from scratch. */
function naive(names: ReadonlySet<Name>): Map<Name, Name> {
  const key = (name: Name) => nameKey(name, 'caseless')
  const groups = new Map<string, Name[]>()
  for (const name of names) {
    const of = key(shownName(name))
    groups.set(of, [...(groups.get(of) ?? []), name])
  }
  const taken = new Set(groups.keys())
  const shown = new Map<Name, Name>()
  for (const [, group] of [...groups].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const sorted = group.toSorted((a, b) => order.compare(a, b))
    shown.set(sorted.at(-1)!, shownName(sorted.at(-1)!))
    for (const name of sorted.slice(0, -1)) {
      let k = 1
      while (taken.has(key(order.conflictName(shownName(name), k)))) k++
      const candidate = order.conflictName(shownName(name), k)
      taken.add(key(candidate))
      shown.set(name, candidate)
    }
  }
  return shown
}

t.test('names come and go; the view is always the naive one', (t) => {
  const random = new SeededRandom(seed)
  let wrong = 0
  for (let world = 0; world < 200; world++) {
    const view = new DirectoryView('caseless', order)
    const names = new Set<Name>()
    for (let step = 0; step < 40; step++) {
      const letters = random.pick(['a', 'A', 'ab', 'Ab', 'aB', 'AB', '\u00e9', '\u00c9'])
      const name = nameOfText(letters + random.pick(suffixes))
      if (names.has(name) && random.chance(0.7)) {
        names.delete(name)
        view.remove(name)
      } else {
        names.add(name)
        view.add(name)
      }
      const expected = naive(names)
      for (const [real, shown] of expected) {
        if (view.shownAs(real) === shown && view.resolve(shown) === real) continue
        if (wrong++ > 5) continue
        t.fail(`world ${world} step ${step}: ${real} as ${view.shownAs(real)}, not ${shown}`)
      }
    }
  }
  t.equal(wrong, 0)
  t.end()
})

const init = (kind: 1 | 2) => ({ kind, mode: 0o700, uid: 0, gid: 0, rdev: 0, target: '' })

t.test('a tree without case', (t) => {
  const beneath = new MemoryTree(() => ({ sec: 1, nsec: 0 }))
  const view = new NameView({ tree: beneath, matching: 'caseless', order: () => order })
  const name = (text: string) => nameOfText(text)
  const { root } = view
  const made = view.make(root, name('Read.Me'), init(KIND_FILE))
  t.equal(view.lookup(root, name('README')), undefined)
  t.equal(view.lookup(root, name('read.me'))?.ino, made.ino)
  t.equal(view.lookup(root, name('read.me'))?.name, 'Read.Me', 'it keeps its spelling')
  // another device has made one that differs in case only
  beneath.make(root, name('read.ME'), init(KIND_FILE))
  view.changed(root, name('read.ME'))
  const names = () => view.list(root, 0, 10).map((entry) => entry.name).toSorted()
  t.same(names(), ['Read.Me!', 'read.ME'])
  t.equal(view.lookup(root, name('READ.me!'))?.ino, made.ino)
  view.unlink(root, name('READ.ME'))
  t.same(names(), ['Read.Me'], 'the winner goes, the other one has its name again')
  t.equal(view.lookup(root, name('read.me'))?.ino, made.ino)
  view.rename(root, name('read.me'), root, name('README'))
  t.same(beneath.list(root, 0, 10).map((entry) => entry.name), ['README'])
  view.rename(root, name('readme'), root, name('readme'))
  t.same(names(), ['readme'], 'only the spelling changes')
  const directory = view.make(root, name('D'), init(KIND_DIRECTORY))
  view.make(directory.ino, name('x'), init(KIND_FILE))
  t.equal(view.listNodes(directory.ino, 0, 10).length, 1)
  t.equal(view.lookupNode(root, name('d'))?.ino, directory.ino)
  t.end()
})

t.test('a tree by NFC, with a name that is no text', (t) => {
  const beneath = new MemoryTree(() => ({ sec: 1, nsec: 0 }))
  const raw = 'a\xff' as Name
  beneath.make(beneath.root, raw, init(KIND_FILE))
  const view = new NameView({ tree: beneath, matching: 'nfc', order: () => order })
  t.same(view.list(view.root, 0, 10).map((entry) => entry.name), ['a%FF'])
  t.ok(view.lookup(view.root, 'a%FF' as Name))
  view.make(view.root, nameOfText('cafe\u0301'), init(KIND_FILE))
  t.ok(view.lookup(view.root, nameOfText('caf\u00e9')))
  t.equal(view.lookup(view.root, nameOfText('CAF\u00c9')), undefined)
  view.unlink(view.root, 'a%FF' as Name)
  t.equal(beneath.lookup(beneath.root, raw), undefined)
  t.end()
})
