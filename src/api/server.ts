// The HTTP server itself: Fastify with every limit set, a JSON reader that takes nothing the wire would not, and the
// checks of shapes. Owns no route.

import { isUtf8 } from 'node:buffer'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import Fastify, { LogController, type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { LIMITS } from '../../proto/values.ts'
import type { Config } from '../base/config.ts'
import { AppError } from '../base/errors.ts'
import { answerUnreadable, refuse, translate } from './answers.ts'

export const BODY_BYTES_MAX = 65_536
const REQUEST_TIMEOUT_MS = 10_000
const HANDLER_TIMEOUT_MS = 15_000
const SILENCE_TIMEOUT_MS = 30_000
const HEADER_BYTES_MAX = 16_384
/** How often Node looks for requests that are late. */
const LATE_CHECK_MS = 2000

/** A Fastify instance for these settings, without routes. Throws when the TLS files or proxy ranges are unusable. */
export function createServer (config: Config, log: Logger): FastifyInstance {
  const limits = { maxHeaderSize: HEADER_BYTES_MAX, headersTimeout: REQUEST_TIMEOUT_MS, connectionsCheckingInterval: LATE_CHECK_MS }
  const { tlsCertFile, tlsKeyFile } = config
  const tls = tlsCertFile !== null && tlsKeyFile !== null ? { cert: readFileSync(tlsCertFile), key: readFileSync(tlsKeyFile) } : null
  const app = Fastify<Server>({
    ...(tls === null ? { http: limits } : { https: { ...limits, ...tls, handshakeTimeout: REQUEST_TIMEOUT_MS } }) as { http: typeof limits },
    // What Fastify itself logs must name neither query nor headers: either may bear a token.
    loggerInstance: log.child({}, { level: log.isLevelEnabled('info') ? 'warn' : log.level, serializers: { req: () => undefined, res: () => undefined } }),
    logController: new LogController({ disableRequestLogging: true }),
    // Nothing is logged by request, so none needs a logger of its own.
    childLoggerFactory: (logger) => logger,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: SILENCE_TIMEOUT_MS,
    // Responses under way are finished; stop() cuts what is left at its deadline.
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    // For the host that the client asked for; its address is TrustedProxies' to find, here as at the socket.
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    routerOptions: { maxParamLength: 512 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: true, allErrors: false, allowUnionTypes: true } },
    clientErrorHandler: answerUnreadable,
    frameworkErrors: (error, _request, reply) => { void refuse(reply, translate(error)) }
  })
  // Answers are ours: their schemas are for the document, and stripping fields by them would only hide mistakes.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
  readJson(app)
  // A timer for each request is a tenth of what a page of history costs: routes whose every wait has a deadline do without.
  app.addHook('onRoute', (route) => { if (route.config?.isBounded !== true) route.handlerTimeout = HANDLER_TIMEOUT_MS })
  app.addHook('preValidation', (request, _, done) => {
    readNumbers(request)
    done()
  })
  return app
}

/** Takes JSON bodies only: valid UTF-8, whole characters, no deeper than a frame may be. */
function readJson (app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const bytes = body as Buffer
    if (!isUtf8(bytes)) return done(new AppError('bad_request', 'the body is not UTF-8'))
    if (nesting(bytes) > LIMITS.nesting) return done(new AppError('bad_request', `the body nests beyond ${LIMITS.nesting}`))
    const text = bytes.toString()
    parse(request, text, (error, value) => {
      if (error !== null) return done(isJson(text) ? new AppError('bad_request', 'the body has the key "__proto__", or "constructor" with "prototype" in it: no object here may have those') : error)
      if (/\\u[dD][89a-fA-F]/.test(text) && !isWellFormed(value)) return done(new AppError('bad_request', 'the body has half a character (a lone surrogate)'))
      done(null, value)
    })
  })
}

/** What the strict parser refused and this takes has a key that would change an object's nature. Asked of refused bodies alone. */
function isJson (text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** How deep arrays and objects go, found without building them. */
function nesting (bytes: Uint8Array): number {
  let depth = 0
  let deepest = 0
  let isInString = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (isInString) {
      if (byte === 0x5c) at++
      else if (byte === 0x22) isInString = false
    } else if (byte === 0x22) isInString = true
    else if (byte === 0x5b || byte === 0x7b) deepest = Math.max(deepest, ++depth)
    else if (byte === 0x5d || byte === 0x7d) depth--
  }
  return deepest
}

function isWellFormed (value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(value).every(([key, inner]) => key.isWellFormed() && isWellFormed(inner))
}

/**
 * A query is text, so numbers in it are read here, and only where the schema wants one: plain digits, nothing that
 * JavaScript would also take for a number.
 */
function readNumbers (request: FastifyRequest): void {
  const { properties } = (request.routeOptions.schema?.querystring ?? {}) as { properties?: Record<string, { type?: string }> }
  if (properties === undefined) return
  const query = request.query as Record<string, unknown>
  for (const [name, { type }] of Object.entries(properties)) {
    const text = query[name]
    if (type === 'integer' && typeof text === 'string' && /^\d{1,16}$/.test(text)) query[name] = Number(text)
  }
}
