// The hook: a program elsewhere that sees a message before it is accepted, in rooms that ask for that. It has a time budget,
// and each room says what counts when there is no good answer in time: `open`, the message passes; `closed`, it is
// refused. Rooms without pay nothing. Nothing of a message is logged.
//
//   POST {"v":1,"room","user":{id,name,roles},"kind","body","ext"}  ─▶  {"verdict":"allow"|"hold"|"block","reason":"…"}
//
// Messages of one author in a room keep their order: they are looked at at once, and an answer waits for those before it.
// Bound: UNDER_WAY_MAX calls at once; beyond it, and while the breaker is open, the hook counts as away.

import { isMap } from '../../proto/values.ts'
import type { Clock } from '../base/clock.ts'
import { Refusal } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { ALLOWED, Breaker, postJson, type Verdict } from '../moderation/moderation.ts'
import type { MessageDraft } from './draft.ts'

const UNDER_WAY_MAX = 500
const REASON_CHARACTERS_MAX = 200

export interface HookOptions {
  /** Null: there is none, and it is away for every room that asks for it. */
  readonly url: string | null
  readonly timeoutMs: number
  readonly token: string | null
  readonly clock: Clock
  readonly metrics: Metrics
}

export class Hook {
  readonly #options: HookOptions
  readonly #breaker = new Breaker()
  /** By room and author, the last answer that is awaited. */
  readonly #last = new Map<string, Promise<Verdict | null>>()
  #underWay = 0

  constructor (options: HookOptions) { this.#options = options }

  /** What the hook says of it, or what its absence means in this room. Never rejects. */
  async ask (draft: MessageDraft): Promise<Verdict | Refusal> {
    const { metrics } = this.#options
    const verdict = await this.#inOrder(draft.author.key, this.#answer(draft))
    metrics.add('uproar_hook_calls_total', 1, verdict?.judgement ?? 'away')
    if (verdict !== null) return verdict
    return draft.room.modes.hook === 'open' ? ALLOWED : new Refusal('unavailable', 'messages of this room are checked elsewhere first, and that does not answer; try again', 2000)
  }

  #inOrder (key: string, answer: Promise<Verdict | null>): Promise<Verdict | null> {
    const before = this.#last.get(key)
    const mine = before === undefined ? answer : before.then(() => answer)
    this.#last.set(key, mine)
    void mine.then(() => { if (this.#last.get(key) === mine) this.#last.delete(key) })
    return mine
  }

  async #answer ({ room, author, roles, kind, body, ext }: MessageDraft): Promise<Verdict | null> {
    const { url, timeoutMs, token, clock, metrics } = this.#options
    if (url === null || this.#underWay >= UNDER_WAY_MAX || !this.#breaker.may(clock.elapsed())) return null
    const start = clock.elapsed()
    let verdict: Verdict | null = null
    this.#underWay++
    try {
      const { id, name } = author.identity
      verdict = verdictOf(await postJson(url, { v: 1, room: room.name, user: { id, name, roles }, kind, body: typeof body === 'string' ? body : null, ext }, { timeoutMs, token }))
    } catch {
      // Counted as away; why is for the one who runs the hook to find out.
    } finally {
      this.#underWay--
      this.#breaker.done(verdict !== null, clock.elapsed())
      metrics.observe('uproar_hook_seconds', (clock.elapsed() - start) / 1000)
    }
    return verdict
  }
}

/** Null for what is no answer. */
function verdictOf (answer: unknown): Verdict | null {
  if (!isMap(answer)) return null
  const { verdict, reason } = answer
  const told = typeof reason === 'string' ? reason.replace(/\p{Cc}+/gu, ' ').trim().slice(0, REASON_CHARACTERS_MAX).toWellFormed() : ''
  if (verdict === 'allow') return ALLOWED
  if (verdict === 'hold') return { judgement: 'hold', rule: 'hook', reason: told || 'a moderator looks at it first' }
  if (verdict === 'block') return { judgement: 'block', rule: 'hook', reason: told || 'this message is not allowed here' }
  return null
}
