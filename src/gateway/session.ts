// One client's connection: what it may say when, and what it is answered. States:
//
//   new ──HELLO──▶ (token is verified) ──▶ ready ──▶ closed
//
// HELLO, JOIN and AUTH take time; frames that arrive meanwhile wait in order, PENDING_MAX of them. Everything else is
// answered as it comes, so many SENDs may be under way at once. State per viewer is these few fields: no closures, timers
// or maps (the gateway's tick looks at all sessions). Must not know uWebSockets.js, nor what a room does with a viewer.

import { decode, encode, encodeAll, BadFrame, type Frame } from '../../proto/codec.ts'
import { closeCode, type CloseName } from '../../proto/codes.ts'
import { encodePage } from '../../proto/entry.ts'
import { IN, OUT, type InOp } from '../../proto/ops.ts'
import { checkFrame, ridOf } from '../../proto/shape.ts'
import { isMap, isUint, LIMITS } from '../../proto/values.ts'
import type { Identity } from '../auth/auth.ts'
import { TOKEN_EXPIRED, type Authenticator } from '../auth/authenticator.ts'
import { TokenBucket } from '../base/bounded.ts'
import type { Clock } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import { Refusal, refusalOf } from '../base/errors.ts'
import type { Counting, Tally } from '../base/metrics.ts'
import { Author, Held, type Ingest, type Moderator } from '../ingest/ingest.ts'
import type { Published } from '../log/log.ts'
import { SWEEP_BYTES, type Member, type Rooms, type Viewer } from '../rooms/rooms.ts'
import { isDear, parseJoin, reportIn, type FramesIn } from './frames.ts'
import type { Socket } from './socket.ts'

export interface SessionContext {
  readonly rooms: Rooms
  readonly ingest: Ingest
  readonly moderator: Pick<Moderator, 'act'>
  readonly authenticator: Pick<Authenticator, 'verify'>
  readonly clock: Clock
  readonly metrics: Counting
  /** Of framesIn(metrics). */
  readonly framesIn: FramesIn
  /** Of metrics: messages given to a socket. */
  readonly socketWrites: Tally
  readonly config: Config
  readonly limits: Readonly<Record<string, number>>
  /** The session has (another) user now: limits per user are the gateway's. */
  readonly identified: (session: Session) => void
  /** Calls the session's flush() at the end of this turn of the loop. */
  readonly flushSoon: (session: Session) => void
  /** Calls it within a second, in case that no write comes by until then. */
  readonly flushLater: (session: Session) => void
  /** When the message that is being read came, by clock.elapsed(). */
  readonly arrivedAt: () => number
  readonly fault: (error: unknown, what: string) => void
}

const PENDING_MAX = 64
const REPORT: Frame = [IN.PING]
const PONG: Frame = [OUT.PONG, null]
/** Stands for none: most sessions never send, and need no array of their own. */
const NO_ANSWERS: Frame[] = []
/** With so many answers waiting a PONG waits no longer. */
const WAITING_MAX = 64
/** Frames a connection may send at once, in seconds' worth of its rate. */
const BURST_SECONDS = 4
/** A resume may have the server send 10,000 entries: it counts as so many frames. */
const RESUME_PRICE = 10
/** So many frames over the rate, and the connection is closed. */
const OVERRUN_MAX = 500

type Handler = (session: Session, frame: Frame) => Promise<void> | void

export class Session implements Viewer {
  readonly socket: Socket
  readonly address: string
  readonly number: number
  /** Unix milliseconds. */
  readonly since: number
  identity: Identity | null = null
  isReady = false
  isClosed = false
  /** The commit of the log that its rooms were last asked about; the inbox's. */
  askedFor = -1
  readonly #context: SessionContext
  #members: Member[] = []
  /** Frames that wait for the one under way; null when nothing is under way. */
  #pending: Frame[] | null = null
  /** What waits to go along with another write: OKs, for a commit answers many SENDs at once, and PONGs. One message carries them all. */
  #waiting: Frame[] = NO_ANSWERS
  /** Nothing but PONGs waits, which have time. */
  #isPatient = false
  /** As whom it sent last, and where; null: it has not yet. */
  #author: Author | null = null
  #bucket: TokenBucket
  #overrun = 0

  constructor (context: SessionContext, socket: Socket, address: string, number: number) {
    this.#context = context
    this.socket = socket
    this.address = address
    this.number = number
    this.since = context.clock.now()
    this.#bucket = new TokenBucket(context.config.framesPerSecondMax * BURST_SECONDS, context.clock.elapsed())
  }

  get id (): string { return `s${this.number.toString(36)}` }
  get rooms (): string[] { return this.#members.map((member) => member.room.name) }

  // ---- from the socket ------------------------------------------------------------------------------------------------

  /** A message arrived: the bytes from `from` up to `end`, which are good until this returns. */
  message (bytes: Uint8Array, isBinary: boolean, from = 0, end = bytes.length): void {
    if (this.isClosed) return
    const member = this.#members.length === 1 && this.#pending === null && isBinary ? this.#members[0] : undefined
    const seq = member === undefined ? null : reportIn(bytes, from, end, member.room.name)
    if (member !== undefined && seq !== null) return this.#reported(member, seq)
    const { metrics, config } = this.#context
    const frames = !isBinary
      ? new BadFrame('messages are binary')
      : end - from > config.clientMessageBytesMax ? new BadFrame(`a message has at most ${config.clientMessageBytesMax} bytes`) : decode(bytes, undefined, from, end)
    if (frames instanceof BadFrame) {
      metrics.add('uproar_bad_frames_total')
      return this.close('bad_frame', frames.reason)
    }
    for (const frame of frames) {
      if (this.isClosed) return
      if (this.#pending === null) this.#take(frame)
      else if (this.#pending.length < PENDING_MAX) this.#pending.push(frame)
      else this.#tooMany(frame, new Refusal('overloaded', `more than ${PENDING_MAX} frames wait for HELLO, JOIN or AUTH`, 1000))
    }
  }

  /** In how many milliseconds the first of its rooms can show what it sends now; 0: at once. `now`: clock.elapsed(). */
  askCommit (now: number): number {
    let least = Infinity
    for (const member of this.#members) least = Math.min(least, member.room.askCommit(now))
    return least === Infinity ? 0 : least
  }

  /** A WebSocket ping arrived, and the library has answered it: it counts like a frame, and must be read like an answer. */
  pinged (): void {
    if (this.isClosed) return
    if (this.#isUnread()) return this.tooSlow()
    this.#mayGoOn([IN.PING])
  }

  /** The socket took what was kept. */
  drained (): void {
    for (const member of this.#members) member.room.drained(member)
  }

  /** The socket is gone. */
  gone (): void {
    this.isClosed = true
    this.#pending = null
    for (const member of this.#members) member.room.leave(member, false)
    this.#members = []
  }

  // ---- to the socket --------------------------------------------------------------------------------------------------

  send (bytes: Uint8Array): boolean {
    if (this.isClosed) return false
    this.#context.socketWrites.value++
    if (this.socket.send(bytes)) return true
    this.tooSlow()
    return false
  }

  buffered (): number {
    return this.socket.buffered()
  }

  subscribe (topic: string): void { this.socket.subscribe(topic) }
  unsubscribe (topic: string): void { this.socket.unsubscribe(topic) }

  evicted (member: Member): void {
    this.#members = this.#members.filter((other) => other !== member)
    if (this.#author?.room === member.room) this.#author = null
  }

  tooSlow (): void {
    if (this.isClosed) return
    if (this.socket.buffered() === 0) return this.close('too_slow', 'reading too slowly')
    // A close frame would wait behind what is not being read: the connection is cut, and the client resumes.
    this.#context.metrics.add('uproar_closes_total', 1, 'too_slow')
    this.#depart()
    this.socket.cut()
  }

  /** Tells the client why (BYE), then closes. */
  close (name: CloseName, reason: string, reconnectAfterMs = 0): void {
    if (this.isClosed) return
    const { code } = closeCode(name)
    this.flush()
    if (this.isClosed) return
    this.#context.metrics.add('uproar_closes_total', 1, name)
    this.socket.send(encode([OUT.BYE, code, reason, reconnectAfterMs]))
    this.#depart()
    this.socket.end(code, name)
  }

  /** Leaves every room at once: a socket that closes slowly must not go on being published to. */
  #depart (): void {
    this.isClosed = true
    for (const member of this.#members) member.room.leave(member)
    this.#members = []
  }

  /** An answer. A client that asks without reading is too slow, like one that watches without reading. */
  #answer (frame: Frame): void {
    this.#answerBytes(encode(frame))
  }

  /** An OK goes along with the room's next write where that comes soon: a write of its own costs as much as a window's. */
  #acknowledge (ok: Frame, member: Member): void {
    const isComing = this.#waiting !== NO_ANSWERS && !this.#isPatient
    this.#wait(ok)
    this.#isPatient = false
    if (!isComing && (this.isClosed || !member.room.hold(member))) this.#context.flushSoon(this)
  }

  /** A PONG: of a PING without a value it waits for another write, a second at most; with one it goes at once, behind what waits. */
  #pong (pong: Frame, hasTime: boolean): void {
    const isComing = this.#waiting !== NO_ANSWERS
    const [member] = this.#members
    this.#wait(pong)
    if (!hasTime || member === undefined || this.#waiting.length >= WAITING_MAX) return this.flush()
    if (isComing) return
    this.#isPatient = true
    if (member.room.hold(member, true)) this.#context.flushLater(this)
    else this.flush()
  }

  #wait (answer: Frame): void {
    if (this.#waiting === NO_ANSWERS) this.#waiting = [answer]
    else this.#waiting.push(answer)
  }

  /** Sends the answers that wait, and what was published to this socket before, in one write. */
  flush (): void {
    const answers = this.#waiting
    if (answers === NO_ANSWERS) return
    this.#waiting = NO_ANSWERS
    this.#isPatient = false
    if (this.isClosed) return
    if (this.#isUnread()) return this.tooSlow()
    this.#context.socketWrites.value++
    this.socket.sendAlong(encodeAll(answers))
  }

  #answerBytes (bytes: Uint8Array): void {
    if (this.isClosed) return
    if (this.#isUnread()) return this.tooSlow()
    this.send(bytes)
  }

  /**
   * More is unread than its rooms alone may have left there (rooms/delivery.ts): the client asks without reading. Less
   * is no reason to cut a slow viewer that has just begun to read again and says so by a PING.
   */
  #isUnread (): boolean {
    return this.socket.buffered() > this.#context.config.slowKb * 1024 + (this.#members.length * 2 + 1) * SWEEP_BYTES
  }

  #refuse (frame: Frame, refusal: Refusal): void {
    this.#refuseTo(ridOf(frame), refusal)
  }

  #refuseTo (rid: number | null, refusal: Refusal): void {
    this.#answer([OUT.ERR, rid, refusal.code, refusal.name, refusal.message, refusal.retryAfterMs])
  }

  // ---- frames ---------------------------------------------------------------------------------------------------------

  #take (frame: Frame): void {
    if (!this.#mayGoOn(frame)) return
    const op = frame[0] as InOp
    const handler = HANDLERS[op]
    const { framesIn } = this.#context
    ;(framesIn.known[op] ?? framesIn.unknown).value++
    if (handler === undefined) return this.#refuse(frame, new Refusal('unsupported', `op ${op} is not served`))
    const fault = checkFrame(frame, 'client')
    if (fault !== null) return this.#refuse(frame, new Refusal('bad_request', fault))
    if (!this.isReady && op !== IN.HELLO) return this.#refuse(frame, new Refusal('bad_request', 'HELLO comes first'))
    const work = handler(this, frame)
    if (work === undefined) return
    this.#pending = []
    work.catch((error: unknown) => {
      this.#context.fault(error, `op ${op}`)
      this.#refuse(frame, refusalOf(error))
    }).finally(() => this.#goOn())
  }

  #goOn (): void {
    const waiting = this.#pending
    this.#pending = null
    if (waiting === null) return
    for (const [at, frame] of waiting.entries()) {
      if (this.isClosed) return
      this.#take(frame)
      // This one takes time too: the rest goes on waiting behind it.
      if (this.#pending !== null) {
        (this.#pending as Frame[]).push(...waiting.slice(at + 1))
        return
      }
    }
  }

  #mayGoOn (frame: Frame): boolean {
    const perSecond = this.#context.config.framesPerSecondMax
    if (perSecond === 0) return true
    const price = isDear(frame) ? RESUME_PRICE : 1
    const wait = this.#bucket.spend(this.#context.arrivedAt(), perSecond, perSecond * BURST_SECONDS, price)
    if (wait === 0) return true
    this.#tooMany(frame, new Refusal('rate_limited', `more than ${perSecond} frames a second, a resume or the begin of a replay counting as ${RESUME_PRICE}`, wait))
    return false
  }

  /** Refuses a frame too many; far too many end the connection. */
  #tooMany (frame: Frame, refusal: Refusal): void {
    if (++this.#overrun > OVERRUN_MAX) this.close('too_many_connections', 'far too many frames', 30_000)
    else this.#refuse(frame, refusal)
  }

  async hello (token: string | null): Promise<void> {
    const identity = token === null ? null : await this.#context.authenticator.verify(token)
    if (this.isClosed) return
    if (identity instanceof Refusal) {
      this.#answer([OUT.ERR, null, identity.code, identity.name, identity.message, identity.retryAfterMs])
      if (identity === TOKEN_EXPIRED) return this.close('expired', identity.message)
      return identity.name === 'unauthorized'
        ? this.close('unauthorized', identity.message)
        : this.close('server_error', identity.message, identity.retryAfterMs ?? 1000)
    }
    this.identity = identity
    this.isReady = true
    this.#context.identified(this)
    const user = identity === null ? null : [identity.id, identity.name, identity.roles]
    this.#answer([OUT.WELCOME, this.id, user, this.#context.clock.now(), this.#context.limits])
  }

  welcomedAlready (frame: Frame): void {
    this.#refuse(frame, new Refusal('bad_request', 'HELLO was said already; AUTH brings a fresh token'))
  }

  async join (frame: Frame): Promise<void> {
    const [, rid, name] = frame as [number, number, string]
    const options = parseJoin(frame[3] ?? null)
    if (options instanceof Refusal) return this.#refuse(frame, options)
    const before = this.#memberOf(name)
    if (before === undefined && this.#members.length >= this.#context.config.roomsPerConnectionMax) {
      return this.#refuse(frame, new Refusal('forbidden', `a connection is in at most ${this.#context.config.roomsPerConnectionMax} rooms`))
    }
    const room = await this.#context.rooms.open(name, this.identity, options.position)
    if (this.isClosed) return
    if (room instanceof Refusal) return this.#refuse(frame, room)
    if (this.#isUnread()) return this.tooSlow()
    if (before !== undefined) this.#leave(before)
    const member = room.join(this, rid, options)
    this.#members.push(member)
    // What the room sent may have been one message too many: then nobody would ever take the member out again.
    if (this.isClosed) this.#leave(member)
  }

  leave (frame: Frame): void {
    const [, rid, name] = frame as [number, number, string]
    const member = this.#memberOf(name)
    if (member === undefined) return this.#refuse(frame, notJoined(name))
    this.#leave(member)
    this.#answer([OUT.OK, rid, null])
  }

  submit (frame: Frame): void {
    const name = frame[2] as string
    if (this.identity === null) return this.#refuse(frame, new Refusal('unauthorized', 'reading needs no token, writing does'))
    const member = this.#memberOf(name)
    if (member === undefined) return this.#refuse(frame, notJoined(name))
    const { room } = member
    if (this.#author?.room !== room || this.#author.identity !== this.identity) this.#author = new Author(room, this.identity, this.address, 'socket')
    const submission = { nonce: frame[3], kind: frame[4], body: frame[5], ext: frame[6] ?? null }
    const rid = frame[1] as number
    this.#context.ingest.take(this.#author, submission, this.#context.arrivedAt(), (result) => this.#submitted(rid, member, result))
  }

  #submitted (rid: number, member: Member, result: Published | Refusal): void {
    if (result instanceof Held) this.#answer([OUT.HELD, rid, result.ref, result.text])
    else if (result instanceof Refusal) this.#refuseTo(rid, result)
    else this.#acknowledge([OUT.OK, rid, [result.seq, result.ts]], member)
  }

  history (frame: Frame): void {
    this.#page(frame).catch((error: unknown) => this.#refuse(frame, refusalOf(error)))
  }

  async #page (frame: Frame): Promise<void> {
    const [, rid, name, before, limit] = frame as [number, number, string, number | null, number]
    const room = this.#memberOf(name)?.room ?? await this.#context.rooms.find(name, this.identity)
    if (room instanceof Refusal) return this.#refuse(frame, room)
    const page = await room.history({ before, limit: Math.min(Math.max(limit, 1), LIMITS.historyEntries) }, this.identity)
    this.#answerBytes(encodePage(rid, name, page.entries, page.more))
  }

  replay (frame: Frame): void {
    this.#run(frame).catch((error: unknown) => this.#refuse(frame, refusalOf(error)))
  }

  async #run (frame: Frame): Promise<void> {
    const [, rid, name, at, after, limit] = frame as [number, number, string, number, number | null, number]
    const room = this.#memberOf(name)?.room ?? await this.#context.rooms.find(name, this.identity)
    if (room instanceof Refusal) return this.#refuse(frame, room)
    const from = after ?? await room.pages.seqAt(at) - 1
    const page = await room.history({ after: from, limit: Math.min(Math.max(limit, 1), LIMITS.historyEntries) }, this.identity)
    this.#answerBytes(encodePage(rid, name, page.entries, page.more))
  }

  ping (value: unknown, positions: unknown): void {
    this.#pong([OUT.PONG, value ?? null], value == null)
    if (!isMap(positions)) return
    // Whoever is too slow leaves, which makes a new list.
    for (const member of this.#members) {
      const seq = Object.hasOwn(positions, member.room.name) ? positions[member.room.name] : undefined
      if (isUint(seq)) member.room.reported(member, seq)
    }
  }

  /** A PING without a value that reports on one room. */
  #reported (member: Member, seq: number): void {
    if (!this.#mayGoOn(REPORT)) return
    const { known } = this.#context.framesIn
    ;(known[IN.PING] as Tally).value++
    this.#pong(PONG, true)
    if (!member.isGone) member.room.reported(member, seq)
  }

  moderate (frame: Frame): void {
    const [, rid, name, action, args] = frame as [number, number, string, string, Record<string, unknown>]
    this.#context.moderator.act(name, this.identity, action, args).then((result) => {
      if (result instanceof Refusal) this.#refuse(frame, result)
      else this.#answer([OUT.OK, rid, [result.seq, result.ts]])
    }, (error: unknown) => this.#context.fault(error, 'MODERATE'))
  }

  async reauthenticate (frame: Frame): Promise<void> {
    const [, rid, token] = frame as [number, number, string]
    const identity = await this.#context.authenticator.verify(token)
    if (this.isClosed) return
    if (identity instanceof Refusal) return this.#refuse(frame, identity)
    if (this.identity !== null && this.identity.id !== identity.id) return this.#refuse(frame, new Refusal('forbidden', 'the token is of another user; connect anew to be somebody else'))
    this.identity = identity
    this.#context.identified(this)
    this.#answer([OUT.OK, rid, identity.expiresAt])
    for (const member of [...this.#members]) member.room.identified(member)
  }

  #memberOf (name: string): Member | undefined {
    for (const member of this.#members) if (member.room.name === name) return member
    return undefined
  }

  #leave (member: Member): void {
    this.evicted(member)
    member.room.leave(member)
  }
}

const HANDLERS: Readonly<Record<number, Handler | undefined>> = {
  [IN.HELLO]: (session, frame) => session.isReady ? session.welcomedAlready(frame) : session.hello((frame[1] ?? null) as string | null),
  [IN.JOIN]: (session, frame) => session.join(frame),
  [IN.LEAVE]: (session, frame) => session.leave(frame),
  [IN.SEND]: (session, frame) => session.submit(frame),
  [IN.HISTORY]: (session, frame) => session.history(frame),
  // Best effort, and no kind of signal is served yet: nothing is answered, as the contract says.
  [IN.SIGNAL]: () => {},
  [IN.MODERATE]: (session, frame) => session.moderate(frame),
  [IN.PING]: (session, frame) => session.ping(frame[1], frame[2]),
  [IN.AUTH]: (session, frame) => session.reauthenticate(frame),
  [IN.REPLAY]: (session, frame) => session.replay(frame)
}

function notJoined (name: string): Refusal {
  return new Refusal('not_joined', `join ${name.slice(0, LIMITS.roomCharacters)} first`)
}
