// The alerts without a server: promtool plays series to the rules. In the calm story, where everything has its usual value,
// none fires; then each is played the series of its fault, and fires. Every alert has its case here and its section in
// RUNBOOK.md. (src/scenarios/dashboards.test.ts causes the most important faults for real.)

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { METRICS } from '../../src/base/metrics.ts'
import { promtool } from '../services/prometheus.ts'
import { withoutPrometheus } from '../services/services.ts'

const FOLDER = join(import.meta.dirname, 'rules')
const files = readdirSync(FOLDER).map((name) => join(FOLDER, name))
const texts = files.map((file) => readFileSync(file, 'utf8')).join('\n')
const alerts = [...texts.matchAll(/- alert: (\S+)/g)].map((match) => match[1] as string)
const runbook = readFileSync(join(import.meta.dirname, 'RUNBOOK.md'), 'utf8')
const skip = withoutPrometheus()

/** Every half minute. */
const STEP_S = 30
const I = 'job="uproar",instance="a:8080"'

/** Hours of a healthy server with 1,000 viewers. */
const CALM: Readonly<Record<string, string>> = {
  [`up{${I}}`]: '1x720',
  [`uproar_ready{${I}}`]: '1x720',
  [`uproar_draining{${I}}`]: '0x720',
  [`uproar_worker_up{${I},worker="1"}`]: '1x720',
  [`uproar_worker_restarts_total{${I},worker="1"}`]: '0x720',
  [`uproar_faults_total{${I}}`]: '0x720',
  [`nodejs_eventloop_lag_p99_seconds{${I}}`]: '0.012x720',
  [`process_resident_memory_bytes{${I}}`]: '2e8x720',
  [`process_open_fds{${I}}`]: '1100x720',
  [`process_max_fds{${I}}`]: '20000x720',
  [`uproar_disk_free_bytes{${I}}`]: '8e10-1000x720',
  [`uproar_build_info{${I},version="1"}`]: '1x720',
  [`uproar_probe_messages_total{${I},outcome="seen"}`]: '0+6x720',
  [`uproar_probe_messages_total{${I},outcome="late"}`]: '0x720',
  [`uproar_probe_seconds_bucket{${I},le="0.5"}`]: '0+6x720',
  [`uproar_connections{${I}}`]: '1000x720',
  [`uproar_connections_total{${I}}`]: '0+100x720',
  [`uproar_connections_refused_total{${I},reason="full"}`]: '0x720',
  [`uproar_connections_refused_total{${I},reason="draining"}`]: '0+100x720',
  [`uproar_slow_viewers{${I}}`]: '3x720',
  [`uproar_delivery_seconds_bucket{${I},le="0.05"}`]: '0+600x720',
  [`uproar_delivery_seconds_bucket{${I},le="2.5"}`]: '0+600x720',
  [`uproar_delivery_seconds_bucket{${I},le="+Inf"}`]: '0+600x720',
  [`uproar_messages_accepted_total{${I},via="socket"}`]: '0+3000x720',
  [`uproar_refusals_total{${I},name="rate_limited"}`]: '0+900x720',
  [`uproar_refusals_total{${I},name="unavailable"}`]: '0x720',
  [`uproar_log_failures_total{${I}}`]: '0x720',
  [`uproar_log_queue{${I}}`]: '40x720',
  [`uproar_redis_reader_lag_seconds{${I}}`]: '1.5x720',
  [`uproar_redis_commands_failed_total{${I},what="read"}`]: '0x720',
  [`uproar_redis_resets_total{${I}}`]: '0x720',
  [`uproar_redis_gaps_total{${I}}`]: '0x720',
  [`uproar_census_seconds{${I}}`]: '1x720',
  [`uproar_feed_lag_seconds{${I},consumer="relay"}`]: '0.4x720',
  [`uproar_feed_failures_total{${I},consumer="relay"}`]: '0x720',
  [`uproar_feed_lost_total{${I},consumer="relay"}`]: '0x720',
  [`uproar_feed_dead_total{${I},consumer="relay"}`]: '0x720',
  [`uproar_kafka_failures_total{${I},what="produce"}`]: '0x720',
  [`uproar_archive_up{${I}}`]: '1x720',
  [`uproar_archive_failures_total{${I}}`]: '0x720',
  [`uproar_scorer_calls_total{${I},outcome="answered"}`]: '0+30x720',
  [`uproar_scorer_calls_total{${I},outcome="failed"}`]: '0x720',
  [`uproar_hook_calls_total{${I},outcome="allow"}`]: '0+300x720',
  [`uproar_hook_calls_total{${I},outcome="away"}`]: '0x720'
}

/** By alert: what is different, and when it must fire, minutes. A series of null is gone. */
const FAULTS: Readonly<Record<string, { readonly series: Readonly<Record<string, string | null>>, readonly minutes: number }>> = {
  UproarInstanceDown: { minutes: 5, series: { [`up{${I}}`]: '1x3 0x100' } },
  UproarGone: { minutes: 5, series: { [`up{${I}}`]: null } },
  UproarNotReady: { minutes: 5, series: { [`uproar_ready{${I}}`]: '1x3 0x100' } },
  UproarWorkerDown: { minutes: 5, series: { [`uproar_worker_up{${I},worker="1"}`]: '1x3 0x100' } },
  UproarWorkerRestarts: { minutes: 5, series: { [`uproar_worker_restarts_total{${I},worker="1"}`]: '0x2 1x2 2x2 4x100' } },
  UproarFaults: { minutes: 5, series: { [`uproar_faults_total{${I}}`]: '0x5 2x100' } },
  UproarLoopSlow: { minutes: 5, series: { [`nodejs_eventloop_lag_p99_seconds{${I}}`]: '0.4x100' } },
  UproarMemoryHigh: { minutes: 15, series: { [`process_resident_memory_bytes{${I}}`]: '4e9x100' } },
  UproarFilesRunOut: { minutes: 5, series: { [`process_open_fds{${I}}`]: '17000x100' } },
  UproarDiskFull: { minutes: 30, series: { [`uproar_disk_free_bytes{${I}}`]: '8e10-4e8x100' } },
  UproarVersionsDiffer: { minutes: 150, series: { ['uproar_build_info{job="uproar",instance="b:8080",version="2"}']: '1x400' } },
  UproarProbeSilent: { minutes: 5, series: { [`uproar_probe_messages_total{${I},outcome="seen"}`]: '9x100', [`uproar_probe_messages_total{${I},outcome="late"}`]: '0+6x100' } },
  UproarConnectionsFell: { minutes: 12, series: { [`uproar_connections{${I}}`]: '1000x20 300x100' } },
  UproarHandshakesRefused: { minutes: 12, series: { [`uproar_connections_refused_total{${I},reason="full"}`]: '0+50x100' } },
  UproarSlowViewers: { minutes: 12, series: { [`uproar_slow_viewers{${I}}`]: '90x100' } },
  UproarDeliverySlow: { minutes: 12, series: { [`uproar_delivery_seconds_bucket{${I},le="0.05"}`]: '0+100x100' } },
  UproarLogFailing: { minutes: 5, series: { [`uproar_log_failures_total{${I}}`]: '0x3 7x100' } },
  UproarLogQueueFull: { minutes: 5, series: { [`uproar_log_queue{${I}}`]: '15000x100' } },
  UproarRedisAway: { minutes: 5, series: { [`uproar_redis_reader_lag_seconds{${I}}`]: '0+30x100' } },
  UproarRedisFailing: { minutes: 12, series: { [`uproar_redis_commands_failed_total{${I},what="read"}`]: '0+30x100' } },
  UproarRedisLostData: { minutes: 5, series: { [`uproar_redis_resets_total{${I}}`]: '0x3 1x100' } },
  UproarRedisGap: { minutes: 5, series: { [`uproar_redis_gaps_total{${I}}`]: '0x3 1x100' } },
  UproarCensusOld: { minutes: 5, series: { [`uproar_census_seconds{${I}}`]: '0+30x100' } },
  UproarFeedLags: { minutes: 12, series: { [`uproar_feed_lag_seconds{${I},consumer="relay"}`]: '0+30x100' } },
  UproarFeedFailing: { minutes: 12, series: { [`uproar_feed_failures_total{${I},consumer="relay"}`]: '0+6x100' } },
  UproarFeedLost: { minutes: 5, series: { [`uproar_feed_lost_total{${I},consumer="relay"}`]: '0x3 500x100' } },
  UproarFeedDeadLetters: { minutes: 5, series: { [`uproar_feed_dead_total{${I},consumer="relay"}`]: '0x3 1x100' } },
  UproarKafkaFailing: { minutes: 12, series: { [`uproar_kafka_failures_total{${I},what="produce"}`]: '0+6x100' } },
  UproarArchiveAway: { minutes: 8, series: { [`uproar_archive_up{${I}}`]: '0x100' } },
  UproarArchiveFailing: { minutes: 12, series: { [`uproar_archive_failures_total{${I}}`]: '0+3x100' } },
  UproarScorerFailing: { minutes: 12, series: { [`uproar_scorer_calls_total{${I},outcome="failed"}`]: '0+10x100' } },
  UproarHookAway: { minutes: 8, series: { [`uproar_hook_calls_total{${I},outcome="away"}`]: '0+100x100' } },
  UproarDeliveryBudgetBurnsFast: { minutes: 10, series: { [`uproar_probe_seconds_bucket{${I},le="0.5"}`]: '0+5x200' } },
  UproarDeliveryBudgetBurnsSlowly: { minutes: 40, series: { [`uproar_probe_seconds_bucket{${I},le="0.5"}`]: '0+5.97x720' } },
  UproarAcceptBudgetBurnsFast: { minutes: 10, series: { [`uproar_refusals_total{${I},name="unavailable"}`]: '0+300x200' } },
  UproarAcceptBudgetBurnsSlowly: { minutes: 40, series: { [`uproar_refusals_total{${I},name="unavailable"}`]: '0+12x720' } }
}

/** The calm series with these in their place, no longer than they are looked at. */
function played (series: Readonly<Record<string, string | null>>, minutes: number): { series: string, values: string }[] {
  const steps = minutes * 60 / STEP_S + 1
  return Object.entries({ ...CALM, ...series }).flatMap(([name, values]) => values === null ? [] : [{ series: name, values: values.replace(/x(\d+)$/, (_, count: string) => `x${Math.min(Number(count), steps)}`) }])
}

t.test('every alert has a case, a section of the runbook and what a person needs', (t) => {
  t.same(Object.keys(FAULTS).sort(), [...alerts].sort())
  const sections = [...runbook.matchAll(/^## (\S+)$/gm)].map((match) => match[1] as string)
  t.same(sections.sort(), [...alerts].sort(), 'RUNBOOK.md has a section for each, and for nothing else')
  for (const [, name, body] of texts.matchAll(/- alert: (\S+)\n([\s\S]*?)(?=\n {6}- |\n\n|$)/g)) {
    for (const part of ['severity: ', 'summary: ', 'description: ', `runbook_url: deploy/prometheus/RUNBOOK.md#${name?.toLowerCase()}`]) t.match(body, part, `${name}: ${part}`)
  }
  const names = Object.keys(CALM).map((series) => series.slice(0, series.indexOf('{')))
  t.same(names.filter((name) => name.startsWith('uproar_') && !(name.replace(/_bucket$/, '') in METRICS)), [], 'what is played has the names of the program')
  t.end()
})

t.test('rules and configuration are sound', { skip }, async (t) => {
  for (const words of [['check', 'rules', ...files], ['check', 'config', join(import.meta.dirname, 'prometheus.yml')]]) {
    const { status, text } = await promtool(...words)
    t.equal(status, 0, text)
  }
})

t.test('none fires while all is well, and each fires by its fault', { skip }, async (t) => {
  const firing = (name: string): string => `count(ALERTS{${name === '' ? '' : `alertname="${name}",`}alertstate="firing"})`
  const at = (minutes: number): string => `${minutes}m`
  const tests = [
    { interval: `${STEP_S}s`, input_series: played({}, 120), promql_expr_test: [10, 60, 120].map((minutes) => ({ expr: firing(''), eval_time: at(minutes), exp_samples: [] })) },
    // One that leaves on purpose is not ready, and nobody need come.
    { interval: `${STEP_S}s`, input_series: played({ [`uproar_ready{${I}}`]: '0x100', [`uproar_draining{${I}}`]: '1x100' }, 10), promql_expr_test: [{ expr: firing(''), eval_time: '10m', exp_samples: [] }] },
    ...Object.entries(FAULTS).map(([name, { series, minutes }]) => ({
      interval: `${STEP_S}s`, input_series: played(series, minutes), promql_expr_test: [{ expr: firing(name), eval_time: at(minutes), exp_samples: [{ labels: '{}', value: 1 }] }]
    }))
  ]
  const folder = t.testdir({})
  const file = join(folder, 'played.json')
  writeFileSync(file, JSON.stringify({ rule_files: files, evaluation_interval: `${STEP_S}s`, tests }))
  const { status, text } = await promtool('test', 'rules', file)
  t.equal(status, 0, text)
})
