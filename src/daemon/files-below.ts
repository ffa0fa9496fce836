// The files below a node, in pages between other work: trees are walked while they are used.

import { setImmediate as pause } from 'node:timers/promises'
import { KIND_DIRECTORY } from '../ops/types.ts'
import type { Ino } from '../vault/buffers.ts'
import type { LiveTree } from '../vault/live-tree.ts'
import type { NodeInfo } from '../vault/tree.ts'

const PAGE = 256

/** Those with content, `start` itself if it is one; what changes on the way may be missed. Not what
 *  lies below a directory that `enters` refuses. Who closes the tree has to stop whoever walks. */
export async function* filesBelow(
  tree: LiveTree, start: Ino, enters: (directory: Ino) => boolean = () => true,
): AsyncGenerator<NodeInfo> {
  const first = tree.node(start)
  if (first !== undefined && first.kind !== KIND_DIRECTORY) yield first
  const todo: Ino[] = first?.kind === KIND_DIRECTORY && enters(start) ? [start] : []
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    for (let after = 0; ;) {
      const page = tree.node(next) === undefined ? [] : tree.listNodes(next, after, PAGE)
      for (const { entry, node } of page) {
        after = entry.cookie
        if (node.kind === KIND_DIRECTORY) {
          if (enters(node.ino)) todo.push(node.ino)
        } else if (node.content !== undefined) yield node
      }
      await pause()
      if (page.length < PAGE) break
    }
  }
}
