// What a message of the server tells of the room's messages: which numbers, and when each was written. Many viewers are sent
// the same bytes, and what those tell is found out once: the next viewer's are compared, byte by byte, and known.
//
//   bytes ──▶ known? ──▶ the same bytes told this before ─┬─▶ the viewer holds its numbers against it
//                └─no──▶ read (inflated, every entry) ─────┘
//
// Owns what it read of late: WINDOWS_MAX messages.

/** Where the time of a message is, and what it says: milliseconds by clockMs(). */
export type TimeOf = (bytes: Buffer, at: number) => number

export class Told {
  /** Messages. */
  size = 0
  /** Runs of numbers that follow each other, each of one author, in the order of their first: [0, runs). */
  runs = 0
  readonly authors: number[] = []
  readonly firsts: number[] = []
  readonly counts: number[] = []
  readonly #timeOf: TimeOf
  readonly #ats: number[] = []
  #bytes: Buffer = Buffer.alloc(0)
  #times: readonly number[] | null = null

  constructor (timeOf: TimeOf) {
    this.#timeOf = timeOf
  }

  /** Begins anew. */
  clear (): void {
    this.size = 0
    this.runs = 0
  }

  /** A message of an author, whose time is found from `at`. The bytes must last until all was heard. */
  add (author: number, number: number, bytes: Buffer, at: number): void {
    this.#bytes = bytes
    this.#ats[this.size++] = at
    for (let run = this.runs - 1; run >= 0; run--) {
      if (this.authors[run] !== author) continue
      if (number !== (this.firsts[run] as number) + (this.counts[run] as number)) break
      this.counts[run]!++
      return
    }
    this.authors[this.runs] = author
    this.firsts[this.runs] = number
    this.counts[this.runs++] = 1
  }

  /** When the message at `index` was written. */
  timeMs (index: number): number {
    return this.#times?.[index] ?? this.#timeOf(this.#bytes, this.#ats[index] as number)
  }

  /** A copy that needs the bytes no longer. */
  kept (): Told {
    const copy = new Told(this.#timeOf)
    copy.size = this.size
    copy.runs = this.runs
    for (let run = 0; run < this.runs; run++) {
      copy.authors.push(this.authors[run] as number)
      copy.firsts.push(this.firsts[run] as number)
      copy.counts.push(this.counts[run] as number)
    }
    copy.#times = Array.from({ length: this.size }, (_, index) => this.timeMs(index))
    return copy
  }
}

/**
 * As much as a crowd's sockets hold when the load was kept from reading for some seconds: it reads one viewer after the
 * other then, each from its oldest, and would never catch up if it had to read all for each.
 */
const WINDOWS_MAX = 400
/** Shorter messages are read sooner than found. */
export const WINDOW_BYTES_MIN = 200
const SAMPLED_BYTES = 132
const SAMPLED_EVERY = 12

export class Known {
  readonly #windows = new Map<number, { readonly bytes: Buffer, readonly told: Told }>()

  /** What these bytes told before; null: nothing is known of them. */
  find (bytes: Buffer, start: number, end: number): Told | null {
    if (end - start < WINDOW_BYTES_MIN) return null
    const known = this.#windows.get(keyOf(bytes, end))
    return known !== undefined && known.bytes.length === end - start && known.bytes.compare(bytes, start, end) === 0 ? known.told : null
  }

  keep (bytes: Buffer, start: number, end: number, told: Told): void {
    if (end - start < WINDOW_BYTES_MIN) return
    const key = keyOf(bytes, end)
    this.#windows.delete(key)
    this.#windows.set(key, { bytes: Buffer.from(bytes.subarray(start, end)), told: told.kept() })
    if (this.#windows.size > WINDOWS_MAX) this.#windows.delete(this.#windows.keys().next().value as number)
  }
}

/** Of the last bytes: they hold the newest message, its number and time, or the checksum of what is deflated. */
function keyOf (bytes: Buffer, end: number): number {
  let key = 0
  for (let at = end - SAMPLED_BYTES; at < end; at += SAMPLED_EVERY) key = Math.imul(key ^ bytes.readInt32LE(at), 0x9e3779b1)
  return Math.imul(key ^ bytes.readInt32LE(end - 4), 0x85ebca6b)
}
