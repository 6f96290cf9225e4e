// The embedded log, held to the suite of its face in both durabilities, and what is this engine's own: the journal and how
// it comes into the tables, deleting in the background, a full disk, metrics. Real directories, real processes, real signals; only the clock is turned by hand.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isRemoved, removedEntry } from '../../proto/entry.ts'
import { ManualClock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore, type Store } from '../base/store.ts'
import { RECORD_HEAD } from './journal.ts'
import { createLmdbLog, type LmdbLogOptions } from './lmdb-log.ts'
import { DEFAULTS, freshPlaces, overheard, stored } from './lmdb-log.suite.ts'
import type { Log, Rhythm } from './log.ts'
import { rewritingSuite } from './rewriting.suite.ts'
import { bodyOf, logSuite, message, readAll, type Engine, type EngineOptions } from './log.suite.ts'

const fresh = freshPlaces(t)

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
await t.test('rewriting', (t) => rewritingSuite(t, opener('commit'), async (place) => keptAt(place)))
await t.test('the contract, durable at flush', (t) => logSuite(t, opener('flush')))

/** What the journal and lmdb's file hold, the pages that are free included. */
function keptAt (place: string): Buffer {
  return Buffer.concat([join('journal', 'journal-0'), join('journal', 'journal-1'), join('lmdb', 'data.mdb')].map((name) => readFileSync(join(place, name))))
}

/** Turns the clock and the loop until it holds. */
async function turning (clock: ManualClock, what: string, holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 50_000; turn++) {
    if (holds()) return
    if (turn % 1000 === 0) clock.advance(5000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error(`waited in vain until ${what}`)
}

/** The store, with commits that fail while `isBroken` says so. */
function breakable (store: Store): { store: Store, isBroken: boolean } {
  const broken = {
    isBroken: false,
    store: {
      ...store,
      commit: async (work: () => void) => {
        if (broken.isBroken) throw new AppError('unavailable', 'of the test')
        await store.commit(work)
      }
    }
  }
  return broken
}

t.test('what is published comes into the tables, and the journal is written over', async (t) => {
  const clock = new ManualClock()
  const dir = fresh()
  const store = await openStore(dir)
  const log = createLmdbLog(store, { ...DEFAULTS, clock, metrics: new Metrics() })
  for (let round = 0; round < 8; round++) {
    await Promise.all(Array.from({ length: 500 }, (_, i) => log.publish('r', message('x'.repeat(500), `${round}-${i}`))))
    await turning(clock, 'it is settled', () => stored(store) === (round + 1) * 500 && store.tables.heads.getCount() === 1)
  }
  const sizes = ['journal-0', 'journal-1'].map((name) => statSync(join(dir, 'journal', name)).size)
  t.ok(sizes.every((size) => size > 0 && size < 2_000_000), `of 4,000 entries the journal's files hold the last ones: ${sizes.join(' and ')} bytes`)
  t.match(await log.publish('r', message('x', '3-7')), { repeated: true }, 'settled nonces are known')
  t.equal((await readAll(log, 'r')).length, 4000)
  await log.close()
  await store.close()
})

t.test('what was read before it was rewritten is not what is read once that is settled', async (t) => {
  const clock = new ManualClock()
  const store = await openStore(fresh())
  const log = createLmdbLog(store, { ...DEFAULTS, clock, metrics: new Metrics() })
  const { epoch } = await log.publish('r', message('secret'))
  await turning(clock, 'it is settled', () => stored(store) === 1)
  const [was] = await readAll(log, 'r') as [Uint8Array]
  t.equal(await log.rewrite('r', epoch, [{ seq: 1, was, becomes: removedEntry(was) }]), 1)
  const kept = (): boolean => [...store.tables.entries.getRange({})].some(({ value }) => Buffer.from(value).includes('secret'))
  t.ok(kept())
  await turning(clock, 'that is settled too', () => !kept())
  await log.publish('other', message('x'))
  await turning(clock, 'so is what came after it', () => stored(store) === 2)
  t.ok((await readAll(log, 'r')).every(isRemoved))
  await log.close()
  await store.close()
})

t.test('a removed log\'s entries are deleted, also when the process ended in between', async (t) => {
  let clock = new ManualClock()
  const dir = fresh()
  let store = await openStore(dir)
  let log = createLmdbLog(store, { ...DEFAULTS, clock, metrics: new Metrics() })
  await Promise.all(Array.from({ length: 3000 }, (_, i) => log.publish('r', message(`m${i}`))))
  await log.close()
  t.equal(stored(store), 3000)
  const metrics = new Metrics()
  const broken = { ...store, commit: async (work: () => void) => {
    if (store.tables.removed.getCount() > 0) throw new AppError('unavailable', 'of the test')
    await store.commit(work)
  } }
  log = createLmdbLog(broken, { ...DEFAULTS, clock, metrics })
  await log.remove('r')
  await turning(clock, 'the removal is noted, and no more', () => metrics.value('uproar_log_failures_total') > 0)
  await store.close()
  store = await openStore(dir)
  t.ok(stored(store) > 0, 'it ended before all were deleted')
  clock = new ManualClock()
  log = createLmdbLog(store, { ...DEFAULTS, clock, metrics: new Metrics() })
  await log.publish('other', message('x'))
  await turning(clock, 'the rest is deleted', () => store.tables.removed.getCount() === 0)
  t.equal(stored(store) <= 1, true)
  await log.close()
  await store.close()
})

t.test('nonces do not pile up', async (t) => {
  const clock = new ManualClock()
  const store = await openStore(fresh())
  const log = createLmdbLog(store, { ...DEFAULTS, retention: { ...DEFAULTS.retention, hours: 1000 }, clock, metrics: new Metrics() })
  for (let minute = 0; minute < 30; minute++) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => log.publish('r', message('x', `${minute}-${i}`))))
    await turning(clock, 'they are settled', () => stored(store) === (minute + 1) * 20)
    clock.advance(60_000)
  }
  await log.close()
  const rows = store.tables.nonces.getCount()
  t.ok(rows > 0 && rows <= 2 * 15, `${rows} rows after half an hour, two a settling of the last ten minutes`)
  await store.close()
})

t.test('a settling that is cut short among its nonces leaves none behind, and forgets none', async (t) => {
  const clock = new ManualClock()
  const dir = fresh()
  const short = await openStore(dir)
  let store = short
  const metrics = new Metrics()
  // So slow that they take several transactions.
  const nonces = overheard(short.tables.nonces, (name) => { for (const end = performance.now() + (name === 'put' ? 0.2 : 0); performance.now() < end;); })
  const broken = { ...short, tables: { ...short.tables, nonces }, commit: async (work: () => void) => {
    if (short.tables.nonces.getCount() > 0) throw new AppError('unavailable', 'of the test')
    await short.commit(work)
  } }
  let log = createLmdbLog(broken, { ...DEFAULTS, clock, metrics })
  await Promise.all(Array.from({ length: 1000 }, (_, i) => log.publish('r', message('x', `n${i}`))))
  await turning(clock, 'it fails, twice', () => metrics.value('uproar_log_failures_total') >= 2)
  const left = store.tables.nonces.getCount()
  t.ok(left > 0 && left <= 32, `${left} buckets of a part that does not count`)
  t.match(await log.publish('r', message('x', 'n7')), { repeated: true, seq: 8 }, 'they are known from what waits')
  await store.close()
  store = await openStore(dir)
  const buckets = store.tables.nonces.getCount()
  log = createLmdbLog(store, { ...DEFAULTS, clock, metrics: new Metrics() })
  t.same([buckets > 0, store.tables.nonces.getCount()], [true, 0], 'a start clears it away')
  t.match(await log.publish('r', message('x', 'n7')), { repeated: true, seq: 8 }, 'the journal knows')
  await turning(clock, 'it is settled', () => store.tables.nonces.getCount() > 1)
  await log.close()
  log = createLmdbLog(store, { ...DEFAULTS, clock, metrics: new Metrics() })
  for (const i of [0, 7, 999]) t.match(await log.publish('r', message('x', `n${i}`)), { repeated: true, seq: i + 1 }, 'and then the tables')
  await log.close()
  await store.close()
})

t.test('a nonce that waits longer than the window to be settled is known, and so is one that came meanwhile', async (t) => {
  const clock = new ManualClock()
  const store = await openStore(fresh())
  const broken = breakable(store)
  const metrics = new Metrics()
  const log = createLmdbLog(broken.store, { ...DEFAULTS, clock, metrics })
  broken.isBroken = true
  await log.publish('r', message('x', 'early'))
  await turning(clock, 'a settling failed', () => metrics.value('uproar_log_failures_total') > 0)
  clock.advance(DEFAULTS.dedupMinutes * 2 * 60_000)
  await log.publish('r', message('x', 'late'))
  broken.isBroken = false
  await turning(clock, 'both are settled', () => stored(store) === 2)
  t.match(await log.publish('r', message('x', 'late')), { repeated: true, seq: 2 })
  t.match(await log.publish('r', message('x', 'early')), { repeated: false, seq: 3 }, 'its window is over')
  t.match(await log.publish('r', message('x', 'early')), { repeated: true, seq: 3 })
  await log.close()
  await store.close()
})

t.test('tables that cannot be written: publishing goes on, and nothing is lost by a crash', async (t) => {
  const dir = fresh()
  const published: string[] = []
  for (let life = 0; life < 4; life++) {
    const clock = new ManualClock()
    const store = await openStore(dir)
    const broken = breakable(store)
    broken.isBroken = life < 3
    const metrics = new Metrics()
    const log = createLmdbLog(broken.store, { ...DEFAULTS, clock, metrics })
    t.same((await readAll(log, 'r')).map(bodyOf), published, `life ${life}: all is there`)
    const known = await Promise.all(published.map((body) => log.publish('r', message(body, body))))
    t.ok(known.every(({ repeated, seq }, at) => repeated && seq === at + 1), 'and every nonce')
    for (let round = 0; round < 3; round++) {
      const bodies = Array.from({ length: 50 }, (_, i) => `${life}-${round}-${i}`)
      await Promise.all(bodies.map((body) => log.publish('r', message(body, body))))
      published.push(...bodies)
      const failures = metrics.value('uproar_log_failures_total')
      if (broken.isBroken) await turning(clock, 'a settling failed', () => metrics.value('uproar_log_failures_total') > failures)
    }
    if (life === 3) await log.close()
    // Otherwise the process ends here: the log is not closed.
    await store.close()
  }
  const store = await openStore(dir)
  t.equal(stored(store), published.length, 'once they can be written they have everything')
  await store.close()
})

t.test('a journal that cannot be written, nor taken back', { skip: process.platform !== 'linux' && '/dev/full is Linux' }, async (t) => {
  const dir = fresh()
  mkdirSync(join(dir, 'journal'), { recursive: true })
  for (const name of ['journal-0', 'journal-1']) symlinkSync('/dev/full', join(dir, 'journal', name))
  const store = await openStore(dir)
  const log = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
  await t.rejects(log.publish('r', message('one', 'n1')), { code: 'unavailable' })
  await t.rejects(log.publish('r', message('two')), { code: 'unavailable', message: /restart/ }, 'nothing is accepted any more')
  await log.close()
  await store.close()
})

t.test('a commit that fails without a trace', { skip: process.platform !== 'linux' && 'prlimit is Linux' }, async (t) => {
  const survive = (): void => {}
  process.on('SIGXFSZ', survive)
  t.teardown(() => process.off('SIGXFSZ', survive))
  const limit = (size: string): unknown => execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${size}`])
  const store = await openStore(fresh())
  const log = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
  const first = await log.publish('r', message('one', 'n1'))
  limit('16:unlimited')
  const all = [log.publish('r', message('a', 'na')), log.publish('r', message('a', 'na')), log.head('new'), log.remove('r'), log.publish('new', message('b'))]
  // Refused for its epoch, behind the removal, in a commit that fails as a whole.
  const told: unknown[] = []
  log.submit('r', { ...message('late'), epoch: first.epoch }, { resolve: (published) => { told.push(published) }, reject: (error) => { told.push((error as AppError).code) } })
  const lost = await Promise.allSettled(all)
  limit('unlimited')
  t.same(told, ['unavailable'], 'and everybody is told once')
  t.same(lost.map((one) => one.status === 'rejected' && (one.reason as AppError).code), Array(5).fill('unavailable'), 'everything in it is rejected')
  t.same(await log.head('r'), { epoch: first.epoch, first: 1, seq: 1 })
  t.match(await log.publish('r', message('a', 'na')), { seq: 2, epoch: first.epoch, repeated: false }, 'its seq and its nonce are free')
  t.equal((await log.publish('new', message('b'))).seq, 1)
  t.same((await readAll(log, 'r')).map(bodyOf), ['one', 'a'])
  await log.close()
  await store.close()
})

t.test('a journal that was torn, or lost a part', async (t) => {
  const dir = fresh()
  const path = join(dir, 'journal', 'journal-0')
  const reopened = async (change: (bytes: Buffer) => Buffer): Promise<string[]> => {
    writeFileSync(path, change(readFileSync(path)))
    const store = await openStore(dir)
    try {
      const log = createLmdbLog(store, { ...DEFAULTS, clock: new ManualClock(), metrics: new Metrics() })
      return (await readAll(log, 'r')).map(bodyOf)
    } finally {
      await store.close()
    }
  }
  const store = await openStore(dir)
  const log = createLmdbLog(store, { ...DEFAULTS, clock: new ManualClock(), metrics: new Metrics() })
  for (const body of ['one', 'two', 'three']) await log.publish('r', message(body))
  await store.close()
  const whole = readFileSync(path)
  t.same(await reopened(() => Buffer.concat([whole, Buffer.alloc(100)])), ['one', 'two', 'three'], 'zeros behind it are no record')
  t.same(await reopened(() => Buffer.concat([whole, whole])), ['one', 'two', 'three'], 'nor are older records')
  for (const cut of [1, 20, 60]) t.same(await reopened(() => whole.subarray(0, -cut)), ['one', 'two'], `torn ${cut} bytes before its end`)
  t.same(await reopened(() => {
    const changed = Buffer.from(whole)
    changed[whole.length - 5] = 0x55
    return changed
  }), ['one', 'two'], 'a record that is not what was written does not count')
  const first = whole.readUInt32LE(0) + RECORD_HEAD
  await t.rejects(reopened(() => whole.subarray(first)), { message: /journal in .* has commit 2 where 1 should be/ }, 'a missing one is no beginning')
})

t.test('a journal that was damaged, or deleted', async (t) => {
  const dir = fresh()
  const path = join(dir, 'journal', 'journal-0')
  const begin = async (durability: 'commit' | 'flush' = 'commit'): Promise<{ log: Log, store: Store }> => {
    const store = await openStore(dir)
    try {
      return { store, log: createLmdbLog(store, { ...DEFAULTS, clock: new ManualClock(), durability, metrics: new Metrics() }) }
    } catch (error) {
      await store.close()
      throw error
    }
  }
  const first = await begin()
  for (const body of ['one', 'two', 'three', 'four']) await first.log.publish('r', message(body))
  // The process ends here: the log is not closed.
  await first.store.close()
  const whole = readFileSync(path)
  const damaged = Buffer.from(whole)
  damaged.fill(0x55, whole.readUInt32LE(0) + RECORD_HEAD, whole.readUInt32LE(0) + RECORD_HEAD + 30)

  writeFileSync(path, damaged)
  await t.rejects(begin('flush'), { name: 'StartFault', message: /is damaged: its commit 2 cannot be read, though a later one \(3\) can/ }, 'what was on the disk must be there')
  const warned = once(process, 'warning')
  const after = await begin()
  t.match(((await warned) as Error[])[0]?.message, /is damaged: its commit 2 cannot be read/, 'a loss of power may do that: it is said, and goes on')
  t.same((await readAll(after.log, 'r')).map(bodyOf), ['one'])
  await after.log.publish('r', message('TWO'))
  await after.store.close()
  const again = await begin('flush')
  t.same((await readAll(again.log, 'r')).map(bodyOf), ['one', 'TWO'], 'what stood behind the damage does not come back behind what was written over it')
  await again.store.close()

  for (const names of [['journal-0'], ['journal-1'], ['journal-0', 'journal-1']]) {
    for (const name of names) rmSync(join(dir, 'journal', name))
    await t.rejects(begin(), { name: 'StartFault', message: new RegExp(`^DATA_DIR: ${names.join(' and ')} in .*journal is gone`) }, `without ${names.join()} it does not begin as if nothing had been`)
    for (const name of ['journal-0', 'journal-1']) writeFileSync(join(dir, 'journal', name), name === 'journal-0' ? whole : '')
  }
  const restored = await begin()
  t.same((await readAll(restored.log, 'r')).map(bodyOf), ['one', 'two', 'three', 'four'], 'put back, it is as before')
  await restored.log.close()
  await restored.store.close()
  rmSync(join(dir, 'journal'), { recursive: true })
  const settled = await begin()
  t.same((await readAll(settled.log, 'r')).map(bodyOf), ['one', 'two', 'three', 'four'], 'after a clean stop the tables have everything')
  await settled.log.close()
  await settled.store.close()
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
  await log.close()
  await store.close()
  t.equal(metrics.value('uproar_log_failures_total'), 0)
})

t.test('commits are made when they are wanted, at their pace, and what waits for one is never left behind', async (t) => {
  const store = await openStore(fresh())
  const log = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
  const rhythm = log.rhythm as Rhythm
  const waiting: (() => void)[] = []
  // Like an inbox: what is kept is published just before each commit.
  const crowd = (): Promise<unknown> => Promise.all(Array.from({ length: 10 }, () => log.publish('r', message('many')).catch(() => {})))
  rhythm.listen(() => {
    void crowd()
    for (const call of waiting.splice(0)) call()
  })
  /** Resolves with the log's next commit, which is wanted so late. */
  const next = (inMs: number): Promise<void> => new Promise((resolve) => {
    waiting.push(resolve)
    rhythm.want(inMs)
  })
  const after = (ms: number): Promise<boolean> => new Promise((resolve) => setTimeout(resolve, ms, false))
  /** Whether it was so once: a machine that has much to do may be late, at times. */
  const sometime = async (what: () => Promise<boolean>): Promise<boolean> => {
    for (let time = 0; time < 50; time++) if (await what()) return true
    return false
  }
  t.notOk(rhythm.isGathering)
  await next(1000)
  t.pass('what waits is called, though nothing is published and nobody else comes')
  while (!rhythm.isGathering) await crowd()
  t.ok(await sometime(async () => {
    await next(0)
    return !await Promise.race([next(1000).then(() => true), after(35)])
  }), 'a commit that is wanted later is later than its pace')
  t.ok(await sometime(async () => {
    await next(0)
    const late = next(1000).then(() => true)
    await after(1)
    const isSoon = await Promise.race([log.publish('quiet', message('now')).then(() => true), after(35)])
    await late
    return isSoon
  }), 'and one that cannot wait has it at the pace')
  t.ok(await sometime(async () => {
    await next(0)
    const late = next(1000).then(() => true)
    await after(1)
    const isSoon = await Promise.race([next(5).then(() => true), after(35)])
    await late
    return isSoon
  }), 'the earliest wish counts')
  const last = next(1000)
  await log.close()
  await last
  t.notOk(rhythm.isGathering, 'a log that closes calls what waits, and nothing waits for it any more')
  await store.close()
})

t.test('when few come after many, commits are not paced any more', async (t) => {
  const store = await openStore(fresh())
  const log = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
  const rhythm = log.rhythm as Rhythm
  while (!rhythm.isGathering) await Promise.all(Array.from({ length: 10 }, () => log.publish('r', message('many'))))
  let count = 0
  for (; rhythm.isGathering && count < 100; count++) {
    await log.publish('r', message('one'))
    // Longer than the pace: each finds its commit due.
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  t.ok(count < 100, `not after ${count} that came alone`)
  await log.close()
  await store.close()
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
