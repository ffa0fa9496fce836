// Routes of the control API about joining and members (server.ts has the rest):
//
//   POST /api/v1/vaults/{id}/invites            make one          GET …/invites      list
//   POST …/invites/{invite}/wait {revision}     long poll, 25 s
//   POST …/invites/{invite}/decide {decision}   POST …/invites/{invite}/revoke
//   POST /api/v1/joins   /api/v1/recoveries     begin   POST /api/v1/joins/{id}/wait, decide
//   POST …/members/remove  …/members/role  …/rotate  …/rename  …/phrase      GET …/peers

import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { TSchema } from 'typebox'
import { PASSPHRASE_BYTES_MAX } from '../config/limits.ts'
import { API_PREFIX } from './client-types.ts'
import type * as Api from './client-pairing-types.ts'

/** What the daemon offers; implemented in daemon/pairing-control.ts. */
export interface PairingControl {
  invite(vaultId: string, request: Api.InviteRequest): Promise<Api.InviteMade>
  invites(vaultId: string): Promise<Api.InvitesResult>
  waitInvite(vaultId: string, id: string, request: Api.WaitRequest): Promise<Api.Invite>
  decideInvite(vaultId: string, id: string, request: Api.DecideRequest): Promise<void>
  revokeInvite(vaultId: string, id: string): Promise<Api.Invite>
  join(request: Api.JoinRequest): Promise<Api.Join>
  recover(request: Api.RecoverRequest): Promise<Api.Join>
  waitJoin(id: string, request: Api.WaitRequest): Promise<Api.Join>
  decideJoin(id: string, request: Api.DecideRequest): Promise<void>
  removeMember(vaultId: string, request: Api.MemberRequest): Promise<Api.MemberResult>
  setRole(vaultId: string, request: Api.RoleRequest): Promise<Api.MemberResult>
  rotate(vaultId: string): Promise<Api.MemberResult>
  renameDevice(vaultId: string, request: Api.RenameRequest): Promise<Api.MemberResult>
  replacePhrase(
    vaultId: string, request: { withPhrase: boolean },
  ): Promise<Api.ReplacePhraseResult>
  peers(vaultId: string): Promise<Api.PeersResult>
}

const body = (members: Record<string, TSchema>): TSchema =>
  Type.Object(members, { additionalProperties: false })
const word = (maxLength: number): TSchema => Type.String({ minLength: 1, maxLength })

const NONE = body({})
const ROLES = Type.Enum(['blind', 'reader', 'writer', 'admin', 'owner'])
const INVITE = body({
  role: Type.Enum(['blind', 'reader', 'writer', 'admin']), isUnattended: Type.Boolean(),
  lifetimeMs: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
})
const WAIT = body({ revision: Type.Integer({ minimum: 0 }) })
const DECIDE = body({ decision: Type.Enum(['same', 'differ', 'refuse']) })
const newVault = {
  directory: word(4096),
  label: Type.Optional(word(64)),
  peers: Type.Array(word(300), { maxItems: 8 }),
  passphrase: Type.Optional(Type.String({ maxLength: PASSPHRASE_BYTES_MAX })),
  allowUnprotected: Type.Optional(Type.Boolean()),
}
const JOIN = body({ ...newVault, code: word(4096), isUnattended: Type.Boolean() })
const RECOVER = body({ ...newVault, phrase: word(4096) })
const MEMBER = body({ device: word(256) })
const ROLE = body({ device: word(256), role: ROLES })
const LABEL = body({ label: word(64) })
const PHRASE = body({ withPhrase: Type.Boolean() })
const ID = body({ id: Type.String({ pattern: '^[0-9a-f]{32}$' }) })
const INVITE_ID = body({
  id: Type.String({ pattern: '^[0-9a-f]{32}$' }), invite: Type.String({ pattern: '^[0-9a-f]{8}$' }),
})
const JOIN_ID = body({ join: Type.String({ pattern: '^[0-9]{1,9}$' }) })

type Params = Record<'id' | 'invite' | 'join', string>

export function addPairingRoutes(app: FastifyInstance, control: PairingControl): void {
  const post = <Body>(
    path: string, params: TSchema | undefined, schema: TSchema,
    answer: (request: Body, params: Params) => Promise<unknown>,
  ): void => {
    app.post<{ Params: Params }>(
      `${API_PREFIX}${path}`,
      { schema: { body: schema, ...(params === undefined ? {} : { params }) } },
      async (request) => (await answer(request.body as Body, request.params)) ?? {},
    )
  }
  const get = (path: string, answer: (id: string) => Promise<unknown>): void => {
    app.get<{ Params: Params }>(
      `${API_PREFIX}/vaults/:id/${path}`, { schema: { params: ID } },
      (request) => answer(request.params.id),
    )
  }
  const vault = <Body>(
    path: string, schema: TSchema, answer: (id: string, request: Body) => Promise<unknown>,
  ): void => post<Body>(`/vaults/:id/${path}`, ID, schema, (request, { id }) => answer(id, request))
  const invite = <Body>(
    path: string, schema: TSchema, answer: (id: string, one: string, request: Body) =>
      Promise<unknown>,
  ): void => post<Body>(`/vaults/:id/invites/:invite/${path}`, INVITE_ID, schema, (request, at) => (
    answer(at.id, at.invite, request)
  ))

  get('invites', (id) => control.invites(id))
  get('peers', (id) => control.peers(id))
  vault<Api.InviteRequest>('invites', INVITE, (id, request) => control.invite(id, request))
  invite<Api.WaitRequest>('wait', WAIT, (id, one, request) => control.waitInvite(id, one, request))
  invite<Api.DecideRequest>('decide', DECIDE, (id, one, request) => (
    control.decideInvite(id, one, request)
  ))
  invite('revoke', NONE, (id, one) => control.revokeInvite(id, one))
  post<Api.JoinRequest>('/joins', undefined, JOIN, (request) => control.join(request))
  post<Api.RecoverRequest>('/recoveries', undefined, RECOVER, (request) => control.recover(request))
  post<Api.WaitRequest>('/joins/:join/wait', JOIN_ID, WAIT, (request, { join }) => (
    control.waitJoin(join, request)
  ))
  post<Api.DecideRequest>('/joins/:join/decide', JOIN_ID, DECIDE, (request, { join }) => (
    control.decideJoin(join, request)
  ))
  vault<Api.MemberRequest>('members/remove', MEMBER, (id, request) => (
    control.removeMember(id, request)
  ))
  vault<Api.RoleRequest>('members/role', ROLE, (id, request) => control.setRole(id, request))
  vault('rotate', NONE, (id) => control.rotate(id))
  vault<Api.RenameRequest>('rename', LABEL, (id, request) => control.renameDevice(id, request))
  vault<{ withPhrase: boolean }>('phrase', PHRASE, (id, request) => (
    control.replacePhrase(id, request)
  ))
}
