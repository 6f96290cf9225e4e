// Readiness that means delivery: an entry is published to a room of the server's own every few seconds and must come back
// the way every entry comes to viewers. A server that is up but deaf is not ready.

import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { Log } from './log.ts'

const EVERY_MS = 2000
const DEADLINE_MS = 5000
const ROOM = 'uproar:canary'

export class Canary {
  readonly name = 'canary'
  readonly #log: Log
  readonly #clock: Clock
  #timer: Timer | null = null
  #unwatch: () => void = () => {}
  #seenAt = -Infinity
  #underWay = false
  #fault = 'no entry has come back yet'

  constructor (log: Log, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  async start (): Promise<void> {
    this.#unwatch = this.#log.watch(ROOM, { entries: () => { this.#seenAt = this.#clock.elapsed() }, lost: () => {} })
    this.#timer = this.#clock.every(EVERY_MS, () => { void this.#sing() })
    await this.#sing()
  }

  stop (): void {
    this.#timer?.cancel()
    this.#unwatch()
  }

  /** Milliseconds since an entry last came back. */
  get age (): number {
    return this.#clock.elapsed() - this.#seenAt
  }

  /** `ok`, or what is wrong. */
  get verdict (): string {
    return this.age <= DEADLINE_MS ? 'ok' : this.#fault
  }

  async #sing (): Promise<void> {
    if (this.#underWay) return
    this.#underWay = true
    try {
      await this.#log.publish(ROOM, { op: OUT.STATE, tail: packTail([{}]), author: 'uproar', nonce: null })
      this.#fault = `no entry has come back for ${Math.round(this.age)} ms`
    } catch (error) {
      this.#fault = `the log refuses: ${(error as Error).message}`
    } finally {
      this.#underWay = false
    }
  }
}
