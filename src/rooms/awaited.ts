// Who waits for a room to hear of an entry. A viewer that comes from another instance may have what this one has not heard
// of yet, for the log's news reach instances some milliseconds apart, and later where one has much to do. Owns nothing but
// the waiting; each waits LAG_MS_MAX at most.

import type { Clock } from '../base/clock.ts'

const LAG_MS_MAX = 2000

export class Awaited {
  readonly #clock: Clock
  #waiting: { readonly seq: number, readonly end: () => void }[] = []

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /** Resolves when the entry was heard of, when nothing more will be, or after a time. */
  until (seq: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(LAG_MS_MAX, () => this.#end((each) => each === one))
      const one = { seq, end: () => { timer.cancel(); resolve() } }
      this.#waiting.push(one)
    })
  }

  /** All up to `seq` was heard of. */
  heard (seq: number): void {
    if (this.#waiting.length > 0) this.#end((each) => each.seq <= seq)
  }

  #end (isOver: (each: { readonly seq: number, readonly end: () => void }) => boolean): void {
    const over = this.#waiting.filter(isOver)
    this.#waiting = this.#waiting.filter((each) => !isOver(each))
    for (const { end } of over) end()
  }
}
