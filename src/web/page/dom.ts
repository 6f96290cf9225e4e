// The document's fixed parts by id. A missing one is our own mistake (index.html and code do not fit) and says so at once.

/** The element with this id, of the given class. */
export function part<E extends Element> (id: string, type: new () => E): E {
  const node = document.getElementById(id)
  if (!(node instanceof type)) throw new TypeError(`the page has no ${type.name} #${id}`)
  return node
}

/** Writes text only where it changed: no needless layout, no repeated announcement. */
export function write (node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text
}

/** A new node with these properties and children; text only ever becomes text nodes. */
export function make<Tag extends keyof HTMLElementTagNameMap> (tag: Tag, properties: Partial<HTMLElementTagNameMap[Tag]> = {}, ...children: readonly (Node | string | null)[]): HTMLElementTagNameMap[Tag] {
  const node = Object.assign(document.createElement(tag), properties)
  node.append(...children.filter((child) => child !== null))
  return node
}

/** Shows or hides. */
export function show (node: HTMLElement, isShown: boolean): void {
  if (node.hidden === isShown) node.hidden = !isShown
}
