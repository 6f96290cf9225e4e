// The log's only hand: one batch at a time from the queue to the disk, to the watchers, to the publishers.
//
//   queue ─▶ take what waits ─▶ stage upon durable heads ─▶ one transaction ─┬─ durable ─▶ watchers ─▶ publishers
//   (bounded)  (up to 1,024)     (batch.ts, nothing written)                 └─ failed ──▶ all rejected
//
// While one batch is being written the next gathers in the queue, so batches grow with load by themselves and an idle
// log commits at once. One in flight at a time: a failed commit leaves no hole, the next starts from durable heads.
// A commit costs 0.2 to 0.3 ms of CPU whatever it holds, so many authors at once pay for it together: when drafts keep
// coming while commits run, commits are PACE_MS apart. A caller that awaits each publish before the next never waits.
// Bounds: the queue, the batch, 10,000 heads in memory, a slice of retention a batch.

import { BoundedMap, BoundedQueue } from '../base/bounded.ts'
import { systemClock, type Clock, type Timer } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { nameKey, read, type Store } from '../base/store.ts'
import { pack } from '../../proto/codec.ts'
import { Batch, EMPTY_STATE, type Act } from './batch.ts'
import { entryKey, META, numberKey, packHead, readNumber, unpackHead, unpackState, type HeadRecord } from './layout.ts'
import type { RoomState } from './log.ts'
import type { Nonces } from './nonces.ts'
import { Retention, type RetentionOptions } from './retention.ts'
import type { Watchers } from './watchers.ts'

export interface WriterOptions {
  readonly clock: Clock
  readonly metrics: Metrics
  /** `flush` also waits for lmdb's word on the sync; base/store.ts says how little that differs. */
  readonly durability: 'commit' | 'flush'
  /** Acts that may wait for a commit. */
  readonly queueMax: number
  readonly retention: RetentionOptions
}

const BATCH_ACTS_MAX = 1024
const HEADS_MAX = 10_000
const SWEEP_MS = 1000
/** Commits are so far apart while, on average, more than PACE_BACKLOG drafts come during one. */
const PACE_MS = 16
const PACE_BACKLOG = 0.25
/** Entries that retention deletes in a batch; under load twice as many as the batch appends, so that it keeps up. */
const RETENTION_SLICE = 512
const OVERLOADED_RETRY_MS = 500
/** A commit that takes longer is a store that has stopped: what waits behind it is rejected, and what comes is too. */
const STALL_MS = 10_000

export class Writer {
  readonly #store: Store
  readonly #options: WriterOptions
  readonly #nonces: Nonces
  readonly #watchers: Watchers
  readonly #retention: Retention
  readonly #queue: BoundedQueue<Act>
  readonly #heads = new BoundedMap<string, HeadRecord>(HEADS_MAX)
  readonly #sweeper: Timer
  #next: number
  #commits: number
  #closed = false
  /** Why nothing can be written now, if so. */
  #fault: AppError | null = null
  /** Whether retention may work; after a failed commit it waits for the next sweep. */
  #mayTidy = false
  #running: Promise<void> | null = null
  /** Drafts that came while a commit ran, on average over the last ten or so. */
  #backlog = 0
  #turnAt = -Infinity

  constructor (store: Store, nonces: Nonces, watchers: Watchers, options: WriterOptions) {
    this.#store = store
    this.#options = options
    this.#nonces = nonces
    this.#watchers = watchers
    this.#retention = new Retention(store, options.retention)
    this.#queue = new BoundedQueue(options.queueMax)
    this.#next = this.#counter(META.next, 1)
    this.#commits = this.#counter(META.commit, 0)
    this.#sweeper = options.clock.every(SWEEP_MS, () => this.#sweep())
  }

  /** Throws AppError `unavailable` when the log is closed or the store stopped. */
  check (): void {
    if (this.#closed) throw new AppError('unavailable', 'the room log is closed')
    if (this.#fault !== null) throw this.#fault
  }

  /** Takes an act to be done in its turn; throws AppError `overloaded` when too many wait. */
  offer (act: Act): void {
    if (!this.#queue.offer(act)) throw new AppError('overloaded', 'too many messages wait to be stored; try again', { retryAfterMs: OVERLOADED_RETRY_MS })
    this.#options.metrics.set('uproar_log_queue', this.#queue.size)
    this.#wake()
  }

  /** The durable head of the room's log, or null. */
  head (room: string): HeadRecord | null {
    const cached = this.#heads.get(room)
    if (cached !== undefined) return cached
    const stored = read(this.#store.tables.heads, nameKey(room))
    if (stored === undefined) return null
    const head = unpackHead(stored)
    this.#heads.set(room, head)
    return head
  }

  /** The durable state of a log. */
  state (number: number): RoomState {
    const stored = read(this.#store.tables.states, numberKey(number))
    return stored === undefined ? EMPTY_STATE : unpackState(stored)
  }

  /** Does what was taken, then rests for good. */
  async close (): Promise<void> {
    this.#closed = true
    this.#sweeper.cancel()
    while (this.#running !== null) await this.#running
  }

  #counter (key: Uint8Array, otherwise: number): number {
    const stored = read(this.#store.tables.meta, key)
    return stored === undefined ? otherwise : readNumber(stored)
  }

  #sweep (): void {
    try {
      this.#retention.sweep(this.#options.clock.now())
    } catch (error) {
      this.#options.metrics.add('uproar_log_failures_total')
      process.emitWarning(new Error('retention could not read the store', { cause: error }))
      return
    }
    this.#mayTidy = true
    if (this.#hasWork()) this.#wake()
  }

  #hasWork (): boolean {
    return this.#queue.size > 0 || (this.#mayTidy && !this.#closed && this.#retention.hasWork)
  }

  /** Starts at the end of this turn of the loop, so that all its publishes share the first batch. */
  #wake (): void {
    this.#running ??= new Promise((resolve) => {
      setImmediate(async () => {
        while (this.#hasWork()) {
          await this.#pace()
          await this.#turn()
        }
        this.#running = null
        resolve()
      })
    })
  }

  /** Lets drafts gather while many come. */
  async #pace (): Promise<void> {
    const wait = this.#turnAt + PACE_MS - performance.now()
    if (this.#backlog < PACE_BACKLOG || this.#queue.size >= BATCH_ACTS_MAX || this.#closed || wait <= 0) return
    await new Promise((resolve) => setTimeout(resolve, wait))
  }

  /** One batch from queue to answer. Never rejects. */
  async #turn (): Promise<void> {
    this.#turnAt = performance.now()
    const acts = this.#queue.take(BATCH_ACTS_MAX)
    this.#options.metrics.set('uproar_log_queue', this.#queue.size)
    try {
      const batch = this.#stage(acts)
      await this.#write(batch, acts.length)
      this.#backlog = this.#backlog * 0.9 + this.#queue.size * 0.1
      this.#apply(batch)
    } catch (error) {
      this.#mayTidy = false
      this.#options.metrics.add('uproar_log_failures_total')
      const reason = error instanceof AppError ? error : new AppError('unavailable', 'the store could not be read', { cause: error })
      for (const act of acts) act.reject(reason)
    }
  }

  #stage (acts: readonly Act[]): Batch {
    const batch = new Batch({
      now: this.#options.clock.now(),
      next: this.#next,
      head: (room) => this.head(room),
      state: (number) => this.state(number)
    })
    if (this.#mayTidy && !this.#closed) this.#retention.stage(batch, Math.max(RETENTION_SLICE, acts.length * 2))
    for (const act of acts) batch.add(act)
    return batch
  }

  async #write (batch: Batch, acts: number): Promise<void> {
    const slice = this.#mayTidy && !this.#closed ? this.#retention.removedSlice(Math.max(RETENTION_SLICE, acts * 2)) : null
    if (batch.isEmpty && slice === null) return
    const turn = this.#nonces.turn(batch.ground.now)
    const commit = this.#commits + 1
    const stall = systemClock.after(STALL_MS, () => this.#stall())
    try {
      await this.#store.commit(() => {
        const { meta } = this.#store.tables
        void meta.put(META.commit, numberKey(commit))
        if (batch.next !== this.#next) void meta.put(META.next, numberKey(batch.next))
        if (slice !== null) this.#retention.writeSlice(slice)
        this.#nonces.begin(turn)
        this.#put(batch, turn)
      }, this.#options.durability === 'flush')
    } catch (error) {
      this.#judge(commit, error)
    } finally {
      stall.cancel()
      if (this.#fault?.message === STALLED) this.#fault = null
    }
    this.#nonces.settle(turn)
    this.#commits = commit
    this.#options.metrics.add('uproar_log_commits_total')
  }

  #put (batch: Batch, turn: ReturnType<Nonces['turn']>): void {
    const { entries, heads, states, removed } = this.#store.tables
    const key = entryKey(0, 0)
    for (const { number, first, seq } of batch.expired) this.#retention.erase(number, first, seq + 1)
    for (const { number, seq, ts, bytes, hashed } of batch.appends) {
      void entries.put(entryKey(number, seq, key), bytes)
      if (hashed !== null) this.#nonces.write(turn, number, hashed, seq, ts)
    }
    for (const [number, state] of batch.states) {
      if (state === null) void states.remove(numberKey(number))
      else void states.put(numberKey(number), state.bytes)
    }
    for (const { number, first, seq } of batch.removed) void removed.put(numberKey(number), pack([first, seq]))
    for (const [room, head] of batch.heads) {
      if (head === null) void heads.remove(nameKey(room))
      else void heads.put(nameKey(room), packHead(head))
    }
  }

  /**
   * A commit was refused. When only its sync failed the entries are there all the same: they survive this process, so
   * that `commit` counts as kept. With `flush` neither yes nor no would be true; the log stops, and a restart says.
   */
  #judge (commit: number, error: unknown): void {
    if (this.#counter(META.commit, 0) !== commit) throw error
    if (this.#options.durability === 'flush') {
      this.#fault = new AppError('unavailable', 'the store could not be synced to disk; restart the server', { cause: error })
      throw this.#fault
    }
    this.#options.metrics.add('uproar_log_failures_total')
  }

  #stall (): void {
    this.#fault ??= new AppError('unavailable', STALLED)
    for (const act of this.#queue.take(this.#queue.size)) act.reject(this.#fault)
    this.#options.metrics.set('uproar_log_queue', 0)
  }

  #apply (batch: Batch): void {
    this.#next = batch.next
    for (const [room, head] of batch.heads) {
      if (head === null) this.#heads.delete(room)
      else this.#heads.set(room, head)
    }
    this.#retention.note(batch)
    for (const { room, entries } of batch.events) {
      if (entries === null) this.#watchers.lost(room)
      else this.#watchers.entries(room, entries)
    }
    const { metrics } = this.#options
    metrics.add('uproar_log_entries_total', batch.appends.length)
    for (const { first, seq } of batch.expired) metrics.add('uproar_log_expired_total', seq - first + 1)
    batch.resolve()
  }
}

const STALLED = 'the store does not answer'
