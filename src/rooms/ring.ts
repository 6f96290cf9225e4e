// The newest entries of one active room, as the log gave them. Entries are consecutive in seq, so a seq is an index:
//
//   first                                   last
//   [ 41 | 42 | 43 | 44 | … | 97 | 98 | 99 ]        push(100) adds at the right, trim() lets go at the left
//
// Bounded by entries and bytes, but never lets go of what the room has not sent to its viewers yet.

import { entryAuthor, entrySeq } from '../../proto/entry.ts'

export class Ring {
  #entries: Uint8Array[] = []
  #start = 0
  #bytes = 0
  #last: number
  readonly #entriesMax: number
  readonly #bytesMax: number

  /** An empty ring behind the entry `last`. */
  constructor (last: number, entriesMax: number, bytesMax: number) {
    this.#last = last
    this.#entriesMax = entriesMax
    this.#bytesMax = bytesMax
  }

  /** Seq of the oldest entry held; `last` + 1 when there is none. */
  get first (): number { return this.#last - this.size + 1 }
  /** Seq of the newest entry that was pushed, or where the ring began. */
  get last (): number { return this.#last }
  get size (): number { return this.#entries.length - this.#start }
  get bytes (): number { return this.#bytes }

  /** Adds the next entry. False when it is an old one, which is ignored. */
  push (entry: Uint8Array): boolean {
    const seq = entrySeq(entry)
    if (seq <= this.#last) return false
    if (seq !== this.#last + 1) throw new RangeError(`the ring stands at ${this.#last} and was given ${seq}`)
    this.#entries.push(entry)
    this.#bytes += entry.length
    this.#last = seq
    return true
  }

  /** Lets go of the oldest entries over the bounds, up to and with `upTo`. */
  trim (upTo: number): void {
    while (this.size > 0 && this.first <= upTo && (this.size > this.#entriesMax || this.#bytes > this.#bytesMax)) {
      this.#bytes -= (this.#entries[this.#start] as Uint8Array).length
      this.#start++
    }
    if (this.#start > 256 && this.#start * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#start)
      this.#start = 0
    }
  }

  /** Whether an entry of this seq is held. */
  has (seq: number): boolean {
    return seq >= this.first && seq <= this.#last
  }

  /** The entry of this seq, which must be held. */
  at (seq: number): Uint8Array {
    return this.#entries[this.#start + seq - this.first] as Uint8Array
  }

  /** The newest message held that this user wrote and that is not gone, or null. */
  newestBy (user: string): Uint8Array | null {
    for (let seq = this.#last; seq >= this.first; seq--) if (entryAuthor(this.at(seq)) === user) return this.at(seq)
    return null
  }

  /** Puts what `redact` makes of them in the place of the held entries from `from` to `to`. */
  redact (from: number, to: number, redact: (entry: Uint8Array) => Uint8Array): void {
    for (let seq = Math.max(from, this.first); seq <= Math.min(to, this.#last); seq++) {
      const at = this.#start + seq - this.first
      const before = this.#entries[at] as Uint8Array
      const after = redact(before)
      this.#bytes += after.length - before.length
      this.#entries[at] = after
    }
  }

  /** Entries from `from` (held) to `to` at most, ending before `bytesMax` is passed; one at least. */
  run (from: number, to: number, bytesMax: number): Uint8Array[] {
    const run: Uint8Array[] = []
    let bytes = 0
    for (let seq = from; seq <= Math.min(to, this.#last); seq++) {
      const entry = this.at(seq)
      bytes += entry.length
      if (run.length > 0 && bytes > bytesMax) break
      run.push(entry)
    }
    return run
  }
}
