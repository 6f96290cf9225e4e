// One stream of server-sent events: it pulls from the room's cursor, writes, and waits when the socket is full.
//
//   cursor.next ──▶ write ──▶ full? wait for drain, at most slowTimeoutS, else the stream is cut ──▶ cursor.next …
//
// So at most one step of entries is held for a stream. Must not know how it was asked for (events.ts).

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { closeCode, type CloseName } from '../../proto/codes.ts'
import type { Identity, Revoked } from '../auth/auth.ts'
import type { Clock } from '../base/clock.ts'
import { Refusal, refusalOf } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { partsFor, type Cursor, type CursorStep, type Room, type Skip } from '../rooms/rooms.ts'
import { entryEvent, eventText } from './entries.ts'

type Step = Exclude<CursorStep, string | Refusal>

export interface StreamOptions {
  readonly response: ServerResponse
  readonly socket: Socket
  readonly room: Room
  readonly cursor: Cursor
  readonly identity: Identity | null
  readonly revoked: Revoked
  /** Newest entries to begin with, also when the room's log starts anew. */
  readonly history: number
  readonly clock: Clock
  readonly metrics: Metrics
  readonly slowTimeoutMs: number
  /** The room again, after its log ended. */
  readonly reopen: () => Promise<Room | Refusal>
  /** Called once, when the connection closed or the response ended. */
  readonly gone: () => void
  /** A fault that nobody else will hear of. */
  readonly fault: (error: unknown) => void
}

const RETRY_MS = 2000

export class EventStream {
  readonly #options: StreamOptions
  readonly #response: ServerResponse
  #room: Room
  #cursor: Cursor
  #viewers = -1
  #isEnded = false
  #endWait: () => void = () => {}

  constructor (options: StreamOptions) {
    const { response, socket } = options
    this.#options = options
    this.#response = response
    this.#room = options.room
    this.#cursor = options.cursor
    response.on('error', options.fault)
    // A pipelined response that still waits for its turn does not hear that its socket closed.
    const gone = (): void => {
      response.off('close', gone)
      socket.off('close', gone)
      this.#stop()
      options.gone()
    }
    response.once('close', gone)
    socket.once('close', gone)
  }

  /** Writes until the viewer leaves, the token or the room ends, or `bye` is called. Never rejects. */
  async run (): Promise<void> {
    try {
      this.#write(`retry: ${RETRY_MS}\n\n`)
      this.#join()
      while (!this.#isEnded) {
        if (!await this.#drained()) return
        const step = await this.#cursor.next()
        if (this.#isEnded || step === 'closed') return
        if (step instanceof Refusal) await this.#ended(step)
        else this.#deliver(step)
      }
    } catch (error) {
      this.#options.fault(error)
      this.bye('server_error', refusalOf(error).retryAfterMs ?? RETRY_MS)
    }
  }

  /** Says goodbye and ends the response. */
  bye (name: CloseName, reconnectAfterMs: number, reason: string = name): void {
    if (this.#isEnded) return
    this.#stop()
    this.#options.metrics.add('uproar_closes_total', 1, name)
    this.#write(eventText('bye', { code: closeCode(name).code, reason, reconnectAfterMs: Math.round(reconnectAfterMs) }))
    this.#response.end()
  }

  /** Cuts the connection, whatever is still unsent. */
  cut (): void {
    this.#stop()
    this.#options.socket.destroy()
  }

  /** Called every second: ends what may not go on, and tells the viewer count when it changed. */
  tick (now: number, options: { tellsViewers: boolean, beats: boolean }): void {
    if (this.#isEnded) return
    const { identity, revoked } = this.#options
    if (identity !== null && identity.expiresAt <= now) return this.bye('expired', 0)
    if (identity !== null && revoked.has(identity)) return this.bye('unauthorized', 0, 'the token was revoked')
    if (this.#response.writableNeedDrain) return
    if (options.beats) this.#write(': \n\n')
    if (options.tellsViewers && this.#room.total !== this.#viewers) {
      this.#viewers = this.#room.total
      this.#write(eventText('viewers', { count: this.#viewers }))
    }
  }

  #join (): void {
    const { epoch, recovered, start, head } = this.#cursor
    const { name, told, total: viewers } = this.#room
    this.#viewers = viewers
    this.#write(eventText('joined', { room: name, epoch, seq: head, state: told, recovered, viewers }, `${epoch}-${start}`))
  }

  #deliver (step: Step): void {
    const { metrics, identity } = this.#options
    if (step.skipped !== null) this.#write(this.#skipped(step.skipped))
    if (step.entries.length === 0) return
    metrics.add('uproar_deliveries_total', step.entries.length)
    this.#write(Buffer.concat(partsFor(step.entries, identity?.id ?? null, this.#room.isStaff(identity)).map((part) => part instanceof Uint8Array ? entryEvent(this.#cursor.epoch, part) : this.#skipped(part))))
  }

  #skipped ({ first, last, reason }: Skip): Uint8Array {
    const count = last - first + 1
    this.#options.metrics.add('uproar_skipped_total', count, reason)
    return Buffer.from(eventText('skipped', { first, last, count, reason }, `${this.#cursor.epoch}-${last}`))
  }

  /** The room let the viewer go: for good, or it is to be opened anew. */
  async #ended (why: Refusal): Promise<void> {
    this.#cursor.close()
    const room = why.retryAfterMs === null ? why : await this.#options.reopen()
    if (this.#isEnded) return
    if (room instanceof Refusal) return this.#refuse(room)
    this.#room = room
    this.#cursor = room.cursor(null, this.#options.history, this.#options.identity)
    this.#join()
  }

  /** Says why this viewer is no longer in the room, and ends the response. */
  #refuse (why: Refusal): void {
    const { code, name, message, retryAfterMs } = why
    this.#stop()
    this.#write(eventText('refused', { error: { code, name, message, retryAfterMs } }))
    this.#response.end()
  }

  /** True once the socket takes more; false when it ended, or took nothing in time and was cut. */
  async #drained (): Promise<boolean> {
    const response = this.#response
    if (!response.writableNeedDrain) return true
    const { clock, slowTimeoutMs, metrics } = this.#options
    const isInTime = await new Promise<boolean>((resolve) => {
      const settle = (result: boolean): void => {
        timer.cancel()
        response.off('drain', this.#endWait)
        resolve(result)
      }
      const timer = clock.after(slowTimeoutMs, () => settle(false))
      this.#endWait = () => settle(true)
      response.once('drain', this.#endWait)
    })
    if (isInTime) return !this.#isEnded
    metrics.add('uproar_slow_viewers_total', 1, 'closed')
    metrics.add('uproar_closes_total', 1, 'too_slow')
    this.cut()
    return false
  }

  #write (chunk: string | Uint8Array): void {
    if (!this.#response.writableEnded && !this.#response.destroyed) this.#response.write(chunk)
  }

  #stop (): void {
    this.#isEnded = true
    this.#cursor.close()
    this.#endWait()
  }
}
