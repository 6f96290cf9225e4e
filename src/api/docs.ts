// /openapi.json, made from the routes' own schemas, and /docs, which shows it.

import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { SECURITY } from './schemas.ts'

const DESCRIPTION = [
  'Chat for live streams: rooms, messages, and a room as a stream of events.',
  'Every refusal and failure has one shape, `{"error": {code, name, message, retryAfterMs}}`, and a status that follows from its name.',
  'To try requests out, press Authorize and paste a server key (one of API_KEYS) or a token (JWT), without the word Bearer;',
  'a server without a key gives tokens: POST /v1/dev/token. Reading rooms that are not private needs neither.',
  'A server key acts as an admin, or for the user that the body names in `as`; in a private room `as` must name it too: `"as": {"id": "u-42", "rooms": {"backstage": []}}`.'
].join(' ')

const TAGS = [
  { name: 'messages', description: 'Send messages and read the history of a room' },
  { name: 'moderation', description: 'Actions, what waits for a moderator, sanctions, and the audit log' },
  { name: 'events', description: 'Follow a room live, as server-sent events' },
  { name: 'archive', description: 'What was said, to be looked up: search, replay, statistics, exports. `unavailable` where there is no archive.' },
  { name: 'rooms', description: 'Make, set, list and delete rooms' },
  { name: 'people', description: 'What is kept about a person: erase it, export it' },
  { name: 'tokens', description: 'Tokens that are to count no longer' },
  { name: 'client', description: 'What web pages and clients fetch to connect' },
  { name: 'development', description: 'Tokens for trying things out, while no key is configured' },
  { name: 'operation', description: 'Health, metrics, connections and instances, for those who run the server' }
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
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer', description: 'A server key (one of API_KEYS) or a token (JWT). Paste it as it is, without the word Bearer. A server without a key gives tokens: POST /v1/dev/token, for example with {"id": "ada", "roles": ["admin"]}.' } } }
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
