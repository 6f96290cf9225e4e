// One verdict on one text: terms, links, shouting, floods, repeats, in the order of how sure each is. Pure but for the
// repeats, which it only looks at. The reason is a sentence that the author may be told. Must not know who may do what.

import { habitsOf, isAllowedHost, linkHosts } from './habits.ts'
import { thresholdsOf, type Judgement, type Thresholds } from './levels.ts'
import type { Repeat } from './repeats.ts'
import { screen, type Terms } from './screen.ts'

export interface Verdict {
  readonly judgement: Judgement
  /** Which rule, for audit rows and metrics. */
  readonly rule: 'none' | 'term' | 'link' | 'capitals' | 'emotes' | 'signs' | 'mentions' | 'repeat' | 'crowd' | 'hook'
  /** For the author. */
  readonly reason: string
}

export interface Question {
  readonly text: string
  readonly mentions: number
  readonly level: number
  readonly terms: readonly Terms[]
  /** Hosts, in lower case. */
  readonly allowedLinks: readonly string[]
  readonly repeat: Repeat
}

export const ALLOWED: Verdict = { judgement: 'allow', rule: 'none', reason: '' }

/** What is to become of a text. Linear in its length. */
export function judge (question: Question): Verdict {
  const { text, level, terms, allowedLinks, repeat } = question
  if (screen(text, ...terms) !== null) return { judgement: 'block', rule: 'term', reason: 'the message has a term that is not allowed here' }
  if (level <= 0) return ALLOWED
  const limits = thresholdsOf(level)
  if (limits.links !== 'allow' && linkHosts(text).some((host) => !isAllowedHost(host, allowedLinks))) {
    return { judgement: limits.links, rule: 'link', reason: limits.links === 'hold' ? 'messages with links wait for a moderator here' : 'links are not allowed here' }
  }
  if (question.mentions > limits.mentions) return { judgement: 'block', rule: 'mentions', reason: `at most ${limits.mentions} mentions in one message here` }
  return flood(text, limits) ?? repeated(repeat, limits) ?? ALLOWED
}

function flood (text: string, limits: Thresholds): Verdict | null {
  const { letters, capitals, emotes, signs, row } = habitsOf(text)
  if (letters >= limits.capitalsLetters && capitals >= letters * limits.capitalsShare) return { judgement: 'block', rule: 'capitals', reason: 'too many capitals' }
  if (emotes > limits.emotes) return { judgement: 'block', rule: 'emotes', reason: `at most ${limits.emotes} emotes in one message here` }
  if (signs > limits.signs || row > limits.row) return { judgement: 'block', rule: 'signs', reason: 'too many signs, or one character too often' }
  return null
}

function repeated (repeat: Repeat, limits: Thresholds): Verdict | null {
  if (repeat.own >= limits.ownRepeats) return { judgement: 'block', rule: 'repeat', reason: 'this was said just now' }
  if (repeat.others >= limits.roomRepeats) return { judgement: limits.crowd, rule: 'crowd', reason: 'many are saying the same; the message waits for a moderator' }
  return null
}
