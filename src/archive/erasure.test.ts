// A person leaves the embedded archive: no column of any table has the id, a text or a name of theirs, others' rows are
// there, every position is; what comes in late goes too, and twice is as once.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { auditRecord, isOpen, LIMITS, message, put, removal } from './archive.suite.ts'
import { createChdbArchive } from './chdb-archive.ts'
import { ArchiveErasure, eraseFromRoom, withoutName } from './erasure.ts'
import { createNoArchive } from './no-archive.ts'

const root = mkdtempSync(join(tmpdir(), 'uproar-erasure-'))
t.teardown(() => rmSync(root, { recursive: true, force: true }))

const WHO = `vic"tim'7f3a`
const TRACE = /vic\\*"tim|unfindable|a secret/

t.test('nothing of a person is left, and everything of the others', async (t) => {
  const archive = createChdbArchive({ directory: join(root, 'one'), say () {} })
  t.teardown(() => archive.close())
  archive.start()
  await isOpen(archive)
  const erasure = new ArchiveErasure(archive)
  const own = (room: string, seq: number, more = {}) => message(room, seq, `a secret ${seq}`, { user: WHO, name: 'unfindable', ...more })
  await put(archive, [
    own('r', 1), message('r', 2, 'hello', { ext: { at: [WHO, 'bob'], meta: { x: 1 } } }), own('r', 3, { shadow: true }), own('r', 4, { name: 'unfindable \ud800' }),
    removal('r', 5, { user: WHO, upTo: 3 }), removal('r', 6, { seq: 2 }, WHO), own('s', 1), message('s', 2, 'bye')
  ])
  await put(archive, [
    auditRecord('r', 1, { action: 'timeout', whom: WHO, text: 'a secret', reason: 'a secret why', args: { user: WHO, seconds: 60 } }), auditRecord('r', 2, { by: WHO, whom: 'bob', text: 'rude', args: { seq: 9 } }),
    auditRecord('r', 3, { args: { seq: 1 }, whom: WHO, reason: 'a secret reason' }), auditRecord('r', 4, { whom: 'bob', text: 'kept' })
  ])
  await archive.insert('highlights', [{ room: 'r', day: '2026-01-01', version: 1, messages: 4, words: [['unfindable', 3]], emotes: [] }])
  const everything = async (): Promise<string> => {
    const texts: string[] = []
    for (const table of ['messages', 'audit', 'marks', 'reasons', 'highlights', 'chat']) texts.push(JSON.stringify(await archive.query(`SELECT * FROM ${table} LIMIT 1000`, {}, LIMITS)))
    return texts.join('\n')
  }
  const exported = async (): Promise<unknown[]> => {
    const types: unknown[] = []
    for await (const record of erasure.export(WHO)) types.push(record['type'])
    return types
  }
  t.match(await everything(), TRACE)
  t.same(await exported(), [...new Array(4).fill('archived'), ...new Array(3).fill('archivedAudit')])
  await erasure.erase(WHO, 'erased-x')
  t.notMatch(await everything(), TRACE)
  t.same(await exported(), [])
  t.same(await archive.query('SELECT room, seq, op, body FROM messages FINAL ORDER BY room, seq', {}, LIMITS), [
    { room: 'r', seq: 1, op: 'erased', body: '' }, { room: 'r', seq: 2, op: 'message', body: 'hello' }, { room: 'r', seq: 3, op: 'erased', body: '' }, { room: 'r', seq: 4, op: 'erased', body: '' },
    { room: 'r', seq: 5, op: 'remove', body: '' }, { room: 'r', seq: 6, op: 'remove', body: '' }, { room: 's', seq: 1, op: 'erased', body: '' }, { room: 's', seq: 2, op: 'message', body: 'bye' }
  ], 'every position is there')
  const [told] = await archive.query<{ ext: string, mentions: string[] }>("SELECT ext, mentions FROM messages WHERE room = 'r' AND seq = 2", {}, LIMITS)
  t.same([JSON.parse(told?.ext ?? ''), told?.mentions], [{ at: ['erased-x', 'bob'], meta: { x: 1 } }, ['erased-x', 'bob']])
  const rows = await archive.query<{ seq: number, by: string, whom: string, text: string, entry: string }>('SELECT seq, by, whom, text, entry FROM audit FINAL ORDER BY seq', {}, LIMITS)
  t.same(rows.map(({ seq, by, whom, text }) => [seq, by, whom, text]), [[1, 'mod', 'erased-x', ''], [2, 'erased-x', 'bob', 'rude'], [3, 'mod', 'erased-x', ''], [4, 'mod', 'bob', 'kept']])
  t.match(rows.map(({ entry }) => JSON.parse(entry)), [{ action: 'timeout', whom: 'erased-x', text: null, args: {} }, { by: 'erased-x', whom: 'bob' }, { whom: 'erased-x' }, { whom: 'bob', text: 'kept' }])
  await erasure.erase(WHO, 'erased-y')

  await put(archive, [own('r', 1), own('r', 9)])
  const late = removal('r', 8, { user: WHO, upTo: 7, erased: true }, null)
  await put(archive, [withoutName(late)])
  await eraseFromRoom(archive, late)
  await eraseFromRoom(archive, late)
  t.same(await archive.query('SELECT seq FROM messages FINAL WHERE user = {user:String}', { user: WHO }, LIMITS), [{ seq: 9 }], 'what came in late goes, what is younger stays')
  t.match(await archive.query("SELECT op FROM messages FINAL WHERE room = 'r' AND seq = 8", {}, LIMITS), [{ op: 'erased' }], 'the removal names nobody')
})

t.test('where there is no archive there is nothing to erase', async (t) => {
  const erasure = new ArchiveErasure(createNoArchive('off'))
  await erasure.erase('u', 'erased-x')
  for await (const record of erasure.export('u')) t.fail(JSON.stringify(record))
})
