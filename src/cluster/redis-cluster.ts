// Many instances as one, by way of Redis: a registry that each beats into, a census in shards (census.ts) and a bus
// (bus.ts). Cost, for each instance and second: one call for the registry and one for each of SHARDS, of some hundred
// names at most, whatever happens in rooms. They are spread over the second, so that none holds up publishing for longer
// than its own millisecond or two. While Redis is away the numbers stay as they were last heard.

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { Clock, Timer } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Redis } from '../base/redis.ts'
import { Bus, type BusItem } from './bus.ts'
import { Census } from './census.ts'
import { REGISTRY } from './census-scripts.ts'
import { BEAT_MS, BUS_BYTES_MAX, DEAD_MS, type Cluster, type ClusterEvents, type Counted, type Instance, type InstanceView, type SelfPortrait } from './cluster.ts'

export interface RedisClusterOptions {
  /** Stays open when the cluster stops. */
  readonly redis: Redis
  readonly prefix: string
  /** CONNECTIONS_PER_USER_MAX; 0: no limit. */
  readonly usersMax: number
  readonly clock: Clock
  readonly metrics: Metrics
  readonly version: string
  readonly self: SelfPortrait
  readonly fault: (error: unknown, what: string) => void
}

const SHARDS = 8
const REGISTRY_TAG = 'instances'
const LIFE_MS = 86_400_000
const ASK_MS_MAX = 1000

export function createRedisCluster (options: RedisClusterOptions): Cluster {
  return new RedisCluster(options)
}

class RedisCluster implements Cluster {
  readonly name = 'cluster'
  readonly id = randomBytes(8).toString('hex')
  readonly #options: RedisClusterOptions
  readonly #startedAt: number
  readonly #shards: readonly Census[]
  readonly #bus: Bus
  #listeners: ClusterEvents[] = []
  #size = 1
  #tick: Timer | null = null
  /** When each shard last answered, by clock.elapsed(). */
  readonly #countedAt: number[]
  #turn = 0
  #isAway = false

  constructor (options: RedisClusterOptions) {
    const { redis, prefix, usersMax, clock, metrics } = options
    this.#options = options
    this.#startedAt = clock.now()
    this.#countedAt = Array.from({ length: SHARDS }, () => clock.elapsed())
    this.#shards = Array.from({ length: SHARDS }, (_, at) => new Census({
      redis, usersMax, me: this.id, tag: `c${at}`, prefix: `${prefix}{c${at}}:`,
      hooks: {
        changed: (what, name) => { if (what === 'viewers') for (const listener of this.#listeners) listener.viewersChanged?.(name) },
        crowded: (user, stamp, instances) => this.#crowded(user, stamp, instances)
      }
    }))
    this.#bus = new Bus({
      redis, metrics, key: `${prefix}{bus}:stream`, me: this.id,
      received: (item) => this.#received(item),
      fault: (error) => options.fault(error, 'the bus between instances')
    })
  }

  get size (): number { return this.#size }

  async start (): Promise<void> {
    await this.#bus.start()
    await this.#register()
    this.#tick = this.#options.clock.every(BEAT_MS / SHARDS, () => { void this.#beat(this.#turn++ % SHARDS) })
  }

  async stop (): Promise<void> {
    this.#tick?.cancel()
    const { redis, prefix } = this.#options
    await inTime(Promise.allSettled([
      this.#bus.stop(),
      redis.call(REGISTRY_TAG, 'HDEL', [`${prefix}{instances}:beats`, this.id]),
      redis.call(REGISTRY_TAG, 'HDEL', [`${prefix}{instances}:infos`, this.id]),
      ...this.#shards.map((shard) => shard.leave())
    ]))
  }

  listen (events: ClusterEvents): void { this.#listeners.push(events) }

  note (what: Counted, name: string, here: number): void {
    this.#shardOf(name).note(what, name, here)
  }

  elsewhere (what: Counted, name: string): number {
    return this.#shardOf(name).elsewhere(what, name)
  }

  async askViewers (rooms: readonly string[]): Promise<readonly number[]> {
    const answers = rooms.map(() => 0)
    await Promise.all(this.#shards.map(async (shard) => {
      const own = rooms.flatMap((room, at) => this.#shardOf(room) === shard ? [at] : [])
      if (own.length === 0) return
      const counts = await inTime(shard.askViewers(own.map((at) => rooms[at] as string)))
      for (const [i, at] of own.entries()) answers[at] = counts?.[i] ?? 0
    }))
    return answers
  }

  noteUser (user: string, stamps: readonly number[]): void {
    this.#shardOf(user).noteUser(user, stamps)
  }

  toUser (user: string, bytes: Uint8Array): void {
    if (bytes.length > BUS_BYTES_MAX) throw new RangeError(`frames for a user have at most ${BUS_BYTES_MAX} bytes`)
    for (const listener of this.#listeners) listener.toUser?.(user, bytes)
    this.#bus.offer(['u', user, bytes])
  }

  tell (name: string, value: unknown): void {
    for (const listener of this.#listeners) listener.told?.(name, value)
    this.#bus.offer(['t', name, value])
  }

  async instances (): Promise<readonly InstanceView[]> {
    try {
      return await this.#askRegistry('', '')
    } catch (error) {
      throw new AppError('unavailable', 'the registry of instances does not answer', { cause: error })
    }
  }

  #shardOf (name: string): Census {
    // FNV-1a
    let hash = 0x811c9dc5
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
    return this.#shards[(hash >>> 0) % SHARDS] as Census
  }

  /** The beat of one shard; that of the first is the registry's too. Never rejects. */
  async #beat (at: number): Promise<void> {
    const { clock, metrics, fault } = this.#options
    metrics.set('uproar_census_seconds', (clock.elapsed() - Math.min(...this.#countedAt)) / 1000)
    metrics.set('uproar_census_names', this.#shards.reduce((sum, shard) => sum + shard.size, 0))
    try {
      if (at === 0) await this.#register()
      await this.#shards[at]?.beat(this.#size)
      this.#countedAt[at] = clock.elapsed()
      this.#isAway = false
    } catch (error) {
      // Once an outage, not with every beat.
      if (!this.#isAway) fault(error, 'the census of the cluster')
      this.#isAway = true
    }
  }

  async #register (): Promise<void> {
    const { version, self } = this.#options
    const info: Omit<Instance, 'id'> = { host: hostname(), pid: process.pid, startedAt: this.#startedAt, version, ...self() }
    this.#size = (await this.#askRegistry(this.id, JSON.stringify(info))).length
    this.#options.metrics.set('uproar_instances', this.#size)
  }

  async #askRegistry (me: string, info: string): Promise<InstanceView[]> {
    const { redis, prefix } = this.#options
    const answer = await REGISTRY.run(redis, REGISTRY_TAG, `${prefix}{instances}:beats`, me, DEAD_MS, `${prefix}{instances}:infos`, LIFE_MS, info) as (Buffer | number)[]
    const found: InstanceView[] = []
    for (let at = 0; at < answer.length; at += 3) {
      const id = String(answer[at])
      found.push({ id, ...JSON.parse(String(answer[at + 1])) as Omit<Instance, 'id'>, isSelf: id === this.id, silentMs: Number(answer[at + 2]) })
    }
    return found.sort((a, b) => a.startedAt - b.startedAt || (a.id < b.id ? -1 : 1))
  }

  #crowded (user: string, stamp: number, instances: readonly string[]): void {
    if (instances.includes(this.id)) this.#makeWay(user, stamp)
    if (instances.some((id) => id !== this.id)) this.#bus.offer(['c', instances, user, stamp])
  }

  #makeWay (user: string, stamp: number): void {
    for (const listener of this.#listeners) listener.crowded?.(user, stamp)
  }

  #received (item: BusItem): void {
    if (item[0] === 'u') for (const listener of this.#listeners) listener.toUser?.(item[1], item[2])
    else if (item[0] === 't') for (const listener of this.#listeners) listener.told?.(item[1], item[2])
    else if (item[0] === 'c' && item[1].includes(this.id)) this.#makeWay(item[2], item[3])
  }
}

/** The answer, or null when it does not come in time or at all. */
async function inTime<T> (answer: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => { timer = setTimeout(resolve, ASK_MS_MAX, null) })
  try {
    return await Promise.race([answer.catch(() => null), late])
  } finally {
    clearTimeout(timer)
  }
}
