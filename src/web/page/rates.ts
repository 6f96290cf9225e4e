// Messages a second: how many are shown, how many there are, and the last minute of it as small bars on the stream's
// placeholder. One tick a second; bound: 60 numbers.

import { part, show, write } from './dom.ts'
import { TEXTS } from './texts.ts'

const SECONDS = 60
/** Rates are told over so many seconds: one alone jumps too much to be read. */
const WINDOW = 5
const SVG = 'http://www.w3.org/2000/svg'

export class Rates {
  readonly #shown: number[] = new Array(SECONDS).fill(0)
  readonly #left: number[] = new Array(SECONDS).fill(0)
  readonly #bars: SVGRectElement[] = []
  #seen = 0
  #skipped = 0
  #peak = 0

  constructor () {
    const graph = part('activity', SVGSVGElement)
    for (let at = 0; at < SECONDS; at++) {
      const bar = document.createElementNS(SVG, 'rect')
      bar.setAttribute('x', String(at * 3))
      bar.setAttribute('width', '2')
      graph.append(bar)
      this.#bars.push(bar)
    }
    setInterval(() => this.#tick(), 1000)
    this.#draw()
  }

  /** One message came. */
  saw (): void {
    this.#seen++
  }

  /** So many were left out by sampling. */
  skipped (count: number): void {
    this.#skipped += count
  }

  #tick (): void {
    this.#shown.shift()
    this.#shown.push(this.#seen)
    this.#left.shift()
    this.#left.push(this.#skipped)
    this.#seen = this.#skipped = 0
    this.#draw()
  }

  #draw (): void {
    const shown = perSecond(this.#shown)
    const left = perSecond(this.#left)
    show(part('sampled', HTMLElement), left > 0)
    if (left > 0) write(part('sampled-text', HTMLElement), TEXTS.sampled(Math.round(shown), Math.round(shown + left)))
    write(part('about-rate', HTMLElement), TEXTS.activity(Math.round(shown + left)))
    if (document.hidden) return
    const all = this.#shown.map((value, at) => value + (this.#left[at] as number))
    // The scale falls slowly, so that one burst does not make the bars jump when it leaves.
    this.#peak = Math.max(4, ...all, this.#peak * 0.95)
    for (const [at, bar] of this.#bars.entries()) {
      const height = Math.max(0.75, (all[at] as number) / this.#peak * 30)
      bar.setAttribute('height', height.toFixed(1))
      bar.setAttribute('y', (31 - height).toFixed(1))
    }
  }
}

function perSecond (seconds: readonly number[]): number {
  const recent = seconds.slice(-WINDOW)
  return recent.reduce((sum, value) => sum + value, 0) / WINDOW
}
