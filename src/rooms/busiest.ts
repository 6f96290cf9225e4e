// Which rooms stand out here, for the operator: the ROOMS_SHOWN with most viewers and the ROOMS_SHOWN that most is written
// to, as two gauges written whole each time, so that a room that leaves the top leaves the numbers. A round goes over all
// rooms, AT_ONCE of them a turn; a message costs nothing, since a room's seq counts already.
// Names of private rooms are nobody's business (`/metrics` is open): they are one series together.

import type { Metrics } from '../base/metrics.ts'

/** Series of each gauge, those of private rooms beside it. */
export const ROOMS_SHOWN = 20
/** No room's name has brackets. */
const PRIVATE = '(private)'
const RESERVED = 'uproar:'

/** Rooms looked at in one go: a millisecond or two of the loop. */
const AT_ONCE = 10_000

/** What is looked at of a room. */
export interface Ranked {
  readonly name: string
  readonly seq: number
  readonly viewers: number
  readonly settings: { readonly private: boolean }
  /** Its seq at the last look; -1: it was not looked at yet. */
  rankedSeq: number
}

export class Busiest {
  readonly #metrics: Pick<Metrics, 'replace'>
  /** The round under way: which rooms are still to be looked at. */
  #left: Iterator<Ranked> | null = null
  #startedAt = 0
  /** Between the beginnings of this round and the one before, seconds. */
  #seconds = 0
  #viewers = new Top()
  #entries = new Top()

  constructor (metrics: Pick<Metrics, 'replace'>) { this.#metrics = metrics }

  /** Whether a round is not over yet. */
  get isUnderWay (): boolean { return this.#left !== null }

  /** Looks at the next rooms, and shows the numbers once it has seen all. `now` in milliseconds, never going back. */
  look (rooms: Iterable<Ranked>, now: number): void {
    this.#left ??= this.#begin(rooms, now)
    for (let count = 0; count < AT_ONCE; count++) {
      const { value, done } = this.#left.next()
      if (done === true) return this.#end()
      this.#rank(value)
    }
  }

  #begin (rooms: Iterable<Ranked>, now: number): Iterator<Ranked> {
    this.#seconds = (now - this.#startedAt) / 1000
    this.#startedAt = now
    this.#viewers = new Top()
    this.#entries = new Top()
    return rooms[Symbol.iterator]()
  }

  #rank (room: Ranked): void {
    if (room.name.startsWith(RESERVED)) return
    const label = room.settings.private ? PRIVATE : room.name
    this.#viewers.offer(label, room.viewers)
    // One that came into memory meanwhile is known from the next look on.
    if (this.#seconds > 0 && room.rankedSeq >= 0) this.#entries.offer(label, (room.seq - room.rankedSeq) / this.#seconds)
    room.rankedSeq = room.seq
  }

  #end (): void {
    this.#left = null
    this.#metrics.replace('uproar_room_viewers', this.#viewers.entries())
    this.#metrics.replace('uproar_room_entries_per_second', this.#entries.entries())
  }
}

/** The highest of many values, kept while they come by: most are turned away by one comparison. */
class Top {
  #kept: [label: string, value: number][] = []
  #least = 0
  #private = 0

  offer (label: string, value: number): void {
    if (label === PRIVATE) {
      this.#private += value
      return
    }
    if (value <= this.#least) return
    this.#kept.push([label, value])
    if (this.#kept.length >= ROOMS_SHOWN * 2) this.#cut()
  }

  entries (): [string, number][] {
    this.#cut()
    return this.#private > 0 ? [...this.#kept, [PRIVATE, this.#private]] : this.#kept
  }

  #cut (): void {
    this.#kept.sort((a, b) => b[1] - a[1])
    this.#kept.length = Math.min(this.#kept.length, ROOMS_SHOWN)
    if (this.#kept.length === ROOMS_SHOWN) this.#least = this.#kept.at(-1)?.[1] ?? 0
  }
}
