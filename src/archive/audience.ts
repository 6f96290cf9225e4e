// Viewers of rooms by minute: what the rooms watched here count over all instances, looked at several times a minute, the
// most of each minute kept. Every instance that has viewers of a room writes the same count, and of several the archive
// keeps the largest: a minute is counted once, whoever writes it and how often.
// Bounds: one number a room and minute; WAITING_MAX of them wait for an archive that is away, then the oldest go.

import type { Clock, Timer } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import type { Archive, Row } from './archive.ts'

const LOOK_MS = 10_000
const MINUTE_MS = 60_000
const WAITING_MAX = 200_000
const ROWS_AT_ONCE = 20_000

export interface AudienceOptions {
  readonly archive: Archive
  readonly clock: Clock
  readonly watched: () => Iterable<readonly [room: string, viewers: number]>
  readonly fault: (error: unknown, what: string) => void
}

export class Audience {
  readonly name = 'audience'
  readonly #options: AudienceOptions
  /** The minute that is being counted, as its number since 1970. */
  #minute = 0
  #most = new Map<string, number>()
  #waiting: Row[] = []
  #timer: Timer | null = null
  #writing: Promise<void> | null = null

  constructor (options: AudienceOptions) { this.#options = options }

  start (): void {
    const { archive, clock } = this.#options
    if (archive.verdict.state === 'none') return
    this.#timer = clock.every(LOOK_MS, () => this.#look())
  }

  /** Writes what was counted. */
  async stop (): Promise<void> {
    if (this.#timer === null) return
    this.#timer.cancel()
    this.#look()
    this.#close()
    await this.#writing
    await this.#write()
  }

  #look (): void {
    const { clock, watched } = this.#options
    const minute = Math.floor(clock.now() / MINUTE_MS)
    if (minute !== this.#minute) {
      this.#close()
      this.#minute = minute
      this.#writing ??= this.#write().finally(() => { this.#writing = null })
    }
    for (const [room, viewers] of watched()) if (viewers > (this.#most.get(room) ?? 0)) this.#most.set(room, viewers)
  }

  /** The minute is over. */
  #close (): void {
    for (const [room, viewers] of this.#most) this.#waiting.push({ room, minute: this.#minute * 60, viewers })
    this.#most.clear()
    if (this.#waiting.length > WAITING_MAX) this.#waiting = this.#waiting.slice(-WAITING_MAX)
  }

  async #write (): Promise<void> {
    const { archive, fault } = this.#options
    try {
      while (this.#waiting.length > 0 && archive.verdict.state === 'ok') {
        const rows = this.#waiting.slice(0, ROWS_AT_ONCE)
        await archive.insert('viewers', rows)
        const written = new Set(rows)
        this.#waiting = this.#waiting.filter((row) => !written.has(row))
      }
    } catch (error) {
      // They wait for the next minute.
      if (!(error instanceof AppError)) fault(error, 'viewers for the archive')
    }
  }
}
