// The client of Kafka as this program uses it: one way to connect, deadlines on everything, its words in our log. The
// library (kafkajs 2.2.4) is not kept any more; only files of this folder know it. What it does that one must know:
//
// - `send` is one request and nothing is gathered: kafka-producer.ts does. Its idempotent producer retries without end.
// - It retries inside: `retries` times `requestTimeout` is how long a call takes while Kafka is away.
// - A consumer that crashed for good is silent about it but for one event: kafka-consumer.ts listens.
//
// Must not know records.

import { Kafka, logLevel, type KafkaConfig, type LogEntry, type SASLOptions } from 'kafkajs'
import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Traces } from '../base/traces.ts'
import { deadOf, TOPICS, type FeedTopic, type Say } from './feed.ts'

export interface KafkaOptions {
  readonly brokers: readonly string[]
  /** What the names of topics and groups begin with. */
  readonly prefix: string
  /** Of topics that are made here; those that are there already stay as they are. */
  readonly partitions: number
  readonly tls: boolean
  readonly sasl: { readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512', readonly username: string, readonly password: string } | null
  readonly metrics: Metrics
  readonly say: Say
  readonly traces?: Traces | null
}

export const CONNECT_MS = 3000
export const REQUEST_MS = 5000
/** Beyond what the library's own retries can take. */
export const CALL_MS = 30_000
export const RETRY = { retries: 2, initialRetryTime: 100, maxRetryTime: 1000 } as const

/** What is the record's fault, and no outage. */
const RECORD_FAULTS: readonly string[] = ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD', 'CORRUPT_MESSAGE', 'INVALID_TIMESTAMP']

export function createKafka ({ brokers, tls, sasl, say }: KafkaOptions): Kafka {
  const config: KafkaConfig = {
    clientId: 'uproar', brokers: [...brokers], connectionTimeout: CONNECT_MS, authenticationTimeout: CONNECT_MS, requestTimeout: REQUEST_MS, enforceRequestTimeout: true,
    retry: RETRY, ssl: tls, logLevel: logLevel.WARN, logCreator: () => (entry) => speak(entry, say)
  }
  if (sasl !== null) config.sasl = sasl as SASLOptions
  return new Kafka(config)
}

/** The library says ERROR of what it tries again by itself; whether that matters is said by whoever called it. */
function speak ({ namespace, log }: LogEntry, say: Say): void {
  say('info', `kafka: ${log.message}`, { namespace, ...(typeof log['error'] === 'string' ? { reason: log['error'] } : {}) })
}

/** Full name of a topic. */
export function topicName (prefix: string, topic: FeedTopic): string {
  return `${prefix}${topic}`
}

/** Makes the topics that are missing. Rejects with AppError `unavailable`. */
export async function ensureTopics (kafka: Kafka, { prefix, partitions, metrics }: KafkaOptions): Promise<void> {
  const admin = kafka.admin({ retry: RETRY })
  try {
    await within(admin.connect(), metrics, 'topics')
    const there = new Set(await within(admin.listTopics(), metrics, 'topics'))
    const missing = TOPICS.flatMap((topic) => [topic, deadOf(topic)]).map((topic) => topicName(prefix, topic)).filter((topic) => !there.has(topic))
    if (missing.length === 0) return
    // Nobody's fault when another process makes them in the same moment: the answer is false then.
    await within(admin.createTopics({ topics: missing.map((topic) => ({ topic, numPartitions: topic.endsWith('.dead') ? 1 : partitions })), waitForLeaders: true, timeout: REQUEST_MS }), metrics, 'topics')
  } finally {
    await admin.disconnect().catch(() => {
      // It ends with the process.
    })
  }
}

/** The call's result, or AppError `unavailable` when Kafka failed or took too long; what is the record's fault is thrown as it is. */
export async function within<T> (call: Promise<T>, metrics: Metrics, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error(`Kafka did not answer in ${CALL_MS} ms`)), CALL_MS) })
  try {
    return await Promise.race([call, late])
  } catch (error) {
    metrics.add('uproar_kafka_failures_total', 1, what)
    throw isRecordFault(error) ? error : new AppError('unavailable', `Kafka: ${(error as Error).message}`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

export function isRecordFault (error: unknown): boolean {
  if (error instanceof TypeError) return true
  const { type, cause } = error as { type?: string, cause?: unknown }
  if (type !== undefined && RECORD_FAULTS.includes(type)) return true
  return cause instanceof Error && !(error instanceof AppError) && isRecordFault(cause)
}
