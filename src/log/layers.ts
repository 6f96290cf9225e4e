// What the log knows, in three layers, looked through from above; and the settling that moves it down.
//
//   current    what was committed to the journal since the last settling began         memory, journal file A
//   settling   what was before, on its way into the tables                             memory, journal file B
//   tables     all that is older                                                       lmdb
//
// Settling is in slices, a transaction each, so that neither the loop nor the disk is held up for long. The last one says
// up to which commit the tables are whole; until then the journal is the truth, and settling again, after a failure or
// a crash, puts the same records in the same places. Must not know how batches are made.
// Bound: the writer's; SLICE_MS of writes a transaction.

import { BoundedMap } from '../base/bounded.ts'
import { keyName, nameKey, read, type Store } from '../base/store.ts'
import { EMPTY_STATE } from './batch.ts'
import { EntryTable } from './entry-table.ts'
import { META, numberKey, packHead, PRESENT, readNumber, unpackHead, unpackState, type HeadRecord } from './layout.ts'
import type { RoomState } from './log.ts'
import type { NonceHash } from './nonce-filter.ts'
import type { Made, Nonces } from './nonces.ts'
import type { Change } from './record.ts'
import type { Retention } from './retention.ts'
import { Unsettled } from './unsettled.ts'

const HEADS_MAX = 10_000
/** So much is done at a time for a settling, with a look at the clock every so many steps: the loop has others to serve. */
const SLICE_MS = 2
const STEPS_A_LOOK = 16
/** Slices of removed logs' entries that one settling deletes, and blocks in each. */
const REMOVED_SLICES = 16
const REMOVED_BLOCKS = 1024

export class Layers {
  readonly #store: Store
  readonly #nonces: Nonces
  readonly #entries: EntryTable
  readonly #heads = new BoundedMap<string, HeadRecord>(HEADS_MAX)
  #current: Unsettled
  #settling: Unsettled | null = null
  #settled: number
  #next: number

  constructor (store: Store, nonces: Nonces, now: number) {
    this.#store = store
    this.#nonces = nonces
    this.#entries = new EntryTable(store.tables.entries)
    this.#current = new Unsettled(nonces.generation(now))
    this.#settled = this.#counter(META.commit, 0)
    this.#next = this.#counter(META.next, 1)
  }

  /** The last commit that the tables have. */
  get settled (): number { return this.#settled }
  /** The number that the next new log gets. */
  get next (): number { return this.#next }
  /** What no settling has begun with yet. */
  get current (): Unsettled { return this.#current }
  get isSettling (): boolean { return this.#settling !== null }
  /** Memory that waits for the tables, about. */
  get bytes (): number { return this.#current.bytes + (this.#settling?.bytes ?? 0) }

  /** A commit is in the journal. */
  add (commit: number, change: Change): void {
    this.#current.add(commit, change)
    this.#next = change.next
    for (const [room, head] of change.heads) {
      if (head === null) this.#heads.delete(room)
      else this.#heads.set(room, head)
    }
  }

  head (room: string): HeadRecord | null {
    const cached = this.#heads.get(room)
    if (cached !== undefined) return cached
    const head = this.#unsettledHead(room)
    if (head !== undefined) return head
    const stored = read(this.#store.tables.heads, nameKey(room))
    if (stored === undefined) return null
    const settled = unpackHead(stored)
    this.#heads.set(room, settled)
    return settled
  }

  /** The next rooms and their heads in the order of their names, behind `after`. */
  heads (after: string | null, limit: number): (readonly [room: string, head: HeadRecord])[] {
    const start = after === null ? new Uint8Array([0]) : Buffer.concat([nameKey(after), Buffer.alloc(1)])
    const names = new Set<string>()
    for (const { key } of this.#store.tables.heads.getRange({ start, limit })) names.add(keyName(key))
    // Those that the tables do not have yet, as far as the page goes.
    const last = names.size < limit ? null : [...names].at(-1) as string
    for (const layer of [this.#settling, this.#current]) {
      for (const room of layer?.heads.keys() ?? []) if ((after === null || room > after) && (last === null || room <= last)) names.add(room)
    }
    return [...names].sort(byUnits).flatMap((room) => {
      const head = this.head(room)
      return head === null ? [] : [[room, head] as const]
    })
  }

  state (number: number): RoomState {
    const above = this.#current.states.get(number)
    const bytes = above !== undefined ? above : this.#settling?.states.get(number)
    if (bytes === null) return EMPTY_STATE
    const stored = bytes ?? read(this.#store.tables.states, numberKey(number))
    return stored === undefined ? EMPTY_STATE : unpackState(stored)
  }

  entry (number: number, seq: number): Uint8Array | undefined {
    return this.#current.entry(number, seq) ?? this.#settling?.entry(number, seq) ?? this.#entries.get(number, seq)
  }

  /** The first result of a nonce that the filters do not deny; whether it is within the window is told by its ts where it is not settled yet. */
  nonce (hash: NonceHash, number: number, author: string, nonce: string, now: number): { seq: number, ts: number } | null {
    return this.#current.nonces.find(hash, number, author, nonce) ?? this.#settling?.nonces.find(hash, number, author, nonce) ??
      this.#nonces.find(hash, number, author, nonce, now)
  }

  /** Begins a settling with all that is current; the journal must turn to its other file in the same moment. */
  begin (now: number): void {
    this.#settling = this.#current
    this.#current = new Unsettled(this.#nonces.generation(now))
  }

  /** Puts what is settling into the tables. Rejects with AppError `unavailable`; it may be called again then. */
  async settle (retention: Retention, now: number): Promise<void> {
    const settling = this.#settling
    if (settling === null) return
    const over = this.#nonces.over(now, [settling.generation, this.#current.generation])
    const made = settling.nonces.size === 0 ? null : await inTurns(this.#nonces.make(settling.nonces))
    const last = [this.#putHeads(settling), this.#nonces.drop(over), ...(made === null ? [] : [this.#nonces.write(made)])]
    if (settling.rewrites.size === 0 && settling.expired.size === 0) {
      last.unshift(this.#putRuns(settling))
    } else {
      // One after the other: what is rewritten may expire, and each reads what the one before has written.
      await this.#inSlices([this.#putRuns(settling)])
      if (settling.rewrites.size > 0) await this.#inSlices([this.#putRewrites(settling)])
      if (settling.expired.size > 0) await this.#inSlices([this.#expire(settling)])
    }
    // These read nothing of one another. What a quiet server has is one transaction, which costs as much as many writes.
    await this.#inSlices(last, () => this.#finish(settling, made))
    this.#nonces.forget(over)
    if (made !== null) this.#nonces.settled(made.part, settling.generation)
    this.#settled = settling.commit
    this.#settling = null
    this.#entries.settled()
    if (settling.removed.length > 0) retention.noteRemoved()
    await this.#deleteRemoved(retention)
  }

  #unsettledHead (room: string): HeadRecord | null | undefined {
    const head = this.#current.heads.get(room)
    return head !== undefined ? head : this.#settling?.heads.get(room)
  }

  /** The end of a settling's last transaction: from here on the tables have all of it. */
  #finish (settling: Unsettled, made: Made | null): void {
    const { meta, removed } = this.#store.tables
    for (const number of settling.removed) void removed.put(numberKey(number), PRESENT)
    if (made !== null) this.#nonces.finish(made)
    void meta.put(META.next, numberKey(settling.next))
    void meta.put(META.commit, numberKey(settling.commit))
  }

  * #putRuns ({ runs }: Unsettled): Generator<void> {
    for (const [number, { first, entries }] of runs) yield * this.#entries.put(number, first, entries)
  }

  * #putRewrites ({ rewrites }: Unsettled): Generator<void> {
    for (const [number, changes] of rewrites) yield * this.#entries.rewrite(number, changes)
  }

  * #expire ({ expired }: Unsettled): Generator<void> {
    for (const [number, seq] of expired) yield * this.#entries.expire(number, seq)
  }

  * #putHeads ({ states: packed, heads: unsettled }: Unsettled): Generator<void> {
    const { heads, states } = this.#store.tables
    for (const [number, bytes] of packed) {
      void (bytes === null ? states.remove(numberKey(number)) : states.put(numberKey(number), bytes))
      yield
    }
    for (const [room, head] of unsettled) {
      void (head === null ? heads.remove(nameKey(room)) : heads.put(nameKey(room), packHead(head)))
      yield
    }
  }

  /** Makes all steps, SLICE_MS of them a transaction; `end` is in the last one. */
  async #inSlices (works: readonly Generator<void>[], end = (): void => {}): Promise<void> {
    const steps = inOrder(works)
    let isDone = false
    while (!isDone) {
      await this.#store.commit(() => {
        isDone = slice(steps).done === true
        if (isDone) end()
      })
    }
  }

  async #deleteRemoved (retention: Retention): Promise<void> {
    for (let at = 0; at < REMOVED_SLICES; at++) {
      const number = retention.nextRemoved()
      if (number === null) return
      await this.#store.commit(() => { if (this.#entries.clear(number, REMOVED_BLOCKS)) retention.forgetRemoved(number) })
    }
  }

  #counter (key: Uint8Array, otherwise: number): number {
    const stored = read(this.#store.tables.meta, key)
    return stored === undefined ? otherwise : readNumber(stored)
  }
}

function byUnits (a: string, b: string): number {
  return a < b ? -1 : 1
}

function * inOrder (works: readonly Generator<void>[]): Generator<void> {
  for (const work of works) yield * work
}

/** Makes all steps, SLICE_MS of them a turn of the loop, and returns what they come to. */
async function inTurns<T> (steps: Generator<void, T>): Promise<T> {
  for (;;) {
    const { done, value } = slice(steps)
    if (done === true) return value
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function slice<T> (steps: Generator<void, T>): IteratorResult<void, T> {
  const end = performance.now() + SLICE_MS
  for (;;) {
    for (let count = 0; count < STEPS_A_LOOK; count++) {
      const result = steps.next()
      if (result.done === true) return result
    }
    if (performance.now() >= end) return { done: false, value: undefined }
  }
}
