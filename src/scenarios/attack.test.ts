// Stories of attacks from below the protocol: connections that say nothing or say it slowly, floods of them, requests that
// two readers may read differently, bombs. In each the others are served meanwhile, and the attacker loses a connection.

import { execFileSync } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { deflateRawSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { IN, OUT } from '../../proto/ops.ts'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { API_KEY, eventually, freePort, Program, tokenOf } from './harness.ts'
import { measured, megabytes } from './size.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(240_000)
// Most of the time is waiting for others to be sent away.
t.jobs = 2
const atOnce = { buffered: true } as const

/** Whoever is slow is gone after ten seconds and what it takes to notice. */
const SLOW_MS_MAX = 16_000
const PER_ADDRESS = 40

const portOf = (address: string): number => Number(new URL(address).port)

interface Attempt { readonly port: number, readonly from?: string, readonly isTls?: boolean, readonly first?: string, readonly drip?: string }

/** A connection that says `first`, then `drip` every second; resolves when it is closed, with how long it lasted and what it was told. */
function linger ({ port, from = '127.0.0.3', isTls = false, first = '', drip = '' }: Attempt): Promise<{ ms: number, text: string }> {
  return new Promise((resolve) => {
    const start = performance.now()
    const place = { host: '127.0.0.1', port, localAddress: from }
    const socket: Socket = isTls ? connectTls({ ...place, rejectUnauthorized: false }) : connect(place)
    let text = ''
    const timer = setInterval(() => { if (drip !== '') socket.write(drip) }, 1000)
    const late = setTimeout(() => socket.destroy(), SLOW_MS_MAX + 5000)
    socket.on('data', (chunk) => { text += chunk.toString('latin1') }).on('error', () => socket.destroy()).once('close', () => {
      clearInterval(timer)
      clearTimeout(late)
      resolve({ ms: performance.now() - start, text })
    })
    if (first !== '') socket.write(first)
  })
}

/** Sends bytes as they are; resolves with all that came back once the server closed, or after `ms` of silence. */
function raw (port: number, bytes: string | Buffer, ms = 400): Promise<{ text: string, isClosed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.4' })
    let text = ''
    let isClosed = true
    socket.setTimeout(ms, () => { isClosed = false; socket.destroy() })
    socket.on('data', (chunk) => { text += chunk.toString('latin1') }).on('error', () => socket.destroy()).once('close', () => resolve({ text, isClosed }))
    socket.write(bytes)
  })
}

function certificate (): { dir: string, env: Record<string, string> } {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-tls-'))
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-keyout', key, '-out', cert, '-subj', '/CN=localhost'], { stdio: 'ignore' })
  return { dir, env: { TLS_CERT_FILE: cert, TLS_KEY_FILE: key } }
}

t.test('slow ones are sent away, floods from one address keep nobody else out', atOnce, async (t) => {
  const { dir, env } = certificate()
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const [program, secure] = await Promise.all([Program.start(t, { CONNECTIONS_PER_ADDRESS_MAX: String(PER_ADDRESS) }), Program.start(t, { ...env, CONNECTIONS_PER_ADDRESS_MAX: String(PER_ADDRESS) })])
  const [http, ws] = [portOf(program.http), portOf(program.ws)]
  const upgrade = 'GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
  const post = 'POST /v1/rooms/stage/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{'
  const slow: Record<string, Attempt> = {
    'HTTP, silent': { port: http },
    'HTTP, half a head': { port: http, first: 'GET / HTTP/1.1\r\nHost: x\r\n' },
    'HTTP, a head in drops': { port: http, first: 'GET / HTTP/1.1\r\nHost: x\r\n', drip: 'a: b\r\n' },
    'HTTP, no body': { port: http, first: post },
    'HTTP, a body in drops': { port: http, first: post, drip: ' ' },
    'sockets, silent': { port: ws },
    'sockets, half a handshake': { port: ws, first: upgrade },
    'sockets, a handshake in drops': { port: ws, first: upgrade, drip: 'a: b\r\n' },
    'sockets, no HELLO': { port: ws, first: `${upgrade}Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n` },
    'HTTP, no TLS': { port: portOf(secure.http) },
    'HTTP, silent in TLS': { port: portOf(secure.http), isTls: true },
    'sockets, no TLS': { port: portOf(secure.ws) },
    'sockets, half a handshake in TLS': { port: portOf(secure.ws), isTls: true, first: upgrade, drip: 'a: b\r\n' }
  }
  const ended = Object.entries(slow).map(async ([what, attempt]) => [what, await linger(attempt)] as const)

  // Meanwhile a flood of silent ones from one address, to both ports.
  const flood = (port: number): Socket[] => Array.from({ length: PER_ADDRESS * 6 }, () => connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2' }).on('error', () => {}))
  for (const [what, port, places] of [['sockets', ws, PER_ADDRESS], ['HTTP', http, PER_ADDRESS * 4]] as const) {
    const sockets = flood(port)
    t.teardown(() => { for (const socket of sockets) socket.destroy() })
    const open = (): number => sockets.filter((socket) => !socket.destroyed && !socket.pending).length
    await eventually(`${what}: the flood to be bounded`, () => sockets.every(({ pending, destroyed }) => !pending || destroyed) && open() === places ? true : null)
    t.equal(open(), places, `${what}: of ${sockets.length} from one address ${places} stay`)
  }
  const start = performance.now()
  t.equal((await program.request('GET', '/healthz')).status, 200)
  const viewer = await Viewer.connect(t, program.ws, tokenOf('ann'))
  await viewer.join('stage')
  t.match(await viewer.say('stage', 'still here'), [OUT.OK, Number, [1, Number]])
  const ms = performance.now() - start
  t.ok(ms < 5000, `another address is served meanwhile, in ${Math.round(ms)} ms`)

  for (const [what, { ms, text }] of await Promise.all(ended)) {
    t.ok(ms < SLOW_MS_MAX, `${what}: closed after ${(ms / 1000).toFixed(1)} s`)
    t.notMatch(text, /HTTP\/1\.1 2/, `${what}: and not served`)
  }
  const metrics = (await program.request('GET', '/metrics')).text
  t.match(metrics, /uproar_connections_refused_total\{reason="silent"\} \d+/)
  t.match(metrics, /uproar_connections_refused_total\{reason="http"\} \d+/)
  t.same(program.faults, [])
})

t.test('what two readers may read differently is refused, and ends the connection', atOnce, async (t) => {
  const program = await Program.start(t, { TRUSTED_PROXIES: '10.0.0.0/8' })
  const [http, ws] = [portOf(program.http), portOf(program.ws)]
  const post = 'POST /v1/rooms/stage/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
  const smuggled = 'GET /v1/connections HTTP/1.1\r\nHost: x\r\n\r\n'
  const openings: Record<string, string> = {
    'a length and chunks': `${post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    'chunks and a length': `${post}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n${smuggled}`,
    'two lengths': `${post}Content-Length: 0\r\nContent-Length: 44\r\n\r\n${smuggled}`,
    'a list of lengths': `${post}Content-Length: 0, 44\r\n\r\n${smuggled}`,
    'a length with a sign': `${post}Content-Length: +0\r\n\r\n${smuggled}`,
    'a length that is none': `${post}Content-Length: 0x0\r\n\r\n${smuggled}`,
    'two codings': `${post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`,
    'a coding that is none': `${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`,
    'a blank before the colon': `${post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    'a folded header': `${post}X: y\r\n Transfer-Encoding: chunked\r\n\r\n${smuggled}`,
    'a bare carriage return': `${post}X: y\rTransfer-Encoding: chunked\r\n\r\n${smuggled}`,
    'a chunk with a bad size': `${post}Transfer-Encoding: chunked\r\n\r\n0x1\r\n{\r\n0\r\n\r\n${smuggled}`,
    'a nul in a header': `${post}X: a\0b\r\nContent-Length: 0\r\n\r\n${smuggled}`
  }
  for (const [what, bytes] of Object.entries(openings)) {
    const { text, isClosed } = await raw(http, bytes)
    t.match([(text.match(/HTTP\/1\.1 \d/g) ?? []).length, isClosed], [1, true], `HTTP, ${what}: one answer, and the end`)
    t.match(text, /^HTTP\/1\.1 400 [\s\S]*"bad_request"/, `HTTP, ${what}: a refusal`)
    // The library reads on behind an answer that closes. It has one address and takes no token there, so all that can be had is another 404.
    const { text: answered } = await raw(ws, bytes, 100)
    t.notMatch(answered, /HTTP\/1\.1 (?!40[04] )/, `sockets, ${what}: nothing is served`)
  }
  const { text } = await raw(http, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  t.same(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200'], 'requests sent ahead are answered in their order')
  const long = await raw(http, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`)
  t.match(long.text, /^HTTP\/1\.1 400 [\s\S]*headers are too long/, 'a head beyond 16 KB')
  t.notMatch((await raw(ws, `GET /ws HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`)).text, /HTTP\/1\.1 [12]/, 'sockets: beyond 4 KB')
  const proxied = await raw(ws, Buffer.concat([Buffer.from('0d0a0d0a000d0a515549540a2111000c09080706050403020bb82329', 'hex'), Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')]))
  t.notMatch(proxied.text, /HTTP\/1\.1 [12]/, 'a PROXY header opens nothing')
  t.same(program.faults, [])
})

t.test('bombs: what unfolds to far more than was sent is cut', atOnce, async (t) => {
  const program = await Program.start(t, { COMPRESSION: 'true' })
  const before = program.memory().anonymous
  const bomb = deflateRawSync(Buffer.alloc(14_000_000, 0x20), { finishFlush: 2 })
  const { text } = await raw(portOf(program.ws), Buffer.concat([
    Buffer.from(`GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`),
    ...Array.from({ length: 20 }, () => masked(bomb.subarray(0, 16_000)))
  ]))
  t.match(text, /^HTTP\/1\.1 101 [\s\S]*permessage-deflate/i, 'the extension was agreed on')
  const body = gzipSync(Buffer.from(JSON.stringify({ nonce: 'n', body: 'x'.repeat(50_000_000) })))
  const answer = await fetch(`${program.http}/v1/rooms/stage/messages`, { method: 'POST', headers: { 'content-type': 'application/json', 'content-encoding': 'gzip', authorization: `Bearer ${API_KEY}` }, body, signal: AbortSignal.timeout(10_000) })
  t.equal(answer.status, 400, 'bodies are not unfolded')
  const viewer = await Viewer.connect(t, program.ws, tokenOf('ann'))
  await viewer.join('stage')
  t.match(await viewer.say('stage', 'still here'), [OUT.OK, Number, [1, Number]])
  const growth = program.memory().anonymous - before
  t.ok(growth < 60 * 1_048_576, `memory stays: ${megabytes(growth)}`)
  measured(t, `20 messages of 16 KB that unfold to 14 MB each: ${megabytes(growth)}`)
  t.same(program.faults, [])
})

/** A compressed binary message of a client. */
function masked (payload: Buffer): Buffer {
  const head = Buffer.from([0xc2, 0xfe, 0, 0, 0, 0, 0, 0])
  head.writeUInt16BE(payload.length, 2)
  return Buffer.concat([head, payload])
}

t.test('what opens a door stands in no log, whatever goes wrong', { ...atOnce, skip: withoutRedis() }, async (t) => {
  const redis = await RedisServer.start(t, { password: 'hunter1-of-redis' })
  const secrets = {
    JWT_SECRET: 'hunter2 of tokens which has thirty-two bytes or more', API_KEYS: 'hunter3-of-the-server-0001,hunter4-of-the-server-0002', SCORER_TOKEN: 'hunter5-of-the-scorer', HOOK_TOKEN: 'hunter6-of-the-hook',
    KAFKA_PASSWORD: 'hunter7-of-kafka', REDIS_URL: redis.url
  }
  const away = `127.0.0.1:${await freePort()}`
  const program = new Program({
    ...secrets, LOG_LEVEL: 'trace', SCORERS: 'http', SCORER_URL: `http://${away}/`, HOOK_URL: `http://${away}/`, KAFKA_BROKERS: away, KAFKA_SASL: 'plain', KAFKA_USERNAME: 'uproar'
  })
  t.teardown(() => program.destroy())
  const said: string[] = []
  program.heard = (line) => said.push(line)
  await program.launch()
  const key = 'hunter3-of-the-server-0001'
  const token = signed({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + 600, rooms: { stage: ['broadcaster'] }, jti: 'hunter8' }, secrets.JWT_SECRET)
  const late = signed({ sub: 'ann', exp: 1 }, secrets.JWT_SECRET)
  await program.request('PUT', '/v1/rooms/stage', { token: key, json: { settings: { hook: 'open', private: true } } })
  const viewer = await Viewer.connect(t, program.ws, token)
  await viewer.join('stage')
  await viewer.say('stage', 'words of ann\n{"level":60,"msg":"forged"}')
  for (const one of [token, late, `${token}x`, key, `${key}x`]) {
    await program.request('GET', `/v1/rooms/stage/messages?token=${one}`, { token: one })
    await program.request('GET', `/v1/rooms/%zz?token=${one}`, { headers: { cookie: `token=${one}` } })
    await program.request('POST', '/v1/rooms/stage/messages', { token: one, json: { nonce: one.slice(-64), body: 7 } })
    await raw(portOf(program.http), `GET /v1/rooms/stage/events?token=${one} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`, 100)
    await raw(portOf(program.http), `GET /?${one} HTTP/1.1\r\nAuthorization: Bearer ${one}\r\nbroken\r\n\r\n`, 100)
    const other = new Viewer(program.ws)
    t.teardown(() => other.socket.destroy())
    await other.opened()
    other.send([IN.HELLO, one, `\n{"level":60,"msg":"forged"} ${one.slice(0, 100)}`], [IN.AUTH, 1, one])
    await other.until('an answer', () => other.frames.length > 0 || other.ending !== null || null)
  }
  await redis.kill9()
  const [, audit] = await Promise.all([viewer.say('stage', 'into the void'), program.request('GET', '/v1/rooms/stage/audit', { token: key })])
  t.equal(audit.status, 503)
  await program.kill9()
  const log = said.join('\n')
  t.ok(said.every((line) => typeof (JSON.parse(line) as { level: unknown }).level === 'number'), 'every line is whole')
  t.notMatch(log, /forged|words of ann|into the void/, 'and none has what a user wrote')
  t.match(log, /"level":50/, 'much went wrong')
  t.match(log, /"msg":"request"/, 'and requests were logged')
  const [head, claims, signature] = token.split('.') as [string, string, string]
  for (const secret of [...Object.values(secrets).flatMap((text) => text.split(',')), 'hunter', claims.slice(0, 40), signature, late.split('.')[2] as string]) t.notOk(log.includes(secret), `${secret.slice(0, 12)}… is not in it`)
  t.notOk(log.includes(head), 'nor is the beginning of a token')
  measured(t, `${said.length} lines at level trace`)

  const fresh = new Program({ ...secrets, REDIS_URL: redis.url })
  t.teardown(() => fresh.destroy())
  await t.rejects(fresh.launch(), /REDIS_URL: Redis cannot be reached/)
  t.notMatch(fresh.lines.join(), /hunter/, 'nor is anything in what a start that fails says')
})

/** A token, signed with this secret. */
function signed (claims: Record<string, unknown>, secret: string): string {
  const text = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}
