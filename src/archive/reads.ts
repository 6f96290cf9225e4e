// What is read of the archive: runs of a room's entries for paging, messages by word and author, statistics, exports.
// Typed answers to questions that the caller may ask; who may ask what is decided by whoever calls (library/).
//
// Seqs are dense, so a run before or after a seq is a bounded range of the table's order and costs the same however long
// the room is; only across what retention took away does it look further. Words are looked up in the table's text index.
// Bounds: every query has seconds, rows and memory.

import type { Archive, ExportFormat, Limits, Params } from './archive.ts'
import { removalsOf } from './marks.ts'
import { bytesOf, ENTRY_COLUMNS, saidOf, type EntryRow, type Said } from './said.ts'

export type { Removed, Said } from './said.ts'
export type { ExportFormat } from './archive.ts'

/** Where a search stands: everything found so far lies behind it. */
export interface Place {
  readonly ts: number
  readonly room: string
  readonly epoch: string
  readonly seq: number
}

export interface Search {
  /** Names of rooms; null: all. */
  readonly rooms: readonly string[] | null
  /** Only of these epochs, which no two rooms share; null: of any. */
  readonly epochs: readonly string[] | null
  /** Words that a message must have, all of them, as words() gives them. */
  readonly words: readonly string[]
  readonly author: string | null
  /** Unix milliseconds, from (included) and to (not included). */
  readonly from: number | null
  readonly to: number | null
  readonly kind: number | null
  /** Seq of the newest message that may be found. */
  readonly newest: number | null
  /** Whose shadow messages may be found; null: nobody's. */
  readonly shadowOf: string | null | 'everybody'
  /** Only what is older than this. */
  readonly before: Place | null
  readonly limit: number
}

/** Whose numbers, from when to when (Unix seconds, `to` not included), in steps of so many seconds. */
export interface Span {
  readonly room: string
  readonly epoch: string
  readonly from: number
  readonly to: number
  readonly stepS: number
}

/** A step's numbers. Steps without anything are not there. */
export interface Point {
  /** Unix seconds of its beginning. */
  readonly at: number
  readonly messages: number
  readonly chatters: number
  readonly removals: number
}

export interface Count { readonly name: string, readonly count: number }

/** Words of a text as the index has them: runs of letters and digits, whatever their alphabet; at most WORDS_MAX. */
export function words (text: string): readonly string[] {
  return [...new Set(text.split(/[\u0000-/:-@[-`{-\u007f]+/).filter((word) => word !== ''))].slice(0, WORDS_MAX)
}

export const WORDS_MAX = 16

const PAGE: Limits = { seconds: 5, rowsMax: 2000 }
const SEARCH: Limits = { seconds: 10, rowsMax: 1000, readRowsMax: 200_000_000, memoryMb: 512 }
const NUMBERS: Limits = { seconds: 10, rowsMax: 5000, memoryMb: 512 }
const EXPORT: Limits = { seconds: 900, rowsMax: Number.MAX_SAFE_INTEGER, readRowsMax: 2_000_000_000, memoryMb: 1024 }
const HIGHLIGHTS = 30

export class Reads {
  readonly #archive: Archive

  constructor (archive: Archive) {
    this.#archive = archive
  }

  /** Whether there is an archive, be it away at the moment. */
  get isKept (): boolean { return this.#archive.verdict.state !== 'none' }

  /** Why nothing can be read, or null. */
  get whyNot (): string | null {
    const { verdict } = this.#archive
    return verdict.state === 'ok' ? null : verdict.reason
  }

  /** The newest entries with seq < `seq`, oldest first; removed ones stand as such. */
  async before (room: string, epoch: string, seq: number, limit: number): Promise<readonly Uint8Array[]> {
    let rows = await this.#range(room, epoch, Math.max(1, seq - limit), seq - 1)
    if (rows.length < limit) {
      // What retention took away leaves a hole: what lies beyond it is looked for.
      const below = rows[0]?.seq ?? Math.max(1, seq - limit)
      const newest = await this.#edge('max', room, epoch, 1, below - 1)
      if (newest !== null) rows = [...await this.#range(room, epoch, Math.max(1, newest - (limit - rows.length) + 1), newest), ...rows]
    }
    return this.#entries(rows)
  }

  /** The oldest entries with `seq` < seq < `below`, oldest first; removed ones stand as such. */
  async after (room: string, epoch: string, seq: number, below: number, limit: number): Promise<readonly Uint8Array[]> {
    const rows = await this.#range(room, epoch, seq + 1, Math.min(seq + limit, below - 1))
    if (rows.length > 0) return this.#entries(rows)
    const oldest = await this.#edge('min', room, epoch, seq + 1, below - 1)
    return oldest === null ? [] : this.#entries(await this.#range(room, epoch, oldest, Math.min(oldest + limit - 1, below - 1)))
  }

  /** Seq of the first entry at or after this time; null: there is none. */
  async seqAt (room: string, epoch: string, ts: number): Promise<number | null> {
    const [row] = await this.#archive.query<{ seq: number }>(`
      SELECT seq FROM messages WHERE room = {room:String} AND epoch = {epoch:String} AND ts >= fromUnixTimestamp64Milli({ts:Int64}) ORDER BY seq LIMIT 1`, { room, epoch, ts }, PAGE)
    return row?.seq ?? null
  }

  /** Messages, newest first. Those that are gone are among them and say so; `withWhy`: with the reason. */
  async search (query: Search, withWhy: boolean): Promise<readonly Said[]> {
    const rows = await this.#rowsAt(await this.#places({ ...query, words: await this.#lowered(query.words) }))
    const removals = await removalsOf(this.#archive, rows, withWhy)
    return rows.map((row, at) => saidOf(row, removals[at] ?? null))
  }

  /** Messages, chatters and removals by step. */
  points (span: Span): Promise<Point[]> {
    return this.#archive.query<Counted & { at: number }>(`
      SELECT ${STEP} AS at, ${COUNTED} FROM minutes WHERE ${WITHIN} AND epoch = {epoch:String} GROUP BY at ORDER BY at`, { ...span }, NUMBERS)
      .then((rows) => rows.map((row) => ({ at: row.at, ...countsOf(row) })))
  }

  /** The same over the whole span. */
  async total (span: Span): Promise<Omit<Point, 'at'>> {
    const [row] = await this.#archive.query<Counted>(`SELECT ${COUNTED} FROM minutes WHERE ${WITHIN} AND epoch = {epoch:String}`, { ...span }, NUMBERS)
    return countsOf(row ?? { said: 0, who: 0, gone: 0 })
  }

  /** Most viewers of each step that has any. */
  viewers (span: Span): Promise<{ at: number, viewers: number }[]> {
    return this.#archive.query(`SELECT ${STEP} AS at, max(viewers) AS most FROM viewers WHERE ${WITHIN} GROUP BY at ORDER BY at`, { ...span }, NUMBERS)
      .then((rows) => rows.map(({ at, most }) => ({ at: at as number, viewers: most as number })))
  }

  /** Actions of moderation by step and name. */
  actions (span: Span): Promise<{ at: number, action: string, count: number }[]> {
    return this.#archive.query(`
      SELECT at, action, sum(merged) AS count FROM (
        SELECT ${STEP} AS at, action, epoch, groupBitmapMerge(actions) AS merged FROM moderation WHERE ${WITHIN} GROUP BY at, action, epoch
      ) GROUP BY at, action ORDER BY at, action`, { ...span }, NUMBERS)
  }

  /** Most used words and emotes of the days that the span touches, most used first. */
  async highlights (span: Span): Promise<{ words: Count[], emotes: Count[] }> {
    const of = (column: 'words' | 'emotes'): Promise<Count[]> => this.#archive.query<Count>(`
      SELECT tupleElement(one, 1) AS name, sum(tupleElement(one, 2)) AS count FROM (
        SELECT arrayJoin(${column}) AS one FROM highlights FINAL
        WHERE room = {room:String} AND day >= toDate(toDateTime({from:UInt32}, 'UTC')) AND day <= toDate(toDateTime({to:UInt32} - 1, 'UTC'))
      ) GROUP BY name ORDER BY count DESC, name LIMIT ${HIGHLIGHTS}`, { ...span }, NUMBERS)
    const [words, emotes] = await Promise.all([of('words'), of('emotes')])
    return { words, emotes }
  }

  /** When the room's first and last minutes with messages were (Unix seconds); null: there are none. */
  async extent (room: string, epoch: string): Promise<{ first: number, last: number } | null> {
    const [row] = await this.#archive.query<{ first: number, last: number, count: number }>(`
      SELECT toUnixTimestamp(min(minute)) AS first, toUnixTimestamp(max(minute)) AS last, count() AS count
      FROM minutes WHERE room = {room:String} AND epoch = {epoch:String}`, { room, epoch }, NUMBERS)
    return row === undefined || Number(row.count) === 0 ? null : { first: row.first, last: row.last }
  }

  /** A room's messages of that time as a file's bytes, oldest first, those that are gone or were shadow marked as such. */
  exported (query: { room: string, epoch: string, from: number, to: number }, format: ExportFormat, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#archive.stream(EXPORT_SQL, query, EXPORT, format, signal)
  }

  #range (room: string, epoch: string, first: number, last: number): Promise<EntryRow[]> {
    if (last < first) return Promise.resolve([])
    return this.#archive.query<EntryRow>(`
      SELECT ${ENTRY_COLUMNS} FROM messages FINAL
      WHERE room = {room:String} AND epoch = {epoch:String} AND seq >= {first:UInt64} AND seq <= {last:UInt64} ORDER BY seq`, { room, epoch, first, last }, PAGE)
  }

  async #edge (which: 'min' | 'max', room: string, epoch: string, first: number, last: number): Promise<number | null> {
    if (last < first) return null
    const [row] = await this.#archive.query<{ edge: number, count: number }>(`
      SELECT ${which}(seq) AS edge, count() AS count FROM messages
      WHERE room = {room:String} AND epoch = {epoch:String} AND seq >= {first:UInt64} AND seq <= {last:UInt64}`, { room, epoch, first, last }, PAGE)
    return row === undefined || Number(row.count) === 0 ? null : row.edge
  }

  /** Where the newest messages stand that were searched for. */
  async #places (query: Search): Promise<Place[]> {
    for (let limit = query.limit; ; limit *= 4) {
      const found = await this.#archive.query<Place>(searchSql(query), searchParams({ ...query, limit }), SEARCH)
      const once = found.filter((place, at) => at === 0 || !isSame(place, found[at - 1] as Place))
      if (once.length >= query.limit || found.length < limit || limit * 4 > SEARCH.rowsMax) return once.slice(0, query.limit)
    }
  }

  /** What stands there, in the same order. */
  async #rowsAt (places: readonly Place[]): Promise<EntryRow[]> {
    if (places.length === 0) return []
    const rows = await this.#archive.query<EntryRow>(`
      SELECT ${ENTRY_COLUMNS} FROM messages FINAL WHERE (room, epoch, seq) IN (
        SELECT tupleElement(place, 1), tupleElement(place, 2), tupleElement(place, 3)
        FROM (SELECT arrayJoin(arrayZip({rooms:Array(String)}, {epochs:Array(String)}, {seqs:Array(UInt64)})) AS place)
      )`, { rooms: places.map(({ room }) => room), epochs: places.map(({ epoch }) => epoch), seqs: places.map(({ seq }) => seq) }, PAGE)
    return places.flatMap((place) => rows.find((row) => isSame(row, place)) ?? [])
  }

  /** In lower case as the index has it: beyond ASCII the engine's idea of that counts. */
  async #lowered (words: readonly string[]): Promise<readonly string[]> {
    if (words.every((word) => /^[0-9A-Za-z]*$/.test(word))) return words.map((word) => word.toLowerCase())
    const [row] = await this.#archive.query<{ lowered: string[] }>('SELECT arrayMap(word -> lowerUTF8(word), {words:Array(String)}) AS lowered', { words }, PAGE)
    return row?.lowered ?? words
  }

  async #entries (rows: readonly EntryRow[]): Promise<readonly Uint8Array[]> {
    const removals = await removalsOf(this.#archive, rows)
    return rows.map((row, at) => bytesOf(row, removals[at] !== null))
  }
}

interface Counted { readonly said: number, readonly who: number, readonly gone: number }

const COUNTED = 'groupBitmapMerge(messages) AS said, uniqMerge(chatters) AS who, groupBitmapMerge(removals) AS gone'

function countsOf ({ said, who, gone }: Counted): Omit<Point, 'at'> {
  return { messages: said, chatters: who, removals: gone }
}

const STEP = 'intDiv(toUnixTimestamp(minute), {stepS:UInt32}) * {stepS:UInt32}'
const WITHIN = "room = {room:String} AND minute >= toDateTime({from:UInt32}, 'UTC') AND minute < toDateTime({to:UInt32}, 'UTC')"

// Only places are sorted, and only so many kept: of a common word a room has hundreds of thousands, whose texts need not
// be read. A row that was inserted again stands there twice until parts are merged: side by side, so that one is passed
// over. (FINAL would make the text index count for less, LIMIT BY would sort all.)
function searchSql (query: Search): string {
  const conditions = [
    "op = 'message'",
    query.rooms === null ? null : 'room IN {rooms:Array(String)}',
    query.epochs === null ? null : 'epoch IN {epochs:Array(String)}',
    query.words.length === 0 ? null : 'hasAllTokens(body, {words:Array(String)})',
    query.author === null ? null : 'user = {author:String}',
    query.kind === null ? null : 'kind = {kind:UInt8}',
    query.newest === null ? null : 'seq <= {newest:UInt64}',
    query.from === null ? null : 'messages.ts >= fromUnixTimestamp64Milli({from:Int64})',
    query.to === null ? null : 'messages.ts < fromUnixTimestamp64Milli({to:Int64})',
    query.shadowOf === 'everybody' ? null : query.shadowOf === null ? 'NOT shadow' : '(NOT shadow OR user = {shadowOf:String})',
    query.before === null ? null : '(messages.ts, room, epoch, seq) < (fromUnixTimestamp64Milli({beforeTs:Int64}), {beforeRoom:String}, {beforeEpoch:String}, {beforeSeq:UInt64})',
    // Of no use to the comparison above, but to the index of times.
    query.before === null ? null : 'messages.ts <= fromUnixTimestamp64Milli({beforeTs:Int64})'
  ].filter((condition) => condition !== null)
  return `SELECT toUnixTimestamp64Milli(messages.ts) AS ts, room, epoch, seq FROM messages WHERE ${conditions.join(' AND ')}
    ORDER BY messages.ts DESC, room DESC, epoch DESC, seq DESC LIMIT {limit:UInt32}`
}

function isSame (one: Omit<Place, 'ts'>, other: Omit<Place, 'ts'>): boolean {
  return one.seq === other.seq && one.room === other.room && one.epoch === other.epoch
}

function searchParams ({ rooms, epochs, words, author, kind, newest, from, to, shadowOf, before, limit }: Search): Params {
  const all: Record<string, Params[string] | null> = {
    rooms, epochs, words, author, kind, newest, from, to, shadowOf, limit,
    beforeTs: before?.ts ?? null, beforeRoom: before?.room ?? null, beforeEpoch: before?.epoch ?? null, beforeSeq: before?.seq ?? null
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)) as Params
}

const EXPORT_SQL = `
SELECT room, epoch, seq, toUnixTimestamp64Milli(ts) AS ts, user, name, roles, kind, if(kind = 5, JSONExtractString(entry, 'body'), body) AS body, re, thread, mentions, ext, shadow,
  toBool(removed) AS removed, if(chat.removed, toUnixTimestamp64Milli(removed_at), 0) AS removedAt, removed_by AS removedBy, removed_why AS removedWhy
FROM chat WHERE room = {room:String} AND epoch = {epoch:String} AND op = 'message'
  AND chat.ts >= fromUnixTimestamp64Milli({from:Int64}) AND chat.ts < fromUnixTimestamp64Milli({to:Int64})
ORDER BY seq`
