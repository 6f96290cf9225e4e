// The dashboards of Grafana, as tables of panels; `npm run dashboards` writes them as the JSON files that Grafana is
// provisioned with (dashboards/), and a test compares. Each query is run against a real Prometheus by
// src/scenarios/dashboards.test.ts, and each name in it is held against the table of metrics in the code.
//
// In an expression `$s` stands for the selector of every dashboard: its job and the instances that were chosen.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ARCHIVE_PANELS } from './archive-panels.ts'

/** `exemplar`: with the dots that lead to traces. */
export interface Query { readonly expr: string, readonly legend: string, readonly exemplar?: true }

export interface Panel {
  readonly title: string
  /** Grafana's name of the unit. */
  readonly unit: string
  /** What it shows, and what to think of it. */
  readonly help: string
  readonly queries: readonly Query[]
  readonly kind?: 'timeseries' | 'stat' | 'bargauge'
  /** Stacked areas, where the sum means something. */
  readonly isStacked?: true
  /** Asked of ClickHouse, in SQL, instead of Prometheus. */
  readonly sql?: string
}

export interface Dashboard {
  /** Of its file and its address. */
  readonly name: string
  readonly title: string
  readonly panels: readonly Panel[]
}

const q = (expr: string, legend: string): Query => ({ expr, legend })
const quantiles = (histogram: string, by = ''): Query[] => [['0.5', 'p50'], ['0.99', 'p99']].map(([share, name]) =>
  q(`histogram_quantile(${share}, sum by (le${by === '' ? '' : `, ${by}`}) (rate(${histogram}_bucket{$s}[$__rate_interval])))`, by === '' ? name as string : `${name} {{${by}}}`))
const traced = (query: Query): Query => ({ ...query, exemplar: true })
const rate = (counter: string, by: string, legend: string): Query => q(`sum by (${by}) (rate(${counter}{$s}[$__rate_interval]))`, legend)

export const DASHBOARDS: readonly Dashboard[] = [
  {
    name: 'uproar-overview',
    title: 'Uproar: overview',
    panels: [
      { title: 'Delivery, month\'s promise', unit: 'percentunit', kind: 'stat', help: 'Share of the built-in viewers\' messages that were back in half a second, over six hours. Promised: 99.9 %.', queries: [q('1 - job:uproar_delivery_errors:ratio_rate6h{job=~"$job"}', 'in time')] },
      { title: 'Accepting, month\'s promise', unit: 'percentunit', kind: 'stat', help: 'Share of messages that no fault and no want of room refused, over six hours. Promised: 99.9 %. Empty while nobody writes.', queries: [q('1 - (job:uproar_accept_errors:ratio_rate6h{job=~"$job"} >= 0 or 0 * job:uproar_delivery_errors:ratio_rate6h{job=~"$job"})', 'accepted')] },
      { title: 'Instances ready', unit: 'short', kind: 'stat', help: 'Processes that deliver, of those that are scraped.', queries: [q('sum(uproar_ready{$s})', 'ready'), q('count(uproar_ready{$s})', 'of')] },
      { title: 'Viewers', unit: 'short', help: 'Connections and event streams over all instances.', isStacked: true, queries: [q('sum(uproar_connections{$s})', 'WebSocket'), q('sum(uproar_streams{$s})', 'event streams')] },
      { title: 'Messages accepted', unit: 'ops', help: 'By the way in.', isStacked: true, queries: [rate('uproar_messages_accepted_total', 'via', '{{via}}')] },
      { title: 'Refused, by reason', unit: 'ops', help: 'rate_limited and slow_mode are users; overloaded, unavailable and internal are ours.', isStacked: true, queries: [rate('uproar_refusals_total', 'name', '{{name}}')] },
      { title: 'From author to viewer', unit: 's', help: 'As the built-in viewer of each instance sees it, the whole way over the real socket.', queries: quantiles('uproar_probe_seconds').map(traced) },
      { title: 'From SEND to OK', unit: 's', help: 'Of authors on the socket and over REST, durable log included.', queries: quantiles('uproar_accept_seconds').map(traced) },
      { title: 'Entries delivered', unit: 'ops', help: 'Entries times viewers.', queries: [rate('uproar_deliveries_total', 'instance', '{{instance}}')] },
      { title: 'Budget burning: delivery', unit: 'none', help: '1: the month\'s budget lasts the month. Pages come at 14.4 (an hour) and 6 (six hours).', queries: ['5m', '1h', '6h'].map((window) => q(`job:uproar_delivery_errors:ratio_rate${window}{job=~"$job"} / 0.001`, window)) },
      { title: 'Viewers coming and turned away', unit: 'ops', help: 'Handshakes; draining means an instance that leaves.', queries: [q('sum(rate(uproar_connections_total{$s}[$__rate_interval]))', 'accepted'), rate('uproar_connections_refused_total', 'reason', 'refused: {{reason}}')] },
      { title: 'Faults', unit: 'ops', help: 'Each has a line `fault` in the log of its instance.', queries: [rate('uproar_faults_total', 'instance', '{{instance}}')] }
    ]
  },
  {
    name: 'uproar-rooms',
    title: 'Uproar: rooms',
    panels: [
      { title: 'Most viewers', unit: 'short', kind: 'bargauge', help: 'The twenty rooms with most of them, over all instances. Private rooms are one.', queries: [q('topk(20, sum by (room) (uproar_room_viewers{$s}))', '{{room}}')] },
      { title: 'Most written', unit: 'ops', kind: 'bargauge', help: 'The twenty busiest rooms, entries a second over the last three seconds. Each instance counts what it reads, so the highest is the room\'s.', queries: [q('topk(20, max by (room) (uproar_room_entries_per_second{$s}))', '{{room}}')] },
      { title: 'Rooms in memory', unit: 'short', help: 'Bounded by ROOMS_ACTIVE_MAX.', queries: [q('sum by (instance) (uproar_rooms{$s})', '{{instance}}')] },
      { title: 'Joins', unit: 'ops', help: 'recovered: a resume that missed nothing; not_recovered: one that was too late, so the client begins anew.', isStacked: true, queries: [rate('uproar_joins_total', 'kind', '{{kind}}')] },
      { title: 'Left out, by reason', unit: 'ops', help: 'Entries announced as SKIPPED: sampled in hot rooms for live views, slow viewers, removed.', isStacked: true, queries: [rate('uproar_skipped_total', 'reason', '{{reason}}')] },
      { title: 'Sent again', unit: 'ops', help: 'Messages that were answered with their first result: clients that did not hear it.', queries: [q('sum(rate(uproar_messages_repeated_total{$s}[$__rate_interval]))', 'repeated')] }
    ]
  },
  {
    name: 'uproar-fan-out',
    title: 'Uproar: fan-out',
    panels: [
      { title: 'Window to the last viewer', unit: 's', help: 'From the log having a window\'s oldest entry to the last viewer being written to.', queries: quantiles('uproar_delivery_seconds') },
      { title: 'Writes to sockets', unit: 'wps', help: 'What a room costs: some 10 µs each.', queries: [rate('uproar_socket_writes_total', 'instance', '{{instance}}')] },
      { title: 'Entries in a write', unit: 'none', help: 'What windows save.', queries: [q('sum(rate(uproar_deliveries_total{$s}[$__rate_interval])) / (sum(rate(uproar_socket_writes_total{$s}[$__rate_interval])) > 0)', 'entries')] },
      { title: 'Bytes of broadcasts', unit: 'Bps', help: 'What rooms write to all of their viewers, by encoding, and what deflating saved.', queries: [rate('uproar_broadcast_bytes_total', 'encoding', '{{encoding}}'), q('sum(rate(uproar_deflate_saved_bytes_total{$s}[$__rate_interval]))', 'saved')] },
      { title: 'Windows and publishes', unit: 'ops', help: 'A big room is several slices, so a window is several publishes.', queries: [q('sum(rate(uproar_flushes_total{$s}[$__rate_interval]))', 'windows'), q('sum(rate(uproar_publishes_total{$s}[$__rate_interval]))', 'publishes')] },
      { title: 'Viewers behind', unit: 'short', help: 'Served from the ring at their own pace.', queries: [q('sum by (instance) (uproar_slow_viewers{$s})', '{{instance}}')] },
      { title: 'Slow viewers, what became of them', unit: 'ops', help: 'closed and position: cut, so that they resume.', isStacked: true, queries: [rate('uproar_slow_viewers_total', 'outcome', '{{outcome}}')] },
      { title: 'Frames from clients', unit: 'ops', help: 'By op.', isStacked: true, queries: [rate('uproar_frames_in_total', 'op', '{{op}}')] },
      { title: 'Closed by the server', unit: 'ops', help: 'By the name of the close code.', isStacked: true, queries: [rate('uproar_closes_total', 'name', '{{name}}')] },
      { title: 'Bad frames', unit: 'ops', help: 'Messages that were not of the protocol; each ends its connection.', queries: [q('sum by (instance) (rate(uproar_bad_frames_total{$s}[$__rate_interval]))', '{{instance}}')] }
    ]
  },
  {
    name: 'uproar-moderation',
    title: 'Uproar: moderation',
    panels: [
      { title: 'Not let pass at once', unit: 'ops', help: 'By the screen and by rooms\' levels: blocked, held, shown to the author alone.', isStacked: true, queries: [rate('uproar_verdicts_total', 'judgement', '{{judgement}}')] },
      { title: 'Actions', unit: 'ops', help: 'Of moderators, rules and consumers; who did what is in the audit log.', isStacked: true, queries: [rate('uproar_actions_total', 'action', '{{action}}')] },
      { title: 'Scored', unit: 'ops', help: 'Messages that a scorer found something about.', queries: [rate('uproar_scores_total', 'scorer', '{{scorer}}')] },
      { title: 'Calls of the HTTP scorer', unit: 'ops', help: 'While it fails it is left alone, and messages wait.', isStacked: true, queries: [rate('uproar_scorer_calls_total', 'outcome', '{{outcome}}')] },
      { title: 'HTTP scorer', unit: 's', help: 'Time of a call.', queries: quantiles('uproar_scorer_seconds') },
      { title: 'Calls of the hook', unit: 'ops', help: 'away: it failed or was late.', isStacked: true, queries: [rate('uproar_hook_calls_total', 'outcome', '{{outcome}}')] },
      { title: 'Hook', unit: 's', help: 'Authors in its rooms wait that long.', queries: quantiles('uproar_hook_seconds') },
      { title: 'Revocations kept', unit: 'short', help: 'Of tokens.', queries: [q('max(uproar_revocations{$s})', 'revocations')] }
    ]
  },
  {
    name: 'uproar-feed',
    title: 'Uproar: feed and archive',
    panels: [
      { title: 'Lag', unit: 's', help: 'Age of the oldest record that a consumer works on.', queries: [q('max by (consumer) (uproar_feed_lag_seconds{$s})', '{{consumer}}')] },
      { title: 'Waiting', unit: 'short', help: 'Records not handled yet, about.', queries: [q('max by (consumer) (uproar_feed_lag_records{$s})', '{{consumer}}')] },
      { title: 'Handled', unit: 'ops', help: '`relay` brings them to Kafka.', queries: [rate('uproar_feed_records_total', 'consumer', '{{consumer}}')] },
      { title: 'Failed batches', unit: 'ops', help: 'They are tried again.', queries: [rate('uproar_feed_failures_total', 'consumer', '{{consumer}}')] },
      { title: 'Put aside and lost', unit: 'ops', help: 'Dead letters, and what was let go over the cap.', queries: [rate('uproar_feed_dead_total', 'consumer', 'aside: {{consumer}}'), rate('uproar_feed_lost_total', 'consumer', 'lost: {{consumer}}')] },
      { title: 'Into Kafka', unit: 'ops', help: 'Records that it has taken.', queries: [rate('uproar_kafka_produced_total', 'topic', '{{topic}}')] },
      { title: 'Kafka failing', unit: 'ops', help: 'Requests that failed or took too long, by what they were for.', queries: [rate('uproar_kafka_failures_total', 'what', '{{what}}')] },
      { title: 'Spans of traces', unit: 'ops', help: 'dropped and failed: the collector is away, or does not keep up.', isStacked: true, queries: [rate('uproar_spans_total', 'outcome', '{{outcome}}')] },
      ...ARCHIVE_PANELS
    ]
  },
  {
    name: 'uproar-instances',
    title: 'Uproar: instances',
    panels: [
      { title: 'State', unit: 'short', help: 'Ready and draining, by instance.', queries: [q('sum by (instance) (uproar_ready{$s})', 'ready {{instance}}'), q('sum by (instance) (uproar_draining{$s})', 'draining {{instance}}')] },
      { title: 'Versions', unit: 'short', help: 'How many processes run which.', isStacked: true, queries: [q('count by (version) (uproar_build_info{$s})', '{{version}}')] },
      { title: 'CPU', unit: 'percentunit', help: 'Of a core: JavaScript has one.', queries: [q('sum by (instance, worker) (rate(process_cpu_seconds_total{$s}[$__rate_interval]))', '{{instance}} {{worker}}')] },
      { title: 'Loop delay', unit: 's', help: 'p99 of the time between two looks at the loop, since the scrape before: 100 ms, and what a turn was late.', queries: [q('max by (instance, worker) (nodejs_eventloop_lag_p99_seconds{$s})', '{{instance}} {{worker}}')] },
      { title: 'Memory', unit: 'bytes', help: 'Resident, and the heap of JavaScript.', queries: [q('sum by (instance, worker) (process_resident_memory_bytes{$s})', 'resident {{instance}} {{worker}}'), q('sum by (instance, worker) (nodejs_heap_size_used_bytes{$s})', 'heap {{instance}} {{worker}}')] },
      { title: 'Open files', unit: 'percentunit', help: 'Of those that it may have; a connection is one.', queries: [q('max by (instance, worker) (process_open_fds{$s} / process_max_fds{$s})', '{{instance}} {{worker}}')] },
      { title: 'Connections', unit: 'short', help: 'By process.', isStacked: true, queries: [q('sum by (instance, worker) (uproar_connections{$s})', '{{instance}} {{worker}}')] },
      { title: 'Canary', unit: 's', help: 'Age of the last entry that came back through the log; from five seconds on it is not ready.', queries: [q('max by (instance, worker) (uproar_canary_seconds{$s})', '{{instance}} {{worker}}')] },
      { title: 'Log, waiting', unit: 'short', help: 'Drafts; at LOG_QUEUE_MAX authors are refused.', queries: [q('sum by (instance) (uproar_log_queue{$s})', '{{instance}}')] },
      { title: 'Log, written', unit: 'ops', help: 'Entries, and commits that share them (of Redis: batches).', queries: [q('sum(rate(uproar_log_entries_total{$s}[$__rate_interval]))', 'entries'), q('sum(rate(uproar_log_commits_total{$s}[$__rate_interval]))', 'commits'), q('sum(rate(uproar_redis_batches_total{$s}[$__rate_interval]))', 'batches')] },
      { title: 'Log, time of a commit', unit: 's', help: 'The write of the embedded log, or Redis\' answer to a batch. Every author waits for one.', queries: quantiles('uproar_log_commit_seconds') },
      { title: 'Log, failed and expired', unit: 'ops', help: 'Commits that failed, and entries that retention removed.', queries: [q('sum by (instance) (rate(uproar_log_failures_total{$s}[$__rate_interval]))', 'failed {{instance}}'), q('sum(rate(uproar_log_expired_total{$s}[$__rate_interval]))', 'expired')] },
      { title: 'Disk left', unit: 'bytes', help: 'Where the embedded log is.', queries: [q('min by (instance) (uproar_disk_free_bytes{$s} > 0)', '{{instance}}')] },
      { title: 'Redis, since its last answer', unit: 's', help: 'To a read of the shard streams; some two seconds are usual.', queries: [q('max by (instance) (uproar_redis_reader_lag_seconds{$s})', '{{instance}}')] },
      { title: 'Redis failing', unit: 'ops', help: 'Commands that failed or took too long, by what they were for.', queries: [rate('uproar_redis_commands_failed_total', 'what', '{{what}}')] },
      { title: 'Redis, gaps and losses', unit: 'ops', help: 'Streams trimmed before they were read, and shards that lost data.', queries: [q('sum(rate(uproar_redis_gaps_total{$s}[$__rate_interval]))', 'gaps'), q('sum(rate(uproar_redis_resets_total{$s}[$__rate_interval]))', 'resets')] },
      { title: 'Cluster', unit: 'short', help: 'Instances alive as each knows them; they should agree.', queries: [q('max by (instance) (uproar_instances{$s})', '{{instance}}')] },
      { title: 'Census', unit: 's', help: 'Age of the last count over all instances.', queries: [q('max by (instance) (uproar_census_seconds{$s})', '{{instance}}')] },
      { title: 'Counted names', unit: 'short', help: 'Rooms, addresses and users that an instance tells the others of.', queries: [q('sum by (instance) (uproar_census_names{$s})', '{{instance}}')] },
      { title: 'Bus', unit: 'ops', help: 'Frames between instances.', queries: [rate('uproar_bus_frames_total', 'way', '{{way}}')] },
      { title: 'HTTP', unit: 'reqps', help: 'By class of status.', isStacked: true, queries: [rate('uproar_http_requests_total', 'status', '{{status}}')] },
      { title: 'Built-in viewers', unit: 'ops', help: 'What became of their messages.', isStacked: true, queries: [rate('uproar_probe_messages_total', 'outcome', '{{outcome}}')] },
      { title: 'Workers', unit: 'short', help: 'Serving, and restarts; only with WORKERS.', queries: [q('sum by (instance) (uproar_worker_up{$s})', 'up {{instance}}'), q('sum by (instance) (uproar_worker_restarts_total{$s})', 'restarts {{instance}}')] }
    ]
  }
]

/** Where a dashboard asks: chosen on it, among the data sources of this type; at first what provisioning/ makes, or else any. */
interface Source { readonly name: string, readonly label: string, readonly type: string, readonly ours: { readonly text: string, readonly value: string } }

const PROMETHEUS: Source = { name: 'prometheus', label: 'Prometheus', type: 'prometheus', ours: { text: 'Uproar Prometheus', value: 'uproar-prometheus' } }
const CLICKHOUSE: Source = { name: 'clickhouse', label: 'ClickHouse', type: 'grafana-clickhouse-datasource', ours: { text: 'Uproar ClickHouse', value: 'uproar-clickhouse' } }

const SELECTOR = 'job=~"$job",instance=~"$instance"'
const COLUMNS = 24
const WIDTH = 8
const HEIGHT = 8

/** A panel's expression as Grafana has it, its own variables not filled in. */
export function expressionOf ({ expr }: Query): string {
  return expr.replaceAll('$s', SELECTOR)
}

/** The text of a dashboard's file. */
export function fileOf ({ name, title, panels }: Dashboard): string {
  const source = ({ name, type }: Source): object => ({ type, uid: `\${${name}}` })
  const sources = panels.some(({ sql }) => sql !== undefined) ? [PROMETHEUS, CLICKHOUSE] : [PROMETHEUS]
  const choice = ({ name, label, type, ours }: Source): object => ({ name, label, type: 'datasource', query: type, refresh: 1, multi: false, includeAll: false, current: ours })
  const variable = (of: string, label: string, isMulti: boolean): object => ({
    name: of, label, type: 'query', datasource: source(PROMETHEUS), query: { query: of === 'job' ? 'label_values(uproar_ready, job)' : 'label_values(uproar_ready{job=~"$job"}, instance)', refId: of }, refresh: 2, sort: 1,
    multi: isMulti, includeAll: isMulti, ...(isMulti ? { allValue: '.*', current: { text: 'All', value: '$__all' } } : { current: { text: 'uproar', value: 'uproar' } })
  })
  return `${JSON.stringify({
    uid: name, title, tags: ['uproar'], editable: true, schemaVersion: 39, version: 1, refresh: '15s', time: { from: 'now-1h', to: 'now' },
    links: [{ type: 'dashboards', tags: ['uproar'], title: 'Uproar', asDropdown: false, includeVars: true, keepTime: true }],
    templating: { list: [...sources.map(choice), variable('job', 'Job', false), variable('instance', 'Instance', true)] },
    panels: panels.map((panel, at) => ({
      id: at + 1, title: panel.title, description: panel.help, type: panel.kind ?? 'timeseries',
      datasource: source(panel.sql === undefined ? PROMETHEUS : CLICKHOUSE),
      gridPos: { x: at * WIDTH % COLUMNS, y: Math.floor(at * WIDTH / COLUMNS) * HEIGHT, w: WIDTH, h: HEIGHT },
      fieldConfig: { defaults: { unit: panel.unit, min: 0, custom: panel.kind === undefined ? { fillOpacity: panel.isStacked === true ? 20 : 5, stacking: { mode: panel.isStacked === true ? 'normal' : 'none' }, showPoints: 'never' } : {} }, overrides: [] },
      options: panel.kind === undefined ? { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } } : { reduceOptions: { calcs: ['lastNotNull'] }, ...(panel.kind === 'bargauge' ? { orientation: 'horizontal' } : {}) },
      targets: panel.sql === undefined
        ? panel.queries.map((query, target) => ({ refId: String.fromCharCode(65 + target), expr: expressionOf(query), legendFormat: query.legend, ...(query.exemplar === true ? { exemplar: true } : {}), ...(panel.kind === undefined ? {} : { instant: true }) }))
        : [{ refId: 'A', editorType: 'sql', rawSql: panel.sql, format: 0, queryType: 'timeseries' }]
    }))
  }, null, 2)}\n`
}

export const FOLDER = join(import.meta.dirname, 'dashboards')

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) {
  for (const dashboard of DASHBOARDS) writeFileSync(join(FOLDER, `${dashboard.name}.json`), fileOf(dashboard))
  console.log(`${DASHBOARDS.length} dashboards written`)
}
