// The moderator's worker: one consumer of the feed a scorer, and one for verdicts that programs outside write. What they
// find is carried out by the same way as a human's action, as the bot that is named here, with the source `consumer`.
//
//   messages ─▶ [not staff's, not a bot's, text] ─▶ scorer ─▶ verdicts ─┐
//   actions  ─▶ [what an outside program decided] ──────────────────────┴─▶ act (decide ─▶ audit row ─▶ log)
//
// Once: an action bears the name of the record that caused it and the record's time. What the log has by that name, or
// what was done to the user since, is not done again (ingest/moderator.ts). Bounds: the feed's batches; what scorers keep.

import { createHash } from 'node:crypto'
import { KIND, ROLE } from '../../proto/ops.ts'
import { isMap } from '../../proto/values.ts'
import type { Identity } from '../auth/auth.ts'
import { AppError, Refusal } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Feed, FeedRecord, Say } from '../feed/feed.ts'
import { standBy } from '../feed/standby.ts'
import type { Scorable, Score, Scorer } from './scorer.ts'
import { Verdicts } from './verdicts.ts'

/** What makes an action one: its name, and the time since which it may have been done already. */
export interface Once {
  readonly id: string
  readonly since: number
  /** Only while the room is of this epoch. */
  readonly epoch?: string
}

export type Act = (room: string, by: Identity, action: unknown, args: unknown, source: 'consumer', once: Once) => Promise<unknown>

export interface WorkerOptions {
  readonly feed: Feed
  readonly scorers: readonly Scorer[]
  /** Whether verdicts of outside programs are carried out. */
  readonly takesActions: boolean
  readonly act: Act
  readonly metrics: Metrics
  readonly say: Say
}

/** Authors that the worker leaves alone. */
const EXEMPT = ROLE.moderator | ROLE.broadcaster | ROLE.admin | ROLE.bot
const JUDGED: ReadonlySet<unknown> = new Set([KIND.text, KIND.emote])
const OUTAGES: ReadonlySet<string> = new Set(['unavailable', 'overloaded'])
const LIMIT_MS = 60_000
/** Refusals that are the request's own fault: a verdict of outside that gets one is put aside. */
const FAULTY: ReadonlySet<string> = new Set(['bad_request', 'unsupported', 'forbidden'])

export class Worker {
  readonly name = 'moderator'
  readonly #options: WorkerOptions
  #consumers: { stop (): Promise<void> }[] = []

  constructor (options: WorkerOptions) { this.#options = options }

  async start (): Promise<void> {
    const { feed, scorers, takesActions, say } = this.#options
    for (const scorer of scorers) {
      await scorer.start?.()
      const scoring = new Scoring(scorer, this.#options)
      this.#consumers.push(standBy(feed, { name: `moderator-${scorer.name}`, topics: ['messages'], from: 'now', handle: (batch) => scoring.handle(batch) }, say))
    }
    if (takesActions) this.#consumers.push(standBy(feed, { name: 'moderator-actions', topics: ['actions'], from: 'beginning', batchMax: 50, handle: (batch) => this.#carryOut(batch) }, say))
  }

  async stop (): Promise<void> {
    await Promise.all(this.#consumers.map((consumer) => consumer.stop()))
    for (const scorer of this.#options.scorers) scorer.stop?.()
  }

  /** Verdicts from outside. What is wrong in one is thrown, so that the feed puts it aside with the reason. */
  async #carryOut (batch: readonly FeedRecord[]): Promise<void> {
    for (const { room, ts, value } of batch) {
      const { id, action, args, by, epoch } = value
      if (typeof id !== 'string' || id === '' || id.length > 64) throw new Error('id must be a text of 1 to 64 characters')
      if (!isMap(args)) throw new Error('args must be an object')
      if (by !== undefined && (typeof by !== 'string' || by.length > 64)) throw new Error('by must be a text of at most 64 characters')
      if (epoch !== undefined && typeof epoch !== 'string') throw new Error('epoch must be a text')
      const result = await this.#options.act(room, botIn(room, typeof by === 'string' && by !== '' ? by : 'outside'), action, args, 'consumer', { id: nameOf('actions', room, id), since: ts, epoch })
      if (!(result instanceof Refusal)) continue
      if (FAULTY.has(result.name)) throw new Error(`${result.name}: ${result.message}`)
      heed(result, this.#options.say, room)
    }
  }
}

/** A scorer's share of the work. */
class Scoring {
  readonly #scorer: Scorer
  readonly #options: WorkerOptions
  readonly #verdicts: Verdicts
  /** What was found about records of a batch that may come again in this process. */
  readonly #scored = new WeakMap<FeedRecord, readonly Finding[]>()

  constructor (scorer: Scorer, options: WorkerOptions) {
    this.#scorer = scorer
    this.#options = options
    this.#verdicts = new Verdicts(scorer.name)
  }

  async handle (batch: readonly FeedRecord[]): Promise<void> {
    const fresh = batch.filter((record) => !this.#scored.has(record) && isJudged(record))
    if (fresh.length > 0) {
      const messages = fresh.map(scorable)
      const scores = await this.#scorer.score(messages)
      for (const [at, record] of fresh.entries()) this.#scored.set(record, this.#judge(messages[at] as Scorable, scores[at] ?? null))
    }
    for (const record of batch) for (const finding of this.#scored.get(record) ?? []) await this.#carryOut(record, finding)
  }

  #judge (message: Scorable, score: Score | null): Finding[] {
    if (score === null || score.score <= 0) return []
    this.#options.metrics.add('uproar_scores_total', 1, this.#scorer.name)
    return this.#verdicts.judge(message, score).map((verdict) => ({ ...verdict, isDone: false }))
  }

  async #carryOut ({ room, epoch, seq, ts }: FeedRecord, finding: Finding): Promise<void> {
    if (finding.isDone) return
    const { action, args } = finding
    const result = await this.#options.act(room, botIn(room, this.#scorer.name), action, args, 'consumer', { id: nameOf(this.#scorer.name, room, epoch, String(seq), action), since: ts, epoch })
    if (result instanceof Refusal) heed(result, this.#options.say, room)
    finding.isDone = true
  }
}

interface Finding { readonly action: string, readonly args: Readonly<Record<string, unknown>>, isDone: boolean }

/**
 * A refusal that waiting mends is an outage. Any other says that there is nothing (more) to do: the message or the room is
 * gone; or it is a limit of the room itself that asks for a minute or more, and the others must not wait for that.
 */
function heed (refusal: Refusal, say: Say, room: string): void {
  const isLimit = refusal.name === 'overloaded' && (refusal.retryAfterMs ?? 0) >= LIMIT_MS
  if (isLimit) say('warn', 'a verdict was passed over', { room, reason: refusal.message })
  else if (OUTAGES.has(refusal.name)) throw new AppError('unavailable', refusal.message)
  else if (refusal.name === 'internal') throw new Error(refusal.message)
}

function isJudged ({ value }: FeedRecord): boolean {
  const user = value['user'] as { roles: number } | undefined
  return value['op'] === 'message' && value['shadow'] !== true && JUDGED.has(value['kind']) && user !== undefined && (user.roles & EXEMPT) === 0
}

function scorable ({ room, epoch, seq, ts, value }: FeedRecord): Scorable {
  return { room, epoch, seq, ts, user: value['user'] as Scorable['user'], body: String(value['body']) }
}

/** The bot: a moderator of this one room, so it may do to nobody of that rank or above. */
function botIn (room: string, name: string): Identity {
  return { id: `uproar:${name}`, name: 'Uproar', roles: ROLE.bot, rooms: new Map([[room, ROLE.moderator]]), expiresAt: Infinity, tokenId: null }
}

/** At most 43 characters, so that a nonce has space for more. */
function nameOf (...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}
