// A circuit breaker before something elsewhere: after FAILURES in a row it is not asked for OPEN_MS, then by one call at a
// time until one succeeds. Callers are told at once instead of waiting for a deadline each. Must not know what is asked.

const FAILURES = 5
const OPEN_MS = 10_000

export class Breaker {
  #failures = 0
  #openUntil = -Infinity
  #isTrying = false

  /** Whether a call may be made now, `now` in milliseconds that never go back; each that may be is told of by `done`. */
  may (now: number): boolean {
    if (this.#failures < FAILURES) return true
    if (now < this.#openUntil || this.#isTrying) return false
    this.#isTrying = true
    return true
  }

  done (isGood: boolean, now: number): void {
    this.#isTrying = false
    this.#failures = isGood ? 0 : this.#failures + 1
    if (this.#failures >= FAILURES) this.#openUntil = now + OPEN_MS
  }

  get isOpen (): boolean { return this.#failures >= FAILURES }
}
