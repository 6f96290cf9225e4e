// A list whose items are drawn once and kept while their key stays, so that neither focus nor place is lost when the list
// is read anew. Arrow keys move between its items. Must not know what an item is.

export interface KeyedListParts<Item> {
  readonly host: HTMLElement
  readonly keyOf: (item: Item) => string
  readonly draw: (item: Item) => HTMLElement
}

export class KeyedList<Item> {
  readonly #parts: KeyedListParts<Item>
  readonly #nodes = new Map<string, HTMLElement>()

  constructor (parts: KeyedListParts<Item>) {
    this.#parts = parts
    parts.host.addEventListener('keydown', (event) => this.#key(event))
  }

  /** These items from now on, in this order. */
  show (items: readonly Item[]): void {
    const { host, keyOf, draw } = this.#parts
    const wanted = new Set(items.map(keyOf))
    for (const [key, node] of this.#nodes) if (!wanted.has(key)) this.#leave(key, node)
    let before: Element | null = host.firstElementChild
    for (const item of items) {
      const key = keyOf(item)
      let node = this.#nodes.get(key)
      if (node === undefined) {
        node = draw(item)
        node.tabIndex = -1
        this.#nodes.set(key, node)
      }
      if (node === before) before = node.nextElementSibling
      else host.insertBefore(node, before)
    }
    const first = host.firstElementChild
    if (first instanceof HTMLElement && host.querySelector(':scope > [tabindex="0"]') === null) first.tabIndex = 0
  }

  /** The next item takes the focus of one that goes. */
  #leave (key: string, node: HTMLElement): void {
    const next = node.nextElementSibling ?? node.previousElementSibling
    const hadFocus = node.contains(document.activeElement)
    node.remove()
    this.#nodes.delete(key)
    if (hadFocus && next instanceof HTMLElement) this.#focus(next)
  }

  #focus (node: HTMLElement): void {
    for (const other of this.#parts.host.querySelectorAll<HTMLElement>(':scope > [tabindex="0"]')) other.tabIndex = -1
    node.tabIndex = 0
    node.focus()
  }

  #key (event: KeyboardEvent): void {
    const item = (event.target as Element).closest(`#${this.#parts.host.id} > *`)
    const next = event.key === 'ArrowDown' ? item?.nextElementSibling : event.key === 'ArrowUp' ? item?.previousElementSibling : null
    if (!(next instanceof HTMLElement) || isField(event.target)) return
    event.preventDefault()
    this.#focus(next)
  }
}

/** Whether keys pressed there are text. */
export function isField (target: EventTarget | null): boolean {
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || (target instanceof HTMLInputElement && !['checkbox', 'radio', 'range'].includes(target.type))
}
