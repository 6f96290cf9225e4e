// GET and POST /v1/rooms/:room/messages: pages of a room's log, and the way in for authors without a socket.

import type { FastifyInstance } from 'fastify'
import { KIND } from '../../proto/ops.ts'
import { LIMITS } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import { Author } from '../ingest/ingest.ts'
import { refuse, sendRefusal } from './answers.ts'
import { actor } from './callers.ts'
import type { ApiDeps } from './deps.ts'
import { pageText } from './entries.ts'
import { answer, as, fields, object, query, refusals, roomPath, SECURITY } from './schemas.ts'

const seqQuery = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const

const LIST_SCHEMA = {
  tags: ['messages'],
  operationId: 'listMessages',
  summary: 'Entries of a room',
  description: 'The newest entries, or those before or after a seq; always oldest first. `more` says whether there are more in that direction. Removed messages are not among them. What the log no longer has comes from the archive, where there is one; while that is away such pages are `unavailable`.',
  security: SECURITY.read,
  params: roomPath,
  querystring: query({
    before: { ...seqQuery, description: 'only entries before this seq' },
    after: { ...seqQuery, description: 'only entries after this seq; not together with `before`' },
    limit: { type: 'integer', minimum: 1, maximum: LIMITS.historyEntries, default: LIMITS.historyEntriesDefault }
  }),
  response: {
    200: answer('A page.', object({ epoch: fields.epoch, head: fields.seq, entries: { type: 'array', items: { $ref: 'Entry#' } }, more: { type: 'boolean' } })),
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'unavailable', 'overloaded', 'internal')
  }
}

const SEND_SCHEMA = {
  tags: ['messages'],
  operationId: 'sendMessage',
  summary: 'Send a message',
  description: 'Answers once the message is durably in the room\'s log. Repeated with the same nonce within 10 minutes, it answers 200 with the first result and the message appears once. ' +
    'The room is made when it does not exist and that is allowed.',
  security: SECURITY.user,
  params: roomPath,
  body: {
    ...object({
      nonce: { type: 'string', minLength: 1, maxLength: LIMITS.nonceCharacters, description: 'unique per user and message' },
      kind: { type: 'integer', minimum: 0, maximum: 6, default: KIND.text, description: Object.entries(KIND).map(([name, kind]) => `${kind} ${name}`).join(', ') },
      body: { type: 'string', description: 'text; base64 for kind 5' },
      ext: fields.ext,
      as
    }, ['kind', 'ext', 'as']),
    examples: [{ nonce: 'b2f1c0', kind: 0, body: 'hello', ext: { re: 1040 } }]
  },
  response: {
    201: answer('In the log.', { $ref: 'Sent#' }),
    200: answer('The nonce was known: the first result.', { $ref: 'Sent#' }),
    ...refusals('bad_request', 'unsupported', 'unauthorized', 'forbidden', 'not_found', 'banned', 'timed_out', 'slow_mode', 'rate_limited', 'duplicate', 'too_long', 'blocked', 'held',
      'members_only', 'emote_only', 'room_locked', 'unavailable', 'overloaded', 'internal')
  }
}

interface ListRequest { Params: { room: string }, Querystring: { before?: number, after?: number, limit: number } }
interface SendRequest { Params: { room: string }, Body: { nonce: string, kind: number, body: string, ext?: unknown } }

export function messageRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'rooms' | 'ingest'>): void {
  const { rooms, ingest } = deps
  app.addSchema({
    $id: 'Sent',
    title: 'Sent',
    ...object({ seq: fields.seq, ts: fields.ts, epoch: fields.epoch }),
    examples: [{ seq: 1042, ts: 1764000000000, epoch: 'k3x9' }]
  })

  app.get<ListRequest>('/v1/rooms/:room/messages', { schema: LIST_SCHEMA, config: { access: 'read', isBounded: true } }, async (request, reply) => {
    const { before, after, limit } = request.query
    if (before !== undefined && after !== undefined) return refuse(reply, new Refusal('bad_request', 'query.before and query.after exclude each other'))
    const { identity } = request.caller
    // Reading must not make rooms: a crawler would fill the directory.
    const room = await rooms.find(request.params.room, identity)
    if (room instanceof Refusal) return refuse(reply, room)
    const page = await room.history(after === undefined ? { before: before ?? null, limit } : { after, limit }, identity)
    return reply.type('application/json; charset=utf-8').send(pageText(page))
  })

  app.post<SendRequest>('/v1/rooms/:room/messages', { schema: SEND_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const identity = actor(request)
    if (identity instanceof Refusal) return refuse(reply, identity)
    const { nonce, kind, body: text, ext } = request.body
    const body = kind === KIND.encrypted ? opaque(text) : text
    if (body instanceof Refusal) return refuse(reply, body)
    const room = await rooms.open(request.params.room, identity)
    if (room instanceof Refusal) return refuse(reply, room)
    const author = new Author(room, identity, request.caller.isServer ? '' : request.address, 'rest')
    const result = await ingest.accept(author, { nonce, kind, body, ext: ext ?? null })
    // Ingest has counted it already.
    if (result instanceof Refusal) return sendRefusal(reply, result)
    const { seq, ts, epoch, repeated } = result
    return reply.code(repeated ? 200 : 201).send({ seq, ts, epoch })
  })
}

/** JSON has no bytes: an encrypted body comes, and is shown, as base64. */
function opaque (text: string): Uint8Array | Refusal {
  return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)
    ? new Uint8Array(Buffer.from(text, 'base64'))
    : new Refusal('bad_request', 'body.body must be base64 for kind 5')
}
