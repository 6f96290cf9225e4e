// Where the client's token comes from: a fixed one, none, or the application's provider with a deadline.
// Reads of a token only when it expires; must not know connections.

import { UproarError, type TokenProvider } from './client-types.ts'

export class TokenSource {
  readonly #token: string | null | TokenProvider
  readonly #deadlineMs: number

  constructor (token: string | null | TokenProvider, deadlineMs: number) {
    this.#token = token
    this.#deadlineMs = deadlineMs
  }

  /** Whether asking again may give another one. */
  get isRenewable (): boolean {
    return typeof this.#token === 'function'
  }

  /** The error, `unauthorized`, when the provider failed. */
  async ask (): Promise<string | null | UproarError> {
    const token = this.#token
    if (typeof token !== 'function') return token
    let timer: unknown
    try {
      return await Promise.race([token(), new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error('the token provider took too long')), this.#deadlineMs)
      })])
    } catch (error) {
      return new UproarError(10, 'unauthorized', `no token: ${String(error)}`, 0)
    } finally {
      clearTimeout(timer as number)
    }
  }

  /** How long to wait before a fresh one should be there: a minute before expiry, or a fifth of a short life. Null: no need. */
  renewalMs (token: string | null, now: number): number | null {
    const expiry = this.isRenewable ? expiryOf(token) : null
    if (expiry === null) return null
    const leftMs = expiry - now
    return Math.min(Math.max(leftMs - 60_000, leftMs * 0.8, 1000), 86_400_000)
  }
}

/** When a JWT expires, Unix ms; null when that cannot be read. Nothing is verified: the server does that. */
function expiryOf (token: string | null): number | null {
  try {
    const { exp } = JSON.parse(atob((token as string).split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/'))) as { exp: unknown }
    return typeof exp === 'number' ? exp * 1000 : null
  } catch {
    return null
  }
}
