// The chat of one room: turns what the client tells into rows, lines, announcements and states of the page, and hands
// what the reader does back to it. Owns the view (sampled or full) and paging; the parts it joins own the rest.

import { KIND, ROLE } from '../../../proto/ops.ts'
import type { Author, ChatRoom, Entry, Joined, MessageEntry, RemoveEntry, Sanction, Skipped, StateEntry, UproarClient, UproarError } from '../client.ts'
import { Announcer } from './announcer.ts'
import { Chatters } from './chatters.ts'
import { Composer } from './composer.ts'
import { part, show, write } from './dom.ts'
import { Echo } from './echo.ts'
import { bodyOf, lineOf, messageOf, removal, type Message } from './item.ts'
import { Outbox, type Draft } from './outbox.ts'
import { Pin } from './pin.ts'
import { Rates } from './rates.ts'
import { RowTools } from './row-tools.ts'
import { isWait, refusal, short, TEXTS } from './texts.ts'
import { Timeline } from './timeline.ts'

const HISTORY = 100
const PAGE = 50
const NEAR_TOP_PX = 80
const REFUSAL_SHOWN_MS = 8000
/** Those who moderate are not bound by slow mode or the lock. */
const STAFF = ROLE.moderator | ROLE.broadcaster | ROLE.admin

export interface ChatParts {
  readonly room: string
  readonly refused: (error: UproarError) => void
}

export class Chat {
  readonly #parts: ChatParts
  readonly #log = part('log', HTMLElement)
  readonly #timeline: Timeline
  readonly #tools: RowTools
  readonly #composer: Composer
  readonly #outbox: Outbox
  readonly #chatters = new Chatters()
  readonly #announcer = new Announcer(part('announcer', HTMLElement))
  readonly #rates = new Rates()
  readonly #echo = new Echo(this.#log)
  readonly #pin = new Pin((seq) => this.#timeline.find(seq))
  #client: UproarClient | null = null
  #room: ChatRoom | null = null
  #reader: Author | null = null
  #view: 'live' | 'full' = 'live'
  #isSwitching = false
  #isPaging = false
  #isBanned = false
  #hasJoined = false
  #backlogTo = 0
  #refusalTimer: ReturnType<typeof setTimeout> | null = null

  constructor (parts: ChatParts) {
    this.#parts = parts
    this.#timeline = new Timeline({ scroller: this.#log, rows: part('rows', HTMLElement), changed: (paused, unseen) => this.#paused(paused, unseen) })
    this.#outbox = new Outbox({
      room: parts.room,
      rows: part('pending', HTMLElement),
      deliver: (draft, nonce) => (this.#room as ChatRoom).send(draft.text, { ext: draft.ext, nonce }),
      sent: () => this.#sent(),
      refused: (error, text) => this.#refused(error, text),
      changed: () => this.#drawEmpty()
    })
    this.#composer = new Composer({
      room: parts.room,
      suggest: (typed) => this.#chatters.suggest(typed, this.#reader?.id ?? null),
      mentioned: (text, max) => this.#chatters.mentioned(text, max),
      submit: (draft) => this.#submit(draft),
      refusedHere: (text) => this.#tell(text),
      left: () => this.#timeline.resume()
    })
    this.#tools = new RowTools({
      log: this.#log,
      timeline: this.#timeline,
      canWrite: () => this.#reader !== null,
      reply: (message) => this.#composer.answer(message),
      mention: (message) => this.#composer.mention(message.user),
      leave: () => this.#composer.focus()
    })
    this.#listen()
  }

  /** Enters the room as this reader. Called again when the reader becomes somebody else. */
  enter (client: UproarClient, reader: Author | null): void {
    this.#client = client
    this.reader = reader
    this.#outbox.enter(reader)
    this.#echo.clear()
    this.#composer.answer(null)
    this.#composer.waitNoMore()
    this.#tell('')
    this.#hasJoined = false
    this.#isBanned = false
    this.#join(client.join(this.#parts.room, { history: HISTORY, view: this.#view }))
  }

  /** Who reads, as the server knows them. */
  set reader (reader: Author | null) {
    this.#reader = reader
    this.#timeline.reader = reader
    this.#echo.reader = reader
  }

  set charactersMax (value: number) {
    this.#composer.charactersMax = value
  }

  focus (): void {
    this.#composer.focus()
  }

  #listen (): void {
    part('newest', HTMLButtonElement).addEventListener('click', () => {
      this.#timeline.resume()
      this.#log.focus({ preventScroll: true })
    })
    part('sampled-all', HTMLButtonElement).addEventListener('click', () => { void this.#showAll() })
    part('earlier', HTMLButtonElement).addEventListener('click', () => { this.#timeline.pause(); void this.#pageBack() })
    this.#log.addEventListener('scroll', () => {
      if (this.#timeline.isPaused && this.#log.scrollTop < NEAR_TOP_PX) void this.#pageBack()
    }, { passive: true })
    document.addEventListener('keydown', (event) => {
      if (event.key === 'End' && this.#timeline.isPaused && !isTyping(event.target)) this.#timeline.resume()
    })
  }

  #join (room: ChatRoom): void {
    this.#room = room
    const mine = <E>(act: (event: E) => void) => (event: E) => { if (this.#room === room) act(event) }
    room.on('joined', mine<Joined>((joined) => this.#joined(joined)))
    room.on('message', mine<MessageEntry>((entry) => this.#message(entry)))
    room.on('remove', mine<RemoveEntry>((entry) => this.#remove(entry)))
    room.on('edit', mine<{ target: number, body: string | Uint8Array }>(({ target, body }) => {
      this.#timeline.edit(target, bodyOf(KIND.text, body))
      this.#echo.refresh()
    }))
    room.on('state', mine<StateEntry>((entry) => this.#changed(entry)))
    room.on('viewers', mine<number>((viewers) => this.#viewers(viewers)))
    room.on('skipped', mine<Skipped>((skipped) => this.#skipped(skipped)))
    room.on('refused', mine<UproarError>((error) => this.#parts.refused(error)))
    room.on('sanction', mine<Sanction>((sanction) => this.#sanctioned(sanction)))
    room.on('held', mine(() => this.#tell(refusal('held', '', null))))
  }

  #joined (joined: Joined): void {
    const isSameLog = this.#isSwitching && joined.recovered
    if (joined.reset && !isSameLog) {
      this.#timeline.clear()
      if (this.#hasJoined && !this.#isSwitching) this.#timeline.add(lineOf(TEXTS.newStream), false)
    }
    if (joined.reset) this.#backlogTo = isSameLog ? 0 : joined.seq
    this.#isSwitching = false
    this.#hasJoined = true
    if (joined.viewers !== null) this.#viewers(joined.viewers)
    this.#settings()
    show(part('earlier', HTMLElement), joined.seq > HISTORY)
    show(part('beginning', HTMLElement), false)
    this.#drawEmpty()
  }

  #message (entry: MessageEntry): void {
    const isNews = entry.seq > this.#backlogTo
    const message = messageOf(entry, this.#reader, (seq) => this.#timeline.find(seq))
    this.#chatters.saw(entry.user)
    if (message.isMine) this.#outbox.arrived(entry)
    // Roles that hold in this room alone are first seen on one's own message.
    if (message.isMine && isNews && entry.user.roles !== this.#reader?.roles) this.reader = entry.user
    this.#timeline.add(message, isNews)
    if (isNews) {
      if (message.isMine || message.isForMe) this.#echo.saw(message)
      this.#rates.saw()
      this.#announce(message)
    }
    this.#drawEmpty()
  }

  #announce (message: Message): void {
    if (message.isMine || document.hidden) return
    const { name } = message.user
    if (!message.isForMe && message.kind !== KIND.announcement) return this.#announcer.message(TEXTS.said(name, message.text))
    const isReply = message.quote !== null && message.quote.user === this.#reader?.id
    if (message.isForMe) this.#announcer.say(isReply ? TEXTS.repliedToYou(name, message.text) : TEXTS.mentionedYou(name, message.text))
    else this.#announcer.say(`${TEXTS.kinds.announcement}: ${message.text}`)
  }

  #remove (entry: RemoveEntry): void {
    const matches = removal(entry)
    this.#timeline.remove(matches)
    this.#pin.removed(entry)
    this.#tools.dropRemoved()
    this.#echo.refresh()
    const answered = this.#composer.answered
    if (answered !== null && matches(answered)) this.#composer.answer(null)
    if (entry.target['all'] !== undefined && entry.seq > this.#backlogTo) this.#timeline.add(lineOf(TEXTS.cleared, 'cleared'), false)
  }

  #skipped (skipped: Skipped): void {
    if (skipped.reason === 'sampled') this.#rates.skipped(skipped.count)
    else if (skipped.reason !== 'removed') this.#timeline.add(lineOf(TEXTS.missed(skipped.count), 'missed'), false)
  }

  // Settings: the client has them merged in room.state; a change that is news is told as a line.
  #changed (entry: StateEntry): void {
    this.#settings()
    if (entry.seq <= this.#backlogTo) return
    const { slowModeSeconds, locked, title } = entry.changes
    const lines = TEXTS.setting
    if (typeof slowModeSeconds === 'number') this.#timeline.add(lineOf(slowModeSeconds > 0 ? lines.slowOn(slowModeSeconds) : lines.slowOff), false)
    if (typeof locked === 'boolean') this.#timeline.add(lineOf(locked ? lines.locked : lines.unlocked), false)
    if (typeof title === 'string' && title !== '') this.#timeline.add(lineOf(lines.title(title)), false)
    for (const [name, [on, off]] of Object.entries(lines.modes)) if (name in entry.changes) this.#timeline.add(lineOf(entry.changes[name] === true ? on : off), false)
    if (slowModeSeconds === 0) this.#composer.waitNoMore()
  }

  #settings (): void {
    const { title, locked } = this.#room?.state ?? {}
    const heading = typeof title === 'string' && title !== '' ? title : this.#parts.room
    write(part('title', HTMLElement), heading)
    this.#pin.update(this.#room)
    this.#composer.closed = this.#isBanned ? TEXTS.writeBanned : locked === true && !this.#isStaff() ? TEXTS.writeLocked : null
  }

  #isStaff (): boolean {
    return ((this.#reader?.roles ?? 0) & STAFF) !== 0
  }

  #viewers (viewers: number): void {
    show(part('viewers', HTMLElement), true)
    part('viewers', HTMLElement).title = TEXTS.viewers(viewers)
    const label = part('viewers-count', HTMLElement)
    label.ariaHidden = 'true'
    write(label, short(viewers))
    write(part('viewers-label', HTMLElement), TEXTS.viewers(viewers))
  }

  #paused (isPaused: boolean, unseen: number): void {
    show(part('newest', HTMLElement), isPaused)
    if (isPaused) write(part('newest-text', HTMLElement), TEXTS.newMessages(unseen))
    this.#log.classList.toggle('is-paused', isPaused)
  }

  #submit (draft: Draft): boolean {
    if (this.#reader === null || this.#room === null) return false
    if (this.#outbox.isFull) {
      this.#tell(refusal('rate_limited', '', null))
      return false
    }
    this.#tell('')
    this.#timeline.resume()
    this.#outbox.send(draft, this.#reader)
    return true
  }

  #sent (): void {
    const seconds = this.#room?.state['slowModeSeconds']
    if (typeof seconds === 'number' && seconds > 0 && !this.#isStaff()) this.#composer.wait(seconds * 1000, 'slow_mode')
  }

  #refused (error: UproarError, text: string): void {
    if (error.retryAfterMs !== null && isWait(error.name)) this.#composer.wait(error.retryAfterMs, error.name)
    this.#tell(text)
    this.#timeline.resume()
  }

  /** What a moderator did to the reader, in a plain sentence; a warning stays until it is acknowledged. */
  #sanctioned ({ kind, until, reason }: Sanction): void {
    const leftMs = until === null ? 0 : until - Date.now()
    if (kind === 'ban' || kind === 'lifted') this.#isBanned = kind === 'ban'
    if (kind === 'timeout') this.#composer.wait(leftMs, 'timed_out')
    if (kind === 'lifted') this.#composer.waitNoMore()
    if (kind === 'denied') this.#outbox.denied()
    this.#settings()
    const sentence = Object.hasOwn(TEXTS.sanction, kind) ? TEXTS.sanction[kind as keyof typeof TEXTS.sanction](reason, leftMs) : reason
    this.#tell(sentence)
    if (kind === 'warn') this.#askToAcknowledge()
  }

  #askToAcknowledge (): void {
    const button = document.createElement('button')
    button.className = 'quiet'
    button.type = 'button'
    button.textContent = TEXTS.acknowledge
    button.addEventListener('click', () => {
      this.#room?.moderate('acknowledge').then(() => this.#tell(''), (error: UproarError) => this.#tell(refusal(error.name, error.message, error.retryAfterMs)))
    })
    part('refusal', HTMLElement).append(' ', button)
    if (this.#refusalTimer !== null) clearTimeout(this.#refusalTimer)
    this.#refusalTimer = null
  }

  /** A sentence above the message box, for a while; an empty one takes it away. */
  #tell (text: string): void {
    const line = part('refusal', HTMLElement)
    write(line, text)
    show(line, text !== '')
    if (this.#refusalTimer !== null) clearTimeout(this.#refusalTimer)
    this.#refusalTimer = text === '' ? null : setTimeout(() => this.#tell(''), REFUSAL_SHOWN_MS)
  }

  async #showAll (): Promise<void> {
    const [client, room] = [this.#client, this.#room]
    if (client === null || room === null || this.#isSwitching) return
    this.#isSwitching = true
    this.#view = 'full'
    const position = room.position
    await room.leave()
    if (this.#room !== room) return
    this.#join(client.join(this.#parts.room, { history: HISTORY, view: this.#view, ...(position === null ? {} : { position }) }))
  }

  async #pageBack (): Promise<void> {
    const [room, before] = [this.#room, this.#timeline.oldestSeq]
    const button = part('earlier', HTMLButtonElement)
    if (room === null || before === null || before <= 1 || this.#isPaging || button.hidden) return
    this.#isPaging = true
    button.ariaBusy = 'true'
    try {
      const page = await room.history({ before, limit: PAGE })
      if (this.#room !== room || this.#timeline.oldestSeq !== before) return
      this.#timeline.prepend(this.#pageOf(page.entries))
      show(button, page.more)
      write(part('beginning', HTMLElement), TEXTS.noEarlier)
      show(part('beginning', HTMLElement), !page.more)
    } catch {
      this.#tell(TEXTS.earlierFailed)
    } finally {
      button.ariaBusy = null
      this.#isPaging = false
    }
  }

  // A page holds the log as it was written: removals and edits in it concern messages of this page or of later ones.
  #pageOf (entries: readonly Entry[]): Message[] {
    const messages: Message[] = []
    for (const entry of entries) {
      if (entry.op === 'message') messages.push(messageOf(entry, this.#reader, (seq) => messages.find((one) => one.seq === seq) ?? this.#timeline.find(seq)))
      else if (entry.op === 'remove') for (const one of messages) one.isRemoved ||= removal(entry)(one)
      if (entry.op !== 'edit') continue
      const edited = messages.find((one) => one.seq === entry.target)
      if (edited !== undefined) Object.assign(edited, { text: bodyOf(edited.kind, entry.body), isEdited: true })
    }
    return messages
  }

  #drawEmpty (): void {
    show(part('empty', HTMLElement), this.#hasJoined && this.#timeline.isEmpty && this.#outbox.size === 0)
  }
}

function isTyping (target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
}

