// Reads a whole log for what bears a user's id. Entries hold ids as UTF-8, so one search over the bytes passes over nearly
// all of them without decoding. Must not know what is looked for beyond that.
// Bounds: a page at a time, and the loop has its turn after each: the chat goes first.

import { entrySeq } from '../../proto/entry.ts'
import type { Log } from '../log/log.ts'

const PAGE = { entries: 500, bytes: 1_048_576 } as const
const YIELD_MS = 2

export interface Found {
  readonly epoch: string
  /** Entries that have the id somewhere in them, oldest first. */
  readonly entries: readonly Uint8Array[]
  /** Seq up to which was read. */
  readonly upTo: number
}

/** What of a room's log after the seq `after` has the id in it, a page each, with an end where the log ends at the call. */
export async function * scan (log: Log, room: string, user: string, after = 0): AsyncGenerator<Found> {
  const id = Buffer.from(user)
  const end = await log.head(room)
  for (let at = after; at < end.seq;) {
    const { head, entries } = await log.after(room, at, PAGE)
    const last = entries.at(-1)
    if (head.epoch !== end.epoch || last === undefined) return
    at = entrySeq(last)
    const own = entries.filter((entry) => Buffer.from(entry.buffer, entry.byteOffset, entry.length).includes(id))
    yield { epoch: head.epoch, entries: own, upTo: at }
    await new Promise((resolve) => setTimeout(resolve, YIELD_MS))
  }
}
