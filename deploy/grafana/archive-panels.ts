// The panels about the archive, on the dashboard of the feed: how it takes what comes, from Prometheus, and what is in it,
// from ClickHouse. The SQL reads the views for readers, and is run against a real engine by src/archive/chdb-archive.test.ts.

import type { Panel } from './dashboards.ts'

export const ARCHIVE_PANELS: readonly Panel[] = [
  { title: 'Archive answers', unit: 'short', help: '1: it does. While it does not, records wait in the feed.', queries: [{ expr: 'max by (instance) (uproar_archive_up{$s})', legend: '{{instance}}' }] },
  { title: 'Archived', unit: 'ops', help: 'Rows, by table, repetitions included.', queries: [{ expr: 'sum by (table) (rate(uproar_archive_rows_total{$s}[$__rate_interval]))', legend: '{{table}}' }] },
  { title: 'Inserts', unit: 'ops', help: 'Few and large is good. Those that failed are tried again.', queries: [{ expr: 'sum(rate(uproar_archive_batches_total{$s}[$__rate_interval]))', legend: 'taken' }, { expr: 'sum(rate(uproar_archive_failures_total{$s}[$__rate_interval]))', legend: 'failed' }] },
  { title: 'Time of a batch', unit: 's', help: 'That its inserts took.', queries: [['0.5', 'p50'], ['0.99', 'p99']].map(([share, legend]) => ({ expr: `histogram_quantile(${share}, sum by (le) (rate(uproar_archive_insert_seconds_bucket{$s}[$__rate_interval])))`, legend: legend as string })) },
  { title: 'Bytes archived', unit: 'Bps', help: 'Before they are packed.', queries: [{ expr: 'sum(rate(uproar_archive_bytes_total{$s}[$__rate_interval]))', legend: 'bytes' }] },
  {
    title: 'Messages a minute (ClickHouse)', unit: 'short', help: 'Of all rooms, and how many were removed.', queries: [],
    sql: 'SELECT minute AS time, sum(messages) AS messages, sum(removals) AS removals FROM minutes_of_rooms WHERE $__timeFilter(minute) GROUP BY minute ORDER BY minute'
  },
  {
    title: 'Busiest rooms a minute (ClickHouse)', unit: 'short', help: 'The ten with most messages in the time shown.', queries: [],
    sql: 'SELECT minute AS time, room, sum(messages) AS messages FROM minutes_of_rooms WHERE $__timeFilter(minute) AND room IN (SELECT room FROM minutes_of_rooms WHERE $__timeFilter(minute) GROUP BY room ORDER BY sum(messages) DESC LIMIT 10) GROUP BY minute, room ORDER BY minute'
  },
  {
    title: 'Moderation a minute (ClickHouse)', unit: 'short', help: 'Actions carried out, by name.', queries: [],
    sql: 'SELECT minute AS time, action, sum(actions) AS count FROM moderation_of_rooms WHERE $__timeFilter(minute) GROUP BY minute, action ORDER BY minute'
  },
  {
    title: 'Viewers a minute (ClickHouse)', unit: 'short', help: 'The most that were counted in each room, added up.', queries: [],
    sql: 'SELECT time, sum(most) AS watching FROM (SELECT minute AS time, room, max(viewers) AS most FROM viewers WHERE $__timeFilter(minute) GROUP BY minute, room) GROUP BY time ORDER BY time'
  }
]
