// When retention looks at the tables of the embedded log: never later than it has to, and not each second where it need not.
// What it lets go is the log's own suite's (log.suite.ts).

import t from 'tap'
import { ManualClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbLog } from './lmdb-log.ts'
import { DEFAULTS, freshPlaces, overheard, stored } from './lmdb-log.suite.ts'
import { message } from './log.suite.ts'

const HOUR_MS = 3_600_000
const fresh = freshPlaces(t)

t.test('it looks when the oldest entry can be due, when the tables change, and when the clock was set back', async (t) => {
  const clock = new ManualClock()
  const store = await openStore(fresh())
  let looks = 0
  const heads = overheard(store.tables.heads, (name) => { if (name === 'getRange') looks++ })
  const log = createLmdbLog({ ...store, tables: { ...store.tables, heads } }, { ...DEFAULTS, retention: { ...DEFAULTS.retention, hours: 1 }, clock, metrics: new Metrics() })
  const first = async (): Promise<number> => (await log.head('r')).first
  const turn = async (): Promise<void> => { for (let count = 0; count < 20; count++) await new Promise((resolve) => setImmediate(resolve)) }
  const seconds = async (count: number): Promise<number> => {
    const before = looks
    for (let second = 0; second < count; second++) {
      clock.advance(1000)
      await turn()
    }
    return looks - before
  }
  /** Until the tables have so many entries: the disk has its own time. */
  const settled = async (count: number): Promise<void> => {
    for (let waited = 0; stored(store) < count; waited++) {
      if (waited === 2000) throw new Error('nothing was settled')
      if (waited % 100 === 0) clock.advance(5000)
      await turn()
    }
  }
  await log.publish('r', message('old'))
  await settled(1)
  // The end of the settling has a look of its own, whenever it comes.
  t.ok(await seconds(100) <= 3, 'nothing can be due')

  clock.advance(HOUR_MS / 2)
  await turn()
  await log.publish('r', message('young'))
  await settled(2)
  t.ok(await seconds(100) <= 3, 'it looked when an entry of ten minutes might have gone, and when the tables changed')

  const now = clock.now()
  clock.advance(HOUR_MS / 2 - 600_000)
  await turn()
  t.equal(await first(), 1, 'not before its time')
  for (let waited = 0; await first() === 1 && waited < 600; waited++) await seconds(1)
  t.ok(clock.now() - now <= HOUR_MS / 2, 'and not after it')
  t.equal(await first(), 2, 'it went, and the young one stays')
  await log.close()
  await store.close()
})

t.test('a clock that is set back ends the rest', async (t) => {
  const store = await openStore(fresh())
  let now = 1_700_000_000_000
  const manual = new ManualClock(now)
  // Its timers go on while its time is set by hand.
  const clock = { now: () => now, elapsed: () => manual.elapsed(), after: manual.after.bind(manual), every: manual.every.bind(manual) }
  const log = createLmdbLog(store, { ...DEFAULTS, retention: { ...DEFAULTS.retention, hours: 1 }, clock, metrics: new Metrics() })
  const tick = async (): Promise<void> => {
    manual.advance(1000)
    for (let count = 0; count < 20; count++) await new Promise((resolve) => setImmediate(resolve))
  }
  await log.publish('r', message('one'))
  for (let waited = 0; store.tables.heads.getCount() === 0 && waited < 5000; waited++) await tick()
  for (let count = 0; count < 10; count++) await tick()
  now -= 24 * HOUR_MS
  await log.publish('other', message('of the day before'))
  for (let waited = 0; store.tables.heads.getCount() < 2 && waited < 5000; waited++) await tick()
  now += 2 * HOUR_MS
  for (let waited = 0; (await log.head('other')).first === 1 && waited < 5000; waited++) await tick()
  t.equal((await log.head('other')).first, 2)
  t.equal((await log.head('r')).first, 1, 'which is of tomorrow')
  await log.close()
  await store.close()
})
