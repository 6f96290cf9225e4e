// A load for fault tests of the log in Redis: authors on two instances that publish with nonces and retry until they are
// answered, and followers on both that note what their watchers were told. `verify` holds all of it together at the end.

import type { Test } from 'tap'
import { entrySeq } from '../../proto/entry.ts'
import { systemClock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { parseRedisUrl } from '../base/redis-place.ts'
import { Redis } from '../base/redis.ts'
import type { Log, Published } from './log.ts'
import { bodyOf, message, readAll } from './log.suite.ts'
import { openRedisLog, type RedisLogOptions } from './redis-log.ts'

const ROOMS = ['stage', 'aisle', 'foyer'] as const
const AUTHORS = 48
const SETTLE_MS = 20_000
export const SHARDS = 4

export interface Instance { readonly log: Log, readonly metrics: Metrics, readonly redis: Redis, stop (): Promise<void> }

export async function openInstance (t: Test, url: string, options: Partial<RedisLogOptions> = {}): Promise<Instance> {
  const redis = new Redis(parseRedisUrl(url), { timeoutMs: 500 })
  const metrics = new Metrics()
  const log = await openRedisLog(redis, {
    clock: systemClock, metrics, prefix: 'test:', shards: SHARDS, queueMax: 20_000, dedupMinutes: 10,
    retention: { hours: 1, entriesMax: 1_000_000, mbMax: 1000 }, stream: { minutes: 5, batchesMax: 10_000 }, ...options
  })
  const stop = async (): Promise<void> => {
    await log.close()
    redis.close()
  }
  t.teardown(stop)
  return { log, metrics, redis, stop }
}

/** Two of them, on the same Redis by the same way or by two. */
export async function openTwo (t: Test, url: string, other = url): Promise<[Instance, Instance]> {
  return [await openInstance(t, url), await openInstance(t, other)]
}

/** What a watcher was told since it began, in one life of the room's log. */
interface Section { epoch: string | null, readonly seqs: number[], readonly bodies: string[] }

/** Watches a room like the server does, and again whenever continuity ends. */
export class Follower {
  readonly room: string
  readonly sections: Section[] = []
  readonly #log: Log

  constructor (log: Log, room: string) {
    this.#log = log
    this.room = room
    this.#watch()
  }

  get last (): Section { return this.sections.at(-1) as Section }

  #watch (): void {
    const section: Section = { epoch: null, seqs: [], bodies: [] }
    this.sections.push(section)
    this.#log.watch(this.room, {
      entries: (batch) => {
        for (const entry of batch) {
          section.seqs.push(entrySeq(entry))
          section.bodies.push(bodyOf(entry))
        }
      },
      lost: () => this.#watch()
    })
  }
}

interface Ack extends Published { readonly room: string, readonly nonce: string }

export class Load {
  readonly acks: Ack[] = []
  readonly followers: readonly Follower[]
  readonly #instances: readonly Instance[]
  readonly #name: string
  readonly #working: Promise<void>[] = []
  #count = 0
  #isEnding = false

  constructor (instances: readonly Instance[], name: string) {
    this.#instances = instances
    this.#name = name
    this.followers = instances.flatMap(({ log }) => ROOMS.map((room) => new Follower(log, room)))
    for (const { log } of instances) for (let i = 0; i < AUTHORS; i++) this.#working.push(this.#author(log, `author-${i}`))
  }

  /** Resolves when so many more were answered; rejects after a while. */
  async progress (count: number, ms = SETTLE_MS): Promise<void> {
    const target = this.acks.length + count
    await until(`${count} more messages are answered`, () => this.acks.length >= target, ms)
  }

  /** Ends the authors, each with an answer to its last message. */
  async end (): Promise<void> {
    this.#isEnding = true
    await Promise.all(this.#working)
  }

  async #author (log: Log, name: string): Promise<void> {
    while (!this.#isEnding) {
      const n = this.#count++
      const room = ROOMS[n % ROOMS.length] as string
      const nonce = `${this.#name}-${n}`
      // One in four cannot be retried: it is told or not, but never there twice.
      const isOnce = n % 4 === 3
      const published = await (isOnce ? log.publish(room, message(nonce)).catch(forgive) : retried(() => log.publish(room, message(nonce, nonce, name))))
      if (published !== null) this.acks.push({ ...published, room, nonce })
    }
  }

  /**
   * Every room is dense and has each message once; what was acknowledged in its present epoch stands where it was said to;
   * every follower was told a run without hole or double, and has all up to the end. `mayLose`: else also that nothing
   * at all was lost, by anybody. Resolves with how many acknowledged messages are gone.
   */
  async verify (t: Test, mayLose: boolean): Promise<number> {
    let gone = 0
    for (const room of ROOMS) {
      const { log } = this.#instances[0] as Instance
      const entries = await readAll(log, room)
      const { epoch, first, seq } = await log.head(room)
      const bodies = entries.map(bodyOf)
      t.ok(first === 1 && entries.every((entry, i) => entrySeq(entry) === i + 1) && entries.length === seq, `${room} is dense`)
      t.equal(new Set(bodies).size, bodies.length, `${room} has each message once`)
      const mine = this.acks.filter((ack) => ack.room === room)
      t.same(mine.filter((ack) => ack.epoch === epoch && bodies[ack.seq - 1] !== ack.nonce), [], `${room}: what its epoch acknowledged is where it was said to be`)
      const kept = new Set(bodies)
      const lost = mine.filter(({ nonce }) => !kept.has(nonce))
      t.ok(lost.every((ack) => ack.epoch !== epoch), `${room}: only another epoch can have lost something`)
      gone += lost.length
      if (!mayLose) t.equal(lost.length, 0, `${room}: nothing of ${mine.length} acknowledged is lost`)
      for (const follower of this.followers.filter((one) => one.room === room)) {
        await this.#follow(t, follower, bodies, mayLose)
      }
    }
    return gone
  }

  async #follow (t: Test, follower: Follower, bodies: readonly string[], mayLose: boolean): Promise<void> {
    const end = bodies.length
    await until(`a follower of ${follower.room} has the end`, () => follower.last.seqs.at(-1) === end || (follower.last.seqs.length === 0 && mayLose))
    const holes = follower.sections.flatMap(({ seqs }) => seqs.filter((seq, i) => i > 0 && seq !== (seqs[i - 1] as number) + 1))
    t.same(holes, [], `${follower.room}: no hole and no double in what a watcher is told`)
    const { seqs, bodies: told } = follower.last
    t.ok(seqs.every((seq, i) => bodies[seq - 1] === told[i]), 'and it is what the log has')
    if (!mayLose) t.same([follower.sections.length, seqs[0], seqs.at(-1)], [1, 1, end], 'all of it, without an interruption')
  }
}

/** The log was away: without a nonce there is nothing to be done about it. */
async function forgive (error: unknown): Promise<null> {
  if (!(error instanceof AppError) || !['unavailable', 'overloaded'].includes(error.code)) throw error
  await pause(20)
  return null
}

/** Publishes again, with the same nonce, for as long as the log is away. */
async function retried (publish: () => Promise<Published>): Promise<Published> {
  for (const end = performance.now() + SETTLE_MS * 2; ;) {
    try {
      return await publish()
    } catch (error) {
      if (!(error instanceof AppError) || !['unavailable', 'overloaded'].includes(error.code) || performance.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

export async function until (what: string, holds: () => boolean | Promise<boolean>, ms = SETTLE_MS): Promise<void> {
  const end = performance.now() + ms
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** For as long as a fault lasts: nothing announces its end. */
export function pause (ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
