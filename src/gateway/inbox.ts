// Messages of authors that wait for the log, unread: while commits are paced (log/writer.ts) nothing that is read now would
// be stored before the next, so what comes meanwhile is kept as bytes and read in one go just before it. Read one by one,
// as they come in ones and twos, each message finds its code and data gone from the processor's caches. That
// commit is asked for when the rooms of the author can show what it holds: at the end of a hot room's window, or at once.
//
//   socket ──▶ SEND while many come ──▶ kept ──▶ the log is about to take what waits ──▶ read all ──▶ ingest
//          └─▶ anything else ──▶ read at once (behind what its connection has waiting here)
//
// Owns the bytes it keeps, INBOX_MAX messages and BYTES_MAX; must not know what they say beyond the op of the first frame.

import { IN } from '../../proto/ops.ts'
import type { Clock } from '../base/clock.ts'
import type { Rhythm } from '../log/log.ts'
import type { Session } from './session.ts'

/** With so much waiting it is read without waiting for the commit, and so is what comes until then: it comes in bursts anyway. */
const INBOX_MAX = 256
const BYTES_MAX = 131_072
/** Larger messages are rare and not worth keeping. */
const KEPT_BYTES_MAX = 2048

/** Reads a message: the bytes from `from` up to `end`, which are good until it returns. Must not throw. */
export type Read = (session: Session, bytes: Uint8Array, from: number, end: number) => void

export class Inbox {
  readonly #rhythm: Rhythm
  readonly #clock: Clock
  readonly #read: Read
  /** What waits: bytes one behind the other in the same memory every time, and for each message its session, end and arrival. */
  readonly #bytes = Buffer.allocUnsafeSlow(BYTES_MAX)
  readonly #sessions = new Array<Session | null>(INBOX_MAX).fill(null)
  readonly #ends = new Float64Array(INBOX_MAX)
  readonly #times = new Float64Array(INBOX_MAX)
  #count = 0
  #isFull = false
  /** The commit that comes next, counted from the start. */
  #commit = 0
  #arrivedAt: number | null = null

  constructor (rhythm: Rhythm, clock: Clock, read: Read) {
    this.#rhythm = rhythm
    this.#clock = clock
    this.#read = read
    rhythm.listen(() => {
      this.#isFull = false
      this.#commit++
      this.readAll()
    })
  }

  /** When the message that is being read arrived, by clock.elapsed(); now for one that did not wait. */
  get arrivedAt (): number { return this.#arrivedAt ?? this.#clock.elapsed() }

  /** Keeps a copy of the message until the log's next commit; false: it is to be read now. */
  keep (session: Session, bytes: Uint8Array): boolean {
    const start = this.#count === 0 ? 0 : this.#ends[this.#count - 1] as number
    if (!this.#rhythm.isGathering || this.#isFull || bytes[1] !== IN.SEND || bytes.length > KEPT_BYTES_MAX) {
      this.readOf(session)
      return false
    }
    const now = this.#clock.elapsed()
    this.#bytes.set(bytes, start)
    this.#sessions[this.#count] = session
    this.#ends[this.#count] = start + bytes.length
    this.#times[this.#count] = now
    this.#count++
    // Once for each commit: what comes later of the same connection wants it no sooner.
    if (session.askedFor !== this.#commit) {
      session.askedFor = this.#commit
      this.#rhythm.want(session.askCommit(now))
    }
    if (this.#count === INBOX_MAX || start + bytes.length + KEPT_BYTES_MAX > BYTES_MAX) {
      this.#isFull = true
      this.readAll()
    }
    return true
  }

  /** Reads what waits if any of it is the session's: frames of one connection are read in their order, and before it is gone. */
  readOf (session: Session): void {
    if (this.#count > 0 && this.#sessions.includes(session)) this.readAll()
  }

  /** Reads what waits. */
  readAll (): void {
    const count = this.#count
    this.#count = 0
    for (let at = 0, from = 0; at < count; at++) {
      const session = this.#sessions[at] as Session
      const end = this.#ends[at] as number
      this.#sessions[at] = null
      this.#arrivedAt = this.#times[at] as number
      this.#read(session, this.#bytes, from, end)
      from = end
    }
    this.#arrivedAt = null
  }
}
