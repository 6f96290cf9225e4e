// Every word that the statistics page says, in one place. Must not know nodes.

import { count } from '../page/texts.ts'

export { count, short } from '../page/texts.ts'

const hours = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' })
const days = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })

/** A time as the step's length lets one say it: `21 Nov, 14:05`, or `21 Nov 2026` where steps are whole days (in UTC). */
export const moment = (ts: number, stepS: number): string => (stepS >= 86_400 ? days : hours).format(ts)

const stepName = (stepS: number): string => {
  if (stepS % 86_400 === 0) return stepS === 86_400 ? 'day' : `${stepS / 86_400} days`
  if (stepS % 3600 === 0) return stepS === 3600 ? 'hour' : `${stepS / 3600} hours`
  return stepS === 60 ? 'minute' : `${stepS / 60} minutes`
}

export const SPANS = [['hour', 'Last hour', 3600], ['day', 'Last 24 hours', 86_400], ['week', 'Last 7 days', 604_800], ['month', 'Last 30 days', 2_592_000], ['year', 'Last year', 31_536_000], ['all', 'All there is', null]] as const

export const TEXTS = {
  pageTitle: (room: string) => `${room} · Statistics · Uproar`,
  told: (from: number, to: number, stepS: number) => `${moment(from, stepS)} to ${moment(to, stepS)}, by ${stepName(stepS)}`,
  nothing: 'Nothing was said in this time.',
  unavailable: (why: string) => `${why} Statistics come from the archive: there are none to show.`,
  refused: (why: string) => `${why}`,
  forModerators: 'Words, emotes and moderation are shown to the room\'s moderators.',
  figures: { messages: 'messages', chatters: 'chatters', viewersMax: 'most viewers at once', busiest: (stepS: number) => `messages in the busiest ${stepName(stepS)}`, removals: 'removals', rate: 'messages a chatter' },
  charts: { messages: 'Messages and chatters', viewers: 'Viewers', moderation: 'Moderation' },
  series: { messages: 'messages', chatters: 'chatters', viewers: 'viewers', removals: 'removals', actions: 'actions' },
  lists: { words: 'Words', emotes: 'Emotes', actions: 'Actions of moderators' },
  readout: (at: number, stepS: number, values: readonly (readonly [name: string, value: number | null])[]) =>
    `${moment(at, stepS)}: ${values.map(([name, value]) => `${value === null ? 'no' : count(value)} ${name}`).join(', ')}`,
  keys: 'Arrow keys move through the time.'
} as const
