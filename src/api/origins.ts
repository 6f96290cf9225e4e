// Browsers: which origins may read (CORS), which may change things, and the headers that guard pages. No cookies are
// used anywhere, so an allowed origin gets no credentials with it. Must not know routes, beyond their `isStream`.

import type { FastifyReply, FastifyRequest } from 'fastify'
import { Refusal } from '../base/errors.ts'
import { refuse } from './answers.ts'

const METHODS = 'GET, HEAD, PUT, POST, DELETE'
const HEADERS = 'authorization, content-type, last-event-id'
const PREFLIGHT_S = '7200'

const API_POLICY = "default-src 'none'; frame-ancestors 'none'"

export class Origins {
  readonly #allowed: ReadonlySet<string>
  /** Content-Security-Policy of our own pages. */
  readonly pagePolicy: string

  /** `allowed` empty: any origin. */
  constructor (allowed: readonly string[]) {
    this.#allowed = new Set(allowed.map((origin) => origin.toLowerCase()))
    // Who may connect from its pages may also show ours in a frame. No page of ours makes HTML of text, and with trusted
    // types no script on one can.
    this.pagePolicy = [
      "default-src 'self'", "connect-src 'self' ws: wss:", "img-src 'self'", "object-src 'none'", "base-uri 'none'", "form-action 'self'",
      "require-trusted-types-for 'script'", "trusted-types 'none'",
      ['frame-ancestors', "'self'", ...allowed].join(' ')
    ].join('; ')
  }

  /** First of all hooks: guards every answer, answers preflights, refuses changes from strange origins. */
  guard (request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
    reply.headers({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'content-security-policy': API_POLICY, 'cache-control': 'no-store' })
    const origin = request.headers.origin
    if (this.#allowed.size > 0) reply.header('vary', 'Origin')
    if (origin === undefined) return
    const isAllowed = this.#isAllowed(origin, request)
    if (isAllowed) {
      reply.header('access-control-allow-origin', this.#allowed.size === 0 ? '*' : origin)
      reply.header('access-control-expose-headers', 'Retry-After')
    }
    const isPreflight = request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined
    if (isPreflight && isAllowed) {
      reply.headers({ 'access-control-allow-methods': METHODS, 'access-control-allow-headers': HEADERS, 'access-control-max-age': PREFLIGHT_S })
      return reply.code(204).send()
    }
    const reads = request.method === 'GET' || request.method === 'HEAD'
    if (!isAllowed && (!reads || request.routeOptions.config.isStream === true)) return refuse(reply, new Refusal('forbidden', 'this origin is not on the list of ORIGINS'))
  }

  #isAllowed (origin: string, request: FastifyRequest): boolean {
    if (this.#allowed.size === 0 || this.#allowed.has(origin.toLowerCase())) return true
    // The server's own pages; a proxy may have taken TLS off, so the scheme does not count.
    return URL.parse(origin)?.host === request.host?.toLowerCase()
  }
}
