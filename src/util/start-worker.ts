// Starts a worker thread from a file beside the caller's: compiled, or as TypeScript when the
// process runs under tsx, whose hooks a worker of Node 20 has to register itself.

import { Worker } from 'node:worker_threads'
import type { WorkerOptions } from 'node:worker_threads'

/** `from`: the caller's import.meta.url; `name`: './file' without its extension. */
export function startWorker(from: string, name: string, options: WorkerOptions): Worker {
  const extension = from.slice(from.lastIndexOf('.'))
  const entry = new URL(`${name}${extension}`, from)
  if (extension !== '.ts') return new Worker(entry, options)
  const tsx = import.meta.resolve('tsx/esm/api')
  const code = `import(${JSON.stringify(tsx)})
    .then(({ register }) => { register(); return import(${JSON.stringify(entry.href)}) })`
  return new Worker(code, { ...options, eval: true })
}
