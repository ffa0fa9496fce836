// The inviting side of an open vault: doors of its pending invites (and, at a full member, of the
// recovery phrase), the connections that come through them, and the person who decides.
//
// Invariants: an attempt is counted durably before the joiner learns a nonce; an invite is noted as
// used, with the device, before that device is added, so that no second one ever is; a device that
// was let in and did not get to its end is given the same again, and nobody else.

import { authorKey, inviteCodeOf, sealedWelcome } from './pairing-welcome.ts'
import { Question, Watched } from './pairing-events.ts'
import type { Decision } from './pairing-events.ts'
import { isForgotten } from './pairing-invites.ts'
import type { InviteBook, InviteRecord } from './pairing-invites.ts'
import type { VaultMembership } from './membership.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import type * as Api from '../api/client-pairing-types.ts'
import { randomBytes } from '../crypto/random.ts'
import { wipe } from '../crypto/secret.ts'
import { signKeyPair } from '../crypto/sign.ts'
import type { InviteRole } from '../net/pairing/code.ts'
import { runInviter } from '../net/pairing/inviter.ts'
import type { JoiningDevice, Timeouts } from '../net/pairing/inviter.ts'
import { rejection } from '../net/pairing/messages.ts'
import type { PairingNetwork, PairingStream } from '../net/pairing/ports.ts'
import { runHolder } from '../net/pairing/recovery.ts'
import { inviteSecrets, recoveryDoor, wipeDoor, wipeInvite } from '../net/pairing/secrets.ts'
import type { InviteSecrets } from '../net/pairing/secrets.ts'
import { must } from '../util/assert.ts'
import { fromHex, toHex } from '../util/bytes.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'

export const ATTEMPTS_MAX = 5
const LIFETIME_MAX_MS = 30 * 24 * 3600 * 1000
/** Connections of one door at a time. */
const STREAMS_MAX = 4
const LABEL_UNKNOWN = 'device'

export interface PairingHostOptions {
  membership: VaultMembership
  vaultName: string
  book: InviteBook
  network: PairingNetwork
  log: Log
  nowMs?: () => number
  timeouts?: Timeouts
}

interface Live {
  secrets: InviteSecrets
  close: () => void
  streams: number
  watched: Watched
  question: Question
  /** The device that digits are compared with now. */
  comparing: { device: JoiningDevice; digits: string } | undefined
  isBusy: boolean
}

export class PairingHost {
  readonly #options: PairingHostOptions
  readonly #live = new Map<string, Live>()
  readonly #abort = new AbortController()
  readonly #running = new Set<Promise<void>>()
  #closeRecovery: (() => void) | undefined

  private constructor(options: PairingHostOptions) {
    this.#options = options
  }

  static open(options: PairingHostOptions): PairingHost {
    const host = new PairingHost(options)
    const now = host.#nowMs()
    for (const record of options.book.records) if (!isForgotten(record, now)) host.#openDoor(record)
    host.openRecovery()
    return host
  }

  /** Throws 'denied' when this device may not grant the role, 'not-ready', 'invalid', 'busy'. */
  async invite(
    request: { role: InviteRole; lifetimeMs: number; isUnattended: boolean },
  ): Promise<{ id: string; code: string }> {
    const { membership, book, network } = this.#options
    membership.checkReady()
    const { role, lifetimeMs, isUnattended } = request
    if (!(lifetimeMs >= 1000 && lifetimeMs <= LIFETIME_MAX_MS)) {
      throw new LatticeError('invalid', 'an invite lasts from a second to 30 days')
    }
    const seed = randomBytes(16)
    const secrets = inviteSecrets(seed)
    const codeKey = new Uint8Array(secrets.code.publicKey)
    wipeInvite(secrets)
    const now = this.#nowMs()
    const record: InviteRecord = {
      id: toHex(codeKey.subarray(0, 4)), seed: toHex(seed), role, createdMs: now,
      expiryMs: Math.ceil((now + lifetimeMs) / 1000) * 1000, isUnattended, state: 'pending',
      attempts: 0,
    }
    await book.add(record, now)
    try {
      await membership.invite(codeKey, role, record.expiryMs)
    } catch (error) {
      await book.update(record.id, { state: 'revoked', endedMs: now })
      throw error
    }
    this.#openDoor(record)
    return { id: record.id, code: inviteCodeOf(record, membership.self, network.addresses()) }
  }

  list(): Api.Invite[] {
    return this.#options.book.records.map((record) => this.#status(record))
  }

  /** The status once it is another than the caller knows, or after a while. */
  async wait(id: string, seen: number, timeoutMs: number): Promise<Api.Invite> {
    const { book } = this.#options
    const { expiryMs, state } = book.find(id)
    const leftMs = state === 'pending' ? expiryMs - this.#nowMs() : Infinity
    const waitMs = leftMs > 0 ? Math.min(timeoutMs, leftMs + 1) : 0
    await this.#live.get(id)?.watched.wait(seen, waitMs)
    return this.#status(book.find(id))
  }

  /** Throws 'not-ready' when no digits are shown now. */
  decide(id: string, decision: Exclude<Decision, 'gone'>): void {
    this.#options.book.find(id)
    if (this.#live.get(id)?.question.answer(decision) === true) return
    throw new LatticeError('not-ready', 'no device is waiting for an answer', {
      hint: 'lattice invites shows what is going on',
    })
  }

  /** Ends it, and who is pairing by it. A used one stays used. */
  async revoke(id: string): Promise<Api.Invite> {
    const { book } = this.#options
    const { state } = book.find(id)
    if (state === 'used') {
      throw new LatticeError('invite-used', 'the invite was used already', {
        hint: 'lattice remove DEVICE takes the device out again',
      })
    }
    if (state === 'pending') await this.#end(id, 'revoked', 'invite-revoked')
    this.#live.get(id)?.question.answer('refuse')
    return this.#status(book.find(id))
  }

  /** Serves the phrase in force; called again when it may be another one. */
  openRecovery(): void {
    this.#closeRecovery?.()
    this.#closeRecovery = undefined
    const { membership, network } = this.#options
    if (!membership.isFull || membership.own?.role === undefined) return
    const closers = membership.members.phrases().map(({ signKey }) => {
      const door = recoveryDoor(signKey)
      let streams = 0
      const accept = (stream: PairingStream): void => {
        if (streams >= STREAMS_MAX) return void stream.destroy()
        streams += 1
        this.#track(this.#hold(stream, signKey), 'a recovery', () => (streams -= 1))
      }
      const close = network.open({ ...door, accept })
      return () => {
        close()
        wipeDoor(door)
      }
    })
    this.#closeRecovery = () => closers.forEach((close) => close())
  }

  /** Closes the doors and ends what goes on. Idempotent. */
  async close(): Promise<void> {
    this.#abort.abort()
    this.#closeRecovery?.()
    this.#closeRecovery = undefined
    await Promise.all(this.#running)
    for (const { close, secrets } of this.#live.values()) {
      close()
      wipeInvite(secrets)
    }
    this.#live.clear()
  }

  // ---- one connection ----

  #openDoor(record: InviteRecord): void {
    const secrets = inviteSecrets(must(fromHex(record.seed), 'a seed in hex'))
    const live: Live = {
      secrets, close: () => undefined, streams: 0, watched: new Watched(),
      question: new Question(), comparing: undefined, isBusy: false,
    }
    const accept = (stream: PairingStream): void => {
      if (live.streams >= STREAMS_MAX) return void stream.destroy()
      live.streams += 1
      this.#track(this.#serve(stream, record.id, live), 'a pairing', () => (live.streams -= 1))
    }
    live.close = this.#options.network.open({ ...secrets.door, accept })
    this.#live.set(record.id, live)
  }

  async #serve(stream: PairingStream, id: string, live: Live): Promise<void> {
    const { membership, book, vaultName, timeouts } = this.#options
    const record = book.find(id)
    const sign = signKeyPair(membership.keys.signSeed)
    let isMine = false
    try {
      await runInviter(stream, {
        sign,
        label: membership.own?.label ?? LABEL_UNKNOWN,
        vaultId: membership.keys.vaultId,
        vaultName,
        role: record.role,
        codeKey: live.secrets.code.publicKey,
        ...(timeouts === undefined ? {} : { timeouts }),
        begin: async (device) => {
          const begun = await this.#begin(id, live, device)
          isMine = !begun.isResumed
          return begun
        },
        confirm: (digits, device, signal) => this.#confirm(id, live, { device, digits }, signal),
        admit: (device) => this.#admit(id, live, device),
        stored: () => live.watched.changed(),
      }, this.#abort.signal)
    } catch (error) {
      await this.#failed(id, error)
      throw error
    } finally {
      wipe(sign.secretKey)
      if (isMine) live.isBusy = false
      if (isMine) live.comparing = undefined
      live.watched.changed()
    }
  }

  async #begin(
    id: string, live: Live, device: JoiningDevice,
  ): Promise<{ isResumed: boolean }> {
    const { book } = this.#options
    const record = book.find(id)
    if (record.state === 'used') {
      if (record.device === toHex(device.signKey)) return { isResumed: true }
      throw rejection('invite-used')
    }
    if (record.state === 'revoked') throw rejection('invite-revoked')
    if (record.state === 'spent') throw rejection('invite-spent')
    if (this.#nowMs() >= record.expiryMs) throw rejection('invite-expired')
    if (live.isBusy) throw rejection('invite-busy')
    if (record.attempts >= ATTEMPTS_MAX) {
      await this.#end(id, 'spent', 'invite-spent')
      throw rejection('invite-spent')
    }
    live.isBusy = true
    try {
      await book.update(id, { attempts: record.attempts + 1 })
    } catch (error) {
      live.isBusy = false
      throw error
    }
    return { isResumed: false }
  }

  async #confirm(
    id: string, live: Live, comparing: NonNullable<Live['comparing']>, signal: AbortSignal,
  ): Promise<void> {
    live.comparing = comparing
    live.watched.changed()
    if (this.#options.book.find(id).isUnattended) return
    const decision = await live.question.ask(signal)
    if (decision === 'differ') throw rejection('digits-differ')
    if (decision === 'refuse') throw rejection(this.#endedBy(id) ?? 'pairing-refused')
    if (decision === 'gone') throw new LatticeError('closed', 'the other device went away')
  }

  #endedBy(id: string): 'invite-revoked' | undefined {
    return this.#options.book.find(id).state === 'revoked' ? 'invite-revoked' : undefined
  }

  async #admit(id: string, live: Live, device: JoiningDevice): Promise<Uint8Array> {
    const { membership, book, network, vaultName } = this.#options
    const record = book.find(id)
    const label = device.label === '' ? LABEL_UNKNOWN : device.label
    if (record.state !== 'used') {
      if (record.state !== 'pending') throw rejection('invite-revoked')
      const used = { state: 'used', device: toHex(device.signKey), label } as const
      await book.update(id, { ...used, endedMs: this.#nowMs() })
    }
    await membership.admit({
      device: authorKey(device.signKey), boxKey: device.boxKey, role: record.role, label,
      code: new Uint8Array(live.secrets.code.publicKey),
    })
    this.#options.log.info({ device: toHex(device.signKey).slice(0, 16) }, 'a device was let in')
    const role = membership.members.get(authorKey(device.signKey))?.role ?? record.role
    return sealedWelcome(membership, vaultName, role, device.boxKey, network.addresses())
  }

  /** What an attempt failed of may end the invite: wrong digits, or a refusal, mean danger. */
  async #failed(id: string, error: unknown): Promise<void> {
    const code = isLatticeError(error) ? error.code : 'internal'
    const { state } = this.#options.book.find(id)
    if (state !== 'pending') return
    if (code === 'digits-differ') await this.#end(id, 'spent', code)
    else await this.#options.book.update(id, { problem: code })
  }

  async #end(id: string, state: 'revoked' | 'spent', problem: string): Promise<void> {
    await this.#options.book.update(id, { state, problem, endedMs: this.#nowMs() })
    this.#live.get(id)?.watched.changed()
  }

  async #hold(stream: PairingStream, phraseKey: Uint8Array): Promise<void> {
    const { membership, vaultName, network, timeouts, log } = this.#options
    const phrase = (): { serialMax: number; boxKey: Uint8Array } => {
      const found = membership.members.phrases()
        .find(({ signKey }) => toHex(signKey) === toHex(phraseKey))
      if (found === undefined) throw rejection('wrong-phrase')
      return found
    }
    await runHolder(stream, {
      phraseKey,
      vaultId: membership.keys.vaultId,
      vaultName,
      ...(timeouts === undefined ? {} : { timeouts }),
      nextSerial: () => phrase().serialMax + 1,
      admit: async (device, certificate) => {
        const { boxKey } = phrase()
        const label = device.label === '' ? LABEL_UNKNOWN : device.label
        const added = { device: authorKey(device.signKey), boxKey: device.boxKey, label }
        await membership.carry(added, certificate)
        log.warn({ device: toHex(device.signKey).slice(0, 16) }, 'let in by the recovery phrase')
        return sealedWelcome(
          membership, vaultName, 'owner', boxKey, network.addresses(), phraseKey,
        )
      },
    }, this.#abort.signal)
  }

  #track(work: Promise<void>, what: string, ended: () => void): void {
    const { log } = this.#options
    const running = work
      .catch((error: unknown) => log.info({ ...loggable(error) }, `${what} ended early`))
      .finally(() => {
        ended()
        this.#running.delete(running)
      })
    this.#running.add(running)
  }

  // ---- what is shown ----

  #status(record: InviteRecord): Api.Invite {
    const live = this.#live.get(record.id)
    const { comparing } = live ?? {}
    const { id, role, createdMs, expiryMs, attempts, problem } = record
    const device = comparing === undefined
      ? deviceOf(record)
      : { label: comparing.device.label, key: toHex(comparing.device.signKey).slice(0, 16) }
    return {
      id, role, createdMs, expiryMs, attempts,
      state: this.#stateOf(record, live),
      revision: live?.watched.revision ?? 0,
      ...(problem === undefined ? {} : { problem }),
      ...(device === undefined ? {} : { device }),
      ...(comparing === undefined ? {} : { digits: comparing.digits }),
      isAsked: live?.question.isOpen ?? false,
    }
  }

  #stateOf(record: InviteRecord, live: Live | undefined): Api.Invite['state'] {
    if (record.state === 'used') return 'joined'
    if (record.state !== 'pending') return record.state
    if (live?.comparing !== undefined) return 'comparing'
    return this.#nowMs() >= record.expiryMs ? 'expired' : 'waiting'
  }

  #nowMs(): number {
    return this.#options.nowMs?.() ?? Date.now()
  }
}

function deviceOf({ device, label }: InviteRecord): { label: string; key: string } | undefined {
  return device === undefined ? undefined : { label: label ?? '', key: device.slice(0, 16) }
}

