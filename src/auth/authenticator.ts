// Tokens and server keys become identities here, for socket and REST alike. Owns the keys and a bounded memory of recent
// verdicts, so that a storm of reconnects is not verified twice. Must not know connections, rooms or requests.

import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import { isMap } from '../../proto/values.ts'
import { BoundedMap } from '../base/bounded.ts'
import type { Clock } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import { Refusal } from '../base/errors.ts'
import { isLoopback } from '../base/peers.ts'
import type { Identity, Revoked } from './auth.ts'
import { ClaimFault, identityOfUser } from './claims.ts'
import { DevTokens } from './dev-tokens.ts'
import { RemoteKeys } from './jwks.ts'
import { CLOCK_TOLERANCE_S, NOT_A_JWT, refuseForm, TOKEN_EXPIRED, verifyToken } from './jwt.ts'
import { publicKeyFile, secretKeys, type KeySource } from './keys.ts'
import { ServerKeys } from './server-keys.ts'

export { DevTokens, NOT_A_JWT, publicKeyFile, TOKEN_EXPIRED }

/** Remembered verdicts: about 150 bytes each beside the identity, which its connections hold anyway. */
const VERDICTS_MAX = 50_000

export type AuthConfig = Pick<Config, 'host' | 'jwtSecret' | 'jwtPublicKeyFile' | 'jwksUrl' | 'jwtIssuer' | 'jwtAudience' | 'apiKeys'>

/** What a revoked token is answered with. */
export const TOKEN_REVOKED = new Refusal('unauthorized', 'the token was revoked')

export interface AuthenticatorOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Which tokens do not count any more, asked each time one is shown; by default none. */
  readonly revoked?: Revoked
  /** What dev tokens are signed with; by default a secret of this process. */
  readonly devSecret?: Buffer | null
}

const NO_KEY = (host: string): string => [
  'NO KEY IS CONFIGURED: tokens are signed with a secret that dies with this process.',
  isLoopback(host)
    ? 'Anyone on this machine can have one from POST /v1/dev/token.'
    : `HOST is ${host}, so anyone who can reach this server may read; tokens to write are given to this machine only (POST /v1/dev/token).`,
  'Set JWT_SECRET, JWT_PUBLIC_KEY_FILE or JWKS_URL'
].join(' ')

export class Authenticator {
  readonly name = 'auth'
  /** Only when no key for tokens is configured. */
  readonly devTokens: DevTokens | null = null
  #config: AuthConfig
  #clock: Clock
  #log: Logger
  #serverKeys: ServerKeys
  #revoked: Revoked
  /** Null until start when the key comes from a file. */
  #keys: KeySource | null = null
  #remote: RemoteKeys | null = null
  #verdicts = new BoundedMap<string, Identity>(VERDICTS_MAX)
  /** Grows when keys change: a verdict begun before is not remembered after. */
  #generation = 0

  constructor (config: AuthConfig, options: AuthenticatorOptions) {
    this.#config = config
    this.#clock = options.clock
    this.#log = options.log
    this.#revoked = options.revoked ?? { has: () => false }
    this.#serverKeys = new ServerKeys(config.apiKeys)
    if (config.jwtSecret !== null) this.#keys = secretKeys(Buffer.from(config.jwtSecret))
    else if (config.jwksUrl !== null) this.#keys = this.#remote = new RemoteKeys(config.jwksUrl, { ...options, changed: () => this.#forget() })
    else if (config.jwtPublicKeyFile === null) {
      this.devTokens = new DevTokens({ clock: options.clock, issuer: config.jwtIssuer, audience: config.jwtAudience, secret: options.devSecret })
      this.#keys = this.devTokens.keys
    }
  }

  /** Reads the key file (throws when it will not do) or makes the first fetch of the JWKS (which may fail: it is tried again). */
  async start (): Promise<void> {
    if (this.devTokens !== null) this.#log.warn(NO_KEY(this.#config.host))
    if (this.#config.jwtPublicKeyFile !== null) this.#keys ??= publicKeyFile(this.#config.jwtPublicKeyFile)
    await this.#remote?.start()
  }

  async stop (): Promise<void> {
    this.#remote?.stop()
    this.#forget()
  }

  /** Who a token (JWT) is for. Refuses with unauthorized and the reason (TOKEN_EXPIRED and NOT_A_JWT are always those values), or with unavailable. */
  async verify (token: string): Promise<Identity | Refusal> {
    const verdict = await this.#verdictOn(token)
    return verdict instanceof Refusal || !this.#revoked.has(verdict) ? verdict : TOKEN_REVOKED
  }

  async #verdictOn (token: string): Promise<Identity | Refusal> {
    const unfit = refuseForm(token)
    if (unfit !== null) return unfit
    if (this.#keys === null) return new Refusal('unavailable', 'the server is starting', 1000)
    const key = createHash('sha256').update(token).digest('binary')
    const known = this.#verdicts.get(key)
    if (known !== undefined) return this.#isOver(known) ? this.#expire(key) : known
    const generation = this.#generation
    const verdict = await verifyToken(token, { keys: this.#keys, issuer: this.#config.jwtIssuer, audience: this.#config.jwtAudience, clock: this.#clock })
    if (!(verdict instanceof Refusal) && generation === this.#generation) this.#verdicts.set(key, verdict)
    return verdict
  }

  /** Whether this is one of API_KEYS. */
  serverKey (key: string): boolean {
    return this.#serverKeys.has(key)
  }

  /** The same rule, to the second, by which a token is refused when it is verified. */
  #isOver (identity: Identity): boolean {
    return identity.expiresAt / 1000 <= Math.floor(this.#clock.now() / 1000) - CLOCK_TOLERANCE_S
  }

  #expire (key: string): Refusal {
    this.#verdicts.delete(key)
    return TOKEN_EXPIRED
  }

  #forget (): void {
    this.#generation++
    this.#verdicts.clear()
  }
}

export function createAuthenticator (config: Config, options: AuthenticatorOptions): Authenticator {
  return new Authenticator(config, options)
}

/** The user a server key acts for: `{ id, name?, roles?, rooms? }`, roles by name; unknown ones are refused. Refuses with bad_request. */
export function parseIdentity (value: unknown): Identity | Refusal {
  if (!isMap(value)) return new Refusal('bad_request', '"as" must be an object with "id", "name" and "roles"')
  const identity = identityOfUser(value)
  return identity instanceof ClaimFault ? new Refusal('bad_request', `"as": ${identity.sentence}`) : identity
}
