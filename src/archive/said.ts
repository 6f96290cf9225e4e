// Rows of the table `messages` as what they were: entries of a room's log, and messages with what became of them. Owns the
// columns that readers ask for and how they become objects and bytes again. Must not know SQL beyond their names.

import { entryOfObject, removedEntry, type EntryObject } from '../../proto/entry.ts'
import { ENTRY_COLUMNS as COLUMNS, entryOf, type EntryRow as Columns } from './rows.ts'

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

/** A row as ENTRY_COLUMNS select it. */
export interface EntryRow extends Columns {
  readonly room: string
  readonly epoch: string
  readonly shadow: boolean
}

/** The columns of an EntryRow. */
export const ENTRY_COLUMNS = ['room', 'epoch', 'shadow', ...COLUMNS].join(', ')

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

function objectOf (row: EntryRow): EntryObject {
  return entryOf(row) as unknown as EntryObject
}
