// A batch's changes as a record of the journal, and back. Everything in it is absolute (a head as it is afterwards, not
// what was added), so a record may be applied twice, and to tables that already have a part of it.
//
//   next (6) │ n heads │ n states │ n removed │ n expired │ n appends │ (n rewrites)       every n: 4 bytes; the last only where there are any
//   head     room  0 │ room  1  number (6)  epoch  first (6)  seq (6)  bytes (6)  lastTs (6)
//   state    number (6)  length (4; 0xffffffff: gone)  packed state
//   span     number (6)  first (6)  seq (6)
//   append   number (6)  seq (6)  ts (6)  0 │ 1 hash (4, 4) author nonce        length (4)  entry
//   rewrite  number (6)  seq (6)  length (4)  entry
//   text     form (1: 0 a byte a unit, 1 UTF-16LE)  units (2)  bytes
//
// Numbers are big-endian. Must not know files. Bound: what a batch holds.

import { RECORD_HEAD } from './journal.ts'
import type { HeadRecord } from './layout.ts'
import type { NonceHash } from './nonce-filter.ts'

export interface Span { readonly number: number, readonly first: number, readonly seq: number }

export interface Nonce { readonly hash: NonceHash, readonly author: string, readonly nonce: string }

export interface Append {
  readonly number: number
  readonly seq: number
  readonly ts: number
  readonly bytes: Uint8Array
  readonly nonce: Nonce | null
}

/** What a commit changes. */
export interface Change {
  /** The number that the next new log gets. */
  readonly next: number
  /** Heads as they are afterwards; null: the log is gone. */
  readonly heads: ReadonlyMap<string, HeadRecord | null>
  /** Packed states as they are afterwards; null: gone. By number. */
  readonly states: ReadonlyMap<number, { readonly bytes: Uint8Array } | null>
  readonly appends: readonly Append[]
  /** Logs that were removed. */
  readonly removed: readonly Span[]
  /** Entries that retention lets go. */
  readonly expired: readonly Span[]
  /** Entries that have other bytes from here on. */
  readonly rewrites: readonly Rewrite[]
}

export interface Rewrite { readonly number: number, readonly seq: number, readonly bytes: Uint8Array }

const GONE = 0xffffffff

/** Writes records into a buffer of its own, which grows and is used again: a record is good until the next is made. */
export class RecordWriter {
  #bytes = Buffer.allocUnsafeSlow(65_536)
  #at = 0

  /** The record with RECORD_HEAD free bytes before it. */
  encode (change: Change): Buffer {
    this.#at = RECORD_HEAD
    this.#reserve(64)
    this.#number(change.next)
    this.#count(change.heads.size)
    for (const [room, head] of change.heads) this.#head(room, head)
    this.#count(change.states.size)
    for (const [number, state] of change.states) this.#state(number, state?.bytes ?? null)
    for (const spans of [change.removed, change.expired]) {
      this.#count(spans.length)
      for (const { number, first, seq } of spans) this.#numbers(number, first, seq)
    }
    this.#count(change.appends.length)
    for (const append of change.appends) this.#append(append)
    if (change.rewrites.length > 0) this.#count(change.rewrites.length)
    for (const { number, seq, bytes } of change.rewrites) {
      this.#numbers(number, seq)
      this.#blob(bytes)
    }
    return this.#bytes.subarray(0, this.#at)
  }

  #head (room: string, head: HeadRecord | null): void {
    this.#text(room)
    this.#flag(head !== null)
    if (head === null) return
    this.#numbers(head.number)
    this.#text(head.epoch)
    this.#numbers(head.first, head.seq, head.bytes, head.lastTs)
  }

  #state (number: number, bytes: Uint8Array | null): void {
    this.#numbers(number)
    if (bytes === null) this.#count(GONE)
    else this.#blob(bytes)
  }

  #append ({ number, seq, ts, bytes, nonce }: Append): void {
    this.#numbers(number, seq, ts)
    this.#flag(nonce !== null)
    if (nonce !== null) {
      this.#count(nonce.hash.low >>> 0)
      this.#count(nonce.hash.high >>> 0)
      this.#text(nonce.author)
      this.#text(nonce.nonce)
    }
    this.#blob(bytes)
  }

  #numbers (...values: number[]): void {
    this.#reserve(values.length * 6)
    for (const value of values) this.#number(value)
  }

  #number (value: number): void {
    const high = Math.floor(value / 0x1_0000_0000)
    const bytes = this.#bytes
    bytes[this.#at++] = high >>> 8
    bytes[this.#at++] = high
    bytes[this.#at++] = value >>> 24
    bytes[this.#at++] = value >>> 16
    bytes[this.#at++] = value >>> 8
    bytes[this.#at++] = value
  }

  #count (value: number): void {
    this.#reserve(4)
    this.#at = this.#bytes.writeUInt32BE(value, this.#at)
  }

  #flag (value: boolean): void {
    this.#reserve(1)
    this.#bytes[this.#at++] = value ? 1 : 0
  }

  #blob (bytes: Uint8Array): void {
    this.#count(bytes.length)
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  /** Short texts are mostly plain: written byte by byte, which is quicker than a call, and anew where one is not. */
  #text (text: string): void {
    this.#reserve(3 + text.length * 2)
    const bytes = this.#bytes
    const start = this.#at
    bytes[start] = 0
    bytes[start + 1] = text.length >>> 8
    bytes[start + 2] = text.length
    let at = start + 3
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit > 0xff) {
        bytes[start] = 1
        this.#at = start + 3 + bytes.write(text, start + 3, 'utf16le')
        return
      }
      bytes[at++] = unit
    }
    this.#at = at
  }

  #reserve (count: number): void {
    if (this.#at + count <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#at + count))
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
  }
}

/** Reads a record's payload. Throws RangeError when it is not one: its checksum was right, so that is our own mistake. */
export function decodeRecord (payload: Buffer): Change {
  const reader = new RecordReader(payload)
  const next = reader.number()
  const heads = new Map(reader.list(() => [reader.text(), reader.flag() ? reader.head() : null] as const))
  const states = new Map(reader.list(() => [reader.number(), reader.state()] as const))
  const removed = reader.list(() => reader.span())
  const expired = reader.list(() => reader.span())
  const appends = reader.list(() => reader.append())
  const rewrites = reader.isAtEnd ? [] : reader.list(() => reader.rewrite())
  return { next, heads, states, removed, expired, appends, rewrites }
}

class RecordReader {
  readonly #bytes: Buffer
  #at = 0

  constructor (bytes: Buffer) { this.#bytes = bytes }

  get isAtEnd (): boolean { return this.#at === this.#bytes.length }

  number (): number {
    this.#at += 6
    return this.#bytes.readUIntBE(this.#at - 6, 6)
  }

  flag (): boolean { return this.#bytes.readUInt8(this.#at++) === 1 }

  list<T> (read: () => T): T[] {
    const items: T[] = []
    for (let left = this.#count(); left > 0; left--) items.push(read())
    return items
  }

  text (): string {
    const isWide = this.flag()
    const units = this.#bytes.readUInt16BE(this.#at)
    const start = this.#at + 2
    this.#at = start + (isWide ? units * 2 : units)
    if (this.#at > this.#bytes.length) throw new RangeError('the record ends within a text')
    return this.#bytes.toString(isWide ? 'utf16le' : 'latin1', start, this.#at)
  }

  head (): HeadRecord {
    const number = this.number()
    const epoch = this.text()
    return { number, epoch, first: this.number(), seq: this.number(), bytes: this.number(), lastTs: this.number() }
  }

  state (): { bytes: Uint8Array } | null {
    const length = this.#count()
    return length === GONE ? null : { bytes: this.#blob(length) }
  }

  span (): Span { return { number: this.number(), first: this.number(), seq: this.number() } }

  rewrite (): Rewrite { return { number: this.number(), seq: this.number(), bytes: this.#blob(this.#count()) } }

  append (): Append {
    const number = this.number()
    const seq = this.number()
    const ts = this.number()
    const nonce = this.flag() ? { hash: { low: this.#count() | 0, high: this.#count() | 0 }, author: this.text(), nonce: this.text() } : null
    return { number, seq, ts, nonce, bytes: this.#blob(this.#count()) }
  }

  #count (): number {
    this.#at += 4
    return this.#bytes.readUInt32BE(this.#at - 4)
  }

  #blob (length: number): Uint8Array {
    if (this.#at + length > this.#bytes.length) throw new RangeError('the record ends within its bytes')
    this.#at += length
    return new Uint8Array(this.#bytes.subarray(this.#at - length, this.#at))
  }
}
