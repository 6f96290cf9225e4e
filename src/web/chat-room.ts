// One room as the application holds it: its events in seq order, its settings, and what can be done there.
// Knows its client as the few calls of RoomHost; must not know connections.

import type { Entry, HistoryQuery, Joined, JoinOptions, Page, Position, RoomEvents, SendOptions, Sent, Timing, UproarError } from './client-types.ts'
import { Emitter } from './emitter.ts'
import type { Place, Told } from './link.ts'
import { Sequence } from './sequence.ts'

/** What a room needs of its client. */
export interface RoomHost {
  send (room: string, body: string | Uint8Array, options?: SendOptions): Promise<Sent>
  history (room: string, query?: HistoryQuery): Promise<Page>
  signal (room: string, what: string, value: unknown): void
  moderate (room: string, action: string, args: Record<string, unknown>): Promise<unknown>
  leave (room: ChatRoom): Promise<void>
  /** The room's log is another one than this room follows: it has to be joined anew. */
  stray (): void
}

export class ChatRoom extends Emitter<RoomEvents> {
  readonly name: string
  readonly #host: RoomHost
  readonly #options: JoinOptions
  readonly #sequence: Sequence
  readonly #ready: Promise<Joined>
  readonly #first: { resolve (joined: Joined): void, reject (error: UproarError): void }
  #state: Record<string, unknown> = {}
  #viewers: number | null = null
  #epoch: string | null = null
  #isJoined = false

  /** @internal */
  constructor (name: string, host: RoomHost, options: JoinOptions, timing: Timing) {
    super()
    this.name = name
    this.#host = host
    this.#options = options
    this.#sequence = new Sequence({
      entry: (entry) => this.#entry(entry),
      skipped: (skipped) => this.emit('skipped', skipped),
      repaired: (repaired) => this.emit('repaired', repaired),
      history: (before, limit) => host.history(name, { before, limit })
    }, timing)
    if (options.position !== undefined) {
      this.#epoch = options.position[0]
      this.#sequence.resume(options.position[1])
    }
    const { promise, resolve, reject } = withResolvers<Joined>()
    this.#ready = promise
    this.#first = { resolve, reject }
    // Whoever does not ask for ready() is told by `refused`; that is no unhandled rejection.
    promise.catch(() => null)
  }

  /** The room's settings as known now. */
  get state (): Readonly<Record<string, unknown>> {
    return this.#state
  }

  /** Approximate number of viewers; null until told. */
  get viewers (): number | null {
    return this.#viewers
  }

  /** The last entry delivered (or explained); null before the first join. */
  get position (): Position | null {
    return this.#epoch === null ? null : [this.#epoch, this.#sequence.last]
  }

  /** Whether we are in the room on the present connection. */
  get isJoined (): boolean {
    return this.#isJoined
  }

  /** Resolves at the first join; rejects with UproarError when the server refuses, or at leave or close (`closed`). */
  ready (): Promise<Joined> {
    return this.#ready
  }

  /** Sends a message here; see UproarClient.send. */
  send (body: string | Uint8Array, options?: SendOptions): Promise<Sent> {
    return this.#host.send(this.name, body, options)
  }

  /** Entries before a seq, oldest first. Rejects with UproarError. */
  history (query?: HistoryQuery): Promise<Page> {
    return this.#host.history(this.name, query)
  }

  /** Typing, a reaction, delivered, read: best effort, lost when not connected by WebSocket. */
  signal (what: string, value: unknown = null): void {
    this.#host.signal(this.name, what, value)
  }

  /** A moderator's action (`timeout`, `remove` …) and its arguments; resolves with `[seq, ts]` of its last entry, rejects with UproarError. */
  moderate (action: string, args: Record<string, unknown> = {}): Promise<unknown> {
    return this.#host.moderate(this.name, action, args)
  }

  /** Leaves for good. May be called twice. */
  leave (): Promise<void> {
    return this.#host.leave(this)
  }

  /** @internal Where to join. */
  get place (): Place {
    const { history = 50, view = 'full' } = this.#options
    return { room: this.name, position: this.position, history, view }
  }

  /** @internal What the link heard about this room. */
  hear<Name extends keyof Told> (name: Name, what: Told[Name], epoch: string | undefined): void {
    if (name === 'joined') return this.#join(what as Told['joined'])
    if (!this.#isJoined) return
    if (epoch !== undefined && epoch !== this.#epoch) return this.#host.stray()
    if (name === 'entry') this.#sequence.entry(what as Entry)
    else if (name === 'skipped') this.#sequence.skip(what as Told['skipped'])
    else if (name === 'viewers') this.emit('viewers', this.#viewers = what as number)
    else if (name === 'signal') this.emit('signal', what as Told['signal'])
  }

  /** @internal The connection is gone, or with an error this room is. */
  part (error?: UproarError): void {
    this.#isJoined = false
    this.#sequence.stop()
    if (error !== undefined) this.#first.reject(error)
  }

  #join ({ epoch, seq, state, recovered, viewers }: Told['joined']): void {
    const reset = epoch !== this.#epoch
    this.#epoch = epoch
    this.#isJoined = true
    this.#state = state
    this.#viewers = viewers ?? this.#viewers
    if (recovered && !reset) this.#sequence.resume(this.#sequence.last)
    else this.#sequence.begin(seq, this.place.history, reset)
    const joined: Joined = { room: this.name, epoch, seq, state, recovered, reset, viewers: this.#viewers }
    this.#first.resolve(joined)
    this.emit('joined', joined)
  }

  #entry (entry: Entry): void {
    if (entry.op === 'state') this.#state = { ...this.#state, ...entry.changes }
    // The entry's op is its event's name; TypeScript cannot follow that through a union.
    this.emit(entry.op, entry as never)
  }
}

function withResolvers<Value> (): { promise: Promise<Value>, resolve (value: Value): void, reject (error: UproarError): void } {
  let resolve!: (value: Value) => void
  let reject!: (error: UproarError) => void
  const promise = new Promise<Value>((...both) => { [resolve, reject] = both })
  return { promise, resolve, reject }
}
