// A person leaves the archive: what stood in rows of their own becomes the mark that stands where something was erased,
// so that paging sees no hole; what is about others keeps a pseudonym. Each table is changed by a mutation that is waited
// for, and then nothing may be found by any column; what may be repeated is, until that holds.
//
//   messages     rows of theirs ─▶ op 'erased', empty        mentions, removals by or of them ─▶ pseudonym
//   audit        by, whom ─▶ pseudonym; text, reason, arguments of rows about them ─▶ empty
//   marks ─▶ pseudonym     reasons of their removals, highlights of their days ─▶ deleted (highlights are made anew)
//   minutes      holds counts and hashed sets, nobody's name: stays
//
// What still comes in from before is told by the removal that stands behind it in the room's order: the archiver calls
// `eraseFromRoom` when it comes by. The engine drops the files of before some minutes after a mutation.
// Bounds: MUTATION_S a statement.

import { AppError } from '../base/errors.ts'
import type { FeedRecord } from '../feed/feed.ts'
import type { Archive, Limits, Params } from './archive.ts'

const MUTATION_S = 900
const COUNTING: Limits = { seconds: 60, rowsMax: 1, readRowsMax: 1e12, memoryMb: 1024 }
const EXPORTING: Limits = { seconds: 600, rowsMax: 1, readRowsMax: 1e12, memoryMb: 1024 }
const WAITED = ' SETTINGS mutations_sync = 2'

/** What an erased entry is as JSON, of the columns that it keeps. */
const EMPTY_ENTRY = `concat('{"v":1,"room":', toJSONString(room), ',"epoch":', toJSONString(toString(epoch)), ',"op":"erased","seq":', toString(seq), ',"ts":', toString(toUnixTimestamp64Milli(ts)), '}')`
const EMPTIED = `op = 'erased', user = '', name = '', roles = 0, kind = 0, body = '', re = 0, thread = 0, mentions = [], ext = '', shadow = false, target = 0, target_user = '', up_to = 0, by = '', entry = ${EMPTY_ENTRY}`

const renamed = (column: string): string => `${column} = if(${column} = {user:String}, {pseudonym:String}, ${column})`
const inJson = (column: string): string => `${column} = replaceAll(${column}, {quoted:String}, {quotedPseudonym:String})`

/** Changes in their order: what finds others by the person's rows comes before these go. */
const STATEMENTS: readonly string[] = [
  `DELETE FROM highlights WHERE (room, day) IN (SELECT room, toDate(ts) FROM messages WHERE user = {user:String})`,
  `DELETE FROM reasons WHERE whom = {user:String} OR (room, target) IN (SELECT room, seq FROM messages WHERE user = {user:String})`,
  `ALTER TABLE marks UPDATE ${renamed('target_user')}, ${renamed('by')} WHERE target_user = {user:String} OR by = {user:String}${WAITED}`,
  `ALTER TABLE messages UPDATE ${EMPTIED} WHERE user = {user:String}${WAITED}`,
  `ALTER TABLE messages UPDATE mentions = arrayMap(who -> if(who = {user:String}, {pseudonym:String}, who), mentions), ${inJson('ext')}, ${renamed('target_user')}, ${renamed('by')}, ${inJson('entry')}
    WHERE has(mentions, {user:String}) OR target_user = {user:String} OR by = {user:String} OR position(entry, {quoted:String}) > 0${WAITED}`,
  // Rows about the person first: their texts go. What is left is what the person did.
  `ALTER TABLE audit UPDATE whom = {pseudonym:String}, ${renamed('by')}, text = '', reason = if(action = 'erase', reason, ''),
    entry = concat('{"v":1,"epoch":', toJSONString(toString(epoch)), ',"seq":', toString(seq), ',"ts":', toString(toUnixTimestamp64Milli(ts)), ',"room":', toJSONString(room), ',"action":', toJSONString(toString(action)),
      ',"by":', if(by = '', 'null', toJSONString(if(by = {user:String}, {pseudonym:String}, by))), ',"source":', toJSONString(toString(source)), ',"whom":', {quotedPseudonym:String}, ',"text":null,"reason":null,"args":{},"failure":', if(failure = '', 'null', toJSONString(failure)), '}')
    WHERE whom = {user:String}${WAITED}`,
  `ALTER TABLE audit UPDATE ${renamed('by')}, text = if(action IN ('announce', 'requestUnban'), '', text), ${inJson('entry')} WHERE by = {user:String} OR position(entry, {quoted:String}) > 0${WAITED}`
]

const TRACES = `SELECT (SELECT count() FROM messages WHERE user = {user:String} OR has(mentions, {user:String}) OR target_user = {user:String} OR by = {user:String} OR position(entry, {quoted:String}) > 0)
  + (SELECT count() FROM audit WHERE by = {user:String} OR whom = {user:String} OR position(entry, {quoted:String}) > 0)
  + (SELECT count() FROM marks WHERE target_user = {user:String} OR by = {user:String}) + (SELECT count() FROM reasons WHERE whom = {user:String}) AS n`

const MESSAGES = `SELECT 'archived' AS type, room, epoch, seq, toUnixTimestamp64Milli(ts) AS ts, name, kind, body, ext, shadow FROM messages FINAL WHERE user = {user:String} ORDER BY room, epoch, seq`
const AUDIT = `SELECT 'archivedAudit' AS type, room, epoch, seq, toUnixTimestamp64Milli(ts) AS ts, action, by, whom, text, reason FROM audit FINAL WHERE by = {user:String} OR whom = {user:String} ORDER BY room, epoch, seq`

/** The archive as one of the places that keep things about people (rights/estate.ts). */
export class ArchiveErasure {
  readonly name = 'archive'
  readonly #archive: Archive

  constructor (archive: Archive) { this.#archive = archive }

  /** Erases everything about the user. May be called again. Rejects with AppError `unavailable`; where there is no archive there is nothing. */
  async erase (user: string, pseudonym: string): Promise<void> {
    if (this.#archive.verdict.state === 'none') return
    const params = paramsOf(user, pseudonym)
    for (const statement of STATEMENTS) await this.#archive.command(statement, used(statement, params), MUTATION_S)
    const [left] = await this.#archive.query<{ n: number }>(TRACES, used(TRACES, params), COUNTING)
    if (left?.n !== 0) throw new AppError('unavailable', `the archive still has ${left?.n ?? 'some'} rows of somebody who is being erased; tried again`)
  }

  async * export (user: string): AsyncIterable<Readonly<Record<string, unknown>>> {
    if (this.#archive.verdict.state === 'none') return
    for (const sql of [MESSAGES, AUDIT]) {
      let rest = ''
      for await (const bytes of this.#archive.stream(sql, { user }, EXPORTING, 'ndjson')) {
        const lines = (rest + Buffer.from(bytes).toString()).split('\n')
        rest = lines.pop() as string
        for (const line of lines) if (line !== '') yield JSON.parse(line) as Record<string, unknown>
      }
      if (rest !== '') yield JSON.parse(rest) as Record<string, unknown>
    }
  }
}

/** Whose removal a record is, where it is that of somebody who is erased. */
export function erasureIn ({ topic, value }: FeedRecord): { readonly user: string, readonly upTo: number } | null {
  const target = value['op'] === 'remove' ? value['target'] as { readonly user?: unknown, readonly upTo?: unknown, readonly erased?: unknown } | null : null
  if (topic !== 'messages' || target?.erased !== true || typeof target.user !== 'string') return null
  return { user: target.user, upTo: Number(target.upTo) }
}

/** Such a record as it is archived: that something stood there. */
export function withoutName (record: FeedRecord): FeedRecord {
  const { room, epoch, seq, ts } = record
  return erasureIn(record) === null ? record : { ...record, value: { v: 1, room, epoch, op: 'erased', seq, ts } }
}

/** What came in of a person before the removal that stands behind it in the room. May be called again. Throws as `insert` does. */
export async function eraseFromRoom (archive: Archive, record: FeedRecord): Promise<void> {
  const erasure = erasureIn(record)
  if (erasure === null) return
  const params = { room: record.room, epoch: record.epoch, user: erasure.user, upTo: erasure.upTo }
  const where = 'room = {room:String} AND epoch = {epoch:String} AND user = {user:String} AND seq <= {upTo:UInt64}'
  const [found] = await archive.query<{ n: number }>(`SELECT count() AS n FROM messages WHERE ${where}`, params, COUNTING)
  if (found !== undefined && found.n > 0) await archive.command(`ALTER TABLE messages UPDATE ${EMPTIED} WHERE ${where}${WAITED}`, params, MUTATION_S)
}

function paramsOf (user: string, pseudonym: string): Params {
  return { user, pseudonym, quoted: JSON.stringify(user), quotedPseudonym: JSON.stringify(pseudonym) }
}

/** Those that the statement names: an engine may refuse others. */
function used (sql: string, params: Params): Params {
  return Object.fromEntries(Object.entries(params).filter(([name]) => sql.includes(`{${name}:`)))
}
