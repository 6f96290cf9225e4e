// The limit for HTTP: Fastify with one route that answers a page made before, from the file BODY_FILE.

import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import fastify from 'fastify'

const body = readFileSync(process.env.BODY_FILE ?? '', 'utf8')
const app = fastify()
app.get('/v1/rooms/:room/messages', async (_, reply) => reply.type('application/json; charset=utf-8').send(body))
await app.listen({ host: '127.0.0.1', port: 0 })
console.log(JSON.stringify({ msg: 'ready', port: (app.server.address() as AddressInfo).port }))
