// GET /v1/instances: the processes that are one server together, as the cluster knows them, for admins and server keys.

import type { FastifyInstance } from 'fastify'
import type { ApiDeps } from './deps.ts'
import { answer, fields, object, refusals, SECURITY } from './schemas.ts'

const SCHEMA = {
  tags: ['operation'],
  operationId: 'listInstances',
  summary: 'Instances of this server',
  description: 'Needs the role admin or a server key. One that has not been heard of for 5 s is not listed any more.',
  security: SECURITY.user,
  response: {
    200: answer('Instances, by start.', object({
      instances: {
        type: 'array',
        items: object({
          id: { type: 'string' },
          host: { type: 'string', description: 'name of its machine' },
          pid: { type: 'integer' },
          port: { type: 'integer', description: 'HTTP; 0 when it serves none' },
          wsPort: { type: 'integer', description: 'WebSocket; 0 when it serves none' },
          startedAt: fields.ts,
          connections: { type: 'integer', description: 'WebSocket connections, at its last beat' },
          version: { type: 'string' },
          isDraining: { type: 'boolean' },
          isSelf: { type: 'boolean', description: 'the one that answers' },
          silentMs: { type: 'integer', description: 'since it was last heard of' }
        })
      }
    })),
    ...refusals('unauthorized', 'forbidden', 'rate_limited', 'unavailable', 'internal')
  }
}

export function instanceRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'cluster'>): void {
  app.get('/v1/instances', { schema: SCHEMA, config: { access: 'admin' } }, async () => ({ instances: await deps.cluster.instances() }))
}
