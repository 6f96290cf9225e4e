// The way to the server where WebSockets do not get through: one stream of server-sent events per room, read with
// fetch, and REST for the rest. Tells the same things as socket-link.ts. The link is lost when any of its streams is.
// Bounded: 1 MiB of an unfinished event, a deadline on every request and every silence.

import { UproarError, type Entry, type HistoryQuery, type Page, type Sent, type Timing } from './client-types.ts'
import { unanswered, type Draft, type Link, type LinkSink, type Place, type Told } from './link.ts'

const EVENT_CHARACTERS_MAX = 1 << 20

export class StreamLink implements Link {
  readonly #base: string
  readonly #isGuessed: boolean
  readonly #timing: Timing
  readonly #sink: LinkSink
  readonly #streams = new Map<string, AbortController>()
  #token: string | null
  #wasJoined = false
  #isOver = false

  /** `isGuessed`: the address follows from the socket's, the application did not give it. */
  constructor (base: string, isGuessed: boolean, token: string | null, timing: Timing, sink: LinkSink) {
    this.#base = `${base}/v1/rooms/`
    this.#isGuessed = isGuessed
    this.#token = token
    this.#timing = timing
    this.#sink = sink
    queueMicrotask(() => { if (!this.#isOver) sink.opened(null) })
  }

  join (place: Place): void {
    const stream = new AbortController()
    this.#streams.get(place.room)?.abort()
    this.#streams.set(place.room, stream)
    this.#read(place, stream).catch((error: unknown) => {
      if (!stream.signal.aborted) this.#end(1006, this.#astray(error))
    })
  }

  async leave (room: string): Promise<void> {
    this.#streams.get(room)?.abort()
    this.#streams.delete(room)
  }

  async send ({ room, nonce, kind, body, ext }: Draft, deadlineMs: number): Promise<Sent> {
    const text = typeof body === 'string' ? body : btoa(Array.from(body, (byte) => String.fromCharCode(byte)).join(''))
    const { seq, ts } = await this.#ask<Sent>(`${room}/messages`, deadlineMs, { method: 'POST', body: JSON.stringify({ nonce, kind, body: text, ext }) })
    return { seq, ts }
  }

  async history (room: string, { before, limit = 50 }: HistoryQuery): Promise<Page> {
    const { entries, more } = await this.#ask<Page>(`${room}/messages?limit=${limit}${before === undefined ? '' : `&before=${before}`}`)
    return { entries: entries.map(withBytes), more }
  }

  async auth (token: string): Promise<void> {
    this.#token = token
  }

  signal (): void {}

  async moderate (room: string, action: string, args: Record<string, unknown>): Promise<unknown> {
    const { seq, ts } = await this.#ask<Sent>(`${room}/actions`, this.#timing.openMs, { method: 'POST', body: JSON.stringify({ action, args }) })
    return [seq, ts]
  }

  probe (): void {}

  close (): void {
    this.#isOver = true
    for (const stream of this.#streams.values()) stream.abort()
  }

  #end (code: number, reason: string, afterMs = 0): void {
    if (this.#isOver) return
    this.close()
    this.#sink.lost(code, reason, afterMs, !this.#wasJoined)
  }

  #headers (more: Record<string, string>): Record<string, string> {
    return this.#token === null ? more : { ...more, authorization: `Bearer ${this.#token}` }
  }

  async #ask<Answer> (path: string, deadlineMs = this.#timing.openMs, request: RequestInit = {}): Promise<Answer> {
    const headers = this.#headers(request.body === undefined ? {} : { 'content-type': 'application/json' })
    try {
      const response = await fetch(this.#base + path, { ...request, headers, signal: AbortSignal.timeout(deadlineMs) })
      const answer = await response.json() as Answer & { error?: ErrorObject }
      if (response.ok && answer.error === undefined) return answer
      throw this.#refusalOf(response, answer.error)
    } catch (error) {
      // Not a refusal: the network failed, the time was up, or something else than our server answered.
      throw error instanceof UproarError ? error : unanswered(this.#astray(error))
    }
  }

  async #read ({ room, position, history, view }: Place, stream: AbortController): Promise<void> {
    let timer: unknown
    const alive = (ms: number): void => {
      clearTimeout(timer as number)
      timer = setTimeout(() => {
        if (!stream.signal.aborted) this.#end(1006, 'the link is dead')
      }, ms)
    }
    stream.signal.addEventListener('abort', () => clearTimeout(timer as number))
    alive(this.#timing.openMs)
    const headers = this.#headers(position === null ? { accept: 'text/event-stream' } : { accept: 'text/event-stream', 'last-event-id': position.join('-') })
    const response = await fetch(`${this.#base}${room}/events?history=${history}&view=${view}`, { headers, signal: stream.signal, cache: 'no-store' })
    if (!response.ok || response.body === null) {
      clearTimeout(timer as number)
      const { error } = await response.json().catch(() => ({})) as { error?: ErrorObject }
      return stream.signal.aborted ? undefined : this.#refuse(room, response.status, this.#refusalOf(response, error))
    }
    const parser = new EventParser()
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    // Not a turn more once it is over: `alive` would set its timer again.
    while (!stream.signal.aborted) {
      alive(this.#timing.pingMs + this.#timing.pongMs)
      const { done, value } = await reader.read()
      if (done) return this.#end(1006, 'the stream ended')
      for (const event of parser.push(value)) {
        if (stream.signal.aborted) return
        this.#hear(room, event)
      }
    }
  }

  #refusalOf ({ status }: Response, error: ErrorObject | undefined): UproarError {
    if (error === undefined) return status >= 500 ? unanswered(this.#astray(`HTTP ${status}`)) : new UproarError(50, 'internal', this.#astray(`HTTP ${status}`))
    const { code, name, message, retryAfterMs } = error
    // The sockets' port answers so as well: where the address is a guess, that is the likelier reason.
    return new UproarError(code, name, code === 12 && this.#isGuessed ? this.#astray(message) : message, retryAfterMs ?? null)
  }

  /** What our REST did not say, with the address that was asked: it may be the wrong one. */
  #astray (what: unknown): string {
    return `${String(what)} (asked ${this.#base}; is httpUrl right?)`
  }

  /** A stream that was not opened: one room's affair, the token's, or the server's. */
  #refuse (room: string, status: number, error: UproarError): void {
    if (status === 401 && this.#token !== null) this.#end(this.#wasJoined ? 4401 : 4501, error.message)
    else if (status === 429 || status >= 500) this.#end(4440, error.message, error.retryAfterMs ?? 0)
    else this.#sink.told(room, 'refused', error)
  }

  #hear (room: string, { name, id, data }: StreamEvent): void {
    const what = JSON.parse(data) as never
    const epoch = id.slice(0, id.lastIndexOf('-'))
    if (name === 'bye') {
      const { code, reason, reconnectAfterMs } = what as { code: number, reason: string, reconnectAfterMs: number }
      this.#end(code, reason, reconnectAfterMs)
    } else if (name === 'refused') {
      // The room let this viewer go: its stream ends, and the link goes on without it.
      this.#streams.get(room)?.abort()
      this.#streams.delete(room)
      const { code, name, message, retryAfterMs } = (what as { error: ErrorObject }).error
      this.#sink.told(room, 'refused', new UproarError(code, name, message, retryAfterMs ?? null))
    } else if (name === 'joined') {
      this.#wasJoined = true
      this.#sink.told(room, 'joined', what)
    } else if (name === 'viewers') this.#sink.told(room, 'viewers', (what as { count: number }).count)
    else if (name === 'skipped') this.#sink.told(room, 'skipped', skippedOf(what), epoch)
    else if ((what as Entry).op === name) this.#sink.told(room, 'entry', withBytes(what), epoch)
  }
}

interface ErrorObject { code: number, name: string, message: string, retryAfterMs?: number | null }

function skippedOf ({ first, last, count, reason }: Told['skipped']): Told['skipped'] {
  return { first, last, count: count ?? last - first + 1, reason }
}

/** JSON carries an opaque body (kind 5) as base64. */
function withBytes (entry: Entry): Entry {
  if (entry.op !== 'message' || entry.kind !== 5) return entry
  return { ...entry, body: Uint8Array.from(atob(entry.body as string), (character) => character.charCodeAt(0)) }
}

export interface StreamEvent { name: string, id: string, data: string }

/** Reads text/event-stream as it comes, in pieces of any size (HTML standard, section 9.2.6). */
export class EventParser {
  #rest = ''
  #event: StreamEvent = { name: '', id: '', data: '' }

  /** The events that end within this piece. Throws when an unfinished one is over 1 MiB. */
  push (piece: string): StreamEvent[] {
    const events: StreamEvent[] = []
    const text = this.#rest + piece
    // A closing CR may be half of a CRLF: it waits for what follows.
    const lines = text.split(/\r\n|\n|\r(?!$)/)
    this.#rest = lines.pop() as string
    for (const line of lines) {
      if (line === '') {
        if (this.#event.data !== '') events.push({ ...this.#event, data: this.#event.data.slice(1) })
        this.#event = { name: '', id: this.#event.id, data: '' }
        continue
      }
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) as unknown as [string, string, string]
      if (field === 'event') this.#event.name = value
      else if (field === 'id') this.#event.id = value
      else if (field === 'data') this.#event.data += `\n${value}`
    }
    if (this.#rest.length + this.#event.data.length > EVENT_CHARACTERS_MAX) throw new Error('an event is too long')
    return events
  }
}
