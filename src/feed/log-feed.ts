// The feed over the room log itself, by the log's outlet: embedded, or shared in Redis. Places are the outlet's to keep;
// topics that the rooms do not fill are rooms of the log's own (records.ts). Must not know which engine it is.
// Bounds: the outlet's takes, cut to batches of the consumer's measure.

import { isRemoved, packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { systemClock, type Clock, type Timer } from '../base/clock.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Traces } from '../base/traces.ts'
import type { Log } from '../log/log.ts'
import type { Outlet, OutletConsumer, OutletRun } from '../log/outlet.ts'
import { Courier } from './courier.ts'
import { BATCH_MAX, deadOf, roomOf, type Consumer, type ConsumerOptions, type Feed, type FeedRecord, type FeedTopic, type Outgoing, type Say } from './feed.ts'
import { deadLetter, recordOf, topicOf, unreadable } from './records.ts'
import { Roster } from './roster.ts'

const GAUGE_MS = 1000
/** Entries that become records before the loop has its turn: a millisecond or so. */
const READ_AT_ONCE = 250

export interface LogFeedOptions {
  readonly log: Log & { outlet (): Outlet }
  readonly clock: Clock
  readonly metrics: Metrics
  readonly say: Say
  readonly traces?: Traces | null
}

export class LogFeed implements Feed {
  readonly #options: LogFeedOptions
  readonly #consumers = new Roster<LogConsumer>()
  readonly #timer: Timer

  constructor (options: LogFeedOptions) {
    this.#options = options
    this.#timer = systemClock.every(GAUGE_MS, () => { for (const consumer of this.#consumers.all.values()) consumer.measure() })
  }

  consume (options: ConsumerOptions): Promise<Consumer> {
    return this.#consumers.open(options.name, () => new LogConsumer(this.#options, options))
  }

  async send (topic: 'actions' | 'notifications', records: readonly Outgoing[]): Promise<void> {
    await Promise.all(records.map(({ room, id, value }) => append(this.#options.log, topic, { room, id, value: { ...value, id } })))
  }

  async close (): Promise<void> {
    this.#timer.cancel()
    await this.#consumers.close()
  }
}

class LogConsumer {
  readonly #feed: LogFeedOptions
  readonly #options: ConsumerOptions
  readonly #courier: Courier
  readonly #topics: ReadonlySet<FeedTopic>
  #outlet: OutletConsumer | null = null
  #last: Promise<unknown> = Promise.resolve()

  constructor (feed: LogFeedOptions, options: ConsumerOptions) {
    this.#feed = feed
    this.#options = options
    this.#topics = new Set(options.topics)
    this.#courier = new Courier({
      consumer: options.name, metrics: feed.metrics, say: feed.say, traces: feed.traces, handle: (batch) => options.handle(batch),
      bury: (record, reason) => append(feed.log, deadOf(record.topic), deadLetter(options.name, record, reason, feed.clock.now()))
    })
  }

  async start (): Promise<void> {
    const { name, from, batchMax = BATCH_MAX, isParallel = false } = this.#options
    this.#outlet = await this.#feed.log.outlet().open(name, {
      from,
      entriesMax: batchMax,
      wants: (room) => this.#topics.has(topicOf(room) as FeedTopic),
      take: (runs) => isParallel ? this.#take(runs) : this.#inTurn(() => this.#take(runs)),
      lost: (room, count) => {
        this.#feed.metrics.add('uproar_feed_lost_total', count, name)
        this.#feed.say('error', 'entries were let go before a consumer had them', { consumer: name, room, count })
      }
    })
  }

  lag (): { records: number, seconds: number } {
    const { entries = 0, seconds = 0 } = this.#outlet?.lag() ?? {}
    return { records: entries, seconds }
  }

  measure (): void {
    const { records, seconds } = this.lag()
    this.#feed.metrics.set('uproar_feed_lag_records', records, this.#options.name)
    this.#feed.metrics.set('uproar_feed_lag_seconds', seconds, this.#options.name)
  }

  async stop (): Promise<void> {
    this.#courier.stop()
    await this.#outlet?.stop()
  }

  #inTurn<T> (work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work)
    this.#last = mine
    return mine
  }

  /** Never rejects. False: stopped before all of it was handled. */
  async #take (runs: readonly OutletRun[]): Promise<boolean> {
    const { batchMax = BATCH_MAX } = this.#options
    let batch: FeedRecord[] = []
    let read = 0
    for (const { room, epoch, entries } of runs) {
      const topic = topicOf(room) as FeedTopic
      for (const entry of entries) {
        if (++read % READ_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve))
        // A record that was erased with the person that it was about; a room's positions are told all the same.
        if (topic !== 'messages' && isRemoved(entry)) continue
        const record = this.#read(topic, room, epoch, entry)
        if (record instanceof Unreadable) {
          if (!await this.#courier.bury(record.record, record.reason)) return false
          continue
        }
        batch.push(record)
        if (batch.length < batchMax) continue
        if (!await this.#courier.deliver(batch)) return false
        batch = []
      }
    }
    return this.#courier.deliver(batch)
  }

  #read (topic: FeedTopic, room: string, epoch: string, entry: Uint8Array): FeedRecord | Unreadable {
    try {
      return recordOf(topic, room, epoch, entry)
    } catch (error) {
      return new Unreadable(unreadable(topic, room, epoch, entry), (error as Error).message)
    }
  }
}

class Unreadable {
  readonly record: FeedRecord
  readonly reason: string
  constructor (record: FeedRecord, reason: string) {
    this.record = record
    this.reason = reason
  }
}

async function append (log: Log, topic: Exclude<FeedTopic, 'messages'>, { id, value }: Outgoing): Promise<void> {
  await log.publish(roomOf(topic), { op: OUT.STATE, tail: packTail([value]), author: 'feed', nonce: id })
}
