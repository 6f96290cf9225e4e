// What became of an action, said at the edge of the page and to screen readers, for a while; one may be undone from there.
// Bound: TOASTS_MAX at a time, the oldest leaves.

import { make } from '../page/dom.ts'
import { icon } from '../page/icons.ts'
import { TEXTS } from './texts.ts'

const TOASTS_MAX = 4
const SHOWN_MS = { done: 8000, refused: 15_000 } as const

export class Toasts {
  readonly #place: HTMLElement

  constructor (place: HTMLElement) {
    this.#place = place
  }

  /** Says a sentence. `undo` puts a button beside it. */
  say (text: string, tone: keyof typeof SHOWN_MS = 'done', undo?: () => void): void {
    const toast = make('div', { className: `toast is-${tone}` }, make('bdi', { textContent: text }))
    const leave = (): void => toast.remove()
    if (undo !== undefined) toast.append(make('button', { type: 'button', className: 'link', textContent: TEXTS.undo, onclick: () => { leave(); undo() } }))
    toast.append(make('button', { type: 'button', className: 'plain', title: TEXTS.dismiss, ariaLabel: TEXTS.dismiss, onclick: leave }, icon('close')))
    this.#place.append(toast)
    if (this.#place.childElementCount > TOASTS_MAX) this.#place.firstElementChild?.remove()
    // It stays while somebody points at it or has the focus in it.
    const later = (): void => { setTimeout(() => toast.matches(':hover, :focus-within') ? later() : leave(), SHOWN_MS[tone]) }
    later()
  }
}
