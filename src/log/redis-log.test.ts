// The log in Redis, held to the suite of its face on one server and on a Cluster of three, and what is this engine's own:
// how long Redis keeps things, large seqs, the number of shards, two versions side by side.

import t from 'tap'
import { encodeEntry, entrySeq } from '../../proto/entry.ts'
import { ManualClock, systemClock } from '../base/clock.ts'
import { StartFault } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { parseRedisUrl } from '../base/redis-place.ts'
import { Redis } from '../base/redis.ts'
import { RedisServer, startCluster } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { rewritingSuite } from './rewriting.suite.ts'
import { bodyOf, logSuite, message, readAll, type Engine, type EngineOptions } from './log.suite.ts'
import { canaryRooms, openRedisLog } from './redis-log.ts'

const skip = withoutRedis()

let places = 0

const opener = (url: string) => async (options: EngineOptions = {}): Promise<Engine> => {
  const { place = `test-${places++}:`, clock = systemClock, queueMax = 20_000, dedupMinutes = 10, retention = { hours: 1, entriesMax: 1_000_000, mbMax: 1000 } } = options
  const redis = new Redis(parseRedisUrl(url), { timeoutMs: 2000 })
  const log = await openRedisLog(redis, { clock, metrics: new Metrics(), prefix: place, shards: 16, queueMax, dedupMinutes, retention, stream: { minutes: 5, batchesMax: 10_000 } })
  return {
    log,
    place,
    async stop () {
      await log.close()
      redis.close()
    }
  }
}

t.test('the contract, on one server', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  process.env.REDIS_URL = server.url
  t.teardown(() => { delete process.env.REDIS_URL })
  await logSuite(t, opener(server.url), new URL('redis-log.child.ts', import.meta.url))
})

t.test('the contract, on a Cluster of three', { skip }, async (t) => {
  const cluster = await startCluster(t)
  await logSuite(t, opener(cluster.url))
})

t.test('rewriting', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  await rewritingSuite(t, opener(server.url), async (place) => {
    const dump: string[] = []
    for (const key of (await server.cli('KEYS', `${place}*`)).split('\n')) {
      const type = (await server.cli('TYPE', key)).trim()
      if (type === 'stream') dump.push(await server.cli('XRANGE', key, '-', '+'))
      if (type === 'hash') dump.push(await server.cli('HGETALL', key))
    }
    return Buffer.from(dump.join('\n'))
  })
})

t.test('entries are bytes as any engine makes them, also beyond 32 bits', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const { log, place, stop } = await opener(server.url)({ clock: new ManualClock() })
  const { op, tail } = message('as it is')
  const { ts } = await log.publish('r', message('as it is'))
  t.same((await readAll(log, 'r'))[0], encodeEntry(op, 1, ts, tail))
  const [key = ''] = (await server.cli('KEYS', `${place}*:head:r`)).split('\n')
  const last = 2 ** 32 - 3
  await server.cli('HSET', key, 'q', String(last), 'f', String(last + 1))
  const seen: number[] = []
  log.watch('r', { entries: (batch) => seen.push(...batch.map(entrySeq)), lost () {} })
  const published = await Promise.all(Array.from({ length: 6 }, (_, i) => log.publish('r', message('as it is', `n${i}`))))
  const seqs = published.map(({ seq }) => seq)
  t.same(seqs, [1, 2, 3, 4, 5, 6].map((i) => last + i))
  const { entries } = await log.after('r', last, { entries: 10, bytes: 1e6 })
  t.same(entries, seqs.map((seq) => encodeEntry(op, seq, ts, tail)))
  t.same(seen, seqs)
  t.match(await log.publish('r', message('again', 'n5')), { seq: last + 6, ts, repeated: true })
  t.match(await log.find('r', 'ann', 'n0'), { seq: last + 1, ts })
  await stop()
})

t.test('a run that is no part of the log is neither read nor in the way', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const { log, place, stop } = await opener(server.url)()
  const redis = new Redis(parseRedisUrl(server.url), { timeoutMs: 2000 })
  t.teardown(() => redis.close())
  const { ts } = await log.publish('r', message('one'))
  const [key = ''] = (await server.cli('KEYS', `${place}*:log:r`)).split('\n')
  const { op, tail } = message('of an act that failed half-way')
  for (const seq of [2, 5]) {
    const run = Buffer.concat([Buffer.of(0, 0, tail.bytes.length), encodeEntry(op, seq, ts, tail)])
    await redis.call('', 'XADD', [key, `${seq}-0`, 'd', run])
  }
  t.same((await readAll(log, 'r')).map(entrySeq), [1])
  t.match(await log.publish('r', message('two')), { seq: 2 })
  t.match(await log.publish('r', message('three')), { seq: 3 })
  t.same((await readAll(log, 'r')).map(bodyOf), ['one', 'two', 'three'])
  await stop()
})

t.test('what Redis lets go by itself', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const clock = new ManualClock()
  const { log, place, stop } = await opener(server.url)({ clock, dedupMinutes: 10 })
  const { epoch } = await log.publish('r', message('x', 'n'))
  const ttl = async (pattern: string): Promise<number> => {
    const [key = ''] = (await server.cli('KEYS', `${place}${pattern}`)).split('\n')
    return Number(await server.cli('TTL', key)) / 60
  }
  t.ok(await ttl('*:nonces:*') > 19 && await ttl('*:nonces:*') <= 21, 'nonces of two windows')
  t.ok(await ttl('*:log:r') > 70 && await ttl('*:log:r') < 80, 'the history of a room without traffic, some time after its retention')
  t.ok(await ttl('*:done:*') > 1400, 'an instance that is gone')
  t.equal(await server.cli('TTL', `${(await server.cli('KEYS', `${place}*:head:r`))}`), '-1', 'heads stay')

  const [key = ''] = (await server.cli('KEYS', `${place}*:log:r`)).split('\n')
  await server.cli('DEL', key)
  clock.advance(2 * 3_600_000)
  t.same(await log.head('r'), { epoch, first: 2, seq: 1 }, 'a log whose history expired goes on')
  t.equal((await log.publish('r', message('y'))).seq, 2)
  t.same((await readAll(log, 'r')).map(entrySeq), [2])
  t.ok(await ttl('*:log:r') > 70, 'and its next history expires too')
  await stop()
})

t.test('canary rooms keep little', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const clock = new ManualClock()
  const { log, stop } = await opener(server.url)({ clock })
  const [room = ''] = canaryRooms(16)
  for (let minute = 0; minute < 60; minute++) {
    await Promise.all(Array.from({ length: 30 }, () => log.publish(room, message('x'))))
    clock.advance(60_000)
  }
  const { first, seq } = await log.head(room)
  t.equal(seq, 1800)
  t.ok(seq - first < 500, `${seq - first + 1} are kept`)
  await stop()
})

t.test('an instance with another number of shards is refused', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const { place, stop } = await opener(server.url)()
  const redis = new Redis(parseRedisUrl(server.url), { timeoutMs: 2000 })
  t.teardown(() => redis.close())
  await t.rejects(openRedisLog(redis, {
    clock: systemClock, metrics: new Metrics(), prefix: place, shards: 8, queueMax: 10, dedupMinutes: 1, retention: { hours: 1, entriesMax: 10_000, mbMax: 16 }, stream: { minutes: 1, batchesMax: 100 }
  }), new StartFault('REDIS_SHARDS: the log in this Redis has 16 shards, and that cannot be changed'))
  await stop()
})

t.test('a batch is cut to its bounds, and runs keep their order', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const { log, stop } = await opener(server.url)()
  const long = 'x'.repeat(30_000)
  const published = await Promise.all(Array.from({ length: 200 }, (_, i) => log.publish(`r${i % 3}`, message(`${i} ${long}`))))
  for (const room of [0, 1, 2]) {
    const mine = published.filter((_, i) => i % 3 === room).map(({ seq }) => seq)
    t.same(mine, Array.from(mine, (_, i) => i + 1))
    t.equal((await readAll(log, `r${room}`)).length, mine.length, 'megabytes come back in pages')
  }
  t.equal((await log.before('r0', null, { entries: 60, bytes: 1e9 })).entries.length, 60)
  await stop()
})
