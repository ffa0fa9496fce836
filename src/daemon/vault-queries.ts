// Paths of a mounted vault as its users say them, and the looking at names that other systems see
// differently. Reads the live view; what takes long pauses, so that the mount goes on being served.

import { setImmediate as pause } from 'node:timers/promises'
import type * as Api from '../api/client-types.ts'
import { DirectoryNames } from '../fs/foreign-names.ts'
import { nameOfText, shownName, textOfName } from '../fs/name-keys.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import type { Name } from '../ops/types.ts'
import { LatticeError } from '../util/errors.ts'
import type { Ino } from '../vault/buffers.ts'
import type { NodeInfo, Tree } from '../vault/tree.ts'

const PAGE = 1000
const FINDINGS_MAX = 10_000

export async function namesBelow(tree: Tree, path: Api.PathText): Promise<Api.NamesResult> {
  const start = nodeAt(tree, path)
  const result: Api.NamesResult = { names: 0, findings: [], findingCount: 0 }
  const todo: { ino: Ino; path: string }[] = [{ ino: start.ino, path }]
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const names = new DirectoryNames()
    for (let after = 0; ;) {
      const page = tree.node(next.ino) === undefined ? [] : tree.list(next.ino, after, PAGE)
      for (const { name, kind, ino, cookie } of page) {
        after = cookie
        const at = joined(next.path, textFor(name))
        if (kind === KIND_DIRECTORY) todo.push({ ino, path: at })
        result.names++
        for (const { problem, other } of names.add(name)) {
          result.findingCount++
          if (result.findings.length >= FINDINGS_MAX) continue
          const more = other === undefined ? {} : { other: textFor(other) }
          result.findings.push({ path: at, problem, ...more })
        }
      }
      await pause()
      if (page.length < PAGE) break
    }
  }
  return result
}

/** Throws 'not-found'. */
export function nodeAt(tree: Tree, path: Api.PathText): NodeInfo {
  let node = tree.node(tree.root)
  for (const part of path.split('/').filter(Boolean)) {
    const parent: NodeInfo | undefined = node
    const isDirectory = parent?.kind === KIND_DIRECTORY
    node = isDirectory ? tree.lookupNode(parent.ino, nameOfText(part)) : undefined
    if (node === undefined) break
  }
  if (node !== undefined) return node
  throw new LatticeError('not-found', `there is no ${path} in the vault`, { details: { path } })
}

/** The directory and the name in it. Throws 'not-found', and 'usage' for the vault itself. */
export function splitPath(
  tree: Tree,
  path: Api.PathText,
): { parent: Ino; directory: Api.PathText; name: Name } {
  const parts = path.split('/').filter(Boolean)
  const last = parts.pop()
  if (last === undefined) throw new LatticeError('usage', 'the vault itself is not meant')
  const directory = parts.join('/')
  return { parent: nodeAt(tree, directory).ino, directory, name: nameOfText(last) }
}

/** A name for people. */
export function textFor(name: Name): string {
  const shown = shownName(name)
  return textOfName(shown) ?? shown
}

export function joined(path: string, name: string): string {
  return path === '' ? name : `${path}/${name}`
}
