// Routes of the control API about where content is (server.ts has the rest), of a mounted vault:
//
//   GET  …/pins                          POST …/pin {path}   POST …/unpin {path}
//   GET  …/content                       POST …/evict {path, copies}
//   POST …/copies {copies}               evict and copies: one step; asked again, it goes on

import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { TSchema } from 'typebox'
import { API_PREFIX } from './client-types.ts'
import type * as Api from './client-where-types.ts'

/** What the daemon offers; implemented in daemon/where-control.ts. */
export interface WhereControl {
  pins(vaultId: string): Promise<Api.PinsResult>
  pin(vaultId: string, request: Api.PathRequest): Promise<Api.PinsResult>
  unpin(vaultId: string, request: Api.PathRequest): Promise<Api.PinsResult>
  copies(vaultId: string, request: Api.CopiesRequest): Promise<Api.CopiesResult>
  evict(vaultId: string, request: Api.EvictRequest): Promise<Api.EvictResult>
  content(vaultId: string): Promise<Api.ContentResult>
}

const PATH_MAX_LENGTH = 64 * 1024
const ID = Type.Object({ id: Type.String({ pattern: '^[0-9a-f]{32}$' }) })
const path = Type.String({ maxLength: PATH_MAX_LENGTH })
const PATH = Type.Object({ path }, { additionalProperties: false })
const copies = Type.Integer({ minimum: 0, maximum: 255 })
const least = Type.Integer({ minimum: 1, maximum: 255 })
const EVICT = Type.Object({ path, copies: least }, { additionalProperties: false })
const COPIES = Type.Object({ copies }, { additionalProperties: false })

export function addWhereRoutes(app: FastifyInstance, control: WhereControl): void {
  const get = (name: string, answer: (id: string) => Promise<unknown>): void => {
    app.get<{ Params: { id: string } }>(
      `${API_PREFIX}/vaults/:id/${name}`, { schema: { params: ID } },
      (request) => answer(request.params.id),
    )
  }
  const post = <Body>(
    name: string, schema: TSchema, answer: (id: string, request: Body) => Promise<unknown>,
  ): void => {
    app.post<{ Params: { id: string } }>(
      `${API_PREFIX}/vaults/:id/${name}`, { schema: { params: ID, body: schema } },
      (request) => answer(request.params.id, request.body as Body),
    )
  }
  get('pins', (id) => control.pins(id))
  post<Api.PathRequest>('pin', PATH, (id, request) => control.pin(id, request))
  post<Api.PathRequest>('unpin', PATH, (id, request) => control.unpin(id, request))
  get('content', (id) => control.content(id))
  post<Api.EvictRequest>('evict', EVICT, (id, request) => control.evict(id, request))
  post<Api.CopiesRequest>('copies', COPIES, (id, request) => control.copies(id, request))
}
