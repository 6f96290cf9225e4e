// GET /v1/rooms/:room/export: a room's messages as a file, streamed no faster than the client takes it. A client that goes
// away ends the query; one that takes nothing for SILENCE_TIMEOUT_MS (server.ts) is cut; a failure in the middle cuts the
// connection, so a file that came to its end is whole. Bound: the exports at once of the library.

import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { Refusal } from '../base/errors.ts'
import type { Exported, ExportFormat } from '../library/library.ts'
import { refuse } from './answers.ts'
import type { ApiDeps } from './deps.ts'
import { query, refusals, roomPath, SECURITY } from './schemas.ts'

const TYPES: Readonly<Record<ExportFormat, string>> = { ndjson: 'application/x-ndjson; charset=utf-8', parquet: 'application/vnd.apache.parquet' }

const time = { type: 'integer', minimum: 0, maximum: 4_102_444_800_000 } as const

const SCHEMA = {
  tags: ['archive'],
  operationId: 'exportRoom',
  summary: 'A room\'s messages as a file',
  description: 'For broadcasters and admins. NDJSON (an object a line) or Parquet, in order of seq: room, epoch, seq, ts (Unix milliseconds), user, name, roles, kind, body, re, thread, mentions, ' +
    'ext (as JSON), shadow, removed, removedAt, removedBy, removedWhy. Removed messages are in it and marked. Texts are as they were written: a spreadsheet may take one that begins with `=` for a formula.',
  security: SECURITY.user,
  params: roomPath,
  querystring: query({
    format: { type: 'string', enum: Object.keys(TYPES), default: 'ndjson' },
    from: { ...time, description: 'only messages from this time on, Unix milliseconds' },
    to: { ...time, description: 'only messages before this time' }
  }),
  response: {
    200: { description: 'The file.', content: { 'application/x-ndjson': { schema: { type: 'string' } }, 'application/vnd.apache.parquet': { schema: { type: 'string', format: 'binary' } } } },
    ...refusals('bad_request', 'unauthorized', 'forbidden', 'not_found', 'rate_limited', 'unavailable', 'overloaded', 'internal')
  }
}

interface ExportRequest { Params: { room: string }, Querystring: { format: ExportFormat, from?: number, to?: number } }

export function exportRoutes (app: FastifyInstance, { library, log }: Pick<ApiDeps, 'library' | 'log'>): void {
  app.get<ExportRequest>('/v1/rooms/:room/export', { schema: SCHEMA, config: { access: 'user', isBounded: true }, exposeHeadRoute: false }, async (request, reply) => {
    const { room } = request.params
    const { format, ...span } = request.query
    const exported = await library.exported(room, request.caller.identity, span, format)
    if (exported instanceof Refusal) return refuse(reply, exported)
    return sendExport(reply, exported, { format, name: `${room.replace(/[^\w.-]/g, '_')}.${format}`, fault: (error) => log.warn({ err: error, route: 'export' }, 'an export was cut') })
  })
}

async function sendExport (reply: FastifyReply, exported: Exported, { format, name, fault }: { format: ExportFormat, name: string, fault: (error: unknown) => void }): Promise<FastifyReply> {
  const pieces = exported.bytes[Symbol.asyncIterator]()
  let first
  try {
    // What fails before there is anything to send is an ordinary refusal.
    first = await pieces.next()
  } catch (error) {
    exported.close()
    throw error
  }
  const file = Readable.from(rest(first, pieces), { objectMode: false, highWaterMark: 262_144 })
  // The connection's end, not the file's: that may wait for a piece which comes only once the query was ended.
  reply.raw.once('close', () => exported.close())
  file.on('error', (error) => {
    exported.close()
    if (!reply.raw.destroyed) fault(error)
  })
  if (reply.raw.destroyed) exported.close()
  return reply.type(TYPES[format]).header('content-disposition', `attachment; filename="${name}"`).send(file)
}

async function * rest (first: IteratorResult<Uint8Array>, pieces: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (let piece = first; piece.done !== true; piece = await pieces.next()) yield piece.value
}
