// Records of the feed as rows of the archive, as bytes made once, and rows as entries again. What the columns do not say
// to the letter (text that is not well formed, fields of a later version, entries that are no messages) stands in the
// column `entry` as JSON, where ASCII escapes keep what UTF-8 cannot.
//
// What can occur: the sockets' codec refuses ill-formed UTF-8 and ingest mends stray surrogates, so rooms hold none; what
// other programs write to Kafka may. Must not know where rows go.

import type { FeedRecord } from '../feed/feed.ts'
import type { Lines } from './archive.ts'
import { MESSAGE_COLUMNS } from './schema.ts'

/** A record that cannot be a row: why. */
export class BadRecord extends Error {
  override readonly name = 'BadRecord'
}

const AUDIT_COLUMNS = ['room', 'epoch', 'seq', 'ts', 'action', 'by', 'source', 'whom', 'target', 'text', 'reason', 'failure', 'entry'] as const
/** 2100: what is later was no time; a month of its own is a directory of its own. */
const TS_MAX = 4_102_444_800_000
const OPAQUE_KIND = 5
/** Fields of a message's value, and of its user, that columns have. */
const MESSAGE_FIELDS = 10
const USER_FIELDS = 3

type Value = Readonly<Record<string, unknown>>

/** The row of a record of `messages`, in the order of MESSAGE_COLUMNS. Throws BadRecord. */
export function messageLine (record: FeedRecord): string {
  const { value } = record
  const place = placeOf(record)
  switch (value['op']) {
    case 'message': return message(place, value)
    case 'edit': return line(place, 'edit', { body: text(value['body'], 'body'), ext: extOf(value['ext']), target: uint(value['target'], 'target'), entry: JSON.stringify(value) })
    case 'remove': return line(place, 'remove', { ...targetOf(value['target']), by: value['by'] === null ? '' : text(value['by'], 'by'), entry: JSON.stringify(value) })
    case 'state':
    case 'erased': return line(place, value['op'], { entry: JSON.stringify(value) })
    default: throw new BadRecord(`op is ${JSON.stringify(value['op'])?.slice(0, 20)}`)
  }
}

/** The row of a record of `audit`, in the order of AUDIT_COLUMNS. Throws BadRecord. */
function auditLine (record: FeedRecord): string {
  const { value } = record
  const args = value['args'] as { readonly seq?: unknown } | null | undefined
  const target = Number.isSafeInteger(args?.seq) && (args?.seq as number) > 0 ? args?.seq as number : 0
  const texts = [text(value['action'], 'action'), orEmpty(value['by'], 'by'), text(value['source'], 'source'), orEmpty(value['whom'], 'whom')].map(quoted).join(',')
  const why = [orEmpty(value['text'], 'text'), orEmpty(value['reason'], 'reason'), orEmpty(value['failure'], 'failure'), JSON.stringify(value)].map(quoted).join(',')
  return `[${placeOf(record)},${texts},${target},${why}]`
}

/** What a batch becomes: rows by table, and the records that cannot be rows. */
export interface Encoded {
  readonly messages: Lines
  readonly audit: Lines
  readonly bad: readonly { readonly record: FeedRecord, readonly reason: string }[]
}

export function encode (batch: readonly FeedRecord[]): Encoded {
  const messages: string[] = []
  const audit: string[] = []
  const bad: { record: FeedRecord, reason: string }[] = []
  for (const record of batch) {
    try {
      if (record.topic === 'messages') messages.push(messageLine(record))
      else audit.push(auditLine(record))
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error
      bad.push({ record, reason: error.message })
    }
  }
  return { messages: linesOf(MESSAGE_COLUMNS, messages), audit: linesOf(AUDIT_COLUMNS, audit), bad }
}

function linesOf (columns: readonly string[], lines: readonly string[]): Lines {
  return { columns, bytes: Buffer.from(lines.join('\n')), count: lines.length }
}

/** What readers of `messages` and of the view `chat` have of a row, for `entryOf`. */
export interface EntryRow {
  readonly seq: number
  /** As ClickHouse writes a DateTime64 in UTC. */
  readonly ts: string
  readonly op: string
  readonly user: string
  readonly name: string
  readonly roles: number
  readonly kind: number
  readonly body: string
  readonly ext: string
  readonly entry: string
}

/** The columns that `entryOf` needs. */
export const ENTRY_COLUMNS = ['seq', 'ts', 'op', 'user', 'name', 'roles', 'kind', 'body', 'ext', 'entry'] as const

/** The entry as REST shows it, to the letter as the log had it (proto/entry.ts, EntryObject). */
export function entryOf (row: EntryRow): Readonly<Record<string, unknown>> & { readonly op: string, readonly seq: number, readonly ts: number } {
  if (row.entry !== '') {
    const { v: _v, room: _room, epoch: _epoch, shadow: _shadow, ...entry } = JSON.parse(row.entry) as Record<string, unknown>
    return entry as ReturnType<typeof entryOf>
  }
  const { seq, ts, user: id, name, roles, kind, body, ext } = row
  return { op: row.op, seq, ts: Date.parse(`${ts.replace(' ', 'T')}Z`), user: { id, name, roles }, kind, body, ext: ext === '' ? null : JSON.parse(ext) as unknown }
}

function message (place: string, value: Value): string {
  const user = value['user'] as { readonly id?: unknown, readonly name?: unknown, readonly roles?: unknown } | null
  if (typeof user !== 'object' || user === null) throw new BadRecord('user is not an object')
  const [id, name, roles, kind, body] = [text(user.id, 'user.id'), text(user.name, 'user.name'), uint(user.roles, 'user.roles', 0xffff_ffff), uint(value['kind'], 'kind', 255), text(value['body'], 'body')]
  const isShadow = value['shadow'] === true
  const isSaid = Object.keys(value).length === MESSAGE_FIELDS + (isShadow ? 1 : 0) && Object.keys(user).length === USER_FIELDS
  const isExact = isSaid && kind !== OPAQUE_KIND && body.isWellFormed() && name.isWellFormed() && id.isWellFormed()
  const shown = kind === OPAQUE_KIND ? '' : body
  const { re, thread, at } = refsOf(value['ext'])
  return `[${place},"message",${quoted(id)},${quoted(name)},${roles},${kind},${quoted(shown)},${re},${thread},${at},${quoted(extOf(value['ext']))},${isShadow},0,"",0,"",${isExact ? '""' : quoted(JSON.stringify(value))}]`
}

interface Parts { readonly body?: string, readonly ext?: string, readonly target?: number, readonly target_user?: string, readonly up_to?: number, readonly by?: string, readonly entry: string }

function line (place: string, op: string, { body = '', ext = '', target = 0, target_user: user = '', up_to: upTo = 0, by = '', entry }: Parts): string {
  return `[${place},"${op}","","",0,0,${quoted(body)},0,0,[],${quoted(ext)},false,${target},${quoted(user)},${upTo},${quoted(by)},${quoted(entry)}]`
}

function placeOf ({ room, epoch, seq, ts }: FeedRecord): string {
  if (!room.isWellFormed() || !epoch.isWellFormed()) throw new BadRecord('room or epoch are not well-formed text')
  if (!Number.isSafeInteger(seq) || seq < 1) throw new BadRecord('seq must be a whole number from 1 on')
  if (!Number.isSafeInteger(ts) || ts < 0 || ts > TS_MAX) throw new BadRecord('ts must be Unix milliseconds before the year 2100')
  return `${JSON.stringify(room)},${JSON.stringify(epoch)},${seq},${ts}`
}

function targetOf (target: unknown): Omit<Parts, 'entry'> {
  if (typeof target !== 'object' || target === null) throw new BadRecord('target is not an object')
  const { seq, user, upTo, all } = target as Record<string, unknown>
  if (seq !== undefined) return { target: uint(seq, 'target.seq') }
  if (user !== undefined) return { target_user: text(user, 'target.user'), up_to: uint(upTo, 'target.upTo') }
  if (all === true) return { up_to: uint(upTo, 'target.upTo') }
  throw new BadRecord('target says neither seq nor user nor all')
}

const NO_REFS = { re: 0, thread: 0, at: '[]' } as const

function refsOf (ext: unknown): { readonly re: number, readonly thread: number, readonly at: string } {
  if (ext === null || ext === undefined) return NO_REFS
  const { re, thread, at } = ext as Record<string, unknown>
  const seqOf = (value: unknown): number => Number.isSafeInteger(value) && (value as number) > 0 ? value as number : 0
  const users = Array.isArray(at) ? at.filter((user) => typeof user === 'string').map(quoted).join(',') : ''
  return { re: seqOf(re), thread: seqOf(thread), at: `[${users}]` }
}

function extOf (ext: unknown): string {
  if (ext === null || ext === undefined) return ''
  if (typeof ext !== 'object') throw new BadRecord('ext is not an object')
  return JSON.stringify(ext)
}

/** As JSON that ClickHouse takes: it refuses a lone surrogate, and the whole batch with it. */
function quoted (value: string): string {
  return JSON.stringify(value.isWellFormed() ? value : value.toWellFormed())
}

function text (value: unknown, name: string): string {
  if (typeof value !== 'string') throw new BadRecord(`${name} is not a text`)
  return value
}

function orEmpty (value: unknown, name: string): string {
  return value === null || value === undefined ? '' : text(value, name)
}

function uint (value: unknown, name: string, max = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) > max) throw new BadRecord(`${name} is not a whole number in its range`)
  return value as number
}
