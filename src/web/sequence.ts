// The order of one room's entries: each is told once, in seq order, with nothing missing that was not explained.
//
//   told … 41 │ next 42 │        44 45 held          SKIPPED 60…80 noted
//             └ missing: 42 43 ┘ asked from history after gapMs, given up (reason `gap`) after gapMaxMs
//
// Bounded: 1,000 entries held, 100 ranges noted. Must not know rooms or connections.

import type { Entry, Page, Repaired, Skipped, Timing } from './client-types.ts'

const HELD_MAX = 1000
const RANGES_MAX = 100
const PAGE_ENTRIES = 200

export interface SequenceSink {
  entry (entry: Entry): void
  skipped (skipped: Skipped): void
  repaired (repaired: Repaired): void
  history (before: number, limit: number): Promise<Page>
}

/** Seqs that need not come. `isWhole`: none of them will; else some may, among those left out. */
interface Range extends Skipped {
  readonly isWhole: boolean
  isTold: boolean
}

export class Sequence {
  readonly #sink: SequenceSink
  readonly #timing: Timing
  readonly #held = new Map<number, Entry>()
  #ranges: Range[] = []
  #next = 1
  // After a join that did not recover, the first thing heard says where the history begins (at `head` + 1 at the latest).
  #head = -1
  #isAnnounced = false
  #timer: unknown = null
  #gapAt = 0

  constructor (sink: SequenceSink, timing: Timing) {
    this.#sink = sink
    this.#timing = timing
  }

  /** Seq of the last entry told or explained: the place to resume from. */
  get last (): number {
    return this.#next - 1
  }

  /** Goes on behind `seq`: every later entry will come. */
  resume (seq: number): void {
    this.stop()
    this.#next = seq + 1
    this.#head = -1
  }

  /** Begins with the newest `history` entries up to `head`. `isReset`: nothing told before counts any more. */
  begin (head: number, history: number, isReset: boolean): void {
    this.stop()
    if (isReset) this.#next = Math.max(0, head - history) + 1
    this.#head = head
    this.#isAnnounced = !isReset
  }

  /** Forgets what it holds and stops its timer. */
  stop (): void {
    clearTimeout(this.#timer as number)
    this.#timer = null
    this.#held.clear()
    this.#ranges = []
  }

  entry (entry: Entry): void {
    this.#settle(entry.seq)
    if (entry.seq < this.#next) return
    this.#held.set(entry.seq, entry)
    this.#drain()
    if (this.#held.size > HELD_MAX) this.#giveUp()
  }

  skip (skipped: Skipped): void {
    this.#settle(skipped.first)
    if (skipped.last < this.#next) return
    this.#note(skipped, skipped.count > skipped.last - skipped.first)
    this.#drain()
    if (this.#ranges.length > RANGES_MAX) this.#giveUp()
  }

  #settle (first: number): void {
    if (this.#head < 0) return
    const head = this.#head
    const start = Math.min(first, head + 1)
    this.#head = -1
    if (!this.#isAnnounced) this.#next = start
    else if (start > this.#next) this.#note(gap(this.#next, start - 1), true)
    // What that history lacks was removed, and nobody here has seen it.
    if (start <= head) this.#note({ first: start, last: head, count: 0, reason: 'removed' }, false, true)
  }

  #note (skipped: Skipped, isWhole: boolean, isTold = false): void {
    this.#ranges.push({ ...skipped, isWhole, isTold })
  }

  /** Tells whatever is due, then watches the gap that is left, if any. */
  #drain (): void {
    for (;;) {
      const next = this.#next
      const entry = this.#held.get(next)
      if (entry !== undefined) {
        this.#held.delete(next)
        this.#next++
        this.#sink.entry(entry)
        continue
      }
      const range = this.#ranges.find(({ first, last }) => first <= next && next <= last)
      if (range === undefined) break
      if (!range.isTold) {
        range.isTold = true
        const { first, last, count, reason } = range
        this.#sink.skipped({ first, last, count, reason })
      }
      const lowest = Math.min(...this.#held.keys())
      if (!range.isWhole && lowest === Infinity) break
      this.#next = Math.min(range.last + 1, lowest)
    }
    this.#ranges = this.#ranges.filter(({ last }) => last >= this.#next)
    this.#watch()
  }

  /** The first seq known behind the gap; Infinity when there is no gap. */
  #behind (): number {
    return Math.min(...this.#held.keys(), ...this.#ranges.map(({ first }) => first > this.#next ? first : Infinity))
  }

  #watch (): void {
    const isGap = this.#behind() < Infinity
    if (isGap && this.#timer !== null && this.#gapAt === this.#next) return
    clearTimeout(this.#timer as number)
    this.#timer = null
    if (!isGap) return
    this.#gapAt = this.#next
    // Spread, since whatever one viewer misses a thousand others may miss too.
    const waitMs = this.#timing.gapMs * (1 + Math.random())
    this.#timer = setTimeout(() => {
      this.#timer = setTimeout(() => this.#giveUp(), this.#timing.gapMaxMs - waitMs)
      void this.#repair(this.#next, this.#behind() - 1, this.#timer)
    }, this.#timing.gapMs)
  }

  /** Reads the gap from history. What history no longer has was removed. */
  async #repair (first: number, last: number, timer: unknown): Promise<void> {
    const found: Entry[] = []
    for (let before = last + 1, isMore = last - first < HELD_MAX; isMore;) {
      const page = await this.#sink.history(before, Math.min(before - first, PAGE_ENTRIES)).catch(() => null)
      // Given up meanwhile, or nothing to be had: then the timer tells the gap.
      if (this.#timer !== timer || page === null) return
      found.push(...page.entries)
      before = page.entries[0]?.seq ?? first
      isMore = page.more && before > first
      if (isMore) continue
      const inside = found.filter(({ seq }) => seq >= first && seq <= last)
      for (const entry of inside) this.#held.set(entry.seq, entry)
      const count = last - first + 1 - inside.length
      if (count > 0) this.#note({ first, last, count, reason: 'removed' }, true)
      this.#drain()
      this.#sink.repaired({ first, last })
    }
  }

  #giveUp (): void {
    const behind = this.#behind()
    if (behind === Infinity) return
    this.#note(gap(this.#next, behind - 1), true)
    this.#drain()
  }
}

function gap (first: number, last: number): Skipped {
  return { first, last, count: last - first + 1, reason: 'gap' }
}
