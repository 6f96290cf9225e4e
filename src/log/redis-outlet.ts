// The outlet of the log in Redis: consumer groups on the shards' streams. Members of a consumer share its shards evenly;
// one member at a time holds a shard, by a lease, since order within a room would not survive two of them.
//
//   lease ─▶ XAUTOCLAIM (what a member before took and did not acknowledge) ─▶ XREADGROUP ─▶ take ─▶ acknowledge
//     ▲           ▲                                                                                     │ (XACK, renews
//     └── lost ───┴──────── anything failed: from what is not acknowledged on, again ◀──────────────────┘  the lease)
//
// A shard's batches are numbered; where numbers are missing (trimmed over the cap), rooms that this member has seen are
// filled up from their histories; it is said that there was a gap, since of others nothing is known. Bounds: READ_BATCHES of each shard at a time,
// ROOMS_MAX positions a shard, a deadline on every call, one connection a shard.

import { randomUUID } from 'node:crypto'
import { BoundedMap } from '../base/bounded.ts'
import { systemClock, type Timer } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { RedisFault, type Link, type Redis, type RedisWord } from '../base/redis.ts'
import { callFunction } from '../base/redis-functions.ts'
import { entrySeq, entryTs } from '../../proto/entry.ts'
import type { Log } from './log.ts'
import { readBatchHead, readRun, readSegments, segmentRoom } from './redis-layout.ts'
import type { Outlet, OutletConsumer, OutletLag, OutletOptions, OutletRun } from './outlet.ts'

const BLOCK_MS = 500
const CALL_MS = 2000
const READ_BATCHES = 64
const LEASE_MS = 10_000
const MEMBER_MS = 10_000
const TEND_MS = 2000
const BACKOFF_MS = [50, 200, 500, 1000] as const
const ROOMS_MAX = 20_000
const FILL = { entries: 1000, bytes: 1_048_576 } as const

interface Parts {
  readonly redis: Redis
  readonly prefix: string
  readonly shards: number
  readonly metrics: Metrics
  readonly log: Pick<Log, 'after'>
}

export class RedisOutlet implements Outlet {
  readonly #parts: Parts
  readonly #open = new Set<Member>()

  constructor (parts: Parts) { this.#parts = parts }

  async open (consumer: string, options: OutletOptions): Promise<OutletConsumer> {
    const member = new Member(this.#parts, consumer, options)
    try {
      await member.start()
    } catch (error) {
      await member.stop()
      if (error instanceof RedisFault) throw new AppError('unavailable', `Redis does not take the consumer ${consumer}`, { cause: error })
      throw error
    }
    this.#open.add(member)
    return {
      lag: () => member.lag(),
      stop: async () => {
        this.#open.delete(member)
        await member.stop()
      }
    }
  }

  async close (): Promise<void> {
    await Promise.all([...this.#open].map((member) => member.stop()))
  }
}

/** This process as a member of a consumer. */
class Member {
  readonly #parts: Parts
  readonly #consumer: string
  readonly #options: OutletOptions
  readonly #id = randomUUID()
  readonly #readers: readonly ShardReader[]
  #timer: Timer | null = null
  #tending: Promise<void> | null = null
  #isStopped = false

  constructor (parts: Parts, consumer: string, options: OutletOptions) {
    this.#parts = parts
    this.#consumer = consumer
    this.#options = options
    this.#readers = Array.from({ length: parts.shards }, (_, index) => new ShardReader(parts, index, { consumer, member: this.#id, options }))
  }

  /** Registers the consumer in every shard, so that nothing after this is trimmed before it has it. */
  async start (): Promise<void> {
    for (const reader of this.#readers) await reader.register(this.#options.from)
    await this.#tend()
    this.#timer = systemClock.every(TEND_MS, () => { void this.#tend() })
  }

  lag (): OutletLag {
    const all = this.#readers.filter((reader) => reader.isHeld).map((reader) => reader.lag())
    return { entries: all.reduce((sum, { entries }) => sum + entries, 0), seconds: Math.max(0, ...all.map(({ seconds }) => seconds)) }
  }

  async stop (): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    await this.#tending
    await Promise.all(this.#readers.map((reader) => reader.release()))
    await this.#parts.redis.call('0', 'ZREM', [this.#membersKey, this.#id], CALL_MS).catch(() => {
      // It is forgotten by itself in a while.
    })
  }

  get #membersKey (): string { return `${this.#parts.prefix}{0}:members:${this.#consumer}` }

  #tend (): Promise<void> {
    this.#tending ??= this.#balance().catch(() => {
      this.#parts.metrics.add('uproar_redis_commands_failed_total', 1, 'consumer')
    }).finally(() => { this.#tending = null })
    return this.#tending
  }

  /** Holds as many shards as are this member's part: lets go of what is over, takes what is free. */
  async #balance (): Promise<void> {
    const { redis } = this.#parts
    const now = Date.now()
    await redis.call('0', 'ZADD', [this.#membersKey, now, this.#id], CALL_MS)
    await redis.call('0', 'ZREMRANGEBYSCORE', [this.#membersKey, 0, now - MEMBER_MS], CALL_MS)
    const members = Math.max(1, Number(await redis.call('0', 'ZCARD', [this.#membersKey], CALL_MS)))
    const fair = Math.ceil(this.#readers.length / members)
    const held = this.#readers.filter((reader) => reader.isHeld)
    await Promise.all(held.slice(fair).map((reader) => reader.release()))
    let count = Math.min(fair, held.length)
    for (const reader of this.#readers) {
      if (count >= fair || this.#isStopped) return
      if (!reader.isHeld && await reader.acquire()) count++
    }
  }
}

interface Reading { readonly consumer: string, readonly member: string, readonly options: OutletOptions }
/** The last entry of a room that was given. */
interface Place { readonly epoch: string, readonly seq: number }
interface Batch { readonly id: string, readonly n: number, readonly runs: readonly OutletRun[] }

/** A shard's stream as one member reads it. */
class ShardReader {
  readonly #parts: Parts
  readonly #reading: Reading
  readonly #tag: string
  readonly #prefix: string
  readonly #given = new BoundedMap<string, Place>(ROOMS_MAX)
  #link: Link | null = null
  #running: Promise<void> | null = null
  #isWanted = false
  /** The last batch acknowledged, and the last there is. */
  #n = 0
  #ms = 0
  #last = 0
  /** The last batch read. */
  #seen = 0
  #isClaiming = true
  /** When Redis was last told where we stand. */
  #saidAt = -Infinity
  #incarnation = ''
  #oldest: number | null = null
  /** Entries in a batch, on average. */
  #size = 1

  constructor (parts: Parts, index: number, reading: Reading) {
    this.#parts = parts
    this.#reading = reading
    this.#tag = String(index)
    this.#prefix = `${parts.prefix}{${index}}:`
  }

  get isHeld (): boolean { return this.#running !== null }

  /** Makes the group where there is none, and with it the stream. */
  async register (from: 'beginning' | 'now'): Promise<void> {
    try {
      await this.#call('XGROUP', ['CREATE', this.#stream, this.#reading.consumer, from === 'now' ? '$' : '0', 'MKSTREAM'])
    } catch (error) {
      if (!(error instanceof RedisFault) || !error.message.startsWith('BUSYGROUP')) throw error
    }
  }

  /** Takes the lease and begins to read; false when another member has it. */
  async acquire (): Promise<boolean> {
    const answer = await this.#call('SET', [this.#lease, this.#reading.member, 'NX', 'PX', LEASE_MS])
    if (answer === null && String(await this.#call('GET', [this.#lease])) !== this.#reading.member) return false
    this.#isWanted = true
    this.#running = this.#run().finally(() => { this.#running = null })
    return true
  }

  /** Ends the reading after what is under way, and gives the lease back. */
  async release (): Promise<void> {
    if (this.#running === null) return
    this.#isWanted = false
    this.#link?.end()
    await this.#running
    const { member, consumer } = this.#reading
    try {
      // With a consumer's name goes what it has taken and not acknowledged, so only where that is nothing.
      const pending = await this.#call('XPENDING', [this.#stream, consumer, '-', '+', 1, member]) as unknown[]
      if (pending.length === 0) await this.#call('XGROUP', ['DELCONSUMER', this.#stream, consumer, member])
      if (String(await this.#call('GET', [this.#lease])) === member) await this.#call('DEL', [this.#lease])
    } catch {
      // The lease ends by itself.
    }
  }

  lag (): OutletLag {
    return { entries: Math.round(Math.max(0, this.#last - this.#n) * this.#size), seconds: this.#oldest === null ? 0 : Math.max(0, Date.now() - this.#oldest) / 1000 }
  }

  get #stream (): string { return `${this.#prefix}stream` }
  get #lease (): string { return `${this.#prefix}lease:${this.#reading.consumer}` }

  #call (command: string, words: readonly RedisWord[]): Promise<unknown> {
    return this.#parts.redis.call(this.#tag, command, words, CALL_MS)
  }

  async #run (): Promise<void> {
    for (let failures = 0; this.#isWanted;) {
      try {
        await this.#stand()
        this.#link = await this.#parts.redis.connect(this.#tag)
        while (this.#isWanted) {
          if (!await this.#turn(this.#link)) return
          failures = 0
        }
      } catch (error) {
        if (!this.#isWanted) return
        if (this.#link !== null) this.#parts.redis.learn(this.#tag, this.#link, error)
        this.#parts.metrics.add('uproar_redis_commands_failed_total', 1, 'consumer')
        if (error instanceof RedisFault && error.message.startsWith('NOGROUP')) await this.register('beginning').catch(() => {})
        await new Promise((resolve) => setTimeout(resolve, BACKOFF_MS[Math.min(failures++, BACKOFF_MS.length - 1)]))
      } finally {
        this.#link?.end()
      }
    }
  }

  /** One read, given and acknowledged; false when there is to be no other. */
  async #turn (link: Link): Promise<boolean> {
    const isClaiming = this.#isClaiming
    const batches = isClaiming ? await this.#claim(link) : await this.#read(link)
    const [first] = batches
    if (first === undefined) {
      this.#isClaiming = false
      // The lease wants to be renewed now and then, not with every read that found nothing.
      return performance.now() - this.#saidAt < TEND_MS || this.#acknowledge([])
    }
    if (this.#seen > 0 && first.n > this.#seen + 1) {
      if (!isClaiming) {
        // A member whose lease had ended may have taken what is missing: all that is not acknowledged is claimed first.
        this.#isClaiming = true
        return true
      }
      this.#parts.metrics.add('uproar_redis_gaps_total')
      // What of it is filled up from histories is not known yet; rooms that were only in there never will be.
      this.#reading.options.lost('', Math.max(1, Math.round((first.n - this.#seen - 1) * this.#size)))
    }
    return this.#give(batches)
  }

  /** Where the consumer stands in this shard: as it told when it last acknowledged, else where its group begins. */
  async #stand (): Promise<void> {
    this.#isClaiming = true
    const row = await this.#call('HGET', [`${this.#prefix}groups`, this.#reading.consumer]) as Buffer | null
    const [n, ms] = row === null ? await this.#begin() : row.toString().split(' ').map(Number) as [number, number]
    this.#n = n
    this.#ms = ms
    this.#seen = n
  }

  async #begin (): Promise<[n: number, ms: number]> {
    const isFromNow = this.#reading.options.from === 'now'
    const [edge] = await this.#call(isFromNow ? 'XREVRANGE' : 'XRANGE', [this.#stream, ...(isFromNow ? ['+', '-'] : ['-', '+']), 'COUNT', 1]) as [id: Buffer, fields: Buffer[]][]
    if (edge === undefined) return [0, 0]
    const { n } = readBatchHead(edge[1][1] as Buffer)
    return [isFromNow ? n : n - 1, msOf(edge[0].toString())]
  }

  /** What a member before this one, or this one before something failed, has taken and not acknowledged. */
  async #claim (link: Link): Promise<Batch[]> {
    const { consumer, member } = this.#reading
    const answer = await link.call('XAUTOCLAIM', [this.#stream, consumer, member, 0, '0-0', 'COUNT', READ_BATCHES], CALL_MS) as [Buffer, [Buffer, Buffer[] | null][]]
    return this.#batches(answer[1])
  }

  async #read (link: Link): Promise<Batch[]> {
    const { consumer, member } = this.#reading
    const words = ['GROUP', consumer, member, 'COUNT', READ_BATCHES, 'BLOCK', BLOCK_MS, 'STREAMS', this.#stream, '>']
    const answer = await link.call('XREADGROUP', words, BLOCK_MS + CALL_MS) as [Buffer, [Buffer, Buffer[]][]][] | null
    return this.#batches(answer?.[0]?.[1] ?? [])
  }

  #batches (rows: readonly (readonly [Buffer, Buffer[] | null])[]): Batch[] {
    return rows.flatMap(([id, fields]) => fields === null ? [] : [this.#batch(id.toString(), fields[1] as Buffer)])
  }

  #batch (id: string, data: Buffer): Batch {
    const { n, incarnation, at } = readBatchHead(data)
    if (incarnation !== this.#incarnation) {
      // Another life of the shard: its rooms have other epochs, and its batches are counted anew.
      if (this.#incarnation !== '') this.#n = this.#seen = n - 1
      this.#incarnation = incarnation
    }
    const runs: OutletRun[] = []
    for (const segment of readSegments(data, at)) {
      if (segment.isRemoval) continue
      const room = segmentRoom(segment)
      if (this.#reading.options.wants(room)) runs.push({ room, epoch: segment.epoch, entries: readRun(segment.run) })
    }
    return { id, n, runs }
  }

  /** False: the consumer takes nothing any more, or the shard is another member's. */
  async #give (batches: readonly Batch[]): Promise<boolean> {
    const { runs, given } = await this.#whole(batches)
    if (runs.length > 0) {
      this.#oldest = Math.min(...runs.map(({ entries }) => entryTs(entries[0] as Uint8Array)))
      const isTaken = await this.#keeping(this.#reading.options.take(runs))
      this.#oldest = null
      if (!isTaken) return false
      for (const [room, place] of given) this.#given.set(room, place)
      this.#size = this.#size * 0.9 + (runs.reduce((sum, { entries }) => sum + entries.length, 0) / batches.length) * 0.1
    }
    const last = batches.at(-1) as Batch
    this.#seen = last.n
    this.#n = Math.max(this.#n, last.n)
    this.#ms = Math.max(this.#ms, msOf(last.id))
    return this.#acknowledge(batches.map(({ id }) => id))
  }

  /** Renews the lease while something takes its time. */
  async #keeping<T> (work: Promise<T>): Promise<T> {
    const timer = systemClock.every(TEND_MS, () => { this.#acknowledge([]).catch(() => {}) })
    try {
      return await work
    } finally {
      timer.cancel()
    }
  }

  async #acknowledge (ids: readonly string[]): Promise<boolean> {
    const { consumer, member } = this.#reading
    const answer = await callFunction(this.#parts.redis, this.#tag, 'acknowledge', this.#prefix, [consumer, member, LEASE_MS, this.#n, this.#ms, ...ids], CALL_MS)
    const last = Number(String(answer))
    if (last < 0) return false
    this.#saidAt = performance.now()
    this.#last = last
    return true
  }

  /** The runs of these batches with what is missing between them, and where rooms stand after them. */
  async #whole (batches: readonly Batch[]): Promise<{ runs: OutletRun[], given: Map<string, Place> }> {
    const given = new Map<string, Place>()
    const runs: OutletRun[] = []
    for (const run of batches.flatMap((batch) => batch.runs)) {
      const before = given.get(run.room) ?? this.#given.get(run.room)
      const first = entrySeq(run.entries[0] as Uint8Array)
      const last = entrySeq(run.entries.at(-1) as Uint8Array)
      if (before?.epoch === run.epoch && first > before.seq + 1) runs.push(...await this.#fill(run, before.seq, first))
      if (before?.epoch !== run.epoch || last > before.seq) given.set(run.room, { epoch: run.epoch, seq: last })
      runs.push(run)
    }
    return { runs, given }
  }

  async #fill ({ room, epoch }: OutletRun, seq: number, until: number): Promise<OutletRun[]> {
    const runs: OutletRun[] = []
    let at = seq
    while (at + 1 < until) {
      const page = await this.#parts.log.after(room, at, { ...FILL, entries: Math.min(FILL.entries, until - 1 - at) })
      const first = page.entries[0]
      if (page.head.epoch !== epoch || first === undefined || entrySeq(first) >= until) break
      runs.push({ room, epoch, entries: page.entries })
      at = entrySeq(page.entries.at(-1) as Uint8Array)
    }
    return runs
  }
}

function msOf (id: string): number {
  return Number(id.slice(0, id.indexOf('-')))
}
