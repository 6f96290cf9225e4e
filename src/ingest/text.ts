// Text as it is stored and shown: what control characters, stacked accents and stray surrogates become. Pure and linear.

/** Marks that may stand on one character: enough for every living script, too few to climb over other lines. */
const MARKS_MAX = 4

const SPACES = /[\t\n\v\f\r\u0085\u2028\u2029]+/gu
const CONTROLS = /[\p{Cc}\uFFFE\uFFFF]/gu
const STACKED = new RegExp(`(\\p{M}{${MARKS_MAX}})\\p{M}+`, 'gu')
// The three patterns can only match text that has one of these; plain ASCII and most chat does not.
const SUSPECT = /[\u0000-\u001F\u007F-\u009F\u2028\u2029\uFFFE\uFFFF]|\p{M}{5}/u

/** The text trimmed, well-formed, line breaks as spaces, without control characters and stacked combining marks. */
export function cleanText (text: string): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed()
  if (!SUSPECT.test(wellFormed)) return wellFormed.trim()
  return wellFormed.replace(SPACES, ' ').replace(CONTROLS, '').replace(STACKED, '$1').trim()
}

/** Length in code points of a well-formed text. */
export function codePoints (text: string): number {
  let count = 0
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit >= 0xd800 && unit <= 0xdbff) at++
    count++
  }
  return count
}
