// A LogStore as the engine sees it (vault/ports.ts), for whoever runs both in one thread: tests,
// tools, and devices without a worker.

import type { AuthorId } from '../ops/types.ts'
import type { LogPort } from '../vault/ports.ts'
import type { ContentLog } from './content-publisher.ts'
import type { LogStore } from './log-store.ts'
import type { LogName } from './types.ts'

export function logPort(store: LogStore): LogPort & ContentLog {
  return {
    authors: () => store.authors(),
    length: (author) => store.length(author, 'ops'),
    read: (author, seq) => store.read(author, 'ops', seq),
    treeHash: (author, length) => store.treeHash(author, 'ops', length),
    append: async (blocks) => void await store.append(blocks),
    onGrowth: (grown: (author: AuthorId) => void) => store.onGrowth((author, kind) => {
      if (kind === 'ops') grown(author)
    }),
    onOwnFork: (forked: () => void) => {
      const tell = ({ author, kind }: LogName): void => {
        if (author === store.own && kind === 'ops') forked()
      }
      store.forks().forEach(tell)
      store.onFork(tell)
    },
    contentLength: () => store.length(store.own, 'content'),
    readContent: (seq) => store.read(store.own, 'content', seq),
    appendContent: (blocks, from) => store.appendContent(blocks, from),
  }
}
