// The first inline screen: does a text hold a blocked term, however it is dressed up? Synchronous and linear in the text.
// Owns what counts as a match; must not know rooms, authors or what follows from a match.
//
// Terms of one set are a tree of letters, words parted by BREAK. A text is walked from the start of each of its words
// (from each letter in scripts without spaces), through at most as many letters as the longest term has:
//
//   bad ─▶ b─a─d●                    "the b.a.d guy":  b (joined) a (joined) d ●
//   kill yourself ─▶ k─i─l─␣─y─o…    "k i l l yourself": k i l l, then a gap taken as BREAK
//
// Terms are written in three ways, in the file and in the room's setting alike:
//
//   term      a whole word or phrase, in any dress              "so t3rm", "t e r m", not "terminal"
//   term*     the same, and whatever begins with it             "terminal", not "determine"
//   "term"    a whole word or phrase as it is spelled           "Term", "TÉRM", not "t3rm", not "t e r m"
//
// A gap may be joined over when both words beside it are single letters ("b a d") or when it is one or two marks without
// a space ("b-ad"). Matches are whole words: "Scunthorpe" is innocent, also spelled out. Since every match begins where a
// word begins, the tree needs no failure links (Aho and Corasick 1975: those are for matches that begin anywhere), and
// each walk goes forward only. Letters that a star hides ("f*ck") are looked up among terms of that length and first letter.

import { readFileSync, statSync } from 'node:fs'
import { readExactly, readMessage, readTerm, type Letter, type Reading, type Token } from './letters.ts'

export interface Match {
  /** The term as it was given. */
  readonly term: string
}

const BREAK = 0x110000
const EDGES = BREAK + 1
const TERM_CHARACTERS_MAX = 64
const TERMS_MAX = 20_000
const FILE_BYTES_MAX = 4 * 1024 * 1024
const FAULTS_SHOWN = 10
const SHORT_MARKS = 2
/** Letters that one walk looks at: the longest term, every letter of it spelled twice ("b b a a d d"). */
const WALK_MAX = TERM_CHARACTERS_MAX * 2
/** Words of one letter that may stand beside a word spelled out: "u r b a d". */
const LONE = new Set([...'aiur'].map((letter) => letter.codePointAt(0)))
/** `he'll` is no way to write `hell`. */
const APOSTROPHE = /['’‘ʼ`´]/

/** What parts words of letters and stars: `f*ck`, `sh**t`. */
const BETWEEN_MASKED = /[^\p{L}\p{N}*]+/u
const MASKED_CHARACTERS_MIN = 4
const MASKED_WORDS_MAX = 4
/** Terms of one length and first letter that are compared with a masked word. */
const MASKED_TERMS_MAX = 500

/** A letter may be spelled so often in a row ("b b b a d"); more is no way to write anything. */
const SPELLED_REPEATS_MAX = 16

interface Ending { readonly term: string, readonly counts: readonly number[], readonly isPrefix: boolean }

/** A compiled set of terms. Immutable to its users. */
export class Terms {
  /** Edges by node and letter; ASCII apart, whose keys are small integers, which a Map finds several times faster. */
  #plain = new Map<number, number>()
  #edges = new Map<number, number>()
  #endings = new Map<number, Ending[]>()
  /** One-word terms by length and first letter. */
  #words = new Map<string, { readonly term: string, readonly letters: string }[]>()
  #exact: Terms | null = null
  #nodes = 1
  #size = 0

  /** How many of the terms given can ever match. */
  get size (): number { return this.#size }
  /** Terms that only match as they are spelled; null when there are none. */
  get exact (): Terms | null { return this.#exact }

  /** False when nothing in the term could ever match. */
  add (term: string): boolean {
    const quoted = /^"(.+)"$/su.exec(term.trim())?.[1]
    const isPrefix = quoted === undefined && /[^*]\*$/.test(term.trim())
    const plain = quoted ?? (isPrefix ? term.trim().slice(0, -1) : term)
    const readings = (quoted === undefined ? readTerm(plain) : [readExactly(plain)]).filter((reading) => isUsable(reading, plain))
    const target = quoted === undefined ? this : this.#exact ??= new Terms()
    for (const reading of readings) target.#insert(reading, term, isPrefix)
    if (readings.length === 0) return false
    if (quoted === undefined) this.#index(readings[0] as Reading, term)
    this.#size++
    return true
  }

  next (node: number | undefined, code: number): number | undefined {
    if (node === undefined) return undefined
    return code < 128 ? this.#plain.get(node * 128 + code) : this.#edges.get(node * EDGES + code)
  }

  endings (node: number): readonly Ending[] | undefined {
    return this.#endings.get(node)
  }

  /** The term that this masked word may be, or null. */
  unmask (word: string): string | null {
    const candidates = this.#words.get(`${word.length}${word[0]}`) ?? []
    return candidates.find(({ letters }) => fits(word, letters))?.term ?? null
  }

  #insert ({ letters, tokens }: Reading, term: string, isPrefix: boolean): void {
    let node = 0
    for (const [index, { code, token }] of letters.entries()) {
      const word = tokens[token] as Token
      if (index > 0 && word.first === index && word.gap !== '') node = this.#grow(node, BREAK)
      node = this.#grow(node, code)
    }
    const counts = letters.map(({ count }) => count)
    const endings = this.#endings.get(node)
    if (endings === undefined) this.#endings.set(node, [{ term, counts, isPrefix }])
    else if (!endings.some((ending) => ending.isPrefix === isPrefix && ending.counts.every((count, index) => count === counts[index]))) endings.push({ term, counts, isPrefix })
  }

  #index ({ letters, tokens }: Reading, term: string): void {
    if (tokens.length !== 1) return
    const word = letters.map(({ code, count }) => String.fromCodePoint(code).repeat(count)).join('')
    if (word.length < MASKED_CHARACTERS_MIN) return
    const key = `${word.length}${word[0]}`
    const words = this.#words.get(key) ?? []
    if (words.length < MASKED_TERMS_MAX) words.push({ term, letters: word })
    this.#words.set(key, words)
  }

  #grow (node: number, code: number): number {
    const known = this.next(node, code)
    if (known !== undefined) return known
    if (code < 128) this.#plain.set(node * 128 + code, this.#nodes)
    else this.#edges.set(node * EDGES + code, this.#nodes)
    return this.#nodes++
  }
}

function fits (masked: string, letters: string): boolean {
  for (let at = 0; at < masked.length; at++) if (masked[at] !== '*' && masked[at] !== letters[at]) return false
  return true
}

/** A term of signs alone matches nothing, and "c++" must not become the letter c. */
function isUsable ({ letters, tokens }: Reading, term: string): boolean {
  if (letters.length === 0) return false
  return letters.length > 1 || (letters[0] as Letter).count > 1 || (tokens[0] as Token).isFree || [...term.trim()].length === 1
}

const NONE = new Terms()

/** Compiles terms (words and phrases; `term*` and `"term"` as the head of this file says). Those that could never match, such as "!!!", are left out. */
export function compileTerms (terms: readonly string[]): Terms {
  if (terms.length === 0) return NONE
  const compiled = new Terms()
  for (const term of terms) compiled.add(term)
  return compiled
}

/** The first term of any set that the text holds, or null. Time grows with the text's length times the longest term's, at worst. */
export function screen (text: string, ...sets: Terms[]): Match | null {
  const compiled = sets.filter((terms) => terms.size > 0)
  if (compiled.length === 0) return null
  for (const reading of readMessage(text)) {
    const joins = joinsOf(reading)
    for (const terms of compiled) {
      const term = find(terms, reading, joins)
      if (term !== null) return { term }
    }
  }
  return unmask(text, compiled) ?? findExact(text, compiled)
}

/** A word with stars in it that a term would fill. At least as many letters as stars, and the first of them, are there to see. */
function unmask (text: string, sets: readonly Terms[]): Match | null {
  if (!text.includes('*')) return null
  const words = text.split(BETWEEN_MASKED).filter((word) => word.includes('*') && !word.startsWith('*')).slice(0, MASKED_WORDS_MAX)
  for (const word of words) {
    const hidden = word.split('*').length - 1
    if (word.length < MASKED_CHARACTERS_MIN || word.length > TERM_CHARACTERS_MAX || hidden * 2 > word.length) continue
    const lower = word.toLowerCase()
    for (const terms of sets) {
      const term = terms.unmask(lower)
      if (term !== null) return { term }
    }
  }
  return null
}

function findExact (text: string, sets: readonly Terms[]): Match | null {
  const exact = sets.flatMap((terms) => terms.exact ?? [])
  if (exact.length === 0) return null
  const reading = readExactly(text)
  const joins: Joins = { before: reading.tokens.map(() => 'none'), begins: reading.tokens.map(() => true), ends: reading.tokens.map(() => true), any: false }
  for (const terms of exact) {
    const term = find(terms, reading, joins)
    if (term !== null) return { term }
  }
  return null
}

type Join = 'none' | 'spelled' | 'short'

/** What may be done at the gap before each word, and whether a word spelled out may begin or end at each. */
interface Joins {
  readonly before: readonly Join[]
  readonly begins: readonly boolean[]
  readonly ends: readonly boolean[]
  readonly any: boolean
}

function joinsOf ({ letters, tokens }: Reading): Joins {
  const before = tokens.map((token, index): Join => {
    const previous = tokens[index - 1]
    if (previous === undefined || token.gap === '') return 'none'
    if (previous.isSingle && token.isSingle) return 'spelled'
    if (token.gap === ' ') return 'none'
    return /\s/u.test(token.gap) || APOSTROPHE.test(token.gap) || [...token.gap].length > SHORT_MARKS ? 'none' : 'short'
  })
  const any = before.some((join) => join !== 'none')
  const begins = tokens.map(() => true)
  const ends = tokens.map(() => true)
  if (!any) return { before, begins, ends, any }
  const isLone = (index: number): boolean => LONE.has((letters[(tokens[index] as Token).first] as Letter).code)
  // Inside a run of single letters a word begins or ends only where the gaps change ("f.u.c.k y.o.u") or beside words of
  // one letter: so "C L A S S" is one word, and innocent.
  for (let index = 1; index < tokens.length; index++) {
    if (before[index] !== 'spelled' || (tokens[index] as Token).isFree) continue
    const isChange = before[index + 1] === 'spelled' && kindOf(tokens[index] as Token) !== kindOf(tokens[index + 1] as Token)
    begins[index] = isChange || ((begins[index - 1] as boolean) && isLone(index - 1))
  }
  for (let index = tokens.length - 2; index >= 0; index--) {
    if (before[index + 1] !== 'spelled' || (tokens[index] as Token).isFree) continue
    const isChange = before[index] === 'spelled' && kindOf(tokens[index] as Token) !== kindOf(tokens[index + 1] as Token)
    ends[index] = isChange || ((ends[index + 1] as boolean) && isLone(index + 1))
  }
  return { before, begins, ends, any }
}

function kindOf ({ gap }: Token): string {
  const rest = gap.replace(/\s+/gu, '')
  return rest === '' ? (gap.length > 1 ? 'wide' : 'space') : rest === gap ? 'marks' : 'both'
}

function find (terms: Terms, reading: Reading, joins: Joins): string | null {
  for (const token of reading.tokens) {
    const last = token.isFree ? token.last : token.first
    for (let start = token.first; start <= last; start++) {
      const term = walk(terms, reading, joins, start, true) ?? (joins.any ? walk(terms, reading, joins, start, false) : null)
      if (term !== null) return term
    }
  }
  return null
}

/** Follows the text from one letter on, one path through the tree; where a gap could be joined or be a BREAK, `prefersJoin` decides. */
function walk (terms: Terms, { letters, tokens }: Reading, joins: Joins, start: number, prefersJoin: boolean): string | null {
  const counts: number[] = []
  const isLoose: boolean[] = []
  let node: number | undefined = 0
  let isSpelled = false
  let repeated = 0
  const end = Math.min(letters.length, start + WALK_MAX)
  for (let at = start; at < end; at++) {
    const { code, count, token: index } = letters[at] as Letter
    const token = tokens[index] as Token
    let isAbsorbed = false
    if (at > start && at === token.first && token.gap !== '') {
      const join = joins.before[index] as Join
      const repeats = join === 'spelled' && (letters[at - 1] as Letter).code === code
      const joined: number | undefined = join === 'none' ? undefined : repeats ? node : terms.next(node, code)
      const broken: number | undefined = terms.next(terms.next(node, BREAK), code)
      const isJoined: boolean = joined !== undefined && (prefersJoin || broken === undefined)
      node = isJoined ? joined : broken
      isAbsorbed = isJoined && repeats
      isSpelled ||= isJoined && join === 'spelled'
    } else {
      node = terms.next(node, code)
    }
    if (node === undefined) return null
    if (isAbsorbed) {
      if (++repeated > SPELLED_REPEATS_MAX) return null
      counts[counts.length - 1] = (counts.at(-1) as number) + count
      isLoose[isLoose.length - 1] = true
    } else {
      counts.push(count)
      isLoose.push(token.rule === 'stretched')
    }
    const endings = terms.endings(node)
    if (endings === undefined) continue
    const isInside = at !== token.last && !token.isFree
    if (isSpelled && joins.begins[(letters[start] as Letter).token] !== true) continue
    const isWhole = !isInside && (!isSpelled || joins.ends[index] === true)
    const ending = endings.find((candidate) => (isWhole || candidate.isPrefix) && candidate.counts.every((wanted, position) => wanted === counts[position] || (isLoose[position] === true && (counts[position] as number) > wanted)))
    if (ending !== undefined) return ending.term
  }
  return null
}

/** Reads and compiles a file of terms: one a line, written as the head of this file says; `#` begins a comment line. Throws with every faulty line by its number. */
export function loadTermsFile (path: string): Terms {
  if (statSync(path).size > FILE_BYTES_MAX) throw new Error(`${path}: is over ${FILE_BYTES_MAX} bytes`)
  const bytes = readFileSync(path)
  const terms = new Terms()
  const faults: string[] = []
  const lines = bytes.toString('utf8').replace(/^\uFEFF/, '').split(/\r?\n/)
  for (const [index, line] of lines.entries()) {
    const term = line.trim()
    if (term === '' || term.startsWith('#')) continue
    const fault = term.includes('\uFFFD') ? 'is not UTF-8'
      : [...term].length > TERM_CHARACTERS_MAX ? `is longer than ${TERM_CHARACTERS_MAX} characters`
        : terms.size >= TERMS_MAX ? `is beyond the ${TERMS_MAX} terms that a file may have`
          : terms.add(term) ? null : 'has nothing that could match'
    if (fault !== null) faults.push(`line ${index + 1}: ${fault}`)
  }
  if (faults.length === 0) return terms
  const more = faults.length > FAULTS_SHOWN ? [`and ${faults.length - FAULTS_SHOWN} more`] : []
  throw new Error(`${path}: ${[...faults.slice(0, FAULTS_SHOWN), ...more].join('; ')}`)
}
