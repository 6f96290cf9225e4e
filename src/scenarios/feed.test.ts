// Stories of the feed with the real program and a real broker: a real log is judged while it is replayed, and the broker
// goes away in the middle; the program is killed; two processes on one Redis share the work and one of them dies. Every
// accepted message reaches consumers at least once, in order per room, effects happen once, and chat is none the slower.

import t, { type Test } from 'tap'
import { IN, OUT } from '../../proto/ops.ts'
import { KafkaServer } from '../../deploy/services/kafka.ts'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutKafka, withoutRedis } from '../../deploy/services/services.ts'
import { Metrics } from '../base/metrics.ts'
import { Gathered } from '../feed/feed.suite.ts'
import { KafkaFeed } from '../feed/kafka-feed.ts'
import { jsonServer } from '../moderation/json-server.suite.ts'
import { replay } from '../replay/replay.ts'
import { isWhole } from '../replay/report.ts'
import { signedTokens } from '../replay/tokens.ts'
import { chatLog } from './chat-log.ts'
import { startCollector } from './collector.ts'
import { API_KEY, eventually, freePort, OPEN_LIMITS, Program, SECRET, tokenOf } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { measured, sized } from './size.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(sized(400_000, 900_000))

const skip = withoutKafka()
const ROOM = 'stage'

/** A consumer beside the program: all messages and audit rows that reach Kafka. */
async function listen (t: Test, broker: string): Promise<{ messages: Gathered, audit: Gathered }> {
  const feed = new KafkaFeed({ brokers: [broker], prefix: 'uproar.', partitions: 4, tls: false, sasl: null, metrics: new Metrics(), say: () => {} })
  t.teardown(() => feed.close())
  const [messages, audit] = [new Gathered(), new Gathered()]
  const begin = (name: string, topic: 'messages' | 'audit', into: Gathered) => feed.consume({ name, topics: [topic], from: 'beginning', handle: async (batch) => into.take(batch) })
  await begin('story', 'messages', messages)
  await begin('story-audit', 'audit', audit)
  return { messages, audit }
}

/** Somebody who speaks five times a second: how long each took to its OK, by when it was sent. */
class Prober {
  readonly took: { readonly at: number, readonly ms: number }[] = []
  readonly #viewer: Viewer
  #isOver = false
  #running: Promise<void> = Promise.resolve()

  constructor (viewer: Viewer) { this.#viewer = viewer }

  start (): void {
    this.#running = (async () => {
      for (let i = 0; !this.#isOver; i++) {
        const at = performance.now()
        await this.#viewer.ask(IN.SEND, 'aside', `probe-${i}`, 0, `probe ${i}`, null)
        this.took.push({ at, ms: performance.now() - at })
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    })()
  }

  stop (): Promise<void> {
    this.#isOver = true
    return this.#running
  }

  between (from: number, to: number): { readonly count: number, readonly p50: number, readonly p99: number } {
    const ms = this.took.filter(({ at }) => at >= from && at < to).map((each) => each.ms).sort((a, b) => a - b)
    return { count: ms.length, p50: ms[ms.length >> 1] ?? NaN, p99: ms[Math.floor(ms.length * 0.99)] ?? NaN }
  }
}

t.test('a real log is judged while the broker goes and comes back', { skip }, async (t) => {
  const server = await KafkaServer.start(t)
  const scorer = await jsonServer(t)
  // Every fiftieth message of the stage is bad, whatever it says.
  const isBad = (seq: number): boolean => seq % 50 === 0
  scorer.answer = ({ messages }) => ({ scores: messages.map(({ room, seq }: { room: string, seq: number }) => room === ROOM && isBad(seq) ? { score: 0.95, label: 'spam', why: 'the fiftieth' } : null) })
  const program = await Program.start(t, { ...OPEN_LIMITS, KAFKA_BROKERS: server.broker, SCORERS: 'http', SCORER_URL: scorer.url, SCORER_TIMEOUT_MS: '10000' })
  const { messages, audit } = await listen(t, server.broker)
  const warm = await Viewer.connect(t, program.ws, tokenOf('warm'))
  await warm.join('warm-up')
  // The scorer begins with what comes once its place is registered.
  await eventually('the scorer', async () => {
    await warm.say('warm-up', `is it on? ${Math.random()}`)
    return scorer.asked.length > 0 || null
  }, 60_000)
  const speaker = await Viewer.connect(t, program.ws, tokenOf('prober'))
  await speaker.join('aside')
  const probe = new Prober(speaker)
  probe.start()

  const log = chatLog()
  t.comment(log.name)
  const accepted = new Map<number, number>()
  const limit = sized(1500, 28_000)
  const marks: Record<'start' | 'stopped' | 'back', number> = { start: performance.now(), stopped: 0, back: 0 }
  const outage = async (): Promise<void> => {
    await eventually('a third of the log', () => accepted.size >= limit / 3 || null, 600_000)
    marks.stopped = performance.now()
    await server.stop()
    await new Promise((resolve) => setTimeout(resolve, sized(5000, 60_000)))
    marks.back = performance.now()
    await server.launch()
  }
  const [report] = await Promise.all([
    replay({ lines: log.lines(), file: log.name, url: program.ws, room: ROOM, tokens: signedTokens(SECRET), speed: 10, connections: 200, limit, onAccepted: (line, { seq }) => accepted.set(line, seq) }),
    outage()
  ])
  const over = performance.now()
  t.ok(isWhole(report), 'viewers had everything')
  t.ok(accepted.size > limit * 0.9)
  const head = Math.max(...accepted.values())
  const ofStage = (): number[] => messages.records.filter(({ room }) => room === ROOM).map(({ seq }) => seq)
  const bad = [...accepted.values()].filter(isBad)
  const removals = (): number[] => audit.records.filter(({ value }) => value['action'] === 'remove').map(({ value }) => (value['args'] as { seq: number }).seq)
  await eventually('the whole log in Kafka', () => ofStage().length >= head || null, 120_000)
  await eventually('every verdict', () => new Set(removals()).size >= bad.length || null, 120_000)
  await probe.stop()
  t.equal(messages.disorder, 0, 'in order per room, without a hole')
  const there = new Set(ofStage())
  const missing = [...accepted.values()].filter((seq) => !there.has(seq))
  t.same(missing, [], 'every accepted message reached the consumer')
  t.same(removals().sort((a, b) => a - b), bad.sort((a, b) => a - b), 'every verdict took effect, once')
  const history = await wholeHistory(program, ROOM)
  t.same(history.filter(({ op, seq }) => op === 'message' && isBad(seq)).length, 0, 'and what was judged bad is gone')
  const before = probe.between(marks.start, marks.stopped)
  const meanwhile = probe.between(marks.stopped, marks.back)
  t.ok(before.count > 5 && meanwhile.count > 5)
  t.ok(meanwhile.p50 < before.p50 * 2 + 20, `chat is none the slower: p50 ${before.p50.toFixed(1)} ms before, ${meanwhile.p50.toFixed(1)} ms meanwhile`)
  t.same(program.faults, [], 'and nothing failed in the program')
  measured(t, `${accepted.size} of ${limit} lines at 10×, broker away for ${((marks.back - marks.stopped) / 1000).toFixed(0)} s: SEND→OK p50 ${before.p50.toFixed(1)} and p99 ${before.p99.toFixed(1)} ms before, ${meanwhile.p50.toFixed(1)} and ${meanwhile.p99.toFixed(1)} ms meanwhile; ` +
    `${messages.records.length} records in Kafka (${messages.repeated} repeated), ${bad.length} verdicts once each; replayed in ${((over - marks.start) / 1000).toFixed(0)} s`)
})

t.test('killed in the middle: what was accepted still reaches Kafka', { skip }, async (t) => {
  const server = await KafkaServer.start(t)
  const program = await Program.start(t, { ...OPEN_LIMITS, WS_PORT: await freePort(), PORT: await freePort(), KAFKA_BROKERS: server.broker })
  const { messages } = await listen(t, server.broker)
  const accepted = new Set<string>()
  for (let life = 0; life < 3; life++) {
    const speaker = await Viewer.connect(t, program.ws, tokenOf('ann'))
    await speaker.join(ROOM)
    for (let i = 0; i < 100; i++) {
      const text = `life ${life} line ${i}`
      const [op] = await speaker.say(ROOM, text)
      if (op === OUT.OK) accepted.add(text)
    }
    await program.kill9()
    await program.launch()
  }
  t.equal(accepted.size, 300)
  await eventually('everything', () => [...accepted].every((text) => messages.bodies.includes(text)) || null, 60_000)
  t.equal(messages.disorder, 0)
})

t.test('two processes on one Redis share the relay, and one dies', { skip: skip || withoutRedis() }, async (t) => {
  const [server, redis] = await Promise.all([KafkaServer.start(t), RedisServer.start(t)])
  const collector = await startCollector(t)
  const env = { ...OPEN_LIMITS, REDIS_URL: redis.url, KAFKA_BROKERS: server.broker, OTLP_URL: collector.url, TRACE_SAMPLE: '1' }
  const front = await Program.start(t, { ...env, ROLE: 'gateway,api' })
  const backs = await Promise.all([0, 1].map(() => Program.start(t, { ...env, ROLE: 'api,relay,moderator,notifier' })))
  const { messages } = await listen(t, server.broker)
  const speaker = await Viewer.connect(t, front.ws, tokenOf('ann'))
  const rooms = Array.from({ length: 16 }, (_, i) => `room${i}`)
  for (const room of rooms) await speaker.join(room)
  const accepted = new Set<string>()
  const talk = async (label: string): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      for (const room of rooms) {
        const text = `${label} ${i} in ${room}`
        const [op] = await speaker.say(room, text)
        if (op === OUT.OK) accepted.add(text)
      }
    }
  }
  const relayed = async (program: Program): Promise<number> => Number(/^uproar_feed_records_total\{consumer="relay"\} (\d+)/m.exec((await program.request('GET', '/metrics', { token: API_KEY })).text)?.[1] ?? 0)
  const all = (): true | null => [...accepted].every((text) => messages.bodies.includes(text)) || null
  await eventually('both relay', async () => {
    await talk(`round ${Math.random()}`)
    const counts = await Promise.all(backs.map(relayed))
    return counts.every((count) => count > 0) || null
  }, 60_000)
  await eventually('all is there', all, 60_000)
  await eventually('a trace over processes, Redis and Kafka', async () => {
    // The notifier begins with what comes once it has its place.
    await talk(`traced ${Math.random()}`)
    const root = collector.spans.find(({ name, traceId, instance }) => name === 'accept' && ['feed relay', 'feed notifier'].every((consumer) =>
      collector.spans.some((span) => span.name === consumer && span.traceId === traceId && span.instance !== instance)))
    return root !== undefined && collector.spans.every((span) => span.traceId !== root.traceId || span === root || span.parentSpanId === root.spanId) || null
  }, 60_000)
  await backs[0]?.kill9()
  await talk('after')
  await eventually('the other has taken over', all, 60_000)
  t.equal(messages.disorder, 0, 'in order per room')
  t.ok(accepted.size >= 160)
})
