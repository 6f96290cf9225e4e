// The reader's own lines and those meant for them, kept at the top of the log for a few seconds where a hot room carries
// them off at once: they seem to stop at the edge instead of leaving. Lies over the log, so that no row moves for it.
// Not live for screen readers: the announcer has said it. Bound: three lines, each for at most some seconds.

import { part, show } from './dom.ts'
import type { Message, Reader } from './item.ts'
import { echoRow } from './row.ts'

const LINES_MAX = 3
/** So long a line can be read, in the log and here together, and at least so long here. */
const READABLE_MS = 5000
const SHOWN_MIN_MS = 2500
/** A line that has no row after so long is not going to have one soon (paused, or too many came). */
const ROWLESS_MS = 1000
const CHECK_MS = 250

interface Line {
  readonly message: Message
  readonly cameAt: number
  observed: HTMLLIElement | null
  /** When it leaves the strip; 0 while its row can be seen. */
  until: number
}

export class Echo {
  readonly #strip = part('echo', HTMLElement)
  readonly #rows = part('echo-rows', HTMLElement)
  readonly #sight: IntersectionObserver
  #reader: Reader = null
  #lines: Line[] = []
  #timer: ReturnType<typeof setInterval> | null = null

  constructor (scroller: HTMLElement) {
    this.#sight = new IntersectionObserver((changes) => this.#moved(changes), { root: scroller, threshold: [0, 0.6] })
    part('echo-close', HTMLButtonElement).addEventListener('click', () => this.clear())
  }

  set reader (reader: Reader) {
    this.#reader = reader
  }

  /** A new line, of the reader or for them. */
  saw (message: Message): void {
    this.#lines.push({ message, cameAt: performance.now(), observed: null, until: 0 })
    if (this.#lines.length > LINES_MAX) this.#drop(this.#lines[0] as Line)
    this.#timer ??= setInterval(() => this.#check(), CHECK_MS)
  }

  /** Lines were edited or removed. */
  refresh (): void {
    for (const line of this.#lines) if (line.message.isRemoved) this.#drop(line)
    this.#draw()
  }

  clear (): void {
    for (const line of this.#lines) this.#drop(line)
    this.#draw()
  }

  #moved (changes: readonly IntersectionObserverEntry[]): void {
    for (const { target, intersectionRatio } of changes) {
      const line = this.#lines.find(({ observed }) => observed === target)
      if (line === undefined) continue
      if (intersectionRatio < 0.6) this.#lost(line)
      // It came back into sight: the reader looks at it there.
      else line.until = 0
    }
    this.#draw()
  }

  #lost (line: Line): void {
    const now = performance.now()
    if (line.until === 0) line.until = Math.max(line.cameAt + READABLE_MS, now + SHOWN_MIN_MS)
  }

  #check (): void {
    const now = performance.now()
    const isLookedAt = this.#strip.matches(':hover, :focus-within')
    for (const line of this.#lines) {
      const { row } = line.message
      if (row !== null && line.observed === null) this.#sight.observe(line.observed = row)
      if (line.observed === null && now - line.cameAt > ROWLESS_MS) this.#lost(line)
      if (line.until === 0 ? now - line.cameAt > READABLE_MS : now > line.until && !isLookedAt) this.#drop(line)
    }
    this.#draw()
  }

  #drop (line: Line): void {
    if (line.observed !== null) this.#sight.unobserve(line.observed)
    this.#lines = this.#lines.filter((one) => one !== line)
  }

  #draw (): void {
    const shown = this.#lines.filter(({ until }) => until > 0)
    const key = shown.map(({ message: { seq, text } }) => `${seq} ${text}`).join('\n')
    if (this.#rows.dataset['key'] !== key) {
      this.#rows.dataset['key'] = key
      this.#rows.replaceChildren(...shown.map(({ message }) => echoRow(message, this.#reader)))
    }
    show(this.#strip, shown.length > 0)
    if (this.#lines.length > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }
}
