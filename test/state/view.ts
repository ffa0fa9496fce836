// What the view shows where devices meet: case by case, each row of the rules' table, each rule of
// groups, unions and conflict names. Every sync() also checks that other orders of delivery come to
// the same tree. The fuzz (fold-fuzz.ts) knows more; these say what is meant.
import t from 'tap'
import {
  KIND_CHAR_DEVICE, KIND_DIRECTORY, KIND_FIFO, KIND_FILE, KIND_SYMLINK,
} from '../../src/ops/types.ts'
import type { AuthorId, Name, Op } from '../../src/ops/types.ts'
import { conflictName } from '../../src/state/conflict-names.ts'
import { World, ids, putOp } from './view-world.helper.ts'
import type { Device } from './view-world.helper.ts'

const DATE = '2026-11-20'
const A = 'A'.repeat(32) as AuthorId

/** Two devices that have seen `prepare`, and have not met since. */
function two(prepare: (a: Device) => void = () => undefined): [World, Device, Device] {
  const world = new World('laptop', 'phone')
  const [a, b] = world.devices as [Device, Device]
  prepare(a)
  world.sync()
  for (const device of world.devices) device.told = []
  return [world, a, b]
}

t.test('op against op', (t) => {
  t.test('put, put: the greater wins, the other is a copy', (t) => {
    const [world, a, b] = two((a) => a.file('f.txt', 'old'))
    a.write('f.txt', 'of a')
    b.write('f.txt', 'of b')
    world.sync()
    t.strictSame(a.names(), [`f (conflict ${DATE} laptop).txt`, 'f.txt'])
    t.equal(a.read('f.txt'), 'of b')
    t.equal(a.read(`f (conflict ${DATE} laptop).txt`), 'of a')
    b.write('f.txt', 'next')
    world.sync()
    t.equal(a.names().length, 2, 'who writes f has not dismissed its copy')
    t.end()
  })
  t.test('put, put of the same bytes: one entry', (t) => {
    const [world, a, b] = two((a) => a.file('f', 'old'))
    a.write('f', 'same')
    b.write('f', 'same')
    world.sync()
    t.strictSame(a.names(), ['f'])
    a.write('f', 'more')
    world.sync()
    t.strictSame(b.names(), ['f'], 'and both are superseded at once')
    t.equal(b.record('f').grouped, false)
    t.end()
  })
  t.test('put, rm: comes back', (t) => {
    const [world, a, b] = two((a) => a.file('f', 'old'))
    a.write('f', 'new')
    b.remove('f')
    world.sync()
    t.equal(b.read('f'), 'new')
    t.end()
  })
  t.test('mv or attr, rm: alive', (t) => {
    const [world, a, b] = two((a) => {
      a.file('f', 'one')
      a.file('g', 'two')
    })
    a.move('f', 'h')
    a.chmod('g', 0o600)
    b.remove('f')
    b.remove('g')
    world.sync()
    t.strictSame(b.names(), ['g', 'h'])
    t.end()
  })
  t.test('rm, rm: gone; mv, mv: once', (t) => {
    const [world, a, b] = two((a) => {
      a.file('f', 'one')
      a.file('g', 'two')
    })
    a.remove('f')
    b.remove('f')
    a.move('g', 'p')
    b.move('g', 'q')
    world.sync()
    t.strictSame(b.names(), ['q'])
    t.end()
  })
  t.test('mk, mk: two files; of equal content: one', (t) => {
    const [world, a, b] = two()
    a.file('x', 'of a')
    b.file('x', 'of b')
    a.file('y', 'same')
    b.file('y', 'same')
    world.sync()
    t.strictSame(a.names(), ['x', `x (conflict ${DATE} laptop)`, 'y'])
    t.equal(a.read('x'), 'of b')
    t.strictSame(a.conflicts('x'), a.conflicts(`x (conflict ${DATE} laptop)`))
    a.write('y', 'other')
    world.sync()
    t.equal(a.names().length, 4, 'a hidden equal appears once they differ')
    t.end()
  })
  t.test('mk directory, mk file: the directory has the name', (t) => {
    const [world, a, b] = two()
    a.dir('x')
    b.file('x', 'file')
    world.sync()
    t.equal(a.entry('x')?.kind, KIND_DIRECTORY)
    t.equal(a.read(`x (conflict ${DATE} phone)`), 'file')
    a.remove('x')
    world.sync()
    t.equal(b.read('x'), 'file', 'once it is gone, the file has it')
    t.equal(b.record('').entryCount, 1)
    t.end()
  })
  t.test('rename over, put', (t) => {
    const [world, a, b] = two((a) => {
      a.file('f', 'content of f')
      a.file('g', 'content of g')
    })
    a.replace('g', 'f')
    b.write('g', 'put g')
    b.write('f', 'put f')
    world.sync()
    t.equal(a.read('g'), 'put g')
    t.equal(a.read(`g (conflict ${DATE} laptop)`), 'content of f')
    t.equal(a.read('f'), 'put f', 'f comes back with the put')
    t.end()
  })
  t.test('rmdir, mk in it: stays with the new entry, and goes with it', (t) => {
    const [world, a, b] = two((a) => a.dir('d'))
    a.remove('d')
    b.file('d/x', 'new')
    world.sync()
    t.equal(a.read('d/x'), 'new')
    b.remove('d/x')
    world.sync()
    t.strictSame(a.names(), [])
    t.end()
  })
  t.test('a directory that was removed comes back through all that is above it', (t) => {
    const [world, a, b] = two((a) => {
      a.dir('d')
      a.dir('d/e')
      a.file('d/e/f', 'old')
    })
    a.remove('d/e/f')
    a.remove('d/e')
    a.remove('d')
    b.write('d/e/f', 'new')
    world.sync()
    t.equal(a.read('d/e/f'), 'new')
    t.end()
  })
  t.test('mv a into b, mv b into a: the greater is skipped, and told', (t) => {
    const [world, a, b] = two((a) => {
      a.dir('a')
      a.dir('b')
    })
    a.move('a', 'b/a')
    b.move('b', 'a/b')
    world.sync()
    t.strictSame(a.names(), ['b'])
    t.equal(a.record('b').links[0]?.skipped, true)
    t.strictSame(a.names('b'), ['a'])
    t.end()
  })
  t.end()
})

t.test('conflict names', (t) => {
  t.test('their form', (t) => {
    const at = (ms: number) => ({ ms, author: '\x01\xab\xcd\xef'.repeat(8) as AuthorId })
    const name = (text: string, label = 'pc', k = 1) => (
      conflictName(Buffer.from(text).toString('latin1') as Name, at(86_400_000 * 365), label, k)
    )
    t.equal(name('a.txt'), 'a (conflict 1971-01-01 pc).txt')
    t.equal(name('a.txt', 'pc', 3), 'a (conflict 1971-01-01 pc) 3.txt')
    t.equal(name('.profile'), '.profile (conflict 1971-01-01 pc)')
    t.equal(name('a.'), 'a (conflict 1971-01-01 pc).')
    t.equal(name(`a.${'x'.repeat(16)}`), `a.${'x'.repeat(16)} (conflict 1971-01-01 pc)`)
    t.equal(name('a', ''), 'a (conflict 1971-01-01 01abcdef)')
    t.equal(name('a', 'x/y\n'), 'a (conflict 1971-01-01 x_y_)')
    const long = name(`${'é'.repeat(125)}.tex`)
    t.ok(long.length <= 255 && long.length > 252, `${long.length} bytes`)
    t.equal(Buffer.from(long, 'latin1').toString(), `${'é'.repeat((long.length - 29) / 2)}${
      long.slice(-29)}`, 'no sequence is cut')
    t.equal(name('a', 'ü'.repeat(20)).length, 'a (conflict 1971-01-01 )'.length + 32)
    t.end()
  })
  t.test('never a name that really exists', (t) => {
    const [world, a, b] = two()
    a.file(`x (conflict ${DATE} laptop)`, 'real')
    a.file('x', 'of a')
    b.file('x', 'of b')
    world.sync()
    t.equal(b.read(`x (conflict ${DATE} laptop)`), 'real')
    t.equal(b.read(`x (conflict ${DATE} laptop) 2`), 'of a')
    a.remove(`x (conflict ${DATE} laptop)`)
    world.sync()
    t.equal(b.read(`x (conflict ${DATE} laptop)`), 'of a', 'a name that is free again is used')
    t.equal(b.record('').skipCount, 0)
    t.end()
  })
  t.test('a real file that comes later takes its name', (t) => {
    const world = new World('laptop', 'phone', 'third')
    const [a, b, c] = world.devices as [Device, Device, Device]
    a.file('x', 'of a')
    b.file('x', 'of b')
    c.file(`x (conflict ${DATE} laptop)`, 'real')
    world.deliver(a)
    t.equal(a.read(`x (conflict ${DATE} laptop) 2`), 'of a')
    world.sync()
    t.equal(b.read(`x (conflict ${DATE} laptop)`), 'real')
    t.end()
  })
  t.test('numbers in the order of the ops', (t) => {
    const world = new World('pc', 'pc', 'pc', 'pc')
    world.devices.forEach((device, i) => device.file('x', `content ${i}`))
    world.sync()
    const [a] = world.devices as [Device]
    t.equal(a.read('x'), 'content 3')
    t.equal(a.read(`x (conflict ${DATE} pc)`), 'content 0')
    t.equal(a.read(`x (conflict ${DATE} pc) 2`), 'content 1')
    t.equal(a.read(`x (conflict ${DATE} pc) 3`), 'content 2')
    t.end()
  })
  t.test('groups that want one name: the smaller has it, and gives it back', (t) => {
    const [world, a, b] = two()
    const long = 'y'.repeat(254)
    for (const name of [`${long}a`, `${long}b`]) {
      a.file(name, `of a ${name.at(-1)}`)
      b.file(name, `of b ${name.at(-1)}`)
    }
    world.sync()
    const copies = a.names().filter((name) => name.includes('conflict'))
    t.equal(copies.length, 2)
    t.strictSame(copies.map((name) => a.read(name)).toSorted(), ['of a a', 'of a b'])
    const plain = copies.find((name) => !name.endsWith(' 2')) as string
    t.equal(a.read(plain), 'of a a')
    world.day = 1
    a.remove(plain)
    world.sync()
    t.equal(b.read(plain), 'of a b')
    t.equal(b.record('').skipCount, 0)
    t.end()
  })
  t.test('255 bytes, and a name that is its own first candidate', (t) => {
    const [world, a, b] = two()
    const end = ` (conflict ${DATE} laptop)`
    const own = `${'z'.repeat(255 - end.length)}${end}`
    a.file(own, 'of a')
    b.file(own, 'of b')
    world.sync()
    t.strictSame(a.names().map((name) => name.length), [255, 255])
    t.equal(a.read(own), 'of b')
    t.equal(a.read(`${'z'.repeat(255 - end.length - 2)}${end} 2`), 'of a')
    t.end()
  })
  t.test('names of devices change', (t) => {
    const [world, a, b] = two()
    for (let i = 0; i < 300; i++) a.file(`x${i}`, 'of a')
    for (let i = 0; i < 300; i++) b.file(`x${i}`, 'of b')
    world.sync()
    world.labels.set(A, 'tower')
    a.relabel()
    b.relabel()
    t.equal(a.read(`x7 (conflict ${DATE} tower)`), 'of a')
    t.notOk(a.names().some((name) => name.includes('laptop')))
    world.sync()
    t.end()
  })
  t.end()
})

t.test('what counts as equal', (t) => {
  const [world, a, b] = two()
  for (const [name, target] of [['s', 'same'], ['t', 'other']] as const) {
    a.make(name, KIND_SYMLINK, undefined, 0o777, [{ key: 5, target: 'same' }])
    b.make(name, KIND_SYMLINK, undefined, 0o777, [{ key: 5, target }])
  }
  a.make('p', KIND_FIFO)
  b.make('p', KIND_FIFO)
  a.make('c', KIND_CHAR_DEVICE, undefined, 0o600, [{ key: 6, rdev: 1 }])
  b.make('c', KIND_CHAR_DEVICE, undefined, 0o600, [{ key: 6, rdev: 2 }])
  a.file('e')
  b.file('e', '')
  a.file('k', '')
  b.make('k', KIND_FIFO)
  world.sync()
  t.strictSame(a.names(), [
    'c', `c (conflict ${DATE} laptop)`, 'e', 'k', `k (conflict ${DATE} laptop)`, 'p', 's', 't',
    `t (conflict ${DATE} laptop)`,
  ])
  t.end()
})

t.test('variants', (t) => {
  t.test('keep their ino, attributes and hard links in mind', (t) => {
    const [world, a, b] = two((a) => {
      a.dir('d')
      a.file('d/f', 'old')
    })
    a.write('d/f', 'of a')
    b.write('d/f', 'of b')
    world.sync()
    const copy = `d/f (conflict ${DATE} laptop)`
    const ino = a.entry(copy)?.ino
    a.chmod('d/f', 0o600)
    world.sync()
    t.equal(a.record(copy).mode, 0o600)
    b.move('d/f', 'd/g')
    world.sync()
    t.strictSame(a.names('d'), ['g', `g (conflict ${DATE} laptop)`])
    t.equal(a.entry(`d/g (conflict ${DATE} laptop)`)?.ino, ino, 'moved with its file')
    a.move('d', 'e')
    world.sync()
    t.equal(a.entry(`e/g (conflict ${DATE} laptop)`)?.ino, ino)
    t.end()
  })
  t.test('show at one link', (t) => {
    const [world, a, b] = two((a) => {
      a.file('f', 'old')
      a.link('f', 'g')
    })
    a.write('f', 'of a')
    b.write('g', 'of b')
    world.sync()
    t.equal(a.names().length, 3)
    t.equal(a.read('f'), a.read('g'))
    const at = a.names().includes(`f (conflict ${DATE} laptop)`) ? 'f' : 'g'
    a.remove(at)
    world.sync()
    const other = at === 'f' ? 'g' : 'f'
    t.strictSame(b.names(), [other, `${other} (conflict ${DATE} laptop)`])
    t.end()
  })
  t.test('become files: two devices make the same one', (t) => {
    const [world, a, b] = two((a) => a.file('f', 'old'))
    a.write('f', 'of a')
    b.write('f', 'of b')
    world.sync()
    const name = `f (conflict ${DATE} laptop)` as Name
    const ino = a.entry(name)?.ino
    for (const device of [a, b]) {
      const { node, heads } = device.record('f')
      const root = device.record('').node
      const [lost] = heads
      const copy = ids.derived(lost!.ref)
      const ops: Op[] = [
        putOp(node, 'of b', heads.map((head) => head.ref)),
        {
          kind: 'mk', mint: 0, source: lost!.ref, node: copy, nodeKind: KIND_FILE, parent: root,
          name, attrs: [],
        },
        putOp(copy, 'of a', []),
      ]
      device.emit(ops)
    }
    t.equal(a.entry(name)?.ino, ino, 'it keeps its ino')
    t.equal(a.record(name).virtualOf, '')
    world.sync()
    t.strictSame(a.names(), ['f', name])
    t.equal(a.record(name).links[0]?.births.length, 2)
    t.equal(a.record('f').grouped || a.record(name).grouped, true, 'equal heads are left')
    a.remove(name)
    world.sync()
    t.strictSame(b.names(), ['f'])
    t.end()
  })
  t.end()
})

t.test('unions', (t) => {
  t.test('children of all members, whoever made them', (t) => {
    const [world, a, b] = two()
    a.dir('d')
    b.dir('d')
    a.file('d/a', 'of a')
    b.file('d/b', 'of b')
    a.file('d/both', 'of a')
    b.file('d/both', 'of b')
    world.sync()
    t.strictSame(a.names('d'), ['a', 'b', 'both', `both (conflict ${DATE} laptop)`])
    t.equal(a.record('d').members.length, 2)
    t.equal(a.record('').subdirCount, 1)
    b.move('d', 'e')
    world.sync()
    t.strictSame(a.names(), ['e'])
    t.equal(a.names('e').length, 4)
    for (const name of ['a', 'b', `both (conflict ${DATE} laptop)`, 'both']) a.remove(`e/${name}`)
    a.remove('e')
    world.sync()
    t.strictSame(b.names(), [])
    t.end()
  })
  t.test('the larger side keeps its ino, merging and splitting', (t) => {
    const [world, a, b] = two()
    a.dir('d')
    b.dir('d')
    for (let i = 0; i < 5; i++) b.file(`d/b${i}`, 'of b')
    a.file('d/a', 'of a')
    const ino = b.entry('d')?.ino
    const node = b.record('d').node
    const small = a.record('d').node
    world.sync()
    t.equal(b.entry('d')?.ino, ino)
    t.equal(b.entry('d/b1')?.ino, b.record('d/b1').ino)
    b.moveOne(node, '', 'elsewhere')
    world.sync()
    t.equal(b.entry('elsewhere')?.ino, ino)
    t.strictSame(a.names('d'), ['a'])
    t.equal(a.names('elsewhere').length, 5)
    b.moveOne(node, '', 'd')
    world.sync()
    t.equal(b.entry('d')?.ino, ino)
    b.moveOne(small, '', 'small')
    world.sync()
    t.equal(b.entry('d')?.ino, ino)
    t.strictSame(a.names('small'), ['a'])
    t.end()
  })
  t.test('of unions', (t) => {
    const world = new World('one', 'two', 'three')
    const [a, b, c] = world.devices as [Device, Device, Device]
    for (const device of world.devices) {
      device.dir('d')
      device.dir('d/e')
      device.dir('d/e/f')
      device.file(`d/e/f/${world.labels.get(device.author)}`, 'mine')
      device.file('d/e/f/all', world.labels.get(device.author))
    }
    const lone = c.record('d').node
    world.sync()
    t.strictSame(a.names(), ['d'])
    t.strictSame(a.names('d/e/f').length, 6)
    c.moveOne(lone, '', 'away')
    world.sync()
    t.strictSame(b.names('away/e/f'), ['all', 'three'])
    t.strictSame(b.names('d/e/f'), ['all', `all (conflict ${DATE} one)`, 'one', 'two'])
    t.equal(b.record('d/e/f').members.length, 2)
    c.moveOne(lone, 'd/e', 'f')
    world.sync()
    t.strictSame(b.names('d/e/f'), ['all', `all (conflict ${DATE} one)`, 'e', 'one', 'two'])
    for (const device of world.devices) t.strictSame(device.replay().inos(), device.inos())
    t.end()
  })
  t.test('a dead member lives by what is in it', (t) => {
    const [world, a, b] = two()
    a.dir('d')
    world.deliver(b)
    a.remove('d')
    b.file('d/x', 'x')
    a.dir('d')
    a.file('d/y', 'y')
    world.sync()
    t.strictSame(a.names('d'), ['x', 'y'])
    t.equal(a.record('d').members.length, 2)
    a.remove('d/x')
    world.sync()
    t.equal(a.record('d').members.length, 0)
    t.strictSame(b.names('d'), ['y'])
    t.end()
  })
  t.end()
})

t.test('inodes that are open here', (t) => {
  const [world, a, b] = two((a) => {
    a.file('f', 'old')
    a.file('g', 'old g')
    a.file('h', 'old h')
  })
  const [f, g, h] = ['f', 'g', 'h'].map((name) => a.entry(name)!.ino) as [number, number, number]
  a.open.add(f).add(g)
  b.write('f', 'new')
  b.remove('g')
  b.write('h', 'new h')
  world.deliver(a)
  t.ok(a.told.includes(`detached ${f} old`))
  t.ok(a.told.includes(`detached ${g} old g`))
  t.ok(a.told.includes(`content ${h}`))
  t.ok(a.told.includes('entry 1 f') && a.told.includes('entry 1 g'))
  t.equal(a.store.node(f), undefined)
  t.not(a.entry('f')?.ino, f, 'the name has a fresh ino')
  t.equal(a.read('f'), 'new')
  a.told = []
  a.file('ordinary', 'own')
  a.write('ordinary', 'more')
  a.remove('ordinary')
  t.strictSame(a.told, [], 'own changes are known')
  world.sync()
  t.strictSame(a.replay().inos(), a.inos(), 'a rebuild knows which inode was detached')
  t.end()
})

t.test('an author who is cut, and let in again', (t) => {
  const [world, a, b] = two((a) => {
    a.dir('d')
    a.file('f', 'old')
  })
  world.sync()
  const before = a.dump()
  b.write('f', 'of b')
  b.dir('e')
  b.move('d', 'e/d')
  world.deliver(a)
  a.file('e/d/mine', 'of a')
  world.deliver(b)
  const after = a.dump()
  for (const device of [a, b]) device.judge(b.author, 0, 'cut')
  t.equal(a.read('f'), 'old')
  t.equal(a.read('e/d/mine'), 'nothing')
  t.equal(a.read('d/mine'), 'of a', 'a cut move is no position where there is another')
  t.strictSame(a.names(), ['d', 'f'])
  t.equal(a.dump(), b.dump())
  for (const device of [a, b]) device.judge(b.author, 0, 'valid')
  t.equal(a.dump(), after)
  t.equal(b.dump(), after)
  a.remove('e/d/mine')
  world.deliver(b)
  for (const device of [a, b]) device.judge(b.author, 0, 'void')
  t.equal(a.dump(), b.dump())
  t.strictSame(a.names(), ['d', 'f'])
  t.ok(before.startsWith('/d'))
  t.end()
})

t.test('a large directory beside a small change', (t) => {
  const [world, a, b] = two()
  a.dir('d')
  b.dir('d')
  const ops: Op[] = []
  const { node } = a.record('d')
  for (let i = 0; i < 3000; i++) {
    const name = `f${i}` as Name
    const id = ids.node(a.author, 10_000 + i, KIND_FILE)
    ops.push({
      kind: 'mk', mint: 10_000 + i, node: id, nodeKind: KIND_FILE, parent: node, name, attrs: [],
    })
  }
  a.emit(ops)
  const ino = a.entry('d')?.ino
  b.file('d/small', 'x')
  world.sync()
  t.equal(a.entry('d')?.ino, ino)
  const cookies = a.list(a.record('d')).map((entry) => entry.cookie)
  t.equal(new Set(cookies).size, 3001)
  t.equal(cookies.at(-1), Math.max(...cookies), 'the small one was added')
  t.end()
})
