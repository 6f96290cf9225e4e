// /openapi.json, made from the routes' own schemas, and /docs, which shows it.

import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { SECURITY } from './schemas.ts'

const DESCRIPTION = [
  'Chat for live streams: rooms, messages, and a room as a stream of events.',
  'Every refusal and failure has one shape, `{"error": {code, name, message, retryAfterMs}}`, and a status that follows from its name.',
  'A server key acts as an admin, or for the user that the body names in `as`.'
].join(' ')

const TAGS = [
  { name: 'messages', description: 'what is said' },
  { name: 'events', description: 'what is said, as it is said' },
  { name: 'rooms', description: 'where' },
  { name: 'client', description: 'for pages and clients' },
  { name: 'development', description: 'before any key is set' },
  { name: 'operation', description: 'for those who run it' }
]

/** The docs page needs style attributes and pictures in data URLs; scripts stay our own. */
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'"

/** Call before the first route: it listens to what is added. */
export async function registerDocs (app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Uproar', version: '1', description: DESCRIPTION, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      tags: TAGS,
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer', description: 'a token (JWT) or a server key' } } }
    },
    refResolver: { buildLocalReference: (schema, _base, _fragment, index) => typeof schema['$id'] === 'string' ? schema['$id'] : `Shape${index}` }
  })
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: POLICY, uiConfig: { deepLinking: true, url: '/openapi.json' } })
}

export function docRoutes (app: FastifyInstance): void {
  app.get('/openapi.json', {
    schema: {
      tags: ['client'],
      operationId: 'openapi',
      summary: 'This document',
      security: SECURITY.none,
      response: { 200: { description: 'OpenAPI 3.1.', content: { 'application/json': { schema: { type: 'object' } } } } }
    }
  }, async () => app.swagger())
}
