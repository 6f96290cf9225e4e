// What waits for a decision in all watched rooms: held messages, oldest first, and requests to be unbanned. One click or
// key decides; the item leaves at once and comes back if the server refuses. Bound: the server's (100 and 200 a room).

import { make, part, show, write } from '../page/dom.ts'
import { fillBody, pieces } from '../page/body.ts'
import { badges, icon } from '../page/icons.ts'
import { colourName } from '../page/name-colour.ts'
import type { Acts } from './acts.ts'
import type { HeldMessage, UnbanRequest } from './desk.ts'
import { KeyedList } from './keyed-list.ts'
import { learnName, nameOf } from './names.ts'
import { hourMinute, TEXTS } from './texts.ts'
import type { WatchedRoom } from './watched-room.ts'

const HELD_MAX = 100

interface Held { readonly room: WatchedRoom, readonly message: HeldMessage }
interface Asked { readonly room: WatchedRoom, readonly request: UnbanRequest }

export interface QueuePanelParts {
  readonly rooms: readonly WatchedRoom[]
  readonly acts: Acts
  readonly about: (room: WatchedRoom, user: { readonly id: string, readonly name: string, readonly roles: number }) => void
  /** So much waits now; `isMore`: more than before. */
  readonly waiting: (count: number, isMore: boolean) => void
}

export class QueuePanel {
  readonly #parts: QueuePanelParts
  readonly #held: KeyedList<Held>
  readonly #asked: KeyedList<Asked>
  readonly #answered = new Set<string>()
  #count = 0

  constructor (parts: QueuePanelParts) {
    this.#parts = parts
    this.#held = new KeyedList({ host: part('held', HTMLElement), keyOf: ({ room, message }) => `${room.name} ${message.ref}`, draw: (held) => this.#drawHeld(held) })
    this.#asked = new KeyedList({ host: part('requests', HTMLElement), keyOf: keyOfAsked, draw: (asked) => this.#drawAsked(asked) })
    for (const room of parts.rooms) room.on('waiting', () => this.draw())
    this.draw()
  }

  /** Moves the focus to what has waited longest. */
  focus (): void {
    (document.querySelector<HTMLElement>('#held > *, #requests > *') ?? part('held-heading', HTMLElement)).focus()
  }

  draw (): void {
    const { rooms, waiting } = this.#parts
    const held = rooms.flatMap((room) => room.held.map((message): Held => ({ room, message }))).sort((one, other) => one.message.at - other.message.at)
    const all = rooms.flatMap((room) => room.standing.requests.map((request): Asked => ({ room, request })))
    for (const key of this.#answered) if (!all.some((asked) => keyOfAsked(asked) === key)) this.#answered.delete(key)
    const asked = all.filter((one) => !this.#answered.has(keyOfAsked(one)))
    for (const { message } of held) learnName(message.user)
    this.#held.show(held)
    this.#asked.show(asked)
    // Whoever may not know what waits must not be told that nothing does.
    const isTold = rooms.some((room) => room.isMine === true)
    const isRefused = !isTold && rooms.every((room) => room.isMine === false)
    write(part('held-heading', HTMLElement), isTold ? TEXTS.waitingTitle(held.length) : isRefused ? TEXTS.waitingNotTold : TEXTS.waitingUnknown)
    write(part('requests-heading', HTMLElement), TEXTS.unbanTitle(asked.length))
    show(part('requests-heading', HTMLElement), isTold && (asked.length > 0 || held.length === 0))
    const full = rooms.some((room) => room.held.length >= HELD_MAX)
    write(part('held-full', HTMLElement), full ? TEXTS.waitingFull(HELD_MAX) : '')
    show(part('held-full', HTMLElement), full)
    const count = held.length + asked.length
    if (count !== this.#count) waiting(count, count > this.#count)
    this.#count = count
  }

  #drawHeld ({ room, message }: Held): HTMLElement {
    const { user, body, reason, at, kind, ref } = message
    const text = make('bdi', { className: 'body' })
    fillBody(text, pieces(kind === 5 ? TEXTS.hiddenMessage : body, null))
    const decide = (action: 'approve' | 'deny') => (): void => {
      void this.#parts.acts.act(room, action, { ref }, { early: { show: () => room.decide(ref), takeBack: () => room.decide(ref, false) }, done: TEXTS.done[action](user.name) })
    }
    const node = make('li', { className: 'card' },
      this.#line(room, user, at),
      make('p', { className: 'card-text' }, text),
      make('p', { className: 'card-why', textContent: reason }),
      make('div', { className: 'card-end' }, decision('check', TEXTS.approve, TEXTS.approveLabel(user.name, body), 'A', decide('approve')), decision('close', TEXTS.deny, TEXTS.denyLabel(user.name, body), 'D', decide('deny'))))
    onKeys(node, { a: decide('approve'), d: decide('deny'), Enter: () => this.#parts.about(room, user) })
    return node
  }

  #drawAsked ({ room, request }: Asked): HTMLElement {
    const user = { id: request.user, name: nameOf(request.user), roles: 0 }
    const answer = (action: 'approveUnban' | 'denyUnban') => (): void => {
      const key = keyOfAsked({ room, request })
      const hide = (isHidden: boolean) => () => { if (isHidden) this.#answered.add(key); else this.#answered.delete(key); this.draw() }
      void this.#parts.acts.act(room, action, { user: user.id }, { early: { show: hide(true), takeBack: hide(false) }, done: action === 'approveUnban' ? TEXTS.done.unban(user.name) : TEXTS.done.denyUnban(user.name) })
    }
    const node = make('li', { className: 'card' },
      this.#line(room, user, request.at),
      make('p', { className: 'card-text' }, make('bdi', { textContent: request.text })),
      make('div', { className: 'card-end' }, decision('check', TEXTS.allow, `${TEXTS.allow} ${user.name}`, 'A', answer('approveUnban')), decision('close', TEXTS.refuse, `${TEXTS.refuse} ${user.name}`, 'D', answer('denyUnban'))))
    onKeys(node, { a: answer('approveUnban'), d: answer('denyUnban'), Enter: () => this.#parts.about(room, user) })
    return node
  }

  #line (room: WatchedRoom, user: { readonly id: string, readonly name: string, readonly roles: number }, at: number): HTMLElement {
    const name = make('button', { type: 'button', className: 'name-button', onclick: () => this.#parts.about(room, user) }, make('bdi', { className: 'name', textContent: user.name }))
    colourName(name.firstElementChild as HTMLElement, user.id)
    return make('p', { className: 'card-line' }, badges(user.roles), name, make('span', { className: 'row-room', textContent: `#${room.name}` }), make('time', { className: 'row-time', textContent: hourMinute(at), dateTime: new Date(at).toISOString() }))
  }
}

function keyOfAsked ({ room, request }: Asked): string {
  return `${room.name} ${request.user} ${request.at}`
}

function decision (mark: 'check' | 'close', text: string, label: string, key: string, act: () => void): HTMLElement {
  return make('button', { type: 'button', className: `quiet is-${mark}`, ariaLabel: label, title: `${text} (${key})`, onclick: act }, icon(mark), text)
}

/** Keys that count while the item itself has the focus. */
function onKeys (node: HTMLElement, acts: Readonly<Record<string, () => void>>): void {
  node.addEventListener('keydown', (event) => {
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key]
    if (event.target !== node || act === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    act()
  })
}
