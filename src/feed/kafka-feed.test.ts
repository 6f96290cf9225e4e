// The feed in Kafka with the relay before it, held to the suite of its face on a real broker, and what is its own: schemas,
// a broker that stops and freezes, members that share a consumer, records that others wrote, secrets that stay secret.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Kafka } from 'kafkajs'
import { KafkaServer } from '../../deploy/services/kafka.ts'
import { withoutKafka } from '../../deploy/services/services.ts'
import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import { feedSuite, Gathered, said, until, type FeedEngine } from './feed.suite.ts'
import { KafkaFeed } from './kafka-feed.ts'
import { LogFeed } from './log-feed.ts'
import { Relay } from './relay.ts'
import { standBy } from './standby.ts'

t.setTimeout(300_000)

const skip = withoutKafka()
const root = mkdtempSync(join(tmpdir(), 'uproar-feed-'))
t.teardown(() => rmSync(root, { recursive: true, force: true }))
let places = 0

const silent = (): void => {}
const retention = { hours: 1, entriesMax: 1_000_000, mbMax: 1000 } as const

interface Relayed extends FeedEngine { readonly feed: KafkaFeed, readonly prefix: string, readonly relayLag: () => number }

const opener = (broker: string) => async (place: unknown = `test-${places++}.`): Promise<Relayed> => {
  const prefix = place as string
  const metrics = new Metrics()
  const store = await openStore(join(root, prefix))
  const log = createLmdbLog(store, { clock: systemClock, metrics, durability: 'commit', queueMax: 20_000, retention, dedupMinutes: 10 })
  const source = new LogFeed({ log, clock: systemClock, metrics, say: silent })
  const feed = new KafkaFeed({ brokers: [broker], prefix, partitions: 4, tls: false, sasl: null, metrics, say: silent })
  const relay = new Relay({ from: source, to: feed })
  await relay.start()
  return {
    log, feed, metrics, place, prefix,
    relayLag: () => metrics.value('uproar_feed_lag_records', 'relay'),
    async stop () {
      await relay.stop()
      await feed.close()
      await source.close()
      await log.close()
      await store.close()
    }
  }
}

t.test('with a broker', { skip }, async (t) => {
  const server = await KafkaServer.start(t)
  const open = opener(server.broker)

  await t.test('the contract', (t) => feedSuite(t, open))

  await t.test('what others wrote wrongly is put aside, and what is right goes on', async (t) => {
    const engine = await open()
    t.teardown(() => engine.stop())
    const actions = new Gathered()
    await engine.feed.consume({ name: 'actions', topics: ['actions'], from: 'beginning', handle: async (batch) => actions.take(batch) })
    const dead = new Gathered()
    await engine.feed.consume({ name: 'letters', topics: ['actions.dead'], from: 'beginning', handle: async (batch) => dead.take(batch) })
    const producer = new Kafka({ brokers: [server.broker], logLevel: 0 }).producer({ createPartitioner: () => () => 0 })
    await producer.connect()
    const values = ['not json', '[]', 'null', '{"v":2,"room":"r"}', '{"v":1}', null, '{"v":1,"room":"r","id":"1"}']
    await producer.send({ topic: `${engine.prefix}actions`, messages: values.map((value) => ({ key: 'r', value })) })
    await producer.disconnect()
    await until('the good one is there', () => actions.records.length === 1)
    await until('the others are put aside', () => dead.records.length === values.length - 1)
    t.match(actions.records[0], { topic: 'actions', room: 'r', value: { id: '1' } })
    t.match(dead.records[0]?.value, { consumer: 'actions', topic: 'actions', reason: 'the value is not JSON', record: { text: 'not json' } })
  })

  await t.test('two members share a consumer, and one that leaves is replaced', async (t) => {
    const one = await open()
    t.teardown(() => one.stop())
    const metrics = new Metrics()
    const other = new KafkaFeed({ brokers: [server.broker], prefix: one.prefix, partitions: 4, tls: false, sasl: null, metrics, say: silent })
    const seen = [new Gathered(), new Gathered()] as const
    const rooms = (gathered: Gathered): Set<string> => new Set(gathered.records.map(({ room }) => room))
    await one.feed.consume({ name: 'shared', topics: ['messages'], from: 'beginning', handle: async (batch) => seen[0].take(batch) })
    await other.consume({ name: 'shared', topics: ['messages'], from: 'beginning', handle: async (batch) => seen[1].take(batch) })
    let sent = 0
    const say = async (): Promise<void> => { for (let i = 0; i < 20; i++) await one.log.publish(`r${i}`, said(`m${sent++}`)) }
    const all = (): Set<string> => new Set([...seen[0].bodies, ...seen[1].bodies])
    for (const end = performance.now() + 30_000; (rooms(seen[0]).size === 0 || rooms(seen[1]).size === 0) && performance.now() < end;) {
      await say()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    t.ok(rooms(seen[0]).size > 0 && rooms(seen[1]).size > 0, 'both have some of the rooms')
    await until('all has come', () => all().size === sent)
    await other.close()
    await say()
    await until('the one that is left has the rest', () => all().size === sent)
    t.equal(seen[0].disorder, 0)
  })

  await t.test('the broker stops and freezes: lag, and nothing lost or out of order', async (t) => {
    const engine = await open()
    t.teardown(() => engine.stop())
    const gathered = new Gathered()
    await engine.feed.consume({ name: 'gatherer', topics: ['messages'], from: 'beginning', handle: async (batch) => gathered.take(batch) })
    let sent = 0
    const say = async (count: number): Promise<number> => {
      let worst = 0
      for (let i = 0; i < count; i++) {
        const start = performance.now()
        await engine.log.publish(`r${i % 3}`, said(`m${sent++}`))
        worst = Math.max(worst, performance.now() - start)
      }
      return worst
    }
    await say(100)
    await until('the first have come', () => gathered.bodies.length === 100)
    await server.stop()
    await say(500)
    await until('the lag is seen', () => engine.relayLag() >= 500)
    await server.launch()
    await until('what came meanwhile has come', () => new Set(gathered.bodies).size === 600, 60_000)
    await until('the lag is gone', () => engine.relayLag() === 0)
    server.freeze()
    await say(100)
    await until('a deadline passed', () => engine.metrics.value('uproar_kafka_failures_total', 'produce') >= 1, 60_000)
    server.thaw()
    await until('all has come', () => new Set(gathered.bodies).size === 700, 60_000)
    t.equal(gathered.disorder, 0, 'in order per room')
    await server.stop()
    const late = new Gathered()
    const standing = standBy(engine.feed, { name: 'late', topics: ['messages'], from: 'beginning', handle: async (batch) => late.take(batch) }, silent)
    const failures = (): number => engine.metrics.value('uproar_kafka_failures_total', 'join')
    await until('it was tried in vain', () => failures() > 0)
    await server.launch()
    await until('who stood by has all', () => late.bodies.length === 700, 60_000)
    await standing.stop()
    await server.stop()
    const start = performance.now()
    await engine.feed.close()
    const ms = performance.now() - start
    t.ok(ms < 20_000, `closing without a broker took ${ms.toFixed(0)} ms`)
    await server.launch()
    t.ok(engine.metrics.value('uproar_feed_failures_total', 'relay') > 0, 'the failures were counted')
  })
})

t.test('without a broker nothing hangs, and words say no secret', { skip }, async (t) => {
  const said: string[] = []
  const metrics = new Metrics()
  const feed = new KafkaFeed({
    brokers: ['127.0.0.1:1'], prefix: 'x.', partitions: 1, tls: false, sasl: { mechanism: 'plain', username: 'someone', password: 'a password' }, metrics,
    say: (level, message, details) => said.push(JSON.stringify([level, message, details]))
  })
  await t.rejects(feed.consume({ name: 'c', topics: ['messages'], from: 'now', handle: async () => {} }), { code: 'unavailable' })
  await t.rejects(feed.send('notifications', [{ room: 'r', id: '1', value: {} }]), { code: 'unavailable' })
  await feed.close()
  await t.rejects(feed.send('notifications', [{ room: 'r', id: '1', value: {} }]), { code: 'unavailable' }, 'closed')
  t.ok(said.length > 0)
  t.notMatch(said.join('\n'), /a password/)
})
