// The library: what was said, to be looked up. Search in a room and across rooms, one user's messages, a past stream from
// a moment on, statistics, exports. Owns who may look up what; the archive knows only what there is. The face of the module.
//
//   who asks                    in a room that they may enter       across rooms
//   anybody                     what is not removed, own shadow     their own messages
//   moderators of the room      all, with who removed it and why    the rooms that their token names them moderator of
//   admins, server keys         the same in every room              all rooms
//
// What the room knows counts before what the archive knows: a message that was removed a moment ago is gone at once, and
// nothing shows before the publication delay is over. Bounds: Turns; LOOKS_MAX reads for one page.

import { entryObject, entryOfObject, isRemoved } from '../../proto/entry.ts'
import { words, type ExportFormat, type Place, type Reads, type Said, type Search } from '../archive/reads.ts'
import { rolesIn, type Identity } from '../auth/auth.ts'
import type { Clock } from '../base/clock.ts'
import { AppError, Refusal, refusalOf } from '../base/errors.ts'
import { RANK, rankOf } from '../moderation/moderation.ts'
import type { History, Room, Rooms } from '../rooms/rooms.ts'
import { statisticsOf, spanOf, type Statistics, type StatisticsQuery } from './statistics.ts'
import { Turns } from './turns.ts'

export { WORDS_MAX, type ExportFormat, type Said } from '../archive/reads.ts'
export type { Statistics } from './statistics.ts'

export interface LibraryOptions {
  readonly reads: Reads
  readonly rooms: Pick<Rooms, 'find'>
  readonly clock: Clock
  readonly fault: (error: unknown, what: string) => void
}

/** What to look for. Times are Unix milliseconds; `before` is the `next` of the page before. */
export interface Wanted {
  readonly q?: string | undefined
  readonly author?: string | undefined
  readonly from?: number | undefined
  readonly to?: number | undefined
  readonly kind?: number | undefined
  readonly before?: string | undefined
  readonly limit: number
}

/** Messages, newest first. `next` null: there are no older ones. */
export interface Found {
  readonly messages: readonly Said[]
  readonly next: string | null
  /** Whether whoever asked is told what was removed, and what is shadow. */
  readonly isWhole: boolean
}

/** The bytes of a file. Whoever has it must close it, read or not; that also ends the query behind it. */
export interface Exported {
  readonly bytes: AsyncIterable<Uint8Array>
  close (): void
}

/** From where to watch again: `at` milliseconds behind `start`, or behind the entry `after`. */
export interface Moment {
  readonly start: number
  readonly at: number
  readonly after?: number | undefined
  /** So many entries before it, to begin with. */
  readonly lead: number
  readonly limit: number
}

const LOOKS_MAX = 10
const SEARCHES = { atOnce: 3, waiting: 20, waitMs: 3000, retryMs: 2000 } as const
/** Beside those of everybody: moderators are not kept out by viewers who search. */
const STAFF_SEARCHES = { atOnce: 2, waiting: 20, waitMs: 3000, retryMs: 2000 } as const
const EXPORTS = { atOnce: 2, waiting: 0, waitMs: 0, retryMs: 30_000 } as const
const CURSOR_CHARACTERS_MAX = 400

export class Library {
  readonly #options: LibraryOptions
  readonly #searches: Turns
  readonly #staffSearches: Turns
  readonly #exports: Turns

  constructor (options: LibraryOptions) {
    this.#options = options
    this.#searches = new Turns(SEARCHES, options.clock)
    this.#staffSearches = new Turns(STAFF_SEARCHES, options.clock)
    this.#exports = new Turns(EXPORTS, options.clock)
  }

  /** Messages of a room with all of the words. Never rejects, as all of these. */
  async search (name: string, by: Identity | null, wanted: Wanted): Promise<Found | Refusal> {
    return this.#inRoom(name, by, (room) => {
      const search = readWanted(wanted)
      return search instanceof Refusal ? search : this.#find({ ...search, rooms: [room.name], epochs: [room.epoch] }, room, by)
    })
  }

  /** The same over all rooms that whoever asks moderates; `among`: only these of them. */
  async searchAll (by: Identity | null, wanted: Wanted, among: readonly string[] | null): Promise<Found | Refusal> {
    return this.#guarded(async () => {
      const search = readWanted(wanted)
      if (search instanceof Refusal) return search
      const rooms = moderatedBy(by, among)
      return rooms instanceof Refusal ? rooms : this.#find({ ...search, rooms, epochs: await this.#epochsFor(by, rooms) }, null, by)
    })
  }

  /** What a user wrote: for moderators in their rooms, and for the user itself everywhere. */
  async writtenBy (user: string, by: Identity | null, wanted: Omit<Wanted, 'author'>, roomName: string | null): Promise<Found | Refusal> {
    if (roomName !== null) return this.search(roomName, by, { ...wanted, author: user })
    return this.#guarded(async () => {
      const search = readWanted({ ...wanted, author: user })
      if (search instanceof Refusal) return search
      const rooms = by?.id === user ? null : moderatedBy(by, null)
      return rooms instanceof Refusal ? rooms : this.#find({ ...search, rooms, epochs: await this.#epochsFor(by, rooms) }, null, by)
    })
  }

  /** A room's entries from a moment on, as its viewers may see them now; from the log, and before it from the archive. */
  async replay (name: string, by: Identity | null, moment: Moment): Promise<History & { lead: number } | Refusal> {
    return this.#inRoom(name, by, async (room) => {
      const { start, at, after, lead, limit } = moment
      const first = after === undefined ? await room.pages.seqAt(start + at) : after + 1
      const before = lead === 0 || first <= 1 ? null : await room.history({ before: first, limit: lead }, by)
      const page = await room.history({ after: first - 1, limit }, by)
      return { ...page, entries: [...before?.entries ?? [], ...page.entries], lead: before?.entries.length ?? 0 }
    })
  }

  /** A room's numbers over time; moderators are told about moderation and words as well. */
  async statistics (name: string, by: Identity | null, query: StatisticsQuery): Promise<Statistics | Refusal> {
    const { reads, clock } = this.#options
    return this.#inRoom(name, by, async (room) => {
      this.#mustBeThere()
      const extent = await reads.extent(room.name, room.epoch)
      const span = spanOf(query, { room: room.name, epoch: room.epoch }, clock.now())
      if (span instanceof Refusal) return span
      const isStaff = isModerator(by, room.name)
      return (isStaff ? this.#staffSearches : this.#searches).run(() => statisticsOf(reads, span, extent, isStaff))
    })
  }

  /** A room's messages of a time as the bytes of a file; for broadcasters and admins. */
  async exported (name: string, by: Identity | null, query: { from?: number | undefined, to?: number | undefined }, format: ExportFormat): Promise<Exported | Refusal> {
    const { reads, clock } = this.#options
    return this.#inRoom(name, by, async (room) => {
      if (by === null || rankOf(rolesIn(by, room.name)) < RANK.broadcaster) return new Refusal('forbidden', 'exports need the role broadcaster or admin in this room')
      const { from = 0, to = clock.now() + 1 } = query
      if (to <= from) return new Refusal('bad_request', 'query.to must be after query.from')
      this.#mustBeThere()
      const back = await this.#exports.take()
      const ended = new AbortController()
      const bytes = reads.exported({ room: room.name, epoch: room.epoch, from, to }, format, ended.signal)
      return { bytes, close: () => { ended.abort(); back() } }
    })
  }

  async #find (search: Search, room: Room | null, by: Identity | null): Promise<Found> {
    this.#mustBeThere()
    const isWhole = room !== null ? isModerator(by, room.name) : search.author === null || by?.id !== search.author || search.rooms !== null
    const asked: Search = { ...search, shadowOf: isWhole ? 'everybody' : by?.id ?? null, newest: room?.newestFor(by) ?? null, limit: search.limit + 1 }
    return (isWhole ? this.#staffSearches : this.#searches).run(async () => {
      for (let looks = 1, before = search.before; ; looks++) {
        const found = await this.#options.reads.search({ ...asked, before }, isWhole)
        const page = found.slice(0, search.limit)
        const messages = page.flatMap((said) => shownTo(said, room, isWhole))
        const last = page.at(-1)
        const isLast = found.length <= search.limit || last === undefined
        if (messages.length > 0 || isLast || looks === LOOKS_MAX) return { messages, next: isLast ? null : cursorOf(last), isWhole }
        before = last
      }
    })
  }

  /** Who runs a room now has no right to what was said under its name before it was deleted and made again; admins have. */
  async #epochsFor (by: Identity | null, rooms: readonly string[] | null): Promise<readonly string[] | null> {
    if (rooms === null || (by !== null && rankOf(by.roles) >= RANK.admin)) return null
    const found = await Promise.all(rooms.map((room) => this.#options.rooms.find(room, by)))
    return found.flatMap((room) => room instanceof Refusal ? [] : [room.epoch])
  }

  #mustBeThere (): void {
    const { reads } = this.#options
    if (reads.whyNot !== null) {
      throw reads.isKept ? new AppError('unavailable', 'the archive does not answer now', { retryAfterMs: 5000 }) : new AppError('unavailable', reads.whyNot, { retryAfterMs: 60_000 })
    }
  }

  async #inRoom<T> (name: string, by: Identity | null, work: (room: Room) => T | Refusal | Promise<T | Refusal>): Promise<T | Refusal> {
    return this.#guarded(async () => {
      const room = await this.#options.rooms.find(name, by)
      return room instanceof Refusal ? room : work(room)
    })
  }

  async #guarded<T> (work: () => Promise<T | Refusal>): Promise<T | Refusal> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof AppError)) this.#options.fault(error, 'the library')
      return refusalOf(error)
    }
  }
}

function isModerator (by: Identity | null, room: string): boolean {
  return by !== null && rankOf(rolesIn(by, room)) >= RANK.moderator
}

/** The rooms that somebody may look through at once: null for all of them. */
function moderatedBy (by: Identity | null, among: readonly string[] | null): readonly string[] | null | Refusal {
  if (by === null) return new Refusal('unauthorized', 'this needs a token or a server key')
  if (rankOf(by.roles) >= RANK.admin) return among
  const rooms = [...by.rooms.keys()].filter((room) => isModerator(by, room))
  const foreign = among?.find((room) => !rooms.includes(room))
  if (foreign !== undefined) return new Refusal('forbidden', `the token does not name you moderator of ${foreign}`)
  if (rooms.length === 0) return new Refusal('forbidden', 'searching across rooms is for admins, and for moderators in the rooms that their token names')
  return among ?? rooms
}

/** The message as it may be shown, or nothing. */
function shownTo (said: Said, room: Room | null, isWhole: boolean): Said[] {
  const { seq, ts, user, kind, body, ext, isShadow } = said
  const known = room?.pages.redacted(entryOfObject({ op: 'message', seq, ts, user, kind, body, ext }, isShadow)) ?? null
  const isGone = said.removed !== null || (known !== null && isRemoved(known))
  if (isGone && !isWhole) return []
  if (isGone || known === null) return [isGone && said.removed === null ? { ...said, removed: { at: null, by: null, reason: null } } : said]
  const shown = entryObject(known)
  return shown.op === 'message' ? [{ ...said, ext: shown.ext }] : []
}

function readWanted ({ q = '', author, from, to, kind, before, limit }: Wanted): Search | Refusal {
  const found = words(q)
  if (q !== '' && found.length === 0) return new Refusal('bad_request', 'query.q has no word: letters and digits are looked for')
  if (found.length === 0 && author === undefined) return new Refusal('bad_request', 'query.q or query.author must be given')
  if (from !== undefined && to !== undefined && to <= from) return new Refusal('bad_request', 'query.to must be after query.from')
  const place = before === undefined ? null : placeOf(before)
  if (place instanceof Refusal) return place
  return { rooms: null, epochs: null, words: found, author: author ?? null, from: from ?? null, to: to ?? null, kind: kind ?? null, newest: null, shadowOf: null, before: place, limit }
}

function cursorOf ({ ts, room, epoch, seq }: Place): string {
  return Buffer.from(JSON.stringify([ts, room, epoch, seq])).toString('base64url')
}

function placeOf (cursor: string): Place | Refusal {
  const fault = new Refusal('bad_request', 'query.before must be the `next` of an answer')
  if (cursor.length > CURSOR_CHARACTERS_MAX) return fault
  try {
    const [ts, room, epoch, seq] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    const isPlace = Number.isSafeInteger(ts) && (ts as number) >= 0 && typeof room === 'string' && typeof epoch === 'string' && Number.isSafeInteger(seq) && (seq as number) >= 0
    return isPlace ? { ts: ts as number, room, epoch, seq: seq as number } : fault
  } catch {
    return fault
  }
}
