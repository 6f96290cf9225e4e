// The way in, on a real log and real rooms: every refusal with its code and wait, and nothing accepted twice or lost.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { entryObject } from '../../proto/entry.ts'
import { KIND, ROLE } from '../../proto/ops.ts'
import type { Identity } from '../auth/auth.ts'
import { ManualClock } from '../base/clock.ts'
import { loadConfig } from '../base/config.ts'
import { Refusal } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbDirectory } from '../directory/lmdb-directory.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import { compileTerms } from '../moderation/screen.ts'
import { Rooms } from '../rooms/rooms.ts'
import { Author, Ingest, type Step } from './ingest.ts'
import { cleanText, codePoints } from './text.ts'

type Test = Pick<typeof t, 'teardown'>

async function setUp (t: Test, env: Record<string, string> = {}, gates: Step[] = []) {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-ingest-'))
  const clock = new ManualClock()
  const metrics = new Metrics()
  const config = loadConfig(env)
  const store = await openStore(dir)
  const log = createLmdbLog(store, { clock, metrics, durability: 'commit', queueMax: config.logQueueMax, dedupMinutes: 10, retention: { hours: 168, entriesMax: 1_000_000, mbMax: 1024 } })
  const faults: unknown[] = []
  const fault = (error: unknown): void => { faults.push(error) }
  const rooms = new Rooms({ log, directory: createLmdbDirectory(store), fanout: { publish () {} }, clock, metrics, config, fault })
  const ingest = new Ingest({ log, clock, metrics, config, terms: compileTerms(['everywhere']), gates, fault })
  t.teardown(async () => {
    rooms.stop()
    await log.close()
    await store.close()
    rmSync(dir, { recursive: true })
  })
  const room = await rooms.open('a', null)
  if (room instanceof Refusal) throw new Error(room.message)
  let nonces = 0
  const send = (options: { by?: Partial<Identity>, nonce?: unknown, kind?: unknown, body?: unknown, ext?: unknown } = {}) => {
    const identity: Identity = { id: 'ann', name: 'Ann', roles: 0, rooms: new Map(), expiresAt: Infinity, tokenId: null, ...options.by }
    return ingest.accept(new Author(room, identity, '127.0.0.1', 'socket'), {
      nonce: 'nonce' in options ? options.nonce : `n${nonces++}`,
      kind: 'kind' in options ? options.kind : 0,
      body: 'body' in options ? options.body : 'hello',
      ext: options.ext ?? null
    })
  }
  const last = async () => {
    const page = await room.history({ limit: 1 })
    return entryObject(page.entries[0] as Uint8Array)
  }
  return { clock, config, log, rooms, room, ingest, send, last, metrics, faults }
}

const NO_RATE = { MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0' }

t.test('what is accepted is in the log, with the author\'s roles in that room', async (t) => {
  const { send, last, metrics } = await setUp(t)
  t.match(await send({ by: { roles: ROLE.vip, rooms: new Map([['a', ROLE.moderator]]) }, body: '  hi\nthere  ', ext: { at: ['bob'], meta: { a: 1 }, unknown: 1 } }), { seq: 1, repeated: false })
  t.match(await last(), { op: 'message', seq: 1, user: { id: 'ann', name: 'Ann', roles: ROLE.vip | ROLE.moderator }, kind: 0, body: 'hi there', ext: { at: ['bob'], meta: { a: 1 } } })
  t.notMatch(JSON.stringify(await last()), /unknown/)
  t.match(await send({ ext: { re: 1, thread: 1 } }), { seq: 2 })
  t.equal(metrics.value('uproar_messages_accepted_total', 'socket'), 2)
})

t.test('shape: every fault has its code and names the field', async (t) => {
  const { send } = await setUp(t, { ...NO_RATE, TEXT_CHARACTERS_MAX: '10' })
  const table: [Parameters<typeof send>[0], string, RegExp][] = [
    [{ nonce: '' }, 'bad_request', /nonce/], [{ nonce: 'x'.repeat(65) }, 'bad_request', /nonce/], [{ nonce: 7 }, 'bad_request', /nonce/],
    [{ nonce: '\ud800' }, 'bad_request', /nonce/],
    [{ kind: 'text' }, 'bad_request', /kind/], [{ kind: -1 }, 'bad_request', /kind/], [{ kind: 1.5 }, 'bad_request', /kind/],
    [{ kind: 99 }, 'unsupported', /kind/], [{ kind: KIND.attachment }, 'unsupported', /kind/],
    [{ kind: KIND.announcement }, 'forbidden', /role/], [{ kind: KIND.system }, 'forbidden', /role/], [{ kind: KIND.botCard }, 'forbidden', /role/],
    [{ body: '' }, 'bad_request', /empty/], [{ body: ' \u0000\u0007 ' }, 'bad_request', /empty/], [{ body: 7 }, 'bad_request', /text/],
    [{ body: null }, 'bad_request', /text/], [{ body: new Uint8Array(3) }, 'bad_request', /text/],
    [{ body: 'x'.repeat(11) }, 'too_long', /11 characters; 10/],
    [{ kind: KIND.encrypted, body: new Uint8Array(3000) }, 'too_long', /bytes/], [{ kind: KIND.encrypted, body: new Uint8Array(0) }, 'bad_request', /empty/],
    [{ kind: KIND.encrypted, body: 5 }, 'bad_request', /body/], [{ kind: KIND.encrypted, body: 'text' }, 'bad_request', /bytes/],
    [{ ext: [] }, 'bad_request', /ext/], [{ ext: 'x' }, 'bad_request', /ext/], [{ ext: { re: 5 } }, 'bad_request', /ext\.re/], [{ ext: { thread: 0 } }, 'bad_request', /ext\.thread/],
    [{ ext: { at: 'bob' } }, 'bad_request', /ext\.at/], [{ ext: { at: [''] } }, 'bad_request', /ext\.at/], [{ ext: { at: Array(21).fill('u') } }, 'bad_request', /ext\.at/],
    [{ ext: { meta: 5 } }, 'bad_request', /ext\.meta/], [{ ext: { meta: { a: 'x'.repeat(1100) } } }, 'too_long', /ext\.meta/]
  ]
  for (const [options, name, message] of table) t.match(await send(options), { name, message }, JSON.stringify(options))
  t.match(await send({ body: '👍'.repeat(10) }), { seq: 1 }, 'characters are code points')
  t.match(await send({ kind: KIND.encrypted, body: new Uint8Array([1, 2, 3]) }), { seq: 2 })
  t.match(await send({ kind: KIND.announcement, by: { roles: ROLE.moderator } }), { seq: 3 })
  t.match(await send({ kind: KIND.botCard, by: { roles: ROLE.bot } }), { seq: 4 })
})

t.test('text: control characters, line breaks, stray surrogates and stacked marks', async (t) => {
  const table: [string, string][] = [
    ['  plain  ', 'plain'], ['a\r\nb\tc', 'a b c'], ['a\u0000b\u001bc\u0085d', 'abc d'], ['\ud83d', '\ufffd'], ['👍🏽 👨‍👩‍👧', '👍🏽 👨‍👩‍👧'],
    ['é e\u0301', 'é e\u0301'], ['z' + '\u0315'.repeat(40) + 'a', 'z' + '\u0315'.repeat(4) + 'a'], ['שלום \u200fworld', 'שלום \u200fworld'], ['น้ำ', 'น้ำ']
  ]
  for (const [given, expected] of table) t.equal(cleanText(given), expected, JSON.stringify(given))
  t.equal(codePoints('a👍é'), 3)
})

t.test('rate: bursts, then so many a second, with the wait told', async (t) => {
  const { send, clock } = await setUp(t, { MESSAGES_PER_SECOND_MAX: '2', MESSAGES_BURST_MAX: '3' })
  for (let at = 0; at < 3; at++) t.match(await send(), { seq: at + 1 })
  const refusal = await send()
  t.match(refusal, { name: 'rate_limited', retryAfterMs: 500 })
  t.match(await send({ by: { id: 'bob' } }), { seq: 4 }, 'others are not bound by it')
  clock.advance((refusal as Refusal).retryAfterMs as number)
  t.match(await send(), { seq: 5 }, 'the wait that was told is enough')
  t.match(await send(), { name: 'rate_limited' })
})

t.test('slow mode: one message, then the wait; a retry gets its first result; staff are exempt', async (t) => {
  const { send, clock, rooms } = await setUp(t, NO_RATE)
  const admin: Identity = { id: 'root', name: 'root', roles: ROLE.admin, rooms: new Map(), expiresAt: Infinity, tokenId: null }
  await rooms.configure('a', admin, { settings: { slowModeSeconds: 10 } })
  const first = await send({ nonce: 'first' })
  t.match(first, { seq: 2, repeated: false })
  t.match(await send({ nonce: 'first' }), { ...first, repeated: true })
  clock.advance(4000)
  t.match(await send({ nonce: 'second' }), { name: 'slow_mode', retryAfterMs: 6000 })
  t.match(await send({ by: { roles: ROLE.moderator } }), { seq: 3 })
  clock.advance(6000)
  t.match(await send({ nonce: 'second' }), { seq: 4 })
  t.match(await send({ nonce: 'first' }), { seq: 2, repeated: true }, 'even while slow mode would refuse it')
})

t.test('slow mode counts what was said before it was switched on; a repeat is answered whatever it says', async (t) => {
  const { send, rooms, clock } = await setUp(t, NO_RATE)
  const first = await send({ nonce: 'first' })
  clock.advance(3000)
  await rooms.configure('a', { id: 'root', name: 'root', roles: ROLE.admin, rooms: new Map(), expiresAt: Infinity, tokenId: null }, { settings: { slowModeSeconds: 10 } })
  t.match(await send(), { name: 'slow_mode', retryAfterMs: 7000 })
  t.match(await send({ nonce: 'first', body: 'x'.repeat(600) }), { ...first, repeated: true })
  t.match(await send({ nonce: 'first', kind: 'nonsense' }), { ...first, repeated: true })
})

t.test('slow mode: a nonce that the log has forgotten is no way round it', async (t) => {
  const { send, rooms, clock } = await setUp(t, NO_RATE)
  await rooms.configure('a', { id: 'root', name: 'root', roles: ROLE.admin, rooms: new Map(), expiresAt: Infinity, tokenId: null }, { settings: { slowModeSeconds: 3600 } })
  t.match(await send({ nonce: 'same' }), { seq: 2, repeated: false })
  clock.advance(11 * 60_000)
  t.match(await send({ nonce: 'same' }), { name: 'slow_mode', retryAfterMs: 49 * 60_000 })
})

t.test('a message that a deletion overtakes is refused, and makes no log of its own', async (t) => {
  const { send, log, room } = await setUp(t)
  const [, late] = await Promise.all([log.remove('a'), send()])
  t.match(late, { name: 'not_found' })
  t.equal((await log.head('a')).seq, 0)
  t.not((await log.head('a')).epoch, room.epoch)
})

t.test('two at once in slow mode: one is taken', async (t) => {
  const { send, rooms } = await setUp(t, NO_RATE)
  await rooms.configure('a', { id: 'root', name: 'root', roles: ROLE.admin, rooms: new Map(), expiresAt: Infinity, tokenId: null }, { settings: { slowModeSeconds: 10 } })
  const results = await Promise.all([send(), send(), send()])
  t.equal(results.filter((result) => !(result instanceof Refusal)).length, 1)
})

t.test('lock, screen, expiry and private rooms', async (t) => {
  const { send, clock, rooms } = await setUp(t, NO_RATE)
  const admin: Identity = { id: 'root', name: 'root', roles: ROLE.admin, rooms: new Map(), expiresAt: Infinity, tokenId: null }
  t.match(await send({ body: 'not every where but EVERYWHERE' }), { name: 'blocked', retryAfterMs: null })
  t.match(await send({ body: 'rutabaga' }), { seq: 1 })
  await rooms.configure('a', admin, { settings: { blockedTerms: ['rutabaga'] } })
  t.match(await send({ body: 'a RuTaBaGa!' }), { name: 'blocked' })
  t.match(await send({ body: 'rutabaga', by: { roles: ROLE.moderator } }), { seq: 3 })
  t.match(await send({ kind: KIND.encrypted, body: Buffer.from('rutabaga') }), { seq: 4 }, 'an encrypted body is never inspected')
  const before = await send({ nonce: 'before the lock' })
  await rooms.configure('a', admin, { settings: { locked: true } })
  t.match(await send(), { name: 'room_locked' })
  t.match(await send({ nonce: 'before the lock' }), { ...before, repeated: true })
  t.match(await send({ by: { roles: ROLE.broadcaster } }), { repeated: false })
  await rooms.configure('a', admin, { settings: { locked: false, private: true } })
  t.match(await send(), { name: 'forbidden' })
  t.match(await send({ by: { rooms: new Map([['a', 0]]) } }), { repeated: false })
  t.match(await send({ by: { expiresAt: clock.now() } }), { name: 'unauthorized' })
})

t.test('gates stand before the screen and are told what became of a draft', async (t) => {
  const settled: boolean[] = []
  const gate: Step = {
    name: 'sanctions',
    check: ({ author }) => author.identity.id === 'banned' ? new Refusal('banned', 'banned here') : null,
    settled: (_, isPublished) => { settled.push(isPublished) }
  }
  const { send, metrics } = await setUp(t, NO_RATE, [gate])
  t.match(await send({ by: { id: 'banned' } }), { name: 'banned', code: 20 })
  t.match(await send(), { seq: 1 })
  t.same(settled, [true])
  t.equal(metrics.value('uproar_refusals_total', 'banned'), 1)
})

t.test('an author who cannot be answered costs the others of the same commit nothing', async (t) => {
  const { ingest, room, send, faults } = await setUp(t, NO_RATE)
  const identity: Identity = { id: 'ann', name: 'Ann', roles: 0, rooms: new Map(), expiresAt: Infinity, tokenId: null }
  const author = new Author(room, identity, '127.0.0.1', 'socket')
  ingest.take(author, { nonce: 'first', kind: 0, body: 'hello', ext: null }, 0, () => { throw new Error('cannot be answered') })
  t.match(await send(), { seq: 2, repeated: false })
  t.match(faults, [{ message: 'cannot be answered' }])
  t.equal(ingest.underWay, 0)
  t.match(await send({ nonce: 'first' }), { seq: 1, repeated: true }, 'it is in the log, once')
})

t.test('a step that fails once a message is stored is a fault of ours, and its author has the OK', async (t) => {
  const gate: Step = { name: 'sanctions', check: () => null, settled: () => { throw new Error('cannot be told') } }
  const { ingest, send, faults } = await setUp(t, NO_RATE, [gate])
  t.match(await send(), { seq: 1, repeated: false })
  t.match(faults, [{ message: 'cannot be told' }])
  t.equal(ingest.underWay, 0)
})

t.test('a full log refuses with a wait, a closed one as unavailable; slow mode forgets what failed', async (t) => {
  const { send, log, faults } = await setUp(t, { ...NO_RATE, LOG_QUEUE_MAX: '1' })
  const results = await Promise.all(Array.from({ length: 50 }, () => send()))
  const refusals = results.filter((result) => result instanceof Refusal)
  t.ok(refusals.length > 0)
  for (const refusal of refusals) t.match(refusal, { name: 'overloaded', retryAfterMs: Number })
  await log.close()
  t.match(await send(), { name: 'unavailable', retryAfterMs: Number })
  t.same(faults, [], 'neither is a fault of ours')
})
