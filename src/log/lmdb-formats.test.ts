// Stores that older versions left: what format 1 and 2 have is read as it is, and written anew as it changes, also after a
// settling that was cut short.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { entrySeq, isRemoved, removedEntry } from '../../proto/entry.ts'
import { ManualClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { entryKey } from './layout.ts'
import { createLmdbLog } from './lmdb-log.ts'
import { DEFAULTS, freshPlaces } from './lmdb-log.suite.ts'
import { bodyOf, message, readAll } from './log.suite.ts'

const fresh = freshPlaces(t)

t.test('stores of the formats before are taken over', async (t) => {
  for (const format of ['1', '2']) {
    const dir = fresh()
    const bodies = Array.from({ length: 100 }, (_, i) => `kept ${i}`)
    let store = await openStore(dir)
    const before = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
    for (const body of bodies) await before.publish('r', message(body))
    const entries = await readAll(before, 'r')
    await before.close()
    // They had a record for every entry, and format 1 no journal.
    await store.commit(() => {
      void store.tables.entries.clearAsync()
      for (const entry of entries) void store.tables.entries.put(entryKey(1, entrySeq(entry)), entry)
      void store.tables.meta.put(Buffer.from('format'), Buffer.from(format))
    })
    await store.close()
    if (format === '1') rmSync(join(dir, 'journal'), { recursive: true })
    store = await openStore(dir)
    const log = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
    t.same((await readAll(log, 'r')).map(bodyOf), bodies, `format ${format}`)
    t.equal((await log.publish('r', message('next'))).seq, 101)
    const { epoch } = await log.head('r')
    t.equal(await log.rewrite('r', epoch, entries.slice(3, 5).map((was) => ({ seq: entrySeq(was), was, becomes: removedEntry(was) }))), 2)
    await log.close()
    const again = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
    t.same((await readAll(again, 'r')).map((entry) => isRemoved(entry) ? '-' : bodyOf(entry)), bodies.with(3, '-').with(4, '-').concat('next'))
    await again.remove('r')
    await again.close()
    t.equal(store.tables.entries.getCount(), 0, 'removed with all that it had before')
    await store.close()
  }
})

t.test('a store of format 2 whose last settling was cut short is taken over', async (t) => {
  const dir = fresh()
  let store = await openStore(dir)
  const before = createLmdbLog(store, { ...DEFAULTS, clock: new ManualClock(), metrics: new Metrics() })
  for (let i = 0; i < 20; i++) await before.publish('r', message(`m${i}`))
  const was = await readAll(before, 'r')
  const { epoch } = await before.head('r')
  await before.rewrite('r', epoch, [{ seq: 5, was: was[4] as Uint8Array, becomes: removedEntry(was[4] as Uint8Array) }])
  // It had brought some of them into the table, each by itself, and the process ended: the log is not closed.
  await store.commit(() => {
    for (const entry of was.slice(0, 10)) void store.tables.entries.put(entryKey(1, entrySeq(entry)), entry)
    void store.tables.meta.put(Buffer.from('format'), Buffer.from('2'))
  })
  await store.close()
  store = await openStore(dir)
  for (let life = 0; life < 2; life++) {
    const log = createLmdbLog(store, { ...DEFAULTS, metrics: new Metrics() })
    for (const after of [4, 19, 9, 12, 0]) {
      const { entries } = await log.after('r', after, { entries: 100, bytes: 1e6 })
      t.same(entries.map((entry) => isRemoved(entry) ? '-' : bodyOf(entry)), was.map(bodyOf).with(4, '-').slice(after), `life ${life}, after ${after}`)
    }
    await log.close()
  }
  await store.close()
})
