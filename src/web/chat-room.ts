// One room as the application holds it: events in seq order, and what it can do there.
// Knows its client only as the few calls it needs; must not know sockets.

import { Emitter } from './emitter.ts'
import type { HistoryQuery, Joined, Page, Position, RoomEvents, SendOptions, Sent } from './client-types.ts'

export class ChatRoom extends Emitter<RoomEvents> {
  readonly name: string
  /** The room's settings as known now. */
  state: Record<string, unknown> = {}
  /** Approximate number of viewers; null until told. */
  viewers: number | null = null

  constructor (name: string) {
    super()
    this.name = name
  }

  /** The last entry delivered; null before the first join. */
  get position (): Position | null {
    return null
  }

  /** Whether we are in the room on the present connection. */
  get isJoined (): boolean {
    return false
  }

  /** Resolves at the first join; rejects with UproarError when the server refuses or the client is closed. */
  ready (): Promise<Joined> {
    return Promise.reject(new Error('not yet'))
  }

  /** Sends a message here; see UproarClient.send. */
  send (body: string | Uint8Array, options: SendOptions = {}): Promise<Sent> {
    return Promise.reject(new Error(`not yet ${String(body)} ${String(options)}`))
  }

  /** Entries before a seq, oldest first. Rejects with UproarError. */
  history (query: HistoryQuery = {}): Promise<Page> {
    return Promise.reject(new Error(`not yet ${String(query)}`))
  }

  /** Typing, a reaction, delivered, read: best effort, lost when not connected by WebSocket. */
  signal (what: string, value: unknown = null): void {
    throw new Error(`not yet ${what} ${String(value)}`)
  }

  /** A moderation action; rejects with UproarError. Not available on the fallback. */
  moderate (action: string, args: Record<string, unknown> = {}): Promise<unknown> {
    return Promise.reject(new Error(`not yet ${action} ${String(args)}`))
  }

  /** Leaves for good. May be called twice. */
  async leave (): Promise<void> {}
}
