// GET /v1/status: how the server does, for people and their page at /status. Anybody is told whether it works; who watches
// what, on which machines and on what engines only those who operate it: a server key, an admin, or this very machine.

import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ROLE } from '../../proto/ops.ts'
import { isLocal } from './addresses.ts'
import type { ApiDeps } from './deps.ts'
import { inTime } from './health.ts'
import { answer, fields, object, refusals, SECURITY } from './schemas.ts'

const ROOMS_SHOWN = 20

const detail = object({
  version: { type: 'string' },
  delivery: object({ verdict: { type: 'string', description: '`ok`, or what is wrong' }, ageMs: { type: ['integer', 'null'], description: 'since an entry of the server\'s own last came back; null: none yet' } }),
  instances: {
    type: ['array', 'null'],
    description: 'null: the registry does not answer',
    items: object({ id: { type: 'string' }, host: { type: 'string' }, version: { type: 'string' }, startedAt: fields.ts, connections: { type: 'integer' }, isDraining: { type: 'boolean' }, isSelf: { type: 'boolean' }, silentMs: { type: 'integer' } })
  },
  connections: { type: 'integer', description: 'on all instances, at their last beats' },
  rooms: object({
    active: { type: 'integer', description: 'in the memory of the instance that answers' },
    top: { type: 'array', items: object({ room: fields.room, viewers: { type: 'integer' } }), description: `of those the ${ROOMS_SHOWN} with the most viewers, on all instances` }
  }),
  engines: { type: 'array', items: object({ part: { type: 'string' }, engine: { type: 'string' }, fault: { type: ['string', 'null'], description: 'what keeps it from serving, as far as this process knows' } }) },
  lag: { type: 'array', description: 'consumers that run in the process that answers', items: object({ consumer: { type: 'string' }, records: { type: 'integer' }, seconds: { type: 'number' } }) }
})

const SCHEMA = {
  tags: ['operation'],
  operationId: 'status',
  summary: 'How the server does',
  description: 'Anybody learns whether it works. `detail` is for server keys, admins and callers on the same machine (without a proxy between); null for all others.',
  security: SECURITY.read,
  response: {
    200: answer('How it does.', { ...object({ works: { type: 'boolean', description: 'as `/readyz`' }, detail: { oneOf: [{ type: 'null' }, detail] } }), examples: [{ works: true, detail: null }] }),
    ...refusals('unauthorized', 'rate_limited', 'internal')
  }
}

type StatusDeps = Pick<ApiDeps, 'ready' | 'log' | 'cluster' | 'rooms' | 'metrics' | 'engines' | 'version'>

export function statusRoutes (app: FastifyInstance, deps: StatusDeps, isDraining: () => boolean): void {
  app.get('/v1/status', { schema: SCHEMA, config: { access: 'read' } }, async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { ready, checks } = await inTime(deps)
    const works = ready && !isDraining()
    return { works, detail: mayKnow(request) ? await detailOf(deps, isDraining() ? 'draining' : Object.values(checks).join(', ')) : null }
  })
}

function mayKnow (request: FastifyRequest): boolean {
  return ((request.caller.identity?.roles ?? 0) & ROLE.admin) !== 0 || isLocal(request)
}

async function detailOf ({ cluster, rooms, metrics, engines, version }: StatusDeps, verdict: string): Promise<Record<string, unknown>> {
  const instances = await cluster.instances().catch(() => null)
  const age = metrics.value('uproar_canary_seconds')
  const seconds = metrics.values('uproar_feed_lag_seconds')
  return {
    version,
    delivery: { verdict, ageMs: Number.isFinite(age) ? Math.round(age * 1000) : null },
    instances: instances?.map(({ pid: _pid, port: _port, wsPort: _wsPort, ...shown }) => shown) ?? null,
    connections: instances?.reduce((sum, instance) => sum + instance.connections, 0) ?? metrics.value('uproar_connections'),
    rooms: { active: metrics.value('uproar_rooms'), top: rooms.mostWatched(ROOMS_SHOWN) },
    engines: engines(),
    lag: [...metrics.values('uproar_feed_lag_records')].map(([consumer, records]) => ({ consumer, records, seconds: seconds.get(consumer) ?? 0 }))
  }
}
