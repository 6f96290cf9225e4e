// GET /v1/connections: who is connected to this process over WebSocket, and POST /v1/connections/kick, which closes some on
// every instance. For admins and server keys; each kick has its line in the log.

import type { FastifyInstance } from 'fastify'
import { LIMITS } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import type { KickTarget } from '../cluster/orders.ts'
import { refuse } from './answers.ts'
import type { ApiDeps } from './deps.ts'
import { answer, fields, object, query, refusals, SECURITY } from './schemas.ts'

const SCHEMA = {
  tags: ['operation'],
  operationId: 'listConnections',
  summary: 'WebSocket connections of this process',
  description: 'Needs the role admin or a server key. `more` is true when there are more than `limit`.',
  security: SECURITY.user,
  querystring: query({
    user: { type: 'string', minLength: 1, maxLength: LIMITS.userIdCharacters, description: 'only those of this user id' },
    room: { ...fields.room, description: 'only those in this room' },
    limit: { type: 'integer', minimum: 1, maximum: 1000, default: 100 }
  }),
  response: {
    200: answer('Connections.', object({
      connections: {
        type: 'array',
        items: object({
          session: { type: 'string' },
          user: { type: ['string', 'null'], description: 'user id; null for an anonymous viewer' },
          address: { type: 'string' },
          since: fields.ts,
          rooms: { type: 'array', items: { type: 'string' } },
          bufferedBytes: { type: 'integer', description: 'what waits in this process for the socket' }
        })
      },
      more: { type: 'boolean' }
    })),
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'internal')
  }
}

const REASON_CHARACTERS_MAX = 100

const KICK_SCHEMA = {
  tags: ['operation'],
  operationId: 'kick',
  summary: 'Close connections of a user, of an address, or one, on every instance',
  description: 'Needs the role admin or a server key. Name one of `user`, `session`, `address`. They are closed with 4505, after which a client does not come back by itself; whoever opens the page anew gets in. To keep a user out revoke the tokens or ban.',
  security: SECURITY.user,
  body: {
    ...object({
      user: { type: 'string', minLength: 1, maxLength: LIMITS.userIdCharacters, description: 'user id' },
      session: { type: 'string', minLength: 1, maxLength: 64, description: 'of one connection, as listed' },
      address: { type: 'string', minLength: 1, maxLength: 64, description: 'as listed' },
      reason: { type: 'string', minLength: 1, maxLength: REASON_CHARACTERS_MAX, default: 'an operator closed the connection', description: 'told to whoever is there' }
    }, ['user', 'session', 'address', 'reason']),
    examples: [{ user: 'u-42' }]
  },
  response: {
    200: answer('Closed.', object({ closedHere: { type: 'integer', description: 'on the instance that answers; the others were told' } })),
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'internal')
  }
}

interface KickRequest { Body: { user?: string, session?: string, address?: string, reason: string } }
interface ListRequest { Querystring: { user?: string, room?: string, limit: number } }

export function connectionRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'connections' | 'orders' | 'log'>): void {
  app.get<ListRequest>('/v1/connections', { schema: SCHEMA, config: { access: 'admin' } }, async (request) => {
    const { limit } = request.query
    const found = deps.connections({ ...request.query, limit: limit + 1 })
    return { connections: found.slice(0, limit), more: found.length > limit }
  })

  app.post<KickRequest>('/v1/connections/kick', { schema: KICK_SCHEMA, config: { access: 'admin' } }, async (request, reply) => {
    const { reason, ...named } = request.body
    if (Object.keys(named).length !== 1) return refuse(reply, new Refusal('bad_request', 'name one of user, session and address'))
    const closedHere = deps.orders.kick(named as KickTarget, reason)
    deps.log.info({ by: request.caller.identity?.id, ...named, reason, closedHere }, 'connections kicked')
    return { closedHere }
  })
}
