// Settled entries in the store's table: consecutive ones of a log are one record, a block. A record of its own for each
// costs six times as much to write (2.7 µs of CPU an entry against 0.45) and, with retention deleting behind it, ten times.
//
//   key     number (6)  seq (6) of the block's first entry
//   value   a block of one: the entry as it is (also what format 2 of the store has for every entry)
//           otherwise: c1  n (1)  n times where an entry ends, from the value's beginning (4)  the entries
//
// c1 begins no entry: MessagePack does not use it. A block never goes over a multiple of BLOCK_ENTRIES, whatever lies in it,
// so settling the same entries again, also together with later ones and after some were rewritten, puts them under the same keys.
// What has expired leaves its block at once (its place is empty then), and a block goes with its last entry.
// Must not know transactions: whoever takes the steps makes them. Bound: one block in memory, of what was read last.

import { read, reading, type Table } from '../base/store.ts'
import { entryKey, readNumber } from './layout.ts'

/** Entries in a block at most; what is written in one go, and read for any of them. */
const BLOCK_ENTRIES = 64
const MARK = 0xc1
const HEAD = 2
const END = 4
/** Keys that are looked at in one go. */
const PAGE = 256

/** A record of the table, as it lies there. */
interface Block { readonly number: number, readonly first: number, readonly count: number, readonly value: Uint8Array }

const GONE = new Uint8Array(0)

export class EntryTable {
  readonly #table: Table
  /** What was read last: whoever reads one entry mostly reads those around it. */
  #last: Block | null = null
  /** Whether a run may come to lie over what an older version left of a settling that was cut short: a record for each entry. */
  #mayOverlap = true

  constructor (table: Table) {
    this.#table = table
  }

  /** The entry, if the table has it: bytes of its own. Throws AppError `unavailable` when the store cannot be read. */
  get (number: number, seq: number): Uint8Array | undefined {
    const last = this.#last
    const block = last !== null && last.number === number && seq >= last.first && seq < last.first + last.count ? last : this.#find(number, seq)
    if (block === null) return undefined
    const entry = entryIn(block.value, seq - block.first)
    // Whoever keeps it must not keep its neighbours.
    return entry.length === 0 ? undefined : block.count === 1 ? entry : entry.slice()
  }

  /** All that was written is durable: what was read before may have been of another time. */
  settled (): void {
    this.#last = null
    this.#mayOverlap = false
  }

  /** Writes a log's entries from the seq `first` on, a block a step. */
  * put (number: number, first: number, entries: readonly Uint8Array[]): Generator<void> {
    for (let at = 0; at < entries.length;) {
      const seq = first + at
      const end = Math.min(entries.length, at + BLOCK_ENTRIES - seq % BLOCK_ENTRIES)
      void this.#table.put(entryKey(number, seq), packBlock(entries, at, end))
      if (this.#mayOverlap) for (const over of this.#keys(number, seq + 1, first + end, PAGE)) void this.#table.remove(entryKey(number, over))
      at = end
      yield
    }
  }

  /** Gives entries other bytes, a block a step; one that is not here any more is left out. */
  * rewrite (number: number, changes: ReadonlyMap<number, Uint8Array>): Generator<void> {
    let end = 0
    for (const seq of [...changes.keys()].sort((a, b) => a - b)) {
      if (seq < end) continue
      const block = this.#find(number, seq)
      if (block !== null) {
        const { first, value } = block
        end = first + block.count
        void this.#table.put(entryKey(number, first), packBlock(entriesOf(value).map((entry, at) => entry.length === 0 ? entry : changes.get(first + at) ?? entry)))
      }
      yield
    }
  }

  /** Deletes a log's entries up to `seq`, a block a step. */
  * expire (number: number, seq: number): Generator<void> {
    let from = 0
    for (;;) {
      // One more than there can be to delete: it says where the block before it ends.
      const keys = this.#keys(number, from, seq + 2, PAGE)
      for (const [at, first] of keys.entries()) {
        if (first > seq) return
        const next = keys[at + 1]
        if (next === undefined && keys.length === PAGE) break
        if (next === undefined) this.#expireIn(number, first, seq)
        else void this.#table.remove(entryKey(number, first))
        yield
      }
      if (keys.length < PAGE) return
      from = keys.at(-1) as number
    }
  }

  /** Deletes so many blocks of a log, whatever is in them; false: there may be more. */
  clear (number: number, blocksMax: number): boolean {
    const keys = this.#keys(number, 0, Infinity, blocksMax)
    for (const first of keys) void this.#table.remove(entryKey(number, first))
    return keys.length < blocksMax
  }

  /** The last block that may have entries beyond those that go. */
  #expireIn (number: number, first: number, seq: number): void {
    const value = this.#read(number, first)
    if (value === undefined) return
    if (first + countOf(value) - 1 <= seq) void this.#table.remove(entryKey(number, first))
    else void this.#table.put(entryKey(number, first), packBlock(entriesOf(value).map((entry, at) => first + at <= seq ? GONE : entry)))
  }

  /** The block that has the entry, if any does. */
  #find (number: number, seq: number): Block | null {
    // One that begins with it is found by its key: blocks of one entry, and those that are read in their order.
    let first: number | undefined = seq
    let value = this.#read(number, seq)
    if (value === undefined) {
      first = this.#firstBefore(number, seq)
      if (first === undefined) return null
      value = this.#read(number, first)
    }
    if (value === undefined || seq >= first + countOf(value)) return null
    return this.#last = { number, first, count: countOf(value), value }
  }

  #read (number: number, first: number): Uint8Array | undefined {
    return read(this.#table, entryKey(number, first))
  }

  /** Where the last block before that seq begins. */
  #firstBefore (number: number, seq: number): number | undefined {
    return reading(() => {
      for (const key of this.#table.getKeys({ start: entryKey(number, seq), end: entryKey(number, 0), reverse: true, limit: 1 })) return readNumber(key, 6)
      return undefined
    })
  }

  /** Where a log's blocks begin, from `from` to before `end`. */
  #keys (number: number, from: number, end: number, limit: number): number[] {
    const last = end === Infinity ? entryKey(number + 1, 0) : entryKey(number, end)
    return reading(() => Array.from(this.#table.getKeys({ start: entryKey(number, from), end: last, limit }), (key) => readNumber(key, 6)))
  }
}

/** The entries of a record of the table, as views of it. One that expired is empty. */
export function entriesOf (value: Uint8Array): Uint8Array[] {
  return Array.from({ length: countOf(value) }, (_, at) => entryIn(value, at))
}

function countOf (value: Uint8Array): number {
  return value[0] === MARK ? value[1] as number : 1
}

function entryIn (value: Uint8Array, at: number): Uint8Array {
  return value[0] === MARK ? value.subarray(at === 0 ? HEAD + countOf(value) * END : endOf(value, at - 1), endOf(value, at)) : value
}

function endOf (value: Uint8Array, at: number): number {
  const start = HEAD + at * END
  return ((value[start] as number) << 24 | (value[start + 1] as number) << 16 | (value[start + 2] as number) << 8 | (value[start + 3] as number)) >>> 0
}

function packBlock (entries: readonly Uint8Array[], from = 0, to = entries.length): Uint8Array {
  const count = to - from
  if (count === 1) return entries[from] as Uint8Array
  let length = HEAD + count * END
  for (let at = from; at < to; at++) length += (entries[at] as Uint8Array).length
  const block = Buffer.allocUnsafeSlow(length)
  block[0] = MARK
  block[1] = count
  let end = HEAD + count * END
  for (let at = from; at < to; at++) {
    const entry = entries[at] as Uint8Array
    block.set(entry, end)
    end += entry.length
    block.writeUInt32BE(end, HEAD + (at - from) * END)
  }
  return block
}
