// The reader's own messages on their way: shown at once, marked until the server has them, kept with a way to try again
// when it refuses, also over a reload of the tab. Bound: 20 at a time. The log is the truth: a row leaves here when the log's own copy is shown.

import { UproarError, type Author, type Ext, type MessageEntry, type Sent } from '../client.ts'
import { fillBody, pieces } from './body.ts'
import { recall, remember } from './memory.ts'
import { colourName } from './name-colour.ts'
import { refusal, TEXTS } from './texts.ts'

const PENDING_MAX = 20
/** Failures that leave open whether the server has the message: trying again must use the same nonce. */
const UNKNOWN_OUTCOME: readonly string[] = ['unavailable', 'overloaded', 'internal', 'closed']
/** A message of the log this much older than a line that waits is another one that says the same. */
const SKEW_MS = 60_000

export interface Draft {
  readonly text: string
  readonly ext: Ext
}

interface Pending {
  readonly draft: Draft
  readonly row: HTMLLIElement
  readonly note: HTMLElement
  readonly at: number
  nonce: string
  seq: number | null
  /** A moderator looks at it first. */
  isHeld: boolean
  hasFailed: boolean
  /** The server may have it: no answer came. */
  isUnsure: boolean
}

/** What of a waiting line outlives a reload. */
type Kept = Pick<Pending, 'draft' | 'at' | 'nonce' | 'isUnsure'>

export interface OutboxParts {
  readonly room: string
  readonly rows: HTMLElement
  readonly deliver: (draft: Draft, nonce: string) => Promise<Sent>
  readonly sent: () => void
  readonly refused: (error: UproarError, text: string) => void
  readonly changed: () => void
}

export class Outbox {
  readonly #parts: OutboxParts
  readonly #pending = new Set<Pending>()
  #author: Author | null = null

  constructor (parts: OutboxParts) {
    this.#parts = parts
  }

  get isFull (): boolean {
    return this.#pending.size >= PENDING_MAX
  }

  get size (): number {
    return this.#pending.size
  }

  /** Shows the message and sends it. */
  send (draft: Draft, author: Author): void {
    void this.#deliver(this.#add({ draft, at: Date.now(), nonce: nonce(), isUnsure: true }, author))
  }

  /** Begins anew for this reader, with what they could not send in this tab before; the rows of anybody else leave. */
  enter (reader: Author | null): void {
    for (const { row } of this.#pending) row.remove()
    this.#pending.clear()
    this.#author = reader
    if (reader !== null) for (const kept of this.#kept(reader)) this.#offer(this.#add(kept, reader))
    this.#parts.changed()
  }

  /** The log brought a message of the reader: the waiting row it belongs to leaves. */
  arrived (entry: MessageEntry): void {
    for (const pending of this.#pending) {
      // Before the server's OK the seq is not known yet; the same text is answer enough, and what is left settles by seq.
      const isSame = pending.seq === null ? pending.isUnsure && pending.draft.text === entry.body && entry.ts > pending.at - SKEW_MS : pending.seq === entry.seq
      if (isSame) return this.#drop(pending)
    }
  }

  async #deliver (pending: Pending): Promise<void> {
    pending.hasFailed = false
    pending.isHeld = false
    pending.isUnsure = true
    pending.row.className = 'row is-mine is-pending'
    pending.note.replaceChildren(TEXTS.sending)
    try {
      const { seq } = await this.#parts.deliver(pending.draft, pending.nonce)
      pending.seq = seq
      pending.row.classList.remove('is-pending')
      pending.note.replaceChildren()
      this.#keep()
      this.#parts.sent()
    } catch (error) {
      const fault = error instanceof UproarError ? error : new UproarError(50, 'internal', 'something failed')
      if (this.#pending.has(pending)) this.#failed(pending, fault)
    }
  }

  /** A moderator did not let one through: the one that has waited longest. */
  denied (): void {
    const waiting = [...this.#pending].find(({ isHeld }) => isHeld)
    if (waiting !== undefined) this.#drop(waiting)
  }

  #failed (pending: Pending, fault: UproarError): void {
    if (fault.name === 'held') return this.#hold(pending, fault)
    pending.isUnsure = UNKNOWN_OUTCOME.includes(fault.name)
    if (!pending.isUnsure) pending.nonce = nonce()
    this.#offer(pending)
    this.#keep()
    this.#parts.refused(fault, refusal(fault.name, fault.message, fault.retryAfterMs))
    this.#parts.changed()
  }

  /** It stays as it is, with its nonce, until the log brings it. */
  #hold (pending: Pending, fault: UproarError): void {
    pending.isHeld = true
    pending.note.replaceChildren(TEXTS.waiting)
    this.#keep()
    this.#parts.refused(fault, refusal(fault.name, fault.message, fault.retryAfterMs))
  }

  #offer (pending: Pending): void {
    pending.hasFailed = true
    pending.row.className = 'row is-mine is-failed'
    const retry = button('Try again', () => { void this.#deliver(pending) })
    const discard = button('Discard', () => this.#drop(pending))
    pending.note.replaceChildren(`${TEXTS.notSent} `, retry, ' ', discard)
  }

  #add ({ draft, at, nonce, isUnsure }: Kept, author: Author): Pending {
    const pending: Pending = { ...pendingRow(draft, author), draft, at, nonce, isUnsure, seq: null, hasFailed: false, isHeld: false }
    this.#pending.add(pending)
    this.#parts.rows.append(pending.row)
    this.#parts.changed()
    this.#keep()
    return pending
  }

  get #key (): string {
    return `unsent.${this.#parts.room}`
  }

  #keep (): void {
    const lines = [...this.#pending].filter(({ seq }) => seq === null).map(({ draft, at, nonce, isUnsure }): Kept => ({ draft, at, nonce, isUnsure }))
    remember(this.#key, lines.length === 0 ? null : JSON.stringify({ user: this.#author?.id, lines }), 'tab')
  }

  #kept (reader: Author): Kept[] {
    try {
      const { user, lines } = JSON.parse(recall(this.#key, 'tab') ?? '{}') as { user?: unknown, lines?: unknown }
      return user === reader.id && Array.isArray(lines) ? lines.filter(isKept).slice(0, PENDING_MAX) : []
    } catch {
      // Not written by this page: nothing to bring back.
      return []
    }
  }

  #drop (pending: Pending): void {
    this.#pending.delete(pending)
    pending.row.remove()
    this.#keep()
    this.#parts.changed()
  }
}

function pendingRow (draft: Draft, author: Author): { row: HTMLLIElement, note: HTMLElement } {
  const row = document.createElement('li')
  const line = document.createElement('span')
  line.className = 'line'
  const name = document.createElement('bdi')
  name.className = 'name'
  name.textContent = author.name
  colourName(name, author.id)
  const body = document.createElement('bdi')
  body.className = 'body'
  fillBody(body, pieces(draft.text, author.name))
  const note = document.createElement('span')
  note.className = 'note'
  line.append(name, ': ', body, ' ', note)
  row.append(line)
  return { row, note }
}

function isKept (value: unknown): value is Kept {
  const { draft, at, nonce, isUnsure } = (value ?? {}) as { [Key in keyof Kept]?: unknown }
  const { text, ext } = (draft ?? {}) as { [Key in keyof Draft]?: unknown }
  return typeof text === 'string' && typeof ext === 'object' && ext !== null && typeof at === 'number' && typeof nonce === 'string' && typeof isUnsure === 'boolean'
}

function button (text: string, act: () => void): HTMLButtonElement {
  const node = document.createElement('button')
  node.type = 'button'
  node.className = 'link'
  node.textContent = text
  node.addEventListener('click', act)
  return node
}

// Not randomUUID: that is missing on pages served without TLS from other hosts than this one.
function nonce (): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
