// A scripted server for the page's tests: one room, spoken over a real socket in the real protocol, with every state at
// the test's command (refusals, sampling, lost connections, answers that do not come). Not the product: no checks, no
// log on disk, no limits. Bound: lives as long as a test.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { readFile } from 'node:fs/promises'
import { once } from 'node:events'
import { extname, join } from 'node:path'
import type { AddressInfo } from 'node:net'
import { App, us_listen_socket_close, us_socket_local_port, type TemplatedApp, type us_listen_socket, type WebSocket } from 'uWebSockets.js'
import { BadFrame, decode, encode, type Frame } from '../../../proto/codec.ts'
import { errorCode, type ErrorName } from '../../../proto/codes.ts'
import { IN, KIND, OUT, PROTOCOL, ROLE, type RoleName } from '../../../proto/ops.ts'
import type { User } from '../../../proto/values.ts'

const TYPES: Record<string, string> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.map': 'application/json' }

interface Viewer {
  readonly socket: WebSocket<{ viewer: Viewer | null }>
  user: User | null
  hasJoined: boolean
  view: string
}

export interface Refused {
  readonly name: ErrorName
  readonly retryAfterMs?: number
}

export class StandIn {
  readonly #folder: string
  readonly #viewers = new Set<Viewer>()
  #http: Server | null = null
  #app: TemplatedApp | null = null
  #listening: us_listen_socket | null = null
  #wsPort = 0
  /** The log: entries by seq - 1, as frames. */
  entries: Frame[] = []
  state: Record<string, unknown> = {}
  epoch = 'e1'
  hasDevTokens = true
  textCharacters = 500
  /** The answers to the next SENDs; when empty they are accepted. */
  readonly refusals: Refused[] = []
  /** Actions that were asked for: name and arguments. */
  readonly actions: unknown[] = []
  /** While true, SENDs wait in `waiting` for the test to let them through. */
  holdsSends = false
  readonly waiting: Array<() => void> = []
  /** While true, new sockets are turned away. */
  isDown = false
  /** Options of every JOIN so far. */
  readonly joins: Array<Record<string, unknown>> = []

  /** `folder`: what build.ts made (dist/web). */
  constructor (folder: string) {
    this.#folder = folder
  }

  get origin (): string {
    return `http://127.0.0.1:${(this.#http?.address() as AddressInfo).port}`
  }

  /** How many are in the room. */
  get joined (): number {
    return [...this.#viewers].filter((viewer) => viewer.hasJoined).length
  }

  async start (): Promise<void> {
    this.#http = createServer((request, response) => { void this.#answer(request, response) }).listen(0, '127.0.0.1')
    await once(this.#http, 'listening')
    this.#app = App().ws<{ viewer: Viewer | null }>('/ws', {
      upgrade: (response, request, context) => {
        response.onAborted(() => {})
        if (this.isDown) { response.writeStatus('503 Service Unavailable').end(); return }
        response.upgrade({ viewer: null }, request.getHeader('sec-websocket-key'), PROTOCOL, request.getHeader('sec-websocket-extensions'), context)
      },
      open: (socket) => {
        const viewer: Viewer = { socket, user: null, hasJoined: false, view: 'full' }
        socket.getUserData().viewer = viewer
        this.#viewers.add(viewer)
      },
      message: (socket, bytes) => {
        const frames = decode(new Uint8Array(bytes))
        if (frames instanceof BadFrame) throw new Error(frames.reason)
        for (const frame of frames) this.#heard(socket.getUserData().viewer as Viewer, frame)
      },
      close: (socket) => { this.#viewers.delete(socket.getUserData().viewer as Viewer) }
    })
    this.#listening = await new Promise<us_listen_socket>((resolve, reject) => {
      this.#app?.listen('127.0.0.1', 0, (token) => token === false ? reject(new Error('no port')) : resolve(token))
    })
    this.#wsPort = us_socket_local_port(this.#listening)
  }

  async stop (): Promise<void> {
    if (this.#listening !== null) us_listen_socket_close(this.#listening)
    this.#app?.close()
    this.#http?.closeAllConnections()
    this.#http?.close()
    if (this.#http !== null) await once(this.#http, 'close')
  }

  /** Writes a message to the log and tells everybody. Answers its seq. */
  publish (user: User, body: string, more: { kind?: number, ext?: Record<string, unknown>, ts?: number } = {}): number {
    const seq = this.entries.length + 1
    this.#append([OUT.MESSAGE, seq, more.ts ?? Date.now(), user, more.kind ?? KIND.text, body, more.ext ?? null])
    return seq
  }

  remove (target: Record<string, unknown>): void {
    this.#append([OUT.REMOVE, this.entries.length + 1, Date.now(), target, 'mod'])
  }

  edit (target: number, body: string): void {
    this.#append([OUT.EDIT, this.entries.length + 1, Date.now(), target, body, null])
  }

  change (changes: Record<string, unknown>): void {
    Object.assign(this.state, changes)
    this.#append([OUT.STATE, this.entries.length + 1, Date.now(), changes])
  }

  /** Leaves the next `count` seqs out and says so. */
  skip (count: number, reason: string): void {
    const first = this.entries.length + 1
    for (let at = 0; at < count; at++) this.entries.push([OUT.MESSAGE, first + at, Date.now(), ['u0', 'nobody', 0], 0, 'left out', null])
    this.tell([OUT.SKIPPED, first, first + count - 1, count, reason])
  }

  /** Any frames to all in the room, in one message. */
  tell (...frames: Frame[]): void {
    const bytes = Buffer.concat([[OUT.ROOM, 'lobby', this.epoch] as Frame, ...frames].map((frame) => encode(frame)))
    for (const viewer of this.#viewers) if (viewer.hasJoined) viewer.socket.send(bytes, true)
  }

  /** Many messages at once, as a busy room's window brings them. */
  burst (messages: ReadonlyArray<readonly [User, string]>): void {
    const frames = messages.map(([user, body]): Frame => {
      const frame: Frame = [OUT.MESSAGE, this.entries.length + 1, Date.now(), user, KIND.text, body, null]
      this.entries.push(frame)
      return frame
    })
    this.tell(...frames)
  }

  /** Ends every connection. */
  drop (code = 4440): void {
    for (const viewer of [...this.#viewers]) viewer.socket.end(code, 'scripted')
  }

  #append (frame: Frame): void {
    this.entries.push(frame)
    this.tell(frame)
  }

  #heard (viewer: Viewer, frame: Frame): void {
    const reply = (...frames: Frame[]): void => { viewer.socket.send(Buffer.concat(frames.map((one) => encode(one))), true) }
    const [op, rid] = frame
    switch (op) {
      case IN.HELLO:
        viewer.user = userOf(frame[1])
        return reply([OUT.WELCOME, 's1', viewer.user, Date.now(), { textCharacters: this.textCharacters }])
      case IN.JOIN: return this.#join(viewer, frame, reply)
      case IN.LEAVE: viewer.hasJoined = false; return reply([OUT.OK, rid, null])
      case IN.PING: return reply([OUT.PONG, rid ?? null])
      case IN.HISTORY: {
        const [before, limit] = [frame[3] as number | null, frame[4] as number]
        const end = before === null ? this.entries.length : before - 1
        const start = Math.max(0, end - limit)
        return reply([OUT.PAGE, rid, frame[2], this.entries.slice(start, end), start > 0])
      }
      case IN.SEND: {
        const act = (): void => this.#send(viewer, frame, reply)
        if (this.holdsSends) this.waiting.push(act)
        else act()
        return
      }
      case IN.SIGNAL: return
      case IN.MODERATE:
        this.actions.push([frame[3], frame[4]])
        return reply([OUT.OK, rid, [this.entries.length, Date.now()]])
      default: reply([OUT.ERR, rid, 2, 'unsupported', 'not in this play', null])
    }
  }

  #join (viewer: Viewer, frame: Frame, reply: (...frames: Frame[]) => void): void {
    const options = (frame[3] ?? {}) as { position?: [string, number], history?: number, view?: string }
    this.joins.push(options)
    const head = this.entries.length
    const isRecovered = options.position !== undefined && options.position[0] === this.epoch && options.position[1] <= head
    const missed = isRecovered ? this.entries.slice((options.position as [string, number])[1]) : this.entries.slice(-Math.min(options.history ?? 50, Math.max(head, 1)))
    viewer.hasJoined = true
    viewer.view = options.view ?? 'full'
    reply([OUT.JOINED, frame[1], frame[2], this.epoch, head, this.state, isRecovered], [OUT.ROOM, frame[2], this.epoch], ...(options.history === 0 && !isRecovered ? [] : missed), [OUT.VIEWERS, 1204])
  }

  #send (viewer: Viewer, frame: Frame, reply: (...frames: Frame[]) => void): void {
    const refusal = this.refusals.shift()
    if (refusal !== undefined) return reply([OUT.ERR, frame[1], errorCode(refusal.name).code, refusal.name, errorCode(refusal.name).meaning, refusal.retryAfterMs ?? null])
    const seq = this.publish(viewer.user as User, frame[5] as string, { kind: frame[4] as number, ...(frame[6] == null ? {} : { ext: frame[6] as Record<string, unknown> }) })
    reply([OUT.OK, frame[1], [seq, Date.now()]])
  }

  async #answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? '/', 'http://page').pathname
    response.setHeader('content-security-policy', "default-src 'self'; connect-src 'self' ws://127.0.0.1:*; base-uri 'none'; frame-ancestors 'none'; object-src 'none'")
    if (path === '/v1/config') return json(response, { wsUrl: null, wsPort: this.#wsPort, devTokens: this.hasDevTokens, limits: { textCharacters: this.textCharacters } })
    if (path === '/v1/dev/token') {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      return json(response, { token: tokenOf(JSON.parse(Buffer.concat(chunks).toString()) as Persona) })
    }
    const file = path === '/' ? 'index.html' : path.slice(1)
    try {
      const bytes = await readFile(join(this.#folder, file))
      response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream').end(bytes)
    } catch {
      response.writeHead(404).end()
    }
  }
}

interface Persona {
  readonly id: string
  readonly name: string
  readonly roles: readonly RoleName[]
}

/** A token as this server understands it: the claims, unsigned. */
export function tokenOf ({ id, name, roles }: Persona): string {
  return ['e30', Buffer.from(JSON.stringify({ sub: id, name, roles, exp: 4102444800 })).toString('base64url'), 'x'].join('.')
}

function userOf (token: unknown): User | null {
  if (typeof token !== 'string') return null
  const { sub, name, roles } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as { sub: string, name: string, roles: RoleName[] }
  return [sub, name, roles.reduce((bits, role) => bits | ROLE[role], 0)]
}

function json (response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value))
}
