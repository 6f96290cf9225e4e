// One row of the chat as nodes. Prototypes are cloned, so a row costs a clone and a few text writes.
//
//   li.row[data-seq]
//     button.quote                      the message it answers, one line
//     span.line  badges · name · body   one paragraph, wraps
//
// Must not know the list it is in. User text only goes in as text nodes.

import { KIND } from '../../../proto/ops.ts'
import { fillBody, isJumbo, pieces } from './body.ts'
import { badges, icon } from './icons.ts'
import type { Item, Line, Message, Quote, Reader } from './item.ts'
import { colourName } from './name-colour.ts'
import { TEXTS } from './texts.ts'

const QUOTE_CHARACTERS_MAX = 140

/** Makes the row of an item and remembers it there. */
export function rowOf (item: Item, reader: Reader): HTMLLIElement {
  item.row = item.sort === 'message' ? messageRow(item, reader) : lineRow(item)
  return item.row
}

/** A copy of a message for outside the list: what was said and by whom, nothing to press or to find it by. */
export function echoRow (message: Message, reader: Reader): HTMLLIElement {
  const row = messageRow(message, reader)
  row.removeAttribute('data-seq')
  row.querySelector('.quote')?.remove()
  return row
}

/** Brings the row of a message up to date after an edit or a removal, of itself or of what it quotes. */
export function refreshRow (message: Message, reader: Reader): void {
  const { row } = message
  if (row === null) return
  const fresh = messageRow(message, reader)
  // The row itself stays: it may have the focus.
  row.className = fresh.className
  row.replaceChildren(...fresh.childNodes)
}

const messagePrototype = ((): HTMLLIElement => {
  const row = document.createElement('li')
  row.className = 'row'
  row.tabIndex = -1
  const line = document.createElement('span')
  line.className = 'line'
  const name = document.createElement('bdi')
  name.className = 'name'
  const colon = document.createElement('span')
  colon.className = 'colon'
  colon.textContent = ': '
  const body = document.createElement('bdi')
  body.className = 'body'
  line.append(name, colon, body)
  row.append(line)
  return row
})()

function messageRow (message: Message, reader: Reader): HTMLLIElement {
  const row = messagePrototype.cloneNode(true) as HTMLLIElement
  row.dataset['seq'] = String(message.seq)
  if (message.isRemoved) return removedRow(row)
  const line = row.firstElementChild as HTMLElement
  const [name, , body] = line.children as unknown as [HTMLElement, HTMLElement, HTMLElement]
  name.textContent = message.user.name
  colourName(name, message.user.id)
  fillBody(body, pieces(message.text, reader?.name ?? null))
  const roles = badges(message.user.roles)
  if (roles !== null) line.prepend(roles)
  if (message.kind === KIND.emote || isJumbo(message.text)) body.classList.add('is-jumbo')
  if (message.kind === KIND.encrypted) body.classList.add('is-opaque')
  if (message.isEdited) line.append(edited())
  if (message.isShadow) line.append(note(TEXTS.shadow))
  if (message.isShadow) row.classList.add('is-shadow')
  if (message.isForMe) row.classList.add('is-for-me')
  if (message.isMine) row.classList.add('is-mine')
  const kind = kindOf(message.kind)
  if (kind !== null) {
    row.classList.add(kind.className)
    row.prepend(kindLabel(kind.label, kind.icon))
  }
  if (message.quote !== null) row.prepend(quoteButton(message.quote))
  return row
}

function removedRow (row: HTMLLIElement): HTMLLIElement {
  row.className = 'row is-removed'
  const note = document.createElement('span')
  note.className = 'line'
  note.textContent = TEXTS.removed
  row.replaceChildren(note)
  return row
}

function lineRow (item: Line): HTMLLIElement {
  const row = document.createElement('li')
  row.className = `row is-line is-${item.tone}`
  row.tabIndex = -1
  const text = document.createElement('bdi')
  text.textContent = item.text
  row.append(text)
  return row
}

function kindOf (kind: number): { className: string, label: string, icon: 'horn' | 'info' } | null {
  if (kind === KIND.announcement) return { className: 'is-announcement', label: TEXTS.kinds.announcement, icon: 'horn' }
  if (kind === KIND.system) return { className: 'is-system', label: TEXTS.kinds.system, icon: 'info' }
  return null
}

function kindLabel (text: string, name: 'horn' | 'info'): HTMLElement {
  const label = document.createElement('span')
  label.className = 'kind'
  label.append(icon(name), text)
  return label
}

function quoteButton (quote: Quote): HTMLButtonElement {
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'quote'
  button.tabIndex = -1
  button.dataset['jump'] = String(quote.seq)
  const label = document.createElement('span')
  label.className = 'hidden'
  label.textContent = `${TEXTS.inReplyTo} `
  button.append(icon('reply'), label)
  const text = document.createElement('bdi')
  if (quote.isRemoved) text.textContent = TEXTS.removed
  else if (quote.name === null) text.textContent = TEXTS.quoteGone
  else {
    const name = document.createElement('bdi')
    name.className = 'quote-name'
    name.textContent = `@${quote.name}`
    text.append(name, ` ${[...quote.text.slice(0, QUOTE_CHARACTERS_MAX * 2)].slice(0, QUOTE_CHARACTERS_MAX).join('')}`)
  }
  button.append(text)
  return button
}

function edited (): HTMLElement {
  return note(TEXTS.edited)
}

function note (text: string): HTMLElement {
  const note = document.createElement('span')
  note.className = 'edited'
  note.textContent = ` (${text})`
  return note
}
