// What the two engines differ in: how a statement gets to ClickHouse and its answer back. The archive over a link
// (linked-archive.ts) is the same for both: limits, turns, steps of the schema, what failures mean.
//
// A link must not know what is asked, nor what a failure means: it rejects with EngineFault.

import type { ExportFormat, Lines, Params } from './archive.ts'

export interface Link {
  /** Connects, or begins the process. Rejects with EngineFault when that cannot be now, with Unfit when it never can be. */
  open (): Promise<void>
  /** The answer in JSONEachRow. `place`: which of the READS_AT_ONCE it is. */
  query (sql: string, params: Params, deadlineMs: number, place: number): Promise<Uint8Array>
  /** The answer piece by piece, read no faster than it is taken. `place`: which of the STREAMS_AT_ONCE it is. */
  stream (sql: string, params: Params, format: ExportFormat, deadlineMs: number, place: number, signal: AbortSignal): AsyncIterable<Uint8Array>
  insert (table: string, lines: Lines, settings: Settings, deadlineMs: number): Promise<void>
  command (sql: string, params: Params, deadlineMs: number): Promise<void>
  close (): Promise<void>
}

export type Settings = Readonly<Record<string, number>>

export const READS_AT_ONCE = 3
export const STREAMS_AT_ONCE = 2

/** There can be no archive here: why. */
export class Unfit extends Error {
  override readonly name = 'Unfit'
}
