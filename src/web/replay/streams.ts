// Which streams a room had: runs of minutes in which something was said, from the archive's numbers; without the archive
// what the log has. Asks the server; must not know nodes. Bound: STREAMS_MAX, the newest ones.

import type { Asker } from '../page/asker.ts'
import type { Entry } from '../client.ts'

/** A past stream, or what was one by its chat. Unix milliseconds. */
export interface PastStream {
  readonly from: number
  readonly to: number
  /** Null: not counted. */
  readonly messages: number | null
}

export interface Activity {
  readonly from: number
  readonly stepMs: number
  /** Messages by step. */
  readonly counts: readonly number[]
}

interface Stats { readonly from: number, readonly to: number, readonly stepS: number, readonly first: number | null, readonly last: number | null, readonly points: readonly { readonly at: number, readonly messages: number }[] }

const STREAMS_MAX = 12
/** A silence of so long ends a stream. */
const SILENCE_MS = 1_800_000
const MINUTE_MS = 60_000

/** Newest first. Throws UproarError. */
export async function streamsOf (asker: Asker, room: string): Promise<readonly PastStream[]> {
  const { first, last } = await asker.ask<Stats>(`/v1/rooms/${room}/stats`, { stepS: 3600 })
  if (first === null || last === null) return []
  const { points, stepS } = await asker.ask<Stats>(`/v1/rooms/${room}/stats`, { from: first, to: last + MINUTE_MS })
  const streams = runsOf(points, stepS * 1000).slice(-STREAMS_MAX)
  return streams.map(({ from, to, messages }) => ({ from: Math.max(from, first), to: Math.min(to, last + MINUTE_MS), messages })).reverse()
}

/** What the log has, as one stream; null when it has nothing. Throws UproarError. */
export async function logged (asker: Asker, room: string): Promise<PastStream | null> {
  const [oldest, newest] = await Promise.all([{ after: 0, limit: 1 }, { limit: 1 }].map((query) => asker.ask<{ entries: Entry[] }>(`/v1/rooms/${room}/messages`, query)))
  const [from, to] = [oldest?.entries[0]?.ts, newest?.entries[0]?.ts]
  return from === undefined || to === undefined ? null : { from, to, messages: null }
}

/** How much was said when, for the bar under the picture. Throws UproarError. */
export async function activityOf (asker: Asker, room: string, { from, to }: PastStream): Promise<Activity> {
  const stats = await asker.ask<Stats>(`/v1/rooms/${room}/stats`, { from, to: Math.max(to, from + MINUTE_MS) })
  const stepMs = stats.stepS * 1000
  const counts = new Array<number>(Math.max(1, Math.round((stats.to - stats.from) / stepMs))).fill(0)
  for (const { at, messages } of stats.points) counts[Math.floor((at - stats.from) / stepMs)] = messages
  return { from: stats.from, stepMs, counts }
}

export function runsOf (points: Stats['points'], stepMs: number): { from: number, to: number, messages: number }[] {
  const runs: { from: number, to: number, messages: number }[] = []
  for (const { at, messages } of points) {
    if (messages === 0) continue
    const run = runs.at(-1)
    if (run !== undefined && at - run.to <= Math.max(SILENCE_MS, stepMs)) Object.assign(run, { to: at + stepMs, messages: run.messages + messages })
    else runs.push({ from: at, to: at + stepMs, messages })
  }
  return runs
}
