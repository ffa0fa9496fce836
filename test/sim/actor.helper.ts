// A program that works on one device through its Tree: the calls of a filesystem, with POSIX's
// rules of what may replace what, and an oracle around each: the caller sees its own change at
// once, and nothing else in the directories that it touched has changed.
//
// Files hold *tokens* as content (ledger.helper.ts). Names are latin1 strings of bytes.
import { KIND_DIRECTORY, KIND_FILE, KIND_SYMLINK } from '../../src/ops/types.ts'
import type { Name, NodeKind } from '../../src/ops/types.ts'
import { ATTR_MODE, ATTR_MTIME } from '../../src/vault/buffers.ts'
import type { Attr, Ino } from '../../src/vault/buffers.ts'
import type { UserOperation } from '../../src/vault/pending.ts'
import type { DirEntry, NewNode, NodeInfo, Tree } from '../../src/vault/tree.ts'
import type { SeededRandom } from '../support/random.ts'
import type { Calls } from './calls.helper.ts'
import type { Ledger } from './ledger.helper.ts'
import { promise } from './violation.helper.ts'

export const LIST_MAX = 100_000
const SHARED = 'same'

/** What a device lends to the programs on it. */
export interface Host {
  readonly index: number
  readonly tree: Tree
  readonly calls: Calls
  /** Takes what was queued since the last call. */
  takeOperations(): UserOperation[]
  note(text: string): void
}

export interface OpenHandle {
  ino: Ino
}

type Listing = Map<string, string>

export class Actor {
  readonly random: SeededRandom
  readonly host: Host
  readonly #ledger: Ledger
  readonly #label: string
  #tokens = 0
  readonly checksListings: boolean
  /** Sometimes several devices write the same content. */
  sharesTokens = true

  /** `label` makes this actor's tokens unlike all others. */
  constructor(
    host: Host, ledger: Ledger, random: SeededRandom, label: string, checksListings = true,
  ) {
    this.host = host
    this.#ledger = ledger
    this.random = random
    this.#label = label
    this.checksListings = checksListings
  }

  get tree(): Tree {
    return this.host.tree
  }

  newToken(): string {
    if (this.sharesTokens && this.random.chance(0.06)) return `${SHARED} ${this.random.int(0, 3)}`
    return `${this.#label}.${++this.#tokens}`
  }

  // ---- looking ----

  list(parent: Ino): DirEntry[] {
    return this.tree.list(parent, 0, LIST_MAX)
  }

  node(ino: Ino): NodeInfo {
    const node = this.tree.node(ino)
    promise(node !== undefined, 'listed nodes exist', () => `ino ${ino} is listed, but is no node`)
    return node as NodeInfo
  }

  lookup(parent: Ino, name: Name): DirEntry | undefined {
    return this.tree.lookup(parent, name)
  }

  /** What the entry shows: its token, '' for a file never written. */
  token(ino: Ino): string {
    return this.host.calls.token(this.node(ino))
  }

  // ---- calls ----

  make(parent: Ino, name: Name, kind: NodeKind, target = ''): Ino {
    this.#note('make', parent, name, String(kind))
    const init: NewNode = {
      kind, mode: kind === KIND_DIRECTORY ? 0o755 : 0o644, uid: 0, gid: 0, rdev: 0, target,
    }
    const ino = this.#checked([parent], (listings) => {
      const made = this.host.calls.make(parent, name, init)
      listings[0]?.set(name, kind === KIND_SYMLINK ? `3 ${target}` : `${kind} `)
      return made
    }, kind === KIND_SYMLINK ? [target] : [], [])
    this.#mustShow(parent, name, ino)
    return ino
  }

  mkdir(parent: Ino, name: Name): Ino {
    return this.make(parent, name, KIND_DIRECTORY)
  }

  /** A new file with content. */
  create(parent: Ino, name: Name, token = this.newToken()): Ino {
    const ino = this.make(parent, name, KIND_FILE)
    this.write(ino, token)
    return ino
  }

  /** Opens, replaces the content, closes. */
  write(ino: Ino, token = this.newToken()): void {
    this.writeHandle({ ino }, token)
    promise(this.token(ino) === token, 'own writes are read', () => (
      `ino ${ino} shows "${this.token(ino)}" after writing "${token}"`
    ))
  }

  /** Replaces what the ino of a handle shows: that alone is superseded, whatever others put. */
  writeHandle(handle: OpenHandle, token = this.newToken()): void {
    const info = this.node(handle.ino)
    const { orphan } = info
    const shown = this.host.calls.token(info)
    this.host.note(`d${this.host.index} put ${handle.ino} "${shown}" -> "${token}"`)
    this.host.calls.put(handle.ino, token)
    if (orphan) this.host.takeOperations()
    else this.#mean([token], shown === token ? [] : [shown], token)
  }

  unlink(parent: Ino, name: Name): void {
    const entry = this.lookup(parent, name) as DirEntry
    this.#note('unlink', parent, name, String(entry.kind))
    const info = this.node(entry.ino)
    const isLast = info.kind !== KIND_FILE || info.attr.nlink <= 1
    const killed = isLast ? [this.host.calls.token(info)] : []
    this.#checked([parent], (listings) => {
      this.host.calls.unlink(parent, name)
      listings[0]?.delete(name)
    }, [], killed)
    promise(this.lookup(parent, name) === undefined, 'own writes are read', () => (
      `"${name}" is still there after it was removed`
    ))
  }

  /** False when POSIX refuses. */
  rename(parent: Ino, name: Name, newParent: Ino, newName: Name): boolean {
    const source = this.lookup(parent, name)
    const target = this.lookup(newParent, newName)
    if (source === undefined || target?.ino === source.ino) return false
    if (source.kind === KIND_DIRECTORY && this.isBelow(newParent, source.ino)) return false
    if (target !== undefined) {
      if ((source.kind === KIND_DIRECTORY) !== (target.kind === KIND_DIRECTORY)) return false
      if (target.kind === KIND_DIRECTORY && this.node(target.ino).entryCount > 0) return false
    }
    this.#note('rename', parent, name, `-> ${newParent}/${printable(newName)}`)
    const shown = this.#signature(source.ino)
    const killed: string[] = []
    if (target !== undefined) {
      const info = this.node(target.ino)
      // of a symlink, nothing tells that another name was to stay (RULES, F3)
      const isLast = info.kind === KIND_SYMLINK || info.attr.nlink <= 1
      if (isLast && info.kind !== KIND_DIRECTORY) killed.push(this.host.calls.token(info))
    }
    const carried = this.token(source.ino)
    this.#checked([parent, newParent], (listings) => {
      this.host.calls.rename(parent, name, newParent, newName)
      listings[0]?.delete(name)
      listings[1]?.set(newName, shown)
    }, [], killed.filter((token) => token !== carried), [carried])
    this.#mustShow(newParent, newName, source.ino)
    promise(
      this.lookup(parent, name) === undefined || (parent === newParent && name === newName),
      'own writes are read', () => `"${name}" is still there after it was renamed`,
    )
    return true
  }

  exchange(parent: Ino, name: Name, newParent: Ino, newName: Name): boolean {
    const one = this.lookup(parent, name)
    const two = this.lookup(newParent, newName)
    if (one === undefined || two === undefined || one.ino === two.ino) return false
    if (one.kind === KIND_DIRECTORY && this.isBelow(newParent, one.ino)) return false
    if (two.kind === KIND_DIRECTORY && this.isBelow(parent, two.ino)) return false
    this.#note('exchange', parent, name, `<-> ${newParent}/${printable(newName)}`)
    this.#checked([parent, newParent], (listings) => {
      const first = this.#signature(one.ino)
      const second = this.#signature(two.ino)
      this.host.calls.exchange(parent, name, newParent, newName)
      listings[0]?.set(name, second)
      listings[1]?.set(newName, first)
    }, [], [])
    return true
  }

  link(ino: Ino, parent: Ino, name: Name): void {
    this.#note('link', parent, name, String(ino))
    const shown = this.#signature(ino)
    this.#checked([parent], (listings) => {
      this.host.calls.link(ino, parent, name)
      listings[0]?.set(name, shown)
    }, [], [])
  }

  chmod(ino: Ino, mode: number): void {
    this.host.note(`d${this.host.index} chmod ${ino} ${mode.toString(8)}`)
    const { attr } = this.node(ino)
    this.host.calls.setAttrs(ino, ATTR_MODE, { ...attr, mode: (attr.mode & 0o170000) | mode })
    this.host.takeOperations()
    promise((this.node(ino).attr.mode & 0o7777) === mode, 'own writes are read', () => 'mode')
  }

  utimes(ino: Ino, sec: number): void {
    const { attr } = this.node(ino)
    const times: Attr = { ...attr, mtimeSec: sec, mtimeNsec: 0 }
    this.host.calls.setAttrs(ino, ATTR_MTIME, times)
    this.host.takeOperations()
  }

  setXattr(ino: Ino, name: string, value: string | undefined): void {
    const bytes = value === undefined ? undefined : Buffer.from(value, 'latin1')
    this.host.calls.setXattr(ino, name, bytes)
    this.host.takeOperations()
    const shown = this.tree.getXattr(ino, name)
    const text = shown === undefined ? undefined : Buffer.from(shown).toString('latin1')
    promise(text === value, 'own writes are read', () => `xattr ${name}`)
  }

  // ---- inside ----

  isBelow(inner: Ino, outer: Ino): boolean {
    for (let at = inner, left = 10_000; at !== this.tree.root; at = this.node(at).parent) {
      if (at === outer) return true
      promise(left-- > 0, 'directories form a tree', () => `ino ${inner} has no end of parents`)
    }
    return false
  }

  /** Runs a call; `change` also tells what it should have done to the listings of `parents`. */
  #checked<T>(
    parents: Ino[], change: (listings: Listing[]) => T, made: string[], killed: string[],
    carried: string[] = [],
  ): T {
    if (!this.checksListings) {
      const result = change([])
      this.#mean(made, killed, undefined, carried)
      return result
    }
    const before = parents.map((parent, i) => (
      i > 0 && parent === parents[0] ? undefined : this.#listing(parent)
    ))
    if (before.length === 2 && before[1] === undefined) before[1] = before[0]
    const above = this.#ancestors(parents[0] as Ino)
    const result = change(before as Listing[])
    this.#forgetDead(above, before as Listing[], parents)
    this.#mean(made, killed, undefined, carried)
    parents.forEach((parent, i) => {
      const wanted = plain(before[i] as Listing)
      const found = plain(this.#listing(parent))
      promise(wanted === found, 'a change touches nothing else', () => (
        `directory ${parent} should show\n${wanted}\nbut shows\n${found}`
      ))
    })
    return result
  }

  /** Entries on the way from the root to `at`: name and ino, with the directory that holds them. */
  #ancestors(at: Ino): { parent: Ino; name: Name; ino: Ino }[] {
    const above: { parent: Ino; name: Name; ino: Ino }[] = []
    for (let ino = at; ino !== this.tree.root;) {
      promise(above.length < 10_000, 'directories form a tree', () => `ino ${at} has no root`)
      const { parent } = this.node(ino)
      const entry = this.list(parent).find((one) => one.ino === ino)
      if (entry !== undefined) above.push({ parent, name: entry.name, ino })
      ino = parent
    }
    return above
  }

  /** A removed directory is shown as long as something is in it: with the last entry it goes. */
  #forgetDead(
    above: { parent: Ino; name: Name; ino: Ino }[], listings: Listing[], parents: Ino[],
  ): void {
    for (const { parent, name, ino } of above) {
      if (this.tree.node(ino)?.orphan === false) return
      parents.forEach((one, i) => one === parent && listings[i]?.delete(name))
    }
  }

  #listing(parent: Ino): Listing {
    if (this.tree.node(parent) === undefined) return new Map()
    const listing: Listing = new Map()
    for (const entry of this.list(parent)) {
      listing.set(entry.name, this.#signature(entry.ino))
    }
    return listing
  }

  #mustShow(parent: Ino, name: Name, ino: Ino): void {
    const shown = this.lookup(parent, name)
    promise(shown?.ino === ino, 'own writes are read', () => (
      `"${printable(name)}" should be ino ${ino}, but is ${shown?.ino}`
    ))
  }

  #signature(ino: Ino): string {
    const node = this.node(ino)
    return `${node.kind} ${this.host.calls.token(node)}`
  }

  /** `sealed`: the content whose put comes later where contents are sealed. */
  #mean(made: string[], killed: string[], sealed?: string, carried: string[] = []): void {
    const operations = this.host.takeOperations()
    this.#ledger.add({
      device: this.host.index,
      operations,
      awaits: operations.length === 0 ? sealed : undefined,
      made: made.filter(isTracked),
      killed: killed.filter(isTracked),
      instead: [...made, ...carried].filter(isTracked),
    })
  }

  #note(call: string, parent: Ino, name: Name, more: string): void {
    this.host.note(`d${this.host.index} ${call} ${parent}/${printable(name)} ${more}`)
  }
}

/** Content that several devices may write is not followed. */
export function isTracked(token: string): boolean {
  return token !== '' && !token.startsWith(SHARED)
}

/** What a node shows: the text of a file or the target of a symlink. */
export function tokenOf(node: NodeInfo): string {
  if (node.kind === KIND_SYMLINK) return node.target
  const { content } = node
  if (content === undefined) return ''
  promise(content.kind === 'inline', 'contents are whole', () => 'content of an unknown kind')
  const bytes = content.kind === 'inline' ? content.bytes : new Uint8Array(0)
  promise(bytes.length === node.attr.sizeBytes, 'contents are whole', () => (
    `size ${node.attr.sizeBytes}, but ${bytes.length} bytes`
  ))
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

/** Names of conflict copies may slide (another number became free); what they show may not. */
function plain(listing: Listing): string {
  const lines: string[] = []
  for (const [name, shown] of listing) {
    lines.push(`${name.includes(' (conflict ') ? 'conflict' : printable(name)}: ${shown}`)
  }
  return lines.toSorted().join('\n')
}

export function printable(name: string): string {
  return name.length > 60 ? `${name.slice(0, 20)}…${name.length}…${name.slice(-16)}` : name
}
