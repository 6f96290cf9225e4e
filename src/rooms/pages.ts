// Pages of a room's history, for HISTORY and REST: from the ring where it holds them, else from the log, and before its
// oldest entry from the archive, without what was removed and without what is for another's eyes only:
//
//   archive … 41 42 43 │ log: first 44 … 90 │ ring 91 … 99        one seq over all three; a page may lie across a border
//
// A page is never empty while there is more, however many removed messages lie in a row: a client goes back from the
// first entry of a page, and must not stand still. What was found to be gone stays gone, so a long run of it is looked
// through once, and passed over from then on: otherwise whoever asks for the page before a purged flood makes the server
// read all of the flood, each time. While the archive is away what the log has is served, and more of it refused
// (`unavailable`): never an end that is none.
// Bounds: GONE_MAX such runs are remembered; AUTHOR_ENTRIES_MAX entries are looked at for one author's messages; PAGES_MAX reads and DEADLINE_MS for one page; what lies behind so many removed messages is not reached that way.

import { entryAuthor, entrySeq, entryTs, isShadow } from '../../proto/entry.ts'
import { AppError } from '../base/errors.ts'
import type { Log, LogPage } from '../log/log.ts'
import { isVeiled, partsFor } from './delivery.ts'
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

/** What was of a room's log and no longer is. Each rejects with AppError `unavailable`. */
export interface Past {
  /** Whether there is any. */
  readonly isKept: boolean
  /** The newest entries with seq < `seq`, oldest first, at most `limit`; removed ones stand as such. */
  before (room: string, epoch: string, seq: number, limit: number): Promise<readonly Uint8Array[]>
  /** The oldest entries with `seq` < seq < `below`, oldest first, at most `limit`. */
  after (room: string, epoch: string, seq: number, below: number, limit: number): Promise<readonly Uint8Array[]>
  /** Seq of the first entry at or after this time (Unix milliseconds); null: there is none. */
  seqAt (room: string, epoch: string, ts: number): Promise<number | null>
}

/** A run as it is stored: where it ends in the direction of reading, and whether that is all. */
interface Run { readonly epoch: string, readonly head: number, readonly entries: readonly Uint8Array[], readonly end: number, readonly more: boolean }

const HISTORY_BYTES = 2_000_000
const PAGES_MAX = 100
/** However many reads it takes: the archive may answer slowly. */
const DEADLINE_MS = 10_000
/** Once a page came out empty, so many entries are read at a time. */
const LONG_READ = 1000
const AUTHOR_ENTRIES_MAX = 10_000
const GONE_MAX = 100
/** Of a run with hidden messages of more authors nothing is remembered: each of them would have to be asked about. */
const HIDDEN_AUTHORS_MAX = 50

/** Seqs of which nobody is shown anything, but those whose own hidden messages are among them. */
interface Gone { readonly from: number, readonly to: number, readonly authors: ReadonlySet<string> }

export class Pages {
  readonly #room: string
  readonly #epoch: string
  readonly #log: Log
  readonly #ring: Ring
  readonly #removals: Removals
  readonly #gone: Gone[] = []
  readonly #past: Past | null

  constructor (room: string, epoch: string, log: Log, ring: Ring, removals: Removals, past: Past | null = null) {
    this.#room = room
    this.#epoch = epoch
    this.#log = log
    this.#ring = ring
    this.#removals = removals
    this.#past = past
  }

  /** A page as that user may see it, of the entries up to `newest`. Throws the log's AppError. */
  async read (query: HistoryQuery, user: string | null, newest: number, isStaff = false): Promise<History> {
    const isForward = query.after !== undefined
    let at = isForward ? Math.max(query.after as number, this.#removals.cleared) : Math.min(query.before ?? Infinity, newest + 1)
    const end = performance.now() + DEADLINE_MS
    for (let reads = 1; ; reads++) {
      if (reads > 1 && performance.now() > end) throw new AppError('unavailable', 'this page of history takes too long to find', { retryAfterMs: 5000 })
      // A read of the log is made in one go: a long search must not keep the loop from everybody else.
      if (reads > 1) await new Promise((resolve) => setImmediate(resolve))
      const limit = reads === 1 ? query.limit : LONG_READ
      at = this.#passGone(at, isForward, user)
      const run = isForward ? await this.#newer(at, limit, newest) : await this.#older(at, limit)
      const shown = partsFor(run.entries, user, isStaff).filter((part) => part instanceof Uint8Array)
      const kept = isForward ? shown.slice(0, query.limit) : shown.slice(-query.limit)
      const isCut = kept.length < shown.length
      this.#noteGone(veiledEdge(run.entries, isForward))
      if (kept.length > 0 || !run.more || reads === PAGES_MAX) {
        return { epoch: run.epoch, head: Math.min(run.head, Math.max(newest, 0)), entries: kept, more: isCut || (run.more && kept.length > 0) }
      }
      at = run.end
    }
  }

  /** Where reading goes on from `at`: behind the run that begins there, if all of it is known to be gone for this user. */
  #passGone (at: number, isForward: boolean, user: string | null): number {
    const next = isForward ? at + 1 : at - 1
    const run = this.#gone.find(({ from, to, authors }) => from <= next && next <= to && (user === null || !authors.has(user)))
    return run === undefined ? at : isForward ? run.to : run.from
  }

  /** A run that is nothing to show is remembered, joined to those at its ends. */
  #noteGone (entries: readonly Uint8Array[]): void {
    const [first] = entries
    if (first === undefined) return
    let [from, to] = [entrySeq(first), entrySeq(entries.at(-1) as Uint8Array)]
    const authors = new Set(entries.filter(isShadow).map(entryAuthor))
    for (const [index, run] of [...this.#gone.entries()].toReversed()) {
      if (run.from > to + 1 || run.to < from - 1 || authors.size + run.authors.size > HIDDEN_AUTHORS_MAX) continue
      from = Math.min(from, run.from)
      to = Math.max(to, run.to)
      for (const author of run.authors) authors.add(author)
      this.#gone.splice(index, 1)
    }
    if (authors.size > HIDDEN_AUTHORS_MAX) return
    this.#gone.push({ from, to, authors })
    if (this.#gone.length > GONE_MAX) this.#gone.shift()
  }

  /** Seq of the first entry at or after this time (Unix milliseconds); one beyond the newest when there is none. Throws AppError. */
  async seqAt (ts: number): Promise<number> {
    const head = await this.#log.head(this.#room)
    const oldest = await this.#tsOf(head.first)
    if (head.first > 1 && (oldest === null || oldest >= ts) && this.#past?.isKept === true) {
      const archived = await this.#past.seqAt(this.#room, head.epoch, ts)
      if (archived !== null && archived < head.first) return archived
    }
    let [low, high] = [head.first, head.seq + 1]
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((await this.#tsOf(middle) ?? -1) >= ts) high = middle
      else low = middle + 1
    }
    return low
  }

  /** An entry of this room that was read elsewhere, as the room knows it by now: removed, or without the mention of who was erased. */
  redacted (entry: Uint8Array): Uint8Array {
    return this.#removals.redact(entry)
  }

  async #tsOf (seq: number): Promise<number | null> {
    if (this.#ring.has(seq)) return entryTs(this.#ring.at(seq))
    const { entries: [entry] } = await this.#log.after(this.#room, seq - 1, { entries: 1, bytes: 1 })
    return entry === undefined ? null : entryTs(entry)
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
      if (looked > 0) await new Promise((resolve) => setImmediate(resolve))
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
    const archived = await this.#archivedAfter(page, after, limit, newest)
    if (archived !== null) return archived
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
    const run = { epoch: page.head.epoch, head: page.head.seq, entries, end: oldest, more: oldest > Math.max(page.head.first, cleared + 1) }
    return run.more || oldest <= cleared + 1 || this.#past?.isKept !== true ? run : await this.#archivedBefore(this.#past, run, limit)
  }

  /** A run that ends with the log's oldest entry goes on into the archive. */
  async #archivedBefore (past: Past, run: Run, limit: number): Promise<Run> {
    const left = limit - run.entries.length
    let older
    try {
      // One beyond what is wanted: whether there is more.
      older = await past.before(this.#room, run.epoch, run.end, left + 1)
    } catch (error) {
      // What the log has is served all the same; whoever asks on is told.
      if (run.entries.length > 0) return { ...run, more: true }
      throw error
    }
    const { cleared } = this.#removals
    const taken = left === 0 ? [] : older.slice(-left)
    const end = taken[0] === undefined ? run.end : entrySeq(taken[0])
    const entries = this.#redacted(taken).filter((entry) => entrySeq(entry) > cleared)
    return { ...run, entries: [...entries, ...run.entries], end, more: older.length > left && end > cleared + 1 }
  }

  /** The run behind `after`, where it begins before the log's oldest entry; null: it does not, or nothing is archived there. */
  async #archivedAfter (page: LogPage, after: number, limit: number, newest: number): Promise<Run | null> {
    const { head } = page
    if (after + 1 >= head.first || this.#past?.isKept !== true) return null
    const older = await this.#past.after(this.#room, head.epoch, after, head.first, limit)
    const last = older.at(-1)
    if (last === undefined) return null
    // Behind a full run the archive may have more, so nothing of the log is put behind it.
    const both = older.length < limit ? [...older, ...page.entries.slice(0, limit - older.length)] : older
    const end = entrySeq(both.at(-1) ?? last)
    return { epoch: head.epoch, head: head.seq, entries: this.#redacted(both).filter((entry) => entrySeq(entry) <= newest), end, more: end < Math.min(head.seq, newest) }
  }

  #redacted (entries: readonly Uint8Array[]): readonly Uint8Array[] {
    return this.#removals.isEmpty ? entries : entries.map((entry) => this.#removals.redact(entry))
  }
}

/** The entries that are not for everybody, from where reading came up to the first that is. */
function veiledEdge (entries: readonly Uint8Array[], isForward: boolean): readonly Uint8Array[] {
  const shown = isForward ? entries.findIndex((entry) => !isVeiled(entry)) : entries.findLastIndex((entry) => !isVeiled(entry))
  if (shown < 0) return entries
  return isForward ? entries.slice(0, shown) : entries.slice(shown + 1)
}
