// The moderator's worker on the real log, its feed and real rooms: verdicts become actions as a human's do, once, with a
// reason and their source; staff is left alone; verdicts of outside programs are checked; outages are waited for.

import t, { type Test } from 'tap'
import { LogFeed } from '../feed/log-feed.ts'
import { AppError, Refusal } from '../base/errors.ts'
import { person } from '../rooms/stage.suite.ts'
import { Worker, type Once, type Scorer } from '../moderation/moderation.ts'
import type { Identity } from '../auth/auth.ts'
import { until } from '../feed/feed.suite.ts'
import { ANN, BOB, HOST, nameOf, pageBodies, ROOM, ROOT, stage, VIP } from './moderation.suite.ts'

async function working (t: Test, scorer: Scorer | null, around: (act: () => Promise<unknown>) => Promise<unknown> = (act) => act()) {
  const bench = await stage(t)
  const feed = new LogFeed({ log: bench.log, clock: bench.clock, metrics: bench.metrics, say: () => {} })
  t.teardown(() => feed.close())
  let acts = 0
  const act = (room: string, by: Identity, action: unknown, args: unknown, source: 'consumer', once: Once): Promise<unknown> => {
    acts++
    return around(() => bench.moderator.act(room, by, action, args, source, once))
  }
  const worker = new Worker({ feed, scorers: scorer === null ? [] : [scorer], takesActions: true, act, metrics: bench.metrics, say: () => {} })
  await worker.start()
  t.teardown(() => worker.stop())
  return { ...bench, feed, acts: () => acts, rows: async () => { const found = await bench.moderator.audit(ROOM, ROOT, { limit: 50 }); return 'rows' in found ? found.rows : [] } }
}

/** Finds fault with what contains `bad`, by as much as it says. */
const scorer = (fail: () => boolean = () => false): Scorer => ({
  name: 'test',
  async score (messages) {
    if (fail()) throw new AppError('unavailable', 'the scorer is away')
    return messages.map(({ body }) => {
      const score = /bad ([\d.]+)/.exec(body)?.[1]
      return score === undefined ? null : { score: Number(score), label: 'spam', why: 'it says so' }
    })
  }
})

t.test('scores become removals and time-outs, once, with a reason', async (t) => {
  let failures = 2
  const { open, say, said, rows, acts } = await working(t, scorer(() => failures-- > 0))
  const room = await open(ROOM)
  await said(room, BOB, 'good')
  const seq = await said(room, ANN, 'bad 1')
  await said(room, HOST, 'bad 1')
  await said(room, VIP, 'bad 0.3')
  await until('the removal', () => room.guard.removed.has(seq))
  await said(room, ANN, 'bad 1')
  await said(room, ANN, 'bad 1')
  await until('the time-out', () => room.guard.sanctions.timeout.has('ann'))
  t.equal(nameOf(await say(room, ANN, 'hello?')), 'timed_out')
  t.match(room.guard.sanctions.timeout.get('ann'), { by: 'uproar:test', rank: 2, reason: 'spam: it says so (test)' })
  await until('all is removed', () => room.guard.removed.size === 3)
  t.same(await pageBodies(room), ['good', 'bad 1', 'bad 0.3'], 'the host is left alone')
  const found = await rows()
  t.match(found.find(({ action }) => action === 'remove'), { source: 'consumer', by: 'uproar:test', whom: 'ann', text: 'bad 1', reason: 'spam: it says so (test)' })
  t.equal(found.filter(({ action }) => action === 'timeout').length, 1)
  t.equal(acts(), 4, 'each verdict was carried out once')
})

t.test('what fails while it is carried out is done again, and takes effect once', async (t) => {
  let calls = 0
  const { open, said, rows, clock } = await working(t, scorer(), async (act) => {
    // Every verdict is carried out, and the first time the answer is lost.
    const result = await act()
    if (calls++ % 2 === 0) throw new AppError('unavailable', 'the answer was lost')
    return result
  })
  const room = await open(ROOM)
  for (let i = 0; i < 5; i++) await said(room, ANN, 'bad 0.5')
  await until('the second try', () => calls === 2)
  const given = room.guard.sanctions.timeout.get('ann')
  t.ok(given !== undefined)
  t.equal((given?.until ?? 0) - clock.now(), 60_000)
  t.equal((await rows()).filter(({ action }) => action === 'timeout').length, 1, 'one audit row')
})

t.test('verdicts of outside programs', async (t) => {
  const { open, said, feed, rows, log } = await working(t, null)
  const room = await open(ROOM)
  const seq = await said(room, ANN, 'from outside this looks bad')
  const letters: unknown[] = []
  await feed.consume({ name: 'letters', topics: ['actions.dead'], from: 'beginning', handle: async (batch) => { letters.push(...batch.map(({ value }) => value['reason'])) } })
  const send = (id: string, value: Record<string, unknown>): Promise<void> => feed.send('actions', [{ room: ROOM, id, value: { v: 1, room: ROOM, ...value } }])
  await send('1', { action: 'remove', args: { seq, reason: 'seen elsewhere' }, by: 'vision' })
  await send('2', { action: 'remove', args: { seq: 'x' } })
  await send('3', { action: 'explode', args: {} })
  await send('4', { action: 'banAddress', args: { address: '10.1.1.1' } })
  await send('5', { action: 'timeout', args: { user: 'bob', seconds: 60 }, epoch: 'another' })
  await send('6', { action: 'announce', args: { text: 'be nice' } })
  await send('7', { action: 'remove', args: 'all of it' })
  await until('what is wrong is put aside', () => letters.length === 4)
  await until('what is right is done', () => room.guard.removed.has(seq))
  await until('in order', () => room.seq >= seq + 2)
  t.match(letters, [/seq must be the seq/, /there is no action "explode"/, /banAddress needs the role broadcaster/, /args must be an object/])
  t.notOk(room.guard.sanctions.timeout.has('bob'), 'an action for another life of the room is not for this one')
  t.match((await rows()).find(({ action }) => action === 'remove'), { by: 'uproar:vision', source: 'consumer', reason: 'seen elsewhere' })
  t.same((await pageBodies(room)).filter((body) => body === 'be nice').length, 1)
  t.equal((await log.head('uproar:actions')).seq, 7)
})

t.test('a private room is judged too, and a room that is gone stops nobody', async (t) => {
  const { open, said, rooms } = await working(t, scorer())
  const room = await open(ROOM)
  await rooms.configure(ROOM, HOST, { settings: { private: true } })
  const seq = await said(room, person('guest', 0, { [ROOM]: 0 }), 'bad 1')
  await until('it is removed', () => room.guard.removed.has(seq))
  const other = await open('elsewhere')
  await said(other, ANN, 'bad 1')
  await rooms.remove('elsewhere', ROOT)
  const next = await said(room, person('guest', 0, { [ROOM]: 0 }), 'bad 1 again')
  await until('the next one too', () => room.guard.removed.has(next))
})

t.test('a room that is at a limit of its own does not hold up the others', async (t) => {
  let isFull = true
  const { open, said } = await working(t, scorer(), (act) => isFull ? Promise.resolve(new Refusal('overloaded', 'this room has 2000 sanctions in force; lift some', 60_000)) : act())
  const room = await open(ROOM)
  await said(room, ANN, 'bad 1')
  await said(room, BOB, 'fine')
  isFull = false
  const seq = await said(room, ANN, 'bad 1')
  await until('the next verdict is carried out', () => room.guard.removed.has(seq))
})
