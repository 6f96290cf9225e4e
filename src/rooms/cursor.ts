// A reader that pulls, for event streams: it asks for the next run when it has written the last one, so its pace is its
// own and the room holds nothing for it but its place.

import type { Identity } from '../auth/auth.ts'
import type { Refusal } from '../base/errors.ts'
import type { Reader, Step } from './reader.ts'
import type { Room } from './room.ts'

const STEP_BYTES = 65_536

/** A run of entries; why the room let the reader go (deleted, closed to it, to be opened anew); `closed`: the cursor was closed. */
export type CursorStep = Step | Refusal | 'closed'

export class Cursor {
  readonly epoch: string
  readonly recovered: boolean
  /** Seq before the first entry that will come. */
  readonly start: number
  /** Seq of the room's head when the cursor was made: history ends here. */
  readonly head: number
  readonly identity: Identity | null
  readonly #room: Room
  readonly #reader: Reader
  readonly #onClose: () => void
  #ended: Refusal | null = null
  #isClosed = false
  #waiting: (() => void) | null = null

  constructor (room: Room, reader: Reader, recovered: boolean, identity: Identity | null, onClose: () => void) {
    this.#room = room
    this.#reader = reader
    this.#onClose = onClose
    this.identity = identity
    this.epoch = room.epoch
    this.recovered = recovered
    this.start = reader.next - 1
    this.head = room.flushed
  }

  /** Waits until there is something to read. Call it again only after it resolved; rejects with the log's AppError. */
  async next (): Promise<CursorStep> {
    for (;;) {
      if (this.#isClosed) return 'closed'
      if (this.#ended !== null) return this.#ended
      // Without an await where none is needed: a wake between looking and waiting would be lost.
      const taken = this.#room.take(this.#reader, STEP_BYTES)
      const step = taken instanceof Promise ? await taken : taken
      if (step !== null) return step
      if (taken instanceof Promise) continue
      await new Promise<void>((resolve) => { this.#waiting = resolve })
    }
  }

  /** The room has more. */
  wake (): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.()
  }

  /** The room lets the reader go, at once: what it has not read yet may not be for it any more. */
  end (why: Refusal): void {
    this.#ended = why
    this.wake()
  }

  /** Lets go of the place; a next() that waits resolves with `closed`. */
  close (): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#onClose()
    this.wake()
  }
}
