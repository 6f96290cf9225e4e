// One consumer of Kafka: a group under the consumer's name, whose members part the partitions among themselves. Offsets
// are committed only after the handler resolved; a room is in one partition, so its order is Kafka's.
//
//   fetch ─▶ records (those that came before are left out) ─▶ courier ─▶ commit ─▶ fetch …
//   membership lost meanwhile ─▶ nothing is committed, whoever has the partition now begins where the last commit is
//   crashed for good ─▶ a new one, after a while
//
// Bounds: one batch in hand a partition (four at once when the consumer is parallel), ROOMS_MAX places a consumer.

import type { Admin, Consumer as GroupMember, EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs'
import { BoundedMap } from '../base/bounded.ts'
import { systemClock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import { Courier } from './courier.ts'
import { BATCH_MAX, type ConsumerOptions, type FeedRecord, type FeedTopic, type Lag } from './feed.ts'
import { topicName, within, type KafkaOptions } from './kafka-client.ts'

const SESSION_MS = 10_000
const REBALANCE_MS = 15_000
const HEARTBEAT_MS = 2000
const WAIT_MS = 200
const RESTART_MS = 1000
const ROOMS_MAX = 50_000
const PARALLEL = 4
const NO_LEADER: readonly string[] = ['LEADER_NOT_AVAILABLE', 'NOT_LEADER_FOR_PARTITION']
const LEADER_TRIES = 20
const LEADER_WAIT_MS = 250

interface Place { readonly epoch: string, readonly seq: number }

export class KafkaConsumer {
  readonly #kafka: Kafka
  readonly #feed: KafkaOptions
  readonly #options: ConsumerOptions
  readonly #courier: Courier
  readonly #topics: ReadonlyMap<string, FeedTopic>
  /** By topic and room, the last record that was handled. */
  readonly #handled = new BoundedMap<string, Place>(ROOMS_MAX)
  /** By partition, records behind. */
  readonly #behind = new Map<string, number>()
  /** By partition, the time of the oldest record in hand. */
  readonly #inHand = new Map<string, number>()
  #member: GroupMember | null = null
  #isStopped = false
  #restart: NodeJS.Timeout | null = null

  constructor (kafka: Kafka, feed: KafkaOptions, options: ConsumerOptions, bury: (record: FeedRecord, reason: string) => Promise<void>) {
    this.#kafka = kafka
    this.#feed = feed
    this.#options = options
    this.#topics = new Map(options.topics.map((topic) => [topicName(feed.prefix, topic), topic]))
    this.#courier = new Courier({ consumer: options.name, metrics: feed.metrics, say: feed.say, traces: feed.traces, handle: (batch) => options.handle(batch), bury })
  }

  /** Rejects with AppError `unavailable` when the group's place cannot be registered, or it cannot be joined. */
  async start (): Promise<void> {
    if (this.#options.from === 'now') await this.#register()
    await this.#join()
  }

  lag (): Lag {
    const records = [...this.#behind.values()].reduce((sum, count) => sum + count, 0)
    const oldest = Math.min(...this.#inHand.values())
    return { records, seconds: oldest === Infinity ? 0 : Math.max(0, Date.now() - oldest) / 1000 }
  }

  async stop (): Promise<void> {
    this.#isStopped = true
    this.#courier.stop()
    if (this.#restart !== null) clearTimeout(this.#restart)
    await this.#leave()
  }

  get #group (): string { return `${this.#feed.prefix}${this.#options.name}` }

  /** A group that is new begins at the end of every topic, durably, before anything else is added. */
  async #register (): Promise<void> {
    const { metrics } = this.#feed
    const admin = this.#kafka.admin()
    try {
      await within(admin.connect(), metrics, 'register')
      const topics = [...this.#topics.keys()]
      const known = await within(admin.fetchOffsets({ groupId: this.#group, topics }), metrics, 'register')
      if (known.some(({ partitions }) => partitions.some(({ offset }) => offset !== '-1'))) return
      for (const topic of topics) {
        const ends = await this.#endsOf(admin, topic)
        await within(admin.setOffsets({ groupId: this.#group, topic, partitions: ends.map(({ partition, high }) => ({ partition, offset: high })) }), metrics, 'register')
      }
    } finally {
      await admin.disconnect().catch(() => {
        // It ends with the process.
      })
    }
  }

  /** Where a topic's partitions end. One that was made a moment ago may have no leader yet, and the client does not ask again. */
  async #endsOf (admin: Admin, topic: string): Promise<{ readonly partition: number, readonly high: string }[]> {
    for (let tries = 1; ; tries++) {
      try {
        return await within(admin.fetchTopicOffsets(topic), this.#feed.metrics, 'register')
      } catch (error) {
        const { type } = (error as Error).cause as { type?: string }
        if (tries === LEADER_TRIES || type === undefined || !NO_LEADER.includes(type)) throw error
        await new Promise((resolve) => setTimeout(resolve, LEADER_WAIT_MS))
      }
    }
  }

  async #join (): Promise<void> {
    const { metrics } = this.#feed
    const member = this.#kafka.consumer({
      groupId: this.#group, sessionTimeout: SESSION_MS, rebalanceTimeout: REBALANCE_MS, heartbeatInterval: HEARTBEAT_MS, maxWaitTimeInMs: WAIT_MS, allowAutoTopicCreation: false,
      retry: { retries: 3, initialRetryTime: 200, maxRetryTime: 2000, restartOnFailure: async () => false }
    })
    this.#member = member
    member.on(member.events.CRASH, ({ payload }) => this.#crashed(member, payload.error))
    try {
      await within(member.connect(), metrics, 'join')
      await within(member.subscribe({ topics: [...this.#topics.keys()], fromBeginning: true }), metrics, 'join')
      await within(member.run({
        autoCommit: false, eachBatchAutoResolve: false, partitionsConsumedConcurrently: this.#options.isParallel === true ? PARALLEL : 1,
        eachBatch: (payload) => this.#each(member, payload)
      }), metrics, 'join')
    } catch (error) {
      await this.#leave()
      throw error
    }
  }

  #crashed (member: GroupMember, error: Error): void {
    if (this.#isStopped || this.#member !== member) return
    this.#feed.metrics.add('uproar_kafka_failures_total', 1, 'consume')
    this.#feed.say('warn', 'a consumer lost Kafka and begins again', { consumer: this.#options.name, reason: error.message })
    this.#behind.clear()
    this.#beginAgain()
  }

  #beginAgain (): void {
    if (this.#isStopped) return
    this.#restart = setTimeout(() => {
      this.#leave().then(() => this.#isStopped ? undefined : this.#join()).catch(() => this.#beginAgain())
    }, RESTART_MS)
  }

  async #leave (): Promise<void> {
    const member = this.#member
    this.#member = null
    if (member === null) return
    await within(member.disconnect(), this.#feed.metrics, 'leave').catch(() => {
      // The group misses it by itself.
    })
  }

  async #each (member: GroupMember, payload: EachBatchPayload): Promise<void> {
    const { batch: { topic, partition, messages, highWatermark }, resolveOffset, heartbeat, isRunning, isStale } = payload
    const { batchMax = BATCH_MAX } = this.#options
    const at = `${topic}/${partition}`
    let isMember = true
    const beat = systemClock.every(HEARTBEAT_MS, () => { heartbeat().catch(() => { isMember = false }) })
    const isOver = (): boolean => !isMember || !isRunning() || isStale()
    try {
      for (let from = 0; from < messages.length; from += batchMax) {
        const part = messages.slice(from, from + batchMax)
        const last = part.at(-1) as KafkaMessage
        this.#behind.set(at, Number(BigInt(highWatermark) - BigInt((part[0] as KafkaMessage).offset)))
        this.#inHand.set(at, Number((part[0] as KafkaMessage).timestamp))
        if (isOver() || !await this.#handle(topic, partition, part, isOver)) return
        resolveOffset(last.offset)
        await member.commitOffsets([{ topic, partition, offset: String(BigInt(last.offset) + 1n) }])
        this.#behind.set(at, Number(BigInt(highWatermark) - BigInt(last.offset) - 1n))
        await heartbeat()
      }
    } finally {
      beat.cancel()
      this.#inHand.delete(at)
    }
  }

  async #handle (topicFull: string, partition: number, messages: readonly KafkaMessage[], isOver: () => boolean): Promise<boolean> {
    const topic = this.#topics.get(topicFull) as FeedTopic
    const batch: FeedRecord[] = []
    const places = new Map<string, Place>()
    for (const message of messages) {
      const read = readMessage(topic, partition, message)
      if (read instanceof AppError) {
        if (!await this.#courier.bury(unread(topic, partition, message), read.message)) return false
        continue
      }
      const key = `${topic} ${read.room}`
      const before = places.get(key) ?? this.#handled.get(key)
      if (before?.epoch === read.epoch && read.seq <= before.seq) continue
      places.set(key, read)
      batch.push(read)
    }
    if (!await this.#courier.deliver(batch, isOver)) return false
    for (const [key, { epoch, seq }] of places) this.#handled.set(key, { epoch, seq })
    return true
  }
}

/** A record as it came; an AppError `bad_request` when it is none. Nothing about it is known to be right. */
function readMessage (topic: FeedTopic, partition: number, message: KafkaMessage): FeedRecord | AppError {
  let value: unknown
  try {
    value = JSON.parse(message.value?.toString() ?? '')
  } catch {
    return new AppError('bad_request', 'the value is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return new AppError('bad_request', 'the value is not an object')
  const { v, room, epoch, seq, ts } = value as Record<string, unknown>
  if (v !== 1) return new AppError('bad_request', `v is ${JSON.stringify(v)?.slice(0, 20)}; this version reads 1`)
  if (typeof room !== 'string') return new AppError('bad_request', 'room is not a text')
  const known = value as Record<string, unknown>
  // What programs send themselves has its place in the log of Kafka alone.
  if (topic !== 'messages' && topic !== 'audit') return { topic, room, epoch: `kafka/${partition}`, seq: Number(message.offset) + 1, ts: Number(message.timestamp), value: known }
  if (typeof epoch !== 'string' || !Number.isSafeInteger(seq) || !Number.isSafeInteger(ts)) return new AppError('bad_request', 'epoch, seq and ts do not say where it stands')
  return { topic, room, epoch, seq: seq as number, ts: ts as number, value: known }
}

const UNREAD_CHARACTERS_MAX = 10_000

function unread (topic: FeedTopic, partition: number, message: KafkaMessage): FeedRecord {
  const text = message.value?.toString().slice(0, UNREAD_CHARACTERS_MAX).toWellFormed() ?? ''
  return { topic, room: message.key?.toString() ?? '', epoch: `kafka/${partition}`, seq: Number(message.offset) + 1, ts: Number(message.timestamp), value: { text } }
}
