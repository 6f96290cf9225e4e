// What a room's guarded state says about moderation: sanctions, held messages, unban requests, what was removed. Owns the
// keys of it, one for each thing, so that two moderators on two instances never write over each other:
//
//   ban:<user> timeout:<user> shadow:<user> warn:<user> address:<range>  ─▶ [until, rank, by, reason, at]
//   request:<user>  ─▶ [text, at]               held:<ref>  ─▶ [user, kind, body, ext, nonce, address, reason, at]
//   removed:<seq>   ─▶ 1      purged:<user>  ─▶ upTo          cleared  ─▶ upTo
//   told:<ref>      ─▶ [user, kind, reason, at]  what a user was told that is no sanction: for every instance it is on
//   note:<user>     ─▶ [[text, by, at], …]  what moderators tell each other about a user, oldest first
//
// Viewers never see any of it. Bounds: SANCTIONS_MAX, HELD_MAX, REQUESTS_MAX, REMOVED_MAX, PURGED_MAX, TOLD_MAX, NOTED_MAX users of NOTES_MAX; what is over (ended, or
// of entries that the log has let go) makes room first, and then the action is refused.

import type { User } from '../../proto/values.ts'
import type { RoomState } from '../log/log.ts'

export const SANCTION_KINDS = ['ban', 'timeout', 'shadow', 'warn', 'address'] as const
export type SanctionKind = (typeof SANCTION_KINDS)[number]

export const SANCTIONS_MAX = 2000
export const HELD_MAX = 100
/** Of one author: nobody alone fills the queue that all must pass. */
export const HELD_PER_AUTHOR_MAX = 10
export const REQUESTS_MAX = 200
export const REMOVED_MAX = 5000
export const PURGED_MAX = 2000
export const NOTED_MAX = 500
export const NOTES_MAX = 10
export const TOLD_MAX = 50

export interface Sanction {
  readonly kind: SanctionKind
  /** User id; for `address` the address range. */
  readonly whom: string
  /** Unix milliseconds; null: until it is lifted. */
  readonly until: number | null
  /** Rank of who gave it: it does not bind that rank or those above. */
  readonly rank: number
  readonly by: string
  readonly reason: string
  /** Unix milliseconds. */
  readonly at: number
}

export interface HeldMessage {
  readonly ref: string
  readonly user: User
  readonly kind: number
  readonly body: string | Uint8Array
  readonly ext: unknown
  readonly nonce: string
  /** Range of the address that it came from. */
  readonly address: string
  /** Why it waits. */
  readonly reason: string
  readonly at: number
}

export interface UnbanRequest {
  readonly user: string
  readonly text: string
  readonly at: number
}

/** What was told to a user, beside sanctions. */
export interface Told {
  readonly ref: string
  readonly user: string
  readonly kind: string
  readonly reason: string
  readonly at: number
}

/** What a moderator noted about a user, for the others. */
export interface Note {
  readonly text: string
  readonly by: string
  readonly at: number
}

/** Guarded state, read; `guardOf` makes it. */
export class Guard {
  readonly sanctions: Readonly<Record<SanctionKind, Map<string, Sanction>>> = { ban: new Map(), timeout: new Map(), shadow: new Map(), warn: new Map(), address: new Map() }
  readonly held = new Map<string, HeldMessage>()
  readonly requests = new Map<string, UnbanRequest>()
  readonly notes = new Map<string, readonly Note[]>()
  readonly told = new Map<string, Told>()
  readonly removed = new Set<number>()
  readonly purged = new Map<string, number>()
  cleared = 0
  /** How many sanctions there are, those that ended included. */
  size = 0

  constructor (guarded: RoomState['guarded'] = {}) {
    for (const [key, value] of Object.entries(guarded)) this.#read(key, value)
  }

  /** A REMOVE entry came: what it adds to the state is known without reading that anew. Returns the guard to go on with. */
  noted (target: Readonly<Record<string, unknown>>): Guard {
    const guard = this === NOTHING ? new Guard() : this
    guard.#note(target)
    return guard
  }

  #note (target: Readonly<Record<string, unknown>>): void {
    const { seq, user, upTo } = target
    if (typeof seq === 'number') this.removed.add(seq)
    else if (typeof user === 'string') this.purged.set(user, Number(upTo))
    else if (target['all'] === true) {
      this.cleared = Number(upTo)
      this.removed.clear()
      this.purged.clear()
    }
  }

  /** The sanction of that kind on a user (or address) that is in force at `now`, or null. */
  inForce (kind: SanctionKind, whom: string, now: number): Sanction | null {
    const sanction = this.sanctions[kind].get(whom)
    return sanction === undefined || isOver(sanction, now) ? null : sanction
  }

  /** Every sanction in force on a user. */
  on (user: string, now: number): Sanction[] {
    return SANCTION_KINDS.flatMap((kind) => kind === 'address' ? [] : this.inForce(kind, user, now) ?? [])
  }

  #read (key: string, value: unknown): void {
    const at = key.indexOf(':')
    if (key === 'cleared' && typeof value === 'number') this.cleared = value
    if (at < 0) return
    const name = key.slice(0, at)
    const what = key.slice(at + 1)
    if (name === 'removed') this.removed.add(Number(what))
    else if (name === 'purged') this.purged.set(what, value as number)
    else if (name === 'held') this.held.set(what, readHeld(what, value as HeldFields))
    else if (name === 'told') {
      const [user, kind, reason, since] = value as [string, string, string, number]
      this.told.set(what, { ref: what, user, kind, reason, at: since })
    } else if (name === 'note') this.notes.set(what, (value as NoteFields[]).map(([text, by, since]) => ({ text, by, at: since })))
    else if (name === 'request') {
      const [text, since] = value as [string, number]
      this.requests.set(what, { user: what, text, at: since })
    } else if (Object.hasOwn(this.sanctions, name)) {
      const [until, rank, by, reason, since] = value as [number | null, number, string, string, number]
      this.sanctions[name as SanctionKind].set(what, { kind: name as SanctionKind, whom: what, until, rank, by, reason, at: since })
      this.size++
    }
  }
}

/** A room's guarded state, read. Rooms that nobody moderates share one: of a hundred thousand rooms most are such. */
export function guardOf (guarded: RoomState['guarded']): Guard {
  return Object.keys(guarded).length === 0 ? NOTHING : new Guard(guarded)
}

const NOTHING = new Guard()

type NoteFields = readonly [text: string, by: string, at: number]
type HeldFields = readonly [User, number, string | Uint8Array, unknown, string, string, string, number]

function readHeld (ref: string, [user, kind, body, ext, nonce, address, reason, at]: HeldFields): HeldMessage {
  return { ref, user, kind, body, ext, nonce, address, reason, at }
}

/** Whether a sanction has ended. */
export function isOver ({ until }: Sanction, now: number): boolean {
  return until !== null && until <= now
}

/** The guarded patch that puts a sanction in force. */
export function sanctionPatch ({ kind, whom, until, rank, by, reason, at }: Sanction): Record<string, unknown> {
  return { [`${kind}:${whom}`]: [until, rank, by, reason, at] }
}

/** The guarded patch that puts a message on hold. */
export function heldPatch ({ ref, user, kind, body, ext, nonce, address, reason, at }: HeldMessage): Record<string, unknown> {
  return { [`held:${ref}`]: [user, kind, body, ext, nonce, address, reason, at] satisfies HeldFields }
}

/**
 * The guarded patch that adds a note about a user. Of one user the newest NOTES_MAX stay, of all the NOTED_MAX users noted
 * last: the audit log has the others.
 */
export function notePatch (guard: Guard, user: string, { text, by, at }: Note): Record<string, unknown> {
  const notes = [...guard.notes.get(user) ?? [], { text, by, at }].slice(-NOTES_MAX)
  const others = [...guard.notes].filter(([name]) => name !== user).sort(([, a], [, b]) => (b.at(-1)?.at ?? 0) - (a.at(-1)?.at ?? 0))
  const forgotten = others.slice(NOTED_MAX - 1).map(([name]) => `note:${name}`)
  return { ...without(...forgotten), [`note:${user}`]: notes.map((note): NoteFields => [note.text, note.by, note.at]) }
}

/** The guarded patch that tells a user something, once; of all that was told the newest TOLD_MAX stay. */
export function toldPatch (guard: Guard, { ref, user, kind, reason, at }: Told): Record<string, unknown> {
  const oldest = [...guard.told.values()].sort((a, b) => b.at - a.at).slice(TOLD_MAX - 1).map((told) => `told:${told.ref}`)
  return { ...without(...oldest), [`told:${ref}`]: [user, kind, reason, at] }
}

/** The guarded patch that forgets these keys. */
export function without (...keys: readonly string[]): Record<string, null> {
  return Object.fromEntries(keys.map((key) => [key, null]))
}
