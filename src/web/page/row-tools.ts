// What can be done with a message: one small bar (time, mention, reply) that moves to the row under the pointer or with
// the focus, so that 200 rows do not carry 600 buttons. Also the keys of the log: arrows, Home, End, Enter, Escape.
// Must not know how messages are sent.

import { part, write } from './dom.ts'
import type { Message } from './item.ts'
import { fullTime, hourMinute, TEXTS } from './texts.ts'
import type { Timeline } from './timeline.ts'

/** How long rows keep still for a pointer on the bar that has stopped moving. */
const AIM_MS = 3000
/** The bar stands above its row; so near to the upper edge of the log it stands below. */
const EDGE_PX = 52

export interface RowToolsParts {
  readonly log: HTMLElement
  readonly timeline: Timeline
  readonly canWrite: () => boolean
  readonly reply: (message: Message) => void
  readonly mention: (message: Message) => void
  readonly leave: () => void
}

export class RowTools {
  readonly #parts: RowToolsParts
  readonly #bar = part('tools', HTMLElement)
  readonly #time = part('tools-time', HTMLTimeElement)
  readonly #reply = part('tools-reply', HTMLButtonElement)
  readonly #mention = part('tools-mention', HTMLButtonElement)
  #message: Message | null = null
  #x = -1
  #y = -1

  constructor (parts: RowToolsParts) {
    this.#parts = parts
    const { log, timeline } = parts
    log.addEventListener('pointermove', (event) => this.#pointed(event), { passive: true })
    log.addEventListener('pointerleave', () => this.#moveTo(rowAt(document.activeElement)))
    log.addEventListener('focusin', (event) => this.#focused(rowAt(event.target)))
    log.addEventListener('click', (event) => this.#clicked(event.target as Element))
    log.addEventListener('keydown', (event) => this.#key(event))
    this.#bar.addEventListener('pointerleave', () => timeline.hold(0))
    this.#reply.addEventListener('click', () => this.#act(parts.reply))
    this.#mention.addEventListener('click', () => this.#act(parts.mention))
  }

  /** The message that is gone loses its bar. */
  dropRemoved (): void {
    if (this.#message?.isRemoved === true) this.#moveTo(null)
  }

  /** Shows the row of a message, in the middle and with a flash; false when it is not there any more. */
  jump (seq: number): boolean {
    const row = this.#parts.timeline.find(seq)?.row ?? null
    if (row === null) return false
    this.#parts.timeline.pause()
    row.scrollIntoView({ block: 'center' })
    row.focus({ preventScroll: true })
    row.classList.remove('is-flashing')
    requestAnimationFrame(() => row.classList.add('is-flashing'))
    return true
  }

  // Rows that move under a resting pointer make events too: only a pointer that moved itself means a row.
  #pointed (event: PointerEvent): void {
    if (event.pointerType !== 'mouse' || (event.clientX === this.#x && event.clientY === this.#y)) return
    this.#x = event.clientX
    this.#y = event.clientY
    this.#moveTo(rowAt(event.target))
    if (this.#bar.contains(event.target as Node)) this.#parts.timeline.hold(AIM_MS)
  }

  #act (act: (message: Message) => void): void {
    this.#parts.timeline.hold(0)
    if (this.#message !== null) act(this.#message)
  }

  #moveTo (row: HTMLElement | null): void {
    const seq = row?.dataset['seq']
    if (this.#bar.parentElement !== row) this.#bar.parentElement?.classList.remove('has-tools', 'is-low')
    const message = seq === undefined ? null : this.#parts.timeline.find(Number(seq))
    if (row === null || message === null || message.isRemoved) {
      this.#message = null
      this.#bar.hidden = true
      return
    }
    if (this.#message === message && this.#bar.parentNode === row) return
    this.#message = message
    this.#time.dateTime = new Date(message.ts).toISOString()
    this.#time.title = fullTime(message.ts)
    write(this.#time, hourMinute(message.ts))
    for (const [button, label] of [[this.#reply, TEXTS.reply(message.user.name)], [this.#mention, TEXTS.mention(message.user.name)]] as const) {
      button.ariaLabel = label
      button.title = label
      button.hidden = !this.#parts.canWrite()
      button.tabIndex = row.contains(document.activeElement) ? 0 : -1
    }
    row.append(this.#bar)
    this.#bar.hidden = false
    row.classList.toggle('is-low', row.getBoundingClientRect().top - this.#parts.log.getBoundingClientRect().top < EDGE_PX)
    row.classList.add('has-tools')
  }

  #focused (row: HTMLElement | null): void {
    if (row === null) return
    this.#parts.timeline.pause()
    this.#moveTo(row)
    this.#reply.tabIndex = this.#mention.tabIndex = 0
  }

  #clicked (target: Element): void {
    const quote = target.closest<HTMLElement>('[data-jump]')
    if (quote !== null && !this.jump(Number(quote.dataset['jump']))) quote.setAttribute('aria-disabled', 'true')
  }

  #key (event: KeyboardEvent): void {
    const { log, timeline, leave, reply } = this.#parts
    const row = rowAt(event.target)
    const isOnRow = row !== null && event.target === row
    switch (event.key) {
      case 'ArrowUp': focusRow(row === null ? lastRow(log) : row.previousElementSibling); break
      case 'ArrowDown': if (row === null) return; focusRow(row.nextElementSibling); break
      case 'Home': focusRow(log.querySelector('.row')); break
      case 'End': timeline.resume(); log.focus(); break
      case 'Escape': timeline.resume(); leave(); break
      case 'Enter':
        if (!isOnRow || this.#message === null || !this.#parts.canWrite()) return
        reply(this.#message)
        break
      default: return
    }
    event.preventDefault()
  }
}

function rowAt (target: EventTarget | null): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>('#rows > .row') : null
}

function lastRow (log: HTMLElement): Element | null {
  return log.querySelector('#rows > .row:last-child')
}

function focusRow (row: Element | null): void {
  if (!(row instanceof HTMLElement)) return
  row.focus({ preventScroll: true })
  row.scrollIntoView({ block: 'nearest' })
}
