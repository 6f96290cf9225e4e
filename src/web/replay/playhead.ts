// Where the replay is: a position that moves with a clock while it plays, at a speed. Driven by its own buttons, or by a
// video elsewhere. Must not know entries or nodes.

export const SPEEDS = [0.5, 1, 1.5, 2, 4, 8] as const

export class Playhead {
  readonly #now: () => number
  #at = 0
  /** When it began to play from #at; null: it stands. */
  #since: number | null = null
  #speed = 1

  /** `now`: milliseconds that never go back. */
  constructor (now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Milliseconds from the start of the stream. */
  get position (): number {
    return this.#since === null ? this.#at : this.#at + (this.#now() - this.#since) * this.#speed
  }

  get isPlaying (): boolean { return this.#since !== null }
  get speed (): number { return this.#speed }

  set speed (speed: number) {
    this.seek(this.position)
    this.#speed = speed
  }

  play (): void {
    this.#since ??= this.#now()
  }

  pause (): void {
    this.seek(this.position)
    this.#since = null
  }

  seek (position: number): void {
    this.#at = Math.max(0, position)
    if (this.#since !== null) this.#since = this.#now()
  }
}
