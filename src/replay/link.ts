// One author's connection: HELLO, JOIN, then drafts in flight by rid. Owns the socket and what is unanswered; must not
// know who else speaks or what is retried (pool.ts). At most WINDOW drafts are in flight.
//
//   opening → greeting (HELLO) → joining (JOIN) → ready ⇄ sending → closed

import { encode, type Frame } from '../../proto/codec.ts'
import { CLOSES, mayReconnect } from '../../proto/codes.ts'
import { IN, KIND, OUT } from '../../proto/ops.ts'
import type { BatchReader } from './batches.ts'
import { RawSocket } from './socket.ts'

/** What is to be said, and what has been tried. */
export interface Draft {
  readonly number: number
  readonly user: string
  readonly text: string
  readonly nonce: string
  attempts: number
  /** performance.now() of the first SEND; 0 before. */
  firstSentAt: number
}

export interface Refused { readonly name: string, readonly message: string }
export interface Accepted { readonly seq: number, readonly ts: number }

export interface LinkEnd { readonly mayReturn: boolean, readonly name: string, readonly message: string }

export interface LinkHandlers {
  ready (link: Link): void
  answered (link: Link, draft: Draft, answer: Accepted | Refused): void
  /** Once; the drafts that were in flight, in the order they were sent, and whether coming back may help. */
  closed (link: Link, unanswered: readonly Draft[], end: LinkEnd): void
}

export interface LinkOptions {
  readonly url: string
  readonly room: string
  readonly run: string
  readonly token: string
  readonly reader: BatchReader
}

export const WINDOW = 8
/** Refusals that say "come again": worth the same draft or join once more. */
export const RETRIABLE: ReadonlySet<string> = new Set(['unavailable', 'overloaded'])
const ANSWER_TIMEOUT_MS = 15_000

export class Link {
  readonly author: string
  #options: LinkOptions
  #handlers: LinkHandlers
  #socket: RawSocket
  #state: 'opening' | 'greeting' | 'joining' | 'ready' | 'closing' | 'closed' = 'opening'
  #inFlight = new Map<number, Draft>()
  #rid = 0
  #position = 0
  #waitingSince = performance.now()
  #refusal: Refused | null = null
  /** The server's sentence about the whole connection, which it says before it closes. */
  #complaint = ''

  constructor (author: string, options: LinkOptions, handlers: LinkHandlers) {
    this.author = author
    this.#options = options
    this.#handlers = handlers
    this.#socket = new RawSocket(options.url, {
      open: () => this.#step('greeting', [IN.HELLO, options.token, 'uproar-replay/1']),
      message: (bytes) => this.#read(bytes),
      close: (code, reason) => this.#closed(code, reason)
    })
  }

  get isReady (): boolean { return this.#state === 'ready' }
  get isIdle (): boolean { return this.#state === 'ready' && this.#inFlight.size === 0 }
  get canSend (): boolean { return this.#state === 'ready' && this.#inFlight.size < WINDOW }

  send (draft: Draft): void {
    const rid = ++this.#rid
    const now = performance.now()
    draft.attempts++
    if (draft.firstSentAt === 0) draft.firstSentAt = now
    if (this.#inFlight.size === 0) this.#waitingSince = now
    this.#inFlight.set(rid, draft)
    const ext = { meta: { run: this.#options.run, line: draft.number } }
    this.#socket.send(encode([IN.SEND, rid, this.#options.room, draft.nonce, KIND.text, draft.text, ext]))
  }

  /** Tells the server how far this connection has read. */
  ping (): void {
    if (this.#state === 'ready') this.#socket.send(encode([IN.PING, null, { [this.#options.room]: this.#position }]))
  }

  /** Ends a connection that has waited too long for an answer. */
  checkDeadline (now: number): void {
    const isWaiting = this.#inFlight.size > 0 || !this.isReady
    if (isWaiting && now - this.#waitingSince > ANSWER_TIMEOUT_MS) this.#socket.destroy()
  }

  close (): void {
    this.#state = 'closing'
    this.#waitingSince = performance.now()
    this.#socket.close()
  }

  #step (state: 'greeting' | 'joining', frame: Frame): void {
    this.#state = state
    this.#socket.send(encode(frame))
  }

  #read (bytes: Uint8Array): void {
    const batch = this.#options.reader.read(bytes)
    if (batch.lastSeq > this.#position) this.#position = batch.lastSeq
    for (const frame of batch.personal) this.#frame(frame)
  }

  #frame (frame: Frame): void {
    switch (frame[0]) {
      case OUT.WELCOME:
        return this.#step('joining', [IN.JOIN, 0, this.#options.room, { history: 0, view: 'live' }])
      case OUT.JOINED:
        this.#state = 'ready'
        this.#position = Math.max(this.#position, frame[4] as number)
        return this.#handlers.ready(this)
      case OUT.OK: {
        const [seq, ts] = frame[2] as [number, number]
        return this.#answer(frame[1] as number, { seq, ts })
      }
      case OUT.ERR:
        if (this.#state === 'joining' && frame[1] === 0) {
          this.#refusal = { name: frame[3] as string, message: frame[4] as string }
          return this.close()
        }
        if (frame[1] === null) this.#complaint = frame[4] as string
        else this.#answer(frame[1] as number, { name: frame[3] as string, message: frame[4] as string })
    }
  }

  #answer (rid: number, answer: Accepted | Refused): void {
    const draft = this.#inFlight.get(rid)
    if (draft === undefined) return
    this.#inFlight.delete(rid)
    this.#waitingSince = performance.now()
    this.#handlers.answered(this, draft, answer)
  }

  #closed (code: number, reason: string): void {
    this.#state = 'closed'
    const unanswered = [...this.#inFlight.values()]
    this.#inFlight.clear()
    this.#handlers.closed(this, unanswered, this.#end(code, reason))
  }

  #end (code: number, reason: string): LinkEnd {
    if (this.#refusal !== null) return { mayReturn: RETRIABLE.has(this.#refusal.name), ...this.#refusal }
    if (mayReconnect(code)) return { mayReturn: true, name: 'connection lost', message: reason }
    return { mayReturn: false, name: CLOSES.find((row) => row.code === code)?.name ?? `closed ${code}`, message: this.#complaint || reason }
  }
}
