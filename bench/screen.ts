// What does the inline screen cost a message? 10,000 invented terms, a mix of chat lines at the strictest level, and
// texts of 500 characters made to hurt. In this process: the screen is synchronous and touches nothing else.

import { judge } from '../src/moderation/judge.ts'
import { LEVEL_MAX } from '../src/moderation/levels.ts'
import { compileTerms, type Terms } from '../src/moderation/screen.ts'
import { spread, spreadText, type Bench, type Finding, type Row, type Spread } from './row.ts'

const TERMS = 10_000
const TARGET_US = 10
const PASSES = 8
const FRESH = { own: 0, others: 0, agoMs: Infinity }

const LINES = [
  'lol that was amazing', 'gg wp everyone, see you tomorrow!', 'KEKW KEKW KEKW', '@ann did you see the 2nd goal? crazy', 'i think he is going to lose this round tbh', '😂😂😂', 'wait what', 'W',
  'that clip is at https://example.org/clip/123 if you missed it', 'The quick brown fox jumps over the lazy dog and then some more words follow here', 'no way', 'pog', 'first time here, hi!', 'what song is this?', 'LETS GOOOO', 'привет из Москвы'
]
const ATTACKS = ['a ', 'b.a.', 'a$1|!', 'b*', 'а1 ', 'babo ', 'x@y.', 'A'].map((piece) => piece.repeat(500).slice(0, 500))

export const screen: Row = {
  name: 'screen',
  about: 'the inline screen, per message, with 10,000 terms',
  roundsMax: 2,
  async run (bench: Bench): Promise<Finding[]> {
    const terms = [compileTerms(inventedTerms())]
    const count = bench.isQuick ? 20_000 : 200_000
    const medians: number[] = []
    const p99s: number[] = []
    const worst: number[] = []
    const growth: number[] = []
    for (let round = 1; round <= bench.rounds; round++) {
      const took = lines(terms, count)
      medians.push(took.median)
      p99s.push(took.p99)
      const attacks = attacked(terms)
      worst.push(Math.max(...attacks.map(({ once }) => once)))
      growth.push(Math.max(...attacks.map(({ once, twice }) => twice / once)))
      bench.progress(`round ${round}: ${took.median.toFixed(2)} µs at the median, ${(worst.at(-1) as number).toFixed(0)} µs for the worst text of 500 characters`)
    }
    return [finding('The inline screen with 10,000 terms, µs a message', spread(medians), `at most ${TARGET_US} µs at the median`, (median) => median <= TARGET_US, { p99: spread(p99s) }),
      finding('The inline screen on a text of 500 characters made to hurt, µs', spread(worst), 'grows with the length, not faster: twice the text at most 3 times the time', () => spread(growth).median <= 3, { growth: spread(growth) })]
  }
}

function finding (question: string, us: Spread, target: string, isMet: (median: number) => boolean, more: Record<string, Spread>): Finding {
  return { question, result: `${spreadText(us)} µs`, conditions: `${TERMS} invented terms, level ${LEVEL_MAX}, ${LINES.length} chat lines, in one process`, target, isMet: isMet(us.median), figures: { us, ...more } }
}

function ask (text: string, terms: readonly Terms[]): void {
  judge({ text, mentions: 0, level: LEVEL_MAX, terms, allowedLinks: ['example.org'], repeat: FRESH })
}

/** Each message timed by itself; the first quarter warms up. */
function lines (terms: readonly Terms[], count: number): { median: number, p99: number } {
  const took: number[] = []
  for (let at = 0; at < count; at++) {
    const from = performance.now()
    ask(LINES[at % LINES.length] as string, terms)
    if (at > count / 4) took.push((performance.now() - from) * 1000)
  }
  took.sort((a, b) => a - b)
  return { median: took[took.length >> 1] as number, p99: took[Math.floor(took.length * 0.99)] as number }
}

/**
 * Microseconds for each text and for twice as much of it. V8 compiles anew what another text took another way through, so
 * all are gone through several times and the best counts: else one is timed compiled and the other not.
 */
function attacked (terms: readonly Terms[]): { once: number, twice: number }[] {
  const best = ATTACKS.map(() => ({ once: Infinity, twice: Infinity }))
  for (let pass = 0; pass < PASSES; pass++) {
    for (const [at, text] of ATTACKS.entries()) {
      const { once, twice } = best[at] as { once: number, twice: number }
      best[at] = { once: Math.min(once, cost(text, terms)), twice: Math.min(twice, cost(text + text, terms)) }
    }
  }
  return best
}

/** Microseconds for one text: the best of some, since the machine is shared. */
function cost (text: string, terms: readonly Terms[]): number {
  for (let warm = 0; warm < 20; warm++) ask(text, terms)
  return Math.min(...Array.from({ length: 20 }, () => {
    const from = performance.now()
    ask(text, terms)
    return (performance.now() - from) * 1000
  }))
}

/** Ten thousand words that could be words; the same ones each time. */
function inventedTerms (): string[] {
  let seed = 1
  const pick = (from: string): string => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return from[Math.floor(seed / 2 ** 32 * from.length)] as string
  }
  const terms = new Set<string>()
  while (terms.size < TERMS) terms.add(Array.from({ length: 2 + terms.size % 3 }, () => pick('bcdfghjklmnprstvwz') + pick('aeiou')).join('') + pick('bdgklmnrst'))
  return [...terms]
}
