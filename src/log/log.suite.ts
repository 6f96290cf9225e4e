// What every engine of the room log is held to: the guarantees on the face (log.ts), one test for each. An engine runs
// it by giving a way to open itself on a place that outlives it and, for kill -9, a program that publishes to one.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { unpack } from '../../proto/codec.ts'
import { entrySeq, entryTs, packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { ManualClock, type Clock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import type { Draft, Log, Outcome, Published, ReadLimit, Retentions, StatePatch } from './log.ts'

export interface EngineOptions {
  /** Where the data lies; without it a fresh place. */
  readonly place?: string
  readonly clock?: Clock
  readonly queueMax?: number
  readonly dedupMinutes?: number
  readonly retention?: { readonly hours: number, readonly entriesMax: number, readonly mbMax: number, readonly apart?: Retentions }
}

export interface Engine {
  readonly log: Log
  readonly place: string
  /** Closes the log and everything below it; may be called after log.close(). */
  stop (): Promise<void>
}

export type OpenEngine = (options?: EngineOptions) => Promise<Engine>

const WIDE: ReadLimit = { entries: 10_000, bytes: 1e9 }
const PATIENCE_MS = 20_000

export function message (body: string, nonce: string | null = null, author = 'ann'): Draft {
  return { op: OUT.MESSAGE, tail: packTail([[author, author, 0], 0, body, null]), author, nonce }
}

function stateEntry (patch: StatePatch): Draft {
  return { op: OUT.STATE, tail: packTail([patch.settings ?? {}]), author: 'server', nonce: null, patch }
}

export function bodyOf (entry: Uint8Array): string {
  return (unpack(entry) as unknown[])[5] as string
}

/** Waits, with an end, until a condition holds. */
async function until (what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS
  while (!await holds()) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Every entry of a room, page by page. */
export async function readAll (log: Log, room: string, limit: ReadLimit = WIDE): Promise<Uint8Array[]> {
  const all: Uint8Array[] = []
  let seq = 0
  for (;;) {
    const { entries, head } = await log.after(room, seq, limit)
    all.push(...entries)
    const last = entries.at(-1)
    if (last === undefined) return all
    seq = entrySeq(last)
    if (seq >= head.seq) return all
  }
}

function counting (from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i)
}

async function failure (work: Promise<unknown> | (() => unknown)): Promise<AppError> {
  try {
    await (typeof work === 'function' ? work() : work)
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('it did not fail')
}

/** Runs the whole contract. `child`: a program as crashTest describes it. */
export async function logSuite (t: Test, open: OpenEngine, child?: URL): Promise<void> {
  await t.test('publish and order', (t) => publishing(t, open))
  await t.test('nonces', (t) => nonces(t, open))
  await t.test('state', (t) => state(t, open))
  await t.test('watch', (t) => watching(t, open))
  await t.test('reading', (t) => reading(t, open))
  await t.test('epoch, head, remove', (t) => lives(t, open))
  await t.test('retention', (t) => retention(t, open))
  await t.test('bounds and close', (t) => bounds(t, open))
  await t.test('rooms', (t) => rooms(t, open))
  if (child !== undefined) await t.test('kill -9', (t) => crashTest(t, open, child))
}

async function publishing (t: Test, open: OpenEngine): Promise<void> {
  const clock = new ManualClock()
  const { log, stop, place } = await open({ clock })
  const first = await log.publish('r', message('one', 'n1'))
  t.match(first, { seq: 1, ts: clock.now(), repeated: false })

  const many = await Promise.all(counting(0, 3000).map((i) => log.publish('r', message(`m${i}`, i % 2 === 0 ? `k${i}` : null))))
  t.same(many.map((p) => p.seq), counting(2, 3000), 'drafts published without awaiting keep their order, without a hole')
  const all = await readAll(log, 'r')
  t.same(all.map(entrySeq), counting(1, 3001))
  t.same(all.slice(1).map(bodyOf), counting(0, 3000).map((i) => `m${i}`), 'each draft is at the seq it was told')

  const before = clock.now()
  clock.advance(-5000)
  const back = await log.publish('r', message('clock went back'))
  t.equal(back.ts, before, 'ts never goes back within a room')
  t.equal((await log.publish('fresh', message('elsewhere'))).ts, clock.now(), 'and each room has its own')

  const bad = { ...message('x'), patch: { settings: { broken: Symbol('not data') } } }
  const settled = await Promise.allSettled([log.publish('r', message('a')), log.publish('r', bad), log.publish('r', message('b'))])
  const seqs = settled.flatMap((s) => s.status === 'fulfilled' ? [s.value.seq] : [])
  t.same(settled.map((s) => s.status), ['fulfilled', 'rejected', 'fulfilled'], 'a draft that cannot be stored is rejected alone')
  t.same(seqs, [back.seq + 1, back.seq + 2], 'and its seq is given to another')
  await stop()

  const again = await open({ clock, place })
  t.same((await readAll(again.log, 'r')).map(entrySeq), counting(1, back.seq + 2), 'all is there after a restart')
  const next = await again.log.publish('r', message('later'))
  t.equal(next.seq, back.seq + 3)
  t.equal(next.ts, before, 'ts does not go back over a restart')
  t.equal(next.epoch, first.epoch)
  await again.stop()
}

async function nonces (t: Test, open: OpenEngine): Promise<void> {
  const clock = new ManualClock()
  const { log, stop, place } = await open({ clock, dedupMinutes: 10 })
  const first = await log.publish('r', message('hello', 'n'))
  clock.advance(60_000)
  t.same(await log.publish('r', message('hello again', 'n')), { ...first, repeated: true })
  t.same(await log.find('r', 'ann', 'n'), { ...first, repeated: true })
  t.equal(await log.find('r', 'ann', 'other'), null)
  t.equal(await log.find('nowhere', 'ann', 'n'), null)
  t.equal((await log.publish('r', message('of another author', 'n', 'bob'))).seq, 2)
  t.equal((await log.publish('r2', message('in another room', 'n'))).seq, 1)

  const twice = await Promise.all(counting(0, 20).map(() => log.publish('r', message('at once', 'same'))))
  t.same(twice.map((p) => p.seq), twice.map(() => 3), 'of many at once one is appended')
  t.equal(twice.filter((p) => !p.repeated).length, 1, 'and one is told that it was the first')
  t.equal((await log.head('r')).seq, 3)

  const told: string[] = []
  const outcome = (who: string): Outcome => ({
    resolve: ({ seq, repeated }) => { told.push(`${who} ${seq}${repeated ? ' again' : ''}`) },
    reject: (error) => { told.push(`${who} ${(error as AppError).code}`) }
  })
  log.submit('r', message('told by a call', 'call'), outcome('one'))
  log.submit('r', message('told by a call', 'call'), outcome('two'))
  log.submit('r', { ...message('for a room that is gone', 'gone'), epoch: 'another' }, outcome('three'))
  await until('all are told', () => told.length === 3)
  t.same(told.sort(), ['one 4', 'three not_found', 'two 4 again'], 'who is told by a call is told the same, once')
  const warned = new Promise<Error>((resolve) => process.once('warning', resolve))
  log.submit('r4', message('told in vain'), { resolve: () => { throw new Error('of the test') }, reject: () => {} })
  t.match(await log.publish('r4', message('behind it')), { seq: 2 }, 'one who cannot be told costs the others nothing')
  t.match(await warned, { cause: { message: 'of the test' } })

  const tricky: [string, string][] = [['a', 'bc'], ['ab', 'c'], ['a\n', 'b'], ['a', '\nb'], ['\ud800', 'x'], ['\udbff', 'x'], ['ä', '￿'], ['x'.repeat(128), '𝕏'.repeat(32)], ['长'.repeat(128), '长'.repeat(64)]]
  const seqs = await Promise.all(tricky.map(async ([author, nonce]) => (await log.publish('r3', { ...message('x', nonce), author })).seq))
  t.same(seqs, counting(1, tricky.length), 'no two pairs of author and nonce are mixed up')
  await stop()

  const again = await open({ clock, place, dedupMinutes: 10 })
  t.same(await again.log.publish('r', message('after restart', 'n')), { ...first, repeated: true }, 'the window outlives the process')
  clock.advance(8 * 60_000)
  t.match(await again.log.publish('r', message('9 minutes', 'n')), { seq: first.seq, repeated: true })
  // Traffic all along, so that whatever the engine rotates or trims gets its turns.
  for (let minute = 0; minute < 9; minute++) {
    clock.advance(60_000)
    await again.log.publish('busy', message('x', `b${minute}`))
    for (let at = 0; at <= minute; at++) t.equal((await again.log.publish('busy', message('x', `b${at}`))).seq, at + 1)
  }
  clock.advance(15 * 60_000)
  t.equal(await again.log.find('r', 'ann', 'n'), null, 'well after the window it is forgotten')
  const fresh = await again.log.publish('r', message('new', 'n'))
  t.match(fresh, { seq: 5, repeated: false })
  t.match(await again.log.publish('r', message('new', 'n')), { seq: 5, repeated: true })
  await again.stop()
}

async function state (t: Test, open: OpenEngine): Promise<void> {
  const { log, stop, place } = await open()
  t.same(await log.state('r'), { seq: 0, settings: {}, guarded: {} }, 'no log, no state')
  await log.publish('r', message('hi'))
  t.same(await log.state('r'), { seq: 0, settings: {}, guarded: {} })
  await Promise.all([
    log.publish('r', stateEntry({ settings: { title: 'one', slow: 5 }, guarded: { terms: ['a', 'b'] } })),
    log.publish('r', message('between')),
    log.publish('r', stateEntry({ settings: { title: 'two', slow: null, deep: { at: [1, 2 ** 40] } } })),
    log.publish('r', stateEntry({ guarded: { 'a.b': true } }))
  ])
  const expected = { seq: 5, settings: { title: 'two', deep: { at: [1, 2 ** 40] } }, guarded: { terms: ['a', 'b'], 'a.b': true } }
  t.same(await log.state('r'), expected, 'the fold of all patches; null deletes')
  const removal = await log.publish('removing', { op: OUT.REMOVE, tail: packTail([{ seq: 1 }, 'mod']), author: 'mod', nonce: null, patch: { guarded: { 'removed:1': 1 } } })
  const { seq: at, guarded } = await log.state('removing')
  t.same([at, guarded['removed:1']], [removal.seq, 1], 'a REMOVE may bring a patch as a STATE does')
  const terms = counting(0, 1000).map((i) => `term ${i} ${'x'.repeat(50)}`)
  await log.publish('big', stateEntry({ guarded: { terms } }))
  t.same((await log.state('big')).guarded, { terms }, 'a state may be larger than an entry')
  t.equal((await log.after('r', 0, WIDE)).entries.length, 5, 'a STATE entry is an entry')
  await stop()
  const again = await open({ place })
  t.same(await again.log.state('r'), expected)
  await again.log.remove('r')
  t.same(await again.log.state('r'), { seq: 0, settings: {}, guarded: {} }, 'removed with the log')
  await again.log.publish('r', stateEntry({ settings: { title: 'anew' } }))
  t.same(await again.log.state('r'), { seq: 1, settings: { title: 'anew' }, guarded: {} })
  await again.stop()
}

async function watching (t: Test, open: OpenEngine): Promise<void> {
  const { log, stop } = await open()
  await log.publish('r', message('before'))
  const seen: number[][] = [[], []]
  const quiet: number[] = []
  const unwatch = seen.map((seqs) => log.watch('r', { entries: (batch) => seqs.push(...batch.map(entrySeq)), lost: () => seqs.push(-1) }))
  log.watch('other', { entries: (batch) => quiet.push(...batch.map(entrySeq)), lost () {} })
  const late: number[] = []
  await Promise.all(counting(2, 3000).map(async (seq) => {
    if (seq === 1500) log.watch('r', { entries: (batch) => late.push(...batch.map(entrySeq)), lost () {} })
    const published = await log.publish('r', message('x'))
    if (seen[0]?.at(-1) === undefined || (seen[0].at(-1) as number) < published.seq) t.fail('the watcher learns of an entry before its author')
  }))
  t.same(seen, [counting(2, 3000), counting(2, 3000)], 'each watcher gets every entry, once, in order')
  t.same(late, counting(late[0] ?? 0, late.length), 'a later one from some point on, without a gap')
  t.equal(late.at(-1), 3001)
  t.same(quiet, [], 'nothing from other rooms')

  unwatch[0]?.()
  unwatch[0]?.()
  await log.publish('r', message('x'))
  t.equal(seen[0]?.length, 3000, 'nothing after it ended')
  t.equal(seen[1]?.length, 3001, 'the other goes on')
  t.match(await log.publish('r', message('x', 'n')), { repeated: false })
  t.match(await log.publish('r', message('x', 'n')), { repeated: true })
  t.equal(seen[1]?.at(-1), 3003)
  t.equal(seen[1]?.length, 3002, 'a repeated publish is not an entry')

  let once = 0
  const end = log.watch('self', { entries () { once++; end() }, lost () {} })
  await log.publish('self', message('x'))
  await log.publish('self', message('x'))
  t.equal(once, 1, 'a watcher may end itself')
  await stop()
}

async function reading (t: Test, open: OpenEngine): Promise<void> {
  const { log, stop } = await open()
  const count = 500
  await Promise.all(counting(1, count).map((i) => log.publish('r', message(`body ${i}`))))
  const all = await readAll(log, 'r')
  t.same((await readAll(log, 'r', { entries: 7, bytes: 1e9 })).map(entrySeq), counting(1, count), 'paging by entries')
  t.same((await readAll(log, 'r', { entries: 1e9, bytes: 200 })).map(entrySeq), counting(1, count), 'paging by bytes')
  const size = (all[0] as Uint8Array).length
  t.equal((await log.after('r', 0, { entries: 100, bytes: size * 3 })).entries.length, 3, 'a page ends at its bytes')
  t.equal((await log.after('r', 0, { entries: 100, bytes: 1 })).entries.length, 1, 'and has one entry at least')
  t.equal((await log.before('r', null, { entries: 100, bytes: 1 })).entries.length, 1)

  const newest = await log.before('r', null, { entries: 10, bytes: 1e9 })
  t.same(newest.entries.map(entrySeq), counting(count - 9, 10), 'the newest, oldest first')
  t.match(newest.head, { first: 1, seq: count })
  t.same((await log.before('r', 21, { entries: 10, bytes: 1e9 })).entries.map(entrySeq), counting(11, 10), 'before is exclusive')
  t.same((await log.before('r', 4, { entries: 10, bytes: 1e9 })).entries.map(entrySeq), [1, 2, 3])
  t.same((await log.before('r', 1, WIDE)).entries, [])
  t.same((await log.before('r', 1e12, { entries: 2, bytes: 1e9 })).entries.map(entrySeq), [count - 1, count])
  t.same((await log.after('r', count - 2, WIDE)).entries.map(entrySeq), [count - 1, count], 'after is exclusive')
  t.same((await log.after('r', count, WIDE)).entries, [])
  t.same((await log.after('r', 1e12, WIDE)).entries, [])

  const kept = (await log.after('r', 0, { entries: 1, bytes: 1e9 })).entries[0] as Uint8Array
  t.equal(kept.constructor, Uint8Array)
  t.ok(kept.buffer.byteLength <= 16_384, `an entry pins no more than a little beside its own bytes (${kept.buffer.byteLength})`)
  const copy = kept.slice()
  await Promise.all(counting(1, 500).map((i) => log.publish('r', message(`more ${i}`))))
  await readAll(log, 'r')
  t.same(kept, copy, 'and stays what it was')
  const long = 'ü'.repeat(20_000)
  await log.publish('long', message(long))
  await log.publish('long', message('short'))
  const [first, second] = (await readAll(log, 'long')).map(bodyOf)
  t.ok(first === long && second === 'short', 'a long entry comes back whole')
  await stop()
}

async function lives (t: Test, open: OpenEngine): Promise<void> {
  const { log, stop, place } = await open()
  const head = await log.head('r')
  t.match(head, { first: 1, seq: 0 }, 'an empty log is made')
  t.ok(head.epoch.length > 0 && head.epoch.length <= 32)
  t.same(await log.head('r'), head)
  t.same((await Promise.all([log.head('x'), log.head('x'), log.head('x')])).length, 3)
  t.equal((await log.publish('r', message('a', 'n'))).epoch, head.epoch)
  t.same((await log.after('unheard of', 5, WIDE)).entries, [])
  t.same((await log.before('unheard of', null, WIDE)).entries, [])
  await stop()

  const again = await open({ place })
  t.same(await again.log.head('r'), { ...head, seq: 1 }, 'the epoch outlives the process')
  let lost = 0
  const seen: number[] = []
  again.log.watch('r', { entries: (batch) => seen.push(...batch.map(entrySeq)), lost: () => { lost++ } })
  const [, , after] = await Promise.all([
    again.log.publish('r', message('last')),
    again.log.remove('r'),
    again.log.publish('r', message('first of the next', 'n2'))
  ])
  t.equal(lost, 1, 'watchers are told that continuity ended')
  t.same(seen, [2], 'after what came before, and nothing follows')
  t.equal(after.seq, 1, 'the next log starts anew')
  t.not(after.epoch, head.epoch, 'in another epoch')
  t.same(await again.log.head('r'), { epoch: after.epoch, first: 1, seq: 1 })
  t.same((await readAll(again.log, 'r')).map(bodyOf), ['first of the next'], 'nothing of the old one is left')
  t.match(await again.log.publish('r', message('its nonces too', 'n')), { seq: 2, repeated: false })
  const [late] = await Promise.allSettled([again.log.publish('r', { ...message('late', 'n3'), epoch: head.epoch }), again.log.publish('r', { ...message('in time'), epoch: after.epoch })])
  t.match(late, { status: 'rejected', reason: { code: 'not_found' } }, 'what was meant for the log that is gone')
  t.match(await again.log.head('r'), { epoch: after.epoch, seq: 3 })
  await again.log.remove('never there')
  await again.log.remove('r')
  t.equal(await again.log.find('r', 'ann', 'n'), null)
  await again.stop()
  const third = await open({ place })
  const anew = await third.log.head('r')
  t.equal(anew.seq, 0, 'removed for good')
  t.notOk([head.epoch, after.epoch].includes(anew.epoch))
  await third.stop()
}

/** Retention has two seconds of its clock to begin, and some of ours to end. */
async function trimmed (log: Log, clock: ManualClock, room: string, first: number): Promise<void> {
  clock.advance(2000)
  await until(`${room} starts at ${first}`, async () => (await log.head(room)).first === first)
}

async function retention (t: Test, open: OpenEngine): Promise<void> {
  const clock = new ManualClock()
  const { log, stop, place } = await open({ clock, retention: { hours: 1, entriesMax: 10_000, mbMax: 1000 } })
  const fill = (room: string, count: number): Promise<Published[]> => Promise.all(counting(0, count).map(() => log.publish(room, message('x'.repeat(100)))))
  await fill('young', 12_000)
  await fill('old', 100)
  const { epoch } = await log.head('old')
  await trimmed(log, clock, 'young', 2001)
  const page = await log.after('young', 0, { entries: 3, bytes: 1e9 })
  t.same(page.entries.map(entrySeq), [2001, 2002, 2003], 'reading starts at the oldest that is kept')
  t.equal(page.head.first, 2001)
  t.same((await log.before('young', 2003, WIDE)).entries.map(entrySeq), [2001, 2002])
  t.match(await log.head('old'), { first: 1, seq: 100 }, 'a young entry stays')

  clock.advance(65 * 60_000)
  await log.publish('old', message('new'))
  await trimmed(log, clock, 'old', 101)
  t.same(await log.head('old'), { epoch, first: 101, seq: 101 })
  t.same((await readAll(log, 'old')).map(bodyOf), ['new'])
  clock.advance(65 * 60_000)
  await trimmed(log, clock, 'old', 102)
  t.same(await log.head('old'), { epoch, first: 102, seq: 101 }, 'a log that is trimmed whole goes on')
  t.same((await log.before('old', null, WIDE)).entries, [])
  t.equal((await log.publish('old', message('next'))).seq, 102, 'with the next seq')
  await stop()

  const tight = await open({ clock, place, retention: { hours: 1, entriesMax: 1, mbMax: 0 } })
  await Promise.all(counting(0, 11_000).map(() => tight.log.publish('kept', message('x'))))
  await trimmed(tight.log, clock, 'kept', 1001)
  t.pass('10,000 are kept for 10 minutes, whatever the settings say')
  clock.advance(11 * 60_000)
  await trimmed(tight.log, clock, 'kept', 11_001)
  t.pass('and beyond them the settings hold')
  await tight.stop()
}

async function bounds (t: Test, open: OpenEngine): Promise<void> {
  const { log, stop, place } = await open({ queueMax: 100 })
  const settled = await Promise.allSettled(counting(0, 500).map((i) => log.publish('r', message(`m${i}`, `n${i}`))))
  const accepted = settled.filter((s) => s.status === 'fulfilled')
  const refused = settled.flatMap((s, i) => s.status === 'rejected' ? [{ i, error: s.reason as AppError }] : [])
  t.ok(accepted.length >= 100 && refused.length > 0, 'a full queue refuses')
  t.ok(refused.every(({ error }) => error instanceof AppError && error.code === 'overloaded' && (error.retryAfterMs ?? 0) > 0), 'as overloaded, with a wait')
  t.same((await readAll(log, 'r')).map(entrySeq), counting(1, accepted.length), 'and leaves no hole')
  const retried = await log.publish('r', message('retry', `n${refused[0]?.i}`))
  t.match(retried, { seq: accepted.length + 1, repeated: false }, 'a refused draft can be retried')

  const last = Promise.all(counting(0, 50).map((i) => log.publish('closing', message(`c${i}`))))
  const closed = log.close()
  for (const call of [
    () => log.publish('r', message('x')), () => log.find('r', 'a', 'n'), () => log.head('r'), () => log.after('r', 0, WIDE),
    () => log.before('r', null, WIDE), () => log.state('r'), () => log.remove('r'), () => log.watch('r', { entries () {}, lost () {} })
  ]) t.equal((await failure(call)).code, 'unavailable', 'closed')
  await closed
  t.equal((await last).length, 50, 'what was accepted is published first')
  await log.close()
  await stop()
  const again = await open({ place })
  t.equal((await again.log.head('closing')).seq, 50)
  await again.stop()
}

async function rooms (t: Test, open: OpenEngine): Promise<void> {
  const { log, stop, place } = await open()
  const names = ['a', 'a:b', 'a.b', 'a-b_c', 'A', 'ä', '\u0000', 'a\u0000', 'a\u0000b', '日本語', '𝕏', '\ud800', '\udbff', '\n', ' ', '', '__proto__', 'constructor', 'x'.repeat(64), 'x'.repeat(63), 'ü'.repeat(64)]
  await Promise.all(names.map((room, i) => Promise.all(counting(0, i + 1).map(() => log.publish(room, message(`of ${i}`, 'n' + Math.random()))))))
  for (const [i, room] of names.entries()) {
    const entries = await readAll(log, room)
    t.same([...new Set(entries.map(bodyOf))], [`of ${i}`], `${JSON.stringify(room)} has its own entries`)
    t.same(entries.map(entrySeq), counting(1, i + 1))
  }
  t.equal((await failure(log.publish('x'.repeat(5000), message('x', 'n')))).code, 'bad_request', 'a name beyond measure is refused')
  t.equal((await failure(log.head('x'.repeat(5000)))).code, 'bad_request')

  const many = 12_000
  for (let from = 0; from < many; from += 2000) {
    await Promise.all(counting(from, 2000).map((i) => log.publish(`room-${i}`, message(`${i}`, 'n'))))
  }
  const sample = counting(0, 60).map((i) => i * 200)
  for (const i of sample) t.same((await readAll(log, `room-${i}`)).map(bodyOf), [`${i}`])
  const repeated = await Promise.all(sample.map((i) => log.publish(`room-${i}`, message('x', 'n'))))
  t.ok(repeated.every((p) => p.repeated && p.seq === 1), 'rooms that left memory know their nonces')
  t.equal(new Set(repeated.map((p) => p.epoch)).size, sample.length, 'each room has its epoch')
  await stop()
  const again = await open({ place })
  for (const [i, room] of names.entries()) t.equal((await again.log.head(room)).seq, i + 1)
  await again.stop()
}

/**
 * Kills a publisher with SIGKILL at seeded random points and looks at what is left. The child is run as
 * `node CHILD PLACE ROUND`; it publishes `message(nonce, nonce, author)` to rooms, many at once and without end, and
 * writes a line `[room, author, nonce, seq]` (JSON) for each when it is accepted.
 * PROVE_SCALE multiplies the three rounds.
 */
async function crashTest (t: Test, open: OpenEngine, child: URL): Promise<void> {
  const rounds = 3 * Number(process.env['PROVE_SCALE'] ?? 1)
  const random = seeded(20261121)
  const acked: [room: string, author: string, nonce: string, seq: number][] = []
  let engine = await open()
  const { place } = engine
  for (let round = 0; round < rounds; round++) {
    await engine.stop()
    const from = acked.length
    await killed(child, place, round, 20 + Math.floor(random() * 6000), acked)
    engine = await open({ place })
    const { log } = engine
    const at = new Map<string, number>()
    for (const room of new Set(acked.map(([room]) => room))) {
      const entries = await readAll(log, room)
      t.same(entries.map(entrySeq), counting(1, entries.length), `round ${round}: ${room} is dense`)
      t.ok(entries.every((entry, i) => i === 0 || entryTs(entry) >= entryTs(entries[i - 1] as Uint8Array)), 'and its time does not go back')
      for (const entry of entries) at.set(`${room} ${bodyOf(entry)}`, entrySeq(entry))
      t.equal([...at.keys()].filter((key) => key.startsWith(`${room} `)).length, entries.length, 'and has each message once')
    }
    const wrong = acked.filter(([room, , nonce, seq]) => at.get(`${room} ${nonce}`) !== seq)
    t.same(wrong, [], `round ${round}: all ${acked.length} acknowledged are there, where they were said to be`)
    const retried = await Promise.all(acked.slice(from).map(([room, author, nonce]) => log.publish(room, message(nonce, nonce, author))))
    t.same(retried.map(({ seq, repeated }) => [seq, repeated]), acked.slice(from).map(([, , , seq]) => [seq, true]), 'a retry gives the first result')
  }
  await engine.stop()
}

async function killed (child: URL, place: string, round: number, acks: number, acked: unknown[]): Promise<void> {
  const process_ = spawn(process.execPath, [child.pathname, place, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const deadline = setTimeout(() => process_.kill('SIGKILL'), PATIENCE_MS)
  let count = 0
  for await (const line of createInterface(process_.stdout)) {
    if (line.endsWith(']')) acked.push(JSON.parse(line))
    if (++count === acks) process_.kill('SIGKILL')
  }
  clearTimeout(deadline)
  if (count < acks) throw new Error(`the publisher ended after ${count} of ${acks} acknowledgements`)
}

/** Park and Miller's generator, 0 to 1. */
function seeded (seed: number): () => number {
  let state = seed % 2147483647
  return () => {
    state = state * 48271 % 2147483647
    return state / 2147483647
  }
}
