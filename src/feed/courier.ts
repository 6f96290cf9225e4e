// Brings batches to a consumer's handler until every record is handled or put aside, whatever happens:
//
//   handle(batch) ─┬─ resolved ──────────▶ done
//                  ├─ the world failed ──▶ wait (0.1 to 5 s) ─▶ handle(batch) … without end
//                  ├─ these records ─────▶ buried, with the reasons; the others are done
//                  └─ anything else ─────▶ twice more ─▶ halves, each likewise ─▶ a record alone: buried, with the reason
//
// Owns this rule for all engines. Must not know where batches come from. Bound: one batch a call, TRIES tries a half.

import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { traceIdOf, type Traces } from '../base/traces.ts'
import { RecordFaults, type FeedRecord, type Say } from './feed.ts'

const TRIES = 3
const WAIT_MS = [100, 250, 500, 1000, 2000, 5000] as const
/** An outage is told of once in so long. */
const SAY_MS = 60_000

export interface CourierOptions {
  readonly consumer: string
  readonly handle: (batch: readonly FeedRecord[]) => Promise<void>
  /** Puts a record aside, durably; rejects with a retryable AppError when that cannot be now. */
  readonly bury: (record: FeedRecord, reason: string) => Promise<void>
  readonly metrics: Metrics
  readonly say: Say
  /** Null or left out: nothing is traced. */
  readonly traces?: Traces | null | undefined
}

export class Courier {
  readonly #options: CourierOptions
  readonly #stop = Promise.withResolvers<void>()
  #isStopped = false
  #saidAt = -Infinity

  constructor (options: CourierOptions) { this.#options = options }

  get isStopped (): boolean { return this.#isStopped }

  /** Waits end at once; what is being handled is let finish. */
  stop (): void {
    this.#isStopped = true
    this.#stop.resolve()
  }

  /** True once every record is handled or buried; false when it was stopped, or `isOver`, before. Never rejects. */
  async deliver (batch: readonly FeedRecord[], isOver: () => boolean = () => false): Promise<boolean> {
    if (batch.length === 0) return true
    for (let tries = 0, outages = 0; !this.#isStopped && !isOver();) {
      const began = performance.now()
      try {
        await this.#options.handle(batch)
        this.#trace(batch, began, null)
        this.#options.metrics.add('uproar_feed_records_total', batch.length, this.#options.consumer)
        return true
      } catch (error) {
        if (error instanceof RecordFaults) return await this.#buryThese(batch, error)
        this.#note(error)
        this.#trace(batch, began, error)
        if (isOutage(error)) await this.#wait(outages++)
        else if (++tries < TRIES) await this.#wait(0)
        else return await this.#part(batch, error, isOver)
      }
    }
    return false
  }

  /** The record is unreadable, or found at fault. False when it was stopped before the record was put aside. */
  async bury (record: FeedRecord, reason: string): Promise<boolean> {
    const { bury, consumer, metrics, say } = this.#options
    const { topic, room, seq } = record
    if (topic.endsWith('.dead')) return this.#passOver(record, reason, null)
    for (let tries = 0; !this.#isStopped; tries++) {
      try {
        await bury(record, reason)
        metrics.add('uproar_feed_dead_total', 1, consumer)
        say('warn', 'a record was put aside', { consumer, topic, room, seq, trace: traceIdOf(record), reason })
        return true
      } catch (error) {
        this.#note(error)
        if (!isOutage(error) && tries >= TRIES) return this.#passOver(record, reason, error)
        await this.#wait(tries)
      }
    }
    return false
  }

  /** There are no letters about letters: they would go round for ever. */
  #passOver (record: FeedRecord, reason: string, error: unknown): true {
    const { topic, room, seq } = record
    const { consumer, metrics, say } = this.#options
    metrics.add('uproar_feed_lost_total', 1, consumer)
    say('error', 'a record could not be handled nor put aside, and is passed over', { consumer, topic, room, seq, trace: traceIdOf(record), reason, ...(error === null ? {} : { err: error }) })
    return true
  }

  async #buryThese (batch: readonly FeedRecord[], { faults }: RecordFaults): Promise<boolean> {
    for (const { record, reason } of faults) if (!await this.bury(record, reason)) return false
    this.#options.metrics.add('uproar_feed_records_total', batch.length - faults.length, this.#options.consumer)
    return true
  }

  async #part (batch: readonly FeedRecord[], error: unknown, isOver: () => boolean): Promise<boolean> {
    const [only] = batch
    if (batch.length === 1) return this.bury(only as FeedRecord, error instanceof Error ? error.message : String(error))
    const half = batch.length >> 1
    return await this.deliver(batch.slice(0, half), isOver) && this.deliver(batch.slice(half), isOver)
  }

  #trace (batch: readonly FeedRecord[], began: number, error: unknown): void {
    const { traces, consumer } = this.#options
    if (traces == null) return
    traces.handled(consumer, batch.filter(({ topic }) => topic === 'messages'), began, error === null ? null : error instanceof Error ? error.message : String(error))
  }

  #note (error: unknown): void {
    const { consumer, metrics, say } = this.#options
    metrics.add('uproar_feed_failures_total', 1, consumer)
    const now = performance.now()
    if (now - this.#saidAt < SAY_MS) return
    this.#saidAt = now
    if (isOutage(error)) say('warn', 'a consumer waits: what it needs is away', { consumer, reason: (error as Error).message })
    else say('warn', 'a consumer failed at a batch', { consumer, err: error })
  }

  async #wait (turn: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const over = new Promise<void>((resolve) => { timer = setTimeout(resolve, WAIT_MS[Math.min(turn, WAIT_MS.length - 1)]) })
    await Promise.race([over, this.#stop.promise])
    clearTimeout(timer)
  }
}

function isOutage (error: unknown): boolean {
  return error instanceof AppError && error.canRetry
}
