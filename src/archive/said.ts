// Rows of the table `messages` as what they were: entries of a room's log, and messages with what became of them. Owns the
// columns that readers ask for and how they become objects and bytes again. Must not know SQL beyond their names.

import { entryOfObject, removedEntry, type EntryObject } from '../../proto/entry.ts'

/** A message as it is found: where it stands, what it says, and what became of it. */
export interface Said {
  readonly room: string
  readonly epoch: string
  readonly seq: number
  /** Unix milliseconds. */
  readonly ts: number
  readonly user: { readonly id: string, readonly name: string, readonly roles: number }
  readonly kind: number
  readonly body: string
  readonly ext: Record<string, unknown> | null
  /** Only its author was shown it. */
  readonly isShadow: boolean
  readonly removed: Removed | null
}

/** That a message was removed, by whom and why. `by` null: a rule; `reason` null: none was given. */
export interface Removed {
  /** Unix milliseconds; null: just now, the archive does not know it yet. */
  readonly at: number | null
  readonly by: string | null
  readonly reason: string | null
}

/** A row as EntryRow's columns select it. */
export interface EntryRow {
  readonly room: string
  readonly epoch: string
  readonly seq: number
  readonly at: number
  readonly op: EntryObject['op']
  readonly user: string
  readonly name: string
  readonly roles: number
  readonly kind: number
  readonly body: string
  readonly ext: string
  readonly shadow: boolean
  readonly target: number
  readonly target_user: string
  readonly up_to: number
  readonly by: string
  readonly entry: string
}

/** The columns of an EntryRow. */
export const ENTRY_COLUMNS = 'room, epoch, seq, toUnixTimestamp64Milli(ts) AS at, op, user, name, roles, kind, body, ext, shadow, target, target_user, up_to, by, entry'

/** The entry as REST shows it. */
export function objectOf (row: EntryRow): EntryObject {
  const { seq, at: ts, body } = row
  // Where the columns do not say all of it, the whole record is kept beside them.
  if (row.entry !== '') return withoutPlace(JSON.parse(row.entry) as EntryObject & Record<string, unknown>)
  switch (row.op) {
    case 'message': return { op: 'message', seq, ts, user: { id: row.user, name: row.name, roles: row.roles }, kind: row.kind, body, ext: extOf(row.ext) }
    case 'edit': return { op: 'edit', seq, ts, target: row.target, body, ext: extOf(row.ext) }
    case 'remove': return { op: 'remove', seq, ts, target: targetOf(row), by: row.by === '' ? null : row.by }
    case 'state': return { op: 'state', seq, ts, changes: {} }
  }
}

/** The entry's bytes, as the log had them; of one that was removed what stands in its place. */
export function bytesOf (row: EntryRow, isRemoved: boolean): Uint8Array {
  const bytes = entryOfObject(objectOf(row), row.shadow)
  return isRemoved ? removedEntry(bytes) : bytes
}

export function saidOf (row: EntryRow, removed: Removed | null): Said {
  const message = objectOf(row) as Extract<EntryObject, { op: 'message' }>
  const { seq, ts, user, kind, body, ext } = message
  return { room: row.room, epoch: row.epoch, seq, ts, user, kind, body, ext, isShadow: row.shadow, removed }
}

function withoutPlace ({ v, room, epoch, shadow, ...object }: EntryObject & Record<string, unknown>): EntryObject {
  return object as unknown as EntryObject
}

function extOf (text: string): Record<string, unknown> | null {
  return text === '' ? null : JSON.parse(text) as Record<string, unknown>
}

function targetOf ({ target, target_user: user, up_to: upTo }: EntryRow): Record<string, unknown> {
  if (target > 0) return { seq: target }
  return user === '' ? { all: true, upTo } : { user, upTo }
}
