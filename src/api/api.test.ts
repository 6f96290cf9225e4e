// The HTTP side over real HTTP: messages, rooms, who may do what, the one shape of errors, limits, origins, pages, docs.

import { mkdirSync, writeFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { CERT, KEY } from '../base/certificate.suite.ts'
import { AppError, Refusal } from '../base/errors.ts'
import { METRICS, Metrics } from '../base/metrics.ts'
import { SETTING_NAMES } from '../rooms/rooms.ts'
import { refused, SERVER_KEY, startBench, type Answer } from './api.suite.ts'

t.test('messages are sent once and paged', async (t) => {
  const { ask, token } = await startBench(t)
  const ada = await token('ada', ['vip'])
  const path = '/v1/rooms/lobby/messages'
  refused(t, await ask('GET', path), 'not_found', 'reading makes no room')
  refused(t, await ask('GET', path), 'not_found', 'and still made none')

  const first = await ask('POST', path, { token: ada, body: { nonce: 'one', body: ' hello ', ext: { at: ['bob'] } } })
  t.equal(first.status, 201)
  t.same(Object.keys(first.json).sort(), ['epoch', 'seq', 'ts'])
  t.equal(first.json.seq, 1)
  const again = await ask('POST', path, { token: ada, body: { nonce: 'one', body: 'hello' } })
  t.equal(again.status, 200, 'a known nonce')
  t.same(again.json, first.json)
  for (let n = 2; n <= 7; n++) await ask('POST', path, { token: ada, body: { nonce: `n${n}`, kind: 0, body: `text ${n}` } })

  const page = await ask('GET', path)
  t.equal(page.status, 200)
  t.match(page.headers, { 'content-type': /^application\/json/, 'cache-control': 'no-store' })
  t.same({ ...page.json, entries: page.json.entries.map((entry: { seq: number }) => entry.seq) }, { epoch: first.json.epoch, head: 7, entries: [1, 2, 3, 4, 5, 6, 7], more: false })
  t.same(page.json.entries[0], { op: 'message', seq: 1, ts: first.json.ts, user: { id: 'ada', name: 'ADA', roles: 2 }, kind: 0, body: 'hello', ext: { at: ['bob'] } })
  const seqs = async (query: string): Promise<unknown> => {
    const { json } = await ask('GET', `${path}?${query}`)
    return [json.entries.map((entry: { seq: number }) => entry.seq), json.more]
  }
  t.same(await seqs('limit=2'), [[6, 7], true])
  t.same(await seqs('before=6&limit=2'), [[4, 5], true])
  t.same(await seqs('before=3'), [[1, 2], false])
  t.same(await seqs('before=1'), [[], false])
  t.same(await seqs('after=2&limit=3'), [[3, 4, 5], true])
  t.same(await seqs('after=6'), [[7], false])
  t.same(await seqs(`after=${Number.MAX_SAFE_INTEGER}`), [[], false])
  refused(t, await ask('GET', `${path}?after=1&before=4`), 'bad_request')
  for (const query of ['limit=0', 'limit=201', 'limit=1e1', 'limit=-1', 'limit=', 'limit=2&limit=3', 'before=99999999999999999999', 'befroe=2', 'token=x']) {
    refused(t, await ask('GET', `${path}?${query}`), 'bad_request', query)
  }
  t.match((await ask('GET', `${path}?befroe=2`)).json.error.message, /befroe/, 'the unknown key is named')

  const secret = await ask('POST', path, { token: ada, body: { nonce: 'e', kind: 5, body: 'AAEC/w==' } })
  t.equal(secret.status, 201)
  t.equal((await ask('GET', `${path}?limit=1`)).json.entries[0].body, 'AAEC/w==', 'opaque bytes come back as they went')
  refused(t, await ask('POST', path, { token: ada, body: { nonce: 'f', kind: 5, body: 'not base64' } }), 'bad_request')
})

t.test('a server key acts for others', async (t) => {
  const { ask, token } = await startBench(t)
  const path = '/v1/rooms/lobby/messages'
  const as = { id: 'u-7', name: 'Grace', roles: ['moderator'] }
  t.equal((await ask('POST', path, { token: SERVER_KEY, body: { nonce: '1', body: 'as grace', as } })).status, 201)
  t.equal((await ask('POST', path, { token: SERVER_KEY, body: { nonce: '1', body: 'as the server' } })).status, 201, 'nonces are per user')
  const { entries } = (await ask('GET', path)).json
  t.same(entries.map((entry: { user: unknown }) => entry.user), [{ id: 'u-7', name: 'Grace', roles: 4 }, { id: 'server', name: 'server', roles: 16 }])
  refused(t, await ask('POST', path, { token: await token('ada', ['admin']), body: { nonce: '2', body: 'x', as } }), 'forbidden', 'a token acts for nobody else')
  for (const bad of [{ id: '' }, { id: 7 }, { name: 'no id' }, 'ada', null, { id: 'a', extra: 1 }, { id: 'a', roles: 'admin' }]) {
    refused(t, await ask('POST', path, { token: SERVER_KEY, body: { nonce: '3', body: 'x', as: bad } }), 'bad_request', JSON.stringify(bad))
  }
  refused(t, await ask('PUT', '/v1/rooms/lobby', { token: SERVER_KEY, body: { settings: { title: 'x' }, as: { id: 'nobody' } } }), 'forbidden', 'the user acted for has its own rights')
})

t.test('who may ask', async (t) => {
  const { ask, token, send } = await startBench(t)
  const ada = await token('ada')
  await send('lobby', ada, 'hello')
  const path = '/v1/rooms/lobby/messages'
  t.equal((await ask('GET', path)).status, 200, 'anonymous viewers read')
  t.equal((await ask('GET', path, { headers: { authorization: `bearer   ${ada}` } })).status, 200)
  const expired = await token('ada', [], {}, -3600)
  for (const authorization of ['Bearer nonsense', `Bearer ${ada}x`, `Bearer ${expired}`, 'Bearer', 'Bearer ', `Basic ${ada}`, `Bearer ${ada} ${ada}`, `Bearer ${'a'.repeat(9000)}`, ada]) {
    const answer = await ask('GET', path, { headers: { authorization } })
    refused(t, answer, 'unauthorized', `a bad token is refused even where none is needed: ${authorization.slice(0, 20)}`)
    t.equal(answer.headers['www-authenticate'], 'Bearer')
  }
  t.match((await ask('GET', path, { token: `${SERVER_KEY}x` })).json.error.message, /neither a server key .* nor a JWT/)
  refused(t, await ask('POST', path, { body: { nonce: '1', body: 'x' } }), 'unauthorized')
  refused(t, await ask('PUT', '/v1/rooms/new', { body: {} }), 'unauthorized')
  refused(t, await ask('DELETE', '/v1/rooms/lobby'), 'unauthorized')
  refused(t, await ask('GET', '/v1/connections'), 'unauthorized')
  refused(t, await ask('GET', '/v1/connections', { token: ada }), 'forbidden')
})

t.test('connections are for admins', async (t) => {
  const asked: unknown[] = []
  const one = { session: 's', user: 'ada', address: '10.0.0.1', since: 1, rooms: ['lobby'], bufferedBytes: 0 }
  const connections = (query: { limit: number }): typeof one[] => { asked.push(query); return Array.from({ length: Math.min(query.limit, 3) }, () => one) }
  const { ask, token } = await startBench(t, { deps: { connections } })
  t.same((await ask('GET', '/v1/connections?user=ada&room=lobby&limit=2', { token: SERVER_KEY })).json, { connections: [one, one], more: true })
  t.same((await ask('GET', '/v1/connections?limit=3', { token: await token('root', ['admin']) })).json, { connections: [one, one, one], more: false })
  t.same(asked, [{ user: 'ada', room: 'lobby', limit: 3 }, { limit: 4 }])
  refused(t, await ask('GET', '/v1/connections?limit=1001', { token: SERVER_KEY }), 'bad_request')
})

t.test('rooms are made, set, listed and deleted', async (t) => {
  const { ask, token } = await startBench(t)
  const host = await token('host', ['broadcaster'])
  const made = await ask('PUT', '/v1/rooms/show', { token: host, body: { kind: 'stream', settings: { title: 'Show', slowModeSeconds: 3 } } })
  t.equal(made.status, 201)
  t.match(made.json, { room: 'show', kind: 'stream', createdBy: 'host', viewers: 0, settings: { title: 'Show', slowModeSeconds: 3, locked: false, private: false } })
  const set = await ask('PUT', '/v1/rooms/show', { token: host, body: { settings: { title: null, blockedTerms: ['spoiler'] } } })
  t.equal(set.status, 200)
  t.equal(set.json.settings.title, '')
  t.notMatch(JSON.stringify(set.json), 'spoiler', 'guarded settings are not shown')
  t.same((await ask('GET', '/v1/rooms/show')).json, set.json)
  t.same((await ask('GET', '/v1/rooms/show/viewers')).json, { room: 'show', viewers: 0 })
  for (const body of [{ settings: { volume: 11 } }, { settings: { slowModeSeconds: 4000 } }, { settings: [] }, { kind: 'cinema' }, { setings: {} }, { kind: 'group' }]) {
    refused(t, await ask('PUT', '/v1/rooms/show', { token: host, body }), 'bad_request', JSON.stringify(body))
  }
  t.match((await ask('PUT', '/v1/rooms/show', { token: host, body: { setings: {} } })).json.error.message, /setings/)
  refused(t, await ask('PUT', '/v1/rooms/show', { token: await token('ada'), body: {} }), 'forbidden')

  for (const room of ['a.1', 'a.2', 'b']) await ask('PUT', `/v1/rooms/${room}`, { token: SERVER_KEY, body: room === 'a.2' ? { settings: { private: true } } : {} })
  const names = async (query: string, as?: string): Promise<unknown> => (await ask('GET', `/v1/rooms${query}`, { token: as })).json.rooms.map((room: { room: string }) => room.room)
  t.same(await names(''), ['a.1', 'b', 'show'], 'private rooms are not listed')
  t.same(await names('?prefix=a.', await token('ada', [], { 'a.2': [] })), ['a.1', 'a.2'])
  t.same(await names('?after=b&limit=1'), ['show'])
  t.equal((await ask('GET', '/v1/rooms?limit=1')).json.more, true)
  for (const path of ['/v1/rooms/a.2', '/v1/rooms/a.2/messages', '/v1/rooms/a.2/viewers', '/v1/rooms/a.2/events']) {
    refused(t, await ask('GET', path), 'unauthorized', path)
    refused(t, await ask('GET', path, { token: await token('ada') }), 'forbidden', path)
  }
  const entry = { nonce: '1', body: 'x', as: { id: 'ada' } }
  t.match((await ask('POST', '/v1/rooms/a.2/messages', { token: SERVER_KEY, body: entry })).json.error.message, /private: .*`as`.*`rooms`/)
  t.equal((await ask('POST', '/v1/rooms/a.2/messages', { token: SERVER_KEY, body: { ...entry, as: { id: 'ada', rooms: { 'a.2': [] } } } })).status, 201)

  refused(t, await ask('DELETE', '/v1/rooms/show', { token: host }), 'forbidden')
  const gone = await ask('DELETE', '/v1/rooms/show', { token: SERVER_KEY })
  t.equal(gone.status, 204)
  t.equal(gone.text, '')
  refused(t, await ask('GET', '/v1/rooms/show'), 'not_found')
  refused(t, await ask('DELETE', '/v1/rooms/show', { token: SERVER_KEY }), 'not_found')
  refused(t, await ask('GET', '/v1/rooms/show/viewers'), 'not_found')
})

t.test('every fault has the one shape', async (t) => {
  const { ask, raw, token, metrics, logged } = await startBench(t)
  const ada = await token('ada')
  const path = '/v1/rooms/lobby/messages'
  const post = (body: unknown, headers: Record<string, string> = {}): Promise<Answer> => ask('POST', path, { token: ada, body, headers })
  refused(t, await ask('GET', '/nowhere'), 'not_found')
  refused(t, await ask('GET', '/v2/rooms'), 'not_found')
  refused(t, await ask('PATCH', '/v1/rooms/lobby'), 'not_found')
  refused(t, await ask('OPTIONS', '/v1/rooms'), 'not_found')
  refused(t, await ask('GET', '/v1/rooms/%E0%A4%A/messages'), 'bad_request', 'a bad URL')
  refused(t, await ask('GET', '/v1/rooms/no%20room/messages'), 'bad_request', 'not a room')
  refused(t, await ask('GET', `/v1/rooms/${'x'.repeat(65)}`), 'bad_request')
  refused(t, await ask('GET', `/v1/rooms/${'x'.repeat(5000)}`), 'not_found', 'a part of the path that is too long')
  t.equal((await ask('HEAD', '/v1/rooms')).status, 200)

  const nested = (depth: number): string => `{"nonce":"1","body":"x","ext":{"meta":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}}`
  const bodies: readonly [string, unknown, RegExp][] = [
    ['empty', '', /empty/],
    ['not JSON', '{"nonce":', /not JSON/],
    ['an array', [], /must be object/],
    ['null', 'null', /must be object/],
    ['no nonce', { body: 'x' }, /nonce/],
    ['an unknown field', { nonce: '1', body: 'x', boddy: 'y' }, /boddy/],
    ['a number for a text', { nonce: '1', body: 12 }, /body\.body must be string/],
    ['a text for a number', { nonce: '1', body: 'x', kind: '0' }, /body\.kind must be integer/],
    ['a huge number', '{"nonce":"1","body":"x","kind":1e999}', /body\.kind/],
    ['a poisoned prototype', '{"nonce":"1","body":"x","__proto__":{"a":1}}', /__proto__/],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), /UTF-8/],
    ['half a character', '{"nonce":"1","body":"x","ext":{"meta":{"\\ud800":1}}}', /half a character/],
    ['half a character in text', '{"nonce":"1","body":"\\uDFFF"}', /half a character/],
    ['deep nesting', nested(10_000), /nests/],
    ['nesting just too deep', nested(7), /nests/],
    ['brackets without end', '['.repeat(60_000), /nests/]
  ]
  for (const [about, body, message] of bodies) {
    const answer = await post(body)
    refused(t, answer, 'bad_request', about)
    t.match(answer.json?.error.message, message, about)
  }
  t.equal((await post(nested(5))).status, 201, 'nesting that a frame may have')
  t.equal((await post('{"nonce":"pair","body":"\\ud83d\\ude00 and \\\\ud800"}')).status, 201, 'whole pairs, and text that looks like half of one')
  refused(t, await post({ nonce: '1', body: 'x'.repeat(70_000) }), 'too_long', 'a body over the limit')
  refused(t, await post({ nonce: '2', body: 'x'.repeat(501) }), 'too_long', 'a text over the limit')
  refused(t, await post('nonce=1', { 'content-type': 'text/plain' }), 'bad_request', 'not JSON by its type')
  refused(t, await post('nonce=1', { 'content-type': '' }), 'bad_request')
  refused(t, await post('{}', { 'content-type': 'application/json; charset=\u00ff' }), 'bad_request')
  refused(t, await post({ nonce: '3', kind: 4, body: 'x' }), 'unsupported')

  for (const [about, bytes] of [['not HTTP', 'hello\r\n\r\n'], ['headers too long', `GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`], ['no host', 'GET / HTTP/1.1\r\n\r\n']] as const) {
    const text = await raw(bytes)
    t.match(text, /^HTTP\/1\.1 400 /, about)
    t.match(text, about === 'no host' ? / / : /\{"error":\{"code":1,"name":"bad_request"/, about)
  }
  t.ok(metrics.value('uproar_refusals_total', 'bad_request') > 20, 'refusals are counted')
  t.equal(metrics.value('uproar_refusals_total', 'unsupported'), 1, 'those of ingest once')
  t.notMatch(logged(), /"level":50/, 'none of these is an error of ours')
})

t.test('failures are logged with their cause and told without it', async (t) => {
  const rooms = {
    async open () { throw new AppError('unavailable', 'the store is away', { cause: new Error('disk on fire') }) },
    async find () { throw new TypeError('a secret detail') },
    async describe () { throw new TypeError('a secret detail') },
    async configure () { return new Refusal('overloaded', 'the log has all it can take', 1500) },
    remove: () => new Promise<never>(() => {}),
    async list () { return { rooms: [], more: false } },
    mostWatched: () => []
  }
  const { ask, token, logged, api } = await startBench(t, { deps: { rooms } })
  const ada = await token('ada')
  const away = await ask('POST', '/v1/rooms/x/messages', { token: ada, body: { nonce: '1', body: 'x' } })
  refused(t, away, 'unavailable')
  t.equal(away.headers['retry-after'], '1')
  const fault = await ask('GET', '/v1/rooms/x')
  refused(t, fault, 'internal')
  t.notMatch(fault.text, 'secret detail')
  const full = await ask('PUT', '/v1/rooms/x', { token: ada, body: {} })
  refused(t, full, 'overloaded')
  t.equal(full.headers['retry-after'], '2', 'rounded up')
  t.match(logged(), 'disk on fire')
  t.match(logged(), 'a secret detail')

  const hanging = ask('DELETE', '/v1/rooms/x', { token: ada }).then(() => 'answered', () => 'cut')
  await ask('GET', '/v1/rooms')
  await Promise.all([api.stop(), api.stop()])
  t.equal(await hanging, 'cut', 'a request that hangs does not hold up the stop')
})

t.test('nothing that opens a door is logged', async (t) => {
  const { ask, token, logged, events } = await startBench(t)
  const ada = await token('ada')
  const stream = await events(`/v1/rooms/lobby/events?token=${ada}`)
  await stream.next()
  stream.close()
  await ask('GET', `/v1/rooms/lobby/events?token=${ada}x`)
  await ask('GET', `/v1/rooms/%zz?token=${ada}`)
  await ask('GET', `/nowhere?token=${ada}`)
  await ask('GET', `/v1/rooms/lobby/messages?token=${ada}&bad=1`)
  await ask('POST', '/v1/rooms/lobby/messages', { token: ada, body: '{' })
  await ask('GET', '/v1/connections', { token: SERVER_KEY })
  t.match(logged(), '/v1/rooms/:room/messages', 'requests are logged at debug')
  for (const secret of [ada.slice(0, 40), ada.slice(-20), SERVER_KEY]) t.notMatch(logged(), secret)
})

t.test('requests are counted by address', async (t) => {
  const { ask } = await startBench(t, { env: { REQUESTS_PER_MINUTE_MAX: '5', TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8' } })
  const from = (forwarded: string, path = '/v1/rooms', token?: string): Promise<Answer> => ask('GET', path, { headers: { 'x-forwarded-for': forwarded }, token })
  const status = async (answer: Promise<Answer>): Promise<number> => (await answer).status
  for (let n = 0; n < 5; n++) t.equal(await status(from('192.0.2.1')), 200)
  const over = await from('192.0.2.1')
  refused(t, over, 'rate_limited')
  t.ok(Number(over.headers['retry-after']) >= 1 && Number(over.headers['retry-after']) <= 60)
  refused(t, await from('192.0.2.1', '/nowhere'), 'rate_limited', 'paths that are not there count too')
  refused(t, await from('203.0.113.9, 192.0.2.1, 10.1.2.3'), 'rate_limited', 'what stands left of the first strange proxy is not believed')
  refused(t, await from('::ffff:192.0.2.1'), 'rate_limited', 'the same address in IPv6 clothes')
  t.equal(await status(from('192.0.2.2')), 200, 'another address')
  for (let n = 0; n < 5; n++) await from(`2001:db8::${n}`)
  refused(t, await from('2001:db8::ffff'), 'rate_limited', 'a household of IPv6 counts as one')
  for (let n = 0; n < 5; n++) await from(`garbage-${n}`)
  refused(t, await from('more garbage'), 'rate_limited', 'whatever is no address counts for the peer')
  t.equal(await status(from('192.0.2.1', '/v1/rooms', SERVER_KEY)), 200, 'server keys are not counted')
  refused(t, await from('192.0.2.1', '/v1/rooms', `${SERVER_KEY}x`), 'rate_limited', 'wrong ones are')
  for (const path of ['/healthz', '/readyz', '/metrics']) t.equal(await status(from('192.0.2.1', path)), 200, path)
})

t.test('X-Forwarded-For is nothing without a trusted proxy', async (t) => {
  const { ask } = await startBench(t, { env: { REQUESTS_PER_MINUTE_MAX: '2' } })
  const answers: number[] = []
  for (let n = 0; n < 3; n++) answers.push((await ask('GET', '/v1/rooms', { headers: { 'x-forwarded-for': `192.0.2.${n}` } })).status)
  t.same(answers, [200, 200, 429])
})

t.test('any origin may come when none is named', async (t) => {
  const { ask } = await startBench(t)
  const answer = await ask('GET', '/v1/rooms', { headers: { origin: 'https://somewhere.example' } })
  t.equal(answer.headers['access-control-allow-origin'], '*')
  t.equal(answer.headers['access-control-allow-credentials'], undefined)
  t.equal(answer.headers['access-control-expose-headers'], 'Retry-After')
  const preflight = await ask('OPTIONS', '/v1/rooms/a/messages', { headers: { origin: 'https://somewhere.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' } })
  t.equal(preflight.status, 204)
  t.match(preflight.headers, { 'access-control-allow-origin': '*', 'access-control-allow-methods': /POST/, 'access-control-allow-headers': /authorization, content-type, last-event-id/ })
  t.equal((await ask('GET', '/nowhere', { headers: { origin: 'null' } })).headers['access-control-allow-origin'], '*', 'errors can be read too')
})

t.test('only origins on the list may come when there is one', async (t) => {
  const { ask, token } = await startBench(t, { env: { ORIGINS: 'https://good.example' } })
  const ada = await token('ada')
  const post = (origin: string, headers: Record<string, string> = {}): Promise<Answer> => ask('POST', '/v1/rooms/a/messages', { token: ada, headers: { origin, ...headers }, body: { nonce: origin, body: 'x' } })
  const good = await post('https://good.example')
  t.equal(good.status, 201)
  t.match(good.headers, { 'access-control-allow-origin': 'https://good.example', vary: /Origin/ })
  for (const origin of ['https://bad.example', 'http://good.example', 'https://good.example.bad.example', 'null', 'nonsense']) {
    const bad = await post(origin)
    refused(t, bad, 'forbidden', origin)
    t.equal(bad.headers['access-control-allow-origin'], undefined)
  }
  t.equal((await post('http://chat.example', { host: 'chat.example' })).status, 201, 'the server\'s own pages')
  refused(t, await ask('OPTIONS', '/v1/rooms', { headers: { origin: 'https://bad.example', 'access-control-request-method': 'PUT' } }), 'forbidden')
  refused(t, await ask('GET', '/v1/rooms/a/events', { headers: { origin: 'https://bad.example' } }), 'forbidden', 'streams as well')
  const read = await ask('GET', '/v1/rooms', { headers: { origin: 'https://bad.example' } })
  t.equal(read.status, 200, 'reads are answered')
  t.equal(read.headers['access-control-allow-origin'], undefined, 'but the browser will not show them')
})

t.test('tokens for the asking', async (t) => {
  const { ask, raw } = await startBench(t)
  const mint = (headers: Record<string, string> = {}, body: unknown = { id: 'ada', name: 'Ada', roles: ['moderator'] }): Promise<Answer> => ask('POST', '/v1/dev/token', { headers, body })
  const { status, json } = await mint()
  t.equal(status, 200)
  t.equal((await ask('POST', '/v1/rooms/a/messages', { token: json.token, body: { nonce: '1', body: 'x' } })).status, 201)
  for (const headers of [{ 'x-forwarded-for': '127.0.0.1' }, { forwarded: 'for=127.0.0.1' }, { origin: 'https://evil.example' }, { origin: 'null' }, { host: 'evil.example' }, { host: '127.0.0.1.evil.example' }] as Record<string, string>[]) {
    refused(t, await mint(headers), 'not_found', JSON.stringify(headers))
    refused(t, await mint(headers, '{'), 'not_found', 'strangers learn nothing from a bad body')
    t.equal((await ask('GET', '/v1/config', { headers })).json.devTokens, false)
  }
  for (const headers of [{ origin: 'http://localhost:3000' }, { host: 'localhost:8080' }, { host: '[::1]:8080' }] as Record<string, string>[]) t.equal((await mint(headers)).status, 200, JSON.stringify(headers))
  const body = '{"id":"ada"}'
  const old = await raw(`POST /v1/dev/token HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  t.match(old, /^HTTP\/1\.1 404 /, 'a proxy of this machine that sets no header, by its HTTP/1.0')
  refused(t, await mint({}, { name: 'no id' }), 'bad_request')
  refused(t, await mint({}, { id: 'x', admin: true }), 'bad_request')
  t.equal((await ask('GET', '/v1/config')).json.devTokens, true)
})

t.test('what comes by a trusted proxy is not of this machine', async (t) => {
  const { ask } = await startBench(t, { env: { TRUSTED_PROXIES: '127.0.0.1' } })
  refused(t, await ask('POST', '/v1/dev/token', { body: { id: 'ada' } }), 'not_found')
  t.equal((await ask('GET', '/v1/status')).json.detail, null)
})

t.test('no tokens for the asking once a key is set', async (t) => {
  const { ask } = await startBench(t, { env: { JWT_SECRET: 'a secret of thirty-two characters' } })
  refused(t, await ask('POST', '/v1/dev/token', { body: { id: 'ada' } }), 'not_found')
  const config = await ask('GET', '/v1/config')
  t.same(config.json, { wsUrl: null, wsPort: 9001, devTokens: false, limits: { textCharacters: 500, historyEntries: 200, roomsPerConnection: 16 } })
  t.notMatch(config.text, /secret|key/i)
})

t.test('pages come from memory', async (t) => {
  const assetsDir = join(t.testdir({}), 'web')
  mkdirSync(join(assetsDir, 'deep'), { recursive: true })
  writeFileSync(join(assetsDir, '..', 'private.txt'), 'not for you')
  writeFileSync(join(assetsDir, 'index.html'), '<!doctype html><title>Uproar</title>')
  writeFileSync(join(assetsDir, 'app.js'), `// ${'long '.repeat(1000)}`)
  writeFileSync(join(assetsDir, 'deep', 'icon.svg'), '<svg/>')
  const { ask, raw } = await startBench(t, { deps: { assetsDir }, env: { ORIGINS: 'https://good.example' } })
  const index = await ask('GET', '/')
  t.equal(index.text, '<!doctype html><title>Uproar</title>')
  t.match(index.headers, {
    'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer',
    'content-security-policy': /^default-src 'self'; connect-src 'self' ws: wss:; img-src 'self';.*require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors 'self' https:\/\/good\.example$/
  })
  const etag = index.headers.etag as string
  t.equal((await ask('GET', '/', { headers: { 'if-none-match': etag } })).status, 304)
  t.equal((await ask('GET', '/index.html', { headers: { 'if-none-match': `"x", ${etag}` } })).status, 304)
  t.equal((await ask('GET', '/?room=lobby')).status, 200)
  t.equal((await ask('HEAD', '/')).headers['content-length'], '36')
  const script = await raw('GET /app.js HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip, deflate, br\r\nconnection: close\r\n\r\n')
  t.match(script, /content-encoding: br\r\n/)
  const compressed = Buffer.from(script.slice(script.indexOf('\r\n\r\n') + 4), 'latin1')
  t.match(brotliDecompressSync(compressed).toString(), /^\/\/ long/)
  t.equal((await ask('GET', '/deep/icon.svg')).headers['content-type'], 'image/svg+xml')
  for (const path of ['/../private.txt', '/%2e%2e/private.txt', '/..%2fprivate.txt', '/deep/../../private.txt', '/deep', '/deep/', '//app.js', '/app.js/', '/constructor', '/__proto__', '/app.js%00']) {
    const text = await raw(`GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)
    t.match(text, /^HTTP\/1\.1 404 [\s\S]*"not_found"/, path)
  }
  t.match((await ask('GET', '/v1/rooms')).headers['content-security-policy'], /default-src 'none'/, 'answers of the API show nothing')
  const start = performance.now()
  for (let time = 0; time < 20; time++) t.equal((await ask('GET', '/', { headers: { 'if-none-match': `a${' '.repeat(15_000)}a`, 'accept-encoding': `a${' '.repeat(500)},,,` } })).status, 200)
  const ms = performance.now() - start
  t.ok(ms < 5000, `blanks in headers cost no time: 20 requests in ${Math.round(ms)} ms (a pattern that tried them all took 10,000)`)
})

/** What a Prometheus says that it reads, best first. */
const PROMETHEUS_ACCEPTS = 'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1'

t.test('health and metrics', async (t) => {
  let ready: () => Promise<{ ready: boolean, checks: Record<string, string> }> = async () => ({ ready: true, checks: { delivery: 'ok' } })
  const { ask } = await startBench(t, { deps: { ready: () => ready() } })
  t.same((await ask('GET', '/healthz')).json, { status: 'ok' })
  t.same((await ask('GET', '/readyz')).json, { ready: true, checks: { delivery: 'ok' } })
  ready = async () => ({ ready: false, checks: { delivery: 'late' } })
  const late = await ask('GET', '/readyz')
  refused(t, late, 'unavailable')
  t.match(late.json, { ready: false, checks: { delivery: 'late' } })
  ready = async () => { throw new Error('broken') }
  refused(t, await ask('GET', '/readyz'), 'unavailable', 'a check that fails')
  ready = () => new Promise(() => {})
  refused(t, await ask('GET', '/readyz'), 'unavailable', 'a check that hangs')
  const metrics = await ask('GET', '/metrics')
  t.match(metrics.headers['content-type'], /^text\/plain/)
  for (const name of Object.keys(METRICS)) t.match(metrics.text, name)
  t.match((await ask('GET', '/metrics', { headers: { accept: PROMETHEUS_ACCEPTS } })).headers['content-type'], /^text\/plain/, 'as long as nothing is traced')
})

t.test('numbers with exemplars come to whoever reads OpenMetrics', async (t) => {
  const metrics = new Metrics()
  metrics.exemplify('uproar_accept_seconds', { trace: 'ab12', seconds: 0.002, at: 1000 })
  const { ask } = await startBench(t, { env: { OTLP_URL: 'http://127.0.0.1:4318' }, deps: { metrics } })
  const open = await ask('GET', '/metrics', { headers: { accept: PROMETHEUS_ACCEPTS } })
  t.match(open.headers['content-type'], /^application\/openmetrics-text; version=1\.0\.0/)
  t.match(open.text, /^uproar_accept_seconds_bucket\{le="0\.0025"\} 0 # \{trace_id="ab12"\} 0\.002 1\.000$/m)
  t.match(open.text, /\n# EOF\n$/)
  const plain = await ask('GET', '/metrics', { headers: { accept: '*/*' } })
  t.match(plain.headers['content-type'], /^text\/plain/)
  t.match(plain.text, /^uproar_accept_seconds_bucket\{le="0\.0025"\} 0$/m)
  t.notMatch(plain.text, /trace_id|# EOF/)
})

t.test('the document names every route', async (t) => {
  const { ask } = await startBench(t)
  const { json: document } = await ask('GET', '/openapi.json')
  t.equal(document.openapi, '3.1.0')
  const operations = Object.entries(document.paths as Record<string, Record<string, any>>).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ route: `${method} ${path}`, operation })))
  t.same(operations.map(({ route }) => route).sort(), [
    'delete /v1/revocations', 'delete /v1/rooms/{room}', 'get /healthz', 'get /metrics', 'get /openapi.json', 'get /readyz', 'get /v1/admin/log-level', 'get /v1/audit', 'get /v1/config', 'get /v1/connections', 'get /v1/erasures/{id}',
    'get /v1/instances', 'get /v1/revocations', 'get /v1/rooms', 'get /v1/rooms/{room}', 'get /v1/rooms/{room}/audit', 'get /v1/rooms/{room}/events', 'get /v1/rooms/{room}/export', 'get /v1/rooms/{room}/held', 'get /v1/rooms/{room}/messages', 'get /v1/rooms/{room}/replay', 'get /v1/rooms/{room}/sanctions',
    'get /v1/rooms/{room}/search', 'get /v1/rooms/{room}/stats', 'get /v1/rooms/{room}/terms', 'get /v1/rooms/{room}/users/{user}', 'get /v1/rooms/{room}/viewers', 'get /v1/search', 'get /v1/status', 'get /v1/users/{user}/export', 'get /v1/users/{user}/messages', 'post /v1/connections/kick', 'post /v1/dev/token',
    'post /v1/instances/{id}/drain', 'post /v1/revocations', 'post /v1/rooms/{room}/actions', 'post /v1/rooms/{room}/messages', 'post /v1/users/{user}/erase', 'put /v1/admin/log-level', 'put /v1/rooms/{room}'
  ])
  const tags = new Set(document.tags.map((tag: { name: string }) => tag.name))
  for (const { route, operation } of operations) checkOperation(t, route, operation, tags)
  t.equal(new Set(operations.map(({ operation }) => operation.operationId)).size, operations.length, 'operation ids are unique')
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] as string)
  t.ok(references.length > 20)
  for (const reference of new Set(references)) {
    const found = reference.split('/').slice(1).reduce((at: any, key) => at?.[key], document)
    t.ok(found, `${reference} leads somewhere`)
  }
  const { settings } = document.paths['/v1/rooms/{room}'].put.requestBody.content['application/json'].schema.properties
  t.same(Object.keys(settings.properties).sort(), [...SETTING_NAMES].sort(), 'every setting is described')
  t.same(document.components.securitySchemes.bearer.scheme, 'bearer')

  const docs = await ask('GET', '/docs')
  t.match(docs.text, 'swagger-ui-bundle.js')
  t.match(docs.headers['content-security-policy'], /default-src 'self'/)
  t.notMatch(docs.text, /<script>|<style>/, 'nothing inline')
  t.equal((await ask('GET', '/docs/static/swagger-ui-bundle.js')).status, 200)
  t.match((await ask('GET', '/docs/static/swagger-initializer.js')).text, '/openapi.json')
  refused(t, await ask('GET', '/docs/static/nothing.js'), 'not_found')
})

function checkOperation (t: Test, route: string, operation: any, tags: ReadonlySet<unknown>): void {
  t.ok(operation.summary, `${route} has a summary`)
  t.ok(operation.tags?.length === 1 && tags.has(operation.tags[0]), `${route} has a tag that is described`)
  t.ok(Array.isArray(operation.security), `${route} says who may call`)
  t.ok(/^[a-zA-Z]+$/.test(operation.operationId), `${route} has an id`)
  const inPath = [...route.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
  t.same((operation.parameters ?? []).filter((parameter: any) => parameter.in === 'path').map((parameter: any) => parameter.name), inPath, `${route} describes its path`)
  for (const parameter of operation.parameters ?? []) t.ok(parameter.schema !== undefined && ['path', 'query'].includes(parameter.in), `${route} ${parameter.name}`)
  const answers = Object.entries(operation.responses as Record<string, any>)
  t.ok(answers.some(([status]) => status.startsWith('2')), `${route} says what it answers`)
  for (const [status, answer] of answers) {
    t.ok(answer.description, `${route} ${status} is described`)
    if (/^[45]/.test(status)) t.ok(answer.content?.['application/json']?.schema, `${route} ${status} has its shape`)
  }
  if (/^(post|put)/.test(route)) t.ok(operation.requestBody?.content?.['application/json']?.schema, `${route} describes its body`)
}

t.test('TLS when there is a certificate', async (t) => {
  const dir = t.testdir({ 'cert.pem': CERT, 'key.pem': KEY })
  const { api } = await startBench(t, { env: { TLS_CERT_FILE: join(dir, 'cert.pem'), TLS_KEY_FILE: join(dir, 'key.pem') } })
  const status = await new Promise((resolve, reject) => {
    httpsRequest({ host: '127.0.0.1', port: api.port, path: '/healthz', ca: CERT, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode)
    }).on('error', reject).end()
  })
  t.equal(status, 200)
})
