// What the tests of the embedded log begin with: its usual options, and a folder for each store.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { systemClock } from '../base/clock.ts'

export const DEFAULTS = {
  clock: systemClock,
  durability: 'commit',
  queueMax: 20_000,
  retention: { hours: 1, entriesMax: 1_000_000, mbMax: 1000 },
  dedupMinutes: 10
} as const

/** Names a new place at each call; all go with the test. */
export function freshPlaces (t: Test): () => string {
  const root = mkdtempSync(join(tmpdir(), 'uproar-log-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  let places = 0
  return () => join(root, String(places++))
}
