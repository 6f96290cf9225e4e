// The embedded archive: chDB in a child process of its own, since a query there fills the threads that names, files and
// keys are looked up with here, and a crash of it must not be ours. Owns DATA_DIR/archive, alone.
// Bounds: the child's (chdb.child.ts).

import { createRequire } from 'node:module'
import { AppError } from '../base/errors.ts'
import type { Archive, ExportFormat, Lines, Params, Say } from './archive.ts'
import { ChdbProcess, UNFIT_CODE } from './chdb-process.ts'
import { EngineFault } from './faults.ts'
import { type Link, type Settings, Unfit } from './link.ts'
import { LinkedArchive } from './linked-archive.ts'

const DATABASE = 'uproar'
/** How long a reader may take over a piece of a stream. */
const IDLE_MS = 60_000

/** Why there can be no embedded archive here; null: there can. */
export function chdbFault (): string | null {
  try {
    createRequire(import.meta.url).resolve('chdb/connection')
    return null
  } catch {
    return 'the optional package chdb is not installed, and CLICKHOUSE_URL is not set'
  }
}

/** `process`: the child, for tests that kill it. */
export function createChdbArchive (options: { readonly directory: string, readonly say: Say, readonly process?: ChdbProcess }): Archive {
  const { directory, say, process = chdbProcess(directory) } = options
  return new LinkedArchive({ link: new ChdbLink(process), say, layout: { database: DATABASE, storagePolicy: null, tiers: [], isSynced: true } })
}

export function chdbProcess (directory: string): ChdbProcess {
  return new ChdbProcess(directory, DATABASE)
}

class ChdbLink implements Link {
  readonly #process: ChdbProcess

  constructor (process: ChdbProcess) { this.#process = process }

  async open (): Promise<void> {
    const fault = chdbFault()
    if (fault !== null) throw new Unfit(fault)
    try {
      await this.#process.open()
    } catch (error) {
      throw error instanceof EngineFault && error.code === UNFIT_CODE ? new Unfit(`chdb does not run here: ${error.message}`) : error
    }
  }

  async query (sql: string, params: Params, deadlineMs: number, place: number): Promise<Uint8Array> {
    return await this.#process.ask({ ask: 'query', sql, params, place }, deadlineMs).answer ?? new Uint8Array(0)
  }

  async insert (table: string, { columns, bytes }: Lines, settings: Settings, deadlineMs: number): Promise<void> {
    await this.#process.ask({ ask: 'insert', table, columns, bytes, settings }, deadlineMs).answer
  }

  async command (sql: string, params: Params, deadlineMs: number): Promise<void> {
    await this.#process.ask({ ask: 'command', sql, params }, deadlineMs).answer
  }

  async * stream (sql: string, params: Params, format: ExportFormat, deadlineMs: number, place: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    signal.throwIfAborted()
    let came = Promise.withResolvers<Uint8Array | null>()
    const { id, answer } = this.#process.ask({ ask: 'stream', sql, params, format, place }, deadlineMs, (piece) => {
      this.#process.rest(id)
      came.resolve(piece)
    })
    const over = answer.then(() => came.resolve(null), (error: unknown) => came.reject(error))
    const stop = (): void => came.reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    let slow: NodeJS.Timeout | undefined
    try {
      for (let piece = await came.promise; piece !== null; piece = await came.promise) {
        came = Promise.withResolvers()
        // It may be told before anybody waits for it.
        came.promise.catch(() => {})
        slow = setTimeout(() => came.reject(new AppError('unavailable', 'the export was not read for too long')), IDLE_MS)
        yield piece
        clearTimeout(slow)
        this.#process.goOn(id, 'next', deadlineMs)
      }
    } finally {
      clearTimeout(slow)
      signal.removeEventListener('abort', stop)
      came.promise.catch(() => {})
      this.#process.goOn(id, 'end', deadlineMs)
      await over
    }
  }

  close (): Promise<void> {
    return this.#process.close()
  }
}
