// What one row of the chat says, apart from how it looks: a message, or a line of the page's own.
// Made from the client's entries; knows the reader only by id and name. Owns no nodes but remembers its row.

import { KIND } from '../../../proto/ops.ts'
import type { Author, Ext, MessageEntry, RemoveEntry } from '../client.ts'
import { pieces } from './body.ts'
import { TEXTS } from './texts.ts'

/** What is quoted above a reply; name null when the message is not known here. */
export interface Quote {
  readonly seq: number
  readonly name: string | null
  readonly user: string | null
  text: string
  isRemoved: boolean
}

export interface Message {
  readonly sort: 'message'
  readonly seq: number
  readonly ts: number
  readonly user: Author
  readonly kind: number
  text: string
  readonly quote: Quote | null
  /** Names the reader, or answers the reader. */
  isForMe: boolean
  readonly isMine: boolean
  /** For moderators: nobody else but its author is shown it. */
  readonly isShadow: boolean
  isEdited: boolean
  isRemoved: boolean
  row: HTMLLIElement | null
}

/** A line of the page: settings that changed, messages missed. */
export interface Line {
  readonly sort: 'line'
  readonly ts: number
  readonly text: string
  readonly tone: 'info' | 'missed' | 'cleared'
  row: HTMLLIElement | null
}

export type Item = Message | Line

/** The reader: who is signed in, or null. */
export type Reader = Author | null

/** Makes a message of an entry. `quoted` finds what it answers. */
export function messageOf (entry: MessageEntry, reader: Reader, quoted: (seq: number) => Message | null): Message {
  const quote = quoteOf(entry.ext, quoted)
  const message: Message = {
    sort: 'message',
    seq: entry.seq,
    ts: entry.ts,
    user: entry.user,
    kind: entry.kind,
    text: bodyOf(entry.kind, entry.body),
    quote,
    isForMe: false,
    isMine: reader !== null && entry.user.id === reader.id,
    isShadow: entry.shadow === true,
    isEdited: false,
    isRemoved: false,
    row: null
  }
  message.isForMe = !message.isMine && (concerns(reader, message.text, entry.ext) || (quote !== null && reader !== null && quote.user === reader.id))
  return message
}

/** A line of the page's own. */
export function lineOf (text: string, tone: Line['tone'] = 'info'): Line {
  return { sort: 'line', ts: Date.now(), text, tone, row: null }
}

/** What a REMOVE covers: one message, or a user's or all of them up to a seq. */
export function removal (entry: RemoveEntry): (message: Pick<Message, 'seq' | 'user'>) => boolean {
  const { seq, user, all } = entry.target
  const upTo = typeof entry.target['upTo'] === 'number' ? entry.target['upTo'] : entry.seq
  return (message) => seq === message.seq || (message.seq <= upTo && (all !== undefined || (user !== undefined && user === message.user.id)))
}

/** The text of a body; one that cannot be shown is named instead. */
export function bodyOf (kind: number, body: string | Uint8Array): string {
  if (kind === KIND.encrypted || typeof body !== 'string') return TEXTS.encrypted
  return kind === KIND.attachment && body === '' ? TEXTS.attachment : body
}

function concerns (reader: Reader, text: string, ext: Ext | null): boolean {
  if (reader === null) return false
  if (Array.isArray(ext?.at) && ext.at.includes(reader.id)) return true
  return text.includes('@') && pieces(text, reader.name).some((piece) => piece.sort === 'mention' && piece.me)
}

function quoteOf (ext: Ext | null, quoted: (seq: number) => Message | null): Quote | null {
  const seq = ext?.re
  if (typeof seq !== 'number') return null
  const message = quoted(seq)
  if (message === null) return { seq, name: null, user: null, text: '', isRemoved: false }
  return { seq, name: message.user.name, user: message.user.id, text: message.isRemoved ? '' : message.text, isRemoved: message.isRemoved }
}
