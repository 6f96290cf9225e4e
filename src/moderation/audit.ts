// Audit rows: every action with who, what, whom, the text at the time, why and from where. They are entries of one reserved
// room's log, which is kept for a time of its own, so any engine keeps them; nothing changes them but the erasing of a
// person (erasure.ts), and they stand before the action that they tell of: a row
// without its action may be left by a crash, an action without its row may not. Bound: a query looks at SCAN_MAX rows.

import { unpack } from '../../proto/codec.ts'
import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import type { Log } from '../log/log.ts'

/** The room whose log the rows are. */
export const AUDIT_ROOM = 'uproar:audit'
const ROOM = AUDIT_ROOM
const PAGE_ENTRIES = 500
const PAGE_BYTES = 4_000_000
const SCAN_MAX = 10_000

/** From whom an action came. */
export type Source = 'human' | 'rule' | 'consumer' | 'hook'

export interface AuditDraft {
  readonly room: string
  readonly action: string
  /** User id; null when a rule acted. */
  readonly by: string | null
  readonly source: Source
  /** The user concerned. */
  readonly whom: string | null
  /** The message's text at the time. */
  readonly text: string | null
  readonly reason: string | null
  /** The action's arguments. */
  readonly args: Readonly<Record<string, unknown>>
  /** Why it was not carried out after all; null: it was. */
  readonly failure: string | null
}

export interface AuditRow extends AuditDraft {
  /** Place in the audit log, for paging. */
  readonly id: number
  readonly ts: number
}

export interface AuditQuery {
  readonly room?: string
  readonly user?: string
  /** Only rows of this action. */
  readonly action?: string
  /** Only rows before this id. */
  readonly before?: number
  readonly limit: number
}

export class Audit {
  readonly #log: Log

  constructor (log: Log) {
    this.#log = log
  }

  /** Writes a row, once for a nonce; durable before it resolves. Rejects with the log's AppError. */
  async append (row: AuditDraft, nonce: string | null = null): Promise<void> {
    await this.#log.publish(ROOM, { op: OUT.STATE, tail: packTail([row]), author: row.by ?? '', nonce })
  }

  /** Calls with the newest rows and every one that is written from now on, by whichever instance; how to end it. */
  async follow (onRow: (row: AuditRow) => void): Promise<() => void> {
    let isOver = false
    let unwatch = (): void => {}
    // When the log has lost something it goes on in a new epoch, and so do we.
    const begin = (): void => {
      if (!isOver) unwatch = this.#log.watch(ROOM, { entries: (batch) => { for (const entry of batch) onRow(readRow(entry)) }, lost: begin })
    }
    begin()
    for (const entry of (await this.#log.before(ROOM, null, { entries: PAGE_ENTRIES, bytes: PAGE_BYTES })).entries) onRow(readRow(entry))
    return () => {
      isOver = true
      unwatch()
    }
  }

  /** Rows, newest first. `next`: ask on with `before` = this; null: there are no older ones. Rejects with the log's AppError. */
  async query ({ room, user, action, before, limit }: AuditQuery): Promise<{ rows: AuditRow[], next: number | null }> {
    const rows: AuditRow[] = []
    let at = before ?? null
    for (let looked = 0; looked < SCAN_MAX;) {
      const page = await this.#log.before(ROOM, at, { entries: PAGE_ENTRIES, bytes: PAGE_BYTES })
      looked += page.entries.length
      for (const entry of page.entries.toReversed()) {
        const row = readRow(entry)
        at = row.id
        if ((room !== undefined && row.room !== room) || (user !== undefined && row.whom !== user && row.by !== user)) continue
        if (action !== undefined && row.action !== action) continue
        rows.push(row)
        if (rows.length === limit) return { rows, next: row.id > page.head.first ? row.id : null }
      }
      if (page.entries.length === 0 || (at !== null && at <= page.head.first)) return { rows, next: null }
    }
    return { rows, next: at }
  }
}

function readRow (entry: Uint8Array): AuditRow {
  const [, id, ts, row] = unpack(entry) as [number, number, number, AuditDraft]
  return { id, ts, ...row }
}
