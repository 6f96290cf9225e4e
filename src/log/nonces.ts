// Which nonces were published within the dedup window, in two tables that take turns:
//
//   ├── window ──┼── window ──┼── window ──┤      writes go to the current table; when it is one window old the other,
//   │ table 0    │ table 1    │ table 0    │      older one is emptied and takes its place. So expiry is dropping a
//                ▲ 0 is kept  ▲ 0 emptied         table, and a nonce stays for one window at least.
//
// Whether a nonce still counts is decided by its entry's ts, so it is remembered for the window exactly. Writes are
// made within the log's own transaction. Bound: two windows of nonces, on disk; nothing in memory.

import { pack, unpack } from '../../proto/codec.ts'
import { read, type Store, type Table } from '../base/store.ts'
import { META, nonceKey, packPair, readNumber } from './layout.ts'

/** Which table is current and since when. */
export interface Turn {
  readonly current: 0 | 1
  readonly since: number
}

export class Nonces {
  readonly #meta: Table
  readonly #tables: readonly [Table, Table]
  readonly #windowMs: number
  #turn: Turn

  constructor (store: Store, windowMs: number, now: number) {
    this.#meta = store.tables.meta
    this.#tables = [store.tables['nonces-0'], store.tables['nonces-1']]
    this.#windowMs = windowMs
    const stored = read(this.#meta, META.nonces)
    const [current, since] = stored === undefined ? [0, now] : unpack(stored) as [0 | 1, number]
    this.#turn = { current: current as 0 | 1, since }
  }

  /** The seq and ts that the nonce's entry got, if it is durable and within the window. */
  find (number: number, hashed: Uint8Array, now: number): { seq: number, ts: number } | null {
    const key = nonceKey(number, hashed)
    const { current } = this.#turn
    const found = read(this.#tables[current], key) ?? read(this.#tables[1 - current as 0 | 1], key)
    if (found === undefined) return null
    const ts = readNumber(found, 6)
    return now - ts < this.#windowMs ? { seq: readNumber(found), ts } : null
  }

  /** The turn that writes made now belong to. A clock that was put back by more than a window starts a turn too. */
  turn (now: number): Turn {
    const { current, since } = this.#turn
    if (Math.abs(now - since) < this.#windowMs) return this.#turn
    return { current: current === 0 ? 1 : 0, since: now }
  }

  /** Within a transaction, before the first write of a turn: makes it the stored one, with its table empty. */
  begin (turn: Turn): void {
    if (turn === this.#turn) return
    void this.#tables[turn.current].clearAsync()
    void this.#meta.put(META.nonces, pack([turn.current, turn.since]))
  }

  /** Within a transaction: remembers a nonce. */
  write (turn: Turn, number: number, hashed: Uint8Array, seq: number, ts: number): void {
    void this.#tables[turn.current].put(nonceKey(number, hashed), packPair(seq, ts))
  }

  /** The transaction that began this turn is durable. */
  settle (turn: Turn): void {
    this.#turn = turn
  }
}
