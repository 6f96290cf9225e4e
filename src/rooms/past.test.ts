// History over log and archive together: the same entries, once and in order, wherever the border lies, and what happens
// to it while the archive is away.

import t from 'tap'
import { entryObject, entrySeq, packShadowTail, packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { archiveOf, put } from '../archive/archive.suite.ts'
import type { Archive } from '../archive/archive.ts'
import { Reads } from '../archive/reads.ts'
import { AppError } from '../base/errors.ts'
import type { Draft } from '../log/log.ts'
import { LogFeed } from '../feed/log-feed.ts'
import { person, setUp } from './stage.suite.ts'
import type { History, Past, Room } from './rooms.ts'

const archive: Archive = archiveOf(t)

const message = (user: string, body: string, ext: unknown = null): Draft => ({ op: OUT.MESSAGE, tail: packTail([[user, user.toUpperCase(), 1], 0, body, ext]), author: user, nonce: null })

/** A room whose oldest entries are in the archive alone: 1 to 60 there, the log from 41 on, then from 61 on. */
async function aged (t: Parameters<typeof setUp>[0], room: string, past: Past = new Reads(archive)) {
  const stage = await setUp(t, { RETENTION_HOURS: '1' }, undefined, past)
  const feed = new LogFeed({ log: stage.log, clock: stage.clock, metrics: stage.metrics, say: () => {} })
  t.teardown(() => feed.close())
  const drafts: Draft[] = []
  for (let seq = 1; seq <= 40; seq++) drafts.push(message(`u${seq % 5}`, `early ${seq} \u0000 😀 '; --`, seq % 7 === 0 ? { re: 1, meta: { size: 1.5, none: null } } : null))
  drafts[9] = { op: OUT.STATE, tail: packTail([{ title: 'Day 1' }]), author: 'mod', nonce: null, patch: { settings: { title: 'Day 1' } } }
  drafts[19] = { op: OUT.MESSAGE, tail: packShadowTail([['u9', 'U9', 0], 0, 'nobody hears', null]), author: 'u9', nonce: null }
  drafts[29] = { op: OUT.REMOVE, tail: packTail([{ seq: 5 }, 'mod']), author: 'mod', nonce: null, patch: { guarded: { 'removed:5': 1 } } }
  drafts[34] = { op: OUT.MESSAGE, tail: packTail([['u6', 'U6', 0], 5, Uint8Array.of(0, 255, 128), null]), author: 'u6', nonce: null }
  const publish = async (draft: Draft): Promise<void> => {
    await stage.log.publish(room, draft)
    stage.clock.advance(1000)
  }
  for (const draft of drafts) await publish(draft)
  const before = await stage.open(room)
  const whole = await all(before, 200)
  const whose = await all(before, 200, 'u9')
  const consumer = await feed.consume({ name: 'archiver', topics: ['messages'], from: 'beginning', handle: (batch) => put(archive, batch) })
  stage.clock.advance(2 * 3_600_000)
  await consumerIsDone(() => consumer.lag().records)
  for (let seq = 41; seq <= 60; seq++) await publish(message('u1', `late ${seq}`))
  await consumerIsDone(() => consumer.lag().records)
  for (const end = performance.now() + 10_000; (await stage.log.head(room)).first < 41;) {
    if (performance.now() > end) throw new Error('the log was not trimmed')
    stage.clock.advance(2000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.teardown(() => consumer.stop())
  before.close()
  return { ...stage, whole, whose }
}

async function consumerIsDone (lag: () => number): Promise<void> {
  for (const end = performance.now() + 10_000; ;) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    if (lag() === 0) return
    if (performance.now() > end) throw new Error('the archive was not filled')
  }
}

/** Every page from the newest back, put together. */
async function all (room: Room, limit: number, user: string | null = null): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = []
  for (let before: number | null = null; ;) {
    const page: History = await room.history({ before, limit }, user === null ? null : person(user))
    entries.unshift(...page.entries)
    if (!page.more) return entries
    before = entrySeq(page.entries[0] as Uint8Array)
  }
}

async function forward (room: Room, limit: number): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = []
  for (let after = 0; ;) {
    const page = await room.history({ after, limit })
    entries.push(...page.entries)
    if (!page.more) return entries
    after = entrySeq(page.entries.at(-1) as Uint8Array)
  }
}

t.test('pages go over the border as if there were none', async (t) => {
  const { open, whole, whose, log, rooms, clock } = await aged(t, 'seam')
  t.match(await log.head('seam'), { first: 41, seq: 60 })
  // Opened anew, so that the ring has no more than the log.
  const room = await open('seam')
  const hex = (entries: readonly Uint8Array[]): string[] => entries.map((entry) => Buffer.from(entry).toString('hex'))
  const early = (entries: readonly Uint8Array[]): Uint8Array[] => entries.filter((entry) => entrySeq(entry) <= 40)
  for (const limit of [1, 3, 7, 20, 21, 200]) {
    const paged = await all(room, limit)
    t.same(hex(early(paged)), hex(whole), `back by ${limit}: byte for byte what the log gave`)
    t.same(paged.map(entrySeq), [...Array(60).keys()].map((at) => at + 1).filter((seq) => seq !== 5 && seq !== 20), 'once, in order, and nothing that was removed or is another\'s')
    t.same((await forward(room, limit)).map(entrySeq), paged.map(entrySeq), `and forward by ${limit}`)
  }
  t.same(hex(early(await all(room, 7, 'u9'))), hex(whose), 'the author of a shadow message has it')
  t.equal((await room.history({ before: 45, limit: 10 })).entries.length, 10, 'a page across the border is full')
  t.equal(entryObject((await room.history({ before: 36, limit: 1 })).entries[0] as Uint8Array).op, 'message')

  const start = 1_700_000_000_000
  for (const [ms, seq] of [[0, 1], [1, 2], [4000, 5], [39_500, 41], [2 * 3_600_000 + 40_000 + 5000, 46], [1e12, 61]] as const) t.equal(await room.pages.seqAt(start + ms), seq, `the first entry at ${ms} ms is ${seq}`)

  // Removed only now: the room knows before the archive does.
  await log.publish('seam', { op: OUT.REMOVE, tail: packTail([{ user: 'u2', upTo: 60 }, 'mod']), author: 'mod', nonce: null, patch: { guarded: { 'purged:u2': 60 } } })
  t.notOk((await all(room, 50)).some((entry) => entry[1] === OUT.MESSAGE && entrySeq(entry) <= 40 && entrySeq(entry) % 5 === 2), 'a purge takes archived messages at once')
  await log.publish('seam', { op: OUT.REMOVE, tail: packTail([{ all: true, upTo: 38 }, 'mod']), author: 'mod', nonce: null, patch: { guarded: { cleared: 38 } } })
  t.equal(entrySeq((await all(room, 4))[0] as Uint8Array), 39, 'a cleared room begins behind what was cleared')
  t.equal(rooms.active('seam')?.isClosed, false)
  clock.advance(0)
})

t.test('while the archive is away the log is served, and the end is not made up', async (t) => {
  let isAway = false
  const reads = new Reads(archive)
  const failing = <Args extends unknown[], Result>(work: (...args: Args) => Promise<Result>) => async (...args: Args): Promise<Result> => {
    if (isAway) throw new AppError('unavailable', 'the archive is away')
    return work(...args)
  }
  const past: Past = { isKept: true, before: failing((...args) => reads.before(...args)), after: failing((...args) => reads.after(...args)), seqAt: failing((...args) => reads.seqAt(...args)) }
  const { open } = await aged(t, 'away', past)
  const room = await open('away')
  isAway = true
  const page = await room.history({ before: null, limit: 50 })
  t.same([page.entries.length, page.more], [20, true], 'what the log has, and that there is more')
  await t.rejects(room.history({ before: 41, limit: 50 }), { code: 'unavailable' })
  await t.rejects(room.history({ after: 3, limit: 50 }), { code: 'unavailable' }, 'reading on from there would leave out what is missing')
  t.equal((await room.history({ after: 45, limit: 50 })).entries.length, 15)
  isAway = false
  t.equal((await room.history({ before: 41, limit: 50 })).entries.length, 38)
})

t.test('without an archive history ends where the log does', async (t) => {
  const { open } = await aged(t, 'none', { isKept: false, before: async () => [], after: async () => [], seqAt: async () => null })
  const room = await open('none')
  const page = await room.history({ before: null, limit: 50 })
  t.same([page.entries.length, page.more], [20, false])
  t.same((await room.history({ before: 41, limit: 50 })), { epoch: page.epoch, head: 60, entries: [], more: false })
  t.equal((await room.history({ after: 0, limit: 5 })).entries.length, 5)
  t.equal(await room.pages.seqAt(0), 41)
})
