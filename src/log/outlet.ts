// The way out of a room log for programs at the back (moderation, archive, notifications): named consumers with durable
// cursors, fed in order. Part of the log's face, since only an engine knows how it finds out what moved; the feed (feed/)
// turns it into records. Both engines' outlets stand behind this one interface.
//
//   entries ──▶ log ──▶ [what moved past the consumer's cursor] ──▶ take(runs) ──▶ true: the cursor moves on
//                                                                            └──▶ false: it does not
//
// Must not know what entries mean, nor who consumes them.

/** Consecutive entries of one room, oldest first. The bytes are shared: never change them. */
export interface OutletRun {
  readonly room: string
  readonly epoch: string
  readonly entries: readonly Uint8Array[]
}

export interface OutletOptions {
  /** Of a consumer that is not known yet: all that the engine still keeps, or what comes from now on. */
  readonly from: 'beginning' | 'now'
  /** Whether the room's entries are wanted at all; others are skipped unread. */
  readonly wants: (room: string) => boolean
  /** Entries in one call of `take`, about. */
  readonly entriesMax: number
  /**
   * Takes runs; true acknowledges all of them. One call at a time per room; an engine of several streams makes several
   * at once. Must not reject. After false nothing more is given to this consumer in this process.
   */
  readonly take: (runs: readonly OutletRun[]) => Promise<boolean>
  /** Entries that were let go before this consumer had them, over the cap; room '': of rooms that are not known, and about. */
  readonly lost: (room: string, count: number) => void
}

export interface OutletLag {
  /** Entries that are in the log and not acknowledged, about. */
  readonly entries: number
  /** Age of the oldest that is being worked on; 0 when nothing is. */
  readonly seconds: number
}

export interface OutletConsumer {
  lag (): OutletLag
  /** Gives nothing more; resolves when no `take` is under way and the cursors are durable. May be called twice. */
  stop (): Promise<void>
}

/**
 * - **Every entry at least once, in order per room**, from the consumer's beginning on, also over restarts and deaths:
 *   the cursor is durable within half a second of the acknowledgement, so what was taken just before a death is given again.
 * - **Never past a consumer**: retention and trimming wait for the cursors of open consumers (behind a network: of all that
 *   were open within CONSUMER_KEPT_MS), up to a cap of what is unread; beyond it entries go, and the consumer is told.
 * - **Shared**: several processes that open the same name share its work where the log is shared; each room is with one
 *   of them at a time.
 * - What was removed with its whole room before it was read is not given.
 */
export interface Outlet {
  /** Registers the consumer durably when it is new, and begins. Rejects with AppError `unavailable`. */
  open (consumer: string, options: OutletOptions): Promise<OutletConsumer>
}

/** How long a consumer that does not come back is remembered. */
export const CONSUMER_KEPT_MS = 7 * 86_400_000
