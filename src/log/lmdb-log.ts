// The room log on the embedded store: the face's calls. Publishing goes through the writer (writer.ts), which makes
// group commits to a journal; reading is synchronous, from memory for what was committed last and from lmdb's memory map
// for the rest (layers.ts), and sees what is durable. Bounds: the writer's, and the limits that callers give to reads.

import { AppError } from '../base/errors.ts'
import { checkName } from '../base/names.ts'
import type { Store } from '../base/store.ts'
import { COMPACTION_DUE } from '../base/store-compaction.ts'
import { EMPTY_STATE, type Publishing } from './batch.ts'
import { Layers } from './layers.ts'
import type { HeadRecord } from './layout.ts'
import type { Draft, Head, Log, LogPage, Outcome, Published, ReadLimit, Rewriting, Rhythm, RoomState, Watcher } from './log.ts'
import type { NonceHash } from './nonce-filter.ts'
import { LmdbOutlet } from './lmdb-outlet.ts'
import { Nonces } from './nonces.ts'
import type { Outlet } from './outlet.ts'
import { Watchers } from './watchers.ts'
import { Writer, type WriterOptions } from './writer.ts'

export type { RetentionOptions } from './retention.ts'

export interface LmdbLogOptions extends WriterOptions {
  /** How long a nonce is remembered. */
  readonly dedupMinutes: number
  /** Entries of a room that wait for consumers of the outlet at most, beyond what retention keeps anyway. */
  readonly unreadMax?: number
}

/** The room log in `store`, with the outlet for consumers. Closing it leaves the store open. */
export function createLmdbLog (store: Store, options: LmdbLogOptions): Log & { outlet (): Outlet } {
  return new LmdbLog(store, options)
}

/** Characters of an author and a nonce together; what the journal's records can say is far more. */
const NONCE_CHARACTERS_MAX = 4096
const UNREAD_MAX = 1_000_000
/** Of publishes under way; a power of two. */
const PLACES = 4096
/** A batch holds up everybody who publishes: not too many at once. */
const REWRITINGS_AN_ACT = 100

/** A publish of a nonce on its way; it is what the writer is handed. */
class Once implements Publishing {
  readonly kind = 'publish'
  readonly room: string
  readonly draft: Draft
  readonly hash: NonceHash
  readonly #outcome: Outcome
  /** Who came with the same nonce meanwhile. */
  #others: Outcome[] | null = null
  /** The next in its place of the table, if any. */
  next: Once | null = null
  readonly #underWay: UnderWay

  /** It is taken from `underWay` before it is answered, whatever the answer. */
  constructor (room: string, draft: Draft, hash: NonceHash, outcome: Outcome, underWay: UnderWay) {
    this.room = room
    this.draft = draft
    this.hash = hash
    this.#outcome = outcome
    this.#underWay = underWay
  }

  /** The same message again, while it is on its way. */
  repeat (outcome: Outcome): void {
    this.#others ??= []
    this.#others.push(outcome)
  }

  isOf (room: string, author: string, nonce: string): boolean {
    return this.draft.nonce === nonce && this.draft.author === author && this.room === room
  }

  resolve (published: Published): void {
    this.#underWay.remove(this)
    this.#outcome.resolve(published)
    if (this.#others !== null) for (const other of this.#others) other.resolve({ ...published, repeated: true })
  }

  reject (error: unknown): void {
    this.#underWay.remove(this)
    this.#outcome.reject(error)
    if (this.#others !== null) for (const other of this.#others) other.reject(error)
  }
}

/**
 * Publishes of nonces that are queued or in flight; as many as the queue and one batch hold. No Map: one that is added to
 * and taken from all the time is made anew all the time, and each that was leads to the next, so the collector takes
 * all that was ever in them for alive until it looks at everything: 1.5 KB a message, copied twice.
 */
class UnderWay {
  readonly #places = new Array<Once | null>(PLACES).fill(null)

  add (once: Once): void {
    const place = once.hash.low & PLACES - 1
    once.next = this.#places[place] as Once | null
    this.#places[place] = once
  }

  find (hash: NonceHash, room: string, author: string, nonce: string): Once | null {
    let once = this.#places[hash.low & PLACES - 1] as Once | null
    while (once !== null && !once.isOf(room, author, nonce)) once = once.next
    return once
  }

  remove (once: Once): void {
    const place = once.hash.low & PLACES - 1
    let before = this.#places[place] as Once | null
    if (before === once) {
      this.#places[place] = once.next
    } else {
      while (before !== null && before.next !== once) before = before.next
      if (before !== null) before.next = once.next
    }
    once.next = null
  }
}

class LmdbLog implements Log {
  readonly #clock: LmdbLogOptions['clock']
  readonly #windowMs: number
  readonly #nonces: Nonces
  readonly #layers: Layers
  readonly #watchers = new Watchers()
  readonly #writer: Writer
  readonly #store: Store
  readonly #unreadMax: number
  #outlet: LmdbOutlet | null = null
  readonly #underWay = new UnderWay()

  constructor (store: Store, options: LmdbLogOptions) {
    this.#store = store
    this.#unreadMax = options.unreadMax ?? UNREAD_MAX
    this.#clock = options.clock
    this.#windowMs = options.dedupMinutes * 60_000
    this.#nonces = new Nonces(store, this.#windowMs)
    this.#layers = new Layers(store, this.#nonces, options.clock.now())
    this.#writer = new Writer(store, this.#layers, this.#watchers, options)
  }

  publish (room: string, draft: Draft): Promise<Published> {
    return new Promise((resolve, reject) => this.submit(room, draft, { resolve, reject }))
  }

  submit (room: string, draft: Draft, outcome: Outcome): void {
    try {
      this.#writer.check()
      checkName(room)
      if (draft.nonce === null) this.#append(room, draft, outcome)
      else this.#publishOnce(room, draft, draft.nonce, outcome)
    } catch (error) {
      outcome.reject(error)
    }
  }

  async find (room: string, author: string, nonce: string): Promise<Published | null> {
    this.#writer.check()
    return this.#find(this.#nonces.hash(room, author, nonce), room, author, nonce)
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
      const entry = this.#layers.entry(head.number, at)
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
      const entry = this.#layers.entry(head.number, at)
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
    const head = this.#layers.head(room)
    return head === null ? EMPTY_STATE : this.#layers.state(head.number)
  }

  watch (room: string, watcher: Watcher): () => void {
    this.#writer.check()
    return this.#watchers.add(room, watcher)
  }

  async rewrite (room: string, epoch: string, changes: readonly Rewriting[]): Promise<number> {
    this.#writer.check()
    let count = 0
    for (let at = 0; at < changes.length; at += REWRITINGS_AN_ACT) {
      const part = changes.slice(at, at + REWRITINGS_AN_ACT)
      count += await new Promise<number>((resolve, reject) => this.#writer.offer({ kind: 'rewrite', room, epoch, changes: part, resolve, reject }))
    }
    return count
  }

  /** The tables' file keeps what was overwritten in its free pages until it is made anew, at the next start. */
  scrubbing (): () => Promise<boolean> {
    return async () => {
      await this.#writer.scrub()
      await this.#store.commit(() => { void this.#store.tables.meta.put(COMPACTION_DUE, Buffer.of(1)) })
      return true
    }
  }

  async remove (room: string): Promise<void> {
    this.#writer.check()
    checkName(room)
    await new Promise<void>((resolve, reject) => this.#writer.offer({ kind: 'remove', room, resolve, reject }))
  }

  get rhythm (): Rhythm { return this.#writer }

  /** Made when it is first asked for: a log without consumers pays nothing for them. */
  outlet (): Outlet {
    if (this.#outlet === null) {
      const outlet = this.#outlet = new LmdbOutlet({ store: this.#store, log: this, movements: this.#layers, clock: this.#clock, unreadMax: this.#unreadMax })
      this.#writer.moved = (room) => outlet.moved(room)
      this.#writer.holdBack((room, head) => outlet.floor(room, head))
    }
    return this.#outlet
  }

  async close (): Promise<void> {
    const outlet = this.#outlet?.close()
    await this.#writer.close()
    await outlet
    this.#watchers.clear()
  }

  #append (room: string, draft: Draft, outcome: Outcome): void {
    this.#writer.offer({ kind: 'publish', room, draft, hash: null, resolve: (published) => outcome.resolve(published), reject: (error) => outcome.reject(error) })
  }

  #publishOnce (room: string, draft: Draft, nonce: string, outcome: Outcome): void {
    const { author } = draft
    if (author.length + nonce.length > NONCE_CHARACTERS_MAX) throw new AppError('bad_request', `an author and a nonce have at most ${NONCE_CHARACTERS_MAX} characters`)
    const hash = this.#nonces.hash(room, author, nonce)
    const first = this.#underWay.find(hash, room, author, nonce)
    if (first !== null) return first.repeat(outcome)
    const known = this.#find(hash, room, author, nonce)
    if (known !== null) return outcome.resolve(known)
    const once = new Once(room, draft, hash, outcome, this.#underWay)
    this.#writer.offer(once)
    this.#underWay.add(once)
  }

  /** The head of the room's log, which is made when there is none. */
  async #known (room: string): Promise<HeadRecord> {
    for (;;) {
      const head = this.#layers.head(room)
      if (head !== null) return head
      await new Promise((resolve, reject) => this.#writer.offer({ kind: 'make', room, resolve, reject }))
    }
  }

  #find (hash: NonceHash, room: string, author: string, nonce: string): Published | null {
    if (!this.#nonces.mayHave(hash)) return null
    const now = this.#clock.now()
    const head = this.#layers.head(room)
    const found = head === null ? null : this.#layers.nonce(hash, head.number, author, nonce, now)
    if (head === null || found === null || now - found.ts >= this.#windowMs) return null
    return { epoch: head.epoch, seq: found.seq, ts: found.ts, repeated: true }
  }
}
