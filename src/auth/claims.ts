// From claims to an Identity: what a verified token says, and what a server key's `as` or a request for a dev token
// says, are read by the same rules. Owns the limits of names, roles and rooms; must not know keys or signatures.

import { ROLE, type RoleName } from '../../proto/ops.ts'
import { isMap, isRoom, LIMITS } from '../../proto/values.ts'
import type { Identity } from './auth.ts'

const ROOMS_MAX = 200
const ROLES_MAX = 64
const TOKEN_ID_CHARACTERS_MAX = 128
/** 31 December 9999: what lies beyond was written in milliseconds. */
const EXPIRY_SECONDS_MAX = 253_402_300_799

const NO_ROOMS: ReadonlyMap<string, number> = new Map()

const UNFIT_IN_ID = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u
// Joiners stay (emoji, Persian); a name of nothing else counts as empty.
const UNFIT_IN_NAME = /[\p{Cc}\p{Cs}\p{Bidi_Control}\u00AD\u200B\u2060-\u2064\uFEFF\u{E0000}-\u{E007F}]/gu
const STACKED_MARKS = /(\p{M}{4})\p{M}+/gu
const VISIBLE = /[^\p{Z}\p{Cf}\p{Default_Ignorable_Code_Point}]/u

/** What is wrong with a claim: a sentence that begins with the claim's place. */
export class ClaimFault {
  readonly sentence: string
  constructor (sentence: string) { this.sentence = sentence }
}

/** The shape that both kinds of source are brought to before they are read. */
interface Claims {
  readonly id: unknown
  readonly name: unknown
  readonly roles: unknown
  readonly rooms: unknown
}

/** A verified token's payload as an identity. */
export function identityOfToken (payload: Readonly<Record<string, unknown>>): Identity | ClaimFault {
  const { sub, name, roles, rooms, exp, jti, iat, account_since: since } = payload
  if (typeof exp !== 'number' || !Number.isFinite(exp)) return new ClaimFault('"exp" must be a number of seconds')
  if (exp > EXPIRY_SECONDS_MAX) return new ClaimFault('"exp" must be in seconds, not milliseconds')
  if (jti !== undefined && (typeof jti !== 'string' || jti.length > TOKEN_ID_CHARACTERS_MAX)) return new ClaimFault(`"jti" must be a string of at most ${TOKEN_ID_CHARACTERS_MAX} characters`)
  if (since !== undefined && (typeof since !== 'number' || !(since >= 0 && since <= EXPIRY_SECONDS_MAX))) return new ClaimFault('"account_since" must be a number of seconds')
  const identity = readIdentity({ id: sub, name, roles, rooms }, { idName: 'sub', isOurs: false, expiresAt: exp * 1000, tokenId: jti ?? null, issuedAt: typeof iat === 'number' && Number.isFinite(iat) ? iat * 1000 : null })
  return since === undefined || identity instanceof ClaimFault ? identity : Object.freeze({ ...identity, accountSince: since * 1000 })
}

/** The user that a request names, `{ id, name?, roles?, rooms? }`. It is meant for us, so an unknown role is a slip. */
export function identityOfUser (user: Readonly<Record<string, unknown>>): Identity | ClaimFault {
  const { id, name, roles, rooms } = user
  return readIdentity({ id, name, roles, rooms }, { idName: 'id', isOurs: true, expiresAt: Infinity, tokenId: null, issuedAt: null })
}

interface Source {
  /** What the id is called there. */
  readonly idName: string
  /** Whether it was written for this server; otherwise it may have roles of its own. */
  readonly isOurs: boolean
  readonly expiresAt: number
  readonly tokenId: string | null
  readonly issuedAt: number | null
}

function readIdentity (claims: Claims, { idName, isOurs, expiresAt, tokenId, issuedAt }: Source): Identity | ClaimFault {
  const { id } = claims
  if (typeof id !== 'string' || id.length === 0 || id.length > LIMITS.userIdCharacters || UNFIT_IN_ID.test(id)) return new ClaimFault(`"${idName}" must be a string of 1 to ${LIMITS.userIdCharacters} characters without control characters`)
  const name = claims.name ?? id
  if (typeof name !== 'string') return new ClaimFault('"name" must be a string')
  const roles = readRoles(claims.roles, '"roles"', isOurs)
  if (roles instanceof ClaimFault) return roles
  const rooms = readRooms(claims.rooms, isOurs)
  if (rooms instanceof ClaimFault) return rooms
  return Object.freeze({ id, name: cleanName(name) || cleanName(id) || 'user', roles, rooms, expiresAt, tokenId, issuedAt })
}

/** A name fit to show beside others: one line, nothing that hides or turns text, at most 64 UTF-16 units; '' when nothing visible is left. */
export function cleanName (name: string): string {
  // Far longer than any name that fits, so that the work is bounded whatever came.
  const line = name.slice(0, LIMITS.userNameCharacters * 8).replace(/\s+/gu, ' ').replace(UNFIT_IN_NAME, '').replace(STACKED_MARKS, '$1').trim()
  const cut = line.slice(0, LIMITS.userNameCharacters).replace(/[\uD800-\uDBFF]$/, '').trimEnd()
  return VISIBLE.test(cut) ? cut : ''
}

/** Names of roles as bits. Unknown ones are ignored in tokens: an issuer may have roles of its own. */
function readRoles (value: unknown, place: string, isOurs: boolean): number | ClaimFault {
  if (value === undefined || value === null) return 0
  if (!Array.isArray(value) || value.length > ROLES_MAX) return new ClaimFault(`${place} must be an array of at most ${ROLES_MAX} role names`)
  let roles = 0
  for (const name of value as unknown[]) {
    if (typeof name !== 'string') return new ClaimFault(`${place} must be an array of role names`)
    if (Object.hasOwn(ROLE, name)) roles |= ROLE[name as RoleName]
    else if (isOurs) return new ClaimFault(`${place} has the unknown role ${JSON.stringify(name.slice(0, 32))}; there are ${Object.keys(ROLE).join(', ')}`)
  }
  return roles
}

function readRooms (value: unknown, isOurs: boolean): ReadonlyMap<string, number> | ClaimFault {
  if (value === undefined || value === null) return NO_ROOMS
  if (!isMap(value)) return new ClaimFault('"rooms" must be an object from room names to arrays of role names')
  const entries = Object.entries(value)
  if (entries.length > ROOMS_MAX) return new ClaimFault(`"rooms" must have at most ${ROOMS_MAX} rooms`)
  const rooms = new Map<string, number>()
  for (const [room, names] of entries) {
    if (!isRoom(room)) return new ClaimFault('"rooms" has a key that is not a room name (1 to 64 of A-Z a-z 0-9 _ . : -)')
    // Here null is no empty list: what gives entrance to a private room must be meant.
    const roles = names === null ? new ClaimFault('"rooms" must map room names to arrays of role names') : readRoles(names, 'each value in "rooms"', isOurs)
    if (roles instanceof ClaimFault) return roles
    rooms.set(room, roles)
  }
  return rooms.size === 0 ? NO_ROOMS : rooms
}
