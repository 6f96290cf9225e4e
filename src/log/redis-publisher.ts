// Publishes the acts of one shard: one batch at a time, one function call a batch.
//
//   queue ─▶ take what waits ─▶ FCALL publish ─┬─ O ─▶ (our own reader has passed it) ─▶ publishers
//   (bounded)  (512, 256 KB)     ▲             ├─ L ─▶ Redis lost what it had acknowledged: next incarnation, again
//                                └── again ◀───┴─ no answer, or not now: the same batch under the same number
//
// A batch has a number; Redis keeps the last one of each instance with the reply to it. So a batch whose reply was lost is
// answered again and never done twice, one that was given up is refused when it still comes through, and an acknowledged
// number that Redis does not know shows that data was lost. While a batch is on its way the next gathers, so batches grow
// with load. Bounds: acts of all shards together (LOG_QUEUE_MAX), a batch, a time for each act.

import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { BoundedQueue } from '../base/bounded.ts'
import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { RedisFault, type Redis, type RedisWord } from '../base/redis.ts'
import { callFunction } from '../base/redis-functions.ts'
import { GROUP, packBatch, readReply, type BatchResult, type GroupResult, type PackedDraft } from './redis-layout.ts'
import { StateConflict, warnOfUntold, type Outcome } from './log.ts'
import type { Shard } from './redis-shard.ts'

/** What waits: a draft to append, or (draft null) a log to end. */
export interface RedisAct {
  readonly room: Buffer
  readonly key: string
  readonly kind: number
  readonly epoch: string
  readonly draft: PackedDraft | null
  /** When it was accepted, by performance.now(). */
  readonly since: number
  readonly outcome: Outcome
}

/** The acts of all shards that have not been answered; shared by their publishers. */
export class Backlog {
  readonly max: number
  size = 0
  constructor (max: number) { this.max = max }
}

export interface PublisherOptions {
  readonly redis: Redis
  readonly clock: Clock
  readonly metrics: Metrics
  readonly backlog: Backlog
  /** This instance, to Redis. */
  readonly instance: string
  readonly dedupMs: number
  /** Retention as the functions take it: milliseconds, entries, bytes. */
  readonly keep: readonly [number, number, number]
  /** The same for rooms that are kept apart. */
  readonly keepApart: readonly [number, number, number]
  /** The stream's bounds: batches, milliseconds, batches where consumers of the feed have not read them. */
  readonly stream: readonly [number, number, number]
  /** The shard's stream has begun another incarnation. */
  readonly suspect: (shard: Shard) => void
}

interface Group { readonly kind: number, readonly room: Buffer, readonly epoch: string, readonly acts: RedisAct[], readonly drafts: PackedDraft[] }

const BATCH_ACTS_MAX = 512
const BATCH_BYTES_MAX = 262_144
/** Batches of more than PACE_ACTS are so far apart: each costs every reader a wake-up. */
const PACE_MS = 4
const PACE_ACTS = 4
/** How long an act may take, outages included; a batch gets the rest of its oldest act's time, and this at least. */
export const ACT_MS = 5000
const BATCH_MS_MIN = 1000
const BACKOFF_MS = [10, 20, 50, 100, 200] as const
/** After that the publisher is told although our own reader has not come by. */
const READER_MS = 250
/** Redis forgets an instance's last batch after a day: an older acknowledgement proves nothing. */
const CLAIM_MS = 12 * 3_600_000
const OVERLOADED_RETRY_MS = 500

export class RedisPublisher {
  readonly #shard: Shard
  readonly #options: PublisherOptions
  readonly #queue: BoundedQueue<RedisAct>
  #running: Promise<void> | null = null
  #number = 0
  #acknowledged = { number: 0, at: 0 }
  /** The shard's incarnation as we know it, and when it became that: rooms that went with another were not deleted. */
  #incarnation = ''
  #resetAt = -Infinity
  readonly #unanswered = new Set<Promise<void>>()

  constructor (shard: Shard, options: PublisherOptions) {
    this.#shard = shard
    this.#options = options
    this.#queue = new BoundedQueue(options.backlog.max)
  }

  /** Takes an act to be done in its turn; throws AppError `overloaded` when too many wait. */
  offer (act: RedisAct): void {
    const { backlog, metrics } = this.#options
    if (backlog.size >= backlog.max || !this.#queue.offer(act)) throw new AppError('overloaded', 'too many messages wait to be stored; try again', { retryAfterMs: OVERLOADED_RETRY_MS })
    metrics.set('uproar_log_queue', ++backlog.size)
    this.#running ??= new Promise((resolve) => setImmediate(() => { resolve(this.#run()) }))
  }

  /** Resolves when everything that was taken has been answered. */
  async close (): Promise<void> {
    while (this.#running !== null) await this.#running
    await Promise.all(this.#unanswered)
  }

  async #run (): Promise<void> {
    while (this.#queue.size > 0) {
      const sentAt = performance.now()
      const acts = this.#take()
      if (acts.length > 0) await this.#turn(acts)
      const wait = sentAt + PACE_MS - performance.now()
      if (acts.length > PACE_ACTS && wait > 0 && this.#queue.size < BATCH_ACTS_MAX) await new Promise((resolve) => setTimeout(resolve, wait))
    }
    this.#running = null
  }

  /** The next batch; acts whose time ran out while they waited are rejected: they were never sent. */
  #take (): RedisAct[] {
    const acts: RedisAct[] = []
    const now = performance.now()
    for (let bytes = 0; acts.length < BATCH_ACTS_MAX && bytes < BATCH_BYTES_MAX;) {
      const [act] = this.#queue.take(1)
      if (act === undefined) break
      if (now - act.since > ACT_MS) {
        this.#settle(() => act.outcome.reject(new AppError('unavailable', 'the log is away and did not store this; try again')))
        continue
      }
      acts.push(act)
      bytes += act.draft?.size ?? 0
    }
    return acts
  }

  /** One batch from queue to answer. Never rejects. */
  async #turn (acts: readonly RedisAct[]): Promise<void> {
    const groups = grouped(acts)
    try {
      const result = await this.#send(groups, (acts[0] as RedisAct).since)
      const answered = this.#answer(groups, result)
      this.#unanswered.add(answered)
      void answered.then(() => this.#unanswered.delete(answered))
    } catch (error) {
      this.#options.metrics.add('uproar_log_failures_total')
      const reason = error instanceof RedisFault ? new AppError('unavailable', 'the log did not say whether it stored this; try again', { cause: error }) : new AppError('internal', 'the log could not take this entry', { cause: error })
      for (const act of acts) this.#settle(() => act.outcome.reject(reason))
    }
  }

  async #send (groups: readonly Group[], since: number): Promise<BatchResult> {
    const { metrics } = this.#options
    const number = ++this.#number
    const batch = packBatch(groups)
    if (this.#incarnation === '') this.#incarnation = this.#shard.position.incarnation
    const end = Math.max(since + ACT_MS, performance.now() + BATCH_MS_MIN)
    for (let attempt = 0; ; attempt++) {
      const began = performance.now()
      try {
        const reply = await this.#call(number, batch)
        if (reply[0] === LOST) {
          await this.#reset()
          continue
        }
        if (reply[0] !== DONE) throw new Error('a batch was overtaken by a later one')
        this.#acknowledged = { number, at: performance.now() }
        metrics.add('uproar_redis_batches_total')
        metrics.observe('uproar_log_commit_seconds', (performance.now() - began) / 1000)
        return this.#noted(readReply(reply))
      } catch (error) {
        metrics.add('uproar_redis_commands_failed_total', 1, 'publish')
        if (!(error instanceof RedisFault) || !error.isAway || performance.now() >= end) throw error
        await new Promise((resolve) => setTimeout(resolve, BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)]))
      }
    }
  }

  async #call (number: number, batch: Buffer): Promise<Buffer> {
    const { clock, instance, dedupMs, keep, keepApart, stream } = this.#options
    const claim = performance.now() - this.#acknowledged.at < CLAIM_MS ? this.#acknowledged.number : 0
    const words: RedisWord[] = [instance, number, claim, clock.now(), newSeed(), dedupMs, ...keep, ...stream, batch, ...keepApart]
    return await callFunction(this.#options.redis, this.#shard.tag, 'publish', this.#shard.prefix, words) as Buffer
  }

  /** What Redis had acknowledged to us is gone: from here on the shard's rooms have other epochs. */
  async #reset (): Promise<void> {
    const { redis, stream, suspect } = this.#options
    await callFunction(redis, this.#shard.tag, 'reset', this.#shard.prefix, [this.#shard.position.incarnation, newSeed(), ...stream])
    this.#acknowledged = { number: 0, at: 0 }
    suspect(this.#shard)
  }

  #noted (result: BatchResult): BatchResult {
    if (result.incarnation !== this.#incarnation) this.#resetAt = performance.now()
    this.#incarnation = result.incarnation
    return result
  }

  async #answer (groups: readonly Group[], result: BatchResult): Promise<void> {
    await this.#shard.passed(result.n, READER_MS)
    for (const [i, group] of groups.entries()) this.#answerGroup(group, result.groups[i] as GroupResult)
  }

  #answerGroup (group: Group, { epoch, first, ts, others }: GroupResult): void {
    let seq = first
    for (const [i, act] of group.acts.entries()) {
      const other = others.get(i)
      if (other?.what === 'gone') this.#settle(() => act.outcome.reject(this.#gone(act)))
      else if (other?.what === 'conflict') this.#settle(() => act.outcome.reject(new StateConflict()))
      else if (other !== undefined) this.#settle(() => act.outcome.resolve({ epoch, seq: other.seq, ts: other.ts, repeated: true }))
      else {
        const published = { epoch, seq: seq++, ts, repeated: false }
        if (act.draft !== null) this.#options.metrics.add('uproar_log_entries_total')
        this.#settle(() => act.outcome.resolve(published))
      }
    }
  }

  #gone (act: RedisAct): AppError {
    if (act.since <= this.#resetAt) return new AppError('unavailable', 'the room\'s log was lost; join anew')
    return new AppError('not_found', 'the room was deleted')
  }

  /** Answers an act, which makes room for another. */
  #settle (answer: () => void): void {
    this.#options.metrics.set('uproar_log_queue', --this.#options.backlog.size)
    try {
      answer()
    } catch (error) {
      warnOfUntold(error)
    }
  }
}

const DONE = 'O'.charCodeAt(0)
const LOST = 'L'.charCodeAt(0)

/** A fresh random word, of which a call makes epochs and incarnations. */
export function newSeed (): string {
  return randomBytes(9).toString('base64url')
}

/** Acts by room, each room's in their order; a group holds what one run can. */
function grouped (acts: readonly RedisAct[]): Group[] {
  const groups: Group[] = []
  const latest = new Map<string, Group>()
  for (const act of acts) {
    let group = latest.get(act.key)
    if (group === undefined || group.kind !== act.kind || group.epoch !== act.epoch || act.kind === GROUP.remove) {
      group = { kind: act.kind, room: act.room, epoch: act.epoch, acts: [], drafts: [] }
      groups.push(group)
      latest.set(act.key, group)
    }
    group.acts.push(act)
    if (act.draft !== null) group.drafts.push(act.draft)
  }
  return groups
}
