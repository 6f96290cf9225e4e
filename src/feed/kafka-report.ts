// What Kafka says of itself, for whoever checks a deployment: that it lets us in, and what is there. Reads only.

import { createKafka, RETRY, topicName, within, type KafkaOptions } from './kafka-client.ts'
import { TOPICS } from './feed.ts'

export interface KafkaReport {
  readonly brokers: number
  /** Of our topics, those that are there. */
  readonly topics: readonly string[]
  readonly missing: readonly string[]
}

/** Connects, asks, and lets go. Rejects with AppError `unavailable`, its cause being Kafka's reason. */
export async function reportKafka (options: KafkaOptions): Promise<KafkaReport> {
  const admin = createKafka(options).admin({ retry: { ...RETRY, retries: 0 } })
  try {
    await within(admin.connect(), options.metrics, 'report')
    const { brokers } = await within(admin.describeCluster(), options.metrics, 'report')
    const there = new Set(await within(admin.listTopics(), options.metrics, 'report'))
    const names = TOPICS.map((topic) => topicName(options.prefix, topic))
    return { brokers: brokers.length, topics: names.filter((name) => there.has(name)), missing: names.filter((name) => !there.has(name)) }
  } finally {
    await admin.disconnect().catch(() => {
      // It ends with the process.
    })
  }
}
