// The archive over HTTP, by the real client: held to the suite of its face, and what is its own: a server that is away,
// fails, does not answer, answers in halves, or cuts the line once the write was done; two programs that begin at once.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Archive } from './archive.ts'
import { archiveSuite, isOpen, LIMITS, message, put } from './archive.suite.ts'
import { createClickHouseArchive } from './clickhouse-archive.ts'
import { ClickHouseFront } from './clickhouse-front.suite.ts'
import { readsSuite } from './reads.suite.ts'
import type { Layout } from './schema.ts'

const root = mkdtempSync(join(tmpdir(), 'uproar-archive-'))
const front = await ClickHouseFront.start(root)
t.teardown(async () => {
  await front.stop()
  rmSync(root, { recursive: true, force: true })
})

const silent = (): void => {}
let databases = 0
function create (database = `d${databases++}`, options: { url?: string, password?: string, layout?: Partial<Layout> } = {}): Archive {
  const archive = createClickHouseArchive({
    url: options.url ?? front.url, username: front.user, password: options.password ?? front.password, caCert: null, say: silent,
    layout: { database, storagePolicy: null, tiers: [], isSynced: false, ...options.layout }
  })
  t.teardown(() => archive.close())
  return archive
}

await t.test('the contract', (t) => archiveSuite(t, async () => create()))

await t.test('reads', (t) => readsSuite(t, async () => create()))

await t.test('two programs that begin at once', async (t) => {
  const both = [create('together'), create('together')]
  for (const archive of both) archive.start()
  await Promise.all(both.map((archive) => isOpen(archive)))
  t.match(await (both[0] as Archive).query('SELECT DISTINCT number FROM steps', {}, LIMITS), [{ number: 1 }])
})

await t.test('tables in a storage policy, with tiers', async (t) => {
  const archive = create('tiered', { layout: { storagePolicy: 'default', tiers: [{ volume: 'default', afterDays: 30 }] } })
  archive.start()
  await isOpen(archive)
  const tables = await archive.query<{ name: string, create_table_query: string }>("SELECT name, create_table_query FROM system.tables WHERE database = 'tiered' AND engine LIKE '%MergeTree' AND name != 'steps'", {}, LIMITS)
  t.ok(tables.every(({ create_table_query: text }) => text.includes("storage_policy = 'default'")))
  t.same(tables.filter(({ create_table_query: text }) => /TTL .* \+ toIntervalDay\(30\) TO VOLUME 'default'/.test(text)).map(({ name }) => name).sort(), ['audit', 'messages', 'minutes', 'moderation', 'viewers'])
})

await t.test('a server that fails in any way is waited for, and nothing is there twice', async (t) => {
  const archive = create()
  archive.start()
  await isOpen(archive)
  const port = front.port
  const records = [1, 2, 3].map((seq) => message('r', seq, `said ${seq}`))
  for (const mishap of ['fails', 'gateway', 'cutAfter', 'cutBefore'] as const) {
    front.mishap = (sql) => sql.startsWith('INSERT INTO messages') ? mishap : 'none'
    await t.rejects(put(archive, records), { name: 'AppError', code: 'unavailable' }, mishap)
    front.mishap = () => 'none'
    await isOpen(archive)
  }
  await front.leave()
  await t.rejects(put(archive, records), { code: 'unavailable' })
  t.match(archive.verdict, { state: 'away' })
  await front.listen(port)
  await isOpen(archive)
  await put(archive, records)
  t.same(await archive.query("SELECT count() AS n FROM messages FINAL WHERE room = 'r'", {}, LIMITS), [{ n: 3 }])
  front.mishap = (sql) => sql.includes('numbers') ? 'cutMiddle' : 'none'
  await t.rejects(archive.query('SELECT number FROM numbers(1000)', {}, LIMITS), { code: 'unavailable' }, 'half an answer is none')
  await isOpen(archive)
  await t.rejects(async () => { for await (const _ of archive.stream('SELECT number FROM numbers(1000)', {}, LIMITS, 'parquet')) t.ok(_) }, { code: 'unavailable' })
  await isOpen(archive)
  front.mishap = (sql) => sql.includes('numbers') ? 'silent' : 'none'
  await t.rejects(archive.query('SELECT number FROM numbers(1000)', {}, { ...LIMITS, seconds: -2.5 }), { code: 'unavailable' }, 'no answer in time')
  front.mishap = () => 'none'
})

await t.test('a wrong password, and a server that is not there', async (t) => {
  for (const archive of [create('x', { password: 'wrong' }), create('x', { url: 'http://127.0.0.1:1' })]) {
    archive.start()
    while (archive.verdict.state !== 'away' || archive.verdict.reason.includes('not open yet')) await new Promise((resolve) => setTimeout(resolve, 10))
    t.match(archive.verdict, { reason: /Authentication failed|ECONNREFUSED/ })
    t.notMatch(archive.verdict, { reason: /wrong/ })
  }
})
