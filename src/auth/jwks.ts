// Keys behind a JWKS address: fetched, cached, refreshed before they age, and used stale while the address is away.
//
//   start ─▶ fetch ─ok─▶ fresh ──10 min──▶ fetch ─ok─▶ fresh …      unknown kid: one fetch, at most every 30 s
//              └─fails─▶ retry after 1, 2, 4 … 60 s; the old keys go on being used for up to 24 h
//
// One fetch at a time, each with a deadline of 5 s and at most 256 KiB. Must not know tokens beyond their header.

import { createLocalJWKSet, errors, type CryptoKey, type LocalJWKSet } from 'jose'
import type { Logger } from 'pino'
import { AppError } from '../base/errors.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { KeySource } from './keys.ts'

const REFRESH_MS = 10 * 60_000
const COOL_DOWN_MS = 30_000
const STALE_MS_MAX = 24 * 3_600_000
const FETCH_TIMEOUT_MS = 5000
const RETRY_MS = 1000
const RETRY_MS_MAX = 60_000
const BODY_BYTES_MAX = 256 * 1024
const KEYS_MAX = 100
const LOOPBACK = /^(localhost|127\.[\d.]+|\[::1\])$/

export interface RemoteKeysOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Called when keys that were in use changed or were given up: verdicts that rest on them no longer count. */
  readonly changed: () => void
}

interface Fetched { readonly keys: LocalJWKSet, readonly text: string, readonly at: number }

export class RemoteKeys implements KeySource {
  readonly algorithms = ['RS256', 'ES256', 'EdDSA', 'Ed25519']
  #url: URL
  #clock: Clock
  #log: Logger
  #changed: () => void
  #fetched: Fetched | null = null
  #underWay: Promise<boolean> | null = null
  #controller: AbortController | null = null
  #timer: Timer | null = null
  #attemptAt = -Infinity
  #nextAt = 0
  #failures = 0
  #isStopped = false

  constructor (url: string, options: RemoteKeysOptions) {
    this.#url = new URL(url)
    this.#clock = options.clock
    this.#log = options.log
    this.#changed = options.changed
    if (this.#url.username !== '' || this.#url.password !== '') throw new Error('JWKS_URL: must not hold a user name or password')
  }

  /** Waits for the first fetch, but not for its success: until then tokens are answered `unavailable`. */
  async start (): Promise<void> {
    if (this.#url.protocol === 'http:' && !LOOPBACK.test(this.#url.hostname)) this.#log.warn('JWKS_URL is not https: whoever sits between can make themselves anyone')
    await this.#refresh()
  }

  stop (): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#controller?.abort(new Error('stopped'))
  }

  async key (header: { readonly alg?: string, readonly kid?: string }): Promise<CryptoKey> {
    const keys = this.#usable()
    try {
      return await keys(header)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      const isCooling = this.#underWay === null && this.#clock.elapsed() - this.#attemptAt < COOL_DOWN_MS
      const isRefreshed = isCooling ? this.#failures === 0 : await this.#refresh()
      // The key may be one that was published after the last fetch that worked.
      if (!isRefreshed) throw this.#unavailable()
      return await this.#usable()(header)
    }
  }

  #usable (): LocalJWKSet {
    if (this.#fetched !== null && this.#clock.elapsed() - this.#fetched.at > STALE_MS_MAX) {
      this.#log.error({ ageHours: STALE_MS_MAX / 3_600_000 }, 'JWKS: the keys are too old to be used any longer; tokens cannot be verified until the address answers')
      this.#fetched = null
      this.#changed()
    }
    if (this.#fetched === null) throw this.#unavailable()
    return this.#fetched.keys
  }

  #unavailable (): AppError {
    return new AppError('unavailable', 'the keys that verify tokens cannot be fetched now', { retryAfterMs: Math.max(RETRY_MS, this.#nextAt - this.#clock.elapsed()) })
  }

  /** Whether the keys are fresh now. Callers share the one fetch that is under way. */
  #refresh (): Promise<boolean> {
    this.#underWay ??= this.#attempt().finally(() => { this.#underWay = null })
    return this.#underWay
  }

  async #attempt (): Promise<boolean> {
    if (this.#isStopped) return false
    this.#timer?.cancel()
    this.#attemptAt = this.#clock.elapsed()
    try {
      this.#take(await this.#fetch())
      this.#failures = 0
      this.#schedule(REFRESH_MS)
      return true
    } catch (error) {
      if (this.#isStopped) return false
      const retryMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.min(this.#failures, 16))
      this.#failures++
      this.#log.warn({ address: this.#url.origin + this.#url.pathname, reason: reasonOf(error), failures: this.#failures, retryMs, hasKeys: this.#fetched !== null },
        this.#fetched === null ? 'JWKS: the fetch failed and there are no keys yet; tokens cannot be verified' : 'JWKS: the fetch failed; the keys that are here go on being used')
      this.#schedule(retryMs)
      return false
    }
  }

  #schedule (ms: number): void {
    this.#nextAt = this.#clock.elapsed() + ms
    if (!this.#isStopped) this.#timer = this.#clock.after(ms, () => { void this.#refresh() })
  }

  #take (text: string): void {
    const set = JSON.parse(text) as { keys?: unknown }
    if (!Array.isArray(set?.keys) || set.keys.length === 0 || set.keys.length > KEYS_MAX) throw new Error(`the answer must be a JWKS of 1 to ${KEYS_MAX} keys`)
    const isOther = this.#fetched !== null && this.#fetched.text !== text
    // Keys that were imported already are kept while the answer stays the same.
    const keys = this.#fetched?.text === text ? this.#fetched.keys : createLocalJWKSet(set as Parameters<typeof createLocalJWKSet>[0])
    this.#fetched = { keys, text, at: this.#clock.elapsed() }
    if (!isOther) return
    this.#log.info({ keys: set.keys.length }, 'JWKS: the keys changed')
    this.#changed()
  }

  async #fetch (): Promise<string> {
    const controller = this.#controller = new AbortController()
    const deadline = this.#clock.after(FETCH_TIMEOUT_MS, () => controller.abort(new Error(`no answer in ${FETCH_TIMEOUT_MS} ms`)))
    try {
      const response = await fetch(this.#url, { redirect: 'manual', signal: controller.signal, headers: { accept: 'application/jwk-set+json, application/json' } })
      if (response.status !== 200) throw new Error(`the address answered ${response.status}`)
      return await readBounded(response)
    } finally {
      deadline.cancel()
      // Lets go of a body that was not read to its end.
      controller.abort()
    }
  }
}

async function readBounded (response: Response): Promise<string> {
  const reader = response.body?.getReader()
  const chunks: Uint8Array[] = []
  let bytes = 0
  for (;;) {
    const step = await reader?.read()
    if (step === undefined || step.done) return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
    bytes += step.value.byteLength
    if (bytes > BODY_BYTES_MAX) throw new Error(`the answer is over ${BODY_BYTES_MAX} bytes`)
    chunks.push(step.value)
  }
}

function reasonOf (error: unknown): string {
  const { message, cause } = error as { message?: string, cause?: { code?: string, message?: string } }
  return cause?.code ?? cause?.message ?? message ?? 'unknown'
}
