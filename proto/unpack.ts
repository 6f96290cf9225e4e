// MessagePack to values, strictly and in one pass, for bytes of foreign origin. What is not of the protocol (extension
// types, the unused byte c1, map keys that are not strings or are `__proto__`, text that is not UTF-8) is refused, and so
// is every lie about a length: each value takes a byte at least, so a list that claims more values than there are bytes
// left is found before anything is made for it. Nesting is bounded, and with it the recursion. Nothing here keeps a
// view on the bytes: text and binary are copies. Must not know frames.

import { isUtf8 } from 'node:buffer'

/** Why bytes were refused; thrown within this module's walk and caught by whoever began it. Not an Error: it has no stack to make. */
export class Malformed {
  readonly reason: string
  constructor (reason: string) {
    this.reason = reason
  }
}

const TRUNCATED = new Malformed('truncated')
const NOT_USED = new Malformed('a type this protocol does not use')
const NOT_UTF8 = new Malformed('a string that is not UTF-8')
const BAD_KEY = new Malformed('a map key that is not a string')
const PROTO_KEY = new Malformed('the map key __proto__')

const { latin1Slice, utf8Slice } = Buffer.prototype as unknown as Record<'latin1Slice' | 'utf8Slice', (this: Uint8Array, start: number, end: number) => string>

const NOTHING = new Uint8Array(0)
/** Lists up to this long are made at once: every frame is one. */
const SHORT_LIST = 15

/** A walk over bytes: value after value. One is made and used again for every message. */
export class Unpacker {
  #bytes: Uint8Array = NOTHING
  #at = 0
  #end = 0
  #nesting = 0

  /** Begins with the bytes from `from` up to `end`; `nesting`: how deep lists and maps may lie in each other. */
  open (bytes: Uint8Array, nesting: number, from = 0, end = bytes.length): void {
    this.#bytes = bytes
    this.#at = from
    this.#end = end
    this.#nesting = nesting
  }

  /** Lets go of the bytes. */
  close (): void {
    this.#bytes = NOTHING
  }

  get isAtEnd (): boolean { return this.#at >= this.#end }
  /** The byte that the next value begins with. */
  get head (): number { return this.#bytes[this.#at] as number }

  /** The next value, `depth` levels down. Throws Malformed. */
  value (depth = 0): unknown {
    if (this.#at >= this.#end) throw TRUNCATED
    const byte = this.#bytes[this.#at++] as number
    if (byte <= 0x7f) return byte
    if (byte <= 0x8f) return this.#map(byte & 0x0f, depth)
    if (byte <= 0x9f) return this.#list(byte & 0x0f, depth)
    if (byte <= 0xbf) return this.#text(byte & 0x1f)
    if (byte >= 0xe0) return byte - 0x100
    return this.#wide(byte, depth)
  }

  #wide (byte: number, depth: number): unknown {
    switch (byte) {
      case 0xc0: return null
      case 0xc2: return false
      case 0xc3: return true
      case 0xc4: return this.#binary(this.#uint(1))
      case 0xc5: return this.#binary(this.#uint(2))
      case 0xc6: return this.#binary(this.#uint(4))
      case 0xca: return this.#float(4).getFloat32(0)
      case 0xcb: return this.#float(8).getFloat64(0)
      case 0xcc: return this.#uint(1)
      case 0xcd: return this.#uint(2)
      case 0xce: return this.#uint(4)
      case 0xcf: return this.#uint(4) * 0x1_0000_0000 + this.#uint(4)
      case 0xd0: return this.#uint(1) << 24 >> 24
      case 0xd1: return this.#uint(2) << 16 >> 16
      case 0xd2: return this.#uint(4) | 0
      case 0xd3: return (this.#uint(4) | 0) * 0x1_0000_0000 + this.#uint(4)
      case 0xd9: return this.#text(this.#uint(1))
      case 0xda: return this.#text(this.#uint(2))
      case 0xdb: return this.#text(this.#uint(4))
      case 0xdc: return this.#list(this.#uint(2), depth)
      case 0xdd: return this.#list(this.#uint(4), depth)
      case 0xde: return this.#map(this.#uint(2), depth)
      case 0xdf: return this.#map(this.#uint(4), depth)
      default: throw NOT_USED
    }
  }

  /** Passes over so many bytes and says where they begin. */
  #skip (count: number): number {
    const start = this.#at
    this.#at = start + count
    if (this.#at > this.#end) throw TRUNCATED
    return start
  }

  #uint (width: 1 | 2 | 4): number {
    let value = 0
    for (let at = this.#skip(width); at < this.#at; at++) value = value * 0x100 + (this.#bytes[at] as number)
    return value
  }

  /** Floats are rare: a message without one needs no view on its bytes. */
  #float (width: 4 | 8): DataView {
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.#skip(width), width)
  }

  #list (length: number, depth: number): unknown[] {
    this.#enter(length, depth)
    // A long one grows with what is there: its length is only what a client says.
    const list: unknown[] = length > SHORT_LIST ? [] : new Array<unknown>(length)
    for (let at = 0; at < length; at++) list[at] = this.value(depth + 1)
    return list
  }

  #map (length: number, depth: number): Record<string, unknown> {
    this.#enter(length * 2, depth)
    const map: Record<string, unknown> = {}
    for (let left = length; left > 0; left--) {
      const key = this.value(depth + 1)
      if (typeof key !== 'string') throw BAD_KEY
      // No reader agrees with another on this key (renamed, refused, or worse), so it has no place in a frame.
      if (key === '__proto__') throw PROTO_KEY
      map[key] = this.value(depth + 1)
    }
    return map
  }

  #enter (values: number, depth: number): void {
    if (values > this.#end - this.#at) throw TRUNCATED
    if (depth >= this.#nesting) throw new Malformed(`nesting beyond ${this.#nesting}`)
  }

  #text (length: number): string {
    const bytes = this.#bytes
    const start = this.#skip(length)
    for (let at = start; at < this.#at; at++) {
      if ((bytes[at] as number) <= 0x7f) continue
      if (!isUtf8(bytes.subarray(start, this.#at))) throw NOT_UTF8
      return utf8Slice.call(bytes, start, this.#at)
    }
    return latin1Slice.call(bytes, start, this.#at)
  }

  #binary (length: number): Uint8Array {
    const start = this.#skip(length)
    const copy = new Uint8Array(length)
    copy.set(this.#bytes.subarray(start, this.#at))
    return copy
  }
}
