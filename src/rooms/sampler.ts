// What a `live` view is shown of a hot room: a budget of messages a second, dealt fairly among authors. Whoever was shown
// longest ago (or never) comes first, so an author that floods gets what the others leave, not what it shouts for.
// Never left out: staff, vips, bots, announcements and system lines, and everything that is not a message. What concerns
// one viewer (own messages, replies, mentions) is added for that viewer by broadcast.ts.
// Bound: the authors remembered.

import { unpack } from '../../proto/codec.ts'
import { entryOp, isRemoved, isShadow } from '../../proto/entry.ts'
import { KIND, OUT, ROLE } from '../../proto/ops.ts'
import type { User } from '../../proto/values.ts'
import { BoundedMap } from '../base/bounded.ts'

const ALWAYS_ROLES = ROLE.vip | ROLE.moderator | ROLE.broadcaster | ROLE.admin | ROLE.bot
const ALWAYS_KINDS: ReadonlySet<number> = new Set([KIND.announcement, KIND.system, KIND.botCard])
const AUTHORS_MAX = 10_000
/** An author shown so long ago counts as never shown, milliseconds. */
const FORGET_MS = 10_000

/** What sampling must know of an entry. */
export interface Sighting {
  /** Never left out. */
  readonly isAlways: boolean
  readonly author: string
  /** Users whom it mentions. */
  readonly at: readonly string[]
  /** Seq it replies to; 0: none. */
  readonly re: number
}

const NOT_A_MESSAGE: Sighting = { isAlways: true, author: '', at: [], re: 0 }

/** Reads an entry as far as sampling needs. */
export function sight (entry: Uint8Array): Sighting {
  if (entryOp(entry) !== OUT.MESSAGE || isRemoved(entry) || isShadow(entry)) return NOT_A_MESSAGE
  const frame = unpack(entry) as unknown[]
  const [author, , roles] = frame[3] as User
  const ext = frame[6] as { at?: string[], re?: number } | null
  const isAlways = (roles & ALWAYS_ROLES) !== 0 || ALWAYS_KINDS.has(frame[4] as number)
  return { isAlways, author, at: ext?.at ?? [], re: ext?.re ?? 0 }
}

export class Sampler {
  /** When each author was last shown, the longest ago first. */
  readonly #shown = new BoundedMap<string, number>(AUTHORS_MAX)
  #tokens = 0
  #at = -Infinity

  /**
   * How many of `count` entries the budget has room for now, at `perSecond`; takes them from it. `now` in milliseconds.
   * Savings are bounded by one second.
   */
  budget (count: number, perSecond: number, now: number): number {
    this.#tokens = Math.min(perSecond, this.#tokens + Math.min(1, (now - this.#at) / 1000) * perSecond)
    this.#at = now
    const room = Math.min(count, Math.floor(this.#tokens))
    this.#tokens -= room
    return room
  }

  /** Which of the sightings are shown: all that are never left out, and so many of the others, fairly. */
  choose (sightings: readonly Sighting[], room: number, now: number): boolean[] {
    this.#shown.expire((at) => at < now - FORGET_MS)
    const chosen = sightings.map((sighting) => sighting.isAlways)
    // Of each author the newest message stands for the author; further ones come only when there is room for them.
    const turns: { index: number, turn: number, last: number }[] = []
    const seen = new Map<string, number>()
    for (let index = sightings.length - 1; index >= 0; index--) {
      const { isAlways, author } = sightings[index] as Sighting
      if (isAlways) continue
      const turn = seen.get(author) ?? 0
      seen.set(author, turn + 1)
      turns.push({ index, turn, last: this.#shown.get(author) ?? -Infinity })
    }
    turns.sort((a, b) => a.turn - b.turn || a.last - b.last || a.index - b.index)
    for (const { index } of turns.slice(0, room)) {
      chosen[index] = true
      this.#shown.set((sightings[index] as Sighting).author, now)
    }
    return chosen
  }
}
