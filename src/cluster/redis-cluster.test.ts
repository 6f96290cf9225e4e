// The cluster over real Redis servers, one alone and three as a Cluster: instances count together, find a user's devices
// anywhere, notice the dead, and get over a Redis that was away or lost everything.

import t, { type Test } from 'tap'
import { RedisServer, startCluster } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { parseRedisUrl } from '../base/redis-place.ts'
import { Redis } from '../base/redis.ts'
import { DEAD_MS, type Cluster } from './cluster.ts'
import { clusterSuite, portrait } from './cluster.suite.ts'
import { createRedisCluster } from './redis-cluster.ts'

const skip = withoutRedis()
type Scope = Pick<Test, 'teardown'>

function connect (scope: Scope, url: string): Redis {
  const redis = new Redis(parseRedisUrl(url), { timeoutMs: 1000 })
  scope.teardown(() => redis.close())
  return redis
}

interface Member { readonly cluster: Cluster, readonly heard: unknown[][], readonly faults: unknown[], readonly metrics: Metrics, kill (): void }

async function join (scope: Scope, url: string, { usersMax = 2, prefix = 'test:', isStarted = true } = {}): Promise<Member> {
  const redis = connect(scope, url)
  const metrics = new Metrics()
  const faults: unknown[] = []
  const heard: unknown[][] = []
  let timers: { cancel (): void }[] = []
  const clock = { ...systemClock, every: (ms: number, call: () => void) => { const timer = systemClock.every(ms, call); timers.push(timer); return timer } }
  const cluster = createRedisCluster({ redis, prefix, usersMax, clock, metrics, version: 'test', self: portrait, fault: (error) => faults.push(error) })
  cluster.listen({
    toUser: (user, bytes) => heard.push(['user', user, [...bytes]]), told: (name, value) => heard.push(['told', name, value]),
    crowded: (user, stamp) => heard.push(['crowded', user, stamp]), viewersChanged: (room) => heard.push(['viewers', room])
  })
  if (isStarted) await cluster.start()
  const kill = (): void => {
    for (const timer of timers) timer.cancel()
    timers = []
    redis.close()
  }
  scope.teardown(async () => {
    for (const timer of timers) timer.cancel()
    await cluster.stop()
  })
  return { cluster, heard, faults, metrics, kill }
}

async function until (t: Test, what: string, isSo: () => unknown, ms = 5000): Promise<void> {
  const end = performance.now() + ms
  while (performance.now() < end) {
    if (await isSo()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  t.fail(`waited ${ms} ms for ${what}`)
}

const of = (member: Member, kind: string): unknown[][] => member.heard.filter((word) => word[0] === kind)

if (skip !== false) t.pass(skip)
else {
  let single: RedisServer
  t.before(async () => { single = await RedisServer.start(t) })
  let runs = 0

  clusterSuite('redis', async (scope, { usersMax }) => (await join(scope, single.url, { usersMax, isStarted: false, prefix: `alone${++runs}:` })).cluster)

  const counting = async (t: Test, url: string): Promise<void> => {
    const prefix = `count${++runs}:`
    const [a, b, c] = [await join(t, url, { prefix }), await join(t, url, { prefix }), await join(t, url, { prefix })]
    const rooms = Array.from({ length: 40 }, (_, at) => `room-${at}`)
    for (const [at, room] of rooms.entries()) {
      a.cluster.note('viewers', room, 1)
      b.cluster.note('viewers', room, at)
    }
    c.cluster.note('viewers', 'room-7', 100)
    a.cluster.note('addresses', '10.0.0.1', 4)
    b.cluster.note('addresses', '10.0.0.1', 5)
    await until(t, 'the totals', () => rooms.every((room, at) => a.cluster.elsewhere('viewers', room) === at + (at === 7 ? 100 : 0)))
    await until(t, 'the address', () => a.cluster.elsewhere('addresses', '10.0.0.1') === 5 && b.cluster.elsewhere('addresses', '10.0.0.1') === 4)
    t.equal(c.cluster.elsewhere('addresses', '10.0.0.1'), 0, 'who has none there does not know')
    t.same(await c.cluster.askViewers(['room-3', 'nowhere', 'room-7']), [4, 0, 8], 'but may ask')
    t.ok(of(a, 'viewers').some(([, room]) => room === 'room-7'), 'changes elsewhere are told')
    t.equal(a.cluster.size, 3)
    t.same((await a.cluster.instances()).map(({ id, isSelf }) => [id, isSelf]).sort(), [[a.cluster.id, true], [b.cluster.id, false], [c.cluster.id, false]].sort())

    b.cluster.note('viewers', 'room-7', 0)
    await until(t, 'the one who left', () => a.cluster.elsewhere('viewers', 'room-7') === 100)
    await c.cluster.stop()
    await until(t, 'the one who stopped', () => a.cluster.elsewhere('viewers', 'room-7') === 0 && a.cluster.size === 2, 3000)
    b.kill()
    await until(t, 'the one who died', () => a.cluster.elsewhere('viewers', 'room-9') === 0 && a.cluster.size === 1, DEAD_MS + 4000)
    t.same(a.faults, [])
    t.match(await a.metrics.text(), /uproar_instances 1\n/)
  }
  t.test('what is counted together, on one server', { timeout: 40_000 }, (t) => counting(t, single.url))

  const finding = async (t: Test, url: string): Promise<void> => {
    const prefix = `find${++runs}:`
    const [a, b] = [await join(t, url, { prefix }), await join(t, url, { prefix })]
    for (let at = 0; at < 500; at++) a.cluster.toUser('ann', Uint8Array.of(at & 255, at >> 8))
    await until(t, 'the frames', () => of(b, 'user').length === 500)
    t.same(of(b, 'user').map((word) => word[2]), of(a, 'user').map((word) => word[2]), 'in order, once, the same as here')
    b.cluster.tell('news', { list: [1, 'zwei', null] })
    await until(t, 'the news', () => of(a, 'told').length === 1)
    t.same(of(a, 'told'), [['told', 'news', { list: [1, 'zwei', null] }]])
    t.ok(a.metrics.value('uproar_bus_frames_total', 'sent') === 500 && b.metrics.value('uproar_bus_frames_total', 'received') === 500)
  }
  t.test('frames find a user anywhere, on one server', (t) => finding(t, single.url))

  t.test('of a user\'s connections anywhere only the newest stay', { timeout: 20_000 }, async (t) => {
    const prefix = `user${++runs}:`
    const [a, b, c] = [await join(t, single.url, { prefix }), await join(t, single.url, { prefix }), await join(t, single.url, { prefix })]
    a.cluster.noteUser('ann', [1_700_000_000_000_001, 1_700_000_000_000_005])
    await until(t, 'ann to be told', () => single.cli('HGETALL', `${prefix}x`).then(() => a.metrics.value('uproar_census_names') === 1))
    b.cluster.noteUser('ann', [1_700_000_000_000_007])
    await until(t, 'the oldest to give way', () => of(a, 'crowded').length > 0)
    t.same(of(a, 'crowded')[0], ['crowded', 'ann', 1_700_000_000_000_005], 'the two newest are 5 and 7')
    t.same(of(b, 'crowded'), [])
    a.cluster.noteUser('ann', [1_700_000_000_000_005])
    c.cluster.noteUser('ann', [1_700_000_000_000_003])
    await until(t, 'one that is not among the newest', () => of(c, 'crowded').length > 0)
    t.same(of(c, 'crowded')[0], ['crowded', 'ann', 1_700_000_000_000_005], 'is told so itself')
    c.cluster.noteUser('ann', [])
    a.cluster.noteUser('ann', [])
    b.cluster.noteUser('ann', [])
    await until(t, 'everything to be forgotten', async () => await single.cli('--scan', '--pattern', `${prefix}*u:ann`) === '')
    await until(t, 'and here', () => [a, b, c].every(({ metrics }) => metrics.value('uproar_census_names') === 0))
  })

  t.test('Redis that was away, and one that lost everything', { timeout: 60_000 }, async (t) => {
    const server = await RedisServer.start(t)
    const [a, b] = [await join(t, server.url), await join(t, server.url)]
    for (let at = 0; at < 3000; at++) a.cluster.note('viewers', `room-${at}`, 2)
    b.cluster.note('viewers', 'room-2999', 1)
    b.cluster.note('viewers', 'room-0', 1)
    await until(t, 'the count', () => b.cluster.elsewhere('viewers', 'room-2999') === 2)
    await server.kill9()
    await until(t, 'the fault', () => a.faults.length === 1)
    t.equal(b.cluster.elsewhere('viewers', 'room-2999'), 2, 'the last word stands')
    t.same(await b.cluster.askViewers(['room-1']), [0], 'asking does not fail')
    await t.rejects(b.cluster.instances(), { code: 'unavailable' })
    a.cluster.note('viewers', 'room-0', 5)
    a.cluster.toUser('ann', Uint8Array.of(1))
    await server.launch()
    await until(t, 'all of it again', async () => (await b.cluster.askViewers(['room-1']))[0] === 2, 15_000)
    await until(t, 'what changed meanwhile', () => b.cluster.elsewhere('viewers', 'room-0') === 5 && a.cluster.elsewhere('viewers', 'room-0') === 1, 15_000)
    await until(t, 'the bus', async () => {
      a.cluster.toUser('ben', Uint8Array.of(2))
      return of(b, 'user').some(([, user]) => user === 'ben')
    }, 15_000)
    t.ok(a.faults.length <= 3, 'an outage is told once, not once a second')
  })

  t.test('on a Cluster of three', { timeout: 90_000 }, async (t) => {
    const { url } = await startCluster(t)
    await counting(t, url)
    await finding(t, url)
  })
}
