// The parts of a room that need nothing around them: the ring, the policy of windows, the sampler.

import t from 'tap'
import { encodeEntry, packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { ManualClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { Busiest, ROOMS_SHOWN } from './busiest.ts'
import { Ring } from './ring.ts'
import { Sampler, type Sighting } from './sampler.ts'
import { WindowEnd } from './window-end.ts'
import { Rate, windowMs } from './window.ts'

t.test('ring: entries are found by seq, bounded, and never let go before they were sent', async (t) => {
  const entry = (seq: number): Uint8Array => encodeEntry(OUT.MESSAGE, seq, 1, packTail([['u', 'U', 0], 0, 'text', null]))
  const ring = new Ring(40, 10, 1_000_000)
  t.equal(ring.has(40), false)
  for (let seq = 41; seq <= 60; seq++) t.equal(ring.push(entry(seq)), true)
  t.equal(ring.push(entry(60)), false, 'an old entry is ignored')
  t.throws(() => ring.push(entry(62)), /stands at 60/)
  ring.trim(45)
  t.equal(ring.first, 46, 'trim stops at what was sent')
  ring.trim(60)
  t.same([ring.first, ring.last, ring.size], [51, 60, 10])
  t.same(ring.run(58, 99, 1_000_000).length, 3)
  t.same(ring.run(51, 60, 1).length, 1, 'one entry at least')
  const small = new Ring(0, 1000, 100)
  for (let seq = 1; seq <= 50; seq++) small.push(entry(seq))
  small.trim(50)
  t.ok(small.bytes <= 100)
})

t.test('window: nobody waits while writing at once is cheap; hot rooms take the full window; bounded', async (t) => {
  const limits = { maxMs: 50, bigMaxMs: 250 }
  const table: [number, number, number][] = [
    [0, 10_000, 0], [1, 2000, 0], [100, 400, 0], [1000, 20, 0], [1000, 40, 0], [1000, 60, 25], [1000, 2000, 50], [4999, 1000, 50],
    [5000, 8, 0], [5000, 1000, 250], [18_000, 2, 0], [18_000, 5, 250], [18_000, 50, 250]
  ]
  for (const [viewers, perSecond, expected] of table) t.equal(Math.round(windowMs(viewers, perSecond, limits)), expected, `${viewers} viewers, ${perSecond} a second`)
  t.equal(windowMs(100_000, 1000, { maxMs: 0, bigMaxMs: 0 }), 0)
  // With what a flush took: as said, three times that, and as long as nothing could keep up with.
  const timed: [number, number, number, number][] = [
    [1000, 20, 10, 0], [1000, 2000, 12, 50], [1000, 12, 30, 0], [1000, 12, 90, 150], [1000, 2000, 60, 100], [1000, 12, 5000, 250], [4999, 100, 50, 83], [18_000, 50, 400, 250]
  ]
  for (const [viewers, perSecond, flushMs, expected] of timed) t.equal(Math.round(windowMs(viewers, perSecond, limits, flushMs)), expected, `${viewers} viewers, ${perSecond} a second, ${flushMs} ms a flush`)
  t.equal(windowMs(1000, 2000, limits, 100, 62), 62, 'no longer than a message takes to fill')
  t.equal(windowMs(1000, 2000, limits, 100, 20), 50, 'and no shorter for it')
  t.equal(windowMs(1000, 100, { maxMs: 0, bigMaxMs: 250 }, 100), 0, 'who wants no windows gets none')
  const rate = new Rate()
  for (let at = 0; at < 100; at++) rate.add(1, at * 50)
  t.ok(Math.abs(rate.perSecond(4950) - 20) < 2, 'every 50 ms is about 20 a second')
  t.ok(rate.perSecond(10_000) < 0.1, 'and it forgets')
})

t.test('sampler: a budget a second, dealt fairly; an author that floods gets what others leave', async (t) => {
  const by = (author: string, isAlways = false): Sighting => ({ author, isAlways, at: [], re: 0 })
  const sampler = new Sampler()
  t.equal(sampler.budget(100, 20, 0), 20, 'a second is saved at the start')
  t.equal(sampler.budget(100, 20, 0), 0)
  t.equal(sampler.budget(100, 20, 250), 5)
  t.equal(sampler.budget(3, 20, 500), 3)
  t.equal(sampler.budget(100, 20, 60_000), 20, 'savings are bounded')
  t.same(sampler.choose([by('a'), by('mod', true), by('b')], 0, 0), [false, true, false])
  const flood = [...Array.from({ length: 50 }, () => by('flood')), by('a'), by('b'), by('c')]
  const shown = (chosen: boolean[], given: Sighting[]): string[] => given.filter((_, index) => chosen[index]).map((sighting) => sighting.author)
  t.same(shown(sampler.choose(flood, 4, 0), flood).sort(), ['a', 'b', 'c', 'flood'], 'one each first')
  const counts: Record<string, number> = {}
  for (let window = 1; window <= 200; window++) {
    const given = [by('flood'), by('flood'), by(`x${window}`), by(`y${window}`), by('flood')]
    for (const author of shown(sampler.choose(given, 1, window * 50), given)) counts[author] = (counts[author] ?? 0) + 1
  }
  t.notOk((counts['flood'] ?? 0) > 2, `the flood was shown ${counts['flood'] ?? 0} times of 200`)
  t.same(shown(sampler.choose([by('a'), by('a'), by('a')], 2, 20_000), [by('a'), by('a'), by('a')]).length, 2, 'what is left over goes to whoever asks')
})

t.test('busiest rooms: the first twenty by viewers and by entries, none that left them, no names of private ones', async (t) => {
  const metrics = new Metrics()
  const busiest = new Busiest(metrics)
  const rooms = Array.from({ length: 500 }, (_, at) => ({ name: `r${at}`, seq: 0, viewers: at, settings: { private: at >= 498 }, rankedSeq: -1 }))
  const shown = async (name: string): Promise<Map<string, number>> => new Map([...(await metrics.text()).matchAll(new RegExp(`^${name}\\{room="([^"]+)"\\} (\\S+)$`, 'gm'))].map(([, room, value]) => [room as string, Number(value)]))
  const own = { name: 'uproar:probe', seq: 0, viewers: 1000, settings: { private: false }, rankedSeq: -1 }
  busiest.look([...rooms, own], 5000)
  const first = await shown('uproar_room_viewers')
  t.equal(first.size, ROOMS_SHOWN + 1)
  t.same([first.get('r497'), first.get('r478'), first.get('r477'), first.get('(private)')], [497, 478, undefined, 498 + 499])
  t.equal((await shown('uproar_room_entries_per_second')).size, 0, 'no rate at the first look')
  for (const room of rooms) {
    room.viewers = 500 - room.viewers
    room.seq += room.name === 'r3' ? 50 : 0
  }
  busiest.look(rooms, 10_000)
  const second = await shown('uproar_room_viewers')
  t.same([second.get('r0'), second.get('r497')], [500, undefined], 'who left the top left the numbers')
  t.same([...await shown('uproar_room_entries_per_second')], [['r3', 10]])
  const many = Array.from({ length: 25_000 }, (_, at) => ({ name: `m${at}`, seq: 1, viewers: at, settings: { private: false }, rankedSeq: -1 }))
  for (const turn of [1, 2]) {
    busiest.look(many, 15_000)
    t.equal(busiest.isUnderWay, true, `turn ${turn} does not see them all`)
    t.equal((await shown('uproar_room_viewers')).get('r0'), 500, 'and what was shown stays until the round is over')
  }
  busiest.look(many, 17_000)
  t.same([busiest.isUnderWay, (await shown('uproar_room_viewers')).get('m24999'), (await shown('uproar_room_viewers')).get('r0')], [false, 24_999, undefined])
})

t.test('windows end with the commits nearest to their time, and are no shorter for it', (t) => {
  const clock = new ManualClock()
  const window = new WindowEnd(clock, { maxMs: 50, bigMaxMs: 250 })
  const viewers = 1000
  const entries = (count: number): Uint8Array[] => Array.from({ length: count }, () => new Uint8Array(100))
  let isRunning = false
  let windows = 0
  const during = (ms: number, commits: number): void => {
    for (let commit = 0; commit < commits; commit++) {
      clock.advance(ms)
      window.added(entries(10))
      const end = window.nearEnd(viewers)
      if (end !== null) {
        window.ended(end)
        windows++
        isRunning = false
      } else if (!isRunning) {
        window.begun(window.remainingMs(viewers))
        isRunning = true
      }
    }
  }
  during(16, 200)
  windows = 0
  during(16, 200)
  t.ok(windows >= 62 && windows <= 66, `${windows} windows in 3.2 s`)
  while (isRunning) during(16, 1)
  during(16, 1)
  const due = window.askCommit(clock.elapsed(), viewers)
  t.ok(due > 20 && due < 40, `the commit that ends the next is due in ${due} ms`)
  clock.advance(10)
  t.equal(window.askCommit(clock.elapsed(), viewers), due - 10, 'asked again it is the same one')
  t.equal(window.isSoon(), true, 'an OK may wait for it')
  clock.advance(100)
  t.equal(window.askCommit(clock.elapsed(), viewers), 0, 'and overdue it is wanted at once')
  window.ended()
  t.same([window.isSoon(), window.askCommit(clock.elapsed() + 60, viewers)], [false, 0], 'no window runs')
  t.end()
})
