// What applications see of the thin client: options, entries, events, results. Types only, and the one error class.

import type { ErrorName } from '../../proto/codes.ts'

/** Where a reader stands in a room's log: `[epoch, seq]`. Keep it to resume after a page reload. */
export type Position = readonly [epoch: string, seq: number]

/** Who wrote something. `roles` is a bit set of ROLE. */
export interface Author {
  readonly id: string
  readonly name: string
  readonly roles: number
}

/** What a message may carry beside its text. */
export interface Ext {
  /** The seq of the message it answers. */
  re?: number
  /** Ids of mentioned users. */
  at?: string[]
  /** The seq of the thread's first message. */
  thread?: number
  /** Anything else, at most 1 KiB. */
  meta?: Record<string, unknown>
}

export interface MessageEntry {
  readonly op: 'message'
  readonly seq: number
  /** Unix milliseconds. */
  readonly ts: number
  readonly user: Author
  /** One of KIND. */
  readonly kind: number
  /** Text; bytes when kind is `encrypted`. */
  readonly body: string | Uint8Array
  readonly ext: Ext | null
  /** True, for the room's moderators alone: nobody else but the author is shown it. */
  readonly shadow?: true
}

export interface RemoveEntry {
  readonly op: 'remove'
  readonly seq: number
  readonly ts: number
  /** `seq`: that entry. `user`: everything of that user up to `upTo`. `all`: everything up to that seq. */
  readonly target: Record<string, unknown>
  /** Who removed it; null when a rule did. */
  readonly by: string | null
}

export interface StateEntry {
  readonly op: 'state'
  readonly seq: number
  readonly ts: number
  /** The settings that changed; `room.state` has them merged. */
  readonly changes: Record<string, unknown>
}

export interface EditEntry {
  readonly op: 'edit'
  readonly seq: number
  readonly ts: number
  /** The seq of the message whose body and ext these replace. */
  readonly target: number
  readonly body: string | Uint8Array
  readonly ext: Ext | null
}

/** One entry of a room's log. */
export type Entry = MessageEntry | RemoveEntry | StateEntry | EditEntry

/** Entries oldest first. `more`: the room has older ones. */
export interface Page {
  readonly entries: Entry[]
  readonly more: boolean
}

/** We are in the room, for the first time or again. Entries follow. */
export interface Joined {
  readonly room: string
  readonly epoch: string
  /** Head of the log at this moment. */
  readonly seq: number
  /** The room's settings. */
  readonly state: Record<string, unknown>
  /** True: every entry missed since the position follows. False: the newest history follows instead. */
  readonly recovered: boolean
  /** True at the first join and when the room's log was lost: what was shown before is void. */
  readonly reset: boolean
  /** Approximate; null when the server has not told yet. */
  readonly viewers: number | null
}

/** Entries that were not delivered and will not be. `gap`: lost on the way and not found in history either. */
export interface Skipped {
  readonly first: number
  readonly last: number
  /** How many entries of that range are left out. */
  readonly count: number
  readonly reason: 'sampled' | 'slow' | 'removed' | 'gap' | (string & {})
}

/** A gap was noticed and closed from history; the entries were delivered in order. */
export interface Repaired {
  readonly first: number
  readonly last: number
}

/** A signal of the room: reaction counts, who is typing … */
export interface Signal {
  readonly what: string
  readonly value: unknown
}

/** A sanction on this user. */
export interface Sanction {
  /** The room concerned; null when the server named none. */
  readonly room: string | null
  readonly kind: string
  readonly until: number | null
  readonly reason: string
}

/** A message of this user waits for a moderator. */
export interface Held {
  readonly room: string | null
  readonly ref: string
  readonly text: string
}

/** An entry of a room that this user is not in: a direct message or a mention. */
export interface Inbox {
  readonly room: string
  readonly entry: Entry
}

/** What became of a `send`: its place in the room's log. */
export interface Sent {
  readonly seq: number
  readonly ts: number
}

/**
 * How the client is connected.
 * - `connecting`: dialling, for the `attempt`-th time in a row (from 1)
 * - `open`: over a WebSocket; `user` is null for an anonymous viewer
 * - `fallback`: over server-sent events and POST, because WebSockets do not get through; everything but `signal` works; sanctions are not told
 * - `waiting`: for the next attempt at `retryAt` (Unix ms)
 * - `closed`: for good, by `close()` (code 1000) or by a final close code (4500 to 4599)
 */
export type ConnectionState =
  | { readonly state: 'connecting', readonly attempt: number }
  | { readonly state: 'open', readonly session: string, readonly user: Author | null, readonly serverTime: number, readonly limits: Record<string, unknown> }
  | { readonly state: 'fallback' }
  | { readonly state: 'waiting', readonly retryAt: number, readonly code: number, readonly reason: string }
  | { readonly state: 'closed', readonly code: number, readonly reason: string }

export interface ClientEvents {
  connection: ConnectionState
  inbox: Inbox
  sanction: Sanction
  held: Held
  /** Something failed that no call of the application's own answers for: the token provider, a frame of the server … */
  error: UproarError
}

export interface RoomEvents {
  joined: Joined
  message: MessageEntry
  remove: RemoveEntry
  state: StateEntry
  edit: EditEntry
  viewers: number
  signal: Signal
  skipped: Skipped
  repaired: Repaired
  sanction: Sanction
  held: Held
  /** The server does not let us in, or no more; this handle is done. */
  refused: UproarError
}

export type TokenProvider = () => string | null | Promise<string | null>

/** Times in milliseconds and counts that tests and unusual networks may change. */
export interface Timing {
  /** A PING goes out after so long without a frame. Default 10 s. */
  pingMs: number
  /** And however much comes, one goes out this often, to tell how far we are: with the next message, or within a second. Default 30 s. */
  reportMs: number
  /** No frame for so long after a PING (and on the fallback: pingMs + this without a byte) and the link is dead. Default 5 s. */
  pongMs: number
  /** How long opening a connection, the token provider and each request may take. Default 10 s. */
  openMs: number
  /** Back-off: a random time up to backoffMs × 2^attempt, at most backoffMaxMs. Defaults 500 ms and 30 s. */
  backoffMs: number
  backoffMaxMs: number
  /** How long a gap may wait for late entries before history is asked (default 300 ms), and until it is given up (default 2 s). */
  gapMs: number
  gapMaxMs: number
  /** While on the fallback, the WebSocket is tried again this often. Default 60 s. */
  socketRetryMs: number
  /** So many failures to open a WebSocket in a row, before it was ever open, and the client falls back. Default 2. */
  socketFailures: number
}

export interface ClientOptions {
  /** The socket: `wss://chat.example/ws`. */
  url: string
  /**
   * Where REST and server-sent events are, for the fallback: `https://chat.example`. By default made from `url`: ws → http,
   * port 9001 → 8080, and a closing `/ws` taken off. With other ports it has to be given.
   */
  httpUrl?: string
  /** A JWT, or the way to get a fresh one (asked at every connect and before expiry). Null or left out: anonymous, read only. */
  token?: string | null | TokenProvider
  /** Name and version of the application, for the server's logs. */
  client?: string
  /** How long a `send` may take over all its retries; then it rejects with what kept it. Default 60 s. */
  sendMs?: number
  /** How many sends may be waiting for their answer. Default 100. */
  pendingMax?: number
  /** Another WebSocket constructor; null for none (then the fallback is used at once). */
  WebSocket?: (new (url: string, protocols?: string | string[]) => WebSocket) | null
  timing?: Partial<Timing>
}

export interface JoinOptions {
  /** How many of the newest entries to begin with, 0 to 200. Default 50. */
  history?: number
  /** `full`: every entry. `live`: may be sampled when the room is hot (told by `skipped`). Default `full`. */
  view?: 'full' | 'live'
  /** Begin after this position, kept from an earlier time. */
  position?: Position
}

export interface SendOptions {
  /** One of KIND. Default text. */
  kind?: number
  ext?: Ext
  /** Names this message, so that a repeat appears once. Made by the client when left out. */
  nonce?: string
}

export interface HistoryQuery {
  /** Entries before this seq; left out: the newest. */
  before?: number
  /** 1 to 200. Default 50. */
  limit?: number
}

/** A refusal by the server, or a failure on the way to it. `code` and `name` are of the protocol's table of errors. */
export class UproarError extends Error {
  override readonly name: ErrorName | (string & {})
  readonly code: number
  /** Waiting so long helps; null when it does not. */
  readonly retryAfterMs: number | null

  constructor (code: number, name: ErrorName | (string & {}), message: string, retryAfterMs: number | null = null) {
    super(message)
    this.code = code
    this.name = name
    this.retryAfterMs = retryAfterMs
  }
}
