// The thin client: one class for browsers and Node 22, one connection, several rooms. It keeps itself connected, gives
// every entry once and in order, and sends each message until it is answered or its deadline passes.
// Must not know pages. Bounds: pendingMax unanswered sends, 1,000 entries held per gap, one timer of each sort.
//
//   const client = connect({ url: 'wss://chat.example/ws', token: () => fetchToken() })
//   const room = client.join('lobby')                  // listen at once: nothing is told before this turn ends
//   room.on('message', ({ user, body }) => show(user.name, body))
//   const { seq } = await room.send('hello')

import type { ChatRoom } from './chat-room.ts'
import type { ClientEvents, ClientOptions, ConnectionState, HistoryQuery, JoinOptions, Page, SendOptions, Sent } from './client-types.ts'
import { Emitter } from './emitter.ts'

export { KIND, ROLE } from '../../proto/ops.ts'
export { ChatRoom } from './chat-room.ts'
export { UproarError } from './client-types.ts'
export type * from './client-types.ts'
export type { Off } from './emitter.ts'

/** Makes a client and lets it connect. Nothing throws later: what happens is told by events. */
export function connect (options: ClientOptions): UproarClient {
  return new UproarClient(options)
}

export class UproarClient extends Emitter<ClientEvents> {
  readonly #options: ClientOptions
  readonly #rooms = new Map<string, ChatRoom>()
  #state: ConnectionState = { state: 'connecting', attempt: 1 }

  constructor (options: ClientOptions) {
    super()
    this.#options = options
  }

  /** How the client is connected now; the `connection` event tells each change. */
  get state (): ConnectionState {
    return this.#state
  }

  /** The rooms joined (or being joined), by name. */
  get rooms (): ReadonlyMap<string, ChatRoom> {
    return this.#rooms
  }

  /** Enters a room, now and after every reconnect, until `leave`. The same name again gives the same handle. */
  join (room: string, options: JoinOptions = {}): ChatRoom {
    throw new Error(`not yet: ${room} ${String(options)} ${String(this.#options)}`)
  }

  /**
   * Sends a message; the same as `room.send`. Resolves when the server has it for good. Repeats it by itself, with the
   * same nonce, over lost connections and while the server is overloaded. Rejects with UproarError when the server
   * refuses, when pendingMax sends are waiting (`overloaded`), when sendMs passed (`unavailable`), or at close (`closed`).
   */
  async send (room: string, body: string | Uint8Array, options: SendOptions = {}): Promise<Sent> {
    throw new Error(`not yet: ${room} ${String(body)} ${String(options)}`)
  }

  /** Older entries of a room. Rejects with UproarError. */
  async history (room: string, query: HistoryQuery = {}): Promise<Page> {
    throw new Error(`not yet: ${room} ${String(query)}`)
  }

  /** Ends it: leaves all rooms, rejects what is pending with `closed`. May be called twice. */
  close (): void {
    this.#state = { state: 'closed', code: 1000, reason: 'closed by the application' }
  }
}
