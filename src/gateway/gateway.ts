// The socket side: who may connect, how many, for how long, and how all of them are sent away. Owns the set of sessions;
// must not know chat rules (ingest) or delivery (rooms). Bounds: connections in all, per address and per user.

import { PROTOCOL } from '../../proto/ops.ts'
import { errorCode, type ErrorName } from '../../proto/codes.ts'
import { LIMITS } from '../../proto/values.ts'
import type { Authenticator } from '../auth/authenticator.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Ingest, Moderator } from '../ingest/ingest.ts'
import { SWEEP_BYTES, type Fanout, type Rooms } from '../rooms/rooms.ts'
import { addressRange, TrustedProxies } from '../base/peers.ts'
import { Session, type SessionContext } from './session.ts'
import type { Admission, Handshake, Socket, SocketEvents } from './socket.ts'
import { Listener } from './uws.ts'

/** A connection as operators see it. */
export interface ConnectionInfo {
  readonly session: string
  readonly user: string | null
  readonly address: string
  /** Unix milliseconds. */
  readonly since: number
  readonly rooms: readonly string[]
  readonly bufferedBytes: number
}

export interface GatewayOptions {
  readonly config: Config
  readonly clock: Clock
  readonly metrics: Metrics
  readonly rooms: Rooms
  readonly ingest: Ingest
  readonly moderator: Pick<Moderator, 'act'>
  readonly authenticator: Authenticator
  readonly listener: Listener
  readonly fault: (error: unknown, what: string) => void
}

const TICK_MS = 250
const TICKS_PER_EXPIRY_CHECK = 4
/** After its token expired a connection may still read for so long, and bring a fresh one by AUTH. */
const EXPIRY_GRACE_MS = 30_000
const DRAIN_SLICE = 250
const IN_FLIGHT_MS = 2000
const GOODBYE_MS = 1000

/** The listener that gateway and rooms share: rooms publish through it. */
export function createListener (config: Config): Listener {
  const { host, wsPort, compression, idleTimeoutS, slowKb, roomsPerConnectionMax, tlsCertFile, tlsKeyFile } = config
  return new Listener({
    host,
    port: wsPort,
    compression,
    idleTimeoutS,
    tls: tlsCertFile === null || tlsKeyFile === null ? null : { certFile: tlsCertFile, keyFile: tlsKeyFile },
    // A subscribed socket holds slowKb at the last look, twice what each of its rooms may send until the next, and one
    // page or catch-up of its own: below this nothing is ever dropped (see rooms/delivery.ts).
    backpressureMax: slowKb * 1024 + roomsPerConnectionMax * 2 * SWEEP_BYTES + 4_194_304
  })
}

/** What rooms publish to in a process that has no sockets. */
export const noFanout: Fanout = { publish () {} }

export class Gateway implements SocketEvents {
  readonly name = 'gateway'
  readonly #config: Config
  readonly #clock: Clock
  readonly #metrics: Metrics
  readonly #ingest: Ingest
  readonly #listener: Listener
  readonly #context: SessionContext
  readonly #proxies: TrustedProxies
  readonly #origins: ReadonlySet<string>
  readonly #fault: (error: unknown, what: string) => void
  #sessions = new Set<Session>()
  /** Sessions that have not said HELLO, oldest first, and when they opened, by clock.elapsed(). */
  #unwelcomed = new Map<Session, number>()
  #perAddress = new Map<string, number>()
  #perUser = new Map<string, Session[]>()
  #numbers = Math.floor(Math.random() * 2 ** 40)
  #tick: Timer | null = null
  #ticks = 0
  #isDraining = false
  /** Sessions with OKs to send at the end of this turn. */
  #toFlush: Session[] = []

  constructor (options: GatewayOptions) {
    const { config, clock, metrics, rooms, ingest, moderator, authenticator, fault } = options
    this.#config = config
    this.#clock = clock
    this.#metrics = metrics
    this.#ingest = ingest
    this.#listener = options.listener
    this.#fault = fault
    this.#proxies = new TrustedProxies(config.trustedProxies)
    this.#origins = new Set(config.origins.map((origin) => origin.toLowerCase()))
    const limits = {
      messageBytes: config.clientMessageBytesMax,
      textCharacters: config.textCharactersMax,
      framesPerMessage: LIMITS.framesPerMessage,
      rooms: config.roomsPerConnectionMax,
      historyEntries: LIMITS.historyEntries,
      metaBytes: LIMITS.metaBytes,
      pingSeconds: 10
    }
    this.#context = { rooms, ingest, moderator, authenticator, clock, metrics, config, limits, fault, identified: (session) => this.#identified(session), flushSoon: (session) => this.#flushSoon(session) }
  }

  get port (): number { return this.#listener.port }
  get size (): number { return this.#sessions.size }

  async start (): Promise<void> {
    await this.#listener.listen(this)
    this.#tick = this.#clock.every(TICK_MS, () => this.#onTick())
  }

  /** Takes no more connections, lets what is under way end, sends everybody away at a pace, then cuts the rest. */
  async stop (): Promise<void> {
    this.#isDraining = true
    this.#tick?.cancel()
    this.#listener.stopListening()
    await this.#until(() => this.#ingest.underWay === 0, IN_FLIGHT_MS)
    await this.#sendAway()
    await this.#until(() => this.#sessions.size === 0, GOODBYE_MS)
    this.#listener.close()
  }

  /** Connections of this process, newest last; `limit` of them at most. */
  connections (query: { limit: number, user?: string, room?: string }): ConnectionInfo[] {
    const found: ConnectionInfo[] = []
    for (const session of query.user === undefined ? this.#sessions : this.#perUser.get(query.user) ?? []) {
      if (found.length >= query.limit) break
      const rooms = session.rooms
      if (query.room !== undefined && !rooms.includes(query.room)) continue
      const { id, address, since } = session
      found.push({ session: id, user: session.identity?.id ?? null, address, since, rooms, bufferedBytes: session.buffered() })
    }
    return found
  }

  // ---- SocketEvents: nothing here may throw into the library ----------------------------------------------------------

  admit (handshake: Handshake): Admission {
    try {
      return this.#admit(handshake)
    } catch (error) {
      this.#fault(error, 'a handshake')
      return this.#refused('error', '500 Internal Server Error', 'internal', 'the server failed at this; it is logged')
    }
  }

  open (socket: Socket, address: string): Session {
    const session = new Session(this.#context, socket, address, this.#numbers++)
    this.#sessions.add(session)
    this.#unwelcomed.set(session, this.#clock.elapsed())
    const range = addressRange(address)
    this.#perAddress.set(range, (this.#perAddress.get(range) ?? 0) + 1)
    this.#metrics.add('uproar_connections_total')
    this.#metrics.set('uproar_connections', this.#sessions.size)
    return session
  }

  message (session: Session, bytes: Uint8Array, isBinary: boolean): void {
    this.#tell(session, 'a client message', () => session.message(bytes, isBinary))
  }

  ping (session: Session): void {
    this.#tell(session, 'a ping', () => session.pinged())
  }

  drain (session: Session): void {
    this.#tell(session, 'a drained socket', () => session.drained())
  }

  close (session: Session): void {
    this.#sessions.delete(session)
    this.#unwelcomed.delete(session)
    const range = addressRange(session.address)
    const left = (this.#perAddress.get(range) ?? 1) - 1
    if (left === 0) this.#perAddress.delete(range)
    else this.#perAddress.set(range, left)
    this.#forgetUser(session)
    this.#metrics.set('uproar_connections', this.#sessions.size)
    try {
      session.gone()
    } catch (error) {
      this.#fault(error, 'a closed socket')
    }
  }

  // ---- the rest ---------------------------------------------------------------------------------------------------------

  #admit ({ origin, protocols, forwardedFor, peer }: Handshake): Admission {
    const { connectionsMax, connectionsPerAddressMax } = this.#config
    if (this.#isDraining) return this.#refused('draining', '503 Service Unavailable', 'unavailable', 'the server is going away', 2)
    // Browsers always say their origin, and only they can be made to connect by a page: other clients are not bound.
    if (this.#origins.size > 0 && origin !== '' && !this.#origins.has(origin.toLowerCase())) return this.#refused('origin', '403 Forbidden', 'forbidden', 'this origin may not connect (ORIGINS)')
    const offered = protocols.split(',').map((part) => part.trim()).filter((part) => part !== '')
    if (offered.length > 0 && !offered.includes(PROTOCOL)) return this.#refused('protocol', '400 Bad Request', 'bad_request', `this server speaks the subprotocol ${PROTOCOL}`)
    if (connectionsMax > 0 && this.#sessions.size >= connectionsMax) return this.#refused('full', '503 Service Unavailable', 'overloaded', 'the server has all the connections it takes', 10)
    const address = this.#proxies.clientAddress(peer, forwardedFor)
    if (connectionsPerAddressMax > 0 && (this.#perAddress.get(addressRange(address)) ?? 0) >= connectionsPerAddressMax) {
      return this.#refused('address', '429 Too Many Requests', 'rate_limited', 'too many connections from this address', 10)
    }
    return { admitted: true, address, protocol: offered.length > 0 ? PROTOCOL : '' }
  }

  #tell (session: Session, what: string, call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#fault(error, what)
      session.close('server_error', 'the server failed at this; it is logged', 1000)
    }
  }

  #refused (reason: string, status: string, name: ErrorName, message: string, retryAfterS: number | null = null): Admission {
    this.#metrics.add('uproar_connections_refused_total', 1, reason)
    const error = { code: errorCode(name).code, name, message, retryAfterMs: retryAfterS === null ? null : retryAfterS * 1000 }
    return { admitted: false, status, body: JSON.stringify({ error }), retryAfterS }
  }

  #flushSoon (session: Session): void {
    if (this.#toFlush.push(session) > 1) return
    // Once everything of this commit is answered, and before the library writes what was published meanwhile.
    process.nextTick(() => { for (const waiting of this.#toFlush.splice(0)) waiting.flush() })
  }

  #identified (session: Session): void {
    this.#unwelcomed.delete(session)
    const id = session.identity?.id
    if (id === undefined) return
    const own = this.#perUser.get(id) ?? []
    if (own.includes(session)) return
    own.push(session)
    this.#perUser.set(id, own)
    const max = this.#config.connectionsPerUserMax
    if (max === 0) return
    while (own.length > max) own.shift()?.close('replaced', 'a newer connection of the same user took its place')
  }

  #forgetUser (session: Session): void {
    const id = session.identity?.id
    const own = id === undefined ? undefined : this.#perUser.get(id)
    if (id === undefined || own === undefined) return
    const left = own.filter((other) => other !== session)
    if (left.length === 0) this.#perUser.delete(id)
    else this.#perUser.set(id, left)
  }

  #onTick (): void {
    this.#ticks++
    const now = this.#clock.now()
    // By the clock that never jumps: one set back would let the silent stay.
    const late = this.#clock.elapsed() - this.#config.helloTimeoutMs
    for (const [session, openedAt] of this.#unwelcomed) {
      if (openedAt > late) break
      this.#unwelcomed.delete(session)
      session.close('hello_timeout', `no HELLO within ${this.#config.helloTimeoutMs} ms`)
    }
    if (this.#ticks % TICKS_PER_EXPIRY_CHECK !== 0) return
    for (const session of this.#sessions) {
      if (session.identity !== null && session.identity.expiresAt + EXPIRY_GRACE_MS < now) session.close('expired', 'the token has expired')
    }
  }

  /** BYE to everybody, a slice a turn, with reconnect delays spread so that they do not all come back at once. */
  async #sendAway (): Promise<void> {
    const spreadMs = Math.min(10_000, Math.max(500, this.#sessions.size))
    let inSlice = 0
    for (const session of [...this.#sessions]) {
      session.close('draining', 'the server is going away', Math.ceil(Math.random() * spreadMs))
      if (++inSlice % DRAIN_SLICE === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async #until (isDone: () => boolean, ms: number): Promise<void> {
    const end = performance.now() + ms
    while (!isDone() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
