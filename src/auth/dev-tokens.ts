// Tokens for trying things out, when no key is configured: signed with a secret made at start that dies with the process.
// Must not know who may ask for one (the API lets only loopback).

import { randomBytes, randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import { ROLE, type RoleName } from '../../proto/ops.ts'
import { isMap } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import { ClaimFault, identityOfUser } from './claims.ts'
import { secretKeys, type KeySource } from './keys.ts'

const TTL_SECONDS = 86_400
const SECRET_BYTES = 32

export interface DevTokensOptions {
  readonly clock: Clock
  readonly issuer: string | null
  readonly audience: string | null
  /** Shared by several processes that are one server; by default each makes its own. */
  readonly secret?: Buffer | null
}

export class DevTokens {
  /** What verifies them. */
  readonly keys: KeySource
  readonly #secret: Buffer
  #options: DevTokensOptions

  constructor (options: DevTokensOptions) {
    this.#options = options
    this.#secret = options.secret ?? randomBytes(SECRET_BYTES)
    this.keys = secretKeys(this.#secret)
  }

  /** A token for `{ id, name?, roles?, rooms? }`, roles by name, checked as a server key's `as` is; refuses with bad_request. */
  async mint (user: unknown, ttlSeconds: number = TTL_SECONDS): Promise<string | Refusal> {
    if (!isMap(user)) return new Refusal('bad_request', 'the request must be an object with "id", "name" and "roles"')
    const { clock, issuer, audience } = this.#options
    const issuedAt = Math.floor(clock.now() / 1000)
    const identity = identityOfUser(user)
    if (identity instanceof ClaimFault) return new Refusal('bad_request', identity.sentence)
    const rooms = Object.fromEntries([...identity.rooms].map(([room, roles]) => [room, roleNames(roles)]))
    const token = new SignJWT({ name: identity.name, roles: roleNames(identity.roles), ...(identity.rooms.size === 0 ? {} : { rooms }) })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setSubject(identity.id)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + ttlSeconds)
      .setJti(randomUUID())
    if (issuer !== null) token.setIssuer(issuer)
    if (audience !== null) token.setAudience(audience)
    return await token.sign(this.#secret)
  }
}

function roleNames (roles: number): string[] {
  return (Object.keys(ROLE) as RoleName[]).filter((name) => (roles & ROLE[name]) !== 0)
}
