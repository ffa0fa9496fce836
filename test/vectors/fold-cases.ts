// Worked folds for the vector files: a few devices, what each does and when it hears of the others,
// and what everybody sees in the end. make.ts runs them on the executable specification and writes
// test/vectors/fold; test/state/vectors.ts reads that.
import { Ids } from '../../src/ops/ids.ts'
import { KIND_DIRECTORY, KIND_FIFO, KIND_FILE, KIND_SYMLINK } from '../../src/ops/types.ts'
import type { AuthorId, LinkId, Name, NodeId, NodeKind } from '../../src/ops/types.ts'
import type { ModelStanding } from '../state/naive-model.helper.ts'
import { NaiveUser } from '../state/naive-user.helper.ts'
import type { Vault } from '../state/naive-user.helper.ts'
import type { ViewDirectory } from '../state/naive-view.helper.ts'

export const ID_KEY = Buffer.alloc(32, 9)
const ids = new Ids(ID_KEY)
export const DAY_MS = Date.UTC(2026, 10, 20)

/** What happens in one case; devices are A, B, C; times are minutes of 2026-11-20. */
export class Script {
  readonly users: NaiveUser[]
  readonly authors: AuthorId[]
  readonly labels: string[]
  readonly cutoffs = new Map<AuthorId, number>()
  readonly voids = new Set<string>()
  readonly vault: Vault
  #minute = 0

  constructor(labels: string[]) {
    this.labels = labels
    this.authors = labels.map((_, i) => String.fromCharCode(0xa0 + 0x11 * i).repeat(32) as AuthorId)
    this.vault = {
      ids, root: ids.root(Buffer.alloc(16)),
      label: (author) => labels[this.authors.indexOf(author)] ?? '',
    }
    this.users = this.authors.map((author) => (
      new NaiveUser(this.vault, author, (of, seq) => this.standing(of, seq))
    ))
  }

  standing(author: AuthorId, seq: number): ModelStanding {
    if (this.voids.has(`${author}${seq}`)) return 'void'
    return seq >= (this.cutoffs.get(author) ?? Infinity) ? 'cut' : 'valid'
  }

  /** One batch of device `index`, a minute after the last, or at `atMs`. */
  do(index: number, work: (user: NaiveUser) => void, atMs?: number): void {
    const user = this.users[index]!
    user.begin({ ms: atMs ?? DAY_MS + ++this.#minute * 60_000, counter: 0 })
    work(user)
    user.commit()
  }

  /** Every device hears of everything. */
  sync(): void {
    const all = new Set(this.users.flatMap((user) => user.batches))
    for (let left = -1, before = -2; left !== before;) {
      before = left
      left = 0
      for (const user of this.users) {
        for (const batch of all) if (user.canApply(batch)) user.receive(batch)
        left += user.batches.length
      }
    }
  }

  cut(index: number, length: number): void {
    this.cutoffs.set(this.authors[index]!, length)
    for (const user of this.users) user.changeStanding(user.standing)
  }

  declareVoid(index: number, seq: number): void {
    this.voids.add(`${this.authors[index]!}${seq}`)
    for (const user of this.users) user.changeStanding(user.standing)
  }
}

const bytes = (text: string) => Buffer.from(text, 'utf8')
const n = (name: string) => Buffer.from(name, 'utf8').toString('latin1') as Name

/** The directory at a path of the user's view. */
function at(user: NaiveUser, path = ''): ViewDirectory {
  let directory = user.view.root
  for (const name of path.split('/').filter((one) => one !== '')) {
    directory = directory.entries.get(n(name))!.directory!
  }
  return directory
}

function split(path: string): [string, Name] {
  const slash = path.lastIndexOf('/')
  return [path.slice(0, Math.max(0, slash)), n(path.slice(slash + 1))]
}

const make = (path: string, kind: NodeKind, content?: string) => (user: NaiveUser): NodeId => {
  const [parent, name] = split(path)
  const attrs = kind === KIND_SYMLINK
    ? [{ key: 1 as const, mode: 0o777 }, { key: 5 as const, target: content ?? '' }]
    : [{ key: 1 as const, mode: kind === KIND_DIRECTORY ? 0o755 : 0o644 }]
  const node = user.make(at(user, parent), name, kind, attrs)
  if (kind === KIND_FILE && content !== undefined) {
    user.add({
      kind: 'put', node, base: [], sizeBytes: bytes(content).length, mtimeSec: 1, mtimeNsec: 0,
      content: { kind: 'inline', bytes: bytes(content) },
    })
  }
  return node
}
const file = (path: string, content?: string) => make(path, KIND_FILE, content)
const dir = (path: string) => make(path, KIND_DIRECTORY)
const write = (path: string, content: string, sec = 2) => (user: NaiveUser) => {
  const [parent, name] = split(path)
  user.write(at(user, parent), name, bytes(content), sec)
}
const remove = (path: string) => (user: NaiveUser) => {
  const [parent, name] = split(path)
  user.remove(at(user, parent), name)
}
const rename = (from: string, to: string) => (user: NaiveUser) => {
  const [parent, name] = split(from)
  const [newParent, newName] = split(to)
  user.rename(at(user, parent), name, at(user, newParent), newName, 3)
}
const link = (from: string, to: string) => (user: NaiveUser) => {
  const [parent, name] = split(from)
  const [newParent, newName] = split(to)
  user.link(at(user, parent), name, at(user, newParent), newName)
}
const chmod = (path: string, mode: number) => (user: NaiveUser) => {
  const [parent, name] = split(path)
  user.setAttr(at(user, parent), name, { key: 1, mode })
}

export interface FoldCase {
  what: string
  labels?: string[]
  play: (script: Script) => void
}

/** A makes what there is, all hear of it, then each device acts unseen by the others. */
function apart(before: ((user: NaiveUser) => void)[], ...each: ((user: NaiveUser) => void)[]) {
  return (script: Script) => {
    before.forEach((work) => script.do(0, work))
    script.sync()
    each.forEach((work, i) => script.do(i, work))
    script.sync()
  }
}

const long = (size: number, end = '') => `${'n'.repeat(size - end.length)}${end}`

export const FOLD_CASES: FoldCase[] = [
  { what: 'put, put: winner and conflict copy',
    play: apart([file('/f.txt', 'old')], write('/f.txt', 'one'), write('/f.txt', 'two')) },
  { what: 'put, put: one, if equal',
    play: apart([file('/f.txt', 'old')], write('/f.txt', 'same'), write('/f.txt', 'same')) },
  { what: 'put, rm: alive',
    play: apart([file('/f', 'old')], write('/f', 'new'), remove('/f')) },
  { what: 'mv, rm: alive', play: apart([file('/f', 'old')], rename('/f', '/g'), remove('/f')) },
  { what: 'attr, rm: alive', play: apart([file('/f', 'old')], chmod('/f', 0o600), remove('/f')) },
  { what: 'rm, rm: gone', play: apart([file('/f', 'old')], remove('/f'), remove('/f')) },
  { what: 'mv to p, mv to q: the greater', play: apart(
    [dir('/p'), dir('/q'), file('/f', 'x')], rename('/f', '/p/f'), rename('/f', '/q/f'),
  ) },
  { what: 'mk x, mk x: directories are a union', play: apart([],
    (user) => {
      dir('/x')(user)
      file('/x/one', '1')(user)
      file('/x/both', 'of A')(user)
    }, (user) => {
      dir('/x')(user)
      file('/x/two', '2')(user)
      file('/x/both', 'of B')(user)
    }) },
  { what: 'mk x, mk x: files, winner and conflict copy',
    play: apart([], file('/x.tar.gz', 'of A'), file('/x.tar.gz', 'of B')) },
  { what: 'mk x, mk x: a directory keeps its name over files',
    play: apart([], file('/x', 'of A'), dir('/x')) },
  { what: 'mk x, mk x: kinds differ; equal symlinks and FIFOs are one', play: (script) => {
    script.do(0, make('/l', KIND_SYMLINK, 'target'))
    script.do(1, make('/l', KIND_SYMLINK, 'target'))
    script.do(2, make('/l', KIND_FIFO))
    script.do(0, make('/p', KIND_FIFO))
    script.do(1, make('/p', KIND_FIFO))
    script.sync()
  } },
  { what: 'mv a into b, mv b into a: the greater is skipped', play: apart(
    [dir('/a'), dir('/b'), file('/a/f', 'x')], rename('/a', '/b/a'), rename('/b', '/a/b'),
  ) },
  { what: 'a ring of three moves', play: apart(
    [dir('/a'), dir('/b'), dir('/c')],
    rename('/a', '/b/a'), rename('/b', '/c/b'), rename('/c', '/a/c'),
  ) },
  { what: 'rmdir d, mk in d: d stays, with the new entry',
    play: apart([dir('/d')], remove('/d'), file('/d/new', 'x')) },
  { what: 'rmdir of a path, mk at its end: the whole path stays', play: (script) => {
    for (const path of ['/d', '/d/e', '/d/e/f']) script.do(0, dir(path))
    script.sync()
    for (const path of ['/d/e/f', '/d/e', '/d']) script.do(0, remove(path))
    script.do(1, file('/d/e/f/g', 'x'))
    script.sync()
  } },
  { what: 'rename f over g, put g: both contents of g', play: apart(
    [file('/f', 'of f'), file('/g', 'of g')], rename('/f', '/g'), write('/g', 'new'),
  ) },
  { what: 'rename f over g, put f: f comes back, g has what f was', play: apart(
    [file('/f', 'of f'), file('/g', 'of g')], rename('/f', '/g'), write('/f', 'new'),
  ) },
  { what: 'three writers: numbered conflict copies of one device and day', play: (script) => {
    script.do(0, file('/f.txt', 'old'))
    script.sync()
    script.do(0, write('/f.txt', 'one'))
    script.do(1, write('/f.txt', 'two'))
    const node = script.users[1]!.view.root.entries.get(n('f.txt'))!.node
    script.do(2, write('/f.txt', 'three'))
    script.do(2, (user) => user.writeDetached(node, [], bytes('four'), 4))
    script.do(2, (user) => user.writeDetached(node, [], bytes('five'), 5))
    script.sync()
  } },
  { what: 'a conflict name that a real file has already: 2', play: apart(
    [file('/f', 'old'), file('/f (conflict 2026-11-20 laptop)', 'real')],
    write('/f', 'one'), write('/f', 'two'),
  ) },
  { what: 'names of 255 bytes: the stem is cut', play: apart(
    [file(`/${long(255)}`, 'old'), file(`/${long(255, '.html')}`, 'old')],
    (user) => {
      write(`/${long(255)}`, 'one')(user)
      write(`/${long(255, '.html')}`, 'one')(user)
    },
    (user) => {
      write(`/${long(255)}`, 'two')(user)
      write(`/${long(255, '.html')}`, 'two')(user)
    },
  ) },
  { what: 'a stem is cut between characters, not inside one', play: apart(
    [file(`/${'é'.repeat(127)}`, 'old')], write(`/${'é'.repeat(127)}`, 'one'),
    write(`/${'é'.repeat(127)}`, 'two'),
  ) },
  { what: 'what is an extension: not of .profile, nor behind the last dot but one, nor 17 bytes',
    play: apart([],
      ...['A', 'B'].map((content) => (user: NaiveUser) => {
        for (const name of ['.profile', 'a.', 'b.123456789012345', 'c.1234567890123456', '..d']) {
          file(`/${name}`, content)(user)
        }
      })) },
  { what: 'labels: none, control characters and slashes, more than 32 bytes',
    labels: ['', 'a/b\n\u007f', `${'é'.repeat(16)}x`],
    play: apart([file('/f', 'old')], write('/f', '1'), write('/f', '2'), write('/f', '3')) },
  { what: 'labels: all three lose once', labels: ['', 'a/b\n\u007f', `x${'é'.repeat(16)}`],
    play: (script) => {
      script.do(0, file('/f', 'old'))
      script.sync()
      for (const i of [0, 1, 2]) script.do(i, write('/f', `of ${i}`))
      const node = script.users[0]!.view.root.entries.get(n('f'))!.node
      script.do(0, (user) => user.writeDetached(node, [], bytes('last'), 9))
      script.sync()
    } },
  { what: 'hard links: a conflict shows once, at the smaller link id', play: (script) => {
    script.do(0, file('/f', 'old'))
    script.do(0, link('/f', '/g'))
    script.sync()
    script.do(0, write('/f', 'one'))
    script.do(1, write('/g', 'two'))
    script.sync()
  } },
  { what: 'hard links removed apart: the last removed comes back', play: apart(
    [file('/f', 'x'), link('/f', '/g')], remove('/f'), remove('/g'),
  ) },
  { what: 'normalised on touch: a rename makes every copy real', play: (script) => {
    apart([file('/f', 'old')], write('/f', 'one'), write('/f', 'two'))(script)
    script.do(0, rename('/f', '/g'))
    script.sync()
  } },
  { what: 'normalised: an mtime that was set by hand stays', play: (script) => {
    apart([file('/f', 'old')], write('/f', 'one'), write('/f', 'two'))(script)
    script.do(0, (user) => user.setAttr(at(user), n('f'), { key: 3, sec: 77, nsec: 7 }))
    script.do(0, rename('/f', '/g'))
    script.sync()
  } },
  { what: 'normalised by a write to a conflict copy, which makes it equal', play: (script) => {
    apart([], file('/f', 'of A'), file('/f', 'of B'))(script)
    script.do(0, write('/f (conflict 2026-11-20 laptop)', 'of B'))
    script.sync()
  } },
  { what: 'normalised by a device that is cut off: the conflict copy is shown as before',
    play: (script) => {
      apart([file('/f', 'old')], write('/f', 'one'), write('/f', 'two'))(script)
      script.do(2, rename('/f', '/g'))
      script.sync()
      script.cut(2, 0)
    } },
  { what: 'normalised by a device that is cut off, and changed by another: both are shown',
    play: (script) => {
      apart([file('/f', 'old')], write('/f', 'one'), write('/f', 'two'))(script)
      script.do(2, rename('/f', '/g'))
      script.sync()
      script.do(1, write('/f (conflict 2026-11-20 laptop)', 'new'))
      script.sync()
      script.cut(2, 0)
    } },
  { what: 'normalised by a device that is cut off, and replaced by another: the other content too',
    play: (script) => {
      apart([file('/f', 'old')], write('/f', 'one'), write('/f', 'two'))(script)
      script.do(2, rename('/f', '/g'))
      script.sync()
      script.do(1, write('/g', 'new'))
      script.sync()
      script.cut(2, 0)
    } },
  { what: 'normalised by a device that is cut off, and removed by another: the other content stays',
    play: (script) => {
      apart([file('/f', 'old')], write('/f', 'one'), write('/f', 'two'))(script)
      script.do(2, rename('/f', '/g'))
      script.sync()
      script.do(1, remove('/g'))
      script.sync()
      script.cut(2, 0)
    } },
  { what: 'a content that a removal has covered is shown no more beside one that it had not seen',
    play: (script) => {
      script.do(0, file('/f', 'old'))
      script.sync()
      script.do(1, write('/f', 'unseen'))
      script.do(0, write('/f', 'seen and removed'))
      script.users[2]!.receive(script.users[0]!.batches.at(-1)!)
      script.do(2, remove('/f'))
      script.sync()
    } },
  { what: 'normalised by two devices: one derived file', play: (script) => {
    apart([file('/f', 'old')], write('/f', 'one'), write('/f', 'two'))(script)
    script.do(0, rename('/f', '/g'))
    script.do(1, rename('/f', '/h'))
    script.sync()
  } },
  { what: 'a union is moved, and something is made in it meanwhile', play: (script) => {
    script.do(0, dir('/x'))
    script.do(1, dir('/x'))
    script.sync()
    script.do(0, rename('/x', '/y'))
    script.do(1, file('/x/new', 'n'))
    script.sync()
  } },
  { what: 'a member leaves a union that has a directory and a file of one name', play: (script) => {
    script.do(0, dir('/x'))
    script.do(0, dir('/x/f'))
    script.do(0, file('/x/f/in', 'A'))
    script.do(1, dir('/x'))
    script.do(1, file('/x/f', 'of B'))
    script.sync()
    const member = script.users[0]!.batches[0]!.ops[0] as { node: NodeId }
    script.do(2, (user) => user.add({
      kind: 'mv', link: member.node as string as LinkId, parent: user.vault.root, name: n('y'),
      prev: [],
    }))
    script.sync()
  } },
  { what: 'the member of a union that a cut device made stays for what is alive in it', play: (script) => {
    script.do(0, dir('/x'))
    script.do(0, file('/x/a', 'of A'))
    script.do(1, dir('/x'))
    script.do(1, file('/x/a', 'of B'))
    script.do(1, dir('/x/d'))
    script.sync()
    script.do(0, file('/x/d/e', 'in what B made'))
    script.sync()
    script.cut(1, 0)
  } },
  { what: 'a conflict name is freed: nothing slides to it', play: (script) => {
    apart(
      [file('/f', 'old'), file('/f (conflict 2026-11-20 laptop)', 'real')],
      write('/f', 'one'), write('/f', 'two'),
    )(script)
    script.do(2, remove('/f (conflict 2026-11-20 laptop)'))
    script.sync()
  } },
  { what: 'a link to a file that a late write had brought back', play: (script) => {
    apart([file('/f', 'old')], remove('/f'), write('/f', 'new'))(script)
    script.do(2, link('/f', '/g'))
    script.sync()
  } },
  { what: 'tags: an add that a removal has not seen stays', play: (script) => {
    script.do(0, file('/f', 'x'))
    script.do(0, (user) => user.tag(at(user), n('f'), ['red', 'blue'], () => false))
    script.sync()
    script.do(0, (user) => user.tag(at(user), n('f'), [], () => true))
    script.do(1, (user) => user.tag(at(user), n('f'), ['blue'], () => false))
    script.sync()
  } },
  { what: 'attributes: the last writer of each', play: apart(
    [file('/f', 'x')],
    (user) => {
      chmod('/f', 0o600)(user)
      user.setAttr(at(user), n('f'), { key: 4, name: 'user.a', value: bytes('1') })
    },
    (user) => {
      user.setAttr(at(user), n('f'), { key: 4, name: 'user.a', value: undefined })
      user.setAttr(at(user), n('f'), { key: 4, name: 'user.b', value: bytes('2') })
    },
  ) },
  { what: 'a clock far ahead, and one beyond 2^47: effective times', play: (script) => {
    script.do(0, file('/f', 'old'))
    script.sync()
    script.do(0, write('/f', 'next year'), DAY_MS + 366 * 86_400_000)
    script.sync()
    script.do(1, write('/f', 'later, though its clock says earlier'), DAY_MS)
    script.do(2, write('/f', 'void claim'), 2 ** 47 + 1)
    script.sync()
  } },
  { what: 'cut: what a removed device did after its cutoff counts for nothing', play: (script) => {
    apart([file('/f', 'old')], write('/f', 'kept'), write('/f', 'cut'))(script)
    script.do(1, remove('/f'))
    script.do(1, file('/g', 'cut too'))
    script.sync()
    script.cut(1, 0)
  } },
  { what: 'cut: supersession passes through', play: (script) => {
    script.do(0, file('/f', 'old'))
    script.sync()
    script.do(1, write('/f', 'cut'))
    script.sync()
    script.do(2, write('/f', 'new'))
    script.sync()
    script.cut(1, 0)
  } },
  { what: 'cut: attributes of what others made are not set', play: (script) => {
    const value = bytes('cut')
    script.do(0, file('/f', 'kept'))
    script.sync()
    script.do(1, (user) => user.setAttr(at(user), n('f'), { key: 4, name: n('user.a'), value }))
    script.do(1, chmod('/f', 0o777))
    script.sync()
    script.cut(1, 0)
  } },
  { what: 'cut: a position to fall back on', play: (script) => {
    script.do(1, dir('/d'))
    script.do(1, file('/d/f', 'cut'))
    script.sync()
    script.do(0, write('/d/f', 'valid'))
    script.sync()
    script.cut(1, 0)
  } },
  { what: 'void: a batch that a senior declared void does not exist', play: (script) => {
    apart([file('/f', 'old')], write('/f', 'one'), write('/f', 'two'))(script)
    script.declareVoid(1, 0)
  } },
  { what: 'refused ops: what their author had not seen', play: (script) => {
    script.do(0, file('/f', 'x'))
    const put = script.users[0]!.batches[0]!.ops[0] as { node: NodeId }
    script.do(1, (user) => {
      user.writeDetached(put.node, [], bytes('unseen node'), 1)
      file('/own', 'fine')(user)
    })
    script.do(1, (user) => {
      // the same mint again: of two files of one id, the first is one
      user.mint--
      file('/twice', 'void, but for the second op: it names what it sees')(user)
    })
    script.sync()
  } },
]
