// What can go wrong, in three kinds. A Refusal is the user's to mend and is a value: it travels back to the author with
// its code and, where waiting helps, how long. An AppError says that the world failed; it is thrown off the hot path. A StartFault is
// the operator's to mend, before anything serves.

import { errorCode, type ErrorName } from '../../proto/codes.ts'

// The contract: an error that waiting helps carries a wait, and a whole number that any client can hold.
const RETRY_DEFAULT_MS = 1000
const RETRY_MS_MAX = 2 ** 31 - 1

/** A refusal as a value: a row of the error table with its sentence and its wait. */
export class Refusal {
  readonly name: ErrorName
  readonly code: number
  readonly message: string
  readonly retryAfterMs: number | null

  constructor (name: ErrorName, message: string, retryAfterMs: number | null = null) {
    this.name = name
    this.code = errorCode(name).code
    this.message = message
    const wait = retryAfterMs ?? (errorCode(name).wait ? RETRY_DEFAULT_MS : null)
    this.retryAfterMs = wait === null ? null : Math.min(RETRY_MS_MAX, Math.max(1, Math.ceil(wait)))
  }
}

/** The world failed: an engine is away, a queue is full. `canRetry` says whether the same call may succeed later. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorName
  readonly canRetry: boolean
  readonly retryAfterMs: number | null

  constructor (code: ErrorName, message: string, options: { retryAfterMs?: number, cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.canRetry = errorCode(code).wait
    this.retryAfterMs = options.retryAfterMs ?? (this.canRetry ? RETRY_DEFAULT_MS : null)
  }
}

/** A foreseeable reason not to start: its message is one line for the operator, who needs no stack. */
export class StartFault extends Error {
  override readonly name: string = 'StartFault'
}

/** What the author is told when something threw: an AppError says so itself, anything else is `internal`. */
export function refusalOf (error: unknown): Refusal {
  if (error instanceof AppError) return new Refusal(error.code, error.message, error.retryAfterMs)
  return new Refusal('internal', 'the server failed at this; it is logged')
}
