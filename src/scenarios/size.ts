// How large a story is: small in the suite, full in `npm run prove`, which sets PROVE=1 and collects what was measured.

import type { Test } from 'tap'

export const isFull = process.env.PROVE === '1'

/** The suite's size, or the full one. */
export function sized<T> (suite: T, full: T): T {
  return isFull ? full : suite
}

/** One line of what a story measured. */
export function measured (t: Test, text: string): void {
  t.comment(`measured: ${text}`)
}

/** What something took. What the clock says depends on what else the machine does: told in the suite, held to in `npm run prove`. */
export function timely (t: Test, what: string, tookMs: number, limitMs: number): void {
  measured(t, `${what}: ${tookMs.toFixed(0)} ms`)
  if (isFull) t.ok(tookMs < limitMs, `${what}: in ${limitMs} ms`)
}

export function megabytes (bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MB`
}
