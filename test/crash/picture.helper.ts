// What is found in a worker's directory: every path with its type, mode, link group and content.
// The oracle judges it; the worker begins its next round from it.

import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { Model } from './history.helper.ts'
import type { Node } from './history.helper.ts'

export interface Found {
  kind: Node['kind']
  mode: number
  ino: number
  links: number
  target: string
  content: Uint8Array
}

/** Path below the directory → what is there; '' is the directory itself. */
export type Picture = Map<string, Found>

export function takePicture(directory: string): Picture {
  const picture: Picture = new Map()
  const visit = (path: string): void => {
    const full = join(directory, path)
    const stats = lstatSync(full)
    const kind = stats.isDirectory() ? 'directory' : stats.isSymbolicLink() ? 'symlink' : 'file'
    const content = kind === 'file' ? readFileSync(full) : new Uint8Array(0)
    if (kind === 'file' && content.length !== stats.size) {
      throw new Error(`${path}: size ${stats.size}, but ${content.length} bytes can be read`)
    }
    const target = kind === 'symlink' ? readlinkSync(full) : ''
    const { ino, nlink: links } = stats
    picture.set(path, { kind, mode: stats.mode & 0o7777, ino, links, target, content })
    if (kind !== 'directory') return
    for (const name of readdirSync(full)) visit(path === '' ? name : `${path}/${name}`)
  }
  visit('')
  return picture
}

/** A model that begins with what was found. */
export function modelOf(picture: Picture): Model {
  const model = new Model()
  const byIno = new Map<number, Node>()
  for (const [path, found] of picture) {
    if (path === '') continue
    const known = found.kind === 'file' ? byIno.get(found.ino) : undefined
    const node = known ?? model.node(found.kind, -1, found.mode)
    byIno.set(found.ino, node)
    node.base = found.content
    node.sizeBytes = found.content.length
    node.target = found.target
    model.paths.set(path, node)
  }
  return model
}
