// The story of an operator's screen: a real Prometheus scrapes real instances under a little load, every panel of every
// dashboard shows something, every rule is evaluated, nothing is alerted of; then faults are caused, and their alerts fire.
//
//   Redis ◀─ an instance ────────────┐
//            an embedded one ────────┼─▶ Prometheus (scrapes each second, all windows cut to seconds)
//            a stand-in with numbers ┘     of parts that do not run here: the same class, so the same names and labels

import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { DASHBOARDS, expressionOf, fileOf, FOLDER, type Panel } from '../../deploy/grafana/dashboards.ts'
import { PrometheusServer, type Sample } from '../../deploy/services/prometheus.ts'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutPrometheus, withoutRedis } from '../../deploy/services/services.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { METRICS, Metrics } from '../base/metrics.ts'
import { startCollector } from './collector.ts'
import { API_KEY, eventually, OPEN_LIMITS, Program, tokenOf } from './harness.ts'
import { isFull } from './size.ts'
import { Viewer } from './viewer.ts'

const RULES = join(import.meta.dirname, '../../deploy/prometheus/rules')
const ruleFiles = readdirSync(RULES).map((name) => ({ name, text: readFileSync(join(RULES, name), 'utf8') }))
const panels = DASHBOARDS.flatMap(({ name, panels }) => panels.map((panel) => ({ dashboard: name, ...panel })))

/** What no instance of this story has a part for: only the stand-in shows it. */
const ELSEWHERE = ['uproar_kafka_', 'uproar_scorer_', 'uproar_hook_', 'uproar_archive_', 'uproar_worker_', 'uproar_feed_failures_total', 'uproar_feed_dead_total', 'uproar_feed_lost_total', 'uproar_redis_commands_failed_total', 'uproar_scores_total'] as const

/** What is looked at of a dashboard's file. */
interface DashboardFile {
  readonly templating: { readonly list: readonly { readonly name: string, readonly type: string, readonly query: unknown, readonly current: { readonly text: string, readonly value: string }, readonly datasource?: { readonly type: string, readonly uid: string } }[] }
  readonly panels: readonly { readonly datasource: { readonly type: string, readonly uid: string } }[]
}

const namesIn = (text: string): string[] => text.match(/\b(?:uproar|nodejs|process)_[a-z0-9_]+/g) ?? []

t.test('dashboards and rules speak of numbers that there are', async (t) => {
  for (const dashboard of DASHBOARDS) t.equal(readFileSync(join(FOLDER, `${dashboard.name}.json`), 'utf8'), fileOf(dashboard), `${dashboard.name}.json is as written by npm run dashboards`)
  t.same(readdirSync(FOLDER).sort(), DASHBOARDS.map(({ name }) => `${name}.json`).sort(), 'and there is no other')
  const served = new Set((await new Metrics().text()).match(/^# TYPE (\S+)/gm)?.map((line) => line.slice('# TYPE '.length)))
  const recorded = new Set(ruleFiles.flatMap(({ text }) => [...text.matchAll(/record: (\S+)/g)].map((match) => match[1] as string)))
  const isServed = (name: string): boolean => served.has(name) || served.has(name.replace(/_(bucket|sum|count)$/, '')) || [...recorded].some((record) => record.includes(name))
  const used = [...panels.flatMap(({ title, queries }) => queries.flatMap(({ expr }) => namesIn(expr).map((name) => ({ name, where: title })))), ...ruleFiles.flatMap(({ name: where, text }) => namesIn(text.replace(/^ *#.*$/gm, '')).map((name) => ({ name, where })))]
  t.same(used.filter(({ name }) => !isServed(name)), [], 'no name is made up')
  const shown = new Set(panels.flatMap(({ queries }) => queries.flatMap(({ expr }) => namesIn(expr))).map((name) => name.replace(/_bucket$/, '')))
  t.same(Object.keys(METRICS).filter((name) => !shown.has(name)), [], 'and every number of the table is on a panel')
  const provisioned = (parse(readFileSync(join(FOLDER, '../provisioning/datasources/uproar.yml'), 'utf8')) as { datasources: { name: string, uid: string, type: string }[] }).datasources
  for (const { name, file } of DASHBOARDS.map((dashboard) => ({ name: dashboard.name, file: JSON.parse(fileOf(dashboard)) as DashboardFile }))) {
    const choices = file.templating.list.filter(({ type }) => type === 'datasource')
    t.ok(choices.every(({ query, current }) => provisioned.some((source) => source.type === query && source.uid === current.value && source.name === current.text)), `${name} begins with data sources that are provisioned`)
    const asked = [...file.panels, ...file.templating.list].flatMap(({ datasource }) => datasource ?? [])
    t.same(asked.filter(({ type, uid }) => !choices.some((choice) => uid === `\${${choice.name}}` && type === choice.query)), [], 'and asks those that are chosen')
  }
  t.ok(panels.every(({ help, title }) => help.length > 5 && title.length > 2))
})

/** Numbers of what does not run here, by the class that the program counts with; they grow with every scrape. */
async function standIn (t: Test): Promise<string> {
  const metrics = new Metrics()
  const rows = Object.entries(METRICS).filter(([name]) => ELSEWHERE.some((part) => name.startsWith(part))) as [keyof typeof METRICS, { type: string, label?: string }][]
  const server = createServer((_request, response) => {
    for (const [name, row] of rows) {
      if (row.type === 'histogram') metrics.observe(name as 'uproar_hook_seconds', 0.01)
      else metrics.add(name as 'uproar_hook_calls_total', 1, row.label === undefined ? '' : `some ${row.label}`)
    }
    metrics.text().then((text) => response.end(text.split(/^(?=# HELP )/m).filter((family) => rows.some(([name]) => family.startsWith(`# HELP ${name} `))).join('')), () => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The rules with every window and wait cut to seconds; thresholds stay. */
function quick (text: string): string {
  return text.replace(/\[\d+[mhd]\]/g, '[5s]').replace(/offset \d+m/g, 'offset 5s').replace(/for: \d+[a-z]+/g, 'for: 1s')
}

function configOf (targets: readonly string[], rules: string): string {
  return JSON.stringify({
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' }, rule_files: [rules],
    scrape_configs: [{ job_name: 'uproar', static_configs: [{ targets }] }]
  })
}

/** What people and programs do, once a round. */
async function live (t: Test, viewers: readonly Viewer[], foul: Viewer, program: Program, round: number): Promise<void> {
  for (const viewer of viewers) {
    const answer = await viewer.ask(IN.SEND, 'stage', `n${round}`, 0, `round ${round}`, null)
    if (answer[0] !== OUT.OK) t.fail(`a message was not accepted: ${JSON.stringify(answer)}`)
  }
  await foul.ask(IN.SEND, 'stage', `b${round}`, 0, 'a badword', null)
  await program.request('POST', '/v1/rooms/stage/actions', { token: API_KEY, json: { action: 'remove', args: { seq: round + 2 } } })
}

t.test('every panel shows something, nothing is alerted of, and faults are', { skip: withoutPrometheus() || withoutRedis(), timeout: isFull ? 240_000 : 110_000 }, async (t) => {
  const redis = await RedisServer.start(t)
  const env = { ...OPEN_LIMITS, PROBE_S: '1', SCORERS: 'rules' }
  const collector = await startCollector(t)
  // One that traces is scraped in another format than the others.
  const [shared, alone, extra] = await Promise.all([Program.start(t, { ...env, REDIS_URL: redis.url, OTLP_URL: collector.url, TRACE_SAMPLE: '1' }), Program.start(t, env), standIn(t)])
  const real = [shared, alone].map(({ http }) => new URL(http).host)
  const rulesFolder = t.testdir(Object.fromEntries(ruleFiles.map(({ name, text }) => [name, quick(text)])))
  const prometheus = await PrometheusServer.start(t, configOf([...real, extra], join(rulesFolder, '*.yml')))

  // Bots talk as much as they like; the third of them breaks the protocol, the one who is none says what is blocked.
  const viewers = await Promise.all([shared, shared, alone].map(async (program, at) => Viewer.connect(t, program.ws, tokenOf(`bot-${at}`, { roles: ['bot'] }))))
  const foul = await Viewer.connect(t, shared.ws, tokenOf('foul'))
  await shared.request('PUT', '/v1/rooms/stage', { token: API_KEY, json: { settings: { blockedTerms: ['badword'] } } })
  for (const viewer of [...viewers, foul]) t.equal((await viewer.join('stage'))[0], OUT.JOINED)
  new Viewer(alone.ws).socket.destroy()
  viewers[2]?.socket.send(Buffer.from([0xc1]))
  let isOver = false
  const load = (async () => {
    for (let round = 1; !isOver; round++) {
      await live(t, viewers.slice(0, 2), foul, shared, round)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  })()

  for (const panel of panels.filter(({ sql }) => sql === undefined)) for (const query of panel.queries) await showsSomething(t, prometheus, { ...panel, expression: expressionOf(query), legend: query.legend, real })
  for (const histogram of ['uproar_accept_seconds', 'uproar_probe_seconds']) {
    const known = await eventually(`exemplars of ${histogram}, and their traces`, async () => {
      const exemplars = await prometheus.exemplars(`${histogram}_bucket`)
      return exemplars.some(({ trace_id: trace }) => collector.spans.some(({ traceId, name }) => traceId === trace && name === 'accept')) ? exemplars : null
    })
    t.ok(known.length > 0, `a value of ${histogram} leads to its trace`)
  }
  const rules = await prometheus.rules()
  t.ok(rules.length > 40)
  t.same(rules.filter(({ health }) => health !== 'ok'), [], 'every rule is evaluated without a fault')
  t.same((await prometheus.targets()).filter(({ health }) => health !== 'up'), [])
  const firing = async (): Promise<string[]> => [...new Set((await prometheus.alerts()).filter(({ state }) => state === 'firing').map(({ name }) => name))].sort()
  // What the stand-in counts are faults: they are its purpose.
  const ofParts = ['UproarArchiveFailing', 'UproarFeedDeadLetters', 'UproarFeedFailing', 'UproarFeedLost', 'UproarKafkaFailing', 'UproarRedisFailing', 'UproarWorkerRestarts']
  // With waits of a second whatever starts slowly is alerted of at first.
  let told: string[] = []
  await eventually('no alert', async () => (told = (await firing()).filter((name) => !ofParts.includes(name))).length === 0 || null, 30_000).catch(() => t.fail(`alerted of while all is well: ${told.join(', ')}\n${alone.lines.slice(-5).join('\n')}`))
  isOver = true
  await load

  redis.freeze()
  await alone.kill9()
  // These authors are refused after five seconds.
  for (let at = 0; isFull && at < 20; at++) viewers[0]?.send([IN.SEND, 9000 + at, 'stage', `frozen-${at}`, 0, 'is anybody there?', null])
  const soon = ['UproarInstanceDown', 'UproarNotReady', 'UproarProbeSilent', 'UproarDeliveryBudgetBurnsFast']
  for (const name of isFull ? [...soon, 'UproarAcceptBudgetBurnsFast', 'UproarLogFailing', 'UproarRedisAway', 'UproarRedisFailing'] : soon) {
    await eventually(name, async () => (await firing()).includes(name) || null, 60_000)
    t.pass(`${name} fires by its fault`)
  }
  redis.thaw()
  if (isFull) await eventually('the end of all alerts but that of the dead', async () => (await firing()).every((name) => name === 'UproarInstanceDown' || ofParts.includes(name)) || null, 60_000)
})

interface Shown extends Panel { readonly dashboard: string, readonly expression: string, readonly legend: string, readonly real: readonly string[] }

/** Runs a panel's query as Grafana would, of real instances where they have the part. */
async function showsSomething (t: Test, prometheus: PrometheusServer, { dashboard, title, expression, legend, real }: Shown): Promise<void> {
  const isElsewhere = namesIn(expression).every((name) => ELSEWHERE.some((part) => name.startsWith(part)))
  const filled = expression.replaceAll('$__rate_interval', '5s').replaceAll('$job', 'uproar').replaceAll('$instance', isElsewhere ? '.*' : real.join('|'))
  let found: Sample[] = []
  await eventually(`${dashboard}, ${title}: ${filled}`, async () => {
    found = (await prometheus.query(filled)).filter(({ value }) => !Number.isNaN(value))
    return found.length > 0 || null
  }, 15_000).catch((error: unknown) => t.fail((error as Error).message))
  const labels = [...legend.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1] as string).filter((label) => label !== 'worker')
  t.ok(found.every((sample) => labels.every((label) => sample.labels[label] !== undefined)), `${dashboard}, ${title}: ${legend}`)
}
