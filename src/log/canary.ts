// Readiness that means delivery: an entry is published to rooms of the server's own every few seconds and must come back
// the way every entry comes to viewers. A server that is up but deaf, in one part of the log even, is not ready.

import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { Log } from './log.ts'

const EVERY_MS = 2000
const DEADLINE_MS = 5000
/** The room where the log is one stream; an engine of several names a room in each. */
const ROOMS: readonly string[] = ['uproar:canary']

export class Canary {
  readonly name = 'canary'
  readonly #log: Log
  readonly #clock: Clock
  readonly #birds: readonly Bird[]
  #timer: Timer | null = null

  /** `rooms`: one in every stream of the log that can go deaf by itself. */
  constructor (log: Log, clock: Clock, rooms: readonly string[] = ROOMS) {
    this.#log = log
    this.#clock = clock
    this.#birds = rooms.map((room) => ({ room, seenAt: -Infinity, isUnderWay: false, fault: null, unwatch: () => {} }))
  }

  async start (): Promise<void> {
    for (const bird of this.#birds) this.#listen(bird)
    this.#timer = this.#clock.every(EVERY_MS, () => { for (const bird of this.#birds) void this.#sing(bird) })
    await Promise.all(this.#birds.map((bird) => this.#sing(bird)))
  }

  stop (): void {
    this.#timer?.cancel()
    for (const bird of this.#birds) bird.unwatch()
  }

  /** Milliseconds since an entry last came back, where that is longest ago. */
  get age (): number {
    return this.#clock.elapsed() - Math.min(...this.#birds.map(({ seenAt }) => seenAt))
  }

  /** `ok`, or what is wrong. */
  get verdict (): string {
    const silent = this.#birds.find(({ seenAt }) => this.#clock.elapsed() - seenAt > DEADLINE_MS)
    if (silent === undefined) return 'ok'
    if (silent.fault !== null) return silent.fault
    return silent.seenAt === -Infinity ? 'no entry has come back yet' : `no entry has come back for ${Math.round(this.#clock.elapsed() - silent.seenAt)} ms`
  }

  /** Watches the room; again when its log was lost, for a canary has no past to miss. */
  #listen (bird: Bird): void {
    bird.unwatch = this.#log.watch(bird.room, {
      entries: () => { bird.seenAt = this.#clock.elapsed() },
      lost: () => this.#listen(bird)
    })
  }

  async #sing (bird: Bird): Promise<void> {
    if (bird.isUnderWay) return
    bird.isUnderWay = true
    try {
      await this.#log.publish(bird.room, { op: OUT.STATE, tail: packTail([{}]), author: 'uproar', nonce: null })
      bird.fault = null
    } catch (error) {
      bird.fault = `the log refuses: ${(error as Error).message}`
    } finally {
      bird.isUnderWay = false
    }
  }
}

/** A canary room, when it was last heard, and why the log would not take its last entry; null: it did. */
interface Bird { readonly room: string, seenAt: number, isUnderWay: boolean, fault: string | null, unwatch: () => void }
