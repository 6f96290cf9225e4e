// The room log: the truth. A message exists when the log has it; removals and settings are entries too. This is the
// face that every engine implements and `log.suite.ts` holds it to; the guarantees are written here and nowhere else.
//
//   publish ──▶ [nonce seen? → the first result] [next seq] [append] [merge state] ──▶ durable ──▶ resolve
//               └──────────────────────── one atomic act ───────────────────────┘        └──▶ watchers of the room
//
// Must not know sockets, viewers, or what an entry means beyond its op.

import type { EntryOp } from '../../proto/ops.ts'
import type { Tail } from '../../proto/entry.ts'
import { AppError } from '../base/errors.ts'

/** What is to be appended: everything of an entry but seq and ts, which the log gives. */
export interface Draft {
  readonly op: EntryOp
  readonly tail: Tail
  /** Scope of the nonce: the author's user id. */
  readonly author: string
  /** 1 to 64 characters, or null for an entry that is never retried. */
  readonly nonce: string | null
  /** Only for the log of this epoch: a room that was deleted meanwhile must not come back by a message meant for it. */
  readonly epoch?: string
  /** Only while the room's state is the one of this seq (RoomState.seq): for changes that were made of what was read. */
  readonly atState?: number
  /** For STATE and REMOVE entries: what to merge into the room's state in the same act. */
  readonly patch?: StatePatch
}

/** Keys to set; null deletes a key. `settings` is public (viewers see it), `guarded` is for the server alone. */
export interface StatePatch {
  readonly settings?: Readonly<Record<string, unknown>>
  readonly guarded?: Readonly<Record<string, unknown>>
}

/** The fold of the patches of a room's entries up to `seq`. */
export interface RoomState {
  readonly seq: number
  readonly settings: Readonly<Record<string, unknown>>
  readonly guarded: Readonly<Record<string, unknown>>
}

/** Where a published entry stands. `repeated`: the nonce was known, and this is the first result. */
export interface Published {
  readonly epoch: string
  readonly seq: number
  readonly ts: number
  readonly repeated: boolean
}

/** How a draft ended, told by whichever call, once. They must not throw, and must not wait. */
export interface Outcome {
  resolve (published: Published): void
  /** AppError, as `publish` rejects with. */
  reject (error: unknown): void
}

/** What an engine does with an outcome that threw: a fault of ours is said aloud, and the others of its commit are still told. */
export function warnOfUntold (error: unknown): void {
  process.emitWarning(new Error('what became of a publish could not be told', { cause: error }))
}

/** A room's extent. An empty log has `first` 1 and `seq` 0; one trimmed whole has `first` = `seq` + 1. */
export interface Head {
  readonly epoch: string
  /** Seq of the oldest entry still kept. */
  readonly first: number
  /** Seq of the newest entry. */
  readonly seq: number
}

/** The room's state is another by now than the draft's `atState`: read it again and decide anew. */
export class StateConflict extends AppError {
  constructor () { super('unavailable', 'the room\'s state has just been changed by another; try again') }
}

/** How long entries are kept, where it is not as in every room. The newest and youngest stay, whatever is said. */
export type Retentions = ReadonlyMap<string, { readonly hours: number, readonly entriesMax: number, readonly mbMax: number }>

/** Other bytes for an entry that is there. `becomes` has the same seq and ts. */
export interface Rewriting {
  readonly seq: number
  /** The entry as it was read: one that is another by now is left alone. */
  readonly was: Uint8Array
  readonly becomes: Uint8Array
}

/** Bounds of a read: whichever is met first ends the page; at least one entry is given when there is one. */
export interface ReadLimit {
  readonly entries: number
  readonly bytes: number
}

/** A run of entries, oldest first, consecutive in seq, with the room's extent at the time of the read. */
export interface LogPage {
  readonly head: Head
  readonly entries: readonly Uint8Array[]
}

/** Called by the log as entries become durable. Must not throw and must not wait. */
export interface Watcher {
  /** Entries in seq order, without a gap to the batch before. The bytes are shared: never change them. */
  entries (batch: readonly Uint8Array[]): void
  /** Continuity ended (the room was deleted, the log was lost): nothing follows; read head() anew. */
  lost (): void
}

/** The beat of a log that lets drafts gather for its commits while many come. */
export interface Rhythm {
  /** Whether many come: then what is to be published may wait until a listener is called, if it asks for a commit. */
  readonly isGathering: boolean
  /** Asks for a commit in so many milliseconds, 0: as soon as may be. Others may ask for an earlier one. */
  want (inMs: number): void
  /** Calls this, which must not throw, just before each commit takes what waits. */
  listen (call: () => void): void
}

/** Entries that one call of `rewrite` may change. */
export const REWRITINGS_MAX = 10_000

export interface Log {
  /**
   * Appends a draft to the room's log, making the log when there is none.
   *
   * - **Atomic**: nonce check, next seq, append and state merge happen together or not at all.
   * - **Dense and ordered**: seqs of a room are 1, 2, 3, … without a hole, also after failures and crashes; ts never
   *   goes back within a room. Drafts that one caller publishes one after the other, without awaiting, keep their order.
   * - **Durable**: when the promise resolves, the entry survives the death of this process at any moment.
   * - **Once**: a draft whose (room, author, nonce) was published within the dedup window, before or after a restart, is
   *   not appended; the promise resolves with the first result and `repeated: true`. So does one that is still under way.
   * - **Bounded**: rejects with AppError `overloaded` at once when the queue is full, `unavailable` when the store
   *   failed or is closed (StateConflict, one of these, when `atState` is over), `not_found` when the draft's epoch is over. After a rejection the entry is not in the log and its seq is given to another;
   *   except that behind a network `unavailable` may mean that the answer was lost: whether the entry is there is then
   *   found out by publishing again with the same nonce, which gives the first result or appends it, once.
   */
  publish (room: string, draft: Draft): Promise<Published>

  /** The same for those who publish many: told by a call instead of a promise, which may come before this returns. */
  submit (room: string, draft: Draft, outcome: Outcome): void

  /** The first result of a nonce within the dedup window, or null. Sees only what is durable. */
  find (room: string, author: string, nonce: string): Promise<Published | null>

  /** The room's extent; makes an empty log with a fresh epoch when there is none. Durable before it resolves. */
  head (room: string): Promise<Head>

  /** Entries with seq > `seq`, from the oldest kept one on. */
  after (room: string, seq: number, limit: ReadLimit): Promise<LogPage>

  /** The newest entries with seq < `seq` (null: the newest of all), given oldest first. */
  before (room: string, seq: number | null, limit: ReadLimit): Promise<LogPage>

  /** The fold of the patches of the room's entries; empty maps when there are none. */
  state (room: string): Promise<RoomState>

  /**
   * Calls the watcher with every entry of the room that becomes durable after this call, from this or any other
   * process, in seq order and without a gap. The author's instance learns of its own entries this way too, and before
   * its publish resolves (an engine behind a network waits 250 ms at most for that: what is durable is answered).
   * Several watchers of a room each get everything. Returns how to end it.
   */
  watch (room: string, watcher: Watcher): () => void

  /**
   * Puts other bytes in the place of entries, each as one act: how what a person wrote is erased. Positions, order and times
   * stay, and no reader sees a hole; watchers are not told. Resolves with how many entries are as wanted: one that is not
   * what `was` says, or is not there, is left alone and does not count. Of another epoch: 0.
   * Dear for the engine, so many at once are better than few: at most REWRITINGS_MAX.
   */
  rewrite (room: string, epoch: string, changes: readonly Rewriting[]): Promise<number>

  /**
   * Takes out of what the engine keeps for its own working (a journal, a stream) all that was rewritten before this call.
   * To be called until it resolves with true; false: consumers of the feed have still to read it.
   */
  scrubbing (): () => Promise<boolean>

  /** Ends the room's log for good: entries, state and nonces go, watchers are told `lost`; a later one has a new epoch. */
  remove (room: string): Promise<void>

  /** Null: this log takes each draft as it comes. */
  readonly rhythm: Rhythm | null

  /** Publishes what was accepted, then lets go. Later calls reject with `unavailable`. */
  close (): Promise<void>
}
