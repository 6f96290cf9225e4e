// A place in a room from which somebody reads forward at their own pace: a viewer that joins, resumes or has fallen
// behind, or an event stream. Two promises meet here:
//
//   seq:   … next ─────────────── until │ ─────────────── the ring's last
//          must be read, from the log    │ read from the ring; what it no longer holds is
//          if the ring has let it go     │ announced as skipped, all but removals, and reading goes on near the end
//
// so a resume is whole however far back it starts, and a slow viewer can never make the server read its disk.

import { entrySeq } from '../../proto/entry.ts'
import type { Log } from '../log/log.ts'
import type { Removals } from './removals.ts'
import type { Ring } from './ring.ts'

/** A run of entries that the reader was not given. */
export interface Skip {
  readonly first: number
  readonly last: number
  readonly reason: 'slow' | 'removed'
}

export interface Step {
  /** Some may stand for removed ones, or be for their author alone: delivery.ts parts them. */
  readonly entries: readonly Uint8Array[]
  /** Stands before the entries. */
  readonly skipped: Skip | null
}

/** How many of the newest entries a reader goes on with after it was too slow for the ring. */
const RESTART_ENTRIES = 50
const LOG_ENTRIES = 200

export class Reader {
  /** Seq of the entry that comes next. */
  next: number
  readonly #until: number
  readonly #room: string
  readonly #log: Log
  readonly #removals: Removals
  readonly #lagMax: number

  /** `lagMax`: further behind than so many entries counts as too slow, even if the ring still has them. */
  constructor (room: string, log: Log, removals: Removals, next: number, until: number, lagMax = Infinity) {
    this.#room = room
    this.#log = log
    this.#removals = removals
    this.next = next
    this.#until = until
    this.#lagMax = lagMax
  }

  /**
   * Takes the next run, up to the entry `to` and about `bytesMax` bytes: null when there is none yet, a promise when the
   * log has to be read. The promise rejects with the log's AppError; the place is kept and the call can be made again.
   */
  take (ring: Ring, to: number, bytesMax: number): Step | null | Promise<Step | null> {
    if (this.next > to) return null
    if (this.next <= this.#removals.cleared) return this.#passCleared(Math.min(to, this.#removals.cleared))
    const isTooSlow = this.next > this.#until && to - this.next > this.#lagMax
    if (ring.has(this.next) && !isTooSlow) return this.#moved(ring.run(this.next, to, bytesMax), null)
    if (this.next <= this.#until) return this.#fromLog(Math.min(to, this.#until), bytesMax)
    const restart = Math.max(ring.first, to - RESTART_ENTRIES + 1)
    const removal = this.#removals.between(this.next, restart)
    const last = removal === undefined ? restart - 1 : entrySeq(removal) - 1
    const skipped: Skip | null = last < this.next ? null : { first: this.next, last, reason: 'slow' }
    this.next = last + 1
    return this.#moved(removal === undefined ? ring.run(restart, to, bytesMax) : [removal], skipped)
  }

  #passCleared (to: number): Step {
    const skipped: Skip = { first: this.next, last: to, reason: 'removed' }
    this.next = to + 1
    return { entries: [], skipped }
  }

  async #fromLog (to: number, bytesMax: number): Promise<Step> {
    const page = await this.#log.after(this.#room, this.next - 1, { entries: LOG_ENTRIES, bytes: bytesMax })
    const entries = page.entries.filter((entry) => entrySeq(entry) <= to).map((entry) => this.#removals.redact(entry))
    const first = entries[0] === undefined ? Math.min(page.head.first, to + 1) : entrySeq(entries[0])
    const skipped: Skip | null = first > this.next ? { first: this.next, last: first - 1, reason: 'removed' } : null
    if (skipped !== null) this.next = first
    return this.#moved(entries, skipped)
  }

  #moved (entries: readonly Uint8Array[], skipped: Skip | null): Step {
    this.next += entries.length
    return { entries, skipped }
  }
}
