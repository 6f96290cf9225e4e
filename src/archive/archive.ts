// The archive: every entry of every room for as long as it is kept, in ClickHouse or in chDB, ClickHouse as a library.
// This is the face that both engines implement and `archive.suite.ts` holds them to; the guarantees are written here and
// nowhere else. What there is to read is in schema.ts: tables, and the view `chat` for readers.
//
//   archiver ─▶ insert ─┐                        ┌─▶ ClickHouse over HTTP (CLICKHOUSE_URL)
//   readers  ─▶ query  ─┼─ limits, deadlines ─▶ ─┤
//   exports  ─▶ stream ─┘                        └─▶ a child process with chDB (DATA_DIR/archive)
//
// Values go into SQL only as parameters, `{name:Type}`: text is never put together to SQL. Must not know what is asked,
// nor rooms, nor HTTP. Bounds: every call has limits; so many reads at once as the engine says, the others are refused.

/** What a read may cost. What is over ends with an AppError, never with an answer that is silently cut. */
export interface Limits {
  /** Time that it may take in the engine; the caller has an answer some seconds after it at the latest. */
  readonly seconds: number
  /** Rows that it may give back; those of a stream are not counted. */
  readonly rowsMax: number
  /** Rows that it may read to find them; 50 million when left out. */
  readonly readRowsMax?: number
  /** Memory that it may take; 512 when left out. */
  readonly memoryMb?: number
}

/** Values of `{name:Type}` in the SQL. Times as numbers (Unix seconds, or milliseconds for fromUnixTimestamp64Milli). */
export type Params = Readonly<Record<string, string | number | boolean | readonly string[] | readonly number[]>>

/** A row as ClickHouse writes it in JSON: numbers of 64 bits are numbers too (a seq has 53), a DateTime64 is a text in UTC. */
export type Row = Readonly<Record<string, unknown>>

/** Rows as bytes, made once: format JSONCompactEachRow, a line for each. */
export interface Lines {
  readonly columns: readonly string[]
  readonly bytes: Uint8Array
  readonly count: number
}

/** Tables that rows are put into (schema.ts). */
export type Table = 'messages' | 'audit' | 'viewers' | 'highlights'

export type ExportFormat = 'ndjson' | 'parquet'

export type ArchiveState =
  /** Answers. */
  | { readonly state: 'ok' }
  /** Begins, or is away: tried again without end. */
  | { readonly state: 'away', readonly reason: string }
  /** There is none in this process, for good: switched off, the optional package is not installed, or it is of a newer program. */
  | { readonly state: 'none', readonly reason: string }

export interface Archive {
  /** Begins to open it in the background: chat does not wait for the archive. One of a newer program is not opened: `none`. */
  start (): void

  readonly verdict: ArchiveState

  /**
   * The rows that the query gives, all of them. No FORMAT and no SETTINGS in `sql`; it can change nothing.
   *
   * Throws AppError `unavailable` (away, or none: `verdict` says why), `overloaded` (too many reads now, or over the time
   * or memory limit) or `bad_request` (over the limit of rows: the caller must ask for less). Anything else is our mistake.
   */
  query<R extends object = Row> (sql: string, params: Params, limits: Limits): Promise<R[]>

  /**
   * The same as bytes, piece by piece, read no faster than they are taken: for exports. Ends the query when the loop over
   * it is left or `signal` aborts. Throws as `query` does; also in the middle, so a stream that ends by itself is whole.
   */
  stream (sql: string, params: Params, limits: Limits, format: ExportFormat, signal?: AbortSignal): AsyncIterable<Uint8Array>

  /**
   * Adds rows: all of them are there, durably and in every view made of the table, when it resolves. When it rejects any
   * part of them may be. Every table is a set, by the key that schema.ts says, so adding the same row again changes nothing
   * that is read by `FINAL` or by the views.
   *
   * Throws AppError `unavailable` or `overloaded` when the world failed; anything else means that a row is at fault.
   */
  insert (table: Table, rows: Lines | readonly Row[]): Promise<void>

  /** Any other statement: ours, of no user's making. Resolves once it is done, within `seconds` (60). Throws as `insert` does. */
  command (sql: string, params?: Params, seconds?: number): Promise<void>

  /** Lets what is under way end, and lets go. May be called twice. */
  close (): Promise<void>
}

/** What an archive tells the operator; never a row's text. */
export type Say = (level: 'info' | 'warn' | 'error', message: string, details?: Readonly<Record<string, unknown>>) => void
