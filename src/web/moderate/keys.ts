// Keys that count anywhere on the page but where text is written, and the overlay that names all keys. Whoever dictates or
// presses keys by accident can turn them off there (WCAG 2.1.4); keys of a row or an item count only while it has the focus.

import { part } from '../page/dom.ts'
import { recall, remember } from '../page/memory.ts'
import { isField } from './keyed-list.ts'

export class Keys {
  readonly #acts: Readonly<Record<string, () => void>>
  readonly #dialog = part('help', HTMLDialogElement)
  #isOn = recall('moderate.keys') !== 'off'

  /** What each key does. */
  constructor (acts: Readonly<Record<string, () => void>>) {
    this.#acts = acts
    const box = part('keys-on', HTMLInputElement)
    box.checked = this.#isOn
    box.addEventListener('change', () => {
      this.#isOn = box.checked
      remember('moderate.keys', this.#isOn ? null : 'off')
    })
    part('help-open', HTMLButtonElement).addEventListener('click', () => this.#dialog.showModal())
    part('help-close', HTMLButtonElement).addEventListener('click', () => this.#dialog.close())
    document.addEventListener('keydown', (event) => this.#key(event))
  }

  #key (event: KeyboardEvent): void {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isField(event.target) || document.querySelector('dialog[open]') !== null) return
    if (event.key === '?') this.#dialog.showModal()
    else if (this.#isOn && Object.hasOwn(this.#acts, event.key)) (this.#acts[event.key] as () => void)()
    else return
    event.preventDefault()
  }
}
