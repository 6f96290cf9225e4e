// A chat client as a stranger would write it from proto/PROTOCOL.md alone: WebSocket frames, event streams, handshakes.
// Keeps the books that the document asks of a client (order, gaps, skips, answers) and notes each breach in `faults`.
// Must not know the server's code. Bound: decode limits are all set, every wait has a deadline.

import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inflateSync } from 'node:zlib'
import { decodeMulti, encode } from '@msgpack/msgpack'
import { exportJWK, SignJWT } from 'jose'
import type { Test } from 'tap'
import { API_KEY, type Program } from './harness.ts'

const WAIT_MS = 8_000
const MIB = 1024 * 1024
const DECODE = { maxStrLength: MIB, maxBinLength: MIB, maxArrayLength: 1_000, maxMapLength: 1_000, maxExtLength: 0 }

export const OP = {
  HELLO: 1, JOIN: 2, LEAVE: 3, SEND: 4, HISTORY: 5, SIGNAL: 6, MODERATE: 7, PING: 8, AUTH: 9,
  WELCOME: 32, OK: 33, ERR: 34, JOINED: 35, ROOM: 36, MESSAGE: 37, REMOVE: 38, STATE: 39, EDIT: 40,
  VIEWERS: 48, SIGNAL_OUT: 49, SKIPPED: 50, SANCTION: 51, HELD: 52, BYE: 53, PONG: 54, PAGE: 55, INBOX: 56, DEFLATED: 57
} as const

/** Of the table of errors: names by code, those that say when to try again, the status over HTTP. */
export const NAMES = new Map([[1, 'bad_request'], [2, 'unsupported'], [10, 'unauthorized'], [11, 'forbidden'], [12, 'not_found'], [13, 'not_joined'], [22, 'slow_mode'],
  [23, 'rate_limited'], [25, 'too_long'], [26, 'blocked'], [30, 'room_locked'], [40, 'unavailable'], [41, 'overloaded']])
export const WAITS = new Set([22, 23, 40, 41])
export const HTTP: Record<number, number> = { 1: 400, 2: 501, 10: 401, 11: 403, 12: 404, 13: 409, 22: 429, 23: 429, 25: 413, 26: 422, 30: 423, 40: 503, 41: 503 }

// Fields are checked by the tests, one by one, so their types stay open here.
export type Frame = any[]

/** What one JOIN brought, from its JOINED on. */
export interface Stay {
  readonly epoch: string
  readonly head: number
  readonly state: Record<string, unknown>
  readonly recovered: boolean
  readonly entries: Frame[]
  readonly skipped: Frame[]
  viewers: number | null
  next: number | null
  over: Frame | null
}

interface Waiter { readonly probe: () => boolean, readonly fail: (why: string) => void }

/** Waits for conditions on what arrives, checked at each arrival. */
class Arrivals {
  #waiters = new Set<Waiter>()

  async until<T> (what: string, probe: () => T | null | undefined | false, timeoutMs = WAIT_MS): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      const waiter: Waiter = {
        probe: () => {
          const found = probe()
          if (found === null || found === undefined || found === false) return false
          end()
          resolve(found)
          return true
        },
        fail: (why) => {
          end()
          reject(new Error(`${why} while waiting for ${what}`))
        }
      }
      const timer = setTimeout(() => waiter.fail(`${timeoutMs} ms passed`), timeoutMs)
      const end = (): void => {
        clearTimeout(timer)
        this.#waiters.delete(waiter)
      }
      this.#waiters.add(waiter)
      if (!waiter.probe() && this.over !== null) waiter.fail(this.over)
    })
  }

  /** Why nothing more will come, once that is so. */
  over: string | null = null

  arrived (): void {
    for (const waiter of [...this.#waiters]) if (!waiter.probe() && this.over !== null) waiter.fail(this.over)
  }
}

export class Client extends Arrivals {
  readonly frames: Frame[] = []
  readonly faults: string[] = []
  readonly stays = new Map<string, Stay>()
  closed: { code: number, reason: string } | null = null
  longestLiveMessage = 0
  /** Messages that came deflated. */
  deflated = 0
  #socket: WebSocket
  #rid = 0
  #joins = new Map<number, any>()
  #answered = new Map<number, Frame>()

  static async open (url: string, { protocols = ['uproar.v1'], headers = {} }: { protocols?: string[], headers?: Record<string, string> } = {}): Promise<Client> {
    // Node's WebSocket takes headers, which its types do not know.
    const client = new Client(new WebSocket(url, { protocols, headers } as never))
    await client.until('the socket to open', () => client.#socket.readyState === WebSocket.OPEN)
    return client
  }

  /** Opens, says HELLO, has WELCOME, or what else is to come. */
  static async ready (url: string, token: string | null = null, { headers = {}, until = OP.WELCOME }: { headers?: Record<string, string>, until?: number } = {}): Promise<Client> {
    const client = await Client.open(url, { headers })
    client.send([OP.HELLO, token, 'independent/1.0'])
    await client.first(until)
    return client
  }

  constructor (socket: WebSocket) {
    super()
    this.#socket = socket
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => this.arrived()
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.#take(new Uint8Array(data))
      else this.faults.push('a message that is not binary')
      this.arrived()
    }
    // A refused handshake is an error without a close here.
    socket.onerror = () => {
      this.over ??= 'the socket failed'
      this.arrived()
    }
    socket.onclose = ({ code, reason }) => {
      this.closed = { code, reason }
      this.over = `the connection was closed with ${code}`
      this.arrived()
    }
  }

  get protocol (): string { return this.#socket.protocol }

  raw (data: string | Uint8Array<ArrayBuffer>): void { this.#socket.send(data) }

  /** Frames back to back in one message. */
  send (...frames: Frame[]): void {
    for (const frame of frames) if (frame[0] === OP.JOIN) this.#joins.set(frame[1], frame[3])
    this.raw(Uint8Array.from(Buffer.concat(frames.map((frame) => encode(frame)))))
  }

  nextRid (): number { return ++this.#rid }

  /** A request with a fresh rid; resolves with its answer, whatever that is. */
  async ask (op: number, ...fields: unknown[]): Promise<Frame> {
    const rid = this.nextRid()
    this.send([op, rid, ...fields])
    return await this.answer(rid)
  }

  async answer (rid: number): Promise<Frame> {
    return await this.until(`the answer to ${rid}`, () => this.#answered.get(rid))
  }

  async first (op: number, match: (frame: Frame) => boolean = () => true): Promise<Frame> {
    return await this.until(`op ${op}`, () => this.frames.find((frame) => frame[0] === op && match(frame)))
  }

  /** Joins and waits until the history that JOINED promises is there. */
  async join (room: string, options: Record<string, unknown> | null = null): Promise<Stay> {
    const answer = await this.ask(OP.JOIN, room, options)
    if (answer[0] !== OP.JOINED) throw new Error(`no JOINED but ${JSON.stringify(answer)}`)
    const stay = this.stay(room)
    if ((stay.recovered || (options?.['history'] !== 0)) && stay.head > 0) await this.until('history', () => stay.next !== null && stay.next > stay.head)
    return stay
  }

  stay (room: string): Stay {
    const stay = this.stays.get(room)
    if (stay === undefined) throw new Error(`not in ${room}`)
    return stay
  }

  async say (room: string, body: unknown, more: { nonce?: string, kind?: number, ext?: unknown } = {}): Promise<Frame> {
    return await this.ask(OP.SEND, room, more.nonce ?? crypto.randomUUID(), more.kind ?? 0, body, more.ext ?? null)
  }

  /** A PING with a value of its own, and its PONG: what was answered in order before it has arrived by then. */
  async ping (positions: Record<string, number> | null = null): Promise<void> {
    const value = crypto.randomUUID()
    this.send([OP.PING, value, positions])
    await this.first(OP.PONG, (frame) => frame[1] === value)
  }

  /** The BYE and the close that follow. */
  async end (): Promise<{ bye: Frame | undefined, code: number, reason: string }> {
    const { code, reason } = await this.until('the close', () => this.closed)
    return { bye: this.frames.find((frame) => frame[0] === OP.BYE), code, reason }
  }

  close (): void { this.#socket.close() }

  #take (bytes: Uint8Array): void {
    const values = [...decodeMulti(bytes, DECODE)]
    const [first, ...others] = values as Frame[]
    if (first?.[0] === OP.DEFLATED) {
      const inflated = inflateSync(first[1])
      if (others.length > 0 || inflated.length >= 16_384 || inflated[1] === OP.DEFLATED) this.faults.push('DEFLATED beside others, too long, or twice')
      this.deflated++
      return this.#take(inflated)
    }
    let room: string | null = null
    let live = true
    for (const value of values) {
      if (!Array.isArray(value) || !Number.isInteger(value[0]) || value[0] < 32 || value[0] > 127) {
        this.faults.push(`not a server's frame: ${JSON.stringify(value)}`)
        continue
      }
      const frame: Frame = value
      this.frames.push(frame)
      if (this.closed !== null) this.faults.push('a frame behind the close')
      const op: number = frame[0]
      if (op === OP.ROOM) {
        room = frame[1]
        const epoch = this.stays.get(frame[1])?.epoch
        if (epoch !== undefined && epoch !== frame[2]) this.faults.push(`ROOM with epoch ${frame[2]}, JOINED had ${epoch}`)
      } else if (op === OP.OK || op === OP.JOINED || op === OP.PAGE || (op === OP.ERR && frame[1] !== null)) this.#answer(frame)
      else if (op >= OP.MESSAGE && op <= OP.SKIPPED) live = this.#roomFrame(room, frame) && live
      else if (op === OP.ERR && room !== null) this.#leave(room, frame)
    }
    if (live && room !== null) this.longestLiveMessage = Math.max(this.longestLiveMessage, bytes.length)
  }

  #answer (frame: Frame): void {
    const rid: number = frame[1]
    if (this.#answered.has(rid)) this.faults.push(`a second answer to ${rid}`)
    this.#answered.set(rid, frame)
    if (frame[0] !== OP.JOINED) return
    const [, , room, epoch, head, state, recovered] = frame
    const position = this.#joins.get(rid)?.position
    this.stays.set(room, { epoch, head, state, recovered, entries: [], skipped: [], viewers: null, next: recovered === true ? position[1] + 1 : null, over: null })
  }

  #leave (room: string, frame: Frame): void {
    const stay = this.stays.get(room)
    if (stay === undefined) this.faults.push(`the end of a stay in ${room} that is not`)
    else stay.over = frame
    this.stays.delete(room)
  }

  /** For LEAVE: after its OK no entry may come. */
  forget (room: string): void { this.stays.delete(room) }

  /** True for a live entry. */
  #roomFrame (room: string | null, frame: Frame): boolean {
    const stay = room === null ? undefined : this.stays.get(room)
    if (stay === undefined) {
      this.faults.push(`${JSON.stringify(frame)} behind ${room === null ? 'no ROOM' : `ROOM ${room}, not joined`}`)
      return false
    }
    if (frame[0] === OP.VIEWERS) stay.viewers = frame[1]
    if (frame[0] > OP.EDIT && frame[0] !== OP.SKIPPED) return true
    const seq: number = frame[1]
    if (stay.next === null && seq > stay.head + 1) this.faults.push(`began with ${seq} where JOINED said ${stay.head}`)
    if (stay.next !== null && stay.next !== seq) this.faults.push(`${room}: ${JSON.stringify(frame)} where ${stay.next} was next`)
    if (frame[0] === OP.SKIPPED) {
      const [, first, last, count, reason] = frame
      if (last < first || (reason !== 'removed' && count !== last - first + 1)) this.faults.push(`SKIPPED does not add up: ${JSON.stringify(frame)}`)
      stay.skipped.push(frame)
      stay.next = last + 1
    } else {
      stay.entries.push(frame)
      stay.next = seq + 1
    }
    return seq > stay.head
  }
}

export interface SentEvent { readonly id: string | null, readonly event: string, readonly data: any }

/** An event stream read as the document and the HTML standard say. */
export class Events extends Arrivals {
  readonly events: SentEvent[] = []
  comments = 0
  retry: number | null = null
  #abort = new AbortController()

  static async open (url: string, headers: Record<string, string> = {}): Promise<Events> {
    const stream = new Events()
    const answer = await fetch(url, { headers, signal: stream.#abort.signal })
    if (answer.status !== 200 || answer.body === null) throw new Error(`${answer.status} ${await answer.text()}`)
    if (answer.headers.get('content-type')?.startsWith('text/event-stream') !== true) throw new Error('not an event stream')
    void stream.#read(answer.body)
    return stream
  }

  async first (event: string, match: (data: any) => boolean = () => true): Promise<SentEvent> {
    return await this.until(`event ${event}`, () => this.events.find((one) => one.event === event && match(one.data)))
  }

  close (): void { this.#abort.abort() }

  async #read (body: ReadableStream<Uint8Array>): Promise<void> {
    const text = new TextDecoder()
    let rest = ''
    try {
      for await (const chunk of body) {
        const blocks = (rest + text.decode(chunk, { stream: true })).split('\n\n')
        rest = blocks.pop() ?? ''
        for (const block of blocks) this.#block(block)
        this.arrived()
      }
      this.over = 'the stream ended'
    } catch (error) {
      this.over = `the stream broke: ${String(error)}`
    }
    this.arrived()
  }

  #block (block: string): void {
    let id: string | null = null
    let event = 'message'
    const data: string[] = []
    for (const line of block.split('\n')) {
      const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
      if (name === '') this.comments++
      else if (name === 'id') id = value
      else if (name === 'event') event = value
      else if (name === 'data') data.push(value)
      else if (name === 'retry') this.retry = Number(value)
    }
    if (data.length > 0) this.events.push({ id, event, data: JSON.parse(data.join('\n')) })
  }
}

export interface Handshake { readonly status: number, readonly headers: Record<string, unknown>, readonly json: any, readonly end: Promise<void> }

/** A handshake by hand, which shows what a WebSocket hides. Accepted, it says one short message and then nothing, not even pongs; without one it ends. */
export async function handshake (ws: string, headers: Record<string, string> = {}, say: Uint8Array | null = null): Promise<Handshake> {
  return await new Promise((resolve, reject) => {
    const outgoing = request(ws.replace(/^ws/, 'http'), {
      headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': Buffer.alloc(16, 7).toString('base64'), ...headers }
    })
    outgoing.setTimeout(20_000, () => outgoing.destroy(new Error('no answer to the handshake')))
    outgoing.on('error', reject)
    outgoing.on('upgrade', (answer, socket) => {
      const end = new Promise<void>((resolve) => socket.once('close', () => resolve()))
      socket.on('error', () => socket.destroy()).resume()
      if (say === null) socket.destroy()
      else socket.write(Buffer.concat([Buffer.of(0x82, 0x80 | say.length, 0, 0, 0, 0), say]))
      resolve({ status: 101, headers: answer.headers, json: null, end })
    })
    outgoing.on('response', (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, json: text.startsWith('{') ? JSON.parse(text) : text, end: Promise.resolve() })
      })
    })
    outgoing.end()
  })
}

export interface Mint { name?: unknown, roles?: unknown, rooms?: unknown, expires?: string | number | Date, secret: string, issuer?: string, audience?: string }

/** A token of the claims in section 12. */
export async function mint (id: string, { name, roles, rooms, expires = '10m', secret, issuer, audience }: Mint): Promise<string> {
  const token = new SignJWT({ name, roles, rooms }).setProtectedHeader({ alg: 'HS256' }).setSubject(id).setExpirationTime(expires)
  if (issuer !== undefined) token.setIssuer(issuer)
  if (audience !== undefined) token.setAudience(audience)
  return await token.sign(new TextEncoder().encode(secret))
}

/** Bytes given as hex, or as they are. */
export function bytes (...parts: Array<string | Uint8Array>): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.concat(parts.map((part) => typeof part === 'string' ? Buffer.from(part, 'hex') : part)))
}

/** Holds an ERR to the table: code, name, a sentence, and when to try again where waiting helps. */
export function isError (tt: Test, frame: Frame, code: number | readonly number[], what: string, rid?: number | null): void {
  const codes = typeof code === 'number' ? [code] : code
  const [op, answered, got, name, message, wait] = frame
  if (op !== OP.ERR || !codes.includes(got)) {
    tt.fail(`${what}: ERR ${codes.join(' or ')}, not ${JSON.stringify(frame)}`)
    return
  }
  tt.equal(name, NAMES.get(got), `${what}: ${name}`)
  tt.ok(typeof message === 'string' && message.length > 0, `${what}: a sentence: ${message}`)
  if (WAITS.has(got)) tt.ok(Number.isInteger(wait) && wait > 0, `${what}: when to try again, ${wait}`)
  else tt.notOk(wait, `${what}: waiting does not help`)
  if (rid !== undefined) tt.equal(answered, rid, `${what}: its rid`)
}

/** The same for an answer over HTTP. */
export function isHttpError (tt: Test, answer: { status: number, json: any, headers: Headers | Record<string, unknown> }, code: number, what: string): void {
  const error = answer.json?.error
  tt.match({ status: answer.status, code: error?.code, name: error?.name }, { status: HTTP[code], code, name: NAMES.get(code) }, `${what}: ${JSON.stringify(answer.json)}`)
  const after = answer.headers instanceof Headers ? answer.headers.get('retry-after') : answer.headers['retry-after']
  if (WAITS.has(code)) tt.ok(Number(after) >= 1 && error?.retryAfterMs > 0, `${what}: Retry-After ${String(after)} and retryAfterMs ${error?.retryAfterMs}`)
}

/** A JWKS address that serves these keys, by their names as `kid`. */
export async function serveKeys (scope: Test, keys: Readonly<Record<string, { readonly publicKey: CryptoKey }>>): Promise<string> {
  const published = await Promise.all(Object.entries(keys).map(async ([kid, { publicKey }]) => ({ ...await exportJWK(publicKey), kid })))
  const server = createServer((_, answer) => answer.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: published })))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  scope.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
}

/** PUTs settings with a server key. */
export async function setRoom (program: Program, room: string, settings: Record<string, unknown>): Promise<void> {
  const { status, text } = await program.request('PUT', `/v1/rooms/${room}`, { token: API_KEY, json: { kind: 'stream', settings, as: { id: 'ops', roles: ['admin'] } } })
  if (status >= 300) throw new Error(`PUT of ${room}: ${status} ${text}`)
}

/** Many messages over REST, as many authors. */
export async function crowd (program: Program, room: string, count: number, authors = 20): Promise<void> {
  const one = async (n: number): Promise<void> => {
    const { status, text } = await program.request('POST', `/v1/rooms/${room}/messages`, { token: API_KEY, json: { nonce: `crowd-${n}`, body: `number ${n}`, as: { id: `crowd-${n % authors}` } } })
    if (status !== 201) throw new Error(`POST ${n}: ${status} ${text}`)
  }
  for (let n = 0; n < count; n += 20) await Promise.all(Array.from({ length: Math.min(20, count - n) }, async (_, i) => await one(n + i)))
}

/** Closes them; none may have noted a fault. */
export function clean (tt: Test, ...clients: Client[]): void {
  for (const client of clients) {
    tt.same(client.faults, [], 'nothing came that the document does not allow')
    client.close()
  }
}

/** A PING of so many levels, itself included. */
export const deep = (levels: number): string => `9208${'91'.repeat(levels - 2)}90`

/** Messages that sections 1 and 2 call bad, to a server of the default limits. */
export const BAD_FRAMES: Record<string, string | Uint8Array<ArrayBuffer>> = {
  text: 'hello', c1: bytes('c1'), 'a map': bytes('80'), 'a number': bytes('01'), 'an empty array': bytes('90'), 'op -1': bytes('91ff'), 'op 128': bytes('91cc80'), 'op "a"': bytes('91a161'), 'op 1.5': bytes('91cb3ff8000000000000'),
  'nine levels': bytes(deep(9)), '33 frames': bytes('9108'.repeat(33)), '4097 bytes': bytes('9208c50ffc', new Uint8Array(4092)), 'not UTF-8': bytes('9208a2c328'), surrogate: bytes('9208a3eda080'), overlong: bytes('9208a2c080'),
  'cut short': bytes('930801'), 'a promise too long': bytes('9208ddffffffff'), 'an extension': bytes('9208d40100'), 'a time stamp': bytes('9208d6ff00000000'), '__proto__': bytes('93080181a9', Buffer.from('__proto__'), '01'), 'a key that is a number': bytes('9308018101c0'),
  'bytes behind': bytes('9108ff')
}
