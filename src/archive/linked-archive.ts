// The archive over a link, whichever engine is at its other end: opened in the background and again whenever it is lost,
// schema brought up to date first, reads with limits and in turn, failures told in the face's words.
//
//   start ─▶ away ──open, steps──▶ ok ──a call finds nobody──▶ away ──(0.5 to 10 s)──▶ ok …
//              └── it never can be ──▶ none
//
// Bounds: READS_AT_ONCE reads and STREAMS_AT_ONCE streams, some more that wait for a turn; one insert or command at a time
// a caller. Deadlines: the limits' seconds and GRACE_MS, INSERT_MS, or what the caller says.

import { systemClock, type Timer } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import type { Archive, ArchiveState, ExportFormat, Limits, Lines, Params, Row, Say, Table } from './archive.ts'
import { EngineFault, readFault, writeFault } from './faults.ts'
import { type Link, READS_AT_ONCE, STREAMS_AT_ONCE, Unfit } from './link.ts'
import type { Layout } from './schema.ts'
import { applySteps } from './steps.ts'
import { Turnstile } from './turnstile.ts'

const RETRY_MS = [200, 500, 1000, 2000, 5000, 10_000] as const
/** What the engine gets beyond its own limit before the call is given up. */
const GRACE_MS = 3000
const INSERT_MS = 60_000
const COMMAND_S = 60
const READ_ROWS_MAX = 50_000_000
const MEMORY_MB = 512
const READS_WAITING_MAX = 12
const READ_WAIT_MS = 3000
const OPENING: Limits = { seconds: 10, rowsMax: 10_000 }
/** Written when the call returns, whatever the server's own default; a column that the table does not have is our mistake. */
const INSERT_SETTINGS = { async_insert: 0, input_format_skip_unknown_fields: 0, max_partitions_per_insert_block: 1000, max_execution_time: INSERT_MS / 1000, max_memory_usage: 1_000_000_000 } as const

export interface LinkedOptions {
  readonly link: Link
  readonly layout: Layout
  readonly say: Say
}

export class LinkedArchive implements Archive {
  readonly #link: Link
  readonly #layout: Layout
  readonly #say: Say
  readonly #reads = new Turnstile(READS_AT_ONCE, READS_WAITING_MAX, READ_WAIT_MS)
  readonly #streams = new Turnstile(STREAMS_AT_ONCE, 0, READ_WAIT_MS)
  readonly #closing = new AbortController()
  #verdict: ArchiveState = { state: 'away', reason: 'the archive is not open yet' }
  #opening: Promise<void> | null = null
  #retry: Timer | null = null
  #failures = 0
  #closed: Promise<void> | null = null

  constructor (options: LinkedOptions) {
    this.#link = options.link
    this.#layout = options.layout
    this.#say = options.say
  }

  get verdict (): ArchiveState { return this.#verdict }

  start (): void {
    if (this.#opening === null && this.#verdict.state === 'away' && this.#closed === null) this.#opening = this.#open()
  }

  async query<R extends object = Row> (sql: string, params: Params, limits: Limits): Promise<R[]> {
    this.#assertOpen()
    const place = await this.#reads.enter()
    try {
      return await this.#read<R>(sql, params, limits, place)
    } catch (error) {
      throw this.#noted(error, readFault)
    } finally {
      this.#reads.leave(place)
    }
  }

  async * stream (sql: string, params: Params, limits: Limits, format: ExportFormat, signal?: AbortSignal): AsyncIterable<Uint8Array> {
    this.#assertOpen()
    const place = await this.#streams.enter()
    const either = AbortSignal.any([this.#closing.signal, ...(signal === undefined ? [] : [signal])])
    try {
      yield* this.#link.stream(statement(sql, limits, false), params, format, limits.seconds * 1000 + GRACE_MS, place, either)
    } catch (error) {
      throw either.aborted ? new AppError('unavailable', 'the export was given up') : this.#noted(error, readFault)
    } finally {
      this.#streams.leave(place)
    }
  }

  async insert (table: Table, rows: Lines | readonly Row[]): Promise<void> {
    const lines = 'bytes' in rows ? rows : linesOf(rows)
    if (lines.count === 0) return
    this.#assertOpen()
    try {
      await this.#link.insert(table, lines, INSERT_SETTINGS, INSERT_MS + GRACE_MS)
    } catch (error) {
      throw this.#noted(error, writeFault)
    }
  }

  async command (sql: string, params: Params = {}, seconds = COMMAND_S): Promise<void> {
    this.#assertOpen()
    try {
      await this.#link.command(sql, params, seconds * 1000)
    } catch (error) {
      throw this.#noted(error, writeFault)
    }
  }

  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close (): Promise<void> {
    this.#retry?.cancel()
    this.#verdict = { state: 'away', reason: 'the archive is closed' }
    this.#closing.abort()
    this.#reads.close()
    this.#streams.close()
    await this.#link.close()
    await this.#opening
  }

  async #open (): Promise<void> {
    try {
      await this.#link.open()
      await applySteps({ command: (sql) => this.#link.command(sql, {}, COMMAND_S * 1000), query: (sql) => this.#read(sql, {}, OPENING, 0) }, this.#layout)
      if (this.#closed !== null) return
      if (this.#failures > 0) this.#say('info', 'the archive is there')
      this.#verdict = { state: 'ok' }
      this.#failures = 0
    } catch (error) {
      await this.#cannotOpen(error)
    } finally {
      this.#opening = null
    }
  }

  async #cannotOpen (error: unknown): Promise<void> {
    if (this.#closed !== null) return
    const reason = (error as Error).message
    if (error instanceof Unfit) {
      this.#verdict = { state: 'none', reason }
      this.#say('warn', 'there is no archive', { reason })
      return this.#link.close()
    }
    if (!(error instanceof EngineFault)) this.#say('error', 'the archive did not open', { err: error })
    else if (this.#failures === 0) this.#say('warn', 'the archive is away; it is tried again', { reason })
    this.#verdict = { state: 'away', reason: `the archive is away: ${reason}` }
    this.#later()
  }

  #later (): void {
    const waitMs = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)] as number
    this.#retry?.cancel()
    this.#retry = systemClock.after(waitMs, () => this.start())
  }

  #assertOpen (): void {
    // Whoever asks may be anybody: why, and where the engine is, is for the verdict and the log.
    if (this.#verdict.state === 'away') throw new AppError('unavailable', 'the archive is away', { cause: new Error(this.#verdict.reason) })
    if (this.#verdict.state === 'none') throw new AppError('unavailable', this.#verdict.reason)
  }

  /** What the caller is told. Where nobody answered it is opened anew; an answer, whatever it says, is one. */
  #noted (error: unknown, means: (error: unknown) => Error): Error {
    const told = means(error)
    if (error instanceof EngineFault && error.code === null && this.#verdict.state === 'ok' && this.#closed === null) {
      this.#verdict = { state: 'away', reason: told.message }
      this.#later()
    }
    return told
  }

  async #read<R> (sql: string, params: Params, limits: Limits, place: number): Promise<R[]> {
    const bytes = await this.#link.query(statement(sql, limits, true), params, limits.seconds * 1000 + GRACE_MS, place)
    // A line break inside a text is escaped: those that are there part rows.
    return JSON.parse(`[${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString().trimEnd().replaceAll('\n', ',')}]`) as R[]
  }
}

/** The query with its limits. Throws when it is more than a query, or has settings of its own: our own mistake. */
function statement (sql: string, { seconds, rowsMax, readRowsMax = READ_ROWS_MAX, memoryMb = MEMORY_MB }: Limits, isWhole: boolean): string {
  if (!/^\s*(SELECT|WITH|EXPLAIN)\b/i.test(sql) || /;|\bSETTINGS\b|\bINTO\s+OUTFILE\b/.test(sql)) throw new Error('only a query without settings can be read')
  const settings = {
    max_execution_time: seconds, max_rows_to_read: readRowsMax, max_memory_usage: memoryMb * 1_000_000,
    ...(isWhole ? { max_result_rows: rowsMax, result_overflow_mode: "'throw'" } : {}),
    output_format_json_quote_64bit_integers: 0, do_not_merge_across_partitions_select_final: 1, optimize_move_to_prewhere_if_final: 1
  }
  return `${sql}\nSETTINGS ${Object.entries(settings).map(([name, value]) => `${name} = ${value}`).join(', ')}`
}

function linesOf (rows: readonly Row[]): Lines {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const text = rows.map((row) => JSON.stringify(columns.map((column) => row[column] ?? null))).join('\n')
  return { columns, bytes: Buffer.from(text), count: rows.length }
}
