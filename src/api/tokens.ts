// POST /v1/dev/token: a token for the asking, so that a page works before anybody has set a key. Only while the server
// has no key of its own, and only for requests of this very machine; to all others the path does not exist.

import type { FastifyInstance } from 'fastify'
import { Refusal } from '../base/errors.ts'
import { isLocal } from './addresses.ts'
import { refuse } from './answers.ts'
import type { ApiDeps } from './deps.ts'
import { answer, object, refusals, SECURITY } from './schemas.ts'

const SCHEMA = {
  tags: ['development'],
  operationId: 'makeDevToken',
  summary: 'A token for trying things out',
  description: 'Only when the server has no key configured, and only from the same machine; otherwise `not_found`. The token is good for a day, or until the server stops.',
  security: SECURITY.none,
  body: { $ref: 'Person#' },
  response: {
    200: answer('The token.', { ...object({ token: { type: 'string' } }), examples: [{ token: 'eyJhbGciOi…' }] }),
    ...refusals('bad_request', 'not_found', 'internal')
  }
}

export function tokenRoutes (app: FastifyInstance, deps: Pick<ApiDeps, 'authenticator'>): void {
  app.post('/v1/dev/token', {
    schema: SCHEMA,
    config: { isUncounted: true },
    // Before the body is looked at: strangers learn nothing from its errors.
    onRequest: async (request, reply) => {
      if (deps.authenticator.devTokens === null || !isLocal(request)) return refuse(reply, new Refusal('not_found', 'there is nothing at this path for this method'))
    }
  }, async (request, reply) => {
    const { devTokens } = deps.authenticator
    if (devTokens === null) return refuse(reply, new Refusal('not_found', 'there is nothing at this path for this method'))
    const token = await devTokens.mint(request.body)
    return token instanceof Refusal ? refuse(reply, token) : { token }
  })
}
