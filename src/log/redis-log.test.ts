// The log in Redis, held to the suite of its face on one server and on a Cluster of three.

import t from 'tap'
import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { parseRedisUrl } from '../base/redis-place.ts'
import { Redis } from '../base/redis.ts'
import { RedisServer, startCluster } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { logSuite, type Engine, type EngineOptions } from './log.suite.ts'
import { openRedisLog } from './redis-log.ts'

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
  await logSuite(t, opener(server.url))
})

t.test('the contract, on a Cluster of three', { skip }, async (t) => {
  const cluster = await startCluster(t)
  await logSuite(t, opener(cluster.url))
})
