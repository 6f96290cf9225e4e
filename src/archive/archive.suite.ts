// The archive's contract, for every engine: rows, parameters, limits, streams, statements, what failures are told as, and
// that text comes out as it went in.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { AppError } from '../base/errors.ts'
import type { FeedRecord } from '../feed/feed.ts'
import type { Archive, Limits } from './archive.ts'
import { createChdbArchive } from './chdb-archive.ts'
import { encode, ENTRY_COLUMNS, entryOf, type EntryRow } from './rows.ts'

export const LIMITS: Limits = { seconds: 10, rowsMax: 10_000 }
/** Half a second of what would take far longer. */
const LONG: Limits = { seconds: 0.5, rowsMax: 1, readRowsMax: 1e15 }

/** A record of the feed, as the log makes it. */
export function message (room: string, seq: number, body: string, options: { user?: string, name?: string, roles?: number, ts?: number, kind?: number, ext?: unknown, shadow?: boolean, epoch?: string, op?: string } = {}): FeedRecord {
  const { user = 'ann', name = 'Ann', roles = 0, ts = 1_767_225_600_000 + seq, kind = 0, ext = null, shadow = false, epoch = 'e1', op = 'message' } = options
  return { topic: 'messages', room, epoch, seq, ts, value: { v: 1, room, epoch, op, seq, ts, user: { id: user, name, roles }, kind, body, ext, ...(shadow ? { shadow: true } : {}) } }
}

export function removal (room: string, seq: number, target: Record<string, unknown>, by: string | null = 'mod'): FeedRecord {
  const ts = 1_767_225_600_000 + seq
  return { topic: 'messages', room, epoch: 'e1', seq, ts, value: { v: 1, room, epoch: 'e1', op: 'remove', seq, ts, target, by } }
}

export function auditRecord (room: string, seq: number, values: Record<string, unknown>): FeedRecord {
  const ts = 1_767_225_600_000 + seq
  return { topic: 'audit', room, epoch: 'a1', seq, ts, value: { v: 1, epoch: 'a1', seq, ts, room, action: 'remove', by: 'mod', source: 'human', whom: null, text: null, reason: null, args: {}, failure: null, ...values } }
}

export async function put (archive: Archive, records: readonly FeedRecord[]): Promise<void> {
  const { messages, audit, bad } = encode(records)
  if (bad.length > 0) throw new Error(`bad records: ${bad.map(({ reason }) => reason).join(', ')}`)
  await archive.insert('messages', messages)
  await archive.insert('audit', audit)
}

/** Waits until the archive answers. */
export async function isOpen (archive: Archive, ms = 30_000): Promise<void> {
  for (const end = performance.now() + ms; archive.verdict.state !== 'ok';) {
    if (performance.now() > end || archive.verdict.state === 'none') throw new Error(`the archive did not open: ${archive.verdict.reason}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const HOSTILE = [
  "'; DROP TABLE messages; --", '{room:String}', '\\', "\\'", '"', '`', '\u0000', 'a\u0000b', '\t\n\r', '\u2028\u2029', '😀👩‍👩‍👧‍👦', '\u202Eright to left\u202C', 'مرحبا', '你好世界',
  '=1+1', '@SUM(A1)', '\\N', 'NULL', '%s%n', '[1,2]', '{"a":1}', '\uFFFF', '\uFFFD', 'e\u0301'.repeat(100), 'x'.repeat(5000), ' ', '\u00A0', '</script>', '\\ud800', '\\x00'
]

/** An embedded archive for all tests of a file, open before the first and gone with the last. */
export function archiveOf (file: Pick<Test, 'before' | 'teardown'>): Archive {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-archive-'))
  const archive = createChdbArchive({ directory: folder, say: () => {} })
  file.before(async () => {
    archive.start()
    await isOpen(archive)
  })
  file.teardown(async () => {
    await archive.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return archive
}

export async function archiveSuite (t: Test, open: (t: Test) => Promise<Archive>): Promise<void> {
  const archive = await open(t)
  archive.start()
  await isOpen(archive)
  const count = async (room: string): Promise<number> => (await archive.query<{ n: number }>('SELECT count() AS n FROM messages FINAL WHERE room = {room:String}', { room }, LIMITS))[0]?.n ?? -1

  await t.test('rows go in and come out, once, however often they go in', async (t) => {
    const records = [1, 2, 3, 4, 5].map((seq) => message('once', seq, `said ${seq}`))
    await put(archive, records)
    await put(archive, records.slice(1))
    await put(archive, [...records.slice(3), message('once', 6, 'said 6')])
    t.equal(await count('once'), 6)
    t.same(await archive.query('SELECT room, sum(messages) AS n, max(chatters) AS c FROM minutes_of_rooms WHERE room = {room:String} GROUP BY room', { room: 'once' }, LIMITS), [{ room: 'once', n: 6, c: 1 }], 'nor in what is counted from them')
    await archive.insert('viewers', [{ room: 'once', minute: 1_767_225_600, viewers: 7 }, { room: 'once', minute: 1_767_225_600, viewers: 9 }])
    await archive.insert('viewers', [{ room: 'once', minute: 1_767_225_600, viewers: 8 }])
    t.same(await archive.query("SELECT max(viewers) AS v FROM viewers WHERE room = 'once'", {}, LIMITS), [{ v: 9 }])
    await archive.insert('messages', [])
  })

  await t.test('an entry comes out as the log had it, whatever its text', async (t) => {
    const lone = ['\ud800', 'a\udc00b', '\udc00\ud800']
    const texts = [...HOSTILE, ...lone]
    const records = [
      ...texts.map((body, at) => message('hostile', at + 1, body, { name: body.slice(0, 60), user: `u${body.slice(0, 60)}`, ext: { at: [body.slice(0, 60)], meta: { [body.slice(0, 60)]: body } } })),
      message('hostile', 100, Buffer.from([0, 255, 128]).toString('base64'), { kind: 5 }), message('hostile', 101, 'ghost', { shadow: true }),
      { ...message('hostile', 102, 'of a later version'), value: { ...message('hostile', 102, 'of a later version').value, mood: 'good' } },
      removal('hostile', 103, { user: 'nobody', upTo: 2 }), removal('hostile', 104, { all: true, upTo: 0 }, null),
      { ...message('hostile', 105, ''), value: { v: 1, room: 'hostile', epoch: 'e1', op: 'erased', seq: 105, ts: 1_767_225_600_105 } }
    ]
    await put(archive, records)
    const rows = await archive.query<EntryRow>(`SELECT ${ENTRY_COLUMNS.join(', ')} FROM messages FINAL WHERE room = 'hostile' ORDER BY seq`, {}, LIMITS)
    for (const [at, record] of records.entries()) {
      const { v: _v, room: _room, epoch: _epoch, shadow: _shadow, ...entry } = record.value
      t.same(entryOf(rows[at] as EntryRow), entry)
    }
    for (const body of HOSTILE) {
      t.match(await archive.query("SELECT body, user, mentions FROM messages FINAL WHERE room = 'hostile' AND body = {body:String} AND has({users:Array(String)}, user)", { body, users: [`u${body.slice(0, 60)}`, "'"] }, LIMITS), [{ body, mentions: [body.slice(0, 60)] }], `found by itself: ${encodeURIComponent(body.slice(0, 30))}`)
    }
  })

  await t.test('what was removed is there, with who and why', async (t) => {
    await put(archive, [
      ...[1, 2, 3, 4, 5, 6].map((seq) => message('gone', seq, `word${seq} common`, { user: seq % 2 === 0 ? 'bob' : 'ann' })),
      removal('gone', 7, { seq: 3 }), removal('gone', 8, { user: 'bob', upTo: 4 }, null), removal('gone', 9, { user: 'bob', upTo: 6 }),
      auditRecord('gone', 1, { args: { seq: 3 }, reason: 'spam', whom: 'ann', text: 'word3 common' }), auditRecord('gone', 2, { action: 'purge', whom: 'bob', reason: "it's rude" }), auditRecord('elsewhere', 3, { args: { seq: 5 }, reason: 'other' }),
      message('elsewhere', 3, 'stays')
    ])
    const read = `SELECT seq, removed, removed_seq AS mark, removed_by AS by, removed_why AS why FROM chat WHERE room = {room:String} AND op = 'message' ORDER BY seq`
    const stays = { removed: 0, mark: 0, by: '', why: '' }
    t.same(await archive.query(read, { room: 'gone' }, LIMITS), [
      { seq: 1, ...stays }, { seq: 2, removed: 1, mark: 8, by: '', why: "it's rude" }, { seq: 3, removed: 1, mark: 7, by: 'mod', why: 'spam' },
      { seq: 4, removed: 1, mark: 8, by: '', why: "it's rude" }, { seq: 5, ...stays }, { seq: 6, removed: 1, mark: 9, by: 'mod', why: "it's rude" }
    ])
    await put(archive, [{ ...removal('gone', 10, { all: true, upTo: 9 }) }])
    t.same(new Set((await archive.query<{ removed: number }>(read, { room: 'gone' }, LIMITS)).map(({ removed }) => removed)), new Set([1]), 'a room that was cleared')
    t.match(await archive.query(read, { room: 'elsewhere' }, LIMITS), [stays], 'another room is as it was')
    t.same(await archive.query("SELECT action, source, sum(actions) AS n FROM moderation_of_rooms WHERE room = 'gone' GROUP BY action, source ORDER BY action", {}, LIMITS), [{ action: 'purge', source: 'human', n: 1 }, { action: 'remove', source: 'human', n: 1 }])
  })

  await t.test('a search by words uses the index', async (t) => {
    const plan = await archive.query<{ explain: string }>("EXPLAIN indexes = 1 SELECT seq FROM chat WHERE room = {room:String} AND hasAllTokens(body, {words:String})", { room: 'gone', words: 'word3 common' }, LIMITS)
    const text = plan.map(({ explain }) => explain).join('\n')
    t.match(text, /Name: words\s[^]*Condition: \(mode: All; tokens: \["common", "word3"\]\)/)
    t.match(text, /PrimaryKey[^]*Condition: .*room in \['gone', 'gone'\]/)
    t.match(await archive.query("SELECT seq FROM chat WHERE hasAllTokens(body, {words:String})", { words: 'WORD3, Common' }, LIMITS), [{ seq: 3 }], 'whatever the case')
  })

  await t.test('limits end a read, and say so', async (t) => {
    const numbers = (count: number): string => `SELECT number FROM numbers(${count})`
    await t.rejects(archive.query(numbers(11), {}, { ...LIMITS, rowsMax: 10 }), { name: 'AppError', code: 'bad_request' })
    await t.rejects(archive.query("SELECT seq, body FROM messages WHERE room = 'gone' ORDER BY body", {}, { ...LIMITS, readRowsMax: 2 }), { name: 'AppError', code: 'bad_request' })
    await t.rejects(archive.query('SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1', {}, LONG), { name: 'AppError', code: 'overloaded' })
    await t.rejects(archive.query('SELECT uniqExact(number) FROM numbers(100000000)', {}, { ...LIMITS, readRowsMax: 1e12, memoryMb: 20 }), { name: 'AppError', code: 'overloaded' })
    t.equal((await archive.query(numbers(10), {}, { ...LIMITS, rowsMax: 10 })).length, 10)
    t.same(archive.verdict, { state: 'ok' })
  })

  await t.test('what is our mistake is no outage', async (t) => {
    const notApp = async (call: Promise<unknown>): Promise<void> => { await call.then(() => t.fail('it resolved'), (error: unknown) => t.notOk(error instanceof AppError, String(error))) }
    await notApp(archive.query('SELECT nothing FROM messages', {}, LIMITS))
    await notApp(archive.query('DROP TABLE messages', {}, LIMITS))
    await notApp(archive.query('SELECT 1; DROP TABLE messages', {}, LIMITS))
    await notApp(archive.insert('messages', { columns: ['room', 'seq'], bytes: Buffer.from('["x","not a number"]'), count: 1 }))
    await notApp(archive.insert('messages', { columns: ['room', 'body'], bytes: Buffer.from('["x","\\ud800"]'), count: 1 }))
    t.same(archive.verdict, { state: 'ok' })
    t.equal(await count('x'), 0)
  })

  await t.test('streams: whole, in pieces, ended from either side', async (t) => {
    const sql = 'SELECT number AS n, {text:String} AS text FROM numbers(300000)'
    let text = ''
    let pieces = 0
    for await (const piece of archive.stream(sql, { text: "it's\n" }, LIMITS, 'ndjson')) {
      text += Buffer.from(piece).toString()
      pieces++
    }
    const lines = text.trimEnd().split('\n')
    t.equal(lines.length, 300_000)
    t.same(JSON.parse(lines.at(-1) as string), { n: 299_999, text: "it's\n" })
    t.ok(pieces > 1)
    const parquet: Uint8Array[] = []
    for await (const piece of archive.stream(sql, { text: 'x' }, LIMITS, 'parquet')) parquet.push(piece)
    const file = Buffer.concat(parquet)
    t.equal(file.subarray(0, 4).toString(), 'PAR1')
    t.equal(file.subarray(-4).toString(), 'PAR1')
    t.equal(file.indexOf('PAR1', 4), file.length - 4, 'one file, not several in a row')
    for await (const piece of archive.stream(sql, { text: 'x' }, LIMITS, 'ndjson')) if (piece.length > 0) break
    const leaving = new AbortController()
    await t.rejects(async () => { for await (const _ of archive.stream(sql, { text: 'x' }, LIMITS, 'ndjson', leaving.signal)) leaving.abort() }, { name: 'AppError' })
    await t.rejects(async () => { for await (const _ of archive.stream('SELECT nothing FROM messages', {}, LIMITS, 'ndjson')) t.fail('a piece') })
    await t.rejects(async () => { for await (const _ of archive.stream('SELECT sipHash64(number) AS h FROM numbers(100000000000) WHERE h = 1', {}, LONG, 'ndjson')) t.fail('a piece') }, { name: 'AppError', code: 'overloaded' })
    t.equal((await archive.query('SELECT 1', {}, LIMITS)).length, 1, 'and others are served')
  })

  await t.test('statements of ours', async (t) => {
    await archive.command("ALTER TABLE messages DELETE WHERE room = {room:String} SETTINGS mutations_sync = 1", { room: 'once' })
    t.equal(await count('once'), 0)
  })

  await t.test('long reads hold up neither inserts nor, beyond a few, each other', async (t) => {
    let ended = 0
    const reads = Array.from({ length: 16 }, () => archive.query('SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1', {}, { ...LONG, seconds: 3 }).then(() => 'resolved', (error: AppError) => error.code).finally(() => { ended++ }))
    t.equal(await reads.at(-1), 'overloaded', 'so many do not even wait')
    await put(archive, [message('beside', 1, 'quick')])
    t.equal(ended, 1, 'the insert did not wait for them')
    await archive.close()
    for (const code of await Promise.all(reads)) t.match(code, /^(overloaded|unavailable)$/)
    await t.rejects(archive.query('SELECT 1', {}, LIMITS), { code: 'unavailable' })
    await archive.close()
  })
}
