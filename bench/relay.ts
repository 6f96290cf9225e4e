// The relay: how many messages a second does it bring from the room log into Kafka, and how soon has it caught up with an
// outage of ten minutes at 1,000 messages a second? A log that holds such an outage is relayed whole, to a real broker on
// the same machine; a consumer then reads the topic and must find every message once, in order per room.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packTail } from '../proto/entry.ts'
import { OUT } from '../proto/ops.ts'
import { KafkaServer } from '../deploy/services/kafka.ts'
import { RedisServer } from '../deploy/services/redis.ts'
import { systemClock } from '../src/base/clock.ts'
import { Metrics } from '../src/base/metrics.ts'
import { parseRedisUrl } from '../src/base/redis-place.ts'
import { Redis } from '../src/base/redis.ts'
import { openStore } from '../src/base/store.ts'
import { KafkaFeed } from '../src/feed/kafka-feed.ts'
import { LogFeed, type LogFeedOptions } from '../src/feed/log-feed.ts'
import { Relay } from '../src/feed/relay.ts'
import { createLmdbLog } from '../src/log/lmdb-log.ts'
import { openRedisLog } from '../src/log/redis-log.ts'
import { sleep } from './delivery.ts'
import { spread, spreadText, type Bench, type Finding, type Row } from './row.ts'

const OUTAGE = { seconds: 600, perSecond: 1000 } as const
const ROOMS = 200
const UNDER_WAY = 2000
const PER_SECOND_MIN = 50_000
const CATCH_UP_S_MAX = 60
const DEADLINE_MS = 300_000
const KEPT = { hours: 168, entriesMax: 100_000_000, mbMax: 100_000 } as const

type SourceLog = LogFeedOptions['log']
interface Source { readonly name: string, open (ends: Ends, metrics: Metrics): Promise<SourceLog> }
interface Relayed { readonly perSecond: number, readonly seconds: number, readonly cpuUs: number, readonly readPerSecond: number }

/** What is to be ended, in reverse order. */
class Ends {
  readonly #all: (() => unknown)[] = []
  teardown (end: () => unknown): void { this.#all.push(end) }
  async end (): Promise<void> { for (const end of this.#all.reverse()) await end() }
}

const EMBEDDED: Source = {
  name: 'the embedded log',
  async open (ends, metrics) {
    const dir = mkdtempSync(join(tmpdir(), 'uproar-bench-'))
    ends.teardown(() => rmSync(dir, { recursive: true, force: true }))
    const store = await openStore(dir)
    ends.teardown(() => store.close())
    const log = createLmdbLog(store, { clock: systemClock, metrics, durability: 'commit', queueMax: 20_000, dedupMinutes: 1, retention: KEPT })
    ends.teardown(() => log.close())
    return log
  }
}

const SHARED: Source = {
  name: 'Redis, 16 shards',
  async open (ends, metrics) {
    const server = await RedisServer.start(ends)
    const redis = new Redis(parseRedisUrl(server.url), { timeoutMs: 5000 })
    ends.teardown(() => redis.close())
    const log = await openRedisLog(redis, { clock: systemClock, metrics, prefix: 'bench:', shards: 16, queueMax: 20_000, dedupMinutes: 1, retention: KEPT, stream: { minutes: 60, batchesMax: 1_000_000 } })
    ends.teardown(() => log.close())
    return log
  }
}

export const relay: Row = {
  name: 'relay',
  about: 'from the room log into Kafka: messages a second, and catching up with an outage',
  needs: 'a Redis server and a Kafka broker',
  roundsMax: 1,
  async run (bench: Bench): Promise<Finding[]> {
    const count = OUTAGE.seconds * OUTAGE.perSecond / (bench.isQuick ? 10 : 1)
    const findings: Finding[] = []
    for (const source of [EMBEDDED, SHARED]) {
      const rounds: Relayed[] = []
      for (let round = 1; round <= bench.rounds; round++) {
        rounds.push(await once(source, count))
        const { perSecond, seconds, cpuUs, readPerSecond } = rounds.at(-1) as Relayed
        bench.progress(`${source.name}, round ${round}: ${Math.round(perSecond)} a second, all in ${seconds.toFixed(1)} s, ${cpuUs.toFixed(1)} µs of CPU each; read back at ${Math.round(readPerSecond)} a second`)
      }
      findings.push(...found(source, rounds, count))
    }
    return findings
  }
}

function found (source: Source, rounds: readonly Relayed[], count: number): Finding[] {
  const figures = {
    perSecond: spread(rounds.map((each) => each.perSecond)), seconds: spread(rounds.map((each) => each.seconds)),
    cpuUs: spread(rounds.map((each) => each.cpuUs)), readPerSecond: spread(rounds.map((each) => each.readPerSecond))
  }
  const conditions = `${count} messages of ${ROOMS} rooms that wait in ${source.name}; one relay, one broker (acks all), log and broker on the same two cores; every message read back from Kafka once, in order per room`
  return [
    {
      question: `Relayed into Kafka from ${source.name}, messages a second`, result: `${spreadText(figures.perSecond)} (${spreadText(figures.cpuUs, 1)} µs of CPU each)`, conditions,
      target: `at least ${PER_SECOND_MIN}`, isMet: figures.perSecond.median >= PER_SECOND_MIN, figures
    },
    {
      question: `Catching up with ${count / OUTAGE.perSecond} s of outage at ${OUTAGE.perSecond} messages a second, from ${source.name}`, result: `${spreadText(figures.seconds, 1)} s`, conditions,
      target: `under ${CATCH_UP_S_MAX} s`, isMet: figures.seconds.median < CATCH_UP_S_MAX, figures
    }
  ]
}

async function once (source: Source, count: number): Promise<Relayed> {
  const ends = new Ends()
  try {
    const metrics = new Metrics()
    const server = await KafkaServer.start(ends)
    const log = await source.open(ends, metrics)
    await fill(log, count)
    const from = new LogFeed({ log, clock: systemClock, metrics, say: () => {} })
    ends.teardown(() => from.close())
    const to = new KafkaFeed({ brokers: [server.broker], prefix: 'bench.', partitions: 12, tls: false, sasl: null, metrics, say: () => {} })
    ends.teardown(() => to.close())
    await to.send('notifications', [{ room: 'r', id: 'warm', value: {} }])
    const bringer = new Relay({ from, to })
    const cpu = process.cpuUsage()
    const start = performance.now()
    await bringer.start()
    await until('all is relayed', () => metrics.value('uproar_feed_records_total', 'relay') >= count)
    const seconds = (performance.now() - start) / 1000
    const { user, system } = process.cpuUsage(cpu)
    const readPerSecond = await readBack(to, count)
    await bringer.stop()
    return { perSecond: count / seconds, seconds, cpuUs: (user + system) / count, readPerSecond }
  } finally {
    await ends.end()
  }
}

async function fill (log: SourceLog, count: number): Promise<void> {
  const user = ['user-1234', 'User 1234', 1]
  let next = 0
  const author = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) {
      await log.publish(`room-${n % ROOMS}`, { op: OUT.MESSAGE, tail: packTail([user, 0, `message ${n}, of some sixty characters as they are in a chat`, null]), author: 'user-1234', nonce: null })
    }
  }
  await Promise.all(Array.from({ length: UNDER_WAY }, author))
}

/** Messages a second; throws when one is missing, repeated or out of order. */
async function readBack (feed: KafkaFeed, count: number): Promise<number> {
  const last = new Map<string, number>()
  let read = 0
  let fault = ''
  const start = performance.now()
  const consumer = await feed.consume({
    name: 'bench', topics: ['messages'], from: 'beginning', isParallel: true,
    handle: async (batch) => {
      for (const { room, seq } of batch) {
        if (seq !== (last.get(room) ?? 0) + 1) fault ||= `${room} has ${seq} after ${last.get(room) ?? 0}`
        last.set(room, seq)
        read++
      }
    }
  })
  await until('all is read back', () => read >= count || fault !== '')
  const seconds = (performance.now() - start) / 1000
  await consumer.stop()
  if (fault !== '' || read !== count) throw new Error(`of ${count} messages ${read} were read back; ${fault}`)
  return count / seconds
}

async function until (what: string, holds: () => boolean): Promise<void> {
  for (const end = performance.now() + DEADLINE_MS; !holds();) {
    if (performance.now() > end) throw new Error(`waited ${DEADLINE_MS} ms in vain until ${what}`)
    await sleep(5)
  }
}
