// An entry of a room's log as bytes, made once and used by log, ring, history and fan-out alike.
//
//   97           25   ce 00 00 00 2a   cf 00 00 01 93 …   …
//   array of n   op   seq              ts                 tail: the remaining fields, packed
//
// The server writes seq and ts at fixed width, so whoever holds the bytes reads op, seq and ts without decoding, and
// the tail can be packed before the log has said which seq it gets. Readers elsewhere must accept any integer form.

import { pack, packAll, unpack } from './codec.ts'
import { KIND, OUT, type EntryOp } from './ops.ts'
import type { User } from './values.ts'

/** What an entry says after seq and ts, packed and counted. */
export interface Tail {
  readonly fields: number
  readonly bytes: Uint8Array
}

/** Packs the fields that follow seq and ts (at most 12). */
export function packTail (fields: readonly unknown[]): Tail {
  if (fields.length > 12) throw new RangeError('an entry has at most 12 fields of its own')
  return { fields: fields.length, bytes: packAll(fields) }
}

/** An entry before it is bytes. */
export interface EntryDraft {
  readonly op: EntryOp
  readonly seq: number
  readonly ts: number
  readonly tail: Tail
}

/** Entries that are made together share memory up to so many bytes: whoever keeps one keeps that at the most. */
const SHARED_BYTES_MAX = 16_384

/** Joins op, seq, ts and tail to the entry's bytes (a fresh, tightly sized array). */
export function encodeEntry (op: EntryOp, seq: number, ts: number, tail: Tail): Uint8Array {
  const entry = { op, seq, ts, tail }
  // Not from the shared pool: an entry lives long and must not pin 8 KB of neighbours.
  const bytes = new Uint8Array(entryLength(entry))
  writeEntry(bytes, 0, entry)
  return bytes
}

/**
 * The same for consecutive entries of one room, which are kept and let go together: they share memory, since an array of
 * its own for each costs several times its bytes.
 */
export function encodeEntries (drafts: readonly EntryDraft[]): Uint8Array[] {
  const all: Uint8Array[] = []
  for (let from = 0; from < drafts.length;) {
    let size = 0
    let to = from
    do size += entryLength(drafts[to++] as EntryDraft)
    while (to < drafts.length && size + entryLength(drafts[to] as EntryDraft) <= SHARED_BYTES_MAX)
    const shared = new Uint8Array(size)
    for (let at = 0; from < to; from++) {
      const draft = drafts[from] as EntryDraft
      const end = at + entryLength(draft)
      writeEntry(shared, at, draft)
      all.push(new Uint8Array(shared.buffer, at, end - at))
      at = end
    }
  }
  return all
}

/** How many bytes it will have. */
export function entryLength ({ seq, tail }: EntryDraft): number {
  return (seq > 0xffffffff ? 20 : 16) + tail.bytes.length
}

function writeEntry (bytes: Uint8Array, start: number, { op, seq, ts, tail }: EntryDraft): void {
  bytes[start] = 0x90 | (tail.fields + 3)
  bytes[start + 1] = op
  let at = start + 3
  if (seq > 0xffffffff) {
    bytes[start + 2] = 0xcf
    at = putUint32(bytes, at, Math.floor(seq / 0x1_0000_0000))
  } else {
    bytes[start + 2] = 0xce
  }
  at = putUint32(bytes, at, seq)
  bytes[at] = 0xcf
  at = putUint32(bytes, at + 1, Math.floor(ts / 0x1_0000_0000))
  at = putUint32(bytes, at, ts)
  bytes.set(tail.bytes, at)
}

/** The lower 32 bits; returns what comes after them. */
function putUint32 (bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
  return at + 4
}

/** A PAGE frame around entries' bytes as they are. */
export function encodePage (rid: number, room: string, entries: readonly Uint8Array[], more: boolean): Uint8Array {
  const head = pack([OUT.PAGE, rid, room, null, more])
  // `more` is the last byte and the nil before it makes way for the entries.
  return Buffer.concat([head.subarray(0, -2), listHead(entries.length), ...entries, head.subarray(-1)])
}

/** The op of an entry's bytes. */
export function entryOp (entry: Uint8Array): EntryOp {
  return entry[1] as EntryOp
}

/** The seq of an entry's bytes. */
export function entrySeq (entry: Uint8Array): number {
  return entry[2] === 0xce ? uint32(entry, 3) : uint32(entry, 3) * 0x1_0000_0000 + uint32(entry, 7)
}

/** The time of an entry's bytes, Unix milliseconds. */
export function entryTs (entry: Uint8Array): number {
  const at = entry[2] === 0xce ? 8 : 12
  return uint32(entry, at) * 0x1_0000_0000 + uint32(entry, at + 4)
}

function listHead (length: number): Uint8Array {
  return Uint8Array.of(0xdc, length >> 8, length)
}

function uint32 (bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) * 0x1000000 + ((bytes[at + 1] as number) << 16 | (bytes[at + 2] as number) << 8 | bytes[at + 3] as number)
}

/** An entry as REST and server-sent events show it. */
export type EntryObject =
  | { op: 'message', seq: number, ts: number, user: { id: string, name: string, roles: number }, kind: number, body: string, ext: Record<string, unknown> | null, shadow?: true }
  | { op: 'remove', seq: number, ts: number, target: Record<string, unknown>, by: string | null }
  | { op: 'state', seq: number, ts: number, changes: Record<string, unknown> }
  | { op: 'edit', seq: number, ts: number, target: number, body: string, ext: Record<string, unknown> | null }

/** Decodes an entry's bytes to an object fit for JSON; an opaque body (kind 5) becomes base64. */
export function entryObject (entry: Uint8Array): EntryObject {
  const frame = unpack(entry) as unknown[]
  const [op, seq, ts] = frame as [EntryOp, number, number]
  switch (op) {
    case OUT.MESSAGE: {
      const [id, name, roles] = frame[3] as User
      return { op: 'message', seq, ts, user: { id, name, roles }, kind: frame[4] as number, body: bodyText(frame[5]), ext: (frame[6] ?? null) as Record<string, unknown> | null, ...(frame[7] === true ? { shadow: true } : {}) }
    }
    case OUT.REMOVE: return { op: 'remove', seq, ts, target: frame[3] as Record<string, unknown>, by: (frame[4] ?? null) as string | null }
    case OUT.STATE: return { op: 'state', seq, ts, changes: frame[3] as Record<string, unknown> }
    case OUT.EDIT: return { op: 'edit', seq, ts, target: frame[3] as number, body: bodyText(frame[4]), ext: (frame[5] ?? null) as Record<string, unknown> | null }
  }
}

/** The entry's bytes of what entryObject made of them. `isShadow`: a message for its author alone. */
export function entryOfObject (object: EntryObject, isShadow = false): Uint8Array {
  const { op, seq, ts } = object
  switch (op) {
    case 'message': {
      const { user: { id, name, roles }, kind, ext } = object
      const body = kind === KIND.encrypted ? new Uint8Array(Buffer.from(object.body, 'base64')) : object.body
      const tail = isShadow ? packShadowTail([[id, name, roles], kind, body, ext]) : packTail([[id, name, roles], kind, body, ext])
      return encodeEntry(OUT.MESSAGE, seq, ts, tail)
    }
    case 'remove': return encodeEntry(OUT.REMOVE, seq, ts, packTail([object.target, object.by]))
    case 'state': return encodeEntry(OUT.STATE, seq, ts, packTail([object.changes]))
    case 'edit': return encodeEntry(OUT.EDIT, seq, ts, packTail([object.target, object.body, object.ext]))
  }
}

function bodyText (body: unknown): string {
  return body instanceof Uint8Array ? Buffer.from(body).toString('base64') : String(body)
}

// Two marks that an entry's first byte can bear, so that whoever passes entries on sees by one comparison that this one
// is not for everybody. Delivery turns them into SKIPPED, or a shadow for its author into a message like any other;
// the room's moderators get it as it is.
//
//   93 25 ce … cf …                      removed: op, seq and ts, and nothing else
//   98 25 ce … cf … user kind body ext c3    shadow: for nobody but its author; one field more than a message has

const REMOVED = 0x93
const SHADOW = 0x98

/** What stands in the place of an entry that was removed. */
export function removedEntry (entry: Uint8Array): Uint8Array {
  const bytes = entry.slice(0, entry[2] === 0xce ? 16 : 20)
  bytes[0] = REMOVED
  return bytes
}

/** What stands in the place of an entry, whatever it was, that was erased with the person it was of: like a message that was removed. */
export function erasedEntry (entry: Uint8Array): Uint8Array {
  const bytes = removedEntry(entry)
  bytes[1] = OUT.MESSAGE
  return bytes
}

/** A message without the mention of a user in `ext.at`; null when it does not mention that user. */
export function unmentioned (entry: Uint8Array, user: string): Uint8Array | null {
  if (entry[1] !== OUT.MESSAGE || isRemoved(entry)) return null
  const [op, seq, ts, author, kind, body, ext, ...rest] = unpack(entry) as [EntryOp, number, number, User, number, unknown, { at?: unknown } | null, ...unknown[]]
  const at = ext?.at
  if (!Array.isArray(at) || !at.includes(user)) return null
  const left = at.filter((other) => other !== user)
  const { at: _gone, ...others } = ext as { at: unknown }
  const kept = left.length > 0 ? { ...others, at: left } : others
  return encodeEntry(op, seq, ts, packTail([author, kind, body, Object.keys(kept).length > 0 ? kept : null, ...rest]))
}

/** Whether the entry stands for one that was removed. */
export function isRemoved (entry: Uint8Array): boolean {
  return entry[0] === REMOVED
}

/** The tail of a message that its author alone is shown. */
export function packShadowTail (fields: readonly [user: User, kind: number, body: unknown, ext: unknown]): Tail {
  return packTail([...fields, true])
}

/** Whether the entry is a message for its author alone. */
export function isShadow (entry: Uint8Array): boolean {
  return entry[0] === SHADOW && entry[1] === OUT.MESSAGE
}

/** A shadow message as its author is shown it: like any other. */
export function unshadowed (entry: Uint8Array): Uint8Array {
  const bytes = entry.slice(0, -1)
  bytes[0] = SHADOW - 1
  return bytes
}

/** The user id of a message's author, read without decoding the rest; '' when the entry is not a message. */
export function entryAuthor (entry: Uint8Array): string {
  if (entry[1] !== OUT.MESSAGE || isRemoved(entry)) return ''
  // Behind the head an array of three, whose first is a string of 1 to 128 characters.
  const at = (entry[2] === 0xce ? 16 : 20) + 1
  const code = entry[at] as number
  const [from, length] = code < 0xc0 ? [at + 1, code & 31] : code === 0xd9 ? [at + 2, entry[at + 1] as number] : [at + 3, ((entry[at + 1] as number) << 8) | (entry[at + 2] as number)]
  return utf8.decode(entry.subarray(from, from + length))
}

const utf8 = new TextDecoder()
