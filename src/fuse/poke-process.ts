// The poker: a small program (native/poke-helper.cc) that makes calls inside the mount, which this
// process must never wait for. Orders go to its standard input, one at a time; each is answered
// with an errno. It is killed when it does not answer, and ends by itself with this process.
//
// Invariant: the native gate knows the poker's pid from its start to its end.
// Used by pokes.ts alone.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { dirname, join } from 'node:path'
import { addonPath } from '../crypto/native.ts'
import { LatticeError } from '../util/errors.ts'

const ANSWER_TIMEOUT_MS = 10_000
const RESULT_BYTES = 4
const ORDER_HEADER_BYTES = 12

export const POKE_EDIT = 1
export const POKE_CREATE = 2
export const POKE_REMOVE = 3
export const POKE_MOVE = 4
export const POKE_ATTRIB = 5
/** Opens a name as a path alone: the kernel looks where it is. */
export const POKE_LOOK = 6
/** Remembers which mount it is. */
export const POKE_PIN = 7
/** Tries what is never announced. */
export const POKE_FORBIDDEN = 8

/** Paths are relative to the root of the mount, one character per byte; '' is the root. */
export interface PokeOrder {
  operation: number
  mode: number
  parent: string
  name: string
  newParent: string
  newName: string
}

/** The program; beside the addon. */
export function pokeProgram(): string {
  return join(dirname(addonPath()), 'lattice-poke')
}

export class PokeProcess {
  readonly #child: ChildProcess
  #answer: ((errno: number) => void) | undefined
  #fail: ((error: Error) => void) | undefined
  #received = Buffer.alloc(0)

  /** Resolves when it has ended, however. */
  readonly ended: Promise<void>

  constructor(directory: string) {
    const child = spawn(pokeProgram(), [directory], {
      stdio: ['pipe', 'pipe', 'ignore'],
      cwd: '/',
      env: {},
    })
    this.#child = child
    child.unref()
    const { stdin, stdout } = child
    stdin.on('error', () => undefined) // its end tells
    stdout.on('data', (bytes: Buffer) => this.#take(bytes))
    this.ended = new Promise((resolve) => {
      const end = (why: string): void => {
        this.#fail?.(new LatticeError('closed', `the poker has ended: ${why}`))
        resolve()
      }
      child.once('error', (error) => end(error.message))
      child.once('exit', (code, signal) => end(String(signal ?? code)))
    })
  }

  /** Undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Resolves to the errno of the call. Rejects 'closed' when the poker ends instead. */
  order(order: PokeOrder): Promise<number> {
    const { promise, resolve, reject } = withResolvers<number>()
    const timer = setTimeout(() => this.kill(), ANSWER_TIMEOUT_MS)
    timer.unref()
    this.#answer = resolve
    this.#fail = reject
    const { exitCode, signalCode } = this.#child
    if (exitCode !== null || signalCode !== null || this.pid === undefined) {
      reject(new LatticeError('closed', 'the poker has ended'))
    } else {
      this.#child.stdin?.write(encode(order))
    }
    return promise.finally(() => {
      clearTimeout(timer)
      this.#answer = undefined
      this.#fail = undefined
    })
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #take(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes])
    if (this.#received.length < RESULT_BYTES) return
    const errno = this.#received.readInt32LE(0)
    this.#received = this.#received.subarray(RESULT_BYTES)
    this.#answer?.(errno)
  }
}

function encode(order: PokeOrder): Buffer {
  const { operation, mode, parent, name, newParent, newName } = order
  const texts = Buffer.from([parent, name, newParent, newName, ''].join('\0'), 'latin1')
  const header = Buffer.alloc(ORDER_HEADER_BYTES)
  header.writeUInt32LE(8 + texts.length, 0)
  header.writeUInt32LE(operation, 4)
  header.writeUInt32LE(mode, 8)
  return Buffer.concat([header, texts])
}

function withResolvers<T>(): {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: Error) => void
} {
  let resolve: (value: T) => void = () => undefined
  let reject: (error: Error) => void = () => undefined
  const promise = new Promise<T>((res, rej) => {
    resolve = res
    reject = rej
  })
  return { promise, resolve, reject }
}
