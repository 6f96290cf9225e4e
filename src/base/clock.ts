// Time as a dependency, so that tests turn it by hand. `now` is Unix milliseconds and may jump; `elapsed` never goes
// back and is for durations.

// The global one is looked up through a getter each time it is asked, a third of what asking it takes.
import { performance } from 'node:perf_hooks'

export interface Timer { cancel(): void }

export interface Clock {
  /** Unix time in milliseconds. */
  now(): number
  /** Milliseconds since some fixed start; never goes back. */
  elapsed(): number
  /** Calls once after `ms`; does not keep the process alive. */
  after(ms: number, call: () => void): Timer
  /** Calls every `ms`, the first time after `ms` at most; does not keep the process alive. */
  every(ms: number, call: () => void): Timer
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after (ms, call) {
    const timer = setTimeout(call, ms).unref()
    return { cancel: () => clearTimeout(timer) }
  },
  every (ms, call) {
    if (ms >= BEAT_MS && ms % BEAT_MS === 0) return beat.add(ms / BEAT_MS, call)
    const timer = setInterval(call, ms).unref()
    return { cancel: () => clearInterval(timer) }
  }
}

/** What happens every so many quarters of a second shares one timer: a wake for itself costs an idle process 100 µs. */
const BEAT_MS = 250
/** Within a second the calls are dealt out to its beats, so that no turn of the loop has them all. */
const BEATS_DEALT = 4

/** What is called every `beats`, next in `left`. */
interface Periodic { readonly beats: number, left: number, readonly call: () => void }

class Beat {
  readonly #calls = new Set<Periodic>()
  #timer: NodeJS.Timeout | null = null
  #dealt = 0

  add (beats: number, call: () => void): Timer {
    const entry: Periodic = { beats, left: beats - this.#dealt++ % Math.min(beats, BEATS_DEALT), call }
    this.#calls.add(entry)
    this.#timer ??= setInterval(() => this.#turn(), BEAT_MS).unref()
    return { cancel: () => this.#remove(entry) }
  }

  #remove (entry: Periodic): void {
    this.#calls.delete(entry)
    if (this.#calls.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  #turn (): void {
    for (const entry of this.#calls) {
      if (--entry.left > 0) continue
      entry.left = entry.beats
      entry.call()
    }
  }
}

const beat = new Beat()

/** A clock for tests: stands still until `advance` moves it, calling what falls due in order. */
export class ManualClock implements Clock {
  #now: number
  #start: number
  #due: { at: number, order: number, every: number | null, call: () => void }[] = []
  #order = 0

  constructor (now = 1_700_000_000_000) {
    this.#now = now
    this.#start = now
  }

  now (): number { return this.#now }
  elapsed (): number { return this.#now - this.#start }
  after (ms: number, call: () => void): Timer { return this.#add(ms, null, call) }
  every (ms: number, call: () => void): Timer { return this.#add(ms, ms, call) }

  /** Moves time on by `ms`, running every timer that falls due on the way. */
  advance (ms: number): void {
    const until = this.#now + ms
    for (;;) {
      this.#due.sort((a, b) => a.at - b.at || a.order - b.order)
      const next = this.#due[0]
      if (next === undefined || next.at > until) break
      this.#now = Math.max(this.#now, next.at)
      if (next.every === null) this.#due.shift()
      else next.at += next.every
      next.call()
    }
    this.#now = until
  }

  #add (ms: number, every: number | null, call: () => void): Timer {
    const entry = { at: this.#now + ms, order: this.#order++, every, call }
    this.#due.push(entry)
    return { cancel: () => { this.#due = this.#due.filter((other) => other !== entry) } }
  }
}
