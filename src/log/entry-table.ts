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

import { AppError } from '../base/errors.ts'
import { read, type Table } from '../base/store.ts'
import { entryKey, readNumber } from './layout.ts'

/** Entries in a block at most; what is written in one go, and read for any of them. */
const BLOCK_ENTRIES = 64
const MARK = 0xc1
const HEAD = 2
const END = 4
/** Keys that are looked at in one go. */
const PAGE = 256

interface Block { readonly number: number, readonly first: number, readonly entries: readonly Uint8Array[] }

const GONE = new Uint8Array(0)

export class EntryTable {
  readonly #table: Table
  /** What was read last: whoever reads one entry mostly reads those around it. */
  #last: Block | null = null

  constructor (table: Table) {
    this.#table = table
  }

  /** The entry, if the table has it. Throws AppError `unavailable` when the store cannot be read. */
  get (number: number, seq: number): Uint8Array | undefined {
    const last = this.#last
    const block = last !== null && last.number === number && seq >= last.first && seq < last.first + last.entries.length ? last : this.#find(number, seq)
    const entry = block?.entries[seq - block.first]
    return entry === undefined || entry.length === 0 ? undefined : entry
  }

  /** To be called when what was written is durable: what was read before may have been of another time. */
  forget (): void {
    this.#last = null
  }

  /** Writes a log's entries from the seq `first` on, a block a step. */
  * put (number: number, first: number, entries: readonly Uint8Array[]): Generator<void> {
    for (let at = 0; at < entries.length;) {
      const seq = first + at
      const end = Math.min(entries.length, at + BLOCK_ENTRIES - seq % BLOCK_ENTRIES)
      void this.#table.put(entryKey(number, seq), packBlock(entries, at, end))
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
      if (block === null) continue
      const { first, entries } = block
      end = first + entries.length
      void this.#table.put(entryKey(number, first), packBlock(entries.map((entry, at) => entry.length === 0 ? entry : changes.get(first + at) ?? entry)))
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
    const entries = this.#read(number, first)
    if (entries === null) return
    if (first + entries.length - 1 <= seq) void this.#table.remove(entryKey(number, first))
    else void this.#table.put(entryKey(number, first), packBlock(entries.map((entry, at) => first + at <= seq ? GONE : entry)))
  }

  /** The block that has the entry, if any does. */
  #find (number: number, seq: number): Block | null {
    // One that begins with it is found by its key: blocks of one entry, and those that are read in their order.
    let first: number | undefined = seq
    let entries = this.#read(number, seq)
    if (entries === null) {
      first = this.#firstBefore(number, seq)
      if (first === undefined) return null
      entries = this.#read(number, first)
    }
    if (entries === null || seq >= first + entries.length) return null
    return this.#last = { number, first, entries }
  }

  #read (number: number, first: number): Uint8Array[] | null {
    const bytes = read(this.#table, entryKey(number, first))
    return bytes === undefined ? null : entriesOf(bytes)
  }

  /** Where the last block before that seq begins. */
  #firstBefore (number: number, seq: number): number | undefined {
    return guarded(() => {
      for (const key of this.#table.getKeys({ start: entryKey(number, seq), end: entryKey(number, 0), reverse: true, limit: 1 })) return readNumber(key, 6)
      return undefined
    })
  }

  /** Where a log's blocks begin, from `from` to before `end`. */
  #keys (number: number, from: number, end: number, limit: number): number[] {
    const last = end === Infinity ? entryKey(number + 1, 0) : entryKey(number, end)
    return guarded(() => Array.from(this.#table.getKeys({ start: entryKey(number, from), end: last, limit }), (key) => readNumber(key, 6)))
  }
}

/** The entries of a record of the table, as views of it. One that expired is empty. */
export function entriesOf (value: Uint8Array): Uint8Array[] {
  if (value[0] !== MARK) return [value]
  const view = new DataView(value.buffer, value.byteOffset, value.length)
  const entries: Uint8Array[] = []
  const count = view.getUint8(1)
  for (let at = 0, start = HEAD + count * END; at < count; at++) {
    const end = view.getUint32(HEAD + at * END)
    entries.push(value.subarray(start, end))
    start = end
  }
  return entries
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

function guarded<T> (work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new AppError('unavailable', 'the store could not be read', { cause: error })
  }
}
