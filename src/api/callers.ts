// Who asks: a bearer token (JWT) or a server key becomes the request's caller, by what the route's `access` requires.
// Owns nothing but the reading of credentials; must not know what they allow in a room (auth, rooms, ingest do).

import type { FastifyReply, FastifyRequest } from 'fastify'
import { ROLE } from '../../proto/ops.ts'
import { NOT_A_JWT, parseIdentity } from '../auth/authenticator.ts'
import type { Identity } from '../auth/auth.ts'
import { Refusal } from '../base/errors.ts'
import { refuse } from './answers.ts'
import type { ApiDeps, Caller } from './deps.ts'

type Verifier = ApiDeps['authenticator']

export const ANONYMOUS: Caller = Object.freeze({ identity: null, isServer: false })

/** What a server key is when it acts for nobody. */
const SERVER: Caller = Object.freeze({
  identity: Object.freeze({ id: 'server', name: 'server', roles: ROLE.admin, rooms: new Map(), expiresAt: Infinity, tokenId: null }),
  isServer: true
})

/** Here either may stand, so a key with a slip in it must not be told about as a token only. */
const NEITHER = new Refusal('unauthorized', 'this is neither a server key of this server (API_KEYS) nor a JWT: three parts in base64url with dots between them')

const TOKEN_CHARACTERS_MAX = 8192

/** The token or key that was presented, or null. Only streams may carry it in the query: browsers cannot set headers there. */
function credentials (request: FastifyRequest): string | null | Refusal {
  const header = request.headers.authorization
  if (header !== undefined) {
    const [, token] = /^Bearer +([^\s]+) *$/i.exec(header) ?? []
    return token === undefined || token.length > TOKEN_CHARACTERS_MAX ? new Refusal('unauthorized', 'authorization must be: Bearer, a space, a token or server key') : token
  }
  if (request.routeOptions.config.isStream !== true) return null
  const { token } = request.query as { token?: unknown }
  if (token === undefined || token === '') return null
  return typeof token === 'string' && token.length <= TOKEN_CHARACTERS_MAX ? token : new Refusal('unauthorized', 'the token in the query is malformed')
}

/** Whether the request bears a valid server key: such requests are not counted. */
export function hasServerKey (request: FastifyRequest, authenticator: Verifier): boolean {
  const presented = credentials(request)
  return typeof presented === 'string' && authenticator.serverKey(presented)
}

/** Whether the route is for anybody and nobody in particular asks: then there is nothing to find out. */
export function isAnonymous (request: FastifyRequest): boolean {
  const { access = 'open' } = request.routeOptions.config
  return access === 'open' || (access === 'read' && credentials(request) === null)
}

/** Finds out who asks and whether the route is for them; refuses otherwise. Routes without `access` are for anybody. */
export async function identify (request: FastifyRequest, reply: FastifyReply, authenticator: Verifier): Promise<FastifyReply | undefined> {
  const { access = 'open' } = request.routeOptions.config
  const caller = await callerOf(request, authenticator)
  if (caller instanceof Refusal) return refuse(reply, caller)
  if (access !== 'read' && caller.identity === null) return refuse(reply, new Refusal('unauthorized', 'this needs a token or a server key'))
  if (access === 'admin' && ((caller.identity?.roles ?? 0) & ROLE.admin) === 0) return refuse(reply, new Refusal('forbidden', 'this needs the role admin'))
  request.caller = caller
}

async function callerOf (request: FastifyRequest, authenticator: Verifier): Promise<Caller | Refusal> {
  const presented = credentials(request)
  if (presented === null) return ANONYMOUS
  if (presented instanceof Refusal) return presented
  if (authenticator.serverKey(presented)) return SERVER
  const identity = await authenticator.verify(presented)
  if (identity === NOT_A_JWT) return NEITHER
  return identity instanceof Refusal ? identity : { identity, isServer: false }
}

/** For whom a request acts: the caller, or with a server key the user that the body's `as` names. */
export function actor (request: FastifyRequest): Identity | Refusal {
  const { identity, isServer } = request.caller
  const as = (request.body as { as?: unknown } | null | undefined)?.as
  if (as === undefined) return identity ?? new Refusal('unauthorized', 'this needs a token or a server key')
  return isServer ? parseIdentity(as) : new Refusal('forbidden', 'only a server key may act for others: leave out `as`')
}
