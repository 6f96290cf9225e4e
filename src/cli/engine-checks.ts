// The engines that settings name: whether they let us in, their versions, what their settings would cost us, and how far
// their clocks are from this one. Only reads.

import { Metrics } from '../base/metrics.ts'
import { Redis } from '../base/redis.ts'
import { parseRedisUrl } from '../base/redis-place.ts'
import { reportKafka } from '../feed/kafka-report.ts'
import { connectionFault } from '../replay/faults.ts'
import type { Check, Finding } from './doctor.ts'

const SKEW_WARN_MS = 1000
const SKEW_FAIL_MS = 10_000
const TAG = 'doctor'
const CLICKHOUSE_MS_MAX = 5000

const redis: Check = async ({ config }) => {
  if (config.redisUrl === null) return [{ level: 'ok', about: 'log', says: 'embedded: one process, in DATA_DIR' }]
  const client = new Redis(parseRedisUrl(config.redisUrl), { timeoutMs: config.redisTimeoutMs })
  try {
    await client.check()
    const info = String(await client.call(TAG, 'INFO', ['everything']))
    const line = (name: string): string => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? ''
    return [{ level: 'ok', about: 'Redis', says: `${line('redis_version')}, up for ${line('uptime_in_days')} days` }, ...keeping(line), await clock(client)]
  } catch (error) {
    return [{ level: 'fail', about: 'Redis', says: (error as Error).message, remedy: 'is it running, and does REDIS_URL name it, its user and password?' }]
  } finally {
    client.close()
  }
}

/** Whether what it acknowledges will be there. */
function keeping (line: (name: string) => string): Finding[] {
  const found: Finding[] = []
  if (line('aof_enabled') !== '1') found.push({ level: 'warn', about: 'Redis', says: 'appendonly is off: a restart forgets messages that were answered OK', remedy: 'appendonly yes (deploy/redis/redis.conf)' })
  const [used, most] = [Number(line('used_memory')), Number(line('maxmemory'))]
  if (most === 0) found.push({ level: 'warn', about: 'Redis', says: 'no maxmemory: it grows until the system ends it', remedy: 'maxmemory below what the machine has, with maxmemory-policy noeviction' })
  else found.push(used > most * 0.8 ? { level: 'warn', about: 'Redis', says: `${Math.round(used / most * 100)} % of its memory is used; when it is full messages are refused`, remedy: 'more of it, or keep less: RETENTION_HOURS' } : { level: 'ok', about: 'Redis', says: `${Math.round(used / most * 100)} % of its memory is used` })
  return found
}

async function clock (client: Redis): Promise<Finding> {
  const before = Date.now()
  const [seconds, micros] = await client.call(TAG, 'TIME', []) as Buffer[]
  const here = (before + Date.now()) / 2
  return skewed('Redis', Number(String(seconds)) * 1000 + Number(String(micros)) / 1000 - here)
}

function skewed (whose: string, ms: number): Finding {
  const off = Math.abs(Math.round(ms))
  const finding = { about: 'clocks', says: `${whose}'s is ${off} ms ${ms < 0 ? 'behind' : 'ahead of'} this one` }
  if (off < SKEW_WARN_MS) return { level: 'ok', ...finding }
  return { level: off < SKEW_FAIL_MS ? 'warn' : 'fail', ...finding, remedy: 'run a time service (chrony, systemd-timesyncd) on both: times of messages, tokens and sanctions go by it' }
}

const kafka: Check = async ({ config }) => {
  const { kafkaBrokers: brokers, kafkaPrefix: prefix, kafkaPartitions: partitions, kafkaTls: tls, kafkaUsername: username, kafkaPassword: password } = config
  if (brokers.length === 0) return [{ level: 'ok', about: 'feed', says: 'embedded: consumers of this server read the log itself' }]
  const mechanism = config.kafkaSasl as 'none' | 'plain' | 'scram-sha-256' | 'scram-sha-512'
  const sasl = mechanism === 'none' || username === null || password === null ? null : { mechanism, username, password }
  try {
    const { brokers: count, topics, missing } = await reportKafka({ brokers, prefix, partitions, tls, sasl, metrics: new Metrics(), say () {} })
    return [
      { level: count < 3 ? 'warn' : 'ok', about: 'Kafka', says: `${count} broker${count === 1 ? '' : 's'}`, ...(count < 3 ? { remedy: 'with fewer than three a broker that dies takes the feed along; the chat goes on' } : {}) },
      { level: 'ok', about: 'topics', says: missing.length === 0 ? `${topics.length} are there` : `${topics.length} are there, ${missing.length} are made at the first start` }
    ]
  } catch (error) {
    return [{ level: 'fail', about: 'Kafka', says: connectionFault(error), remedy: 'is it running, does KAFKA_BROKERS name what it advertises, and do KAFKA_TLS and KAFKA_SASL fit?' }]
  }
}

const CLICKHOUSE_MIN = [26, 3] as const

const clickhouse: Check = async ({ config }) => {
  const { archive, clickhouseUrl: url, clickhouseUser: user, clickhousePassword: password } = config
  if (archive === 'off') return [{ level: 'ok', about: 'archive', says: 'off' }]
  if (url === null) return [{ level: 'ok', about: 'archive', says: config.redisUrl === null && config.kafkaBrokers.length === 0 ? 'embedded, where the optional package chdb is installed' : 'none: with Redis or Kafka it takes CLICKHOUSE_URL' }]
  if (config.clickhouseCaFile !== null) return [{ level: 'ok', about: 'archive', says: 'ClickHouse by a certificate of its own (CLICKHOUSE_CA_FILE): the server\'s status tells whether it answers' }]
  try {
    const before = Date.now()
    const answer = await fetch(new URL(`?query=${encodeURIComponent('SELECT version(), toUnixTimestamp64Milli(now64(3)) FORMAT TSV')}`, url), { headers: { 'x-clickhouse-user': user, 'x-clickhouse-key': password }, signal: AbortSignal.timeout(CLICKHOUSE_MS_MAX) })
    const text = (await answer.text()).trim()
    if (!answer.ok) throw new Error(text.slice(0, 200))
    const [version = '', now = ''] = text.split('\t')
    const [major = 0, minor = 0] = version.split('.').map(Number)
    const isFit = major > CLICKHOUSE_MIN[0] || (major === CLICKHOUSE_MIN[0] && minor >= CLICKHOUSE_MIN[1])
    return [{ level: isFit ? 'ok' : 'fail', about: 'ClickHouse', says: version, ...(isFit ? {} : { remedy: `${CLICKHOUSE_MIN.join('.')} or later is needed` }) }, skewed('ClickHouse', Number(now) - (before + Date.now()) / 2)]
  } catch (error) {
    return [{ level: 'fail', about: 'ClickHouse', says: connectionFault(error), remedy: 'is it running, and do CLICKHOUSE_URL, CLICKHOUSE_USER and CLICKHOUSE_PASSWORD fit? The chat goes on; the archive waits' }]
  }
}

export const engineChecks: readonly Check[] = [redis, kafka, clickhouse]
