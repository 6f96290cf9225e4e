// What every engine of the feed must do, through its face alone. An engine is opened at a place, stopped, and opened
// there again; what is published goes through the room log that feeds it.

import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Draft, Log } from '../log/log.ts'
import { RecordFaults, type ConsumerOptions, type Feed, type FeedRecord, type FeedTopic } from './feed.ts'

export interface FeedEngine {
  readonly log: Log
  readonly feed: Feed
  readonly metrics: Metrics
  /** Given to the opener, it opens the same once more. */
  readonly place: unknown
  stop (): Promise<void>
}
export type FeedOpener = (place?: unknown) => Promise<FeedEngine>

const WAIT_MS = 30_000

export function said (text: string, author = 'ann'): Draft {
  return { op: OUT.MESSAGE, tail: packTail([[author, author, 0], 0, text, null]), author, nonce: null }
}

export async function until (what: string, holds: () => boolean, ms = WAIT_MS): Promise<void> {
  for (const end = performance.now() + ms; !holds();) {
    if (performance.now() > end) throw new Error(`waited ${ms} ms in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Gathers what a consumer was given, and says where it is not in order. */
export class Gathered {
  readonly records: FeedRecord[] = []
  readonly bodies: string[] = []
  batchMax = 0
  #last = new Map<string, number>()
  disorder = 0
  repeated = 0

  take (batch: readonly FeedRecord[]): void {
    this.batchMax = Math.max(this.batchMax, batch.length)
    for (const record of batch) {
      const key = `${record.topic} ${record.room} ${record.epoch}`
      const last = this.#last.get(key) ?? 0
      if (record.seq <= last) {
        this.repeated++
        continue
      }
      if (record.topic === 'messages' && record.seq !== last + 1 && last !== 0) this.disorder++
      this.#last.set(key, record.seq)
      this.records.push(record)
      this.bodies.push(String(record.value['body']))
    }
  }
}

let names = 0
const fresh = (): string => `consumer-${names++}`

async function gather (feed: Feed, options: Partial<ConsumerOptions> = {}): Promise<Gathered & { stop (): Promise<void>, lag (): { records: number } }> {
  const gathered = new Gathered()
  const consumer = await feed.consume({ name: fresh(), topics: ['messages'], from: 'beginning', handle: async (batch) => { gathered.take(batch) }, ...options })
  return Object.assign(gathered, { stop: () => consumer.stop(), lag: () => consumer.lag() })
}

export async function feedSuite (t: Test, open: FeedOpener): Promise<void> {
  await t.test('every entry, in order per room, from the beginning or from now on', async (t) => {
    const engine = await open()
    t.teardown(() => engine.stop())
    const { log, feed } = engine
    for (let i = 0; i < 30; i++) await log.publish(`r${i % 3}`, said(`early ${i}`))
    const all = await gather(feed)
    await until('what was there has come', () => all.records.length === 30)
    const later = await gather(feed, { from: 'now' })
    await Promise.all(Array.from({ length: 600 }, (_, i) => log.publish(`r${i % 3}`, said(`late ${i}`))))
    await until('all has come', () => all.records.length === 630 && later.records.length === 600)
    t.equal(all.disorder + later.disorder, 0, 'in order')
    t.ok(later.bodies.every((body) => body.startsWith('late')), 'from now on means that')
    t.ok(all.batchMax <= 500)
    const [record] = all.records
    t.match(record, { topic: 'messages', epoch: String, seq: 1, ts: Number, value: { v: 1, room: record?.room, epoch: record?.epoch, seq: 1, op: 'message', user: { id: 'ann' }, kind: 0 } })
    await until('there is no lag', () => all.lag().records === 0)
  })

  await t.test('a place outlives the process', async (t) => {
    const first = await open()
    const name = fresh()
    for (let i = 0; i < 5; i++) await first.log.publish('r', said(`m${i}`))
    const before = await gather(first.feed, { name })
    await until('the first have come', () => before.records.length === 5)
    await before.stop()
    await first.log.publish('r', said('m5'))
    await first.log.publish('new room', said('m6'))
    await first.stop()
    const second = await open(first.place)
    t.teardown(() => second.stop())
    const after = await gather(second.feed, { name })
    await second.log.publish('r', said('m7'))
    await until('the rest has come', () => after.bodies.includes('m7') && after.bodies.includes('m6'))
    t.same(after.bodies.toSorted(), ['m5', 'm6', 'm7'], 'what was acknowledged does not come again')
  })

  await t.test('the world fails: the batch comes again until it is handled', async (t) => {
    const engine = await open()
    t.teardown(() => engine.stop())
    let failures = 0
    const gathered = new Gathered()
    const consumer = await engine.feed.consume({
      name: fresh(), topics: ['messages'], from: 'beginning',
      handle: async (batch) => {
        if (failures < 3) {
          failures++
          throw new AppError('unavailable', 'away')
        }
        gathered.take(batch)
      }
    })
    for (let i = 0; i < 10; i++) await engine.log.publish('r', said(`m${i}`))
    await until('all has come', () => gathered.records.length === 10)
    t.same(gathered.bodies, Array.from({ length: 10 }, (_, i) => `m${i}`))
    t.equal(gathered.disorder, 0)
    t.equal(failures, 3)
    await consumer.stop()
  })

  await t.test('records that the handler names go to the dead letters, and the others are done', async (t) => {
    const engine = await open()
    t.teardown(() => engine.stop())
    const name = fresh()
    const dead = await gather(engine.feed, { topics: ['messages.dead'], from: 'now' })
    await Promise.all(Array.from({ length: 20 }, (_, i) => engine.log.publish('r', said(i % 5 === 2 ? 'poison' : `m${i}`))))
    const done: string[] = []
    const consumer = await engine.feed.consume({
      name, topics: ['messages'], from: 'beginning',
      handle: async (batch) => {
        const faults = batch.filter(({ value }) => value['body'] === 'poison').map((record) => ({ record, reason: 'not edible' }))
        done.push(...batch.map(({ value }) => String(value['body'])).filter((body) => body !== 'poison'))
        if (faults.length > 0) throw new RecordFaults(faults)
      }
    })
    await until('the letters are there', () => dead.records.length === 4)
    t.match(dead.records[0]?.value, { consumer: name, seq: 3, reason: 'not edible', record: { body: 'poison' } })
    await engine.log.publish('r', said('after'))
    await until('it goes on', () => done.includes('after'))
    t.equal(done.length, 17, 'what was done is not done again')
    t.equal(engine.metrics.value('uproar_feed_failures_total', name), 0)
    await consumer.stop()
  })

  await t.test('a poison record goes to the dead letters and stops nobody', async (t) => {
    const engine = await open()
    t.teardown(() => engine.stop())
    const name = fresh()
    const dead = await gather(engine.feed, { topics: ['messages.dead'], from: 'now' })
    await Promise.all(Array.from({ length: 20 }, (_, i) => engine.log.publish('r', said(i === 7 ? 'poison' : `m${i}`))))
    const done = new Set<string>()
    await engine.feed.consume({
      name, topics: ['messages'], from: 'beginning',
      handle: async (batch) => {
        for (const { value } of batch) if (value['body'] === 'poison') throw new TypeError('I cannot eat this')
        for (const { value } of batch) done.add(String(value['body']))
      }
    })
    await until('the others are handled', () => done.size === 19)
    await until('the letter is there', () => dead.records.length === 1)
    t.match(dead.records[0]?.value, { v: 1, consumer: name, topic: 'messages', room: 'r', seq: 8, reason: 'I cannot eat this', record: { body: 'poison' } })
    t.equal(engine.metrics.value('uproar_feed_dead_total', name), 1)
    await engine.log.publish('r', said('after'))
    await until('it goes on', () => done.has('after'))
  })

  await t.test('topics that are sent to', async (t) => {
    const engine = await open()
    t.teardown(() => engine.stop())
    const some = await gather(engine.feed, { topics: ['notifications', 'actions'] as FeedTopic[] })
    const messages = await gather(engine.feed)
    await engine.feed.send('notifications', [{ room: 'r', id: 'n1', value: { v: 1, room: 'r', kind: 'mention' } }])
    await engine.feed.send('actions', [{ room: 'r', id: 'a1', value: { v: 1, room: 'r', action: 'remove' } }])
    await engine.log.publish('r', said('m'))
    await until('both have come', () => some.records.length >= 2 && messages.records.length >= 1)
    t.same(new Set(some.records.map(({ topic, value }) => `${topic} ${String(value['kind'] ?? value['action'])}`)), new Set(['notifications mention', 'actions remove']))
    t.same(messages.bodies, ['m'], 'they are not among the messages')
  })

  await t.test('many rooms, one at a time or at once', async (t) => {
    const engine = await open()
    t.teardown(() => engine.stop())
    const count = 300
    const one = await gather(engine.feed, { batchMax: 50 })
    const parallel = await gather(engine.feed, { isParallel: true, batchMax: 50 })
    await Promise.all(Array.from({ length: count * 5 }, (_, i) => engine.log.publish(`room ${i % count}`, said(createHash('md5').update(String(i)).digest('hex')))))
    await until('all has come', () => one.records.length === count * 5 && parallel.records.length === count * 5)
    t.equal(one.disorder + parallel.disorder, 0)
    t.ok(one.batchMax <= 50)
  })
}
