// Every word that the moderator console says, in one place. Must not know nodes.

import { count, wait } from '../page/texts.ts'

export { count, fullTime, hourMinute, short, wait } from '../page/texts.ts'

const dayMinute = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' })

/** `21 Nov, 14:05` */
export const day = (ts: number): string => dayMinute.format(ts)

const plural = (value: number, one: string, many: string): string => `${count(value)} ${value === 1 ? one : many}`

/** `10 min`, `1 day`: how long a sanction lasts, in its largest whole unit. */
export function span (seconds: number): string {
  for (const [unit, size] of [['week', 604_800], ['day', 86_400], ['hour', 3600], ['min', 60]] as const) {
    if (seconds % size === 0) return unit === 'min' ? `${seconds / size} min` : plural(seconds / size, unit, `${unit}s`)
  }
  return `${seconds} s`
}

/** `50 s`, `10 min`, `2 h`, `3 days`: what is left of a sanction, rounded up. */
export function left (ms: number): string {
  const seconds = Math.max(1, Math.ceil(ms / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds <= 6000) return `${Math.ceil(seconds / 60)} min`
  return seconds <= 129_600 ? `${Math.ceil(seconds / 3600)} h` : `${Math.ceil(seconds / 86_400)} days`
}

/** Seconds of `90`, `90 s`, `5 min`, `2 h`, `3 d`, `1 w`; null when it is none of these. A bare number is minutes. */
export function readSpan (text: string): number | null {
  const [, number, unit] = /^\s*(\d{1,7})\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)?\s*$/i.exec(text) ?? []
  if (number === undefined) return null
  const size = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }[(unit ?? 'm').charAt(0).toLowerCase()] as number
  return Number(number) * size
}

const because = (reason: string | null): string => reason === null || reason === '' ? '' : `: ${reason}`

export const TEXTS = {
  pageTitle: (rooms: readonly string[], waiting: number) => `${waiting > 0 ? `(${count(waiting)}) ` : ''}${rooms.join(', ')} · Moderate · Uproar`,
  lost: 'The connection was lost. Actions are possible again when it is back; what happened meanwhile is caught up with.',
  offlineWhy: 'This device is offline. What happened meanwhile is caught up with when it is back.',
  gateDev: 'To moderate, choose a name and the role of a moderator. This server runs without a key: for development only.',
  gateToken: 'To moderate, open this page with a moderator\'s token: ',
  tokenRefused: 'The token was refused. Open this page with a valid one: ',
  tokenExpired: 'The token has expired. Open this page with a fresh one: ',
  notHere: (room: string) => `You do not moderate #${room}: you can read it, and no more.`,
  notAnywhere: 'You moderate none of these rooms.',
  tooManyRooms: (max: number) => `Only the first ${max} rooms are shown.`,
  noSuchName: (name: string) => `“${name}” cannot be the name of a room (1 to 64 letters, digits, _ . : -).`,
  roomRefused: (room: string, why: string) => `#${room} cannot be opened: ${why}`,

  streamOf: (room: string) => `Messages of #${room}`,
  streamOfAll: 'Messages of all rooms',
  rate: (value: number) => `${value < 10 ? (Math.round(value * 10) / 10).toLocaleString('en') : count(Math.round(value))}/s`,
  rateLabel: (value: number) => `${count(Math.round(value))} messages a second`,
  viewers: (value: number) => plural(value, 'viewer', 'viewers'),
  newMessages: (value: number) => value === 0 ? 'Paused' : `Paused · ${plural(value, 'new message', 'new messages')}`,
  missed: (value: number) => `${plural(value, 'message', 'messages')} missed`,
  cleared: 'The chat was cleared.',
  newLog: 'The chat of this room began anew.',
  removedOf: (name: string) => `message of ${name} removed`,
  settingsOf: (room: string) => `Modes of #${room}`,

  remove: (name: string) => `Remove this message of ${name} (D)`,
  timeoutQuick: (name: string) => `Time-out of 10 minutes for ${name} (T)`,
  banQuick: (name: string) => `Ban ${name} (B)`,
  personOf: (name: string) => `About ${name} (Enter)`,
  pinThis: (name: string) => `Pin this message of ${name} (I)`,

  waitingUnknown: 'What waits is being read',
  waitingNotTold: 'What waits is shown to the room\'s moderators alone: this page has no token of one',
  waitingTitle: (value: number) => value === 0 ? 'Nothing waits' : plural(value, 'message waits', 'messages wait'),
  waitingFull: (value: number) => `${count(value)} wait, and no more can: whoever writes now is told to try again later.`,
  nowWaiting: (value: number) => `${plural(value, 'message waits', 'messages wait')} for you`,
  approve: 'Approve',
  deny: 'Deny',
  approveLabel: (name: string, text: string) => `Approve what ${name} wrote: ${text.slice(0, 80)}`,
  denyLabel: (name: string, text: string) => `Deny what ${name} wrote: ${text.slice(0, 80)}`,
  unbanTitle: (value: number) => value === 0 ? 'Nobody asks to be unbanned' : plural(value, 'unban request', 'unban requests'),
  allow: 'Unban',
  refuse: 'Refuse',

  left: (ms: number) => `${left(ms)} left`,
  forGood: 'until it is lifted',
  sanction: { ban: 'Banned', timeout: 'Timed out', shadow: 'Shadow banned', warn: 'Warned, not yet acknowledged', address: 'Address banned' },
  by: (who: string) => `by ${who}`,
  noSanctions: 'Nothing is in force.',
  noMessages: 'No messages of this user are kept.',
  noNotes: 'No notes yet. Only moderators see them.',
  hiddenMessage: 'only the author sees this',
  sure: (label: string) => `${label}: sure?`,
  sureShort: 'Sure?',
  pressAgain: (key: string, what: string) => `Press ${key} again to ${what}.`,
  badSpan: 'Write a time such as 90 s, 5 min, 2 h or 3 d: from 10 s to 14 days.',
  warnNeedsReason: 'A warning needs a reason: it is what the user reads.',
  personFailed: 'What is known of this user could not be loaded.',

  modeChips: {
    shield: 'Shield', locked: 'Locked', membersOnly: 'Members', subscribersOnly: 'Subscribers', emoteOnly: 'Emotes only', uniqueChat: 'Unique', preModeration: 'Pre-moderated',
    slowModeSeconds: (value: number) => `Slow ${span(value)}`, publicationDelaySeconds: (value: number) => `Delay ${value} s`, autoLevel: (value: number) => `Level ${value}`,
    minimumAccountAgeDays: (value: number) => `Accounts ≥ ${plural(value, 'day', 'days')}`
  },
  modes: {
    shield: 'shield mode', locked: 'lock', slowModeSeconds: 'slow mode', autoLevel: 'level', publicationDelaySeconds: 'publication delay', preModeration: 'pre-moderation', membersOnly: 'members only',
    subscribersOnly: 'subscribers only', emoteOnly: 'emotes only', uniqueChat: 'unique chat', minimumAccountAgeDays: 'least age of accounts', allowedLinks: 'links allowed'
  },
  levels: [
    'Blocked terms only.',
    'Also blocks long shouting and the worst floods.',
    'Also holds links, and what many write at once.',
    'Blocks links and most shouting, floods and repeats.',
    'Strictest: short shouting too, one repeat, few emotes.'
  ],
  noTerms: 'No terms of this room\'s own.',
  noLinks: 'No hosts yet. At level 2 and above links to others are held or blocked.',
  takeOut: (what: string) => `Take out ${what}`,
  pinned: (text: string) => `Pinned: ${text}`,
  noneFound: 'No rows.',
  rows: (value: number) => plural(value, 'row', 'rows'),
  findWhat: 'Give words, or the id of a user.',
  found: (value: number) => plural(value, 'message', 'messages'),
  nothingFound: 'Nothing was said like that.',
  notFound: (why: string) => `${why.charAt(0).toUpperCase()}${why.slice(1)}.`,
  removedBy: (who: string) => `removed by ${who}`,

  done: {
    remove: (name: string) => `Removed a message of ${name}.`,
    purge: (name: string) => `Removed everything that ${name} said.`,
    timeout: (name: string, seconds: number) => `${name} has a time-out of ${span(seconds)}.`,
    ban: (name: string) => `${name} is banned.`,
    shadowBan: (name: string) => `${name} is shadow banned: nobody else sees what they write.`,
    banAddress: (name: string) => `The address of ${name} is banned.`,
    warn: (name: string) => `${name} is warned.`,
    unban: (name: string) => `Everything is lifted from ${name}.`,
    approve: (name: string) => `Approved a message of ${name}.`,
    deny: (name: string) => `Denied a message of ${name}.`,
    denyUnban: (name: string) => `${name} stays banned.`,
    note: (name: string) => `Noted about ${name}.`,
    pin: () => 'The message is pinned.',
    unpin: () => 'Nothing is pinned any more.',
    announce: () => 'Announced.',
    clear: (room: string) => `The chat of #${room} is cleared.`
  },
  undo: 'Undo',
  dismiss: 'Dismiss',

  action: {
    remove: 'removed a message of', purge: 'removed everything of', clear: 'cleared the chat', warn: 'warned', timeout: 'timed out', ban: 'banned', shadowBan: 'shadow banned', banAddress: 'banned the address of',
    unban: 'lifted everything from', approve: 'approved a message of', deny: 'denied a message of', approveUnban: 'unbanned, as asked,', denyUnban: 'refused to unban', set: 'set', pin: 'pinned a message of',
    unpin: 'unpinned', announce: 'announced', blockTerm: 'blocked the term', unblockTerm: 'took out the term', note: 'noted about', acknowledge: 'acknowledged a warning', requestUnban: 'asked to be unbanned', hold: 'held a message of', configure: 'set', delete: 'deleted the room'
  },
  aRule: 'a rule',
  failed: (why: string) => `not carried out: ${why}`,
  because
} as const

/** Why an action or a question was refused, as a plain sentence with the wait. */
export function refusal (name: string, message: string, retryAfterMs: number | null): string {
  const after = retryAfterMs === null || retryAfterMs === 0 ? '' : ` Try again in ${wait(retryAfterMs)}.`
  switch (name) {
    case 'unauthorized': return 'Your token does not count any more. Open this page with a fresh one.'
    case 'forbidden': return forbidden(message)
    case 'rate_limited': return `You are too fast for the server.${after}`
    case 'unavailable': return `The server did not answer.${after}`
    case 'unsupported': return 'This server does not do that.'
    case 'internal': return 'The server failed at this. It is in its log.'
    case 'closed': return 'The connection is closed.'
    default: return `${message.charAt(0).toUpperCase()}${message.slice(1).replace(/\.?$/, '.')}${after}`
  }
}

function forbidden (message: string): string {
  if (/same or a higher role/.test(message)) return 'You cannot do that to somebody of the same or a higher role.'
  if (/of a higher role/.test(message)) return 'Somebody of a higher role has decided this.'
  if (/needs the role broadcaster/.test(message)) return 'That is for broadcasters and admins.'
  if (/needs the role/.test(message)) return 'You do not moderate this room.'
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`
}
