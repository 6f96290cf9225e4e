// What is told of messages and workers: ids and samples that every process finds alike, spans that wait for nobody, and the
// numbers of several workers as one text. The collector is a real HTTP server.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { ManualClock, systemClock } from './clock.ts'
import { openMetricsOf, withoutExemplars } from './exemplars.ts'
import { AllNumbers, WorkerNumbers, type NumbersWord } from './gathering.ts'
import { Metrics } from './metrics.ts'
import { OtlpExporter, QUEUE_MAX, type Span } from './otlp.ts'
import { traceIdOf, Traces } from './traces.ts'

const span = (seq: number): Span => ({ traceId: traceIdOf({ room: 'stage', epoch: 'e', seq }), spanId: '00f067aa0ba902b7', parentId: null, name: 'accept', start: 1_700_000_000_000.25, end: 1_700_000_000_001, attributes: { 'uproar.seq': seq }, failure: null })

interface Collector { readonly url: string, readonly bodies: any[], readonly heads: (string | undefined)[], status: number }

async function collector (t: Test): Promise<Collector> {
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => { text += chunk.toString() }).on('end', () => {
      self.bodies.push({ path: request.url, ...JSON.parse(text) as object })
      self.heads.push(request.headers.authorization)
      response.writeHead(self.status).end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const self: Collector = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bodies: [], heads: [], status: 200 }
  return self
}

async function until (what: string, isSo: () => boolean): Promise<void> {
  const end = performance.now() + 10_000
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`waited for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

function exporterTo (url: string, clock: ManualClock): { exporter: OtlpExporter, metrics: Metrics, said: string[] } {
  const metrics = new Metrics()
  const said: string[] = []
  return { exporter: new OtlpExporter({ url, resource: { 'service.name': 'uproar' }, version: '1', clock, metrics, say: (_, message) => said.push(message) }), metrics, said }
}

t.test('every process finds the same ids and the same sample', (t) => {
  const made: Span[] = []
  const traces = (sample: number): Traces => new Traces({ sample, clock: systemClock, exporter: { offer: (span) => { made.push(span) } } })
  for (const sample of [1, 10, 1000]) {
    const [one, other] = [traces(sample), traces(sample)]
    let count = 0
    for (let seq = 1; seq <= 40_000; seq++) {
      if (one.has('aaBBcc01', seq) !== other.has('aaBBcc01', seq)) t.fail('two processes differ')
      if (one.has('aaBBcc01', seq)) count++
    }
    t.ok(Math.abs(count - 40_000 / sample) <= 40_000 / sample * 0.5, `${count} of 40,000 are one in ${sample}`)
  }
  const place = { room: 'stage', epoch: 'e1', seq: 7 }
  traces(1).accepted(place, systemClock.elapsed() - 20, systemClock.elapsed() - 5, 'socket')
  traces(1).handled('relay', [place], systemClock.elapsed() - 3, 'Kafka is away')
  const rare = traces(1_000_000_000)
  t.equal(rare.accepted(place, 0, 0, 'socket'), null, 'not in the sample')
  t.equal(rare.accepted(place, 0, 0, 'socket', true), traceIdOf(place), 'but that of the built-in viewer is')
  t.equal(rare.probed(place, systemClock.elapsed() - 30), traceIdOf(place))
  const probed = made.splice(3)
  t.same(probed.map(({ name, parentId }) => [name, parentId]), [['accept', null], ['log', made[0]?.spanId], ['probe', made[0]?.spanId]])
  const [root, log, relay] = made as [Span, Span, Span]
  t.same(made.map(({ traceId }) => traceId), Array(3).fill(traceIdOf(place)), 'one trace')
  t.match(root, { name: 'accept', parentId: null, failure: null, attributes: { 'uproar.room': 'stage', 'uproar.seq': 7 } })
  t.same([log.parentId, relay.parentId], [root.spanId, root.spanId], 'that hangs together')
  t.match(relay, { name: 'feed relay', failure: 'Kafka is away' })
  t.ok(root.end - root.start > 19 && root.start <= log.start && Math.abs(Date.now() - root.end) < 5000, 'in real time')
  t.not(traceIdOf(place), traceIdOf({ ...place, seq: 8 }))
  t.end()
})

t.test('spans reach a collector in its own form', async (t) => {
  const clock = new ManualClock()
  const there = await collector(t)
  const { exporter, metrics } = exporterTo(there.url.replace('//', '//user:p%40ss@'), clock)
  exporter.start()
  for (let seq = 1; seq <= 600; seq++) exporter.offer(span(seq))
  for (const count of [512, 600]) {
    clock.advance(1000)
    await until('a batch', () => metrics.value('uproar_spans_total', 'sent') === count)
  }
  t.equal(there.bodies[0].path, '/v1/traces')
  t.equal(there.heads[0], `Basic ${Buffer.from('user:p@ss').toString('base64')}`)
  t.match(there.bodies[0].resourceSpans[0].resource.attributes, [{ key: 'service.name', value: { stringValue: 'uproar' } }])
  t.match(there.bodies[0].resourceSpans[0].scopeSpans[0].spans[0], {
    traceId: /^[0-9a-f]{32}$/, spanId: /^[0-9a-f]{16}$/, name: 'accept', kind: 2, startTimeUnixNano: '1700000000000250000', endTimeUnixNano: '1700000000001000000',
    attributes: [{ key: 'uproar.seq', value: { intValue: '1' } }], status: { code: 1 }
  })
  exporter.offer(span(601))
  await exporter.stop()
  t.equal(metrics.value('uproar_spans_total', 'sent'), 601, 'the last one is sent at the end')
})

t.test('a collector that is away costs spans, and nothing else', async (t) => {
  const clock = new ManualClock()
  const there = await collector(t)
  const { exporter, metrics, said } = exporterTo(`${there.url}/v1/traces`, clock)
  exporter.start()
  there.status = 503
  for (let seq = 1; seq <= QUEUE_MAX + 10; seq++) exporter.offer(span(seq))
  t.equal(metrics.value('uproar_spans_total', 'dropped'), 10, 'a full queue drops')
  clock.advance(1000)
  await until('the refusal', () => metrics.value('uproar_spans_total', 'failed') === 512)
  clock.advance(9000)
  t.equal(there.bodies.length, 1, 'it is left alone for a while')
  there.status = 200
  clock.advance(2000)
  await until('a batch', () => metrics.value('uproar_spans_total', 'sent') === 512)
  t.same(said, ['the collector of traces does not take them; they are dropped until it does', 'the collector of traces takes them again'])
  await exporter.stop()
})

t.test('a value leads to its trace, in the format that can say so', async (t) => {
  const metrics = new Metrics()
  metrics.observe('uproar_accept_seconds', 0.0004)
  metrics.observe('uproar_accept_seconds', 9)
  const samples = (of: string): string[] => of.split('\n').filter((line) => line.startsWith('uproar_'))
  const plain = await metrics.text()
  t.same(samples(await metrics.textWithExemplars()), samples(plain), 'where nothing is traced it is the same text')
  for (const [trace, seconds] of [['aa01', 0.0031], ['aa02', 0.0042], ['aa03', 9]] as const) metrics.exemplify('uproar_accept_seconds', { trace, seconds, at: 1_764_000_000_123 })
  const text = await metrics.textWithExemplars()
  t.same(text.split('\n').filter((line) => line.includes('trace_id')), [
    'uproar_accept_seconds_bucket{le="0.005"} 1 # {trace_id="aa02"} 0.0042 1764000000.123', 'uproar_accept_seconds_bucket{le="+Inf"} 2 # {trace_id="aa03"} 9 1764000000.123'
  ], 'the last of a bucket, in its bucket alone')
  t.same(samples(withoutExemplars(text)), samples(plain))

  metrics.add('uproar_refusals_total', 2, 'banned')
  const open = openMetricsOf(await metrics.textWithExemplars())
  const lines = open.split('\n')
  t.same(lines.slice(-2), ['# EOF', ''], 'it ends as OpenMetrics does')
  t.same(lines.slice(0, -1).filter((line) => line === ''), [], 'and has no empty line')
  for (const line of ['# TYPE uproar_refusals counter', 'uproar_refusals_total{name="banned"} 2', '# TYPE uproar_accept_seconds histogram', '# TYPE nodejs_active_handles_total gauge']) t.ok(lines.includes(line), line)
  t.same(lines.filter((line) => /^# TYPE \S+_total counter$/.test(line)), [], 'families of counters are named without _total')
  const families = lines.flatMap((line) => /^# TYPE (\S+)/.exec(line)?.[1] ?? [])
  t.same(families.filter((name, at) => families.indexOf(name) !== at), [], 'and no two have one name')
  t.end()
})

t.test('the numbers of all workers are one text', async (t) => {
  const all = new AllNumbers(100)
  const one = new Metrics()
  one.set('uproar_connections', 3)
  one.add('uproar_refusals_total', 2, 'banned')
  one.observe('uproar_accept_seconds', 0.003)
  one.exemplify('uproar_accept_seconds', { trace: 'aa01', seconds: 0.02, at: 1000 })
  const other = new Metrics()
  other.set('uproar_connections', 4)
  const workers = new Map<number, (word: NumbersWord) => void>()
  for (const [number, metrics] of [[1, one], [2, other]] as const) {
    const worker = new WorkerNumbers((word) => all.hear(word))
    worker.provide(() => metrics.textWithExemplars())
    workers.set(number, (word) => worker.hear(word))
  }
  // One that has stopped answers nothing.
  workers.set(3, () => {})
  const text = await all.gather(workers, '# HELP uproar_worker_up x\n# TYPE uproar_worker_up gauge\nuproar_worker_up{worker="3"} 0\n')
  const lines = text.split('\n')
  for (const line of ['uproar_connections{worker="1"} 3', 'uproar_connections{worker="2"} 4', 'uproar_refusals_total{name="banned",worker="1"} 2', 'uproar_accept_seconds_bucket{le="0.005",worker="1"} 1', 'uproar_accept_seconds_bucket{le="0.025",worker="1"} 1 # {trace_id="aa01"} 0.02 1.000', 'uproar_accept_seconds_count{worker="2"} 0', 'uproar_worker_up{worker="3"} 0']) t.ok(lines.includes(line), line)
  t.equal(lines.filter((line) => line === '# TYPE uproar_connections gauge').length, 1, 'one head for all')
  t.equal(lines.indexOf('uproar_connections{worker="2"} 4') - lines.indexOf('uproar_connections{worker="1"} 3'), 1, 'side by side')
  t.notOk(lines.some((line) => /^[a-z]/.test(line) && !line.includes('worker="')), 'each bears its worker')
})

t.test('a worker that its supervisor does not answer speaks for itself', async (t) => {
  const said: NumbersWord[] = []
  const worker = new WorkerNumbers((word) => said.push(word), 50)
  worker.provide(async () => 'its own')
  const answer = worker.gather()
  worker.hear({ word: 'gathered', id: (said[0] as NumbersWord).id, text: 'of all' })
  t.equal(await answer, 'of all')
  t.equal(await worker.gather(), 'its own', 'after a while')
})
