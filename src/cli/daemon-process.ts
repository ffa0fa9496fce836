// Finding the daemon, or starting one: in the background, in a session of its own, with its log as
// standard error. It tells over a channel whether it is ready, so that a failure is shown here.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { open, rename, stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ControlClient } from '../api/client.ts'
import type { Problem } from '../api/client-types.ts'
import { DAEMON_START_TIMEOUT_MS, LOG_BYTES_MAX } from '../config/limits.ts'
import { callerDirectory } from '../config/paths.ts'
import type { Paths } from '../config/paths.ts'
import { ensurePrivateDirectory } from '../config/private-files.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type { ErrorCode } from '../util/errors.ts'
import { resolve } from 'node:path'

const ATTEMPTS = 20
const ATTEMPT_DELAY_MS = 100

/** Runs `use` with a connection to the daemon; starts one when none answers. */
export async function withDaemon<T>(
  paths: Paths,
  use: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const client = await connectOrStart(paths)
  try {
    return await use(client)
  } finally {
    client.close()
  }
}

/** As withDaemon(), but throws 'daemon-not-running' instead of starting one. */
export async function withRunningDaemon<T>(
  paths: Paths,
  use: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const client = await ControlClient.connect(paths.socket)
  try {
    return await use(client)
  } finally {
    client.close()
  }
}

async function connectOrStart(paths: Paths): Promise<ControlClient> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ControlClient.connect(paths.socket)
    } catch (error) {
      const gone = isLatticeError(error, 'daemon-not-running') || isLatticeError(error, 'closed')
      if (!gone || attempt >= ATTEMPTS) throw error
    }
    try {
      await startDaemon(paths)
    } catch (error) {
      // one that is ending, or that somebody else has just started: ask again
      if (!isLatticeError(error, 'daemon-running') || attempt >= ATTEMPTS) throw error
      await delay(ATTEMPT_DELAY_MS)
    }
  }
}

async function startDaemon(paths: Paths): Promise<void> {
  await ensurePrivateDirectory(paths.stateDirectory)
  const log = await openLogFile(paths.logFile)
  try {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
    const program = fileURLToPath(new URL(`../daemon/main.${extension}`, import.meta.url))
    const child = spawn(process.execPath, [...loaderArguments(), program], {
      cwd: '/',
      detached: true,
      env: daemonEnvironment(),
      stdio: ['ignore', log.fd, log.fd, 'ipc'],
    })
    await untilReady(child, paths)
    child.unref()
  } finally {
    await log.close()
  }
}

function untilReady(child: ChildProcess, paths: Paths): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (what: string): LatticeError =>
      new LatticeError('daemon-not-running', `the daemon ${what}`, {
        hint: `its log says why: ${paths.logFile}`,
      })
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(failed('did not become ready'))
    }, DAEMON_START_TIMEOUT_MS)
    child.on('error', (error) => reject(failed(`cannot be started: ${error.message}`)))
    child.on('exit', (code, signal) => {
      clearTimeout(timer)
      reject(failed(`ended while starting (${signal ?? `code ${code ?? 0}`})`))
    })
    child.on('message', (message: { ready?: boolean; problem?: Problem }) => {
      clearTimeout(timer)
      const { problem } = message
      if (problem === undefined) resolve()
      else {
        const { reason, title, hint, details } = problem
        reject(new LatticeError(reason as ErrorCode, title, { hint, details }))
      }
    })
  })
}

/** Moved aside once when it has grown large; the daemon only ever appends. */
async function openLogFile(path: string): ReturnType<typeof open> {
  const sizeBytes = await stat(path).then(
    (stats) => stats.size,
    () => 0,
  )
  if (sizeBytes > LOG_BYTES_MAX) await rename(path, `${path}.1`)
  return open(path, 'a', 0o600)
}

/** When the command line runs from TypeScript, so does the daemon; its working directory is /. */
function loaderArguments(): string[] {
  return process.execArgv.map((word) => (word === 'tsx' ? import.meta.resolve('tsx') : word))
}

function daemonEnvironment(): NodeJS.ProcessEnv {
  const environment = { ...process.env }
  const home = environment['LATTICE_HOME']
  if (home !== undefined && home !== '') {
    environment['LATTICE_HOME'] = resolve(callerDirectory(), home)
  }
  delete environment['INIT_CWD']
  return environment
}
