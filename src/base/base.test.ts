// The small parts everything stands on: bounded containers, clocks, lifecycle, errors, metrics.

import { closeSync, openSync, readdirSync } from 'node:fs'
import { pino } from 'pino'
import t from 'tap'
import { BoundedMap, BoundedQueue, TokenBucket } from './bounded.ts'
import { ManualClock, systemClock } from './clock.ts'
import { AppError, Refusal, refusalOf } from './errors.ts'
import { Lifecycle, type Part } from './lifecycle.ts'
import { METRICS, Metrics } from './metrics.ts'
import { REDACTION } from './redaction.ts'
import { TrustedProxies } from './peers.ts'
import { ERRORS } from '../../proto/codes.ts'

t.test('BoundedQueue keeps order and its bound', (t) => {
  const queue = new BoundedQueue<number>(3)
  t.same([1, 2, 3, 4].map((item) => queue.offer(item)), [true, true, true, false])
  t.same(queue.take(2), [1, 2])
  t.equal(queue.size, 1)
  t.ok(queue.offer(5))
  t.same(queue.take(9), [3, 5])
  t.same(queue.take(1), [])

  // Longer than the point at which it packs itself, never empty in between.
  const long = new BoundedQueue<number>(5000)
  let given = 0
  const taken: number[] = []
  for (let round = 0; round < 40; round++) {
    while (long.offer(given)) given++
    taken.push(...long.take(1700))
  }
  taken.push(...long.take(5000))
  t.equal(taken.length, given)
  t.ok(taken.every((item, at) => item === at), 'first in, first out, nothing lost')
  t.end()
})

t.test('BoundedMap lets the longest unwritten go', (t) => {
  const map = new BoundedMap<string, number>(2)
  t.equal(map.set('a', 1), undefined)
  t.equal(map.set('b', 2), undefined)
  t.equal(map.set('a', 3), undefined, 'writing again makes it young')
  t.equal(map.set('c', 4), 'b')
  t.same([...map.entries()], [['a', 3], ['c', 4]])
  t.equal(map.get('b'), undefined)
  t.ok(map.has('a'))
  map.set('d', 1)
  map.expire((value) => value > 3)
  t.same([...map.entries()], [['d', 1]], 'stops at the first that is not over')
  t.ok(map.delete('d'))
  t.equal(map.size, 0)
  t.end()
})

t.test('TokenBucket: a burst, then the rate; who waits as told is let through', (t) => {
  const bucket = new TokenBucket(3, 0)
  t.same([0, 0, 0].map((now) => bucket.spend(now, 2, 3)), [0, 0, 0])
  t.equal(bucket.spend(0, 2, 3), 500)
  t.equal(bucket.spend(250, 2, 3), 250, 'asking early costs nothing')
  t.equal(bucket.spend(500, 2, 3), 0)
  t.equal(bucket.spend(1e9, 2, 3), 0)
  t.equal(bucket.spend(1e9, 2, 3), 0)
  t.equal(bucket.spend(1e9, 2, 3), 0)
  t.ok(bucket.spend(1e9, 2, 3) > 0, 'never more than the burst, however long it was quiet')
  const late = new TokenBucket(2, 0)
  t.same([late.spend(1060, 1, 2), late.spend(1000, 1, 2), late.spend(2060, 1, 2)], [0, 0, 0], 'what came before and is asked about after takes nothing away')

  for (const perSecond of [0.3, 1, 3, 7, 30, 1000]) {
    const other = new TokenBucket(1, 0)
    let now = 0
    for (let round = 0; round < 500; round++) {
      const wait = other.spend(now, perSecond, 1)
      if (wait === 0) continue
      now += Math.ceil(wait)
      if (other.spend(now, perSecond, 1) !== 0) t.fail(`${perSecond} a second: refused after waiting ${Math.ceil(wait)} ms`)
    }
    t.ok(now >= 499 / 2 / perSecond * 1000, `${perSecond} a second is not exceeded`)
  }
  t.end()
})

t.test('ManualClock runs what falls due, in order', (t) => {
  const clock = new ManualClock(1000)
  const calls: string[] = []
  clock.after(20, () => calls.push(`b${clock.now()}`))
  clock.after(10, () => {
    calls.push(`a${clock.now()}`)
    clock.after(5, () => calls.push(`nested${clock.now()}`))
  })
  const every = clock.every(8, () => calls.push(`e${clock.elapsed()}`))
  const never = clock.after(1, () => calls.push('never'))
  never.cancel()
  clock.advance(9)
  t.same(calls, ['e8'])
  clock.advance(11)
  t.same(calls, ['e8', 'a1010', 'nested1015', 'e16', 'b1020'])
  every.cancel()
  clock.advance(1000)
  t.equal(calls.length, 5)
  t.equal(clock.now(), 2020)
  t.end()
})

t.test('systemClock: timers fire and can be called off', async (t) => {
  const calls: string[] = []
  // The clock's own timers do not keep a process alive; this one does, for as long as the test waits.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  systemClock.after(1, () => calls.push('never')).cancel()
  await new Promise<void>((resolve) => {
    const timer = systemClock.every(1, () => {
      if (calls.push('every') < 3) return
      timer.cancel()
      systemClock.after(1, resolve)
    })
  })
  t.same(calls, ['every', 'every', 'every'])
  t.ok(systemClock.elapsed() > 0 && Math.abs(systemClock.now() - Date.now()) < 1000)
})

function partOf (name: string, calls: string[], more: Partial<Part> = {}): Part {
  return { name, start: () => { calls.push(`start ${name}`) }, stop: () => { calls.push(`stop ${name}`) }, ...more }
}

t.test('Lifecycle: stop mirrors start, once', async (t) => {
  const calls: string[] = []
  const life = new Lifecycle()
  for (const name of ['a', 'b', 'c']) life.add(partOf(name, calls))
  life.add({ name: 'bare' })
  await life.start(1000)
  t.same(await Promise.all([life.stop(1000), life.stop(1000)]), [[], []])
  t.same(calls, ['start a', 'start b', 'start c', 'stop c', 'stop b', 'stop a'])
})

t.test('Lifecycle: a failed start stops what was started and says whose fault it was', async (t) => {
  const calls: string[] = []
  const life = new Lifecycle()
  life.add(partOf('a', calls))
  life.add(partOf('b', calls, { start: () => Promise.reject(new Error('port taken')) }))
  life.add(partOf('c', calls))
  await t.rejects(life.start(1000), { message: 'b did not start: port taken', cause: { message: 'port taken' } })
  t.same(calls, ['start a', 'stop b', 'stop a'])
  t.same(await life.stop(1000), [], 'stopping again is harmless')
})

t.test('Lifecycle: stopped while starting, nothing more starts', async (t) => {
  const calls: string[] = []
  const life = new Lifecycle()
  let open = (): void => {}
  life.add(partOf('a', calls, { start: () => new Promise((resolve) => { open = resolve }) }))
  life.add(partOf('b', calls))
  const starting = life.start(1000)
  const stopping = life.stop(1000)
  open()
  await t.rejects(starting, { message: /stopped before everything had started/ })
  t.same(await stopping, [])
  t.same(calls, ['stop a'])
})

t.test('Lifecycle: a part that hangs or fails is named, and the others still stop', async (t) => {
  const calls: string[] = []
  const life = new Lifecycle()
  life.add(partOf('a', calls))
  life.add(partOf('hangs', calls, { stop: () => new Promise(() => {}) }))
  life.add(partOf('fails', calls, { stop: () => { throw new Error('oh') } }))
  await life.start(1000)
  const late = await life.stop(1)
  t.match(late, ['fails: oh', /^hangs: not stopped in \d+ ms$/])
  t.ok(calls.includes('stop a'))
})

t.test('refusals carry a code, and a wait where waiting helps', (t) => {
  t.match(new Refusal('slow_mode', 'wait', 1200.4), { code: 22, name: 'slow_mode', retryAfterMs: 1201 })
  t.equal(new Refusal('forbidden', 'no').retryAfterMs, null)
  for (const row of ERRORS) t.equal(new Refusal(row.name, 'x').retryAfterMs !== null, row.wait, `${row.name}: ${row.wait ? 'a' : 'no'} wait`)
  t.ok(Number.isInteger(new Refusal('timed_out', 'for good', Infinity).retryAfterMs), 'always a number that goes on the wire')

  const cause = new Error('disk full')
  const error = new AppError('unavailable', 'the log does not answer', { cause })
  t.match(error, { canRetry: true, retryAfterMs: 1000, cause })
  t.match(refusalOf(error), { name: 'unavailable', message: 'the log does not answer', retryAfterMs: 1000 })
  const unknown = refusalOf(new TypeError('secret detail'))
  t.equal(unknown.name, 'internal')
  t.notMatch(unknown.message, 'secret detail', 'what nobody foresaw is not told to the world')
  t.end()
})

t.test('metrics: what is counted is what is scraped', async (t) => {
  const metrics = new Metrics()
  metrics.add('uproar_connections', 3)
  metrics.add('uproar_connections', -1)
  metrics.set('uproar_rooms', 7)
  metrics.add('uproar_refusals_total', 2, 'slow_mode')
  metrics.add('uproar_refusals_total', 1, 'banned')
  metrics.observe('uproar_accept_seconds', 0.002)
  t.equal(metrics.value('uproar_connections'), 2)
  t.equal(metrics.value('uproar_refusals_total', 'slow_mode'), 2)
  t.equal(metrics.value('uproar_refusals_total', 'never'), 0)
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = await metrics.text()
    const lines = text.split('\n')
    for (const line of ['uproar_connections 2', 'uproar_rooms 7', 'uproar_refusals_total{name="slow_mode"} 2', 'uproar_refusals_total{name="banned"} 1', 'uproar_joins_total 0', 'uproar_accept_seconds_count 1']) {
      if (line === 'uproar_joins_total 0') t.notOk(lines.includes(line), 'a labelled metric has no line without its label')
      else t.ok(lines.includes(line), `${line}, at scrape ${scrape + 1}`)
    }
    for (const [name, row] of Object.entries(METRICS)) t.ok(lines.includes(`# TYPE ${name} ${row.type}`), name)
    t.match(text, 'process_resident_memory_bytes')
    t.notMatch(text, /^uproar_archive_up /m, 'what a process does not have it does not show')
    t.match(text, /^uproar_skipped_total\{reason="slow"\} 0$/m, 'what it has not counted yet is 0')
  }
  t.equal(new Metrics().value('uproar_connections'), 0, 'every instance has its own')
})

t.test('open files are counted without reading their folder', { skip: process.platform !== 'linux' }, async (t) => {
  const metrics = new Metrics()
  const count = async (): Promise<number> => Number(/^process_open_fds (\d+)$/m.exec(await metrics.text())?.[1])
  await metrics.text()
  const before = await count()
  const opened = Array.from({ length: 40 }, () => openSync(import.meta.filename, 'r'))
  t.teardown(() => opened.forEach(closeSync))
  t.equal(await count() - before, 40)
  t.ok(Math.abs(await count() - readdirSync('/proc/self/fd').length) <= 2)
})

t.test('metric names say what they are', (t) => {
  const rows: [string, { type: string, label?: string }][] = Object.entries(METRICS)
  t.same(rows.filter(([name, row]) => (row.type === 'counter') !== name.endsWith('_total')).map(([name]) => name), [], 'counters, and they alone, end in _total')
  t.same(rows.filter(([, row]) => ['user', 'address'].includes(row.label ?? '')).map(([name]) => name), [], 'labels are closed sets')
  t.same(rows.filter(([, row]) => row.label === 'room').map(([name]) => name), ['uproar_room_viewers', 'uproar_room_entries_per_second'], 'but for the busiest rooms')
  t.end()
})

t.test('the client behind proxies: the nearest hop that is not ours', (t) => {
  const proxies = new TrustedProxies(['10.0.0.0/8', '192.0.2.7', 'fd00::/8'])
  const seen = (peer: string, chain: string): string => proxies.clientAddress(peer, chain)
  t.equal(seen('10.1.1.1', '203.0.113.5'), '203.0.113.5')
  t.equal(seen('10.1.1.1', '9.9.9.9, 203.0.113.5, 192.0.2.7'), '203.0.113.5', 'what a client wrote itself does not count')
  t.equal(seen('203.0.113.9', '9.9.9.9'), '203.0.113.9', 'a stranger is not believed')
  t.equal(seen('10.1.1.1', ''), '10.1.1.1')
  t.equal(seen('10.1.1.1', 'unknown, 10.2.2.2'), '10.2.2.2', 'what is no address ends the chain')
  t.equal(seen('0000:0000:0000:0000:0000:ffff:0a01:0101', '203.0.113.5'), '203.0.113.5', 'IPv4 in IPv6 clothes')
  t.equal(seen('fd00:0000:0000:0000:0000:0000:0000:0001', '2001:0db8:0000:0000:0000:0000:0000:0001'), '2001:db8::1')
  t.equal(seen('fe80::1%eth0', ''), 'fe80::1', 'a zone is of this machine alone')
  t.equal(seen('10.1.1.1', 'fe80::1%x'), 'fe80::1')
  t.equal(new TrustedProxies([]).clientAddress('::ffff:10.1.1.1', '9.9.9.9'), '10.1.1.1', 'nobody is trusted by default')
  for (const entry of ['', 'localhost', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', 'fd00::/129', '/8']) t.throws(() => new TrustedProxies([entry]), { message: /neither an address nor a CIDR range/ }, entry)
  t.end()
})

t.test('a histogram counts in each bucket all that are no larger, as Prometheus reads it', async (t) => {
  const metrics = new Metrics()
  for (const seconds of [0.0004, 0.0005, 0.003, 9]) metrics.observe('uproar_accept_seconds', seconds)
  const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('uproar_accept_seconds'))
  const value = (name: string): number => Number(lines.find((line) => line.startsWith(`uproar_accept_seconds${name} `))?.split(' ')[1])
  t.same(['0.0005', '0.001', '0.005', '2.5', '+Inf'].map((le) => value(`_bucket{le="${le}"}`)), [2, 2, 3, 3, 4])
  t.equal(value('_count'), 4)
  t.equal(value('_sum'), 0.0004 + 0.0005 + 0.003 + 9)
})

t.test('secrets do not reach the log, wherever they are logged by mistake', async (t) => {
  const lines: string[] = []
  const log = pino({ redact: REDACTION }, { write: (line: string) => { lines.push(line) } })
  log.info({ token: 'secret-1', headers: { authorization: 'secret-2' }, req: { headers: { cookie: 'secret-3' } }, config: { jwtSecret: 'secret-4', redisUrl: 'secret-5' }, err: { password: 'secret-6' }, apiKeys: 2 }, 'all of it')
  t.notMatch(lines[0], /secret-\d/)
  t.match(JSON.parse(lines[0] as string), { token: '[redacted]', apiKeys: 2, msg: 'all of it' }, 'the rest does')
  t.ok(['config.clickhouseUrl', 'config.kafkaPassword', 'config.otlpUrl'].every((path) => REDACTION.paths.includes(path)), 'settings with secrets are among them')
})
