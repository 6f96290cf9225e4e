// Messages on their way: each is sent, with the same nonce, until it is answered, refused or out of time.
// Bounded by pendingMax. Must not know how the client is connected.

import { UproarError, type SendOptions, type Sent } from './client-types.ts'
import type { Draft, Link } from './link.ts'

export interface OutboxHost {
  /** The link, once messages to that room can go over it; rejects at `until` (`why` is what kept it) and when there is no use in waiting. */
  usable (room: string, until: number, why: UproarError | null): Promise<Link>
  /** Waits so long, or until the client is closed; with `orChange`, until anything changes about the connection. */
  pause (ms: number, orChange: boolean): Promise<void>
  /** Gets a fresh token to the server; null when there is no way to get one. */
  readonly renew: (() => Promise<void>) | null
}

export interface OutboxLimits { readonly sendMs: number, readonly pendingMax: number, readonly backoffMs: number, readonly answerMs: number }

export class Outbox {
  readonly #host: OutboxHost
  readonly #limits: OutboxLimits
  #pending = 0

  constructor (host: OutboxHost, limits: OutboxLimits) {
    this.#host = host
    this.#limits = limits
  }

  async send (room: string, body: string | Uint8Array, options: SendOptions): Promise<Sent> {
    const { sendMs, pendingMax } = this.#limits
    if (this.#pending >= pendingMax) throw new UproarError(41, 'overloaded', `${pendingMax} messages are waiting for their answer`, 1000)
    const draft: Draft = { room, body, nonce: options.nonce ?? nonce(), kind: options.kind ?? 0, ext: options.ext ?? null }
    this.#pending++
    try {
      return await this.#deliver(draft, Date.now() + sendMs)
    } finally {
      this.#pending--
    }
  }

  async #deliver (draft: Draft, until: number): Promise<Sent> {
    const { backoffMs, answerMs } = this.#limits
    let why: UproarError | null = null
    for (let isRenewed = false, isUnsure = false; ;) {
      const link = await this.#host.usable(draft.room, until, why)
      try {
        return await link.send(draft, Math.min(until - Date.now(), answerMs))
      } catch (error) {
        const { code, retryAfterMs } = why = error as UproarError
        if (code === 10 && !isRenewed && this.#host.renew !== null) {
          isRenewed = true
          await this.#host.renew()
          continue
        }
        // After a try without an answer the message may stand already. A limit met then is waited out, so that the
        // next try tells what became of it.
        if (!(isBusy(why) || (isUnsure && (code === 22 || code === 23)))) throw error
        if (retryAfterMs === 0) isUnsure = true
        const waitMs = Math.max(retryAfterMs ?? 1000, backoffMs) * (1 + Math.random() / 2)
        await this.#host.pause(Math.min(waitMs, until - Date.now()), retryAfterMs === 0)
      }
    }
  }
}

/** `unavailable` or `overloaded`: the same again later may do. */
export function isBusy ({ code }: UproarError): boolean {
  return code === 40 || code === 41
}

/** 128 random bits; crypto.randomUUID would ask for a secure context. */
function nonce (): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
