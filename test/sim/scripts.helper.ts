// What real programs do, as scripts that pause between calls: remote changes, crashes and other
// programs come in between. A script gives up where what it worked on has gone.
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { Name } from '../../src/ops/types.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import type { Actor } from './actor.helper.ts'
import { anyDirectory, anyEntry } from './workload.helper.ts'

/** Yields after each call: here the world may move on. */
export type Script = Generator<void, void, void>

const name = (text: string): Name => text as Name

/** vim: swap file, the old version under another name, a new file, the old version removed. */
function* vim(actor: Actor): Script {
  const parent = anyDirectory(actor)
  const file = actor.random.pick(['a', 'x.txt', 'main.ts'])
  const swap = name(`.${file}.swp`)
  if (actor.lookup(parent, swap) === undefined) actor.create(parent, swap)
  yield
  const backup = name(`${file}~`)
  if (!isAlive(actor, parent)) return
  const had = actor.lookup(parent, name(file))?.kind === KIND_FILE
  if (had) actor.rename(parent, name(file), parent, backup)
  yield
  if (!isAlive(actor, parent)) return
  if (actor.lookup(parent, name(file)) === undefined) actor.create(parent, name(file))
  yield
  for (const rest of [backup, swap]) removeFile(actor, parent, rest)
}

/** A new version beside the file, then renamed over it. */
function* atomicSave(actor: Actor): Script {
  const found = anyEntry(actor, (entry) => entry.kind === KIND_FILE)
  if (found === undefined) return
  const { parent, entry } = found
  const temporary = name(`.goutputstream-${actor.random.int(0, 10 ** 6)}`)
  if (actor.lookup(parent, temporary) !== undefined) return
  const ino = actor.create(parent, temporary)
  yield
  if (actor.tree.node(ino) === undefined || !isAlive(actor, parent)) return
  if (actor.lookup(parent, temporary) === undefined) return
  actor.rename(parent, temporary, parent, entry.name)
}

/** A copy under another name, then the file written in place. */
function* backupSave(actor: Actor): Script {
  const found = anyEntry(actor, (entry) => entry.kind === KIND_FILE)
  if (found === undefined) return
  const { parent, entry } = found
  const backup = name(`${entry.name.slice(0, 240)}.bak`)
  const known = actor.lookup(parent, backup)
  if (known === undefined) actor.create(parent, backup)
  else if (known.kind === KIND_FILE) actor.write(known.ino)
  yield
  if (actor.tree.node(entry.ino)?.kind === KIND_FILE) actor.write(entry.ino)
}

/** git: objects written aside and renamed into place, refs through a lock file. */
function* git(actor: Actor): Script {
  const git = directory(actor, actor.tree.root, '.git')
  if (git === undefined) return
  for (let i = actor.random.int(1, 4); i > 0; i--) {
    const objects = isAlive(actor, git) ? directory(actor, git, 'objects') : undefined
    if (objects === undefined) return
    const fan = directory(actor, objects, actor.random.pick(['0a', '3f']))
    if (fan === undefined) return
    const temporary = name(`tmp_obj_${actor.random.int(0, 10 ** 9)}`)
    actor.create(fan, temporary)
    yield
    if (!isAlive(actor, fan) || actor.lookup(fan, temporary) === undefined) return
    const object = name(actor.random.int(0, 10 ** 9).toString(16).padStart(38, '0'))
    actor.rename(fan, temporary, fan, object)
    yield
  }
  const refs = isAlive(actor, git) ? directory(actor, git, 'refs') : undefined
  if (refs === undefined || actor.lookup(refs, name('main.lock')) !== undefined) return
  actor.create(refs, name('main.lock'))
  yield
  if (!isAlive(actor, refs) || actor.lookup(refs, name('main.lock')) === undefined) return
  actor.rename(refs, name('main.lock'), refs, name('main'))
}

/** Many files into a new directory, with the times of the camera. */
function* photoImport(actor: Actor): Script {
  const folder = directory(actor, actor.tree.root, `photos-${actor.random.int(0, 3)}`)
  if (folder === undefined) return
  const first = actor.random.int(0, 40)
  for (let i = 0; i < 10; i++) {
    if (!isAlive(actor, folder)) return
    const photo = name(`IMG_${first + i}.jpg`)
    if (actor.lookup(folder, photo) === undefined) {
      const ino = actor.create(folder, photo)
      actor.utimes(ino, 1_700_000_000 + first + i)
    }
    if (i % 3 === 2) yield
  }
}

/** rm -rf: depth first; what appears meanwhile makes rmdir fail, as it does anywhere. */
function* removeTree(actor: Actor): Script {
  const found = anyEntry(actor, (entry) => entry.kind === KIND_DIRECTORY)
  if (found === undefined) return
  yield* removeBelow(actor, found.entry.ino)
  const known = isAlive(actor, found.parent)
    ? actor.lookup(found.parent, found.entry.name) : undefined
  if (known?.ino !== found.entry.ino) return
  if (actor.node(known.ino).entryCount === 0) actor.unlink(found.parent, known.name)
}

function* removeBelow(actor: Actor, at: Ino): Script {
  const left = isAlive(actor, at) ? actor.list(at) : []
  for (const { name: entry, ino, kind } of left) {
    if (!isAlive(actor, at)) return
    if (kind === KIND_DIRECTORY) yield* removeBelow(actor, ino)
    const now = isAlive(actor, at) ? actor.lookup(at, entry) : undefined
    if (now === undefined) continue
    const isEmpty = now.kind !== KIND_DIRECTORY || actor.node(now.ino).entryCount === 0
    if (isEmpty) actor.unlink(at, entry)
    if (actor.random.chance(0.3)) yield
  }
}

/** Directories move into others, and back. */
function* refactor(actor: Actor): Script {
  for (let i = 0; i < 4; i++) {
    const found = anyEntry(actor, (entry) => entry.kind === KIND_DIRECTORY)
    if (found === undefined) return
    const to = anyDirectory(actor)
    actor.rename(found.parent, found.entry.name, to, name(actor.random.pick(['lib', 'src', 'a'])))
    yield
  }
}

/** Hard links to everything in a directory. */
function* linkFarm(actor: Actor): Script {
  const from = anyDirectory(actor)
  const farm = directory(actor, actor.tree.root, 'farm')
  if (farm === undefined || farm === from) return
  for (const { name: entry, ino, kind } of actor.list(from).slice(0, 8)) {
    if (kind === KIND_DIRECTORY || !isAlive(actor, farm)) continue
    if (actor.lookup(farm, entry) !== undefined) continue
    if (!isAlive(actor, from) || actor.lookup(from, entry)?.ino !== ino) continue
    actor.link(ino, farm, entry)
    if (actor.random.chance(0.5)) yield
  }
}

const SCRIPTS = [
  vim, atomicSave, atomicSave, backupSave, git, photoImport, removeTree, refactor, linkFarm,
]

export function randomScript(actor: Actor): Script {
  return actor.random.pick(SCRIPTS)(actor)
}

/** Empties the vault. Used by the oracle of deletion: everything visible can be removed. */
export function removeEverything(actor: Actor): void {
  const removing = removeBelow(actor, actor.tree.root)
  while (removing.next().done !== true);
}

// ---- inside ----

function isAlive(actor: Actor, ino: Ino): boolean {
  const node = actor.tree.node(ino)
  return node !== undefined && !node.orphan
}

/** The directory of that name, made if missing; undefined when something else is there. */
function directory(actor: Actor, parent: Ino, called: string): Ino | undefined {
  const known = actor.lookup(parent, name(called))
  if (known === undefined) return actor.mkdir(parent, name(called))
  return known.kind === KIND_DIRECTORY ? known.ino : undefined
}

function removeFile(actor: Actor, parent: Ino, called: Name): void {
  if (!isAlive(actor, parent)) return
  const known = actor.lookup(parent, called)
  if (known?.kind === KIND_FILE) actor.unlink(parent, called)
}
