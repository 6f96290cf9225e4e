// Turns for what is costly: so many at once, so many that wait, the others are refused at once and told when to come
// again. So a hundred who search at the same time wait or go, and paging and inserts keep their place in the engine.

import { AppError } from '../base/errors.ts'

export class Turns {
  readonly #atOnce: number
  readonly #waitingMax: number
  readonly #retryMs: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor (atOnce: number, waitingMax: number, retryMs: number) {
    this.#atOnce = atOnce
    this.#waitingMax = waitingMax
    this.#retryMs = retryMs
  }

  /** Takes a turn, when there is one; resolves with how to give it back. Rejects with AppError `overloaded`. */
  async take (): Promise<() => void> {
    if (this.#running >= this.#atOnce) {
      if (this.#waiting.length >= this.#waitingMax) throw new AppError('overloaded', 'too many search the archive at the moment', { retryAfterMs: this.#retryMs })
      await new Promise<void>((resolve) => { this.#waiting.push(resolve) })
    } else this.#running++
    let isBack = false
    return () => {
      if (isBack) return
      isBack = true
      const next = this.#waiting.shift()
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
}
