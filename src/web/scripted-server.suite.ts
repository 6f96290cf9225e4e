// The server as the client's tests play it: a real WebSocket listener that answers by a small room model, and does
// otherwise wherever a test says so. Reads and writes with proto's own codec, so the client's is held against it.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { App, us_listen_socket_close, us_socket_local_port, type TemplatedApp, type us_listen_socket, type WebSocket } from 'uWebSockets.js'
import { BadFrame, decode, encode, type Frame } from '../../proto/codec.ts'
import { IN, OUT, PROTOCOL } from '../../proto/ops.ts'
import { connect, UproarError, type ChatRoom, type ClientOptions, type ConnectionState, type JoinOptions, type Skipped, type UproarClient } from './client.ts'

export const ROOM = 'lobby'
export const ANN = ['u1', 'Ann', 1] as const

/** A test's own answer to a frame; true when that was all, otherwise the usual answer follows. */
export type Twist = (peer: Peer, frame: Frame) => boolean

/** One connection of a client. */
export class Peer {
  readonly #socket: WebSocket<{ peer: Peer | null }>
  /** All frames that came, in order. */
  readonly frames: Frame[] = []
  isClosed = false

  constructor (socket: WebSocket<{ peer: Peer | null }>) {
    this.#socket = socket
  }

  /** Sends frames as one WebSocket message. */
  send (...frames: readonly Frame[]): void {
    this.bytes(Buffer.concat(frames.map((frame) => encode(frame))))
  }

  bytes (bytes: Uint8Array): void {
    if (!this.isClosed) this.#socket.send(bytes, true)
  }

  end (code: number, reason = ''): void {
    if (!this.isClosed) this.#socket.end(code, reason)
  }

  /** Cuts the connection, with no close frame. */
  cut (): void {
    if (!this.isClosed) this.#socket.close()
  }

  /** The frames of one op. */
  of (op: number): Frame[] {
    return this.frames.filter((frame) => frame[0] === op)
  }
}

export class ScriptedServer {
  readonly #app: TemplatedApp
  #listener: us_listen_socket | null = null
  port = 0
  epoch = 'e1'
  /** The room's log: text by seq, from 1. */
  readonly log: string[] = []
  readonly peers: Peer[] = []
  readonly nonces = new Map<string, [number, number]>()
  readonly twists: Record<number, Twist> = {}

  constructor () {
    this.#app = App().ws<{ peer: Peer | null }>('/ws', {
      maxPayloadLength: 16_384,
      upgrade: (response, request, context) => response.upgrade({ peer: null }, request.getHeader('sec-websocket-key'), PROTOCOL, request.getHeader('sec-websocket-extensions'), context),
      open: (socket) => { this.peers.push(socket.getUserData().peer = new Peer(socket)) },
      message: (socket, bytes) => this.#message(socket.getUserData().peer as Peer, new Uint8Array(bytes)),
      close: (socket) => { (socket.getUserData().peer as Peer).isClosed = true }
    })
  }

  get url (): string {
    return `ws://127.0.0.1:${this.port}/ws`
  }

  /** The newest connection. */
  get peer (): Peer {
    return this.peers.at(-1) as Peer
  }

  async start (port = this.port): Promise<this> {
    await new Promise<void>((resolve, reject) => this.#app.listen('127.0.0.1', port, (listener) => {
      if (listener === false) return reject(new Error('no port'))
      this.#listener = listener
      this.port = us_socket_local_port(listener)
      resolve()
    }))
    return this
  }

  stop (): void {
    this.quiet()
    this.#app.close()
  }

  /** Takes no more connections; those there are stay. */
  quiet (): void {
    if (this.#listener !== null) us_listen_socket_close(this.#listener)
    this.#listener = null
  }

  /** Appends texts to the room's log without telling anybody. */
  append (...texts: string[]): void {
    this.log.push(...texts)
  }

  entry (seq: number): Frame {
    return [OUT.MESSAGE, seq, 1_700_000_000_000 + seq, ANN, 0, this.log[seq - 1] ?? `text ${seq}`, null]
  }

  /** Tells the newest connection entries by seq, in one message and in the order given. */
  tell (...seqs: readonly (number | Frame)[]): void {
    this.peer.send([OUT.ROOM, ROOM, this.epoch], ...seqs.map((seq) => typeof seq === 'number' ? this.entry(seq) : seq))
  }

  /** Appends and tells. */
  say (...texts: string[]): void {
    const head = this.log.length
    this.append(...texts)
    this.tell(...texts.map((_text, at) => head + at + 1))
  }

  #message (peer: Peer, bytes: Uint8Array): void {
    const frames = decode(bytes)
    if (frames instanceof BadFrame) throw new Error(`the client sent a bad frame: ${frames.reason}`)
    for (const frame of frames) {
      peer.frames.push(frame)
      if (this.twists[frame[0]]?.(peer, frame) !== true) this.#answer(peer, frame)
    }
  }

  #answer (peer: Peer, [op, a, b, c, d, e]: Frame): void {
    if (op === IN.HELLO) peer.send([OUT.WELCOME, 's1', a === null ? null : ANN, Date.now(), { textCharacters: 500 }])
    else if (op === IN.JOIN) this.#join(peer, a as number, b as string, c as never)
    else if (op === IN.SEND) this.#publish(peer, a as number, c as string, e as string)
    else if (op === IN.HISTORY) {
      const last = ((c as number | null) ?? this.log.length + 1) - 1
      const first = Math.max(1, last - (d as number) + 1)
      peer.send([OUT.PAGE, a, b, range(first, last).map((seq) => this.entry(seq)), first > 1])
    } else if (op === IN.PING) peer.send([OUT.PONG, a])
    else if (op !== IN.SIGNAL) peer.send([OUT.OK, a, null])
  }

  #join (peer: Peer, rid: number, room: string, { position, history }: { position?: [string, number], history: number }): void {
    const head = this.log.length
    const isRecovered = position !== undefined && position[0] === this.epoch
    const first = isRecovered ? position[1] + 1 : Math.max(1, head - history + 1)
    peer.send([OUT.JOINED, rid, room, this.epoch, head, { title: 'A room' }, isRecovered],
      [OUT.ROOM, room, this.epoch], ...range(first, head).map((seq) => this.entry(seq)))
  }

  #publish (peer: Peer, rid: number, nonce: string, body: string): void {
    let result = this.nonces.get(nonce)
    if (result === undefined) {
      this.append(body)
      result = [this.log.length, 1_700_000_000_000 + this.log.length]
      this.nonces.set(nonce, result)
      peer.send([OUT.ROOM, ROOM, this.epoch], this.entry(result[0]))
    }
    peer.send([OUT.OK, rid, result])
  }
}

export function range (first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_none, at) => first + at)
}

/** A JWT as far as the client reads one. */
export function tokenUntil (expiresAt: number): string {
  return `e30.${Buffer.from(JSON.stringify({ sub: 'u1', exp: expiresAt / 1000 })).toString('base64url')}.c2ln`
}

/** Waits until it is so, looking every few milliseconds; fails after 10 s. */
export async function until (condition: () => unknown, what = String(condition)): Promise<void> {
  const end = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 3))
  }
}

const QUICK = { backoffMs: 5, backoffMaxMs: 40, gapMs: 20, gapMaxMs: 300, openMs: 2000 }

/** What of a test the stage needs. */
interface Scope { teardown (end: () => void): void }

export interface Stage {
  server: ScriptedServer
  client: UproarClient
  room: ChatRoom
  seqs: number[]
  skipped: Skipped[]
  states: ConnectionState[]
  errors: UproarError[]
}

/** A server, a client in the lobby, and what the room told; `timing` on top of the quick ones. */
export async function stage (t: Scope, options: Partial<ClientOptions> & { join?: JoinOptions, log?: number } = {}, prepare: (server: ScriptedServer) => void = () => {}): Promise<Stage> {
  const server = await new ScriptedServer().start()
  server.append(...range(1, options.log ?? 0).map((seq) => `text ${seq}`))
  prepare(server)
  const { join, log, ...rest } = options
  const client = connect({ url: server.url, token: 'abc', ...rest, timing: { ...QUICK, ...options.timing } })
  const room = client.join(ROOM, join)
  const stage: Stage = { server, client, room, seqs: [], skipped: [], states: [], errors: [] }
  for (const name of ['message', 'remove', 'edit', 'state'] as const) room.on(name, ({ seq }) => stage.seqs.push(seq))
  room.on('skipped', (skipped) => stage.skipped.push(skipped))
  client.on('connection', (state) => stage.states.push(state))
  client.on('error', (error) => stage.errors.push(error))
  t.teardown(() => {
    client.close()
    server.stop()
  })
  return stage
}

/** What a promise was refused with; throws when it was not. */
export async function refusalOf (promise: Promise<unknown>): Promise<UproarError> {
  const error = await promise.then(() => null, (error: unknown) => error)
  if (!(error instanceof UproarError)) throw new Error(`not refused: ${String(error)}`)
  return error
}

/** An HTTP listener on a free port. */
export async function listen (handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<{ server: Server, base: string, stop (): void }> {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = (): void => {
    server.closeAllConnections()
    server.close()
  }
  return { server, base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stop }
}
