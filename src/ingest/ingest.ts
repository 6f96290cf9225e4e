// The way in: from what an author sent to an entry in the log, as a list of steps. Nothing waits but for the log,
// and for the hook in rooms that have it. Each draft is answered once (outcomes.ts).
//
//   submission ─▶ shape ─▶ permission ─▶ lock ─▶ rate ─▶ sanctions ─▶ modes ─▶ screen ─▶ slow mode ─▶ (hook) ─┬▶ log.submit ─▶ OK
//                   └──────────── a refusal at any step, with its code and wait ────────────▶ ERR             └▶ hold ─▶ HELD
//
// A retry must be answered with its first result even when a step would refuse it now (slow mode, a lock set since), so
// those refusals look the nonce up before they go out. Bounds: the maps of rate, screen and slow mode; the log's queue;
// messages on hold in a room's state (moderation/guard.ts).

import { hash } from 'node:crypto'
import { packShadowTail, packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { isNonce } from '../../proto/values.ts'
import type { Clock } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import { AppError, Refusal, refusalOf } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Traces } from '../base/traces.ts'
import type { Log, Published } from '../log/log.ts'
import { Audit, heldPatch, holdRefusal, textOf } from '../moderation/moderation.ts'
import type { Terms } from '../moderation/screen.ts'
import { BoundedMap } from '../base/bounded.ts'
import { addressRange } from '../base/peers.ts'
import { Held, type Answer, type Author, type MessageDraft, type Submission } from './draft.ts'
import { Hook } from './hook.ts'
import { Outcomes } from './outcomes.ts'
import { shape } from './shape.ts'
import { lock, modes, permission, rate, sanctions, screening, slowMode, type Step } from './steps.ts'

export { Author, Held, type Answer, type Submission } from './draft.ts'
export { Moderator, type Person } from './moderator.ts'
export type { Step } from './steps.ts'

export interface IngestOptions {
  readonly log: Log
  readonly clock: Clock
  readonly metrics: Metrics
  readonly config: Config
  /** Terms blocked in every room. */
  readonly terms: Terms
  /** Further steps; they stand before the screen. */
  readonly gates?: readonly Step[]
  /** Null or left out: nothing is traced. */
  readonly traces?: Traces | null
  readonly fault: (error: unknown, what: string) => void
}

/** Refusals that a message which was accepted before may meet when it is sent again. */
const MAY_BE_RETRY: ReadonlySet<string> = new Set(['slow_mode', 'room_locked', 'blocked', 'banned', 'timed_out', 'duplicate', 'members_only', 'emote_only', 'forbidden'])
/** Authors whose address is remembered, for address bans. */
const ADDRESSES_MAX = 100_000

export class Ingest {
  readonly #log: Log
  readonly #clock: Clock
  readonly #config: Config
  readonly #steps: readonly Step[]
  readonly #outcomes: Outcomes
  readonly #fault: (error: unknown, what: string) => void
  readonly #audit: Audit
  readonly #hook: Hook
  readonly #addresses = new BoundedMap<string, string>(ADDRESSES_MAX)

  constructor (options: IngestOptions) {
    const { config } = options
    this.#log = options.log
    this.#clock = options.clock
    this.#config = config
    this.#fault = options.fault
    this.#audit = new Audit(options.log)
    this.#hook = new Hook({ url: config.hookUrl, token: config.hookToken, timeoutMs: config.hookTimeoutMs, clock: options.clock, metrics: options.metrics })
    this.#steps = [
      permission,
      lock,
      rate(config.messagesPerSecondMax, config.messagesBurstMax),
      ...(options.gates ?? []),
      sanctions,
      modes,
      screening(options.terms, options.metrics),
      slowMode()
    ]
    this.#outcomes = new Outcomes({ steps: this.#steps, clock: options.clock, metrics: options.metrics, traces: options.traces ?? null, fault: options.fault })
  }

  /** Drafts that wait for the log. */
  get underWay (): number { return this.#outcomes.underWay }

  /** The range of the address that a user last wrote from, on this instance; null when that is not known. */
  addressOf (user: string): string | null {
    const address = this.#addresses.get(user)
    return address === undefined ? null : addressRange(address)
  }

  /** The user is being erased: what memory has of it is gone. */
  forget (user: string): void {
    this.#addresses.delete(user)
  }

  /** Takes a message in. Resolves once it is durably in the log, or with the reason why not: Held where it waits. Rejects only with a fault of ours. */
  accept (author: Author, submission: Submission): Promise<Published | Refusal> {
    return new Promise((resolve) => this.take(author, submission, this.#clock.elapsed(), resolve))
  }

  /**
   * The same for those who send many, told by a call, which must not throw and may come before this returns. No promises on
   * this way: each costs a message five objects that live as long as it waits, and a turn of the microtask queue. Throws only a
   * fault of ours, and has not answered then.
   * `arrivedAt`: when the submission came, by clock.elapsed().
   */
  take (author: Author, submission: Submission, arrivedAt: number, answer: Answer): void {
    const draft = shape(author, submission, answer, this.#clock.now(), arrivedAt, this.#config)
    if (draft instanceof Refusal) return this.#refuseUnlessKnown(author, submission.nonce, draft, answer)
    for (const step of this.#steps) {
      const refusal = step.check(draft)
      if (refusal === null) continue
      return MAY_BE_RETRY.has(refusal.name) ? this.#refuseUnlessKnown(author, draft.nonce, refusal, answer) : answer(this.#outcomes.refused(refusal))
    }
    this.#noteAddress(author)
    if (author.room.modes.hook === 'off') this.#proceed(draft)
    else this.#ask(draft).catch((error: unknown) => this.#broken(draft, error))
  }

  #proceed (draft: MessageDraft): void {
    if (draft.verdict.judgement !== 'hold') return this.#publish(draft)
    this.#hold(draft).then((result) => this.#outcomes.tell(draft.answer, result), (error: unknown) => this.#broken(draft, error))
  }

  /** A fault of ours before the draft was answered. */
  #broken (draft: MessageDraft, error: unknown): void {
    this.#fault(error, 'a message on its way in')
    this.#outcomes.tell(draft.answer, this.#outcomes.refused(refusalOf(error)))
  }

  /** Shows a message to the hook first. A repeat of one that was accepted is not shown again. */
  async #ask (draft: MessageDraft): Promise<void> {
    const { author, nonce, answer } = draft
    // Where the log does not answer the hook is not asked: the message would wait for the log once more, and be refused then.
    const first = await this.#lookUp(author, nonce).catch((error: unknown) => this.#outcomes.lost(draft, error))
    if (first !== null) return this.#outcomes.tell(answer, first)
    const verdict = await this.#hook.ask(draft)
    if (verdict instanceof Refusal || verdict.judgement === 'block') {
      this.#outcomes.settle(draft, false)
      return this.#outcomes.tell(answer, this.#outcomes.refused(verdict instanceof Refusal ? verdict : await this.#blocked(draft, verdict.reason)))
    }
    // A shadow stays one, whatever the hook says.
    if (verdict.judgement === 'hold' && draft.verdict.judgement !== 'shadow') draft.verdict = verdict
    this.#proceed(draft)
  }

  async #blocked ({ room, author, body }: MessageDraft, reason: string): Promise<Refusal> {
    try {
      await this.#audit.append({ room: room.name, action: 'block', by: null, source: 'hook', whom: author.identity.id, text: textOf({ body }), reason, args: {}, failure: null })
    } catch (error) {
      if (!(error instanceof AppError)) this.#fault(error, 'an audit row')
      return refusalOf(error)
    }
    return new Refusal('blocked', reason)
  }

  #publish (draft: MessageDraft): void {
    const { room, author: { identity, user }, kind, body, ext, nonce } = draft
    const tail = draft.verdict.judgement === 'shadow' ? packShadowTail([user, kind, body, ext]) : packTail([user, kind, body, ext])
    this.#log.submit(room.name, { op: OUT.MESSAGE, tail, author: identity.id, nonce, epoch: room.epoch }, this.#outcomes.handed(draft))
  }

  /** What was refused is looked up, for it may be the repeat of what was accepted; where that cannot be told it stays refused. */
  #refuseUnlessKnown (author: Author, nonce: unknown, refusal: Refusal, answer: Answer): void {
    void this.#lookUp(author, nonce).catch((error: unknown) => {
      this.#fault(error, 'looking up a nonce')
      return null
    }).then((first) => this.#outcomes.tell(answer, first ?? this.#outcomes.refused(refusal)))
  }

  #noteAddress ({ identity: { id }, address }: Author): void {
    if (address !== '' && this.#addresses.get(id) !== address) this.#addresses.set(id, address)
  }

  /** Puts a message on hold. It is named after its author and nonce, so a repeat finds itself there, or its first result. */
  async #hold (draft: MessageDraft): Promise<Published | Refusal> {
    const { room, author, kind, body, ext, nonce, verdict: { reason, rule }, now } = draft
    const ref = `h-${hash('sha256', JSON.stringify([author.identity.id, nonce]), 'base64url').slice(0, 16)}`
    const held = new Held(ref, textOf({ body }), reason)
    this.#outcomes.begun()
    try {
      const first = await this.#lookUp(author, nonce)
      if (first !== null) return first
      if (room.guard.held.has(ref)) return held
      const full = holdRefusal(room.guard, author.identity.id)
      if (full !== null) throw new AppError('overloaded', full.message, { retryAfterMs: full.retryAfterMs as number })
      const { id } = author.identity
      await this.#audit.append({ room: room.name, action: 'hold', by: null, source: rule === 'hook' ? 'hook' : 'rule', whom: id, text: held.text, reason, args: { ref, rule }, failure: null })
      const guarded = heldPatch({ ref, user: author.user, kind, body, ext, nonce, address: addressRange(author.address), reason, at: now })
      await this.#log.publish(room.name, { op: OUT.STATE, tail: packTail([{}]), author: id, nonce: null, epoch: room.epoch, patch: { guarded } })
      await room.settled()
      this.#outcomes.settle(draft, true)
      return this.#outcomes.refused(held)
    } catch (error) {
      this.#outcomes.settle(draft, false)
      if (!(error instanceof AppError)) this.#fault(error, 'holding a message')
      return this.#outcomes.refused(refusalOf(error))
    } finally {
      this.#outcomes.ended()
    }
  }

  /** What a message with this nonce was answered when it was accepted; null when none was. Rejects as the log does. */
  async #lookUp (author: Author, nonce: unknown): Promise<Published | null> {
    return isNonce(nonce) ? this.#log.find(author.room.name, author.identity.id, nonce) : null
  }
}
