// How the page is connected, in the chat's head and, when it is not, in a line above the message box.
// Owns the words and the countdown to the next attempt; must not know why it was lost.

import type { ConnectionState } from '../client.ts'
import { Countdown } from './countdown.ts'
import { part, show, write } from './dom.ts'
import { TEXTS } from './texts.ts'

type Look = 'live' | 'fallback' | 'waiting' | 'off'

/** What is said while there is no connection. */
export interface LinkWords {
  readonly lost: string
  readonly offlineWhy: string
}

export class LinkState {
  readonly #words: LinkWords
  readonly #state = part('state', HTMLElement)
  readonly #text = part('state-text', HTMLElement)
  readonly #notice = part('link-notice', HTMLElement)
  readonly #retry = new Countdown((leftMs) => this.#showRetry(leftMs))
  #connection: ConnectionState = { state: 'connecting', attempt: 1 }

  constructor (words: LinkWords = TEXTS) {
    this.#words = words
    addEventListener('online', () => this.#draw())
    addEventListener('offline', () => this.#draw())
    this.#draw()
  }

  /** The client told a change. */
  set connection (connection: ConnectionState) {
    this.#connection = connection
    if (connection.state === 'waiting') this.#retry.start(Math.max(1, connection.retryAt - Date.now()))
    this.#draw()
  }

  #draw (): void {
    const connection = this.#connection
    switch (connection.state) {
      case 'open': return this.#look('live', TEXTS.live, '')
      case 'fallback': return this.#look('fallback', TEXTS.fallback, '', TEXTS.fallbackWhy)
      case 'closed': return this.#look('off', TEXTS.closed, connection.code === 1000 ? '' : TEXTS.closedBecause(connection.reason))
      case 'waiting':
        if (navigator.onLine) return this.#showRetry(this.#retry.leftMs)
        return this.#look('off', TEXTS.offline, this.#words.offlineWhy)
      case 'connecting':
        if (connection.attempt > 1) return this.#look('waiting', TEXTS.reconnectingNow, this.#words.lost)
        return this.#look('waiting', TEXTS.connecting, '')
    }
  }

  #showRetry (leftMs: number): void {
    if (this.#connection.state !== 'waiting' || !navigator.onLine) return
    this.#look('waiting', TEXTS.reconnecting(leftMs), this.#words.lost)
  }

  #look (look: Look, text: string, notice: string, why = ''): void {
    this.#state.dataset['look'] = look
    // The countdown is for the eye; a screen reader hears the change of state once, not every second.
    this.#state.ariaLive = look === 'waiting' ? 'off' : 'polite'
    this.#state.title = why
    write(this.#text, text)
    write(this.#notice, notice)
    show(this.#notice, notice !== '')
  }
}
