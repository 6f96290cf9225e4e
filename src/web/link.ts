// What the client asks of a way to the server, and what it hears from it. Two ways stand behind it: socket-link.ts
// (WebSocket) and stream-link.ts (server-sent events and POST). A link lives once: after `lost` or `close` it is silent.

import { UproarError, type ConnectionState, type Entry, type Ext, type HistoryQuery, type Page, type Position, type Sent } from './client-types.ts'

/** A room and where to begin in it. */
export interface Place {
  readonly room: string
  readonly position: Position | null
  readonly history: number
  readonly view: string
}

export interface Draft {
  readonly room: string
  readonly nonce: string
  readonly kind: number
  readonly body: string | Uint8Array
  readonly ext: Ext | null
}

export type Welcome = Extract<ConnectionState, { state: 'open' }>

/** What a room's log and its server tell, by the names that server-sent events use. */
export interface Told {
  joined: { epoch: string, seq: number, state: Record<string, unknown>, recovered: boolean, viewers?: number }
  entry: Entry
  viewers: number
  signal: { what: string, value: unknown }
  skipped: { first: number, last: number, count: number, reason: string }
  refused: UproarError
  sanction: { kind: string, until: number | null, reason: string }
  held: { ref: string, text: string }
  inbox: Entry
  error: UproarError
}

export interface LinkSink {
  /** Ready for joins and requests. Null on the fallback, which has no welcome. */
  opened (welcome: Welcome | null): void
  /** Something about a room (null: about the user). `epoch` is the log's, where an entry tells it. */
  told<Name extends keyof Told> (room: string | null, name: Name, what: Told[Name], epoch?: string): void
  /** It is over, once. `afterMs`: the server asks to stay away that long. `isBlocked`: nothing of ours ever came through. */
  lost (code: number, reason: string, afterMs: number, isBlocked: boolean): void
}

export interface Link {
  /** Answered by `joined` and entries, or by `refused`. */
  join (place: Place): void
  leave (room: string): Promise<unknown>
  send (draft: Draft, deadlineMs: number): Promise<Sent>
  history (room: string, query: HistoryQuery): Promise<Page>
  auth (token: string): Promise<unknown>
  signal (room: string, what: string, value: unknown): void
  moderate (room: string, action: string, args: Record<string, unknown>): Promise<unknown>
  /** Finds out soon whether it is still alive. */
  probe (): void
  close (): void
}

/** Nobody answered: the connection was lost or the time was up. Trying again is right. */
export function unanswered (message: string): UproarError {
  return new UproarError(40, 'unavailable', message, 0)
}
