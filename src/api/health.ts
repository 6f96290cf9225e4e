// GET /healthz (the process lives), /readyz (it delivers) and /metrics. Never counted against an address.

import type { FastifyInstance } from 'fastify'
import { Refusal } from '../base/errors.ts'
import { OPEN_METRICS, openMetricsOf, withoutExemplars } from '../base/exemplars.ts'
import { errorBody } from './answers.ts'
import type { ApiDeps, Readiness } from './deps.ts'
import { answer, object, SECURITY } from './schemas.ts'

const READY_TIMEOUT_MS = 2000

const readiness = { ready: { type: 'boolean' }, checks: { type: 'object', additionalProperties: { type: 'string' }, examples: [{ canary: 'ok' }] } }

const LIVE_SCHEMA = {
  tags: ['operation'],
  operationId: 'live',
  summary: 'The process lives',
  security: SECURITY.none,
  response: { 200: answer('It does.', object({ status: { const: 'ok' } })) }
}

const READY_SCHEMA = {
  tags: ['operation'],
  operationId: 'ready',
  summary: 'The server delivers',
  description: 'Fails while the server starts, drains, or when what is written to the log does not come back in time.',
  security: SECURITY.none,
  response: {
    200: answer('It does.', object(readiness)),
    503: answer('It does not; `checks` says why.', object({ error: { type: 'object', description: 'as in every other error' }, ...readiness }))
  }
}

const METRICS_SCHEMA = {
  tags: ['operation'],
  operationId: 'metrics',
  summary: 'Numbers for Prometheus',
  description: 'Of several workers each series bears the label `worker`; a worker\'s own port (WORKER_PORT_BASE) has its own.',
  security: SECURITY.none,
  response: { 200: { description: 'Text exposition format; OpenMetrics with exemplars for who accepts that, where messages are traced.', content: { 'text/plain': { schema: { type: 'string' } }, 'application/openmetrics-text': { schema: { type: 'string' } } } } }
}

export function healthRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'config' | 'metrics' | 'numbers' | 'ownPort' | 'ready' | 'log'>, isDraining: () => boolean): void {
  const config = { isUncounted: true }

  app.get('/healthz', { schema: LIVE_SCHEMA, config }, async () => ({ status: 'ok' }))

  app.get('/readyz', { schema: READY_SCHEMA, config }, async (_request, reply) => {
    const { ready, checks } = isDraining() ? { ready: false, checks: { http: 'draining' } } : await inTime(deps)
    if (ready) return { ready, checks }
    const error = new Refusal('unavailable', 'the server is not ready', 1000)
    return reply.code(503).header('retry-after', '1').send({ ...errorBody(error), ready, checks })
  })

  app.get('/metrics', { schema: METRICS_SCHEMA, config }, async (request, reply) => {
    // On a worker's own port it speaks for itself alone.
    const isOwn = deps.ownPort !== 0 && request.socket.localPort === deps.ownPort
    const text = await (isOwn || deps.numbers === undefined ? deps.metrics.textWithExemplars() : deps.numbers())
    // Where nothing is traced it has nothing to say that the older format cannot.
    const isOpen = deps.config.otlpUrl !== null && request.headers.accept?.includes('application/openmetrics-text') === true
    return isOpen ? reply.type(OPEN_METRICS).send(openMetricsOf(text)) : reply.type(deps.metrics.registry.contentType).send(withoutExemplars(text))
  })
}

/** Readiness, or why it could not be told in time. */
export async function inTime (deps: Pick<ApiDeps, 'ready' | 'log'>): Promise<Readiness> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Readiness>((resolve) => {
    timer = setTimeout(resolve, READY_TIMEOUT_MS, { ready: false, checks: { http: `no answer in ${READY_TIMEOUT_MS} ms` } })
  })
  try {
    return await Promise.race([deps.ready(), late])
  } catch (error) {
    deps.log.error({ err: error }, 'the readiness check failed')
    return { ready: false, checks: { http: 'the check failed' } }
  } finally {
    clearTimeout(timer)
  }
}
