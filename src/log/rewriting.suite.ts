// What every engine of the room log is held to beside log.suite.ts: entries that are rewritten (how a person is erased),
// changes that count only upon the state they were made of, and rooms whose entries are kept for another time.

import type { Test } from 'tap'
import { entrySeq, packTail, removedEntry } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { ManualClock } from '../base/clock.ts'
import { bodyOf, message, readAll, type OpenEngine } from './log.suite.ts'
import { StateConflict, type Log, type Rewriting } from './log.ts'

const HOUR_MS = 3_600_000

/** `kept`: everything that the engine keeps at that place, as bytes to search in. */
export async function rewritingSuite (t: Test, open: OpenEngine, kept: (place: string) => Promise<Buffer>): Promise<void> {
  await t.test('entries are rewritten', (t) => rewriting(t, open))
  await t.test('many at once, by two at once', (t) => crowd(t, open))
  await t.test('what was rewritten is gone from what the engine keeps', (t) => scrubbing(t, open, kept))
  await t.test('a change upon a state', (t) => states(t, open))
  await t.test('rooms kept apart', (t) => apart(t, open))
}

const CONFLICT = new StateConflict()

const shown = (entry: Uint8Array): string => entry[0] === 0x93 ? '-' : bodyOf(entry)
const shownAll = async (log: Log, room: string): Promise<string[]> => (await readAll(log, room)).map(shown)

async function erasing (log: Log, room: string, author: string): Promise<Rewriting[]> {
  return (await readAll(log, room)).filter((entry) => Buffer.from(entry).includes(author)).map((was) => ({ seq: entrySeq(was), was, becomes: removedEntry(was) }))
}

async function rewriting (t: Test, open: OpenEngine): Promise<void> {
  let { log, place, stop } = await open()
  for (let i = 0; i < 9; i++) await log.publish('r', message(`m${i}`, `n${i}`, i % 3 === 1 ? 'bob' : 'ann'))
  const { epoch } = await log.head('r')
  const before = await readAll(log, 'r')
  const seen: number[] = []
  log.watch('r', { entries: (batch) => seen.push(...batch.map(entrySeq)), lost () { seen.push(-1) } })
  const changes = await erasing(log, 'r', 'bob')
  t.equal(await log.rewrite('r', 'another', changes), 0, 'nothing of another epoch')
  t.equal(await log.rewrite('nobody', epoch, changes), 0, 'nor of a room that is not there')
  t.equal(await log.rewrite('r', epoch, []), 0)
  t.same(await readAll(log, 'r'), before)
  t.equal(await log.rewrite('r', epoch, changes), 3)
  const wanted = ['m0', '-', 'm2', 'm3', '-', 'm5', 'm6', '-', 'm8']
  t.same(await shownAll(log, 'r'), wanted)
  t.same((await readAll(log, 'r')).map(entrySeq), before.map(entrySeq), 'positions stay')
  t.same((await log.before('r', 6, { entries: 4, bytes: 1e6 })).entries.map(shown), ['-', 'm2', 'm3', '-'], 'read backwards too')
  t.equal(await log.rewrite('r', epoch, changes), 0, 'what is another by now is left alone')
  const [first] = before
  const longer = Buffer.concat([first as Uint8Array])
  longer.set([0x78], longer.length - 2)
  t.equal(await log.rewrite('r', epoch, [{ seq: 1, was: first as Uint8Array, becomes: longer }, { seq: 99, was: longer, becomes: longer }]), 1, 'of several each by itself')
  t.same(seen, [], 'watchers are not told')
  t.match(await log.publish('r', message('x', 'n4', 'bob')), { seq: 5, repeated: true }, 'a retry still finds its first result')
  t.match(await log.publish('r', message('m9')), { seq: 10 })
  const last = await log.publish('r', message('late', null, 'bob'))
  t.equal(await log.rewrite('r', epoch, (await erasing(log, 'r', 'late'))), 1, 'also what was published just now')
  t.equal((await shownAll(log, 'r'))[last.seq - 1], '-')
  await stop()
  ;({ log, stop } = await open({ place }))
  t.same((await shownAll(log, 'r')).slice(1), [...wanted.slice(1), 'm9', '-'], 'and after a start')
  t.equal((await log.head('r')).epoch, epoch)
  await log.remove('r')
  t.equal(await log.rewrite('r', epoch, changes), 0)
  await stop()
}

async function crowd (t: Test, open: OpenEngine): Promise<void> {
  const one = await open()
  const other = one.place.endsWith(':') ? await open({ place: one.place }) : one
  const { log } = one
  for (let from = 0; from < 6000; from += 2000) await Promise.all(Array.from({ length: 2000 }, (_, i) => log.publish('r', message(`m${from + i}`, null, `u${(from + i) % 3}`))))
  const { epoch } = await log.head('r')
  const before = await readAll(log, 'r')
  const changes = async (author: string): Promise<Rewriting[]> => (await erasing(log, 'r', author))
  const [a, b] = [await changes('u0'), await changes('u1')]
  let extra = 0
  const counts = await Promise.all([
    log.rewrite('r', epoch, a), other.log.rewrite('r', epoch, b),
    (async () => { for (; extra < 50; extra++) await log.publish('r', message('meanwhile')) })()
  ])
  t.same(counts.slice(0, 2), [2000, 2000], 'neither undoes the other')
  const after = await readAll(log, 'r')
  t.same(after.map(entrySeq), Array.from({ length: before.length + extra }, (_, at) => at + 1), 'every position is there, also of what came meanwhile')
  t.ok(after.slice(0, 6000).every((entry, at) => shown(entry) === (shown(before[at] as Uint8Array) === '-' || Buffer.from(before[at] as Uint8Array).includes('u2') ? shown(before[at] as Uint8Array) : '-')))
  if (other !== one) await other.stop()
  await one.stop()
}

async function scrubbing (t: Test, open: OpenEngine, kept: (place: string) => Promise<Buffer>): Promise<void> {
  const { log, place, stop } = await open()
  const secret = 'a-text-that-nobody-may-find'
  for (let i = 0; i < 20; i++) await log.publish('r', message(i % 2 === 0 ? `${secret}-${i}` : 'other', null, 'ann'))
  t.ok((await kept(place)).includes(secret), 'it is there at first')
  const { epoch } = await log.head('r')
  t.equal(await log.rewrite('r', epoch, await erasing(log, 'r', secret)), 10)
  const scrub = log.scrubbing()
  t.equal(await scrub(), true)
  t.not((await kept(place)).includes(secret), 'and nowhere after')
  t.match(await log.publish('r', message('on')), { seq: 21 })
  await stop()
  const again = await open({ place })
  t.same((await shownAll(again.log, 'r')).slice(-3), ['-', 'other', 'on'], 'and what is left is whole')
  await again.stop()
}

async function states (t: Test, open: OpenEngine): Promise<void> {
  const { log, stop } = await open()
  const change = (at: number | undefined, key: string, nonce: string | null = null) => log.publish('r', { op: OUT.STATE, tail: packTail([{}]), author: 'a', nonce, patch: { guarded: { [key]: at ?? 0 } }, ...(at === undefined ? {} : { atState: at }) })
  await t.rejects(change(3, 'x'), { message: CONFLICT.message }, 'a room without a state is at 0')
  await change(0, 'a')
  const { seq } = await log.state('r')
  await log.publish('r', message('in between'))
  const outcomes = await Promise.allSettled([change(seq, 'b', 'nb'), change(seq, 'c'), change(seq, 'd')])
  t.same(outcomes.map(({ status }) => status), ['fulfilled', 'rejected', 'rejected'], 'of several at once one counts')
  t.ok(outcomes.slice(1).every((one) => one.status === 'rejected' && one.reason instanceof StateConflict))
  t.same((await log.state('r')).guarded, { a: 0, b: seq })
  t.match(await change(seq, 'b', 'nb'), { repeated: true }, 'a repeat gets its first result')
  await change(undefined, 'e')
  t.equal((await log.head('r')).seq, 4, 'what was refused has no place')
  await stop()
}

/** Turns the clock until the engine has let go of what it may. */
async function forgotten (log: Log, clock: ManualClock, room: string): Promise<number> {
  for (let turn = 0; turn < 5000; turn++) {
    const { head } = await log.after(room, 0, { entries: 1, bytes: 1 })
    if (head.first > 1) return head.first
    if (turn % 20 === 0) clock.advance(2000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return 1
}

async function apart (t: Test, open: OpenEngine): Promise<void> {
  const clock = new ManualClock()
  const limits = { hours: 10, entriesMax: Infinity, mbMax: Infinity }
  const { log, stop } = await open({ clock, retention: { hours: 1, entriesMax: 10_000, mbMax: 16, apart: new Map([['kept', limits]]) } })
  for (const room of ['kept', 'other']) await log.publish(room, message('first'))
  clock.advance(3 * HOUR_MS)
  for (const room of ['kept', 'other']) await log.publish(room, message('second'))
  t.equal(await forgotten(log, clock, 'other'), 2, 'a room like others lets go')
  t.same((await readAll(log, 'kept')).map(bodyOf), ['first', 'second'], 'the one kept apart does not')
  clock.advance(6 * HOUR_MS)
  await log.publish('kept', message('third'))
  t.equal((await log.after('kept', 0, { entries: 1, bytes: 1 })).head.first, 1, 'nor after most of its time')
  clock.advance(3 * HOUR_MS)
  await log.publish('kept', message('fourth'))
  t.ok(await forgotten(log, clock, 'kept') > 1, 'but after all of it')
  await stop()
}
