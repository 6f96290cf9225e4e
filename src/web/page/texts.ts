// Every English text of the viewer page that code puts there, as one table: a translation replaces this file (and the
// labels in index.html). Owns words and number formats; must not know the page.

const whole = new Intl.NumberFormat('en')
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const clock = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
const long = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'medium' })

/** `1,204` */
export const count = (value: number): string => whole.format(value)
/** `1.2K`, for narrow places; the full number belongs in the label. */
export const short = (value: number): string => value < 10_000 ? whole.format(value) : compact.format(value)
/** `14:05` */
export const hourMinute = (ts: number): string => clock.format(ts)
/** `21 Nov 2026, 14:05:09` */
export const fullTime = (ts: number): string => long.format(ts)

const plural = (value: number, one: string, many: string): string => `${count(value)} ${value === 1 ? one : many}`

/** `8 s`, `2 min`, `3 h`: how long to wait, never rounded down. */
export function wait (ms: number): string {
  const seconds = Math.max(1, Math.ceil(ms / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.ceil(seconds / 60)} min`
  return `${Math.ceil(seconds / 3600)} h`
}

const because = (reason: string): string => reason === '' ? '' : `: ${reason}`

/** Why somebody has to wait before they write again. */
export type Wait = 'slow_mode' | 'rate_limited' | 'timed_out'
const WAITS: Record<Wait, string> = { slow_mode: 'Slow mode', rate_limited: 'You are writing too fast', timed_out: 'You have a time-out' }

export const isWait = (name: string): name is Wait => Object.hasOwn(WAITS, name)

export const TEXTS = {
  connecting: 'Connecting…',
  live: 'Live',
  fallback: 'Live (slow path)',
  fallbackWhy: 'WebSockets are blocked on this network, so the chat uses its fallback.',
  offline: 'Offline',
  lost: 'The connection was lost. What you write is sent when it is back.',
  offlineWhy: 'This device is offline. What you write is sent when it is back, within a minute.',
  closed: 'Disconnected',
  reconnecting: (ms: number) => `Reconnecting in ${wait(ms)}`,
  reconnectingNow: 'Reconnecting…',
  closedBecause: (reason: string) => `The server ended the connection: ${reason}.`,
  viewers: (value: number) => plural(value, 'viewer', 'viewers'),
  pageTitle: (room: string) => `${room} · Uproar`,

  reply: (name: string) => `Reply to ${name}`,
  mention: (name: string) => `Mention ${name}`,
  replyingTo: 'Replying to',
  quoteGone: 'an earlier message',
  inReplyTo: 'In reply to',
  edited: 'edited',
  removed: 'message removed',
  shadow: 'hidden from others',
  cleared: 'A moderator cleared the chat.',
  waiting: 'waiting for a moderator',
  acknowledge: 'I understand',
  sanction: {
    warn: (reason: string) => `A moderator warns you: ${reason}`,
    timeout: (reason: string, ms: number) => `A moderator gave you a time-out of ${wait(ms)}${because(reason)}.`,
    ban: (reason: string) => `You were banned from this room${because(reason)}.`,
    lifted: () => 'You may write here again.',
    denied: (reason: string) => `A moderator did not let your message through${because(reason)}.`
  },
  encrypted: 'encrypted message',
  attachment: 'attachment',
  newStream: 'The chat of this room began anew.',
  missed: (value: number) => `You were away: ${plural(value, 'message', 'messages')} missed`,
  setting: {
    slowOn: (seconds: number) => `Slow mode is on: one message every ${wait(seconds * 1000)}.`,
    slowOff: 'Slow mode is off.',
    locked: 'The room is locked: nobody can write.',
    unlocked: 'The room is open again.',
    modes: {
      emoteOnly: ['Only emotes may be written now.', 'Words are welcome again.'],
      membersOnly: ['Only members may write now.', 'Everybody may write again.'],
      subscribersOnly: ['Only subscribers may write now.', 'Everybody may write again.'],
      uniqueChat: ['Nobody may repeat what was just said.', 'Repeats are allowed again.'],
      preModeration: ['A moderator looks at every message first.', 'Messages appear at once again.'],
      shield: ['The moderators have raised their shield: the rules are stricter for now.', 'The shield is down again.']
    } as Record<string, readonly [on: string, off: string]>,
    title: (title: string) => `The title is now “${title}”.`
  },

  newMessages: (value: number) => value === 0 ? 'Chat paused' : plural(value, 'new message', 'new messages'),
  sampled: (shown: number, all: number) => `Showing ${count(shown)} of ${count(all)} a second`,
  noEarlier: 'This is where the chat begins.',
  earlierFailed: 'Earlier messages could not be loaded.',

  said: (name: string, text: string) => `${name}: ${text}`,
  mentionedYou: (name: string, text: string) => `${name} mentioned you: ${text}`,
  repliedToYou: (name: string, text: string) => `${name} replied to you: ${text}`,

  write: (room: string) => `Message #${room}`,
  writeLocked: 'The room is locked',
  writeBanned: 'You are banned from this room',
  send: 'Send',
  charactersLeft: (value: number) => value >= 0 ? `${plural(value, 'character', 'characters')} left` : `${plural(-value, 'character', 'characters')} too many`,
  slowWait: (ms: number) => wait(ms),
  waitLabel: (why: Wait, ms: number) => `${WAITS[why]}: you can write again in ${wait(ms)}`,
  sending: 'sending…',
  notSent: 'Not sent.',
  suggestions: (value: number) => `${plural(value, 'name', 'names')} to choose from, arrow keys to move, Enter to take one`,

  chooseName: 'Choose a name',
  signedInAs: (name: string) => `Signed in as ${name}`,
  readOnlyDev: 'Reading without a name.',
  readOnlyToken: 'Read only. To write, open this page with a token: ',
  signInFailed: 'Signing in did not work. Is the server still there?',
  tokenRefused: 'The token was refused. You can read; to write, open this page with a valid one.',
  tokenExpired: 'The token has expired. You can read; to write, open this page with a fresh one.',
  noSuchName: (wanted: string, room: string) => `“${wanted}” cannot be the name of a room (1 to 64 letters, digits, _ . : -). This is #${room}.`,
  roomRefused: (why: string) => `This room cannot be opened: ${why}`,

  theme: { auto: 'Theme: as the system', light: 'Theme: light', dark: 'Theme: dark' },
  roles: { subscriber: 'Subscriber', vip: 'VIP', moderator: 'Moderator', broadcaster: 'Broadcaster', admin: 'Admin', bot: 'Bot', verified: 'Verified' },
  kinds: { announcement: 'Announcement', system: 'Notice' },
  activity: (value: number) => value === 0 ? 'a quiet moment' : `${plural(value, 'message', 'messages')} a second`
} as const

/** Why a room cannot be entered. */
export function entryRefusal (name: string, message: string, retryAfterMs: number | null): string {
  switch (name) {
    case 'unauthorized': return 'it is private. Open this page with a token that names it.'
    case 'forbidden': return 'it is private, and you are not on its list.'
    case 'not_found': return 'there is none of that name.'
    default: return refusal(name, message, retryAfterMs)
  }
}

/** A refusal in plain words; the server's own sentence where we have none better. */
export function refusal (name: string, message: string, retryAfterMs: number | null): string {
  const after = retryAfterMs === null ? '' : ` Try again in ${wait(retryAfterMs)}.`
  switch (name) {
    case 'slow_mode': return `Slow mode is on.${after}`
    case 'rate_limited': return `You are writing too fast.${after}`
    case 'duplicate': return `You just wrote the same.${after}`
    case 'too_long': return 'That message is too long.'
    case 'blocked': return 'Your message contains something this room does not allow.'
    case 'held': return 'A moderator will look at your message first.'
    case 'banned': return 'You are banned from this room.'
    case 'timed_out': return `A moderator gave you a time-out.${after}`
    case 'members_only': return 'Only members may write here.'
    case 'emote_only': return 'Only emotes may be written here at the moment.'
    case 'room_locked': return 'The room is locked: nobody can write at the moment.'
    case 'unauthorized': return 'You are not signed in any more.'
    case 'forbidden': return 'You may not write here.'
    case 'not_joined': return 'You are not in this room yet.'
    case 'unavailable': return `The server did not answer.${after}`
    case 'overloaded': return `The chat is very busy.${after}`
    case 'internal': return 'The server failed at this.'
    case 'closed': return 'The connection is closed.'
    default: return `${message.charAt(0).toUpperCase()}${message.slice(1)}.${after}`
  }
}
