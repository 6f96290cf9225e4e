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

export function megabytes (bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MB`
}
