// Nonces that were accepted last, in memory until they are settled: pieces that are a hash table with open addressing (Knuth
// 6.4) each, the fields in columns, so that two hundred thousand of them are not as many objects to collect. Adding is
// what every message pays for: it touches the youngest piece only, which stays in a core's own cache. Finding goes through all
// of them, 50 for two hundred thousand nonces, some microseconds; only a nonce that a filter does not deny (nonces.ts) is
// looked for. Only ever added to; let go whole. Bound: what is not settled (writer.ts); 36 bytes a nonce beside its texts.

import type { NonceHash } from './nonce-filter.ts'

/** A nonce and what its message was answered. */
export interface NonceRecord {
  readonly hash: NonceHash
  readonly number: number
  readonly author: string
  readonly nonce: string
  readonly seq: number
  readonly ts: number
}

/** Nonces in a piece; a power of two below 65,536. */
const PLACES = 4096
const PLACE_BITS = 12
const SLOTS = PLACES * 2

export class NonceTable {
  readonly #pieces: Piece[] = []
  #size = 0

  get size (): number { return this.#size }

  add (record: NonceRecord): void {
    const place = this.#size++ & PLACES - 1
    if (place === 0) this.#pieces.push(new Piece())
    ;(this.#pieces[this.#pieces.length - 1] as Piece).add(place, record)
  }

  /** What was added last for this nonce, or null. */
  find (hash: NonceHash, number: number, author: string, nonce: string): { seq: number, ts: number } | null {
    for (let at = this.#pieces.length - 1; at >= 0; at--) {
      const piece = this.#pieces[at] as Piece
      const place = piece.find(hash, number, author, nonce)
      if (place !== -1) return { seq: piece.seqs[place] as number, ts: piece.times[place] as number }
    }
    return null
  }

  // Of the nonce that was added as the `index`-th, from 0; column by column, for whoever looks at all of them.

  low (index: number): number { return this.#piece(index).lows[index & PLACES - 1] as number }
  high (index: number): number { return this.#piece(index).highs[index & PLACES - 1] as number }
  number (index: number): number { return this.#piece(index).numbers[index & PLACES - 1] as number }
  author (index: number): string { return this.#piece(index).authors[index & PLACES - 1] as string }
  nonce (index: number): string { return this.#piece(index).nonces[index & PLACES - 1] as string }
  seq (index: number): number { return this.#piece(index).seqs[index & PLACES - 1] as number }
  ts (index: number): number { return this.#piece(index).times[index & PLACES - 1] as number }

  #piece (index: number): Piece { return this.#pieces[index >>> PLACE_BITS] as Piece }
}

class Piece {
  /** A place + 1 in each slot; 0: free. Never more than half full. */
  readonly #slots = new Uint16Array(SLOTS)
  readonly lows = new Int32Array(PLACES)
  readonly highs = new Int32Array(PLACES)
  readonly numbers = new Float64Array(PLACES)
  readonly seqs = new Float64Array(PLACES)
  readonly times = new Float64Array(PLACES)
  readonly authors: string[] = []
  readonly nonces: string[] = []

  add (place: number, { hash, number, author, nonce, seq, ts }: NonceRecord): void {
    let slot = hash.low & SLOTS - 1
    while (this.#slots[slot] !== 0) slot = slot + 1 & SLOTS - 1
    this.#slots[slot] = place + 1
    this.lows[place] = hash.low
    this.highs[place] = hash.high
    this.numbers[place] = number
    this.seqs[place] = seq
    this.times[place] = ts
    this.authors.push(author)
    this.nonces.push(nonce)
  }

  /** The last place of the nonce, or -1. */
  find (hash: NonceHash, number: number, author: string, nonce: string): number {
    let found = -1
    for (let slot = hash.low & SLOTS - 1; this.#slots[slot] !== 0; slot = slot + 1 & SLOTS - 1) {
      const at = (this.#slots[slot] as number) - 1
      if (at > found && this.lows[at] === hash.low && this.highs[at] === hash.high && this.numbers[at] === number && this.nonces[at] === nonce && this.authors[at] === author) found = at
    }
    return found
  }
}
