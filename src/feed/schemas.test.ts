// The schemas in proto/feed against what the feed really gives: every op, shadow messages, audit rows, dead letters, what is
// sent. A record that lacks a field, or has a wrong one, does not pass.

import { readFileSync, readdirSync } from 'node:fs'
import { Ajv } from 'ajv'
import t from 'tap'
import { encodeEntry, erasedEntry, packTail } from '../../proto/entry.ts'
import { OUT, type EntryOp } from '../../proto/ops.ts'
import { deadOf, roomOf, TOPICS, type FeedRecord, type FeedTopic } from './feed.ts'
import { deadLetter, recordOf, topicOf, unreadable } from './records.ts'

const FOLDER = new URL('../../proto/feed/', import.meta.url)
const ajv = new Ajv({ allErrors: true, strict: true, strictRequired: false, strictTypes: false })
const schemas = new Map(readdirSync(FOLDER).map((file) => [file, ajv.compile(JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')))]))

function faults (topic: string, value: unknown): string[] {
  const schema = schemas.get(`${topic}.v1.json`)
  if (schema === undefined) return ['no schema']
  // As it travels.
  return schema(JSON.parse(JSON.stringify(value))) ? [] : schema.errors?.map(({ instancePath, message }) => `${instancePath} ${message}`) ?? []
}

function record (topic: FeedTopic, op: EntryOp, fields: readonly unknown[]): FeedRecord {
  return recordOf(topic, topic === 'messages' ? 'r' : roomOf(topic), 'e', encodeEntry(op, 7, 1_700_000_000_000, packTail(fields)))
}

const ROW = { room: 'r', action: 'timeout', by: null, source: 'consumer', whom: 'u', text: null, reason: 'flood', args: { user: 'u', seconds: 60 }, failure: null }

t.test('every topic has a schema, and dead letters one for all', (t) => {
  t.same([...schemas.keys()].sort(), [...TOPICS, 'dead'].map((topic) => `${topic}.v1.json`).sort())
  t.end()
})

t.test('messages: every op', (t) => {
  const author = ['u', 'U', 0]
  const records = [
    record('messages', OUT.MESSAGE, [author, 0, 'hello', { re: 3, at: ['v'] }]), record('messages', OUT.MESSAGE, [author, 5, new Uint8Array([1, 2]), null]),
    record('messages', OUT.MESSAGE, [author, 0, 'for me alone', null, true]), record('messages', OUT.EDIT, [3, 'better', null]),
    record('messages', OUT.REMOVE, [{ user: 'u', upTo: 6 }, null]), record('messages', OUT.STATE, [{ title: null }])
  ]
  records.push(recordOf('messages', 'r', 'e', erasedEntry(encodeEntry(OUT.REMOVE, 7, 8, packTail([{ user: 'u', upTo: 6, erased: true }, null])))))
  for (const { value } of records) t.same(faults('messages', value), [], String(value['op']))
  t.same(records.map(({ value }) => value['shadow']), [undefined, undefined, true, undefined, undefined, undefined, undefined], 'a shadow message says so')
  for (const key of ['v', 'room', 'epoch', 'seq', 'ts', 'user', 'body']) {
    const { [key]: gone, ...rest } = records[0]?.value ?? {}
    t.not(gone, undefined)
    t.not(faults('messages', rest).length, 0, `${key} is needed`)
  }
  t.end()
})

t.test('audit, actions, notifications, dead letters', (t) => {
  const audit = record('audit', OUT.STATE, [ROW])
  t.same(faults('audit', audit.value), [])
  t.match(audit, { topic: 'audit', room: 'r', epoch: 'e', seq: 7 }, 'a row is under the room that it is about')
  t.same(faults('actions', { v: 1, id: '1', room: 'r', action: 'remove', args: { seq: 3 } }), [])
  t.not(faults('actions', { v: 1, id: '1', room: 'r', action: 'remove', args: {}, seq: 3 }).length, 0, 'what is misplaced is told')
  t.same(faults('notifications', { v: 1, id: '1', room: 'r', kind: 'mention', user: 'v', from: { id: 'u', name: 'U', roles: 0 }, message: { epoch: 'e', seq: 1, ts: 2, body: 'x' } }), [])
  t.same(faults('erasures', record('erasures', OUT.STATE, [{ v: 1, id: 'j', user: 'u', at: 5 }]).value), [])
  const letter = deadLetter('c', audit, `${'r'.repeat(499)}😀`, 5)
  t.same(faults('dead', letter.value), [])
  t.ok(String(letter.value['reason']).isWellFormed(), 'a reason is cut to whole characters')
  t.same(faults('dead', deadLetter('c', unreadable('messages', 'r', 'e', encodeEntry(OUT.STATE, 1, 2, packTail([]))), 'why', 5).value), [])
  t.throws(() => record('audit', OUT.REMOVE, [{ seq: 1 }, null]), 'what is no row is no record')
  t.end()
})

t.test('which rooms are which topic', (t) => {
  t.same(['r', 'uproar:audit', 'uproar:actions', 'uproar:messages', 'uproar:messages.dead', 'uproar:canary', 'uproar:canary:7'].map(topicOf),
    ['messages', 'audit', 'actions', null, 'messages.dead', null, null])
  t.equal(deadOf('messages.dead'), 'messages.dead', 'letters about letters do not go on for ever')
  t.end()
})
