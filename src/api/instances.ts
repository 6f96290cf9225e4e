// GET /v1/instances: the processes that are one server together, as the cluster knows them, and POST …/:id/drain, which
// takes one out. For admins and server keys; each drain has its line in the log.

import type { FastifyInstance } from 'fastify'
import { Refusal } from '../base/errors.ts'
import { refuse } from './answers.ts'
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

const DRAIN_SCHEMA = {
  tags: ['operation'],
  operationId: 'drain',
  summary: 'Take an instance out of service',
  description: 'Needs the role admin or a server key. It fails `/readyz`, takes no more viewers and sends those it has to the others over DRAIN_S; it ends when it is told to (SIGTERM), and until then does what else it does. There is no way back but a restart. The last one that serves viewers is only drained with `force`.',
  security: SECURITY.user,
  params: object({ id: { type: 'string', minLength: 1, maxLength: 64, description: 'as listed' } }),
  body: { ...object({ force: { type: 'boolean', description: 'also when no other serves viewers' } }, ['force']), examples: [{}] },
  response: {
    202: answer('Told to.', object({ id: { type: 'string' }, connections: { type: 'integer', description: 'viewers it had at its last beat' } })),
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'unavailable', 'internal')
  }
}

interface DrainRequest { Params: { id: string }, Body: { force?: boolean } }

export function instanceRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'cluster' | 'orders' | 'log'>): void {
  app.post<DrainRequest>('/v1/instances/:id/drain', { schema: DRAIN_SCHEMA, config: { access: 'admin' } }, async (request, reply) => {
    const { id } = request.params
    const all = await deps.cluster.instances()
    const found = all.find((instance) => instance.id === id)
    if (found === undefined) return refuse(reply, new Refusal('not_found', 'there is no such instance: GET /v1/instances'))
    const others = all.filter((instance) => instance.id !== id && instance.wsPort !== 0 && !instance.isDraining)
    if (found.wsPort !== 0 && others.length === 0 && request.body.force !== true) return refuse(reply, new Refusal('bad_request', 'no other instance serves viewers; body.force true drains it all the same'))
    deps.log.info({ by: request.caller.identity?.id, instance: id, connections: found.connections }, 'an instance is told to drain')
    deps.orders.drain(id)
    return reply.code(202).send({ id, connections: found.connections })
  })

  app.get('/v1/instances', { schema: SCHEMA, config: { access: 'admin' } }, async () => ({ instances: await deps.cluster.instances() }))
}
