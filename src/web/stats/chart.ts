// A chart over time as SVG of our own: one series as bars, one as a line, on one scale each. Pointer or arrow keys put a
// cursor on a step, whose values are told in words: to assistive technology the chart is a slider through time.
// Bound: the steps that it is given. Must not know what the numbers mean.

import { make } from '../page/dom.ts'
import { short, TEXTS } from './texts.ts'

export interface Series {
  readonly name: string
  /** By step; null: not counted. */
  readonly values: readonly (number | null)[]
}

export interface ChartData {
  readonly title: string
  /** Unix milliseconds of the first step, and seconds of a step. */
  readonly from: number
  readonly stepS: number
  readonly bars: Series | null
  readonly line: Series | null
  /** Times as they stand below. */
  readonly times: readonly string[]
}

const SVG = 'http://www.w3.org/2000/svg'
const HEIGHT = 100

/** The chart as a figure. */
export function chartOf (data: ChartData): HTMLElement {
  const { title, bars, line } = data
  const steps = Math.max(1, bars?.values.length ?? 0, line?.values.length ?? 0)
  const readout = make('span', { className: 'chart-readout' })
  const keys = [bars, line].flatMap((series, at) => series === null ? [] : [make('span', { className: at === 0 ? 'chart-key' : 'chart-key is-line', textContent: series.name })])
  const plot = make('div', { className: 'plot', tabIndex: 0, role: 'slider', ariaLabel: `${title}. ${TEXTS.keys}` })
  const svg = draw('svg', { viewBox: `0 0 ${steps} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' })
  for (const y of [0, 50, 100]) svg.append(draw('line', { class: 'plot-grid', x1: 0, x2: steps, y1: y, y2: y }))
  if (bars !== null) svg.append(...barsOf(bars))
  if (line !== null) svg.append(...linesOf(line))
  const cursor = draw('line', { class: 'plot-cursor', y1: 0, y2: HEIGHT, visibility: 'hidden' })
  svg.append(cursor)
  plot.append(svg, make('span', { className: 'plot-most', ariaHidden: 'true', textContent: short(mostOf(bars ?? line as Series)) }))
  // Each has a scale of its own, up to its most.
  if (bars !== null && line !== null) plot.append(make('span', { className: 'plot-most is-line', ariaHidden: 'true', textContent: short(mostOf(line)) }))
  follow(plot, cursor, readout, data, steps)
  return make('figure', { className: 'chart' },
    make('figcaption', {}, make('span', {}, make('b', { textContent: title }), ...keys), readout),
    plot, make('p', { className: 'plot-times', ariaHidden: 'true' }, ...data.times.map((text) => make('span', { textContent: text }))))
}

/** Where pointer and keys put the cursor, and what stands there. */
function follow (plot: HTMLElement, cursor: SVGElement, readout: HTMLElement, data: ChartData, steps: number): void {
  const { from, stepS, bars, line } = data
  let at = steps - 1
  const textAt = (step: number): string => TEXTS.readout(from + step * stepS * 1000, stepS, [bars, line].flatMap((series) => series === null ? [] : [[series.name, series.values[step] ?? null] as const]))
  const put = (step: number, isShown: boolean): void => {
    at = Math.min(Math.max(step, 0), steps - 1)
    for (const name of ['x1', 'x2']) cursor.setAttribute(name, String(at + 0.5))
    cursor.setAttribute('visibility', isShown ? 'visible' : 'hidden')
    readout.textContent = isShown ? textAt(at) : ''
    Object.assign(plot, { ariaValueMin: '0', ariaValueMax: String(steps - 1), ariaValueNow: String(at), ariaValueText: textAt(at) })
  }
  plot.addEventListener('pointermove', ({ clientX }) => {
    const { left, width } = plot.getBoundingClientRect()
    put(Math.floor((clientX - left) / width * steps), true)
  })
  plot.addEventListener('pointerleave', () => put(at, document.activeElement === plot))
  plot.addEventListener('focus', () => put(at, true))
  plot.addEventListener('blur', () => put(at, false))
  plot.addEventListener('keydown', (event) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowDown: at - 1, ArrowUp: at + 1, PageDown: at - 10, PageUp: at + 10, Home: 0, End: steps - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    put(to, true)
  })
  put(at, false)
}

function barsOf ({ values }: Series): SVGElement[] {
  const most = Math.max(1, ...values.map((value) => value ?? 0))
  return values.flatMap((value, at) => {
    if (value === null || value === 0) return []
    const height = Math.max(1, value / most * HEIGHT)
    return [draw('rect', { class: 'plot-bar', x: at + 0.1, width: 0.8, y: HEIGHT - height, height })]
  })
}

/** A line for each run of counted steps; a single one is a short dash. */
function linesOf ({ values }: Series): SVGElement[] {
  const most = Math.max(1, ...values.map((value) => value ?? 0))
  const runs: string[][] = [[]]
  for (const [at, value] of values.entries()) {
    if (value === null) runs.push([])
    else runs.at(-1)?.push(`${at + 0.5},${(HEIGHT - value / most * HEIGHT).toFixed(2)}`)
  }
  return runs.filter((run) => run.length > 0).map((run) => {
    const [first] = run as [string]
    const [x, y] = first.split(',').map(Number) as [number, number]
    return draw('polyline', { class: 'plot-line', points: run.length > 1 ? run.join(' ') : `${x - 0.4},${y} ${x + 0.4},${y}` })
  })
}

function mostOf ({ values }: Series): number {
  return Math.max(0, ...values.map((value) => value ?? 0))
}

function draw (tag: string, attributes: Readonly<Record<string, string | number>>): SVGElement {
  const node = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value))
  return node
}
