// From scores to actions, with hysteresis: one bad message goes by itself, an author is sanctioned only when the heat of
// many has gathered, and after that not again until it has cooled down or grown by as much again; each time for longer.
//
//   heat ─▶ falls by half every 30 s, rises by each score
//   score ≥ 0.9                        ─▶ remove
//   heat  ≥ 2.0 and armed              ─▶ timeout 1 min, 10 min, 1 h, 1 d (with purge from the second on); disarmed
//   heat  < 0.7, or twice the last's   ─▶ armed again;   an hour without one ─▶ one step down
//
// Pure but for the memory of authors. Must not know who carries actions out. Bound: AUTHORS_MAX authors.

import { BoundedMap } from '../base/bounded.ts'
import type { Scorable, Score } from './scorer.ts'

export const REMOVE_SCORE = 0.9
const SANCTION_HEAT = 2
const COOL_HEAT = 0.7
const HALF_MS = 30_000
const STEPS_S = [60, 600, 3600, 86_400] as const
const STEP_DOWN_MS = 3_600_000
const AUTHORS_MAX = 100_000
const REASON_CHARACTERS_MAX = 200

/** An action as moderators ask for it. */
export interface Verdict {
  readonly action: 'remove' | 'timeout'
  readonly args: Readonly<Record<string, unknown>>
}

interface Author { heat: number, at: number, step: number, sanctionedAt: number, sanctionHeat: number, isArmed: boolean }

export class Verdicts {
  readonly #scorer: string
  readonly #authors = new BoundedMap<string, Author>(AUTHORS_MAX)

  /** `scorer`: named in every reason. */
  constructor (scorer: string) { this.#scorer = scorer }

  /** What follows from a message's score, in the order in which it is to be carried out. */
  judge ({ room, user, seq, ts }: Scorable, { score, label, why }: Score): Verdict[] {
    const author = this.#warmed(`${room}\n${user.id}`, ts, score)
    const reason = `${label}: ${why} (${this.#scorer})`.slice(0, REASON_CHARACTERS_MAX).toWellFormed()
    const verdicts: Verdict[] = score >= REMOVE_SCORE ? [{ action: 'remove', args: { seq, reason } }] : []
    if (author.heat < SANCTION_HEAT || !author.isArmed) return verdicts
    const seconds = STEPS_S[author.step] as number
    const isPurge = author.step > 0
    author.isArmed = false
    author.sanctionedAt = ts
    author.sanctionHeat = author.heat
    author.step = Math.min(author.step + 1, STEPS_S.length - 1)
    return [...verdicts, { action: 'timeout', args: { user: user.id, seconds, reason, ...(isPurge ? { purge: true } : {}) } }]
  }

  #warmed (key: string, ts: number, score: number): Author {
    const author = this.#authors.get(key) ?? { heat: 0, at: ts, step: 0, sanctionedAt: -Infinity, sanctionHeat: 0, isArmed: true }
    author.heat *= 0.5 ** (Math.max(0, ts - author.at) / HALF_MS)
    author.at = Math.max(author.at, ts)
    if (author.heat < COOL_HEAT) author.isArmed = true
    author.heat += score
    if (!author.isArmed && author.heat >= author.sanctionHeat * 2) author.isArmed = true
    if (author.step > 0 && ts - author.sanctionedAt > STEP_DOWN_MS) {
      author.step--
      author.sanctionedAt = ts
    }
    this.#authors.set(key, author)
    return author
  }
}
