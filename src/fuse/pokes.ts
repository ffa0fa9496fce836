// Pokes: watchers (inotify) of the mount hear of changes that came past the kernel. A helper
// process makes the call that a local program would have made; the native gate answers it as if
// it did what is done already, so that nothing changes, and the kernel tells its watchers.
//
// What waits is a name and what it showed before; which call it takes is decided when its turn
// comes, by what it shows then: so a name that changed often is poked once, and one that came
// and went not at all. A directory that the kernel does not know has no watcher and is not
// poked. Bounded: what comes while too many wait is dropped, as the kernel drops what overflows
// a watcher's queue. While the name of an inode waits to appear, the kernel may not remember it
// (isYoung): it could not be made to appear any more. Nor, while a name waits to go, that a name
// is not there.
//
// Without a passed self-test (a poke that nobody announced is refused, one that was is answered)
// there are none. One poke is under way at any time. Owned by the daemon's mounted vault.

import type { Ino } from '../vault/buffers.ts'
import type { PokeGate } from './session.ts'
import {
  POKE_ATTRIB, POKE_CREATE, POKE_EDIT, POKE_FORBIDDEN, POKE_MOVE, POKE_PIN, POKE_REMOVE,
  PokeProcess, pokeProgram,
} from './poke-process.ts'
import type { PokeOrder } from './poke-process.ts'

const WAITING_MAX = 4096
/** Pokes at one go, and the pause between: at most 2000 a second, and the mount is not always in
 *  use. */
const BURST = 64
const PAUSE_MS = 32
const RESTARTS_MAX = 3
const EPERM = 1
const PATH_MAX_BYTES = 4000
const DT_SHIFT = 12
const MODE_FILE = 0o100000
const MODE_DIRECTORY = 0o040000
/** S_IFMT >> 12 of a node kind, by its number in ops/types.ts. */
const TYPES = [0, 4, 8, 10, 1, 12, 2, 6]
const NO_NAME = new Uint8Array(0)

/** What a name shows. */
export interface Shown {
  ino: number
  generation: number
  kind: number
}

/** The mount's tree, by shown names (one character per byte). */
export interface PokedTree {
  root: Ino
  /** From the root, '' for the root itself; undefined: the directory has no name. */
  pathOf(directory: Ino): string | undefined
  shown(parent: Ino, name: string): Shown | undefined
  /** Whether any name shows the inode. */
  isShown(ino: number): boolean
}

export interface PokesOptions {
  /** The mount point. */
  directory: string
  gate: (isYoung: (ino: number) => boolean) => PokeGate
  tree: PokedTree
  /** Resolves when the kernel has been told of all changes so far. */
  notified: () => Promise<void>
  /** Why there are no pokes, or no more. */
  onOff: (reason: string) => void
}

interface Waiting {
  parent: Ino
  name: string
  was: Shown | undefined
  isContent: boolean
  isAttributes: boolean
  /** Key of where it came from, or went to. */
  from?: string
  to?: string
  /** What is to appear under the name; 0: nothing. */
  young?: number
}

export class Pokes {
  readonly #options: PokesOptions
  readonly #gate: PokeGate
  readonly #waiting = new Map<string, Waiting>()
  readonly #young = new Map<number, number>()
  #process: PokeProcess | undefined
  #running: Promise<void> | undefined
  #isPaused = false
  #isOff = true
  #restarts = 0
  /** Pokes that the kernel took, and those that there was no room for. */
  made = 0
  dropped = 0

  constructor(options: PokesOptions) {
    this.#options = options
    this.#gate = options.gate((ino) => this.#young.size > 0 && this.#young.has(ino))
  }

  get isOn(): boolean {
    return !this.#isOff
  }

  get count(): number {
    return this.#waiting.size
  }

  /** Starts the helper and tests it in the mount; never rejects. */
  async start(): Promise<void> {
    this.#isOff = false
    const failure = await this.#begin()
    if (failure !== undefined) this.#end(failure)
  }

  /** A name came, went or names something else than `was` did. `from`: what came was there. */
  entry(parent: Ino, name: string, was: Shown | undefined): void {
    if (this.#isOff) return
    const waiting = this.#add(parent, name, was)
    if (waiting === undefined) return
    const now = this.#options.tree.shown(parent, name)
    if (now?.ino !== waiting.was?.ino) this.#setYoung(waiting, now?.ino ?? 0)
    this.#kick()
  }

  /** What left the one place appeared at the other. */
  moved(parent: Ino, name: string, newParent: Ino, newName: string): void {
    const from = this.#waiting.get(keyOf(parent, name))
    const to = this.#waiting.get(keyOf(newParent, newName))
    if (from === undefined || to === undefined) return
    from.to = keyOf(newParent, newName)
    to.from = keyOf(parent, name)
  }

  /** Content or attributes of what the name shows are others. */
  inode(parent: Ino, name: string, isContent: boolean): void {
    if (this.#isOff) return
    const waiting = this.#add(parent, name, this.#options.tree.shown(parent, name))
    if (waiting === undefined) return
    if (isContent) waiting.isContent = true
    else waiting.isAttributes = true
    this.#kick()
  }

  /** Resolves when none is under way; none begins until resume(). What waits goes on waiting. */
  async pause(): Promise<void> {
    this.#isPaused = true
    await this.#running
  }

  resume(): void {
    this.#isPaused = false
    this.#kick()
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  /** Kills the helper. Idempotent. */
  close(): void {
    this.#isOff = true
    this.#waiting.clear()
    this.#young.clear()
    this.#process?.kill()
  }

  // ---- what waits

  #add(parent: Ino, name: string, was: Shown | undefined): Waiting | undefined {
    const key = keyOf(parent, name)
    const known = this.#waiting.get(key)
    if (known !== undefined) return known
    if (this.#waiting.size >= WAITING_MAX) {
      this.dropped++
      return undefined
    }
    const waiting = { parent, name, was, isContent: false, isAttributes: false }
    this.#waiting.set(key, waiting)
    return waiting
  }

  #setYoung(waiting: Waiting, ino: number): void {
    this.#unsetYoung(waiting)
    waiting.young = ino
    this.#young.set(ino, (this.#young.get(ino) ?? 0) + 1)
  }

  #unsetYoung(waiting: Waiting): void {
    const { young } = waiting
    if (young === undefined) return
    delete waiting.young
    const count = this.#young.get(young) ?? 0
    if (count > 1) this.#young.set(young, count - 1)
    else this.#young.delete(young)
  }

  #kick(): void {
    if (this.#isPaused || this.#isOff || this.#running !== undefined) return
    this.#running = this.#run().finally(() => {
      this.#running = undefined
      if (this.#waiting.size > 0) this.#kick()
    })
  }

  async #run(): Promise<void> {
    await turn() // names that come together wait together: they may be one move
    await this.#options.notified()
    for (let count = 1; !this.#isPaused && !this.#isOff; count++) {
      const first = this.#waiting.entries().next().value
      if (first === undefined) return
      await this.#serve(...first)
      if (count % BURST === 0 && this.#waiting.size > 0) await delay(PAUSE_MS)
    }
  }

  async #serve(key: string, waiting: Waiting): Promise<void> {
    if (await this.#tryMove(key, waiting)) return
    const { parent, name, was, isContent, isAttributes } = waiting
    const now = this.#options.tree.shown(parent, name)
    this.#waiting.delete(key)
    if (was === undefined || now === undefined || was.kind !== now.kind) {
      if (was !== undefined) await this.#remove(waiting, was)
      if (now !== undefined) await this.#create(waiting, now)
    } else if (isContent || was.ino !== now.ino) {
      if (modeOf(now) === MODE_FILE) await this.#touch(POKE_EDIT, waiting, now)
      else if (was.ino !== now.ino) await this.#touch(POKE_ATTRIB, waiting, now)
    } else if (isAttributes) {
      await this.#touch(POKE_ATTRIB, waiting, now)
    }
    this.#unsetYoung(waiting)
  }

  /** True: both places are served. */
  async #tryMove(key: string, waiting: Waiting): Promise<boolean> {
    const fromKey = waiting.to === undefined ? waiting.from : key
    const toKey = waiting.to ?? key
    const from = this.#waiting.get(fromKey ?? '')
    const to = this.#waiting.get(toKey)
    if (from === undefined || to === undefined || from === to) return false
    delete waiting.to
    delete waiting.from
    const { tree } = this.#options
    const now = tree.shown(to.parent, to.name)
    const isMove = from.was !== undefined && from.was.ino === now?.ino
      && tree.shown(from.parent, from.name) === undefined
    if (!isMove) return false
    const order = { operation: POKE_MOVE, mode: 0, name: from.name, newName: to.name }
    const errno = await this.#poke(order, from.parent, to.parent, now)
    if (errno !== 0) return false
    this.#waiting.delete(fromKey ?? '')
    this.#waiting.delete(toKey)
    for (const one of [from, to]) this.#unsetYoung(one)
    return true
  }

  /** What lives on under another name must not seem removed itself: something else is shown. */
  async #remove({ parent, name }: Waiting, was: Shown): Promise<void> {
    const isAlive = this.#options.tree.isShown(was.ino)
    const about = isAlive ? { ...was, ino: 0 } : was
    const order = { operation: POKE_REMOVE, mode: modeOf(was), name, newName: '' }
    await this.#poke(order, parent, parent, about)
  }

  /** One that the kernel had already been told of cannot be made again. */
  async #create(waiting: Waiting, now: Shown): Promise<void> {
    const { parent, name } = waiting
    const mode = modeOf(now)
    const order = { operation: POKE_CREATE, mode, name, newName: '' }
    const errno = await this.#poke(order, parent, parent, now)
    if (errno === 0) return
    await this.#touch(mode === MODE_FILE ? POKE_EDIT : POKE_ATTRIB, waiting, now)
  }

  async #touch(operation: number, { parent, name }: Waiting, now: Shown): Promise<void> {
    await this.#poke({ operation, mode: 0, name, newName: '' }, parent, parent, now)
  }

  /** The errno of the call; what cannot be tried is EPERM. */
  async #poke(
    order: Pick<PokeOrder, 'operation' | 'mode' | 'name' | 'newName'>,
    parent: Ino, newParent: Ino, about: Shown,
  ): Promise<number> {
    const { tree } = this.#options
    const path = tree.pathOf(parent)
    const newPath = parent === newParent ? path : tree.pathOf(newParent)
    if (path === undefined || newPath === undefined) return EPERM
    if (path.length + newPath.length > PATH_MAX_BYTES) return EPERM
    const { operation, mode, name, newName } = order
    this.#gate.expectPoke(
      operation, about.ino, about.generation, mode, parent, bytesOf(name), newParent,
      bytesOf(newName),
    )
    const { errno, parts } = await this.#order({ ...order, parent: path, newParent: newPath })
    if (errno === 0 && (isCalled(parts) || operation === POKE_ATTRIB)) this.made++
    return errno
  }

  async #order(order: PokeOrder): Promise<{ errno: number; parts: number }> {
    const process = this.#process
    let errno = EPERM
    try {
      errno = await process?.order(order) ?? EPERM
    } catch (error) {
      await this.#restart(process, error instanceof Error ? error.message : String(error))
    }
    const [parts = 0] = this.#gate.finishPoke()
    return { errno, parts }
  }

  // ---- the helper

  async #restart(ended: PokeProcess | undefined, reason: string): Promise<void> {
    if (this.#isOff || ended !== this.#process) return
    if (++this.#restarts > RESTARTS_MAX) return this.#end(reason)
    const failure = await this.#begin()
    if (failure !== undefined) this.#end(failure)
  }

  /** Why there can be none; undefined when all is well. */
  async #begin(): Promise<string | undefined> {
    await this.#process?.ended // the gate knows one of them
    if (this.#isOff) return undefined
    const process = new PokeProcess(this.#options.directory)
    this.#process = process
    const { pid } = process
    if (pid === undefined) {
      await process.ended
      return `${pokeProgram()} cannot be started`
    }
    // until it has ended, what it asks is a poke: it may be amidst a call when it is killed
    this.#gate.setPoker(pid)
    void process.ended.then(() => this.#gate.setPoker(0))
    try {
      return await this.#test(process)
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  /** In the root, with a name that is nobody's. */
  async #test(process: PokeProcess): Promise<string | undefined> {
    const { root } = this.#options.tree
    const name = `.lattice-poke-${process.pid ?? 0}`
    const order = (operation: number, mode: number): Promise<number> => process.order({
      operation, mode, parent: '', name: operation === POKE_REMOVE ? name : `${name}-`,
      newParent: '', newName: '',
    })
    const pinned = await order(POKE_PIN, 0)
    if (pinned !== 0) return `the mount cannot be looked at: errno ${pinned}`
    const forbidden = await order(POKE_FORBIDDEN, 0)
    if (forbidden !== EPERM) return `a poke that nobody announced: errno ${forbidden}`
    this.#gate.expectPoke(
      POKE_REMOVE, 0, 0, MODE_DIRECTORY, root, bytesOf(name), root, NO_NAME,
    )
    const removed = await order(POKE_REMOVE, MODE_DIRECTORY)
    const [parts] = this.#gate.finishPoke()
    if (removed !== 0 || !isCalled(parts)) return `a poke does not come through: errno ${removed}`
    return undefined
  }

  #end(reason: string): void {
    if (this.#isOff) return
    this.close()
    this.#options.onOff(reason)
  }
}

/** Of finishPoke(): the call itself was asked for. */
function isCalled(parts: number | undefined): boolean {
  return ((parts ?? 0) & 1) !== 0
}

function keyOf(parent: Ino, name: string): string {
  return `${parent}/${name}`
}

function modeOf({ kind }: Shown): number {
  return (TYPES[kind] ?? 0) << DT_SHIFT
}

function bytesOf(name: string): Uint8Array {
  return Buffer.from(name, 'latin1')
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
