// The background daemon's program: started by the command line in a session of its own, standard
// error is its log file. It reports on the channel to its parent whether it is ready, or why not.

import { resolvePaths } from '../config/paths.ts'
import { problemOf } from '../api/problem.ts'
import { runDaemon } from './run.ts'

function report(message: object): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) return resolve()
    process.send(message, undefined, undefined, () => {
      if (process.connected) process.disconnect()
      resolve()
    })
  })
}

try {
  await runDaemon(resolvePaths())
  await report({ ready: true })
} catch (error) {
  const problem = problemOf(error)
  const line = { level: 60, msg: problem.title, reason: problem.reason }
  process.stderr.write(`${JSON.stringify(line)}\n`)
  if (problem.reason === 'internal' && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`)
  }
  await report({ problem })
  process.exitCode = 1
}
