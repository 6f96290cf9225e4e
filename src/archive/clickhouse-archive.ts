// The archive in a ClickHouse of its own, over HTTP. Every call has a deadline; nothing is sent twice by the client itself.
// Bounds: CONNECTIONS_MAX connections.

import { addAbortSignal, Readable } from 'node:stream'
import { ClickHouseError, ClickHouseLogLevel, createClient, type ClickHouseClient, type ClickHouseSettings } from '@clickhouse/client'
import { AppError } from '../base/errors.ts'
import type { Archive, ExportFormat, Lines, Params, Say } from './archive.ts'
import { EngineFault } from './faults.ts'
import type { Link, Settings } from './link.ts'
import { LinkedArchive } from './linked-archive.ts'
import type { Layout } from './schema.ts'

const CONNECTIONS_MAX = 8
/** Below what servers keep an idle connection for (3 to 10 s). */
const IDLE_SOCKET_MS = 2000
const REQUEST_MS_MAX = 3_600_000
const OPEN_MS = 5000
/** What Parquet ends with, and how a server says that it failed in the middle. */
const PARQUET_END = 'PAR1'
const EXCEPTION = '__exception__'
/** A read changes nothing, and ends when its connection does. */
const READING: ClickHouseSettings = { readonly: '2', cancel_http_readonly_queries_on_client_close: 1 }
/** Whole before it is sent: a failure in the middle is then a failure of the request. */
const WHOLE: ClickHouseSettings = { wait_end_of_query: 1 }

export interface ClickHouseOptions {
  readonly url: string
  readonly username: string
  readonly password: string
  readonly layout: Layout
  /** PEM of who signed the server's certificate; null: those that the system trusts. */
  readonly caCert: Buffer | null
  readonly say: Say
}

export function createClickHouseArchive (options: ClickHouseOptions): Archive {
  return new LinkedArchive({ link: new HttpLink(options), layout: options.layout, say: options.say })
}

class HttpLink implements Link {
  readonly #options: ClickHouseOptions
  readonly #client: ClickHouseClient
  /** For the one statement that is made before the database is there. */
  readonly #outside: ClickHouseClient

  constructor (options: ClickHouseOptions) {
    this.#options = options
    this.#client = this.#connect(options.layout.database)
    this.#outside = this.#connect('default')
  }

  async open (): Promise<void> {
    await this.#run(this.#outside, `CREATE DATABASE IF NOT EXISTS ${this.#options.layout.database}`, {}, OPEN_MS)
  }

  async query (sql: string, params: Params, deadlineMs: number): Promise<Uint8Array> {
    return this.#run(this.#client, `${sql}\nFORMAT JSONEachRow`, params, deadlineMs, { ...READING, ...WHOLE })
  }

  async * stream (sql: string, params: Params, format: ExportFormat, deadlineMs: number, _place: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)])
    let end = ''
    try {
      const { stream } = await this.#client.exec({ query: `${sql}\nFORMAT ${format === 'ndjson' ? 'JSONEachRow' : 'Parquet'}`, query_params: { ...params }, clickhouse_settings: READING, abort_signal: deadline })
      // The client minds the signal only until the answer begins.
      for await (const piece of addAbortSignal(deadline, stream) as AsyncIterable<Buffer>) {
        end = (end + piece.subarray(-2000).toString('latin1')).slice(-2000)
        if (end.includes(EXCEPTION)) throw new EngineFault(Number(/Code: (\d+)/.exec(end)?.[1] ?? NaN) || null, 'it failed in the middle of an export')
        yield piece
      }
    } catch (error) {
      throw faultOf(error)
    }
    if (format === 'parquet' && !end.endsWith(PARQUET_END)) throw new EngineFault(null, 'an export ended before it was whole')
  }

  async insert (table: string, { columns, bytes }: Lines, settings: Settings, deadlineMs: number): Promise<void> {
    const query = `INSERT INTO ${table} (${columns.join(', ')}) SETTINGS ${Object.entries(settings).map(([name, value]) => `${name} = ${value}`).join(', ')} FORMAT JSONCompactEachRow`
    await this.#run(this.#client, query, {}, deadlineMs, {}, Readable.from([bytes], { objectMode: false }))
  }

  async command (sql: string, params: Params, deadlineMs: number): Promise<void> {
    await this.#run(this.#client, sql, params, deadlineMs, WHOLE)
  }

  async close (): Promise<void> {
    await Promise.all([this.#client.close(), this.#outside.close()])
  }

  #connect (database: string): ClickHouseClient {
    const { url, username, password, caCert } = this.#options
    return createClient({
      url, username, password, database, application: 'uproar', log: { level: ClickHouseLogLevel.OFF }, request_timeout: REQUEST_MS_MAX, max_open_connections: CONNECTIONS_MAX,
      keep_alive: { enabled: true, idle_socket_ttl: IDLE_SOCKET_MS, eagerly_destroy_stale_sockets: true },
      ...(caCert === null ? {} : { tls: { ca_cert: caCert } })
    })
  }

  async #run (client: ClickHouseClient, query: string, params: Params, deadlineMs: number, settings: ClickHouseSettings = {}, values?: Readable): Promise<Uint8Array> {
    try {
      const request = { query, query_params: { ...params }, clickhouse_settings: settings, abort_signal: AbortSignal.timeout(deadlineMs) }
      const { stream } = await (values === undefined ? client.exec(request) : client.exec({ ...request, values }))
      return Buffer.concat(await stream.toArray() as Buffer[])
    } catch (error) {
      throw faultOf(error)
    }
  }
}

function faultOf (error: unknown): Error {
  if (error instanceof EngineFault || error instanceof AppError) return error
  if (error instanceof ClickHouseError) return new EngineFault(Number(error.code), error.message, error)
  return new EngineFault(null, (error as Error).message, error)
}
