// What a request is answered with when it is refused or something fails: one shape, from the table of codes. Every way
// out of Fastify that is not a route's own answer ends here. Sentences name fields, never values: a query may hold a token.

import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { errorCode } from '../../proto/codes.ts'
import { AppError, Refusal, refusalOf } from '../base/errors.ts'

/** The body of every refusal and failure. */
export interface ErrorBody {
  readonly error: { readonly code: number, readonly name: string, readonly message: string, readonly retryAfterMs: number | null }
}

export function errorBody (refusal: Refusal): ErrorBody {
  const { code, name, message, retryAfterMs } = refusal
  return { error: { code, name, message, retryAfterMs } }
}

/** Answers with a refusal and has it counted. */
export function refuse (reply: FastifyReply, refusal: Refusal): FastifyReply {
  reply.refusal = refusal
  return sendRefusal(reply, refusal)
}

/** Answers with a refusal: status by its name, Retry-After in whole seconds where waiting helps. */
export function sendRefusal (reply: FastifyReply, refusal: Refusal): FastifyReply {
  reply.code(errorCode(refusal.name).http)
  if (refusal.retryAfterMs !== null) reply.header('retry-after', String(Math.ceil(refusal.retryAfterMs / 1000)))
  if (refusal.name === 'unauthorized') reply.header('www-authenticate', 'Bearer')
  return reply.type('application/json; charset=utf-8').send(errorBody(refusal))
}

/** Sends errors and unknown paths of this instance through the one shape. */
export function answerFaults (app: FastifyInstance, log: Logger): void {
  app.decorateReply('refusal', null)
  app.setNotFoundHandler((_request, reply) => refuse(reply, new Refusal('not_found', 'there is nothing at this path for this method')))
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const refusal = translate(error)
    if (errorCode(refusal.name).http >= 500) noteFailure(log, request, error, refusal)
    return refuse(reply, refusal)
  })
}

function noteFailure (log: Logger, request: FastifyRequest, error: unknown, refusal: Refusal): void {
  const line = { err: error, method: request.method, route: request.routeOptions.url ?? null, name: refusal.name }
  if (refusal.name === 'internal') log.error(line, 'request failed')
  else log.warn(line, 'request could not be served')
}

const SENTENCES: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'the body must be JSON: content-type application/json',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'the body is empty; it must be JSON',
  FST_ERR_CTP_INVALID_JSON_BODY: 'the body is not JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'the body is not as long as content-length says',
  FST_ERR_BAD_URL: 'the address is not a valid URL',
  FST_ERR_MAX_PARAM_LENGTH: 'a part of the path is too long'
}

/** Any error as a refusal; what is nobody's known fault is `internal`. */
export function translate (error: FastifyError): Refusal {
  if (error instanceof AppError) return refusalOf(error)
  if (error.validation !== undefined) return new Refusal('bad_request', faultOfShape(error))
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new Refusal('too_long', 'the body is too long')
  if (error.code === 'FST_ERR_HANDLER_TIMEOUT') return new Refusal('unavailable', 'an engine behind the server does not answer in time', 1000)
  const sentence = SENTENCES[error.code]
  if (sentence !== undefined) return new Refusal('bad_request', sentence)
  const { statusCode } = error
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) return new Refusal('bad_request', 'the request is malformed')
  return refusalOf(error)
}

const PLACES: Readonly<Record<string, string>> = { querystring: 'query', params: 'path', headers: 'headers', body: 'body' }

/** What is wrong with the shape, by the field's name: `body.kind must be integer`. */
function faultOfShape (error: FastifyError): string {
  const place = PLACES[error.validationContext ?? ''] ?? 'request'
  const fault = error.validation?.[0]
  if (fault === undefined) return `${place} is malformed`
  const field = [place, ...fault.instancePath.split('/').slice(1)].join('.').slice(0, 100)
  const { additionalProperty, allowedValues } = fault.params as { additionalProperty?: string, allowedValues?: unknown[] }
  if (fault.keyword === 'additionalProperties') return `${field} has the unknown field ${JSON.stringify(String(additionalProperty).slice(0, 64))}`
  if (fault.keyword === 'enum') return `${field} must be one of ${(allowedValues ?? []).join(', ')}`
  return `${field} ${fault.message ?? 'is malformed'}`
}

const RAW_FAULTS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: 'the headers are too long',
  ERR_HTTP_REQUEST_TIMEOUT: 'the request did not come in time'
}

/** Answers what the HTTP parser could not read, straight to the socket, and closes it. */
export function answerUnreadable (error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  // Where TLS did not come about there is nothing to answer by: an end would wait for it, however long that takes.
  if (!socket.writable || /^ERR_(TLS|SSL)_/.test(error.code ?? '')) return void socket.destroy()
  const body = JSON.stringify(errorBody(new Refusal('bad_request', RAW_FAULTS[error.code ?? ''] ?? 'this is not HTTP')))
  socket.end(`HTTP/1.1 400 Bad Request\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`)
  // A peer that keeps its half open must not keep the socket.
  socket.destroySoon()
}
