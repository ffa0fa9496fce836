// Joining and members as the control API offers them: which vault is meant, which invites and joins
// go on, and the actions of membership.ts. The daemon tells it of vaults that open and close.

import type * as Api from '../api/client-pairing-types.ts'
import type { VaultStatus } from '../api/client-types.ts'
import type { PairingControl } from '../api/pairing-routes.ts'
import { loadConfig } from '../config/config-file.ts'
import type { VaultEntry } from '../config/config-schema.ts'
import type { Paths } from '../config/paths.ts'
import type { PairingNetwork } from '../net/pairing/ports.ts'
import { isInviteRole } from '../net/pairing/code.ts'
import type { Role } from '../ops/control-types.ts'
import type { MemberInfo } from '../state/members-types.ts'
import { LatticeError } from '../util/errors.ts'
import { SystemRandom } from './clock.ts'
import type { Engine } from './engine.ts'
import { EpochRotation } from './epoch-rotation.ts'
import type { KeyStore } from './key-store.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import { VaultMembership, followPhrase, hexOf } from './membership.ts'
import { deviceLabel } from './open-vault.ts'
import { PairingHost } from './pairing-host.ts'
import { InviteBook } from './pairing-invites.ts'
import { Joins } from './pairing-joins.ts'

/** Below what a proxy, a client or a person would take for a hang. */
const WAIT_MS = 25_000

export interface PairingControlOptions {
  paths: Paths
  keys: KeyStore
  log: Log
  /** For dialling only. */
  dialler: PairingNetwork
  /** Of an open vault, which listens when it resolves. */
  listening: (vaultId: string) => Promise<PairingNetwork>
  /** One after the other with whatever else opens or makes vaults. */
  exclusive: <T>(task: () => Promise<T>) => Promise<T>
  /** Checks, and makes, the directory of a new vault. */
  prepare: (directory: string) => Promise<void>
  statusOf: (entry: VaultEntry) => Promise<VaultStatus>
  /** Throws 'vault-not-found', 'not-mounted'. */
  checkOpen: (vaultId: string) => Promise<void>
  /** What the sync worker knows of the other devices. */
  peers: (vaultId: string) => Promise<Api.PeersResult>
}

interface OpenVault {
  entry: VaultEntry
  membership: VaultMembership
  book: InviteBook
  rotation: EpochRotation
  host: Promise<PairingHost> | undefined
}

export class DaemonPairing implements PairingControl {
  readonly #options: PairingControlOptions
  readonly #open = new Map<string, OpenVault>()
  readonly #joins: Joins

  constructor(options: PairingControlOptions) {
    this.#options = options
    const { paths, keys, log, dialler, exclusive, prepare, statusOf } = options
    this.#joins = new Joins({
      paths, log, exclusive, prepare, statusOf,
      network: dialler,
      openRing: async (access) => keys.openOrCreate(access, (await loadConfig(paths)).vaults),
      saveKeys: () => keys.save(),
      label: deviceLabel,
    })
  }

  /** Joins that go on: the daemon stays for them. */
  get running(): number {
    return this.#joins.running
  }

  // ---- vaults that open and close

  /** Doors of pending invites open again; nothing is listened to when there are none. */
  async opened(entry: VaultEntry, engine: Engine, isReadOnly: boolean): Promise<void> {
    if (isReadOnly) return
    const { keys, log } = this.#options
    const vaultKeys = keys.keysOf(entry.id)
    const membership = new VaultMembership({
      engine, keys: vaultKeys, saveKeys: () => keys.save(), random: new SystemRandom(),
    })
    if (followPhrase(vaultKeys, membership.members)) await keys.save()
    const book = await InviteBook.open(engine.state.path, vaultKeys)
    const rotation = new EpochRotation({ membership, keys: engine.keys, log })
    const vault: OpenVault = { entry, membership, book, rotation, host: undefined }
    this.#open.set(entry.id, vault)
    const isPending = book.records.some(({ state, expiryMs }) => (
      state === 'pending' && expiryMs > Date.now()
    ))
    if (!isPending) return
    await this.#hostOf(vault).catch((error: unknown) => {
      log.warn({ vault: entry.id, ...loggable(error) }, 'pending invites cannot be served')
    })
  }

  /** Before the engine is closed. Idempotent. */
  async closing(vaultId: string): Promise<void> {
    const vault = this.#open.get(vaultId)
    this.#open.delete(vaultId)
    await vault?.rotation.close()
    const host = await vault?.host?.catch(() => undefined)
    await host?.close()
  }

  async close(): Promise<void> {
    await this.#joins.close()
    for (const id of this.#open.keys()) await this.closing(id)
  }

  // ---- invites

  async invite(vaultId: string, request: Api.InviteRequest): Promise<Api.InviteMade> {
    const { role, lifetimeMs, isUnattended } = request
    if (!isInviteRole(role)) throw new LatticeError('usage', 'an invite grants no such role')
    const host = await this.#hostOf(await this.#vault(vaultId))
    const { id, code } = await host.invite({ role, lifetimeMs, isUnattended })
    return { id, code, invite: await host.wait(id, -1, 0) }
  }

  async invites(vaultId: string): Promise<Api.InvitesResult> {
    const vault = await this.#vault(vaultId)
    return { invites: vault.book.records.length === 0 ? [] : (await this.#hostOf(vault)).list() }
  }

  async waitInvite(vaultId: string, id: string, request: Api.WaitRequest): Promise<Api.Invite> {
    const host = await this.#hostOf(await this.#vault(vaultId))
    return host.wait(id, request.revision, WAIT_MS)
  }

  async decideInvite(vaultId: string, id: string, request: Api.DecideRequest): Promise<void> {
    const host = await this.#hostOf(await this.#vault(vaultId))
    host.decide(id, request.decision)
  }

  async revokeInvite(vaultId: string, id: string): Promise<Api.Invite> {
    return (await this.#hostOf(await this.#vault(vaultId))).revoke(id)
  }

  // ---- joins

  join(request: Api.JoinRequest): Promise<Api.Join> {
    return this.#joins.join(request)
  }

  recover(request: Api.RecoverRequest): Promise<Api.Join> {
    return this.#joins.recover(request)
  }

  waitJoin(id: string, request: Api.WaitRequest): Promise<Api.Join> {
    return this.#joins.wait(id, request.revision, WAIT_MS)
  }

  async decideJoin(id: string, request: Api.DecideRequest): Promise<void> {
    this.#joins.decide(id, request.decision)
    await Promise.resolve()
  }

  // ---- members

  async removeMember(vaultId: string, request: Api.MemberRequest): Promise<Api.MemberResult> {
    const { membership } = await this.#vault(vaultId)
    const member = membership.find(request.device)
    if (member.role === undefined) {
      throw new LatticeError('not-found', `${request.device} was removed already`)
    }
    await membership.remove(member.device)
    return resultOf(membership, member)
  }

  async setRole(vaultId: string, request: Api.RoleRequest): Promise<Api.MemberResult> {
    const { membership } = await this.#vault(vaultId)
    const member = membership.find(request.device)
    await membership.setRole(member.device, request.role as Role)
    return resultOf(membership, member)
  }

  async rotate(vaultId: string): Promise<Api.MemberResult> {
    const { membership } = await this.#vault(vaultId)
    await membership.rotate()
    return ownResult(membership)
  }

  async renameDevice(vaultId: string, request: Api.RenameRequest): Promise<Api.MemberResult> {
    const { membership } = await this.#vault(vaultId)
    await membership.rename(request.label)
    return ownResult(membership)
  }

  async replacePhrase(
    vaultId: string, request: { withPhrase: boolean },
  ): Promise<Api.ReplacePhraseResult> {
    const vault = await this.#vault(vaultId)
    const phrase = await vault.membership.replacePhrase()
    const host = await vault.host
    host?.openRecovery()
    const epoch = vault.membership.members.currentEpoch()
    return request.withPhrase ? { phrase, epoch } : { epoch }
  }

  async peers(vaultId: string): Promise<Api.PeersResult> {
    await this.#options.checkOpen(vaultId)
    return this.#options.peers(vaultId)
  }

  // ---- parts

  async #vault(vaultId: string): Promise<OpenVault> {
    await this.#options.checkOpen(vaultId)
    const vault = this.#open.get(vaultId)
    if (vault !== undefined) return vault
    throw new LatticeError('denied', 'the vault is mounted read-only', {
      hint: 'mount it without -o ro to change its members',
    })
  }

  #hostOf(vault: OpenVault): Promise<PairingHost> {
    const { log, listening } = this.#options
    vault.host ??= listening(vault.entry.id).then((network) => PairingHost.open({
      membership: vault.membership, vaultName: vault.entry.name, book: vault.book,
      network, log,
    })).catch((error: unknown) => {
      vault.host = undefined
      throw error
    })
    return vault.host
  }
}

function ownResult(membership: VaultMembership): Api.MemberResult {
  const own = membership.members.get(membership.self)
  if (own === undefined) throw new LatticeError('not-ready', 'this device is no member yet')
  return resultOf(membership, own)
}

function resultOf(membership: VaultMembership, { device }: MemberInfo): Api.MemberResult {
  const { members } = membership
  return {
    device: hexOf(device), label: members.label(device),
    role: members.get(device)?.role ?? 'removed', epoch: members.currentEpoch(),
  }
}
