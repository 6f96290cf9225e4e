// The pinned message above the list: shown while the room's setting `pinned` names a message that is there. Found in the
// list, or asked for from history; what was removed is not shown. Bound: one message, one question at a time.

import type { ChatRoom, MessageEntry, RemoveEntry } from '../client.ts'
import { part, show, write } from './dom.ts'
import { messageOf, removal, type Message } from './item.ts'
import { colourName } from './name-colour.ts'

export class Pin {
  readonly #find: (seq: number) => Message | null
  #seq = 0
  #message: Message | null = null

  constructor (find: (seq: number) => Message | null) { this.#find = find }

  /** The room's state says so now. */
  update (room: ChatRoom | null): void {
    const seq = Number(room?.state['pinned'] ?? 0)
    if (seq === this.#seq && this.#message !== null) return
    this.#seq = seq
    const known = seq > 0 ? this.#find(seq) : null
    this.#draw(known)
    if (seq > 0 && known === null && room !== null) void this.#ask(room, seq)
  }

  /** Entries were removed, or the list is another room's. */
  removed (entry: RemoveEntry): void {
    if (this.#message !== null && removal(entry)(this.#message)) this.#draw(null)
  }

  async #ask (room: ChatRoom, seq: number): Promise<void> {
    try {
      const { entries } = await room.history({ before: seq + 1, limit: 1 })
      const found = entries.find((entry): entry is MessageEntry => entry.op === 'message' && entry.seq === seq)
      if (this.#seq === seq && found !== undefined) this.#draw(messageOf(found, null, () => null))
    } catch {
      // It is asked for again when the room's settings come anew.
      if (this.#seq === seq) this.#seq = 0
    }
  }

  #draw (message: Message | null): void {
    this.#message = message === null || message.isRemoved ? null : message
    show(part('pinned', HTMLElement), this.#message !== null)
    if (this.#message === null) return
    const name = part('pinned-name', HTMLElement)
    write(name, this.#message.user.name)
    colourName(name, this.#message.user.id)
    write(part('pinned-text', HTMLElement), this.#message.text)
  }
}
