// Messages of authors that wait for the log, unread: while commits are paced (log/writer.ts) nothing that is read now would
// be stored before the next, so what comes meanwhile is kept as bytes and read in one go just before it. Read one by one,
// between writes to a thousand sockets, each message finds its code and data pushed out of the processor's caches. That
// commit is asked for when the rooms of the author can show what it holds: at the end of a hot room's window, or at once.
//
//   socket ──▶ SEND while many come ──▶ kept ──▶ the log is about to take what waits ──▶ read all ──▶ ingest
//          └─▶ anything else ──▶ read at once (behind what its connection has waiting here)
//
// Owns the bytes it keeps, INBOX_MAX messages; must not know what they say beyond the op of the first frame.

import { IN } from '../../proto/ops.ts'
import type { Clock } from '../base/clock.ts'
import type { Rhythm } from '../log/log.ts'
import type { Session } from './session.ts'

/** With so many waiting they are read without waiting for the commit, and so is what comes until then: it comes in bursts anyway. */
const INBOX_MAX = 256
/** Larger messages are rare and not worth keeping. */
const KEPT_BYTES_MAX = 2048

interface Waiting { readonly session: Session, readonly bytes: Uint8Array, readonly at: number }

export class Inbox {
  readonly #rhythm: Rhythm
  readonly #clock: Clock
  readonly #read: (session: Session, bytes: Uint8Array) => void
  #waiting: Waiting[] = []
  #isFull = false
  #arrivedAt: number | null = null

  /** `read` must not throw. */
  constructor (rhythm: Rhythm, clock: Clock, read: (session: Session, bytes: Uint8Array) => void) {
    this.#rhythm = rhythm
    this.#clock = clock
    this.#read = read
    rhythm.listen(() => {
      this.#isFull = false
      this.readAll()
    })
  }

  /** When the message that is being read arrived, by clock.elapsed(); now for one that did not wait. */
  get arrivedAt (): number { return this.#arrivedAt ?? this.#clock.elapsed() }

  /** Keeps a copy of the message until the log's next commit; false: it is to be read now. */
  keep (session: Session, bytes: Uint8Array): boolean {
    if (!this.#rhythm.isGathering || this.#isFull || bytes[1] !== IN.SEND || bytes.length > KEPT_BYTES_MAX) {
      // Frames of one connection are read in their order.
      if (this.#waiting.length > 0 && this.#waiting.some((waiting) => waiting.session === session)) this.readAll()
      return false
    }
    this.#waiting.push({ session, bytes: Buffer.from(bytes), at: this.#clock.elapsed() })
    this.#rhythm.want(session.commitDueIn())
    if (this.#waiting.length >= INBOX_MAX) {
      this.#isFull = true
      this.readAll()
    }
    return true
  }

  /** Reads what waits. */
  readAll (): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const { session, bytes, at } of waiting) {
      this.#arrivedAt = at
      this.#read(session, bytes)
    }
    this.#arrivedAt = null
  }
}
