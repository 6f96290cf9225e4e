// The room log in Redis: the face's calls. Rooms are spread over shards; publishing goes through the shard's publisher,
// watching through its reader, reading is one function call a page. Bounds: the publishers' backlog, a deadline on every
// call, PAGE_BYTES a page.

import type { Clock } from '../base/clock.ts'
import { AppError, StartFault } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { RedisFault, type Redis, type RedisWord } from '../base/redis.ts'
import { entrySeq } from '../../proto/entry.ts'
import type { Draft, Head, Log, LogPage, Outcome, Published, ReadLimit, Retentions, Rewriting, RoomState, Watcher } from './log.ts'
import type { Outlet } from './outlet.ts'
import { callFunction, type RedisFunction } from '../base/redis-functions.ts'
import { GROUP, isCanary, nonceHash, packDraft, packRewritings, readRun, readState, roomBytes, roomKey, shardOf } from './redis-layout.ts'
import { ACT_MS, Backlog, newSeed, RedisPublisher, type PublisherOptions, type RedisAct } from './redis-publisher.ts'
import { RedisOutlet } from './redis-outlet.ts'
import { RedisReader } from './redis-reader.ts'
import { Shard } from './redis-shard.ts'
import { Watchers } from './watchers.ts'

export { canaryRooms } from './redis-layout.ts'

export interface RedisLogOptions {
  readonly clock: Clock
  readonly metrics: Metrics
  readonly prefix: string
  readonly shards: number
  readonly queueMax: number
  readonly dedupMinutes: number
  /** `apart`: of rooms with limits of their own, Infinity is none; one set of limits for all of them. */
  readonly retention: { readonly hours: number, readonly entriesMax: number, readonly mbMax: number, readonly apart?: Retentions }
  /** How long, and how many batches, a shard's stream waits for readers that lag. */
  readonly stream: {
    readonly minutes: number
    readonly batchesMax: number
    /** Instead of both, while consumers of the feed have not read them. */
    readonly unreadMax?: number
  }
}

/** Opens the room log; closing it leaves `redis` open. Throws StartFault when Redis cannot serve it. */
export async function openRedisLog (redis: Redis, options: RedisLogOptions): Promise<Log & { outlet (): Outlet }> {
  await redis.check()
  const log = new RedisLog(redis, options)
  try {
    await log.start()
  } catch (error) {
    await log.close()
    if (error instanceof RedisFault) throw new StartFault(`REDIS_URL: ${error.message}`)
    throw error
  }
  return log
}

/** More of a room's history than this is asked for in several calls, so that none holds Redis up for long. */
const PAGE_BYTES = 1_048_576
const PAGE_ENTRIES = 10_000
const RETRY_MS = 50
const UNREAD_MAX = 500_000
const MB = 1_048_576
const HOUR_MS = 3_600_000

/** A history is copied in steps of about so many bytes and at most so many changes, so that none holds Redis up. */
const REWRITE_BYTES = 262_144
const REWRITINGS_A_STEP = 2500
const REWRITES_MAX = 10
/** What stands for no limit: Redis takes no endless numbers. */
const ENDLESS_MS = 1000 * 365 * 24 * HOUR_MS
const ENDLESS = 2 ** 48

type Keep = readonly [ms: number, entries: number, bytes: number]

function keepOf ({ hours, entriesMax, mbMax }: { readonly hours: number, readonly entriesMax: number, readonly mbMax: number }): Keep {
  return [Math.min(ENDLESS_MS, hours * HOUR_MS), Math.min(ENDLESS, entriesMax), Math.min(ENDLESS, mbMax * MB)]
}

interface Place { readonly bytes: Buffer, readonly key: string, readonly shard: Shard, readonly publisher: RedisPublisher }
interface Page { readonly head: Head, readonly entries: Uint8Array[] }

class RedisLog implements Log {
  readonly rhythm = null
  readonly #redis: Redis
  /** Reads have connections of their own: a page of history holds up no message. */
  readonly #reads: Redis
  readonly #options: RedisLogOptions
  readonly #keep: Keep
  readonly #keepApart: Keep
  readonly #watchers = new Watchers()
  readonly #shards: readonly Shard[]
  readonly #publishers: readonly RedisPublisher[]
  readonly #reader: RedisReader
  #outlet: RedisOutlet | null = null
  #isClosed = false
  #closing: Promise<void> | null = null

  constructor (redis: Redis, options: RedisLogOptions) {
    this.#redis = redis
    this.#reads = redis.sibling()
    this.#options = options
    const { retention } = options
    this.#keep = keepOf(retention)
    this.#keepApart = keepOf([...retention.apart?.values() ?? []][0] ?? retention)
    this.#shards = Array.from({ length: options.shards }, (_, index) => new Shard({
      index, prefix: `${options.prefix}{${index}}:`, watchers: this.#watchers, metrics: options.metrics, history: (room, seq) => this.#forward(room, seq, PAGE_WIDE)
    }))
    const stream = [options.stream.batchesMax, options.stream.minutes * 60_000, options.stream.unreadMax ?? UNREAD_MAX] as const
    this.#reader = new RedisReader({ redis, shards: this.#shards, metrics: options.metrics, seed: newSeed, stream })
    const publishing: PublisherOptions = {
      redis, clock: options.clock, metrics: options.metrics, backlog: new Backlog(options.queueMax), instance: newSeed(), dedupMs: options.dedupMinutes * 60_000,
      keep: this.#keep, keepApart: this.#keepApart, stream, suspect: (shard) => this.#reader.suspect(shard)
    }
    this.#publishers = this.#shards.map((shard) => new RedisPublisher(shard, publishing))
  }

  /** Throws StartFault when the log there has another number of shards: rooms would be looked for where they are not. */
  async start (): Promise<void> {
    const { prefix, shards } = this.#options
    const key = `${prefix}{0}:shards`
    await this.#redis.call('0', 'SET', [key, shards, 'NX'])
    const found = Number(await this.#redis.call('0', 'GET', [key]))
    if (found !== shards) throw new StartFault(`REDIS_SHARDS: the log in this Redis has ${found} shards, and that cannot be changed`)
    await this.#reader.start()
  }

  publish (room: string, draft: Draft): Promise<Published> {
    return new Promise((resolve, reject) => this.submit(room, draft, { resolve, reject }))
  }

  submit (room: string, draft: Draft, outcome: Outcome): void {
    try {
      this.#check()
      const place = this.#place(room)
      const kind = isCanary(room) ? GROUP.canary : this.#isApart(room) ? GROUP.apart : GROUP.publish
      place.publisher.offer({ ...actOf(place), kind, epoch: draft.epoch ?? '', draft: packedOf(room, draft), outcome })
    } catch (error) {
      outcome.reject(error)
    }
  }

  async find (room: string, author: string, nonce: string): Promise<Published | null> {
    this.#check()
    const place = this.#place(room)
    const words = [place.bytes, this.#options.clock.now(), newSeed(), this.#options.dedupMinutes * 60_000, nonceHash(room, author, nonce)]
    const [epoch, seq, ts] = await this.#call(place, 'find', words) as [Buffer?, Buffer?, Buffer?]
    if (epoch === undefined) return null
    return { epoch: epoch.toString(), seq: Number(seq), ts: Number(ts), repeated: true }
  }

  async head (room: string): Promise<Head> {
    this.#check()
    return (await this.#read(room, 'head', 0, 0, 0)).head
  }

  async after (room: string, seq: number, limit: ReadLimit): Promise<LogPage> {
    this.#check()
    return this.#forward(room, seq, limit)
  }

  async before (room: string, seq: number | null, limit: ReadLimit): Promise<LogPage> {
    this.#check()
    const wanted = Math.max(1, limit.entries)
    let head: Head | null = null
    const entries: Uint8Array[] = []
    let left = limit.bytes
    for (let below = seq ?? FAR; ;) {
      const page = await this.#read(room, 'before', Math.min(below, FAR), wanted - entries.length, left)
      if (head !== null && page.head.epoch !== head.epoch) break
      head ??= page.head
      const older = page.entries.filter((entry) => entrySeq(entry) < below)
      for (let at = older.length - 1; at >= 0 && entries.length < wanted; at--) {
        const entry = older[at] as Uint8Array
        if (entries.length > 0 && entry.length > left) return { head, entries: entries.reverse() }
        left -= entry.length
        entries.push(entry)
      }
      if (older.length === 0 || entries.length >= wanted) break
      below = entrySeq(older[0] as Uint8Array)
      if (below <= page.head.first) break
    }
    return { head: head as Head, entries: entries.reverse() }
  }

  async state (room: string): Promise<RoomState> {
    this.#check()
    const { bytes, shard } = this.#place(room)
    const key = Buffer.concat([Buffer.from(`${shard.prefix}state:`), bytes])
    return readState(await this.#patiently(() => this.#reads.call(shard.tag, 'HGETALL', [key])) as Buffer[])
  }

  watch (room: string, watcher: Watcher): () => void {
    this.#check()
    const { key, shard } = this.#place(room)
    shard.watch(key, room)
    return this.#watchers.add(room, watcher)
  }

  async rewrite (room: string, epoch: string, changes: readonly Rewriting[]): Promise<number> {
    this.#check()
    if (changes.length === 0) return 0
    const place = this.#place(room)
    const sorted = [...changes].sort((a, b) => a.seq - b.seq)
    for (let attempt = 0; attempt < REWRITES_MAX; attempt++) {
      const count = await this.#copy(place, epoch, sorted)
      if (count !== null) return count
    }
    throw new AppError('unavailable', 'the history is being rewritten by another; try again')
  }

  /** One copy of a history with these changes, in its place at the end; null: begin again. */
  async #copy (place: Place, epoch: string, changes: readonly Rewriting[]): Promise<number | null> {
    const name = newSeed()
    let [version, from, count, growth, done] = ['', '', 0, 0, 0]
    for (;;) {
      const window = changes.slice(done, done + REWRITINGS_A_STEP)
      const words = [place.bytes, newSeed(), epoch, name, version, from, done + window.length === changes.length ? 1 : 0, REWRITE_BYTES, packRewritings(window), growth]
      const [what, v, last, more, grown, next] = (await this.#call(place, 'rewrite', words) as Buffer[]).map(String) as [string, string, string, string, string, string]
      if (what === 'G') return 0
      if (what === 'C') return null
      count += Number(more)
      growth += Number(grown)
      if (what === 'O') return count
      while (what === 'U' && (changes[done]?.seq ?? Infinity) < Number(next)) done++
      version = v
      from = last
    }
  }

  /** What there is in the shards' streams now is to go; readers that lag fill up from the histories. */
  scrubbing (): () => Promise<boolean> {
    this.#check()
    let left: { readonly shard: Shard, readonly n: number, readonly id: string }[] | null = null
    return async () => {
      this.#check()
      left ??= await Promise.all(this.#shards.map(async (shard) => {
        const [, n, id] = await this.#patiently(() => callFunction(this.#reads, shard.tag, 'look', shard.prefix, [newSeed(), ''])) as [Buffer, Buffer, Buffer]
        return { shard, n: Number(n), id: id.toString() }
      }))
      const answers = await Promise.all(left.map(({ shard, n, id }) => this.#patiently(() => callFunction(this.#reads, shard.tag, 'scrub', shard.prefix, [n, id]))))
      left = left.filter((_, at) => Number(answers[at]) !== 1)
      return left.length === 0
    }
  }

  async remove (room: string): Promise<void> {
    this.#check()
    const place = this.#place(room)
    await new Promise<Published>((resolve, reject) => place.publisher.offer({ ...actOf(place), kind: GROUP.remove, epoch: '', draft: null, outcome: { resolve, reject } }))
  }

  close (): Promise<void> {
    this.#isClosed = true
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** Made when it is first asked for: an instance without consumers pays nothing for them. */
  outlet (): Outlet {
    const { prefix, shards, metrics } = this.#options
    this.#outlet ??= new RedisOutlet({ redis: this.#redis, prefix, shards, metrics, log: this })
    return this.#outlet
  }

  async #close (): Promise<void> {
    await this.#outlet?.close()
    await Promise.all(this.#publishers.map((publisher) => publisher.close()))
    await this.#reader.stop()
    this.#reads.close()
    this.#watchers.clear()
  }

  #isApart (room: string): boolean {
    return this.#options.retention.apart?.has(room) === true
  }

  #check (): void {
    if (this.#isClosed) throw new AppError('unavailable', 'the room log is closed')
  }

  #place (room: string): Place {
    const bytes = roomBytes(room)
    const index = shardOf(bytes, this.#options.shards)
    return { bytes, key: roomKey(bytes), shard: this.#shards[index] as Shard, publisher: this.#publishers[index] as RedisPublisher }
  }

  async #forward (room: string, seq: number, limit: ReadLimit): Promise<LogPage> {
    const wanted = Math.max(1, limit.entries)
    let head: Head | null = null
    const entries: Uint8Array[] = []
    let left = limit.bytes
    for (let above = seq; ;) {
      const page = await this.#read(room, 'after', Math.min(above, FAR), wanted - entries.length, left)
      if (head !== null && page.head.epoch !== head.epoch) break
      head ??= page.head
      const newer = page.entries.filter((entry) => entrySeq(entry) > above)
      for (const entry of newer) {
        if (entries.length >= wanted || (entries.length > 0 && entry.length > left)) return { head, entries }
        left -= entry.length
        entries.push(entry)
      }
      const last = newer.at(-1)
      if (last === undefined || entries.length >= wanted || entrySeq(last) >= head.seq) break
      above = entrySeq(last)
    }
    return { head: head as Head, entries }
  }

  /** One page as Redis gives it: whole runs of what is kept, oldest entry first, more at both ends than was asked for. */
  async #read (room: string, direction: 'head' | 'after' | 'before', seq: number, entries: number, bytes: number): Promise<Page> {
    const place = this.#place(room)
    const words = [place.bytes, this.#options.clock.now(), newSeed(), ...(this.#isApart(room) ? this.#keepApart : this.#keep), direction, seq, Math.min(entries, PAGE_ENTRIES), Math.max(1, Math.min(bytes, PAGE_BYTES))]
    const [epoch, first, last, runs] = await this.#call(place, 'read', words) as [Buffer, Buffer, Buffer, Buffer[]]
    const head = { epoch: epoch.toString(), first: Number(first), seq: Number(last) }
    place.shard.noteEpoch(place.key, head.epoch)
    const all = (direction === 'before' ? runs.reverse() : runs).flatMap((run) => readRun(run))
    return { head, entries: all.filter((entry) => entrySeq(entry) >= head.first && entrySeq(entry) <= head.seq) }
  }

  #call (place: Place, name: RedisFunction, words: readonly RedisWord[]): Promise<unknown> {
    return this.#patiently(() => callFunction(this.#reads, place.shard.tag, name, place.shard.prefix, words))
  }

  /** Calls until it is answered or ACT_MS have passed: everything called this way may be called twice. */
  async #patiently (call: () => Promise<unknown>): Promise<unknown> {
    for (const end = performance.now() + ACT_MS; ;) {
      try {
        return await call()
      } catch (error) {
        this.#options.metrics.add('uproar_redis_commands_failed_total', 1, 'call')
        if (!(error instanceof RedisFault)) throw error
        if (!error.isAway) throw new AppError('internal', 'the log could not be read', { cause: error })
        if (performance.now() >= end || this.#isClosed) throw new AppError('unavailable', 'the log does not answer; try again', { cause: error })
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }
}

const PAGE_WIDE: ReadLimit = { entries: PAGE_ENTRIES, bytes: PAGE_BYTES }
/** Beyond any seq. */
const FAR = 2 ** 46

function actOf (place: Place): Pick<RedisAct, 'room' | 'key' | 'since'> {
  return { room: place.bytes, key: place.key, since: performance.now() }
}

/** Throws AppError `internal` for a draft whose patch is not data. */
function packedOf (room: string, draft: Draft): ReturnType<typeof packDraft> {
  try {
    return packDraft(draft, draft.nonce === null ? null : nonceHash(room, draft.author, draft.nonce))
  } catch (error) {
    throw new AppError('internal', 'the log could not take this entry', { cause: error })
  }
}
