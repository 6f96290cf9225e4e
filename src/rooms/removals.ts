// What is gone from a room: single messages, all of a user up to a seq, everything up to a seq. Learned from the room's
// guarded state when it is opened and from every REMOVE entry after; asked about every entry that is read from the log,
// so that nothing removed is ever passed on again, by whichever way it is read. The newest REMOVE entries are kept, for
// viewers who were too slow for the ring: what they are shown must be taken away all the same.
// Bound: what the room's state may hold (moderation/guard.ts), and RECENT_MAX entries.

import { unpack } from '../../proto/codec.ts'
import { entryAuthor, entryOp, entrySeq, erasedEntry, removedEntry, unmentioned } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import type { Guard } from '../moderation/moderation.ts'

const RECENT_MAX = 500

export class Removals {
  #recent: Uint8Array[] = []
  readonly #seqs = new Set<number>()
  readonly #users = new Map<string, number>()
  /** Users of those who were erased: their mentions go too. The same in UTF-8. */
  readonly #erased = new Map<string, Buffer>()
  #cleared = 0

  /** Everything up to this seq is gone, as if the log began behind it. */
  get cleared (): number { return this.#cleared }
  get isEmpty (): boolean { return this.#cleared === 0 && this.#seqs.size === 0 && this.#users.size === 0 }

  /** Takes over what the room's state says; what is known already stays. */
  learn (guard: Guard): void {
    for (const seq of guard.removed) this.#seqs.add(seq)
    for (const [user, upTo] of guard.purged) this.#purge(user, upTo)
    this.#clear(guard.cleared)
  }

  /** Takes in a REMOVE entry. Returns the seqs that it may concern, from and to both included, and its target. */
  apply (entry: Uint8Array): { from: number, to: number, target: Record<string, unknown> } {
    const [, , , target] = unpack(entry) as [number, number, number, Record<string, unknown>]
    this.#recent.push(entry)
    if (this.#recent.length > RECENT_MAX * 2) this.#recent = this.#recent.slice(-RECENT_MAX)
    const { seq, user, upTo } = target
    if (typeof user === 'string' && target['erased'] === true) this.#erased.set(user, Buffer.from(user))
    const to = typeof seq === 'number' ? seq : Number(upTo ?? 0)
    if (typeof seq === 'number') this.#take(seq)
    else if (typeof user === 'string') this.#purge(user, to)
    else if (target['all'] === true) this.#clear(to)
    return { from: typeof seq === 'number' ? seq : 1, to, target }
  }

  /** The first REMOVE entry from the seq `from` up to, not including, `to`; undefined when none is known. */
  between (from: number, to: number): Uint8Array | undefined {
    return this.#recent.find((entry) => entrySeq(entry) >= from && entrySeq(entry) < to)
  }

  /** The entry, or what stands in its place. */
  redact (entry: Uint8Array): Uint8Array {
    if (this.isEmpty) return entry
    const op = entryOp(entry)
    if (op === OUT.REMOVE && this.#seqs.has(entrySeq(entry))) return erasedEntry(entry)
    if (op !== OUT.MESSAGE && op !== OUT.EDIT) return entry
    if (this.#concerns(entry)) return removedEntry(entry)
    return this.#erased.size === 0 ? entry : this.#unmentioned(entry)
  }

  #unmentioned (entry: Uint8Array): Uint8Array {
    let left = entry
    for (const [user, bytes] of this.#erased) {
      if (entrySeq(entry) <= (this.#users.get(user) ?? 0) && Buffer.from(left.buffer, left.byteOffset, left.length).includes(bytes)) left = unmentioned(left, user) ?? left
    }
    return left
  }

  /** A removal may be removed itself: one that names a person who was erased. */
  #take (seq: number): void {
    this.#seqs.add(seq)
    this.#recent = this.#recent.filter((entry) => entrySeq(entry) !== seq)
  }

  #concerns (entry: Uint8Array): boolean {
    const seq = entrySeq(entry)
    if (seq <= this.#cleared || this.#seqs.has(seq)) return true
    return this.#users.size > 0 && seq <= (this.#users.get(entryAuthor(entry)) ?? 0)
  }

  #purge (user: string, upTo: number): void {
    this.#users.set(user, Math.max(this.#users.get(user) ?? 0, upTo))
  }

  #clear (upTo: number): void {
    if (upTo <= this.#cleared) return
    this.#cleared = upTo
    for (const seq of this.#seqs) if (seq <= upTo) this.#seqs.delete(seq)
    for (const [user, to] of this.#users) if (to <= upTo) this.#users.delete(user)
  }
}
