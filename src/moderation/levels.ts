// The automatic levels as one readable table: what a room at each level does about links, shouting, floods and repeats.
// Level 0 leaves all of it alone (blocked terms, unique chat and pre-moderation are settings of their own). Only data.

export type Judgement = 'allow' | 'hold' | 'block' | 'shadow'

export interface Thresholds {
  /** What becomes of a link that `allowedLinks` does not name. */
  readonly links: Judgement
  /** Share of capitals among letters from which a text shouts, and how many letters it must have; 0: never. */
  readonly capitalsShare: number
  readonly capitalsLetters: number
  /** More emotes (pictographs and `:codes:`) than this are a flood; Infinity: never. */
  readonly emotes: number
  /** More of one character in a row, or more signs than this in all, are a flood. */
  readonly row: number
  readonly signs: number
  /** More mentions than this. */
  readonly mentions: number
  /** So often may one author say the same within REPEAT_MS before it is refused. */
  readonly ownRepeats: number
  /** So many authors may say the same within REPEAT_MS before `crowd` is done to it. */
  readonly roomRepeats: number
  readonly crowd: Judgement
}

const NEVER = Infinity

export const LEVELS: readonly Thresholds[] = [
  { links: 'allow', capitalsShare: 0, capitalsLetters: NEVER, emotes: NEVER, row: NEVER, signs: NEVER, mentions: NEVER, ownRepeats: NEVER, roomRepeats: NEVER, crowd: 'allow' },
  { links: 'allow', capitalsShare: 0.95, capitalsLetters: 40, emotes: 40, row: 60, signs: 120, mentions: 12, ownRepeats: 5, roomRepeats: NEVER, crowd: 'allow' },
  { links: 'hold', capitalsShare: 0.9, capitalsLetters: 25, emotes: 25, row: 40, signs: 60, mentions: 8, ownRepeats: 3, roomRepeats: 20, crowd: 'hold' },
  { links: 'block', capitalsShare: 0.8, capitalsLetters: 15, emotes: 15, row: 25, signs: 40, mentions: 5, ownRepeats: 2, roomRepeats: 10, crowd: 'hold' },
  { links: 'block', capitalsShare: 0.7, capitalsLetters: 10, emotes: 8, row: 12, signs: 20, mentions: 3, ownRepeats: 1, roomRepeats: 5, crowd: 'shadow' }
]

export const LEVEL_MAX = LEVELS.length - 1

/** What was said so long ago is no repeat, milliseconds. */
export const REPEAT_MS = 30_000

/** The row of a level; levels beyond the table are the strictest. */
export function thresholdsOf (level: number): Thresholds {
  return LEVELS[Math.min(LEVEL_MAX, Math.max(0, level))] as Thresholds
}
