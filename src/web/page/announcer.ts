// What a screen reader hears. The log itself is silent (aria-live off): a busy room would never let anyone finish a
// sentence. One polite region speaks at most every few seconds: a few messages in full, more of them as a count.
// Bound: what waits is at most a handful of sentences and a number.

import { TEXTS } from './texts.ts'

const PAUSE_MS = 3000
const READ_IN_FULL_MAX = 3
const URGENT_MAX = 5

export class Announcer {
  readonly #region: HTMLElement
  #urgent: string[] = []
  #messages: string[] = []
  #more = 0
  #timer: ReturnType<typeof setTimeout> | null = null
  #spokeAt = -PAUSE_MS

  constructor (region: HTMLElement) {
    this.#region = region
  }

  /** A message of the room: read in full when it is calm, else counted. */
  message (sentence: string): void {
    if (this.#messages.length < READ_IN_FULL_MAX) this.#messages.push(sentence)
    else this.#more++
    this.#plan()
  }

  /** Something for this reader: always said in full (of a flood, the latest). */
  say (sentence: string): void {
    this.#urgent.push(sentence)
    if (this.#urgent.length > URGENT_MAX) this.#urgent.shift()
    this.#plan()
  }

  #plan (): void {
    if (this.#timer !== null) return
    const due = this.#spokeAt + PAUSE_MS - performance.now()
    this.#timer = setTimeout(() => this.#speak(), Math.max(100, due))
  }

  #speak (): void {
    this.#timer = null
    this.#spokeAt = performance.now()
    const messages = this.#more === 0 ? this.#messages : [TEXTS.newMessages(this.#messages.length + this.#more)]
    const lines = [...this.#urgent, ...messages].map((sentence) => {
      const line = document.createElement('p')
      line.textContent = sentence
      return line
    })
    this.#urgent = []
    this.#messages = []
    this.#more = 0
    this.#region.replaceChildren(...lines)
  }
}
