// What a moderator does: asks the server by the one way for actions, says what became of it, takes back what was shown
// early when it was refused. What cannot be undone must be asked for twice. Must not know panels.

import { UproarError, type Author } from '../client.ts'
import type { Toasts } from './toasts.ts'
import { refusal, TEXTS } from './texts.ts'
import type { Watched, WatchedRoom } from './watched-room.ts'

/** Somebody in a room. */
export interface Whom {
  readonly room: WatchedRoom
  readonly user: Pick<Author, 'id' | 'name'>
}

export interface ActOptions {
  /** Said when it is done; empty: nothing is said. */
  readonly done?: string
  /** Offered once it is done. */
  readonly undo?: () => void
  /** Shown at once and taken back when it is refused. */
  readonly early?: { readonly show: () => void, readonly takeBack: () => void }
}

export const QUICK_TIMEOUT_SECONDS = 600
const ARMED_MS = 4000

export class Acts {
  readonly #toasts: Toasts
  #armed = { key: '', until: 0 }

  constructor (toasts: Toasts) {
    this.#toasts = toasts
  }

  /** Carries out an action; false when it was refused, which has been said. */
  async act (room: WatchedRoom, action: string, args: Record<string, unknown>, { done = '', undo, early }: ActOptions = {}): Promise<boolean> {
    early?.show()
    try {
      await room.moderate(action, args)
      if (done !== '') this.#toasts.say(done, 'done', undo)
      return true
    } catch (error) {
      early?.takeBack()
      this.refused(error)
      return false
    }
  }

  /** Says why something did not work. */
  refused (error: unknown): void {
    const { name, message, retryAfterMs } = error instanceof UproarError ? error : new UproarError(50, 'internal', 'something failed')
    this.#toasts.say(refusal(name, message, retryAfterMs), 'refused')
  }

  /** Whether the same was asked for a moment ago; else says what to press again. */
  twice (key: string, what: string, asked: string): boolean {
    const now = performance.now()
    const isArmed = this.#armed.key === asked && now < this.#armed.until
    this.#armed = isArmed ? { key: '', until: 0 } : { key: asked, until: now + ARMED_MS }
    if (!isArmed) this.#toasts.say(TEXTS.pressAgain(key, what))
    return isArmed
  }

  /** The row fades at once, and comes back if the server refuses. */
  remove (room: WatchedRoom, message: Watched): Promise<boolean> {
    const fade = (isGoing: boolean) => () => message.row?.classList.toggle('is-going', isGoing)
    return this.act(room, 'remove', { seq: message.place }, { early: { show: fade(true), takeBack: fade(false) }, done: TEXTS.done.remove(message.user.name) })
  }

  timeout (whom: Whom, seconds: number, more: Record<string, unknown> = {}): Promise<boolean> {
    const { room, user } = whom
    return this.act(room, 'timeout', { user: user.id, seconds, ...more }, { done: TEXTS.done.timeout(user.name, seconds), ...this.#undo(whom) })
  }

  /** `action`: ban, shadowBan or banAddress. */
  ban (action: 'ban' | 'shadowBan' | 'banAddress', whom: Whom, more: Record<string, unknown> = {}): Promise<boolean> {
    const { room, user } = whom
    return this.act(room, action, { user: user.id, ...more }, { done: TEXTS.done[action](user.name), ...action === 'banAddress' ? {} : this.#undo(whom) })
  }

  /** Lifting takes away everything that is in force, so it undoes only what stands alone. */
  #undo (whom: Whom): Pick<ActOptions, 'undo'> {
    const isAlone = !whom.room.standing.sanctions.some((sanction) => sanction.whom === whom.user.id)
    return isAlone ? { undo: () => { void this.unban(whom) } } : {}
  }

  unban ({ room, user }: Whom): Promise<boolean> {
    return this.act(room, 'unban', { user: user.id }, { done: TEXTS.done.unban(user.name) })
  }

  purge ({ room, user }: Whom, more: Record<string, unknown> = {}): Promise<boolean> {
    return this.act(room, 'purge', { user: user.id, ...more }, { done: TEXTS.done.purge(user.name) })
  }
}
