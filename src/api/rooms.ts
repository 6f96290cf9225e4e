// GET, PUT, DELETE /v1/rooms/:room and GET /v1/rooms: rooms as things that are made, set, listed and deleted.

import type { FastifyInstance } from 'fastify'
import { Refusal } from '../base/errors.ts'
import { ROOM_KINDS, type RoomKind } from '../directory/directory.ts'
import { refuse } from './answers.ts'
import { actor } from './callers.ts'
import type { ApiDeps } from './deps.ts'
import { answer, as, fields, object, query, refusals, roomPath, SECURITY } from './schemas.ts'

const nullable = (type: string, description: string): Record<string, unknown> => ({ type: [type, 'null'], description })

const GET_SCHEMA = {
  tags: ['rooms'],
  operationId: 'getRoom',
  summary: 'Settings and numbers of a room',
  description: 'Only looks: unlike joining or writing, asking for a room that does not exist makes none and answers `not_found`.',
  security: SECURITY.read,
  params: roomPath,
  response: { 200: answer('The room.', { $ref: 'Room#' }), ...refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'unavailable', 'internal') }
}

const PUT_SCHEMA = {
  tags: ['rooms'],
  operationId: 'putRoom',
  summary: 'Make a room, or change its settings',
  description: 'Needs broadcaster or admin in that room, or a server key. Settings that are not named stay; null puts one back to its default. Viewers are told by a `state` entry.',
  security: SECURITY.user,
  params: roomPath,
  body: {
    ...object({
      kind: { type: 'string', enum: [...ROOM_KINDS], description: 'only when the room is made' },
      settings: {
        type: 'object',
        properties: {
          title: nullable('string', 'at most 120 characters'),
          slowModeSeconds: nullable('integer', 'seconds between two messages of one user; 0 to 3600'),
          locked: nullable('boolean', 'only staff may write'),
          liveMessagesPerSecond: nullable('integer', 'what a live view gets a second before it is sampled'),
          private: nullable('boolean', 'only those whose token names the room may enter'),
          membersOnly: nullable('boolean', 'only members may write: subscribers, vips, and those whose token names the room'),
          subscribersOnly: nullable('boolean', 'only subscribers and vips may write'),
          minimumAccountAgeDays: nullable('integer', 'only accounts that old by the token\'s `account_since` may write; 0 to 3650'),
          emoteOnly: nullable('boolean', 'only emotes may be written: pictographs and `:codes:`'),
          uniqueChat: nullable('boolean', 'what was said within 30 s may not be said again'),
          preModeration: nullable('boolean', 'every message waits for a moderator'),
          shield: nullable('boolean', 'slow mode of 10 s, members only, unique chat and level 3 in one switch'),
          publicationDelaySeconds: nullable('integer', 'viewers get entries so much later than moderators: 0, 2, 4 or 6'),
          autoLevel: nullable('integer', 'how strict the screen is about links, shouting, floods and repeats; 0 to 4'),
          allowedLinks: { ...nullable('array', 'hosts that links may lead to where the level minds links; at most 100, lower case'), items: { type: 'string' } },
          pinned: nullable('integer', 'seq of the message that stands on top; 0: none'),
          archiveDays: nullable('integer', 'how many days the archive keeps the room; 0: for ever; null: as the server says'),
          hook: nullable('string', 'whether messages are shown to the server\'s hook before they are accepted, and what counts when it does not answer in time: `off`, `open` (they pass) or `closed` (they are refused); never shown to viewers'),
          blockedTerms: { ...nullable('array', 'messages with these are refused; never shown to viewers; at most 1,000 of 1 to 64 characters'), items: { type: 'string' } }
        }
      },
      as
    }, ['kind', 'settings', 'as']),
    examples: [{ kind: 'stream', settings: { title: 'Launch', slowModeSeconds: 5 } }]
  },
  response: {
    200: answer('Set.', { $ref: 'Room#' }),
    201: answer('Made.', { $ref: 'Room#' }),
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'too_long', 'rate_limited', 'unavailable', 'overloaded', 'internal')
  }
}

const DELETE_SCHEMA = {
  tags: ['rooms'],
  operationId: 'deleteRoom',
  summary: 'Delete a room',
  description: 'Needs admin. Its log goes with it, and its viewers are sent away; a later room of that name has another epoch.',
  security: SECURITY.user,
  params: roomPath,
  response: { 204: { description: 'Gone.', type: 'null' }, ...refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'unavailable', 'internal') }
}

const LIST_SCHEMA = {
  tags: ['rooms'],
  operationId: 'listRooms',
  summary: 'Rooms by name',
  description: 'Ascending. Private rooms only for those who may enter them. Page on with `after` = the last name; a page may be shorter than `limit` while `more` is true.',
  security: SECURITY.read,
  querystring: query({
    prefix: { type: 'string', pattern: '^[A-Za-z0-9_.:-]{0,64}$', description: 'only names that begin so' },
    after: { type: 'string', pattern: '^[A-Za-z0-9_.:-]{0,64}$', description: 'only names after this one' },
    limit: { type: 'integer', minimum: 1, maximum: 200, default: 50 }
  }),
  response: {
    200: answer('A page.', object({ rooms: { type: 'array', items: { $ref: 'Room#' } }, more: { type: 'boolean' } })),
    ...refusals('bad_request', 'unauthorized', 'rate_limited', 'unavailable', 'internal')
  }
}

const VIEWERS_SCHEMA = {
  tags: ['rooms'],
  operationId: 'countViewers',
  summary: 'How many watch a room',
  security: SECURITY.read,
  params: roomPath,
  response: {
    200: answer('The count; approximate.', { ...object({ room: fields.room, viewers: { type: 'integer' } }), examples: [{ room: 'lobby', viewers: 12 }] }),
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'unavailable', 'internal')
  }
}

interface RoomRequest { Params: { room: string } }
interface PutRequest extends RoomRequest { Body: { kind?: RoomKind, settings?: Record<string, unknown> } }
interface ListRequest { Querystring: { prefix?: string, after?: string, limit: number } }

export function roomRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'rooms'>): void {
  const { rooms } = deps

  app.get<RoomRequest>('/v1/rooms/:room', { schema: GET_SCHEMA, config: { access: 'read' } }, async (request, reply) => {
    const view = await rooms.describe(request.params.room, request.caller.identity)
    return view instanceof Refusal ? refuse(reply, view) : view
  })

  app.put<PutRequest>('/v1/rooms/:room', { schema: PUT_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const identity = actor(request)
    if (identity instanceof Refusal) return refuse(reply, identity)
    const { kind, settings } = request.body
    const result = await rooms.configure(request.params.room, identity, { kind, settings })
    if (result instanceof Refusal) return refuse(reply, result)
    return reply.code(result.created ? 201 : 200).send(result.view)
  })

  app.delete<RoomRequest>('/v1/rooms/:room', { schema: DELETE_SCHEMA, config: { access: 'user' } }, async (request, reply) => {
    const identity = actor(request)
    if (identity instanceof Refusal) return refuse(reply, identity)
    const result = await rooms.remove(request.params.room, identity)
    return result instanceof Refusal ? refuse(reply, result) : reply.code(204).send()
  })

  app.get<ListRequest>('/v1/rooms', { schema: LIST_SCHEMA, config: { access: 'read' } }, async (request, reply) => {
    const page = await rooms.list(request.query, request.caller.identity)
    return page instanceof Refusal ? refuse(reply, page) : page
  })

  app.get<RoomRequest>('/v1/rooms/:room/viewers', { schema: VIEWERS_SCHEMA, config: { access: 'read' } }, async (request, reply) => {
    const view = await rooms.describe(request.params.room, request.caller.identity)
    return view instanceof Refusal ? refuse(reply, view) : { room: view.room, viewers: view.viewers }
  })
}
