// The thin client: one class for browsers and Node 22, one connection, several rooms. It keeps itself connected, gives
// every entry once and in order, and sends each message until it is answered or its deadline passes.
// Must not know pages. Bounds: pendingMax unanswered sends, 1,000 entries held per gap, one timer of each sort.
//
//   const client = connect({ url: 'wss://chat.example/ws', token: () => fetchToken() })
//   const room = client.join('lobby')                  // listen at once: nothing is told before this turn ends
//   room.on('message', ({ user, body }) => show(user.name, body))
//   const { seq } = await room.send('hello')

import { mayReconnect } from '../../proto/codes.ts'
import { ChatRoom, type RoomHost } from './chat-room.ts'
import { UproarError, type ClientEvents, type ClientOptions, type ConnectionState, type HistoryQuery, type Inbox, type JoinOptions, type Page, type SendOptions, type Sent, type Timing } from './client-types.ts'
import { Emitter } from './emitter.ts'
import type { Link, LinkSink, Told, Welcome } from './link.ts'
import { isBusy, Outbox } from './outbox.ts'
import { SocketLink } from './socket-link.ts'
import { StreamLink } from './stream-link.ts'
import { TokenSource } from './token-source.ts'

export { KIND, ROLE } from '../../proto/ops.ts'
export type { ChatRoom } from './chat-room.ts'
export { UproarError } from './client-types.ts'
export type * from './client-types.ts'
export type { Off } from './emitter.ts'

const TIMING: Timing = {
  pingMs: 10_000, reportMs: 30_000, pongMs: 5_000, openMs: 10_000, backoffMs: 500, backoffMaxMs: 30_000, gapMs: 300, gapMaxMs: 2_000,
  socketRetryMs: 60_000, socketFailures: 2
}
/** After so many fresh tokens refused in a row nothing that waits is kept waiting for another one. */
const TOKENS_REFUSED_MAX = 3

/** Makes a client and lets it connect. Throws only for a `url` that is none; all else is told by events. */
export function connect (options: ClientOptions): UproarClient {
  return new UproarClient(options)
}

export class UproarClient extends Emitter<ClientEvents> {
  readonly #options: ClientOptions
  readonly #timing: Timing
  readonly #base: string
  readonly #tokens: TokenSource
  readonly #outbox: Outbox
  readonly #rooms = new Map<string, ChatRoom>()
  readonly #inflating = { works: typeof DecompressionStream === 'function' && typeof Response === 'function' }
  readonly #waiting = new Set<() => void>()
  /** Rooms that a fresh token was fetched for since they were last joined. */
  readonly #renewedFor = new WeakSet<ChatRoom>()
  readonly #timers: Record<'dial' | 'token' | 'socket', unknown> = { dial: null, token: null, socket: null }
  #state: ConnectionState = { state: 'connecting', attempt: 1 }
  #link: Link | null = null
  #probe: Link | null = null
  #isUp = false
  #upSince = Infinity
  #attempt = 0
  #notBefore = 0
  #blocked = 0
  #wasOpen = false
  #refreshing: Promise<void> | null = null
  #clockSkewMs = 0
  /** Why there is no connection, for those who wait for one. */
  #fault: UproarError | null = null
  #tokensRefused = 0

  constructor (options: ClientOptions) {
    super()
    this.#options = options
    this.#timing = { ...TIMING, ...options.timing }
    const { href } = new URL(options.url)
    this.#base = options.httpUrl?.replace(/\/$/, '') ?? href.replace(/^ws/, 'http').replace(/:9001(?=\/)/, ':8080').replace(/(\/ws)?\/?$/, '')
    this.#tokens = new TokenSource(options.token ?? null, this.#timing.openMs)
    const { sendMs = 60_000, pendingMax = 100 } = options
    this.#outbox = new Outbox({
      usable: (...place) => this.#usable(...place),
      pause: (...time) => this.#pause(...time),
      renew: this.#tokens.isRenewable ? () => this.#refresh() : null
    }, { sendMs, pendingMax, backoffMs: this.#timing.backoffMs, answerMs: this.#timing.openMs })
    globalThis.addEventListener?.('online', this.#wake)
    globalThis.document?.addEventListener('visibilitychange', this.#wake)
    // Not at once, so that the application can listen first.
    this.#timers.dial = setTimeout(() => this.#dial(), 0)
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
  join (name: string, options: JoinOptions = {}): ChatRoom {
    const known = this.#rooms.get(name)
    if (known !== undefined) return known
    const room = new ChatRoom(name, this.#host, options, this.#timing)
    if (this.#state.state === 'closed') {
      room.part(this.#fault as UproarError)
      return room
    }
    this.#rooms.set(name, room)
    if (this.#isUp) this.#link?.join(room.place)
    return room
  }

  /**
   * Sends a message; the same as `room.send`. Resolves when the server has it for good. Repeats it by itself, with the
   * same nonce, over lost connections and while the server is overloaded. Rejects with UproarError when the server
   * refuses; when pendingMax sends are waiting (`overloaded`); when sendMs passed, with what kept it (`unavailable` …);
   * when the token is refused (`unauthorized`: at once, or at the third fresh one in a row); or at close (`closed`).
   */
  send (room: string, body: string | Uint8Array, options: SendOptions = {}): Promise<Sent> {
    return this.#outbox.send(room, body, options)
  }

  /** Older entries of a room. Rejects with UproarError. */
  async history (room: string, query: HistoryQuery = {}): Promise<Page> {
    return (await this.#usable(room, Date.now() + this.#timing.openMs, null)).history(room, query)
  }

  /** Ends it: leaves all rooms, rejects what is pending with `closed`. May be called twice. */
  close (): void {
    this.#finish(1000, 'closed by the application')
  }

  readonly #host: RoomHost = {
    send: (...message) => this.send(...message),
    history: (...query) => this.history(...query),
    signal: (...signal) => this.#link?.signal(...signal),
    moderate: async (...action) => (await this.#usable(action[0], Date.now() + this.#timing.openMs, null)).moderate(...action),
    leave: async (room) => {
      if (this.#rooms.get(room.name) !== room) return
      this.#rooms.delete(room.name)
      room.part(new UproarError(0, 'closed', 'the room was left'))
      // Whether the server heard of it or the link is lost first: we are out.
      if (this.#isUp) await this.#link?.leave(room.name).catch(() => null)
    },
    stray: () => this.#drop(1006, 'the room has another log')
  }

  // Connecting. One link at a time; while it is the fallback, a second one may try the WebSocket again.

  async #dial (): Promise<void> {
    clearTimeout(this.#timers.dial as number)
    this.#timers.dial = null
    this.#become({ state: 'connecting', attempt: ++this.#attempt })
    const token = await this.#token()
    if (this.#state.state !== 'connecting') return
    if (token instanceof UproarError) return this.#lose(1006, token.message, 0, token)
    const isSocket = this.#socket() !== null && (this.#wasOpen || this.#blocked < this.#timing.socketFailures)
    try {
      this.#link = isSocket ? this.#dialSocket(token) : this.#dialStream(token)
    } catch (error) {
      this.#blocked++
      return this.#lose(1006, String(error), 0)
    }
    this.#refreshBefore(token)
  }

  #socket (): ClientOptions['WebSocket'] {
    return this.#options.WebSocket === undefined ? globalThis.WebSocket ?? null : this.#options.WebSocket
  }

  #dialSocket (token: string | null): Link {
    const link: Link = new SocketLink(this.#socket() as typeof WebSocket, {
      url: this.#options.url,
      token,
      client: this.#options.client ?? null,
      timing: this.#timing,
      inflating: this.#inflating,
      positions: () => Object.fromEntries([...this.#rooms.values()].filter(({ isJoined }) => isJoined).map(({ name, position }) => [name, position?.[1]])) as Record<string, number>
    }, this.#sink(() => link))
    return link
  }

  #dialStream (token: string | null): Link {
    const link: Link = new StreamLink(this.#base, this.#options.httpUrl === undefined, token, this.#timing, this.#sink(() => link))
    return link
  }

  #sink (self: () => Link): LinkSink {
    return {
      opened: (welcome) => this.#open(self(), welcome),
      told: (room, name, what, epoch) => {
        if (self() === this.#link) this.#hear(room, name, what, epoch)
      },
      lost: (code, reason, afterMs, isBlocked) => {
        if (self() !== this.#link) {
          this.#probe = null
          return this.#retrySocket()
        }
        // On the fallback a failure sends us back to the socket, so that the two are tried in turn.
        if (isBlocked) this.#blocked = this.#link instanceof SocketLink ? this.#blocked + 1 : this.#timing.socketFailures - 1
        this.#lose(code, reason, afterMs)
      }
    }
  }

  #open (link: Link, welcome: Welcome | null): void {
    if (link !== this.#link) {
      // The WebSocket gets through after all: it takes over, and every room resumes where the fallback stood.
      this.#link?.close()
      this.#part()
      clearTimeout(this.#timers.dial as number)
      this.#timers.dial = this.#probe = null
      this.#link = link
    }
    this.#isUp = true
    this.#upSince = Date.now()
    const { socketRetryMs, socketFailures } = this.#timing
    // Where the fallback failed before, the server was away, and the socket may do again: that is tried soon.
    if (welcome === null) this.#retrySocket(this.#attempt > socketFailures + 1 ? socketRetryMs / 10 : socketRetryMs)
    else {
      this.#wasOpen = true
      clearTimeout(this.#timers.socket as number)
      this.#timers.socket = null
      this.#clockSkewMs = welcome.serverTime - Date.now()
      this.#proven()
      this.#become(welcome)
    }
    for (const room of this.#rooms.values()) link.join(room.place)
    if (this.#rooms.size === 0) this.#fallenBack()
    this.#changed()
  }

  #fallenBack (): void {
    if (this.#isUp && this.#state.state === 'connecting') this.#become({ state: 'fallback' })
  }

  #retrySocket (waitMs = this.#timing.socketRetryMs): void {
    if (this.#socket() === null) return
    this.#timers.socket ??= setTimeout(async () => {
      this.#timers.socket = null
      const token = await this.#token()
      if (token instanceof UproarError || this.#probe !== null || this.#state.state !== 'fallback') return this.#retrySocket()
      try {
        this.#probe = this.#dialSocket(token)
      } catch {
        // The constructor itself refuses, as it did before: the fallback goes on, and so does the trying.
        this.#retrySocket()
      }
    }, waitMs)
  }

  /** Hangs up and comes back. */
  #drop (code: number, reason: string): void {
    this.#link?.close()
    this.#lose(code, reason, 0)
  }

  #lose (code: number, reason: string, afterMs: number, fault = faultOf(code, reason)): void {
    if (this.#state.state === 'closed') return
    if (!mayReconnect(code)) return this.#finish(code, reason)
    this.#fault = fault
    // A token that lived and expired is nothing to wonder at; one that never got in is.
    if (code === 4401 && !this.#isUp) this.#tokensRefused += this.#tokens.isRenewable ? 1 : TOKENS_REFUSED_MAX
    this.#part()
    // A connection that held for a while starts the back-off anew; one that was cut at once goes on with it.
    if (Date.now() - this.#upSince > this.#timing.pingMs) this.#attempt = 0
    this.#upSince = Infinity
    const { backoffMs, backoffMaxMs } = this.#timing
    this.#notBefore = Date.now() + afterMs
    const waitMs = Math.round(afterMs + Math.random() * Math.min(backoffMaxMs, backoffMs * 2 ** Math.max(0, this.#attempt - 1)))
    this.#timers.dial = setTimeout(() => this.#dial(), waitMs)
    this.#become({ state: 'waiting', retryAt: Date.now() + waitMs, code, reason })
    if (this.#tokensRefused >= TOKENS_REFUSED_MAX) this.#changed()
  }

  /** The server let us in. */
  #proven (): void {
    this.#fault = null
    this.#tokensRefused = 0
  }

  #part (): void {
    this.#isUp = false
    this.#link = null
    clearTimeout(this.#timers.token as number)
    for (const room of this.#rooms.values()) room.part()
  }

  #finish (code: number, reason: string): void {
    if (this.#state.state === 'closed') return
    this.#link?.close()
    this.#probe?.close()
    this.#part()
    for (const timer of Object.values(this.#timers)) clearTimeout(timer as number)
    globalThis.removeEventListener?.('online', this.#wake)
    globalThis.document?.removeEventListener('visibilitychange', this.#wake)
    const fault = this.#fault = faultOf(code, reason)
    this.#become({ state: 'closed', code, reason })
    for (const room of this.#rooms.values()) room.part(fault)
    this.#rooms.clear()
    this.#changed()
  }

  #become (state: ConnectionState): void {
    this.#state = state
    this.emit('connection', state)
  }

  /** The network came back or the page is looked at again: no use in waiting, and the link may have died meanwhile. */
  readonly #wake = (): void => {
    if (globalThis.document?.visibilityState === 'hidden') return
    if (this.#timers.dial === null) this.#link?.probe()
    else {
      clearTimeout(this.#timers.dial as number)
      this.#timers.dial = setTimeout(() => this.#dial(), Math.max(0, this.#notBefore - Date.now()))
    }
  }

  // Tokens.

  async #token (): Promise<string | null | UproarError> {
    const token = await this.#tokens.ask()
    if (token instanceof UproarError) this.emit('error', token)
    return token
  }

  /** Gets a fresh token to the server some time before this one expires. */
  #refreshBefore (token: string | null): void {
    clearTimeout(this.#timers.token as number)
    const waitMs = this.#tokens.renewalMs(token, Date.now() + this.#clockSkewMs)
    if (waitMs !== null) this.#timers.token = setTimeout(() => this.#refresh(), waitMs)
  }

  /** One at a time: whoever else needs it waits for the same. */
  #refresh (): Promise<void> {
    return this.#refreshing ??= this.#renew().finally(() => { this.#refreshing = null })
  }

  async #renew (): Promise<void> {
    const link = this.#link
    const token = await this.#token()
    if (link === null || link !== this.#link) return
    clearTimeout(this.#timers.token as number)
    if (typeof token !== 'string') {
      // The former token may hold a while yet: the provider is asked again soon.
      this.#timers.token = setTimeout(() => this.#refresh(), this.#timing.backoffMs * 10)
      return
    }
    await link.auth(token).catch((error: UproarError) => this.emit('error', error))
    if (link === this.#link) this.#refreshBefore(token)
  }

  // Hearing.

  #hear<Name extends keyof Told> (name: string | null, what: Name, told: Told[Name], epoch: string | undefined): void {
    const room = this.#rooms.get(name ?? '')
    this.#fallenBack()
    if (what === 'error') this.emit('error', told as UproarError)
    else if (what === 'inbox') this.emit('inbox', { room: name, entry: told } as Inbox)
    else if (what === 'sanction' || what === 'held') {
      const event = { room: name, ...told as Told['sanction'] & Told['held'] }
      this.emit(what, event)
      room?.emit(what, event)
    } else if (room === undefined) return
    else if (what === 'refused') this.#refused(room, told as UproarError)
    else {
      room.hear(what, told, epoch)
      if (what !== 'joined') return
      this.#renewedFor.delete(room)
      this.#proven()
      this.#changed()
    }
  }

  #refused (room: ChatRoom, error: UproarError): void {
    // Once for each time of being in: a private room refuses the anonymous like this too, and a fresh token of nobody's does not help.
    const isStale = error.code === 10 && this.#tokens.isRenewable && !this.#renewedFor.has(room)
    if (isStale) this.#renewedFor.add(room)
    room.part()
    if (error.retryAfterMs === null && !isBusy(error) && !isStale) {
      this.#rooms.delete(room.name)
      room.part(error)
      room.emit('refused', error)
      return this.#changed()
    }
    const link = this.#link
    setTimeout(async () => {
      if (isStale) await this.#refresh()
      if (link === this.#link && this.#rooms.get(room.name) === room) link?.join(room.place)
    }, Math.max(error.retryAfterMs ?? 0, this.#timing.backoffMs) * (1 + Math.random()))
  }

  // Sending.

  /** The link, once it is up and we are in that room (if it is one that we join). */
  async #usable (room: string, until: number, why: UproarError | null): Promise<Link> {
    for (;;) {
      if (this.#state.state === 'closed' || this.#tokensRefused >= TOKENS_REFUSED_MAX) throw this.#fault as UproarError
      if (until <= Date.now()) throw overdue(this.#fault ?? why)
      if (this.#link !== null && this.#isUp && this.#rooms.get(room)?.isJoined !== false) return this.#link
      await this.#pause(until - Date.now(), true)
    }
  }

  /** Waits so long, or until the client is closed; with `orChange`, until anything changes about the connection. */
  #pause (ms: number, orChange: boolean): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      const wake = (): void => {
        if (orChange || this.#state.state === 'closed') done()
      }
      const timer = setTimeout(done, this.#state.state === 'closed' ? 0 : ms)
      this.#waiting.add(wake)
    })
  }

  #changed (): void {
    for (const wake of [...this.#waiting]) wake()
  }
}

/** What the end of a connection is to those who waited for it. */
function faultOf (code: number, reason: string): UproarError {
  if (code === 1000) return new UproarError(0, 'closed', 'the client is closed')
  if (code === 4401 || code === 4501) return new UproarError(10, 'unauthorized', reason)
  if (code === 4503) return new UproarError(20, 'banned', reason)
  return mayReconnect(code) ? new UproarError(40, 'unavailable', reason) : new UproarError(0, 'closed', `the server ended the connection: ${reason}`)
}

function overdue (why: UproarError | null): UproarError {
  return why === null ? new UproarError(40, 'unavailable', 'no answer in time') : new UproarError(why.code, why.name, `no answer in time: ${why.message}`)
}
