// The entries of a past stream, fetched a little ahead of the position and given out when their moment has come:
//
//   given out │ fetched, waiting │ … asked for next … │ not asked for
//             └ position         └ AHEAD_MS or AHEAD_ENTRIES before it runs out, one request at a time
//
// Whatever the position does (seek, speed, a video that jumps) no entry is given out twice and none is left out between
// two seeks. Bound: two runs of the server. Must not know nodes.

import type { Entry } from '../client.ts'

/** A run of entries as the server gives it. */
export interface Run {
  readonly entries: readonly Entry[]
  /** How many of them lie before the moment that was asked for. */
  readonly lead: number
  /** There are later ones. */
  readonly more: boolean
}

export type ReelState =
  | { readonly state: 'loading' | 'ready' | 'ended' }
  | { readonly state: 'failed', readonly error: unknown }

export interface ReelParts {
  /** When the stream began, Unix milliseconds. */
  readonly start: number
  /** Asks for the run at a moment, or behind an entry. */
  readonly fetch: (query: { readonly at: number, readonly lead: number } | { readonly after: number }) => Promise<Run>
  readonly changed: (state: ReelState) => void
}

const LEAD = 50
const AHEAD_ENTRIES = 60
const AHEAD_MS = 20_000
const RETRY_MS = 3000
/** At the end of what there is it is asked again so often: the stream may still be going on. */
const END_MS = 10_000

export class Reel {
  readonly #parts: ReelParts
  #waiting: Entry[] = []
  #at = 0
  /** Seq of the last entry that was fetched; null: none since the seek. */
  #last: number | null = null
  #isLoading = false
  #notBefore = 0
  #isEnded = false
  /** Which seek a request belongs to: answers to an older one are dropped. */
  #turn = 0

  constructor (parts: ReelParts) {
    this.#parts = parts
  }

  /** Goes to a moment (milliseconds from the start): what is given out next begins with some entries before it. */
  seek (at: number): void {
    this.#turn++
    this.#waiting = []
    this.#at = at
    this.#last = null
    this.#isLoading = false
    this.#isEnded = false
    this.#notBefore = 0
    this.#load()
  }

  /** Takes what is due at this moment. `speed`: how fast the moments come, for fetching ahead. */
  due (at: number, speed: number): Entry[] {
    this.#at = at
    const { start } = this.#parts
    let count = 0
    while (count < this.#waiting.length && (this.#waiting[count] as Entry).ts - start <= at) count++
    const due = this.#waiting.splice(0, count)
    const [next] = this.#waiting.slice(-1)
    const isLow = this.#waiting.length < AHEAD_ENTRIES || next === undefined || next.ts - start < at + AHEAD_MS * speed
    if (isLow && performance.now() >= this.#notBefore) this.#load()
    return due
  }

  #load (): void {
    if (this.#isLoading) return
    this.#isLoading = true
    const turn = this.#turn
    if (!this.#isEnded) this.#parts.changed({ state: this.#last === null ? 'loading' : 'ready' })
    this.#parts.fetch(this.#last === null ? { at: this.#at, lead: LEAD } : { after: this.#last }).then((run) => {
      if (turn === this.#turn) this.#take(run)
    }, (error: unknown) => {
      if (turn !== this.#turn) return
      this.#isLoading = false
      this.#notBefore = performance.now() + RETRY_MS
      this.#parts.changed({ state: 'failed', error })
    })
  }

  #take ({ entries, more }: Run): void {
    this.#isLoading = false
    this.#waiting.push(...entries)
    this.#last = entries.at(-1)?.seq ?? this.#last
    this.#isEnded = !more
    this.#notBefore = more ? 0 : performance.now() + END_MS
    this.#parts.changed({ state: this.#isEnded && this.#waiting.length === 0 ? 'ended' : 'ready' })
  }
}
