// What retention lets go: the oldest entries of a log, and all of a removed one. Owns the rule and the search for what
// falls under it; it is carried out a slice at a time, in the writer's batches and with each settling (layers.ts), so
// publishing never waits long for it.
//
//   first ─────────────────────────────────────── seq
//   ├ too old, too many or too much ┤├ kept ────────┤    never cut: the newest 10,000 that are also younger than 10
//                                       ├ never cut ┤    minutes, so that a viewer can resume, whatever is configured
//
// Bounds: 10,000 rooms noted as due, 64 rooms looked at a second, one slice a batch.

import { entryTs } from '../../proto/entry.ts'
import { keyName, type Store } from '../base/store.ts'
import type { Batch } from './batch.ts'
import type { Layers } from './layers.ts'
import { numberKey, readNumber, unpackHead, type HeadRecord } from './layout.ts'
import type { Retentions } from './log.ts'

const KEPT_ENTRIES = 10_000
const KEPT_MS = 10 * 60_000
const MB = 1_048_576
const HOUR_MS = 3_600_000
const DUE_MAX = 10_000
/** Each costs a look at its oldest entry, some 20 µs. */
const SWEEP_ROOMS = 64

const BEGIN = new Uint8Array([0])

/** Limits per room; whichever is met first. `apart`: of rooms that have limits of their own; Infinity is none. */
export interface RetentionOptions {
  readonly hours: number
  readonly entriesMax: number
  readonly mbMax: number
  readonly apart?: Retentions
}

export class Retention {
  readonly #tables: Store['tables']
  readonly #layers: Layers
  readonly #options: RetentionOptions
  readonly #due = new Set<string>()
  /** The last entry of a room that may go: the feed's consumers may need the later ones. */
  floor: (room: string, head: HeadRecord) => number = (_room, head) => head.seq
  #sweepFrom: Uint8Array = BEGIN
  /** Nothing can fall due from then until then, whatever the time is in between, unless the tables change. */
  #restFrom = 0
  #restUntil = -Infinity
  #hasRemoved = true

  constructor (store: Store, layers: Layers, options: RetentionOptions) {
    this.#tables = store.tables
    this.#layers = layers
    this.#options = options
  }

  /** Whether rooms are due; what is left of removed logs goes with the next settling. */
  get hasWork (): boolean { return this.#due.size > 0 }

  /** A batch is durable: notes the rooms that it made too long. */
  note (batch: Batch): void {
    for (const [room, head] of batch.heads) if (head !== null && isOver(head, this.#of(room))) this.#noteDue(room)
  }

  /** The tables were told of removed logs. */
  noteRemoved (): void {
    this.#hasRemoved = true
  }

  /** The tables have other heads than before. */
  settled (): void {
    this.#restUntil = -Infinity
  }

  /** Looks at the next rooms of the tables in the order of their names, from the start again after the last. Where one look finds all of them, the next is when one can be due. */
  sweep (now: number): void {
    if (now >= this.#restFrom && now < this.#restUntil) return
    const isFromBegin = this.#sweepFrom === BEGIN
    let rooms = 0
    let soonest = Infinity
    for (const { key, value } of this.#tables.heads.getRange({ start: this.#sweepFrom, limit: SWEEP_ROOMS })) {
      rooms++
      this.#sweepFrom = Buffer.concat([key, Buffer.alloc(1)])
      const head = unpackHead(value)
      const room = keyName(key)
      const options = this.#of(room)
      const last = this.floor(room, head)
      const isDue = isOver(head, options) || surplus(this.#layers, head, options, { now, slice: 1, last }).count > 0
      if (isDue) this.#noteDue(room)
      soonest = Math.min(soonest, isDue || last < head.seq ? -Infinity : dueAt(this.#layers, head, options, now))
    }
    if (rooms === SWEEP_ROOMS) return
    this.#sweepFrom = BEGIN
    this.#restFrom = now
    this.#restUntil = isFromBegin ? soonest : -Infinity
  }

  /** Stages that the oldest entries of one due room go, `slice` at most. */
  stage (batch: Batch, slice: number): void {
    const [room] = this.#due
    if (room === undefined) return
    this.#due.delete(room)
    const head = batch.ground.head(room)
    if (head === null) return
    const { count, bytes } = surplus(this.#layers, head, this.#of(room), { now: batch.ground.now, slice, last: this.floor(room, head) })
    if (count > 0) batch.expire(room, count, bytes)
    if (count === slice) this.#due.add(room)
  }

  /** The number of a removed log that has entries in the tables yet; null: there is none. */
  nextRemoved (): number | null {
    if (!this.#hasRemoved) return null
    for (const key of this.#tables.removed.getKeys({ limit: 1 })) return readNumber(key)
    this.#hasRemoved = false
    return null
  }

  /** Within a transaction: nothing of it is left. */
  forgetRemoved (number: number): void {
    void this.#tables.removed.remove(numberKey(number))
  }

  #of (room: string): RetentionOptions {
    return this.#options.apart?.get(room) ?? this.#options
  }

  #noteDue (room: string): void {
    if (this.#due.size < DUE_MAX) this.#due.add(room)
  }
}

/** Whether the head alone shows that the log is over a limit of count or size. */
function isOver (head: HeadRecord, options: RetentionOptions): boolean {
  return head.seq - head.first >= options.entriesMax || head.bytes > options.mbMax * MB
}

/** How many of the oldest entries are to go now, and their bytes; looks at `slice` entries at most, and none beyond `last`. */
function surplus (layers: Layers, head: HeadRecord, options: RetentionOptions, { now, slice, last }: { now: number, slice: number, last: number }): { count: number, bytes: number } {
  const old = now - options.hours * HOUR_MS
  const young = now - KEPT_MS
  let count = 0
  let bytes = 0
  for (let seq = head.first; seq <= last && count < slice; seq++) {
    const entry = layers.entry(head.number, seq)
    if (entry !== undefined) {
      const ts = entryTs(entry)
      if (seq > head.seq - KEPT_ENTRIES && ts >= young) break
      if (ts >= old && head.seq - seq < options.entriesMax && head.bytes - bytes <= options.mbMax * MB) break
      bytes += entry.length
    }
    count++
  }
  return { count, bytes }
}

/** The first time at which age alone could make the oldest entry of a log due; it may turn out not to be. */
function dueAt (layers: Layers, head: HeadRecord, options: RetentionOptions, now: number): number {
  if (head.first > head.seq) return Infinity
  const entry = layers.entry(head.number, head.first)
  if (entry === undefined) return -Infinity
  const times = [entryTs(entry) + KEPT_MS, entryTs(entry) + options.hours * HOUR_MS].filter((time) => time >= now)
  return times.length === 0 ? -Infinity : Math.min(...times)
}
