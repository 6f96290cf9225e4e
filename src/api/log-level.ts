// GET and PUT /v1/admin/log-level: what this process logs, changed while it runs, for server keys. Goes back by itself, so
// that a level that was raised to find something does not stay. Must not know what is logged.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Timer } from '../base/clock.ts'
import { SETTINGS } from '../base/config.ts'
import { Refusal } from '../base/errors.ts'
import { refuse } from './answers.ts'
import type { ApiDeps } from './deps.ts'
import { answer, object, refusals, SECURITY } from './schemas.ts'

const MINUTES_DEFAULT = 30

const level = { type: 'string', enum: [...SETTINGS.logLevel.choices] }
const shown = object({ level, configured: { ...level, description: 'LOG_LEVEL' } })
const common = {
  tags: ['operation'],
  description: 'Needs a server key. It is this process\'s alone: behind a balancer, or of several workers, the one that answers. SIGUSR2 turns `debug` on and off in all workers.',
  security: SECURITY.user
}

const GET_SCHEMA = { ...common, operationId: 'logLevel', summary: 'What this process logs', response: { 200: answer('The least level that is logged.', shown), ...refusals('unauthorized', 'forbidden', 'rate_limited', 'internal') } }

const PUT_SCHEMA = {
  ...common,
  operationId: 'setLogLevel',
  summary: 'Change what this process logs',
  body: {
    ...object({ level, minutes: { type: 'integer', minimum: 1, maximum: 1440, description: `after which it is LOG_LEVEL again; ${MINUTES_DEFAULT} when left out` } }, ['minutes']),
    examples: [{ level: 'debug', minutes: 10 }]
  },
  response: { 200: answer('Changed.', shown), ...refusals('bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'internal') }
}

interface PutRequest { Body: { level: string, minutes?: number } }

export function logLevelRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'log' | 'config' | 'clock'>): void {
  const { log, config, clock } = deps
  const view = (): { level: string, configured: string } => ({ level: log.level, configured: config.logLevel })
  let back: Timer | null = null

  app.get('/v1/admin/log-level', { schema: GET_SCHEMA, config: { access: 'admin' } }, async (request, reply) => keyless(request, reply) ?? view())

  app.put<PutRequest>('/v1/admin/log-level', { schema: PUT_SCHEMA, config: { access: 'admin' } }, async (request, reply) => {
    const refused = keyless(request, reply)
    if (refused !== null) return refused
    back?.cancel()
    const { level: wanted, minutes = MINUTES_DEFAULT } = request.body
    // Told at a level that both let through, where there is one.
    log.warn({ from: log.level, to: wanted, minutes }, 'the log level is changed')
    log.level = wanted
    back = clock.after(minutes * 60_000, () => {
      log.level = config.logLevel
      log.warn({ to: config.logLevel }, 'the log level is as configured again')
    })
    return view()
  })
}

function keyless (request: FastifyRequest, reply: FastifyReply): FastifyReply | null {
  return request.caller.isServer ? null : refuse(reply, new Refusal('forbidden', 'only a server key may change what is logged'))
}
