// What a room needs of whoever watches it over a socket, and of the thing that can publish to many sockets at once. The
// gateway implements both; rooms never see a socket.

import type { Identity } from '../auth/auth.ts'
import type { Member } from './member.ts'

/** One connection, as a room sees it. */
export interface Viewer {
  readonly identity: Identity | null
  /** Hands bytes to the socket, which keeps what it cannot write yet. False when the connection is gone. */
  send (bytes: Uint8Array): boolean
  /** Bytes handed over and not written yet. */
  buffered (): number
  /** Sends what it held back until the room's next write (Room.hold), in one write with what was just published to it. */
  flush (): void
  subscribe (topic: string): void
  unsubscribe (topic: string): void
  /** The viewer made no progress for too long: tell and close it (4408). */
  tooSlow (): void
  /** The room let the viewer go, and has told it so: it was deleted, or is closed to this viewer now. */
  evicted (member: Member): void
}

/** Sends the same bytes to every subscriber of a topic. Never drops for a viewer within the bounds of delivery.ts. */
export interface Fanout {
  publish (topic: string, bytes: Uint8Array): void
}
