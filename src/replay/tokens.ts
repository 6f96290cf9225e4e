// Where authors get their tokens: signed here with the server's secret, or minted by the server's own
// `POST /v1/dev/token`, which waits its turn when the server says so. Tokens never reach a log.

import { SignJWT } from 'jose'
import { randomUUID } from 'node:crypto'
import { connectionFault } from './faults.ts'

export interface TokenSource {
  /** A token for this user, good for an hour at least. */
  token (user: string): Promise<string>
}

const LIFETIME_S = 6 * 3600
const MINTS_AT_ONCE = 16
const MINT_TIMEOUT_MS = 10_000
const MINT_ATTEMPTS = 10

/** Signs HS256 tokens with the secret that the server has as JWT_SECRET. */
export function signedTokens (secret: string, roles: readonly string[] = []): TokenSource {
  const key = crypto.subtle.importKey('raw', Buffer.from(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return {
    async token (user) {
      const claims = { name: user.slice(0, 64), roles: [...roles], jti: randomUUID() }
      return new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setSubject(user)
        .setIssuedAt().setExpirationTime(Math.floor(Date.now() / 1000) + LIFETIME_S).sign(await key)
    }
  }
}

/** Asks a server without a key, on the same machine, at its HTTP address. At most 16 requests are under way at once. */
export function devTokens (http: string): TokenSource {
  const url = new URL('/v1/dev/token', http)
  let underWay = 0
  const waiting: (() => void)[] = []
  return {
    async token (user) {
      if (underWay >= MINTS_AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve))
      underWay++
      try {
        return await mint(url, user)
      } finally {
        underWay--
        waiting.shift()?.()
      }
    }
  }
}

async function mint (url: URL, user: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id: user, name: user.slice(0, 64), roles: [] }),
      signal: AbortSignal.timeout(MINT_TIMEOUT_MS)
    }).catch((error: unknown) => { throw new Error(`${url.href} (--http) cannot be asked for a token: ${connectionFault(error)}`) })
    if (answer.status === 429 && attempt < MINT_ATTEMPTS) {
      await answer.arrayBuffer()
      const seconds = Number(answer.headers.get('retry-after') ?? 1)
      await new Promise((resolve) => setTimeout(resolve, Math.min(60, Math.max(0.1, seconds)) * 1000))
      continue
    }
    const body = await answer.json().catch(() => ({})) as { token?: unknown, error?: { message?: unknown } }
    if (typeof body.token === 'string') return body.token
    throw new Error(`${url.href} (--http) gave no token (HTTP ${answer.status}: ${String(body.error?.message ?? 'no reason')}). Is the server run with a key? Then give its secret with --secret or JWT_SECRET.`)
  }
}
