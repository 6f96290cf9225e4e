// How rooms come, change and go: made, set, closed to some, deleted, forgotten, and all of that at once.

import t from 'tap'
import { OUT, ROLE } from '../../proto/ops.ts'
import { AppError, Refusal } from '../base/errors.ts'
import type { Member } from './rooms.ts'
import { admin, person, setUp } from './stage.suite.ts'

t.test('settings: checked, told to viewers, kept, and in force at once', async (t) => {
  const { open, enter, settle, rooms } = await setUp(t)
  const host = person('host', ROLE.broadcaster)
  const made = await rooms.configure('a', host, { settings: { title: 'Hello', slowModeSeconds: 5, blockedTerms: ['darn'] } })
  t.match(made, { created: true, view: { room: 'a', kind: 'stream', createdBy: 'host', settings: { title: 'Hello', slowModeSeconds: 5 } } })
  t.notMatch(JSON.stringify(made), /darn/)
  const room = await open('a')
  const viewer = enter(room)
  t.match(viewer.frames[0]?.[5], { title: 'Hello' })
  t.notMatch(JSON.stringify(viewer.frames), /darn/)
  await rooms.configure('a', host, { settings: { title: null, locked: true } })
  await settle()
  t.same(viewer.of(OUT.STATE).at(-1)?.[3], { title: null, locked: true })
  t.match(room.settings, { title: '', locked: true, slowModeSeconds: 5 })
  for (const settings of [{ nonsense: 1 }, { slowModeSeconds: -1 }, { locked: 'yes' }, { title: 'x'.repeat(121) }, { blockedTerms: [''] }, { __proto__x: 1 }] as Record<string, unknown>[]) {
    t.match(await rooms.configure('a', host, { settings }), { name: 'bad_request' })
  }
  t.match(await rooms.configure('a', person('someone'), { settings: { locked: false } }), { name: 'forbidden', message: /broadcaster or admin/ })
  t.match(await rooms.configure('a', host, { kind: 'group' }), { name: 'bad_request' })
  t.match(await rooms.configure('no room', host, {}), { name: 'bad_request' })
  t.match(await rooms.configure('uproar:canary', admin, {}), { name: 'forbidden' })
})

t.test('a room that becomes private lets go of those who may not be there', async (t) => {
  const { say, open, enter, settle, rooms } = await setUp(t)
  const room = await open('a')
  const guest = enter(room)
  const member = enter(room, { as: person('m', 0, { a: 0 }) })
  const stream = room.cursor(null, 0, null)
  await rooms.configure('a', admin, { settings: { private: true } })
  await say('a', 3)
  await settle()
  t.equal(guest.closed, 'evicted')
  t.match(guest.of(OUT.ERR).at(-1), [OUT.ERR, null, 11, 'forbidden'])
  t.equal(member.closed, '')
  t.match(await stream.next(), { name: 'forbidden' }, 'also when it is behind: it is not shown what was said since')
  for (const refusal of [await rooms.open('a', null), await rooms.describe('a', null)]) t.match(refusal, { name: 'unauthorized', message: /a is private: it needs a token/ })
  for (const ask of ['open', 'describe'] as const) t.match(await rooms[ask]('a', person('x')), { name: 'forbidden', message: /a is private: .* must name it in `rooms`/ })
  t.match(await rooms.configure('a', person('x', ROLE.broadcaster), {}), { name: 'forbidden', message: /private/ })
  const list = await rooms.list({ limit: 10 }, null)
  t.same((list as { rooms: unknown[] }).rooms, [])
})

t.test('deleting a room tells its viewers, and what comes after is a new epoch', async (t) => {
  const { say, open, enter, rooms } = await setUp(t)
  await open('a')
  await say('a', 3)
  const room = await open('a')
  const viewer = enter(room)
  t.match(await rooms.remove('a', person('x')), { name: 'forbidden', message: /role admin/ })
  t.equal(await rooms.remove('a', admin), true)
  for (const end = performance.now() + 10_000; performance.now() < end && viewer.closed === '';) await new Promise((resolve) => setImmediate(resolve))
  t.equal(viewer.closed, 'evicted')
  t.match(viewer.of(OUT.ERR).at(-1), [OUT.ERR, null, 12, 'not_found'])
  t.match(await rooms.remove('a', admin), { name: 'not_found' })
  const again = await open('a')
  t.not(again.epoch, room.epoch)
  t.equal(enter(again, { position: [room.epoch, 3] }).frames[0]?.[6], false)
})

t.test('a deletion that the log could not carry out can be repeated', async (t) => {
  const { say, rooms, log, directory, open } = await setUp(t)
  await open('a')
  await say('a', 3)
  const remove = log.remove.bind(log)
  log.remove = async () => { throw new AppError('overloaded', 'too much') }
  t.match(await rooms.remove('a', admin), { name: 'overloaded' })
  log.remove = remove
  t.match(await rooms.remove('a', admin), true)
  t.same([await directory.get('a'), (await log.head('a')).seq], [null, 0])
})

t.test('joins, settings and deletions of one room at once: it is whole or gone', async (t) => {
  const { say, rooms, directory, log, enter } = await setUp(t)
  for (let round = 0; round < 30; round++) {
    const name = `r${round}`
    await rooms.configure(name, admin, { settings: { private: true } })
    await say(name, 1)
    const mine = person('m', 0, { [name]: 0 })
    const [joined] = await Promise.all([
      rooms.open(name, mine), rooms.remove(name, admin), rooms.open(name, mine), rooms.configure(name, admin, { settings: { private: true } }), rooms.remove(name, admin)
    ])
    const viewer = joined instanceof Refusal ? null : enter(joined, { as: mine })
    const again = await rooms.open(name, null)
    if (again instanceof Refusal) throw new Error(`${again.name} in round ${round}`)
    t.same([again.seq, again.settings.private, viewer?.seqs ?? []], [0, false, []], name)
    t.not(await directory.get(name), null)
    t.equal((await log.head(name)).epoch, again.epoch)
  }
})

t.test('idle rooms leave memory; those never used leave the store too', async (t) => {
  const { say, open, enter, rooms, clock, directory, settle } = await setUp(t, { ROOM_IDLE_S: '10' })
  const used = await open('used')
  await say('used', 2)
  await open('blank', person('ann'))
  await rooms.configure('made', admin, {})
  await open('made')
  const posted = await open('posted')
  const viewer = enter(used)
  clock.advance(6000)
  t.equal(await open('posted'), posted)
  clock.advance(6000)
  t.equal(rooms.active('posted'), posted, 'not while it is asked for')
  await settle()
  t.same([rooms.active('blank'), rooms.active('made')], [null, null])
  t.equal(rooms.active('used'), used, 'not while somebody is there')
  for (const end = performance.now() + 10_000; performance.now() < end && await directory.get('blank') !== null;) await new Promise((resolve) => setImmediate(resolve))
  t.equal(await directory.get('blank'), null)
  t.match(await directory.get('made'), { createdBy: 'root' }, 'what was made on purpose stays')
  used.leave(viewer.member as Member)
  clock.advance(12_000)
  t.equal(rooms.active('used'), null)
  t.equal((await open('used')).seq, 2)
})

t.test('rooms on demand can be turned off, and the number of active rooms is bounded', async (t) => {
  const { rooms, open, enter, clock } = await setUp(t, { ROOMS_ON_DEMAND: 'false', ROOMS_ACTIVE_MAX: '2' })
  t.match(await rooms.open('a', null), { name: 'not_found' })
  for (const name of ['a', 'b', 'c']) await rooms.configure(name, admin, {})
  t.match(await rooms.open('a', null), { name: 'a' })
  t.match(await rooms.open('b', null), { name: 'b' })
  t.match(await rooms.open('c', null), { name: 'overloaded', retryAfterMs: 5000 })
  const room = await open('a')
  const viewer = enter(room)
  clock.advance(5000)
  t.match(await rooms.open('c', null), { name: 'c' }, 'the one that nobody used for longest gives way')
  t.same([rooms.active('a'), rooms.active('b')], [room, null])
  enter(await open('c'))
  clock.advance(5000)
  t.match(await rooms.open('b', null), { name: 'overloaded' }, 'none that has viewers')
  t.equal(viewer.closed, '')
})
