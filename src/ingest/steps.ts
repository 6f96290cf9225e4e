// What a draft goes through between its shape and the log: a list that can be read from top to bottom. Every step is
// synchronous, looks at local state only, and answers null or the refusal that the author gets.

import { KIND, ROLE } from '../../proto/ops.ts'
import { can, STAFF, type Identity } from '../auth/auth.ts'
import { BoundedMap, TokenBucket } from '../base/bounded.ts'
import { Refusal } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { addressRange } from '../base/peers.ts'
import { gist, isEmotesOnly, judge, rankOf, REPEAT_MS, Repeats, type Sanction, type Verdict } from '../moderation/moderation.ts'
import type { Terms } from '../moderation/screen.ts'
import type { MessageDraft, SlowPlace } from './draft.ts'
import { isCurrent } from './shape.ts'

export interface Step {
  readonly name: string
  check (draft: MessageDraft): Refusal | null
  /** Told when a draft that passed was published, or could not be. */
  settled? (draft: MessageDraft, isPublished: boolean): void
}

/** The token must still count and give the right to write here. */
export const permission: Step = {
  name: 'permission',
  check ({ author, room, now }) {
    if (!isCurrent(author.identity, now)) return new Refusal('unauthorized', 'the token has expired')
    return can(author.identity, 'send', { name: room.name, isPrivate: room.settings.private }) ? null : new Refusal('forbidden', 'the token does not allow writing here')
  }
}

/** A locked room takes messages of its staff only. */
export const lock: Step = {
  name: 'lock',
  check: ({ room, roles }) => room.settings.locked && (roles & STAFF) === 0 ? new Refusal('room_locked', 'the room is locked') : null
}

/** So many messages a user and second, over time, whichever connections they come by; in all rooms together. */
export function rate (perSecond: number, burst: number): Step {
  const buckets = new BoundedMap<string, TokenBucket>(100_000)
  return {
    name: 'rate',
    check ({ author, elapsed }) {
      if (perSecond === 0) return null
      const { id } = author.identity
      let bucket = buckets.get(id)
      if (bucket === undefined) buckets.set(id, bucket = new TokenBucket(burst, elapsed))
      // The one longest silent is the one forgotten when the map is full.
      else buckets.touch(id, bucket)
      const wait = bucket.spend(elapsed, perSecond, burst)
      return wait === 0 ? null : new Refusal('rate_limited', 'too many messages', wait)
    }
  }
}

/** Sanctions of the room: they bind whoever has a lower rank than the one who gave them, known by user or by address. */
export const sanctions: Step = {
  name: 'sanctions',
  check (draft) {
    const { room: { guard }, author, roles, now } = draft
    if (guard.size === 0) return null
    const { id } = author.identity
    const rank = rankOf(roles)
    const binding = (sanction: Sanction | null): Sanction | null => sanction !== null && sanction.rank > rank ? sanction : null
    const ban = binding(guard.inForce('ban', id, now)) ?? (author.address === '' ? null : binding(guard.inForce('address', addressRange(author.address), now)))
    if (ban !== null) return new Refusal('banned', because('you are banned here', ban))
    const timeout = binding(guard.inForce('timeout', id, now))
    if (timeout !== null) return new Refusal('timed_out', because('you are timed out here', timeout), (timeout.until as number) - now)
    const warning = binding(guard.inForce('warn', id, now))
    if (warning !== null) return new Refusal('forbidden', because('you were warned, and have to acknowledge it first', warning))
    if (binding(guard.inForce('shadow', id, now)) !== null) draft.verdict = SHADOWED
    return null
  }
}

const SHADOWED: Verdict = { judgement: 'shadow', rule: 'none', reason: '' }
const PRE_MODERATED: Verdict = { judgement: 'hold', rule: 'none', reason: 'every message waits for a moderator here' }

function because (what: string, { reason }: Sanction): string {
  return reason === '' ? what : `${what}: ${reason}`
}

const DAY_MS = 86_400_000
const SUBSCRIBERS = ROLE.subscriber | ROLE.vip

/** Modes that bind everybody but staff: who may write, and what. */
export const modes: Step = {
  name: 'modes',
  check (draft) {
    const { room: { modes, name }, author: { identity }, roles, body, kind, now } = draft
    if ((roles & STAFF) !== 0) return null
    if (modes.membersOnly && !isMember(identity, name, roles)) return new Refusal('members_only', 'only members may write here')
    if (modes.subscribersOnly && (roles & SUBSCRIBERS) === 0) return new Refusal('members_only', 'only subscribers may write here')
    if (modes.minimumAccountAgeDays > 0 && now - (identity.accountSince ?? now) < modes.minimumAccountAgeDays * DAY_MS) {
      return new Refusal('forbidden', `only accounts of at least ${modes.minimumAccountAgeDays} days may write here`)
    }
    if (modes.emoteOnly && !(typeof body === 'string' && kind !== KIND.encrypted && isEmotesOnly(body))) return new Refusal('emote_only', 'only emotes may be written here')
    if (modes.preModeration && draft.verdict.judgement === 'allow') draft.verdict = PRE_MODERATED
    return null
  }
}

/** Members: those whose token names the room, subscribers and vips. */
function isMember (identity: Identity, room: string, roles: number): boolean {
  return identity.rooms.has(room) || (roles & SUBSCRIBERS) !== 0
}

/** What the text itself says: blocked terms of the server and of the room, and what the room's level minds. Opaque bodies are never inspected. */
export function screening (terms: Terms, metrics: Pick<Metrics, 'add'>): Step {
  const repeats = new Repeats()
  const minds = ({ room: { modes } }: MessageDraft): boolean => modes.uniqueChat || modes.autoLevel > 0
  return {
    name: 'screen',
    check (draft) {
      const { body, kind, room, roles, nonce, elapsed, author } = draft
      if (kind === KIND.encrypted || typeof body !== 'string' || (roles & STAFF) !== 0) return null
      const isMinded = minds(draft)
      if (!isMinded && terms.size === 0 && room.terms.size === 0) return null
      const repeat = isMinded ? repeats.look(room.name, author.identity.id, gist(body), nonce, elapsed) : FRESH
      const verdict = judge({ text: body, mentions: draft.ext?.at?.length ?? 0, level: room.modes.autoLevel, terms: [terms, room.terms], allowedLinks: room.modes.allowedLinks, repeat })
      if (verdict.judgement !== 'allow') metrics.add('uproar_verdicts_total', 1, verdict.judgement)
      if (verdict.judgement === 'block') return new Refusal(verdict.rule === 'repeat' ? 'duplicate' : 'blocked', verdict.reason, verdict.rule === 'repeat' ? REPEAT_MS - repeat.agoMs : null)
      if (room.modes.uniqueChat && repeat.agoMs < REPEAT_MS) return new Refusal('duplicate', 'this was said here just now, and every message must be new', REPEAT_MS - repeat.agoMs)
      // A shadow stays one, whatever the text is.
      if (verdict.judgement !== 'allow' && draft.verdict.judgement !== 'shadow') draft.verdict = verdict
      return null
    },
    settled (draft, isPublished) {
      if (isPublished && minds(draft) && typeof draft.body === 'string') repeats.note(draft.room.name, draft.author.identity.id, gist(draft.body), draft.nonce, draft.elapsed)
    }
  }
}

const FRESH = { own: 0, others: 0, agoMs: Infinity }

/** Slow mode: one message a user and so many seconds in a room; those who run the room are exempt. */
export function slowMode (): Step {
  // By room and user, also while slow mode is off; the nonce lets the retry of a message that is still under way pass.
  const last = new BoundedMap<string, SlowPlace>(200_000)
  return {
    name: 'slow mode',
    check (draft) {
      const seconds = draft.room.modes.slowModeSeconds
      if ((draft.roles & STAFF) !== 0) return null
      const { key } = draft.author
      const before = last.get(key)
      if (before !== undefined && before.nonce === draft.nonce) {
        draft.place = before
        return null
      }
      const wait = before === undefined ? 0 : before.at + seconds * 1000 - draft.elapsed
      if (wait > 0) return new Refusal('slow_mode', `slow mode: one message every ${seconds} s`, wait)
      // While it is off a place in the map is good enough where it is: writing it anew for each message costs more.
      if (before === undefined || seconds > 0) {
        draft.place = { at: draft.elapsed, nonce: draft.nonce }
        last.set(key, draft.place)
      } else {
        before.at = draft.elapsed
        before.nonce = draft.nonce
        draft.place = before
      }
      return null
    },
    settled (draft, isPublished) {
      const { place } = draft
      if (place?.nonce !== draft.nonce) return
      // From here on the log answers a retry. Once it has forgotten the nonce, that is a message like any other.
      if (isPublished) place.nonce = ''
      else if (last.get(draft.author.key) === place) last.delete(draft.author.key)
    }
  }
}
