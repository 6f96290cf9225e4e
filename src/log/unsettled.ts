// What the journal has and the tables have not: the changes of some seconds' commits, as they are looked up. Filled commit
// by commit, never changed otherwise, and let go whole once the tables have it (layers.ts).
// Bound: the writer's, on `bytes` and `count`.

import type { HeadRecord } from './layout.ts'
import { NonceTable } from './nonce-table.ts'
import type { Generation } from './nonces.ts'
import type { Append, Change, Rewrite } from './record.ts'

/** Consecutive entries of one log. */
interface Run { readonly first: number, readonly entries: Uint8Array[] }

/** What an entry costs beside its bytes, about. */
const ENTRY_BYTES = 200

export class Unsettled {
  /** Heads as they are now; null: the log is gone. */
  readonly heads = new Map<string, HeadRecord | null>()
  /** Packed states as they are now; null: gone. */
  readonly states = new Map<number, Uint8Array | null>()
  readonly runs = new Map<number, Run>()
  readonly nonces = new NonceTable()
  /** Of the nonces here; its filter has them too. */
  readonly generation: Generation
  /** Numbers of logs that are gone. */
  readonly removed: number[] = []
  /** The last entry that retention let go, by log: all up to it are gone. */
  readonly expired = new Map<number, number>()
  /** New bytes of entries that lie further down, by log and seq. */
  readonly rewrites = new Map<number, Map<number, Uint8Array>>()
  next = 0
  /** The last commit in here. */
  commit = 0
  /** Commits in here, and about how much memory they take. */
  count = 0
  bytes = 0

  constructor (generation: Generation) {
    this.generation = generation
  }

  add (commit: number, change: Change): void {
    this.commit = commit
    this.count++
    this.next = change.next
    for (const append of change.appends) this.#append(append)
    for (const [number, state] of change.states) this.states.set(number, state?.bytes ?? null)
    for (const { number } of change.removed) {
      this.removed.push(number)
      this.runs.delete(number)
      this.rewrites.delete(number)
      this.expired.delete(number)
    }
    for (const rewrite of change.rewrites) this.#rewrite(rewrite)
    for (const { number, seq } of change.expired) this.expired.set(number, seq)
    for (const [room, head] of change.heads) this.heads.set(room, head)
  }

  entry (number: number, seq: number): Uint8Array | undefined {
    const run = this.runs.get(number)
    return run?.entries[seq - run.first] ?? (this.rewrites.size === 0 ? undefined : this.rewrites.get(number)?.get(seq))
  }

  #rewrite ({ number, seq, bytes }: Rewrite): void {
    const run = this.runs.get(number)
    this.bytes += bytes.length + ENTRY_BYTES
    if (run !== undefined && seq >= run.first && seq < run.first + run.entries.length) {
      run.entries[seq - run.first] = bytes
      return
    }
    const own = this.rewrites.get(number)
    if (own === undefined) this.rewrites.set(number, new Map([[seq, bytes]]))
    else own.set(seq, bytes)
  }

  #append ({ number, seq, ts, bytes, nonce }: Append): void {
    const run = this.runs.get(number)
    if (run === undefined) this.runs.set(number, { first: seq, entries: [bytes] })
    else run.entries.push(bytes)
    this.bytes += bytes.length + ENTRY_BYTES
    if (nonce === null) return
    this.nonces.add({ hash: nonce.hash, number, author: nonce.author, nonce: nonce.nonce, seq, ts })
    this.generation.filter.add(nonce.hash)
  }
}
