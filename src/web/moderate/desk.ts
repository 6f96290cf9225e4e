// What the console asks of the server beside the live stream: held messages, sanctions, one user, terms, the audit log,
// what was said before. Throws UproarError. Must not know the page.

import { UproarError, type Author } from '../client.ts'
import { Asker } from '../page/asker.ts'

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

export interface FoundMessage {
  readonly seq: number
  readonly ts: number
  readonly user: Author
  readonly kind: number
  readonly body: string
  /** Only its author was shown it. Missing for whoever does not moderate there, as is the next. */
  readonly shadow?: boolean
  /** `reason` null: none was given. */
  readonly removed?: { readonly by: string | null, readonly reason: string | null } | null
}

export interface FoundPage {
  readonly messages: readonly FoundMessage[]
  /** Ask on with `before` = this; null: there are no older ones. */
  readonly next: string | null
}

export class Desk {
  readonly #asker: Asker

  /** `fresh`: a token, new where the server makes them. */
  constructor (fresh: () => Promise<string | null>) {
    this.#asker = new Asker(fresh)
  }

  /** A fresh token, kept for the requests to come. */
  token (): Promise<string | null> {
    return this.#asker.token()
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
    return this.#ask(room, 'audit', { ...query })
  }

  /** What was said in a room, from the archive, newest first. */
  search (room: string, query: { readonly q: string, readonly author: string, readonly limit: number, readonly before?: string }): Promise<FoundPage> {
    return this.#ask(room, 'search', query)
  }

  async #ask<Answer> (room: string, path: string, fields: Readonly<Record<string, string | number | undefined>> = {}): Promise<Answer> {
    if (await this.#asker.known().catch(() => null) === null) throw new UproarError(10, 'unauthorized', 'there is no token', null)
    return this.#asker.ask<Answer>(`/v1/rooms/${room}/${path}`, fields)
  }
}
