// GET /v1/rooms/:room/events: a room as server-sent events, for networks that block WebSockets. Owns the set of open
// streams: its bounds (per address, per process), the one timer that all share, and their end.

import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LIMITS, type Position } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import type { Timer } from '../base/clock.ts'
import { paced } from '../base/pace.ts'
import type { Room } from '../rooms/rooms.ts'
import { addressKey } from './addresses.ts'
import { refuse } from './answers.ts'
import type { ApiDeps } from './deps.ts'
import { parseEventId } from './entries.ts'
import { query, refusals, roomPath, SECURITY } from './schemas.ts'
import { EventStream } from './stream.ts'

const TICK_MS = 1000
const VIEWERS_TICKS = 2
const BEAT_TICKS = 10
/** Reconnects after a stop are spread over this long, beside the pace at which streams are ended. */
const SPREAD_MS = 500
/** As for sockets: a drain is no slower. */
const DRAIN_PER_SECOND_MIN = 200
const END_TIMEOUT_MS = 1000

type StreamDeps = Pick<ApiDeps, 'config' | 'log' | 'clock' | 'metrics' | 'rooms' | 'revocations'>

export class Streams {
  readonly #deps: StreamDeps
  readonly #open = new Set<EventStream>()
  /** Streams by address, those about to open included. */
  readonly #perAddress = new Map<string, number>()
  #held = 0
  #ticks = 0
  #timer: Timer | null = null
  #isEnding = false
  #drained: Promise<void> | null = null
  #onEmpty: () => void = () => {}

  constructor (deps: StreamDeps) {
    this.#deps = deps
  }

  start (): void {
    this.#timer = this.#deps.clock.every(TICK_MS, () => this.#tick())
  }

  /** Takes a place for a stream from this address, or says why there is none. */
  hold (address: string): Refusal | null {
    const { connectionsPerAddressMax, connectionsMax } = this.#deps.config
    const count = this.#perAddress.get(address) ?? 0
    if (this.#isEnding) return new Refusal('unavailable', 'the server is stopping', SPREAD_MS)
    if (connectionsPerAddressMax > 0 && count >= connectionsPerAddressMax) return new Refusal('rate_limited', 'too many streams from this address', 5000)
    if (connectionsMax > 0 && this.#held >= connectionsMax) return new Refusal('overloaded', 'the server has all the streams it may have', 5000)
    this.#perAddress.set(address, count + 1)
    this.#held++
    return null
  }

  /** Gives a place back. */
  release (address: string): void {
    const count = this.#perAddress.get(address) ?? 0
    if (count > 1) this.#perAddress.set(address, count - 1)
    else this.#perAddress.delete(address)
    this.#held--
  }

  /** Runs a stream to its end. */
  async run (stream: EventStream): Promise<void> {
    this.#open.add(stream)
    this.#deps.metrics.set('uproar_streams', this.#open.size)
    if (this.#isEnding) stream.bye('draining', Math.random() * SPREAD_MS)
    await stream.run()
  }

  /** The stream's connection is closed. */
  forget (stream: EventStream): void {
    this.#open.delete(stream)
    this.#deps.metrics.set('uproar_streams', this.#open.size)
    if (this.#open.size === 0) this.#onEmpty()
  }

  /** Takes no more streams and says goodbye to those that are open over DRAIN_S, at a steady pace. May be called twice. */
  drain (): Promise<void> {
    this.#drained ??= this.#drain()
    return this.#drained
  }

  async #drain (): Promise<void> {
    this.#isEnding = true
    await paced([...this.#open], { ms: this.#deps.config.drainS * 1000, perSecondMin: DRAIN_PER_SECOND_MIN }, (stream) => stream.bye('draining', Math.random() * SPREAD_MS))
  }

  /** Says goodbye to all; cuts those whose sockets do not take it. */
  async end (): Promise<void> {
    await this.drain()
    this.#timer?.cancel()
    for (const stream of this.#open) stream.bye('draining', Math.random() * SPREAD_MS)
    if (this.#open.size === 0) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve
      timer = setTimeout(resolve, END_TIMEOUT_MS)
    })
    clearTimeout(timer)
    for (const stream of this.#open) stream.cut()
  }

  #tick (): void {
    this.#ticks++
    const options = { tellsViewers: this.#ticks % VIEWERS_TICKS === 0, beats: this.#ticks % BEAT_TICKS === 0 }
    const now = this.#deps.clock.now()
    for (const stream of this.#open) stream.tick(now, options)
  }
}

const SCHEMA = {
  tags: ['events'],
  operationId: 'streamRoom',
  summary: 'Follow a room as server-sent events',
  description: 'Begins with `joined` {room, epoch, seq, state, recovered, viewers}, then entries as `message`, `remove`, `state` and `edit`, each with the id `<epoch>-<seq>`; ' +
    '`skipped` {first, last, count, reason} where entries are left out; `viewers` {count}; a comment every 10 s. Resumes after the position in `Last-Event-ID` ' +
    '(browsers send it by themselves); when that is too old, `recovered` is false and the newest history follows. `joined` comes again when the room was deleted and began anew. ' +
    'Ends with `bye` {code, reason, reconnectAfterMs} when the token expires or the server stops. The room is made when it does not exist and that is allowed.',
  security: SECURITY.read,
  params: roomPath,
  querystring: query({
    token: { type: 'string', maxLength: 8192, description: 'token (JWT), since browsers cannot set headers on an EventSource; the authorization header goes before it' },
    lastEventId: { type: 'string', maxLength: 64, description: 'position to resume from, when the header Last-Event-ID is not sent', examples: ['k3x9-1041'] },
    view: { type: 'string', enum: ['full', 'live'], default: 'full', description: 'accepted as on the socket; streams are not sampled' },
    history: { type: 'integer', minimum: 0, maximum: LIMITS.historyEntries, default: LIMITS.historyEntriesDefault, description: 'newest entries to begin with' }
  }),
  response: {
    200: {
      description: 'The stream.',
      content: { 'text/event-stream': { schema: { type: 'string', examples: ['id: k3x9-1042\nevent: message\ndata: {"op":"message","seq":1042,…}\n\n'] } } }
    },
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'overloaded', 'unavailable', 'internal')
  }
}

interface EventsRequest {
  Params: { room: string }
  Querystring: { lastEventId?: string, history: number }
}

export function eventRoutes (app: FastifyInstance, deps: StreamDeps, streams: Streams): void {
  app.get<EventsRequest>('/v1/rooms/:room/events', {
    schema: SCHEMA,
    config: { access: 'read', isStream: true },
    exposeHeadRoute: false,
    handler: async (request, reply) => {
      const address = addressKey(request)
      const full = streams.hold(address)
      if (full !== null) return refuse(reply, full)
      let isRunning = false
      try {
        const { identity } = request.caller
        const resumeAt = lastEventIdOf(request) ?? request.query.lastEventId
        const position = resumeAt === undefined ? null : parseEventId(resumeAt)
        const room = await deps.rooms.open(request.params.room, identity, position)
        if (room instanceof Refusal) return refuse(reply, room)
        if (request.raw.socket.destroyed) return reply.hijack()
        const stream: EventStream = openStream(request, reply, deps, room, position, () => {
          streams.release(address)
          streams.forget(stream)
        })
        isRunning = true
        void streams.run(stream)
        return reply
      } finally {
        if (!isRunning) streams.release(address)
      }
    }
  })
}

function openStream (request: FastifyRequest<EventsRequest>, reply: FastifyReply, deps: StreamDeps, room: Room, position: Position | null, gone: () => void): EventStream {
  const { config, clock, metrics, log } = deps
  const { identity } = request.caller
  const { history } = request.query
  const cursor = room.cursor(position, history, identity)
  metrics.add('uproar_joins_total', 1, position === null ? 'fresh' : cursor.recovered ? 'recovered' : 'not_recovered')
  reply.hijack()
  const response = reply.raw
  const { socket } = request.raw
  socket.setTimeout(0)
  response.writeHead(200, {
    ...reply.getHeaders() as OutgoingHttpHeaders,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no'
  })
  return new EventStream({
    response, socket, room, cursor, identity, history, clock, metrics, gone, revoked: deps.revocations,
    slowTimeoutMs: config.slowTimeoutS * 1000,
    reopen: () => deps.rooms.open(room.name, identity),
    fault: (error) => log.warn({ err: error, route: 'events' }, 'an event stream failed')
  })
}

function lastEventIdOf (request: FastifyRequest): string | undefined {
  const header = request.headers['last-event-id']
  return typeof header === 'string' && header !== '' ? header : undefined
}
