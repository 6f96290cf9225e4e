// Which rooms stand out here, for the operator: the ROOMS_SHOWN with most viewers and the ROOMS_SHOWN that most is written
// to, as two gauges written whole each time, so that a room that leaves the top leaves the numbers. Looking at 100,000
// rooms costs some milliseconds every few seconds; a message costs nothing, since a room's seq counts already.
// Names of private rooms are nobody's business (`/metrics` is open): they are one series together.

import type { Metrics } from '../base/metrics.ts'

/** Series of each gauge, those of private rooms beside it. */
export const ROOMS_SHOWN = 20
/** No room's name has brackets. */
const PRIVATE = '(private)'
const RESERVED = 'uproar:'

/** What is looked at of a room. */
export interface Ranked {
  readonly name: string
  readonly seq: number
  readonly viewers: number
  readonly settings: { readonly private: boolean }
}

export class Busiest {
  readonly #metrics: Pick<Metrics, 'replace'>
  /** Where each room stood at the last look; rooms that are gone go with it. */
  #seqs = new Map<Ranked, number>()
  #at = 0

  constructor (metrics: Pick<Metrics, 'replace'>) { this.#metrics = metrics }

  /** Looks at every room; `now` in milliseconds, never going back. */
  rank (rooms: Iterable<Ranked>, now: number): void {
    const seconds = (now - this.#at) / 1000
    const seqs = new Map<Ranked, number>()
    const viewers = new Top()
    const entries = new Top()
    for (const room of rooms) {
      if (room.name.startsWith(RESERVED)) continue
      seqs.set(room, room.seq)
      const label = room.settings.private ? PRIVATE : room.name
      viewers.offer(label, room.viewers)
      // One that came into memory meanwhile is known from the next look on.
      if (seconds > 0) entries.offer(label, (room.seq - (this.#seqs.get(room) ?? room.seq)) / seconds)
    }
    this.#seqs = seqs
    this.#at = now
    this.#metrics.replace('uproar_room_viewers', viewers.entries())
    this.#metrics.replace('uproar_room_entries_per_second', entries.entries())
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
