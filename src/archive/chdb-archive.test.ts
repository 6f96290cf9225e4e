// The embedded archive, held to the suite of its face, and what is its own: a child that dies, one that is late, the
// directory that another has, a newer schema.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ARCHIVE_PANELS } from '../../deploy/grafana/archive-panels.ts'
import { archiveSuite, auditRecord, isOpen, LIMITS, message, put } from './archive.suite.ts'
import { chdbProcess, createChdbArchive } from './chdb-archive.ts'
import { readsSuite } from './reads.suite.ts'

const silent = (): void => {}
const root = mkdtempSync(join(tmpdir(), 'uproar-archive-'))
t.teardown(() => rmSync(root, { recursive: true, force: true }))
let places = 0
const place = (): string => join(root, `it's ${places++}`)

await t.test('the contract', (t) => archiveSuite(t, async (t) => {
  const archive = createChdbArchive({ directory: place(), say: silent })
  t.teardown(() => archive.close())
  return archive
}))

await t.test('reads', (t) => readsSuite(t, async (t) => opened(t).archive))

function opened (t: Test, directory = place()): { archive: ReturnType<typeof createChdbArchive>, process: ReturnType<typeof chdbProcess>, said: string[], directory: string } {
  const process = chdbProcess(directory)
  const said: string[] = []
  const archive = createChdbArchive({ directory, process, say: (_level, message, details) => said.push(`${message} ${String(details?.['reason'] ?? '')}`) })
  t.teardown(() => archive.close())
  archive.start()
  return { archive, process, said, directory }
}

t.test('a child that is killed: what was acknowledged is there, and another takes its place', async (t) => {
  const { archive, process: child } = opened(t)
  await isOpen(archive)
  await put(archive, [message('r', 1, 'kept')])
  const reading = archive.query('SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1', {}, LIMITS)
  process.kill(child.pid as number, 'SIGKILL')
  await t.rejects(reading, { code: 'unavailable' })
  // Its death is known by its end, or by a question that could not be put to it any more.
  t.match(archive.verdict, { state: 'away', reason: /SIGKILL|does not answer/ })
  await t.rejects(archive.query('SELECT 1', {}, LIMITS), { code: 'unavailable' })
  await isOpen(archive)
  t.match(await archive.query("SELECT body FROM messages WHERE room = 'r'", {}, LIMITS), [{ body: 'kept' }])
})

t.test('a call that ends in no other way ends with the child', async (t) => {
  const { archive, process: child } = opened(t)
  await isOpen(archive)
  const before = child.pid
  await t.rejects(archive.command('SELECT sleepEachRow(3) FROM numbers(10) SETTINGS function_sleep_max_microseconds_per_block = 100000000', {}, 0.5), { code: 'unavailable' })
  await isOpen(archive)
  t.not(child.pid, before)
})

t.test('a directory that another has is waited for', async (t) => {
  const first = opened(t)
  await isOpen(first.archive)
  const second = opened(t, first.directory)
  while (second.said.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  t.match(second.archive.verdict, { state: 'away' })
  await put(first.archive, [message('r', 1, 'there')])
  await first.archive.close()
  await isOpen(second.archive)
  t.match(await second.archive.query('SELECT body FROM messages', {}, LIMITS), [{ body: 'there' }])
})

t.test('an archive of a newer program is left alone', async (t) => {
  const first = opened(t)
  await isOpen(first.archive)
  await first.archive.command("INSERT INTO steps (number, title) VALUES (99, 'of the future')")
  await first.archive.close()
  const second = opened(t, first.directory)
  while (second.archive.verdict.state !== 'none') await new Promise((resolve) => setTimeout(resolve, 10))
  t.match(second.archive.verdict, { reason: /newer program.*step 99/ })
  await t.rejects(second.archive.query('SELECT 1', {}, LIMITS), { code: 'unavailable', message: /newer program/ })
  t.match(second.said, [/there is no archive/])
})

t.test('the panels of Grafana ask what there is', async (t) => {
  const { archive } = opened(t)
  await isOpen(archive)
  await put(archive, [message('r', 1, 'shown'), auditRecord('r', 1, {})])
  await archive.insert('viewers', [{ room: 'r', minute: 1_767_225_600, viewers: 7 }])
  const asked = ARCHIVE_PANELS.flatMap(({ title, sql }) => sql === undefined ? [] : [{ title, sql }])
  t.ok(asked.length > 0)
  // Of the plugin's macros only this one is used.
  for (const { title, sql } of asked) t.not((await archive.query(sql.replaceAll('$__timeFilter(minute)', "minute >= toDateTime('2025-01-01')"), {}, LIMITS)).length, 0, title)
})
