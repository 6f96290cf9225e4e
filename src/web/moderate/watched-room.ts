// One room as a moderator watches it: every message as an item for the streams, its modes, and what waits in it, which is
// read anew when the log says that something changed (a STATE entry that names nothing is about guarded things).
// Bounds: RECENT_MAX messages for a change of layout; one reading at a time, not closer together than READ_MS.

import type { ChatRoom, Joined, MessageEntry, RemoveEntry, Skipped, UproarClient } from '../client.ts'
import { UproarError } from '../client.ts'
import { Emitter } from '../emitter.ts'
import { bodyOf, messageOf, removal, type Message, type Reader } from '../page/item.ts'
import type { Desk, HeldMessage, Standing } from './desk.ts'
import { TEXTS } from './texts.ts'

const HISTORY = 150
const RECENT_MAX = 150
const READ_MS = 1500
const RATE_SECONDS = 5
/** Seqs count within a room: the key of a message on this page has the room's number above them. */
const ROOM_STRIDE = 2 ** 44

/** A message of a watched room; its `seq` is the page's key, `place` the seq in its room. */
export interface Watched extends Message {
  readonly room: string
  readonly place: number
}

export interface WatchedEvents {
  message: { readonly message: Watched, readonly isNews: boolean }
  /** Of these nothing is to be shown any more. */
  gone: (message: Watched) => boolean
  edit: { readonly key: number, readonly text: string }
  line: { readonly text: string, readonly tone: 'info' | 'missed' | 'cleared' }
  /** The log is another one: what was shown is void. */
  reset: null
  settings: null
  viewers: null
  /** What waits was read anew. */
  waiting: null
  /** There is a message that is not for our eyes, or gone already. */
  veiled: null
  /** Something was done: the audit log has more. */
  acted: null
  refused: UproarError
}

export class WatchedRoom extends Emitter<WatchedEvents> {
  readonly name: string
  readonly #number: number
  readonly #desk: Desk
  #room: ChatRoom | null = null
  #reader: Reader = null
  #backlogTo = 0
  #hasJoined = false
  #recent: Watched[] = []
  #seconds: number[] = new Array(RATE_SECONDS).fill(0)
  #count = 0
  #timer: ReturnType<typeof setTimeout> | null = null
  #isReading = false
  #readAt = -Infinity
  /** Ids of held messages that somebody here has decided on: not shown until the server agrees or refuses. */
  readonly #decided = new Set<string>()
  #held: readonly HeldMessage[] = []
  standing: Standing = { sanctions: [], requests: [] }
  /** Whether the server lets this reader moderate here; null: not known yet. */
  isMine: boolean | null = null

  constructor (name: string, number: number, desk: Desk) {
    super()
    this.name = name
    this.#number = number
    this.#desk = desk
  }

  get state (): Readonly<Record<string, unknown>> { return this.#room?.state ?? {} }
  get viewers (): number | null { return this.#room?.viewers ?? null }
  /** Messages a second, over the last five. */
  get rate (): number { return this.#seconds.reduce((sum, value) => sum + value, 0) / RATE_SECONDS }
  /** The newest messages, for a stream that begins now. */
  get recent (): readonly Watched[] { return this.#recent }
  get held (): readonly HeldMessage[] { return this.#held.filter(({ ref }) => !this.#decided.has(ref)) }

  /** Enters as this reader; again when the reader becomes somebody else. */
  enter (client: UproarClient, reader: Reader): void {
    this.#reader = reader
    this.#hasJoined = false
    this.isMine = null
    this.#held = []
    this.#decided.clear()
    this.standing = { sanctions: [], requests: [] }
    this.emit('waiting', null)
    const room = this.#room = client.join(this.name, { history: HISTORY, view: 'full' })
    const mine = <E>(act: (event: E) => void) => (event: E) => { if (this.#room === room) act(event) }
    room.on('joined', mine<Joined>((joined) => this.#joined(joined)))
    room.on('message', mine<MessageEntry>((entry) => this.#message(entry)))
    room.on('remove', mine<RemoveEntry>((entry) => this.#remove(entry)))
    room.on('edit', mine<{ target: number, body: string | Uint8Array }>(({ target, body }) => this.emit('edit', { key: this.key(target), text: bodyOf(0, body) })))
    room.on('state', mine(() => {
      this.emit('settings', null)
      this.refresh()
    }))
    room.on('viewers', mine(() => this.emit('viewers', null)))
    room.on('skipped', mine<Skipped>(({ reason, count }) => {
      if (reason === 'removed') this.emit('veiled', null)
      else if (reason !== 'sampled') this.emit('line', { text: TEXTS.missed(count), tone: 'missed' })
    }))
    room.on('refused', mine<UproarError>((error) => this.emit('refused', error)))
  }

  /** Carries out an action; rejects with UproarError. */
  moderate (action: string, args: Record<string, unknown>): Promise<unknown> {
    return this.#room?.moderate(action, args) ?? Promise.reject(new UproarError(40, 'unavailable', 'not connected', null))
  }

  key (seq: number): number { return this.#number * ROOM_STRIDE + seq }

  /** A held message is decided on (or, undone, is not). */
  decide (ref: string, isDecided = true): void {
    if (isDecided) this.#decided.add(ref)
    else {
      this.#decided.delete(ref)
      this.refresh()
    }
    this.emit('waiting', null)
  }

  /** A second has passed: keeps the rate. */
  tick (): void {
    this.#seconds.shift()
    this.#seconds.push(this.#count)
    this.#count = 0
  }

  /** What waits is read anew, soon. */
  refresh (): void {
    if (this.#timer !== null || this.isMine === false) return
    this.#timer = setTimeout(() => { void this.#read() }, Math.max(50, this.#readAt + READ_MS - performance.now()))
  }

  async #read (): Promise<void> {
    this.#timer = null
    if (this.#isReading) return this.refresh()
    const room = this.#room
    this.#isReading = true
    this.#readAt = performance.now()
    try {
      const [held, standing] = await Promise.all([this.#desk.held(this.name), this.#desk.standing(this.name)])
      if (this.#room !== room) return
      this.isMine = true
      this.#held = held
      for (const ref of this.#decided) if (!held.some((message) => message.ref === ref)) this.#decided.delete(ref)
      this.standing = standing
    } catch (error) {
      if (this.#room === room) this.#unread(error as UproarError)
    } finally {
      this.#isReading = false
      this.emit('waiting', null)
      this.emit('acted', null)
    }
  }

  /** Not allowed, or a room that is not there (any more); all else is tried again. */
  #unread ({ name, retryAfterMs }: UproarError): void {
    if (name === 'forbidden' || name === 'unauthorized') this.isMine = false
    if (this.isMine === false || name === 'not_found') return
    this.#readAt = performance.now() + Math.max(retryAfterMs ?? 0, READ_MS)
    this.refresh()
  }

  #joined (joined: Joined): void {
    if (joined.reset) {
      this.#recent = []
      this.emit('reset', null)
      if (this.#hasJoined) this.emit('line', { text: TEXTS.newLog, tone: 'cleared' })
      this.#backlogTo = joined.seq
    }
    this.#hasJoined = true
    this.emit('settings', null)
    this.emit('viewers', null)
    this.refresh()
  }

  #message (entry: MessageEntry): void {
    const { ext } = entry
    const keyed = { ...entry, seq: this.key(entry.seq), ext: typeof ext?.re === 'number' ? { ...ext, re: this.key(ext.re) } : ext }
    const message = Object.assign(messageOf(keyed, this.#reader, (key) => this.#recent.find(({ seq }) => seq === key) ?? null), { room: this.name, place: entry.seq })
    this.#recent.push(message)
    if (this.#recent.length > RECENT_MAX) this.#recent.shift()
    const isNews = entry.seq > this.#backlogTo
    if (isNews) this.#count++
    this.emit('message', { message, isNews })
  }

  #remove (entry: RemoveEntry): void {
    const isNamed = removal(entry)
    const matches = (message: Watched): boolean => message.room === this.name && isNamed({ seq: message.place, user: message.user })
    this.emit('gone', matches)
    if (entry.target['all'] !== undefined && entry.seq > this.#backlogTo) this.emit('line', { text: TEXTS.cleared, tone: 'cleared' })
    this.emit('acted', null)
  }
}
