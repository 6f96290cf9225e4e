// Shapes of requests and answers, as JSON Schema: Ajv holds requests to them and OpenAPI shows them. Answers are not
// checked at run time. Names with a `#` are shared and land in the document's components.

import { errorCode, type ErrorName } from '../../proto/codes.ts'
import { ROLE } from '../../proto/ops.ts'
import { LIMITS } from '../../proto/values.ts'
import { ROOM_KINDS } from '../directory/directory.ts'

type Schema = Readonly<Record<string, unknown>>

const room: Schema = { type: 'string', pattern: '^[A-Za-z0-9_.:-]{1,64}$', description: '1 to 64 of A-Z a-z 0-9 _ . : -', examples: ['lobby'] }
const ts: Schema = { type: 'integer', description: 'Unix milliseconds', examples: [1764000000000] }
const seq: Schema = { type: 'integer', minimum: 0, description: 'place in the room\'s log: 1, 2, 3, …', examples: [1042] }
const epoch: Schema = { type: 'string', description: 'changes when the room\'s log begins anew', examples: ['k3x9'] }
const ext: Schema = {
  type: ['object', 'null'],
  description: '`re` (seq replied to), `at` (mentioned user ids), `thread` (root seq), `meta` (object, at most 1 KiB)',
  examples: [{ re: 1040, at: ['u-7'] }]
}

export const roomPath: Schema = object({ room })

/** An object that must have every property, but those named as optional, and no others. */
export function object (properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema {
  return { type: 'object', additionalProperties: false, required: Object.keys(properties).filter((name) => !optional.includes(name)), properties }
}

/** The query of a route: every key is optional, unknown keys are refused. */
export function query (properties: Readonly<Record<string, Schema>>): Schema {
  return { type: 'object', additionalProperties: false, properties }
}

const user: Schema = object({
  id: { type: 'string', examples: ['u-42'] },
  name: { type: 'string', examples: ['Ada'] },
  roles: { type: 'integer', description: `bit set: ${Object.entries(ROLE).map(([name, bit]) => `${bit} ${name}`).join(', ')}` }
})

const entryOf = (op: string, properties: Readonly<Record<string, Schema>>): Schema => ({ ...object({ op: { const: op }, seq, ts, ...properties }), title: op })

const roleNames: Schema = { type: 'array', items: { type: 'string' }, description: `of ${Object.keys(ROLE).join(', ')}; any other is refused` }

const person: Schema = {
  ...object({
    id: { type: 'string', description: `1 to ${LIMITS.userIdCharacters} characters` },
    name: { type: 'string', description: 'the id when it is left out' },
    roles: { ...roleNames, description: `everywhere; ${roleNames['description'] as string}` },
    rooms: { type: 'object', additionalProperties: roleNames, description: 'roles by room; with private rooms also the right to enter' }
  }, ['name', 'roles', 'rooms']),
  examples: [{ id: 'u-42', name: 'Ada', roles: ['moderator'] }]
}

/** Shapes that several routes name. */
export const SHARED: readonly Schema[] = [
  {
    $id: 'Error',
    title: 'Error',
    ...object({
      error: object({
        code: { type: 'integer' },
        name: { type: 'string' },
        message: { type: 'string', description: 'for developers; names the field that is wrong' },
        retryAfterMs: { type: ['integer', 'null'], description: 'how long to wait, where waiting helps; also as Retry-After in seconds' }
      })
    }),
    examples: [{ error: { code: 23, name: 'rate_limited', message: 'too many requests', retryAfterMs: 1500 } }]
  },
  {
    $id: 'Entry',
    title: 'Entry',
    description: 'One entry of a room\'s log. The body of an encrypted message (kind 5) is base64.',
    oneOf: [
      entryOf('message', { user, kind: { type: 'integer' }, body: { type: 'string' }, ext }),
      entryOf('remove', { target: { type: 'object', description: '`seq`, `user` or `all`, each up to a seq' }, by: { type: ['string', 'null'] } }),
      entryOf('state', { changes: { type: 'object', description: 'the settings that changed' } }),
      entryOf('edit', { target: seq, body: { type: 'string' }, ext })
    ],
    examples: [{ op: 'message', seq: 1042, ts: 1764000000000, user: { id: 'u-42', name: 'Ada', roles: 0 }, kind: 0, body: 'hello', ext: null }]
  },
  {
    $id: 'Room',
    title: 'Room',
    ...object({
      room,
      kind: { type: 'string', enum: [...ROOM_KINDS] },
      createdAt: ts,
      createdBy: { type: ['string', 'null'], description: 'user id; null when it was made on demand' },
      epoch,
      seq,
      viewers: { type: 'integer', description: 'viewers now; approximate' },
      settings: { type: 'object', description: 'the public settings' }
    }),
    examples: [{
      room: 'lobby', kind: 'stream', createdAt: 1764000000000, createdBy: 'u-42', epoch: 'k3x9', seq: 1042, viewers: 12,
      settings: { title: 'Lobby', slowModeSeconds: 0, locked: false, private: false }
    }]
  },
  { $id: 'Person', title: 'Person', description: 'A user to act for, or to make a token for.', ...person }
]

/** For whom a server key acts. */
export const as: Schema = { $ref: 'Person#', description: 'with a server key: the user to act for, with the rights given here; to enter a private room, name it in `rooms`' }

/** An answer with a body. */
export function answer (description: string, schema: Schema): Schema {
  return { description, content: { 'application/json': { schema } } }
}

/** The refusals of a route, by status. */
export function refusals (...names: ErrorName[]): Record<number, Schema> {
  const rows: Record<number, string[]> = {}
  for (const name of names) {
    const { http, meaning } = errorCode(name)
    rows[http] = [...rows[http] ?? [], `\`${name}\`: ${meaning}`]
  }
  return Object.fromEntries(Object.entries(rows).map(([status, lines]) => [status, answer(`${lines.join('; ')}.`, { $ref: 'Error#' })]))
}

export const fields = { room, ts, seq, epoch, ext } as const

/** Whoever may call: nobody needs to say who they are, or a token or key is needed. */
export const SECURITY: Readonly<Record<'read' | 'user' | 'none', readonly Record<string, readonly string[]>[]>> = {
  read: [{}, { bearer: [] }],
  user: [{ bearer: [] }],
  none: []
}
