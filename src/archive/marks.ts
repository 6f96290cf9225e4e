// What the archive knows of removals: for the entries of one read, which are gone, since when, by whom and why. Looked up
// for just those, in one bounded query: joining all marks to all messages would cost more the longer a room lives.

import type { Archive, Limits } from './archive.ts'
import type { EntryRow, Removed } from './said.ts'

interface Mark {
  readonly room: string
  readonly epoch: string
  readonly seq: number
  readonly at: number
  readonly target: number
  readonly target_user: string
  readonly up_to: number
  readonly by: string
  readonly why: string
}

const LIMITS: Limits = { seconds: 5, rowsMax: 100_000 }

/** The removal that concerns each of these rows, null where there is none. `withWhy`: also the reason, for moderators. */
export async function removalsOf (archive: Archive, rows: readonly EntryRow[], withWhy = false): Promise<readonly (Removed | null)[]> {
  const concerned = rows.filter(({ op }) => op === 'message' || op === 'edit')
  if (concerned.length === 0) return rows.map(() => null)
  const params = {
    rooms: [...new Set(concerned.map(({ room }) => room))],
    seqs: concerned.map(({ seq }) => seq),
    users: [...new Set(concerned.map(({ user }) => user).filter((user) => user !== ''))],
    least: concerned.reduce((least, { seq }) => Math.min(least, seq), Infinity)
  }
  const marks = await archive.query<Mark>(`
    SELECT room, epoch, seq, toUnixTimestamp64Milli(ts) AS at, target, target_user, up_to, by, ${withWhy ? 'why FROM marks_with_why' : "'' AS why FROM marks FINAL"}
    WHERE room IN {rooms:Array(String)}
      AND (target IN {seqs:Array(UInt64)} OR (target = 0 AND up_to >= {least:UInt64} AND (target_user = '' OR target_user IN {users:Array(String)})))
    ORDER BY room, epoch, seq`, params, LIMITS)
  if (marks.length === 0) return rows.map(() => null)
  const byPlace = Map.groupBy(marks, ({ room, epoch }) => `${room}\n${epoch}`)
  return rows.map((row) => {
    const mark = byPlace.get(`${row.room}\n${row.epoch}`)?.find((one) => concerns(one, row))
    return mark === undefined ? null : { at: mark.at, by: mark.by === '' ? null : mark.by, reason: mark.why === '' ? null : mark.why }
  })
}

/** Whether a mark covers an entry: the message that it names, or all of a user or everything up to a seq. */
function concerns (mark: Mark, { seq, user, op }: EntryRow): boolean {
  if (mark.target > 0) return mark.target === seq
  if (seq > mark.up_to) return false
  return mark.target_user === '' || (op === 'message' && mark.target_user === user)
}
