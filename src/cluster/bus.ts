// What instances say to one another at once, over one Redis channel: frames for a user's connections, small values, and
// who is crowded. Gathered while one publish is under way, so that a burst is a few messages. Best effort: what is said
// while an instance is cut off never reaches it. Bounds: WAITING_* beyond which new items are dropped and counted.

import { pack, unpack } from '../../proto/codec.ts'
import type { Metrics } from '../base/metrics.ts'
import type { RedisClient, RedisSubscriber } from './redis-client.ts'

/** `u` user, bytes │ `t` name, value │ `c` instances, user, stamp */
export type BusItem = readonly ['u', string, Uint8Array] | readonly ['t', string, unknown] | readonly ['c', readonly string[], string, number]

const WAITING_ITEMS_MAX = 10_000
const WAITING_BYTES_MAX = 4_194_304
const MESSAGE_BYTES_MAX = 262_144

export interface BusOptions {
  readonly client: RedisClient
  readonly subscriber: RedisSubscriber
  readonly channel: string
  readonly me: string
  readonly metrics: Metrics
  readonly received: (item: BusItem) => void
  readonly fault: (error: unknown) => void
}

export class Bus {
  readonly #options: BusOptions
  #waiting: Uint8Array[] = []
  #bytes = 0
  #isSending = false
  #idle: (() => void)[] = []

  constructor (options: BusOptions) {
    this.#options = options
  }

  /** Begins to hear the others. Rejects as Redis does. */
  async start (): Promise<void> {
    const { subscriber, channel } = this.#options
    subscriber.on('messageBuffer', (from, message) => { if (from.toString() === channel) this.#heard(message) })
    await subscriber.subscribe(channel)
  }

  /** Sends what waits, then lets go. */
  async stop (): Promise<void> {
    if (this.#isSending) await new Promise<void>((resolve) => this.#idle.push(resolve))
    await this.#options.subscriber.unsubscribe(this.#options.channel)
  }

  /** Says it to every other instance. False when too much waits; it was dropped and counted. */
  offer (item: BusItem): boolean {
    const bytes = pack(item)
    if (this.#waiting.length >= WAITING_ITEMS_MAX || this.#bytes + bytes.length > WAITING_BYTES_MAX) {
      this.#options.metrics.add('uproar_bus_frames_total', 1, 'dropped')
      return false
    }
    this.#waiting.push(bytes)
    this.#bytes += bytes.length
    if (!this.#isSending) void this.#send()
    return true
  }

  async #send (): Promise<void> {
    const { client, channel, me, metrics, fault } = this.#options
    this.#isSending = true
    // What the rest of this turn says goes along.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const items = this.#take()
      try {
        await client.publish(channel, Buffer.from(pack([me, items])))
        metrics.add('uproar_bus_frames_total', items.length, 'sent')
      } catch (error) {
        metrics.add('uproar_bus_frames_total', items.length, 'dropped')
        fault(error)
      }
    }
    this.#isSending = false
    for (const resolve of this.#idle.splice(0)) resolve()
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
}
