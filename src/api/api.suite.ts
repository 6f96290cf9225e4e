// What the tests of the HTTP side share: a whole server without the gateway, on a free port and a fresh data directory,
// and small clients for it: JSON requests, raw bytes, a reader of event streams.

import { mkdtempSync, rmSync } from 'node:fs'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino, type Logger } from 'pino'
import type { Test } from 'tap'
import { errorCode, ERRORS, type ErrorName } from '../../proto/codes.ts'
import type { Archive } from '../archive/archive.ts'
import { createNoArchive } from '../archive/no-archive.ts'
import { Reads } from '../archive/reads.ts'
import { createAuthenticator, type Authenticator } from '../auth/authenticator.ts'
import { systemClock, type Clock } from '../base/clock.ts'
import { loadConfig } from '../base/config.ts'
import { Refusal } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbDirectory } from '../directory/lmdb-directory.ts'
import { noFanout } from '../gateway/gateway.ts'
import { Ingest, Moderator } from '../ingest/ingest.ts'
import { Library } from '../library/library.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import { compileTerms } from '../moderation/screen.ts'
import { Revocations } from '../revocation/revocation.ts'
import { Rights } from '../rights/rights.ts'
import { Rooms } from '../rooms/rooms.ts'
import { createApi, type Api, type ApiDeps } from './api.ts'

export const SERVER_KEY = 'a-server-key-of-32-characters-00'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The body parsed; undefined when it is not JSON. */
  readonly json: any
}

export interface AskOptions {
  readonly headers?: Readonly<Record<string, string>>
  /** An object is sent as JSON; text and bytes as they are. */
  readonly body?: unknown
  readonly token?: string
}

export interface Bench {
  readonly api: Api
  readonly authenticator: Authenticator
  readonly metrics: Metrics
  readonly rooms: Rooms
  readonly log: Logger
  readonly roomLog: ReturnType<typeof createLmdbLog>
  /** Everything logged so far, as it was written. */
  readonly logged: () => string
  token (id: string, roles?: string[], rooms?: Record<string, string[]>, ttlSeconds?: number): Promise<string>
  ask (method: string, path: string, options?: AskOptions): Promise<Answer>
  raw (bytes: string | Uint8Array, ms?: number): Promise<string>
  events (path: string, headers?: Readonly<Record<string, string>>): Promise<EventReader>
  send (room: string, token: string, body: string): Promise<number>
}

export interface BenchOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly clock?: Clock
  readonly deps?: Partial<ApiDeps>
  readonly archive?: Archive
}

/** Starts a server; it is stopped when the test ends. */
export async function startBench (t: Test, options: BenchOptions = {}): Promise<Bench> {
  const dataDir = mkdtempSync(join(tmpdir(), 'uproar-api-'))
  const config = loadConfig({
    PORT: '0', DATA_DIR: dataDir, LOG_LEVEL: 'trace', API_KEYS: SERVER_KEY, MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0', REQUESTS_PER_MINUTE_MAX: '0', WINDOW_MS_MAX: '0',
    ...options.env
  })
  const lines: string[] = []
  const log = pino({ level: config.logLevel }, { write: (line: string) => { lines.push(line) } })
  const clock = options.clock ?? systemClock
  const fault = (error: unknown, what: string): void => log.error({ err: error, what }, 'fault')
  const store = await openStore(dataDir)
  const metrics = new Metrics()
  const roomLog = createLmdbLog(store, {
    clock, metrics, durability: 'commit', queueMax: config.logQueueMax, dedupMinutes: config.dedupMinutes,
    retention: { hours: config.retentionHours, entriesMax: config.retentionEntriesMax, mbMax: config.retentionMbMax }
  })
  const reads = new Reads(options.archive ?? createNoArchive('this test has no archive'))
  const directory = createLmdbDirectory(store)
  const rooms = new Rooms({ log: roomLog, directory, fanout: noFanout, clock, metrics, config, past: reads, fault })
  const ingest = new Ingest({ log: roomLog, clock, metrics, config, terms: compileTerms([]), fault })
  const revocations = new Revocations({ log: roomLog, clock, hours: 1, fault })
  await revocations.start()
  const rights = new Rights({ log: roomLog, directory, clock, echoMs: 0, isAlone: true, forget: (user) => ingest.forget(user), fault })
  const moderator = new Moderator({ log: roomLog, rooms, clock, metrics, addressOf: (user) => ingest.addressOf(user), fault })
  const authenticator = createAuthenticator(config, { clock, log, revoked: revocations })
  const library = new Library({ reads, rooms, clock, fault })
  const api = createApi({
    config, log, clock, metrics, authenticator, rooms, ingest, moderator, library, connections: () => [], wsPort: () => 9001, assetsDir: join(dataDir, 'no-pages'),
    cluster: { instances: async () => [] }, orders: { kick: () => 0, drain () {} }, version: 'test', engines: () => [], revocations, rights, sharesPort: false, ownPort: 0,
    ready: async () => ({ ready: true, checks: { delivery: 'ok' } }),
    ...options.deps
  })
  t.teardown(async () => {
    await api.stop()
    rooms.stop()
    revocations.stop()
    await authenticator.stop()
    await roomLog.close()
    await store.close()
    rmSync(dataDir, { recursive: true, force: true })
  })
  await authenticator.start()
  rooms.start()
  await api.start()
  const bench: Bench = {
    api, authenticator, metrics, rooms, log, roomLog,
    logged: () => lines.join(''),
    async token (id, roles = [], inRooms = {}, ttlSeconds = 3600) {
      const token = await authenticator.devTokens?.mint({ id, name: id.toUpperCase(), roles, rooms: inRooms }, ttlSeconds)
      if (typeof token !== 'string') throw new Error(token instanceof Refusal ? token.message : 'no dev tokens')
      return token
    },
    ask: (method, path, request = {}) => ask(api.port, method, path, request),
    raw: (bytes, ms) => raw(api.port, bytes, ms),
    events: (path, headers = {}) => openEvents(api.port, path, headers),
    async send (room, token, body) {
      const { status, json } = await ask(api.port, 'POST', `/v1/rooms/${room}/messages`, { token, body: { nonce: `n-${Math.random()}`, body } })
      if (status !== 201) throw new Error(`not sent: ${status} ${JSON.stringify(json)}`)
      return json.seq as number
    }
  }
  return bench
}

function ask (port: number, method: string, path: string, { headers = {}, body, token }: AskOptions): Promise<Answer> {
  const isBytes = typeof body === 'string' || body instanceof Uint8Array
  const sent = body === undefined || isBytes ? body : JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      host: '127.0.0.1', port, method, path, agent: false, timeout: 10_000,
      headers: { ...(sent === undefined ? {} : { 'content-type': 'application/json' }), ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...headers }
    }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject).on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode as number, headers: response.headers, text, json: parsed(text) })
      })
    })
    request.on('error', reject).on('timeout', () => request.destroy(new Error(`no answer to ${method} ${path}`)))
    request.end(sent)
  })
}

function parsed (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Writes bytes to a fresh connection and returns what came back until it was closed, or until `ms` of silence. */
function raw (port: number, bytes: string | Uint8Array, ms = 300): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.setTimeout(ms, () => socket.destroy())
    socket.on('data', (chunk) => { text += chunk.toString('latin1') })
    // A reset is one of the answers; what counts is what came before it.
    socket.on('error', () => socket.destroy()).on('close', () => resolve(text))
    socket.write(bytes)
  })
}

const NAMES: ReadonlySet<string> = new Set(ERRORS.map((row) => row.name))

/** What is wrong with an error's shape, or null. */
export function shapeFault (answer: Answer): string | null {
  const { error } = answer.json ?? {}
  if (typeof error !== 'object' || error === null) return 'no error object'
  if (Object.keys(error).join() !== 'code,name,message,retryAfterMs') return `keys ${Object.keys(error).join()}`
  if (!NAMES.has(error.name)) return `name ${error.name}`
  const row = errorCode(error.name as ErrorName)
  if (error.code !== row.code) return `code ${error.code}`
  if (answer.status !== row.http) return `status ${answer.status} for ${error.name}`
  if (typeof error.message !== 'string' || error.message === '') return 'no message'
  const seconds = error.retryAfterMs === null ? undefined : String(Math.ceil(error.retryAfterMs / 1000))
  return answer.headers['retry-after'] === seconds ? null : `retry-after ${answer.headers['retry-after']} for ${error.retryAfterMs}`
}

/** Asserts that this is the refusal of that name. */
export function refused (t: Test, answer: Answer, name: ErrorName, about = name as string): void {
  t.equal(shapeFault(answer), null, `${about}: the shape of an error`)
  t.equal(answer.json?.error?.name, name, about)
}

export interface ServerEvent { readonly id: string | null, readonly event: string, readonly data: any }

/** Reads an event stream as it comes. */
export class EventReader {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly socket: Socket
  /** Comments and fields that are not of an event, such as `retry: 2000`. */
  readonly asides: string[] = []
  isEnded = false
  #events: ServerEvent[] = []
  #rest = ''
  #wake: () => void = () => {}

  constructor (status: number, headers: IncomingHttpHeaders, socket: Socket) {
    this.status = status
    this.headers = headers
    this.socket = socket
  }

  push (piece: string): void {
    const blocks = (this.#rest + piece).split('\n\n')
    this.#rest = blocks.pop() as string
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]))
      if (fields['event'] === undefined) this.asides.push(block)
      else this.#events.push({ id: fields['id'] ?? null, event: fields['event'], data: JSON.parse(fields['data'] as string) })
    }
    this.#wake()
  }

  end (): void {
    this.isEnded = true
    this.#wake()
  }

  /** The next event; undefined when the stream ended. Fails after 5 s. */
  async next (): Promise<ServerEvent | undefined> {
    await this.#until(() => this.#events.length > 0 || this.isEnded, 'an event')
    return this.#events.shift()
  }

  async take (count: number): Promise<ServerEvent[]> {
    const taken: ServerEvent[] = []
    while (taken.length < count) {
      const event = await this.next()
      if (event === undefined) break
      taken.push(event)
    }
    return taken
  }

  /** Waits for the stream to end; returns what was not taken. */
  async ended (): Promise<ServerEvent[]> {
    await this.#until(() => this.isEnded, 'the end of the stream')
    return this.#events.splice(0)
  }

  async aside (text: string): Promise<void> {
    await this.#until(() => this.asides.includes(text), JSON.stringify(text))
  }

  close (): void {
    this.socket.destroy()
  }

  async #until (isSo: () => boolean, what: string): Promise<void> {
    const deadline = setTimeout(() => this.socket.destroy(new Error(`waited 5 s for ${what}`)), 5000)
    try {
      while (!isSo()) {
        if (this.isEnded) throw new Error(`the stream ended before ${what}`)
        await new Promise<void>((resolve) => { this.#wake = resolve })
      }
    } finally {
      clearTimeout(deadline)
    }
  }
}

function openEvents (port: number, path: string, headers: Readonly<Record<string, string>>): Promise<EventReader> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, path, agent: false, headers: { accept: 'text/event-stream', ...headers } }, (response) => {
      const reader = new EventReader(response.statusCode as number, response.headers, response.socket)
      response.setEncoding('utf8').on('data', (piece: string) => reader.push(piece)).on('close', () => reader.end()).on('error', () => reader.end())
      resolve(reader)
    })
    request.on('error', reject).end()
  })
}
