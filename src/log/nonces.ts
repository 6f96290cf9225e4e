// Which nonces the tables know, of the dedup window. Nonces are random, so a table keyed by them would have a page dirtied
// for each: half of what accepting a message cost. Here they are written as they come, in parts, and never touched again:
//
//   part 7 (one settling)        part 8                 …      all parts of an eighth of the window are one
//   [bucket 0][bucket 1] … [all hashes]                        generation, with one filter in memory over them
//
//   find ─▶ hash ─▶ each generation's filter: "no" (nearly always, no look anywhere) │ "maybe" ─▶ what is not settled yet (layers.ts)
//                                                                                             ─▶ that bucket of its parts
//
// A nonce is in its generation's filter once it is accepted, in a part once it is settled. So writing is appending, and expiry
// is dropping old parts whole. Both are made in steps, over as many transactions as the settling likes; a part counts
// once its hashes are there, which the last of them writes. Whether a nonce still counts is decided by its entry's ts,
// so it is remembered for the window exactly. At a start the filters are made anew from the parts' hashes and the journal.
// Bound: in memory some bytes a nonce of the window (nonce-filter.ts); on disk the nonces themselves.

import { randomBytes } from 'node:crypto'
import { read, type Store, type Table } from '../base/store.ts'
import { META, readNumber } from './layout.ts'
import { hashNonce, NonceFilter, type NonceHash } from './nonce-filter.ts'
import type { NonceTable } from './nonce-table.ts'

/** One settling's nonces, on disk. `buckets` is a power of two. */
interface Part { readonly id: number, readonly buckets: number, readonly newest: number }

/** What the nonces of an eighth of the window have in common. `newest`: when the last of those in its parts was made. */
export interface Generation { readonly since: number, readonly filter: NonceFilter, readonly parts: Part[], newest: number }

/** A part that does not count yet. `ends`: where each bucket's records end in `rows`; `summary`: newest (6)  buckets (2), then hashes: low (4)  high (4), little-endian. */
export interface Made { readonly part: Part, readonly rows: Buffer, readonly ends: Int32Array, readonly summary: Buffer }

/** Each costs every message a look into memory that no cache holds. */
const GENERATIONS = 8
const RECORDS_A_BUCKET = 32
/** A step is an object to make: none of its own for each record. */
const RECORDS_A_STEP = 4
const BUCKETS_MAX = 16_384
/** Behind the buckets of a part: when its newest entry was made, how many buckets it has, and every hash. */
const SUMMARY = 0xffff
const SUMMARY_HEAD = 8
const HASH = 8

export class Nonces {
  readonly #meta: Table
  readonly #table: Table
  readonly #windowMs: number
  readonly #seed: NonceHash
  #generations: Generation[] = []
  #nextPart = 1

  constructor (store: Store, windowMs: number) {
    this.#meta = store.tables.meta
    this.#table = store.tables.nonces
    this.#windowMs = windowMs
    this.#seed = this.#readSeed()
    this.#load()
  }

  hash (room: string, author: string, nonce: string): NonceHash {
    return hashNonce(this.#seed, room, author, nonce)
  }

  /** False: it was not accepted within the window, nor a moment before. */
  mayHave (hash: NonceHash): boolean {
    for (const { filter } of this.#generations) if (filter.mayHave(hash)) return true
    return false
  }

  /** The seq and ts that the nonce's entry got, if it was settled and is within the window. */
  find (hash: NonceHash, number: number, author: string, nonce: string, now: number): { seq: number, ts: number } | null {
    for (const { filter, parts } of this.#generations) {
      if (!filter.mayHave(hash)) continue
      for (const part of parts) {
        const found = this.#findIn(part, hash, number, author, nonce)
        if (found !== null && now - found.ts < this.#windowMs) return found
      }
    }
    return null
  }

  /** The generation of what is accepted from now on: whoever accepts a nonce adds it to its filter. A clock that was put back begins one too. */
  generation (now: number): Generation {
    const last = this.#generations.at(-1)
    if (last !== undefined && Math.abs(now - last.since) < this.#windowMs / GENERATIONS) return last
    const next = { since: now, parts: [], filter: new NonceFilter(last?.filter.count), newest: now }
    this.#generations.push(next)
    return next
  }

  /** Makes a part of these nonces, to be written: two steps for each RECORDS_A_STEP, no transaction needed. */
  * make (table: NonceTable): Generator<void, Made> {
    const { size } = table
    const buckets = Math.min(BUCKETS_MAX, 2 ** Math.ceil(Math.log2(Math.max(1, size / RECORDS_A_BUCKET))))
    const ends = new Int32Array(buckets)
    const summary = Buffer.allocUnsafe(SUMMARY_HEAD + size * HASH)
    let newest = 0
    for (let index = 0; index < size; index++) {
      const bucket = table.low(index) & buckets - 1
      ends[bucket] = (ends[bucket] as number) + recordLength(table, index)
      newest = Math.max(newest, table.ts(index))
      if (index % RECORDS_A_STEP === 0) yield
    }
    let length = 0
    for (let bucket = 0; bucket < buckets; bucket++) {
      const own = ends[bucket] as number
      ends[bucket] = length
      length += own
    }
    const rows = Buffer.allocUnsafe(length)
    for (let index = 0; index < size; index++) {
      const bucket = table.low(index) & buckets - 1
      ends[bucket] = writeRecord(rows, ends[bucket] as number, table, index)
      summary.writeInt32LE(table.low(index), SUMMARY_HEAD + index * HASH)
      summary.writeInt32LE(table.high(index), SUMMARY_HEAD + index * HASH + 4)
      if (index % RECORDS_A_STEP === 0) yield
    }
    summary.writeUIntBE(newest, 0, 6)
    summary.writeUInt16BE(buckets, 6)
    return { part: { id: this.#nextPart, buckets, newest }, rows, ends, summary }
  }

  /** Writes it, a bucket a step, within whatever transaction the step is made in; the part is to be finished in one after them. */
  * write ({ part, rows, ends }: Made): Generator<void> {
    for (let bucket = 0, start = 0; bucket < part.buckets; bucket++) {
      const end = ends[bucket] as number
      if (end > start) void this.#table.put(partKey(part.id, bucket), rows.subarray(start, end))
      start = end
      yield
    }
  }

  /** Within a transaction: from here on the part counts at the next start. */
  finish ({ part, summary }: Made): void {
    void this.#table.put(partKey(part.id, SUMMARY), summary)
  }

  /** The transaction that finished it is durable: from here on its nonces are found here. */
  settled (part: Part, generation: Generation): void {
    generation.newest = Math.max(generation.newest, part.newest)
    generation.parts.push(part)
    this.#nextPart = part.id + 1
  }

  /** Generations of which nothing counts any more. They are dropped, and once that is durable, forgotten. What is accepted now, or waits to be settled, is of one `inUse`. */
  over (now: number, inUse: readonly Generation[]): readonly Generation[] {
    return this.#generations.filter((generation) => now - generation.newest >= this.#windowMs && !inUse.includes(generation))
  }

  forget (generations: readonly Generation[]): void {
    this.#generations = this.#generations.filter((generation) => !generations.includes(generation))
  }

  /** Deletes their parts, a bucket a step, within whatever transaction the step is made in. */
  * drop (generations: readonly Generation[]): Generator<void> {
    for (const { parts } of generations) {
      for (const { id, buckets } of parts) {
        for (let bucket = 0; bucket < buckets; bucket++) {
          void this.#table.remove(partKey(id, bucket))
          yield
        }
        void this.#table.remove(partKey(id, SUMMARY))
      }
    }
  }

  #findIn (part: Part, hash: NonceHash, number: number, author: string, nonce: string): { seq: number, ts: number } | null {
    const bytes = read(this.#table, partKey(part.id, hash.low & part.buckets - 1))
    if (bytes === undefined) return null
    const rows = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at < rows.length;) {
      const row = readRow(rows, at)
      if (row.number === number && row.authorUnits === author.length && row.text() === author + nonce) return { seq: row.seq, ts: row.ts }
      at = row.end
    }
    return null
  }

  #readSeed (): NonceHash {
    const stored = read(this.#meta, META.seed)
    const bytes = stored === undefined ? randomBytes(8) : Buffer.from(stored)
    if (stored === undefined) this.#meta.putSync(META.seed, bytes)
    return { low: bytes.readInt32LE(0), high: bytes.readInt32LE(4) }
  }

  #load (): void {
    for (;;) {
      const [key] = this.#table.getKeys({ start: partKey(this.#nextPart, 0), limit: 1 })
      if (key === undefined) return
      const id = readNumber(key)
      const summary = read(this.#table, partKey(id, SUMMARY))
      if (summary === undefined) {
        this.#deleteUnfinished(id)
        continue
      }
      const bytes = Buffer.from(summary.buffer, summary.byteOffset, summary.length)
      const part = { id, newest: bytes.readUIntBE(0, 6), buckets: bytes.readUInt16BE(6) }
      const generation = this.generation(part.newest)
      for (let at = SUMMARY_HEAD; at < bytes.length; at += HASH) generation.filter.add({ low: bytes.readInt32LE(at), high: bytes.readInt32LE(at + 4) })
      this.settled(part, generation)
    }
  }

  /** What a settling left that was cut short: its nonces are in the journal still. */
  #deleteUnfinished (id: number): void {
    const keys = [...this.#table.getKeys({ start: partKey(id, 0), end: partKey(id + 1, 0) })]
    this.#table.transactionSync(() => { for (const key of keys) void this.#table.remove(key) })
  }
}

function partKey (id: number, bucket: number): Buffer {
  const key = Buffer.allocUnsafe(8)
  key.writeUIntBE(id, 0, 6)
  key.writeUInt16BE(bucket, 6)
  return key
}

/** number (6)  seq (6)  ts (6)  author's units (2)  units (2)  author and nonce, UTF-16LE */
const RECORD_HEAD = 22

function recordLength (table: NonceTable, index: number): number {
  return RECORD_HEAD + (table.author(index).length + table.nonce(index).length) * 2
}

/** Returns where the next one begins. */
function writeRecord (rows: Buffer, start: number, table: NonceTable, index: number): number {
  const author = table.author(index)
  const nonce = table.nonce(index)
  let at = rows.writeUIntBE(table.number(index), start, 6)
  at = rows.writeUIntBE(table.seq(index), at, 6)
  at = rows.writeUIntBE(table.ts(index), at, 6)
  at = rows.writeUInt16BE(author.length, at)
  at = rows.writeUInt16BE(author.length + nonce.length, at)
  at += rows.write(author, at, 'utf16le')
  return at + rows.write(nonce, at, 'utf16le')
}

function readRow (rows: Buffer, at: number): { number: number, seq: number, ts: number, authorUnits: number, end: number, text: () => string } {
  const end = at + RECORD_HEAD + rows.readUInt16BE(at + 20) * 2
  return {
    number: rows.readUIntBE(at, 6),
    seq: rows.readUIntBE(at + 6, 6),
    ts: rows.readUIntBE(at + 12, 6),
    authorUnits: rows.readUInt16BE(at + 18),
    end,
    text: () => rows.toString('utf16le', at + RECORD_HEAD, end)
  }
}
