// Sends records to Kafka: gathers what is offered, one request at a time, acknowledged by all replicas.
//
//   send(records) ─▶ queue ─▶ 500 records, 768 KB or 50 ms ─▶ one request in flight ─┬─ acknowledged ─▶ resolved
//                  (bounded)    while one is in flight the next gathers               ├─ Kafka is away ─▶ rejected: `unavailable`
//                                                                                     └─ a record's fault ─▶ each offer alone
//
// An offer stays whole, over several requests where it is larger: brokers take a megabyte a partition and request.
//
// Whoever offers keeps the order by awaiting; a request that was given up may still arrive, so a record can come twice.
// Must not know rooms beyond their being keys. Bounds: QUEUE_MAX records, a deadline on every call.

import type { Kafka, Producer } from 'kafkajs'
import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { CALL_MS, isRecordFault, RETRY, within } from './kafka-client.ts'

const RECORDS = 500
const BYTES = 786_432
const GATHER_MS = 50
const QUEUE_MAX = 100_000

export interface KafkaRecord {
  /** Full name. */
  readonly topic: string
  readonly key: string
  readonly value: string
}

interface Offer { readonly records: readonly KafkaRecord[], readonly bytes: number, readonly resolve: () => void, readonly reject: (error: unknown) => void }

export class KafkaProducer {
  readonly #producer: Producer
  readonly #metrics: Metrics
  readonly #prepare: () => Promise<void>
  #queue: Offer[] = []
  #records = 0
  #bytes = 0
  #timer: NodeJS.Timeout | null = null
  #sending: Promise<void> | null = null
  #ready: Promise<void> | null = null
  #isClosed = false

  /** `prepare`: what must have succeeded once before the first request; called again after it failed. */
  constructor (kafka: Kafka, metrics: Metrics, prepare: () => Promise<void>) {
    this.#producer = kafka.producer({ createPartitioner: byRoom, retry: RETRY, allowAutoTopicCreation: false })
    this.#metrics = metrics
    this.#prepare = prepare
  }

  /** Resolves once Kafka has all of them. Rejects with AppError `unavailable` or `overloaded`, or with a record's fault. */
  send (records: readonly KafkaRecord[]): Promise<void> {
    if (this.#isClosed) return Promise.reject(new AppError('unavailable', 'the connection to Kafka is closed'))
    if (this.#records + records.length > QUEUE_MAX) return Promise.reject(new AppError('overloaded', 'too many records wait for Kafka'))
    if (records.length === 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const bytes = records.reduce((sum, { value }) => sum + value.length, 0)
      this.#queue.push({ records, bytes, resolve, reject })
      this.#records += records.length
      this.#bytes += bytes
      this.#wake()
    })
  }

  /** Sends what waits, then lets go. */
  async close (): Promise<void> {
    this.#isClosed = true
    this.#flush()
    await this.#sending
    await Promise.race([this.#producer.disconnect(), new Promise((resolve) => setTimeout(resolve, CALL_MS).unref())]).catch(() => {
      // It ends with the process.
    })
  }

  #wake (): void {
    if (this.#sending !== null) return
    if (this.#records >= RECORDS || this.#bytes >= BYTES) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS)
  }

  #flush (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#queue.length === 0 || this.#sending !== null) return
    this.#sending = this.#send(this.#take()).finally(() => {
      this.#sending = null
      if (this.#isClosed) this.#flush()
      else if (this.#queue.length > 0) this.#wake()
    })
  }

  /** Offers whole, up to one request's measure and at least one. */
  #take (): Offer[] {
    let count = 0
    let records = 0
    let bytes = 0
    for (const offer of this.#queue) {
      if (count > 0 && (records >= RECORDS || bytes + offer.bytes > BYTES)) break
      count++
      records += offer.records.length
      bytes += offer.bytes
    }
    this.#records -= records
    this.#bytes -= bytes
    return this.#queue.splice(0, count)
  }

  /** Never rejects. */
  async #send (offers: readonly Offer[]): Promise<void> {
    try {
      for (const part of parts(offers.flatMap(({ records }) => records))) await this.#request(part)
      for (const { resolve } of offers) resolve()
    } catch (error) {
      if (offers.length === 1 || !isRecordFault(error)) for (const { reject } of offers) reject(error)
      // So that only the one whose record it is hears of it.
      else for (const offer of offers) await this.#send([offer])
    }
  }

  async #request (records: readonly KafkaRecord[]): Promise<void> {
    await this.#connected()
    const topics = Map.groupBy(records, ({ topic }) => topic)
    const topicMessages = [...topics].map(([topic, of]) => ({ topic, messages: of.map(({ key, value }) => ({ key, value })) }))
    await within(this.#producer.sendBatch({ acks: -1, topicMessages }), this.#metrics, 'produce')
    for (const [topic, of] of topics) this.#metrics.add('uproar_kafka_produced_total', of.length, topic)
  }

  #connected (): Promise<void> {
    this.#ready ??= this.#prepare().then(() => within(this.#producer.connect(), this.#metrics, 'connect')).catch((error: unknown) => {
      this.#ready = null
      throw error
    })
    return this.#ready
  }
}

/** Consecutive parts of at most BYTES each, and at least one record. */
function * parts (records: readonly KafkaRecord[]): Generator<readonly KafkaRecord[]> {
  let from = 0
  let bytes = 0
  for (const [at, { value }] of records.entries()) {
    // A character has three bytes at most, and nearly always one.
    if (at > from && bytes + value.length > BYTES) {
      yield records.slice(from, at)
      from = at
      bytes = 0
    }
    bytes += value.length
  }
  yield records.slice(from)
}

/** The partition of a room, the same for every topic with as many: an FNV hash of its key. */
function byRoom (): (to: { partitionMetadata: readonly { partitionId: number }[], message: { key?: Buffer | string | null } }) => number {
  return ({ partitionMetadata, message }) => {
    let hash = 0x811c9dc5
    const key = String(message.key ?? '')
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
    return (hash >>> 0) % partitionMetadata.length
  }
}
