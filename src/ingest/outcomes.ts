// What becomes of drafts: the steps that want to know are told, it is counted, timed and traced, and the author is answered.
// Owns the number of those that wait for the log. Must not know how a draft was made. No message's fault is another's.

import { AppError, refusalOf, type Refusal } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { Durations, Metrics, Tally } from '../base/metrics.ts'
import type { Traces } from '../base/traces.ts'
import type { Outcome, Published } from '../log/log.ts'
import type { Answer, MessageDraft, WayIn } from './draft.ts'
import type { Step } from './steps.ts'

export interface OutcomesOptions {
  readonly steps: readonly Step[]
  readonly clock: Clock
  readonly metrics: Metrics
  /** Null: nothing is traced. */
  readonly traces: Traces | null
  readonly fault: (error: unknown, what: string) => void
}

export class Outcomes {
  readonly #told: readonly Step[]
  readonly #clock: Clock
  readonly #metrics: Metrics
  readonly #traces: Traces | null
  readonly #fault: OutcomesOptions['fault']
  readonly #accepted: Readonly<Record<WayIn, Tally>>
  readonly #acceptSeconds: Pick<Durations, 'observe'>
  #underWay = 0

  constructor ({ steps, clock, metrics, traces, fault }: OutcomesOptions) {
    this.#told = steps.filter((step) => step.settled !== undefined)
    this.#clock = clock
    this.#metrics = metrics
    this.#traces = traces
    this.#fault = fault
    this.#accepted = { socket: metrics.tally('uproar_messages_accepted_total', 'socket'), rest: metrics.tally('uproar_messages_accepted_total', 'rest') }
    this.#acceptSeconds = metrics.durations('uproar_accept_seconds')
  }

  /** Drafts that wait for the log. */
  get underWay (): number { return this.#underWay }

  /** One that waits for the log by another way than `handed`; to be followed by `ended`. */
  begun (): void { this.#underWay++ }
  ended (): void { this.#underWay-- }

  /** The draft goes to the log now: who is to be told how that ended. */
  handed (draft: MessageDraft): Outcome {
    this.begun()
    return new Handed(this, draft, this.#traces === null ? 0 : this.#clock.elapsed())
  }

  published (draft: MessageDraft, published: Published, handed: number): void {
    this.ended()
    this.settle(draft, true)
    this.#note(draft, published, handed)
    this.tell(draft.answer, published)
  }

  failed (draft: MessageDraft, error: unknown): void {
    this.ended()
    this.tell(draft.answer, this.lost(draft, error))
  }

  /** Answers. Never throws: what fails at one message must not reach the others of its commit, nor end the process. */
  tell (answer: Answer, result: Published | Refusal): void {
    try {
      answer(result)
    } catch (error) {
      this.#fault(error, 'answering a message')
    }
  }

  /** The refusal of a draft that the log did not take, or did not answer. */
  lost (draft: MessageDraft, error: unknown): Refusal {
    this.settle(draft, false)
    if (!(error instanceof AppError)) this.#fault(error, 'publishing a message')
    return this.refused(refusalOf(error))
  }

  /** Tells the steps. Never throws, for the author is answered next. */
  settle (draft: MessageDraft, isPublished: boolean): void {
    try {
      for (const step of this.#told) step.settled?.(draft, isPublished)
    } catch (error) {
      this.#fault(error, 'what a step is told of a message')
    }
  }

  /** Counts a refusal, which is to be told next. */
  refused (refusal: Refusal): Refusal {
    this.#metrics.add('uproar_refusals_total', 1, refusal.name)
    return refusal
  }

  #note (draft: MessageDraft, published: Published, handed: number): void {
    try {
      this.#count(draft, published, handed)
    } catch (error) {
      this.#fault(error, 'counting a message')
    }
  }

  #count (draft: MessageDraft, published: Published, handed: number): void {
    const { author, room, elapsed } = draft
    const isProbe = author.identity.isProbe === true
    const trace = this.#traces === null || published.repeated ? null : this.#traces.accepted({ room: room.name, epoch: published.epoch, seq: published.seq }, elapsed, handed, author.via, isProbe)
    if (isProbe) return
    if (published.repeated) this.#metrics.add('uproar_messages_repeated_total')
    else this.#accepted[author.via].value++
    const seconds = (this.#clock.elapsed() - elapsed) / 1000
    this.#acceptSeconds.observe(seconds)
    if (trace !== null) this.#metrics.exemplify('uproar_accept_seconds', { trace, seconds, at: this.#clock.now() })
  }
}

/** A draft that waits for the log: one object, where a promise and who listens to it are five. */
class Handed implements Outcome {
  readonly #outcomes: Outcomes
  readonly #draft: MessageDraft
  /** When, by clock.elapsed(); 0 where nothing is traced. */
  readonly #at: number

  constructor (outcomes: Outcomes, draft: MessageDraft, at: number) {
    this.#outcomes = outcomes
    this.#draft = draft
    this.#at = at
  }

  resolve (published: Published): void { this.#outcomes.published(this.#draft, published, this.#at) }
  reject (error: unknown): void { this.#outcomes.failed(this.#draft, error) }
}
