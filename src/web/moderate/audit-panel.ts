// The audit log of one room: newest first, by user and action, older rows on demand. While it is in sight and nobody has
// asked for older rows, it is read anew when something was done. Bound: ROWS_MAX rows.

import { make, part, show, write } from '../page/dom.ts'
import type { Acts } from './acts.ts'
import { auditLine } from './audit-line.ts'
import type { AuditRow, Desk } from './desk.ts'
import { TEXTS } from './texts.ts'
import type { WatchedRoom } from './watched-room.ts'

const PAGE = 50
const ROWS_MAX = 1000
const AGAIN_MS = 1500

export interface AuditPanelParts {
  readonly rooms: readonly WatchedRoom[]
  readonly acts: Acts
  readonly desk: Desk
  readonly about: (room: WatchedRoom, user: string) => void
}

export class AuditPanel {
  readonly #parts: AuditPanelParts
  readonly #panel = part('panel-log', HTMLElement)
  readonly #user = part('audit-user', HTMLInputElement)
  readonly #action = part('audit-action', HTMLSelectElement)
  #room: WatchedRoom
  #rows: AuditRow[] = []
  #next: number | null = null
  #asked = 0
  #isDeep = false
  #timer: ReturnType<typeof setTimeout> | null = null

  constructor (parts: AuditPanelParts) {
    this.#parts = parts
    this.#room = parts.rooms[0] as WatchedRoom
    this.#action.append(...Object.entries(TEXTS.action).map(([value]) => make('option', { value, textContent: value })))
    for (const room of parts.rooms) room.on('acted', () => { if (room === this.#room) this.#again() })
    part('audit-form', HTMLFormElement).addEventListener('submit', (event) => { event.preventDefault(); void this.read() })
    this.#action.addEventListener('change', () => { void this.read() })
    this.#user.addEventListener('change', () => { void this.read() })
    part('audit-older', HTMLButtonElement).addEventListener('click', () => { void this.#older() })
  }

  set room (room: WatchedRoom) {
    this.#room = room
    this.#rows = []
    if (!this.#panel.hidden) void this.read()
  }

  /** Reads the newest rows. */
  async read (): Promise<void> {
    this.#isDeep = false
    await this.#ask(undefined)
  }

  #again (): void {
    if (this.#panel.hidden || this.#isDeep) return
    this.#timer ??= setTimeout(() => { this.#timer = null; if (!this.#panel.hidden && !this.#isDeep) void this.read() }, AGAIN_MS)
  }

  async #older (): Promise<void> {
    if (this.#next === null) return
    this.#isDeep = true
    await this.#ask(this.#next)
  }

  async #ask (before: number | undefined): Promise<void> {
    const mine = ++this.#asked
    const room = this.#room
    try {
      const { rows, next } = await this.#parts.desk.audit(room.name, { user: this.#user.value.trim(), action: this.#action.value, limit: PAGE, ...before === undefined ? {} : { before } })
      if (mine !== this.#asked) return
      this.#rows = before === undefined ? [...rows] : [...this.#rows, ...rows]
      this.#next = this.#rows.length < ROWS_MAX ? next : null
      this.#draw()
    } catch (error) {
      if (mine === this.#asked) this.#parts.acts.refused(error)
    }
  }

  #draw (): void {
    const room = this.#room
    part('audit-rows', HTMLElement).replaceChildren(...this.#rows.map((row) => auditLine(row, (user) => this.#parts.about(room, user))))
    write(part('audit-count', HTMLElement), this.#rows.length === 0 ? TEXTS.noneFound : TEXTS.rows(this.#rows.length) + (this.#next === null ? '' : '+'))
    show(part('audit-older', HTMLElement), this.#next !== null)
  }
}
