// When the window of a room ends: with the log's commit that is nearest to its time, for a window that ends between two
// commits has what came just before it wait for nothing, and what comes just after it wait for a whole one. A hot room says
// when it would like that commit.
//
//   end of the last │ entries … entries … entries  ◀─ commit, asked for so early that it is made by then ─▶ │ end │ …
//
// How long windows are is window.ts' to say. Must not know what entries hold, nor who gets them.

import { LIMITS } from '../../proto/values.ts'
import type { Clock } from '../base/clock.ts'
import { FlushTime, Rate, windowMs, type WindowLimits } from './window.ts'

/** What a message holds of entries, beside the frames before them. */
const MESSAGE_BYTES = LIMITS.broadcastBytes - 256
/** A window is to end when so much is likely to have come: mostly it then fits one message. */
const FULL_BYTES = MESSAGE_BYTES * 0.9
/** So much a window may be shorter or longer to end with a commit of the log; how late that may be, milliseconds. */
const RHYTHM_MS_MAX = 10
const GRACE_MS = 3
/** What a commit is asked to begin before the window ends: to read and store what waited for it takes so long. */
const COMMIT_MS = 5
/** What may wait for a room's next write waits no longer than a window below 5,000 viewers. */
const HOLD_MS_MAX = 60

export class WindowEnd {
  readonly #clock: Clock
  readonly #limits: WindowLimits
  readonly #rate = new Rate()
  readonly #flushing = new FlushTime()
  /** When the window that runs is to end; null: none runs. This and what follows by clock.elapsed(). */
  #dueAt: number | null = null
  /** When the last one was to end, when entries last came, when more are expected, and when that commit is to begin (null: not asked). */
  #endedAt = -Infinity
  #addedAt = -Infinity
  #expectedAt = -Infinity
  #commitAt: number | null = null
  /** Between the last two times that entries came. */
  #interval = Infinity
  /** Of an entry, on average; of what waits for the end. */
  #entryBytes = 0
  #pendingBytes = 0
  #isFull = false

  constructor (clock: Clock, limits: WindowLimits) {
    this.#clock = clock
    this.#limits = limits
  }

  /** Entries came, which wait from here on. */
  added (entries: readonly Uint8Array[]): void {
    const now = this.#clock.elapsed()
    this.#rate.add(entries.length, now)
    this.#interval = now - this.#addedAt
    this.#addedAt = now
    this.#expectedAt = now + this.#interval
    this.#commitAt = null
    let bytes = 0
    for (const entry of entries) bytes += entry.length
    this.#pendingBytes += bytes
    if (entries.length > 0) this.#entryBytes = this.#entryBytes * 0.9 + bytes / entries.length * 0.1
    // One more batch like this would not fit the window's message: a second one costs every viewer a second write.
    this.#isFull = this.#pendingBytes <= MESSAGE_BYTES && this.#pendingBytes + bytes > MESSAGE_BYTES
  }

  /** When a room of so many viewers should end its window, which has just got its newest entries, right now: what counts as its end; null: it goes on. */
  nearEnd (viewers: number): number | null {
    const now = this.#addedAt
    const end = this.#endAt(now, viewers)
    if (end - now <= Math.min(RHYTHM_MS_MAX, this.#interval / 2)) return Math.max(now, end)
    return this.#isFull ? now : null
  }

  /** How many milliseconds the window has yet; 0 or less: none. */
  remainingMs (viewers: number): number {
    const now = this.#clock.elapsed()
    return this.#endAt(now, viewers) - now
  }

  /** A window runs, and is to end in so many milliseconds. */
  begun (inMs: number): void {
    this.#dueAt = this.#clock.elapsed() + inMs
  }

  /** Its time is over, and a commit is about to come, or due this very moment: in how many milliseconds it will have; null: there is none. */
  graceMs (): number | null {
    const late = this.#expectedAt - (this.#dueAt ?? 0)
    return Math.abs(late) < Math.min(RHYTHM_MS_MAX, this.#interval / 2) ? Math.max(0, late) + GRACE_MS : null
  }

  /** It is given up, and what waits goes on waiting. */
  stopped (): void {
    this.#dueAt = null
  }

  /** What waited is being sent. `endsAt`: when it should have ended: one that a commit ends early shortens not the next. */
  ended (endsAt = this.#clock.elapsed()): void {
    this.#dueAt = null
    this.#commitAt = null
    this.#pendingBytes = 0
    this.#endedAt = endsAt
    this.#flushing.began(this.#clock)
  }

  /** All that was to be sent to so many viewers was published. */
  sent (viewers: number): void {
    this.#flushing.ended(viewers, this.#clock)
  }

  /** Whether a window runs and ends so soon that an OK may wait for it. */
  isSoon (): boolean {
    return this.#dueAt !== null && this.#dueAt - this.#clock.elapsed() <= HOLD_MS_MAX
  }

  /**
   * In how many milliseconds the log's commit of what comes now suits a room of so many viewers: with the end of its window,
   * for nothing is shown before, or with what fills its message. At once where there is no window, and where its end is so
   * far away that an OK would not wait for it. From then on that commit is expected.
   */
  askCommit (now: number, viewers: number): number {
    if (this.#commitAt !== null) return Math.max(0, this.#commitAt - now)
    const end = this.#endAt(now, viewers)
    if (end <= now || end - now > HOLD_MS_MAX) return 0
    const fullAt = this.#endedAt + this.#fillMs(now)
    this.#expectedAt = fullAt > now ? Math.min(end, fullAt) : end
    this.#commitAt = this.#expectedAt - COMMIT_MS
    return Math.max(0, this.#commitAt - now)
  }

  /** When the window that runs, or that would begin now, ends; in the past: there is none. */
  #endAt (now: number, viewers: number): number {
    return this.#dueAt ?? this.#endedAt + windowMs(viewers, this.#rate.perSecond(now), this.#limits, this.#flushing.ms, this.#fillMs(now))
  }

  /** In what time as much comes as one message holds. */
  #fillMs (now: number): number {
    return FULL_BYTES / this.#entryBytes / this.#rate.perSecond(now) * 1000
  }
}
