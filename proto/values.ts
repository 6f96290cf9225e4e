// The values that frames carry: their types, limits and checks. No packing, no I/O.

/** `[id, name, roles]`; roles is a bit set of ROLE. */
export type User = readonly [id: string, name: string, roles: number]

/** `[epoch, seq]`: a place in a room's log. */
export type Position = readonly [epoch: string, seq: number]

export const LIMITS = {
  roomCharacters: 64,
  nonceCharacters: 64,
  userIdCharacters: 128,
  userNameCharacters: 64,
  framesPerMessage: 32,
  nesting: 8,
  metaBytes: 1024,
  metaNesting: 6,
  mentions: 20,
  historyEntries: 200,
  historyEntriesDefault: 50,
  /** A broadcast stays below this: above it uWebSockets.js writes at once, one call a socket. */
  broadcastBytes: 16_000
} as const

const ROOM = /^[A-Za-z0-9_.:-]{1,64}$/

/** Map keys (PING has rooms as such) and steps of a path (clients walk them before they ask) are no names. */
const NO_ROOMS: ReadonlySet<unknown> = /* @__PURE__ */ new Set(['__proto__', '.', '..'])

/** 1 to 64 of `A-Z a-z 0-9 _ . : -`, but not `__proto__`, `.` or `..`. */
export function isRoom (value: unknown): value is string {
  return typeof value === 'string' && ROOM.test(value) && !NO_ROOMS.has(value)
}

/** A string of 1 to 64 UTF-16 units. */
export function isNonce (value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= LIMITS.nonceCharacters
}

/** A whole number from 0 to 2^53-1. */
export function isUint (value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** `[epoch, seq]`, epoch 1 to 32 characters. */
export function isPosition (value: unknown): value is Position {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === 'string' &&
    value[0].length > 0 && value[0].length <= 32 && isUint(value[1])
}

/** A plain map as the decoder makes it. */
export function isMap (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

/** Whether arrays and maps nest at most `levels` deep (a text or number: 0). Looks no deeper than that. */
export function nestsWithin (value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return true
  return levels > 0 && Object.values(value).every((inner) => nestsWithin(inner, levels - 1))
}
