// A message on its way in: what the author sent, then what the steps made of it.

import type { User } from '../../proto/values.ts'
import { userIn, type Identity } from '../auth/auth.ts'
import { Refusal } from '../base/errors.ts'
import type { Published } from '../log/log.ts'
import type { Verdict } from '../moderation/moderation.ts'
import type { Room } from '../rooms/rooms.ts'

/** What came from a client, as it came: nothing about it is known to be right. */
export interface Submission {
  readonly nonce: unknown
  readonly kind: unknown
  readonly body: unknown
  readonly ext: unknown
}

export type WayIn = 'socket' | 'rest'

/** Who writes in a room, from where and by which way in, with what is the same for all their messages there: worth keeping for the next one. */
export class Author {
  readonly room: Room
  readonly identity: Identity
  /** '' where it says nothing about the author: a server acts for it. */
  readonly address: string
  readonly via: WayIn
  /** As entries of the room show them, with their roles there. */
  readonly user: User
  /** Of room and user, for what is remembered of both. The same string each time: a map hashes it once. */
  readonly key: string

  constructor (room: Room, identity: Identity, address: string, via: WayIn) {
    this.room = room
    this.identity = identity
    this.address = address
    this.via = via
    this.user = userIn(identity, room.name)
    this.key = `${room.name} ${identity.id}`
  }
}

/** What became of a submission: its place in the log, or why it has none; Held where it waits for a moderator. */
export type Answer = (result: Published | Refusal) => void

/** The extra fields of a message, checked; absent keys are not sent. */
export interface Ext {
  re?: number
  at?: readonly string[]
  thread?: number
  meta?: Readonly<Record<string, unknown>>
}

/** A submission whose shape is right. The steps after `shape` may rely on its types. */
export interface MessageDraft {
  readonly room: Room
  readonly author: Author
  /** Roles of the author in this room. */
  readonly roles: number
  readonly nonce: string
  readonly kind: number
  /** Cleaned text, or the opaque bytes of kind 5. */
  readonly body: string | Uint8Array
  readonly ext: Ext | null
  /** When it was read: Unix milliseconds and clock.elapsed(). */
  readonly now: number
  readonly elapsed: number
  /** Called once. */
  readonly answer: Answer
  /** What the steps have found so far: allowed, unless one of them holds it or hides it from others. */
  verdict: Verdict
  /** Its author's place in the slow mode of the room; null: none is kept. */
  place: SlowPlace | null
}

/** When somebody last wrote in a room, by clock.elapsed(), and the nonce of that message while it is under way ('': it is not). */
export interface SlowPlace { at: number, nonce: string }

/** The message waits for a moderator: no refusal that a repeat could mend, and no place in the log yet. */
export class Held extends Refusal {
  readonly ref: string
  readonly text: string

  constructor (ref: string, text: string, reason: string) {
    super('held', reason)
    this.ref = ref
    this.text = text
  }
}
