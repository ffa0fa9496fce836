// An exclusive lock on a directory, held by a process: flock(2) on the file `lock` in it. The
// kernel gives it back when the holder ends, however it ends, so it is never stale; it holds across
// network namespaces and containers that share the directory. Node has no flock: util-linux's
// flock(1) locks our descriptor, which it inherits, and the lock stays with the open file when it
// has exited. The file names its holder for the message of whoever is refused; its content decides
// nothing.

import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'

const LOCK_NAME = 'lock'
const HOLDER_BYTES_MAX = 256
const REFUSED = 1 // exit code of flock(1) when somebody else holds it

export class DirectoryLock {
  #file: FileHandle | undefined

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /**
   * Takes the lock at once or throws 'locked' (details.holder). `what` names the locked thing in
   * that message. Throws 'prerequisite' when flock(1) is missing, 'denied', 'io', 'disk-full'.
   */
  static async take(directory: string, what: string): Promise<DirectoryLock> {
    let file: FileHandle | undefined
    try {
      file = await open(join(directory, LOCK_NAME), 'a+', 0o600)
      if (!(await lockDescriptor(file.fd))) throw await refusal(file, what)
      await file.truncate(0)
      await file.write(`process ${process.pid}\n`)
      return new DirectoryLock(file)
    } catch (error) {
      await file?.close()
      throw fromSystemError(error, `${what} cannot be locked`)
    }
  }

  /** Idempotent. */
  async release(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }
}

/** False when somebody else has it. */
function lockDescriptor(fd: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const stdio = ['ignore', 'ignore', 'ignore', fd] as const
    const child = spawn('flock', ['-n', '3'], { stdio: [...stdio], cwd: '/' })
    child.on('error', (error) => {
      if (errnoName(error) !== 'ENOENT') return reject(error)
      reject(
        new LatticeError('prerequisite', 'the command flock was not found', {
          hint: 'install the package util-linux',
        }),
      )
    })
    child.on('close', (code) => {
      if (code === 0 || code === REFUSED) return resolve(code === 0)
      reject(new LatticeError('io', `flock ended with code ${code ?? 'none'}`))
    })
  })
}

async function refusal(file: FileHandle, what: string): Promise<LatticeError> {
  const bytes = Buffer.alloc(HOLDER_BYTES_MAX)
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
  const text = bytes.toString('latin1', 0, bytesRead)
  const holder = /^process \d+/.exec(text)?.[0] ?? 'another process'
  return new LatticeError('locked', `${what} is used by ${holder}`, {
    hint: `wait until it ends, or end it; what it has stored stays as it is`,
    details: { holder },
  })
}
