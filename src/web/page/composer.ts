// The message box: what is typed, the characters left, the message being answered, the wait of slow mode, the names to
// mention. Hands finished drafts on; must not know how they are sent or what became of them.

import { LIMITS } from '../../../proto/values.ts'
import type { Author } from '../client.ts'
import { Countdown } from './countdown.ts'
import { part, show, write } from './dom.ts'
import type { Message } from './item.ts'
import { MentionPicker } from './mention-picker.ts'
import { colourName } from './name-colour.ts'
import type { Draft } from './outbox.ts'
import { recall, remember } from './memory.ts'
import { TEXTS, type Wait } from './texts.ts'

/** The counter appears when so few are left. */
const COUNTER_FROM = 100
const QUOTE_CHARACTERS_MAX = 80
/** A message box of two lines and more. */
const TALL_PX = 40
/** What is typed is remembered up to here; it is over any limit of a message. */
const DRAFT_CHARACTERS_MAX = 8000

export interface ComposerParts {
  readonly room: string
  readonly suggest: (typed: string) => Author[]
  readonly mentioned: (text: string, max: number) => string[]
  /** A finished message. False: it cannot be taken now and stays in the box. */
  readonly submit: (draft: Draft) => boolean
  readonly refusedHere: (text: string) => void
  readonly left: () => void
}

export class Composer {
  readonly #parts: ComposerParts
  readonly #form = part('composer', HTMLFormElement)
  readonly #box = part('message', HTMLTextAreaElement)
  readonly #button = part('send', HTMLButtonElement)
  readonly #picker: MentionPicker
  readonly #slow = new Countdown((leftMs) => this.#showWait(leftMs))
  #charactersMax = 500
  #isClosed = false
  #answered: Message | null = null
  #last = ''
  #waitsFor: Wait = 'slow_mode'

  constructor (parts: ComposerParts) {
    this.#parts = parts
    this.#picker = new MentionPicker({ box: this.#box, list: part('picker', HTMLElement), status: part('picker-status', HTMLElement), suggest: parts.suggest })
    this.#form.addEventListener('submit', (event) => { event.preventDefault(); this.#submit() })
    this.#box.addEventListener('input', () => this.#typed())
    this.#box.addEventListener('keydown', (event) => this.#key(event))
    part('reply-cancel', HTMLButtonElement).addEventListener('click', () => { this.answer(null); this.focus() })
    this.#box.value = recall(this.#draftKey, 'tab') ?? ''
    this.closed = null
  }

  /** Characters a message may have, as the server tells. */
  set charactersMax (value: number) {
    this.#charactersMax = value
    this.#typed()
  }

  /** Why nothing can be written here now, in a few words; null: it can. */
  set closed (why: string | null) {
    this.#isClosed = why !== null
    this.#box.placeholder = why ?? TEXTS.write(this.#parts.room)
    this.#typed()
  }

  /** The message the next one answers, or null. */
  get answered (): Message | null {
    return this.#answered
  }

  focus (): void {
    this.#box.focus()
  }

  /** Makes the next message an answer to this one; null takes it back. */
  answer (message: Message | null): void {
    this.#answered = message
    const bar = part('replying', HTMLElement)
    show(bar, message !== null)
    if (message === null) return
    const name = part('replying-name', HTMLElement)
    write(part('replying-words', HTMLElement), TEXTS.replyingTo)
    write(name, message.user.name)
    colourName(name, message.user.id)
    write(part('replying-body', HTMLElement), [...message.text].slice(0, QUOTE_CHARACTERS_MAX).join(''))
    this.focus()
  }

  /** Puts `@name ` where the caret is. */
  mention (author: Author): void {
    const { value, selectionStart } = this.#box
    const gap = selectionStart > 0 && !/\s$/u.test(value.slice(0, selectionStart)) ? ' ' : ''
    this.focus()
    this.#box.setRangeText(`${gap}@${author.name} `, selectionStart, this.#box.selectionEnd, 'end')
    this.#typed()
  }

  /** Nothing can be sent for so long, and why. */
  wait (ms: number, why: Wait): void {
    if (ms <= this.#slow.leftMs) return
    this.#waitsFor = why
    this.#slow.start(ms)
  }

  /** The wait is void: slow mode was switched off. */
  waitNoMore (): void {
    this.#slow.start(0)
  }

  get #draftKey (): string {
    return `draft.${this.#parts.room}`
  }

  #text (): string {
    return this.#box.value.replace(/\s+/gu, ' ').trim()
  }

  #left (): number {
    return this.#charactersMax - [...this.#text()].length
  }

  #submit (): void {
    const text = this.#text()
    this.#picker.close()
    if (text === '') return
    if (this.#slow.leftMs > 0) return this.#parts.refusedHere(TEXTS.waitLabel(this.#waitsFor, this.#slow.leftMs))
    if (this.#left() < 0) return this.#parts.refusedHere(TEXTS.charactersLeft(this.#left()))
    const at = this.#parts.mentioned(text, LIMITS.mentions)
    const draft: Draft = { text, ext: { ...(this.#answered === null ? {} : { re: this.#answered.seq }), ...(at.length === 0 ? {} : { at }) } }
    if (!this.#parts.submit(draft)) return
    this.#last = text
    this.#box.value = ''
    this.answer(null)
    this.#typed()
  }

  #typed (): void {
    const left = this.#left()
    const counter = part('counter', HTMLElement)
    write(counter, left <= COUNTER_FROM ? String(left) : '')
    counter.title = TEXTS.charactersLeft(left)
    counter.classList.toggle('is-over', left < 0)
    // Where the box has several lines there is room for it above the button; the height is read only while it is shown.
    part('field', HTMLElement).classList.toggle('is-tall', left <= COUNTER_FROM && this.#box.clientHeight > TALL_PX)
    this.#box.ariaInvalid = left < 0 ? 'true' : null
    this.#box.disabled = this.#isClosed
    // Not `disabled`: the button keeps its place in the order of focus, and says why when pressed.
    this.#button.ariaDisabled = this.#isClosed || this.#slow.leftMs > 0 || left < 0 || this.#text() === '' ? 'true' : null
    this.#picker.update()
    remember(this.#draftKey, this.#box.value.slice(0, DRAFT_CHARACTERS_MAX) || null, 'tab')
  }

  #key (event: KeyboardEvent): void {
    if (event.isComposing || this.#picker.key(event)) return
    if (event.key === 'Enter') {
      event.preventDefault()
      this.#submit()
    } else if (event.key === 'Escape') {
      if (this.#answered === null) this.#parts.left()
      else this.answer(null)
    } else if (event.key === 'ArrowUp' && this.#box.value === '' && this.#last !== '') {
      event.preventDefault()
      this.#box.value = this.#last
      this.#typed()
    }
  }

  #showWait (leftMs: number): void {
    const wait = part('send-wait', HTMLElement)
    show(wait, leftMs > 0)
    this.#button.classList.toggle('is-waiting', leftMs > 0)
    write(wait, leftMs > 0 ? TEXTS.slowWait(leftMs) : '')
    write(part('send-label', HTMLElement), leftMs > 0 ? TEXTS.waitLabel(this.#waitsFor, leftMs) : TEXTS.send)
    this.#typed()
  }
}
