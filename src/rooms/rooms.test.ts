// Rooms on the real embedded log, with viewers and clock in hand: whatever joins, leaves, stalls and resumes, each viewer
// can account for every entry.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { decodeTrusted, BadFrame, type Frame } from '../../proto/codec.ts'
import { packTail } from '../../proto/entry.ts'
import { OUT, ROLE } from '../../proto/ops.ts'
import type { Identity } from '../auth/auth.ts'
import { ManualClock } from '../base/clock.ts'
import { loadConfig } from '../base/config.ts'
import { Refusal } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbDirectory } from '../directory/lmdb-directory.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import { Rooms, type Member, type Room, type Viewer } from './rooms.ts'

type Test = Pick<typeof t, 'teardown'>

const person = (id: string, roles = 0, rooms: Record<string, number> = {}): Identity =>
  ({ id, name: id, roles, rooms: new Map(Object.entries(rooms)), expiresAt: Infinity, tokenId: null })
const admin = person('root', ROLE.admin)

/** Topics and sockets in memory; a paused socket keeps what it is given. */
class Wire {
  topics = new Map<string, Set<Watcher>>()
  publish (topic: string, bytes: Uint8Array): void {
    for (const viewer of this.topics.get(topic) ?? []) viewer.receive(bytes)
  }
}

class Watcher implements Viewer {
  readonly identity: Identity | null
  readonly wire: Wire
  isPaused = false
  held: Uint8Array[] = []
  frames: Frame[] = []
  closed = ''
  member: Member | null = null

  constructor (wire: Wire, identity: Identity | null = null) {
    this.wire = wire
    this.identity = identity
  }

  send (bytes: Uint8Array): boolean { this.receive(bytes); return true }
  buffered (): number { return this.held.reduce((sum, bytes) => sum + bytes.length, 0) }
  subscribe (topic: string): void {
    const set = this.wire.topics.get(topic) ?? new Set()
    this.wire.topics.set(topic, set.add(this))
  }

  unsubscribe (topic: string): void { this.wire.topics.get(topic)?.delete(this) }
  tooSlow (): void { this.closed = 'too_slow'; this.member?.room.leave(this.member) }
  evicted (): void { this.closed = 'evicted' }

  receive (bytes: Uint8Array): void {
    if (this.isPaused) { this.held.push(bytes); return }
    const frames = decodeTrusted(bytes)
    if (frames instanceof BadFrame) throw new Error(frames.reason)
    this.frames.push(...frames)
  }

  resume (): void {
    this.isPaused = false
    for (const bytes of this.held.splice(0)) this.receive(bytes)
    this.member?.room.drained(this.member)
  }

  of (op: number): Frame[] { return this.frames.filter((frame) => frame[0] === op) }
  get seqs (): number[] { return this.of(OUT.MESSAGE).concat(this.of(OUT.STATE)).map((frame) => frame[1] as number).sort((a, b) => a - b) }

  /** Every seq from the first one received on is there once and in order, or was announced as skipped. */
  account (): { first: number, last: number, faults: string[] } {
    let next = -1
    let first = -1
    const faults: string[] = []
    for (const frame of this.frames) {
      const [op, seq, last] = frame as [number, number, number]
      if (op === OUT.SKIPPED) {
        if (next !== -1 && seq !== next) faults.push(`skipped from ${seq}, expected ${next}`)
        if (first === -1) first = seq
        next = last + 1
      } else if (op >= OUT.MESSAGE && op <= OUT.EDIT) {
        if (next !== -1 && seq !== next) faults.push(`got ${seq}, expected ${next}`)
        if (first === -1) first = seq
        next = seq + 1
      }
    }
    return { first, last: next - 1, faults }
  }
}

async function setUp (t: Test, env: Record<string, string> = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-rooms-'))
  const clock = new ManualClock()
  const metrics = new Metrics()
  const config = loadConfig(env)
  const store = await openStore(dir)
  const log = createLmdbLog(store, { clock, metrics, durability: 'commit', queueMax: 10_000, dedupMinutes: 10, retention: { hours: 168, entriesMax: 1_000_000, mbMax: 1024 } })
  const directory = createLmdbDirectory(store)
  const wire = new Wire()
  const faults: unknown[] = []
  const rooms = new Rooms({ log, directory, fanout: wire, clock, metrics, config, fault: (error, what) => faults.push([what, error]) })
  rooms.start()
  t.teardown(async () => {
    rooms.stop()
    await log.close()
    await store.close()
    rmSync(dir, { recursive: true })
  })
  let nonce = 0
  const say = async (room: string, count = 1, size = 20): Promise<void> => {
    const tail = packTail([['u', 'U', 0], 0, 'x'.repeat(size), null])
    await Promise.all(Array.from({ length: count }, () => log.publish(room, { op: OUT.MESSAGE, tail, author: 'u', nonce: `n${nonce++}` })))
  }
  const open = async (name: string, by: Identity | null = null): Promise<Room> => {
    const room = await rooms.open(name, by)
    if (room instanceof Refusal) throw new Error(room.message)
    return room
  }
  const enter = (room: Room, options: { position?: [string, number] | null, history?: number, as?: Identity | null, view?: 'full' | 'live' } = {}): Watcher => {
    const viewer = new Watcher(wire, options.as ?? null)
    viewer.member = room.join(viewer, 1, { position: options.position ?? null, history: options.history ?? 50, view: options.view ?? 'full' })
    return viewer
  }
  /** Lets windows and slices run out. */
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 50; turn++) {
      clock.advance(50)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { clock, metrics, config, log, directory, wire, rooms, faults, say, open, enter, settle }
}

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

t.test('a storm of joins, leaves, stalls and resumes: everybody can account for every entry', async (t) => {
  const { say, open, enter, settle, clock } = await setUp(t, { SLICE_VIEWERS: '3', RING_ENTRIES_MAX: '200', RING_KB_MAX: '64', SLOW_KB: '16', SLOW_TIMEOUT_S: '600' })
  let seed = 42
  const random = (below: number): number => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed % below }
  await say('a', 5)
  const room = await open('a')
  const here: Watcher[] = []
  const all: Watcher[] = []
  for (let round = 0; round < 400; round++) {
    const what = random(10)
    if (what < 4) await say('a', 1 + random(40), random(400))
    else if (what < 6) { const viewer = enter(room, { history: random(100), view: random(2) === 0 ? 'full' : 'live', as: random(2) === 0 ? null : person('u') }); here.push(viewer); all.push(viewer) } else if (what === 6 && here.length > 3) room.leave(here.splice(random(here.length), 1)[0]?.member as Member)
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
  t.ok(stalled.buffered() < 64 * 1024 + 4 * 65_536, `it holds ${stalled.buffered()} bytes`)
  t.same(sleeper.account(), { first: 1, last: 4000, faults: [] })
  t.ok(sleeper.of(OUT.SKIPPED).length > 0)
  t.equal(sleeper.of(OUT.SKIPPED)[0]?.[4], 'slow')
  clock.advance(300_000)
  t.equal(stalled.closed, 'too_slow')
  t.equal(good.closed + sleeper.closed, '')
})

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
  t.match(await rooms.configure('a', person('someone'), { settings: { locked: false } }), { name: 'forbidden' })
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
  t.match(await rooms.open('a', null), { name: 'forbidden' })
  t.match(await rooms.describe('a', null), { name: 'forbidden' })
  const list = await rooms.list({ limit: 10 }, null)
  t.same((list as { rooms: unknown[] }).rooms, [])
})

t.test('deleting a room tells its viewers, and what comes after is a new epoch', async (t) => {
  const { say, open, enter, rooms } = await setUp(t)
  await open('a')
  await say('a', 3)
  const room = await open('a')
  const viewer = enter(room)
  t.match(await rooms.remove('a', person('x')), { name: 'forbidden' })
  t.equal(await rooms.remove('a', admin), true)
  for (const end = performance.now() + 10_000; performance.now() < end && viewer.closed === '';) await new Promise((resolve) => setImmediate(resolve))
  t.equal(viewer.closed, 'evicted')
  t.match(viewer.of(OUT.ERR).at(-1), [OUT.ERR, null, 12, 'not_found'])
  t.match(await rooms.remove('a', admin), { name: 'not_found' })
  const again = await open('a')
  t.not(again.epoch, room.epoch)
  t.equal(enter(again, { position: [room.epoch, 3] }).frames[0]?.[6], false)
})

t.test('idle rooms leave memory; those never used leave the store too', async (t) => {
  const { say, open, enter, rooms, clock, directory, settle } = await setUp(t, { ROOM_IDLE_S: '10' })
  const used = await open('used')
  await say('used', 2)
  await open('blank')
  const viewer = enter(used)
  clock.advance(12_000)
  await settle()
  t.equal(rooms.active('blank'), null)
  t.equal(rooms.active('used'), used, 'not while somebody is there')
  for (const end = performance.now() + 10_000; performance.now() < end && await directory.get('blank') !== null;) await new Promise((resolve) => setImmediate(resolve))
  t.equal(await directory.get('blank'), null)
  used.leave(viewer.member as Member)
  clock.advance(12_000)
  t.equal(rooms.active('used'), null)
  t.equal((await open('used')).seq, 2)
})

t.test('rooms on demand can be turned off, and the number of active rooms is bounded', async (t) => {
  const { rooms } = await setUp(t, { ROOMS_ON_DEMAND: 'false', ROOMS_ACTIVE_MAX: '2' })
  t.match(await rooms.open('a', null), { name: 'not_found' })
  for (const name of ['a', 'b', 'c']) await rooms.configure(name, admin, {})
  t.match(await rooms.open('a', null), { name: 'a' })
  t.match(await rooms.open('b', null), { name: 'b' })
  t.match(await rooms.open('c', null), { name: 'overloaded', retryAfterMs: 5000 })
  t.match(await rooms.open('a', null), { name: 'a' }, 'those in memory go on')
})

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
