// The relay: a consumer of the log's own feed whose work is to bring every record to Kafka. It acknowledges only what Kafka
// has acknowledged, so an outage of Kafka is lag of the consumer `relay`, and nothing else notices it.
//
//   log ─▶ (cursor of `relay`) ─▶ batch ─▶ Kafka: keyed by room, acks all ─▶ acknowledged
//
// Several relays on one Redis share its shards. Must not know engines.

import type { Consumer, Feed, FeedRecord } from './feed.ts'

/** Each batch waits for Kafka's word before the next: larger ones are what makes it quick. */
const BATCH_RECORDS = 2000

export interface RelayOptions {
  /** The feed over the room log. */
  readonly from: Feed
  readonly to: { produce (records: readonly FeedRecord[]): Promise<void> }
}

export class Relay {
  readonly name = 'relay'
  readonly #options: RelayOptions
  #consumer: Consumer | null = null

  constructor (options: RelayOptions) { this.#options = options }

  async start (): Promise<void> {
    const { from, to } = this.#options
    this.#consumer = await from.consume({ name: 'relay', topics: ['messages', 'audit', 'erasures'], from: 'beginning', isParallel: true, batchMax: BATCH_RECORDS, handle: (batch) => to.produce(batch) })
  }

  async stop (): Promise<void> {
    await this.#consumer?.stop()
  }
}
