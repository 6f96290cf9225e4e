// A client for the stories that does nothing by itself: frames out as arrays, frames in as a list, and conditions to wait
// for. Keeps every frame it was sent, so it is for short stories.

import { BadFrame, decodeTrusted, encode, type Frame } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { RawSocket, type SocketOptions } from '../replay/socket.ts'

export interface Ending { readonly code: number, readonly reason: string }

const WAIT_MS = 10_000

export class Viewer {
  readonly frames: Frame[] = []
  /** How the connection ended; null while it is open. */
  ending: Ending | null = null
  /** The subprotocol the server chose; null before the handshake, or when it chose none. */
  protocol: string | null = null
  readonly socket: RawSocket
  #rid = 100
  #isOpen = false
  #wakers = new Set<() => void>()

  constructor (url: string, options: SocketOptions = {}) {
    this.socket = new RawSocket(url, {
      open: (protocol) => { this.#isOpen = true; this.protocol = protocol; this.#wake() },
      message: (bytes) => {
        const frames = decodeTrusted(bytes)
        if (frames instanceof BadFrame) throw new Error(`the server sent what is not of the protocol: ${frames.reason}`)
        this.frames.push(...frames)
        this.#wake()
      },
      close: (code, reason) => { this.ending = { code, reason }; this.#wake() }
    }, options)
  }

  /** Opens, says HELLO and waits for WELCOME. */
  static async connect (scope: { teardown (end: () => unknown): void }, url: string, token: string | null = null, options: SocketOptions = {}): Promise<Viewer> {
    const viewer = new Viewer(url, options)
    scope.teardown(() => viewer.socket.destroy())
    await viewer.opened()
    await viewer.hello(token)
    return viewer
  }

  /** Resolves when the handshake succeeded; rejects when it was refused. */
  async opened (): Promise<void> {
    await this.until('the handshake', () => this.#isOpen || null)
  }

  async hello (token: string | null = null): Promise<Frame> {
    this.send([IN.HELLO, token, 'story/1'])
    return this.next(OUT.WELCOME)
  }

  send (...frames: Frame[]): void {
    this.socket.send(Buffer.concat(frames.map((frame) => encode(frame))))
  }

  /** Sends a request and resolves with its answer: OK, ERR, JOINED, PAGE or HELD with the same rid. */
  async ask (op: number, ...fields: unknown[]): Promise<Frame> {
    const rid = ++this.#rid
    this.send([op, rid, ...fields])
    return this.until(`the answer to op ${op}`, () => this.frames.find((frame) =>
      (frame[0] === OUT.OK || frame[0] === OUT.ERR || frame[0] === OUT.JOINED || frame[0] === OUT.PAGE || frame[0] === OUT.HELD) && frame[1] === rid) ?? null)
  }

  async join (room: string, options: Record<string, unknown> | null = null): Promise<Frame> { return this.ask(IN.JOIN, room, options) }

  async say (room: string, text: string, options: { nonce?: string, kind?: number, ext?: Record<string, unknown> } = {}): Promise<Frame> {
    return this.ask(IN.SEND, room, options.nonce ?? `n${++this.#rid}-${process.pid}-${performance.now()}`, options.kind ?? 0, text, options.ext ?? null)
  }

  /** Entries received, in the order they came. */
  entries (): Frame[] { return this.frames.filter((frame) => frame[0] >= OUT.MESSAGE && frame[0] <= OUT.EDIT) }
  seqs (): number[] { return this.entries().map((frame) => frame[1] as number) }
  texts (): string[] { return this.frames.filter((frame) => frame[0] === OUT.MESSAGE).map((frame) => frame[5] as string) }

  /** The first frame with this op from place `from` on, waiting for it. */
  async next (op: number, from = 0): Promise<Frame> {
    return this.until(`op ${op}`, () => this.frames.slice(from).find((frame) => frame[0] === op) ?? null)
  }

  /** Resolves with how the connection ended. */
  async ended (timeoutMs = WAIT_MS): Promise<Ending> {
    return this.until('the end of the connection', () => this.ending, timeoutMs)
  }

  /** A round trip: what was sent before has been read by the server, and what it answered at once has arrived. */
  async roundTrip (): Promise<void> {
    const value = `p${++this.#rid}`
    this.send([IN.PING, value, null])
    await this.until('PONG', () => this.frames.find((frame) => frame[0] === OUT.PONG && frame[1] === value) ?? null)
  }

  /** Resolves with the first result that is not null, looked for after every frame; rejects after the time or at the end. */
  async until<T> (what: string, find: () => T | null, timeoutMs = WAIT_MS): Promise<T> {
    const now = find()
    if (now !== null) return now
    return new Promise<T>((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(timer)
        this.#wakers.delete(check)
      }
      const check = (): void => {
        const found = find()
        if (found === null && this.ending === null) return
        finish()
        if (found !== null) resolve(found)
        else reject(new Error(`waited for ${what}, but the connection ended with ${this.ending?.code} ${this.ending?.reason}`))
      }
      const timer = setTimeout(() => {
        finish()
        reject(new Error(`waited ${timeoutMs} ms for ${what}; the last frames: ${JSON.stringify(this.frames.slice(-3))}`))
      }, timeoutMs)
      this.#wakers.add(check)
      check()
    })
  }

  #wake (): void {
    for (const wake of [...this.#wakers]) wake()
  }
}
