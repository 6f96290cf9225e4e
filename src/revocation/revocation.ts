// Tokens that no longer count though they have not expired. A revocation is a STATE entry in the log of a room of the
// server's own, so every instance reads it the way it reads messages, and it is there again after a restart:
//
//   revoke ──▶ log: {"jti abc": until} ──▶ every instance's watcher ──▶ two maps ──▶ asked by HELLO, AUTH and REST
//                                                             └──▶ changed() ──▶ open connections are looked through
//
// Must not know connections or requests. Bounds: REVOCATIONS_MAX at once, beyond which one is refused; each ends by itself.

import { unpack } from '../../proto/codec.ts'
import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { isMap } from '../../proto/values.ts'
import type { Identity, Revoked } from '../auth/auth.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { Refusal, refusalOf } from '../base/errors.ts'
import type { Log } from '../log/log.ts'

/** What is revoked: one token by its `jti`, or all tokens of a user that were issued before a time. */
export type Target =
  | { readonly jti: string }
  | { readonly user: string, /** Unix milliseconds. */ readonly before: number }

export interface Revocation {
  readonly target: Target
  /** Unix milliseconds: when it is forgotten, because no token that it is about lives any more. */
  readonly until: number
}

export interface RevocationOptions {
  readonly log: Log
  readonly clock: Clock
  /** How long one is kept by default; no token may live longer than that. */
  readonly hours: number
  readonly fault: (error: unknown, what: string) => void
}

const ROOM = 'uproar:revocations'
export const REVOCATIONS_MAX = 10_000
/** Those that have ended are taken out of the log's state by whoever writes next, so many at a time. */
const SWEPT_MAX = 200
const RETRY_MS = 1000

/** By key: until when, and for a user also before which time its tokens were issued. */
type Entry = readonly [until: number, before: number]

export class Revocations implements Revoked {
  readonly name = 'revocations'
  readonly #log: Log
  readonly #clock: Clock
  readonly #keepMs: number
  readonly #fault: (error: unknown, what: string) => void
  #entries = new Map<string, Entry>()
  #unwatch: () => void = () => {}
  #retry: Timer | null = null
  #listeners: (() => void)[] = []
  #isStopped = false

  constructor ({ log, clock, hours, fault }: RevocationOptions) {
    this.#log = log
    this.#clock = clock
    this.#keepMs = hours * 3_600_000
    this.#fault = fault
  }

  /** Reads what is in force. Rejects with the log's AppError. */
  async start (): Promise<void> {
    await this.#load()
  }

  stop (): void {
    this.#isStopped = true
    this.#retry?.cancel()
    this.#unwatch()
  }

  get size (): number { return this.#entries.size }

  /** Called after something was revoked, here or elsewhere; several at once may be one call. */
  changed (call: () => void): void {
    this.#listeners.push(call)
  }

  has ({ id, tokenId, issuedAt, expiresAt }: Identity): boolean {
    if (this.#entries.size === 0 || expiresAt === Infinity) return false
    const now = this.#clock.now()
    const token = tokenId === null ? undefined : this.#entries.get(tokenKey(tokenId))
    if (token !== undefined && token[0] > now) return true
    const user = this.#entries.get(userKey(id))
    // One that does not say when it was issued may be as old as any.
    return user !== undefined && user[0] > now && (issuedAt ?? 0) < user[1]
  }

  /** Revokes; in force on every instance within a second. Refuses with overloaded when there are too many, or as the log does. */
  async revoke (target: Target, until?: number): Promise<Revocation | Refusal> {
    const now = this.#clock.now()
    const key = keyOf(target)
    const revocation = { target, until: until ?? now + this.#keepMs }
    if (!this.#entries.has(key) && this.#living(now) >= REVOCATIONS_MAX) {
      return new Refusal('overloaded', `${REVOCATIONS_MAX} revocations are in force, which is the most; revoke by user instead of by token, or change the key`, 60_000)
    }
    return await this.#write(key, [revocation.until, 'user' in target ? target.before : 0]) ?? revocation
  }

  /** Takes a revocation back; null when it is in force no more. */
  async restore (target: { readonly jti: string } | { readonly user: string }): Promise<Refusal | null> {
    const key = keyOf(target)
    if (!this.#entries.has(key)) return new Refusal('not_found', 'there is no such revocation')
    return await this.#write(key, null)
  }

  /** What is in force, the oldest first; `limit` at most. */
  list (limit: number): Revocation[] {
    const now = this.#clock.now()
    const found: Revocation[] = []
    for (const [key, [until, before]] of this.#entries) {
      if (until <= now) continue
      const name = key.slice(2)
      if (found.push({ target: key.startsWith('j') ? { jti: name } : { user: name, before }, until }) === limit) break
    }
    return found
  }

  async #write (key: string, entry: Entry | null): Promise<Refusal | null> {
    const changes: Record<string, Entry | null> = { ...this.#overdue(), [key]: entry }
    try {
      // The watcher brings it into force, in the log's order, before this resolves.
      await this.#publish(changes)
      return null
    } catch (error) {
      this.#fault(error, 'a revocation')
      return refusalOf(error)
    }
  }

  async #publish (changes: Readonly<Record<string, unknown>>): Promise<void> {
    // What changed stands in the entry itself, so that watchers need not read the whole state again.
    await this.#log.publish(ROOM, { op: OUT.STATE, tail: packTail([changes]), author: 'uproar', nonce: null, patch: { guarded: changes } })
  }

  #overdue (): Record<string, null> {
    const now = this.#clock.now()
    const over: Record<string, null> = {}
    let left = SWEPT_MAX
    for (const [key, [until]] of this.#entries) {
      if (until > now) continue
      over[key] = null
      if (--left === 0) break
    }
    return over
  }

  #living (now: number): number {
    if (this.#entries.size < REVOCATIONS_MAX) return this.#entries.size
    let living = 0
    for (const [until] of this.#entries.values()) if (until > now) living++
    return living
  }

  async #load (): Promise<void> {
    this.#unwatch()
    const early: Uint8Array[] = []
    let isLoaded = false
    this.#unwatch = this.#log.watch(ROOM, {
      entries: (batch) => {
        if (isLoaded) for (const entry of batch) this.#read(entry)
        else early.push(...batch)
      },
      lost: () => this.#reload()
    })
    await this.#log.head(ROOM)
    const { guarded } = await this.#log.state(ROOM)
    // What a log that lost its data no longer has is written again by whoever still knows it.
    const missing = Object.fromEntries([...this.#entries].filter(([key, [until]]) => !Object.hasOwn(guarded, key) && until > this.#clock.now()))
    this.#apply(guarded)
    isLoaded = true
    for (const entry of early) this.#read(entry)
    if (Object.keys(missing).length > 0) await this.#publish(missing)
  }

  #reload (): void {
    if (this.#isStopped) return
    this.#load().catch((error: unknown) => {
      this.#fault(error, 'reading the revocations')
      this.#retry = this.#clock.after(RETRY_MS, () => this.#reload())
    })
  }

  #read (entry: Uint8Array): void {
    const changes = (unpack(entry) as unknown[])[3]
    if (isMap(changes)) this.#apply(changes)
  }

  #apply (changes: Readonly<Record<string, unknown>>): void {
    for (const [key, value] of Object.entries(changes)) {
      if (value === null) this.#entries.delete(key)
      else if (Array.isArray(value) && value.length === 2 && value.every(Number.isFinite)) this.#entries.set(key, value as unknown as Entry)
    }
    for (const call of this.#listeners) call()
  }
}

function keyOf (target: { readonly jti: string } | { readonly user: string }): string {
  return 'jti' in target ? tokenKey(target.jti) : userKey(target.user)
}

function tokenKey (jti: string): string { return `j:${jti}` }
function userKey (user: string): string { return `u:${user}` }
