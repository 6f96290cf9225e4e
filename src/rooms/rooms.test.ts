// Rooms on the real embedded log, with viewers and clock in hand: whatever joins, leaves, stalls and resumes, each viewer
// can account for every entry.

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { decodeTrusted, type Frame } from '../../proto/codec.ts'
import { OUT } from '../../proto/ops.ts'
import { Refusal } from '../base/errors.ts'
import { SWEEP_BYTES, type Member } from './rooms.ts'
import { admin, person, setUp, type Watcher } from './stage.suite.ts'

t.test('a join gets history up to the head it was told, then everything once and in order', async (t) => {
  const { say, open, enter, settle } = await setUp(t)
  await say('a', 120)
  const room = await open('a')
  const viewer = enter(room)
  const [, rid, name, epoch, seq, state, recovered] = viewer.frames[0] as unknown as unknown[]
  t.same([viewer.frames[0]?.[0], rid, name, epoch, seq, recovered], [OUT.JOINED, 1, 'a', room.epoch, 120, false])
  t.match(state, { slowModeSeconds: 0, locked: false, private: false })
  t.same(viewer.frames[1], [OUT.ROOM, 'a', room.epoch])
  t.same(viewer.seqs, Array.from({ length: 50 }, (_, at) => 71 + at))
  await say('a', 30)
  await settle()
  t.match(viewer.account(), { first: 71, last: 150, faults: [] })
  t.same(enter(room, { history: 0 }).seqs, [])
  t.same(enter(room, { history: 200 }).account(), { first: 1, last: 150, faults: [] })
})

t.test('resume: whole when it can be, else it says so', async (t) => {
  const { say, open, enter } = await setUp(t, { RING_ENTRIES_MAX: '200' })
  await say('a', 700)
  const room = await open('a')
  t.equal(room.ring.first, 501, 'the ring is smaller than the log')
  const fromLog = enter(room, { position: [room.epoch, 100] })
  t.equal(fromLog.frames[0]?.[6], true)
  await new Promise((resolve) => setImmediate(resolve))
  t.ok(fromLog.account().last < 500, 'what the log has comes a page a turn, so that others get theirs')
  for (const end = performance.now() + 10_000; performance.now() < end && fromLog.account().last < 700;) await new Promise((resolve) => setImmediate(resolve))
  t.same(fromLog.account(), { first: 101, last: 700, faults: [] })
  t.same(enter(room, { position: [room.epoch, 690] }).account(), { first: 691, last: 700, faults: [] })
  t.same(enter(room, { position: [room.epoch, 700] }).seqs, [])
  for (const position of [['other', 690], [room.epoch, 701]] as [string, number][]) {
    const viewer = enter(room, { position })
    t.equal(viewer.frames[0]?.[6], false, `${position} is not recovered`)
    t.same(viewer.account(), { first: 651, last: 700, faults: [] })
  }
})

t.test('further back than a resume reaches is not recovered', async (t) => {
  const { say, open, enter } = await setUp(t)
  for (let round = 0; round < 3; round++) await say('a', 4000, 1)
  const room = await open('a')
  t.equal(enter(room, { position: [room.epoch, 1999] }).frames[0]?.[6], false)
  t.equal(enter(room, { position: [room.epoch, 2000] }).frames[0]?.[6], true)
})

t.test('what may wait for the next write goes along with it, and never waits for nothing', async (t) => {
  const { say, open, enter, settle, clock, rooms } = await setUp(t, { SLICE_VIEWERS: '50' })
  const room = await open('a')
  const viewers = Array.from({ length: 100 }, () => enter(room, { history: 0 }))
  const [first, , third] = viewers as [Watcher, Watcher, Watcher]
  const hold = (viewer: Watcher): boolean => room.hold(viewer.member as Member)
  t.notOk(hold(first), 'a quiet room writes nothing soon')
  for (let round = 0; round < 30; round++) await say('a', 30)
  const becomeBusy = async (): Promise<void> => {
    await say('a', 300)
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
    clock.advance(1)
    await say('a', 1)
  }
  await settle()
  await becomeBusy()
  const before = first.of(OUT.MESSAGE).length
  t.ok(hold(first) && hold(third), 'a busy room writes soon')
  t.same([first.flushes, third.flushes], [[], []])
  room.leave(third.member as Member)
  t.equal(third.flushes.length, 1, 'who leaves waits no longer')
  await settle()
  t.equal(first.flushes.length, 1)
  t.ok((first.flushes[0] as number) > before, 'told behind the write, in the same turn')
  await becomeBusy()
  t.ok(hold(first))
  rooms.stop()
  t.equal(first.flushes.length, 2, 'a room that ends lets nobody wait')
})

t.test('where a flush takes long a room flushes less often, and as often as before once it does not', async (t) => {
  const { clock, wire, say, open, enter } = await setUp(t)
  const room = await open('a')
  const [viewer] = Array.from({ length: 300 }, () => enter(room)) as [Watcher, ...Watcher[]]
  // Writing to the sockets takes time, which nobody's timers know of.
  const elapsed = clock.elapsed.bind(clock)
  const publish = wire.publish.bind(wire)
  let [flushMs, spent, flushes] = [0, 0, 0]
  clock.elapsed = () => elapsed() + spent
  wire.publish = (topic, bytes) => {
    flushes++
    spent += flushMs
    publish(topic, bytes)
  }
  const flushesOf = async (entries: number): Promise<number> => {
    const before = flushes
    for (let count = 0; count < entries; count++) {
      await say('a')
      clock.advance(20)
    }
    return flushes - before
  }
  t.equal(await flushesOf(5), 5, 'nobody waits')
  flushMs = 200
  await flushesOf(20)
  t.ok(await flushesOf(20) < 12, 'several entries a flush')
  flushMs = 0
  await flushesOf(250)
  t.equal(await flushesOf(5), 5, 'nobody waits again')
  clock.advance(1000)
  t.equal(viewer.seqs.length, 300)
  t.same(viewer.account().faults, [])
})

t.test('a hot room asks for the commit that ends its window; what nobody waits for is to be committed at once', async (t) => {
  const { say, open, enter, clock, rooms } = await setUp(t, { WINDOW_MS_MAX: '120', SLICE_VIEWERS: '1000' })
  const room = await open('a')
  const viewers = Array.from({ length: 500 }, () => enter(room, { history: 0 }))
  const viewer = viewers[0] as Watcher
  const due = (): number => Math.round(room.askCommit(clock.elapsed()))
  const shown = (): number => viewer.of(OUT.MESSAGE).length
  t.equal(due(), 0, 'a quiet room shows at once')
  for (let round = 0; round < 100; round++) {
    await say('a', 4)
    clock.advance(10)
  }
  clock.advance(250)
  t.equal(due(), 0, 'no window runs')
  await say('a', 4)
  const before = shown()
  t.equal(due(), 0, 'an OK would not wait for the end of a long one')
  clock.advance(65)
  t.equal(due(), 50, 'and now it does: a little before, for the commit takes time')
  await say('a', 4)
  t.equal(shown(), before, 'a commit meanwhile shows nothing')
  t.equal(due(), 50, 'and changes nothing')
  clock.advance(due())
  await say('a', 4)
  t.equal(shown(), before + 8, 'that commit ends the window')
  clock.advance(5 + 120 - 8)
  await say('a', 4)
  t.equal(shown(), before + 12, 'the next began where that one should have ended')
  await rooms.configure('a', admin, { settings: { publicationDelaySeconds: 2 } })
  clock.advance(70)
  t.equal(due(), 0, 'with a delay nothing is to be had by waiting')
})

t.test('an even stream that fills a message before the window is over ends it there', async (t) => {
  const { say, open, enter, clock, metrics } = await setUp(t)
  const room = await open('a')
  for (let count = 0; count < 100; count++) enter(room, { history: 0 })
  // 600 bytes a millisecond: 16 KB have come after 27.
  const during = async (ms: number): Promise<void> => {
    clock.advance(ms)
    await say('a', Math.round(ms * 0.6), 1000 - 40)
  }
  for (let round = 0; round < 50; round++) await during(50)
  const [writes, messages] = [metrics.value('uproar_publishes_total'), room.seq]
  for (let window = 0; window < 20; window++) await during(Math.max(1, Math.round(room.askCommit(clock.elapsed()))))
  t.ok(metrics.value('uproar_publishes_total') - writes <= 21, 'one write each, and that of what was before')
  t.ok(room.seq - messages > 20 * 8, 'well filled')
})

t.test('a room of up to four slices is written to in one piece and turn, and one that has grown beyond has slices with a turn each', async (t) => {
  const { say, open, enter, settle, wire } = await setUp(t, { SLICE_VIEWERS: '2' })
  const room = await open('a')
  let turn = 0
  let isOver = false
  const next = (): void => { if (!isOver) setImmediate(() => { turn++; next() }) }
  next()
  t.teardown(() => { isOver = true })
  const turns = new Map<Uint8Array, number[]>()
  const publish = wire.publish.bind(wire)
  wire.publish = (topic, bytes) => {
    turns.set(bytes, [...turns.get(bytes) ?? [], turn])
    publish(topic, bytes)
  }
  const viewers: ReturnType<typeof enter>[] = []
  const enterAndSay = async (count: number): Promise<number[]> => {
    for (let left = count; left > 0; left--) viewers.push(enter(room))
    await settle()
    turns.clear()
    await say('a', 1)
    await settle()
    t.same(viewers.map((viewer) => viewer.account().faults), viewers.map(() => []))
    t.equal(new Set(viewers.map((viewer) => viewer.account().last)).size, 1, 'everybody has the newest')
    return [...turns.values()][0] as number[]
  }
  t.equal((await enterAndSay(8)).length, 1)
  const larger = await enterAndSay(1)
  t.equal(larger.length, 5)
  t.equal(new Set(larger).size, 5)
  for (const viewer of viewers.splice(0, 4)) room.leave(viewer.member as NonNullable<typeof viewer.member>)
  const smaller = await enterAndSay(0)
  t.equal(new Set(smaller).size, 1, 'it stays cut up, in one turn')
  t.equal((await enterAndSay(5)).length, 5, 'and is cut to size again')
})

t.test('what is long is deflated once, for those who asked for it', async (t) => {
  const { say, open, enter, settle, wire, metrics } = await setUp(t, { SLICE_VIEWERS: '2', DEFLATE_BYTES_MIN: '1000', DEFLATE_VIEWERS_MIN: '5' })
  const room = await open('a')
  const published = new Set<Uint8Array>()
  const publish = wire.publish.bind(wire)
  wire.publish = (topic, bytes) => {
    published.add(bytes)
    publish(topic, bytes)
  }
  const deflate = Array.from({ length: 5 }, (_, index) => enter(room, { encoding: 'deflate', view: index === 4 ? 'live' : 'full' }))
  const plain = Array.from({ length: 3 }, () => enter(room))
  await say('a', 1, 100)
  await settle()
  t.same(deflate.map((viewer) => viewer.deflated.length), [0, 0, 0, 0, 0], 'what is short is not')
  const last = deflate.pop() as Watcher
  room.leave(last.member as Member)
  await say('a', 10, 200)
  await settle()
  t.same(deflate.map((viewer) => viewer.deflated.length), [0, 0, 0, 0], 'nor anything for few')
  deflate.push(enter(room, { encoding: 'deflate', view: 'live' }))
  published.clear()
  await say('a', 10, 200)
  await settle()
  t.same(deflate.map((viewer) => viewer.deflated.length), [1, 1, 1, 1, 1])
  const [bytes] = deflate[0]?.deflated as [Uint8Array]
  const whole = [...published].filter((one) => one.length > 2000)
  t.equal(whole.length, 1)
  t.same([...published].filter((one) => one[1] === OUT.DEFLATED), [bytes], 'made once, for all slices and views')
  t.ok(bytes.length < 500, `${bytes.length} bytes`)
  t.equal(metrics.value('uproar_broadcast_bytes_total', 'deflate'), 5 * bytes.length)
  t.equal(metrics.value('uproar_deflate_saved_bytes_total'), 5 * ((whole[0] as Uint8Array).length - bytes.length))
  for (const viewer of [...deflate, ...plain]) t.same(viewer.account(), { first: 1, last: 21, faults: [] })
  // What does not get smaller stays as it is.
  await say('a', 1, randomBytes(3000))
  await settle()
  t.equal(deflate[0]?.deflated.length, 1)
  t.equal(deflate[0]?.account().last, 22)
})

t.test('a server that deflates nothing', async (t) => {
  const { say, open, enter, settle } = await setUp(t, { DEFLATE_BYTES_MIN: '0', DEFLATE_VIEWERS_MIN: '1' })
  const room = await open('a')
  const viewer = enter(room, { encoding: 'deflate' })
  await say('a', 20, 200)
  await settle()
  t.same([viewer.deflated.length, viewer.account()], [0, { first: 1, last: 20, faults: [] }])
})

t.test('a storm of joins, leaves, stalls and resumes: everybody can account for every entry', async (t) => {
  const { say, open, enter, settle, clock } = await setUp(t, { SLICE_VIEWERS: '1', RING_ENTRIES_MAX: '200', RING_KB_MAX: '64', SLOW_KB: '16', SLOW_TIMEOUT_S: '600', DEFLATE_VIEWERS_MIN: '2' })
  let seed = 42
  const random = (below: number): number => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed % below }
  await say('a', 5)
  const room = await open('a')
  const here: Watcher[] = []
  const all: Watcher[] = []
  for (let round = 0; round < 400; round++) {
    const what = random(10)
    if (what < 4) await say('a', 1 + random(40), random(400))
    else if (what < 6) { const viewer = enter(room, { history: random(100), view: random(2) === 0 ? 'full' : 'live', encoding: random(2) === 0 ? 'plain' : 'deflate', as: random(2) === 0 ? null : person('u') }); here.push(viewer); all.push(viewer) } else if (what === 6 && here.length > 3) room.leave(here.splice(random(here.length), 1)[0]?.member as Member)
    else if (what === 7 && here.length > 0) (here[random(here.length)] as Watcher).isPaused = true
    else if (what === 8 && here.length > 0) (here[random(here.length)] as Watcher).resume()
    else { clock.advance(random(60)); await new Promise((resolve) => setImmediate(resolve)) }
  }
  for (const viewer of here) viewer.resume()
  await settle()
  for (const viewer of here) { viewer.resume() }
  await settle()
  t.ok(all.length > 40, `${all.length} viewers took part`)
  t.same(all.flatMap((viewer) => viewer.account().faults), [])
  for (const viewer of here) if (viewer.frames.length > 1) t.equal(viewer.account().last === room.seq || viewer.account().last === -2, true, 'stands at the head')
})

t.test('a viewer that never reads is told or closed, holds little, and slows nobody', async (t) => {
  const { say, open, enter, settle, clock, metrics } = await setUp(t, { SLOW_KB: '64', RING_KB_MAX: '64', RING_ENTRIES_MAX: '200', SLOW_TIMEOUT_S: '300' })
  const room = await open('a')
  const good = enter(room)
  const stalled = enter(room)
  const sleeper = enter(room)
  stalled.isPaused = sleeper.isPaused = true
  for (let round = 0; round < 40; round++) {
    await say('a', 100, 200)
    await settle()
    if (round === 20) t.equal(metrics.value('uproar_slow_viewers_total', 'behind'), 2)
    if (round === 30) sleeper.resume()
  }
  t.same(good.account(), { first: 1, last: 4000, faults: [] })
  t.ok(stalled.buffered() < 64 * 1024 + 4 * SWEEP_BYTES, `it holds ${stalled.buffered()} bytes`)
  t.same(sleeper.account(), { first: 1, last: 4000, faults: [] })
  t.ok(sleeper.of(OUT.SKIPPED).length > 0)
  t.equal(sleeper.of(OUT.SKIPPED)[0]?.[4], 'slow')
  clock.advance(300_000)
  t.equal(stalled.closed, 'too_slow')
  t.equal(good.closed + sleeper.closed, '')
})

for (const together of [1, 4]) {
  t.test(`a viewer that turns out to be too slow while it leaves its slice of ${together} takes nobody along`, async (t) => {
    const { say, open, enter, settle, wire, faults } = await setUp(t, { SLICE_VIEWERS: String(together), SLOW_KB: '16' })
    const room = await open('a')
    const [bad, ...good] = Array.from({ length: 4 }, () => enter(room)) as [Watcher, ...Watcher[]]
    await say('a', 1)
    await settle()
    bad.isPaused = true
    bad.flush = () => { bad.tooSlow() }
    const topic = bad.member?.slice?.topic
    let [published, size] = [0, 0]
    const publish = wire.publish.bind(wire)
    wire.publish = (to, bytes) => {
      if (to === topic) published += size = bytes.length
      publish(to, bytes)
    }
    for (let round = 0; round < 40 && bad.closed === ''; round++) {
      // Before the next message members are looked at, and those who hold too much leave: with them goes what waits for it.
      if (published + size > SWEEP_BYTES) room.hold(bad.member as Member, true)
      await say('a', 50, 200)
      await settle()
    }
    t.equal(bad.closed, 'too_slow')
    t.equal(room.viewers, 3)
    await say('a', 10)
    await settle()
    for (const viewer of good) t.same(viewer.account(), { first: 1, last: room.seq, faults: [] })
    t.same(faults, [])
  })
}

t.test('a live viewer that reports an old position is closed', async (t) => {
  const { say, open, enter, settle, clock } = await setUp(t, { SLOW_TIMEOUT_S: '15' })
  const room = await open('a')
  const viewer = enter(room)
  await say('a', 10)
  await settle()
  room.reported(viewer.member as Member, 10)
  room.reported(viewer.member as Member, 5)
  t.equal(viewer.closed, '', 'not so old yet')
  clock.advance(31_000)
  room.reported(viewer.member as Member, 10)
  t.equal(viewer.closed, '')
  room.reported(viewer.member as Member, 5)
  t.equal(viewer.closed, 'too_slow')
})

t.test('old entries that a viewer was sent just now, or never, do not make it slow', async (t) => {
  const { say, open, enter, clock } = await setUp(t, { SLOW_TIMEOUT_S: '15' })
  await say('a', 100)
  clock.advance(3_600_000)
  const room = await open('a')
  const resumed = enter(room, { position: [room.epoch, 20] })
  const fresh = enter(room, { history: 0 })
  room.reported(resumed.member as Member, 20)
  room.reported(fresh.member as Member, 0)
  t.equal(resumed.closed + fresh.closed, '', 'its PING crossed the catch-up')
  clock.advance(31_000)
  room.reported(fresh.member as Member, 0)
  t.equal(fresh.closed, '', 'it was not sent what was before it came')
  room.reported(resumed.member as Member, 20)
  t.equal(resumed.closed, 'too_slow')
})

t.test('viewer counts: told when they change, every 2 s at most', async (t) => {
  const { open, enter, settle, clock } = await setUp(t)
  const room = await open('a')
  const first = enter(room)
  const second = enter(room)
  t.same([first, second].map((viewer) => viewer.of(OUT.VIEWERS).map((frame) => frame[1])), [[1], [2]], 'the count stands behind JOINED')
  clock.advance(2000)
  await settle()
  t.same(first.of(OUT.VIEWERS).map((frame) => frame[1]), [1, 2])
  clock.advance(10_000)
  t.equal(first.of(OUT.VIEWERS).length, 2, 'not when nothing changed')
  const third = enter(room)
  clock.advance(1)
  room.leave(third.member as Member)
  clock.advance(4000)
  await settle()
  t.equal(first.of(OUT.VIEWERS).length, 2, 'nor when it is the same again')
})

t.test('history pages through ring and log alike', async (t) => {
  const { say, open } = await setUp(t, { RING_ENTRIES_MAX: '200' })
  await say('a', 500)
  const room = await open('a')
  const seqs: number[] = []
  let before: number | null = null
  for (let page = 0; page < 20; page++) {
    const history = await room.history({ before, limit: 70 })
    t.equal(history.head, 500)
    const run = history.entries.map((entry) => (decodeTrusted(entry) as Frame[])[0]?.[1] as number)
    seqs.unshift(...run)
    before = run[0] as number
    if (!history.more) break
  }
  t.same(seqs, Array.from({ length: 500 }, (_, at) => at + 1))
  t.match(await room.history({ after: 0, limit: 10 }), { more: true, entries: { length: 10 } })
  t.match(await room.history({ after: 495, limit: 10 }), { more: false, entries: { length: 5 } })
  t.match(await room.history({ after: 500, limit: 10 }), { more: false, entries: { length: 0 } })
  t.match(await room.history({ before: 1, limit: 10 }), { more: false, entries: { length: 0 } })
})

t.test('a cursor reads at its own pace and ends with the room', async (t) => {
  const { say, open, settle, rooms } = await setUp(t)
  await say('a', 60)
  const room = await open('a')
  const cursor = room.cursor(null, 50, null)
  t.same([cursor.start, cursor.head, cursor.recovered, room.viewers], [10, 60, false, 1])
  const seqs: number[] = []
  const reading = (async () => {
    for (;;) {
      const step = await cursor.next()
      if (typeof step === 'string' || step instanceof Refusal) return step
      seqs.push(...step.entries.map((entry) => (decodeTrusted(entry) as Frame[])[0]?.[1] as number))
    }
  })()
  await settle()
  await say('a', 5)
  await settle()
  t.same(seqs, Array.from({ length: 55 }, (_, at) => 11 + at))
  t.equal(await rooms.remove('a', admin), true)
  t.match(await reading, { name: 'not_found' })
  const second = (await open('a')).cursor(null, 10, null)
  const waiting = second.next()
  second.close()
  t.equal(await waiting, 'closed')
})

t.test('a cursor that still reads the log when its room is deleted ends, and reads nothing of another log', async (t) => {
  const { say, open, log, rooms } = await setUp(t, { RING_ENTRIES_MAX: '200' })
  await say('a', 700)
  const room = await open('a')
  const cursor = room.cursor([room.epoch, 100], 0, null)
  t.match(await cursor.next(), { entries: [Uint8Array, Uint8Array], skipped: null })
  t.equal(await rooms.remove('a', admin), true)
  // Bounded: a step without entries that makes no progress, over and over, would never let the loop turn.
  let step = await cursor.next()
  for (let more = 0; more < 20 && !(step instanceof Refusal); more++) step = await cursor.next()
  t.match(step, { name: 'not_found' })
  t.equal((await log.head('a')).seq, 0)
})
