// The card of one user in one room: what is in force, what can be done, the moderators' notes, the newest messages and what
// was done before. Read anew when something was done to anybody there. Bound: one user; the server's 50 messages, 10 notes.

import { make, part, show, write } from '../page/dom.ts'
import { badges, icon } from '../page/icons.ts'
import { colourName } from '../page/name-colour.ts'
import type { Acts, Whom } from './acts.ts'
import { auditLine } from './audit-line.ts'
import type { AuditRow, Desk, Person, Sanction } from './desk.ts'
import { learnName, nameOf } from './names.ts'
import { day, fullTime, hourMinute, readSpan, refusal, span, TEXTS } from './texts.ts'
import { twiceButton } from './twice-button.ts'
import type { WatchedRoom } from './watched-room.ts'
import { UproarError } from '../client.ts'

const PRESETS = [60, 600, 3600, 86_400, 604_800] as const
const TIMEOUT = { min: 10, max: 14 * 86_400 } as const
const ROWS = 15
/** How soon the card is read anew after something was done, and after the user wrote. */
const AGAIN_MS = 400
const SAID_MS = 2000
/** What is left of a sanction is told anew so often, and its end is noticed. */
const LEFT_MS = 15_000

interface Subject extends Whom { readonly roles: number }

export interface PersonPanelParts {
  readonly acts: Acts
  readonly desk: Desk
  /** Whether addresses may be banned there: that is for broadcasters. */
  readonly mayBanAddress: (room: WatchedRoom) => boolean
}

export class PersonPanel {
  readonly #parts: PersonPanelParts
  readonly #reason = part('person-reason', HTMLInputElement)
  readonly #purge = part('person-purge', HTMLInputElement)
  readonly #note = part('person-note', HTMLInputElement)
  #subject: Subject | null = null
  #timer: ReturnType<typeof setTimeout> | null = null
  #due = 0
  /** Whether something is in force that ends by itself. */
  #isRunning = false
  #isHidden = false

  constructor (parts: PersonPanelParts, rooms: readonly WatchedRoom[]) {
    this.#parts = parts
    for (const room of rooms) {
      room.on('acted', () => { if (this.#subject?.room === room) this.#again() })
      room.on('message', ({ message, isNews }) => { if (isNews && this.#subject?.room === room && this.#subject.user.id === message.user.id) this.#again(SAID_MS) })
      // What a shadow banned user writes is told to nobody; that there was something is.
      room.on('veiled', () => { if (this.#subject?.room === room && this.#isHidden) this.#again(SAID_MS) })
    }
    setInterval(() => { if (this.#isRunning && !part('panel-person', HTMLElement).hidden) this.#again() }, LEFT_MS)
    part('person-timeouts', HTMLElement).append(...this.#timeouts())
    part('person-actions', HTMLElement).append(...this.#actions())
    part('person-span-form', HTMLFormElement).addEventListener('submit', (event) => { event.preventDefault(); this.#freeTimeout() })
    part('person-note-form', HTMLFormElement).addEventListener('submit', (event) => { event.preventDefault(); void this.#addNote() })
    part('person-lift', HTMLButtonElement).addEventListener('click', () => { if (this.#subject !== null) void parts.acts.unban(this.#subject) })
  }

  /** Shows this user from now on. */
  about (room: WatchedRoom, user: { readonly id: string, readonly name: string, readonly roles: number }, field?: 'reason' | 'note'): void {
    const isSame = this.#subject?.user.id === user.id && this.#subject.room === room
    this.#subject = { room, user, roles: user.roles }
    if (!isSame) this.#clear()
    this.#head()
    show(part('person-nobody', HTMLElement), false)
    show(part('person-card', HTMLElement), true)
    void this.#load()
    const focused = field === 'reason' ? this.#reason : field === 'note' ? this.#note : part('person-name', HTMLElement)
    focused.focus()
  }

  #clear (): void {
    this.#reason.value = ''
    this.#note.value = ''
    this.#purge.checked = false
    for (const id of ['person-sanctions', 'person-notes', 'person-messages', 'person-history']) part(id, HTMLElement).replaceChildren()
  }

  #head (): void {
    const { room, user, roles } = this.#subject as Subject
    const name = part('person-name', HTMLElement)
    const bdi = make('bdi', { className: 'name', textContent: user.name })
    colourName(bdi, user.id)
    const marks = badges(roles)
    name.replaceChildren(...marks === null ? [bdi] : [marks, bdi])
    write(part('person-id', HTMLElement), user.id)
    write(part('person-room', HTMLElement), `#${room.name}`)
    show(part('person-address', HTMLElement), this.#parts.mayBanAddress(room))
  }

  #again (ms = AGAIN_MS): void {
    const due = performance.now() + ms
    if (this.#timer !== null && this.#due <= due) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#due = due
    this.#timer = setTimeout(() => { this.#timer = null; void this.#load() }, ms)
  }

  async #load (): Promise<void> {
    const subject = this.#subject as Subject
    const { room, user } = subject
    try {
      const [person, { rows }] = await Promise.all([this.#parts.desk.person(room.name, user.id), this.#parts.desk.audit(room.name, { user: user.id, limit: ROWS })])
      if (this.#subject === subject) this.#draw(person, rows)
    } catch (error) {
      if (this.#subject !== subject) return
      const { name, message, retryAfterMs } = error as UproarError
      part('person-sanctions', HTMLElement).replaceChildren(make('li', { className: 'is-bad', textContent: `${TEXTS.personFailed} ${refusal(name, message, retryAfterMs)}` }))
    }
  }

  #draw ({ messages, sanctions, notes, request }: Person, rows: readonly AuditRow[]): void {
    const [newest] = messages
    if (newest !== undefined && this.#subject !== null && (newest.user.name !== this.#subject.user.name || newest.user.roles !== this.#subject.roles)) {
      learnName(newest.user)
      Object.assign(this.#subject, { user: newest.user, roles: newest.user.roles })
      this.#head()
    }
    this.#isRunning = sanctions.some(({ until }) => until !== null)
    this.#isHidden = sanctions.some(({ kind }) => kind === 'shadow')
    fill('person-sanctions', sanctions.map(sanctionItem), TEXTS.noSanctions)
    show(part('person-lift', HTMLElement), sanctions.length > 0)
    show(part('person-request', HTMLElement), request !== null)
    write(part('person-request', HTMLElement), request === null ? '' : `${TEXTS.action.requestUnban}: ${request.text}`)
    fill('person-notes', notes.toReversed().map(({ text, by, at }) => make('li', {}, make('bdi', { textContent: text }), make('span', { className: 'aside', textContent: ` ${nameOf(by)}, ${day(at)}` }))), TEXTS.noNotes)
    fill('person-messages', messages.map((message) => this.#messageItem(message)), TEXTS.noMessages)
    fill('person-history', rows.map((row) => auditLine(row)), TEXTS.noneFound)
  }

  #messageItem ({ seq, ts, kind, body, isShadow, user }: Person['messages'][number]): HTMLElement {
    const item = make('li', { className: 'said' })
    const room = (this.#subject as Subject).room
    const label = TEXTS.remove(user.name).replace(' (D)', `: ${body.slice(0, 60)}`)
    const fade = (isGoing: boolean) => () => { item.classList.toggle('is-going', isGoing) }
    const remove = (): void => { void this.#parts.acts.act(room, 'remove', { seq }, { early: { show: fade(true), takeBack: fade(false) } }) }
    item.append(
      make('time', { className: 'row-time', textContent: hourMinute(ts), title: fullTime(ts), dateTime: new Date(ts).toISOString() }),
      make('bdi', { textContent: kind === 5 ? TEXTS.hiddenMessage : body }),
      ...isShadow ? [make('span', { className: 'chip', textContent: TEXTS.hiddenMessage })] : [],
      make('button', { type: 'button', className: 'plain', title: label, ariaLabel: label, onclick: remove }, icon('bin')))
    return item
  }

  /** What goes with an action: the reason, and whether what was said goes too. */
  #more (canPurge: boolean): Record<string, unknown> {
    const reason = this.#reason.value.trim()
    return { ...reason === '' ? {} : { reason }, ...canPurge && this.#purge.checked ? { purge: true } : {} }
  }

  #timeouts (): HTMLElement[] {
    return PRESETS.map((seconds) => make('button', { type: 'button', className: 'quiet', textContent: span(seconds), ariaLabel: `Time-out of ${span(seconds)}`, onclick: () => this.#timeout(seconds) }))
  }

  #timeout (seconds: number): void {
    if (this.#subject !== null) void this.#parts.acts.timeout(this.#subject, seconds, this.#more(true))
  }

  #freeTimeout (): void {
    const field = part('person-span', HTMLInputElement)
    const seconds = readSpan(field.value)
    const isGood = seconds !== null && seconds >= TIMEOUT.min && seconds <= TIMEOUT.max
    write(part('person-span-fault', HTMLElement), isGood ? '' : TEXTS.badSpan)
    field.ariaInvalid = isGood ? null : 'true'
    if (!isGood) return field.focus()
    field.value = ''
    this.#timeout(seconds)
  }

  #actions (): HTMLElement[] {
    const { acts } = this.#parts
    const onSubject = (act: (subject: Subject) => unknown) => (): void => { if (this.#subject !== null) act(this.#subject) }
    const address = twiceButton('Ban address', onSubject((whom) => acts.ban('banAddress', whom, this.#more(false))))
    address.id = 'person-address'
    return [
      make('button', { type: 'button', className: 'quiet', textContent: 'Warn', onclick: onSubject((whom) => this.#warn(whom)) }),
      twiceButton('Remove all', onSubject((whom) => acts.purge(whom, this.#more(false)))),
      twiceButton('Shadow ban', onSubject((whom) => acts.ban('shadowBan', whom, this.#more(false)))),
      twiceButton('Ban', onSubject((whom) => acts.ban('ban', whom, this.#more(true))), 'quiet is-danger'),
      address
    ]
  }

  #warn ({ room, user }: Subject): void {
    const more = this.#more(false)
    const isMissing = more['reason'] === undefined
    write(part('person-reason-fault', HTMLElement), isMissing ? TEXTS.warnNeedsReason : '')
    this.#reason.ariaInvalid = isMissing ? 'true' : null
    if (isMissing) return this.#reason.focus()
    void this.#parts.acts.act(room, 'warn', { user: user.id, ...more }, { done: TEXTS.done.warn(user.name) })
  }

  async #addNote (): Promise<void> {
    const text = this.#note.value.trim()
    if (this.#subject === null || text === '') return
    const { room, user } = this.#subject
    if (await this.#parts.acts.act(room, 'note', { user: user.id, text }, { done: TEXTS.done.note(user.name) }) && this.#note.value.trim() === text) this.#note.value = ''
  }
}

function sanctionItem ({ kind, until, by, reason }: Sanction): HTMLElement {
  const left = until === null ? TEXTS.forGood : TEXTS.left(until - Date.now())
  const what = Object.hasOwn(TEXTS.sanction, kind) ? TEXTS.sanction[kind as keyof typeof TEXTS.sanction] : kind
  return make('li', {}, make('strong', { textContent: what }), kind === 'warn' ? '' : `, ${left}`, make('bdi', { textContent: TEXTS.because(reason) }), make('span', { className: 'aside', textContent: ` ${TEXTS.by(nameOf(by))}` }))
}

function fill (id: string, items: readonly HTMLElement[], empty: string): void {
  part(id, HTMLElement).replaceChildren(...items.length > 0 ? items : [make('li', { className: 'aside', textContent: empty })])
}
