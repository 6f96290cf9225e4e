// The messages of the benches: 130 bytes each as a viewer gets them, whoever serves them. To Uproar that is the entry with
// its author and times; to a peer, text that begins with author, count and the time. Both carry the time of writing, so that
// any viewer can tell the latency.
//
//   Uproar  97 25 ce seq8 cf ts16 93 a9 author a9 name roles kind d9 58  @time digits, filler …  c0
//   peers   0003000123  @time digits, filler …

import { seededRandom } from '../proto/hostile.ts'
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

// What is said must deflate as real chat does: windows of 100 real messages of a stream's chat do 2.5 to 1, of 20 do 2.2, of
// 5 do 1.8, and so do these, common words with an invented one in each 2.5 (zlib at level 3; at level 1 it is 2 % less).
const WORDS = ('what a save by the keeper did anyone see that coming from so far out on left at all lol who is this guy where are they going now hello everyone from brazil love you bro ' +
  'please say hi to my brother today no way he just did that again omg look behind the car stop laughing i cannot believe it why would you eat that food looks good first time here chat never gets old').split(' ')
const SYLLABLES = [...'bcdfghjklmnprstvwyz'].flatMap((consonant) => [...'aeiou'].map((vowel) => consonant + vowel))
const INVENTED_ONE_IN = 2.5
const SYLLABLES_A_WORD = 3
/** Made before they are needed, and said in turn: many more than any window holds. */
const SAYINGS = sayings(4096)

function sayings (count: number): string[] {
  const random = seededRandom(1)
  const pick = (of: readonly string[]): string => of[Math.floor(random() * of.length)] as string
  const word = (): string => random() * INVENTED_ONE_IN < 1 ? Array.from({ length: SYLLABLES_A_WORD }, () => pick(SYLLABLES)).join('') : pick(WORDS)
  return Array.from({ length: count }, () => {
    let saying = ''
    while (saying.length < MESSAGE_BYTES) saying += `${word()} `
    return saying
  })
}

let said = 0

/** The text of a message that is written now: `@`, the time in units of 10 µs, words, and a full stop, for a space at the end would be trimmed. */
function textNow (bytes: number): string {
  return `@${String(Math.round(clockMs() * 100)).padStart(TIME_DIGITS, '0')} ${SAYINGS[said++ % SAYINGS.length] as string}`.slice(0, bytes - 1) + '.'
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
