// What a draft goes through between its shape and the log: a list that can be read from top to bottom. Every step is
// synchronous, looks at local state only, and answers null or the refusal that the author gets.

import { KIND } from '../../proto/ops.ts'
import { can, STAFF } from '../auth/auth.ts'
import { BoundedMap, TokenBucket } from '../base/bounded.ts'
import { Refusal } from '../base/errors.ts'
import { screen, type Terms } from '../moderation/screen.ts'
import type { MessageDraft } from './draft.ts'
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
      const bucket = buckets.get(id) ?? new TokenBucket(burst, elapsed)
      // Written again so that the one longest silent is the one forgotten when the map is full.
      buckets.set(id, bucket)
      const wait = bucket.spend(elapsed, perSecond, burst)
      return wait === 0 ? null : new Refusal('rate_limited', 'too many messages', wait)
    }
  }
}

/** Blocked terms, of the server and of the room. Opaque bodies are never inspected. */
export function screening (terms: Terms): Step {
  return {
    name: 'screen',
    check ({ body, kind, room, roles }) {
      if (kind === KIND.encrypted || typeof body !== 'string' || (roles & STAFF) !== 0) return null
      return screen(body, terms, room.terms) === null ? null : new Refusal('blocked', 'the message has a term that is not allowed here')
    }
  }
}

/** Slow mode: one message a user and so many seconds in a room; those who run the room are exempt. */
export function slowMode (): Step {
  // By room and user, when they last wrote, also while slow mode is off; `nonce` lets the retry of a message that is
  // still under way pass.
  const last = new BoundedMap<string, { at: number, nonce: string }>(200_000)
  const keyOf = ({ room, author }: MessageDraft): string => `${room.name} ${author.identity.id}`
  return {
    name: 'slow mode',
    check (draft) {
      const seconds = draft.room.settings.slowModeSeconds
      if ((draft.roles & STAFF) !== 0) return null
      const key = keyOf(draft)
      const before = last.get(key)
      if (before !== undefined && before.nonce === draft.nonce) return null
      const wait = before === undefined ? 0 : before.at + seconds * 1000 - draft.elapsed
      if (wait > 0) return new Refusal('slow_mode', `slow mode: one message every ${seconds} s`, wait)
      // While it is off a place in the map is good enough where it is: writing it anew for each message costs more.
      if (before === undefined || seconds > 0) {
        last.set(key, { at: draft.elapsed, nonce: draft.nonce })
      } else {
        before.at = draft.elapsed
        before.nonce = draft.nonce
      }
      return null
    },
    settled (draft, isPublished) {
      const key = keyOf(draft)
      const own = last.get(key)
      if (own?.nonce !== draft.nonce) return
      if (!isPublished) last.delete(key)
      // From here on the log answers a retry. Once it has forgotten the nonce, that is a message like any other.
      else own.nonce = ''
    }
  }
}
