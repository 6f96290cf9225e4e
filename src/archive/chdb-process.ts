// The parent's side of the process that has chDB: starts it, asks it, kills it when it is late. Every question has a
// deadline and an answer: the child's, or that it is gone.
//
//   ask ──▶ child ──▶ answer                          stream: piece ─▶ next ─▶ piece ─▶ … ─▶ answer
//   the child ends, or does not answer in time ──▶ every question under way fails ──▶ `open` starts another
//
// Must not know what is asked. Bound: what its callers have under way (they take turns).

import { fork, type ChildProcess } from 'node:child_process'
import { EngineFault } from './faults.ts'
import type { ExportFormat, Params } from './archive.ts'
import type { Settings } from './link.ts'

/** What the child is asked. */
export type Asked = { readonly id: number } & Question
export type Question =
  | { readonly ask: 'query', readonly sql: string, readonly params: Params & Record<string, unknown>, readonly place: number }
  | { readonly ask: 'command', readonly sql: string, readonly params: Params & Record<string, unknown> }
  | { readonly ask: 'insert', readonly table: string, readonly columns: readonly string[], readonly bytes: Uint8Array, readonly settings: Record<string, number> & Settings }
  | { readonly ask: 'stream', readonly sql: string, readonly params: Params & Record<string, unknown>, readonly format: ExportFormat, readonly place: number }
  /** Of a stream that is under way: its next piece; no more of it. */
  | { readonly ask: 'next' }
  | { readonly ask: 'end' }

/** What it tells: id 0 that it is ready, or why it cannot be. */
export type Told =
  | { readonly id: number, readonly bytes: Uint8Array | null }
  | { readonly id: number, readonly piece: Uint8Array }
  | { readonly id: number, readonly code: number | null, readonly message: string }

/** Instead of ClickHouse's code: the library cannot be loaded. */
export const UNFIT_CODE = -1

interface Call {
  readonly resolve: (bytes: Uint8Array | null) => void
  readonly reject: (error: EngineFault) => void
  readonly onPiece: (piece: Uint8Array) => void
  timer: NodeJS.Timeout | null
}

const PROGRAM = new URL('./chdb.child.ts', import.meta.url).pathname
const OPEN_MS = 30_000
const CLOSE_MS = 2000
/** Statements that run at once in the child, each on a thread of Node's pool, and some for files. */
const POOL_THREADS = 12

export class ChdbProcess {
  readonly #args: readonly string[]
  readonly #calls = new Map<number, Call>()
  #child: ChildProcess | null = null
  #lastId = 0

  constructor (directory: string, database: string) {
    this.#args = [directory, database]
  }

  /** For tests that kill it. */
  get pid (): number | undefined { return this.#child?.pid }

  /** Starts the child; resolves when it answers. Rejects with EngineFault. */
  async open (): Promise<void> {
    await this.close()
    const { NODE_OPTIONS: _options, ...env } = process.env
    const child = fork(PROGRAM, this.#args, {
      serialization: 'advanced', execArgv: ['--no-warnings'], stdio: ['ignore', 'ignore', 'ignore', 'ipc'], env: { ...env, UV_THREADPOOL_SIZE: String(POOL_THREADS) }
    })
    this.#child = child
    child.on('message', (told: Told) => this.#told(told))
    child.once('error', (error) => this.#gone(child, error.message))
    child.once('exit', (code, signal) => this.#gone(child, `its process ended with ${code ?? signal}`))
    await this.#call(0, OPEN_MS)
  }

  /** Asks; resolves with the answer. Rejects with EngineFault; when the answer is late the child is killed. */
  ask (question: Question, deadlineMs: number, onPiece: (piece: Uint8Array) => void = () => {}): { readonly id: number, readonly answer: Promise<Uint8Array | null> } {
    const id = ++this.#lastId
    const answer = this.#call(id, deadlineMs, onPiece)
    this.#send({ id, ...question })
    return { id, answer }
  }

  /** Asks for the next piece of a stream, or for no more. */
  goOn (id: number, ask: 'next' | 'end', deadlineMs: number): void {
    const call = this.#calls.get(id)
    if (call === undefined) return
    this.#watch(call, deadlineMs)
    this.#send({ id, ask })
  }

  /** Nobody waits for the child while its reader thinks. */
  rest (id: number): void {
    const call = this.#calls.get(id)
    if (call?.timer != null) clearTimeout(call.timer)
  }

  /** Ends the child. What it had acknowledged stays. */
  async close (): Promise<void> {
    const child = this.#child
    if (child === null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    if (child.connected) child.disconnect()
    const timer = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS)
    await ended
    clearTimeout(timer)
  }

  #call (id: number, deadlineMs: number, onPiece: (piece: Uint8Array) => void = () => {}): Promise<Uint8Array | null> {
    return new Promise((resolve, reject) => {
      const call: Call = { resolve, reject, onPiece, timer: null }
      this.#calls.set(id, call)
      this.#watch(call, deadlineMs)
    })
  }

  #watch (call: Call, deadlineMs: number): void {
    if (call.timer !== null) clearTimeout(call.timer)
    // The engine has its own limit, which was not heeded: nothing else ends what it is at.
    call.timer = setTimeout(() => this.#child?.kill('SIGKILL'), deadlineMs)
  }

  #send (asked: Asked): void {
    const child = this.#child
    if (child?.connected !== true) return this.#fail(asked.id, new EngineFault(null, 'its process is not there'))
    child.send(asked, (error) => { if (error !== null) this.#fail(asked.id, new EngineFault(null, error.message)) })
  }

  #told (told: Told): void {
    if ('piece' in told) return this.#calls.get(told.id)?.onPiece(told.piece)
    if ('code' in told) return this.#fail(told.id, new EngineFault(told.code, told.message))
    const call = this.#taken(told.id)
    call?.resolve(told.bytes)
  }

  #fail (id: number, error: EngineFault): void {
    this.#taken(id)?.reject(error)
  }

  #taken (id: number): Call | undefined {
    const call = this.#calls.get(id)
    if (call?.timer != null) clearTimeout(call.timer)
    this.#calls.delete(id)
    return call
  }

  #gone (child: ChildProcess, reason: string): void {
    if (this.#child === child) this.#child = null
    for (const id of [...this.#calls.keys()]) this.#fail(id, new EngineFault(null, reason))
  }
}
