// A token's way to an identity: size, form, algorithm, signature, times, issuer, audience, claims, in that order. Every
// refusal says what is wrong in words a developer understands and never repeats anything of the token.

import { errors, jwtVerify } from 'jose'
import { AppError, Refusal, refusalOf } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { Identity } from './auth.ts'
import { ClaimFault, identityOfToken } from './claims.ts'
import type { KeySource } from './keys.ts'

/** Clocks of issuers may differ from ours by so much. */
export const CLOCK_TOLERANCE_S = 5
const TOKEN_CHARACTERS_MAX = 4096
const FORM = /^[\w-]+\.[\w-]+\.[\w-]*$/

/** The one answer to a token whose time is over: a client may come back with a fresh one. */
export const TOKEN_EXPIRED = Object.freeze(new Refusal('unauthorized', 'the token has expired: come back with a fresh one'))

/** The one answer to what does not look like a token at all. */
export const NOT_A_JWT = Object.freeze(new Refusal('unauthorized', 'the token is not a signed JWT: three parts in base64url with dots between them'))

export interface TokenRules {
  readonly keys: KeySource
  readonly issuer: string | null
  readonly audience: string | null
  readonly clock: Clock
}

/** Whether the form is a signed token's, at no cost: what fails here never reaches a key. */
export function refuseForm (token: unknown): Refusal | null {
  if (typeof token !== 'string' || token === '') return refuse('there is no token')
  if (token.length > TOKEN_CHARACTERS_MAX) return refuse(`the token is longer than ${TOKEN_CHARACTERS_MAX} characters`)
  if (!FORM.test(token)) return NOT_A_JWT
  return null
}

/** Verifies a token whose form is right. `unavailable` when the keys cannot be known now. */
export async function verifyToken (token: string, rules: TokenRules): Promise<Identity | Refusal> {
  try {
    const { payload } = await jwtVerify(token, (header) => rules.keys.key(header), {
      algorithms: [...rules.keys.algorithms],
      requiredClaims: ['exp', 'sub'],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(rules.clock.now()),
      ...(rules.issuer === null ? {} : { issuer: rules.issuer }),
      ...(rules.audience === null ? {} : { audience: rules.audience })
    })
    const identity = identityOfToken(payload)
    return identity instanceof ClaimFault ? refuse(`the token's ${identity.sentence}`) : identity
  } catch (error) {
    if (error instanceof AppError) return refusalOf(error)
    if (error instanceof errors.JWTExpired) return TOKEN_EXPIRED
    return refuse(sentenceOf(error, rules.keys.algorithms))
  }
}

function refuse (sentence: string): Refusal {
  return new Refusal('unauthorized', sentence)
}

function sentenceOf (error: unknown, algorithms: readonly string[]): string {
  if (error instanceof errors.JWTClaimValidationFailed) return claimSentence(error)
  if (error instanceof errors.JOSEAlgNotAllowed) return `the token's algorithm is not accepted here: sign it with ${algorithms.join(' or ')}`
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'the token\'s signature does not fit this server\'s key'
  if (error instanceof errors.JWKSNoMatchingKey) return 'no key of the JWKS fits the token\'s "kid" and "alg"'
  if (error instanceof errors.JWKSMultipleMatchingKeys) return 'several keys of the JWKS fit: the token\'s header must name its key ("kid")'
  if (error instanceof errors.JWTInvalid) return 'the token\'s claims are not a JSON object'
  if (error instanceof errors.JWSInvalid || error instanceof errors.JOSENotSupported) return 'the token\'s header is malformed or asks for something that is not supported'
  return 'the token cannot be verified with this server\'s key'
}

function claimSentence ({ claim, reason }: errors.JWTClaimValidationFailed): string {
  if (reason === 'missing') return `the token has no "${claim}"`
  if (reason === 'invalid') return `the token's "${claim}" must be a number of seconds`
  if (claim === 'nbf') return 'the token is not valid yet: its "nbf" lies ahead'
  return `the token's "${claim}" is not the one this server is set to`
}
