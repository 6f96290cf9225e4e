// The directory in Redis, held to the suite of its face on one server and on a Cluster, and what lost answers do to it.

import t from 'tap'
import { parseRedisUrl } from '../base/redis-place.ts'
import { Redis } from '../base/redis.ts'
import { RedisServer, startCluster } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { directorySuite, type OpenDirectory } from './directory.suite.ts'
import { createRedisDirectory } from './redis-directory.ts'

const skip = withoutRedis()
let places = 0

const opener = (url: string): OpenDirectory => async (place = `test-${places++}:`) => {
  const redis = new Redis(parseRedisUrl(url), { timeoutMs: 2000 })
  return { directory: createRedisDirectory(redis, place), place, async stop () { redis.close() } }
}

t.test('the contract, on one server', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  await directorySuite(t, opener(server.url))
})

t.test('the contract, on a Cluster of three', { skip }, async (t) => {
  const cluster = await startCluster(t)
  await directorySuite(t, opener(cluster.url))
})

t.test('Redis that is away makes it unavailable, and comes back', { skip }, async (t) => {
  const server = await RedisServer.start(t, { args: ['--appendonly', 'yes'] })
  const redis = new Redis(parseRedisUrl(server.url), { timeoutMs: 300 })
  t.teardown(() => redis.close())
  const directory = createRedisDirectory(redis, 'test:')
  const record = { room: 'r', kind: 'stream', createdAt: 1, createdBy: null } as const
  t.match(await directory.create(record), { created: true })
  server.freeze()
  await t.rejects(directory.remove('r'), { code: 'unavailable' }, 'a removal is not tried twice: what became of the first is not known')
  const pending = directory.get('r')
  server.thaw()
  await pending
  await server.kill9()
  const later = directory.create({ ...record, room: 's' })
  await server.launch()
  t.match(await later, { created: true }, 'a call waits for Redis to come back')
})
