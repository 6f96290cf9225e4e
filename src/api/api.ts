// The HTTP side: pages, REST, event streams, health and metrics on one Fastify server. Owns the order in which a request
// is looked at; what it asks for is in a file by its noun.
//
//   request ─▶ origins (guard headers, CORS) ─▶ draining? ─▶ count (per address) ─▶ identify ─▶ shape ─▶ handler
//                └───────────────── refuse: {"error": {code, name, message, retryAfterMs}} ─────────┘
//
// Must not know WebSockets or how the log is kept. Bounds: BODY_BYTES_MAX, request and handler time-outs, ADDRESSES_MAX.

import rateLimit from '@fastify/rate-limit'
import { createServer as createHttpServer, type Server } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Refusal } from '../base/errors.ts'
import type { Part } from '../base/lifecycle.ts'
import { listenFault } from '../base/listening.ts'
import { plainAddress, TrustedProxies } from '../base/peers.ts'
import { addressKey } from './addresses.ts'
import { answerFaults, refuse } from './answers.ts'
import { ANONYMOUS, hasServerKey, identify, isAnonymous } from './callers.ts'
import { connectionRoutes } from './connections.ts'
import type { ApiDeps } from './deps.ts'
import { docRoutes, registerDocs } from './docs.ts'
import { eventRoutes, Streams } from './events.ts'
import { exportRoutes } from './exports.ts'
import { healthRoutes } from './health.ts'
import { instanceRoutes } from './instances.ts'
import { libraryRoutes } from './library.ts'
import { logLevelRoutes } from './log-level.ts'
import { messageRoutes } from './messages.ts'
import { moderationRoutes } from './moderation.ts'
import { Origins } from './origins.ts'
import { loadAssets, pageRoutes } from './pages.ts'
import { revocationRoutes } from './revocations.ts'
import { rightsRoutes } from './rights.ts'
import { roomRoutes } from './rooms.ts'
import { SHARED } from './schemas.ts'
import { createServer } from './server.ts'
import { boundSockets } from './sockets.ts'
import { statusRoutes } from './status.ts'
import { tokenRoutes } from './tokens.ts'

export type { ApiDeps, Engine, Readiness } from './deps.ts'

/** Addresses that are counted at once; beyond it the one that asked longest ago is forgotten. */
const ADDRESSES_MAX = 100_000
const MINUTE_MS = 60_000
const STATUS_CLASSES: readonly (string | undefined)[] = [undefined, '1xx', '2xx', '3xx', '4xx', '5xx']
/** Responses under way get this long at stop; then their connections are cut. */
const DRAIN_MS = 3000

export interface Api extends Part {
  /** The port that is listened on; 0 before start. */
  readonly port: number
  start (): Promise<void>
  /** Fails readiness and sends event streams away at a pace; requests are served as before. May be called twice. */
  drain (): Promise<void>
  stop (): Promise<void>
}

/** Makes the HTTP part. Nothing is opened before start(). */
export function createApi (deps: ApiDeps): Api {
  return new HttpPart(deps)
}

class HttpPart implements Api {
  readonly name = 'http'
  readonly #deps: ApiDeps
  readonly #streams: Streams
  #app: FastifyInstance | null = null
  #own: Server | null = null
  #isDraining = false
  #isStopping = false
  #stopping: Promise<void> | null = null
  #port = 0

  constructor (deps: ApiDeps) {
    this.#deps = deps
    this.#streams = new Streams(deps)
  }

  get port (): number { return this.#port }

  async start (): Promise<void> {
    const { config, log, sharesPort, ownPort } = this.#deps
    const app = createServer(config, log)
    this.#app = app
    await this.#build(app)
    await app.listen({ host: config.host, port: config.port, ...(sharesPort ? { reusePort: true } : {}) }).catch((error: unknown) => { throw listenFault(error, { host: config.host, port: config.port, setting: 'PORT' }) })
    const address = app.server.address()
    this.#port = typeof address === 'object' && address !== null ? address.port : 0
    if (ownPort !== 0) this.#own = await listenAlone(app, ownPort)
    this.#streams.start()
  }

  async drain (): Promise<void> {
    this.#isDraining = true
    // Those who share the port take what comes now, the probes of readiness too: they must not hear of one that leaves.
    if (this.#deps.sharesPort) this.#app?.server.close()
    await this.#streams.drain()
  }

  /** Says goodbye to streams, finishes what is under way, closes the listener. May be called twice. */
  stop (): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop (): Promise<void> {
    this.#isDraining = true
    const app = this.#app
    await this.#streams.end()
    this.#isStopping = true
    this.#own?.close()
    this.#own?.closeAllConnections()
    if (app === null) return
    const timer = setTimeout(() => app.server.closeAllConnections(), DRAIN_MS)
    try {
      await app.close()
    } finally {
      clearTimeout(timer)
    }
  }

  async #build (app: FastifyInstance): Promise<void> {
    const { config, log, metrics, authenticator, assetsDir } = this.#deps
    const origins = new Origins(config.origins)
    const proxies = new TrustedProxies(config.trustedProxies)
    boundSockets(app.server, config.connectionsPerAddressMax, proxies, () => metrics.add('uproar_connections_refused_total', 1, 'http'))
    answerFaults(app, log)
    app.decorateRequest('caller')
    app.decorateRequest('address', '')
    app.decorateRequest('isProxied', false)
    // Hooks that wait for nothing are called back and return no promise: that is cheaper for every request.
    app.addHook('onRequest', (request, reply, done) => {
      request.caller = ANONYMOUS
      const peer = request.raw.socket.remoteAddress ?? ''
      request.isProxied = proxies.trusts(plainAddress(peer))
      request.address = proxies.clientAddress(peer, String(request.headers['x-forwarded-for'] ?? ''))
      if (origins.guard(request, reply) === undefined && this.#turnAway(request, reply) === undefined) done()
    })
    await countRequests(app, this.#deps)
    app.addHook('onRequest', (request, reply, done) => {
      if (isAnonymous(request)) return done()
      identify(request, reply, authenticator).then((answered) => { if (answered === undefined) done() }, done)
    })
    app.addHook('onResponse', (request, reply, done) => {
      metrics.add('uproar_http_requests_total', 1, STATUS_CLASSES[Math.floor(reply.statusCode / 100)] ?? '5xx')
      if (reply.refusal !== null) metrics.add('uproar_refusals_total', 1, reply.refusal.name)
      if (log.isLevelEnabled('debug')) log.debug(requestLine(request, reply), 'request')
      done()
    })
    await registerDocs(app)
    for (const schema of SHARED) app.addSchema(schema)
    const assets = await loadAssets(assetsDir)
    if (assets.size === 0) log.warn({ assetsDir }, 'no pages are built; npm run build makes them')
    messageRoutes(app, this.#deps)
    roomRoutes(app, this.#deps)
    moderationRoutes(app, this.#deps)
    libraryRoutes(app, this.#deps)
    exportRoutes(app, this.#deps)
    eventRoutes(app, this.#deps, this.#streams)
    connectionRoutes(app, this.#deps)
    instanceRoutes(app, this.#deps)
    logLevelRoutes(app, this.#deps)
    revocationRoutes(app, this.#deps)
    rightsRoutes(app, this.#deps)
    tokenRoutes(app, this.#deps)
    healthRoutes(app, this.#deps, () => this.#isDraining)
    statusRoutes(app, this.#deps, () => this.#isDraining)
    docRoutes(app)
    pageRoutes(app, this.#deps, assets, origins.pagePolicy)
  }

  /** While the server stops, connections that are still open are asked to go elsewhere. */
  #turnAway (request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
    if (!this.#isDraining) return
    reply.header('connection', 'close')
    if (!this.#isStopping) return
    if (request.routeOptions.config.isUncounted !== true) return refuse(reply, new Refusal('unavailable', 'the server is stopping', 1000))
  }
}

/** A second listener for the same requests, on loopback, by which this one of several workers is met. */
async function listenAlone (app: FastifyInstance, port: number): Promise<Server> {
  const place = { host: '127.0.0.1', port, setting: 'WORKER_PORT_BASE' } as const
  const server = createHttpServer((request, response) => app.routing(request, response))
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenFault(error, place)))
    server.listen({ host: place.host, port, exclusive: true }, resolve)
  })
  return server
}

/** Counts requests by address. Valid server keys and routes marked `isUncounted` are exempt; a stream counts once. */
async function countRequests (app: FastifyInstance, deps: ApiDeps): Promise<void> {
  const max = deps.config.requestsPerMinuteMax
  if (max === 0) return
  await app.register(rateLimit, { global: false, max, timeWindow: MINUTE_MS, cache: ADDRESSES_MAX, keyGenerator: addressKey })
  const count = app.createRateLimit()
  app.addHook('onRequest', async (request, reply) => {
    if (request.routeOptions.config.isUncounted === true || hasServerKey(request, deps.authenticator)) return
    const result = await count(request)
    if (result.isAllowed || !result.isExceeded) return
    return refuse(reply, new Refusal('rate_limited', `more than ${max} requests a minute from this address`, result.ttl))
  })
}

/** A request as the log may show it: the route's pattern, never the query or a header. */
function requestLine (request: FastifyRequest, reply: FastifyReply): Record<string, unknown> {
  return {
    method: request.method,
    route: request.routeOptions.url ?? null,
    status: reply.statusCode,
    refused: reply.refusal?.name,
    ms: Math.round(reply.elapsedTime)
  }
}
