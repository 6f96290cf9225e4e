// What operators ask over HTTP: kick, drain and the status. Who may, what is checked, what is logged, and what strangers
// are not told.

import t from 'tap'
import type { InstanceView } from '../cluster/cluster.ts'
import { refused, startBench, SERVER_KEY } from './api.suite.ts'

const instance = (id: string, more: Partial<InstanceView> = {}): InstanceView => ({
  id, host: `${id}.example`, pid: 7, port: 8080, wsPort: 9001, startedAt: 1, connections: 3, version: 'test', isDraining: false, isSelf: id === 'a', silentMs: 10, ...more
})

t.test('kick: who may, what is named, and a line in the log', async (t) => {
  const kicked: unknown[] = []
  const { ask, token, logged } = await startBench(t, { deps: { orders: { kick (target, reason) { return kicked.push([target, reason]) }, drain () {} } } })
  const PATH = '/v1/connections/kick'
  refused(t, await ask('POST', PATH, { body: { user: 'ann' } }), 'unauthorized')
  refused(t, await ask('POST', PATH, { token: await token('ann', ['moderator']), body: { user: 'ben' } }), 'forbidden')
  for (const body of [{}, { user: '' }, { user: 5 }, { user: 'a', session: 'b' }, { room: 'lobby' }, { user: 'a', reason: 'x'.repeat(101) }, { address: 'x'.repeat(65) }]) {
    refused(t, await ask('POST', PATH, { token: SERVER_KEY, body }), 'bad_request', JSON.stringify(body).slice(0, 60))
  }
  t.same(kicked, [], 'none of these kicked anybody')
  t.match(await ask('POST', PATH, { token: SERVER_KEY, body: { user: 'ann' } }), { status: 200, json: { closedHere: 1 } })
  t.match(await ask('POST', PATH, { token: await token('boss', ['admin']), body: { address: '192.0.2.7', reason: 'flood' } }), { status: 200, json: { closedHere: 2 } })
  t.match(kicked, [[{ user: 'ann' }, /operator/], [{ address: '192.0.2.7' }, 'flood']])
  t.match(logged(), /"by":"server","user":"ann".*"msg":"connections kicked"/)
  t.match(logged(), /"by":"boss","address":"192\.0\.2\.7".*"closedHere":2/)
})

t.test('drain: one of several, and the last only on purpose', async (t) => {
  const drained: string[] = []
  let all = [instance('a'), instance('b'), instance('relay', { wsPort: 0 })]
  const { ask, token, logged } = await startBench(t, { deps: { cluster: { instances: async () => all }, orders: { kick: () => 0, drain: (id) => { drained.push(id) } } } })
  refused(t, await ask('POST', '/v1/instances/a/drain', { body: {} }), 'unauthorized')
  refused(t, await ask('POST', '/v1/instances/a/drain', { token: await token('ann', ['broadcaster']), body: {} }), 'forbidden')
  refused(t, await ask('POST', '/v1/instances/c/drain', { token: SERVER_KEY, body: {} }), 'not_found')
  t.match(await ask('POST', '/v1/instances/b/drain', { token: SERVER_KEY, body: {} }), { status: 202, json: { id: 'b', connections: 3 } })
  t.match(logged(), /"by":"server","instance":"b".*told to drain/)
  all = [instance('a'), instance('b', { isDraining: true }), instance('relay', { wsPort: 0 })]
  refused(t, await ask('POST', '/v1/instances/a/drain', { token: SERVER_KEY, body: {} }), 'bad_request', 'nobody else would take its viewers')
  t.match(await ask('POST', '/v1/instances/relay/drain', { token: SERVER_KEY, body: {} }), { status: 202 }, 'one without viewers may go')
  t.match(await ask('POST', '/v1/instances/a/drain', { token: SERVER_KEY, body: { force: true } }), { status: 202 })
  refused(t, await ask('POST', '/v1/instances/a/drain', { token: SERVER_KEY, body: { force: 'yes' } }), 'bad_request')
  t.same(drained, ['b', 'relay', 'a'])
})

t.test('status: strangers are told whether it works, operators how', async (t) => {
  let isReady = true
  const proxied = { 'x-forwarded-for': '192.0.2.7' }
  const { ask, token, send, metrics } = await startBench(t, {
    env: { TRUSTED_PROXIES: '127.0.0.1' },
    deps: {
      cluster: { instances: async () => [instance('a'), instance('b', { connections: 4 })] }, engines: () => [{ part: 'log', engine: 'embedded', fault: null }],
      ready: async () => ({ ready: isReady, checks: { delivery: isReady ? 'ok' : 'no entry has come back for 9000 ms' } })
    }
  })
  await send('lobby', await token('ann'), 'hello')
  metrics.set('uproar_feed_lag_records', 12, 'relay')
  metrics.set('uproar_feed_lag_seconds', 1.5, 'relay')
  const stranger = await ask('GET', '/v1/status', { headers: proxied })
  t.same(stranger.json, { works: true, detail: null })
  t.equal(stranger.headers['cache-control'], 'no-store')
  t.same((await ask('GET', '/v1/status', { headers: proxied, token: await token('ann', ['moderator']) })).json, { works: true, detail: null }, 'a moderator is no operator')
  refused(t, await ask('GET', '/v1/status', { headers: proxied, token: 'not.a.token' }), 'unauthorized')
  refused(t, await ask('GET', '/v1/status', { headers: { ...proxied, origin: 'null' }, token: 'k'.repeat(30) }), 'unauthorized')
  const detail = { version: 'test', delivery: { verdict: 'ok' }, connections: 7, engines: [{ part: 'log', engine: 'embedded' }], lag: [{ consumer: 'relay', records: 12, seconds: 1.5 }], rooms: { active: 1, top: [] } }
  for (const asked of [{ headers: proxied, token: SERVER_KEY }, { headers: proxied, token: await token('boss', ['admin']) }]) {
    const { json } = await ask('GET', '/v1/status', asked)
    t.match(json, { works: true, detail })
    t.equal(json.detail.instances.length, 2)
    t.notOk('pid' in json.detail.instances[0])
  }
  t.same((await ask('GET', '/v1/status')).json.detail, null, 'where a proxy stands on this machine, so may anybody')
  const near = await startBench(t)
  t.match((await near.ask('GET', '/v1/status')).json, { works: true, detail: { version: 'test' } }, 'where none does, this machine is no stranger')
  t.same((await near.ask('GET', '/v1/status', { headers: { host: 'chat.example.org' } })).json.detail, null, 'a name that was made to point here is no loopback')
  isReady = false
  t.same((await ask('GET', '/v1/status', { headers: proxied })).json, { works: false, detail: null })
  t.match((await ask('GET', '/v1/status', { headers: proxied, token: SERVER_KEY })).json, { works: false, detail: { delivery: { verdict: /9000 ms/ } } })
})

t.test('status while the registry is away', async (t) => {
  const { ask, metrics } = await startBench(t, { deps: { cluster: { instances: async () => { throw new Error('away') } } } })
  metrics.set('uproar_connections', 5)
  t.match((await ask('GET', '/v1/status')).json, { works: true, detail: { instances: null, connections: 5 } })
})
