// Random work of programs: which call next, and on what. Names come from a small pool, so that
// devices meet at the same ones; among them names that look like conflict copies, that fill 255
// bytes, and that differ by normalisation only.
import { KIND_DIRECTORY, KIND_FIFO, KIND_FILE, KIND_SYMLINK } from '../../src/ops/types.ts'
import type { Name } from '../../src/ops/types.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import type { DirEntry } from '../../src/vault/tree.ts'
import type { Actor, OpenHandle } from './actor.helper.ts'

const utf8 = (text: string): Name => Buffer.from(text).toString('latin1') as Name

const PLAIN = ['a', 'b', 'c', 'x.txt', 'y.md', 'main.ts', 'Makefile', '.hidden'].map(utf8)
const ODD = [
  `${'n'.repeat(250)}.text`, 'l'.repeat(255), `${'é'.repeat(127)}`, 'é', 'e\u0301', 'A', 'X.TXT',
  'two words', '-', 'x.', '.x.', 'x.sixteen-letters', 'a\nb', '\u202etxt.exe',
].map(utf8)
const DIRECTORIES = ['a', 'b', 'src', 'docs', 'docs.d'].map(utf8)
const DEVICES_NAMED = 8

export function deviceLabel(index: number): string {
  return index % 4 === 3 ? `gerät/${index}` : `dev${index}`
}

export function anyName(actor: Actor): Name {
  const { random } = actor
  const roll = random.next()
  if (roll < 0.78) return random.pick(PLAIN)
  return roll < 0.9 ? random.pick(ODD) : conflictLike(actor)
}

/** A real name that a conflict copy would like to have. */
function conflictLike({ random }: Actor): Name {
  const [stem, extension] = random.pick([['a', ''], ['b', ''], ['x', '.txt'], ['y', '.md']])
  const label = deviceLabel(random.int(0, DEVICES_NAMED)).replace('/', '_')
  const number = random.chance(0.3) ? ' 2' : ''
  return utf8(`${stem} (conflict 2026-11-20 ${label})${number}${extension}`)
}

/** A directory, found by walking down from the root. */
export function anyDirectory(actor: Actor): Ino {
  let at = actor.tree.root
  while (actor.random.chance(0.55)) {
    const below = actor.list(at).filter((entry) => entry.kind === KIND_DIRECTORY)
    if (below.length === 0) break
    at = actor.random.pick(below).ino
  }
  return at
}

/** An entry of some kind, where there is one. */
export function anyEntry(
  actor: Actor, matches: (entry: DirEntry) => boolean,
): { parent: Ino; entry: DirEntry } | undefined {
  for (let tries = 0; tries < 3; tries++) {
    const parent = anyDirectory(actor)
    const found = actor.list(parent).filter(matches)
    if (found.length > 0) return { parent, entry: actor.random.pick(found) }
  }
  return undefined
}

const isFile = (entry: DirEntry): boolean => entry.kind === KIND_FILE
const isDirectory = (entry: DirEntry): boolean => entry.kind === KIND_DIRECTORY
const isLinkable = (entry: DirEntry): boolean => entry.kind !== KIND_DIRECTORY

type Call = (actor: Actor, handles: OpenHandle[]) => boolean

const CALLS: readonly [number, Call][] = [
  [18, createOrWrite],
  [12, overwrite],
  [8, mkdir],
  [9, unlink],
  [5, rmdir],
  [12, renameFile],
  [8, renameDirectory],
  [4, hardLink],
  [3, symlink],
  [3, chmod],
  [2, xattr],
  [2, utimes],
  [2, exchange],
  [1, fifo],
  [3, openHandle],
  [4, writeHandle],
  [2, touchConflict],
]
const WEIGHTS = CALLS.reduce((sum, [weight]) => sum + weight, 0)

/** One random call; false when nothing of the kind was possible. */
export function randomCall(actor: Actor, handles: OpenHandle[]): boolean {
  let at = actor.random.int(0, WEIGHTS)
  for (const [weight, call] of CALLS) {
    at -= weight
    if (at < 0) return call(actor, handles)
  }
  return false
}

function createOrWrite(actor: Actor): boolean {
  const parent = anyDirectory(actor)
  const name = anyName(actor)
  const known = actor.lookup(parent, name)
  if (known === undefined) {
    if (actor.random.chance(0.1)) actor.make(parent, name, KIND_FILE)
    else actor.create(parent, name)
  } else if (known.kind === KIND_FILE) {
    actor.write(known.ino)
  } else {
    return false
  }
  return true
}

function overwrite(actor: Actor): boolean {
  const found = anyEntry(actor, isFile)
  if (found === undefined) return false
  actor.write(found.entry.ino)
  return true
}

function mkdir(actor: Actor): boolean {
  const parent = anyDirectory(actor)
  const name = actor.random.chance(0.8) ? actor.random.pick(DIRECTORIES) : anyName(actor)
  if (actor.lookup(parent, name) !== undefined) return false
  actor.mkdir(parent, name)
  return true
}

function unlink(actor: Actor): boolean {
  const found = anyEntry(actor, isLinkable)
  if (found === undefined) return false
  actor.unlink(found.parent, found.entry.name)
  return true
}

function rmdir(actor: Actor): boolean {
  const empty = (entry: DirEntry): boolean => (
    isDirectory(entry) && actor.node(entry.ino).entryCount === 0
  )
  const found = anyEntry(actor, empty)
  if (found === undefined) return false
  actor.unlink(found.parent, found.entry.name)
  return true
}

function renameFile(actor: Actor): boolean {
  const found = anyEntry(actor, isLinkable)
  if (found === undefined) return false
  const parent = actor.random.chance(0.6) ? found.parent : anyDirectory(actor)
  const over = actor.random.chance(0.4) ? anyEntry(actor, isLinkable) : undefined
  if (over !== undefined) {
    return actor.rename(found.parent, found.entry.name, over.parent, over.entry.name)
  }
  return actor.rename(found.parent, found.entry.name, parent, anyName(actor))
}

function renameDirectory(actor: Actor): boolean {
  const found = anyEntry(actor, isDirectory)
  if (found === undefined) return false
  const name = actor.random.chance(0.7) ? actor.random.pick(DIRECTORIES) : found.entry.name
  return actor.rename(found.parent, found.entry.name, anyDirectory(actor), name)
}

function hardLink(actor: Actor): boolean {
  const found = anyEntry(actor, isLinkable)
  const parent = anyDirectory(actor)
  const name = anyName(actor)
  if (found === undefined || actor.lookup(parent, name) !== undefined) return false
  actor.link(found.entry.ino, parent, name)
  return true
}

function symlink(actor: Actor): boolean {
  const parent = anyDirectory(actor)
  const name = anyName(actor)
  if (actor.lookup(parent, name) !== undefined) return false
  actor.make(parent, name, KIND_SYMLINK, `${actor.newToken()} -> ../../etc/passwd`)
  return true
}

function fifo(actor: Actor): boolean {
  const parent = anyDirectory(actor)
  const name = anyName(actor)
  if (actor.lookup(parent, name) !== undefined) return false
  actor.make(parent, name, KIND_FIFO)
  return true
}

function chmod(actor: Actor): boolean {
  const found = anyEntry(actor, () => true)
  if (found === undefined) return false
  actor.chmod(found.entry.ino, actor.random.pick([0o600, 0o644, 0o755, 0o4755, 0o444]))
  return true
}

function xattr(actor: Actor): boolean {
  const found = anyEntry(actor, () => true)
  if (found === undefined) return false
  const name = `user.${actor.random.pick(['a', 'b'])}`
  const value = actor.random.chance(0.3) ? undefined : `v${actor.random.int(0, 100)}`
  actor.setXattr(found.entry.ino, name, value)
  return true
}

function utimes(actor: Actor): boolean {
  const found = anyEntry(actor, isFile)
  if (found === undefined) return false
  actor.utimes(found.entry.ino, actor.random.int(0, 2_000_000_000))
  return true
}

function exchange(actor: Actor): boolean {
  const one = anyEntry(actor, () => true)
  const two = anyEntry(actor, () => true)
  if (one === undefined || two === undefined) return false
  return actor.exchange(one.parent, one.entry.name, two.parent, two.entry.name)
}

function openHandle(actor: Actor, handles: OpenHandle[]): boolean {
  const found = anyEntry(actor, isFile)
  if (found === undefined || handles.length >= 4) return false
  if (handles.some(({ ino }) => ino === found.entry.ino)) return false
  actor.host.calls.open(found.entry.ino)
  handles.push({ ino: found.entry.ino })
  return true
}

/** Writes through a handle opened earlier, and closes it half of the times. */
function writeHandle(actor: Actor, handles: OpenHandle[]): boolean {
  if (handles.length === 0) return false
  const at = actor.random.int(0, handles.length)
  const handle = handles[at] as OpenHandle
  actor.writeHandle(handle)
  if (actor.random.chance(0.5)) {
    handles.splice(at, 1)
    if (handles.every(({ ino }) => ino !== handle.ino)) actor.host.calls.close(handle.ino)
  }
  return true
}

/** What users do with conflicts: keep one, rename one, remove one. */
function touchConflict(actor: Actor): boolean {
  const isCopy = (entry: DirEntry): boolean => entry.name.includes(' (conflict ')
  const found = anyEntry(actor, isCopy)
  if (found === undefined) return false
  const { parent, entry } = found
  const choice = actor.random.int(0, 4)
  if (choice === 0 && entry.kind === KIND_FILE) actor.write(entry.ino)
  else if (choice === 1 && entry.kind !== KIND_DIRECTORY) actor.unlink(parent, entry.name)
  else {
    const original = entry.name.split(' (conflict ')[0] as Name
    const name = choice === 2 && original !== '' ? original : anyName(actor)
    return actor.rename(parent, entry.name, parent, name)
  }
  return true
}
