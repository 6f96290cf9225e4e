// The way to the server by WebSocket: frames as MessagePack, deflated where the platform inflates, requests by rid, PING
// when it is silent, and now and then.
// Must not know what the client does with what it hears. Bounded: 1,000 unanswered requests, each with a deadline.

import { IN, OUT, PROTOCOL } from '../../proto/ops.ts'
import { UproarError, type Author, type Entry, type Ext, type HistoryQuery, type Page, type Sent, type Timing } from './client-types.ts'
import { unanswered, type Draft, type Link, type LinkSink, type Place } from './link.ts'
import { decodeAll, encode } from './wire.ts'

const REQUESTS_MAX = 1000
/** How long a PING that only reports waits for a message to go with. */
const REPORT_GRACE_MS = 1000
/** No message of a room is longer inflated. */
const INFLATED_BYTES_MAX = 16_384

/** What a connection begins with. */
export interface Dial {
  readonly url: string
  readonly token: string | null
  readonly client: string | null
  readonly timing: Timing
  /** Whether this platform inflates (browsers since 2023 and Node do); a link for which it fails says so for those to come. */
  readonly inflating: { works: boolean }
  /** Where each room stands, told with every PING. */
  readonly positions: () => Record<string, number>
}

interface Request {
  readonly room: string | null
  readonly resolve: (result: never) => void
  readonly reject: (error: UproarError) => void
  readonly timer: unknown
}

export class SocketLink implements Link {
  readonly #socket: WebSocket
  readonly #dial: Dial
  readonly #sink: LinkSink
  readonly #requests = new Map<number, Request>()
  readonly #timers: Record<'open' | 'ping' | 'pong', unknown>
  #rid = 0
  /** Settled when what came so far was heard; null: all was. Inflating takes turns of the loop, and order must hold. */
  #hearing: Promise<void> | null = null
  #isOpen = false
  #isOver = false
  /** When the last message came, and when the last PING went. */
  #heardAt = 0
  #pingedAt = 0

  /** Throws what the constructor throws, as where a page's policy forbids the address. */
  constructor (Socket: new (url: string, protocols?: string | string[]) => WebSocket, dial: Dial, sink: LinkSink) {
    this.#dial = dial
    this.#sink = sink
    const socket = this.#socket = new Socket(dial.url, PROTOCOL)
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => this.#write([IN.HELLO, dial.token, dial.client])
    socket.onmessage = ({ data }) => this.#came(new Uint8Array(data as ArrayBuffer))
    socket.onclose = ({ code, reason }) => this.#inTurn(() => this.#end(code, reason))
    // Node 22 tells a connection that never came about as an error alone; where a close follows, it has the code.
    socket.onerror = () => setTimeout(() => this.#inTurn(() => this.#end(1006, 'no connection')), 0)
    this.#timers = {
      open: setTimeout(() => this.#end(1006, 'no welcome in time'), dial.timing.openMs),
      ping: null,
      pong: null
    }
  }

  join ({ room, position, history, view }: Place): void {
    const options = { history, view, ...this.#dial.inflating.works ? { encoding: 'deflate' } : {}, ...position === null ? {} : { position } }
    this.#ask(room, (rid) => [IN.JOIN, rid, room, options]).catch((error: UproarError) => this.#tell(room, 'refused', error))
  }

  leave (room: string): Promise<unknown> {
    return this.#ask(room, (rid) => [IN.LEAVE, rid, room])
  }

  async send ({ room, nonce, kind, body, ext }: Draft, deadlineMs: number): Promise<Sent> {
    const [seq, ts] = await this.#ask<[number, number]>(room, (rid) => [IN.SEND, rid, room, nonce, kind, body, ext], deadlineMs)
    return { seq, ts }
  }

  history (room: string, { before, limit }: HistoryQuery): Promise<Page> {
    return this.#ask(room, (rid) => [IN.HISTORY, rid, room, before ?? null, limit ?? 50])
  }

  auth (token: string): Promise<unknown> {
    return this.#ask(null, (rid) => [IN.AUTH, rid, token])
  }

  signal (room: string, what: string, value: unknown): void {
    this.#write([IN.SIGNAL, room, what, value])
  }

  moderate (room: string, action: string, args: Record<string, unknown>): Promise<unknown> {
    return this.#ask(room, (rid) => [IN.MODERATE, rid, room, action, args])
  }

  // Dead means: a PING went out and nothing at all came for pongMs. Silence alone says nothing, since a hidden page's
  // timers may sleep for a minute.
  probe (): void {
    if (!this.#isOpen) return
    this.#write([IN.PING, null, this.#dial.positions()])
    this.#pingedAt = performance.now()
    this.#timers.pong ??= setTimeout(() => this.#end(1006, 'the link is dead'), this.#dial.timing.pongMs)
    this.#watch()
  }

  /**
   * Until the next PING is due: after silence, and now and then in any case. That one goes with the next message that
   * comes, when the radio is on and the server at work anyway, and by itself where none comes soon.
   */
  #watch (): void {
    const { pingMs, reportMs } = this.#dial.timing
    const waitMs = Math.min(Math.max(this.#heardAt, this.#pingedAt) + pingMs, this.#pingedAt + reportMs + REPORT_GRACE_MS) - performance.now()
    clearTimeout(this.#timers.ping as number)
    if (waitMs <= 0) this.probe()
    else this.#timers.ping = setTimeout(() => this.#watch(), waitMs)
  }

  close (): void {
    this.#end(1000, '', 0, true)
  }

  #end (code: number, reason: string, afterMs = 0, isOurs = false): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const timer of Object.values(this.#timers)) clearTimeout(timer as number)
    const socket = this.#socket
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null
    socket.close()
    for (const { reject, timer } of this.#requests.values()) {
      clearTimeout(timer as number)
      reject(unanswered('the connection was lost'))
    }
    // Without a welcome and without a close code of ours, something in between may not let WebSockets through.
    if (!isOurs) this.#sink.lost(code, reason, afterMs, !this.#isOpen && !(code >= 4400 && code < 4600))
  }

  #write (frame: unknown[]): void {
    if (this.#socket.readyState === 1) this.#socket.send(encode(frame))
  }

  #ask<Result> (room: string | null, frame: (rid: number) => unknown[], deadlineMs = this.#dial.timing.openMs): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#isOver || this.#requests.size >= REQUESTS_MAX) return reject(unanswered('not connected, or too many requests'))
      const rid = ++this.#rid
      const timer = setTimeout(() => {
        this.#requests.delete(rid)
        reject(unanswered('no answer in time'))
      }, deadlineMs)
      this.#requests.set(rid, { room, resolve, reject, timer })
      this.#write(frame(rid))
    })
  }

  #answer (rid: number): Request | undefined {
    const request = this.#requests.get(rid)
    this.#requests.delete(rid)
    clearTimeout(request?.timer as number)
    return request
  }

  #tell: LinkSink['told'] = (room, name, what, epoch) => {
    if (!this.#isOver) this.#sink.told(room, name, what, epoch)
  }

  #came (bytes: Uint8Array<ArrayBuffer>): void {
    this.#heardAt = performance.now()
    clearTimeout(this.#timers.pong as number)
    this.#timers.pong = null
    if (bytes[1] !== OUT.DEFLATED) return this.#inTurn(() => this.#hear(bytes))
    const inflated = inflate(bytes)
    // The fault itself is heard in its turn.
    inflated.catch(() => { this.#dial.inflating.works = false })
    this.#hearing ??= Promise.resolve()
    this.#inTurn(async () => this.#hear(await inflated))
  }

  /** Does it now, or behind what is being inflated. */
  #inTurn (work: () => void | Promise<void>): void {
    if (this.#hearing === null) return void work()
    const turn = this.#hearing = this.#hearing.then(work).catch((error: unknown) => this.#unreadable(error)).then(() => {
      if (this.#hearing === turn) this.#hearing = null
    })
  }

  #unreadable (error: unknown): void {
    this.#end(1002, `unreadable: ${String(error)}`)
  }

  #hear (bytes: Uint8Array): void {
    try {
      // ROOM holds for the frames behind it in the same message, so that is how far this variable reaches.
      let at: [room: string, epoch: string] | null = null
      for (const frame of decodeAll(bytes)) {
        if (this.#isOver) return
        const [op, room, epoch] = frame as [number, string, string]
        if (op === OUT.ROOM) at = [room, epoch]
        else if (at === null || !this.#hearInRoom(frame as unknown[], at)) this.#hearOne(frame as unknown[], at?.[0] ?? null)
      }
      if (!this.#isOver && performance.now() - this.#pingedAt >= this.#dial.timing.reportMs) this.probe()
    } catch (error) {
      this.#unreadable(error)
    }
  }

  /** The frames that belong to the room named before them. */
  #hearInRoom (frame: unknown[], [room, epoch]: [string, string]): boolean {
    const [op, a, b, c, d] = frame as [number, never, never, never, never]
    if (op === OUT.VIEWERS) this.#tell(room, 'viewers', a)
    else if (op === OUT.SIGNAL) this.#tell(room, 'signal', { what: a, value: b })
    else if (op === OUT.SKIPPED) this.#tell(room, 'skipped', { first: a, last: b, count: c, reason: d }, epoch)
    else {
      const entry = entryOf(frame)
      if (entry === null) return false
      this.#tell(room, 'entry', entry, epoch)
    }
    return true
  }

  #hearOne (frame: unknown[], room: string | null): void {
    const [op, a, b, c, d, e] = frame as [number, never, never, never, never, never]
    switch (op) {
      case OUT.WELCOME: {
        this.#isOpen = true
        clearTimeout(this.#timers.open as number)
        this.#sink.opened({ state: 'open', session: a, user: authorOf(b), serverTime: c, limits: d })
        this.#pingedAt = performance.now()
        this.#watch()
        return
      }
      case OUT.OK: return this.#answer(a)?.resolve(b)
      case OUT.ERR: {
        const error = new UproarError(b, c, d, e ?? null)
        // Behind a ROOM it says that we are in that room no longer.
        return a === null ? this.#tell(room, room === null ? 'error' : 'refused', error) : this.#answer(a)?.reject(error)
      }
      case OUT.JOINED: {
        this.#answer(a)
        const [, , , epoch, seq, state, recovered] = frame as [0, 0, 0, string, number, Record<string, unknown>, boolean]
        return this.#tell(b, 'joined', { epoch, seq, state, recovered })
      }
      case OUT.PAGE: return this.#answer(a)?.resolve({ entries: (c as unknown[][]).map(entryOf).filter(Boolean), more: d } as never)
      case OUT.SANCTION: return this.#tell(room, 'sanction', { kind: a, until: b, reason: c })
      case OUT.HELD: {
        const request = this.#answer(a)
        request?.reject(new UproarError(27, 'held', 'the message waits for a moderator'))
        return this.#tell(request?.room ?? room, 'held', { ref: b, text: c })
      }
      case OUT.INBOX: {
        const entry = entryOf(b)
        return entry === null ? undefined : this.#tell(a, 'inbox', entry)
      }
      case OUT.BYE: return this.#end(a, b, c)
    }
  }
}

/** The message that a DEFLATED frame stands for. */
async function inflate (bytes: Uint8Array): Promise<Uint8Array> {
  const [[, deflated]] = decodeAll(bytes) as [[number, Uint8Array<ArrayBuffer>]]
  const reader = (new Response(deflated).body as ReadableStream<Uint8Array<ArrayBuffer>>).pipeThrough(new DecompressionStream('deflate')).getReader()
  const whole = new Uint8Array(INFLATED_BYTES_MAX)
  for (let length = 0; ;) {
    const { done, value } = await reader.read()
    if (done) return whole.subarray(0, length)
    // Throws where it is too long.
    whole.set(value, length)
    length += value.length
  }
}

function authorOf (user: [string, string, number] | null): Author | null {
  return user && { id: user[0], name: user[1], roles: user[2] }
}

/** An entry's frame as the application sees it; null when it is none. */
function entryOf (frame: unknown[]): Entry | null {
  const [op, seq, ts, a, b, c, d, shadow] = frame as [number, number, number, never, never, never, Ext | null | undefined, unknown]
  switch (op) {
    case OUT.MESSAGE: return { op: 'message', seq, ts, user: authorOf(a) as Author, kind: b, body: c, ext: d ?? null, ...(shadow === true ? { shadow } : {}) }
    case OUT.REMOVE: return { op: 'remove', seq, ts, target: a, by: b ?? null }
    case OUT.STATE: return { op: 'state', seq, ts, changes: a }
    case OUT.EDIT: return { op: 'edit', seq, ts, target: a, body: b, ext: c ?? null }
    default: return null
  }
}
