// POST, GET and DELETE /v1/revocations: tokens that are to count no longer, for admins and server keys. What they mean is
// in revocation/revocation.ts.

import type { FastifyInstance } from 'fastify'
import { LIMITS } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import type { Revocation, Target } from '../revocation/revocation.ts'
import { refuse } from './answers.ts'
import type { ApiDeps } from './deps.ts'
import { answer, fields, object, query, refusals, SECURITY } from './schemas.ts'

const jti = { type: 'string', minLength: 1, maxLength: 128, description: 'the token\'s `jti`' }
const user = { type: 'string', minLength: 1, maxLength: LIMITS.userIdCharacters, description: 'user id: every token of that user issued before `before`' }
const before = { ...fields.ts, minimum: 0, description: 'Unix milliseconds; now when it is left out. `iat` has whole seconds: mint a fresh token a second later' }
const until = { ...fields.ts, minimum: 0, description: 'Unix milliseconds until which it is kept: the end of the longest-lived token concerned; by default REVOCATION_HOURS from now' }

const shown = object({ jti, user, before, until }, ['jti', 'user', 'before'])

const POST_SCHEMA = {
  tags: ['tokens'],
  operationId: 'revoke',
  summary: 'Revoke a token, or all tokens of a user',
  description: 'Needs the role admin or a server key. Name either `jti` or `user`. Within a second, on every instance: such a token is refused as `unauthorized`, and connections that came with it are closed with 4501.',
  security: SECURITY.user,
  body: { ...object({ jti, user, before, until }, ['jti', 'user', 'before', 'until']), examples: [{ user: 'u-42' }] },
  response: { 201: answer('Revoked.', shown), ...refusals('bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'overloaded', 'unavailable', 'internal') }
}

const DELETE_SCHEMA = {
  tags: ['tokens'],
  operationId: 'restore',
  summary: 'Take a revocation back',
  description: 'Needs the role admin or a server key. Name either `jti` or `user`.',
  security: SECURITY.user,
  querystring: query({ jti, user }),
  response: { 204: { description: 'Taken back.', type: 'null' }, ...refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'overloaded', 'unavailable', 'internal') }
}

const LIST_SCHEMA = {
  tags: ['tokens'],
  operationId: 'listRevocations',
  summary: 'Revocations in force',
  description: 'Needs the role admin or a server key. The oldest first; `more` is true when there are more than `limit`.',
  security: SECURITY.user,
  querystring: query({ limit: { type: 'integer', minimum: 1, maximum: 10_000, default: 100 } }),
  response: {
    200: answer('Revocations.', object({ revocations: { type: 'array', items: shown }, more: { type: 'boolean' } })),
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'internal')
  }
}

interface Named { jti?: string, user?: string }
interface PostRequest { Body: Named & { before?: number, until?: number } }
interface DeleteRequest { Querystring: Named }
interface ListRequest { Querystring: { limit: number } }

export function revocationRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'revocations' | 'clock'>): void {
  const { revocations, clock } = deps

  app.post<PostRequest>('/v1/revocations', { schema: POST_SCHEMA, config: { access: 'admin' } }, async (request, reply) => {
    const { before: from, until: end } = request.body
    const target = targetOf(request.body, from ?? clock.now())
    if (target instanceof Refusal) return refuse(reply, target)
    if ('jti' in target && from !== undefined) return refuse(reply, new Refusal('bad_request', 'body.before goes with user, not with jti'))
    if (end !== undefined && end <= clock.now()) return refuse(reply, new Refusal('bad_request', 'body.until is over already'))
    const done = await revocations.revoke(target, end)
    return done instanceof Refusal ? refuse(reply, done) : reply.code(201).send(view(done))
  })

  app.delete<DeleteRequest>('/v1/revocations', { schema: DELETE_SCHEMA, config: { access: 'admin' } }, async (request, reply) => {
    const target = targetOf(request.query, 0)
    if (target instanceof Refusal) return refuse(reply, target)
    const refused = await revocations.restore(target)
    return refused === null ? reply.code(204).send() : refuse(reply, refused)
  })

  app.get<ListRequest>('/v1/revocations', { schema: LIST_SCHEMA, config: { access: 'admin' } }, async (request) => {
    const { limit } = request.query
    const found = revocations.list(limit + 1)
    return { revocations: found.slice(0, limit).map(view), more: found.length > limit }
  })
}

function targetOf (named: Named, from: number): Target | Refusal {
  if ((named.jti === undefined) === (named.user === undefined)) return new Refusal('bad_request', 'name either jti or user')
  return named.jti !== undefined ? { jti: named.jti } : { user: named.user as string, before: from }
}

function view ({ target, until: end }: Revocation): Record<string, unknown> {
  return { ...target, until: end }
}
