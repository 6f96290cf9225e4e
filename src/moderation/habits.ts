// How a text is written, apart from its words: capitals, signs, emotes, rows of one character, links. One pass each, and
// linear in the text. Must not know rooms, nor what follows from a number.

export interface Habits {
  readonly letters: number
  readonly capitals: number
  /** Characters that are neither letters, digits nor spaces; pictographs do not count. */
  readonly signs: number
  readonly emotes: number
  /** The longest row of one character. */
  readonly row: number
}

const UPPER = /\p{Lu}/u
const LETTER = /\p{L}/u
const QUIET = /[\p{N}\p{M}\p{Z}\p{Cf}]/u
const PICTOGRAPH = /\p{Extended_Pictographic}|\p{Regional_Indicator}/u
const CODE = /:[A-Za-z0-9_+-]{1,32}:/g
const NOTHING_ELSE = /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Modifier}|[\u200D\uFE0F\u20E3]|\s|:[A-Za-z0-9_+-]{1,32}:)*$/u
const WRITTEN_DOT = /\s?[([]\s?(?:dot|\.)\s?[)\]]\s?/gi
// A bare name counts as a link only with an ending that is one: "wait.what" is a slip of the thumb.
const LINK = /(?:https?:\/\/|www\.)([^\s/?#:@]{1,255})|(?<![\p{L}\p{N}@.-])((?:[\p{L}\p{N}-]{1,63}\.){1,4}(?:com|net|org|io|gg|tv|me|co|uk|de|fr|ru|cn|xyz|info|biz|link|live|app|dev|shop|store|site|online|club|top|win|bet|ly|be|to|cc|ws|click|pw|tk))(?![\p{L}\p{N}-])/giu

/** Counts how a text is written. */
export function habitsOf (text: string): Habits {
  let letters = 0
  let capitals = 0
  let signs = 0
  let emotes = text.includes(':') ? (text.match(CODE) ?? []).length : 0
  let row = 0
  let longest = 0
  let before = ''
  for (const char of text) {
    row = char === before ? row + 1 : 1
    if (row > longest) longest = row
    before = char
    if (char <= '\x7f') {
      if (char >= 'a' && char <= 'z') letters++
      else if (char >= 'A' && char <= 'Z') { letters++; capitals++ } else if (char !== ' ' && !(char >= '0' && char <= '9')) signs++
    } else if (LETTER.test(char)) {
      letters++
      if (UPPER.test(char)) capitals++
    } else if (PICTOGRAPH.test(char)) emotes++
    else if (!QUIET.test(char)) signs++
  }
  return { letters, capitals, signs, emotes, row: longest }
}

/** Whether a text is nothing but emotes: pictographs and `:codes:`. */
export function isEmotesOnly (text: string): boolean {
  return NOTHING_ELSE.test(text)
}

/** The hosts of the links in a text, in lower case, as they come. */
export function linkHosts (text: string): string[] {
  if (!text.includes('.') && !text.includes('://') && !/dot/i.test(text)) return []
  const dotted = text.normalize('NFKC').replace(WRITTEN_DOT, '.')
  return [...dotted.matchAll(LINK)].map((match) => ((match[1] ?? match[2]) as string).toLowerCase().replace(/^www\./, ''))
}

/** Whether a host is one of those allowed, or below one. */
export function isAllowedHost (host: string, allowed: readonly string[]): boolean {
  return allowed.some((name) => host === name || host.endsWith(`.${name}`))
}

/** The text without what makes repeats look different: case, signs, spaces, rows. Linear. */
export function gist (text: string): string {
  return text.normalize('NFKC').toLowerCase().replace(/[^\p{L}\p{N}\p{Extended_Pictographic}]+/gu, '').replace(/(.)\1+/gu, '$1')
}
