// One WebSocket connection as a session sees it, and what a listener tells of sockets. uws.ts implements it on
// uWebSockets.js; tests may fake it.

import type { Session } from './session.ts'

export interface Socket {
  /** Hands over a binary message. False when it could not be kept: the connection is gone or past its limit. */
  send (bytes: Uint8Array): boolean
  /** Bytes handed over and not written yet. */
  buffered (): number
  /** Hands over a binary message that goes in one write with what is published to its topics in this turn of the loop, in the order of the calls. */
  sendAlong (bytes: Uint8Array): void
  subscribe (topic: string): void
  unsubscribe (topic: string): void
  /** Closes with a code after what was sent before. */
  end (code: number, reason: string): void
  /** Cuts the connection. */
  cut (): void
}

/** What a handshake asks for. */
export interface Handshake {
  readonly origin: string
  /** Value of Sec-WebSocket-Protocol; empty when none was offered. */
  readonly protocols: string
  readonly forwardedFor: string
  /** Address of the TCP peer, as text. */
  readonly peer: string
}

export type Admission =
  | { readonly admitted: true, readonly address: string, readonly protocol: string }
  | { readonly admitted: false, readonly status: string, readonly body: string, readonly retryAfterS: number | null }

/** What the listener calls; none of these throws. */
export interface SocketEvents {
  /** A connection came from this TCP peer, and has said nothing yet. False: it is cut. */
  connect (peer: string): boolean
  /** A request came by one of them: a handshake, or something that is none. */
  speak (peer: string): void
  admit (handshake: Handshake): Admission
  open (socket: Socket, address: string): Session
  message (session: Session, bytes: Uint8Array, isBinary: boolean): void
  /** A WebSocket ping came, and was answered. */
  ping (session: Session): void
  drain (session: Session): void
  close (session: Session): void
}
