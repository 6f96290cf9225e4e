// The frames of the wire, version 1, as one table: number, name, who sends it, its fields in order.
// Owns the numbers; must not know how they are packed (codec.ts) or what they mean to a room.
// PROTOCOL.md shows the same table and a test holds the two together.

export const PROTOCOL = 'uproar.v1'

/** What a field may hold. `uint` is a whole number from 0 to 2^53-1; `any` is any value within the limits. */
export type FieldType = 'str' | 'uint' | 'bool' | 'map' | 'array' | 'user' | 'any' | 'bin' | 'str|bin'

export interface Field {
  readonly name: string
  readonly type: FieldType
  /** nil is allowed, and the field may be missing when all after it are too. */
  readonly nil?: true
}

export interface FrameShape {
  readonly op: number
  readonly name: string
  readonly from: 'client' | 'server'
  readonly fields: readonly Field[]
  /** True for the frames that are a room log's entries: they have a seq. */
  readonly entry?: true
}

const f = /* @__NO_SIDE_EFFECTS__ */ (name: string, type: FieldType): Field => ({ name, type })
const n = /* @__NO_SIDE_EFFECTS__ */ (name: string, type: FieldType): Field => ({ name, type, nil: true })

export const FRAMES = [
  { op: 1, name: 'HELLO', from: 'client', fields: [n('token', 'str'), n('client', 'str')] },
  { op: 2, name: 'JOIN', from: 'client', fields: [f('rid', 'uint'), f('room', 'str'), n('options', 'map')] },
  { op: 3, name: 'LEAVE', from: 'client', fields: [f('rid', 'uint'), f('room', 'str')] },
  { op: 4, name: 'SEND', from: 'client', fields: [f('rid', 'uint'), f('room', 'str'), f('nonce', 'str'), f('kind', 'uint'), f('body', 'str|bin'), n('ext', 'map')] },
  { op: 5, name: 'HISTORY', from: 'client', fields: [f('rid', 'uint'), f('room', 'str'), n('before', 'uint'), f('limit', 'uint')] },
  { op: 6, name: 'SIGNAL', from: 'client', fields: [f('room', 'str'), f('what', 'str'), n('value', 'any')] },
  { op: 7, name: 'MODERATE', from: 'client', fields: [f('rid', 'uint'), f('room', 'str'), f('action', 'str'), f('args', 'map')] },
  { op: 8, name: 'PING', from: 'client', fields: [n('value', 'any'), n('positions', 'map')] },
  { op: 9, name: 'AUTH', from: 'client', fields: [f('rid', 'uint'), f('token', 'str')] },
  { op: 10, name: 'REPLAY', from: 'client', fields: [f('rid', 'uint'), f('room', 'str'), f('at', 'uint'), n('after', 'uint'), f('limit', 'uint')] },

  { op: 32, name: 'WELCOME', from: 'server', fields: [f('session', 'str'), n('user', 'user'), f('serverTime', 'uint'), f('limits', 'map')] },
  { op: 33, name: 'OK', from: 'server', fields: [f('rid', 'uint'), n('result', 'any')] },
  { op: 34, name: 'ERR', from: 'server', fields: [n('rid', 'uint'), f('code', 'uint'), f('name', 'str'), f('message', 'str'), n('retryAfterMs', 'uint')] },
  { op: 35, name: 'JOINED', from: 'server', fields: [f('rid', 'uint'), f('room', 'str'), f('epoch', 'str'), f('seq', 'uint'), f('state', 'map'), f('recovered', 'bool')] },
  { op: 36, name: 'ROOM', from: 'server', fields: [f('room', 'str'), f('epoch', 'str')] },
  { op: 37, name: 'MESSAGE', from: 'server', entry: true, fields: [f('seq', 'uint'), f('ts', 'uint'), f('user', 'user'), f('kind', 'uint'), f('body', 'str|bin'), n('ext', 'map'), n('shadow', 'bool')] },
  { op: 38, name: 'REMOVE', from: 'server', entry: true, fields: [f('seq', 'uint'), f('ts', 'uint'), f('target', 'map'), n('by', 'str')] },
  { op: 39, name: 'STATE', from: 'server', entry: true, fields: [f('seq', 'uint'), f('ts', 'uint'), f('changes', 'map')] },
  { op: 40, name: 'EDIT', from: 'server', entry: true, fields: [f('seq', 'uint'), f('ts', 'uint'), f('target', 'uint'), f('body', 'str|bin'), n('ext', 'map')] },
  { op: 48, name: 'VIEWERS', from: 'server', fields: [f('count', 'uint')] },
  { op: 49, name: 'SIGNAL', from: 'server', fields: [f('what', 'str'), n('value', 'any')] },
  { op: 50, name: 'SKIPPED', from: 'server', fields: [f('seqFirst', 'uint'), f('seqLast', 'uint'), f('count', 'uint'), f('reason', 'str')] },
  { op: 51, name: 'SANCTION', from: 'server', fields: [f('kind', 'str'), n('until', 'uint'), f('reason', 'str')] },
  { op: 52, name: 'HELD', from: 'server', fields: [n('rid', 'uint'), f('ref', 'str'), f('text', 'str')] },
  { op: 53, name: 'BYE', from: 'server', fields: [f('code', 'uint'), f('reason', 'str'), f('reconnectAfterMs', 'uint')] },
  { op: 54, name: 'PONG', from: 'server', fields: [n('value', 'any')] },
  { op: 55, name: 'PAGE', from: 'server', fields: [f('rid', 'uint'), f('room', 'str'), f('entries', 'array'), f('more', 'bool')] },
  { op: 56, name: 'INBOX', from: 'server', fields: [f('room', 'str'), f('entry', 'array')] },
  { op: 57, name: 'DEFLATED', from: 'server', fields: [f('frames', 'bin')] }
] as const satisfies readonly FrameShape[]

/** Numbers of the ops by name and direction, for code that names them: `IN.SEND`, `OUT.MESSAGE`. */
export const IN = { HELLO: 1, JOIN: 2, LEAVE: 3, SEND: 4, HISTORY: 5, SIGNAL: 6, MODERATE: 7, PING: 8, AUTH: 9, REPLAY: 10 } as const
export const OUT = {
  WELCOME: 32, OK: 33, ERR: 34, JOINED: 35, ROOM: 36, MESSAGE: 37, REMOVE: 38, STATE: 39, EDIT: 40,
  VIEWERS: 48, SIGNAL: 49, SKIPPED: 50, SANCTION: 51, HELD: 52, BYE: 53, PONG: 54, PAGE: 55, INBOX: 56, DEFLATED: 57
} as const

export type InOp = (typeof IN)[keyof typeof IN]
export type OutOp = (typeof OUT)[keyof typeof OUT]
/** The ops that are entries of a room's log. */
export type EntryOp = 37 | 38 | 39 | 40

/** Kinds of a message (field `kind` of SEND and MESSAGE). */
export const KIND = { text: 0, emote: 1, announcement: 2, system: 3, attachment: 4, encrypted: 5, botCard: 6 } as const

/** Bits of `roles` in a user `[id, name, roles]`. */
export const ROLE = { subscriber: 1, vip: 2, moderator: 4, broadcaster: 8, admin: 16, bot: 32, verified: 64 } as const
export type RoleName = keyof typeof ROLE

/** Why entries were not sent to a viewer (field `reason` of SKIPPED). */
export const SKIPPED_REASONS = ['sampled', 'slow', 'removed'] as const
export type SkippedReason = (typeof SKIPPED_REASONS)[number]
