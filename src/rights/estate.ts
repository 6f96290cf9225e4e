// What else keeps things about people, beside rooms and records: the archive. Whoever does stands behind this interface,
// and is asked by every erasure and every export.

export interface Estate {
  readonly name: string
  /**
   * Erases everything about the user, or puts the pseudonym in its place where it is about others too; resolves when no read
   * finds it any more, and what still comes in from before does not bring it back. May be called again at any time.
   * Rejects with AppError `unavailable`.
   */
  erase (user: string, pseudonym: string): Promise<void>
  /** Everything about the user, each record with its `type`. Rejects with AppError `unavailable`. */
  export (user: string): AsyncIterable<Readonly<Record<string, unknown>>>
}
