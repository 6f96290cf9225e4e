// Nonces that were accepted last, in memory until they are settled: a hash table with open addressing (Knuth 6.4), its
// fields in columns, so that two hundred thousand of them are a few arrays and not as many objects to collect.
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

const SLOTS_MIN = 1024

export class NonceTable {
  /** Index + 1 of the nonce in each slot; 0: free. Never more than half full. */
  #slots = new Int32Array(SLOTS_MIN)
  #lows: number[] = []
  #highs: number[] = []
  #numbers: number[] = []
  #authors: string[] = []
  #nonces: string[] = []
  #seqs: number[] = []
  #times: number[] = []

  get size (): number { return this.#lows.length }

  add ({ hash, number, author, nonce, seq, ts }: NonceRecord): void {
    if (this.size * 2 >= this.#slots.length) this.#grow()
    this.#lows.push(hash.low)
    this.#highs.push(hash.high)
    this.#numbers.push(number)
    this.#authors.push(author)
    this.#nonces.push(nonce)
    this.#seqs.push(seq)
    this.#times.push(ts)
    this.#place(this.size - 1)
  }

  /** What was added last for this nonce, or null. */
  find (hash: NonceHash, number: number, author: string, nonce: string): { seq: number, ts: number } | null {
    const mask = this.#slots.length - 1
    let found = -1
    for (let slot = hash.low & mask; this.#slots[slot] !== 0; slot = slot + 1 & mask) {
      const at = (this.#slots[slot] as number) - 1
      if (at > found && this.#lows[at] === hash.low && this.#highs[at] === hash.high && this.#numbers[at] === number && this.#nonces[at] === nonce && this.#authors[at] === author) found = at
    }
    return found === -1 ? null : { seq: this.#seqs[found] as number, ts: this.#times[found] as number }
  }

  // Of the nonce that was added as the `index`-th, from 0; column by column, for whoever looks at all of them.

  low (index: number): number { return this.#lows[index] as number }
  high (index: number): number { return this.#highs[index] as number }
  number (index: number): number { return this.#numbers[index] as number }
  author (index: number): string { return this.#authors[index] as string }
  nonce (index: number): string { return this.#nonces[index] as string }
  seq (index: number): number { return this.#seqs[index] as number }
  ts (index: number): number { return this.#times[index] as number }

  #place (at: number): void {
    const mask = this.#slots.length - 1
    let slot = (this.#lows[at] as number) & mask
    while (this.#slots[slot] !== 0) slot = slot + 1 & mask
    this.#slots[slot] = at + 1
  }

  #grow (): void {
    this.#slots = new Int32Array(this.#slots.length * 2)
    for (let at = 0; at < this.size; at++) this.#place(at)
  }
}
