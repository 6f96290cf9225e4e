// Metrics as one table of plain numbers. The hot path adds to a field of a record; Prometheus' client reads the
// records when it is scraped, so a count costs an addition. README shows the same table and a test holds the two
// together. Labels are closed sets: never a user or an address, and a room only in the two gauges of busy rooms, which
// are written whole each time (ROOMS_SHOWN series; rooms/busiest.ts).

import { statSync } from 'node:fs'
import { collectDefaultMetrics, Counter, Gauge, Registry, type Metric } from 'prom-client'
import { withExemplars, type Exemplar } from './exemplars.ts'

interface Row {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly label?: string
  /**
   * Label values that stand at 0 from the start: a rate over a counter that appears with its first event misses that event.
   * Empty, and without a label: nothing is shown before it is first set, for what only some processes have.
   */
  readonly values?: readonly string[]
  readonly buckets?: readonly number[]
}

const LATENCY = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5] as const

export const METRICS = {
  uproar_connections: { type: 'gauge', help: 'WebSocket connections open now' },
  uproar_connections_total: { type: 'counter', help: 'WebSocket connections accepted since start' },
  uproar_connections_refused_total: { type: 'counter', help: 'Handshakes refused, by reason', label: 'reason', values: ['draining', 'origin', 'protocol', 'full', 'address', 'error'] },
  uproar_closes_total: { type: 'counter', help: 'Connections closed by the server, by the name of the close code', label: 'name' },
  uproar_streams: { type: 'gauge', help: 'Server-sent event streams open now' },
  uproar_rooms: { type: 'gauge', help: 'Rooms in memory now' },
  uproar_joins_total: { type: 'counter', help: 'Joins answered, by how they resumed', label: 'kind', values: ['fresh', 'recovered', 'not_recovered'] },
  uproar_frames_in_total: { type: 'counter', help: 'Frames received, by op', label: 'op' },
  uproar_bad_frames_total: { type: 'counter', help: 'Messages that were not of the protocol' },
  uproar_messages_accepted_total: { type: 'counter', help: 'Messages published to the room log, by the way in', label: 'via', values: ['socket', 'rest'] },
  uproar_messages_repeated_total: { type: 'counter', help: 'Messages answered with the first result of their nonce' },
  uproar_refusals_total: { type: 'counter', help: 'Requests refused, by error name', label: 'name', values: ['rate_limited', 'overloaded', 'unavailable', 'internal'] },
  uproar_verdicts_total: { type: 'counter', help: 'Messages that the screen did not let pass at once, by what became of them', label: 'judgement', values: ['block', 'hold', 'shadow'] },
  uproar_actions_total: { type: 'counter', help: 'Moderation actions carried out, by name', label: 'action' },
  uproar_accept_seconds: { type: 'histogram', help: 'From the arrival of a SEND to its OK, durable log included', buckets: LATENCY },
  uproar_log_commits_total: { type: 'counter', help: 'Group commits of the room log' },
  uproar_log_commit_seconds: { type: 'histogram', help: 'Time that a group commit took: the write of the embedded log, or Redis\' answer to a batch', buckets: LATENCY },
  uproar_log_entries_total: { type: 'counter', help: 'Entries appended to the room log' },
  uproar_log_failures_total: { type: 'counter', help: 'Group commits that failed' },
  uproar_log_queue: { type: 'gauge', help: 'Drafts waiting for a group commit, or for Redis to answer' },
  uproar_log_expired_total: { type: 'counter', help: 'Entries removed by retention' },
  uproar_redis_batches_total: { type: 'counter', help: 'Batches published to Redis' },
  uproar_redis_commands_failed_total: { type: 'counter', help: 'Redis commands that failed or took too long (most are tried again), by what they were for', label: 'what' },
  uproar_redis_reader_lag_seconds: { type: 'gauge', help: 'Time since Redis last answered a read of the shard streams; of several readers the longest', values: [] },
  uproar_redis_gaps_total: { type: 'counter', help: 'Times that a shard stream was trimmed before it was read here' },
  uproar_redis_resets_total: { type: 'counter', help: 'Times that a shard was found to have lost data, so that its rooms got new epochs' },
  uproar_feed_records_total: { type: 'counter', help: 'Records of the feed that were handled, by consumer (`relay` brings them to Kafka)', label: 'consumer' },
  uproar_feed_failures_total: { type: 'counter', help: 'Batches of the feed that a consumer failed at (they are tried again), by consumer', label: 'consumer' },
  uproar_feed_dead_total: { type: 'counter', help: 'Records of the feed put aside as dead letters, by consumer', label: 'consumer' },
  uproar_feed_lost_total: { type: 'counter', help: 'Entries that were let go, over the cap of what is unread, before a consumer had them, by consumer', label: 'consumer' },
  uproar_feed_lag_records: { type: 'gauge', help: 'Records of the feed that wait for a consumer, about, by consumer', label: 'consumer' },
  uproar_feed_lag_seconds: { type: 'gauge', help: 'Age of the oldest record that a consumer works on, by consumer', label: 'consumer' },
  uproar_kafka_produced_total: { type: 'counter', help: 'Records that Kafka has taken, by topic', label: 'topic' },
  uproar_kafka_failures_total: { type: 'counter', help: 'Requests to Kafka that failed or took too long (they are tried again), by what they were for', label: 'what' },
  uproar_archive_up: { type: 'gauge', help: 'Whether the archive answers this archiver (1) or not (0)', values: [] },
  uproar_archive_rows_total: { type: 'counter', help: 'Rows that the archive has taken, by table (repetitions included); how far it lags: uproar_feed_lag_* of the consumer archiver', label: 'table' },
  uproar_archive_batches_total: { type: 'counter', help: 'Inserts that the archive has taken' },
  uproar_archive_bytes_total: { type: 'counter', help: 'Bytes of rows that the archive has taken, before it packs them' },
  uproar_archive_failures_total: { type: 'counter', help: 'Inserts that failed or took too long (they are tried again)' },
  uproar_archive_insert_seconds: { type: 'histogram', help: 'Time that the inserts of a batch took', buckets: [...LATENCY, 5, 10] },
  uproar_scores_total: { type: 'counter', help: 'Messages that a scorer found something about, by scorer', label: 'scorer' },
  uproar_scorer_calls_total: { type: 'counter', help: 'Calls of the HTTP scorer, by outcome', label: 'outcome' },
  uproar_scorer_seconds: { type: 'histogram', help: 'Time that a call of the HTTP scorer took', buckets: LATENCY },
  uproar_hook_calls_total: { type: 'counter', help: 'Messages shown to the hook, by outcome (`away`: it failed, took too long or was not asked)', label: 'outcome' },
  uproar_hook_seconds: { type: 'histogram', help: 'Time that a call of the hook took', buckets: LATENCY },
  uproar_flushes_total: { type: 'counter', help: 'Windows flushed to a room' },
  uproar_publishes_total: { type: 'counter', help: 'Topic publishes (WebSocket messages times slices)' },
  uproar_socket_writes_total: { type: 'counter', help: 'WebSocket messages handed to sockets: publishes times the viewers of their slice, and what was sent to one viewer alone' },
  uproar_broadcast_bytes_total: { type: 'counter', help: 'Bytes of the messages published to rooms as they were written, times the viewers of their slice, by encoding', label: 'encoding', values: ['plain', 'deflate'] },
  uproar_deflate_saved_bytes_total: { type: 'counter', help: 'Bytes that were not written because messages were deflated' },
  uproar_delivery_seconds: { type: 'histogram', help: 'From the log having the oldest entry of a window to the last of the room\'s viewers here being written to, without a room\'s publication delay', buckets: LATENCY },
  uproar_deliveries_total: { type: 'counter', help: 'Entries times viewers handed to sockets' },
  uproar_skipped_total: { type: 'counter', help: 'Entries announced as SKIPPED instead of sent, by reason', label: 'reason', values: ['sampled', 'slow', 'removed'] },
  uproar_slow_viewers_total: { type: 'counter', help: 'Viewers that fell behind, by what became of them', label: 'outcome', values: ['behind', 'caught_up', 'closed', 'position'] },
  uproar_slow_viewers: { type: 'gauge', help: 'Viewers behind now, served from the ring' },
  uproar_room_viewers: { type: 'gauge', help: 'Viewers here of the 20 rooms with most of them; rooms leave it, private ones are `(private)` together', label: 'room' },
  uproar_room_entries_per_second: { type: 'gauge', help: 'Entries a second of the 20 busiest rooms here, over the last 3 s (longer beyond 10,000 rooms); rooms leave it, private ones are `(private)` together', label: 'room' },
  uproar_probe_seconds: { type: 'histogram', help: 'From author to viewer, as the built-in viewer sees it: from its SEND to the message coming back to it', buckets: LATENCY },
  uproar_probe_messages_total: { type: 'counter', help: 'Messages of the built-in viewer (`PROBE_S`), by what became of them', label: 'outcome', values: ['seen', 'late', 'refused', 'unconnected'] },
  uproar_instances: { type: 'gauge', help: 'Instances of the cluster alive at the last beat, this one included' },
  uproar_census_seconds: { type: 'gauge', help: 'Age of the last count over all instances that came back, in seconds', values: [] },
  uproar_census_names: { type: 'gauge', help: 'Rooms, addresses and users that this instance counts' },
  uproar_bus_frames_total: { type: 'counter', help: 'Frames and values on the bus between instances, by what became of them', label: 'way', values: ['sent', 'received', 'dropped'] },
  uproar_revocations: { type: 'gauge', help: 'Revocations of tokens that are kept' },
  uproar_ready: { type: 'gauge', help: '1: `/readyz` answers 200' },
  uproar_draining: { type: 'gauge', help: '1: it is stopping, and sends its viewers away' },
  uproar_http_requests_total: { type: 'counter', help: 'HTTP requests answered, by class of status', label: 'status', values: ['2xx', '3xx', '4xx', '5xx'] },
  uproar_faults_total: { type: 'counter', help: 'Faults of the server\'s own, each with a line in the log' },
  uproar_spans_total: { type: 'counter', help: 'Spans of traces (`OTLP_URL`), by what became of them', label: 'outcome', values: ['sent', 'dropped', 'failed'] },
  uproar_disk_free_bytes: { type: 'gauge', help: 'Free space where `DATA_DIR` is; only of the embedded log', values: [] },
  uproar_worker_up: { type: 'gauge', help: '1: this worker serves; of all workers (`WORKERS`), each of whose series bears its number', label: 'worker' },
  uproar_worker_restarts_total: { type: 'counter', help: 'Times that this worker ended by itself and was started again', label: 'worker' },
  uproar_build_info: { type: 'gauge', help: '1, with the version that runs', label: 'version' },
  uproar_canary_seconds: { type: 'gauge', help: 'Age of the last canary entry that came back, in seconds' }
} as const satisfies Record<string, Row>

export type MetricName = keyof typeof METRICS
type NameOf<T extends Row['type']> = { [K in MetricName]: (typeof METRICS)[K]['type'] extends T ? K : never }[MetricName]

/** What parts count by. */
export type Counting = Pick<Metrics, 'add' | 'set' | 'observe' | 'tally'>

/** For what is not to be counted: the built-in viewer, its room and its connection. */
export const UNCOUNTED: Counting = { add () {}, set () {}, observe () {}, tally: () => ({ value: 0 }) }

/** One series of a counter or gauge. */
export interface Tally { value: number }

const OPEN_FILES = 'process_open_fds'
/** The loop's delay is looked at by a timer of so many milliseconds, which are in what it says; each look wakes an idle process. */
export const LOOP_BEAT_MS = 100

/** One instance's numbers. Counters and gauges are added to or set; histograms observe seconds. */
export class Metrics {
  readonly registry = new Registry()
  #plain = new Map<MetricName, Map<string, Tally>>()
  #histograms = new Map<MetricName, Durations>()
  #read = new Map<MetricName, () => number>()
  #hasExemplars = false

  constructor () {
    for (const [name, row] of Object.entries(METRICS) as [MetricName, Row][]) this.#register(name, row)
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: LOOP_BEAT_MS })
    this.#countFiles()
  }

  /**
   * Linux tells since 6.2 how many files are open as the size of their folder. The library reads the folder: with 6,800
   * connections that took 13 ms of every scrape, in which nobody is written to; this takes 0.02.
   */
  #countFiles (): void {
    const size = (): number => statSync('/proc/self/fd', { throwIfNoEntry: false })?.size ?? 0
    if (size() === 0) return
    this.registry.removeSingleMetric(OPEN_FILES)
    this.registry.registerMetric(new Gauge({ name: OPEN_FILES, help: 'Number of open file descriptors.', registers: [], collect () { this.set(size()) } }))
  }

  /** Adds to a counter (or gauge) of this name and label value. */
  add (name: NameOf<'counter' | 'gauge'>, by = 1, label = ''): void {
    this.tally(name, label).value += by
  }

  /** The series of a counter (or gauge) that is not replaced, for whoever adds to it with every message: finding it costs more than adding. */
  tally (name: NameOf<'counter' | 'gauge'>, label = ''): Tally {
    const values = this.#plain.get(name) as Map<string, Tally>
    let tally = values.get(label)
    if (tally === undefined) values.set(label, tally = { value: 0 })
    return tally
  }

  /** Sets a gauge of this name and label value. */
  set (name: NameOf<'gauge'>, value: number, label = ''): void {
    this.tally(name, label).value = value
  }

  /** Has a gauge read whenever it is asked for, instead of being set. `read` must be quick, and must not throw. */
  read (name: NameOf<'gauge'>, read: () => number): void {
    this.#read.set(name, read)
  }

  /** Sets every series of a gauge: labels that are not there are gone. */
  replace (name: NameOf<'gauge'>, values: Iterable<readonly [label: string, value: number]>): void {
    this.#plain.set(name, new Map([...values].map(([label, value]) => [label, { value }])))
  }

  /** Puts a duration in seconds into a histogram. */
  observe (name: NameOf<'histogram'>, seconds: number): void {
    this.durations(name).observe(seconds)
  }

  /** The histogram itself, for whoever observes with every message. */
  durations (name: NameOf<'histogram'>): Pick<Durations, 'observe'> {
    return this.#histograms.get(name) as Durations
  }

  /** A value that was observed is of this trace. */
  exemplify (name: NameOf<'histogram'>, exemplar: Exemplar): void {
    this.#histograms.get(name)?.exemplify(exemplar)
    this.#hasExemplars = true
  }

  /** The value now, for tests and the status of the server itself. */
  value (name: NameOf<'counter' | 'gauge'>, label = ''): number {
    return this.#read.get(name)?.() ?? this.#plain.get(name)?.get(label)?.value ?? 0
  }

  /** Every label value of this name that was counted, with its value. */
  values (name: NameOf<'counter' | 'gauge'>): ReadonlyMap<string, number> {
    return new Map([...this.#plain.get(name) ?? []].map(([label, { value }]) => [label, value]))
  }

  /** All of it in Prometheus' text format. */
  text (): Promise<string> {
    return this.registry.metrics()
  }

  /** The same with exemplars, where anything is traced; `/metrics` serves it in the format that is asked for. */
  async textWithExemplars (): Promise<string> {
    const text = await this.text()
    return this.#hasExemplars ? withExemplars(text, (name, bound) => this.#histograms.get(name as MetricName)?.exemplar(bound)) : text
  }

  #register (name: MetricName, row: Row): void {
    const labelNames = row.label === undefined ? [] : [row.label]
    const common = { name, help: row.help, labelNames, registers: [this.registry] }
    if (row.type === 'histogram') {
      const durations = new Durations(name, row.help, row.buckets ?? LATENCY)
      this.#histograms.set(name, durations)
      // The registry asks of a metric its name and its values; its own histogram costs a message ten times as much.
      this.registry.registerMetric(durations as unknown as Metric)
      return
    }
    this.#plain.set(name, new Map((row.values ?? (row.label === undefined ? [''] : [])).map((label) => [label, { value: 0 }])))
    const write = (metric: Counter | Gauge): void => {
      metric.reset()
      const read = this.#read.get(name)
      if (read !== undefined) this.set(name as NameOf<'gauge'>, read())
      const values = this.#plain.get(name) as Map<string, Tally>
      // Without a label the library shows 0 by itself.
      if (row.label === undefined && values.size === 0) metric.remove()
      for (const [label, { value }] of values) {
        if (row.label === undefined) metric.inc(value)
        else metric.inc({ [row.label]: label }, value)
      }
    }
    if (row.type === 'counter') new Counter({ ...common, collect () { write(this) } })
    else new Gauge({ ...common, collect () { write(this) } })
  }
}

/** A histogram of seconds without labels: counting is finding a bucket and an addition. */
export class Durations {
  readonly name: string
  readonly #help: string
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  /** By bucket. */
  readonly #exemplars: Exemplar[] = []
  #sum = 0

  constructor (name: string, help: string, bounds: readonly number[]) {
    this.name = name
    this.#help = help
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  observe (seconds: number): void {
    const at = this.#bucket(seconds)
    this.#counts[at] = (this.#counts[at] as number) + 1
    this.#sum += seconds
  }

  exemplify (exemplar: Exemplar): void {
    this.#exemplars[this.#bucket(exemplar.seconds)] = exemplar
  }

  exemplar (bound: string): Exemplar | undefined {
    return this.#exemplars[bound === '+Inf' ? this.#bounds.length : this.#bounds.indexOf(Number(bound))]
  }

  /** What the registry writes: buckets count all that are no larger. */
  get (): unknown {
    const { name } = this
    let count = 0
    const buckets = Array.from(this.#counts, (own, at) => ({ labels: { le: this.#bounds[at] ?? '+Inf' }, value: count += own, metricName: `${name}_bucket` }))
    const values = [...buckets, { labels: {}, value: this.#sum, metricName: `${name}_sum` }, { labels: {}, value: count, metricName: `${name}_count` }]
    return { name, help: this.#help, type: 'histogram', values, aggregator: 'sum' }
  }

  #bucket (seconds: number): number {
    let at = 0
    while (at < this.#bounds.length && seconds > (this.#bounds[at] as number)) at++
    return at
  }

  reset (): void {
    this.#counts.fill(0)
    this.#sum = 0
  }
}
