// Connections that have not said what they want yet, by address. The library ends them after some ten seconds, however
// slowly they go on, but tells neither whose one was that ended nor counts them; so what came within that time and has
// not spoken since counts, and an address that has too many of them gets no further one until theirs are over.
// Bound: ADDRESSES_MAX addresses a period; beyond it the one that came longest ago is forgotten.

import { BoundedMap } from '../base/bounded.ts'
import type { Clock } from '../base/clock.ts'
import { addressRange } from '../base/peers.ts'

/** Longer than the library lets a handshake take: in two periods whoever did not speak is gone. */
const PERIOD_MS = 12_000
const ADDRESSES_MAX = 100_000

export class Newcomers {
  readonly #clock: Clock
  readonly #max: number
  #present = new BoundedMap<string, number>(ADDRESSES_MAX)
  #past = new BoundedMap<string, number>(ADDRESSES_MAX)
  #since: number

  /** `max`: so many of one address may be silent at once; 0: no limit. */
  constructor (clock: Clock, max: number) {
    this.#clock = clock
    this.#max = max
    this.#since = clock.elapsed()
  }

  /** One came. False when its address has too many that say nothing: it is to be cut. */
  came (address: string): boolean {
    if (this.#max === 0) return true
    this.#turn()
    const range = addressRange(address)
    const here = this.#present.get(range) ?? 0
    if (here + (this.#past.get(range) ?? 0) >= this.#max) return false
    this.#present.set(range, here + 1)
    return true
  }

  /** One of that address has spoken. */
  spoke (address: string): void {
    if (this.#max === 0) return
    const range = addressRange(address)
    const counts = this.#present.has(range) ? this.#present : this.#past
    const left = (counts.get(range) ?? 1) - 1
    if (left > 0) counts.set(range, left)
    else counts.delete(range)
  }

  #turn (): void {
    const periods = Math.floor((this.#clock.elapsed() - this.#since) / PERIOD_MS)
    if (periods === 0) return
    this.#past = periods === 1 ? this.#present : new BoundedMap(ADDRESSES_MAX)
    this.#present = new BoundedMap(ADDRESSES_MAX)
    this.#since += periods * PERIOD_MS
  }
}
