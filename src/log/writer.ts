// The log's only hand: one batch at a time from the queue to the journal, to the watchers, to the publishers.
//
//   queue ─▶ take what waits ─▶ stage upon what is known ─▶ one record ─┬─ durable ─▶ watchers ─▶ publishers
//   (bounded)  (up to 1,024)     (batch.ts, nothing written)  (journal)  └─ failed ──▶ all rejected
//                                                                 └─ every few seconds ─▶ the tables (layers.ts)
//
// While one batch is being written the next gathers in the queue, so batches grow with load by themselves and an idle
// log commits at once. One in flight at a time: a failed commit leaves no hole, the next starts from what is known.
// What a commit sets going (a write, a flush of every room in it, an OK to every author) costs the less the more share
// it: while drafts come from many at once, commits are PACE_MS apart, and further where all that waits asks for a later one
// (a room that shows nothing before its window ends). A caller that awaits each publish before the next never waits.
// Bounds: the queue, the batch, UNSETTLED_BYTES_MAX of what waits for the tables, a slice of retention a batch.

import { performance } from 'node:perf_hooks'
import { BoundedQueue } from '../base/bounded.ts'
import { systemClock, type Clock, type Timer } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { read, type Store } from '../base/store.ts'
import { Batch, type Act } from './batch.ts'
import { Journal } from './journal.ts'
import type { Layers } from './layers.ts'
import { META, PRESENT } from './layout.ts'
import type { Rhythm } from './log.ts'
import { decodeRecord, RecordWriter } from './record.ts'
import { Retention, type RetentionOptions } from './retention.ts'
import type { Watchers } from './watchers.ts'

export interface WriterOptions {
  readonly clock: Clock
  readonly metrics: Metrics
  /** When a batch counts: `flush`, once it is on the disk; `commit`, once the kernel has it. */
  readonly durability: 'commit' | 'flush'
  /** Acts that may wait for a commit. */
  readonly queueMax: number
  readonly retention: RetentionOptions
}

const BATCH_ACTS_MAX = 1024
const SWEEP_MS = 1000
/**
 * Commits are so far apart while at least PACE_DRAFTS gather for each, tried when twice as many come in that time. A
 * caller that waits for each publish before the next makes one a commit, however fast: then pacing would only hold it up, so
 * it is left again, and tried more and more seldom.
 */
const PACE_MS = 16.5
/** No commit is later than this after the last, whatever was asked for. */
const GATHER_MS_MAX = 60
/** A commit that is wanted sooner by less than this is not worth another timer. */
const SOONER_MS_MIN = 1
const PACE_DRAFTS = 3
const PACE_RETRY_MS_MIN = 1000
const PACE_RETRY_MS_MAX = 30_000
/** Drafts a millisecond are averaged over about so long. */
const RATE_MS = 100
/** Entries that retention deletes in a batch; under load twice as many as the batch appends, so that it keeps up. */
const RETENTION_SLICE = 512
const OVERLOADED_RETRY_MS = 500
/** A commit that takes longer is a store that has stopped: what waits behind it is rejected, and what comes is too. */
const STALL_MS = 10_000
/** What was committed goes to the tables so often, and sooner when it has grown to so much. */
const SETTLE_MS = 5000
const SETTLE_BYTES = 16_777_216
/** Without `flush`, what a loss of power may take. */
const SYNC_MS = 1000
/** With so much waiting for the tables nothing more is taken. */
const UNSETTLED_BYTES_MAX = 268_435_456

export class Writer implements Rhythm {
  readonly #options: WriterOptions
  readonly #store: Store
  readonly #layers: Layers
  readonly #watchers: Watchers
  readonly #retention: Retention
  readonly #journal: Journal
  readonly #records = new RecordWriter()
  readonly #queue: BoundedQueue<Act>
  readonly #timers: readonly Timer[]
  /** Goes on while closing: what waits then has a deadline too. */
  readonly #stallWatch: Timer
  /** Told once a commit which rooms got entries; must not throw or wait. */
  moved: ((room: string) => void) | null = null
  #commits: number
  #closed = false
  #closing: Promise<void> | null = null
  /** Why nothing can be written now, if so. */
  #fault: AppError | null = null
  /** Whether retention may work; after a failed commit it waits for the next sweep. */
  #mayTidy = false
  #isSettleDue = false
  #isSettling = false
  /** Works on the journal that must not meet a write. */
  readonly #between: (() => Promise<void>)[] = []
  #settling: Promise<void> = Promise.resolve()
  #isAwake = false
  /** Told when the work is done. */
  #onAsleep: (() => void) | null = null
  /** Drafts a millisecond, and what a paced commit had, on average. */
  #perMs = 0
  #gathered = 0
  #isPacing = false
  #countedAt = 0
  #paceFrom = -Infinity
  #paceRetryMs = PACE_RETRY_MS_MIN
  #turnAt = -Infinity
  /** When the next commit is wanted at the latest; endless: nothing waits for one. */
  #wantedAt = Infinity
  /** When the write that is under way began, by systemClock; endless: none is. */
  #writingSince = Infinity
  /** Ends the rest before the next commit; null: there is none. */
  #rouse: (() => void) | null = null
  readonly #listeners: (() => void)[] = []

  /** Reads what the journal has and the tables have not. Throws StartFault when it cannot. */
  constructor (store: Store, layers: Layers, watchers: Watchers, options: WriterOptions) {
    this.#options = options
    this.#layers = layers
    this.#watchers = watchers
    this.#retention = new Retention(store, layers, options.retention)
    this.#queue = new BoundedQueue(options.queueMax)
    this.#store = store
    this.#journal = new Journal(store.dir, { isSynced: options.durability === 'flush', isNeeded: read(store.tables.meta, META.unsettled) !== undefined })
    // From here until a clean end the tables alone are not the log.
    store.tables.meta.putSync(META.unsettled, PRESENT)
    this.#commits = layers.settled
    for (const { commit, payload } of this.#journal.after(layers.settled)) {
      layers.add(commit, decodeRecord(payload))
      this.#commits = commit
    }
    const { clock } = options
    options.metrics.read('uproar_log_queue', () => this.#queue.size)
    this.#stallWatch = systemClock.every(STALL_MS / 10, () => this.#watchStall())
    this.#timers = [clock.every(SWEEP_MS, () => this.#sweep()), clock.every(SETTLE_MS, () => this.#settleSoon()), clock.every(SYNC_MS, () => { if (!this.#journal.isSyncing) void this.#sync() })]
  }

  /** Retention lets nothing go beyond what this says. */
  holdBack (floor: Retention['floor']): void {
    this.#retention.floor = floor
  }

  get isGathering (): boolean { return this.#isPacing && !this.#closed && this.#fault === null }

  want (inMs: number): void {
    this.#wake(inMs <= 0 ? -Infinity : performance.now() + inMs)
  }

  listen (call: () => void): void {
    this.#listeners.push(call)
  }

  /** Throws AppError `unavailable` when the log is closed or the store stopped. */
  check (): void {
    if (this.#closed) throw new AppError('unavailable', 'the room log is closed')
    if (this.#fault !== null) throw this.#fault
  }

  /** Takes an act to be done in its turn; throws AppError `overloaded` when too many wait. */
  offer (act: Act): void {
    if (this.#layers.bytes > UNSETTLED_BYTES_MAX || !this.#queue.offer(act)) {
      throw new AppError('overloaded', 'too many messages wait to be stored; try again', { retryAfterMs: OVERLOADED_RETRY_MS })
    }
    this.#wake()
  }

  /** Brings all that is in the journal into the tables and empties the journal's files of it, but for what comes meanwhile. */
  async scrub (): Promise<void> {
    this.check()
    // Twice: the first may find one under way, of what was before.
    for (let time = 0; time < 2; time++) {
      await this.#settling
      await this.#settleNow()
    }
    await new Promise<void>((resolve, reject) => {
      this.#between.push(() => this.#journal.blank(this.#layers.settled).then(resolve, reject))
      this.#wake()
    })
  }

  /** Does what was taken, brings it into the tables, then rests for good. */
  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close (): Promise<void> {
    this.#closed = true
    for (const timer of this.#timers) timer.cancel()
    this.#rouse?.()
    while (this.#isAwake) await new Promise<void>((resolve) => { this.#onAsleep = resolve })
    this.#stallWatch.cancel()
    await this.#settling
    // Twice at most: what could not be settled before may still lie beneath what came since.
    await this.#sync()
    for (let time = 0; time < 2 && (this.#layers.isSettling || this.#layers.current.count > 0); time++) await this.#settle()
    await this.#journal.close()
    const isSettled = !this.#layers.isSettling && this.#layers.current.count === 0
    if (isSettled) await this.#store.commit(() => { void this.#store.tables.meta.remove(META.unsettled) }).catch(() => {})
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

  async #sync (): Promise<void> {
    try {
      await this.#journal.sync()
    } catch (error) {
      this.#options.metrics.add('uproar_log_failures_total')
      process.emitWarning(new Error('the journal could not be synced to the disk', { cause: error }))
    }
  }

  #settleSoon (): void {
    if (this.#layers.current.count === 0 && !this.#layers.isSettling) return
    this.#isSettleDue = true
    this.#wake()
  }

  #hasWork (): boolean {
    return this.#queue.size > 0 || this.#wantedAt < Infinity || this.#isSettleDue || this.#between.length > 0 || (this.#mayTidy && !this.#closed && this.#retention.hasWork)
  }

  /**
   * Starts when it is wanted, or at once, which is at the end of this turn of the loop, so that all its publishes share the
   * first batch. What comes alone does not wait for that end: whoever publishes is let finish, no more.
   */
  #wake (at = -Infinity): void {
    if (at < this.#wantedAt - SOONER_MS_MIN) {
      this.#wantedAt = at
      this.#rouse?.()
    }
    if (this.#isAwake) return
    this.#isAwake = true
    if (performance.now() - this.#countedAt > PACE_MS) void DONE.then(this.#run)
    else setImmediate(this.#run)
  }

  /** Batch after batch until there is no work. Never rejects. */
  readonly #run = async (): Promise<void> => {
    while (this.#hasWork()) {
      if (this.#isSettleDue) this.#beginSettling()
      if (this.#between.length > 0) await this.#between.shift()?.()
      if (this.#mayPace()) await this.#pace()
      const turn = this.#turn()
      if (turn !== null) await turn
    }
    this.#isAwake = false
    this.#onAsleep?.()
  }

  /** Lets drafts gather, in an even rhythm: a timer that fires late does not move the next. */
  async #pace (): Promise<void> {
    for (;;) {
      const now = performance.now()
      const due = Math.max(this.#turnAt + PACE_MS, Math.min(this.#wantedAt, this.#turnAt + GATHER_MS_MAX))
      const isDue = now >= due || this.#queue.size >= BATCH_ACTS_MAX || this.#closed
      if (!isDue && !await this.#sleep(due - now)) continue
      this.#turnAt = isDue ? now : due
      return
    }
  }

  /** Whether the whole time went by; false: something wants the commit sooner. */
  #sleep (ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isWhole: boolean): void => {
        this.#rouse = null
        clearTimeout(timer)
        resolve(isWhole)
      }
      const timer = setTimeout(end, ms, true)
      this.#rouse = () => end(false)
    })
  }

  /** Whether many come, so that drafts may gather; where not, a commit begins at once. */
  #mayPace (): boolean {
    const now = performance.now()
    if (!this.#isPacing && now >= this.#paceFrom && this.#perMs * PACE_MS >= PACE_DRAFTS * 2) {
      this.#isPacing = true
      this.#paceFrom = now
      this.#gathered = PACE_DRAFTS * 3
    } else if (this.#isPacing && this.#gathered < PACE_DRAFTS) {
      this.#isPacing = false
      this.#paceRetryMs = now - this.#paceFrom > PACE_RETRY_MS_MIN ? PACE_RETRY_MS_MIN : Math.min(PACE_RETRY_MS_MAX, this.#paceRetryMs * 2)
      this.#paceFrom = now + this.#paceRetryMs
    }
    return this.#isPacing
  }

  #count (drafts: number, now: number): void {
    this.#perMs = this.#perMs * Math.exp((this.#countedAt - now) / RATE_MS) + drafts / RATE_MS
    this.#countedAt = now
  }

  /** One batch from queue to answer; null: it is done. Never throws or rejects. */
  #turn (): Promise<void> | null {
    for (const call of this.#listeners) call()
    const acts = this.#queue.take(BATCH_ACTS_MAX)
    if (this.#queue.size === 0) this.#wantedAt = Infinity
    // Those too that did not rest, for it was time already: where one comes now and then, none of them ever rests.
    if (this.#isPacing && acts.length > 0) this.#gathered = this.#gathered * 0.8 + acts.length * 0.2
    this.#count(acts.length, performance.now())
    try {
      const batch = this.#stage(acts)
      const writing = this.#write(batch)
      if (writing !== null) return writing.then(() => this.#apply(batch)).catch((error: unknown) => this.#failed(acts, error))
      this.#apply(batch)
    } catch (error) {
      this.#failed(acts, error)
    }
    return null
  }

  #failed (acts: readonly Act[], error: unknown): void {
    this.#mayTidy = false
    this.#options.metrics.add('uproar_log_failures_total')
    const reason = error instanceof AppError ? error : new AppError('unavailable', 'the store could not be read', { cause: error })
    for (const act of acts) act.reject(reason)
  }

  #stage (acts: readonly Act[]): Batch {
    const layers = this.#layers
    const batch = new Batch({
      now: this.#options.clock.now(),
      next: layers.next,
      head: (room) => layers.head(room),
      state: (number) => layers.state(number),
      entry: (number, seq) => layers.entry(number, seq)
    })
    if (this.#mayTidy && !this.#closed) this.#retention.stage(batch, Math.max(RETENTION_SLICE, acts.length * 2))
    for (const act of acts) batch.add(act)
    batch.seal()
    return batch
  }

  /** Brings a batch to the journal; null: that is done. Throws or rejects when it could not be. */
  #write (batch: Batch): Promise<void> | null {
    if (batch.isEmpty) return null
    if (!this.#journal.hasSpace) throw new AppError('unavailable', 'the journal is full, since the store cannot be written; try again')
    const began = systemClock.elapsed()
    const writing = this.#journal.append(this.#commits + 1, this.#records.encode(batch))
    if (writing !== null) return this.#await(writing, batch, began)
    this.#written(batch, began)
    return null
  }

  async #await (writing: Promise<void>, batch: Batch, began: number): Promise<void> {
    this.#writingSince = began
    try {
      await writing
    } catch (error) {
      if (this.#journal.isBroken) this.#fault = new AppError('unavailable', 'the store could not take a failed write back; restart the server', { cause: error })
      throw error
    } finally {
      this.#writingSince = Infinity
      if (this.#fault?.message === STALLED) this.#fault = null
    }
    this.#written(batch, began)
  }

  /** The journal has the batch, for which it was asked at `began`. */
  #written (batch: Batch, began: number): void {
    this.#layers.add(++this.#commits, batch)
    if (this.#layers.current.bytes > SETTLE_BYTES) this.#isSettleDue = true
    this.#options.metrics.add('uproar_log_commits_total')
    this.#options.metrics.observe('uproar_log_commit_seconds', (systemClock.elapsed() - began) / 1000)
  }

  /** Resolves when everything that was committed before the call is in the tables, or the try has failed. */
  async #settleNow (): Promise<void> {
    this.#isSettleDue = true
    this.#wake()
    while (this.#isSettleDue) await new Promise((resolve) => setImmediate(resolve))
    await this.#settling
  }

  /** Between two commits: what is current goes to the tables, and the journal goes on in its other file. */
  #beginSettling (): void {
    this.#isSettleDue = false
    if (this.#isSettling) return
    this.#isSettling = true
    this.#settling = this.#settle().finally(() => { this.#isSettling = false })
  }

  /** Never rejects: what fails is tried again when the next settling is due. */
  async #settle (): Promise<void> {
    const layers = this.#layers
    if (!layers.isSettling) {
      if (layers.current.count === 0) return
      layers.begin(this.#options.clock.now())
      this.#journal.turn(layers.settled)
    }
    try {
      // The tables must have nothing that a loss of power could take from the journal: numbers, and seqs, would be given twice.
      await this.#journal.sync()
      await layers.settle(this.#retention, this.#options.clock.now())
      this.#retention.settled()
      if (!this.#closed) this.#sweep()
    } catch (error) {
      this.#options.metrics.add('uproar_log_failures_total')
      process.emitWarning(new Error('the log could not be brought into the store; it stays in the journal', { cause: error }))
    }
  }

  #watchStall (): void {
    if (systemClock.elapsed() - this.#writingSince < STALL_MS || this.#fault !== null) return
    this.#fault = new AppError('unavailable', STALLED)
    for (const call of this.#listeners) call()
    for (const act of this.#queue.take(this.#queue.size)) act.reject(this.#fault)
  }

  #apply (batch: Batch): void {
    this.#retention.note(batch)
    for (const { room, entries } of batch.events) {
      if (entries === null) this.#watchers.lost(room)
      else this.#watchers.entries(room, entries)
      if (entries !== null && this.moved !== null) this.moved(room)
    }
    const { metrics } = this.#options
    metrics.add('uproar_log_entries_total', batch.appends.length)
    for (const { first, seq } of batch.expired) metrics.add('uproar_log_expired_total', seq - first + 1)
    batch.resolve()
  }
}

const STALLED = 'the store does not answer'
const DONE = Promise.resolve()
