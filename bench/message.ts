// The messages of the benches: 130 bytes each as a viewer gets them, whoever serves them. To Uproar that is the entry with
// its author and times; to a peer, text that begins with author, count and the time. Both carry the time of writing, so that
// any viewer can tell the latency.
//
//   Uproar  97 25 ce seq8 cf ts16 93 a9 author a9 name roles kind d9 58  @time digits, filler …  c0
//   peers   0003000123  @time digits, filler …

import { clockMs } from './link.ts'

export const MESSAGE_BYTES = 130
// Authors' ids and names have this many characters, so that every entry is as long as the next.
const NAME_CHARACTERS = 9
const TIME_DIGITS = 14
// A peer's message begins with who wrote it and its number among those of that author.
const AUTHOR_DIGITS = 4
const COUNT_DIGITS = 6
const NUMBER_DIGITS = AUTHOR_DIGITS + COUNT_DIGITS
// Where the body of an entry is, and in it the time, behind the `@`.
const ENTRY_BODY_AT = 41
const ENTRY_TIME_AT = ENTRY_BODY_AT + 1
export const BODY_BYTES = MESSAGE_BYTES - ENTRY_BODY_AT - 1
const FILLER = 'what a save by the keeper, did anyone see that coming from so far out on the left at all? '

/** The text of a message that is written now: `@`, the time in units of 10 µs, and words. */
function textNow (bytes: number): string {
  return `@${String(Math.round(clockMs() * 100)).padStart(TIME_DIGITS, '0')} ${FILLER}${FILLER}`.slice(0, bytes)
}

/** The body of a message for Uproar. */
export function bodyNow (): string {
  return textNow(BODY_BYTES)
}

/** A peer's message: the count-th of this author. */
export function peerMessageNow (author: number, count: number): string {
  return String(author).padStart(AUTHOR_DIGITS, '0') + String(count).padStart(COUNT_DIGITS, '0') + textNow(MESSAGE_BYTES - NUMBER_DIGITS)
}

export function authorName (index: number): string {
  return `a${String(index).padStart(NAME_CHARACTERS - 1, '0')}`
}

/** Whether an entry of exactly our making starts at `at`. */
export function isOurEntry (bytes: Buffer, at: number, end: number): boolean {
  return at + MESSAGE_BYTES <= end && bytes[at] === 0x97 && bytes[at + 1] === 0x25 && bytes[at + 2] === 0xce && bytes[at + ENTRY_BODY_AT] === 0x40 && bytes[at + MESSAGE_BYTES - 1] === 0xc0
}

export function entryTimeMs (bytes: Buffer, at: number): number {
  return digits(bytes, at + ENTRY_TIME_AT, TIME_DIGITS) / 100
}

export function peerAuthor (bytes: Buffer, at: number): number {
  return digits(bytes, at, AUTHOR_DIGITS)
}

export function peerCount (bytes: Buffer, at: number): number {
  return digits(bytes, at + AUTHOR_DIGITS, COUNT_DIGITS)
}

export function peerTimeMs (bytes: Buffer, at: number): number {
  return digits(bytes, at + NUMBER_DIGITS + 1, TIME_DIGITS) / 100
}

function digits (bytes: Buffer, at: number, count: number): number {
  let value = 0
  for (let i = at; i < at + count; i++) value = value * 10 + (bytes[i] as number) - 48
  return value
}
