// Instances hear of the log's news one after the other: two sets of rooms on one log, one of which is told when it is time.

import t from 'tap'
import type { Log } from '../log/log.ts'
import { Rooms, type Room } from './rooms.ts'
import { setUp } from './stage.suite.ts'

t.test('who comes from an instance that is a moment ahead is resumed whole', async (t) => {
  const { log, directory, wire, clock, metrics, config, faults, say, open } = await setUp(t)
  await say('a', 10)
  const ahead = await open('a')
  // Another instance, which hears of the log's news when it is told to.
  let held: (() => void)[] = []
  const watch: Log['watch'] = (room, watcher) => log.watch(room, { entries: (batch) => { held.push(() => watcher.entries(batch)) }, lost: () => watcher.lost() })
  const late = new Proxy(log, { get: (whole, key) => { const part: unknown = Reflect.get(whole, key); return key === 'watch' ? watch : typeof part === 'function' ? part.bind(whole) : part } })
  const rooms = new Rooms({ log: late, directory, fanout: wire, clock, metrics, config, fault: (error, what) => faults.push([what, error]) })
  t.teardown(() => rooms.stop())
  const room = await rooms.open('a', null) as Room
  await say('a', 5)
  t.same([ahead.seq, room.seq], [15, 10])
  const turns = async (): Promise<void> => { for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve)) }

  let isThere = false
  const opening = rooms.open('a', null, [room.epoch, 15]).then((there) => { isThere = true; return there })
  await turns()
  t.notOk(isThere, 'it waits')
  for (const tell of held) tell()
  held = []
  t.equal(await opening, room)
  t.equal(room.cursor([room.epoch, 15], 0, null).recovered, true, 'and then has what the viewer has')

  await say('a', 1)
  const slow = rooms.open('a', null, [room.epoch, 16])
  await turns()
  clock.advance(2000)
  t.equal(await slow, room, 'it does not wait for ever')
  t.equal(room.cursor([room.epoch, 16], 0, null).recovered, false)
  t.equal(await rooms.open('a', null, [room.epoch, 17]), room, 'nor for what the log has not')
  t.equal(await rooms.open('a', null, ['other', 999]), room)
  const closing = rooms.open('a', null, [room.epoch, 16])
  await turns()
  room.close()
  t.not(await closing, room, 'nor in a room that ends')
})
