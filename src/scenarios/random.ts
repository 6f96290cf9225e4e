// Seeded chance: the same seed gives the same story. Mulberry32, 32 bits of state; not for secrets.

export class Random {
  #state: number

  constructor (seed: number) {
    this.#state = seed >>> 0
  }

  /** A whole number from 0 to 2^32-1. */
  next (): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }

  /** From 0 to below `end`. */
  below (end: number): number { return Math.floor(this.next() / 0x1_0000_0000 * end) }
  /** From `from` to `to`, both included. */
  between (from: number, to: number): number { return from + this.below(to - from + 1) }
  chance (share: number): boolean { return this.next() < share * 0x1_0000_0000 }
  pick<T> (from: readonly T[]): T { return from[this.below(from.length)] as T }

  bytes (count: number): Buffer {
    const bytes = Buffer.allocUnsafe(count)
    for (let at = 0; at < count; at++) bytes[at] = this.next() & 0xff
    return bytes
  }
}
