// The control API's client, the only part of api/ that the command line imports. One connection,
// kept open until close(): a daemon that serves nothing stays as long as somebody is connected.

import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { LatticeError, errnoName } from '../util/errors.ts'
import type { ErrorCode } from '../util/errors.ts'
import { withSocketAddress } from './client-address.ts'
import { API_PREFIX } from './client-types.ts'
import type * as Api from './client-types.ts'
import type * as Pairing from './client-pairing-types.ts'
import type * as Where from './client-where-types.ts'

export class ControlClient {
  readonly #socket: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })

  private constructor(socket: string) {
    this.#socket = socket
  }

  /** Throws 'daemon-not-running' when nobody answers on the socket. */
  static async connect(socket: string): Promise<ControlClient> {
    const client = new ControlClient(socket)
    try {
      await client.version()
      return client
    } catch (error) {
      client.close()
      throw error
    }
  }

  close(): void {
    this.#agent.destroy()
  }

  version(): Promise<Api.VersionInfo> {
    return this.#call('GET', '/version')
  }

  status(): Promise<Api.Status> {
    return this.#call('GET', '/status')
  }

  createVault(body: Api.CreateVaultRequest): Promise<Api.CreateVaultResult> {
    return this.#call('POST', '/vaults', body)
  }

  mount(vaultId: string, body: Api.MountRequest): Promise<Api.MountResult> {
    return this.#call('POST', `/vaults/${vaultId}/mount`, body)
  }

  unmount(vaultId: string, body: Api.UnmountRequest): Promise<Api.VaultStatus> {
    return this.#call('POST', `/vaults/${vaultId}/unmount`, body)
  }

  clearDeadMount(directory: string): Promise<void> {
    return this.#call('POST', '/unmount', { directory })
  }

  check(vaultId: string, body: Api.CheckRequest): Promise<Api.CheckResult> {
    return this.#call('POST', `/vaults/${vaultId}/check`, body)
  }

  sync(vaultId: string): Promise<Api.VaultStatus> {
    return this.#call('POST', `/vaults/${vaultId}/sync`, {})
  }

  names(vaultId: string, body: Api.NamesRequest): Promise<Api.NamesResult> {
    return this.#call('POST', `/vaults/${vaultId}/names`, body)
  }

  conflicts(vaultId: string, body: Api.ConflictsRequest): Promise<Api.ConflictsResult> {
    return this.#call('POST', `/vaults/${vaultId}/conflicts`, body)
  }

  resolve(vaultId: string, body: Api.ResolveRequest): Promise<Api.ResolveResult> {
    return this.#call('POST', `/vaults/${vaultId}/resolve`, body)
  }

  log(vaultId: string, body: Api.LogRequest): Promise<Api.LogResult> {
    return this.#call('POST', `/vaults/${vaultId}/log`, body)
  }

  fileVersion(vaultId: string, body: Api.VersionRequest): Promise<Api.VersionResult> {
    return this.#call('POST', `/vaults/${vaultId}/version`, body)
  }

  members(vaultId: string): Promise<Api.MembersResult> {
    return this.#call('GET', `/vaults/${vaultId}/members`)
  }

  invite(vaultId: string, body: Pairing.InviteRequest): Promise<Pairing.InviteMade> {
    return this.#call('POST', `/vaults/${vaultId}/invites`, body)
  }

  invites(vaultId: string): Promise<Pairing.InvitesResult> {
    return this.#call('GET', `/vaults/${vaultId}/invites`)
  }

  waitInvite(vaultId: string, id: string, body: Pairing.WaitRequest): Promise<Pairing.Invite> {
    return this.#call('POST', `/vaults/${vaultId}/invites/${id}/wait`, body)
  }

  decideInvite(vaultId: string, id: string, body: Pairing.DecideRequest): Promise<void> {
    return this.#call('POST', `/vaults/${vaultId}/invites/${id}/decide`, body)
  }

  revokeInvite(vaultId: string, id: string): Promise<Pairing.Invite> {
    return this.#call('POST', `/vaults/${vaultId}/invites/${id}/revoke`, {})
  }

  join(body: Pairing.JoinRequest): Promise<Pairing.Join> {
    return this.#call('POST', '/joins', body)
  }

  recover(body: Pairing.RecoverRequest): Promise<Pairing.Join> {
    return this.#call('POST', '/recoveries', body)
  }

  waitJoin(id: string, body: Pairing.WaitRequest): Promise<Pairing.Join> {
    return this.#call('POST', `/joins/${id}/wait`, body)
  }

  decideJoin(id: string, body: Pairing.DecideRequest): Promise<void> {
    return this.#call('POST', `/joins/${id}/decide`, body)
  }

  removeMember(vaultId: string, body: Pairing.MemberRequest): Promise<Pairing.MemberResult> {
    return this.#call('POST', `/vaults/${vaultId}/members/remove`, body)
  }

  setRole(vaultId: string, body: Pairing.RoleRequest): Promise<Pairing.MemberResult> {
    return this.#call('POST', `/vaults/${vaultId}/members/role`, body)
  }

  rotate(vaultId: string): Promise<Pairing.MemberResult> {
    return this.#call('POST', `/vaults/${vaultId}/rotate`, {})
  }

  renameDevice(vaultId: string, body: Pairing.RenameRequest): Promise<Pairing.MemberResult> {
    return this.#call('POST', `/vaults/${vaultId}/rename`, body)
  }

  replacePhrase(
    vaultId: string, body: { withPhrase: boolean },
  ): Promise<Pairing.ReplacePhraseResult> {
    return this.#call('POST', `/vaults/${vaultId}/phrase`, body)
  }

  peers(vaultId: string): Promise<Pairing.PeersResult> {
    return this.#call('GET', `/vaults/${vaultId}/peers`)
  }

  pins(vaultId: string): Promise<Where.PinsResult> {
    return this.#call('GET', `/vaults/${vaultId}/pins`)
  }

  pin(vaultId: string, body: Where.PathRequest): Promise<Where.PinsResult> {
    return this.#call('POST', `/vaults/${vaultId}/pin`, body)
  }

  unpin(vaultId: string, body: Where.PathRequest): Promise<Where.PinsResult> {
    return this.#call('POST', `/vaults/${vaultId}/unpin`, body)
  }

  copies(vaultId: string, body: Where.CopiesRequest): Promise<Where.CopiesResult> {
    return this.#call('POST', `/vaults/${vaultId}/copies`, body)
  }

  /** One step; to be asked again until it is done. */
  evict(vaultId: string, body: Where.EvictRequest): Promise<Where.EvictResult> {
    return this.#call('POST', `/vaults/${vaultId}/evict`, body)
  }

  content(vaultId: string): Promise<Where.ContentResult> {
    return this.#call('GET', `/vaults/${vaultId}/content`)
  }

  recoveryPhrases(body: Api.KeyAccess): Promise<Api.PhraseResult> {
    return this.#call('POST', '/keys/recovery', body)
  }

  restoreKeys(body: Api.RestoreRequest): Promise<Api.RestoreResult> {
    return this.#call('POST', '/keys/restore', body)
  }

  async #call<Result>(method: string, path: string, body?: object): Promise<Result> {
    const text = body === undefined ? '' : JSON.stringify(body)
    const response = await withSocketAddress(this.#socket, (socketPath) =>
      this.#exchange(socketPath, method, path, text),
    )
    const value = parseJson(response.text)
    if (response.status >= 200 && response.status < 300) return value as Result
    throw errorOf(value, response.status)
  }

  #exchange(
    socketPath: string,
    method: string,
    path: string,
    body: string,
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = body === '' ? {} : {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      }
      const agent = this.#agent
      const options = { socketPath, method, path: `${API_PREFIX}${path}`, headers, agent }
      const outgoing = request(options, (response) => {
        collect(response).then(
          (text) => resolve({ status: response.statusCode ?? 500, text }),
          (error: unknown) => reject(gone(error)),
        )
      })
      outgoing.on('error', (error) => reject(gone(error)))
      outgoing.end(body)
    })
  }
}

async function collect(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('utf8')
}

/** No socket, nobody listening, or the daemon went away in the middle. */
function gone(error: unknown): Error {
  const name = errnoName(error)
  if (name === 'ENOENT' || name === 'ECONNREFUSED') {
    return new LatticeError('daemon-not-running', 'the daemon is not running', {
      hint: 'mount a vault: lattice mount DIR',
    })
  }
  if (name === 'EACCES' || name === 'EPERM') {
    return new LatticeError('denied', 'the control socket may not be used', {
      hint: 'it belongs to the user who started the daemon',
    })
  }
  return new LatticeError('closed', 'the daemon ended while it was asked', {
    hint: 'its log says why: daemon.log in the state directory',
    cause: error,
  })
}

function parseJson(text: string): unknown {
  try {
    return text === '' ? undefined : (JSON.parse(text) as unknown)
  } catch (cause) {
    const message = 'the daemon answered with something that is not JSON'
    throw new LatticeError('internal', message, { cause })
  }
}

function errorOf(value: unknown, status: number): LatticeError {
  const problem = (typeof value === 'object' && value !== null ? value : {}) as Partial<Api.Problem>
  return new LatticeError(
    (problem.reason ?? 'internal') as ErrorCode,
    problem.title ?? `the daemon answered with status ${status}`,
    { hint: problem.hint, details: problem.details },
  )
}
