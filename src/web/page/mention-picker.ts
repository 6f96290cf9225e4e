// Completing @names in the message box: a listbox that the box controls (ARIA combobox while it is open). The focus stays
// in the box; arrows move the active option, Tab or Enter takes it, Escape closes. Must not know how messages are sent.

import type { Author } from '../client.ts'
import { show, write } from './dom.ts'
import { colourName } from './name-colour.ts'
import { TEXTS } from './texts.ts'

// An @ at the start or after a space, and the letters typed so far, up to the caret.
const TYPED = /(?:^|\s)@([^\s@]{0,32})$/u

export interface PickerParts {
  readonly box: HTMLTextAreaElement
  readonly list: HTMLElement
  readonly status: HTMLElement
  readonly suggest: (typed: string) => Author[]
}

export class MentionPicker {
  readonly #parts: PickerParts
  #options: Author[] = []
  #active = 0
  #from = 0

  constructor (parts: PickerParts) {
    this.#parts = parts
    const { box, list } = parts
    box.addEventListener('blur', () => this.close())
    // Before blur: taking an option with the pointer must not lose the box's focus.
    list.addEventListener('pointerdown', (event) => {
      event.preventDefault()
      const option = (event.target as Element).closest<HTMLElement>('[role=option]')
      if (option !== null) this.#take(Number(option.dataset['index']))
    })
  }

  get isOpen (): boolean {
    return this.#options.length > 0
  }

  /** The text or the caret changed: opens, narrows or closes. */
  update (): void {
    const { box, suggest } = this.#parts
    const typed = box.selectionStart === box.selectionEnd ? TYPED.exec(box.value.slice(0, box.selectionStart)) : null
    if (typed === null) return this.close()
    this.#from = box.selectionStart - (typed[1] as string).length - 1
    this.#options = suggest(typed[1] as string)
    this.#active = 0
    this.#draw()
  }

  /** Whether the key was for the list. */
  key (event: KeyboardEvent): boolean {
    if (!this.isOpen || event.isComposing) return false
    const last = this.#options.length - 1
    switch (event.key) {
      case 'ArrowDown': this.#active = this.#active === last ? 0 : this.#active + 1; break
      case 'ArrowUp': this.#active = this.#active === 0 ? last : this.#active - 1; break
      case 'Tab':
      case 'Enter': if (event.shiftKey) return false; event.preventDefault(); this.#take(this.#active); return true
      case 'Escape': event.preventDefault(); this.close(); return true
      default: return false
    }
    event.preventDefault()
    this.#mark()
    return true
  }

  close (): void {
    if (!this.isOpen && this.#parts.list.hidden) return
    this.#options = []
    this.#draw()
  }

  #draw (): void {
    const { box, list, status } = this.#parts
    show(list, this.isOpen)
    if (!this.isOpen) {
      list.replaceChildren()
      for (const name of ['role', 'aria-expanded', 'aria-controls', 'aria-autocomplete', 'aria-activedescendant']) box.removeAttribute(name)
      write(status, '')
      return
    }
    list.replaceChildren(...this.#options.map(optionOf))
    box.setAttribute('role', 'combobox')
    box.setAttribute('aria-expanded', 'true')
    box.setAttribute('aria-controls', list.id)
    box.setAttribute('aria-autocomplete', 'list')
    write(status, TEXTS.suggestions(this.#options.length))
    this.#mark()
  }

  #mark (): void {
    const { box, list } = this.#parts
    for (const [index, option] of [...list.children].entries()) option.setAttribute('aria-selected', String(index === this.#active))
    box.setAttribute('aria-activedescendant', `picker-${this.#active}`)
  }

  #take (index: number): void {
    const { box } = this.#parts
    const author = this.#options[index]
    if (author === undefined) return
    box.setRangeText(`@${author.name} `, this.#from, box.selectionStart, 'end')
    this.close()
    box.dispatchEvent(new Event('input', { bubbles: true }))
  }
}

function optionOf (author: Author, index: number): HTMLElement {
  const option = document.createElement('li')
  option.id = `picker-${index}`
  option.role = 'option'
  option.className = 'option'
  option.dataset['index'] = String(index)
  const name = document.createElement('bdi')
  name.className = 'name'
  name.textContent = author.name
  colourName(name, author.id)
  option.append(name)
  return option
}
