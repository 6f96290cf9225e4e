// Configuration: one table of settings, read from the environment once, checked whole, then frozen. All faults are
// reported together, by name, before anything starts. README shows the same table and a test holds the two together.
// A setting with `secret` never appears in a log or an error, and may stand in a file instead, which NAME_FILE names.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { StartFault } from './errors.ts'
import { TrustedProxies } from './peers.ts'
import { parseRedisUrl } from './redis-place.ts'

interface Base { readonly env: string, readonly doc: string, readonly secret?: true, readonly group: string }
type Setting = Base & (
  | { readonly type: 'string', readonly default: string }
  | { readonly type: 'optional', readonly check?: 'url' | 'file' | 'redis' }
  | { readonly type: 'list', readonly default: readonly string[] }
  | { readonly type: 'int', readonly default: number, readonly min: number, readonly max: number }
  | { readonly type: 'bool', readonly default: boolean }
  | { readonly type: 'choice', readonly default: string, readonly choices: readonly string[] }
)

export const SETTINGS = {
  host: { group: 'network', env: 'HOST', type: 'string', default: '127.0.0.1', doc: 'address that both listeners bind' },
  port: { group: 'network', env: 'PORT', type: 'int', default: 8080, min: 0, max: 65535, doc: 'HTTP: pages, REST, events, health, metrics; 0 picks a free port' },
  wsPort: { group: 'network', env: 'WS_PORT', type: 'int', default: 9001, min: 0, max: 65535, doc: 'WebSocket; 0 picks a free port' },
  wsPublicUrl: { group: 'network', env: 'WS_PUBLIC_URL', type: 'optional', check: 'url', doc: 'WebSocket address that pages tell browsers, when a proxy stands in front (default: same host, `WS_PORT`)' },
  tlsCertFile: { group: 'network', env: 'TLS_CERT_FILE', type: 'optional', check: 'file', doc: 'certificate chain (PEM); with `TLS_KEY_FILE` both listeners speak TLS' },
  tlsKeyFile: { group: 'network', env: 'TLS_KEY_FILE', type: 'optional', check: 'file', doc: 'private key (PEM)' },
  origins: { group: 'network', env: 'ORIGINS', type: 'list', default: [], doc: 'web origins that may connect, such as `https://example.org`; empty: any' },
  trustedProxies: { group: 'network', env: 'TRUSTED_PROXIES', type: 'list', default: [], doc: 'addresses or CIDR ranges whose `X-Forwarded-For` is believed' },
  compression: { group: 'network', env: 'COMPRESSION', type: 'bool', default: false, doc: 'permessage-deflate; costs 19 to 30 µs per viewer and message' },

  dataDir: { group: 'storage', env: 'DATA_DIR', type: 'string', default: './data', doc: 'where the embedded log and directory live' },
  logDurability: { group: 'storage', env: 'LOG_DURABILITY', type: 'choice', default: 'commit', choices: ['commit', 'flush'], doc: 'when OK is given: `commit`, once the kernel has the message, which survives the death of the process (the disk has it within a second); `flush`, once the disk has it, which survives a loss of power too' },
  logQueueMax: { group: 'storage', env: 'LOG_QUEUE_MAX', type: 'int', default: 20_000, min: 1, max: 1_000_000, doc: 'drafts waiting for a commit; beyond it authors get `overloaded`' },
  retentionHours: { group: 'storage', env: 'RETENTION_HOURS', type: 'int', default: 168, min: 1, max: 87_600, doc: 'how long a room\'s log keeps entries' },
  retentionEntriesMax: { group: 'storage', env: 'RETENTION_ENTRIES_MAX', type: 'int', default: 1_000_000, min: 10_000, max: 1_000_000_000, doc: 'entries kept per room' },
  retentionMbMax: { group: 'storage', env: 'RETENTION_MB_MAX', type: 'int', default: 1024, min: 16, max: 1_048_576, doc: 'megabytes kept per room' },
  auditRetentionDays: { group: 'storage', env: 'AUDIT_RETENTION_DAYS', type: 'int', default: 365, min: 0, max: 36_500, doc: 'how long the audit log keeps its rows, whatever the rooms\' limits are; 0: for ever' },
  erasureEchoS: { group: 'storage', env: 'ERASURE_ECHO_S', type: 'int', default: 600, min: 0, max: 86_400, doc: 'how long the removal of an erased person\'s messages stands in a room, seconds: viewers who come back within it take them off their screens' },
  dedupMinutes: { group: 'storage', env: 'DEDUP_MINUTES', type: 'int', default: 10, min: 1, max: 1440, doc: 'how long a nonce is remembered, at least' },

  role: { group: 'process', env: 'ROLE', type: 'list', default: ['all'], doc: 'roles of this process: `all`, or a list of `gateway,api,relay,moderator,archiver,notifier`' },
  logLevel: { group: 'process', env: 'LOG_LEVEL', type: 'choice', default: 'info', choices: ['trace', 'debug', 'info', 'warn', 'error', 'silent'], doc: 'least level that is logged' },
  logConnections: { group: 'process', env: 'LOG_CONNECTIONS', type: 'int', default: 1000, min: 0, max: 1_000_000_000, doc: 'one WebSocket connection in so many has its coming and going in the log; 0: none' },
  probeS: { group: 'process', env: 'PROBE_S', type: 'int', default: 5, min: 0, max: 60, doc: 'how often the built-in viewer says something and waits for it to come back, seconds (role `gateway`); 0: there is none' },
  otlpUrl: { group: 'process', env: 'OTLP_URL', type: 'optional', check: 'url', secret: true, doc: 'collector that traces are sent to (OTLP over HTTP, JSON), such as `http://127.0.0.1:4318`; without it there are none' },
  traceSample: { group: 'process', env: 'TRACE_SAMPLE', type: 'int', default: 1000, min: 1, max: 1_000_000_000, doc: 'one message in so many is traced; the same in every process' },
  drainS: { group: 'process', env: 'DRAIN_S', type: 'int', default: 10, min: 0, max: 3600, doc: 'time over which a stop sends viewers away, at a steady pace, seconds; few viewers go faster (200 a second)' },
  stopTimeoutS: { group: 'process', env: 'STOP_TIMEOUT_S', type: 'int', default: 20, min: 1, max: 3600, doc: 'time for a clean stop, the drain included, seconds; at least `DRAIN_S` and 5; a second signal ends at once' },

  jwtSecret: { group: 'auth', env: 'JWT_SECRET', type: 'optional', secret: true, doc: 'secret of HS256, HS384 and HS512 tokens, 32 bytes at least' },
  jwtPublicKeyFile: { group: 'auth', env: 'JWT_PUBLIC_KEY_FILE', type: 'optional', check: 'file', doc: 'public key (PEM) of RS256, ES256 or EdDSA tokens' },
  jwksUrl: { group: 'auth', env: 'JWKS_URL', type: 'optional', check: 'url', doc: 'JWKS address; fetched, cached, refreshed, and used stale while it is away' },
  jwtIssuer: { group: 'auth', env: 'JWT_ISSUER', type: 'optional', doc: 'required `iss` of tokens' },
  jwtAudience: { group: 'auth', env: 'JWT_AUDIENCE', type: 'optional', doc: 'required `aud` of tokens' },
  revocationHours: { group: 'auth', env: 'REVOCATION_HOURS', type: 'int', default: 168, min: 1, max: 87_600, doc: 'how long a revocation is kept unless it says so itself; no token should live longer' },
  apiKeys: { group: 'auth', env: 'API_KEYS', type: 'list', default: [], secret: true, doc: 'server keys, 24 characters at least; each may act for any user' },

  connectionsMax: { group: 'limits', env: 'CONNECTIONS_MAX', type: 'int', default: 0, min: 0, max: 10_000_000, doc: 'connections to this process; 0: no limit' },
  connectionsPerAddressMax: { group: 'limits', env: 'CONNECTIONS_PER_ADDRESS_MAX', type: 'int', default: 1000, min: 0, max: 10_000_000, doc: 'connections from one address, to all instances; 0: no limit. As many again may be in their handshake, and four times as many open to the HTTP port' },
  connectionsPerUserMax: { group: 'limits', env: 'CONNECTIONS_PER_USER_MAX', type: 'int', default: 10, min: 0, max: 10_000_000, doc: 'connections of one user, to all instances; the oldest gives way; 0: no limit' },
  roomsPerConnectionMax: { group: 'limits', env: 'ROOMS_PER_CONNECTION_MAX', type: 'int', default: 16, min: 1, max: 256, doc: 'rooms that one connection may be in' },
  messagesPerSecondMax: { group: 'limits', env: 'MESSAGES_PER_SECOND_MAX', type: 'int', default: 2, min: 0, max: 1_000_000, doc: 'messages of one user a second, over time; 0: no limit' },
  messagesBurstMax: { group: 'limits', env: 'MESSAGES_BURST_MAX', type: 'int', default: 8, min: 0, max: 1_000_000, doc: 'messages of one user at once; 0: no limit' },
  framesPerSecondMax: { group: 'limits', env: 'FRAMES_PER_SECOND_MAX', type: 'int', default: 50, min: 0, max: 1_000_000, doc: 'frames of any kind from one connection a second; 0: no limit' },
  requestsPerMinuteMax: { group: 'limits', env: 'REQUESTS_PER_MINUTE_MAX', type: 'int', default: 600, min: 0, max: 100_000_000, doc: 'HTTP requests from one address a minute; 0: no limit. Requests with an API key are exempt' },
  clientMessageBytesMax: { group: 'limits', env: 'CLIENT_MESSAGE_BYTES_MAX', type: 'int', default: 4096, min: 512, max: 12_288, doc: 'size of a WebSocket message from a client' },
  textCharactersMax: { group: 'limits', env: 'TEXT_CHARACTERS_MAX', type: 'int', default: 500, min: 1, max: 2000, doc: 'length of a message\'s text in characters (code points)' },
  helloTimeoutMs: { group: 'limits', env: 'HELLO_TIMEOUT_MS', type: 'int', default: 5000, min: 100, max: 60_000, doc: 'time from the handshake to HELLO' },
  idleTimeoutS: { group: 'limits', env: 'IDLE_TIMEOUT_S', type: 'int', default: 60, min: 8, max: 960, doc: 'silence after which a connection is closed (WebSocket pings go out before that, and clients answer them by themselves)' },

  roomsOnDemand: { group: 'rooms', env: 'ROOMS_ON_DEMAND', type: 'bool', default: true, doc: 'a room is made when it is first joined or written to; otherwise only by `PUT /v1/rooms/:room`' },
  ringEntriesMax: { group: 'rooms', env: 'RING_ENTRIES_MAX', type: 'int', default: 1000, min: 200, max: 100_000, doc: 'newest entries of an active room kept in memory' },
  ringKbMax: { group: 'rooms', env: 'RING_KB_MAX', type: 'int', default: 1024, min: 64, max: 1_048_576, doc: 'kilobytes of an active room kept in memory' },
  roomIdleS: { group: 'rooms', env: 'ROOM_IDLE_S', type: 'int', default: 60, min: 1, max: 86_400, doc: 'time without viewers after which a room leaves memory' },
  roomsActiveMax: { group: 'rooms', env: 'ROOMS_ACTIVE_MAX', type: 'int', default: 100_000, min: 1, max: 10_000_000, doc: 'rooms in memory at once; beyond it joins get `overloaded`' },
  windowMsMax: { group: 'rooms', env: 'WINDOW_MS_MAX', type: 'int', default: 50, min: 0, max: 1000, doc: 'longest window in which a busy room\'s entries are gathered, below 5,000 local viewers' },
  windowBigMsMax: { group: 'rooms', env: 'WINDOW_BIG_MS_MAX', type: 'int', default: 250, min: 0, max: 5000, doc: 'the same from 5,000 local viewers on' },
  sliceViewers: { group: 'rooms', env: 'SLICE_VIEWERS', type: 'int', default: 300, min: 1, max: 100_000, doc: 'viewers per topic; one topic is published per turn of the loop, which takes 7 to 20 µs a viewer; a room of up to four times as many has one topic' },
  deflateBytesMin: { group: 'rooms', env: 'DEFLATE_BYTES_MIN', type: 'int', default: 500, min: 0, max: 16_384, doc: 'a room\'s messages from this length on are deflated, once for all viewers who can inflate them; 0: none' },
  deflateViewersMin: { group: 'rooms', env: 'DEFLATE_VIEWERS_MIN', type: 'int', default: 100, min: 1, max: 1_000_000, doc: 'with fewer viewers here who can inflate a room deflates nothing, for that takes up to 0.5 ms a message' },
  slowKb: { group: 'rooms', env: 'SLOW_KB', type: 'int', default: 256, min: 16, max: 65_536, doc: 'unsent kilobytes from which a viewer counts as slow and is served from the ring' },
  slowTimeoutS: { group: 'rooms', env: 'SLOW_TIMEOUT_S', type: 'int', default: 15, min: 1, max: 600, doc: 'time without progress after which a slow viewer is closed (4408)' },
  blockedTermsFile: { group: 'rooms', env: 'BLOCKED_TERMS_FILE', type: 'optional', check: 'file', doc: 'terms blocked in every room, one a line: `term`, `term*` or `"term"`' },

  scorers: { group: 'moderation', env: 'SCORERS', type: 'list', default: [], doc: 'what judges messages after they were accepted (role `moderator`): `rules` (floods, raids, repeat offenders), `http` (`SCORER_URL`); empty: nothing' },
  scorerUrl: { group: 'moderation', env: 'SCORER_URL', type: 'optional', check: 'url', doc: 'scorer that is asked over HTTP, in batches' },
  scorerToken: { group: 'moderation', env: 'SCORER_TOKEN', type: 'optional', secret: true, doc: 'bearer token for the scorer' },
  scorerTimeoutMs: { group: 'moderation', env: 'SCORER_TIMEOUT_MS', type: 'int', default: 2000, min: 50, max: 60_000, doc: 'time budget of one call of the scorer' },
  hookUrl: { group: 'moderation', env: 'HOOK_URL', type: 'optional', check: 'url', doc: 'program that sees messages before they are accepted, in rooms with the setting `hook`' },
  hookToken: { group: 'moderation', env: 'HOOK_TOKEN', type: 'optional', secret: true, doc: 'bearer token for the hook' },
  hookTimeoutMs: { group: 'moderation', env: 'HOOK_TIMEOUT_MS', type: 'int', default: 200, min: 10, max: 5000, doc: 'time budget of the hook' },

  redisUrl: { group: 'engines', env: 'REDIS_URL', type: 'optional', check: 'redis', secret: true, doc: 'Redis 7 or later for room log and directory, so that many instances are one chat; without it both are embedded. `redis://[user:password@]host:port[/db]`, `redis+sentinel://host:port,…/name` or `redis+cluster://host:port,…`; `rediss` for TLS, then `?ca=FILE` and `servername=NAME` if needed' },
  redisPrefix: { group: 'engines', env: 'REDIS_PREFIX', type: 'string', default: 'uproar:', doc: 'what the names of all keys in Redis begin with' },
  redisShards: { group: 'engines', env: 'REDIS_SHARDS', type: 'int', default: 16, min: 1, max: 1024, doc: 'streams that the rooms are spread over; the same in every instance, and for ever' },
  redisTimeoutMs: { group: 'engines', env: 'REDIS_TIMEOUT_MS', type: 'int', default: 1000, min: 100, max: 5000, doc: 'deadline of one command; it is tried again for 5 s in all' },
  redisStreamMinutes: { group: 'engines', env: 'REDIS_STREAM_MINUTES', type: 'int', default: 15, min: 1, max: 1440, doc: 'how long a shard\'s stream waits for instances that lag; beyond it they read the rooms\' histories' },
  redisStreamBatchesMax: { group: 'engines', env: 'REDIS_STREAM_BATCHES_MAX', type: 'int', default: 50_000, min: 100, max: 10_000_000, doc: 'batches kept in a shard\'s stream; whichever is met first' },
  redisStreamUnreadMax: { group: 'engines', env: 'REDIS_STREAM_UNREAD_MAX', type: 'int', default: 500_000, min: 1000, max: 100_000_000, doc: 'batches kept in a shard\'s stream while a consumer of the feed (the relay) has not read them, instead of the two above; what is over goes, and is counted' },
  kafkaBrokers: { group: 'engines', env: 'KAFKA_BROKERS', type: 'list', default: [], doc: 'Kafka for programs at the back, as `host:port,…`: the role `relay` brings every entry there, and consumers read there; without it consumers read the room log itself' },
  kafkaPrefix: { group: 'engines', env: 'KAFKA_PREFIX', type: 'string', default: 'uproar.', doc: 'what the names of topics and consumer groups begin with' },
  kafkaPartitions: { group: 'engines', env: 'KAFKA_PARTITIONS', type: 'int', default: 12, min: 1, max: 1000, doc: 'partitions of topics that are made here; those that are there stay as they are' },
  kafkaTls: { group: 'engines', env: 'KAFKA_TLS', type: 'bool', default: false, doc: 'TLS to the brokers' },
  kafkaSasl: { group: 'engines', env: 'KAFKA_SASL', type: 'choice', default: 'none', choices: ['none', 'plain', 'scram-sha-256', 'scram-sha-512'], doc: 'how the program says who it is, with the two settings below' },
  kafkaUsername: { group: 'engines', env: 'KAFKA_USERNAME', type: 'optional', doc: 'user of SASL' },
  kafkaPassword: { group: 'engines', env: 'KAFKA_PASSWORD', type: 'optional', secret: true, doc: 'password of SASL' },
  feedUnreadMax: { group: 'engines', env: 'FEED_UNREAD_MAX', type: 'int', default: 1_000_000, min: 1000, max: 1_000_000_000, doc: 'entries of a room that wait for consumers of the embedded log, beyond what retention would keep; what is over goes, and is counted' },
  archive: { group: 'archive', env: 'ARCHIVE', type: 'choice', default: 'auto', choices: ['auto', 'on', 'off'], doc: 'every entry kept for search, replay and statistics. `auto`: in ClickHouse with `CLICKHOUSE_URL`; without it embedded in `DATA_DIR/archive` where the log is embedded too and the optional package `chdb` is installed. `on`: embedded also beside Redis, in this one process. `off`: not' },
  clickhouseUrl: { group: 'archive', env: 'CLICKHOUSE_URL', type: 'optional', check: 'url', secret: true, doc: 'ClickHouse 26.3 or later for the archive, over HTTP: `http://host:8123` or `https://…`' },
  clickhouseUser: { group: 'archive', env: 'CLICKHOUSE_USER', type: 'string', default: 'default', doc: 'its user; it makes the database and the tables' },
  clickhousePassword: { group: 'archive', env: 'CLICKHOUSE_PASSWORD', type: 'string', default: '', secret: true, doc: 'the user\'s password' },
  clickhouseDatabase: { group: 'archive', env: 'CLICKHOUSE_DATABASE', type: 'string', default: 'uproar', doc: 'its database: letters, digits, underscores' },
  clickhouseCaFile: { group: 'archive', env: 'CLICKHOUSE_CA_FILE', type: 'optional', check: 'file', doc: 'certificate (PEM) of who signed the server\'s, where the system does not know it' },
  clickhouseStoragePolicy: { group: 'archive', env: 'CLICKHOUSE_STORAGE_POLICY', type: 'optional', doc: 'storage policy of tables that are made, of the server\'s configuration' },
  archiveTiers: { group: 'archive', env: 'ARCHIVE_TIERS', type: 'list', default: [], doc: 'when entries move on to other volumes of the storage policy, in tables that are made, as `volume:days,…`, such as `warm:30,cold:180`' },
  archiveDays: { group: 'archive', env: 'ARCHIVE_DAYS', type: 'int', default: 0, min: 0, max: 36_500, doc: 'how long entries are kept in the archive, for rooms without the setting `archiveDays`; 0: for ever' },
  workers: { group: 'engines', env: 'WORKERS', type: 'int', default: 1, min: 1, max: 64, doc: 'processes that share the ports under one supervisor, also by `--workers N`; more than 1 takes `REDIS_URL`' },
  workerPortBase: { group: 'engines', env: 'WORKER_PORT_BASE', type: 'int', default: 0, min: 0, max: 65_471, doc: 'worker n (from 1) also listens for HTTP on loopback at this port plus n, so that each can be scraped; 0: not' }
} as const satisfies Record<string, Setting>

type ValueOf<S> =
  S extends { type: 'int' } ? number
    : S extends { type: 'bool' } ? boolean
      : S extends { type: 'list' } ? readonly string[]
        : S extends { type: 'choice', choices: readonly (infer C)[] } ? C
          : S extends { type: 'optional' } ? string | null
            : string

/** The settings as the program uses them; frozen. */
export type Config = { readonly [K in keyof typeof SETTINGS]: ValueOf<(typeof SETTINGS)[K]> }

/** Everything that is wrong with the environment, one line each. */
export class ConfigError extends StartFault {
  override readonly name = 'ConfigError'
  readonly faults: readonly string[]
  constructor (faults: readonly string[]) {
    super(`configuration: ${faults.length} fault${faults.length === 1 ? '' : 's'}\n${faults.map((fault) => `  ${fault}`).join('\n')}`)
    this.faults = faults
  }
}

/** What a stop takes beside the drain: requests under way, engines. */
const STOP_BESIDE_DRAIN_S = 5
/** What ROLE may name. */
export const ROLES: readonly string[] = ['all', 'gateway', 'api', 'relay', 'moderator', 'archiver', 'notifier']

/** Reads and checks the environment. Throws ConfigError with every fault at once. */
export function loadConfig (env: Readonly<Record<string, string | undefined>> = process.env): Config {
  const faults: string[] = []
  const values: Record<string, unknown> = {}
  for (const [key, setting] of Object.entries(SETTINGS) as [string, Setting][]) {
    const text = given(setting, env)
    const value = text instanceof Fault ? text : text === undefined || text === '' ? unset(setting) : parse(setting, text)
    if (value instanceof Fault) faults.push(`${setting.env}: ${value.reason}${setting.secret === true ? '' : ` (it is ${JSON.stringify(text)})`}`)
    else values[key] = value
  }
  faults.push(...together(values as Partial<Config>))
  if (faults.length > 0) throw new ConfigError(faults)
  for (const value of Object.values(values)) if (Array.isArray(value)) Object.freeze(value)
  return Object.freeze(values) as unknown as Config
}

class Fault {
  readonly reason: string
  constructor (reason: string) { this.reason = reason }
}

/** What the environment says, or the file that it names: containers are handed their secrets as files. */
function given (setting: Setting, env: Readonly<Record<string, string | undefined>>): string | undefined | Fault {
  const own = env[setting.env]?.trim()
  const path = setting.secret === true ? env[`${setting.env}_FILE`]?.trim() : undefined
  if (path === undefined || path === '') return own
  if (own !== undefined && own !== '') return new Fault(`set it or ${setting.env}_FILE, not both`)
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return new Fault(`${setting.env}_FILE must name a file that can be read`)
  }
}

function unset (setting: Setting): unknown {
  if (setting.type === 'optional') return null
  return setting.type === 'list' ? [...setting.default] : setting.default
}

function parse (setting: Setting, text: string): unknown {
  switch (setting.type) {
    case 'string': return text
    case 'optional': return setting.check === undefined ? text : CHECKS[setting.check](text)
    case 'list': return text.split(',').map((part) => part.trim()).filter((part) => part !== '')
    case 'bool': return BOOLS.get(text.toLowerCase()) ?? new Fault('must be true or false (yes and no, on and off, 1 and 0 will do)')
    case 'choice': return setting.choices.includes(text) ? text : new Fault(`must be one of ${setting.choices.join(', ')}`)
    case 'int': {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN
      return value >= setting.min && value <= setting.max ? value : new Fault(`must be a whole number from ${setting.min} to ${setting.max}`)
    }
  }
}

const BOOLS: ReadonlyMap<string, boolean> = new Map([
  ['true', true], ['1', true], ['yes', true], ['on', true], ['false', false], ['0', false], ['no', false], ['off', false]
])

const CHECKS = {
  url: (text: string): string | Fault => URL.canParse(text) ? text : new Fault('must be a URL'),
  redis (text: string): string | Fault {
    try {
      parseRedisUrl(text)
      return text
    } catch (error) {
      return new Fault((error as Error).message)
    }
  },
  file (text: string): string | Fault {
    try {
      accessSync(text, constants.R_OK)
      if (statSync(text).isDirectory()) return new Fault('must name a file, not a folder')
      return text
    } catch {
      return new Fault('must name a file that can be read')
    }
  }
} as const

/** What is wrong with the certificate and the key, by the settings that name them. */
function tlsFaults (certFile: string, keyFile: string): string[] {
  const cert = readFileSync(certFile)
  const key = readFileSync(keyFile)
  const faults: string[] = []
  if (!works(() => new X509Certificate(cert)) || !works(() => createSecureContext({ cert }))) faults.push(`TLS_CERT_FILE: must hold a certificate in PEM (it is ${JSON.stringify(certFile)})`)
  if (!works(() => createPrivateKey(key))) faults.push(`TLS_KEY_FILE: must hold a private key in PEM, without a passphrase (it is ${JSON.stringify(keyFile)})`)
  if (faults.length === 0 && !works(() => createSecureContext({ cert, key }))) faults.push('TLS_CERT_FILE, TLS_KEY_FILE: the certificate and the key do not belong together')
  return faults
}

function works (attempt: () => unknown): boolean {
  try {
    attempt()
    return true
  } catch {
    return false
  }
}

function archiveFaults (config: Partial<Config>): string[] {
  const faults: string[] = []
  const { archive, clickhouseUrl: url, clickhouseDatabase: database, archiveTiers: tiers = [], clickhouseStoragePolicy: policy } = config
  if (url != null && !/^https?:/.test(url)) faults.push('CLICKHOUSE_URL: must be an http or https address')
  if (url != null && URL.canParse(url) && (new URL(url).username !== '' || new URL(url).search !== '')) faults.push('CLICKHOUSE_URL: user, password and database have settings of their own')
  if (database !== undefined && !/^[A-Za-z_]\w{0,63}$/.test(database)) faults.push(`CLICKHOUSE_DATABASE: must be 1 to 64 letters, digits and underscores (it is ${JSON.stringify(database)})`)
  if (policy != null && !/^\w{1,64}$/.test(policy)) faults.push(`CLICKHOUSE_STORAGE_POLICY: must be 1 to 64 letters, digits and underscores (it is ${JSON.stringify(policy)})`)
  for (const tier of tiers) if (!/^\w{1,64}:\d{1,5}$/.test(tier)) faults.push(`ARCHIVE_TIERS: must be volume:days,… (it has ${JSON.stringify(tier)})`)
  if (tiers.length > 0 && policy === null) faults.push('ARCHIVE_TIERS: CLICKHOUSE_STORAGE_POLICY must name the policy that has these volumes')
  if (archive === 'on' && url === null && (config.workers ?? 1) > 1) faults.push('ARCHIVE: an embedded archive is of one process: set CLICKHOUSE_URL, or WORKERS to 1')
  if (archive === 'off' && config.role?.includes('archiver') === true) faults.push('ARCHIVE: the role archiver needs it')
  return faults
}

/** What is wrong with an address that the server calls. One with a password in it would stand in logs, and fetch takes none. */
function addressFaults (name: string, text: string | null | undefined): string[] {
  if (text == null) return []
  const { protocol, username, password } = new URL(text)
  if (!/^https?:$/.test(protocol)) return [`${name}: must be an http or https address`]
  return username === '' && password === '' ? [] : [`${name}: must not hold a user name or password`]
}

/** Faults that show only when settings are held together. */
function together (config: Partial<Config>): string[] {
  const faults: string[] = []
  const unknown = config.role?.filter((role) => !ROLES.includes(role)) ?? []
  if (unknown.length > 0 || config.role?.length === 0) faults.push(`ROLE: this version serves ${ROLES.join(', ')}, not ${unknown.join(', ') || 'nothing'}`)
  if ((config.tlsCertFile === null) !== (config.tlsKeyFile === null)) faults.push('TLS_CERT_FILE, TLS_KEY_FILE: set both or neither')
  if (config.tlsCertFile != null && config.tlsKeyFile != null) faults.push(...tlsFaults(config.tlsCertFile, config.tlsKeyFile))
  if (config.jwtSecret != null && Buffer.byteLength(config.jwtSecret) < 32) faults.push('JWT_SECRET: must have 32 bytes at least')
  if (config.apiKeys?.some((key) => key.length < 24) === true) faults.push('API_KEYS: every key must have 24 characters at least')
  const keys = [config.jwtSecret, config.jwtPublicKeyFile, config.jwksUrl].filter((key) => key != null)
  if (keys.length > 1) faults.push('JWT_SECRET, JWT_PUBLIC_KEY_FILE, JWKS_URL: set one of them')
  for (const origin of config.origins ?? []) if (!/^https?:\/\/[^/]+$/.test(origin)) faults.push(`ORIGINS: must be origins such as https://example.org (it has ${JSON.stringify(origin)})`)
  if (config.wsPublicUrl != null && !/^wss?:/.test(config.wsPublicUrl)) faults.push('WS_PUBLIC_URL: must be a ws or wss address')
  try {
    void new TrustedProxies(config.trustedProxies ?? [])
  } catch (error) {
    faults.push(`TRUSTED_PROXIES: ${(error as Error).message}`)
  }
  if (config.port !== undefined && config.port !== 0 && config.port === config.wsPort) faults.push('PORT, WS_PORT: must differ')
  if (config.stopTimeoutS !== undefined && config.drainS !== undefined && config.stopTimeoutS < config.drainS + STOP_BESIDE_DRAIN_S) faults.push(`STOP_TIMEOUT_S, DRAIN_S: the stop must hold the drain and ${STOP_BESIDE_DRAIN_S} seconds more, so at least ${config.drainS + STOP_BESIDE_DRAIN_S}`)
  if ((config.workers ?? 1) > 1 && config.redisUrl === null) faults.push('WORKERS: several processes are one server only with a log that they share: set REDIS_URL, or WORKERS to 1')
  if ((config.messagesPerSecondMax === 0) !== (config.messagesBurstMax === 0)) faults.push('MESSAGES_PER_SECOND_MAX, MESSAGES_BURST_MAX: set both to 0 or neither')
  if (config.redisPrefix !== undefined && !/^[\x21-\x7a]{1,64}$/.test(config.redisPrefix)) faults.push(`REDIS_PREFIX: must be 1 to 64 printable characters without braces or blanks (it is ${JSON.stringify(config.redisPrefix)})`)
  for (const broker of config.kafkaBrokers ?? []) if (!/^[^\s:/,]+:\d{1,5}$|^\[[\da-f:]+\]:\d{1,5}$/i.test(broker)) faults.push(`KAFKA_BROKERS: must be host:port,… (it has ${JSON.stringify(broker)})`)
  const unheard = config.scorers?.filter((scorer) => !['rules', 'http'].includes(scorer)) ?? []
  if (unheard.length > 0) faults.push(`SCORERS: must be a list of rules, http (it has ${unheard.join(', ')})`)
  if (config.scorers?.includes('http') === true && config.scorerUrl === null) faults.push('SCORER_URL: the scorer http needs it')
  for (const [name, url] of [['SCORER_URL', config.scorerUrl], ['HOOK_URL', config.hookUrl], ['JWKS_URL', config.jwksUrl]] as const) faults.push(...addressFaults(name, url))
  if (config.kafkaPrefix != null && !/^[a-zA-Z0-9._-]{1,64}$/.test(config.kafkaPrefix)) faults.push('KAFKA_PREFIX: must be 1 to 64 letters, digits, dots, dashes or underscores')
  if (config.kafkaSasl !== 'none' && (config.kafkaUsername == null || config.kafkaPassword == null)) faults.push('KAFKA_USERNAME, KAFKA_PASSWORD: KAFKA_SASL needs both')
  if (config.role?.includes('relay') === true && config.kafkaBrokers?.length === 0) faults.push('KAFKA_BROKERS: the role relay needs it')
  faults.push(...archiveFaults(config))
  if (config.otlpUrl != null && !/^https?:/.test(config.otlpUrl)) faults.push('OTLP_URL: must be an http or https address')
  return faults
}
