// A wait that is shown while it runs: one timer, a tick per shown second, none when nothing waits.

export class Countdown {
  readonly #tick: (leftMs: number) => void
  #until = 0
  #timer: ReturnType<typeof setTimeout> | null = null

  /** `tick` is told what is left, and 0 at the end. */
  constructor (tick: (leftMs: number) => void) {
    this.#tick = tick
  }

  get leftMs (): number {
    return Math.max(0, this.#until - Date.now())
  }

  /** Starts (or moves) the end to so many milliseconds from now; 0 ends it. */
  start (ms: number): void {
    this.#until = Date.now() + ms
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#run()
  }

  #run (): void {
    this.#timer = null
    const left = this.leftMs
    this.#tick(left)
    // The next whole second, so that every shown second lasts one.
    if (left > 0) this.#timer = setTimeout(() => this.#run(), left % 1000 || 1000)
  }
}
