// The reader's own messages on their way: shown at once, marked until the server has them, kept with a way to try again
// when it refuses. Bound: 20 at a time. The log is the truth: a row leaves here when the log's own copy is shown.

import { UproarError, type Author, type Ext, type MessageEntry, type Sent } from '../client.ts'
import { fillBody, pieces } from './body.ts'
import { colourName } from './name-colour.ts'
import { refusal, TEXTS } from './texts.ts'

const PENDING_MAX = 20
/** Failures that leave open whether the server has the message: trying again must use the same nonce. */
const UNKNOWN_OUTCOME: readonly string[] = ['unavailable', 'overloaded', 'internal', 'closed']

export interface Draft {
  readonly text: string
  readonly ext: Ext
}

interface Pending {
  readonly draft: Draft
  readonly row: HTMLLIElement
  readonly note: HTMLElement
  nonce: string
  seq: number | null
  hasFailed: boolean
}

export interface OutboxParts {
  readonly rows: HTMLElement
  readonly deliver: (draft: Draft, nonce: string) => Promise<Sent>
  readonly sent: () => void
  readonly refused: (error: UproarError, text: string) => void
  readonly changed: () => void
}

export class Outbox {
  readonly #parts: OutboxParts
  readonly #pending = new Set<Pending>()

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
    const { row, note } = pendingRow(draft, author)
    const pending: Pending = { draft, row, note, nonce: nonce(), seq: null, hasFailed: false }
    this.#pending.add(pending)
    this.#parts.rows.append(row)
    this.#parts.changed()
    void this.#deliver(pending)
  }

  /** The log brought a message of the reader: the waiting row it belongs to leaves. */
  arrived (entry: MessageEntry): void {
    for (const pending of this.#pending) {
      // Before the server's OK the seq is not known yet; the same text is answer enough, and what is left settles by seq.
      const isSame = pending.seq === null ? !pending.hasFailed && pending.draft.text === entry.body : pending.seq === entry.seq
      if (isSame) return this.#drop(pending)
    }
  }

  /** Takes back all that failed or waits, as when the reader leaves. */
  clear (): void {
    for (const pending of this.#pending) this.#drop(pending)
  }

  async #deliver (pending: Pending): Promise<void> {
    pending.hasFailed = false
    pending.row.className = 'row is-mine is-pending'
    pending.note.replaceChildren(TEXTS.sending)
    try {
      const { seq } = await this.#parts.deliver(pending.draft, pending.nonce)
      pending.seq = seq
      pending.row.classList.remove('is-pending')
      pending.note.replaceChildren()
      this.#parts.sent()
    } catch (error) {
      const fault = error instanceof UproarError ? error : new UproarError(50, 'internal', 'something failed')
      if (this.#pending.has(pending)) this.#failed(pending, fault)
    }
  }

  #failed (pending: Pending, fault: UproarError): void {
    if (!UNKNOWN_OUTCOME.includes(fault.name)) pending.nonce = nonce()
    pending.hasFailed = true
    pending.row.className = 'row is-mine is-failed'
    const retry = button('Try again', () => { void this.#deliver(pending) })
    const discard = button('Discard', () => this.#drop(pending))
    pending.note.replaceChildren(`${TEXTS.notSent} `, retry, discard)
    this.#parts.refused(fault, refusal(fault.name, fault.message, fault.retryAfterMs))
    this.#parts.changed()
  }

  #drop (pending: Pending): void {
    this.#pending.delete(pending)
    pending.row.remove()
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
