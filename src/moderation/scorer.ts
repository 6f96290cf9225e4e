// What a scorer is: an opinion on messages, one by one or many at once, from rules or from a model elsewhere. It does not
// act: verdicts.ts makes actions of what it says, with hysteresis. Must not know rooms, the feed or permissions.

/** A message as scorers see it. */
export interface Scorable {
  readonly room: string
  readonly epoch: string
  readonly seq: number
  /** Unix milliseconds. */
  readonly ts: number
  readonly user: { readonly id: string, readonly name: string, readonly roles: number }
  readonly body: string
}

export interface Score {
  /** 0: nothing wrong, 1: as bad as it gets. From REMOVE_SCORE on the message itself goes. */
  readonly score: number
  /** One word: `flood`, `raid`. */
  readonly label: string
  /** A sentence for the audit and the author, without the label. */
  readonly why: string
}

export interface Scorer {
  /** `[a-z]{1,20}`; names its consumer in the feed. */
  readonly name: string
  /**
   * Scores in the order of the messages, which are in order per room; null: no opinion. Rejects with an AppError that
   * `canRetry` while it is away: then the same messages are asked for again.
   */
  score (messages: readonly Scorable[]): Promise<readonly (Score | null)[]>
  start? (): Promise<void>
  stop? (): void
}
