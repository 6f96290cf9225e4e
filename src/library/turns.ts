// Turns for what is costly: so many at once, so many that wait, and those not for long; the others are refused and told
// when to come again. So a hundred who search at the same time wait or go, and paging and inserts keep their place in the
// engine. Bounds: what the constructor says.

import type { Clock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'

export interface TurnLimits {
  readonly atOnce: number
  readonly waiting: number
  /** How long one waits for a turn. */
  readonly waitMs: number
  /** When whoever is refused should come again. */
  readonly retryMs: number
}

export class Turns {
  readonly #limits: TurnLimits
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()
  #running = 0

  constructor (limits: TurnLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  /** Takes a turn, when there is one in time; resolves with how to give it back. Rejects with AppError `overloaded`. */
  async take (): Promise<() => void> {
    if (this.#running < this.#limits.atOnce) this.#running++
    else await this.#wait()
    let isBack = false
    return () => {
      if (isBack) return
      isBack = true
      const [next] = this.#waiting
      // A turn that is passed on is still one that is taken.
      if (next === undefined) this.#running--
      else next()
    }
  }

  /** Does work in a turn. */
  async run<T> (work: () => Promise<T>): Promise<T> {
    const back = await this.take()
    try {
      return await work()
    } finally {
      back()
    }
  }

  async #wait (): Promise<void> {
    const { waiting, waitMs, retryMs } = this.#limits
    const tooMany = new AppError('overloaded', 'too many look things up in the archive at the moment', { retryAfterMs: retryMs })
    if (this.#waiting.size >= waiting) throw tooMany
    await new Promise<void>((resolve, reject) => {
      const come = (): void => {
        this.#waiting.delete(come)
        timer.cancel()
        resolve()
      }
      const timer = this.#clock.after(waitMs, () => {
        this.#waiting.delete(come)
        reject(tooMany)
      })
      this.#waiting.add(come)
    })
  }
}
