// The room log on the embedded store: the face's calls. Publishing goes through the writer (writer.ts), which makes
// group commits; reading is synchronous, from lmdb's memory map, and sees what is durable. Bounds: the writer's, and
// the limits that callers give to reads.

import { nameKey, read, type Store } from '../base/store.ts'
import { EMPTY_STATE } from './batch.ts'
import { entryKey, nonceHash, type HeadRecord } from './layout.ts'
import type { Draft, Head, Log, LogPage, Published, ReadLimit, RoomState, Watcher } from './log.ts'
import { Nonces } from './nonces.ts'
import { Watchers } from './watchers.ts'
import { Writer, type WriterOptions } from './writer.ts'

export type { RetentionOptions } from './retention.ts'

export interface LmdbLogOptions extends WriterOptions {
  /** How long a nonce is remembered. */
  readonly dedupMinutes: number
}

/** The room log in `store`. Closing it leaves the store open. */
export function createLmdbLog (store: Store, options: LmdbLogOptions): Log {
  return new LmdbLog(store, options)
}

class LmdbLog implements Log {
  readonly #store: Store
  readonly #clock: LmdbLogOptions['clock']
  readonly #nonces: Nonces
  readonly #watchers = new Watchers()
  readonly #writer: Writer
  /** Publishes of nonces that are queued or in flight; as many as the queue and one batch hold. */
  readonly #underWay = new Map<string, Promise<Published>>()

  constructor (store: Store, options: LmdbLogOptions) {
    this.#store = store
    this.#clock = options.clock
    this.#nonces = new Nonces(store, options.dedupMinutes * 60_000, options.clock.now())
    this.#writer = new Writer(store, this.#nonces, this.#watchers, options)
  }

  async publish (room: string, draft: Draft): Promise<Published> {
    this.#writer.check()
    if (draft.nonce === null) return this.#append(room, draft, null)
    const hashed = nonceHash(draft.author, draft.nonce)
    const id = `${room}\n${hashed.toString('latin1')}`
    const first = this.#underWay.get(id)
    if (first !== undefined) return { ...await first, repeated: true }
    const known = this.#find(room, hashed)
    if (known !== null) return known
    const published = this.#append(room, draft, { hashed, id })
    this.#underWay.set(id, published)
    try {
      return await published
    } finally {
      this.#underWay.delete(id)
    }
  }

  async find (room: string, author: string, nonce: string): Promise<Published | null> {
    this.#writer.check()
    return this.#find(room, nonceHash(author, nonce))
  }

  async head (room: string): Promise<Head> {
    this.#writer.check()
    const { epoch, first, seq } = await this.#known(room)
    return { epoch, first, seq }
  }

  async after (room: string, seq: number, limit: ReadLimit): Promise<LogPage> {
    this.#writer.check()
    const head = await this.#known(room)
    const start = Math.max(seq + 1, head.first)
    const entries: Uint8Array[] = []
    let { first } = head
    let bytes = 0
    for (let at = start; at <= head.seq && entries.length < Math.max(1, limit.entries); at++) {
      const entry = this.#entry(head, at)
      // Only the oldest can be missing: what retention deleted is gone a moment before its commit is known here.
      if (entry === undefined) {
        first = at + 1
        continue
      }
      if (entries.length > 0 && bytes + entry.length > limit.bytes) break
      bytes += entry.length
      entries.push(entry)
    }
    return { head: { epoch: head.epoch, first, seq: head.seq }, entries }
  }

  async before (room: string, seq: number | null, limit: ReadLimit): Promise<LogPage> {
    this.#writer.check()
    const head = await this.#known(room)
    const start = Math.min((seq ?? Infinity) - 1, head.seq)
    const entries: Uint8Array[] = []
    let { first } = head
    let bytes = 0
    for (let at = start; at >= head.first && entries.length < Math.max(1, limit.entries); at--) {
      const entry = this.#entry(head, at)
      if (entry === undefined) {
        first = at + 1
        break
      }
      if (entries.length > 0 && bytes + entry.length > limit.bytes) break
      bytes += entry.length
      entries.push(entry)
    }
    return { head: { epoch: head.epoch, first, seq: head.seq }, entries: entries.reverse() }
  }

  async state (room: string): Promise<RoomState> {
    this.#writer.check()
    const head = this.#writer.head(room)
    return head === null ? EMPTY_STATE : this.#writer.state(head.number)
  }

  watch (room: string, watcher: Watcher): () => void {
    this.#writer.check()
    return this.#watchers.add(room, watcher)
  }

  async remove (room: string): Promise<void> {
    this.#writer.check()
    nameKey(room)
    await new Promise<void>((resolve, reject) => this.#writer.offer({ kind: 'remove', room, resolve, reject }))
  }

  async close (): Promise<void> {
    await this.#writer.close()
    this.#watchers.clear()
  }

  #append (room: string, draft: Draft, nonce: { hashed: Uint8Array, id: string } | null): Promise<Published> {
    return new Promise((resolve, reject) => this.#writer.offer({ kind: 'publish', room, draft, nonce, resolve, reject }))
  }

  /** The head of the room's log, which is made when there is none. */
  async #known (room: string): Promise<HeadRecord> {
    for (;;) {
      const head = this.#writer.head(room)
      if (head !== null) return head
      await new Promise((resolve, reject) => this.#writer.offer({ kind: 'make', room, resolve, reject }))
    }
  }

  #find (room: string, hashed: Uint8Array): Published | null {
    const head = this.#writer.head(room)
    const found = head === null ? null : this.#nonces.find(head.number, hashed, this.#clock.now())
    return head === null || found === null ? null : { epoch: head.epoch, ...found, repeated: true }
  }

  #entry (head: HeadRecord, seq: number): Uint8Array | undefined {
    return read(this.#store.tables.entries, entryKey(head.number, seq))
  }
}
