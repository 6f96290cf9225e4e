// A room's numbers over time, put together from the archive's by step. Owns the choice of steps and what is told to whom.
// Bound: POINTS_MAX steps in an answer.

import type { Count, Reads, Span } from '../archive/reads.ts'
import { Refusal } from '../base/errors.ts'

/** Times in Unix milliseconds; `stepS` in seconds, whole minutes. */
export interface StatisticsQuery {
  readonly from?: number | undefined
  readonly to?: number | undefined
  readonly stepS?: number | undefined
}

export interface StatisticsPoint {
  /** Unix milliseconds of its beginning. */
  readonly at: number
  readonly messages: number
  readonly chatters: number
  /** Most viewers at once; null: not counted. */
  readonly viewers: number | null
}

export interface Statistics {
  /** Unix milliseconds; of whole steps. */
  readonly from: number
  readonly to: number
  readonly stepS: number
  /** When the room's first and last messages in the archive were, by minute; null: there are none. */
  readonly first: number | null
  readonly last: number | null
  readonly totals: { readonly messages: number, readonly chatters: number, readonly viewersMax: number | null }
  /** Ascending; steps without anything are left out. */
  readonly points: readonly StatisticsPoint[]
  /** For moderators; null for others. */
  readonly moderation: {
    readonly removals: number
    readonly points: readonly { readonly at: number, readonly removals: number, readonly actions: number }[]
    readonly actions: readonly Count[]
  } | null
  readonly words: readonly Count[] | null
  readonly emotes: readonly Count[] | null
}

const STEPS_S = [60, 300, 900, 3600, 21_600, 86_400, 604_800] as const
/** How many steps are chosen at most; asked for may be POINTS_MAX. */
const POINTS = 240
const POINTS_MAX = 2000
const DAY_MS = 86_400_000
const SECONDS_MAX = 2 ** 32 - 1

/** The span of a query, on whole steps. */
export function spanOf (query: StatisticsQuery, place: Pick<Span, 'room' | 'epoch'>, now: number): Span | Refusal {
  const to = query.to ?? now
  const from = query.from ?? Math.max(0, to - DAY_MS)
  if (to <= from) return new Refusal('bad_request', 'query.to must be after query.from')
  const seconds = (to - from) / 1000
  const stepS = query.stepS ?? STEPS_S.find((step) => seconds / step <= POINTS) ?? 604_800
  if (stepS % 60 !== 0) return new Refusal('bad_request', 'query.stepS must be whole minutes')
  if (query.stepS !== undefined && seconds / stepS > POINTS_MAX) return new Refusal('bad_request', `query.stepS makes more than ${POINTS_MAX} steps: take a longer one`)
  const first = Math.floor(from / 1000 / stepS) * stepS
  const last = Math.ceil(to / 1000 / stepS) * stepS
  if (last > SECONDS_MAX) return new Refusal('bad_request', 'query.to is beyond what can be asked for')
  return { ...place, from: first, to: last, stepS }
}

export async function statisticsOf (reads: Reads, span: Span, extent: { first: number, last: number } | null, isModerator: boolean): Promise<Statistics> {
  const [points, total, viewers] = await Promise.all([reads.points(span), reads.total(span), reads.viewers(span)])
  const watched = new Map(viewers.map((one) => [one.at, one.viewers]))
  const times = new Set([...points.map(({ at }) => at), ...watched.keys()])
  const said = new Map(points.map((point) => [point.at, point]))
  const base = {
    from: span.from * 1000,
    to: span.to * 1000,
    stepS: span.stepS,
    first: extent === null ? null : extent.first * 1000,
    last: extent === null ? null : extent.last * 1000,
    totals: { messages: total.messages, chatters: total.chatters, viewersMax: viewers.length === 0 ? null : Math.max(...watched.values()) },
    points: [...times].sort((one, other) => one - other).map((at) => ({ at: at * 1000, messages: said.get(at)?.messages ?? 0, chatters: said.get(at)?.chatters ?? 0, viewers: watched.get(at) ?? null }))
  }
  if (!isModerator) return { ...base, moderation: null, words: null, emotes: null }
  const [actions, highlights] = await Promise.all([reads.actions(span), reads.highlights(span)])
  const acted = Map.groupBy(actions, ({ at }) => at)
  const removed = new Map(points.filter(({ removals }) => removals > 0).map(({ at, removals }) => [at, removals]))
  return {
    ...base,
    moderation: {
      removals: total.removals,
      points: [...new Set([...acted.keys(), ...removed.keys()])].sort((one, other) => one - other)
        .map((at) => ({ at: at * 1000, removals: removed.get(at) ?? 0, actions: sum(acted.get(at) ?? []) })),
      actions: [...Map.groupBy(actions, ({ action }) => action)].map(([name, rows]) => ({ name, count: sum(rows) })).sort((one, other) => other.count - one.count)
    },
    ...highlights
  }
}

function sum (rows: readonly { readonly count: number }[]): number {
  return rows.reduce((total, { count }) => total + count, 0)
}
