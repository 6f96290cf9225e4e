// What the console asks of the server beside the live stream: held messages, sanctions, one user, terms, the audit log.
// REST with the reader's token, a deadline for each request. Throws UproarError. Must not know the page.

import { UproarError, type Author } from '../client.ts'

const REQUEST_MS = 10_000

export interface HeldMessage {
  readonly ref: string
  readonly user: Author
  readonly kind: number
  readonly body: string
  readonly reason: string
  readonly at: number
}

export interface Sanction {
  readonly kind: string
  /** Unix milliseconds; null: until it is lifted. */
  readonly until: number | null
  readonly by: string
  readonly reason: string
  readonly at: number
}

export interface UnbanRequest {
  readonly user: string
  readonly text: string
  readonly at: number
}

export interface Standing {
  readonly sanctions: readonly (Sanction & { readonly whom: string })[]
  readonly requests: readonly UnbanRequest[]
}

export interface Person {
  readonly messages: readonly { readonly seq: number, readonly ts: number, readonly user: Author, readonly kind: number, readonly body: string, readonly isShadow: boolean }[]
  readonly sanctions: readonly Sanction[]
  readonly notes: readonly { readonly text: string, readonly by: string, readonly at: number }[]
  readonly request: Omit<UnbanRequest, 'user'> | null
}

export interface AuditRow {
  readonly id: number
  readonly ts: number
  readonly action: string
  readonly by: string | null
  readonly source: string
  readonly whom: string | null
  readonly text: string | null
  readonly reason: string | null
  readonly args: Readonly<Record<string, unknown>>
  readonly failure: string | null
}

export interface AuditPage {
  readonly rows: readonly AuditRow[]
  /** Ask on with `before` = this; null: there are no older ones. */
  readonly next: number | null
}

export interface AuditQuery {
  readonly user?: string
  readonly action?: string
  readonly before?: number
  readonly limit?: number
}

export class Desk {
  readonly #fresh: () => Promise<string | null>
  #token: Promise<string | null> | null = null

  /** `fresh`: a token, new where the server makes them. */
  constructor (fresh: () => Promise<string | null>) {
    this.#fresh = fresh
  }

  /** A fresh token, kept for the requests to come. */
  token (): Promise<string | null> {
    this.#token = this.#fresh()
    return this.#token
  }

  async held (room: string): Promise<readonly HeldMessage[]> {
    return (await this.#ask<{ held: HeldMessage[] }>(room, 'held')).held
  }

  standing (room: string): Promise<Standing> {
    return this.#ask(room, 'sanctions')
  }

  person (room: string, user: string): Promise<Person> {
    return this.#ask(room, `users/${encodeURIComponent(user)}`)
  }

  async terms (room: string): Promise<readonly string[]> {
    return (await this.#ask<{ terms: string[] }>(room, 'terms')).terms
  }

  /** Rows newest first. */
  audit (room: string, query: AuditQuery): Promise<AuditPage> {
    const fields = Object.entries(query).filter(([, value]) => value !== undefined && value !== '').map(([name, value]) => [name, String(value)])
    return this.#ask(room, `audit?${new URLSearchParams(fields)}`)
  }

  async #ask<Answer> (room: string, path: string, isSecond = false): Promise<Answer> {
    const token = await (this.#token ?? this.token()).catch(() => null)
    if (token === null) throw new UproarError(10, 'unauthorized', 'there is no token', null)
    const { status, answer } = await request<Answer>(`/v1/rooms/${room}/${path}`, token)
    if (status === 401 && !isSecond) {
      await this.token().catch(() => null)
      return this.#ask(room, path, true)
    }
    const { error } = answer as { error?: { code: number, name: string, message: string, retryAfterMs: number | null } }
    if (error !== undefined) throw new UproarError(error.code, error.name, error.message, error.retryAfterMs)
    return answer
  }
}

async function request<Answer> (path: string, token: string | null): Promise<{ status: number, answer: Answer }> {
  try {
    const response = await fetch(path, { headers: token === null ? {} : { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(REQUEST_MS), cache: 'no-store' })
    return { status: response.status, answer: await response.json() as Answer }
  } catch {
    throw new UproarError(40, 'unavailable', 'the server did not answer', 5000)
  }
}
