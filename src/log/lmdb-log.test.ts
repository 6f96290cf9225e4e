// The embedded log, held to the suite of its face in both durabilities, and what is this engine's own: deleting in the
// background, a full disk, metrics. Real directories, real processes, real signals; only the clock is turned by hand.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ManualClock, systemClock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore, type Store } from '../base/store.ts'
import { createLmdbLog, type LmdbLogOptions } from './lmdb-log.ts'
import { bodyOf, logSuite, message, readAll, type Engine, type EngineOptions } from './log.suite.ts'

const root = mkdtempSync(join(tmpdir(), 'uproar-log-'))
t.teardown(() => rmSync(root, { recursive: true, force: true }))
let places = 0
const fresh = (): string => join(root, String(places++))

const DEFAULTS = {
  clock: systemClock,
  durability: 'commit',
  queueMax: 20_000,
  retention: { hours: 1, entriesMax: 1_000_000, mbMax: 1000 },
  dedupMinutes: 10
} as const

const opener = (durability: LmdbLogOptions['durability']) => async (options: EngineOptions = {}): Promise<Engine> => {
  const { place = fresh(), ...rest } = options
  const store = await openStore(place)
  const log = createLmdbLog(store, { ...DEFAULTS, ...rest, durability, metrics: new Metrics() })
  return {
    log,
    place,
    async stop () {
      await log.close()
      await store.close()
    }
  }
}

await t.test('the contract, durable at commit', (t) => logSuite(t, opener('commit'), new URL('lmdb-log.child.ts', import.meta.url)))
await t.test('the contract, durable at flush', (t) => logSuite(t, opener('flush')))

t.test('a removed log\'s entries are deleted, also when the process ended in between', async (t) => {
  const clock = new ManualClock()
  const dir = fresh()
  let store = await openStore(dir)
  let log = createLmdbLog(store, { ...DEFAULTS, clock, metrics: new Metrics() })
  await Promise.all(Array.from({ length: 3000 }, (_, i) => log.publish('r', message(`m${i}`))))
  await log.remove('r')
  await log.close()
  await store.close()
  store = await openStore(dir)
  t.equal(store.tables.entries.getCount(), 3000)
  log = createLmdbLog(store, { ...DEFAULTS, clock, metrics: new Metrics() })
  for (let turn = 0; turn < 10_000 && store.tables.removed.getCount() > 0; turn++) {
    clock.advance(1000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.equal(store.tables.removed.getCount(), 0)
  t.equal(store.tables.entries.getCount(), 0)
  await log.close()
  await store.close()
})

t.test('nonces do not pile up', async (t) => {
  const clock = new ManualClock()
  const store = await openStore(fresh())
  const log = createLmdbLog(store, { ...DEFAULTS, clock, metrics: new Metrics() })
  for (let minute = 0; minute < 60; minute++) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => log.publish('r', message('x', `${minute}-${i}`))))
    clock.advance(60_000)
    const count = store.tables['nonces-0'].getCount() + store.tables['nonces-1'].getCount()
    if (count > 2 * 10 * 20) t.fail(`${count} nonces after ${minute} minutes`)
  }
  await log.close()
  await store.close()
})

t.test('a commit whose sync failed', async (t) => {
  const store = await openStore(fresh())
  let isBroken = true
  const unsynced: Store = {
    ...store,
    async commit (work) {
      await store.commit(work)
      if (isBroken) throw new AppError('unavailable', 'of the test')
    }
  }
  const metrics = new Metrics()
  const kept = createLmdbLog(unsynced, { ...DEFAULTS, metrics })
  t.match(await kept.publish('r', message('one', 'n1')), { seq: 1, repeated: false }, 'commit: the entry is there, and survives this process')
  t.equal(metrics.value('uproar_log_failures_total'), 1)
  await kept.close()

  const strict = createLmdbLog(unsynced, { ...DEFAULTS, durability: 'flush', metrics: new Metrics() })
  await t.rejects(strict.publish('r', message('two', 'n2')), { code: 'unavailable', message: /synced/ }, 'flush: not said to be safe')
  isBroken = false
  await t.rejects(strict.publish('r', message('three', 'n3')), { code: 'unavailable' }, 'and nothing is accepted any more')
  await strict.close()

  const after = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
  t.match(await after.publish('r', message('two', 'n2')), { seq: 2, repeated: true }, 'after a restart the retry tells what became of it')
  t.equal((await after.head('r')).seq, 2)
  await after.close()
  await store.close()
})

t.test('a commit that fails without a trace', async (t) => {
  const store = await openStore(fresh())
  let failing = 0
  const flaky: Store = {
    ...store,
    commit: async (work) => {
      if (failing-- > 0) throw new AppError('unavailable', 'of the test')
      await store.commit(work)
    }
  }
  const log = createLmdbLog(flaky, { ...DEFAULTS, metrics: new Metrics() })
  const first = await log.publish('r', message('one', 'n1'))
  failing = 1
  const lost = await Promise.allSettled([log.publish('r', message('a', 'na')), log.publish('r', message('a', 'na')), log.head('new'), log.remove('r'), log.publish('new', message('b'))])
  t.same(lost.map((one) => one.status === 'rejected' && (one.reason as AppError).code), Array(5).fill('unavailable'), 'everything in it is rejected')
  t.same(await log.head('r'), { epoch: first.epoch, first: 1, seq: 1 })
  t.match(await log.publish('r', message('a', 'na')), { seq: 2, epoch: first.epoch, repeated: false }, 'its seq and its nonce are free')
  t.equal((await log.publish('new', message('b'))).seq, 1)
  t.same((await readAll(log, 'r')).map(bodyOf), ['one', 'a'])
  await log.close()
  await store.close()
})

t.test('counts what it does, and survives a watcher that throws', async (t) => {
  const metrics = new Metrics()
  const store = await openStore(fresh())
  const log = createLmdbLog(store, { ...DEFAULTS, metrics })
  const warned = once(process, 'warning')
  let told = 0
  log.watch('r', { entries () { throw new Error('of the test') }, lost () {} })
  log.watch('r', { entries: (batch) => { told += batch.length }, lost () {} })
  await Promise.all(Array.from({ length: 100 }, (_, i) => log.publish('r', message(`m${i}`))))
  t.match(((await warned) as Error[])[0]?.message, /watcher/)
  t.equal(told, 100)
  t.equal(metrics.value('uproar_log_entries_total'), 100)
  t.equal(metrics.value('uproar_log_commits_total'), 1, 'publishes of one turn share a commit')
  t.equal(metrics.value('uproar_log_queue'), 0)
  await store.close()
  t.rejects(log.publish('r', message('x')), { code: 'unavailable' })
  await log.close()
  t.equal(metrics.value('uproar_log_failures_total'), 1)
})

t.test('a full disk: rejected, no hole, and on again when there is room', { skip: process.platform !== 'linux' && 'prlimit is Linux' }, async (t) => {
  const dir = fresh()
  const child = spawn('sh', ['-c', 'ulimit -S -f 4096 && exec "$@"', 'sh', process.execPath, new URL('full-disk.child.ts', import.meta.url).pathname, dir], { stdio: ['ignore', 'pipe', 'ignore'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text })
  const [code] = await once(child, 'close') as [number]
  t.equal(code, 0)
  const { accepted, rejected, codes, afterwards } = JSON.parse(output) as { accepted: number, rejected: number, codes: string[], afterwards: number }
  t.ok(accepted > 0 && rejected > 0, `${accepted} accepted, ${rejected} rejected`)
  t.same(codes, ['unavailable'])
  t.equal(afterwards, accepted + 1, 'the first entry after the failure has the next seq')
  const store = await openStore(dir)
  const log = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
  t.equal((await readAll(log, 'r')).length, afterwards)
  await log.close()
  await store.close()
  t.ok(readFileSync(join(dir, 'lmdb', 'data.mdb')).length > 0)
})
