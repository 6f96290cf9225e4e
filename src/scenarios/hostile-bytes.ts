// Hostility below the protocol: TCP and WebSocket bytes that no client library would send, and HTTP requests to match.
// Each case is a row; a connection must end or be answered in time, and none may harm the server.

import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { encode } from '../../proto/codec.ts'
import { IN } from '../../proto/ops.ts'
import { maskedFrame, OPCODE, RawSocket } from '../replay/socket.ts'
import type { Random } from './random.ts'

const WAIT_MS = 10_000

// ---- WebSocket frames -----------------------------------------------------------------------------------------------

type MakeBytes = (random: Random) => Buffer
const hello = encode([IN.HELLO, null, null])

/** Bytes after a good handshake; the connection must end, by the server's doing or by ours. */
export const FRAMES: readonly (readonly [name: string, make: MakeBytes])[] = [
  ['garbage', (random) => random.bytes(random.between(1, 2000))],
  ['a frame without a mask', () => Buffer.concat([Buffer.from([0x82, hello.length]), hello])],
  ['reserved bits', () => maskedFrame(OPCODE.binary, hello, 0xf0)],
  ['a reserved opcode', (random) => maskedFrame(random.pick([3, 4, 7, 11, 15]), hello)],
  ['a length of 2^63', () => Buffer.from('82ffffffffffffffffff00000000', 'hex')],
  ['a length far beyond what comes', (random) => Buffer.concat([Buffer.from([0x82, 0xfe, 0xff, 0xff]), random.bytes(100)])],
  ['a ping of 126 bytes', (random) => maskedFrame(OPCODE.ping, random.bytes(126))],
  ['a ping in fragments', () => maskedFrame(OPCODE.ping, Buffer.from('a'), 0)],
  ['a continuation of nothing', () => maskedFrame(OPCODE.continuation, hello)],
  ['a message within a message', () => Buffer.concat([maskedFrame(OPCODE.binary, hello, 0), maskedFrame(OPCODE.binary, hello)])],
  ['endless fragments', () => Buffer.concat([maskedFrame(OPCODE.binary, Buffer.alloc(1000), 0), ...Array.from({ length: 40 }, () => maskedFrame(OPCODE.continuation, Buffer.alloc(1000), 0))])],
  ['a thousand empty fragments', () => Buffer.concat([maskedFrame(OPCODE.binary, Buffer.alloc(0), 0), ...Array.from({ length: 1000 }, () => maskedFrame(OPCODE.continuation, Buffer.alloc(0), 0))])],
  ['a text message', () => maskedFrame(OPCODE.text, Buffer.from('{"hello":1}'))],
  ['text that is not UTF-8', () => maskedFrame(OPCODE.text, Buffer.from('c080eda080', 'hex'))],
  ['an empty message', () => maskedFrame(OPCODE.binary, Buffer.alloc(0))],
  ['a close frame of one byte', () => maskedFrame(OPCODE.close, Buffer.from([3]))],
  ['a close code that is none', (random) => maskedFrame(OPCODE.close, random.pick([Buffer.from([0, 1]), Buffer.from([0xff, 0xff]), Buffer.from([0x03, 0xed])]))],
  ['a flood of pings', (random) => Buffer.concat(Array.from({ length: 500 }, () => maskedFrame(OPCODE.ping, random.bytes(8))))],
  ['half a frame', () => maskedFrame(OPCODE.binary, hello).subarray(0, 5)]
]

/** Plays one row over a fresh connection; resolves when it is over, rejects when the server does not even shake hands. */
export async function playFrames (url: string, random: Random, make: MakeBytes): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let isOpen = false
    const socket = new RawSocket(url, {
      open () {
        isOpen = true
        socket.write(make(random))
        // Half of them hang up at once, the others give the server a moment to do it.
        if (random.chance(0.5)) socket.reset()
        else setTimeout(() => socket.reset(), 20)
      },
      message () {},
      close: (_code, reason) => { if (isOpen) resolve(); else reject(new Error(`no handshake: ${reason}`)) }
    })
  })
}

// ---- handshakes -------------------------------------------------------------------------------------------------------

const UPGRADE = 'Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'

/** First bytes on a connection to either port; the server must answer or end it, or we hang up. */
export const OPENINGS: readonly (readonly [name: string, make: MakeBytes])[] = [
  ['garbage', (random) => random.bytes(random.between(1, 5000))],
  ['nothing but line breaks', () => Buffer.from('\r\n'.repeat(2000))],
  ['half a request', () => Buffer.from('GET /ws HTTP/1.1\r\nHost: x\r\nUpg')],
  ['no key', () => Buffer.from(`GET /ws HTTP/1.1\r\n${UPGRADE}\r\n`)],
  ['an empty key', () => Buffer.from(`GET /ws HTTP/1.1\r\n${UPGRADE}Sec-WebSocket-Key: \r\n\r\n`)],
  ['a long key', () => Buffer.from(`GET /ws HTTP/1.1\r\n${UPGRADE}Sec-WebSocket-Key: ${'x'.repeat(3000)}\r\n\r\n`)],
  ['another path', () => Buffer.from(`GET /../../etc/passwd HTTP/1.1\r\n${UPGRADE}Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n`)],
  ['too many headers', () => Buffer.from(`GET /ws HTTP/1.1\r\n${Array.from({ length: 400 }, (_, at) => `X-${at}: y\r\n`).join('')}\r\n`)],
  ['a header too long', () => Buffer.from(`GET /ws HTTP/1.1\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`)],
  ['two lengths', () => Buffer.from('POST /v1/rooms/stage/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 500\r\n\r\nhello')],
  ['a length and chunks', () => Buffer.from('POST /v1/rooms/stage/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n')],
  ['a chunk that lies', () => Buffer.from('POST /v1/rooms/stage/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nhello\r\n')],
  ['a length never met', () => Buffer.from('POST /v1/rooms/stage/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{"nonce":')],
  ['a proxy header', () => Buffer.concat([Buffer.from('0d0a0d0a000d0a515549540a2111000c09080706050403020bb82329', 'hex'), Buffer.from('GET /ws HTTP/1.1\r\nHost: x\r\n\r\n')])],
  ['TLS', () => Buffer.from('16030100a5010000a10303', 'hex')],
  ['HTTP/2', () => Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')]
]

/** Plays one row on a port; resolves when the connection is over. */
export async function playOpening (port: number, random: Random, make: MakeBytes): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port })
    let failure: Error | null = null
    const timer = setTimeout(() => socket.resetAndDestroy(), random.pick([1, 20]))
    const late = setTimeout(() => reject(new Error('a connection did not end')), WAIT_MS)
    socket.on('error', (error: NodeJS.ErrnoException) => { if (error.code === 'ECONNREFUSED') failure = error })
    socket.on('data', () => undefined)
    socket.once('connect', () => socket.write(make(random)))
    socket.once('close', () => {
      clearTimeout(timer)
      clearTimeout(late)
      if (failure === null) resolve()
      else reject(failure)
    })
  })
}

// ---- HTTP -------------------------------------------------------------------------------------------------------------

export interface HostileRequest { readonly method: string, readonly path: string, readonly headers: Readonly<Record<string, string>>, readonly body: string | Buffer | null }

const ROUTES = ['/v1/rooms/stage/messages', '/v1/rooms/stage', '/v1/rooms', '/v1/rooms/stage/viewers', '/v1/connections', '/healthz', '/readyz', '/metrics', '/openapi.json', '/v1/dev/token', '/', '/nowhere']
const SEGMENTS = ['%00', '%2e%2e', '%ff', '%', '%zz', '..', '__proto__', 'constructor', 'a'.repeat(64), 'a'.repeat(65), 'a'.repeat(3000), '%F0%9F%91%8A', 'uproar:canary', ' ', '*', 'stage%2Fmessages']
const QUERIES = ['', '?limit=-1', '?limit=1e9', '?limit=NaN', '?before=0', '?before=-5', '?before=99999999999999999999', '?after=9007199254740993', '?before=1&before=2', '?limit[]=1', '?__proto__[x]=1', '?%ff=%ff', '?prefix=%00', '?after=..', `?${'a=1&'.repeat(500)}`]
const JSONS = [
  '', '{', 'null', '[]', '"x"', '1e999', '{"nonce":"n","kind":0,"body":"\\ud800"}', '{"nonce":"\\udfff","kind":0,"body":"x"}', '{"nonce":"n","kind":99999999999999999999,"body":"x"}',
  '{"__proto__":{"admin":true},"nonce":"n","kind":0,"body":"x"}', '{"constructor":{"prototype":{"x":1}}}', '{"nonce":{},"kind":[],"body":{}}', '{"settings":{"title":1,"slowModeSeconds":-1}}', '{"settings":{"__proto__":1}}',
  '{"as":{"id":"a","name":"b","roles":["admin"]},"nonce":"n","kind":0,"body":"x"}', `{"nonce":"n","kind":0,"body":"${'x'.repeat(10_000)}"}`, `{"nonce":"n","kind":0,"body":"x","ext":{"meta":${'{"a":'.repeat(60)}1${'}'.repeat(60)}}}`,
  `${'['.repeat(20_000)}`, `{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`, `{"body":"${'\\u0000'.repeat(1000)}"}`, `"${'x'.repeat(2_000_000)}"`
]

export function hostileRequest (random: Random, tokens: readonly string[]): HostileRequest {
  const method = random.pick(['GET', 'GET', 'POST', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD', 'TRACE', 'PROPFIND'])
  // Deleting the room that is watched would be no fault of the server's.
  const route = method === 'DELETE' ? '/v1/rooms/other' : random.pick(ROUTES)
  const path = (random.chance(0.3) ? `/v1/rooms/${random.pick(SEGMENTS).replaceAll(' ', '%20')}${random.pick(['', '/messages', '/viewers', '/x'])}` : route) + random.pick(QUERIES)
  const headers: Record<string, string> = {}
  if (random.chance(0.6)) headers.authorization = random.pick(['Bearer', 'Bearer ', 'Basic eDp4', `Bearer ${random.bytes(30).toString('base64url')}`, `Bearer ${'a.'.repeat(1000)}`, ...tokens.map((token) => `Bearer ${token}`)])
  if (random.chance(0.2)) headers['x-forwarded-for'] = random.pick(['1.2.3.4', 'x'.repeat(1000), '::1, 127.0.0.1', ',,,,'])
  if (random.chance(0.2)) headers.origin = random.pick(['null', 'https://evil.example', 'x'])
  if (random.chance(0.1)) headers['last-event-id'] = random.pick(['x', '-', 'a-99999999999999999999'])
  if (random.chance(0.1)) headers.cookie = 'a=b;'.repeat(500)
  if (method === 'GET' || method === 'HEAD' || random.chance(0.1)) return { method, path, headers, body: null }
  headers['content-type'] = random.pick(['application/json', 'application/json', 'application/json; charset=utf-16', 'text/plain', 'multipart/form-data', 'x'])
  return { method, path, headers, body: random.chance(0.2) ? random.bytes(random.below(500)) : random.pick(JSONS) }
}

/** Sends one request; resolves with its status, 0 when the connection was closed on us. Rejects when no answer comes. */
export async function sendRequest (http: string, agent: Agent, hostile: HostileRequest): Promise<number> {
  const { hostname, port } = new URL(http)
  return new Promise<number>((resolve, reject) => {
    const { method, path, headers, body } = hostile
    const request = httpRequest({ hostname, port, agent, method, path, headers: body === null ? headers : { ...headers, 'content-length': String(Buffer.byteLength(body)) } }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode ?? 0))
      response.once('error', () => resolve(response.statusCode ?? 0))
    })
    request.setTimeout(WAIT_MS, () => {
      reject(new Error(`no answer in ${WAIT_MS} ms to ${method} ${path.slice(0, 200)}`))
      request.destroy()
    })
    request.once('error', (error: NodeJS.ErrnoException) => { if (error.code === 'ECONNREFUSED') reject(error); else resolve(0) })
    request.end(body ?? undefined)
  })
}
