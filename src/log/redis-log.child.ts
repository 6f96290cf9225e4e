// A publisher to be killed, as log.suite.ts describes it: `node redis-log.child.ts PLACE ROUND`, with REDIS_URL set.

import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { parseRedisUrl } from '../base/redis-place.ts'
import { Redis } from '../base/redis.ts'
import { message } from './log.suite.ts'
import { openRedisLog } from './redis-log.ts'

const [prefix = '', round = ''] = process.argv.slice(2)
const redis = new Redis(parseRedisUrl(process.env.REDIS_URL ?? ''), { timeoutMs: 2000 })
const log = await openRedisLog(redis, {
  clock: systemClock, metrics: new Metrics(), prefix, shards: 16, queueMax: 20_000, dedupMinutes: 60,
  retention: { hours: 1, entriesMax: 1_000_000, mbMax: 1000 }, stream: { minutes: 5, batchesMax: 10_000 }
})

let count = 0
async function author (name: string): Promise<void> {
  for (;;) {
    const n = count++
    const room = `room-${n % 3}`
    const nonce = `${round}-${n}`
    const { seq } = await log.publish(room, message(nonce, nonce, name))
    process.stdout.write(`${JSON.stringify([room, name, nonce, seq])}\n`)
  }
}
await Promise.all(Array.from({ length: 64 }, (_, i) => author(`author-${i}`)))
