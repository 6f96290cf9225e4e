// Codes of the contract as tables: refusals (ERR and REST) and close codes. A retired number is never used again.
// Code, docs, metrics and the client read the same rows; a test holds PROTOCOL.md to them.

export interface ErrorCode {
  readonly code: number
  readonly name: string
  /** HTTP status that REST answers with. */
  readonly http: number
  /** Whether waiting helps: such an error carries retryAfterMs. */
  readonly wait: boolean
  readonly meaning: string
}

export const ERRORS = [
  { code: 1, name: 'bad_request', http: 400, wait: false, meaning: 'the request is malformed; the message names the field' },
  { code: 2, name: 'unsupported', http: 501, wait: false, meaning: 'this server does not serve that op, action or kind' },
  { code: 10, name: 'unauthorized', http: 401, wait: false, meaning: 'no token, or one that is not valid (any more)' },
  { code: 11, name: 'forbidden', http: 403, wait: false, meaning: 'the token does not allow this' },
  { code: 12, name: 'not_found', http: 404, wait: false, meaning: 'no such room or entry' },
  { code: 13, name: 'not_joined', http: 409, wait: false, meaning: 'join the room first' },
  { code: 20, name: 'banned', http: 403, wait: false, meaning: 'the user is banned here' },
  { code: 21, name: 'timed_out', http: 403, wait: true, meaning: 'the user is timed out here' },
  { code: 22, name: 'slow_mode', http: 429, wait: true, meaning: 'slow mode: the last message is too recent' },
  { code: 23, name: 'rate_limited', http: 429, wait: true, meaning: 'too many requests' },
  { code: 24, name: 'duplicate', http: 409, wait: true, meaning: 'the same text again, where the room forbids that' },
  { code: 25, name: 'too_long', http: 413, wait: false, meaning: 'the text or a field is over its limit' },
  { code: 26, name: 'blocked', http: 422, wait: false, meaning: 'the text was blocked by the room\'s screen' },
  { code: 27, name: 'held', http: 202, wait: false, meaning: 'the message waits for a moderator' },
  { code: 28, name: 'members_only', http: 403, wait: false, meaning: 'only members may write here' },
  { code: 29, name: 'emote_only', http: 403, wait: false, meaning: 'only emotes may be written here' },
  { code: 30, name: 'room_locked', http: 423, wait: false, meaning: 'the room is locked' },
  { code: 40, name: 'unavailable', http: 503, wait: true, meaning: 'an engine behind the server does not answer' },
  { code: 41, name: 'overloaded', http: 503, wait: true, meaning: 'the server has more than it can take now' },
  { code: 50, name: 'internal', http: 500, wait: false, meaning: 'a fault of the server; it is logged' }
] as const satisfies readonly ErrorCode[]

export type ErrorName = (typeof ERRORS)[number]['name']

const byName: ReadonlyMap<string, ErrorCode> = /* @__PURE__ */ new Map(/* @__PURE__ */ ERRORS.map((row) => [row.name, row]))

/** The row of an error name. */
export function errorCode (name: ErrorName): ErrorCode {
  return byName.get(name) as ErrorCode
}

export interface CloseCode {
  readonly code: number
  readonly name: string
  /** 4400 to 4499: come back with back-off and jitter. 4500 to 4599: do not. */
  readonly reconnect: boolean
  readonly meaning: string
}

export const CLOSES = [
  { code: 4401, name: 'expired', reconnect: true, meaning: 'the token expired and no fresh one came; come back with one' },
  { code: 4402, name: 'hello_timeout', reconnect: true, meaning: 'no HELLO in time' },
  { code: 4408, name: 'too_slow', reconnect: true, meaning: 'the viewer read too slowly' },
  { code: 4413, name: 'draining', reconnect: true, meaning: 'the server is going away' },
  { code: 4429, name: 'too_many_connections', reconnect: true, meaning: 'over the limit of connections, or of frames' },
  { code: 4440, name: 'server_error', reconnect: true, meaning: 'a fault of the server' },
  { code: 4500, name: 'bad_frame', reconnect: false, meaning: 'what was sent is not of this protocol' },
  { code: 4501, name: 'unauthorized', reconnect: false, meaning: 'the token is not valid' },
  { code: 4503, name: 'banned', reconnect: false, meaning: 'the user is banned' },
  { code: 4505, name: 'kicked', reconnect: false, meaning: 'an operator of the server closed it' },
  { code: 4508, name: 'replaced', reconnect: false, meaning: 'a newer connection took its place' }
] as const satisfies readonly CloseCode[]

export type CloseName = (typeof CLOSES)[number]['name']

const closesByName: ReadonlyMap<string, CloseCode> = /* @__PURE__ */ new Map(/* @__PURE__ */ CLOSES.map((row) => [row.name, row]))

/** The row of a close name. */
export function closeCode (name: CloseName): CloseCode {
  return closesByName.get(name) as CloseCode
}

/** Whether a client should come back after this close code. Anything that is not ours (1006, 1001 …) says yes. */
export function mayReconnect (code: number): boolean {
  return code < 4500 || code > 4599
}
