// The whole program put together: the only file that names concrete engines. Parts start in this order and stop in the
// reverse one:
//
//   store (or redis) ─▶ log ─▶ auth ─▶ canary ─▶ rooms ─▶ gateway ─▶ http
//
// so that nothing takes requests before what is behind it stands, and everything accepted is finished before the store
// closes.

import type { Logger } from 'pino'
import { createApi } from './api/api.ts'
import { createAuthenticator, publicKeyFile } from './auth/authenticator.ts'
import { systemClock, type Clock } from './base/clock.ts'
import { ConfigError, type Config } from './base/config.ts'
import { Lifecycle } from './base/lifecycle.ts'
import { Metrics } from './base/metrics.ts'
import { parseRedisUrl } from './base/redis-place.ts'
import { Redis } from './base/redis.ts'
import { openStore } from './base/store.ts'
import type { Directory } from './directory/directory.ts'
import { createLmdbDirectory } from './directory/lmdb-directory.ts'
import { createRedisDirectory } from './directory/redis-directory.ts'
import { createListener, Gateway, noFanout } from './gateway/gateway.ts'
import { Ingest, Moderator } from './ingest/ingest.ts'
import { Canary } from './log/canary.ts'
import { createLmdbLog } from './log/lmdb-log.ts'
import type { Log } from './log/log.ts'
import { canaryRooms, openRedisLog } from './log/redis-log.ts'
import { compileTerms, loadTermsFile } from './moderation/screen.ts'
import { Rooms } from './rooms/rooms.ts'

export interface App {
  /** Starts every part; resolves with the ports in use (0 where this process has no such role). */
  start (): Promise<{ port: number, wsPort: number }>
  /** Stops every part within the configured time; resolves with what did not end cleanly. May be called twice. */
  stop (): Promise<string[]>
}

/** Puts the parts together; nothing is opened before start(). Throws ConfigError for faults that only files show. */
export function createApp (config: Config, options: { log: Logger, clock?: Clock }): App {
  const { log } = options
  const clock = options.clock ?? systemClock
  const fault = (error: unknown, what: string): void => log.error({ err: error, what }, 'fault')
  const { blockedTermsFile, jwtPublicKeyFile } = config
  const terms = blockedTermsFile === null ? compileTerms([]) : checked(() => loadTermsFile(blockedTermsFile), 'BLOCKED_TERMS_FILE: ')
  if (jwtPublicKeyFile !== null) checked(() => publicKeyFile(jwtPublicKeyFile))
  const stopTimeoutMs = config.stopTimeoutS * 1000
  const serves = (role: string): boolean => config.role.includes('all') || config.role.includes(role)
  const lifecycle = new Lifecycle()

  async function start (): Promise<{ port: number, wsPort: number }> {
    const metrics = new Metrics()
    const { log: roomLog, directory, canaryRooms } = await openEngines(config, { lifecycle, clock, metrics })
    const authenticator = createAuthenticator(config, { clock, log })
    lifecycle.add(authenticator)
    const canary = new Canary(roomLog, clock, canaryRooms)
    lifecycle.add(canary)
    const listener = createListener(config)
    const rooms = new Rooms({ log: roomLog, directory, fanout: serves('gateway') ? listener : noFanout, clock, metrics, config, fault })
    lifecycle.add({ name: 'rooms', start: () => rooms.start(), stop: () => rooms.stop() })
    const ingest = new Ingest({ log: roomLog, clock, metrics, config, terms, fault })
    const moderator = new Moderator({ log: roomLog, rooms, clock, metrics, addressOf: (user) => ingest.addressOf(user), fault })
    const gateway = new Gateway({ config, clock, metrics, rooms, ingest, moderator, authenticator, listener, fault })
    if (serves('gateway')) lifecycle.add(gateway)
    const api = createApi({
      config, log, clock, metrics, authenticator, rooms, ingest, moderator, assetsDir: ASSETS_DIR,
      connections: (query) => gateway.connections(query),
      wsPort: () => gateway.port,
      ready: async () => {
        metrics.set('uproar_canary_seconds', canary.age / 1000)
        return { ready: canary.verdict === 'ok', checks: { delivery: canary.verdict } }
      }
    })
    if (serves('api')) lifecycle.add(api)
    await lifecycle.start(stopTimeoutMs)
    return { port: serves('api') ? api.port : 0, wsPort: gateway.port }
  }

  return {
    async start () {
      try {
        return await start()
      } catch (error) {
        await lifecycle.stop(stopTimeoutMs)
        throw error
      }
    },
    stop: () => lifecycle.stop(stopTimeoutMs)
  }
}

interface Engines { readonly log: Log, readonly directory: Directory, readonly canaryRooms?: readonly string[] }

/** Room log and directory: in Redis where there is a URL, else in the embedded store. What was opened ends with `lifecycle`. */
async function openEngines (config: Config, parts: { lifecycle: Lifecycle, clock: Clock, metrics: Metrics }): Promise<Engines> {
  const { lifecycle, clock, metrics } = parts
  const common = {
    clock, metrics, queueMax: config.logQueueMax, dedupMinutes: config.dedupMinutes,
    retention: { hours: config.retentionHours, entriesMax: config.retentionEntriesMax, mbMax: config.retentionMbMax }
  }
  if (config.redisUrl !== null) {
    const redis = new Redis(parseRedisUrl(config.redisUrl), { timeoutMs: config.redisTimeoutMs })
    lifecycle.add({ name: 'redis', stop: () => redis.close() })
    const { redisPrefix: prefix, redisShards: shards, redisStreamMinutes: minutes, redisStreamBatchesMax: batchesMax } = config
    const log = await openRedisLog(redis, { ...common, prefix, shards, stream: { minutes, batchesMax } }).catch((error: unknown) => {
      redis.close()
      throw error
    })
    lifecycle.add({ name: 'log', stop: () => log.close() })
    return { log, directory: createRedisDirectory(redis, prefix), canaryRooms: canaryRooms(shards) }
  }
  const store = await openStore(config.dataDir)
  lifecycle.add({ name: 'store', stop: () => store.close() })
  const log = createLmdbLog(store, { ...common, durability: config.logDurability })
  lifecycle.add({ name: 'log', stop: () => log.close() })
  return { log, directory: createLmdbDirectory(store) }
}

/** Where `npm run build` puts the page and the client. */
const ASSETS_DIR = new URL('../dist/web/', import.meta.url).pathname

function checked<Value> (read: () => Value, prefix = ''): Value {
  try {
    return read()
  } catch (error) {
    throw new ConfigError([`${prefix}${(error as Error).message}`])
  }
}
