// The process that has chDB: one data directory, several connections on it (a connection does one thing at a time), so
// that a long search does not hold up inserts. Does what its parent says (chdb-process.ts) and ends with it.
//
//   inserts │ reads, several │ commands │ streams, several
//
// Must not know what is asked. Bounds: one statement a place, which the parent sees to; THREADS a statement, MEMORY_BYTES_MAX for
// all of them.

import { createReadStream, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createClient, type ClickHouseClient } from '@clickhouse/client'
import type { Session } from 'chdb'
import type { ChdbConnection } from 'chdb/connection'
import { UNFIT_CODE, type Asked, type Told } from './chdb-process.ts'
import { READS_AT_ONCE, STREAMS_AT_ONCE } from './link.ts'

const THREADS = 2
/** Of all statements and merges together. What would need more fails, and is told as `overloaded`. */
const MEMORY_BYTES_MAX = 1_200_000_000
/** Given to whoever opens the directory first. Merges take two threads in turns; mutations need many of them to be free. */
const SERVER = [
  '--background_pool_size=2', '--background_merges_mutations_concurrency_ratio=16', '--background_common_pool_size=2', '--background_schedule_pool_size=4',
  `--max_server_memory_usage=${MEMORY_BYTES_MAX}`, '--mark_cache_size=67108864'
]
const PIECE_BYTES = 262_144
const [directory, database] = process.argv.slice(2) as [string, string]
const exportsDirectory = join(directory, 'exports')
const PREPARED = [`USE ${database}`, `SET max_threads = ${THREADS}`]

type ClientConnection = NonNullable<NonNullable<Parameters<typeof createClient>[0]>['connection']>

interface Place { readonly client: ClickHouseClient, readonly connection: ChdbConnection }

const INSERTS = 0
const FIRST_READ = 1
const COMMANDS = FIRST_READ + READS_AT_ONCE
const places: Place[] = []
const sessions: Session[] = []
/** Streams under way, by the question. The word that ends one may come while its next piece is made. */
const streams = new Map<number, { isOver: boolean, wake: () => void }>()

/** The optional package may be there and its library not, or not for this machine. */
async function load (): Promise<{ Session: typeof import('chdb').Session, createChdbConnection: typeof import('chdb/connection').createChdbConnection }> {
  try {
    const { Session } = await import('chdb')
    const { createChdbConnection } = await import('chdb/connection')
    return { Session, createChdbConnection }
  } catch (error) {
    throw Object.assign(new Error((error as Error).message.split('\n')[0]), { clickhouseCode: UNFIT_CODE })
  }
}

async function open (): Promise<void> {
  const { Session, createChdbConnection } = await load()
  mkdirSync(directory, { recursive: true })
  rmSync(exportsDirectory, { recursive: true, force: true })
  mkdirSync(exportsDirectory, { recursive: true })
  for (let at = 0; at < STREAMS_AT_ONCE; at++) sessions.push(new Session(directory, { connectionArgs: SERVER }))
  for (let at = 0; at < READS_AT_ONCE + 2; at++) {
    const connection = createChdbConnection({ path: directory })
    // The same interface, in types of two packages.
    const place = { connection, client: createClient({ connection: connection as unknown as ClientConnection }) }
    places.push(place)
    if (at === 0) await run(place, `CREATE DATABASE IF NOT EXISTS ${database}`)
    for (const statement of PREPARED) await run(place, statement)
  }
  for (const session of sessions) for (const statement of PREPARED) await session.queryAsync(statement)
}

async function run ({ client }: Place, sql: string, params: Record<string, unknown> = {}): Promise<Uint8Array> {
  const { stream } = await client.exec({ query: sql, query_params: params })
  return Buffer.concat(await stream.toArray() as Buffer[])
}

async function answer (asked: Exclude<Asked, { readonly ask: 'next' | 'end' }>): Promise<Uint8Array | null> {
  switch (asked.ask) {
    case 'query': return run(places[FIRST_READ + asked.place] as Place, `${asked.sql}\nFORMAT JSONEachRow`, asked.params)
    case 'command':
      await run(places[COMMANDS] as Place, asked.sql, asked.params)
      return null
    case 'insert': {
      const { table, columns, bytes, settings } = asked
      await (places[INSERTS] as Place).connection.chdb.rawInsert({ table, columns, values: bytes, settings, format: 'JSONCompactEachRow' })
      return null
    }
    case 'stream':
      await stream(asked)
      return null
  }
}

async function stream (asked: Asked & { readonly ask: 'stream' }): Promise<void> {
  const { id, sql, params, format, place } = asked
  const session = sessions[place] as Session
  const pieces = format === 'ndjson' ? piecesOf(session, sql, params) : parquet(session, sql, params, join(exportsDirectory, `${id}.parquet`))
  const state = { isOver: false, wake: () => {} }
  streams.set(id, state)
  try {
    for await (const bytes of pieces) {
      if (state.isOver) break
      const next = new Promise<void>((resolve) => { state.wake = resolve })
      tell({ id, piece: bytes })
      await next
      if (state.isOver) break
    }
  } finally {
    streams.delete(id)
  }
}

async function * piecesOf (session: Session, sql: string, params: object): AsyncGenerator<Uint8Array> {
  for await (const chunk of session.queryStreamBind(sql, params, { format: 'JSONEachRow' })) yield chunk.raw()
}

/** Each piece of a streamed answer would be a Parquet file of its own, so this goes by way of a file. */
async function * parquet (session: Session, sql: string, params: object, file: string): AsyncGenerator<Uint8Array> {
  try {
    await session.queryBindAsync(`${sql}\nINTO OUTFILE '${file.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}' FORMAT Parquet`, params)
    yield * createReadStream(file, { highWaterMark: PIECE_BYTES })
  } finally {
    rmSync(file, { force: true })
  }
}

function goOn (id: number, isOver: boolean): void {
  const state = streams.get(id)
  if (state === undefined) return
  state.isOver ||= isOver
  state.wake()
}

function tell (told: Told): void {
  if (process.connected) process.send?.(told)
}

/** ClickHouse's number of the failure: where the library does not say it, the message does. */
function codeOf (error: unknown): number | null {
  const { code, clickhouseCode, message } = error as { code?: unknown, clickhouseCode?: unknown, message?: string }
  const known = clickhouseCode ?? (/^\d+$/.test(String(code)) ? code : /Code: (\d+)/.exec(message ?? '')?.[1])
  return known === undefined ? null : Number(known)
}

process.on('message', (asked: Asked) => {
  const { id } = asked
  if (asked.ask === 'next' || asked.ask === 'end') return goOn(id, asked.ask === 'end')
  answer(asked).then((bytes) => tell({ id, bytes }), (error: unknown) => tell({ id, code: codeOf(error), message: (error as Error).message }))
})
// A terminal tells the whole group: when this ends is the parent's to say.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
// Whatever is under way: what was not answered was not acknowledged, and what was is on the disk. (An exit runs the
// library's own end, which waits for what it has in the background.)
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))

open().then(() => tell({ id: 0, bytes: null }), (error: unknown) => {
  tell({ id: 0, code: codeOf(error), message: (error as Error).message })
  setTimeout(() => process.exit(1), 1000).unref()
})
