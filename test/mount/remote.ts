// timeoutSeconds: 240
// Changes that another device made, as programs in a real mount see them: names, attributes and
// content are never older than what was applied; what is open keeps what it had.

import t from 'tap'
import { Pair, User } from './remote.helper.ts'
import { noMount } from './harness.helper.ts'
import { run } from './shell.helper.ts'
import { hasProgram } from './system.helper.ts'

const skip = noMount() ?? false

void t.test('names come, go, move; attributes and content change', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  const user = await User.start(t)
  const at = (name: string): string => pair.path(name)
  await t.rejects(user.stat(at('a')), { message: 'ENOENT' }, 'the kernel remembers that it is not')
  far.write('a', 'first')
  far.mkdir('d')
  far.write('d/inner', 'inner')
  await pair.take()
  t.equal(await user.read(at('a')), 'first')
  t.equal((await user.stat(at('a'))).size, 5)
  t.equal((await user.stat(pair.mount)).nlink, 3, 'of the directory, too')
  t.same(await user.list(pair.mount), ['a', 'd'])
  far.write('a', 'second, longer')
  far.chmod('d/inner', 0o600)
  far.link('a', 'd/b')
  await pair.take()
  t.equal(await user.read(at('a')), 'second, longer')
  const { nlink, size } = await user.stat(at('a'))
  t.same([nlink, size], [2, 14])
  t.equal((await user.stat(at('d/inner'))).mode & 0o777, 0o600)
  t.equal(await user.read(at('d/b')), 'second, longer')
  far.write('a', 'short')
  far.rename('d', 'e')
  await pair.take()
  t.equal(await user.read(at('e/b')), 'short')
  await t.rejects(user.stat(at('d')), { message: 'ENOENT' })
  t.equal(await user.read(at('e/inner')), 'inner')
  far.remove('e/b')
  far.remove('e/inner')
  far.remove('e')
  await pair.take()
  t.same(await user.list(pair.mount), ['a'])
  t.equal((await user.stat(at('a'))).nlink, 1)
  t.equal((await user.stat(pair.mount)).nlink, 2)
})

void t.test('a directory made in this session is not thought to be empty', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const user = await User.start(t)
  await user.do('mkdirSync', pair.path('made'))
  await t.rejects(user.stat(pair.path('made/x')), { message: 'ENOENT' })
  await pair.give()
  pair.far.write('made/x', 'x')
  await pair.take()
  t.equal(await user.read(pair.path('made/x')), 'x')
})

void t.test('open files keep their content; what is written goes beside', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const user = await User.start(t)
  const file = pair.path('f')
  await user.do('writeFileSync', file, 'before')
  await pair.give()
  const fd = await user.do<number>('openSync', file, 'r+')
  const map = await pair.inside(t, 'map', file)
  t.equal(await map.ask(), 'before')
  pair.far.write('f', 'by far')
  await pair.take()
  t.equal(await user.do('readFileSync', fd, 'utf8'), 'before')
  t.equal(await map.ask(), 'before', 'a mapping as well')
  t.equal(await user.read(file), 'by far')
  t.equal((await user.do<{ nlink: number }>('fstatSync', fd)).nlink, 0)
  await t.rejects(user.do('linkSync', `/proc/self/fd/${fd}`, pair.path('linked')))
  await user.do('writeSync', fd, 'unsaved', 0)
  await user.do('closeSync', fd)
  await map.end()
  await pair.give()
  const names = await user.list(pair.mount)
  t.equal(names.length, 2)
  const texts = await Promise.all(names.map((name) => user.read(pair.path(name))))
  t.same(texts.toSorted(), ['by far', 'unsaved'])
})

void t.test('a conflict copy appears, and goes again', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const user = await User.start(t)
  await user.do('writeFileSync', pair.path('f'), 'by near')
  t.same(await user.list(pair.mount), ['f'])
  pair.far.write('f', 'by far')
  await pair.take()
  const names = await user.list(pair.mount)
  t.equal(names.length, 2)
  for (const name of names) await user.stat(pair.path(name))
  await pair.give()
  const copy = names.find((name) => name !== 'f')!
  pair.far.remove(pair.far.names().find((name) => name === copy)!)
  await pair.take()
  t.same(await user.list(pair.mount), ['f'])
  await t.rejects(user.stat(pair.path(copy)), { message: 'ENOENT' })
})

void t.test('two directories become one', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const user = await User.start(t)
  await user.do('mkdirSync', pair.path('u'))
  await user.do('writeFileSync', pair.path('u/near'), 'near')
  await t.rejects(user.stat(pair.path('u/far')), { message: 'ENOENT' })
  pair.far.mkdir('u')
  pair.far.write('u/far', 'far')
  pair.far.mkdir('u/sub')
  await pair.take()
  t.same(await user.list(pair.path('u')), ['far', 'near', 'sub'])
  t.equal(await user.read(pair.path('u/far')), 'far')
  t.equal((await user.stat(pair.path('u'))).nlink, 3)
  await pair.give()
  pair.far.remove('u/sub')
  pair.far.rename('u', 'v')
  await pair.take()
  await t.rejects(user.stat(pair.path('u')), { message: 'ENOENT' })
  t.same(await user.list(pair.path('v')), ['far', 'near'])
})

void t.test('directories in which a process works', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  const user = await User.start(t)
  for (const name of ['gone', 'moves', 'stays']) far.mkdir(name)
  await pair.take()
  const works = async (name: string) => pair.inside(t, 'cwd', pair.path(name))
  const [gone, moves, stays] = [await works('gone'), await works('moves'), await works('stays')]
  far.remove('gone')
  far.mkdir('deep')
  far.rename('moves', 'deep/moved')
  far.write('stays/x', 'x')
  await pair.takeLoudly()
  t.equal(await gone.ask(), 'nowhere 0 2', 'removed: empty, and nothing can be made in it')
  t.equal(await stays.ask(), `${pair.path('stays')} 1 0`)
  t.same(await user.list(pair.path('deep')), ['moved'])
  await user.stat(pair.path('deep/moved'))
  t.equal(await moves.ask(), `${pair.path('deep/moved')} 0 0`)
  t.same(await user.list(pair.path('deep/moved')), ['made-inside'])
  t.same(await user.list(pair.mount), ['deep', 'stays'])
})

void t.test('names that match without case', { skip }, async (t) => {
  const pair = await Pair.open(t, 'caseless')
  const user = await User.start(t)
  const at = (name: string): string => pair.path(name)
  await t.rejects(user.stat(at('readme')), { message: 'ENOENT' })
  pair.far.write('README', 'one')
  await pair.take()
  t.equal(await user.read(at('readme')), 'one')
  pair.far.write('README', 'other text')
  await pair.takeLoudly()
  t.equal(await user.read(at('ReadMe')), 'other text')
  pair.far.write('readme', 'two of them')
  await pair.take()
  t.equal((await user.list(pair.mount)).length, 2)
  pair.far.remove('README')
  pair.far.remove('readme')
  await pair.takeLoudly()
  await t.rejects(user.stat(at('README')), { message: 'ENOENT' })
  t.same(await user.list(pair.mount), [])
})

void t.test('a listing goes on while entries change', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const user = await User.start(t)
  pair.far.mkdir('d')
  for (let i = 0; i < 2000; i++) pair.far.write(`d/kept-${i}`, 'x')
  await pair.take()
  for (let round = 0; round < 5; round++) {
    const listing = Promise.all([1, 2, 3].map(() => user.list(pair.path('d'))))
    for (let i = 0; i < 50; i++) {
      pair.far.write(`d/new-${round}-${i}`, 'x')
      if (round > 0) pair.far.remove(`d/new-${round - 1}-${i}`)
    }
    await pair.take()
    for (const names of await listing) {
      t.equal(names.filter((name) => name.startsWith('kept')).length, 2000, 'none is missed')
      t.equal(new Set(names).size, names.length, 'none comes twice')
    }
    const now = (await user.list(pair.path('d'))).filter((name) => name.startsWith('new'))
    t.equal(now.length, 50)
  }
})

void t.test('never stale, never torn, under load', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  const user = await User.start(t)
  const looking = await User.start(t)
  const text = (version: number): string => (
    `version ${version}\n${'x'.repeat((version * 7919) % 900)}end\n`
  )
  far.mkdir('d')
  far.write('f', text(0))
  await pair.take()
  const looks = looking.do<{ looks: number; wrong: string[] }>('look', pair.path('f'), 15_000)
  const end = performance.now() + 15_000
  let rounds = 0
  for (; performance.now() < end; rounds++) {
    const version = rounds + 1
    far.write('f', text(version))
    far.chmod('d', rounds % 2 === 0 ? 0o700 : 0o755)
    if (rounds % 2 === 0) far.write('d/x', String(rounds))
    else far.remove('d/x')
    await pair.take()
    const [stat, mode, x] = await Promise.all([
      user.stat(pair.path('f')), user.stat(pair.path('d')),
      user.read(pair.path('d/x')).catch((error: Error) => error.message),
    ])
    const wanted = [text(version).length, rounds % 2 === 0 ? 0o700 : 0o755]
    const seen = [stat.size, mode.mode & 0o777]
    if (JSON.stringify(seen) !== JSON.stringify(wanted)) {
      t.fail(`round ${rounds}: ${seen.join()} for ${wanted.join()}`)
      break
    }
    if (x !== (rounds % 2 === 0 ? String(rounds) : 'ENOENT')) {
      t.fail(`round ${rounds}: ${x}`)
      break
    }
  }
  const seen = await looks
  t.same(seen.wrong, [])
  t.comment(`${rounds} rounds, ${seen.looks} looks`)
  t.ok(rounds > 20 && seen.looks > 20)
})

void t.test('a device that may change nothing any more', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const user = await User.start(t)
  const file = pair.path('f')
  await user.do('writeFileSync', file, 'before')
  await pair.give()
  const fd = await user.do<number>('openSync', file, 'r+')
  await user.do('writeSync', fd, 'BEFORE', 0)
  await user.do('fsyncSync', fd)
  await pair.give()
  const { core } = pair.near.engine
  core.replica!.noteOwnFork(core.committer.nextSeq)
  await pair.take()
  await t.rejects(user.do('writeSync', fd, 'refused', 0), { message: 'EROFS' })
  await t.rejects(user.do('ftruncateSync', fd, 1), { message: 'EROFS' })
  await t.rejects(user.do('futimesSync', fd, 1, 1), { message: 'EROFS' })
  await t.rejects(user.do('writeFileSync', pair.path('g'), 'x'), { message: 'EROFS' })
  t.equal(await user.do('readFileSync', fd, 'utf8'), 'BEFORE')
  await user.do('closeSync', fd)
  pair.far.write('f', 'by far')
  await pair.take()
  t.equal(await user.read(file), 'by far', 'others still arrive')
})

void t.test('git sees what others changed', { skip: skip || !hasProgram('git') }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  const git = async (...words: string[]): Promise<string> => {
    // not as its working directory: starting a process in it would wait for it
    return run(t, ['git', '-C', pair.mount, ...words], { cwd: '/' })
  }
  await git('init', '-q', '.')
  far.write('outside', 'x')
  await pair.take()
  await git('add', '.')
  await git('commit', '-qm', 'first')
  t.equal(await git('status', '--short'), '')
  await pair.give()
  far.write('outside', 'y')
  far.write('new', 'new')
  await pair.take()
  t.equal(await git('status', '--short'), ' M outside\n?? new\n')
  await pair.give()
  far.remove('new')
  far.remove('outside')
  await pair.takeLoudly()
  t.equal(await git('status', '--short'), ' D outside\n')
})
