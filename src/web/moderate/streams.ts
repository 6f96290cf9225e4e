// The streams side by side, or all rooms in one: which of the two is remembered in this browser. Rows are chosen with the
// pointer or by keys; what is done with one is the row bar's and the keys' affair.

import { recall, remember } from '../page/memory.ts'
import { Column } from './column.ts'
import type { RowBar } from './row-bar.ts'
import type { Watched, WatchedRoom } from './watched-room.ts'

export type Layout = 'columns' | 'merged'

export interface StreamsParts {
  readonly host: HTMLElement
  readonly rooms: readonly WatchedRoom[]
  readonly bar: RowBar
  readonly settings: (room: WatchedRoom) => void
}

export class Streams {
  readonly #parts: StreamsParts
  #columns: Column[] = []
  #layout: Layout = 'columns'

  constructor (parts: StreamsParts) {
    this.#parts = parts
    setInterval(() => this.#tick(), 1000)
    this.show(recall('moderate.layout') === 'merged' ? 'merged' : 'columns')
  }

  get layout (): Layout { return this.#layout }

  /** Shows the rooms like this from now on. */
  show (layout: Layout): void {
    const { host, rooms, bar, settings } = this.#parts
    this.#layout = layout
    remember('moderate.layout', layout)
    bar.leave()
    for (const column of this.#columns) column.end()
    const groups = layout === 'merged' ? [rooms] : rooms.map((room) => [room])
    this.#columns = groups.map((group) => new Column({ rooms: group, settings }))
    host.classList.toggle('is-merged', layout === 'merged' && rooms.length > 1)
    host.replaceChildren(...this.#columns.map(({ node }) => node))
    for (const column of this.#columns) bar.serve(column)
  }

  /** Moves the focus to the stream before or after the one that has it; without one, to the first. */
  focus (step: -1 | 0 | 1 = 0): void {
    const at = this.#columns.findIndex(({ node }) => node.contains(document.activeElement))
    const column = this.#columns[at < 0 ? 0 : (at + step + this.#columns.length) % this.#columns.length]
    column?.log.focus({ preventScroll: true })
    column?.node.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }

  /** A message as it is shown somewhere here, or null. */
  find (key: number): Watched | null {
    for (const { timeline } of this.#columns) {
      const message = timeline.find(key)
      if (message !== null) return message as Watched
    }
    return null
  }

  #tick (): void {
    for (const room of this.#parts.rooms) room.tick()
    for (const column of this.#columns) column.tick()
  }
}

/** The two buttons that change the layout. */
export function layoutSwitch (streams: Streams, buttons: Readonly<Record<Layout, HTMLButtonElement>>): void {
  const draw = (): void => { for (const layout of ['columns', 'merged'] as const) buttons[layout].ariaPressed = String(streams.layout === layout) }
  for (const layout of ['columns', 'merged'] as const) buttons[layout].addEventListener('click', () => { streams.show(layout); draw() })
  draw()
}

