// The player's buttons: play and pause, the bar to seek with the chat's activity behind it, the speed, the time. Says what
// was asked for; the playhead and the reel are the page's. Keys: K or Space plays and pauses, J and L go 10 s.

import { part, write } from '../page/dom.ts'
import { icon } from '../page/icons.ts'
import { SPEEDS } from './playhead.ts'
import type { Activity } from './streams.ts'
import { offset, TEXTS, timeOfDay } from './texts.ts'

const SVG = 'http://www.w3.org/2000/svg'
const JUMP_MS = 10_000
const STEP_MS = 1000

export interface ControlsParts {
  readonly toggle: () => void
  readonly seek: (position: number) => void
  readonly jump: (by: number) => void
  readonly speed: (speed: number) => void
}

export class Controls {
  readonly #parts: ControlsParts
  readonly #play = part('play', HTMLButtonElement)
  readonly #seek = part('seek', HTMLInputElement)
  readonly #density = part('density', SVGSVGElement)
  #isPlaying: boolean | null = null
  #isDragging = false
  #second = -1
  #whole = 0
  #past = 0

  constructor (parts: ControlsParts) {
    this.#parts = parts
    const speed = part('speed', HTMLSelectElement)
    speed.append(...SPEEDS.map((value) => new Option(`${value} ×`, String(value), value === 1, value === 1)))
    speed.addEventListener('change', () => parts.speed(Number(speed.value)))
    this.#play.addEventListener('click', () => parts.toggle())
    this.#seek.addEventListener('input', () => { this.#isDragging = true; this.#tell(Number(this.#seek.value)) })
    this.#seek.addEventListener('change', () => { this.#isDragging = false; parts.seek(Number(this.#seek.value)) })
    document.addEventListener('keydown', (event) => this.#key(event))
  }

  /** Another stream: how long it is, and how much was said when. `start`: Unix milliseconds. */
  load (whole: number, start: number, activity: Activity | null): void {
    this.#whole = whole
    this.#second = -1
    Object.assign(this.#seek, { max: String(whole), step: String(STEP_MS) })
    this.#drawDensity(start, activity)
  }

  /** What is so now. */
  show (position: number, isPlaying: boolean, start: number): void {
    if (isPlaying !== this.#isPlaying) this.#drawPlay(isPlaying)
    const second = Math.floor(position / 1000)
    if (second === this.#second || this.#isDragging) return
    this.#second = second
    this.#seek.value = String(position)
    this.#tell(position)
    write(part('screen-clock', HTMLElement), offset(position))
    write(part('screen-day', HTMLElement), timeOfDay(start + position))
  }

  #tell (position: number): void {
    const text = TEXTS.position(position, this.#whole)
    write(part('player-time', HTMLElement), `${offset(position)} / ${offset(this.#whole)}`)
    this.#seek.ariaValueText = text
    this.#drawPast(position)
  }

  #drawPlay (isPlaying: boolean): void {
    this.#isPlaying = isPlaying
    part('play-icon', HTMLElement).replaceChildren(icon(isPlaying ? 'pause' : 'play'))
    this.#play.title = this.#play.ariaLabel = isPlaying ? TEXTS.pause : TEXTS.play
  }

  #drawDensity (start: number, activity: Activity | null): void {
    this.#density.replaceChildren()
    this.#past = 0
    if (activity === null || this.#whole === 0) return
    const most = Math.max(1, ...activity.counts)
    const width = activity.stepMs / this.#whole * 100
    for (const [at, count] of activity.counts.entries()) {
      const x = (activity.from + at * activity.stepMs - start) / this.#whole * 100
      if (x + width <= 0 || x >= 100) continue
      const height = count === 0 ? 0.5 : Math.max(1.5, count / most * 24)
      const bar = document.createElementNS(SVG, 'rect')
      for (const [name, value] of Object.entries({ x: x.toFixed(2), y: (24 - height).toFixed(2), width: Math.max(0.05, width * 0.85).toFixed(2), height: height.toFixed(2) })) bar.setAttribute(name, value)
      this.#density.append(bar)
    }
  }

  #drawPast (position: number): void {
    const bars = this.#density.children
    const past = this.#whole === 0 ? 0 : Math.round(position / this.#whole * bars.length)
    const [from, to] = [Math.min(past, this.#past), Math.max(past, this.#past)]
    for (let at = from; at < to; at++) bars[at]?.classList.toggle('is-past', at < past)
    this.#past = past
  }

  #key (event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey || event.repeat) return
    const target = event.target as HTMLElement
    if (target.closest('input:not([type=range]), select, textarea, dialog') !== null) return
    // On a button Space is that button's own.
    if (event.key === ' ' && target.closest('button, a') !== null) return
    const act = { k: this.#parts.toggle, ' ': this.#parts.toggle, j: () => this.#parts.jump(-JUMP_MS), l: () => this.#parts.jump(JUMP_MS) }[event.key.toLowerCase()]
    if (act === undefined) return
    event.preventDefault()
    act()
  }
}
