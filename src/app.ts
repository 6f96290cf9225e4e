// The whole program put together: the only file that names concrete engines. Parts start in this order and stop in the
// reverse one:
//
//   store (or redis) ─▶ log ─▶ feed ─▶ archive ─▶ revocations ─▶ auth ─▶ canary ─▶ rooms ─▶ cluster ─▶ gateway ─▶ http ─▶ consumers ─▶ probe ─▶ drain
//
// so that nothing takes requests before what is behind it stands, and everything accepted is finished before the store
// closes. The drain is last, so it comes first in a stop: viewers go while everything still serves them.
//
// Engines beside the embedded ones are loaded where the configuration names them: Redis', Kafka's and ClickHouse's clients
// are a third of the files that a start reads.

import { hash } from 'node:crypto'
import { readFileSync, statfsSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { createApi, type Engine } from './api/api.ts'
import type { Archive } from './archive/archive.ts'
import { Archiver } from './archive/archiver.ts'
import { Audience } from './archive/audience.ts'
import { chdbFault, createChdbArchive } from './archive/chdb-archive.ts'
import { ArchiveErasure } from './archive/erasure.ts'
import { createNoArchive } from './archive/no-archive.ts'
import { Reads } from './archive/reads.ts'
import { Upkeep } from './archive/upkeep.ts'
import { createAuthenticator, publicKeyFile } from './auth/authenticator.ts'
import { systemClock, type Clock } from './base/clock.ts'
import { ConfigError, type Config } from './base/config.ts'
import { StartFault } from './base/errors.ts'
import type { WorkerNumbers } from './base/gathering.ts'
import { Lifecycle, type Part } from './base/lifecycle.ts'
import { Metrics } from './base/metrics.ts'
import { OtlpExporter } from './base/otlp.ts'
import { reachableHost } from './base/peers.ts'
import { parseRedisUrl } from './base/redis-place.ts'
import type { Redis } from './base/redis.ts'
import { openStore } from './base/store.ts'
import { Traces } from './base/traces.ts'
import type { SelfPortrait } from './cluster/cluster.ts'
import { createLocalCluster } from './cluster/local-cluster.ts'
import { Orders } from './cluster/orders.ts'
import type { Directory } from './directory/directory.ts'
import { createLmdbDirectory } from './directory/lmdb-directory.ts'
import type { Feed, Say } from './feed/feed.ts'
import type { KafkaFeed } from './feed/kafka-feed.ts'
import { LogFeed } from './feed/log-feed.ts'
import { Notifier } from './feed/notifier.ts'
import { Relay } from './feed/relay.ts'
import { createListener, Gateway, noFanout } from './gateway/gateway.ts'
import { Ingest, Moderator } from './ingest/ingest.ts'
import { Library } from './library/library.ts'
import { Canary } from './log/canary.ts'
import { createLmdbLog } from './log/lmdb-log.ts'
import type { Log } from './log/log.ts'
import type { Outlet } from './log/outlet.ts'
import { AUDIT_ROOM, HttpScorer, RulesScorer, type Scorer, Worker } from './moderation/moderation.ts'
import { compileTerms, loadTermsFile } from './moderation/screen.ts'
import { issueTicket, Probe } from './probe/probe.ts'
import { Revocations } from './revocation/revocation.ts'
import { Rights } from './rights/rights.ts'
import { PROBE_ROOM, Rooms } from './rooms/rooms.ts'

export interface App {
  /** Starts every part; resolves with the ports in use (0 where this process has no such role). */
  start (): Promise<{ port: number, wsPort: number }>
  /** Stops every part within the configured time; resolves with what did not end cleanly. May be called twice. */
  stop (): Promise<string[]>
}

/** How this process shares its machine with others of the same server. */
export interface Sharing {
  /** Others listen on the same ports. */
  readonly sharesPorts: boolean
  /** A port on loopback for this one alone; 0: none. */
  readonly ownPort: number
  /** What dev tokens are signed with, where no key is configured; null: a secret of this process. */
  readonly devSecret: Buffer | null
  /** How the numbers of all of them are had; null: there is this one. */
  readonly numbers: Pick<WorkerNumbers, 'provide' | 'gather'> | null
}

const ALONE: Sharing = { sharesPorts: false, ownPort: 0, devSecret: null, numbers: null }

export interface AppOptions {
  readonly log: Logger
  readonly version: string
  readonly clock?: Clock
  readonly sharing?: Sharing
}

/** Puts the parts together; nothing is opened before start(). Throws ConfigError for faults that only files show. */
export function createApp (config: Config, options: AppOptions): App {
  const { log, version, sharing = ALONE } = options
  const clock = options.clock ?? systemClock
  const { blockedTermsFile, jwtPublicKeyFile } = config
  const terms = blockedTermsFile === null ? compileTerms([]) : checked(() => loadTermsFile(blockedTermsFile), 'BLOCKED_TERMS_FILE: ')
  if (jwtPublicKeyFile !== null) checked(() => publicKeyFile(jwtPublicKeyFile))
  const stopTimeoutMs = config.stopTimeoutS * 1000
  const serves = (role: string): boolean => config.role.includes('all') || config.role.includes(role)
  const lifecycle = new Lifecycle()

  async function start (): Promise<{ port: number, wsPort: number }> {
    const metrics = new Metrics()
    metrics.set('uproar_build_info', 1, version)
    sharing.numbers?.provide(() => metrics.textWithExemplars())
    const fault = (error: unknown, what: string): void => {
      metrics.add('uproar_faults_total')
      log.error({ err: error, what }, 'fault')
    }
    const traces = openTraces(config, { lifecycle, clock, metrics, log, version })
    const { log: roomLog, directory, canaryRooms, redis } = await openEngines(config, { lifecycle, clock, metrics })
    const feeds = await openFeeds(config, { roomLog, lifecycle, clock, metrics, log, traces })
    const archive = await openArchive(config, log)
    lifecycle.add({ name: 'archive', start: () => archive.start(), stop: () => archive.close() })
    const revocations = new Revocations({ log: roomLog, clock, hours: config.revocationHours, fault })
    lifecycle.add(revocations)
    const authenticator = createAuthenticator(config, { clock, log, revoked: revocations, devSecret: sharing.devSecret })
    lifecycle.add(authenticator)
    const canary = new Canary(roomLog, clock, canaryRooms)
    lifecycle.add(canary)
    const self: SelfPortrait = () => ({ port: serves('api') ? api.port : 0, wsPort: gateway.port, connections: gateway.size, isDraining: gateway.isDraining })
    const cluster = redis === null
      ? createLocalCluster({ clock, version, self })
      : (await import('./cluster/redis-cluster.ts')).createRedisCluster({ redis, prefix: config.redisPrefix, usersMax: config.connectionsPerUserMax, clock, metrics, version, self, fault })
    const reads = new Reads(archive)
    const listener = createListener(config, { sharesPort: sharing.sharesPorts })
    const rooms = new Rooms({ log: roomLog, directory, fanout: serves('gateway') ? listener : noFanout, clock, metrics, config, cluster, past: reads, fault })
    lifecycle.add({ name: 'rooms', start: () => rooms.start(), stop: () => rooms.stop() })
    lifecycle.add(cluster)
    const ingest = new Ingest({ log: roomLog, clock, metrics, config, terms, traces, fault })
    const moderator = new Moderator({ log: roomLog, rooms, clock, metrics, addressOf: (user) => ingest.addressOf(user), fault })
    const library = new Library({ reads, rooms, clock, fault })
    const ticket = config.probeS === 0 ? undefined : issueTicket(sharing.devSecret === null ? undefined : hash('sha256', Buffer.concat([sharing.devSecret, Buffer.from('probe')])))
    const gateway = new Gateway({ config, clock, metrics, rooms, ingest, moderator, authenticator, listener, cluster, revoked: revocations, rhythm: roomLog.rhythm, probe: ticket, note: (what, details) => log.info(details, what), fault })
    if (serves('gateway')) lifecycle.add(gateway)
    cluster.listen({ viewersChanged: (room) => rooms.viewersChanged(room), toUser: (user, bytes) => gateway.toUser(user, bytes), crowded: (user, before) => gateway.crowded(user, before) })
    const drain = async (): Promise<void> => { await Promise.all([api.drain(), gateway.sendAway()]) }
    const orders = new Orders(cluster, { kick: (target, reason) => gateway.kick(target, reason), drain: () => { drain().catch((error: unknown) => fault(error, 'draining')) } })
    revocations.changed(() => {
      metrics.set('uproar_revocations', revocations.size)
      gateway.reviewTokens()
    })
    const rights = new Rights({ log: roomLog, directory, clock, echoMs: config.erasureEchoS * 1000, isAlone: redis === null, estates: [new ArchiveErasure(archive)], forget: (user) => ingest.forget(user), fault })
    if (serves('api')) lifecycle.add(rights)
    const api = createApi({
      config, log, clock, metrics, authenticator, rooms, ingest, moderator, library, cluster, orders, revocations, rights, version, assetsDir: ASSETS_DIR,
      engines: () => [{ part: 'log', engine: redis === null ? 'embedded' : 'redis', fault: canary.verdict === 'ok' ? null : canary.verdict }, { part: 'feed', engine: feeds.kafka === null ? 'embedded' : 'kafka', fault: null }, archiveEngine(config, archive)],
      sharesPort: sharing.sharesPorts,
      ownPort: sharing.ownPort,
      connections: (query) => gateway.connections(query),
      wsPort: () => gateway.port,
      numbers: () => sharing.numbers?.gather() ?? metrics.textWithExemplars(),
      ready: async () => ({ ready: canary.verdict === 'ok', checks: { delivery: canary.verdict } })
    })
    metrics.read('uproar_canary_seconds', () => canary.age / 1000)
    metrics.read('uproar_draining', () => Number(gateway.isDraining))
    metrics.read('uproar_ready', () => Number(canary.verdict === 'ok' && !gateway.isDraining))
    if (redis === null) metrics.read('uproar_disk_free_bytes', () => freeBytes(config.dataDir))
    if (serves('gateway')) lifecycle.add(new Audience({ archive, clock, watched: () => rooms.watched(), fault }))
    if (serves('api')) lifecycle.add(api)
    for (const part of workers(config, { feeds, archive, roomLog, moderator, clock, metrics, log, serves })) lifecycle.add(part)
    if (ticket !== undefined && serves('gateway')) {
      const target = (): { host: string, port: number, isTls: boolean } => ({ host: reachableHost(config.host).replace(/^\[|\]$/g, ''), port: gateway.port, isTls: config.tlsCertFile !== null })
      lifecycle.add(new Probe({ ticket, room: PROBE_ROOM, everyS: config.probeS, target, clock, metrics, traces }))
    }
    lifecycle.add({ name: 'drain', stop: drain })
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

/** Where traces go, if anywhere. First to start and last to stop, so that what the others do last is sent too. */
function openTraces (config: Config, parts: { lifecycle: Lifecycle, clock: Clock, metrics: Metrics, log: Logger, version: string }): Traces | null {
  const { otlpUrl: url, traceSample: sample } = config
  const { lifecycle, clock, metrics, log, version } = parts
  if (url === null) return null
  const resource = { 'service.name': 'uproar', 'service.version': version, 'service.instance.id': `${hostname()}:${process.pid}` }
  const exporter = new OtlpExporter({ url, resource, version, clock, metrics, say: (level, message, details) => log[level](details, message) })
  lifecycle.add({ name: 'traces', start: () => exporter.start(), stop: () => exporter.stop() })
  return new Traces({ sample, clock, exporter, note: (details) => log.debug(details, 'a message was accepted') })
}

interface Feeds {
  /** Over the room log. */
  readonly ofLog: Feed
  readonly kafka: KafkaFeed | null
  /** Where consumers read. */
  readonly feed: Feed
}

/** The feed that consumers read, in Kafka where there are brokers, and the one that the relay brings there. Nothing connects before it is used. */
async function openFeeds (config: Config, parts: { roomLog: OutletLog, lifecycle: Lifecycle, clock: Clock, metrics: Metrics, log: Logger, traces: Traces | null }): Promise<Feeds> {
  const { roomLog, lifecycle, clock, metrics, log, traces } = parts
  const say: Say = (level, message, details = {}) => log[level](details, message)
  const ofLog = new LogFeed({ log: roomLog, clock, metrics, say, traces })
  lifecycle.add({ name: 'feed', stop: () => ofLog.close() })
  const { kafkaBrokers: brokers, kafkaPrefix: prefix, kafkaPartitions: partitions, kafkaTls: tls, kafkaUsername: username, kafkaPassword: password } = config
  if (brokers.length === 0) return { ofLog, kafka: null, feed: ofLog }
  const mechanism = config.kafkaSasl as 'none' | 'plain' | 'scram-sha-256' | 'scram-sha-512'
  const sasl = mechanism === 'none' || username === null || password === null ? null : { mechanism, username, password }
  const { KafkaFeed } = await import('./feed/kafka-feed.ts')
  const kafka = new KafkaFeed({ brokers, prefix, partitions, tls, sasl, metrics, say, traces })
  lifecycle.add({ name: 'kafka', stop: () => kafka.close() })
  return { ofLog, kafka, feed: kafka }
}

/** What works on the feed in this process. Reading every message has a price, so in `all` only what has a purpose does. */
function workers (config: Config, parts: { feeds: Feeds, archive: Archive, roomLog: Log, moderator: Moderator, clock: Clock, metrics: Metrics, log: Logger, serves: (role: string) => boolean }): Part[] {
  const { feeds: { ofLog, kafka, feed }, archive, roomLog, moderator, clock, metrics, log, serves } = parts
  const say: Say = (level, message, details = {}) => log[level](details, message)
  const all: Part[] = []
  if (serves('relay') && kafka !== null) all.push(new Relay({ from: ofLog, to: kafka }))
  const scorers = config.scorers.map((name): Scorer => name === 'rules' ? new RulesScorer(roomLog) : new HttpScorer({ url: config.scorerUrl as string, token: config.scorerToken, timeoutMs: config.scorerTimeoutMs, metrics }))
  if (serves('moderator') && (scorers.length > 0 || kafka !== null)) {
    all.push(new Worker({ feed, scorers, takesActions: kafka !== null, act: (room, by, action, args, source, once) => moderator.act(room, by, action, args, source, once), metrics, say }))
  }
  if (config.role.includes('notifier') || (serves('notifier') && kafka !== null)) all.push(new Notifier(feed, say))
  if (serves('archiver')) all.push(new Archiver({ feed, archive, metrics, say }), new Upkeep({ archive, clock, days: config.archiveDays, fault: (error, what) => log.error({ err: error, what }, 'fault') }))
  return all
}

/** What the archive is to people. */
function archiveEngine (config: Config, { verdict }: Archive): Engine {
  const engine = verdict.state === 'none' ? 'none' : config.clickhouseUrl === null ? 'embedded' : 'clickhouse'
  return { part: 'archive', engine, fault: verdict.state === 'away' ? verdict.reason : null }
}

/** The archive, or why there is none. Nothing connects before it is started, and then in the background. */
async function openArchive (config: Config, log: Logger): Promise<Archive> {
  const say: Say = (level, message, details = {}) => log[level](details, message)
  const none = (reason: string): Archive => {
    log[config.archive === 'off' ? 'info' : 'warn']({ reason }, 'there is no archive: search, replay and statistics of the past are not served')
    return createNoArchive(`there is no archive here: ${reason}`)
  }
  if (config.archive === 'off') return none('ARCHIVE is off')
  if (config.clickhouseUrl !== null) {
    const { clickhouseUrl: url, clickhouseUser: username, clickhousePassword: password, clickhouseDatabase: database, clickhouseStoragePolicy: storagePolicy, clickhouseCaFile: caFile } = config
    const tiers = config.archiveTiers.map((tier) => ({ volume: tier.split(':')[0] as string, afterDays: Number(tier.split(':')[1]) }))
    const { createClickHouseArchive } = await import('./archive/clickhouse-archive.ts')
    return createClickHouseArchive({ url, username, password, caCert: caFile === null ? null : readFileSync(caFile), layout: { database, storagePolicy, tiers, isSynced: false }, say })
  }
  if (config.archive === 'auto' && (config.redisUrl !== null || config.kafkaBrokers.length > 0)) return none('with Redis or Kafka it takes CLICKHOUSE_URL')
  const fault = chdbFault()
  if (fault === null) return createChdbArchive({ directory: join(config.dataDir, 'archive'), say })
  if (config.archive === 'on') throw new StartFault(`ARCHIVE: ${fault}`)
  return none(fault)
}

type OutletLog = Log & { outlet (): Outlet }

interface Engines {
  readonly log: OutletLog
  readonly directory: Directory
  readonly canaryRooms?: readonly string[]
  /** Null: embedded. */
  readonly redis: Redis | null
}

/** Room log and directory: in Redis where there is a URL, else in the embedded store. What was opened ends with `lifecycle`. */
async function openEngines (config: Config, parts: { lifecycle: Lifecycle, clock: Clock, metrics: Metrics }): Promise<Engines> {
  const { lifecycle, clock, metrics } = parts
  const common = {
    clock, metrics, queueMax: config.logQueueMax, dedupMinutes: config.dedupMinutes,
    retention: {
      hours: config.retentionHours, entriesMax: config.retentionEntriesMax, mbMax: config.retentionMbMax,
      apart: new Map([[AUDIT_ROOM, { hours: config.auditRetentionDays === 0 ? Infinity : config.auditRetentionDays * 24, entriesMax: Infinity, mbMax: Infinity }]])
    }
  }
  if (config.redisUrl !== null) {
    const [{ Redis }, { canaryRooms, openRedisLog }, { createRedisDirectory }] = await Promise.all([import('./base/redis.ts'), import('./log/redis-log.ts'), import('./directory/redis-directory.ts')])
    const redis = new Redis(parseRedisUrl(config.redisUrl), { timeoutMs: config.redisTimeoutMs })
    lifecycle.add({ name: 'redis', stop: () => redis.close() })
    const { redisPrefix: prefix, redisShards: shards, redisStreamMinutes: minutes, redisStreamBatchesMax: batchesMax, redisStreamUnreadMax: unreadMax } = config
    const log = await openRedisLog(redis, { ...common, prefix, shards, stream: { minutes, batchesMax, unreadMax } }).catch((error: unknown) => {
      redis.close()
      throw error
    })
    lifecycle.add({ name: 'log', stop: () => log.close() })
    return { log, directory: createRedisDirectory(redis, prefix), canaryRooms: canaryRooms(shards), redis }
  }
  const store = await openStore(config.dataDir)
  lifecycle.add({ name: 'store', stop: () => store.close() })
  const log = createLmdbLog(store, { ...common, durability: config.logDurability, unreadMax: config.feedUnreadMax })
  lifecycle.add({ name: 'log', stop: () => log.close() })
  return { log, directory: createLmdbDirectory(store), redis: null }
}

/** Where `npm run build` puts the page and the client. */
const ASSETS_DIR = new URL('../dist/web/', import.meta.url).pathname

/** Free space that this process may use; NaN where the system does not say. */
function freeBytes (folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize
  } catch {
    return NaN
  }
}

function checked<Value> (read: () => Value, prefix = ''): Value {
  try {
    return read()
  } catch (error) {
    throw new ConfigError([`${prefix}${(error as Error).message}`])
  }
}
