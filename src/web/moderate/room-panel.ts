// The modes of one room as controls that show what is in force now: a control moves at once and goes back if the server
// refuses. Blocked terms, hosts that links may lead to, announcements, the pinned message, clearing the chat.

import { make, part, show, write } from '../page/dom.ts'
import { icon } from '../page/icons.ts'
import type { Acts } from './acts.ts'
import type { Desk } from './desk.ts'
import { span, TEXTS } from './texts.ts'
import { twiceButton } from './twice-button.ts'
import type { WatchedRoom } from './watched-room.ts'

type Control = HTMLInputElement | HTMLSelectElement

export interface RoomPanelParts {
  readonly rooms: readonly WatchedRoom[]
  readonly acts: Acts
  readonly desk: Desk
  /** The text of a message of the page, or null. */
  readonly textOf: (room: WatchedRoom, seq: number) => string | null
}

export class RoomPanel {
  readonly #parts: RoomPanelParts
  readonly #panel = part('panel-room', HTMLElement)
  readonly #controls: readonly Control[]
  #room: WatchedRoom
  #terms: readonly string[] = []
  #asked = 0
  #timer: ReturnType<typeof setTimeout> | null = null

  constructor (parts: RoomPanelParts) {
    this.#parts = parts
    this.#room = parts.rooms[0] as WatchedRoom
    this.#controls = [...this.#panel.querySelectorAll<Control>('[data-mode]')]
    for (const control of this.#controls) control.addEventListener('change', () => { void this.#set(control) })
    for (const room of parts.rooms) {
      room.on('settings', () => { if (room === this.#room) { this.draw(); this.#again() } })
      room.on('waiting', () => { if (room === this.#room) this.#enable() })
    }
    form('term', (text) => { void this.#act('blockTerm', { term: text }) })
    form('link', (text) => { void this.#links([...this.#allowedLinks, text.toLowerCase().replace(/^https?:\/\//, '').replace(/^www\./, '').replace(/\/.*$/, '')]) })
    form('announce', (text) => { void parts.acts.act(this.#room, 'announce', { text }, { done: TEXTS.done.announce() }) })
    part('unpin', HTMLButtonElement).addEventListener('click', () => { void parts.acts.act(this.#room, 'unpin', {}, { done: TEXTS.done.unpin() }) })
    part('clear-place', HTMLElement).append(twiceButton('Clear the chat', () => { void parts.acts.act(this.#room, 'clear', {}, { done: TEXTS.done.clear(this.#room.name) }) }, 'quiet is-danger'))
    this.draw()
  }

  set room (room: WatchedRoom) {
    this.#room = room
    this.#terms = []
    this.draw()
    void this.read()
  }

  /** Reads what the live state does not tell: the blocked terms. */
  async read (): Promise<void> {
    const mine = ++this.#asked
    if (this.#panel.hidden || this.#room.isMine === false) return
    try {
      const terms = await this.#parts.desk.terms(this.#room.name)
      if (mine !== this.#asked) return
      this.#terms = terms
      this.#drawTerms()
    } catch (error) {
      if (mine === this.#asked) this.#parts.acts.refused(error)
    }
  }

  draw (): void {
    const { state } = this.#room
    for (const control of this.#controls) settle(control, state[control.dataset['mode'] as string])
    const level = Number(state['autoLevel'] ?? 0)
    write(part('level-why', HTMLElement), TEXTS.levels[level] ?? '')
    for (const note of this.#panel.querySelectorAll<HTMLElement>('.by-shield')) show(note, state['shield'] === true)
    const pinned = Number(state['pinned'] ?? 0)
    show(part('pinned', HTMLElement), pinned > 0)
    write(part('pinned-text', HTMLElement), pinned > 0 ? TEXTS.pinned(this.#parts.textOf(this.#room, pinned) ?? `#${pinned}`) : '')
    this.#drawLinks()
    this.#enable()
  }

  #enable (): void {
    part('modes', HTMLFieldSetElement).disabled = this.#room.isMine === false
  }

  /** Terms are guarded: an entry that names no setting may be about them. */
  #again (): void {
    this.#timer ??= setTimeout(() => { this.#timer = null; void this.read() }, 600)
  }

  async #set (control: Control): Promise<void> {
    const name = control.dataset['mode'] as string
    const value = control instanceof HTMLInputElement && control.type === 'checkbox' ? control.checked : Number(control.value)
    control.ariaBusy = 'true'
    await this.#parts.acts.act(this.#room, 'set', { settings: { [name]: value } }, { early: { show: () => {}, takeBack: () => this.draw() } })
    control.ariaBusy = null
  }

  async #act (action: string, args: Record<string, unknown>): Promise<void> {
    if (await this.#parts.acts.act(this.#room, action, args)) await this.read()
  }

  get #allowedLinks (): readonly string[] {
    const value = this.#room.state['allowedLinks']
    return Array.isArray(value) ? value as string[] : []
  }

  async #links (hosts: readonly string[]): Promise<void> {
    await this.#parts.acts.act(this.#room, 'set', { settings: { allowedLinks: [...new Set(hosts)] } })
  }

  #drawTerms (): void {
    part('terms', HTMLElement).replaceChildren(...tags(this.#terms, TEXTS.noTerms, (term) => { void this.#act('unblockTerm', { term }) }))
  }

  #drawLinks (): void {
    const hosts = this.#allowedLinks
    part('links', HTMLElement).replaceChildren(...tags(hosts, TEXTS.noLinks, (host) => { void this.#links(hosts.filter((other) => other !== host)) }))
  }
}

/** Moves a control to what is in force; one that is under way stays. */
function settle (control: Control, value: unknown): void {
  if (control instanceof HTMLInputElement && control.type === 'checkbox') control.checked = value === true
  else if (control instanceof HTMLInputElement) control.checked = control.value === String(value ?? 0)
  else {
    const text = String(value ?? 0)
    if (![...control.options].some((option) => option.value === text)) control.append(make('option', { value: text, textContent: span(Number(text)) }))
    control.value = text
  }
}

function form (id: string, act: (text: string) => void): void {
  const field = part(id, HTMLInputElement)
  part(`${id}-form`, HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault()
    const text = field.value.trim()
    if (text === '') return
    field.value = ''
    act(text)
  })
}

function tags (items: readonly string[], empty: string, takeOut: (item: string) => void): HTMLElement[] {
  if (items.length === 0) return [make('li', { className: 'aside', textContent: empty })]
  return items.map((item) => make('li', { className: 'tag' }, make('bdi', { textContent: item }),
    make('button', { type: 'button', className: 'plain', title: TEXTS.takeOut(item), ariaLabel: TEXTS.takeOut(item), onclick: () => takeOut(item) }, icon('close'))))
}
