// The feed: what programs at the back (moderation, archive, notifications) consume. This is the face that every engine
// implements and `feed.suite.ts` holds it to; the guarantees are written here and nowhere else.
//
//   room log ──▶ feed ──▶ batch of records ──▶ handle ──┬─ resolved ──▶ acknowledged, durable
//                 ▲                                     ├─ the world failed ──▶ the same batch again, after a while
//                 └── cursor of the consumer's name     └─ the record's fault ──▶ the others are handled, it is put aside
//
// Must not know what consumers do.

/** What there is to consume. The schema of each is proto/feed/<topic>.v1.json. */
export const TOPICS = ['messages', 'actions', 'audit', 'notifications', 'erasures'] as const
export type Topic = (typeof TOPICS)[number]
/** Records of a topic that could not be handled, each with the reason (proto/feed/dead.v1.json). */
export type DeadTopic = `${Topic}.dead`
export type FeedTopic = Topic | DeadTopic

/** The room of the log that holds a topic which is not the rooms' own. */
export function roomOf (topic: Exclude<FeedTopic, 'messages'>): string {
  return `uproar:${topic}`
}

export function deadOf (topic: FeedTopic): DeadTopic {
  return topic.endsWith('.dead') ? topic as DeadTopic : `${topic as Topic}.dead`
}

/** One record. (topic, room, epoch, seq) names it: whoever acts on a record is to act once on each such name. */
export interface FeedRecord {
  readonly topic: FeedTopic
  /** What it is about, and within what it is ordered. */
  readonly room: string
  readonly epoch: string
  /** Rises within topic, room and epoch. */
  readonly seq: number
  /** Unix milliseconds. */
  readonly ts: number
  /** As in the topic's schema. */
  readonly value: Readonly<Record<string, unknown>>
}

/** A record that a program at the back adds: `id` makes it one, however often it is sent. */
export interface Outgoing {
  readonly room: string
  readonly id: string
  readonly value: Readonly<Record<string, unknown>>
}

export interface ConsumerOptions {
  /** Names the consumer's place in the feed, for ever: `[a-z0-9-]{1,40}`. */
  readonly name: string
  readonly topics: readonly FeedTopic[]
  /** Where a name that is not known begins: with the oldest record that the engine has, or the next one. */
  readonly from: 'beginning' | 'now'
  /** Records in a batch at most; 500 when left out. */
  readonly batchMax?: number
  /** Whether batches of different rooms may be handled at once; otherwise one batch is at a time. */
  readonly isParallel?: boolean
  /**
   * Handles a batch, in order; resolving acknowledges it. Rejecting with an AppError that `canRetry` says that the world
   * failed: the same batch comes again, until it is handled. RecordFaults say that these records are at fault and that the
   * others are handled: these go to the topic's dead letters. Anything else is the fault of a record that is not known:
   * the batch is tried again, then in halves, until the record is found, which goes there too.
   */
  handle (batch: readonly FeedRecord[]): Promise<void>
}

/** What a handler rejects with that knows which records are at fault, and has handled all others of the batch. */
export class RecordFaults extends Error {
  override readonly name = 'RecordFaults'
  readonly faults: readonly { readonly record: FeedRecord, readonly reason: string }[]
  constructor (faults: readonly { readonly record: FeedRecord, readonly reason: string }[]) {
    super(faults[0]?.reason ?? 'no record')
    this.faults = faults
  }
}

export interface Lag {
  /** Records that are there and not acknowledged, about. */
  readonly records: number
  /** Age of the oldest that is being worked on; 0 when nothing is. */
  readonly seconds: number
}

export interface Consumer {
  lag (): Lag
  /** Takes no further batch; resolves when none is under way. May be called twice. */
  stop (): Promise<void>
}

export interface Feed {
  /**
   * Begins to consume.
   *
   * - **Every record at least once, in order per room**, from the consumer's beginning on, over restarts, deaths and
   *   outages of either side. A repetition is one that came before: what is new comes in order.
   * - **Durable places**: what was acknowledged is not given again, but for what was acknowledged in the half second
   *   before a death.
   * - **Shared**: processes that consume under one name part the rooms among themselves (not when the log is embedded).
   * - **A poison record stops nobody**: it goes to `<topic>.dead` with its reason, and is counted.
   * - **An outage is lag**: nothing is lost, and the chat is not slower; what is unread is kept up to a cap (of the log:
   *   FEED_UNREAD_MAX; of Kafka: its retention), beyond which it is counted as lost, in a log line too.
   *
   * Rejects with AppError `unavailable` when the place cannot be registered.
   */
  consume (options: ConsumerOptions): Promise<Consumer>

  /** Adds records to a topic that the log does not fill; durable when it resolves. Rejects with AppError `unavailable`. */
  send (topic: 'actions' | 'notifications', records: readonly Outgoing[]): Promise<void>

  /** Stops every consumer, sends what was accepted, lets go. May be called twice. */
  close (): Promise<void>
}

/** What a feed tells the operator; never a record's text. */
export type Say = (level: 'info' | 'warn' | 'error', message: string, details?: Readonly<Record<string, unknown>>) => void

export const BATCH_MAX = 500

/** Throws for a name that cannot be a consumer's: our own mistake. */
export function checkName (name: string): void {
  if (!/^[a-z0-9-]{1,40}$/.test(name)) throw new Error(`${JSON.stringify(name)} cannot name a consumer`)
}
