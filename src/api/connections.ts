// GET /v1/connections: who is connected to this process over WebSocket, for admins.

import type { FastifyInstance } from 'fastify'
import { LIMITS } from '../../proto/values.ts'
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

interface ListRequest { Querystring: { user?: string, room?: string, limit: number } }

export function connectionRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'connections'>): void {
  app.get<ListRequest>('/v1/connections', { schema: SCHEMA, config: { access: 'admin' } }, async (request) => {
    const { limit } = request.query
    const found = deps.connections({ ...request.query, limit: limit + 1 })
    return { connections: found.slice(0, limit), more: found.length > limit }
  })
}
