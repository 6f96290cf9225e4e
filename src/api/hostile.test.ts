// The HTTP side under a seeded rain of nonsense: nothing crashes, nothing hangs, every refusal keeps the one shape, and
// a well-behaved viewer misses nothing meanwhile. PROVE_SCALE multiplies the length; PROVE_SEED picks another rain.

import { connect } from 'node:net'
import t from 'tap'
import { errorCode, ERRORS, type ErrorName } from '../../proto/codes.ts'
import { SERVER_KEY, startBench } from './api.suite.ts'

const SCALE = Number(process.env['PROVE_SCALE'] ?? 1)
const SEED = Number(process.env['PROVE_SEED'] ?? 20_260_101)
const ROUNDS = Math.round(120 * SCALE)
/** Connections at once, each with a handful of pipelined requests. */
const WIDTH = 16

/** mulberry32: small, fast, the same everywhere. */
function generator (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const random = generator(SEED)
const below = (count: number): number => Math.floor(random() * count)
const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T
const noise = (length: number): string => Buffer.from(Array.from({ length }, () => below(256))).toString('latin1')

const METHODS = [...Array<string>(12).fill('GET'), 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'TRACE', 'PROPFIND', 'NONSENSE']
const WRITES = ['POST /v1/rooms/lobby/messages', 'POST /v1/rooms/lobby/messages', 'POST /v1/rooms/other/messages', 'PUT /v1/rooms/other', 'POST /v1/dev/token', 'DELETE /v1/rooms/other']
const PATHS = [
  '/', '/v1/rooms', '/v1/rooms/lobby', '/v1/rooms/lobby/messages', '/v1/rooms/lobby/viewers', '/v1/connections', '/v1/dev/token', '/v1/config',
  '/openapi.json', '/docs', '/docs/static/../../package.json', '/healthz', '/readyz', '/v1/rooms/%00/messages', '/v1/rooms/%ff/messages', '/v1/rooms/uproar:canary/messages',
  '/v1/rooms/__proto__', '/v1//rooms', '*', 'http://elsewhere.example/v1/rooms', '/%2e%2e/%2e%2e/etc/passwd', '/v1/rooms/lobby/events?token=%00', '/v1/rooms/no%20room/events'
]
const QUERIES = ['', '', '', '?limit=1', '?limit=9e9', '?before=18446744073709551616', '?after=-1', '?limit[]=1', '?__proto__[x]=1', '?a=%', '?limit=NaN', `?${'a=1&'.repeat(500)}`, '?prefix=%ff', '?before=0&after=0']
/** Values that are JSON, each fit for some field, and ones that are not or go too far. */
const PLAIN: readonly (() => string)[] = [
  () => '"ok"', () => `"n${below(1e6)}"`, () => '0', () => '5', () => '99', () => '-1', () => '1.5', () => 'null', () => 'true', () => '[]', () => '{}', () => '["admin"]', () => '"AAEC"', () => '"\\u0000"',
  () => '{"re":1,"at":["a"],"meta":{"a":[1]}}', () => '{"id":"u","roles":["vip"]}', () => '{"title":"x","slowModeSeconds":0}', () => '{"private":true,"blockedTerms":[""]}', () => '9007199254740993', () => '-0',
  () => JSON.stringify('e\u0301'.repeat(below(400))), () => `"${'x'.repeat(below(3000))}"`, () => `{"meta":{"a":"${'y'.repeat(below(2000))}"}}`, () => '{"re":1e300}'
]
const WILD: readonly (() => string)[] = [
  () => '1e999', () => '"\\ud800"', () => '['.repeat(below(9000)), () => `${'{"a":'.repeat(below(2000))}1`, () => `[${'1,'.repeat(below(5000))}1]`, () => '{"__proto__":{"x":1}}',
  () => '{"constructor":{"prototype":{}}}', () => `"${noise(below(40))}"`, () => '"\\'
]
const KEYS = ['kind', 'kind', 'ext', 'ext', 'as', 'settings', 'settings', 'id', 'name', 'roles', 'rooms']
const STRANGE_KEYS = ['__proto__', 'toString', '', '\\ud800', 'nonce']
const TYPES = [...Array<string>(20).fill('application/json'), 'application/json; charset=utf-7', 'text/plain', 'multipart/form-data; boundary=x', 'application/JSON', '', 'a/b/c;;=']

const value = (): string => pick(random() < 0.08 ? WILD : PLAIN)()

function body (): string {
  const chance = random()
  if (chance < 0.05) return noise(below(300))
  if (chance < 0.1) return value()
  if (chance < 0.12) return ''
  const fields = random() < 0.6 ? [`"nonce":${random() < 0.8 ? `"n${below(500)}"` : value()}`, `"body":${random() < 0.8 ? '"text"' : value()}`] : []
  for (let n = below(4); n > 0; n--) fields.push(`"${pick(random() < 0.04 ? STRANGE_KEYS : KEYS)}":${value()}`)
  return `{${fields.join(',')}}`
}

function headers (tokens: readonly string[]): string {
  const lines = ['host: localhost']
  const maybe = (chance: number, line: () => string): void => { if (random() < chance) lines.push(line()) }
  maybe(0.8, () => `authorization: Bearer ${pick(random() < 0.7 ? tokens.slice(0, 2) : tokens)}`)
  maybe(0.03, () => `authorization: ${noise(30).replace(/[^\x20-\x7e]/g, '~')}`)
  maybe(0.2, () => `origin: ${pick(['null', 'https://a.example', 'x'.repeat(300), 'http://localhost', '://'])}`)
  maybe(0.2, () => `x-forwarded-for: ${pick(['1.2.3.4', ', ,', '::::', 'x'.repeat(500)])}`)
  maybe(0.1, () => `last-event-id: ${pick(['x', 'a-1', '-', '1'.repeat(400)])}`)
  maybe(0.1, () => `if-none-match: ${pick(['*', '"', 'W/"x"', ','.repeat(2000)])}`)
  maybe(0.1, () => `accept-encoding: ${pick(['br', '*', 'gzip;q=0', ','.repeat(2000)])}`)
  maybe(0.02, () => `x-${'y'.repeat(below(100))}: ${'z'.repeat(below(20_000))}`)
  maybe(0.05, () => 'expect: 100-continue')
  maybe(0.005, () => 'upgrade: websocket\r\nconnection: upgrade')
  maybe(0.05, () => 'accept-version: 9.9.9')
  return lines.join('\r\n')
}

interface Shower {
  readonly bytes: Buffer
  /** The requests are whole, and the last asks for the connection to be closed. */
  readonly isWhole: boolean
}

/** The bytes of one connection: some requests, the last of which may be half of one. */
function rain (tokens: readonly string[]): Shower {
  if (random() < 0.04) return { bytes: Buffer.from(noise(below(2000)), 'latin1'), isWhole: false }
  const isWhole = random() < 0.85
  let text = ''
  for (let left = below(4); left >= 0; left--) {
    const line = random() < 0.5 ? pick(WRITES) : `${pick(METHODS)} ${pick(PATHS)}${pick(QUERIES)}`
    const content = /^(GET|HEAD)/.test(line) && random() < 0.8 ? null : body()
    text += `${line} HTTP/1.1\r\n${headers(tokens)}\r\n${left === 0 && isWhole ? 'connection: close\r\n' : ''}`
    if (content === null) text += '\r\n'
    else if (random() < 0.05) text += `content-type: ${pick(TYPES)}\r\ntransfer-encoding: chunked\r\n\r\n${content.length.toString(16)}\r\n${content}\r\n${content === '' ? '' : '0\r\n\r\n'}`
    else text += `content-type: ${pick(TYPES)}\r\ncontent-length: ${content.length + (isWhole ? 0 : below(50) - 25)}\r\n\r\n${content}`
  }
  return { bytes: Buffer.from(isWhole ? text : text.slice(0, below(text.length)), 'latin1'), isWhole }
}

/** How long a connection may be silent before the client ends its half; the server must then close it. */
const SILENCE_MS = 300

/** Sends the bytes and gives all that came back until the connection was closed; `isLate`: it never was. */
function pour (port: number, { bytes, isWhole }: Shower): Promise<{ text: string, isLate: boolean }> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    let text = ''
    let isLate = false
    const deadline = setTimeout(() => { isLate = true; socket.destroy() }, 14_000)
    socket.setTimeout(SILENCE_MS, () => socket.end())
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      // A stream goes on for ever: the client leaves.
      if (chunk.includes('text/event-stream')) socket.destroy()
    })
    socket.on('error', () => socket.destroy()).on('end', () => socket.end()).on('close', () => {
      clearTimeout(deadline)
      resolve({ text, isLate })
    })
    socket.write(bytes)
    if (!isWhole) socket.end()
  })
}

const STATUSES: ReadonlyMap<string, ReadonlySet<number>> = new Map(ERRORS.map((row) => [row.name, new Set([row.http])]))

/** What is wrong with what a connection was answered, one line each. */
function faults (text: string): string[] {
  const found: string[] = []
  for (const [, status, head, rest] of text.matchAll(/HTTP\/1\.1 (\d{3})([\s\S]*?)\r\n\r\n([\s\S]*?)(?=HTTP\/1\.1 \d{3} |$)/g)) {
    const code = Number(status)
    if (code < 400 || code === 417) continue
    if (code >= 500 && code !== 501) found.push(`a ${code}: ${rest?.slice(0, 200)}`)
    const content = /content-length: (\d+)/i.exec(head ?? '')?.[1]
    if (rest === '' || content === undefined) continue
    const { error } = parse(rest ?? '') ?? {}
    if (error === undefined || Object.keys(error).join() !== 'code,name,message,retryAfterMs') found.push(`shape of a ${code}: ${rest?.slice(0, 200)}`)
    else if (STATUSES.get(error.name)?.has(code) !== true || errorCode(error.name as ErrorName).code !== error.code) found.push(`${code} for ${error.name}`)
  }
  return found
}

function parse (text: string): { error?: { code: number, name: string } } | null {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

t.setTimeout(60_000 + 60_000 * SCALE)
t.test(`${ROUNDS * WIDTH} connections of nonsense, seed ${SEED}`, { timeout: 60_000 + 60_000 * SCALE }, async (t) => {
  const { api, token, ask, events, send, logged, metrics } = await startBench(t, { env: { LOG_LEVEL: 'warn' } })
  const ada = await token('ada')
  const tokens = [ada, await token('host', ['broadcaster']), `${ada.slice(0, -5)}AAAAA`, 'eyJhbGciOiJub25lIn0.e30.', 'x', 'a-server-key-of-32-characters-01', SERVER_KEY]
  await send('watched', ada, 'first')
  const viewer = await events('/v1/rooms/watched/events')
  await viewer.take(2)
  const wrong: string[] = []
  let answered = 0
  let peak = 0
  for (let round = 0; round < ROUNDS; round++) {
    const results = await Promise.all(Array.from({ length: WIDTH }, () => pour(api.port, rain(tokens))))
    for (const { text, isLate } of results) {
      answered += text === '' ? 0 : 1
      wrong.push(...faults(text))
      if (isLate) wrong.push(`no end to ${JSON.stringify(text.slice(0, 200))}`)
    }
    if (wrong.length > 20) break
    const seq = await send('watched', ada, `round ${round}`)
    let event = await viewer.next()
    while (event?.event === 'viewers') event = await viewer.next()
    if (event?.data.seq !== seq) wrong.push(`the viewer saw ${event?.data.seq} instead of ${seq}`)
    peak = Math.max(peak, process.memoryUsage().heapUsed)
  }
  t.same(wrong, [], 'every answer keeps the rules')
  t.ok(answered > ROUNDS * WIDTH * 0.6, `${answered} connections were answered`)
  t.ok(peak < 600_000_000, `${Math.round(peak / 1e6)} MB of heap at most`)
  t.notMatch(logged(), /"level":50/, 'nothing failed inside')
  t.equal((await ask('GET', '/healthz')).status, 200)
  for (let n = 0; n < 200 && metrics.value('uproar_streams') > 1; n++) await ask('GET', '/healthz')
  t.equal(metrics.value('uproar_streams'), 1, 'no stream is left behind')
  viewer.close()
})
