// Search in what was said in one room, from the archive: by words and author, newest first, older ones on demand. Shows
// also what was removed, with who and why, and what a shadow ban hides. Bound: FOUND_MAX messages.

import { UproarError } from '../client.ts'
import { make, part, show, write } from '../page/dom.ts'
import { colourName } from '../page/name-colour.ts'
import type { Desk, FoundMessage } from './desk.ts'
import { nameOf } from './names.ts'
import { day, fullTime, refusal, TEXTS } from './texts.ts'
import type { WatchedRoom } from './watched-room.ts'

const PAGE = 30
const FOUND_MAX = 600

export interface FindPanelParts {
  readonly desk: Desk
  readonly about: (room: WatchedRoom, user: { readonly id: string, readonly name: string, readonly roles: number }) => void
}

export class FindPanel {
  readonly #parts: FindPanelParts
  readonly #words = part('find-words', HTMLInputElement)
  readonly #author = part('find-author', HTMLInputElement)
  readonly #rows = part('find-rows', HTMLElement)
  #room: WatchedRoom
  #next: string | null = null
  #asked = 0

  constructor (room: WatchedRoom, parts: FindPanelParts) {
    this.#room = room
    this.#parts = parts
    part('find-form', HTMLFormElement).addEventListener('submit', (event) => { event.preventDefault(); void this.#ask(null) })
    part('find-older', HTMLButtonElement).addEventListener('click', () => { void this.#ask(this.#next) })
  }

  set room (room: WatchedRoom) {
    if (room === this.#room) return
    this.#room = room
    this.#clear()
    if (!part('panel-find', HTMLElement).hidden && this.#isAsking) void this.#ask(null)
  }

  get #isAsking (): boolean { return this.#words.value.trim() !== '' || this.#author.value.trim() !== '' }

  async #ask (before: string | null): Promise<void> {
    const asked = ++this.#asked
    const room = this.#room
    if (before === null) this.#clear()
    if (!this.#isAsking) return write(part('find-count', HTMLElement), TEXTS.findWhat)
    try {
      const { messages, next } = await this.#parts.desk.search(room.name, { q: this.#words.value.trim(), author: this.#author.value.trim(), limit: PAGE, ...before === null ? {} : { before } })
      if (asked !== this.#asked) return
      this.#rows.append(...messages.map((message) => this.#line(room, message)))
      const count = this.#rows.childElementCount
      this.#next = count < FOUND_MAX ? next : null
      write(part('find-count', HTMLElement), count === 0 ? TEXTS.nothingFound : `${TEXTS.found(count)}${next === null ? '' : '+'}`)
      show(part('find-older', HTMLElement), this.#next !== null)
    } catch (error) {
      if (asked !== this.#asked || !(error instanceof UproarError)) return
      write(part('find-count', HTMLElement), error.name === 'unavailable' || error.name === 'bad_request' ? TEXTS.notFound(error.message) : refusal(error.name, error.message, error.retryAfterMs))
    }
  }

  #clear (): void {
    this.#rows.replaceChildren()
    this.#next = null
    show(part('find-older', HTMLElement), false)
    write(part('find-count', HTMLElement), '')
  }

  #line (room: WatchedRoom, { ts, user, kind, body, shadow, removed }: FoundMessage): HTMLElement {
    const name = make('bdi', { className: 'name', textContent: user.name })
    colourName(name, user.id)
    const item = make('li', { className: 'audit' },
      make('time', { className: 'row-time', textContent: day(ts), title: fullTime(ts), dateTime: new Date(ts).toISOString() }), ' ',
      make('button', { type: 'button', className: 'link', onclick: () => this.#parts.about(room, user) }, name), ' ',
      make('bdi', { textContent: kind === 5 ? TEXTS.hiddenMessage : body }))
    if (shadow === true) item.append(' ', make('span', { className: 'chip', textContent: TEXTS.hiddenMessage }))
    if (removed != null) item.append(make('span', { className: 'aside' }, ` ${TEXTS.removedBy(removed.by === null ? TEXTS.aRule : nameOf(removed.by))}`, make('bdi', { textContent: TEXTS.because(removed.reason) })))
    return item
  }
}
