// One shard as an instance follows it: how far its stream was read, in which incarnation, and which rooms have local
// watchers. Turns the stream's batches into what watchers are told. Must not know connections.
//
//   n = 41, 42, 43 ──▶ in turn: segments of watched rooms are decoded, all others are skipped
//   n = 47         ──▶ the stream was trimmed before it was read: watched rooms are filled up from their histories
//   other life     ──▶ Redis lost something: all watchers are told `lost`, and following begins anew
//
// Bounds: the rooms with watchers, and as many waiting publishes as the publisher has batches.

import { entrySeq } from '../../proto/entry.ts'
import type { LogPage } from './log.ts'
import { readBatchHead, readRun, readSegments, type Segment } from './redis-layout.ts'
import type { Watchers } from './watchers.ts'

/** What a watched room's watchers were told last; `epoch` null: nothing yet. */
interface Interest { readonly room: string, epoch: string | null, next: number | null }

export interface ShardPosition { readonly incarnation: string, readonly n: number, readonly id: string }

export interface ShardOptions {
  readonly index: number
  /** `uproar:{3}:` */
  readonly prefix: string
  readonly watchers: Watchers
  /** Entries after a seq, from the room's history; rejects when that takes too long. */
  readonly history: (room: string, seq: number) => Promise<LogPage>
  readonly metrics: { add (name: 'uproar_redis_resets_total' | 'uproar_redis_gaps_total'): void }
}

export class Shard {
  readonly prefix: string
  /** The hash tag of its keys. */
  readonly tag: string
  /** Something is wrong with where we stand: look before reading on. */
  isSuspect = false
  readonly #options: ShardOptions
  readonly #interests = new Map<string, Interest>()
  #position: ShardPosition = { incarnation: '', n: 0, id: '0-0' }
  #waiting: { readonly n: number, readonly resolve: () => void }[] = []

  constructor (options: ShardOptions) {
    this.#options = options
    this.prefix = options.prefix
    this.tag = String(options.index)
  }

  get position (): ShardPosition { return this.#position }

  /** The first position, before anything is watched. */
  begin (position: ShardPosition): void {
    this.#position = position
  }

  /** From now on the room's segments are decoded. */
  watch (key: string, room: string): void {
    if (!this.#interests.has(key)) this.#interests.set(key, { room, epoch: null, next: null })
  }

  /** A read of the room told its epoch: watchers that were promised another one's entries are told at once. */
  noteEpoch (key: string, epoch: string): void {
    const interest = this.#interests.get(key)
    if (interest === undefined) return
    if (interest.epoch === null) interest.epoch = epoch
    else if (interest.epoch !== epoch) this.#lost(key, interest)
  }

  /** Resolves when batch `n` was read and its watchers told, or after `ms`. */
  passed (n: number, ms: number): Promise<void> {
    if (this.#position.n >= n) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting)
        resolve()
      }, ms)
      const waiting = { n, resolve: () => { clearTimeout(timer); resolve() } }
      this.#waiting.push(waiting)
    })
  }

  /** A batch of the stream. */
  async take (id: string, data: Buffer): Promise<void> {
    const { incarnation, n, at } = readBatchHead(data)
    const before = this.#position
    if (incarnation !== before.incarnation) return this.restart({ incarnation, n, id })
    if (n <= before.n) {
      this.#position = { ...before, id }
      return
    }
    if (n > before.n + 1) await this.#fillAll()
    for (const segment of readSegments(data, at)) {
      const interest = this.#interests.get(segment.room)
      if (interest === undefined) continue
      if (!this.#options.watchers.has(interest.room)) this.#interests.delete(segment.room)
      else await this.#tell(interest, segment)
    }
    this.#advance({ incarnation, n, id })
  }

  /** Redis lost something: what watchers know is no longer what the log holds. Follows on from `position`. */
  restart (position: ShardPosition): void {
    this.#options.metrics.add('uproar_redis_resets_total')
    this.#position = position
    const lost = [...this.#interests]
    this.#interests.clear()
    for (const [, { room }] of lost) this.#options.watchers.lost(room)
    this.#settle(Infinity)
  }

  #advance (position: ShardPosition): void {
    this.#position = position
    this.#settle(position.n)
  }

  #settle (n: number): void {
    if (this.#waiting.length === 0) return
    const ready = this.#waiting.filter((waiting) => waiting.n <= n)
    this.#waiting = this.#waiting.filter((waiting) => waiting.n > n)
    for (const { resolve } of ready) resolve()
  }

  async #tell (interest: Interest, segment: Segment): Promise<void> {
    if (segment.isRemoval || (interest.epoch !== null && interest.epoch !== segment.epoch)) return this.#lost(segment.room, interest)
    interest.epoch = segment.epoch
    const end = segment.first + segment.count
    if (interest.next !== null && segment.first > interest.next) await this.#fill(segment.room, interest)
    const next = interest.next ?? segment.first
    if (end <= next || this.#interests.get(segment.room) !== interest) return
    const entries = readRun(segment.run)
    interest.next = end
    this.#options.watchers.entries(interest.room, next > segment.first ? entries.slice(next - segment.first) : entries)
  }

  #lost (key: string, interest: Interest): void {
    this.#interests.delete(key)
    this.#options.watchers.lost(interest.room)
  }

  /** Batches are missing from the stream: what they held of watched rooms is read from the histories. */
  async #fillAll (): Promise<void> {
    this.#options.metrics.add('uproar_redis_gaps_total')
    for (const [key, interest] of [...this.#interests]) {
      if (!this.#options.watchers.has(interest.room)) this.#interests.delete(key)
      else await this.#fill(key, interest)
    }
  }

  /** Tells a room's watchers what is after the last entry they were told of; `lost` when that cannot be known. */
  async #fill (key: string, interest: Interest): Promise<void> {
    try {
      while (interest.next !== null) {
        const page: LogPage = await this.#options.history(interest.room, interest.next - 1)
        if (this.#interests.get(key) !== interest) return
        if (page.head.epoch !== interest.epoch || page.head.first > interest.next) break
        if (page.head.seq < interest.next) return
        const [first] = page.entries
        if (first === undefined || entrySeq(first) !== interest.next) break
        interest.next += page.entries.length
        this.#options.watchers.entries(interest.room, page.entries)
      }
    } catch {
      // The history did not answer in time: told as lost, watchers read it themselves when it does.
    }
    if (this.#interests.get(key) === interest) this.#lost(key, interest)
  }
}
