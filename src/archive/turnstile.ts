// Lets so many in at once; some more wait for their turn, the others are refused at once. Bounds: `atOnce` inside,
// `waitingMax` waiting, each for `waitMs` at most.

import { AppError } from '../base/errors.ts'

interface Waiting { readonly enter: (place: number) => void, readonly refuse: (error: AppError) => void, readonly timer: NodeJS.Timeout }

const RETRY_MS = 1000

export class Turnstile {
  readonly #free: number[]
  readonly #waitingMax: number
  readonly #waitMs: number
  readonly #waiting = new Set<Waiting>()

  constructor (atOnce: number, waitingMax: number, waitMs: number) {
    this.#free = Array.from({ length: atOnce }, (_, place) => place)
    this.#waitingMax = waitingMax
    this.#waitMs = waitMs
  }

  /** Resolves with the place that is the caller's until it leaves it. Rejects with AppError `overloaded`. */
  async enter (): Promise<number> {
    const place = this.#free.pop()
    if (place !== undefined) return place
    if (this.#waiting.size >= this.#waitingMax) throw busy()
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        enter: resolve,
        refuse: reject,
        timer: setTimeout(() => {
          this.#waiting.delete(waiting)
          reject(busy())
        }, this.#waitMs)
      }
      this.#waiting.add(waiting)
    })
  }

  leave (place: number): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#free.push(place)
      return
    }
    this.#waiting.delete(next)
    clearTimeout(next.timer)
    next.enter(place)
  }

  /** Refuses all that wait. */
  close (): void {
    for (const { refuse, timer } of this.#waiting) {
      clearTimeout(timer)
      refuse(busy())
    }
    this.#waiting.clear()
  }
}

function busy (): AppError {
  return new AppError('overloaded', 'the archive has as many questions as it answers at once', { retryAfterMs: RETRY_MS })
}
