// The notifier on the real embedded log and its feed: who is told, who is not, once for each, as the schema says.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import t from 'tap'
import { packTail } from '../../proto/entry.ts'
import { KIND, OUT } from '../../proto/ops.ts'
import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import { Gathered, until } from './feed.suite.ts'
import { LogFeed } from './log-feed.ts'
import { Notifier } from './notifier.ts'

const schema = new Ajv({ strictTypes: false }).compile(JSON.parse(readFileSync(new URL('../../proto/feed/notifications.v1.json', import.meta.url), 'utf8')))

t.test('mentions become notifications', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-notifier-'))
  const metrics = new Metrics()
  const store = await openStore(dir)
  const log = createLmdbLog(store, { clock: systemClock, metrics, durability: 'commit', queueMax: 1000, dedupMinutes: 1, retention: { hours: 1, entriesMax: 100_000, mbMax: 100 } })
  const feed = new LogFeed({ log, clock: systemClock, metrics, say: () => {} })
  t.teardown(async () => {
    await feed.close()
    await log.close()
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  })
  const say = async (at: readonly string[] | null, body: string, kind: number = KIND.text, more: readonly unknown[] = []): Promise<unknown> =>
    log.publish('r', { op: OUT.MESSAGE, tail: packTail([['ann', 'Ann', 0], kind, body, at === null ? null : { at }, ...more]), author: 'ann', nonce: null })
  await say(['bob'], 'before there was a notifier')
  const notifier = new Notifier(feed, () => {})
  notifier.start()
  t.teardown(() => notifier.stop())
  await until('it has begun', () => store.tables.cursors.doesExist(Buffer.from('notifier\0')))
  const told = new Gathered()
  await feed.consume({ name: 'told', topics: ['notifications'], from: 'beginning', handle: async (batch) => told.take(batch) })
  await say(null, 'to nobody')
  await say(['bob', 'eve', 'bob', 'ann'], 'hello you two')
  await say(['bob'], 'hidden', KIND.text, [true])
  await say(['bob'], 'system', KIND.system)
  await say(['eve'], 'last')
  await until('the last is there', () => told.records.some(({ value }) => (value['message'] as { body: string }).body === 'last'))
  t.same(told.records.map(({ value }) => [value['user'], (value['message'] as { body: string }).body]), [['bob', 'hello you two'], ['eve', 'hello you two'], ['eve', 'last']])
  for (const { value } of told.records) t.ok(schema(value), JSON.stringify(schema.errors))
  t.equal(new Set(told.records.map(({ value }) => value['id'])).size, 3)
})
