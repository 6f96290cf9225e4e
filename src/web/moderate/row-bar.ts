// What can be done with a message at once: one small bar that moves to the row under the pointer or with the focus, and
// the keys of a stream. Keys act on the row that has the focus and on no other. Must not know connections.

import { make } from '../page/dom.ts'
import { icon, type IconName } from '../page/icons.ts'
import { QUICK_TIMEOUT_SECONDS, type Acts, type Whom } from './acts.ts'
import type { Column } from './column.ts'
import { TEXTS } from './texts.ts'
import type { Watched, WatchedRoom } from './watched-room.ts'

const AIM_MS = 1500
const EDGE_PX = 40
const PRESETS = [60, 600, 3600, 86_400, 604_800] as const

export interface RowBarParts {
  readonly acts: Acts
  readonly roomOf: (name: string) => WatchedRoom
  /** Opens the card of who wrote it. `field`: where the focus goes. */
  readonly about: (message: Watched, field?: 'reason' | 'note') => void
}

export class RowBar {
  readonly #parts: RowBarParts
  readonly #bar = make('div', { className: 'tools', hidden: true })
  readonly #buttons: readonly { readonly node: HTMLButtonElement, readonly label: (name: string) => string }[]
  #column: Column | null = null
  #message: Watched | null = null
  #x = 0
  #y = 0

  constructor (parts: RowBarParts) {
    this.#parts = parts
    this.#buttons = [
      this.#button('bin', TEXTS.remove, (message) => this.#remove(message)),
      this.#button('clock', TEXTS.timeoutQuick, (message) => { void parts.acts.timeout(this.#whom(message), QUICK_TIMEOUT_SECONDS) }),
      this.#button('ban', TEXTS.banQuick, (message) => this.#ban(message, 'ban', 'B')),
      this.#button('pin', TEXTS.pinThis, (message) => this.#pin(message)),
      this.#button('person', TEXTS.personOf, (message) => parts.about(message))
    ]
    this.#bar.append(...this.#buttons.map(({ node }) => node))
    // A pointer that presses here must not take the focus into the row: that would stop the stream.
    this.#bar.addEventListener('pointerdown', (event) => event.preventDefault())
    this.#bar.addEventListener('pointerleave', () => this.#column?.timeline.hold(0))
  }

  /** From now on for this column as well. */
  serve (column: Column): void {
    const { log } = column
    log.addEventListener('pointermove', (event) => this.#pointed(column, event), { passive: true })
    log.addEventListener('pointerleave', () => { if (!this.#bar.contains(document.activeElement)) this.#moveTo(column, rowAt(document.activeElement)) })
    log.addEventListener('pointerdown', (event) => { if ((event.target as Element).closest('.name') !== null) event.preventDefault() })
    log.addEventListener('focusin', (event) => this.#focused(column, rowAt(event.target)))
    log.addEventListener('click', (event) => this.#clicked(column, event.target as Element))
    log.addEventListener('keydown', (event) => { if (this.#move(column, event) || this.#key(column, event)) event.preventDefault() })
  }

  /** The rows leave. */
  leave (): void {
    this.#message = null
    this.#bar.hidden = true
    this.#bar.remove()
  }

  #button (name: IconName, label: (name: string) => string, act: (message: Watched) => void): { node: HTMLButtonElement, label: (name: string) => string } {
    const node = make('button', { className: 'plain', type: 'button', tabIndex: -1 }, icon(name))
    node.addEventListener('click', () => {
      this.#column?.timeline.hold(0)
      if (this.#message !== null) act(this.#message)
    })
    return { node, label }
  }

  #whom (message: Watched): Whom {
    return { room: this.#parts.roomOf(message.room), user: message.user }
  }

  #remove (message: Watched): void {
    void this.#parts.acts.remove(this.#parts.roomOf(message.room), message)
  }

  #pin (message: Watched): void {
    void this.#parts.acts.act(this.#parts.roomOf(message.room), 'pin', { seq: message.place }, { done: TEXTS.done.pin() })
  }

  #ban (message: Watched, action: 'ban' | 'shadowBan', key: string): void {
    const { acts } = this.#parts
    const what = `${action === 'ban' ? 'ban' : 'shadow ban'} ${message.user.name}`
    if (acts.twice(key, what, `${action} ${message.room} ${message.user.id}`)) void acts.ban(action, this.#whom(message))
  }

  // Rows that move under a resting pointer make events too: only a pointer that moved itself means a row.
  #pointed (column: Column, event: PointerEvent): void {
    if (event.pointerType !== 'mouse' || (event.clientX === this.#x && event.clientY === this.#y)) return
    this.#x = event.clientX
    this.#y = event.clientY
    this.#moveTo(column, rowAt(event.target))
    if (this.#bar.contains(event.target as Node)) column.timeline.hold(AIM_MS)
  }

  #moveTo (column: Column, row: HTMLElement | null): void {
    const message = column.find(row)
    if (this.#bar.parentElement !== row) this.#bar.parentElement?.classList.remove('has-tools', 'is-low')
    this.#column = column
    this.#message = message
    this.#bar.hidden = row === null || message === null
    if (row === null || message === null || this.#bar.parentNode === row) return
    for (const { node, label } of this.#buttons) node.ariaLabel = node.title = label(message.user.name)
    row.append(this.#bar)
    row.classList.toggle('is-low', row.getBoundingClientRect().top - column.log.getBoundingClientRect().top < EDGE_PX)
    row.classList.add('has-tools')
  }

  #focused (column: Column, row: HTMLElement | null): void {
    if (row === null) return
    column.timeline.pause()
    this.#moveTo(column, row)
    for (const { node } of this.#buttons) node.tabIndex = 0
  }

  #clicked (column: Column, target: Element): void {
    const row = rowAt(target)
    const message = column.find(row)
    if (message !== null && target.closest('.name') !== null) this.#parts.about(message)
    const quoted = target.closest<HTMLElement>('[data-jump]')?.dataset['jump']
    if (quoted !== undefined) column.log.querySelector<HTMLElement>(`[data-seq="${CSS.escape(quoted)}"]`)?.focus()
  }

  #move (column: Column, { key, target }: KeyboardEvent): boolean {
    const { log, timeline } = column
    const row = rowAt(target)
    switch (key) {
      case 'ArrowUp': focusRow(row === null ? log.querySelector('.rows > .row:last-child') : row.previousElementSibling); return true
      case 'ArrowDown': focusRow(row?.nextElementSibling ?? null); return row !== null
      case 'Home': focusRow(log.querySelector('.row')); return true
      case 'End':
      case 'Escape': timeline.resume(); log.focus(); return true
      default: return false
    }
  }

  #key (column: Column, event: KeyboardEvent): boolean {
    const row = rowAt(event.target)
    const message = row !== null && row === event.target ? column.find(row) : null
    if (message === null || event.ctrlKey || event.metaKey || event.altKey) return false
    const { acts, about } = this.#parts
    const preset = PRESETS[Number(event.key) - 1]
    if (preset !== undefined) return done(acts.timeout(this.#whom(message), preset))
    switch (event.key) {
      case 'd': case 'D': case 'Delete': return done(this.#remove(message))
      case 't': case 'T': return done(acts.timeout(this.#whom(message), QUICK_TIMEOUT_SECONDS))
      case 'b': case 'B': return done(this.#ban(message, 'ban', 'B'))
      case 's': case 'S': return done(this.#ban(message, 'shadowBan', 'S'))
      case 'p': case 'P': return done(this.#purge(message))
      case 'i': case 'I': return done(this.#pin(message))
      case 'w': case 'W': return done(about(message, 'reason'))
      case 'n': case 'N': return done(about(message, 'note'))
      case 'Enter': return done(about(message))
      default: return false
    }
  }

  #purge (message: Watched): void {
    const { acts } = this.#parts
    if (acts.twice('P', `remove everything that ${message.user.name} said`, `purge ${message.room} ${message.user.id}`)) void acts.purge(this.#whom(message))
  }
}

const done = (_: unknown): true => true

function rowAt (target: EventTarget | null): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>('.rows > .row') : null
}

function focusRow (row: Element | null): void {
  if (!(row instanceof HTMLElement)) return
  row.focus({ preventScroll: true })
  row.scrollIntoView({ block: 'nearest' })
}
