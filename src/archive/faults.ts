// What a failure of ClickHouse means here. Its codes are many; the few that say something to us are tables below.
//
//   of a read:    over time or memory ─▶ overloaded    over rows ─▶ bad_request    others ─▶ ours, or the world's
//   of an insert: the text of a row cannot be read ─▶ the row's fault               others ─▶ the world's
//
// An insert's unknown failure is taken for an outage, so that the archiver waits and the operator is told: taken for a
// fault of the rows it would put good ones aside. Must not know which engine it is.

import { AppError } from '../base/errors.ts'

/** A failure as either engine tells of it; `code` null: it did not come from ClickHouse. */
export class EngineFault extends Error {
  override readonly name = 'EngineFault'
  readonly code: number | null
  constructor (code: number | null, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/** TIMEOUT_EXCEEDED, TOO_SLOW, TOO_MANY_SIMULTANEOUS_QUERIES, MEMORY_LIMIT_EXCEEDED. */
const OVER_MEANS: ReadonlySet<number | null> = new Set([159, 160, 202, 241])
/** TOO_MANY_ROWS, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES. */
const OVER_ROWS: ReadonlySet<number | null> = new Set([158, 307, 396])
/** TOO_MANY_PARTS: it mends itself by merging. */
const MERGING: ReadonlySet<number | null> = new Set([252])
/** SYNTAX_ERROR, UNKNOWN_*, ILLEGAL_*, BAD_ARGUMENTS and others that only our SQL or a parameter can be guilty of. */
const OUR_MISTAKES: ReadonlySet<number | null> = new Set([36, 42, 43, 44, 46, 47, 53, 60, 62, 63, 70, 115, 179, 184, 215, 386, 456, 457])
/** CANNOT_PARSE_*, TYPE_MISMATCH, INCORRECT_DATA, CANNOT_CONVERT_TYPE, ARGUMENT_OUT_OF_BOUND, … of the text of a row. */
const ROW_FAULTS: ReadonlySet<number | null> = new Set([6, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 130, 131, 190, 321, 349, 376, 467, 691])

/** What the caller of a read gets; what is no engine's failure is passed on. */
export function readFault (error: unknown): Error {
  if (!(error instanceof EngineFault)) return error as Error
  const { code, message } = told(error)
  if (OVER_MEANS.has(code)) return new AppError('overloaded', 'the archive took too long over this, or too much memory: ask for less', { cause: error })
  if (OVER_ROWS.has(code)) return new AppError('bad_request', 'this is more than the archive gives or reads at once: ask for less', { cause: error })
  if (OUR_MISTAKES.has(code)) return new Error(`a query of the archive: ${message}`, { cause: error })
  return new AppError('unavailable', 'the archive does not answer', { cause: new Error(message, { cause: error }) })
}

/** What the caller of an insert or a command gets, likewise. */
export function writeFault (error: unknown): Error {
  if (!(error instanceof EngineFault)) return error as Error
  const { code, message } = told(error)
  if (ROW_FAULTS.has(code)) return new Error(`a row of the archive: ${message}`, { cause: error })
  if (OVER_MEANS.has(code) || MERGING.has(code)) return new AppError('overloaded', `the archive has more than it can take now: ${message}`, { cause: error })
  return new AppError('unavailable', `the archive does not take rows: ${message}`, { cause: error })
}

const MESSAGE_CHARACTERS_MAX = 300

/** An engine's message may quote rows: what is told is its first line, cut, and of parse errors nothing that was read. */
function told ({ code, message }: EngineFault): { code: number | null, message: string } {
  if (ROW_FAULTS.has(code)) return { code, message: `it cannot be read (ClickHouse code ${code})` }
  return { code, message: (message.split('\n')[0] ?? '').slice(0, MESSAGE_CHARACTERS_MAX) }
}
