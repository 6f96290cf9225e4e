// The chat log that stories replay: the real one where it is at hand (UPROAR_LOG_CSV, or ../shared/data beside the
// project), else one made by chance with the same shape: as many lines, heavy and light authors, bursts.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readLog, type LogLine } from '../replay/csv.ts'
import { Random } from './random.ts'

export interface ChatLog { readonly name: string, readonly isReal: boolean, lines (): AsyncIterable<LogLine> }

const FILE = process.env.UPROAR_LOG_CSV ?? join(import.meta.dirname, '../../../shared/data/livestream-irl.csv')
const LINES = 28_013
const AUTHORS = 13_753
const TEXT_CHARACTERS_MAX = 500
const WORDS = ['hello', 'lol', '👊👊', 'where is this?', 'W', '我来了', 'say my name', 'eat it', 'ما هذا', 'frog', '🔥', 'no way he did that', 'e\u0301te\u0301']

/** Lines in the first `limit`, and how many of them are over 500 characters, which the server refuses as too long. */
export async function measure (lines: AsyncIterable<LogLine>, limit: number): Promise<{ count: number, tooLong: number }> {
  let count = 0
  let tooLong = 0
  for await (const { text } of lines) {
    if (text.length > TEXT_CHARACTERS_MAX && [...text].length > TEXT_CHARACTERS_MAX) tooLong++
    if (++count >= limit) break
  }
  return { count, tooLong }
}

export function chatLog (): ChatLog {
  if (existsSync(FILE)) return { name: 'the real log', isReal: true, lines: () => readLog(FILE) }
  return { name: 'a made-up log (the real one is not at hand)', isReal: false, lines: madeUp }
}

async function * madeUp (): AsyncGenerator<LogLine> {
  const random = new Random(2)
  let offsetMs = 0
  for (let number = 1; number <= LINES; number++) {
    // 13 lines a second on average, one in a hundred seconds at four times that.
    offsetMs += random.below(offsetMs % 100_000 < 1000 ? 40 : 155)
    const author = random.chance(0.5) ? random.below(AUTHORS) : random.below(random.between(1, AUTHORS))
    const text = Array.from({ length: random.between(1, 8) }, () => random.pick(WORDS)).join(' ')
    yield { number, offsetMs, user: `u${author}`, text }
  }
}
