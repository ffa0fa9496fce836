// timeoutSeconds: 240
// Changes that another device made to what the session was told ahead and the kernel never asked
// for: nothing of it is answered any more once the change was applied.

import t from 'tap'
import { FuseSession } from '../../src/fuse/session.ts'
import { noMount } from './harness.helper.ts'
import { Pair, User } from './remote.helper.ts'

const skip = noMount() ?? false
const FILES = 8
const STAT_TOLD = 8
const ROUNDS = 40

/** The session of the pair that is opened next. */
let session: FuseSession
const open = FuseSession.open.bind(FuseSession)
FuseSession.open = (options) => (session = open(options))

const told = (): number => session.stats()[STAT_TOLD] ?? 0

/** Two lookups tell the rest of a directory; a third shows that they did. */
async function tellAhead(user: User, directory: string): Promise<void> {
  const before = told()
  for (const name of ['f0', 'f1', 'f2']) await user.stat(`${directory}/${name}`)
  if (told() !== before + 1) throw new Error(`${directory} was not told ahead`)
}

function fill(pair: Pair, directory: string): void {
  pair.far.mkdir(directory)
  for (let i = 0; i < FILES; i++) pair.far.write(`${directory}/f${i}`, 'old')
  pair.far.mkdir(`${directory}/sub`)
}

void t.test('one change of each kind, of a name never looked up', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  const user = await User.start(t)
  const gone = { message: 'ENOENT' }
  const at = (path: string): string => pair.path(path)
  const mode = async (path: string): Promise<number> => (await user.stat(at(path))).mode & 0o777
  const kinds: Record<string, { change: () => void; check: () => Promise<void> }> = {
    create: {
      change: () => far.write('create/new', 'new'),
      check: async () => {
        t.equal(await user.read(at('create/new')), 'new')
      },
    },
    edit: {
      change: () => far.write('edit/f5', 'new and longer'),
      check: async () => {
        t.equal((await user.stat(at('edit/f5'))).size, 14)
        t.equal(await user.read(at('edit/f5')), 'new and longer')
      },
    },
    chmod: {
      change: () => far.chmod('chmod/f5', 0o601),
      check: async () => {
        t.equal(await mode('chmod/f5'), 0o601)
      },
    },
    'chmod-directory': {
      change: () => far.chmod('chmod-directory/sub', 0o701),
      check: async () => {
        t.equal(await mode('chmod-directory/sub'), 0o701)
      },
    },
    'entries-of-directory': {
      change: () => far.mkdir('entries-of-directory/sub/inner'),
      check: async () => {
        t.equal((await user.stat(at('entries-of-directory/sub'))).nlink, 3)
        t.same(await user.list(at('entries-of-directory/sub')), ['inner'])
      },
    },
    remove: {
      change: () => far.remove('remove/f5'),
      check: async () => {
        await t.rejects(user.stat(at('remove/f5')), gone)
        t.equal((await user.list(at('remove'))).length, FILES)
      },
    },
    rename: {
      change: () => far.rename('rename/f5', 'rename/new'),
      check: async () => {
        await t.rejects(user.stat(at('rename/f5')), gone)
        t.equal(await user.read(at('rename/new')), 'old')
      },
    },
    'rename-over': {
      change: () => {
        far.write('rename-over/f5', 'other')
        far.rename('rename-over/f5', 'rename-over/f6')
      },
      check: async () => {
        await t.rejects(user.stat(at('rename-over/f5')), gone)
        t.equal(await user.read(at('rename-over/f6')), 'other')
      },
    },
    'move-away': {
      change: () => far.rename('move-away/f5', 'moved'),
      check: async () => {
        await t.rejects(user.stat(at('move-away/f5')), gone)
        t.equal(await user.read(at('moved')), 'old')
      },
    },
    link: {
      change: () => far.link('link/f5', 'linked'),
      check: async () => {
        t.equal((await user.stat(at('link/f5'))).nlink, 2)
      },
    },
  }
  for (const name of Object.keys(kinds)) fill(pair, name)
  await pair.take()
  for (const [name, { change, check }] of Object.entries(kinds)) {
    await tellAhead(user, at(name))
    await t.rejects(user.stat(at(`${name}/new`)), gone, 'missing names are known')
    await t.test(name, async () => {
      change()
      await pair.take()
      await check()
    })
  }
})

void t.test('while others look', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  const [user, looking] = [await User.start(t), await User.start(t)]
  for (let round = 0; round < ROUNDS && t.passing(); round++) {
    const name = `d${round}`
    fill(pair, name)
    await pair.take()
    await tellAhead(user, pair.path(name))
    const looks: Promise<unknown>[] = []
    for (let i = 3; i < FILES; i++) {
      looks.push(looking.do('statSync', pair.path(`${name}/f${i}`)).catch(() => undefined))
      if (i === 3) far.write(`${name}/f7`, `round ${round}, longer than before`)
    }
    far.chmod(`${name}/f6`, 0o600 + (round % 8))
    far.remove(`${name}/f5`)
    await pair.take()
    const edited = await user.stat(pair.path(`${name}/f7`))
    const changed = await user.stat(pair.path(`${name}/f6`))
    t.equal(edited.size, `round ${round}, longer than before`.length)
    t.equal(changed.mode & 0o777, 0o600 + (round % 8))
    await t.rejects(user.stat(pair.path(`${name}/f5`)), { message: 'ENOENT' })
    await Promise.all(looks)
  }
})
