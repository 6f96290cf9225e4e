// Reads the shards' streams for this instance: blocking XREADs on connections that do nothing else, one for all shards on
// a single server, one a shard in a Cluster (which answers for one slot at a time).
//
//   look (where do we stand?) ─▶ XREAD from the last ids ─▶ XREAD … ─▶ it failed, or is suspect ─▶ look …
//   once a second, on the connection for commands: look ─▶ another life, or batches that do not arrive ─▶ suspect
//
// The last ids are settled before the first watch and explicit ever after, so nothing falls between two reads. Bounds: a
// read waits BLOCK_MS and is given up GRACE_MS later; READ_BATCHES of a shard at a time.

import { systemClock, type Timer } from '../base/clock.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Link, Redis } from '../base/redis.ts'
import { callFunction } from '../base/redis-functions.ts'
import type { Shard, ShardPosition } from './redis-shard.ts'

const BLOCK_MS = 500
const GRACE_MS = 1000
const READ_BATCHES = 16
const LOOK_MS = 1000
/** Every so many looks ask whether the last entry read is still there, not only for the incarnation. */
const DEEP_LOOKS = 5
const BACKOFF_MS = [0, 20, 50, 100, 200, 500] as const

export interface ReaderOptions {
  readonly redis: Redis
  readonly shards: readonly Shard[]
  readonly metrics: Metrics
  /** A fresh random word for a shard that has no incarnation yet, or needs another. */
  readonly seed: () => string
  /** The stream's bounds: batches, milliseconds, batches where consumers of the feed have not read them. */
  readonly stream: readonly [number, number, number]
}

export class RedisReader {
  readonly #options: ReaderOptions
  readonly #loops: Loop[]
  #watchdog: Timer | null = null

  constructor (options: ReaderOptions) {
    this.#options = options
    const groups = options.redis.place.kind === 'cluster' ? options.shards.map((shard) => [shard]) : [options.shards]
    this.#loops = groups.map((shards) => new Loop(options, shards))
  }

  /** Settles where every shard stands, then follows. Rejects with RedisFault when Redis does not say. */
  async start (): Promise<void> {
    await Promise.all(this.#options.shards.map(async (shard) => shard.begin(await look(this.#options, shard, false))))
    for (const loop of this.#loops) loop.start()
    let looks = 0
    this.#watchdog = systemClock.every(LOOK_MS, () => {
      const isDeep = ++looks % DEEP_LOOKS === 0
      this.#options.metrics.set('uproar_redis_reader_lag_seconds', Math.max(...this.#loops.map((loop) => loop.age)) / 1000)
      for (const loop of this.#loops) void loop.check(isDeep)
    })
  }

  /** Another part has seen that this shard lost something. */
  suspect (shard: Shard): void {
    shard.isSuspect = true
    this.#loops.find((loop) => loop.shards.includes(shard))?.wake()
  }

  async stop (): Promise<void> {
    this.#watchdog?.cancel()
    await Promise.all(this.#loops.map((loop) => loop.stop()))
  }
}

/** One connection and the shards that are read over it. */
class Loop {
  readonly shards: readonly Shard[]
  readonly #options: ReaderOptions
  readonly #byStream: ReadonlyMap<string, Shard>
  /** Shards that were behind at the last look, and where they stood. */
  readonly #behind = new Map<Shard, number>()
  #link: Link | null = null
  #readAt = performance.now()
  #isStopped = false
  #isChecking = false
  #running: Promise<void> = Promise.resolve()

  constructor (options: ReaderOptions, shards: readonly Shard[]) {
    this.#options = options
    this.shards = shards
    this.#byStream = new Map(shards.map((shard) => [`${shard.prefix}stream`, shard]))
  }

  /** Milliseconds since Redis last answered a read. */
  get age (): number { return performance.now() - this.#readAt }

  start (): void {
    this.#running = this.#run()
  }

  wake (): void {
    this.#link?.end()
  }

  async stop (): Promise<void> {
    this.#isStopped = true
    this.wake()
    await this.#running
  }

  /** The watchdog's turn: whether what Redis has reaches us. */
  async check (isDeep: boolean): Promise<void> {
    if (this.#isChecking) return
    this.#isChecking = true
    try {
      await Promise.all(this.shards.map(async (shard) => {
        const before = shard.position
        const found = await look(this.#options, shard, isDeep)
        if (isLost(before, found) && shard.position === before) shard.isSuspect = true
        this.#judge(shard, found.n)
      }))
    } catch {
      // Commands do not get through: whether reads do is for the read's own deadline to find out.
    } finally {
      this.#isChecking = false
    }
    if (this.shards.some((shard) => shard.isSuspect)) this.wake()
  }

  /** Deaf: Redis has more for us, and between two looks nothing of it arrived. */
  #judge (shard: Shard, n: number): void {
    const at = shard.position.n
    if (n <= at) {
      this.#behind.delete(shard)
      return
    }
    if (this.#behind.get(shard) === at) shard.isSuspect = true
    this.#behind.set(shard, at)
  }

  async #run (): Promise<void> {
    for (let failures = 0; !this.#isStopped;) {
      const { tag } = this.shards[0] as Shard
      try {
        await this.#settle()
        this.#link = await this.#options.redis.connect(tag)
        while (!this.#isStopped && !this.shards.some((shard) => shard.isSuspect)) {
          await this.#read(this.#link)
          failures = 0
        }
      } catch (error) {
        if (this.#isStopped) return
        if (this.#link !== null) this.#options.redis.learn(tag, this.#link, error)
        this.#options.metrics.add('uproar_redis_commands_failed_total', 1, 'read')
        const wait = BACKOFF_MS[Math.min(failures++, BACKOFF_MS.length - 1)] as number
        await new Promise((resolve) => setTimeout(resolve, wait))
      } finally {
        this.#link?.end()
      }
    }
  }

  /** After anything that broke the reading: is what was read last still there, and is it the same life? */
  async #settle (): Promise<void> {
    await Promise.all(this.shards.map(async (shard) => {
      const before = shard.position
      let found = await look(this.#options, shard, true)
      if (isLost(before, found) && found.incarnation === before.incarnation) {
        // Nobody has said so yet, and seqs that we have seen will be given again: the rooms need other epochs first.
        const { redis, seed, stream } = this.#options
        await callFunction(redis, shard.tag, 'reset', shard.prefix, [before.incarnation, seed(), ...stream])
        found = await look(this.#options, shard, false)
      }
      shard.isSuspect = false
      if (isLost(before, found)) shard.restart(found)
    }))
  }

  async #read (link: Link): Promise<void> {
    const streams = this.shards.map((shard) => `${shard.prefix}stream`)
    const ids = this.shards.map((shard) => shard.position.id)
    const answer = await link.read(['COUNT', READ_BATCHES, 'BLOCK', BLOCK_MS, 'STREAMS', ...streams, ...ids], BLOCK_MS + GRACE_MS)
    this.#readAt = performance.now()
    for (const [key, entries] of answer ?? []) {
      const shard = this.#byStream.get(key.toString()) as Shard
      for (const [id, fields] of entries) await shard.take(id.toString(), fields[1] as Buffer)
    }
  }
}

interface Found extends ShardPosition { readonly isThere: boolean }

/** Whether what we have read is not what Redis holds. */
function isLost (before: ShardPosition, found: Found): boolean {
  return found.incarnation !== before.incarnation || found.n < before.n || !found.isThere
}

async function look (options: ReaderOptions, shard: Shard, isDeep: boolean): Promise<Found> {
  const [incarnation, n, id, isThere] = await callFunction(options.redis, shard.tag, 'look', shard.prefix, [options.seed(), isDeep ? shard.position.id : '']) as [Buffer, Buffer, Buffer, number]
  return { incarnation: incarnation.toString(), n: Number(n.toString()), id: id.toString(), isThere: isThere === 1 }
}
