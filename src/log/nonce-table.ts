// Nonces that were accepted last, in memory until they are settled: hash tables with open addressing (Knuth 6.4), the
// fields in columns, so that two hundred thousand of them are a few arrays and not as many objects to collect. Adding is
// what every message pays for, and it touches the youngest table only. Finding goes through all of them, 50 for two hundred
// thousand nonces, some microseconds; only a nonce that a filter does not deny (nonces.ts) is looked for.
// Only ever added to; let go whole. Bound: what is not settled (writer.ts).

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

/** Nonces in one hash table: it stays in a processor's own cache while it is added to. */
const NONCES_A_TABLE = 4096
const SLOTS = NONCES_A_TABLE * 2

export class NonceTable {
  /** Hash tables, each of the next NONCES_A_TABLE nonces: a place in it + 1 in each slot; 0: free. Never more than half full. */
  readonly #tables: Uint16Array[] = []
  #lows: number[] = []
  #highs: number[] = []
  #numbers: number[] = []
  #authors: string[] = []
  #nonces: string[] = []
  #seqs: number[] = []
  #times: number[] = []

  get size (): number { return this.#lows.length }

  add ({ hash, number, author, nonce, seq, ts }: NonceRecord): void {
    const place = this.size % NONCES_A_TABLE
    if (place === 0) this.#tables.push(new Uint16Array(SLOTS))
    const slots = this.#tables[this.#tables.length - 1] as Uint16Array
    let slot = hash.low & SLOTS - 1
    while (slots[slot] !== 0) slot = slot + 1 & SLOTS - 1
    slots[slot] = place + 1
    this.#lows.push(hash.low)
    this.#highs.push(hash.high)
    this.#numbers.push(number)
    this.#authors.push(author)
    this.#nonces.push(nonce)
    this.#seqs.push(seq)
    this.#times.push(ts)
  }

  /** What was added last for this nonce, or null. */
  find (hash: NonceHash, number: number, author: string, nonce: string): { seq: number, ts: number } | null {
    for (let table = this.#tables.length - 1; table >= 0; table--) {
      const slots = this.#tables[table] as Uint16Array
      let found = -1
      for (let slot = hash.low & SLOTS - 1; slots[slot] !== 0; slot = slot + 1 & SLOTS - 1) {
        const at = table * NONCES_A_TABLE + (slots[slot] as number) - 1
        if (at > found && this.#lows[at] === hash.low && this.#highs[at] === hash.high && this.#numbers[at] === number && this.#nonces[at] === nonce && this.#authors[at] === author) found = at
      }
      if (found !== -1) return { seq: this.#seqs[found] as number, ts: this.#times[found] as number }
    }
    return null
  }

  // Of the nonce that was added as the `index`-th, from 0; column by column, for whoever looks at all of them.

  low (index: number): number { return this.#lows[index] as number }
  high (index: number): number { return this.#highs[index] as number }
  number (index: number): number { return this.#numbers[index] as number }
  author (index: number): string { return this.#authors[index] as string }
  nonce (index: number): string { return this.#nonces[index] as string }
  seq (index: number): number { return this.#seqs[index] as number }
  ts (index: number): number { return this.#times[index] as number }
}
