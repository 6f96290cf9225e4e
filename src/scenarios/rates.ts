// Rates as a story sees them from outside: a count of the metrics read again and again, and the busiest second of it.
// Must not know what is counted. Bound: some four samples a second, as long as the story runs.

import type { Program } from './harness.ts'

const WINDOW_MS = 1000

export interface Sample { readonly at: number, readonly count: number }

/** Reads a count some four times a second, as long as it can be had. */
export async function watch (isWatching: () => boolean, read: () => Promise<number>): Promise<Sample[]> {
  const samples: Sample[] = []
  while (isWatching()) {
    const count = await read().catch(() => null)
    if (count !== null) samples.push({ at: performance.now(), count })
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  return samples
}

/** The highest rate over a second or more, a second. */
export function busiest (samples: readonly Sample[]): number {
  return Math.round(Math.max(...samples.map(({ at, count }) => {
    const before = samples.findLast((sample) => sample.at <= at - WINDOW_MS)
    return before === undefined ? 0 : (count - before.count) / (at - before.at) * 1000
  })))
}

/** A number of the program's metrics; 0 where it has none of that name. */
export async function metricOf (program: Program, name: string): Promise<number> {
  const { text } = await program.request('GET', '/metrics')
  const line = text.split('\n').find((each) => each.startsWith(`${name} `))
  return line === undefined ? 0 : Number(line.slice(name.length + 1))
}
