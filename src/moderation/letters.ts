// A text as the screen reads it: words of letters, each letter with how often it stands in a row. The same text can be
// read in several ways (a `$` is an s or a sign, a 1 is an i or an l, a Cyrillic р is a p or an р); every reading is
// linear in the text, there are at most eight, and most chat has one.
//
//   "Sh1ⓣ, Фuuuck!"  ─▶  s h i t · f u³ c k        one token a word; the gap before it is kept
//
// Must not know terms.

import { DIGITS, ENCLOSED, enclosedLetter, FLAG, LOOK_ALIKES, SIGNS, SPELLINGS } from './look-alikes.ts'

/** A letter and how often it stands in a row; how that number counts is its word's `rule`. */
export interface Letter {
  readonly code: number
  readonly count: number
  /** Index of its word. */
  readonly token: number
}

export interface Token {
  readonly first: number
  readonly last: number
  /** What stands between it and the word before; '' where only the script changes. */
  readonly gap: string
  /** Of a script without spaces between words, or a pictograph: a match may begin and end anywhere in it. */
  readonly isFree: boolean
  /** One letter, perhaps repeated: several in a row may be a word spelled out. */
  readonly isSingle: boolean
  /** `same`: rows must be as long as the term's; `stretched`: as long or longer. */
  readonly rule: 'same' | 'stretched'
}

export interface Reading {
  readonly letters: readonly Letter[]
  readonly tokens: readonly Token[]
}

interface Word { chars: string[], gap: string, readonly isFree: boolean, hasLetter: boolean, isFolded: boolean }

const PLAIN = /^[\x20-\x7e]*$/
// Marks that are optional in their script or laid over any letter; those that make another letter (Thai, Devanagari, kana) stay.
const OPTIONAL_MARKS = /(?![\u3099\u309A])[\p{Script=Inherited}\u0591-\u05C7\u0610-\u061A\u064B-\u065F\u0670\u06D6-\u06ED\u0483-\u0487]/gu
const INVISIBLE = /[\p{Cf}\p{Default_Ignorable_Code_Point}\p{Emoji_Modifier}]/gu
const LETTER = /[\p{L}\p{M}]/u
const DIGIT = /\p{N}/u
const FREE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\u30FC\p{Extended_Pictographic}]/u
const PICTOGRAPH = /\p{Extended_Pictographic}/u
const LATIN = /\p{Script=Latin}/u
const UNIT = /^\d+\p{L}$/u

/** Letters that hardly ever stand twice in an English word, and the doubles that may open one. */
const RARELY_DOUBLED = new Set([...'ahijkquvwxy'].map(codeOf))
const OPENING_DOUBLES = new Set([...'eloa'].map(codeOf))

function codeOf (letter: string): number {
  return letter.codePointAt(0) as number
}

/** Printable ASCII in which no sign or digit can stand for a letter: most chat, and it has one reading. */
const PLAINEST = /^(?:[A-Za-z "#%&'()*+,\-./:;<=>?[\\\]^_`{}~]|!(?![A-Za-z0-9@$|]))*$/

/** Every way in which a message may be meant. */
export function readMessage (text: string): Reading[] {
  if (PLAINEST.test(text)) return [readPlain(text)]
  const chars = [...normalise(text)]
  const hasSigns = chars.some((char) => SIGNS.has(char) || char === '|' || (char > '\x7f' && (PICTOGRAPH.test(char) || FLAG.test(char))))
  return (hasSigns ? [true, false] : [true]).flatMap((signs) => {
    const words = split(chars, signs)
    markFolded(words)
    const speaksOther = words.some((word) => scriptOf(word) === 'other')
    return readWords(words, chars, (script) => script === 'mixed' || (script === 'likeLatin' && !speaksOther))
  })
}

/** The one reading of text that PLAINEST matches: as `split` and `measure` would read it, in one pass and a third of the time. */
function readPlain (text: string): Reading {
  const letters: { code: number, count: number, token: number }[] = []
  const tokens: Token[] = []
  let gapFrom = 0
  for (let at = 0; at < text.length;) {
    if (!isAsciiLetter(text.charCodeAt(at))) {
      at++
      continue
    }
    const gap = text.slice(gapFrom, at)
    const first = letters.length
    let last: { code: number, count: number, token: number } | null = null
    for (; at < text.length && isAsciiLetter(text.charCodeAt(at)); at++) {
      const code = text.charCodeAt(at) | 0x20
      if (last !== null && last.code === code) last.count++
      else letters.push(last = { code, count: 1, token: tokens.length })
    }
    tokens.push({ first, last: letters.length - 1, gap, isFree: false, isSingle: letters.length === first + 1, rule: isStretched(letters, first) ? 'stretched' : 'same' })
    gapFrom = at
  }
  return { letters, tokens }
}

function isAsciiLetter (code: number): boolean {
  const lower = code | 0x20
  return lower >= 0x61 && lower <= 0x7a
}

/** The text as it stands: lower case and without accents or invisible characters, but nothing taken for anything else. */
export function readExactly (text: string): Reading {
  const chars = [...normalise(text)]
  const words = split(chars, false)
  const reading = measure(words, 'i', () => false)
  return { letters: reading.letters, tokens: reading.tokens.map((token) => ({ ...token, rule: 'same' })) }
}

/** Every way in which a term may be written. A word of another script is not taken for Latin here. */
export function readTerm (term: string): Reading[] {
  const chars = [...normalise(term)]
  const words = split(chars, true)
  markFolded(words)
  return readWords(words, chars, (script) => script === 'mixed' || script === 'other')
}

type Script = 'latin' | 'mixed' | 'likeLatin' | 'other'

function readWords (words: readonly Word[], chars: readonly string[], folds: (script: Script) => boolean): Reading[] {
  const scripts = words.map(scriptOf)
  const isFoldable = scripts.some((script) => script !== 'latin' && folds(script))
  const ones = chars.includes('1') || chars.includes('|') ? ['i', 'l'] : ['i']
  return ones.flatMap((one) => [
    ...isFoldable ? [measure(words, one, (index) => folds(scripts[index] as Script))] : [],
    measure(words, one, () => false)
  ])
}

function normalise (text: string): string {
  if (PLAIN.test(text)) return text
  return text.replace(ENCLOSED, enclosedLetter).normalize('NFKC').normalize('NFD').replace(OPTIONAL_MARKS, '').normalize('NFC').replace(INVISIBLE, '')
}

/** Words and the gaps before them. With `signs`, signs, flags and pictographs are letters; without, they are gaps. */
function split (chars: readonly string[], signs: boolean): Word[] {
  const words: Word[] = []
  let word: Word | null = null
  let gap = ''
  for (const [index, sign] of chars.entries()) {
    const char = signs && FLAG.test(sign) ? enclosedLetter(sign) : sign
    const isFree = char > '\x7f' && FREE.test(char) && (signs || !PICTOGRAPH.test(char))
    const isLetter = isFree || (char > '\x7f' ? LETTER.test(char) : isAsciiLetter(char.charCodeAt(0)))
    if (!isLetter && !(char > '\x7f' ? DIGIT.test(char) : char >= '0' && char <= '9') && !(signs && isSign(char, word, chars[index + 1]))) {
      word = null
      gap += char
      continue
    }
    if (word === null || word.isFree !== isFree) words.push(word = { chars: [], gap, isFree, hasLetter: false, isFolded: false })
    gap = ''
    word.chars.push(char)
    if (isLetter) word.hasLetter = true
  }
  return words
}

/** `@` and `$` may stand anywhere in a word; `!` and `|`, which also end sentences and part columns, only inside. */
function isSign (char: string, word: Word | null, next: string | undefined): boolean {
  if (char !== '|' && !SIGNS.has(char)) return false
  if (char !== '|' && char !== '!' && char !== '¡') return true
  return word !== null && next !== undefined && (LETTER.test(next) || DIGIT.test(next) || (SIGNS.has(next) && next !== '!'))
}

/** Decides in which words digits and signs are letters: `b4d`, `@$$`, `b 4 d`, but not `455`, `$5`, `5s` or `a $ 5`. */
function markFolded (words: Word[]): void {
  for (const [index, word] of words.entries()) {
    if (word.isFree) continue
    const signs = word.chars.reduce((count, char) => SIGNS.has(char) ? count + 1 : count, 0)
    word.isFolded = word.hasLetter
      ? !UNIT.test(word.chars.join(''))
      : (signs >= 2 && word.chars.length >= 3) || (word.chars.length === 1 && isOneLetter(words[index - 1]) && isOneLetter(words[index + 1]))
    if (!word.hasLetter && !word.isFolded && signs > 0 && !isSpelledOut(words, index)) word.chars = word.chars.filter((char) => !SIGNS.has(char) && char !== '|')
  }
  for (const [index, word] of words.entries()) if (!word.isFolded && isOneSign(word) && isSpelledOut(words, index)) word.isFolded = true
}

/** How far to either side a word spelled out with marks is looked at. */
const SPELLED_NEAR = 8

/** Whether this word of one character stands among two or more such, marks without spaces between them, one a letter: `g_1_7`. */
function isSpelledOut (words: readonly Word[], index: number): boolean {
  let length = 1
  let hasLetter = isOneLetter(words[index])
  for (let at = index; at > index - SPELLED_NEAR && isOneMarked(words[at]) && isOne(words[at - 1]); at--, length++) hasLetter ||= isOneLetter(words[at - 1])
  for (let at = index + 1; at < index + SPELLED_NEAR && isOneMarked(words[at]); at++, length++) hasLetter ||= isOneLetter(words[at])
  return length >= 3 && hasLetter && isOne(words[index])
}

function isOne (word: Word | undefined): boolean {
  return word !== undefined && !word.isFree && word.chars.length === 1
}

function isOneSign (word: Word): boolean {
  return isOne(word) && !word.hasLetter
}

function isOneMarked (word: Word | undefined): boolean {
  return isOne(word) && /^[_.*~+-]$/.test((word as Word).gap)
}

function isOneLetter (word: Word | undefined): boolean {
  return word !== undefined && word.hasLetter && !word.isFree && word.chars.length === 1
}

/** Whether a word is Latin, of another script, of both, or of another script but only with letters that look Latin. */
function scriptOf (word: Word): Script {
  if (word.isFree) return 'latin'
  let latin = false
  let alike = false
  let other = false
  for (const char of word.chars) {
    if (char <= '\x7f' || LATIN.test(char)) latin ||= !DIGIT.test(char) || word.isFolded
    else if (LOOK_ALIKES.has(char) || LOOK_ALIKES.has(char.toLowerCase())) alike = true
    else if (LETTER.test(char)) other = true
  }
  if (!alike && !other) return 'latin'
  return latin ? 'mixed' : other ? 'other' : 'likeLatin'
}

/** The letters of the words, rows counted. */
function measure (words: readonly Word[], one: string, folds: (index: number) => boolean): Reading {
  const letters: { code: number, count: number, token: number }[] = []
  const tokens: Token[] = []
  let gap = ''
  for (const [index, word] of words.entries()) {
    const first = letters.length
    const asLatin = folds(index)
    gap += word.gap
    for (const char of word.chars) {
      for (const letter of fold(char, word.isFolded, asLatin, one)) {
        const code = codeOf(letter)
        const before = letters.length > first ? letters.at(-1) : undefined
        if (before?.code === code) before.count++
        else letters.push({ code, count: 1, token: tokens.length })
      }
    }
    if (letters.length === first) continue
    tokens.push({ first, last: letters.length - 1, gap, isFree: word.isFree, isSingle: letters.length === first + 1, rule: ruleOf(word, letters.slice(first)) })
    gap = ''
  }
  return { letters, tokens }
}

function fold (char: string, isFolded: boolean, asLatin: boolean, one: string): string {
  if (isFolded) {
    const letter = char === '1' || char === '|' ? one : DIGITS.get(char) ?? SIGNS.get(char)
    if (letter !== undefined) return letter
  }
  if (char <= '\x7f') return char.toLowerCase()
  const lower = char.toLowerCase()
  return (asLatin ? LOOK_ALIKES.get(char) ?? LOOK_ALIKES.get(lower) : undefined) ?? SPELLINGS.get(lower) ?? SPELLINGS.get(char) ?? lower
}

/**
 * A word that was drawn out ("baaad", "ffuucck") says nothing by its doubles, so it may match a term with fewer; in any
 * other word they count, because "good" is not "god" and "as" is not "ass". Three in a row, doubles that English does
 * not have, and doubles throughout are what gives it away.
 */
function ruleOf (word: Word, letters: readonly Letter[]): 'same' | 'stretched' {
  if (word.isFree) return 'stretched'
  if (!word.hasLetter && !word.isFolded) return 'same'
  return isStretched(letters, 0) ? 'stretched' : 'same'
}

/** Whether the letters from `first` on, one word's, were drawn out. */
function isStretched (letters: readonly Letter[], first: number): boolean {
  let doubled = 0
  for (let at = first; at < letters.length; at++) {
    const { code, count } = letters[at] as Letter
    if (count > 2 || (count === 2 && RARELY_DOUBLED.has(code))) return true
    if (count === 2) doubled++
  }
  if (doubled === 0) return false
  const opening = letters[first] as Letter
  return (opening.count === 2 && opening.code < 128 && !OPENING_DOUBLES.has(opening.code)) || (letters.length - first > 1 && doubled === letters.length - first)
}
