// The programs that are measured, Uproar and its peers, each started as a process on the first core, with its CPU time and
// memory read from the system. Owns the process and its data folder; must not know what is asked of it.

import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { spawnWithUs } from '../deploy/services/children.ts'
import type { DialectName } from './dialect.ts'
import { cpuSecondsOf } from './machine.ts'
import { SECRET } from './token.ts'

export interface SubjectKind {
  readonly name: string
  readonly dialect: DialectName
  readonly file: string
  readonly env?: Readonly<Record<string, string>>
}

const NO_LIMITS = {
  CONNECTIONS_PER_ADDRESS_MAX: '0', CONNECTIONS_PER_USER_MAX: '0', MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0',
  FRAMES_PER_SECOND_MAX: '0', REQUESTS_PER_MINUTE_MAX: '0', ROOMS_PER_CONNECTION_MAX: '256'
}

export function uproar (env: Readonly<Record<string, string>> = {}): SubjectKind {
  return { name: 'Uproar', dialect: 'uproar', file: '../src/main.ts', env: { ...NO_LIMITS, PORT: '0', WS_PORT: '0', JWT_SECRET: SECRET, ...env } }
}

/** Bare uWebSockets.js that joins messages over this window; 0: each at once. */
export function bareUws (windowMs: number): SubjectKind {
  return { name: windowMs === 0 ? 'bare uWS, unbatched' : `bare uWS, windows of ${windowMs} ms`, dialect: 'plain', file: 'peer-uws.ts', env: { WINDOW_MS: String(windowMs) } }
}

export const BARE_WS: SubjectKind = { name: 'ws', dialect: 'plain', file: 'peer-ws.ts' }
export const SOCKET_IO: SubjectKind = { name: 'Socket.IO', dialect: 'socket.io', file: 'peer-socket-io.ts' }

/** Cores for the server and for the load; null where they cannot be set apart. */
export const CORES: { readonly server: number, readonly load: number } | null =
  process.platform === 'linux' && availableParallelism() > 1 ? { server: 0, load: 1 } : null

/** A command that runs node on this core. */
export function onCore (core: number | undefined): { command: string, args: string[] } {
  return core === undefined ? { command: process.execPath, args: [] } : { command: 'taskset', args: ['-c', String(core), process.execPath] }
}

const READY_MS = 20_000
const STOP_MS = 20_000

export class Subject {
  readonly kind: SubjectKind
  readonly pid: number
  readonly wsPort: number
  readonly http: string
  readonly #child: ChildProcess
  readonly #dir: string
  readonly #exit: Promise<unknown>

  /** Starts the program; rejects with its last words when it does not get ready. */
  static async start (kind: SubjectKind, nodeOptions: readonly string[] = []): Promise<Subject> {
    const dir = mkdtempSync(join(tmpdir(), 'uproar-bench-'))
    const { command, args } = onCore(CORES?.server)
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, DATA_DIR: dir, ARCHIVE: 'off', ...kind.env }
    const child = spawnWithUs(command, [...args, ...nodeOptions, join(import.meta.dirname, kind.file)], { env })
    const exit = new Promise((resolve) => child.once('exit', resolve))
    const lines: string[] = []
    const { port, wsPort } = await new Promise<{ port?: number, wsPort?: number }>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${kind.name} was not ready in time:\n${lines.join('\n')}`)), READY_MS)
      const onLine = (line: string): void => {
        lines.push(line)
        if (lines.length > 20) lines.shift()
        if (line.includes('"msg":"ready"')) {
          clearTimeout(timer)
          resolve(JSON.parse(line) as { port?: number, wsPort?: number })
        } else if (/"level":(50|60)/.test(line)) {
          process.stderr.write(`${kind.name}: ${line}\n`)
        }
      }
      for (const stream of [child.stdout, child.stderr]) createInterface(stream).on('line', onLine)
      void exit.then(() => reject(new Error(`${kind.name} ended before it was ready:\n${lines.join('\n')}`)))
    })
    return new Subject(kind, child, dir, exit, wsPort ?? 0, port ?? 0)
  }

  private constructor (kind: SubjectKind, child: ChildProcess, dir: string, exit: Promise<unknown>, wsPort: number, port: number) {
    this.kind = kind
    this.pid = child.pid as number
    this.wsPort = wsPort
    this.http = `http://127.0.0.1:${port}`
    this.#child = child
    this.#dir = dir
    this.#exit = exit
  }

  /** CPU seconds spent so far by all its threads, user and system. */
  cpuSeconds (): number { return cpuSecondsOf(this.pid) }

  /** Resident memory in bytes: all of it, and what is the process's own (not files mapped by its log). */
  memory (): { rss: number, anonymous: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8')
    const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024
    return { rss: bytes('VmRSS'), anonymous: bytes('RssAnon') }
  }

  async stop (): Promise<void> {
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS)
    await this.#exit
    clearTimeout(timer)
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
