// Where the embedded log's consumers stand, in the store's table `cursors`: a row a consumer and room, none per entry.
//
//   consumer  00                     ─▶ when it was last here (6)
//   consumer  00  nameKey of room    ─▶ [epoch, seq]: the last entry acknowledged
//
// Acknowledged positions wait in memory and are written together every WRITE_MS: what a death takes is given again.
// Must not know entries. Bounds: CACHED_MAX positions a consumer in memory, and those that wait to be written.

import { pack, unpack } from '../../proto/codec.ts'
import { BoundedMap } from '../base/bounded.ts'
import { systemClock, type Timer } from '../base/clock.ts'
import { keyName, nameKey, read, type Store } from '../base/store.ts'
import { numberKey, readNumber } from './layout.ts'

export interface Cursor { readonly epoch: string, readonly seq: number }

const WRITE_MS = 250
const STAMP_MS = 3_600_000
const CACHED_MAX = 50_000
const SLICE = 1000

/** When a consumer was last here, and how to forget those that are long gone. */
export class Consumers {
  readonly #store: Store

  constructor (store: Store) { this.#store = store }

  /** Unix milliseconds; null for one that is not known. */
  seenAt (consumer: string): number | null {
    const stored = read(this.#store.tables.cursors, consumerKey(consumer))
    return stored === undefined ? null : readNumber(stored)
  }

  async stamp (consumer: string, now: number): Promise<void> {
    await this.#store.commit(() => { void this.#store.tables.cursors.put(consumerKey(consumer), numberKey(now)) })
  }

  names (): string[] {
    const names: string[] = []
    let start: Uint8Array = new Uint8Array([1])
    for (;;) {
      const [row] = this.#store.tables.cursors.getRange({ start, limit: 1 })
      if (row === undefined) return names
      const name = Buffer.from(row.key).subarray(0, row.key.indexOf(0)).toString()
      names.push(name)
      start = Buffer.concat([Buffer.from(name), Buffer.of(1)])
    }
  }

  /** Forgets where it stood in rooms that are gone; a page at a time, so that the loop has its turns. */
  async prune (consumer: string, isThere: (room: string) => boolean): Promise<void> {
    const { cursors } = this.#store.tables
    const own = consumerKey(consumer)
    for (let start = Buffer.concat([own, Buffer.of(0)]); ;) {
      const keys = [...cursors.getRange({ start, end: Buffer.concat([Buffer.from(consumer), Buffer.of(1)]), limit: SLICE })].map(({ key }) => Buffer.from(key))
      const last = keys.at(-1)
      if (last === undefined) return
      const gone = keys.filter((key) => !isThere(keyName(key.subarray(own.length))))
      if (gone.length > 0) await this.#store.commit(() => { for (const key of gone) void cursors.remove(key) })
      start = Buffer.concat([last, Buffer.of(0)])
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Forgets it and where it stood. */
  async forget (consumer: string): Promise<void> {
    const { cursors } = this.#store.tables
    for (;;) {
      const keys = [...cursors.getRange({ start: consumerKey(consumer), end: Buffer.concat([Buffer.from(consumer), Buffer.of(1)]), limit: SLICE })].map(({ key }) => key)
      if (keys.length === 0) return
      await this.#store.commit(() => { for (const key of keys) void cursors.remove(key) })
    }
  }
}

/** One consumer's cursors. */
export class Cursors {
  readonly #store: Store
  readonly #consumer: string
  readonly #cached = new BoundedMap<string, Cursor | null>(CACHED_MAX)
  #waiting = new Map<string, Cursor>()
  #writing: Map<string, Cursor> | null = null
  #work: Promise<void> = Promise.resolve()
  readonly #timer: Timer
  #stampedAt: number

  constructor (store: Store, consumer: string, now: () => number) {
    this.#store = store
    this.#consumer = consumer
    this.#stampedAt = now()
    this.#timer = systemClock.every(WRITE_MS, () => { void this.write(now()) })
  }

  get (room: string): Cursor | null {
    const known = this.#waiting.get(room) ?? this.#writing?.get(room) ?? this.#cached.get(room)
    if (known !== undefined) return known
    const stored = read(this.#store.tables.cursors, cursorKey(this.#consumer, room))
    const cursor = stored === undefined ? null : cursorOf(stored)
    this.#cached.set(room, cursor)
    return cursor
  }

  /** Durable with the next write. */
  set (room: string, cursor: Cursor): void {
    this.#waiting.set(room, cursor)
    this.#cached.set(room, cursor)
  }

  /** Writes what waits, one write at a time; what fails waits for the next. Never rejects. */
  write (now: number): Promise<void> {
    this.#work = this.#work.then(async () => {
      const isStampDue = now - this.#stampedAt > STAMP_MS
      if (this.#waiting.size === 0 && !isStampDue) return
      const writing = this.#writing = this.#waiting
      this.#waiting = new Map()
      try {
        await this.#commit(writing, isStampDue ? now : null)
        if (isStampDue) this.#stampedAt = now
      } catch (error) {
        for (const [room, cursor] of writing) if (!this.#waiting.has(room)) this.#waiting.set(room, cursor)
        process.emitWarning(new Error('cursors could not be written; tried again soon', { cause: error }))
      } finally {
        this.#writing = null
      }
    })
    return this.#work
  }

  async stop (now: number): Promise<void> {
    this.#timer.cancel()
    await this.write(now)
  }

  #commit (cursors: ReadonlyMap<string, Cursor>, stamp: number | null): Promise<void> {
    const table = this.#store.tables.cursors
    return this.#store.commit(() => {
      for (const [room, { epoch, seq }] of cursors) void table.put(cursorKey(this.#consumer, room), pack([epoch, seq]))
      if (stamp !== null) void table.put(consumerKey(this.#consumer), numberKey(stamp))
    })
  }
}

function cursorOf (stored: Uint8Array): Cursor {
  const [epoch, seq] = unpack(stored) as [string, number]
  return { epoch, seq }
}

function consumerKey (consumer: string): Buffer {
  return Buffer.concat([Buffer.from(consumer), Buffer.of(0)])
}

function cursorKey (consumer: string, room: string): Buffer {
  return Buffer.concat([consumerKey(consumer), nameKey(room)])
}
