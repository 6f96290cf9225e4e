// One stream of messages: of one room, or of several with each message's room named. The list itself is the viewer page's
// timeline (bounded, in steps, paused while somebody looks back). Owns its nodes; must not know what actions do.

import { make, show, write } from '../page/dom.ts'
import { icon } from '../page/icons.ts'
import { lineOf, type Item, type Message } from '../page/item.ts'
import { Timeline } from '../page/timeline.ts'
import { hourMinute, short, TEXTS } from './texts.ts'
import type { Watched, WatchedRoom } from './watched-room.ts'

export interface ColumnParts {
  readonly rooms: readonly WatchedRoom[]
  readonly settings: (room: WatchedRoom) => void
}

export class Column {
  readonly node: HTMLElement
  readonly log: HTMLElement
  readonly timeline: Timeline
  readonly rooms: readonly WatchedRoom[]
  readonly #heads = new Map<WatchedRoom, { viewers: HTMLElement, rate: HTMLElement, chips: HTMLElement, note: HTMLElement }>()
  readonly #newest: HTMLButtonElement
  readonly #newestText = make('span')
  readonly #offs: (() => void)[] = []

  constructor ({ rooms, settings }: ColumnParts) {
    this.rooms = rooms
    const label = rooms.length === 1 ? TEXTS.streamOf((rooms[0] as WatchedRoom).name) : TEXTS.streamOfAll
    const rows = make('ol', { className: 'rows' })
    this.log = make('div', { className: 'log', role: 'log', ariaLive: 'off', ariaLabel: label, tabIndex: 0 }, make('div', { className: 'log-inner' }, rows))
    this.log.setAttribute('aria-describedby', 'log-keys')
    this.#newest = make('button', { className: 'newest', type: 'button', hidden: true, onclick: () => { this.timeline.resume(); this.log.focus({ preventScroll: true }) } }, icon('down'), this.#newestText)
    this.node = make('section', { className: 'column', ariaLabel: label }, ...rooms.map((room) => this.#head(room, settings)), make('div', { className: 'log-frame' }, this.log, this.#newest))
    this.timeline = new Timeline({ scroller: this.log, rows, changed: (isPaused, unseen) => this.#paused(isPaused, unseen), dress: (row, item) => dress(row, item, rooms.length > 1) })
    for (const room of rooms) this.#follow(room)
    for (const message of rooms.flatMap(({ recent }) => recent).toSorted((one, other) => one.ts - other.ts)) this.timeline.add(message, false)
  }

  /** The message of a row here, or null. */
  find (row: HTMLElement | null): Watched | null {
    const key = row?.dataset['seq']
    const message = key === undefined ? null : this.timeline.find(Number(key)) as Watched | null
    return message === null || message.isRemoved ? null : message
  }

  /** A second has passed. */
  tick (): void {
    for (const [room, { rate }] of this.#heads) {
      write(rate, TEXTS.rate(room.rate))
      rate.title = TEXTS.rateLabel(room.rate)
    }
  }

  /** Lets everything go: another layout takes its place. */
  end (): void {
    for (const off of this.#offs) off()
    this.timeline.clear()
    this.node.remove()
  }

  #head (room: WatchedRoom, settings: (room: WatchedRoom) => void): HTMLElement {
    const parts = {
      viewers: make('span', { className: 'column-number' }), rate: make('span', { className: 'column-number' }), chips: make('span', { className: 'chips' }), note: make('p', { className: 'column-note', hidden: true })
    }
    this.#heads.set(room, parts)
    const gear = make('button', { className: 'plain', type: 'button', title: TEXTS.settingsOf(room.name), ariaLabel: TEXTS.settingsOf(room.name), onclick: () => settings(room) }, icon('gear'))
    return make('header', { className: 'column-head' }, make('h2', {}, `#${room.name}`), parts.viewers, parts.rate, parts.chips, gear, parts.note)
  }

  #follow (room: WatchedRoom): void {
    const { timeline } = this
    this.#offs.push(
      room.on('message', ({ message, isNews }) => timeline.add(message, isNews)),
      room.on('gone', (matches) => timeline.remove((message) => matches(message as Watched))),
      room.on('edit', ({ key, text }) => timeline.edit(key, text)),
      room.on('line', ({ text, tone }) => timeline.add(lineOf(this.rooms.length > 1 ? `#${room.name}: ${text}` : text, tone), false)),
      room.on('reset', () => { if (this.rooms.length === 1) timeline.clear() }),
      room.on('settings', () => this.#drawHead(room)),
      room.on('viewers', () => this.#drawHead(room)),
      room.on('waiting', () => this.#drawHead(room))
    )
    this.#drawHead(room)
  }

  #drawHead (room: WatchedRoom): void {
    const { viewers, chips, note } = this.#heads.get(room) as { viewers: HTMLElement, chips: HTMLElement, note: HTMLElement }
    viewers.replaceChildren(...room.viewers === null ? [] : [icon('eye'), short(room.viewers)])
    viewers.title = room.viewers === null ? '' : TEXTS.viewers(room.viewers)
    chips.replaceChildren(...chipsOf(room.state))
    write(note, TEXTS.notHere(room.name))
    show(note, room.isMine === false)
  }

  #paused (isPaused: boolean, unseen: number): void {
    show(this.#newest, isPaused)
    if (isPaused) write(this.#newestText, TEXTS.newMessages(unseen))
    this.log.classList.toggle('is-paused', isPaused)
  }
}

function chipsOf (state: Readonly<Record<string, unknown>>): HTMLElement[] {
  return Object.entries(TEXTS.modeChips).flatMap(([name, text]) => {
    const value = state[name]
    if (value === undefined || value === null || value === false || value === 0) return []
    return make('span', { className: name === 'shield' || name === 'locked' ? 'chip is-strong' : 'chip', textContent: typeof text === 'string' ? text : text(Number(value)) })
  })
}

/** When it was said, in which room, and of a removed message whose it was. */
function dress (row: HTMLLIElement, item: Item, isNamed: boolean): void {
  if (item.sort !== 'message') return
  const message = item as Message & Watched
  const line = row.querySelector('.line') as HTMLElement
  if (message.isRemoved) line.textContent = TEXTS.removedOf(message.user.name)
  if (isNamed) line.prepend(make('span', { className: 'row-room', textContent: `#${message.room}` }), ' ')
  line.prepend(make('time', { className: 'row-time', textContent: hourMinute(message.ts), dateTime: new Date(message.ts).toISOString() }), ' ')
}
