// What a page asks of the server's REST: with the reader's token, fetched anew once when it is refused, and a deadline for
// each request. Throws UproarError. Must not know what is asked.

import { UproarError } from '../client.ts'

const REQUEST_MS = 15_000

export class Asker {
  readonly #fresh: () => Promise<string | null>
  #token: Promise<string | null> | null = null

  /** `fresh`: a token, new where the server makes them; null for nobody. */
  constructor (fresh: () => Promise<string | null>) {
    this.#fresh = fresh
  }

  /** A fresh token, kept for the requests to come. */
  token (): Promise<string | null> {
    this.#token = this.#fresh()
    return this.#token
  }

  /** The token as it was last fetched, fetched now when it never was. */
  known (): Promise<string | null> {
    return this.#token ?? this.token()
  }

  /** The reader became somebody else. */
  forget (): void {
    this.#token = null
  }

  /** The answer to a GET of this path, with these fields in its query. */
  async ask<Answer> (path: string, fields: Readonly<Record<string, string | number | undefined>> = {}, isSecond = false): Promise<Answer> {
    const token = await this.known().catch(() => null)
    const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== '').map(([name, value]) => [name, String(value)])
    const { status, answer } = await get<Answer>(given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`, token)
    if (status === 401 && token !== null && !isSecond) {
      await this.token().catch(() => null)
      return this.ask(path, fields, true)
    }
    const { error } = answer as { error?: { code: number, name: string, message: string, retryAfterMs: number | null } }
    if (error !== undefined) throw new UproarError(error.code, error.name, error.message, error.retryAfterMs)
    return answer
  }
}

async function get<Answer> (path: string, token: string | null): Promise<{ status: number, answer: Answer }> {
  try {
    const response = await fetch(path, { headers: token === null ? {} : { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(REQUEST_MS), cache: 'no-store' })
    return { status: response.status, answer: await response.json() as Answer }
  } catch {
    throw new UproarError(40, 'unavailable', 'the server did not answer', 5000)
  }
}
