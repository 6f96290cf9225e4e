// A scorer elsewhere, asked over HTTP: any model behind one address. Messages go in batches with a time budget; while it
// fails a breaker keeps it from being asked, and its consumer waits, so nothing is left unjudged. What is answered is not
// trusted: a wrong answer is a failure. Nothing of a message is logged.
//
//   POST {"v":1,"messages":[{room,epoch,seq,ts,user,body}…]}  ─▶  {"scores":[{"score":0.9,"label":"spam","why":"…"},null…]}

import { isMap } from '../../proto/values.ts'
import { systemClock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { Breaker } from './breaker.ts'
import type { Scorable, Score, Scorer } from './scorer.ts'

const BATCH = 100
const ANSWER_BYTES_MAX = 262_144
const WHY_CHARACTERS_MAX = 120

export interface HttpScorerOptions {
  readonly url: string
  readonly timeoutMs: number
  /** Sent as the bearer; null: none. */
  readonly token: string | null
  readonly metrics: Metrics
}

export class HttpScorer implements Scorer {
  readonly name = 'http'
  readonly #options: HttpScorerOptions
  readonly #breaker = new Breaker()

  constructor (options: HttpScorerOptions) { this.#options = options }

  async score (messages: readonly Scorable[]): Promise<readonly (Score | null)[]> {
    const scores: (Score | null)[] = []
    for (let from = 0; from < messages.length; from += BATCH) scores.push(...await this.#ask(messages.slice(from, from + BATCH)))
    return scores
  }

  async #ask (messages: readonly Scorable[]): Promise<(Score | null)[]> {
    if (!this.#breaker.may(systemClock.elapsed())) throw new AppError('unavailable', 'the scorer has failed several times and rests')
    const { url, timeoutMs, token, metrics } = this.#options
    const start = systemClock.elapsed()
    let isGood = false
    try {
      const scores = scoresOf(await postJson(url, { v: 1, messages }, { timeoutMs, token }), messages.length)
      isGood = true
      return scores
    } catch (error) {
      throw new AppError('unavailable', `the scorer failed: ${(error as Error).message}`, { cause: error })
    } finally {
      const now = systemClock.elapsed()
      this.#breaker.done(isGood, now)
      metrics.add('uproar_scorer_calls_total', 1, isGood ? 'answered' : 'failed')
      metrics.observe('uproar_scorer_seconds', (now - start) / 1000)
    }
  }
}

/** Posts JSON and reads JSON, within the time and of a bounded size. Rejects when anything is not as it should be. */
export async function postJson (url: string, body: unknown, { timeoutMs, token }: { timeoutMs: number, token: string | null }): Promise<unknown> {
  const answer = await fetch(url, {
    method: 'POST', redirect: 'error', signal: AbortSignal.timeout(timeoutMs), body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', accept: 'application/json', ...(token === null ? {} : { authorization: `Bearer ${token}` }) }
  })
  if (answer.status !== 200) {
    await answer.body?.cancel()
    throw new Error(`it answered ${answer.status}`)
  }
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of answer.body ?? []) {
    size += chunk.length
    if (size > ANSWER_BYTES_MAX) throw new Error(`its answer has over ${ANSWER_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  return JSON.parse(Buffer.concat(chunks).toString()) as unknown
}

function scoresOf (answer: unknown, count: number): (Score | null)[] {
  const scores = isMap(answer) ? answer['scores'] : undefined
  if (!Array.isArray(scores) || scores.length !== count) throw new Error(`its answer has not ${count} scores`)
  return scores.map((each: unknown) => {
    if (each === null) return null
    if (!isMap(each) || typeof each['score'] !== 'number' || !(each['score'] >= 0 && each['score'] <= 1)) throw new Error('a score is not a number from 0 to 1')
    return { score: each['score'], label: plain(each['label'], 20) || 'model', why: plain(each['why'], WHY_CHARACTERS_MAX) || `score ${each['score'].toFixed(2)}` }
  })
}

/** One line of text that an audit row can hold; '' for what is none. */
function plain (value: unknown, max: number): string {
  return typeof value === 'string' ? value.replace(/\p{Cc}+/gu, ' ').trim().slice(0, max).toWellFormed() : ''
}
