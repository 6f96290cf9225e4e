// The socket side: who may connect, how many, for how long, and how all of them are sent away. Owns the set of sessions;
// must not know chat rules (ingest) or delivery (rooms). Bounds: connections in all, per address and per user.

import { PROTOCOL } from '../../proto/ops.ts'
import { errorCode, type ErrorName } from '../../proto/codes.ts'
import { LIMITS } from '../../proto/values.ts'
import type { Identity, Revoked } from '../auth/auth.ts'
import type { Authenticator } from '../auth/authenticator.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import { UNCOUNTED, type Metrics } from '../base/metrics.ts'
import { paced } from '../base/pace.ts'
import { addressRange, plainAddress, TrustedProxies, type ConnectionInfo } from '../base/peers.ts'
import { stampOf, type Cluster } from '../cluster/cluster.ts'
import type { KickTarget } from '../cluster/orders.ts'
import type { Ingest, Moderator } from '../ingest/ingest.ts'
import type { Rhythm } from '../log/log.ts'
import { SWEEP_BYTES, type Fanout, type Rooms } from '../rooms/rooms.ts'
import { Inbox } from './inbox.ts'
import { Newcomers } from './newcomers.ts'
import { framesIn } from './frames.ts'
import { Session, type SessionContext } from './session.ts'
import type { Admission, Handshake, Socket, SocketEvents } from './socket.ts'
import { Listener } from './uws.ts'

export interface GatewayOptions {
  readonly config: Config
  readonly clock: Clock
  readonly metrics: Metrics
  readonly rooms: Rooms
  readonly ingest: Ingest
  readonly moderator: Pick<Moderator, 'act'>
  readonly authenticator: Authenticator
  readonly listener: Listener
  /** Who counts connections on other instances; by default there are none. */
  readonly cluster?: Census
  /** Which tokens count no longer; by default all do. */
  readonly revoked?: Revoked
  /** Of the log, where it has one. */
  readonly rhythm?: Rhythm | null
  /** The server's own viewer: whoever offers this secret as a subprotocol is that user, and is neither counted nor listed. */
  readonly probe?: { readonly secret: string, readonly identity: Identity } | undefined
  /** Has it in the operator's log that a connection came or went: of one in LOG_CONNECTIONS. */
  readonly note?: (what: string, details: Readonly<Record<string, unknown>>) => void
  readonly fault: (error: unknown, what: string) => void
}

/** What the gateway needs of the cluster. */
export type Census = Pick<Cluster, 'note' | 'elsewhere' | 'noteUser'>

const ALONE: Census = { note () {}, elsewhere: () => 0, noteUser () {} }
const NONE_REVOKED: Revoked = { has: () => false }

/** Stands for the probe's: it is limited by no address. */
const PROBE_ADDRESS = ''

const TICK_MS = 250
const TICKS_PER_EXPIRY_CHECK = 4
/** What waits for a write longer than this, and less than twice as long, is sent without one. */
const TICKS_PER_FLUSH = 2
const FLUSHES_PER_TURN = 300
/** After its token expired a connection may still read for so long, and bring a fresh one by AUTH. */
const EXPIRY_GRACE_MS = 30_000
/** A drain is no slower than this, so that the last few need not wait for its end. */
const DRAIN_PER_SECOND_MIN = 200
/** Connections are closed at a pace, so that they come back at one; this takes the edge off each step of it. */
const DRAIN_SPREAD_MS = 500
const IN_FLIGHT_MS = 2000
const GOODBYE_MS = 1000
const DONE = Promise.resolve()

/** The listener that gateway and rooms share: rooms publish through it. */
export function createListener (config: Config, options: { sharesPort?: boolean } = {}): Listener {
  const { host, wsPort, compression, idleTimeoutS, slowKb, roomsPerConnectionMax, tlsCertFile, tlsKeyFile } = config
  return new Listener({
    host,
    port: wsPort,
    sharesPort: options.sharesPort ?? false,
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
  readonly #note: (what: string, details: Readonly<Record<string, unknown>>) => void
  readonly #probeContext: SessionContext
  readonly #probeSecret: string | null
  readonly #proxies: TrustedProxies
  readonly #newcomers: Newcomers
  readonly #origins: ReadonlySet<string>
  readonly #census: Census
  readonly #revoked: Revoked
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
  #sentAway: Promise<void> | null = null
  #mustReview = false
  /** Sessions with OKs to send at the end of this turn. */
  #toFlush: Session[] = []
  /** What may wait for another write: since the last look, and since the one before. */
  #toFlushLater: [Session[], Session[]] = [[], []]
  /** No token here expires before; looked for again once it is over. */
  #expiryAt = Infinity
  readonly #inbox: Inbox | null

  constructor (options: GatewayOptions) {
    const { config, clock, metrics, rooms, ingest, moderator, authenticator, fault } = options
    this.#config = config
    this.#clock = clock
    this.#metrics = metrics
    this.#ingest = ingest
    this.#listener = options.listener
    this.#fault = fault
    this.#census = options.cluster ?? ALONE
    this.#revoked = options.revoked ?? NONE_REVOKED
    this.#proxies = new TrustedProxies(config.trustedProxies)
    const { rhythm = null } = options
    this.#inbox = rhythm === null ? null : new Inbox(rhythm, clock, (session, bytes, from, end) => this.#read(session, bytes, true, from, end))
    this.#newcomers = new Newcomers(clock, config.connectionsPerAddressMax)
    this.#origins = new Set(config.origins.map((origin) => origin.toLowerCase()))
    const limits = {
      messageBytes: config.clientMessageBytesMax,
      textCharacters: config.textCharactersMax,
      framesPerMessage: LIMITS.framesPerMessage,
      rooms: config.roomsPerConnectionMax,
      historyEntries: LIMITS.historyEntries,
      metaBytes: LIMITS.metaBytes,
      pingSeconds: 10,
      reportSeconds: 30
    }
    this.#context = { rooms, ingest, moderator, authenticator, clock, metrics, framesIn: framesIn(metrics), socketWrites: metrics.tally('uproar_socket_writes_total'), config, limits, fault, identified: (session) => this.#identified(session), flushSoon: (session) => this.#flushSoon(session), flushLater: (session) => { this.#toFlushLater[1].push(session) }, arrivedAt: () => this.#inbox?.arrivedAt ?? clock.elapsed() }
    this.#note = options.note ?? (() => {})
    const { probe } = options
    this.#probeSecret = probe?.secret ?? null
    this.#probeContext = probe === undefined ? this.#context : { ...this.#context, metrics: UNCOUNTED, framesIn: framesIn(UNCOUNTED), socketWrites: UNCOUNTED.tally('uproar_socket_writes_total'), authenticator: { verify: async () => probe.identity } }
  }

  get port (): number { return this.#listener.port }
  get size (): number { return this.#sessions.size }
  get isDraining (): boolean { return this.#isDraining }

  async start (): Promise<void> {
    await this.#listener.listen(this)
    this.#tick = this.#clock.every(TICK_MS, () => this.#onTick())
  }

  /**
   * Takes no more connections and sends everybody away over DRAIN_S, at a steady pace, so that the instances they go to
   * see newcomers at that pace too. What is in flight goes on meanwhile. May be called twice.
   */
  sendAway (): Promise<void> {
    this.#sentAway ??= this.#sendAway()
    return this.#sentAway
  }

  /** Drains, lets what is under way end, then cuts the rest. */
  async stop (): Promise<void> {
    await this.sendAway()
    this.#tick?.cancel()
    await this.#until(() => this.#ingest.underWay === 0, IN_FLIGHT_MS)
    await this.#until(() => this.#sessions.size === 0, GOODBYE_MS)
    this.#listener.close()
  }

  /** Tokens were revoked: within a tick open connections are looked through. */
  reviewTokens (): void {
    this.#mustReview = true
  }

  /** Frames for every connection that the user has here. */
  toUser (user: string, bytes: Uint8Array): void {
    for (const session of [...this.#perUser.get(user) ?? []]) session.send(bytes)
  }

  /** The user has too many connections on all instances: those that opened before the stamp give way. */
  crowded (user: string, beforeStamp: number): void {
    for (const session of [...this.#perUser.get(user) ?? []]) if (stampOf(session) < beforeStamp) this.#replace(session)
  }

  /** Closes connections for good, by an operator's order; answers how many. Looks through all of them, but for a user's. */
  kick (target: KickTarget, reason: string): number {
    const all = 'user' in target ? this.#perUser.get(target.user) ?? [] : this.#sessions
    const found = [...all].filter((session) => 'user' in target || ('session' in target ? session.id === target.session : session.address === target.address))
    for (const session of found) session.close('kicked', reason)
    return found.length
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

  connect (peer: string): boolean {
    const address = plainAddress(peer)
    if (this.#proxies.trusts(address) || this.#newcomers.came(address)) return true
    this.#metrics.add('uproar_connections_refused_total', 1, 'silent')
    return false
  }

  speak (peer: string): void {
    this.#newcomers.spoke(plainAddress(peer))
  }

  admit (handshake: Handshake): Admission {
    try {
      return this.#admit(handshake)
    } catch (error) {
      this.#fault(error, 'a handshake')
      return this.#refused('error', '500 Internal Server Error', 'internal', 'the server failed at this; it is logged')
    }
  }

  open (socket: Socket, address: string): Session {
    const isProbe = address === PROBE_ADDRESS
    const session = new Session(isProbe ? this.#probeContext : this.#context, socket, address, this.#numbers++)
    this.#unwelcomed.set(session, this.#clock.elapsed())
    if (isProbe) return session
    this.#sessions.add(session)
    if (this.#isLogged(session)) this.#note('a connection came', { session: session.id, address })
    const range = addressRange(address)
    const here = (this.#perAddress.get(range) ?? 0) + 1
    this.#perAddress.set(range, here)
    this.#noteAddress(range, here)
    this.#metrics.add('uproar_connections_total')
    this.#metrics.set('uproar_connections', this.#sessions.size)
    return session
  }

  message (session: Session, bytes: Uint8Array, isBinary: boolean): void {
    if (this.#inbox === null || !isBinary || !this.#inbox.keep(session, bytes)) this.#read(session, bytes, isBinary)
  }

  #read (session: Session, bytes: Uint8Array, isBinary: boolean, from = 0, end = bytes.length): void {
    // Not by `tell`: it would take a function for each message.
    try {
      session.message(bytes, isBinary, from, end)
    } catch (error) {
      this.#failed(session, 'a client message', error)
    }
  }

  ping (session: Session): void {
    this.#tell(session, 'a ping', () => session.pinged())
  }

  drain (session: Session): void {
    this.#tell(session, 'a drained socket', () => session.drained())
  }

  close (session: Session): void {
    this.#unwelcomed.delete(session)
    if (this.#isLogged(session)) this.#noteEnd(session)
    if (session.address !== PROBE_ADDRESS) this.#forget(session)
    try {
      this.#inbox?.readOf(session)
      session.gone()
    } catch (error) {
      this.#fault(error, 'a closed socket')
    }
  }

  // ---- the rest ---------------------------------------------------------------------------------------------------------

  /** By its number, so that whoever was logged as coming is logged as going. */
  #isLogged ({ number, address }: Session): boolean {
    const every = this.#config.logConnections
    return every > 0 && number % every === 0 && address !== PROBE_ADDRESS
  }

  #noteEnd ({ id, address, identity, rooms, since, isClosed }: Session): void {
    this.#note('a connection went', { session: id, address, user: identity?.id ?? null, rooms, seconds: Math.round((this.#clock.now() - since) / 1000), by: isClosed ? 'server' : 'client' })
  }

  #forget (session: Session): void {
    this.#sessions.delete(session)
    const range = addressRange(session.address)
    const left = (this.#perAddress.get(range) ?? 1) - 1
    if (left === 0) this.#perAddress.delete(range)
    else this.#perAddress.set(range, left)
    this.#noteAddress(range, left)
    this.#forgetUser(session)
    this.#metrics.set('uproar_connections', this.#sessions.size)
  }

  #admit ({ origin, protocols, forwardedFor, peer }: Handshake): Admission {
    const { connectionsMax, connectionsPerAddressMax } = this.#config
    if (this.#isDraining) return this.#refused('draining', '503 Service Unavailable', 'unavailable', 'the server is going away', 2)
    // Browsers always say their origin, and only they can be made to connect by a page: other clients are not bound.
    if (this.#origins.size > 0 && origin !== '' && !this.#origins.has(origin.toLowerCase())) return this.#refused('origin', '403 Forbidden', 'forbidden', 'this origin may not connect (ORIGINS)')
    const offered = protocols.split(',').map((part) => part.trim()).filter((part) => part !== '')
    if (offered.length > 0 && !offered.includes(PROTOCOL)) return this.#refused('protocol', '400 Bad Request', 'bad_request', `this server speaks the subprotocol ${PROTOCOL}`)
    if (this.#probeSecret !== null && offered.includes(this.#probeSecret)) return { admitted: true, address: PROBE_ADDRESS, protocol: PROTOCOL }
    if (connectionsMax > 0 && this.#sessions.size >= connectionsMax) return this.#refused('full', '503 Service Unavailable', 'overloaded', 'the server has all the connections it takes', 10)
    const address = this.#proxies.clientAddress(peer, forwardedFor)
    if (connectionsPerAddressMax > 0 && this.#countOf(addressRange(address)) >= connectionsPerAddressMax) {
      return this.#refused('address', '429 Too Many Requests', 'rate_limited', 'too many connections from this address', 10)
    }
    return { admitted: true, address, protocol: offered.length > 0 ? PROTOCOL : '' }
  }

  #tell (session: Session, what: string, call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#failed(session, what, error)
    }
  }

  #failed (session: Session, what: string, error: unknown): void {
    this.#fault(error, what)
    session.close('server_error', 'the server failed at this; it is logged', 1000)
  }

  #refused (reason: string, status: string, name: ErrorName, message: string, retryAfterS: number | null = null): Admission {
    this.#metrics.add('uproar_connections_refused_total', 1, reason)
    const error = { code: errorCode(name).code, name, message, retryAfterMs: retryAfterS === null ? null : retryAfterS * 1000 }
    return { admitted: false, status, body: JSON.stringify({ error }), retryAfterS }
  }

  /** Connections from the range on all instances, as far as they are known. */
  #countOf (range: string): number {
    return (this.#perAddress.get(range) ?? 0) + this.#census.elsewhere('addresses', range)
  }

  #noteAddress (range: string, here: number): void {
    if (this.#config.connectionsPerAddressMax > 0) this.#census.note('addresses', range, here)
  }

  #noteUser (id: string, own: readonly Session[]): void {
    if (this.#config.connectionsPerUserMax > 0) this.#census.noteUser(id, own.map(stampOf))
  }

  #replace (session: Session): void {
    session.close('replaced', 'a newer connection of the same user took its place')
  }

  readonly #flushAll = (): void => { for (const waiting of this.#toFlush.splice(0)) waiting.flush() }

  #flushSoon (session: Session): void {
    if (this.#toFlush.push(session) > 1) return
    // Once everything of this commit is answered, and before the library writes what was published meanwhile. The tick queue
    // would do as well, but is a call from C++ of its own.
    void DONE.then(this.#flushAll)
  }

  #identified (session: Session): void {
    this.#unwelcomed.delete(session)
    this.#expiryAt = Math.min(this.#expiryAt, session.identity?.expiresAt ?? Infinity)
    const id = session.identity?.id
    if (id === undefined || session.address === PROBE_ADDRESS) return
    const own = this.#perUser.get(id) ?? []
    if (own.includes(session)) return
    own.push(session)
    this.#perUser.set(id, own)
    const max = this.#config.connectionsPerUserMax
    if (max === 0) return
    while (own.length > max) this.#replace(own.shift() as Session)
    this.#noteUser(id, own)
  }

  #forgetUser (session: Session): void {
    const id = session.identity?.id
    const own = id === undefined ? undefined : this.#perUser.get(id)
    if (id === undefined || own === undefined) return
    const left = own.filter((other) => other !== session)
    if (left.length === 0) this.#perUser.delete(id)
    else this.#perUser.set(id, left)
    this.#noteUser(id, left)
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
    if (this.#mustReview) this.#review()
    if (this.#ticks % TICKS_PER_FLUSH === 0) {
      const [late, others] = this.#toFlushLater
      this.#toFlushLater = [others, []]
      this.#flushLate(late)
    }
    if (this.#ticks % TICKS_PER_EXPIRY_CHECK === 0 && this.#expiryAt + EXPIRY_GRACE_MS < now) this.#closeExpired(now)
  }

  #closeExpired (now: number): void {
    this.#expiryAt = Infinity
    for (const session of this.#sessions) {
      if (session.identity === null) continue
      if (session.identity.expiresAt + EXPIRY_GRACE_MS < now) session.close('expired', 'the token has expired')
      else this.#expiryAt = Math.min(this.#expiryAt, session.identity.expiresAt)
    }
  }

  /** Clients that came back together ping together: so many at a time, for the loop's sake. */
  #flushLate (late: Session[]): void {
    for (const session of late.splice(0, FLUSHES_PER_TURN)) this.#tell(session, 'PING', () => session.flush())
    if (late.length > 0) setImmediate(() => this.#flushLate(late))
  }

  #review (): void {
    this.#mustReview = false
    for (const session of this.#sessions) {
      if (session.identity !== null && this.#revoked.has(session.identity)) session.close('unauthorized', 'the token was revoked')
    }
  }

  async #sendAway (): Promise<void> {
    this.#isDraining = true
    this.#listener.stopListening()
    this.#inbox?.readAll()
    // What was accepted before is answered where it was asked, as far as that takes no time.
    await this.#until(() => this.#ingest.underWay === 0, IN_FLIGHT_MS / 10)
    await paced([...this.#sessions], { ms: this.#config.drainS * 1000, perSecondMin: DRAIN_PER_SECOND_MIN },
      (session) => session.close('draining', 'the server is going away', Math.ceil(Math.random() * DRAIN_SPREAD_MS)))
  }

  async #until (isDone: () => boolean, ms: number): Promise<void> {
    const end = performance.now() + ms
    while (!isDone() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
