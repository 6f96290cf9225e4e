// Every word that the replay page says, in one place. Must not know nodes.

import { count } from '../page/texts.ts'

export { count, fullTime } from '../page/texts.ts'

const dayMinute = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit' })
const clockTime = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })

/** `21 Nov 2026, 14:05` */
export const dayTime = (ts: number): string => dayMinute.format(ts)
/** `14:05:09` */
export const timeOfDay = (ts: number): string => clockTime.format(ts)

const plural = (value: number, one: string, many: string): string => `${count(value)} ${value === 1 ? one : many}`

/** `4:05`, `1:04:05`: how far into the stream. */
export function offset (ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const two = (value: number): string => String(value).padStart(2, '0')
  const hours = Math.floor(seconds / 3600)
  const minutes = Math.floor(seconds / 60) % 60
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`
}

/** `50 min`, `2 h 10 min`, `3 days`. */
export function length (ms: number): string {
  const minutes = Math.max(1, Math.round(ms / 60_000))
  if (minutes < 120) return `${minutes} min`
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h${minutes % 60 === 0 ? '' : ` ${minutes % 60} min`}`
  return plural(Math.round(minutes / 1440), 'day', 'days')
}

export const TEXTS = {
  pageTitle: (room: string) => `${room} · Replay · Uproar`,
  play: 'Play (K)',
  pause: 'Pause (K)',
  position: (at: number, whole: number) => `${offset(at)} of ${offset(whole)}`,
  stream: (from: number, ms: number, messages: number | null) => `${dayTime(from)}, ${length(ms)}${messages === null ? '' : `, ${plural(messages, 'message', 'messages')}`}`,
  noStreams: 'Nothing was said in this room yet.',
  noArchive: (why: string) => `${why} What the room's log still has can be watched; nothing older.`,
  failed: (why: string) => `The chat could not be loaded: ${why} It is tried again.`,
  state: { loading: 'Loading…', ready: 'In step', paused: 'Paused', ended: 'The end', failed: 'Not loaded' },
  following: 'Follows the video',
  newMessages: (value: number) => value === 0 ? 'Scrolled up' : plural(value, 'new message', 'new messages'),
  badStart: 'Give a day and a time.',
  quiet: 'Nothing was said before this moment.'
} as const
