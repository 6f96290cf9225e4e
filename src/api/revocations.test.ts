// Revocations and instances over HTTP: who may, what is checked, what becomes of requests and streams; and the drain.

import t from 'tap'
import { refused, startBench, SERVER_KEY } from './api.suite.ts'

const PATH = '/v1/revocations'

t.test('who may revoke, and what', async (t) => {
  const { ask, token } = await startBench(t)
  const ann = await token('ann')
  const boss = await token('boss', ['admin'])
  refused(t, await ask('POST', PATH, { body: { user: 'ann' } }), 'unauthorized')
  refused(t, await ask('POST', PATH, { token: ann, body: { user: 'ben' } }), 'forbidden')
  for (const body of [{}, { user: 'a', jti: 'b' }, { user: '' }, { jti: 5 }, { jti: 'a', before: 5 }, { user: 'a', until: 5 }, { user: 'a', more: 1 }, { jti: 'x'.repeat(129) }]) {
    refused(t, await ask('POST', PATH, { token: SERVER_KEY, body }), 'bad_request', JSON.stringify(body).slice(0, 60))
  }
  const [before, until] = [Date.now() - 5, Date.now() + 60_000]
  t.match(await ask('POST', PATH, { token: boss, body: { user: 'ben', before, until } }), { status: 201, json: { user: 'ben', before, until } })
  t.match(await ask('POST', PATH, { token: SERVER_KEY, body: { jti: 'one' } }), { status: 201, json: { jti: 'one', until: Number } })
  t.match(await ask('GET', `${PATH}?limit=1`, { token: SERVER_KEY }), { json: { revocations: [{ user: 'ben', before, until }], more: true } })
  refused(t, await ask('GET', PATH, { token: ann }), 'forbidden')
  refused(t, await ask('DELETE', PATH, { token: SERVER_KEY }), 'bad_request')
  refused(t, await ask('DELETE', `${PATH}?jti=two`, { token: SERVER_KEY }), 'not_found')
  t.equal((await ask('DELETE', `${PATH}?user=ben`, { token: SERVER_KEY })).status, 204)
  t.match(await ask('GET', PATH, { token: SERVER_KEY }), { json: { revocations: [{ jti: 'one' }], more: false } })
  t.match(await ask('GET', '/v1/instances', { token: SERVER_KEY }), { status: 200, json: { instances: [] } })
  refused(t, await ask('GET', '/v1/instances', { token: ann }), 'forbidden')
})

t.test('what it does to requests and streams', async (t) => {
  const { ask, token, send, events } = await startBench(t)
  const ann = await token('ann')
  await send('lobby', ann, 'hello')
  const stream = await events('/v1/rooms/lobby/events', { authorization: `Bearer ${ann}` })
  await stream.take(2)
  const started = performance.now()
  // A dev token says when it was issued in whole seconds: this is after it.
  t.equal((await ask('POST', PATH, { token: SERVER_KEY, body: { user: 'ann', before: Date.now() + 1000 } })).status, 201)
  refused(t, await ask('POST', '/v1/rooms/lobby/messages', { token: ann, body: { nonce: 'n', body: 'more' } }), 'unauthorized')
  refused(t, await ask('GET', '/v1/rooms/lobby', { token: ann }), 'unauthorized', 'reading with it too')
  t.match((await stream.ended()).at(-1), { event: 'bye', data: { code: 4501, reason: 'the token was revoked' } })
  t.ok(performance.now() - started < 1900)
  t.equal((await ask('GET', '/v1/rooms/lobby')).status, 200, 'without it one reads on')
})

t.test('a drain: readiness goes first, requests are served, streams leave', async (t) => {
  const { api, ask, token, send, events } = await startBench(t, { env: { DRAIN_S: '1' } })
  const ann = await token('ann')
  await send('lobby', ann, 'hello')
  const stream = await events('/v1/rooms/lobby/events')
  await stream.take(2)
  t.equal((await ask('GET', '/readyz')).status, 200)
  await Promise.all([api.drain(), api.drain()])
  t.match(await ask('GET', '/readyz'), { status: 503, json: { checks: { http: 'draining' } } })
  t.match(await ask('GET', '/v1/rooms/lobby'), { status: 200, headers: { connection: 'close' } })
  t.equal(await send('lobby', ann, 'still'), 2)
  refused(t, await ask('GET', '/v1/rooms/lobby/events'), 'unavailable')
  t.match((await stream.ended()).at(-1), { event: 'bye', data: { code: 4413 } })
})
