// Everything that is kept about one person, as records, room by room in the order of their names, so that an export which
// was cut can go on behind the last `room` record. What moderators took away is still the person's, and says so.
// Bounds: a page of a log at a time; it is pulled, so a slow reader holds nothing up.

import { entryAuthor, entryObject, isRemoved, isShadow, unshadowed } from '../../proto/entry.ts'
import type { Directory } from '../directory/directory.ts'
import type { Log } from '../log/log.ts'
import { recordsOf, type Audit } from '../moderation/moderation.ts'
import type { Estate } from './estate.ts'
import { scan } from './scan.ts'

interface Sources {
  readonly log: Log
  readonly directory: Directory
  readonly audit: Audit
  readonly estates: readonly Estate[]
}

const ROOMS = 100
const ROWS = 200

type Record_ = Readonly<Record<string, unknown>>

export async function * exportOf (sources: Sources, user: string, after: string): AsyncGenerator<Record_> {
  const { directory, estates } = sources
  const profile = { names: new Set<string>(), firstAt: Infinity, lastAt: -Infinity, messages: 0 }
  for (let at = after; ;) {
    const { rooms, more } = await directory.list({ after: at, limit: ROOMS })
    for (const { room, createdBy, createdAt } of rooms) {
      at = room
      let records = 0
      for await (const record of roomRecords(sources.log, room, user)) {
        records++
        if (record['type'] === 'message') note(profile, record)
        yield record
      }
      if (createdBy === user) yield { type: 'made', room, at: createdAt }
      if (records > 0 || createdBy === user) yield { type: 'room', room, records }
    }
    if (!more) break
  }
  yield { type: 'profile', user, names: [...profile.names], messages: profile.messages, firstAt: profile.messages > 0 ? profile.firstAt : null, lastAt: profile.messages > 0 ? profile.lastAt : null }
  yield * auditRows(sources.audit, user)
  for (const estate of estates) for await (const record of estate.export(user)) yield { ...record, from: estate.name }
  yield { type: 'end' }
}

async function * roomRecords (log: Log, room: string, user: string): AsyncGenerator<Record_> {
  const state = await log.state(room)
  const removed = removedIn(state.guarded, user)
  for await (const { epoch, entries } of scan(log, room, user)) {
    for (const entry of entries) {
      if (isRemoved(entry) || entryAuthor(entry) !== user) continue
      const { op: _op, ...message } = entryObject(isShadow(entry) ? unshadowed(entry) : entry)
      yield { type: 'message', room, epoch, ...message, ...(isShadow(entry) ? { shadow: true } : {}), ...(removed(message.seq) ? { removed: true } : {}) }
    }
  }
  for (const record of recordsOf(state, user)) yield { ...record, room }
}

function removedIn (guarded: Readonly<Record<string, unknown>>, user: string): (seq: number) => boolean {
  const upTo = Math.max(Number(guarded['cleared'] ?? 0), Number(guarded[`purged:${user}`] ?? 0))
  return (seq) => seq <= upTo || Object.hasOwn(guarded, `removed:${seq}`)
}

function note (profile: { names: Set<string>, firstAt: number, lastAt: number, messages: number }, record: Record_): void {
  const { user, ts } = record as { user: { name: string }, ts: number }
  profile.names.add(user.name)
  profile.firstAt = Math.min(profile.firstAt, ts)
  profile.lastAt = Math.max(profile.lastAt, ts)
  profile.messages++
}

async function * auditRows (audit: Audit, user: string): AsyncGenerator<Record_> {
  for (let before: number | null = null; ;) {
    const { rows, next }: Awaited<ReturnType<Audit['query']>> = await audit.query({ user, limit: ROWS, ...(before === null ? {} : { before }) })
    for (const row of rows) yield { type: 'audit', ...row }
    if (next === null) return
    before = next
  }
}
