// The feed over the room log, held to the suite of its face on the embedded log and on the one in Redis, and what is
// theirs: cursors and retention, kill and restart, members that share a consumer, trimming that waits.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { parseRedisUrl } from '../base/redis-place.ts'
import { Redis } from '../base/redis.ts'
import { openStore } from '../base/store.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import { openRedisLog } from '../log/redis-log.ts'
import { feedSuite, type FeedEngine } from './feed.suite.ts'
import { LogFeed } from './log-feed.ts'

const root = mkdtempSync(join(tmpdir(), 'uproar-feed-'))
t.teardown(() => rmSync(root, { recursive: true, force: true }))
let places = 0

const silent = (): void => {}
const retention = { hours: 1, entriesMax: 1_000_000, mbMax: 1000 } as const

export async function openEmbedded (place: unknown = join(root, String(places++))): Promise<FeedEngine> {
  const metrics = new Metrics()
  const store = await openStore(place as string)
  const log = createLmdbLog(store, { clock: systemClock, metrics, durability: 'commit', queueMax: 20_000, retention, dedupMinutes: 10 })
  const feed = new LogFeed({ log, clock: systemClock, metrics, say: silent })
  return {
    log, feed, metrics, place,
    async stop () {
      await feed.close()
      await log.close()
      await store.close()
    }
  }
}

const redisOpener = (url: string) => async (place: unknown = `feed-${places++}:`): Promise<FeedEngine> => {
  const metrics = new Metrics()
  const redis = new Redis(parseRedisUrl(url), { timeoutMs: 2000 })
  const log = await openRedisLog(redis, { clock: systemClock, metrics, prefix: place as string, shards: 4, queueMax: 20_000, dedupMinutes: 10, retention, stream: { minutes: 5, batchesMax: 10_000 } })
  const feed = new LogFeed({ log, clock: systemClock, metrics, say: silent })
  return {
    log, feed, metrics, place,
    async stop () {
      await feed.close()
      await log.close()
      redis.close()
    }
  }
}

await t.test('the contract, embedded', (t) => feedSuite(t, openEmbedded))

t.test('the contract, in Redis', { skip: withoutRedis() }, async (t) => {
  const server = await RedisServer.start(t)
  await feedSuite(t, redisOpener(server.url))
})
