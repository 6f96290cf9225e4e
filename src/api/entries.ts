// Entries as text: each is decoded and stringified once, however many streams and pages show it. The cache hangs on the
// entry's bytes, so it lives exactly as long as the room's ring holds them.

import { entryObject, entryOp, entrySeq } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { isPosition, type Position } from '../../proto/values.ts'

const texts = new WeakMap<Uint8Array, string>()
/** The page that last ended with an entry: many ask for the same one, the newest. */
const pages = new WeakMap<Uint8Array, { readonly page: Page, readonly text: string }>()
const events = new WeakMap<Uint8Array, Uint8Array>()
const encoder = new TextEncoder()

const EVENT_NAMES = { [OUT.MESSAGE]: 'message', [OUT.REMOVE]: 'remove', [OUT.STATE]: 'state', [OUT.EDIT]: 'edit' } as const

/** The entry as JSON. */
export function entryText (entry: Uint8Array): string {
  let text = texts.get(entry)
  if (text === undefined) {
    text = JSON.stringify(entryObject(entry))
    texts.set(entry, text)
  }
  return text
}

/** A run of entries as a room hands it out. */
interface Page { readonly epoch: string, readonly head: number, readonly entries: readonly Uint8Array[], readonly more: boolean }

/** The page as JSON. */
export function pageText (page: Page): string {
  const { epoch, head, entries, more } = page
  const last = entries.at(-1)
  const known = last === undefined ? undefined : pages.get(last)
  if (known !== undefined && isSame(known.page, page)) return known.text
  const text = `{"epoch":${JSON.stringify(epoch)},"head":${head},"entries":[${entries.map(entryText).join(',')}],"more":${more}}`
  if (last !== undefined) pages.set(last, { page, text })
  return text
}

/** Whether two pages are the same entries: not of the same numbers, since who asks decides what a message shows. */
function isSame (a: Page, b: Page): boolean {
  return a.head === b.head && a.more === b.more && a.epoch === b.epoch && a.entries.length === b.entries.length && a.entries.every((entry, index) => entry === b.entries[index])
}

/** The entry as a server-sent event, ready to write. An entry is of one room, so of one epoch. */
export function entryEvent (epoch: string, entry: Uint8Array): Uint8Array {
  let bytes = events.get(entry)
  if (bytes === undefined) {
    bytes = encoder.encode(`id: ${epoch}-${entrySeq(entry)}\nevent: ${EVENT_NAMES[entryOp(entry)]}\ndata: ${JSON.stringify(entryObject(entry))}\n\n`)
    events.set(entry, bytes)
  }
  return bytes
}

/** A server-sent event of our own; `id` moves the place to resume from. */
export function eventText (name: string, data: unknown, id?: string): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}

/** A position as Last-Event-ID has it, `<epoch>-<seq>`; null when it is none. */
export function parseEventId (text: string): Position | null {
  const [, epoch, digits] = /^(.{1,32})-(\d{1,16})$/.exec(text) ?? []
  const position = [epoch, Number(digits)]
  return isPosition(position) ? position : null
}
