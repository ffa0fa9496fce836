// The control API's server: HTTP on a unix socket, mode 0600 in a directory of mode 0700, so that
// whoever can connect is this user (or root). It knows no vault: everything is asked of `Control`.
//
//   GET  /api/v1/version                 POST /api/v1/vaults               create
//   GET  /api/v1/status                  POST /api/v1/vaults/{id}/mount
//   GET  /api/v1/vaults                  POST /api/v1/vaults/{id}/unmount
//   POST /api/v1/keys/recovery           POST /api/v1/vaults/{id}/check
//   POST /api/v1/keys/restore            POST /api/v1/vaults/{id}/sync
//   POST /api/v1/unmount {directory}     clears a dead mount that belongs to no vault here
//   of a mounted vault:
//   POST …/names   …/conflicts   …/resolve   …/log   …/version       GET …/members
// and what pairing-routes.ts and where-routes.ts add

import { chmod, unlink } from 'node:fs/promises'
import fastify from 'fastify'
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify'
import Type from 'typebox'
import type { TSchema } from 'typebox'
import { API_BODY_BYTES_MAX, PASSPHRASE_BYTES_MAX } from '../config/limits.ts'
import { errnoName } from '../util/errors.ts'
import { API_PREFIX } from './client-types.ts'
import type * as Api from './client-types.ts'
import { withSocketAddress } from './client-address.ts'
import { addPairingRoutes } from './pairing-routes.ts'
import type { PairingControl } from './pairing-routes.ts'
import { httpProblem, problemOf } from './problem.ts'
import { addWhereRoutes } from './where-routes.ts'
import type { WhereControl } from './where-routes.ts'

/** What the daemon offers; implemented in daemon/. Errors are LatticeErrors. */
export interface Control {
  version(): Api.VersionInfo
  status(): Promise<Api.Status>
  createVault(request: Api.CreateVaultRequest): Promise<Api.CreateVaultResult>
  mount(vaultId: string, request: Api.MountRequest): Promise<Api.MountResult>
  unmount(vaultId: string, request: Api.UnmountRequest): Promise<Api.VaultStatus>
  clearDeadMount(directory: string): Promise<void>
  check(vaultId: string, request: Api.CheckRequest): Promise<Api.CheckResult>
  sync(vaultId: string): Promise<Api.VaultStatus>
  names(vaultId: string, request: Api.NamesRequest): Promise<Api.NamesResult>
  conflicts(vaultId: string, request: Api.ConflictsRequest): Promise<Api.ConflictsResult>
  resolve(vaultId: string, request: Api.ResolveRequest): Promise<Api.ResolveResult>
  log(vaultId: string, request: Api.LogRequest): Promise<Api.LogResult>
  fileVersion(vaultId: string, request: Api.VersionRequest): Promise<Api.VersionResult>
  members(vaultId: string): Promise<Api.MembersResult>
  recoveryPhrases(access: Api.KeyAccess): Promise<Api.PhraseResult>
  restoreKeys(request: Api.RestoreRequest): Promise<Api.RestoreResult>
  readonly pairing: PairingControl
  readonly where: WhereControl
}

export interface ServerEvents {
  /** An error that is not the caller's; for the log. */
  failed(error: unknown, route: string): void
  /** Nobody is connected and no request is in work. Told after each time that ended. */
  idle(): void
}

const passphrase = Type.Optional(Type.String({ maxLength: PASSPHRASE_BYTES_MAX }))
const access = { passphrase, allowUnprotected: Type.Optional(Type.Boolean()) }
const flag = Type.Boolean()
const PATH_MAX_LENGTH = 64 * 1024
const LOG_VERSIONS_MAX = 10_000
const body = (members: Record<string, TSchema>): TSchema =>
  Type.Object(members, { additionalProperties: false })

const CREATE = body({
  ...access,
  directory: Type.String({ minLength: 1, maxLength: 4096 }),
  forMount: Type.Optional(flag),
  withPhrase: Type.Optional(flag),
})
const names = Type.Optional(Type.Enum(['bytes', 'nfc', 'caseless']))
const MOUNT = body({ ...access, readOnly: flag, allowOther: flag, dev: flag, suid: flag, names })
const UNMOUNT = body({ lazy: flag })
const CLEAR = body({ directory: Type.String({ minLength: 1, maxLength: 4096 }) })
const CHECK = body({ ...access, readData: flag })
const ACCESS = body(access)
const RESTORE = body({ ...access, phrase: Type.String({ maxLength: 4096 }) })
const path = Type.String({ maxLength: PATH_MAX_LENGTH })
const word = Type.String({ minLength: 1, maxLength: 256 })
const NAMES = body({ path })
const place = Type.String({ minLength: 1, maxLength: 4096 })
const CONFLICTS = body({ path, after: Type.Optional(place) })
const RESOLVE = body({ path, keep: word })
const LOG = body({ path, limit: Type.Integer({ minimum: 1, maximum: LOG_VERSIONS_MAX }) })
const VERSION = body({ path, id: word })
const ID = body({ id: Type.String({ pattern: '^[0-9a-f]{32}$' }) })

export class ControlServer {
  readonly #app: FastifyInstance
  readonly #socket: string
  #connections = 0
  #closing = false

  private constructor(app: FastifyInstance, socket: string) {
    this.#app = app
    this.#socket = socket
  }

  /** Listens. A socket that a killed daemon left is replaced: the caller has the daemon's lock. */
  static async open(
    socket: string,
    control: Control,
    events: ServerEvents,
  ): Promise<ControlServer> {
    const app = fastify({
      logger: false,
      bodyLimit: API_BODY_BYTES_MAX,
      keepAliveTimeout: 3600_000, // a command that prompts its user keeps its connection
      forceCloseConnections: true,
    })
    const server = new ControlServer(app, socket)
    server.#watchConnections(events)
    answerErrors(app, events)
    addRoutes(app, control)
    await unlink(socket).catch((error: unknown) => {
      if (errnoName(error) !== 'ENOENT') throw error
    })
    await withSocketAddress(socket, (path) => app.listen({ path }))
    await chmod(socket, 0o600)
    return server
  }

  get connections(): number {
    return this.#connections
  }

  /** Stops listening, ends every connection, removes the socket. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    await unlink(this.#socket).catch(() => undefined) // node removes it too
    await this.#app.close()
  }

  #watchConnections(events: ServerEvents): void {
    this.#app.server.on('connection', (connection) => {
      this.#connections += 1
      connection.on('close', () => {
        this.#connections -= 1
        if (this.#connections === 0 && !this.#closing) events.idle()
      })
    })
  }
}

function addRoutes(app: FastifyInstance, control: Control): void {
  type Id = { Params: { id: string } }
  const at = (path: string): string => `${API_PREFIX}${path}`
  app.get(at('/version'), () => control.version())
  app.get(at('/status'), () => control.status())
  app.get(at('/vaults'), async () => (await control.status()).vaults)
  app.post<{ Body: Api.CreateVaultRequest }>(
    at('/vaults'),
    { schema: { body: CREATE } },
    (request) => control.createVault(request.body),
  )
  app.post<Id & { Body: Api.MountRequest }>(
    at('/vaults/:id/mount'),
    { schema: { params: ID, body: MOUNT } },
    (request) => control.mount(request.params.id, request.body),
  )
  app.post<Id & { Body: Api.UnmountRequest }>(
    at('/vaults/:id/unmount'),
    { schema: { params: ID, body: UNMOUNT } },
    (request) => control.unmount(request.params.id, request.body),
  )
  app.post<Id & { Body: Api.CheckRequest }>(
    at('/vaults/:id/check'),
    { schema: { params: ID, body: CHECK } },
    (request) => control.check(request.params.id, request.body),
  )
  app.post<Id>(at('/vaults/:id/sync'), { schema: { params: ID } }, (request) =>
    control.sync(request.params.id),
  )
  addQueries(app, control)
  addPairingRoutes(app, control.pairing)
  addWhereRoutes(app, control.where)
  app.post<{ Body: { directory: string } }>(
    at('/unmount'),
    { schema: { body: CLEAR } },
    async (request) => {
      await control.clearDeadMount(request.body.directory)
      return {}
    },
  )
  app.post<{ Body: Api.KeyAccess }>(at('/keys/recovery'), { schema: { body: ACCESS } }, (request) =>
    control.recoveryPhrases(request.body),
  )
  app.post<{ Body: Api.RestoreRequest }>(
    at('/keys/restore'),
    { schema: { body: RESTORE } },
    (request) => control.restoreKeys(request.body),
  )
}

/** Questions about a mounted vault, and the one decision that they may end in. */
function addQueries(app: FastifyInstance, control: Control): void {
  const ask = <Body, Result>(
    name: string,
    schema: TSchema,
    answer: (id: string, request: Body) => Promise<Result>,
  ): void => {
    app.post<{ Params: { id: string } }>(
      `${API_PREFIX}/vaults/:id/${name}`,
      { schema: { params: ID, body: schema } },
      (request) => answer(request.params.id, request.body as Body),
    )
  }
  ask('names', NAMES, (id, request: Api.NamesRequest) => control.names(id, request))
  ask('conflicts', CONFLICTS, (id, request: Api.ConflictsRequest) => control.conflicts(id, request))
  ask('resolve', RESOLVE, (id, request: Api.ResolveRequest) => control.resolve(id, request))
  ask('log', LOG, (id, request: Api.LogRequest) => control.log(id, request))
  ask('version', VERSION, (id, request: Api.VersionRequest) => control.fileVersion(id, request))
  app.get<{ Params: { id: string } }>(
    `${API_PREFIX}/vaults/:id/members`,
    { schema: { params: ID } },
    (request) => control.members(request.params.id),
  )
}

function answerErrors(app: FastifyInstance, events: ServerEvents): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const refused = error.validation !== undefined || String(error.code).startsWith('FST_')
    const problem = refused ? httpProblem(error.statusCode ?? 400, error.message) : problemOf(error)
    if (problem.status >= 500) events.failed(error, request.routeOptions.url ?? '')
    return send(reply, problem)
  })
  app.setNotFoundHandler((_request, reply) => send(reply, httpProblem(404, 'no such resource')))
}

function send(reply: FastifyReply, problem: Api.Problem): FastifyReply {
  return reply.code(problem.status).type('application/problem+json').send(problem)
}
