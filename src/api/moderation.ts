// POST /v1/rooms/:room/actions, and what moderators look at: held messages, sanctions, the audit log. Whoever may do what
// is decided behind these routes, by the same code as for the socket's MODERATE.

import type { FastifyInstance } from 'fastify'
import { LIMITS } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import type { Person } from '../ingest/ingest.ts'
import { ARGUMENTS, type AuditRow, type HeldMessage } from '../moderation/moderation.ts'
import { refuse, sendRefusal } from './answers.ts'
import { actor } from './callers.ts'
import type { ApiDeps } from './deps.ts'
import { answer, as, fields, object, query, refusals, roomPath, SECURITY } from './schemas.ts'

const text = { type: 'string' } as const
const optionalText = { type: ['string', 'null'] } as const
const userId = { type: 'string', minLength: 1, maxLength: LIMITS.userIdCharacters } as const

const ACTION_SCHEMA = {
  tags: ['moderation'],
  operationId: 'moderate',
  summary: 'A moderator\'s action',
  description: `Answers once it is durably in the room's log and in force; \`seq\` is that of its last entry. Arguments by action: ${Object.entries(ARGUMENTS)
    .map(([action, needs]) => `\`${action}\` (${Object.entries(needs).map(([name, need]) => need === 'must' ? name : `${name}?`).join(', ') || 'none'})`).join(', ')}. ` +
    'Needs moderator, broadcaster or admin in the room, and nobody acts on an equal or higher role; `acknowledge` and `requestUnban` are for the user concerned.',
  security: SECURITY.user,
  params: roomPath,
  body: {
    ...object({ action: { ...text, maxLength: 32 }, args: { type: 'object', description: 'by action' }, as }, ['args', 'as']),
    examples: [{ action: 'timeout', args: { user: 'u-42', seconds: 600, reason: 'spam' } }]
  },
  response: {
    200: answer('Done.', { ...object({ seq: fields.seq, ts: fields.ts, epoch: fields.epoch }), examples: [{ seq: 1043, ts: 1764000000000, epoch: 'k3x9' }] }),
    ...refusals('bad_request', 'unsupported', 'unauthorized', 'forbidden', 'not_found', 'duplicate', 'rate_limited', 'unavailable', 'overloaded', 'internal')
  }
}

const FOR_MODERATORS = refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'unavailable', 'internal')

const HELD_SCHEMA = {
  tags: ['moderation'],
  operationId: 'listHeld',
  summary: 'Messages that wait for a moderator',
  description: 'Oldest first; for the room\'s moderators. The actions `approve` and `deny` take `ref`.',
  security: SECURITY.user,
  params: roomPath,
  response: {
    200: answer('What waits.', object({
      held: { type: 'array', items: object({ ref: text, user: { $ref: 'Author#' }, kind: { type: 'integer' }, body: text, reason: text, at: fields.ts }) }
    })),
    ...FOR_MODERATORS
  }
}

const SANCTIONS_SCHEMA = {
  tags: ['moderation'],
  operationId: 'listSanctions',
  summary: 'Sanctions in force, and requests to lift them',
  description: 'Oldest first; for the room\'s moderators. `kind`: ban, timeout, shadow, warn (until it is acknowledged), or address.',
  security: SECURITY.user,
  params: roomPath,
  response: {
    200: answer('What is in force.', object({
      sanctions: { type: 'array', items: object({ kind: text, whom: { ...text, description: 'user id; of `address` the range' }, until: { type: ['integer', 'null'] }, by: text, reason: text, at: fields.ts }) },
      requests: { type: 'array', items: object({ user: text, text, at: fields.ts }) }
    })),
    ...FOR_MODERATORS
  }
}

const PERSON_SCHEMA = {
  tags: ['moderation'],
  operationId: 'getPerson',
  summary: 'What moderators know of a user in a room',
  description: 'The newest messages (at most 50, of the newest 10,000 entries of the room), sanctions in force, the moderators\' notes (the newest 10), and the request to be unbanned. For the room\'s moderators; a user that nothing is known of gives empty lists.',
  security: SECURITY.user,
  params: { ...object({ room: fields.room, user: userId }) },
  response: {
    200: answer('What is known.', object({
      messages: { type: 'array', items: object({ seq: fields.seq, ts: fields.ts, user: { $ref: 'Author#' }, kind: { type: 'integer' }, body: text, isShadow: { type: 'boolean', description: 'only the author sees it' } }) },
      sanctions: { type: 'array', items: object({ kind: text, until: { type: ['integer', 'null'] }, by: text, reason: text, at: fields.ts }) },
      notes: { type: 'array', items: object({ text, by: text, at: fields.ts }) },
      request: { ...object({ text, at: fields.ts }), type: ['object', 'null'] }
    })),
    ...FOR_MODERATORS
  }
}

const TERMS_SCHEMA = {
  tags: ['moderation'],
  operationId: 'listTerms',
  summary: 'The room\'s blocked terms',
  description: 'For the room\'s moderators; the actions `blockTerm` and `unblockTerm` change them. Those of `BLOCKED_TERMS_FILE` hold too and are not listed.',
  security: SECURITY.user,
  params: roomPath,
  response: { 200: answer('In the order in which they were added.', object({ terms: { type: 'array', items: text } })), ...FOR_MODERATORS }
}

const auditQuery = {
  user: { ...userId, description: 'only rows by or about this user' },
  action: { ...text, minLength: 1, maxLength: 32, description: 'only rows of this action' },
  before: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'only rows before this id: the last answer\'s `next`' },
  limit: { type: 'integer', minimum: 1, maximum: 200, default: 50 }
} as const

const auditAnswer = answer('Rows, newest first. `next`: ask on with `before` = this; null: there are no older ones.', object({
  rows: {
    type: 'array',
    items: object({
      id: { type: 'integer' }, ts: fields.ts, room: text, action: text, by: { ...optionalText, description: 'user id; null: a rule' }, source: { ...text, description: 'human, rule, consumer or hook' },
      whom: { ...optionalText, description: 'the user concerned' }, text: { ...optionalText, description: 'the message at the time' }, reason: optionalText,
      args: { type: 'object', additionalProperties: true }, failure: { ...optionalText, description: 'why it was not carried out after all' }
    })
  },
  next: { type: ['integer', 'null'] }
}))

const ROOM_AUDIT_SCHEMA = {
  tags: ['moderation'], operationId: 'listRoomAudit', summary: 'Actions in a room', description: 'For the room\'s moderators. A page may be shorter than `limit` while `next` is not null.',
  security: SECURITY.user, params: roomPath, querystring: query(auditQuery), response: { 200: auditAnswer, ...FOR_MODERATORS }
}

const AUDIT_SCHEMA = {
  tags: ['moderation'], operationId: 'listAudit', summary: 'Actions in all rooms', description: 'Needs the role admin or a server key. A page may be shorter than `limit` while `next` is not null.',
  security: SECURITY.user, querystring: query({ room: fields.room, ...auditQuery }), response: { 200: auditAnswer, ...refusals('bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'unavailable', 'internal') }
}

interface RoomRequest { Params: { room: string } }
interface ActionRequest extends RoomRequest { Body: { action: string, args?: Record<string, unknown> } }
interface AuditQuery { user?: string, action?: string, before?: number, limit: number }

export function moderationRoutes (app: FastifyInstance, { moderator }: Pick<ApiDeps, 'moderator'>): void {
  app.addSchema({ $id: 'Author', title: 'Author', ...object({ id: text, name: text, roles: { type: 'integer' } }), examples: [{ id: 'u-42', name: 'Ada', roles: 0 }] })

  app.post<ActionRequest>('/v1/rooms/:room/actions', { schema: ACTION_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const identity = actor(request)
    if (identity instanceof Refusal) return refuse(reply, identity)
    const { action, args } = request.body
    const result = await moderator.act(request.params.room, identity, action, args ?? {})
    // It has been counted already.
    if (result instanceof Refusal) return sendRefusal(reply, result)
    const { seq, ts, epoch } = result
    return { seq, ts, epoch }
  })

  app.get<RoomRequest>('/v1/rooms/:room/held', { schema: HELD_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const held = await moderator.held(request.params.room, request.caller.identity)
    return held instanceof Refusal ? refuse(reply, held) : { held: held.map(heldObject) }
  })

  app.get<RoomRequest>('/v1/rooms/:room/sanctions', { schema: SANCTIONS_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const standing = await moderator.standing(request.params.room, request.caller.identity)
    if (standing instanceof Refusal) return refuse(reply, standing)
    return { sanctions: standing.sanctions.map(({ kind, whom, until, by, reason, at }) => ({ kind, whom, until, by, reason, at })), requests: standing.requests }
  })

  app.get<{ Params: { room: string, user: string } }>('/v1/rooms/:room/users/:user', { schema: PERSON_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const person = await moderator.person(request.params.room, request.caller.identity, request.params.user)
    return person instanceof Refusal ? refuse(reply, person) : personObject(person)
  })

  app.get<RoomRequest>('/v1/rooms/:room/terms', { schema: TERMS_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const terms = await moderator.terms(request.params.room, request.caller.identity)
    return terms instanceof Refusal ? refuse(reply, terms) : { terms }
  })

  app.get<RoomRequest & { Querystring: AuditQuery }>('/v1/rooms/:room/audit', { schema: ROOM_AUDIT_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const page = await moderator.audit(request.params.room, request.caller.identity, request.query)
    return page instanceof Refusal ? refuse(reply, page) : auditPage(page)
  })

  app.get<{ Querystring: AuditQuery & { room?: string } }>('/v1/audit', { schema: AUDIT_SCHEMA, config: { access: 'admin' } }, async (request, reply) => {
    const page = await moderator.auditAll(request.query)
    return page instanceof Refusal ? refuse(reply, page) : auditPage(page)
  })
}

function heldObject ({ ref, user: [id, name, roles], kind, body, reason, at }: HeldMessage): Record<string, unknown> {
  return { ref, user: { id, name, roles }, kind, body: typeof body === 'string' ? body : Buffer.from(body).toString('base64'), reason, at }
}

function personObject ({ messages, sanctions, notes, request }: Person): Record<string, unknown> {
  return {
    messages: messages.map(({ seq, ts, user, kind, body, isShadow }) => ({ seq, ts, user, kind, body, isShadow })),
    sanctions: sanctions.map(({ kind, until, by, reason, at }) => ({ kind, until, by, reason, at })),
    notes,
    request: request === null ? null : { text: request.text, at: request.at }
  }
}

function auditPage ({ rows, next }: { rows: readonly AuditRow[], next: number | null }): Record<string, unknown> {
  return { rows: rows.map(({ id, ts, room, action, by, source, whom, text, reason, args, failure }) => ({ id, ts, room, action, by, source, whom, text, reason, args, failure })), next }
}
