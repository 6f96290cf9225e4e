// What else the server can do meanwhile: asks /healthz twenty times a second and times the answers, and reads the delay of the
// event loop from /metrics.

import { LOOP_BEAT_MS } from '../src/base/metrics.ts'
import type { Subject } from './subject.ts'
import { sleep } from './delivery.ts'

export interface Probes {
  /** Milliseconds from asking to the whole answer. */
  readonly answersMs: number[]
  /** The server's own p99 of the delay of its event loop since the last look, milliseconds. */
  readonly loopP99Ms: number[]
  failures: number
}

const EVERY_MS = 50
const TIMEOUT_MS = 5000

export async function probe (subject: Subject, over: AbortSignal, probes: Probes): Promise<void> {
  await loopP99Ms(subject)
  while (!over.aborted) {
    const asked = performance.now()
    try {
      const answer = await fetch(`${subject.http}/healthz`, { signal: AbortSignal.timeout(TIMEOUT_MS) })
      await answer.arrayBuffer()
      probes.answersMs.push(performance.now() - asked)
      if (!answer.ok) probes.failures++
    } catch {
      probes.failures++
    }
    await sleep(EVERY_MS - (performance.now() - asked))
  }
  probes.loopP99Ms.push(await loopP99Ms(subject))
}

/** Reading it begins a new count. */
async function loopP99Ms (subject: Subject): Promise<number> {
  return Math.max(0, await readMetric(subject, 'nodejs_eventloop_lag_p99_seconds') * 1000 - LOOP_BEAT_MS)
}

/** A value from /metrics, by name and labels as they stand there; 0 when it is not there (yet). */
export async function readMetric (subject: Subject, name: string): Promise<number> {
  const answer = await fetch(`${subject.http}/metrics`, { signal: AbortSignal.timeout(TIMEOUT_MS) })
  const line = (await answer.text()).split('\n').find((each) => each.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1) ?? 0)
}

export function newProbes (): Probes {
  return { answersMs: [], loopP99Ms: [], failures: 0 }
}

/** The value that this share of them stays within. */
export function within (values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? NaN
}
