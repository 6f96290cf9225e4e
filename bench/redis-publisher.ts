// One instance that publishes straight into a room log in Redis, as a process of its own for redis.ts:
// `node redis-publisher.ts URL PREFIX SECONDS AT_ONCE ROOMS`; prints one line of JSON.

import { systemClock } from '../src/base/clock.ts'
import { Metrics } from '../src/base/metrics.ts'
import { Redis } from '../src/base/redis.ts'
import { parseRedisUrl } from '../src/base/redis-place.ts'
import { openRedisLog } from '../src/log/redis-log.ts'
import { publishInto } from './publishing.ts'

const [url = '', prefix = '', seconds = '3', atOnce = '1024', rooms = '64'] = process.argv.slice(2)
const redis = new Redis(parseRedisUrl(url), { timeoutMs: 2000 })
const log = await openRedisLog(redis, {
  clock: systemClock, metrics: new Metrics(), prefix: 'uproar:', shards: 16, queueMax: 20_000, dedupMinutes: 10,
  retention: { hours: 168, entriesMax: 100_000_000, mbMax: 100_000 }, stream: { minutes: 10, batchesMax: 100_000 }
})
try {
  console.log(JSON.stringify(await publishInto(log, { seconds: Number(seconds), atOnce: Number(atOnce), rooms: Number(rooms), prefix })))
} finally {
  await log.close()
  redis.close()
}
