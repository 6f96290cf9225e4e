// What instances say to one another: frames for a user's connections, small values, and who is crowded. One short Redis
// stream that every instance reads from where it stands, so that a connection that was cut goes on where it was:
//
//   offer ──▶ waiting ──(one XADD at a time, GATHER_MS apart)──▶ bus ──▶ XREAD of every instance ──▶ received
//
// Best effort: what an instance could not read for STREAM_MAX messages, or what Redis lost, never reaches it. Bounds:
// WAITING_* beyond which new items are dropped and counted. Each message costs Redis some 30 µs for every instance.

import { pack, unpack } from '../../proto/codec.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Link, Redis } from '../base/redis.ts'

/** `u` user, bytes │ `t` name, value │ `c` instances, user, stamp */
export type BusItem = readonly ['u', string, Uint8Array] | readonly ['t', string, unknown] | readonly ['c', readonly string[], string, number]

const WAITING_ITEMS_MAX = 10_000
const WAITING_BYTES_MAX = 4_194_304
const MESSAGE_BYTES_MAX = 262_144
/** Between two messages of one instance: a burst is a few large ones. */
const GATHER_MS = 10
const STREAM_MAX = 500
const BLOCK_MS = 1000
/** Silence beyond the block after which the connection is given up. */
const ANSWER_MS_MAX = 1500
const RETRY_MS = 200
const TAG = 'bus'

export interface BusOptions {
  readonly redis: Redis
  /** Key of the stream; its hash tag is `bus`. */
  readonly key: string
  readonly me: string
  readonly metrics: Metrics
  readonly received: (item: BusItem) => void
  readonly fault: (error: unknown) => void
}

export class Bus {
  readonly #options: BusOptions
  #waiting: Uint8Array[] = []
  #bytes = 0
  #sending: Promise<void> | null = null
  #reading: Promise<void> | null = null
  #link: Link | null = null
  #last = ''
  #isAway = false
  #isStopped = false

  constructor (options: BusOptions) {
    this.#options = options
  }

  /** Finds its place: what is said from now on is heard. Rejects as Redis does. */
  async start (): Promise<void> {
    this.#last = await this.#newest()
    this.#reading = this.#read()
  }

  /** Sends what waits, then lets go. */
  async stop (): Promise<void> {
    await this.#sending
    this.#isStopped = true
    this.#link?.end()
    await this.#reading
  }

  /** Says it to every other instance. False when too much waits; it was dropped and counted. */
  offer (item: BusItem): boolean {
    const bytes = pack(item)
    if (this.#isStopped || this.#waiting.length >= WAITING_ITEMS_MAX || this.#bytes + bytes.length > WAITING_BYTES_MAX) {
      this.#options.metrics.add('uproar_bus_frames_total', 1, 'dropped')
      return false
    }
    this.#waiting.push(bytes)
    this.#bytes += bytes.length
    this.#sending ??= this.#send().finally(() => { this.#sending = null })
    return true
  }

  async #send (): Promise<void> {
    const { redis, key, me, metrics } = this.#options
    // What the rest of this turn says goes along.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const items = this.#take()
      try {
        await redis.call(TAG, 'XADD', [key, 'MAXLEN', '~', STREAM_MAX, '*', 'd', Buffer.from(pack([me, items]))])
        metrics.add('uproar_bus_frames_total', items.length, 'sent')
      } catch (error) {
        metrics.add('uproar_bus_frames_total', items.length, 'dropped')
        this.#failed(error)
      }
      if (this.#waiting.length > 0) await sleep(GATHER_MS)
    }
  }

  #take (): Uint8Array[] {
    let bytes = 0
    let count = 0
    for (const item of this.#waiting) {
      if (count > 0 && bytes + item.length > MESSAGE_BYTES_MAX) break
      bytes += item.length
      count++
    }
    this.#bytes -= bytes
    return this.#waiting.splice(0, count)
  }

  async #read (): Promise<void> {
    while (!this.#isStopped) {
      try {
        const link = await this.#connected()
        const streams = await link.read(['BLOCK', BLOCK_MS, 'STREAMS', this.#options.key, this.#last], BLOCK_MS + ANSWER_MS_MAX)
        this.#isAway = false
        for (const [id, fields] of streams?.[0]?.[1] ?? []) {
          this.#last = id.toString()
          this.#heard(fields[1] as Buffer)
        }
      } catch (error) {
        if (this.#isStopped) return
        if (this.#link !== null) this.#options.redis.learn(TAG, this.#link, error)
        this.#failed(error)
        this.#link?.end()
        this.#link = null
        await sleep(RETRY_MS)
      }
    }
  }

  async #connected (): Promise<Link> {
    if (this.#link !== null) return this.#link
    // A stream that was lost, or whose new master's clock is behind, begins before our place: then that is our place.
    const newest = await this.#newest()
    if (isBefore(newest, this.#last)) this.#last = newest
    this.#link = await this.#options.redis.connect(TAG)
    return this.#link
  }

  async #newest (): Promise<string> {
    const newest = await this.#options.redis.call(TAG, 'XREVRANGE', [this.#options.key, '+', '-', 'COUNT', 1]) as [Buffer, unknown][]
    return newest[0]?.[0].toString() ?? '0-0'
  }

  #heard (message: Buffer): void {
    const { me, metrics, received, fault } = this.#options
    try {
      const [from, items] = unpack(message) as [string, Uint8Array[]]
      if (from === me) return
      metrics.add('uproar_bus_frames_total', items.length, 'received')
      for (const item of items) received(unpack(item) as BusItem)
    } catch (error) {
      fault(error)
    }
  }

  /** Once an outage. */
  #failed (error: unknown): void {
    if (!this.#isAway) this.#options.fault(error)
    this.#isAway = true
  }
}

/** Whether one stream id comes before another. */
function isBefore (a: string, b: string): boolean {
  const [aMs = 0, aAt = 0] = a.split('-').map(Number)
  const [bMs = 0, bAt = 0] = b.split('-').map(Number)
  return aMs < bMs || (aMs === bMs && aAt < bAt)
}

async function sleep (ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
}
