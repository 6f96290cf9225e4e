// The consumers of one feed by name, whichever feed that is: one of a name at a time, none after the end. Must not know
// how one reads. Bound: as many as the program has parts that consume.

import { AppError } from '../base/errors.ts'
import { checkName, type Consumer, type Lag } from './feed.ts'

interface Reading {
  start (): Promise<void>
  stop (): Promise<void>
  lag (): Lag
}

export class Roster<R extends Reading> {
  readonly #readings = new Map<string, R>()
  #isClosed = false

  get all (): ReadonlyMap<string, R> { return this.#readings }

  /** Starts a consumer under its name, once `ready` resolves. Throws when the name will not do or is taken, `unavailable` after the end, and what start() rejects with. */
  async open (name: string, make: () => R, ready: () => Promise<void> = async () => {}): Promise<Consumer> {
    checkName(name)
    if (this.#isClosed) throw new AppError('unavailable', 'the feed is closed')
    if (this.#readings.has(name)) throw new Error(`the consumer ${name} is there already`)
    const reading = make()
    this.#readings.set(name, reading)
    try {
      await ready()
      await reading.start()
    } catch (error) {
      this.#readings.delete(name)
      throw error
    }
    return {
      lag: () => reading.lag(),
      stop: async () => {
        await reading.stop()
        if (this.#readings.get(name) === reading) this.#readings.delete(name)
      }
    }
  }

  /** Stops all of them; false when that was done before. */
  async close (): Promise<boolean> {
    if (this.#isClosed) return false
    this.#isClosed = true
    await Promise.all([...this.#readings.values()].map((reading) => reading.stop()))
    this.#readings.clear()
    return true
  }
}
