// What was said, to be looked up: search, one user's messages, a past stream from a moment on, a room's statistics. Who may
// see what is decided behind these routes (library/). Exports are in exports.ts.

import type { FastifyInstance } from 'fastify'
import { LIMITS } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import { WORDS_MAX, type Found, type Said } from '../library/library.ts'
import { refuse } from './answers.ts'
import type { ApiDeps } from './deps.ts'
import { entryText } from './entries.ts'
import { answer, fields, object, query, refusals, roomPath, SECURITY } from './schemas.ts'

const time = { type: 'integer', minimum: 0, maximum: 4_102_444_800_000 } as const
const userId = { type: 'string', minLength: 1, maxLength: LIMITS.userIdCharacters } as const

const NOT_SERVED = ['bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'unavailable', 'overloaded', 'internal'] as const

const searchQuery = {
  q: { type: 'string', maxLength: 500, description: `words that a message must have, all of them, in any order and case; at most ${WORDS_MAX} count` },
  author: { ...userId, description: 'only messages of this user; `q` or this must be given' },
  from: { ...time, description: 'only messages from this time on, Unix milliseconds' },
  to: { ...time, description: 'only messages before this time' },
  kind: { type: 'integer', minimum: 0, maximum: 6, description: 'only messages of this kind' },
  before: { type: 'string', minLength: 1, maxLength: 400, description: 'go on behind an answer: its `next`' },
  limit: { type: 'integer', minimum: 1, maximum: 100, default: 50 }
} as const

const { author: _, ...writtenQuery } = searchQuery

const foundAnswer = answer('Messages, newest first. `next`: ask on with `before` = this; null: there are no older ones. A page may be shorter than `limit` while `next` is not null.', object({
  messages: {
    type: 'array',
    items: object({
      room: fields.room, epoch: fields.epoch, seq: fields.seq, ts: fields.ts, user: { $ref: 'Author#' }, kind: { type: 'integer' }, body: { type: 'string' }, ext: fields.ext,
      shadow: { type: 'boolean', description: 'for moderators: only the author was shown it' },
      removed: {
        ...object({
          at: { type: ['integer', 'null'], description: 'when; null: just now' },
          by: { type: ['string', 'null'], description: 'user id; null: a rule, or not known yet' },
          reason: { type: ['string', 'null'] }
        }),
        type: ['object', 'null'],
        description: 'for moderators: it was removed'
      }
    }, ['shadow', 'removed'])
  },
  next: { type: ['string', 'null'] }
}))

const SEARCH_SCHEMA = {
  tags: ['archive'], operationId: 'searchRoom', summary: 'Search a room',
  description: 'What viewers may see. Moderators of the room also find what was removed, with who and why, and what only its author was shown.',
  security: SECURITY.read, params: roomPath, querystring: query(searchQuery), response: { 200: foundAnswer, ...refusals(...NOT_SERVED, 'not_found') }
}

const SEARCH_ALL_SCHEMA = {
  tags: ['archive'], operationId: 'search', summary: 'Search across rooms',
  description: 'Admins and server keys: all rooms. Others: the rooms that their token names them moderator of. `rooms`: only these of them.',
  security: SECURITY.user,
  querystring: query({ ...searchQuery, rooms: { type: 'string', pattern: '^[A-Za-z0-9_.:-]{1,64}(,[A-Za-z0-9_.:-]{1,64}){0,99}$', description: 'at most 100, with commas between them' } }),
  response: { 200: foundAnswer, ...refusals(...NOT_SERVED) }
}

const WRITTEN_SCHEMA = {
  tags: ['archive'], operationId: 'listUserMessages', summary: 'A user\'s messages',
  description: 'One\'s own in all rooms; those of others for admins and server keys, and for moderators in their rooms. With `room` as searching there.',
  security: SECURITY.user, params: object({ user: userId }), querystring: query({ ...writtenQuery, room: fields.room }), response: { 200: foundAnswer, ...refusals(...NOT_SERVED, 'not_found') }
}

const REPLAY_SCHEMA = {
  tags: ['archive'], operationId: 'replayRoom', summary: 'A past stream\'s chat from a moment on',
  description: 'Entries from `start` + `at` on, oldest first, as history would show them now: from the log, and before it from the archive. Go on with `after` = the last entry\'s seq. ' +
    'An entry belongs to the moment `ts` - `start` of the video that began at `start`.',
  security: SECURITY.read, params: roomPath,
  querystring: {
    ...query({
      start: { ...time, description: 'when the stream began, Unix milliseconds' },
      at: { type: 'integer', minimum: 0, maximum: 4_102_444_800_000, default: 0, description: 'how far into it, milliseconds' },
      after: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'instead of `at`: only entries after this seq' },
      lead: { type: 'integer', minimum: 0, maximum: LIMITS.historyEntries, default: 0, description: 'so many entries before that, first' },
      limit: { type: 'integer', minimum: 1, maximum: LIMITS.historyEntries, default: LIMITS.historyEntries }
    }),
    required: ['start']
  },
  response: {
    200: answer('A run of entries. `lead`: how many of them lie before the moment; `more`: there are later ones.', object({
      room: fields.room, epoch: fields.epoch, head: fields.seq, lead: { type: 'integer' }, entries: { type: 'array', items: { $ref: 'Entry#' } }, more: { type: 'boolean' }
    })),
    ...refusals(...NOT_SERVED, 'not_found')
  }
}

const count = { type: 'integer' } as const
const counts = { type: ['array', 'null'], items: object({ name: { type: 'string' }, count }), description: 'for moderators, else null; most used first' } as const

const STATS_SCHEMA = {
  tags: ['archive'], operationId: 'roomStatistics', summary: 'A room\'s numbers over time',
  description: 'Messages, chatters and viewers by step; for moderators also removals, actions, words and emotes. Shadow messages are not counted.',
  security: SECURITY.read, params: roomPath,
  querystring: query({
    from: { ...time, description: 'Unix milliseconds; a day before `to` by default' },
    to: { ...time, description: 'now by default' },
    stepS: { type: 'integer', minimum: 60, maximum: 31_536_000, description: 'seconds of a step, whole minutes; chosen for at most 240 steps by default' }
  }),
  response: {
    200: answer('The numbers. Steps without anything are left out.', object({
      room: fields.room, from: fields.ts, to: fields.ts, stepS: count,
      first: { type: ['integer', 'null'], description: 'the first minute with messages; null: there are none' },
      last: { type: ['integer', 'null'], description: 'the last one' },
      totals: object({ messages: count, chatters: count, viewersMax: { type: ['integer', 'null'], description: 'most viewers at once; null: not counted' } }),
      points: { type: 'array', items: object({ at: fields.ts, messages: count, chatters: count, viewers: { type: ['integer', 'null'] } }) },
      moderation: {
        ...object({
          removals: count,
          points: { type: 'array', items: object({ at: fields.ts, removals: count, actions: count }) },
          actions: { type: 'array', items: object({ name: { type: 'string' }, count }) }
        }),
        type: ['object', 'null'],
        description: 'for moderators, else null'
      },
      words: counts,
      emotes: counts
    })),
    ...refusals(...NOT_SERVED, 'not_found')
  }
}

interface RoomRequest { Params: { room: string } }
interface SearchQuery { q?: string, author?: string, from?: number, to?: number, kind?: number, before?: string, limit: number }
interface ReplayRequest extends RoomRequest { Querystring: { start: number, at: number, after?: number, lead: number, limit: number } }

export function libraryRoutes (app: FastifyInstance, { library }: Pick<ApiDeps, 'library'>): void {
  app.get<RoomRequest & { Querystring: SearchQuery }>('/v1/rooms/:room/search', { schema: SEARCH_SCHEMA, config: { access: 'read' } }, async (request, reply) => {
    const found = await library.search(request.params.room, request.caller.identity, request.query)
    return found instanceof Refusal ? refuse(reply, found) : foundObject(found)
  })

  app.get<{ Querystring: SearchQuery & { rooms?: string } }>('/v1/search', { schema: SEARCH_ALL_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const { rooms, ...wanted } = request.query
    const found = await library.searchAll(request.caller.identity, wanted, rooms?.split(',') ?? null)
    return found instanceof Refusal ? refuse(reply, found) : foundObject(found)
  })

  app.get<{ Params: { user: string }, Querystring: Omit<SearchQuery, 'author'> & { room?: string } }>('/v1/users/:user/messages', { schema: WRITTEN_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const { room, ...wanted } = request.query
    const found = await library.writtenBy(request.params.user, request.caller.identity, wanted, room ?? null)
    return found instanceof Refusal ? refuse(reply, found) : foundObject(found)
  })

  app.get<ReplayRequest>('/v1/rooms/:room/replay', { schema: REPLAY_SCHEMA, config: { access: 'read' } }, async (request, reply) => {
    const page = await library.replay(request.params.room, request.caller.identity, request.query)
    if (page instanceof Refusal) return refuse(reply, page)
    const { epoch, head, lead, entries, more } = page
    const text = `{"room":${JSON.stringify(request.params.room)},"epoch":${JSON.stringify(epoch)},"head":${head},"lead":${lead},"entries":[${entries.map(entryText).join(',')}],"more":${more}}`
    return reply.type('application/json; charset=utf-8').send(text)
  })

  app.get<RoomRequest & { Querystring: { from?: number, to?: number, stepS?: number } }>('/v1/rooms/:room/stats', { schema: STATS_SCHEMA, config: { access: 'read' } }, async (request, reply) => {
    const statistics = await library.statistics(request.params.room, request.caller.identity, request.query)
    return statistics instanceof Refusal ? refuse(reply, statistics) : { room: request.params.room, ...statistics }
  })
}

/** Whoever may not see what was removed is not told that anything could be. */
function foundObject ({ messages, next, isWhole }: Found): Record<string, unknown> {
  return { messages: messages.map((said) => ({ ...placed(said), ...isWhole ? { shadow: said.isShadow, removed: said.removed } : {} })), next }
}

function placed ({ room, epoch, seq, ts, user, kind, body, ext }: Said): Record<string, unknown> {
  return { room, epoch, seq, ts, user, kind, body, ext }
}
