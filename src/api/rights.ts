// People's rights over REST: erasing a person, looking how far that is, and everything that is kept about one as NDJSON.
// For admins and server keys alone. An export is pulled: a slow reader makes it slow and nothing else.

import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { LIMITS } from '../../proto/values.ts'
import { Refusal, refusalOf } from '../base/errors.ts'
import { STAGES, type Job } from '../rights/rights.ts'
import { refuse } from './answers.ts'
import type { ApiDeps } from './deps.ts'
import { answer, fields, object, query, refusals, SECURITY } from './schemas.ts'

const text = { type: 'string' } as const
const count = { type: 'integer', minimum: 0 } as const
const userPath = object({ user: { type: 'string', minLength: 1, maxLength: LIMITS.userIdCharacters } })
const JOB = object({
  id: { ...text, description: 'of the job' },
  user: { type: ['string', 'null'], description: 'null once it is done: nothing leads back to the person' },
  stage: { type: 'string', enum: [...STAGES], description: 'echo: everything is erased but the notices that take messages off screens; scrub, rinse: journal and streams of the log are emptied' },
  isDone: { type: 'boolean' },
  pseudonym: { ...text, description: 'stands in records that are about others too' },
  by: text,
  at: fields.ts,
  rooms: { ...count, description: 'rooms looked through' },
  entries: { ...count, description: 'entries changed' }
})

const ERASE_SCHEMA = {
  tags: ['people'],
  operationId: 'eraseUser',
  summary: 'Erase a person',
  description: 'Needs the role admin or a server key. Erases what the user wrote and what is kept about it, everywhere: messages (their positions stay, empty), mentions, held messages, requests, notes, reasons of sanctions, ' +
    'names and texts in audit rows. Sanctions in force stay, bare, or whoever is banned would only have to ask for this. Answers the job that does it; asked again meanwhile, the same one. It survives the death of any instance. ' +
    'Revoke the user\'s tokens first (`POST /v1/revocations`): what it writes afterwards is not meant.',
  security: SECURITY.user,
  params: userPath,
  body: { ...object({ reason: { ...text, maxLength: 200, description: 'for the audit log; say nothing of the person in it' } }, ['reason']), type: ['object', 'null'], examples: [{ reason: 'request 1042' }] },
  response: { 202: answer('The job.', JOB), ...refusals('bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'unavailable', 'overloaded', 'internal') }
}

const JOB_SCHEMA = {
  tags: ['people'],
  operationId: 'getErasure',
  summary: 'How far an erasure is',
  description: 'Needs the role admin or a server key. A job that is done is kept for 90 days.',
  security: SECURITY.user,
  params: object({ id: { type: 'string', minLength: 1, maxLength: 64 } }),
  response: { 200: answer('The job.', JOB), ...refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'unavailable', 'internal') }
}

const EXPORT_SCHEMA = {
  tags: ['people'],
  operationId: 'exportUser',
  summary: 'Everything that is kept about a person',
  description: 'Needs the role admin or a server key. NDJSON: a record a line, each with its `type`: `message` (with `removed` or `shadow` where that is so), `held`, `sanction`, `note`, `request`, `made` (a room), `profile`, `audit`, and what the archive has. ' +
    'Behind each room stands `room`: an export that was cut goes on with `after` = its name. The last line is `end`; without it the export is not whole. `error` says why.',
  security: SECURITY.user,
  params: userPath,
  querystring: query({ after: { type: 'string', maxLength: 64, description: 'only rooms behind this name' } }),
  response: {
    200: { description: 'The records.', content: { 'application/x-ndjson': { schema: { type: 'string', examples: ['{"type":"message","room":"stage","seq":1042,…}\n{"type":"end"}\n'] } } } },
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'unavailable', 'internal')
  }
}

interface UserRequest { Params: { user: string } }

export function rightsRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'rights' | 'log'>): void {
  const { rights, log } = deps
  app.post<UserRequest & { Body: { reason?: string } | null }>('/v1/users/:user/erase', { schema: ERASE_SCHEMA, config: { access: 'admin' } }, async (request, reply) => {
    const job = await rights.erase(request.params.user, request.caller.identity?.id ?? 'server', request.body?.reason ?? null)
    return job instanceof Refusal ? refuse(reply, job) : reply.code(202).send(shown(job))
  })

  app.get<{ Params: { id: string } }>('/v1/erasures/:id', { schema: JOB_SCHEMA, config: { access: 'admin' } }, async (request, reply) => {
    const job = await rights.job(request.params.id)
    return job instanceof Refusal ? refuse(reply, job) : shown(job)
  })

  app.get<UserRequest & { Querystring: { after?: string } }>('/v1/users/:user/export', { schema: EXPORT_SCHEMA, config: { access: 'admin' }, exposeHeadRoute: false }, async (request, reply) => {
    const records = rights.export(request.params.user, request.caller.identity?.id ?? 'server', request.query.after)
    // The first record comes before the answer's head: what fails at once is a refusal like any other.
    const first = await records.next()
    return reply.type('application/x-ndjson; charset=utf-8').header('cache-control', 'no-store').send(Readable.from(lines(first, records, (error) => log.warn({ err: error, route: 'export' }, 'an export failed'))))
  })
}

async function * lines (first: IteratorResult<unknown>, rest: AsyncIterable<unknown>, failed: (error: unknown) => void): AsyncGenerator<string> {
  try {
    if (first.done !== true) yield `${JSON.stringify(first.value)}\n`
    for await (const record of rest) yield `${JSON.stringify(record)}\n`
  } catch (error) {
    failed(error)
    const { name, message } = refusalOf(error)
    yield `${JSON.stringify({ type: 'error', name, message })}\n`
  }
}

function shown ({ id, user, stage, pseudonym, by, at, rooms, entries }: Job): Record<string, unknown> {
  return { id, user, stage, isDone: stage === 'done', pseudonym, by, at, rooms, entries }
}
