// The feed in Kafka: topics keyed by room, a group a consumer (kafka-consumer.ts), one producer (kafka-producer.ts). What
// the rooms say comes here by the relay. Nothing of it is needed for the chat to run: Kafka may come late and go.
// Bounds: those of producer and consumers.

import type { Kafka } from 'kafkajs'
import { systemClock, type Timer } from '../base/clock.ts'
import { deadOf, type Consumer, type ConsumerOptions, type Feed, type FeedRecord, type Outgoing } from './feed.ts'
import { createKafka, ensureTopics, topicName, type KafkaOptions } from './kafka-client.ts'
import { KafkaConsumer } from './kafka-consumer.ts'
import { KafkaProducer, type KafkaRecord } from './kafka-producer.ts'
import { deadLetter } from './records.ts'
import { Roster } from './roster.ts'

export type { KafkaOptions } from './kafka-client.ts'

const GAUGE_MS = 1000
/** Records that become JSON before the loop has its turn. */
const WRITTEN_AT_ONCE = 250

export class KafkaFeed implements Feed {
  readonly #options: KafkaOptions
  readonly #kafka: Kafka
  readonly #producer: KafkaProducer
  readonly #consumers = new Roster<KafkaConsumer>()
  readonly #timer: Timer
  #topics: Promise<void> | null = null

  constructor (options: KafkaOptions) {
    this.#options = options
    this.#kafka = createKafka(options)
    this.#producer = new KafkaProducer(this.#kafka, options.metrics, () => this.#ensured())
    this.#timer = systemClock.every(GAUGE_MS, () => this.#measure())
  }

  consume (options: ConsumerOptions): Promise<Consumer> {
    const bury = (record: FeedRecord, reason: string): Promise<void> => this.#bury(options.name, record, reason)
    return this.#consumers.open(options.name, () => new KafkaConsumer(this.#kafka, this.#options, options, bury), () => this.#ensured())
  }

  /** Brings records of the log to their topics; durable when it resolves. Rejects as a consumer's handler may. */
  async produce (records: readonly FeedRecord[]): Promise<void> {
    const { prefix } = this.#options
    const ready: KafkaRecord[] = []
    for (const { topic, room, value } of records) {
      ready.push({ topic: topicName(prefix, topic), key: room, value: JSON.stringify(value) })
      if (ready.length % WRITTEN_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await this.#producer.send(ready)
  }

  async send (topic: 'actions' | 'notifications', records: readonly Outgoing[]): Promise<void> {
    const name = topicName(this.#options.prefix, topic)
    await this.#producer.send(records.map(({ room, id, value }) => ({ topic: name, key: room, value: JSON.stringify({ ...value, id }) })))
  }

  async close (): Promise<void> {
    this.#timer.cancel()
    if (await this.#consumers.close()) await this.#producer.close()
  }

  #bury (consumer: string, record: FeedRecord, reason: string): Promise<void> {
    const { room, value } = deadLetter(consumer, record, reason, Date.now())
    return this.#producer.send([{ topic: topicName(this.#options.prefix, deadOf(record.topic)), key: room, value: JSON.stringify(value) }])
  }

  /** Once in this process; again when it failed. */
  #ensured (): Promise<void> {
    this.#topics ??= ensureTopics(this.#kafka, this.#options).catch((error: unknown) => {
      this.#topics = null
      throw error
    })
    return this.#topics
  }

  #measure (): void {
    const { metrics } = this.#options
    for (const [name, consumer] of this.#consumers.all) {
      const { records, seconds } = consumer.lag()
      metrics.set('uproar_feed_lag_records', records, name)
      metrics.set('uproar_feed_lag_seconds', seconds, name)
    }
  }
}
