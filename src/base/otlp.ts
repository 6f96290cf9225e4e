// Spans on their way to a collector: OTLP over HTTP in its JSON form. Batches of what waits, one request at a time, each with
// a deadline; what the collector does not take is dropped and counted, and nobody waits for it.
//
//   offer ─▶ queue (QUEUE_MAX, then dropped) ─▶ every second: POST /v1/traces ─┬─ taken ──▶ `sent`
//                                                                              └─ not ────▶ `failed`, and a pause
//
// Why not the OpenTelemetry SDK: it is ten packages (20 MB, and 22 MB of memory when loaded) whose work is to make up ids,
// carry contexts and decide on samples, and here ids and samples follow from the entry (traces.ts). What is left of it is
// this one request, whose form is stable.

import type { Clock, Timer } from './clock.ts'
import type { Counting } from './metrics.ts'

/** A finished span. Times in Unix milliseconds, with fractions. */
export interface Span {
  readonly traceId: string
  readonly spanId: string
  /** Null: it is the root. */
  readonly parentId: string | null
  readonly name: string
  readonly start: number
  readonly end: number
  readonly attributes: Readonly<Record<string, string | number>>
  /** Why what it stands for failed; null: it did not. */
  readonly failure: string | null
}

export interface OtlpOptions {
  /** The collector; `/v1/traces` is added where it is not there. A user and password in it go into a header. */
  readonly url: string
  /** Attributes of this process, such as `service.name`. */
  readonly resource: Readonly<Record<string, string>>
  readonly version: string
  readonly clock: Clock
  readonly metrics: Counting
  /** Told of a collector that is away, once until it is back. */
  readonly say: (level: 'info' | 'warn', message: string, details: Readonly<Record<string, unknown>>) => void
}

export const QUEUE_MAX = 2048
const BATCH_MAX = 512
const EVERY_MS = 1000
const TIMEOUT_MS = 3000
const PAUSE_MS = 10_000

export class OtlpExporter {
  readonly #options: OtlpOptions
  readonly #url: string
  readonly #headers: Record<string, string>
  #queue: Span[] = []
  #timer: Timer | null = null
  #underWay: Promise<void> | null = null
  #pausedUntil = 0
  #isAway = false

  constructor (options: OtlpOptions) {
    this.#options = options
    const url = new URL(options.url)
    const { username, password } = url
    this.#headers = { 'content-type': 'application/json', ...(username === '' ? {} : { authorization: `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}` }) }
    url.username = url.password = ''
    if (!url.pathname.endsWith('/v1/traces')) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`
    this.#url = url.href
  }

  start (): void {
    this.#timer = this.#options.clock.every(EVERY_MS, () => this.#turn())
  }

  /** Makes one last attempt to send what waits. */
  async stop (): Promise<void> {
    this.#timer?.cancel()
    await this.#underWay
    if (this.#queue.length > 0 && !this.#isAway) await this.#send(this.#queue.splice(0, BATCH_MAX))
  }

  /** Never waits; a full queue drops it. */
  offer (span: Span): void {
    if (this.#queue.length >= QUEUE_MAX) return this.#options.metrics.add('uproar_spans_total', 1, 'dropped')
    this.#queue.push(span)
  }

  #turn (): void {
    if (this.#underWay !== null || this.#queue.length === 0 || this.#options.clock.elapsed() < this.#pausedUntil) return
    this.#underWay = this.#send(this.#queue.splice(0, BATCH_MAX)).finally(() => { this.#underWay = null })
  }

  async #send (spans: readonly Span[]): Promise<void> {
    const { metrics, say, clock } = this.#options
    try {
      const answer = await fetch(this.#url, { method: 'POST', headers: this.#headers, body: this.#bodyOf(spans), redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) })
      await answer.body?.cancel()
      if (!answer.ok) throw new Error(`it answered ${answer.status}`)
      metrics.add('uproar_spans_total', spans.length, 'sent')
      if (this.#isAway) say('info', 'the collector of traces takes them again', {})
      this.#isAway = false
    } catch (error) {
      metrics.add('uproar_spans_total', spans.length, 'failed')
      this.#pausedUntil = clock.elapsed() + PAUSE_MS
      if (!this.#isAway) say('warn', 'the collector of traces does not take them; they are dropped until it does', { reason: reasonOf(error) })
      this.#isAway = true
    }
  }

  #bodyOf (spans: readonly Span[]): string {
    const { resource, version } = this.#options
    return JSON.stringify({ resourceSpans: [{ resource: { attributes: pairs(resource) }, scopeSpans: [{ scope: { name: 'uproar', version }, spans: spans.map(spanOf) }] }] })
  }
}

function spanOf ({ traceId, spanId, parentId, name, start, end, attributes, failure }: Span): Record<string, unknown> {
  return {
    traceId, spanId, ...(parentId === null ? {} : { parentSpanId: parentId }), name,
    // SERVER for the root, INTERNAL for the others.
    kind: parentId === null ? 2 : 1,
    startTimeUnixNano: nanoseconds(start), endTimeUnixNano: nanoseconds(end), attributes: pairs(attributes),
    status: failure === null ? { code: 1 } : { code: 2, message: failure }
  }
}

function nanoseconds (ms: number): string {
  const whole = Math.floor(ms)
  return String(BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1_000_000)))
}

function pairs (attributes: Readonly<Record<string, string | number>>): { key: string, value: Record<string, unknown> }[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: typeof value === 'string' ? { stringValue: value } : { intValue: String(Math.round(value)) } }))
}

/** What fetch says of a fault is in its cause. */
function reasonOf (error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? `${message}: ${cause.message}` : message
}
