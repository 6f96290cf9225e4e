// What a live view is shown of a hot room and of a quiet one, and what it is told of the rest.

import t from 'tap'
import { packTail } from '../../proto/entry.ts'
import { OUT, ROLE } from '../../proto/ops.ts'
import type { Member } from './rooms.ts'
import { admin, person, setUp } from './stage.suite.ts'

t.test('a live view of a hot room: sampled, every entry accounted for, and nothing that concerns the viewer left out', async (t) => {
  const { log, open, enter, settle, metrics } = await setUp(t, { SLICE_VIEWERS: '4', RING_ENTRIES_MAX: '2000' })
  const room = await open('a')
  const full = enter(room)
  const plain = enter(room, { view: 'live' })
  const people = ['p1', 'p2', 'p3', 'p4', 'p5'].map((id) => enter(room, { view: 'live', as: person(id) }))
  let nonce = 0
  const send = (author: string, roles = 0, kind = 0, ext: unknown = null): Promise<unknown> =>
    log.publish('a', { op: OUT.MESSAGE, tail: packTail([[author, author, roles], kind, 'text', ext]), author, nonce: `s${nonce++}` })
  for (let round = 0; round < 20; round++) {
    const batch = Array.from({ length: 60 }, (_, at) => send(`crowd${at % 30}`))
    batch.push(send('p1'), send('someone', 0, 0, { at: ['p2', 'p3'] }), send('mod', ROLE.moderator), send('vip', ROLE.vip), send('bot', ROLE.bot), send('host', ROLE.broadcaster, 2))
    if (round > 0) batch.push(send('someone', 0, 0, { re: round * 66 - 5 }))
    await Promise.all(batch)
    await settle()
  }
  t.same(full.account(), { first: 1, last: room.seq, faults: [] })
  t.equal(full.of(OUT.SKIPPED).length, 0)
  const all = full.of(OUT.MESSAGE) as unknown as [number, number, number, [string, string, number], number, string, { at?: string[], re?: number } | null][]
  const authorOf = new Map(all.map((frame) => [frame[1], frame[3][0]]))
  for (const viewer of [plain, ...people]) {
    const id = viewer.identity?.id ?? ''
    t.same(viewer.account(), { first: 1, last: room.seq, faults: [] }, `${id} can account for every entry`)
    const got = new Set(viewer.of(OUT.MESSAGE).map((frame) => frame[1]))
    const owed = all.filter((frame) => (frame[3][2] & ~ROLE.subscriber) !== 0 || frame[3][0] === id || frame[6]?.at?.includes(id) === true || (frame[6]?.re !== undefined && authorOf.get(frame[6].re) === id))
    t.same(owed.filter((frame) => !got.has(frame[1])).map((frame) => frame[1]), [], `${id} got all that is never left out`)
    t.equal(viewer.of(OUT.SKIPPED).reduce((sum, frame) => sum + (frame[3] as number), 0) + got.size, room.seq, 'counts are exact')
    t.ok(got.size < room.seq * 0.75, `${id} was shown ${got.size} of ${room.seq}`)
  }
  t.ok(metrics.value('uproar_skipped_total', 'sampled') > 0)
})

t.test('a live view of who becomes a user on the way has what concerns that user', async (t) => {
  const { log, open, enter, settle } = await setUp(t)
  const room = await open('a')
  const viewer = enter(room, { view: 'live' })
  viewer.identity = person('p1')
  room.identified(viewer.member as Member)
  let nonce = 0
  const send = (author: string): Promise<unknown> => log.publish('a', { op: OUT.MESSAGE, tail: packTail([[author, author, 0], 0, 'text', null]), author, nonce: `s${nonce++}` })
  for (let round = 0; round < 5; round++) {
    await Promise.all([...Array.from({ length: 60 }, () => send(`crowd${nonce % 30}`)), send('p1'), send('p1')])
    await settle()
  }
  t.equal(viewer.of(OUT.MESSAGE).filter((frame) => (frame[3] as unknown as string[])[0] === 'p1').length, 10)
  t.match(viewer.account(), { last: 310, faults: [] })
  t.ok(viewer.of(OUT.SKIPPED).length > 0)
  room.leave(viewer.member as Member)
  await send('p1')
  await settle()
  t.match(viewer.account(), { last: 310 })
})

t.test('a live view of a quiet room gets everything; the budget is the room\'s to set', async (t) => {
  const { say, open, enter, settle, rooms } = await setUp(t)
  const room = await open('a')
  const viewer = enter(room, { view: 'live' })
  for (let round = 0; round < 30; round++) { await say('a', 2); await settle() }
  t.same([viewer.account(), viewer.of(OUT.SKIPPED).length], [{ first: 1, last: 60, faults: [] }, 0])
  await rooms.configure('a', admin, { settings: { liveMessagesPerSecond: 1 } })
  await settle()
  await say('a', 50)
  await settle()
  t.same(viewer.account(), { first: 1, last: 111, faults: [] })
  t.ok(viewer.of(OUT.SKIPPED).length > 0)
})
