// Runs the real program as a child for the stories: free ports, a data folder of its own, ended and removed when the
// test ends. Can kill it, start it again where it was, and read its memory and CPU time. Must not know what is tested.

import type { ChildProcess } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { spawnWithUs } from '../../deploy/services/children.ts'
import { freePort as findPort } from '../../deploy/services/ports.ts'

export const SECRET = 'a secret for stories, of more than thirty-two bytes'
export const API_KEY = 'a-server-key-for-stories-0001'

const LATE = /Redis did not answer in \d+ ms/
const ROOT = join(import.meta.dirname, '..', '..')
const READY_MS = 45_000
const STOP_MS = 20_000
const LINES_KEPT = 200

/** Of this process's environment, what the programs that a story starts are given. */
export const HERE: Readonly<Record<string, string | undefined>> = { PATH: process.env.PATH, HOME: process.env.HOME, NODE_OPTIONS: process.env.NODE_OPTIONS }

/** The limits that a crowd from one address runs into. */
export const OPEN_LIMITS = {
  CONNECTIONS_PER_ADDRESS_MAX: '0', CONNECTIONS_PER_USER_MAX: '0', MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0',
  FRAMES_PER_SECOND_MAX: '0', REQUESTS_PER_MINUTE_MAX: '0'
} as const

/** What of a test the harness needs. */
interface Scope { teardown (end: () => unknown): void }

export interface Claims {
  readonly name?: string
  readonly roles?: readonly string[]
  readonly rooms?: Readonly<Record<string, readonly string[]>>
  /** Seconds from now; below zero: expired already. */
  readonly ttlS?: number
}

/** Resident memory in bytes: all of it, and the part that is the process's own (not files mapped by the log). */
export interface Memory { readonly rss: number, readonly anonymous: number }

export class Program {
  readonly dataDir: string
  http = ''
  ws = ''
  /** Told every line that it says, as it comes. */
  heard: (line: string) => void = () => {}
  #env: Readonly<Record<string, string>>
  #child: ChildProcess | null = null
  #lines: string[] = []
  #faults: string[] = []
  #exit: Promise<number | string> = Promise.resolve(0)

  /** Starts it; fails with its last words when it does not get ready. */
  static async start (scope: Scope, env: Readonly<Record<string, string>> = {}): Promise<Program> {
    const program = new Program(env)
    scope.teardown(() => program.destroy())
    await program.launch()
    return program
  }

  constructor (env: Readonly<Record<string, string>>) {
    this.#env = env
    this.dataDir = mkdtempSync(join(tmpdir(), 'uproar-story-'))
  }

  get pid (): number { return this.#child?.pid ?? 0 }
  /** What it logged last, newest at the end. */
  get lines (): readonly string[] { return this.#lines }
  /** What it logged as an error or worse, but that Redis answered late, as it does where a machine has too much to do; the first hundred. */
  get faults (): readonly string[] { return this.#faults }
  /** Resolves with the exit status, or the signal's name. */
  get exit (): Promise<number | string> { return this.#exit }

  /** Starts the program; again on the same ports and folder when it has run before. */
  async launch (): Promise<void> {
    const env: Record<string, string | undefined> = {
      ...HERE, JWT_SECRET: SECRET, API_KEYS: API_KEY, LOG_LEVEL: 'info', ARCHIVE: 'off',
      PORT: portOf(this.http), WS_PORT: portOf(this.ws), DATA_DIR: this.dataDir, ...this.#env
    }
    const child = spawnWithUs(process.execPath, [join(ROOT, 'src', 'main.ts')], { cwd: this.dataDir, env })
    this.#child = child
    this.#exit = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')))
    const ready = new Promise<{ port: number, wsPort: number }>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not ready in ${READY_MS} ms:\n${this.#lines.slice(-20).join('\n')}`)), READY_MS)
      const onLine = (line: string): void => {
        this.#lines.push(line)
        this.heard(line)
        if (this.#lines.length > LINES_KEPT) this.#lines.shift()
        if (/^\{"level":[56]0/.test(line) && !LATE.test(line) && this.#faults.length < 100) this.#faults.push(line)
        if (line.includes('"msg":"ready"')) resolve(JSON.parse(line) as { port: number, wsPort: number })
      }
      for (const stream of [child.stdout, child.stderr]) if (stream !== null) createInterface(stream).on('line', onLine)
      void this.#exit.then((status) => reject(new Error(`ended with ${status} before it was ready:\n${this.#lines.slice(-20).join('\n')}`)))
      void this.#exit.then(() => clearTimeout(timer))
    })
    const { port, wsPort } = await ready
    this.http = `http://127.0.0.1:${port}`
    this.ws = `ws://127.0.0.1:${wsPort}/ws`
  }

  /** SIGKILL: no word, no flush. */
  async kill9 (): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exit
  }

  /** SIGTERM; resolves with the exit status once it has ended, killed when it takes too long. */
  async stop (): Promise<number | string> {
    const child = this.#child
    if (child === null || child.exitCode !== null || child.signalCode !== null) return this.#exit
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    const status = await this.#exit
    clearTimeout(timer)
    return status
  }

  /** Stops it and starts it again where it was; `env`: settings that change. */
  async restart (env: Readonly<Record<string, string>> = {}): Promise<void> {
    this.#env = { ...this.#env, ...env }
    await this.stop()
    await this.launch()
  }

  async destroy (): Promise<void> {
    if (this.#child?.exitCode === null && this.#child.signalCode === null) await this.kill9()
    rmSync(this.dataDir, { recursive: true, force: true })
  }

  memory (): Memory {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8')
    const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024
    return { rss: bytes('VmRSS'), anonymous: bytes('RssAnon') }
  }

  /** CPU seconds spent so far, user and system. */
  cpuSeconds (): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
    return (Number(fields[11]) + Number(fields[12])) / 100
  }

  /** An HTTP request with a deadline; `json` is sent as the body, `token` as the bearer. */
  async request (method: string, path: string, options: { token?: string, json?: unknown, headers?: Record<string, string> } = {}): Promise<Answer> {
    const headers: Record<string, string> = { ...options.headers }
    if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`
    if (options.json !== undefined) headers['content-type'] = 'application/json'
    const answer = await fetch(new URL(path, this.http), {
      method, headers, signal: AbortSignal.timeout(10_000), ...(options.json === undefined ? {} : { body: JSON.stringify(options.json) })
    })
    const text = await answer.text()
    const isJson = answer.headers.get('content-type')?.startsWith('application/json') === true
    return { status: answer.status, headers: answer.headers, text, json: (isJson ? JSON.parse(text) : null) as Answer['json'] }
  }
}

// Shapes of answers are for each story to check, so they stay open here.
export interface Answer { readonly status: number, readonly headers: Headers, readonly text: string, readonly json: any }

/** A token that the program accepts. */
export function tokenOf (id: string, claims: Claims = {}): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: id, name: claims.name ?? id, roles: claims.roles ?? [], rooms: claims.rooms, exp: now + (claims.ttlS ?? 3600), iat: now - 1, jti: randomUUID() })}`
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`
}

/** Calls until the result is not null, every few milliseconds and with a deadline: for what nobody announces. */
export async function eventually<T> (what: string, call: () => Promise<T | null> | T | null, timeoutMs = 30_000): Promise<T> {
  const end = performance.now() + timeoutMs
  for (;;) {
    const result = await call()
    if (result !== null) return result
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** A port that is free now, as settings have it: for programs that are started again on it after a kill. */
export async function freePort (): Promise<string> {
  return String(await findPort())
}

function portOf (address: string): string {
  return address === '' ? '0' : new URL(address).port
}
