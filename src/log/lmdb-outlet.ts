// The embedded log's outlet. The log says once a commit which rooms moved; whoever consumes reads them by the log's own
// means from where its cursor stands. At the start the heads of all rooms are gone through, a page at a time, for what
// moved while it was away.
//
//   commit ─▶ moved(room) ─▶ rooms that are due ─▶ entries after the cursor ─▶ take ─▶ cursors
//                                    ▲ └──── more left: due again, behind the others ────┘
//                                    └── pages of heads, at the start and when too many rooms were due at once
//
// Bounds: DUE_MAX rooms noted a consumer (beyond it all heads are gone through again), one take of `entriesMax` at a time.

import { entrySeq, entryTs } from '../../proto/entry.ts'
import type { Clock } from '../base/clock.ts'
import type { Store } from '../base/store.ts'
import { Consumers, Cursors, type Cursor } from './cursors.ts'
import type { Log } from './log.ts'
import type { HeadRecord } from './layout.ts'
import { CONSUMER_KEPT_MS, type Outlet, type OutletConsumer, type OutletLag, type OutletOptions, type OutletRun } from './outlet.ts'

const DUE_MAX = 100_000
const SCAN_ROOMS = 1000
const TAKE_BYTES = 4_194_304
const RETRY_MS = 1000
/** More rooms than this are not counted one by one, but reckoned from these. */
const LAG_ROOMS = 1000

/** What the outlet needs of its log. */
export interface Movements {
  head (room: string): HeadRecord | null
  /** The next rooms in the order of their names, behind `after`; every room that is there throughout comes once. */
  heads (after: string | null, limit: number): readonly (readonly [room: string, head: HeadRecord])[]
}

export class LmdbOutlet implements Outlet {
  readonly #store: Store
  readonly #log: Pick<Log, 'after'>
  readonly #movements: Movements
  readonly #clock: Clock
  readonly #consumers: Consumers
  readonly #open = new Map<string, Consumption>()
  readonly #unreadMax: number

  constructor (options: { store: Store, log: Pick<Log, 'after'>, movements: Movements, clock: Clock, unreadMax: number }) {
    this.#store = options.store
    this.#log = options.log
    this.#movements = options.movements
    this.#clock = options.clock
    this.#unreadMax = options.unreadMax
    this.#consumers = new Consumers(options.store)
  }

  async open (consumer: string, options: OutletOptions): Promise<OutletConsumer> {
    if (this.#open.has(consumer)) throw new Error(`the consumer ${consumer} is open already`)
    const now = this.#clock.now()
    const consumption = new Consumption({ store: this.#store, log: this.#log, movements: this.#movements, clock: this.#clock }, consumer, options)
    this.#open.set(consumer, consumption)
    try {
      const seenAt = this.#consumers.seenAt(consumer)
      if (seenAt === null && options.from === 'now') await consumption.skipAll()
      else await this.#consumers.prune(consumer, (room) => this.#movements.head(room) !== null)
      await this.#consumers.stamp(consumer, now)
      await this.#forgetOthers(now)
    } catch (error) {
      this.#open.delete(consumer)
      await consumption.stop()
      throw error
    }
    consumption.start()
    return {
      lag: () => consumption.lag(),
      stop: async () => {
        await consumption.stop()
        if (this.#open.get(consumer) === consumption) this.#open.delete(consumer)
      }
    }
  }

  /** A room got entries. */
  moved (room: string): void {
    for (const consumption of this.#open.values()) consumption.moved(room)
  }

  /** The last entry that retention may let go: what no consumer still needs, or what is over the cap. */
  floor (room: string, head: HeadRecord): number {
    let floor = head.seq
    for (const consumption of this.#open.values()) floor = Math.min(floor, consumption.acknowledged(room, head))
    return Math.max(floor, head.seq - this.#unreadMax)
  }

  async close (): Promise<void> {
    await Promise.all([...this.#open.values()].map((consumption) => consumption.stop()))
    this.#open.clear()
  }

  async #forgetOthers (now: number): Promise<void> {
    for (const name of this.#consumers.names()) {
      const seenAt = this.#consumers.seenAt(name)
      if (!this.#open.has(name) && seenAt !== null && now - seenAt > CONSUMER_KEPT_MS) await this.#consumers.forget(name)
    }
  }
}

interface Parts { readonly store: Store, readonly log: Pick<Log, 'after'>, readonly movements: Movements, readonly clock: Clock }

/** One consumer's way through the log. */
class Consumption {
  readonly #parts: Parts
  readonly #options: OutletOptions
  readonly #cursors: Cursors
  readonly #due = new Set<string>()
  /** The room whose head was looked at last; undefined: all were. */
  #scanned: string | null | undefined = null
  #isStopped = false
  #wake: () => void = () => {}
  #running: Promise<void> = Promise.resolve()
  /** Time of the oldest entry in hand. */
  #oldest: number | null = null

  constructor (parts: Parts, consumer: string, options: OutletOptions) {
    this.#parts = parts
    this.#options = options
    this.#cursors = new Cursors(parts.store, consumer, () => parts.clock.now())
  }

  start (): void {
    this.#running = this.#run()
  }

  moved (room: string): void {
    if (!this.#options.wants(room)) return
    if (this.#due.size < DUE_MAX) this.#due.add(room)
    else this.#scanned ??= null
    this.#wake()
  }

  acknowledged (room: string, { epoch, seq, first }: HeadRecord): number {
    if (!this.#options.wants(room)) return seq
    const cursor = this.#cursors.get(room)
    return cursor?.epoch === epoch ? cursor.seq : first - 1
  }

  /** Sets the cursor of every room to its newest entry. */
  async skipAll (): Promise<void> {
    for (let after: string | null = null; ;) {
      const page = this.#parts.movements.heads(after, SCAN_ROOMS)
      const last = page.at(-1)
      if (last === undefined) return
      for (const [room, { epoch, seq }] of page) if (this.#options.wants(room)) this.#cursors.set(room, { epoch, seq })
      await this.#cursors.write(this.#parts.clock.now())
      after = last[0]
    }
  }

  lag (): OutletLag {
    let entries = 0
    let looked = 0
    for (const room of this.#due) {
      if (++looked > LAG_ROOMS) break
      const head = this.#parts.movements.head(room)
      if (head !== null) entries += Math.max(0, head.seq - this.acknowledged(room, head))
    }
    if (this.#due.size > LAG_ROOMS) entries = Math.round(entries / LAG_ROOMS * this.#due.size)
    for (const [room, seq] of this.#inHand) if (!this.#due.has(room)) entries += seq
    return { entries, seconds: this.#oldest === null ? 0 : Math.max(0, this.#parts.clock.now() - this.#oldest) / 1000 }
  }

  async stop (): Promise<void> {
    this.#isStopped = true
    this.#wake()
    await this.#running
    await this.#cursors.stop(this.#parts.clock.now())
  }

  /** Entries in hand by room. */
  #inHand: ReadonlyMap<string, number> = new Map()

  async #run (): Promise<void> {
    while (!this.#isStopped) {
      try {
        const runs = await this.#gather()
        if (runs.length > 0) await this.#give(runs)
        else if (!this.#scan()) await new Promise<void>((resolve) => { this.#wake = resolve })
      } catch (error) {
        process.emitWarning(new Error('the log could not be read for a consumer; tried again soon', { cause: error }))
        this.#scanned = null
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      }
      // The loop belongs to the chat first.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async #give (runs: readonly OutletRun[]): Promise<void> {
    this.#oldest = Math.min(...runs.map(({ entries }) => entryTs(entries[0] as Uint8Array)))
    this.#inHand = new Map(runs.map(({ room, entries }) => [room, entries.length]))
    const isTaken = await this.#options.take(runs)
    this.#oldest = null
    this.#inHand = new Map()
    if (!isTaken) {
      this.#isStopped = true
      return
    }
    for (const { room, epoch, entries } of runs) this.#cursors.set(room, { epoch, seq: entrySeq(entries.at(-1) as Uint8Array) })
  }

  /** What is new of the rooms that are due, up to one take's measure. */
  async #gather (): Promise<OutletRun[]> {
    const runs: OutletRun[] = []
    let left = this.#options.entriesMax
    for (const room of this.#due) {
      if (left <= 0) break
      // Before it is read, so that what comes meanwhile makes it due again.
      this.#due.delete(room)
      const run = await this.#read(room, left)
      if (run === null) continue
      left -= run.entries.length
      runs.push(run)
    }
    return runs
  }

  async #read (room: string, limit: number): Promise<OutletRun | null> {
    const head = this.#parts.movements.head(room)
    if (head === null) return null
    const cursor = this.#cursors.get(room)
    const isKnown = cursor?.epoch === head.epoch
    const from = isKnown ? cursor.seq : 0
    if (from >= head.seq) return null
    const page = await this.#parts.log.after(room, from, { entries: limit, bytes: TAKE_BYTES })
    const [first] = page.entries
    if (isKnown) this.#noteLost(room, cursor, first === undefined ? page.head.seq + 1 : entrySeq(first))
    if (page.head.epoch !== head.epoch || first === undefined) {
      if (page.head.epoch === head.epoch) this.#cursors.set(room, { epoch: head.epoch, seq: page.head.seq })
      else this.#due.add(room)
      return null
    }
    if (entrySeq(page.entries.at(-1) as Uint8Array) < page.head.seq) this.#due.add(room)
    return { room, epoch: head.epoch, entries: page.entries }
  }

  #noteLost (room: string, { seq }: Cursor, next: number): void {
    if (next > seq + 1) this.#options.lost(room, next - seq - 1)
  }

  /** Looks at the next page of heads; false when there is none left. */
  #scan (): boolean {
    if (this.#scanned === undefined) return false
    const page = this.#parts.movements.heads(this.#scanned, SCAN_ROOMS)
    this.#scanned = page.at(-1)?.[0]
    for (const [room, head] of page) if (this.#options.wants(room) && this.acknowledged(room, head) < head.seq) this.#due.add(room)
    return page.length > 0
  }
}
