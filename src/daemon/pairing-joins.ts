// Joins and recoveries that are going on in this daemon: one task each, from the first dial to the
// stored vault, which a command watches and answers for. What fails leaves nothing but the
// unfinished device keys (pairing-join.ts), and may be begun again with the same code.

import type * as Api from '../api/client-pairing-types.ts'
import type { VaultStatus } from '../api/client-types.ts'
import { loadConfig, newVaultName } from '../config/config-file.ts'
import type { VaultEntry } from '../config/config-schema.ts'
import type { Paths } from '../config/paths.ts'
import { deriveKey } from '../crypto/kdf.ts'
import type { KeyRing } from '../crypto/key-ring.ts'
import { entropyOf, recoveryKeys } from '../crypto/phrase.ts'
import { wipe } from '../crypto/secret.ts'
import { boxKeyPair, signKeyPair } from '../crypto/sign.ts'
import { ADDRESSES_MAX, decodeCode } from '../net/pairing/code.ts'
import { runJoiner } from '../net/pairing/joiner.ts'
import type { Timeouts } from '../net/pairing/inviter.ts'
import { rejection } from '../net/pairing/messages.ts'
import type { Offer } from '../net/pairing/messages.ts'
import type { Address, PairingNetwork } from '../net/pairing/ports.ts'
import { runRecovering } from '../net/pairing/recovery.ts'
import { inviteSecrets, recoveryDoor, wipeDoor, wipeInvite } from '../net/pairing/secrets.ts'
import type { Welcome } from '../net/pairing/welcome.ts'
import { LABEL_MAX_BYTES } from '../ops/control-types.ts'
import { toHex } from '../util/bytes.ts'
import { LatticeError, fromSystemError } from '../util/errors.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import { Question, Watched } from './pairing-events.ts'
import { beginJoin, saveUnfinished, storeJoined, wipeUnfinished } from './pairing-join.ts'
import type { UnfinishedJoin } from './pairing-join.ts'

const JOINS_MAX = 4
const ENDED_KEPT = 16

export interface JoinsOptions {
  paths: Paths
  network: PairingNetwork
  log: Log
  /** Opens the key file, or makes it. */
  openRing: (access: Api.JoinRequest) => Promise<{ ring: KeyRing; made: boolean }>
  saveKeys: () => Promise<void>
  /** One after the other with whatever else changes vaults. */
  exclusive: <T>(task: () => Promise<T>) => Promise<T>
  /** Checks, and makes, the directory of a new vault; throws what speaks against it. */
  prepare: (directory: string) => Promise<void>
  statusOf: (entry: VaultEntry) => Promise<VaultStatus>
  /** This device's name when none is given. */
  label: () => string
  timeouts?: Timeouts
}

interface Task {
  shown: Omit<Api.Join, 'revision' | 'isAsked'>
  watched: Watched
  question: Question
  abort: AbortController
  ended: Promise<void>
}

export class Joins {
  readonly #options: JoinsOptions
  readonly #tasks = new Map<string, Task>()
  #count = 0

  constructor(options: JoinsOptions) {
    this.#options = options
  }

  get running(): number {
    return [...this.#tasks.values()].filter(({ shown }) => isRunning(shown)).length
  }

  /** Throws at once what is wrong with code, directory or keys; the rest is in the status. */
  async join(request: Api.JoinRequest): Promise<Api.Join> {
    const code = decodeCode(request.code)
    const label = this.#label(request)
    const addresses = [...peersOf(request.peers), ...code.addresses]
    const { ring, made } = await this.#begin(request)
    return this.#start(made, ring, async (task) => {
      const secrets = inviteSecrets(code.seed)
      const unfinished = await beginJoin(this.#options.paths, secrets.joinKey)
      const [sign, box] = [signKeyPair(unfinished.signSeed), boxKeyPair(unfinished.boxSeed)]
      const { signal } = task.abort
      const { network, timeouts } = this.#options
      try {
        const stream = await network.dial(addresses, secrets.door, signal)
        await runJoiner(stream, {
          code, secrets, sign, box, label,
          ...(timeouts === undefined ? {} : { timeouts }),
          confirm: (digits, offer, aborted) => (
            this.#confirm(task, request, unfinished, digits, offer, aborted)
          ),
          store: (welcome, offer) => this.#store(task, welcome, request, {
            ring, unfinished, device: offer.signKey,
          }),
        }, signal)
      } finally {
        wipe(sign.secretKey)
        wipe(box.secretKey)
        wipeInvite(secrets)
        wipeUnfinished(unfinished)
      }
    })
  }

  /** As join(), by the 24 words; the first vault that answers to them. */
  async recover(request: Api.RecoverRequest): Promise<Api.Join> {
    const entropy = entropyOf(request.phrase)
    const label = this.#label(request)
    const addresses = peersOf(request.peers)
    const { ring, made } = await this.#begin({ ...request, code: '', isUnattended: true })
    return this.#start(made, ring, async (task) => {
      const phrase = recoveryKeys(entropy)
      const door = recoveryDoor(phrase.sign.publicKey)
      const joinKey = deriveKey(entropy, 'lattice/0/recovery-join')
      const unfinished = await beginJoin(this.#options.paths, joinKey)
      const [sign, box] = [signKeyPair(unfinished.signSeed), boxKeyPair(unfinished.boxSeed)]
      const { signal } = task.abort
      const { network, timeouts } = this.#options
      try {
        const stream = await network.dial(addresses, door, signal)
        const device = {
          signKey: new Uint8Array(sign.publicKey), boxKey: new Uint8Array(box.publicKey), label,
        }
        await runRecovering(stream, {
          phrase, device,
          ...(timeouts === undefined ? {} : { timeouts }),
          store: (welcome) => this.#store(task, welcome, request, {
            ring, unfinished, device: new Uint8Array(32), entropy,
          }),
        }, signal)
      } finally {
        for (const pair of [sign, box, phrase.sign, phrase.box]) wipe(pair.secretKey)
        wipe(joinKey)
        wipe(entropy)
        wipeDoor(door)
        wipeUnfinished(unfinished)
      }
    })
  }

  async wait(id: string, seen: number, timeoutMs: number): Promise<Api.Join> {
    const task = this.#find(id)
    await task.watched.wait(seen, timeoutMs)
    return statusOf(task)
  }

  /** Throws 'not-ready' when no digits are shown now. 'refuse' before that ends the attempt. */
  decide(id: string, decision: Api.DecideRequest['decision']): void {
    const task = this.#find(id)
    if (task.question.answer(decision)) return
    if (decision !== 'refuse') throw new LatticeError('not-ready', 'no digits are shown now')
    task.abort.abort()
  }

  /** Ends what goes on. Idempotent. */
  async close(): Promise<void> {
    for (const { abort } of this.#tasks.values()) abort.abort()
    await Promise.all([...this.#tasks.values()].map(({ ended }) => ended))
  }

  // ---- parts ----

  async #begin(request: Api.JoinRequest): Promise<{ ring: KeyRing; made: boolean }> {
    if (this.running >= JOINS_MAX) throw new LatticeError('busy', 'too many joins at once')
    return this.#options.exclusive(async () => {
      await this.#options.prepare(request.directory)
      return this.#options.openRing(request)
    })
  }

  #start(isNew: boolean, ring: KeyRing, run: (task: Task) => Promise<void>): Api.Join {
    const id = String(++this.#count)
    const task: Task = {
      shown: { id, state: 'connecting', isNewKeyFile: isNew, protection: ring.protection },
      watched: new Watched(), question: new Question(), abort: new AbortController(),
      ended: Promise.resolve(),
    }
    this.#tasks.set(id, task)
    task.ended = run(task).catch((error: unknown) => {
      this.#options.log.info({ ...loggable(error) }, 'a join failed')
      this.#show(task, { state: 'failed', problem: problemOf(error) })
    })
    const ended = [...this.#tasks].filter(([, { shown }]) => !isRunning(shown))
    for (const [old] of ended.slice(0, -ENDED_KEPT)) this.#tasks.delete(old)
    return statusOf(task)
  }

  async #confirm(
    task: Task, { isUnattended }: Api.JoinRequest, unfinished: UnfinishedJoin, digits: string,
    offer: Offer, aborted: AbortSignal,
  ): Promise<void> {
    const key = toHex(offer.signKey)
    this.#show(task, {
      state: 'comparing', digits, vaultName: offer.vaultName, vaultId: toHex(offer.vaultId),
      role: offer.role, inviter: { label: offer.label, key: key.slice(0, 16) },
    })
    const isKnown = isUnattended || (offer.isResumed && unfinished.confirmed === key)
    const asked = isKnown ? undefined : task.question.ask(aborted)
    task.watched.changed()
    const decision = (await asked) ?? 'same'
    if (decision === 'differ') throw rejection('digits-differ')
    if (decision === 'refuse') throw rejection('pairing-refused')
    if (decision === 'gone') throw new LatticeError('closed', 'the other device went away')
    unfinished.confirmed = key
    await saveUnfinished(unfinished)
  }

  async #store(
    task: Task, welcome: Welcome, { directory }: { directory: string },
    options: {
      ring: KeyRing; unfinished: UnfinishedJoin; device: Uint8Array; entropy?: Uint8Array
    },
  ): Promise<void> {
    const { paths, saveKeys, exclusive, log } = this.#options
    this.#show(task, { state: 'storing' })
    const { role } = welcome
    const entry = await exclusive(async () => {
      const { vaults } = await loadConfig(paths)
      const name = newVaultName(directory, vaults)
      const { device, ...rest } = options
      const introducer = { device, addresses: welcome.addresses }
      return storeJoined(welcome, { paths, saveKeys, directory, name, introducer, ...rest })
    })
    log.info({ vault: entry.id, role }, 'joined')
    const vault = await this.#options.statusOf(entry)
    this.#show(task, {
      state: 'joined', vault, vaultName: welcome.name, vaultId: entry.id, role,
    })
  }

  #label({ label }: { label?: string }): string {
    const given = label ?? this.#options.label()
    if (given !== '' && Buffer.byteLength(given) <= LABEL_MAX_BYTES) return given
    throw new LatticeError('invalid', `a device's name has 1 to ${LABEL_MAX_BYTES} bytes`)
  }

  #show(task: Task, change: Partial<Task['shown']>): void {
    task.shown = { ...task.shown, ...change }
    task.watched.changed()
  }

  #find(id: string): Task {
    const task = this.#tasks.get(id)
    if (task !== undefined) return task
    throw new LatticeError('not-found', 'no such join is going on')
  }
}

/** HOST:PORT, [IPV6]:PORT. Throws 'usage'. */
export function peersOf(texts: readonly string[]): Address[] {
  return texts.slice(0, ADDRESSES_MAX).map((text) => {
    const found = /^(?:\[([0-9A-Fa-f:.]+)\]|([^[\]:]+)):(\d{1,5})$/.exec(text)
    const port = Number(found?.[3])
    const host = found?.[1] ?? found?.[2]
    if (host !== undefined && port >= 1 && port <= 65535) return { host, port }
    throw new LatticeError('usage', `${text} is no address`, { hint: 'HOST:PORT or [IPV6]:PORT' })
  })
}

function isRunning({ state }: Pick<Api.Join, 'state'>): boolean {
  return state !== 'joined' && state !== 'failed'
}

function statusOf({ shown, watched, question }: Task): Api.Join {
  return { ...shown, revision: watched.revision, isAsked: question.isOpen }
}

function problemOf(thrown: unknown): NonNullable<Api.Join['problem']> {
  const error = fromSystemError(thrown, 'joining failed')
  if (!(error instanceof LatticeError)) {
    return { reason: 'internal', message: 'something failed inside the daemon' }
  }
  const { code, message, hint } = error
  return { reason: code, message, ...(hint === undefined ? {} : { hint }) }
}
