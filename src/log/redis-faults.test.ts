// What can happen to one Redis and the network while thousands of messages are on their way, and what must hold after
// each: nothing that was answered is lost unless Redis lost it (then a new epoch says so), nothing is there twice, order is
// kept, and both instances' watchers were told the same. PROVE_SCALE makes the faults longer.

import t from 'tap'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { TcpProxy } from '../../deploy/services/tcp-proxy.ts'
import { message } from './log.suite.ts'
import { Follower, Load, openInstance, openTwo, pause, until } from './redis-load.suite.ts'

const skip = withoutRedis()
const SCALE = Number(process.env['PROVE_SCALE'] ?? 1)
const KEPT = ['--appendonly', 'yes']

t.test('replies lost after the write, connections cut, black-holed', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const instances = await openTwo(t, `redis://127.0.0.1:${proxy.port}`)
  const load = new Load(instances, 'network')
  await load.progress(1000)
  for (let round = 0; round < 6 * SCALE; round++) {
    proxy.mode = 'deaf'
    await pause(50 + round * 37)
    proxy.cut()
    proxy.mode = 'pass'
    await load.progress(500)
    proxy.cut()
    await load.progress(500)
  }
  proxy.mode = 'deaf'
  await pause(700)
  proxy.mode = 'pass'
  await load.progress(1000)
  const before = performance.now()
  proxy.mode = 'hole'
  await pause(1000 * SCALE)
  proxy.mode = 'pass'
  await load.progress(1000)
  t.comment(`black-holed for ${1000 * SCALE} ms, going on after ${Math.round(performance.now() - before)} ms`)
  await load.end()
  t.equal(await load.verify(t, false), 0)
  t.ok(instances[0].metrics.value('uproar_redis_commands_failed_total', 'publish') > 0, 'there were failures')
  t.equal(instances[0].metrics.value('uproar_redis_resets_total'), 0, 'none taken for a loss')
})

t.test('killed and started again with its data', { skip }, async (t) => {
  const server = await RedisServer.start(t, { args: KEPT })
  const load = new Load(await openTwo(t, server.url), 'restart')
  for (let round = 0; round < 2 * SCALE; round++) {
    await load.progress(2000)
    await server.kill9()
    await pause(300)
    await server.launch()
  }
  await load.progress(2000)
  await load.end()
  t.equal(await load.verify(t, false), 0)
})

t.test('killed and started again without its data', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const instances = await openTwo(t, server.url)
  const load = new Load(instances, 'emptied')
  await load.progress(2000)
  const before = await Promise.all(['stage', 'aisle', 'foyer'].map((room) => instances[0].log.head(room)))
  await server.kill9()
  await server.launch()
  await load.progress(3000)
  await load.end()
  const after = await Promise.all(['stage', 'aisle', 'foyer'].map((room) => instances[1].log.head(room)))
  t.ok(after.every(({ epoch }, i) => epoch !== before[i]?.epoch), 'every room has a new epoch')
  t.ok(await load.verify(t, true) > 0, 'what was answered before is gone')
  t.ok(load.followers.every(({ sections }) => sections.length > 1), 'and every watcher was told')
})

t.test('emptied while it runs, its functions too', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const load = new Load(await openTwo(t, server.url), 'flushed')
  await load.progress(1000)
  await server.cli('FUNCTION', 'FLUSH')
  await load.progress(1000)
  t.ok(load.followers.every(({ sections }) => sections.length === 1), 'functions come back without a word')
  await server.cli('FLUSHALL')
  await server.cli('FUNCTION', 'FLUSH')
  await load.progress(2000)
  await load.end()
  await load.verify(t, true)
  t.ok(load.followers.every(({ sections }) => sections.length > 1), 'every watcher was told that the data went')
})

t.test('frozen', { skip, timeout: 120_000 }, async (t) => {
  const server = await RedisServer.start(t)
  const load = new Load(await openTwo(t, server.url), 'frozen')
  await load.progress(1000)
  for (const ms of SCALE > 1 ? [10_000] : [2500]) {
    server.freeze()
    await pause(ms)
    server.thaw()
    await load.progress(2000)
  }
  await load.end()
  t.equal(await load.verify(t, false), 0)
})

t.test('the stream trimmed under a reader that lags', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const [fast, slow] = await openTwo(t, server.url, `redis://127.0.0.1:${proxy.port}`)
  const told = new Follower(slow.log, 'stage')
  await Promise.all(Array.from({ length: 100 }, (_, i) => fast.log.publish('stage', message(`before ${i}`))))
  await until('it has the first', () => told.last.seqs.at(-1) === 100)

  const lag = async (while_: () => Promise<void>): Promise<void> => {
    proxy.mode = 'hole'
    await Promise.all(Array.from({ length: 3000 }, (_, i) => fast.log.publish('stage', message(`meanwhile ${i}`))))
    await while_()
    proxy.cut()
    proxy.mode = 'pass'
  }
  const streams = (await server.cli('KEYS', 'test:*:stream')).split('\n')
  const trim = async (): Promise<void> => { for (const key of streams) await server.cli('XTRIM', key, 'MAXLEN', '0') }
  await lag(trim)
  await fast.log.publish('stage', message('after'))
  await until('it has all', () => told.last.seqs.at(-1) === 3101)
  t.same([told.sections.length, told.last.seqs.length], [1, 3101], 'what the stream no longer had came from the history')
  t.ok(slow.metrics.value('uproar_redis_gaps_total') > 0)

  await lag(async () => {
    await trim()
    for (const key of (await server.cli('KEYS', 'test:*:log:stage')).split('\n')) await server.cli('DEL', key)
  })
  await fast.log.publish('stage', message('after'))
  await until('it was told', () => told.sections.length === 2)
  t.pass('with the history gone too it is told that continuity ended')
  t.equal((await slow.log.head('stage')).epoch, (await fast.log.head('stage')).epoch)
})

t.test('Redis that stays away', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const { log, metrics } = await openInstance(t, server.url, { queueMax: 1000 })
  const { epoch } = await log.head('stage')
  await server.kill9()
  const started = performance.now()
  const settled = await Promise.allSettled(Array.from({ length: 1500 }, (_, i) => log.publish('stage', message('x', `n${i}`))))
  const codes = settled.map((one) => one.status === 'rejected' ? (one.reason as { code: string }).code : 'accepted')
  const took = performance.now() - started
  t.equal(codes.filter((code) => code === 'unavailable').length, 1000)
  t.equal(codes.filter((code) => code === 'overloaded').length, 500)
  t.ok(took > 4000 && took < 9000, `all are answered in ${Math.round(took)} ms`)
  await t.rejects(log.head('stage'), { code: 'unavailable' })
  t.equal(metrics.value('uproar_log_queue'), 0, 'and nothing stays behind')
  await server.launch()
  await t.rejects(log.publish('stage', { ...message('x', 'n0'), epoch }), { code: 'unavailable' }, 'its data is lost: that is not a room that was deleted')
  const again = await log.publish('stage', message('x', 'n1'))
  t.match(again, { seq: 1, repeated: false }, 'it goes on when Redis is back')
  t.not(again.epoch, epoch)
})
