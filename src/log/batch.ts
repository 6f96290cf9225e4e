// One group commit in the making. Acts are staged in the order in which they came, each upon the result of the ones
// before it; nothing is written or changed until the log makes the whole a transaction, so a commit that fails leaves
// no trace: seqs, numbers and state start again from what is durable.

import { randomBytes } from 'node:crypto'
import { encodeEntries, entryLength, type EntryDraft } from '../../proto/entry.ts'
import { AppError } from '../base/errors.ts'
import { packState, type HeadRecord } from './layout.ts'
import { StateConflict, warnOfUntold, type Draft, type Head, type Outcome, type Rewriting, type RoomState, type StatePatch } from './log.ts'
import type { NonceHash } from './nonce-filter.ts'
import type { Append, Change, Rewrite, Span } from './record.ts'

/** What waits in the log's queue: an entry to append, a log to make, entries to rewrite, a log to end. */
export type Act = Publishing | Making | Rewriters | Removing

export interface Publishing extends Outcome {
  readonly kind: 'publish'
  readonly room: string
  readonly draft: Draft
  /** Of the draft's nonce; null when it has none. */
  readonly hash: NonceHash | null
}

export interface Making {
  readonly kind: 'make'
  readonly room: string
  readonly resolve: (head: Head) => void
  readonly reject: (error: unknown) => void
}

export interface Rewriters {
  readonly kind: 'rewrite'
  readonly room: string
  readonly epoch: string
  readonly changes: readonly Rewriting[]
  readonly resolve: (count: number) => void
  readonly reject: (error: unknown) => void
}

export interface Removing {
  readonly kind: 'remove'
  readonly room: string
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** The durable past that a batch builds on. */
export interface Ground {
  readonly now: number
  /** The number that the next new log gets. */
  readonly next: number
  head (room: string): HeadRecord | null
  state (number: number): RoomState
  entry (number: number, seq: number): Uint8Array | undefined
}

/** What watchers of a room are to be told: a run of entries, or null for lost. */
export interface Event { readonly room: string, readonly entries: Uint8Array[] | null }
type Working = { -readonly [K in keyof HeadRecord]: HeadRecord[K] }
/** Entries of one room, which become bytes together. */
interface Run { readonly entries: Uint8Array[], readonly drafts: EntryDraft[], readonly appends: { bytes: Uint8Array }[] }

/** Why an act of a batch is not done. */
class Refused {
  readonly error: AppError
  constructor (error: AppError) {
    this.error = error
  }
}

const NO_BYTES = new Uint8Array(0)

export const EMPTY_STATE: RoomState = { seq: 0, settings: {}, guarded: {} }

export class Batch implements Change {
  readonly ground: Ground
  next: number
  /** Heads as they will be; null: the log is gone. */
  readonly heads = new Map<string, Working | null>()
  /** States as they will be, packed; null: gone. By number. */
  readonly states = new Map<number, { readonly state: RoomState, readonly bytes: Uint8Array } | null>()
  readonly appends: Append[] = []
  readonly removed: Span[] = []
  /** Entries that retention lets go. */
  readonly expired: Span[] = []
  readonly rewrites: Rewrite[] = []
  readonly #rewritten = new Set<string>()
  readonly events: Event[] = []
  /** Acts, and what each is to be told once the batch is durable: before that it may be told of a failure. */
  readonly #acts: Act[] = []
  readonly #results: unknown[] = []
  readonly #runs = new Map<string, Run>()
  readonly #sealed: Run[] = []
  #isChanged = false

  constructor (ground: Ground) {
    this.ground = ground
    this.next = ground.next
  }

  /** Nothing to write: only questions that the durable past answers. */
  get isEmpty (): boolean { return !this.#isChanged }

  /** Stages an act. One that cannot be (its patch is not data) is refused alone and leaves nothing behind. */
  add (act: Act): void {
    try {
      if (act.kind === 'publish') this.#publish(act)
      else if (act.kind === 'make') this.#make(act)
      else if (act.kind === 'rewrite') this.#rewrite(act)
      else this.#remove(act)
    } catch (error) {
      this.#tell(act, new Refused(error instanceof AppError ? error : new AppError('internal', 'the log could not take this entry', { cause: error })))
    }
  }

  /** Stages that the oldest `count` entries of a log go. */
  expire (room: string, count: number, bytes: number): void {
    const head = this.#head(room)
    if (head === null) return
    this.#isChanged = true
    this.expired.push({ number: head.number, first: head.first, seq: head.first + count - 1 })
    head.first += count
    head.bytes -= bytes
  }

  /** Nothing more is staged: makes the entries' bytes, those of a room together, since they are kept and let go together. */
  seal (): void {
    for (const { entries, drafts, appends } of this.#sealed) {
      const encoded = encodeEntries(drafts)
      for (let at = 0; at < encoded.length; at++) {
        const bytes = encoded[at] as Uint8Array
        entries.push(bytes)
        ;(appends[at] as { bytes: Uint8Array }).bytes = bytes
      }
    }
  }

  /** The batch is durable: answers every act, in order. */
  resolve (): void {
    for (let at = 0; at < this.#acts.length; at++) {
      const act = this.#acts[at] as Act
      const result = this.#results[at]
      try {
        if (result instanceof Refused) act.reject(result.error)
        else act.resolve(result as never)
      } catch (error) {
        warnOfUntold(error)
      }
    }
  }

  #tell (act: Act, result: unknown): void {
    this.#acts.push(act)
    this.#results.push(result)
  }

  #publish (act: Publishing): void {
    const { draft, room } = act
    const known = this.#head(room)
    if (draft.epoch !== undefined && draft.epoch !== known?.epoch) throw new AppError('not_found', 'the room was deleted')
    if (draft.atState !== undefined && draft.atState !== this.#stateOf(known).seq) throw new StateConflict()
    const state = draft.patch === undefined ? null : this.#merge(known, draft.patch)
    const head = known ?? this.#create(room)
    this.#isChanged = true
    const seq = head.seq + 1
    const ts = Math.max(this.ground.now, head.lastTs)
    const entry = { op: draft.op, seq, ts, tail: draft.tail }
    head.seq = seq
    head.lastTs = ts
    head.bytes += entryLength(entry)
    if (state !== null) this.states.set(head.number, state)
    const { author, nonce } = draft
    const append = { number: head.number, seq, ts, bytes: NO_BYTES, nonce: nonce === null || act.hash === null ? null : { hash: act.hash, author, nonce } }
    this.appends.push(append)
    const run = this.#run(room)
    run.drafts.push(entry)
    run.appends.push(append)
    this.#tell(act, { epoch: head.epoch, seq, ts, repeated: false })
  }

  #make (act: Making): void {
    const { epoch, first, seq } = this.#head(act.room) ?? this.#create(act.room)
    this.#tell(act, { epoch, first, seq })
  }

  /** Only entries that are durable can be rewritten: what is staged before this in the same batch has no bytes yet. */
  #rewrite (act: Rewriters): void {
    const { room, epoch, changes } = act
    const head = this.#head(room)
    let count = 0
    for (const { seq, was, becomes } of head?.epoch === epoch ? changes : []) {
      const { number, first } = head as Working
      const now = seq < first ? undefined : this.ground.entry(number, seq)
      const key = `${number}:${seq}`
      if (now === undefined || Buffer.compare(now, was) !== 0 || this.#rewritten.has(key)) continue
      this.#rewritten.add(key)
      this.#isChanged = true
      this.rewrites.push({ number, seq, bytes: becomes })
      ;(head as Working).bytes += becomes.length - now.length
      count++
    }
    this.#tell(act, count)
  }

  #remove (act: Removing): void {
    const head = this.#head(act.room)
    this.#tell(act, undefined)
    if (head === null) return
    this.#isChanged = true
    this.heads.set(act.room, null)
    this.states.set(head.number, null)
    this.removed.push({ number: head.number, first: head.first, seq: head.seq })
    this.events.push({ room: act.room, entries: null })
    this.#runs.delete(act.room)
  }

  #head (room: string): Working | null {
    const staged = this.heads.get(room)
    if (staged !== undefined) return staged
    const durable = this.ground.head(room)
    if (durable === null) return null
    const head = { ...durable }
    this.heads.set(room, head)
    return head
  }

  #create (room: string): Working {
    this.#isChanged = true
    const head = { number: this.next++, epoch: randomBytes(9).toString('base64url'), first: 1, seq: 0, bytes: 0, lastTs: 0 }
    this.heads.set(room, head)
    return head
  }

  #run (room: string): Run {
    let run = this.#runs.get(room)
    if (run === undefined) {
      run = { entries: [], drafts: [], appends: [] }
      this.#runs.set(room, run)
      this.#sealed.push(run)
      this.events.push({ room, entries: run.entries })
    }
    return run
  }

  #stateOf (head: HeadRecord | null): RoomState {
    return head === null ? EMPTY_STATE : this.states.get(head.number)?.state ?? this.ground.state(head.number)
  }

  #merge (head: HeadRecord | null, patch: StatePatch): { state: RoomState, bytes: Uint8Array } {
    const before = this.#stateOf(head)
    const state = {
      seq: (head?.seq ?? 0) + 1,
      settings: merged(before.settings, patch.settings),
      guarded: merged(before.guarded, patch.guarded)
    }
    return { state, bytes: packState(state) }
  }
}

function merged (before: Readonly<Record<string, unknown>>, patch: Readonly<Record<string, unknown>> | undefined): Readonly<Record<string, unknown>> {
  if (patch === undefined) return before
  const keys = new Map(Object.entries(before))
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined) keys.delete(key)
    else keys.set(key, value)
  }
  return Object.fromEntries(keys)
}
