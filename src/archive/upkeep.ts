// What the archive needs from time to time: top words and emotes of rooms' days made anew where the day changed, and what
// is older than it is to be kept taken out. All of it may be done twice and by several at once: a day's row is replaced by
// a newer one, and what is gone stays gone.
//
//   every minute     days of the last two that changed since their row was made (at most every REMAKE_MS each)
//   every hour       all days                        every 6 hours: retention
//
// Bounds: DAYS_AT_ONCE days a round, with rests, so that it takes a small share of one read; limits of each query.

import { setTimeout as rest } from 'node:timers/promises'
import type { Clock, Timer } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import type { Archive, Limits, Row } from './archive.ts'

export interface UpkeepOptions {
  readonly archive: Archive
  readonly clock: Clock
  /** How long entries are kept, days; 0: for ever. Rooms may say otherwise for themselves. */
  readonly days: number
  readonly fault: (error: unknown, what: string) => void
}

const ROUND_MS = 60_000
const HOUR_ROUNDS = 60
const RETENTION_ROUNDS = 360
const DAY_MS = 86_400_000
const REMAKE_MS = 600_000
const DAYS_AT_ONCE = 200
/** After a day's row, that many times what it took. */
const REST = 4
const DELETE_S = 600
const FINDING: Limits = { seconds: 30, rowsMax: 100_000 }
const MAKING: Limits = { seconds: 20, rowsMax: 1, readRowsMax: 20_000_000 }

/** Tables that age, and the column that says when. Marks go with what they mark: they are small, and stay. */
const AGING: Readonly<Record<string, string>> = { messages: 'ts', audit: 'ts', viewers: 'minute', minutes: 'minute', moderation: 'minute', highlights: 'day' }

const STALE = `
SELECT m.room AS room, toUnixTimestamp(m.day) AS day, m.n AS n FROM (
  SELECT room, toStartOfDay(minute) AS day, sum(said + gone) AS n FROM (
    SELECT room, minute, epoch, groupBitmapMerge(messages) AS said, groupBitmapMerge(removals) AS gone FROM minutes WHERE minute >= toStartOfDay(toDateTime({since:UInt32}, 'UTC')) GROUP BY room, minute, epoch
  ) GROUP BY room, day
) AS m LEFT ANY JOIN (SELECT room, toDateTime(day, 'UTC') AS day, messages, version FROM highlights FINAL) AS h ON h.room = m.room AND h.day = m.day
WHERE h.messages != m.n AND h.version < {before:UInt64} ORDER BY m.day DESC LIMIT {limit:UInt32}`

const CODE = ':[A-Za-z0-9_+-]{1,32}:'
const PICTOGRAPH = '[\\\\x{2600}-\\\\x{27BF}\\\\x{1F000}-\\\\x{1FAFF}]'

/** Most used first: in how many messages each is, what was removed or shown to its author alone left out. */
function top (list: string): string {
  return `(SELECT groupArray((item, n)) FROM (SELECT arrayJoin(arrayDistinct(${list})) AS item, count() AS n FROM said GROUP BY item ORDER BY n DESC, item LIMIT 100))`
}

const DAY = `
WITH said AS (SELECT lowerUTF8(body) AS text, body FROM chat WHERE room = {room:String} AND ts >= toDateTime64({day:UInt32}, 3, 'UTC') AND ts < toDateTime64({day:UInt32} + 86400, 3, 'UTC') AND op = 'message' AND NOT shadow AND NOT removed)
SELECT ${top(`arrayFilter(word -> lengthUTF8(word) BETWEEN 2 AND 40 AND match(word, '\\\\pL|\\\\pN'), splitByNonAlpha(replaceRegexpAll(text, '${CODE}|${PICTOGRAPH}', ' ')))`)} AS words,
  ${top(`extractAll(body, '${CODE}|${PICTOGRAPH}')`)} AS emotes`

export class Upkeep {
  readonly name = 'upkeep'
  readonly #options: UpkeepOptions
  #timer: Timer | null = null
  #rounds = 0
  #isStopped = false
  #working: Promise<void> | null = null

  constructor (options: UpkeepOptions) { this.#options = options }

  start (): void {
    const { archive, clock } = this.#options
    if (archive.verdict.state === 'none') return
    this.#timer = clock.every(ROUND_MS, () => {
      this.#working ??= this.#round().finally(() => { this.#working = null })
    })
  }

  async stop (): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    await this.#working
  }

  /** Makes the rows of days that changed since then (Unix milliseconds), and of those that have none. */
  async remake (since: number): Promise<void> {
    const { archive, clock } = this.#options
    const before = clock.now() - REMAKE_MS
    const stale = await archive.query<{ room: string, day: number, n: number }>(STALE, { since: Math.floor(Math.max(0, since) / 1000), before, limit: DAYS_AT_ONCE }, FINDING)
    let tookMs = 0
    for (const day of stale) {
      await rest(tookMs * REST, undefined, { ref: false })
      if (this.#isStopped) return
      const began = performance.now()
      await archive.insert('highlights', [await this.#highlights(day)])
      tookMs = performance.now() - began
    }
  }

  /** Takes out what is older than it is to be kept. */
  async forget (): Promise<void> {
    const { archive, days } = this.#options
    const own = await archive.query<{ room: string, days: number }>(`
      SELECT room, argMax(JSONExtractInt(entry, 'changes', 'archiveDays'), ts) AS days, argMax(JSONType(entry, 'changes', 'archiveDays'), ts) AS type
      FROM messages WHERE op = 'state' AND JSONHas(entry, 'changes', 'archiveDays') GROUP BY room HAVING type != 'Null'`, {}, FINDING)
    const rooms = own.map(({ room }) => room)
    for (const { room, days: kept } of own) if (kept > 0) await this.#forget(kept, 'room IN {rooms:Array(String)}', [room])
    if (days > 0) await this.#forget(days, 'room NOT IN {rooms:Array(String)}', rooms)
  }

  async #forget (days: number, whose: string, rooms: readonly string[]): Promise<void> {
    const { archive, clock } = this.#options
    const until = Math.floor((clock.now() - days * DAY_MS) / 1000)
    for (const [table, column] of Object.entries(AGING)) {
      if (this.#isStopped) return
      const bound = column === 'day' ? "toDate(toDateTime({until:UInt32}, 'UTC'))" : "toDateTime({until:UInt32}, 'UTC')"
      const [old] = await archive.query<{ n: number }>(`SELECT count() AS n FROM ${table} WHERE ${column} < ${bound} AND ${whose}`, { until, rooms }, FINDING)
      if ((old?.n ?? 0) > 0) await archive.command(`DELETE FROM ${table} WHERE ${column} < ${bound} AND ${whose}`, { until, rooms }, DELETE_S)
    }
  }

  async #highlights ({ room, day, n }: { readonly room: string, readonly day: number, readonly n: number }): Promise<Row> {
    const row = { room, day: new Date(day * 1000).toISOString().slice(0, 10), version: this.#options.clock.now(), messages: n }
    try {
      const [made] = await this.#options.archive.query<{ words: unknown, emotes: unknown }>(DAY, { room, day }, MAKING)
      return { ...row, words: made?.words ?? [], emotes: made?.emotes ?? [] }
    } catch (error) {
      // A day that is too large for the limits has none, and is tried again as it changes.
      if (error instanceof AppError && error.code !== 'unavailable') return { ...row, words: [], emotes: [] }
      throw error
    }
  }

  async #round (): Promise<void> {
    const { archive, clock, fault } = this.#options
    const round = this.#rounds++
    if (archive.verdict.state !== 'ok') return
    try {
      await this.remake(round % HOUR_ROUNDS === 0 ? 0 : clock.now() - 2 * DAY_MS)
      if (round % RETENTION_ROUNDS === 0) await this.forget()
    } catch (error) {
      // An archive that is away or busy is for the next round.
      if (!(error instanceof AppError)) fault(error, 'upkeep of the archive')
    }
  }
}
