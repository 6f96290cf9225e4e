// The archiver between the feed over a real log and the real client, with a server that fails in every way it can: what was
// accepted is in the archive once, a bad record is put aside, and an outage is lag.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { LogFeed } from '../feed/log-feed.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import type { Archive } from './archive.ts'
import { isOpen, LIMITS } from './archive.suite.ts'
import { Archiver } from './archiver.ts'
import { createClickHouseArchive } from './clickhouse-archive.ts'
import { ClickHouseFront, type Mishap } from './clickhouse-front.suite.ts'
import { createNoArchive } from './no-archive.ts'

const root = mkdtempSync(join(tmpdir(), 'uproar-archiver-'))
const front = await ClickHouseFront.start(join(root, 'front'))
t.teardown(async () => {
  await front.stop()
  rmSync(root, { recursive: true, force: true })
})

const silent = (): void => {}
let stages = 0

interface Stage { readonly log: ReturnType<typeof createLmdbLog>, readonly feed: LogFeed, readonly metrics: Metrics, readonly archive: Archive, say (room: string, body: string, roles?: number): Promise<unknown>, until (what: string, holds: () => boolean | Promise<boolean>): Promise<void> }

async function stage (t: Test): Promise<Stage> {
  const metrics = new Metrics()
  const store = await openStore(join(root, `log ${stages}`))
  const log = createLmdbLog(store, { clock: systemClock, metrics, durability: 'commit', queueMax: 20_000, retention: { hours: 1, entriesMax: 1_000_000, mbMax: 1000 }, dedupMinutes: 10 })
  const feed = new LogFeed({ log, clock: systemClock, metrics, say: silent })
  const archive = createClickHouseArchive({ url: front.url, username: front.user, password: front.password, caCert: null, say: silent, layout: { database: `s${stages++}`, storagePolicy: null, tiers: [], isSynced: false } })
  t.teardown(async () => {
    await feed.close()
    await archive.close()
    await log.close()
    await store.close()
  })
  archive.start()
  await isOpen(archive)
  return {
    log, feed, metrics, archive,
    say: (room, body, roles = 0) => log.publish(room, { op: OUT.MESSAGE, tail: packTail([['ann', 'Ann', roles], 0, body, null]), author: 'ann', nonce: null }),
    async until (what, holds) {
      for (const end = performance.now() + 20_000; !await holds();) {
        if (performance.now() > end) throw new Error(`waited in vain until ${what}`)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
  }
}

/** Each makes the next try wait for longer. */
const FAILURES = 4

const counted = async (archive: Archive): Promise<number> => (await archive.query<{ n: number }>('SELECT count() AS n FROM messages FINAL', {}, LIMITS).catch(() => []))[0]?.n ?? -1

await t.test('a server that fails at random: all is there, once', async (t) => {
  const { archive, feed, metrics, say, until } = await stage(t)
  // Every one of the first tries fails, somehow: with all of it in one insert the first that does not would be the last.
  const mishaps: readonly Mishap[] = ['fails', 'gateway', 'cutAfter', 'cutAfter', 'cutBefore']
  let failed = 0
  front.mishap = (sql) => {
    const mishap = sql.startsWith('INSERT INTO messages') && failed < FAILURES ? mishaps[Math.floor(Math.random() * mishaps.length)] as Mishap : 'none'
    if (mishap !== 'none') failed++
    return mishap
  }
  const archiver = new Archiver({ feed, archive, metrics, say: silent, paceMs: 5 })
  archiver.start()
  for (let n = 0; n < 600; n++) {
    await say(`room ${n % 3}`, `said ${n}`)
    if (n % 50 === 49) await new Promise((resolve) => setImmediate(resolve))
  }
  await until('enough has failed', () => failed === FAILURES)
  front.mishap = () => 'none'
  // Written is not acknowledged yet: the answer of the last one may have been cut.
  await until('all is there', async () => metrics.value('uproar_feed_records_total', 'archiver') >= 600 && await counted(archive) === 600)
  for (const room of [0, 1, 2]) {
    const bodies = (await archive.query<{ body: string }>('SELECT body FROM messages FINAL WHERE room = {room:String} ORDER BY seq', { room: `room ${room}` }, LIMITS)).map(({ body }) => body)
    t.same(bodies, Array.from({ length: 200 }, (_, at) => `said ${at * 3 + room}`))
  }
  t.same(await archive.query('SELECT sum(messages) AS n FROM minutes_of_rooms', {}, LIMITS), [{ n: 600 }], 'nor counted twice')
  t.ok(metrics.value('uproar_archive_failures_total', '') > 0)
  t.equal(metrics.value('uproar_feed_dead_total', 'archiver'), 0, 'nothing was put aside for what the server did')
  await archiver.stop()
})

await t.test('a bad record is put aside with its reason, and a server that is away is lag', async (t) => {
  const { archive, feed, metrics, log, say, until } = await stage(t)
  const { port } = front
  await front.leave()
  for (let n = 0; n < 20; n++) await say('r', `said ${n}`, n === 7 ? -1 : 0)
  const archiver = new Archiver({ feed, archive, metrics, say: silent, paceMs: 5 })
  archiver.start()
  await until('it has failed', () => metrics.value('uproar_feed_failures_total', 'archiver') > 1)
  await until('the lag is told', () => metrics.value('uproar_feed_lag_records', 'archiver') >= 20)
  await front.listen(port)
  await until('the others are there', async () => await counted(archive) === 19)
  await until('the letter is written', () => metrics.value('uproar_feed_dead_total', 'archiver') === 1)
  t.equal((await log.head('uproar:messages.dead')).seq, 1)
  await say('r', 'after')
  await until('it goes on', async () => await counted(archive) === 20)
  await archiver.stop()
})

t.test('where there is no archive nothing is consumed', async (t) => {
  const metrics = new Metrics()
  const archive = createNoArchive('the optional package chdb is not installed')
  const feed = { consume: () => { throw new Error('it consumes') } } as unknown as LogFeed
  const archiver = new Archiver({ feed, archive, metrics, say: silent })
  archive.start()
  archiver.start()
  await archiver.stop()
  t.match(archive.verdict, { state: 'none', reason: /not installed/ })
  await t.rejects(archive.query('SELECT 1', {}, LIMITS), { code: 'unavailable', message: /not installed/ })
  await t.rejects(async () => { for await (const _ of archive.stream('SELECT 1', {}, LIMITS, 'ndjson')) t.fail('a piece') }, { code: 'unavailable' })
})
