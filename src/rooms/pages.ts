// Pages of a room's history, for HISTORY and REST: from the ring where it holds them, else from the log, without what was
// removed and without what is for another's eyes only. A page is never empty while there is more, however many removed
// messages lie in a row: a client goes back from the first entry of a page, and must not stand still.
// Bounds: AUTHOR_ENTRIES_MAX entries are looked at for one author's messages; PAGES_MAX reads for one page; what lies behind so many removed messages is not reached that way.

import { entryAuthor, entrySeq } from '../../proto/entry.ts'
import type { Log } from '../log/log.ts'
import { partsFor } from './delivery.ts'
import type { Removals } from './removals.ts'
import type { Ring } from './ring.ts'

export type HistoryQuery = { readonly before?: number | null, readonly after?: number, readonly limit: number }

/** A page of history. */
export interface History {
  readonly epoch: string
  /** Seq of the newest entry. */
  readonly head: number
  /** Oldest first. */
  readonly entries: readonly Uint8Array[]
  /** More in the direction of the query: older ones for `before`, newer ones for `after`. */
  readonly more: boolean
}

/** A run as it is stored: where it ends in the direction of reading, and whether that is all. */
interface Run { readonly epoch: string, readonly head: number, readonly entries: readonly Uint8Array[], readonly end: number, readonly more: boolean }

const HISTORY_BYTES = 2_000_000
const PAGES_MAX = 100
/** Once a page came out empty, so many entries are read at a time. */
const LONG_READ = 1000
const AUTHOR_ENTRIES_MAX = 10_000

export class Pages {
  readonly #room: string
  readonly #epoch: string
  readonly #log: Log
  readonly #ring: Ring
  readonly #removals: Removals

  constructor (room: string, epoch: string, log: Log, ring: Ring, removals: Removals) {
    this.#room = room
    this.#epoch = epoch
    this.#log = log
    this.#ring = ring
    this.#removals = removals
  }

  /** A page as that user may see it, of the entries up to `newest`. Throws the log's AppError. */
  async read (query: HistoryQuery, user: string | null, newest: number, isStaff = false): Promise<History> {
    const isForward = query.after !== undefined
    let at = isForward ? Math.max(query.after as number, this.#removals.cleared) : Math.min(query.before ?? Infinity, newest + 1)
    for (let reads = 1; ; reads++) {
      const limit = reads === 1 ? query.limit : LONG_READ
      const run = isForward ? await this.#newer(at, limit, newest) : await this.#older(at, limit)
      const shown = partsFor(run.entries, user, isStaff).filter((part) => part instanceof Uint8Array)
      const kept = isForward ? shown.slice(0, query.limit) : shown.slice(-query.limit)
      const isCut = kept.length < shown.length
      if (kept.length > 0 || !run.more || reads === PAGES_MAX) {
        return { epoch: run.epoch, head: Math.min(run.head, Math.max(newest, 0)), entries: kept, more: isCut || (run.more && kept.length > 0) }
      }
      at = run.end
    }
  }

  /** The entry of this seq from the log, or what stands in its place; null when the log has none. */
  async at (seq: number): Promise<Uint8Array | null> {
    const { entries } = await this.#log.after(this.#room, seq - 1, { entries: 1, bytes: 1 })
    const [entry] = entries
    return entry === undefined || entrySeq(entry) !== seq ? null : this.#removals.redact(entry)
  }

  /** An author's messages that are not gone, newest first, those for its own eyes included, of the newest AUTHOR_ENTRIES_MAX entries. Throws the log's AppError. */
  async writtenBy (user: string, limit: number): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = []
    let at = Infinity
    for (let looked = 0; looked < AUTHOR_ENTRIES_MAX && found.length < limit; looked += LONG_READ) {
      const run = await this.#older(Math.min(at, this.#ring.last + 1), LONG_READ)
      found.push(...run.entries.filter((entry) => entryAuthor(entry) === user).toReversed())
      at = run.end
      if (!run.more) break
    }
    return found.slice(0, limit)
  }

  async #newer (after: number, limit: number, newest: number): Promise<Run> {
    const from = after + 1
    if (this.#ring.has(from)) {
      const entries = this.#ring.run(from, Math.min(from + limit - 1, newest), HISTORY_BYTES)
      const end = after + entries.length
      return { epoch: this.#epoch, head: this.#ring.last, entries, end, more: end < newest }
    }
    const page = await this.#log.after(this.#room, after, { entries: limit, bytes: HISTORY_BYTES })
    const end = Math.max(after, page.head.first - 1) + page.entries.length
    return { epoch: page.head.epoch, head: page.head.seq, entries: this.#redacted(page.entries).filter((entry) => entrySeq(entry) <= newest), end, more: end < Math.min(page.head.seq, newest) }
  }

  async #older (before: number, limit: number): Promise<Run> {
    const { cleared } = this.#removals
    const from = Math.max(before - limit, 1)
    if (before - limit >= this.#ring.first && this.#ring.has(before - 1)) {
      const entries = this.#ring.run(Math.max(from, cleared + 1), before - 1, HISTORY_BYTES)
      return { epoch: this.#epoch, head: this.#ring.last, entries: before - 1 > cleared ? entries : [], end: from, more: from > cleared + 1 }
    }
    const page = await this.#log.before(this.#room, before, { entries: limit, bytes: HISTORY_BYTES })
    const oldest = Math.min(before, page.head.seq + 1) - page.entries.length
    const entries = this.#redacted(page.entries).filter((entry) => entrySeq(entry) > cleared)
    return { epoch: page.head.epoch, head: page.head.seq, entries, end: oldest, more: oldest > Math.max(page.head.first, cleared + 1) }
  }

  #redacted (entries: readonly Uint8Array[]): readonly Uint8Array[] {
    return this.#removals.isEmpty ? entries : entries.map((entry) => this.#removals.redact(entry))
  }
}
