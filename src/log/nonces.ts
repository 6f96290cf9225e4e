// Which nonces the tables know, of the dedup window. Nonces are random, so a table keyed by them would have a page dirtied
// for each: half of what accepting a message cost. Here they are written as they come, in parts, and never touched again:
//
//   part 7 (one settling)        part 8                 …      all parts of a thirty-second of the window are one
//   [bucket 0][bucket 1] … [all hashes]                        generation, with one filter in memory over them
//
//   find ─▶ hash ─▶ each generation's filter: "no" (nearly always, no look at the store) │ "maybe" ─▶ that bucket of its parts
//
// So writing is appending, and expiry is dropping old parts whole. Whether a nonce still counts is decided by its entry's
// ts, so it is remembered for the window exactly. At a start the filters are made anew from the parts' hashes.
// Bound: in memory 2 bytes a nonce of the window; on disk the nonces themselves.

import { randomBytes } from 'node:crypto'
import { read, type Store, type Table } from '../base/store.ts'
import { META, readNumber } from './layout.ts'
import { hashNonce, NonceFilter, type NonceHash } from './nonce-filter.ts'
import type { NonceRecord, NonceTable } from './nonce-table.ts'

/** One settling's nonces, on disk. `buckets` is a power of two. */
interface Part { readonly id: number, readonly buckets: number, readonly newest: number }

interface Generation { readonly since: number, readonly parts: Part[], readonly filter: NonceFilter, newest: number }

const GENERATIONS = 32
const RECORDS_A_BUCKET = 32
const BUCKETS_MAX = 16_384
/** Behind the buckets of a part: when its newest entry was made, how many buckets it has, and every hash. */
const SUMMARY = 0xffff

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

  /** Within a transaction: writes these nonces as a part. They are found from `settled` on. */
  write (table: NonceTable): { part: Part, hashes: readonly NonceHash[] } {
    const buckets = Math.min(BUCKETS_MAX, 2 ** Math.ceil(Math.log2(Math.max(1, table.size / RECORDS_A_BUCKET))))
    const filled: Buffer[][] = Array.from({ length: buckets }, () => [])
    const hashes: NonceHash[] = []
    let newest = 0
    for (const record of table.records()) {
      hashes.push(record.hash)
      filled[record.hash.low & buckets - 1]?.push(packRecord(record))
      newest = Math.max(newest, record.ts)
    }
    const part = { id: this.#nextPart, buckets, newest }
    for (const [bucket, rows] of filled.entries()) if (rows.length > 0) void this.#table.put(partKey(part.id, bucket), Buffer.concat(rows))
    void this.#table.put(partKey(part.id, SUMMARY), packSummary(part, hashes))
    return { part, hashes }
  }

  /** The transaction that wrote them is durable. */
  settled (written: { part: Part, hashes: readonly NonceHash[] }, now: number): void {
    this.#nextPart = written.part.id + 1
    this.#take(written.part, written.hashes, now)
  }

  /** Within a transaction: deletes the parts of which nothing counts any more, and forgets them. */
  expire (now: number): void {
    this.#generations = this.#generations.filter(({ newest, parts }) => {
      if (now - newest < this.#windowMs) return true
      for (const part of parts) this.#drop(part)
      return false
    })
  }

  #drop (part: Part): void {
    for (let bucket = 0; bucket < part.buckets; bucket++) void this.#table.remove(partKey(part.id, bucket))
    void this.#table.remove(partKey(part.id, SUMMARY))
  }

  /** Adds a part to the youngest generation, or begins one. A clock that was put back begins one too. */
  #take (part: Part, hashes: readonly NonceHash[], now: number): void {
    let last = this.#generations.at(-1)
    if (last === undefined || Math.abs(now - last.since) >= this.#windowMs / GENERATIONS) {
      last = { since: now, parts: [], filter: new NonceFilter(Math.max(hashes.length, last?.filter.count ?? 0)), newest: 0 }
      this.#generations.push(last)
    }
    last.parts.push(part)
    last.newest = Math.max(last.newest, part.newest)
    for (const hash of hashes) last.filter.add(hash)
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
    return { low: bytes.readUInt32LE(0), high: bytes.readUInt32LE(4) }
  }

  #load (): void {
    for (;;) {
      const [key] = this.#table.getKeys({ start: partKey(this.#nextPart, 0), limit: 1 })
      if (key === undefined) return
      const id = readNumber(key)
      const summary = read(this.#table, partKey(id, SUMMARY))
      this.#nextPart = id + 1
      if (summary === undefined) continue
      const { part, hashes } = unpackSummary(id, summary)
      this.#take(part, hashes, part.newest)
    }
  }
}

function partKey (id: number, bucket: number): Buffer {
  const key = Buffer.allocUnsafe(8)
  key.writeUIntBE(id, 0, 6)
  key.writeUInt16BE(bucket, 6)
  return key
}

/** number (6)  seq (6)  ts (6)  author's units (2)  units (2)  author and nonce, UTF-16LE */
function packRecord ({ number, seq, ts, author, nonce }: NonceRecord): Buffer {
  const text = author + nonce
  const row = Buffer.allocUnsafe(22 + text.length * 2)
  row.writeUIntBE(number, 0, 6)
  row.writeUIntBE(seq, 6, 6)
  row.writeUIntBE(ts, 12, 6)
  row.writeUInt16BE(author.length, 18)
  row.writeUInt16BE(text.length, 20)
  row.write(text, 22, 'utf16le')
  return row
}

function readRow (rows: Buffer, at: number): { number: number, seq: number, ts: number, authorUnits: number, end: number, text: () => string } {
  const end = at + 22 + rows.readUInt16BE(at + 20) * 2
  return {
    number: rows.readUIntBE(at, 6),
    seq: rows.readUIntBE(at + 6, 6),
    ts: rows.readUIntBE(at + 12, 6),
    authorUnits: rows.readUInt16BE(at + 18),
    end,
    text: () => rows.toString('utf16le', at + 22, end)
  }
}

function packSummary (part: Part, hashes: readonly NonceHash[]): Buffer {
  const bytes = Buffer.allocUnsafe(8 + hashes.length * 8)
  bytes.writeUIntBE(part.newest, 0, 6)
  bytes.writeUInt16BE(part.buckets, 6)
  for (const [at, { low, high }] of hashes.entries()) {
    bytes.writeUInt32LE(low, 8 + at * 8)
    bytes.writeUInt32LE(high, 12 + at * 8)
  }
  return bytes
}

function unpackSummary (id: number, value: Uint8Array): { part: Part, hashes: NonceHash[] } {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
  const hashes: NonceHash[] = []
  for (let at = 8; at < bytes.length; at += 8) hashes.push({ low: bytes.readUInt32LE(at), high: bytes.readUInt32LE(at + 4) })
  return { part: { id, newest: bytes.readUIntBE(0, 6), buckets: bytes.readUInt16BE(6) }, hashes }
}
