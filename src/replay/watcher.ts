// A viewer that reads one room and keeps account: joins first, pings with its position, comes back by itself after a
// drop and resumes. Used by the replay and by the stories that cut, stall and kill. Owns one connection at a time; must
// not know who speaks. Keeps nothing of what it read but the numbers.

import { encode, type Frame } from '../../proto/codec.ts'
import { mayReconnect } from '../../proto/codes.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { Account } from './account.ts'
import { BatchReader, isEntry } from './batches.ts'
import { RawSocket } from './socket.ts'

export interface WatcherOptions {
  readonly url: string
  readonly room: string
  /** Called before every connection; null reads without an account. */
  readonly token?: () => Promise<string>
  /** Entries of history on the first join, 0 to 200. */
  readonly history?: number
  readonly view?: 'full' | 'live'
  readonly pingMs?: number
  /** An entry, in the order of arrival. The frame may be shared: never change it. */
  readonly onEntry?: (frame: Frame) => void
}

const DEAD_MS = 15_000
const REST_MS_MAX = 1000
const START_ATTEMPTS = 3

export class Watcher {
  readonly account = new Account()
  /** Joins that were answered; the first one included. */
  joins = 0
  /** Close codes in the order they came. */
  readonly closes: number[] = []
  /** Why it gave up for good; null while it has not. */
  failure: string | null = null
  /** Entries announced as not sent. */
  readonly skips: { first: number, last: number, reason: string }[] = []
  #options: WatcherOptions
  #reader = new BatchReader()
  #socket: RawSocket | null = null
  #ticker: NodeJS.Timeout | null = null
  #isStopped = false
  #failures = 0
  #lastReason = ''
  /** The server's sentence about the whole connection, which it says before it closes. */
  #complaint = ''
  #heardAt = 0
  #wakers = new Set<() => void>()

  constructor (options: WatcherOptions) {
    this.#options = options
  }

  /** Resolves when the room was joined; rejects when it was refused, not reached in three attempts, or not in time. */
  async start (timeoutMs = 15_000): Promise<void> {
    this.#ticker = setInterval(() => this.#tick(), this.#options.pingMs ?? 10_000)
    void this.#connect()
    await this.until(() => this.joins > 0 || this.closes.length >= START_ATTEMPTS, 'the watcher to join', timeoutMs)
    if (this.joins === 0) throw new Error(this.#lastReason)
  }

  /** Resolves when the condition holds after some frame or close; rejects after the time, saying what was awaited. */
  async until (holds: () => boolean, what: string, timeoutMs = 15_000): Promise<void> {
    if (holds()) return
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#wakers.delete(check)
      }
      const check = (): void => {
        if (this.failure !== null && !holds()) {
          done()
          reject(new Error(`waited for ${what}, but ${this.failure}`))
        } else if (holds()) {
          done()
          resolve()
        }
      }
      const timer = setTimeout(() => {
        done()
        reject(new Error(`waited ${timeoutMs} ms for ${what}; received ${this.account.received} up to seq ${this.account.last}, closes ${this.closes.join(' ') || 'none'}`))
      }, timeoutMs)
      this.#wakers.add(check)
    })
  }

  /** Breaks the connection; it comes back by itself. */
  cut (): void { this.#socket?.reset() }
  pause (): void { this.#socket?.pause() }
  resume (): void { this.#socket?.resume() }

  stop (): void {
    this.#isStopped = true
    if (this.#ticker !== null) clearInterval(this.#ticker)
    this.#socket?.close()
  }

  async #connect (): Promise<void> {
    let token: string | null = null
    try {
      token = await this.#options.token?.() ?? null
    } catch (error) {
      return this.#lost(1006, (error as Error).message)
    }
    if (this.#isStopped) return
    this.#heardAt = performance.now()
    this.#complaint = ''
    this.#socket = new RawSocket(this.#options.url, {
      open: () => this.#send([IN.HELLO, token, 'uproar-watcher/1']),
      message: (bytes) => this.#read(bytes),
      close: (code, reason) => this.#closed(code, reason)
    })
  }

  #send (frame: Frame): void { this.#socket?.send(encode(frame)) }

  #read (bytes: Uint8Array): void {
    this.#heardAt = performance.now()
    for (const frame of this.#reader.read(bytes).frames) this.#frame(frame)
    this.#wake()
  }

  #frame (frame: Frame): void {
    if (isEntry(frame)) {
      this.account.entry(frame[1] as number)
      this.#options.onEntry?.(frame)
      return
    }
    const { account } = this
    switch (frame[0]) {
      case OUT.WELCOME: {
        const { room, view = 'full', history = 0 } = this.#options
        const position = account.last < 0 ? null : [account.epoch, account.last]
        return this.#send([IN.JOIN, 1, room, { view, history: position === null ? history : 0, position }])
      }
      case OUT.JOINED: return this.#joined(frame)
      case OUT.SKIPPED: {
        const [, first, last, count, reason] = frame as unknown as [number, number, number, number, string]
        account.skip(first, last, count)
        this.skips.push({ first, last, reason })
        return
      }
      case OUT.ERR:
        if (frame[1] === null) this.#complaint = String(frame[4])
        if (frame[1] === 1) this.#giveUp(`the join was refused: ${String(frame[3])}, ${String(frame[4])}`)
    }
  }

  #joined (frame: Frame): void {
    const [, , , epoch, head, , recovered] = frame as unknown as [number, number, string, string, number, unknown, boolean]
    this.#failures = 0
    this.joins++
    const { account } = this
    if (this.joins === 1) account.join(epoch, (this.#options.history ?? 0) === 0 ? head + 1 : null)
    else if (!recovered) account.restart(epoch)
    // Recovered into an epoch that is not ours would be a lie; so would a log shorter than what we have read.
    else if (epoch !== account.epoch || head < account.last) this.#giveUp('the server recovered a position it cannot have')
  }

  #closed (code: number, reason: string): void {
    const words = [reason, this.#complaint].filter((text) => text !== '').join(': ')
    this.#lost(code, `${this.#options.url} cannot be joined: ${words === '' ? `closed with ${code}` : words}`, words)
  }

  #lost (code: number, sentence: string, reason = sentence): void {
    this.#socket = null
    if (this.#isStopped) return
    this.closes.push(code)
    this.#lastReason = sentence
    if (!mayReconnect(code)) {
      this.#giveUp(`the server closed with ${code} ${reason}`)
    } else if (this.failure === null) {
      const restMs = Math.min(REST_MS_MAX, 25 * 2 ** this.#failures++) * (0.5 + Math.random() / 2)
      setTimeout(() => { if (!this.#isStopped) void this.#connect() }, restMs)
    }
    this.#wake()
  }

  #giveUp (why: string): void {
    this.failure = why
    this.#socket?.close()
    this.#wake()
  }

  #tick (): void {
    if (this.#socket?.isOpen !== true) return
    const { account } = this
    if (performance.now() - this.#heardAt > DEAD_MS) return this.#socket.destroy()
    this.#send([IN.PING, 1, account.last > 0 ? { [this.#options.room]: account.last } : null])
  }

  #wake (): void {
    for (const wake of [...this.#wakers]) wake()
  }
}
