// Erases a person from one log, the same way however often and from wherever it is begun again:
//
//   scan ─▶ REMOVE {user, upTo, erased} ─▶ other bytes for the entries ─▶ scan what came since ─▶ the room's state
//            (viewers, rings: at once)      (positions stay)              (finds the REMOVE: marked for its own end)
//
// So whoever is shown anything while it goes on is told that it is gone before the bytes are, and a death at any point
// leaves each entry either as it was or erased. What others wrote stays theirs, a name within it too; the mention by
// which a machine finds the user does not. Bounds: CHANGES_MAX entries in memory, ROUNDS_MAX rounds.

import { unpack } from '../../proto/codec.ts'
import { encodeEntry, entryAuthor, entryOp, entrySeq, entryTs, erasedEntry, isRemoved, packTail, unmentioned } from '../../proto/entry.ts'
import { OUT, type EntryOp } from '../../proto/ops.ts'
import { AppError } from '../base/errors.ts'
import { StateConflict, type Log, type Rewriting } from '../log/log.ts'
import { rowWithout, stateWithout } from '../moderation/moderation.ts'
import type { Mark } from './jobs.ts'
import { scan } from './scan.ts'

export interface Erasure {
  readonly log: Log
  readonly user: string
  readonly pseudonym: string
  /** Names the removals, so that one which was published before a death is found again. */
  readonly id: string
  readonly now: () => number
  readonly mark: (mark: Mark) => Promise<void>
  /** Called now and then; throws to end the work. */
  readonly beat: () => Promise<void>
}

const CHANGES_MAX = 5000
/** Somebody who writes on and on is not caught up with for ever. */
const ROUNDS_MAX = 20
const TRIES_MAX = 20

/** Erases the person from a room: messages, what its state says. Resolves with how many entries were changed. */
export async function eraseFromRoom (erasure: Erasure, room: string): Promise<number> {
  const seqs = new Set<number>()
  let count = 0
  let after = 0
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const marks: number[] = []
    const { head, changes } = await gather(erasure, room, after, (entry) => changed(entry, erasure, { seqs, marks }))
    if (head === null) break
    for (const seq of marks) await erasure.mark({ room, epoch: head.epoch, seq })
    if (changes.some(({ was }) => entryOp(was) === OUT.MESSAGE)) await announce(erasure, room, head.seq)
    const done = await erasure.log.rewrite(room, head.epoch, changes)
    count += done
    if (done === changes.length) after = head.seq
    if (changes.length === 0) break
  }
  await forget(erasure, room, seqs)
  return count
}

/** Erases the person from the audit log: rows about others stay, under the pseudonym. */
export function eraseFromAudit (erasure: Erasure, room: string): Promise<number> {
  return eraseBy(erasure, room, (entry) => {
    const [op, seq, ts, row] = unpack(entry) as [EntryOp, number, number, Parameters<typeof rowWithout>[0]]
    const left = rowWithout(row, erasure.user, erasure.pseudonym)
    return left === null ? null : encodeEntry(op, seq, ts, packTail([left]))
  })
}

/** Erases what names the person in a log of records (notifications, dead letters), whole. */
export function eraseRecords (erasure: Erasure, room: string): Promise<number> {
  return eraseBy(erasure, room, (entry) => names(unpack(entry), erasure.user) ? erasedEntry(entry) : null)
}

/** The removal that told of the erasing has done its work: it goes too, also from what instances hold in memory. */
export async function eraseMark ({ log, id }: Erasure, { room, epoch, seq }: Mark): Promise<void> {
  const { entries } = await log.after(room, seq - 1, { entries: 1, bytes: 1 })
  const [was] = entries
  if (was !== undefined && entrySeq(was) === seq && entryOp(was) === OUT.REMOVE) await log.rewrite(room, epoch, [{ seq, was, becomes: erasedEntry(was) }])
  await log.publish(room, { op: OUT.REMOVE, tail: packTail([{ seq }, null]), author: 'uproar', nonce: `${id}.${seq}.gone`, epoch }).catch((error: unknown) => {
    // The room was deleted.
    if (!(error instanceof AppError) || error.code !== 'not_found') throw error
  })
}

async function eraseBy (erasure: Erasure, room: string, become: (entry: Uint8Array) => Uint8Array | null): Promise<number> {
  let count = 0
  for (let after = 0; ;) {
    const { head, changes } = await gather(erasure, room, after, become)
    if (head === null) return count
    const done = await erasure.log.rewrite(room, head.epoch, changes)
    count += done
    // Others were changed by another meanwhile: they are looked at again.
    if (done === changes.length) after = head.seq
  }
}

/** The next entries that are to be others, and up to where was looked; head null: nothing was there to look at. */
async function gather (erasure: Erasure, room: string, after: number, become: (entry: Uint8Array) => Uint8Array | null): Promise<{ head: { epoch: string, seq: number } | null, changes: Rewriting[] }> {
  const changes: Rewriting[] = []
  let head: { epoch: string, seq: number } | null = null
  for await (const { epoch, entries, upTo } of scan(erasure.log, room, erasure.user, after)) {
    head = { epoch, seq: upTo }
    for (const was of entries) {
      const becomes = isRemoved(was) ? null : become(was)
      if (becomes !== null) changes.push({ seq: entrySeq(was), was, becomes })
    }
    await erasure.beat()
    if (changes.length >= CHANGES_MAX) break
  }
  return { head, changes }
}

/** An entry of a room without the person; null when it is not about the person. */
function changed (entry: Uint8Array, { user, pseudonym }: Erasure, { seqs, marks }: { seqs: Set<number>, marks: number[] }): Uint8Array | null {
  if (entryOp(entry) === OUT.MESSAGE) {
    if (entryAuthor(entry) !== user) return unmentioned(entry, user)
    seqs.add(entrySeq(entry))
    return erasedEntry(entry)
  }
  if (entryOp(entry) !== OUT.REMOVE) return null
  const [, , , target, by] = unpack(entry) as [number, number, number, Record<string, unknown>, string | null]
  if (target['erased'] === true && target['user'] === user) marks.push(entrySeq(entry))
  if (target['erased'] === true || (target['user'] !== user && by !== user)) return null
  return encodeEntry(OUT.REMOVE, entrySeq(entry), entryTs(entry), packTail([target['user'] === user ? { ...target, user: pseudonym } : target, by === user ? pseudonym : by]))
}

/** Viewers, rings and consumers are told that everything of the user up to here is gone. */
function announce ({ log, user, id }: Erasure, room: string, upTo: number): Promise<unknown> {
  const target = { user, upTo, erased: true }
  return log.publish(room, { op: OUT.REMOVE, tail: packTail([target, null]), author: 'uproar', nonce: `${id}.${upTo}`, patch: { guarded: { [`purged:${user}`]: upTo } } })
}

/** What the room's state says of the person goes, on every instance. */
async function forget ({ log, user, pseudonym, now }: Erasure, room: string, seqs: ReadonlySet<number>): Promise<void> {
  for (let tries = 1; ; tries++) {
    const state = await log.state(room)
    const pinned = state.settings['pinned']
    const isPinGone = typeof pinned === 'number' && (seqs.has(pinned) || await isErasedAt(log, room, pinned))
    const patch = stateWithout(state, { user, pseudonym, now: now(), isErased: (seq) => seqs.has(seq) || (isPinGone && seq === pinned) })
    if (patch === null) return
    try {
      await log.publish(room, { op: OUT.STATE, tail: packTail([patch.settings]), author: 'uproar', nonce: null, patch, atState: state.seq })
      return
    } catch (error) {
      if (!(error instanceof StateConflict) || tries === TRIES_MAX) throw error
    }
  }
}

async function isErasedAt (log: Log, room: string, seq: number): Promise<boolean> {
  const { entries: [entry] } = await log.after(room, seq - 1, { entries: 1, bytes: 1 })
  return entry !== undefined && entrySeq(entry) === seq && isRemoved(entry)
}

/** Whether a text in there, however deep, is the id. */
function names (value: unknown, user: string): boolean {
  if (value === user) return true
  if (typeof value !== 'object' || value === null) return false
  return value instanceof Uint8Array ? Buffer.from(value).includes(user) : Object.entries(value).some(([key, inner]) => key === user || names(inner, user))
}
