// What the tests of the embedded log share: its usual options, a folder for each store, and ways to look at its tables.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { systemClock } from '../base/clock.ts'
import type { Store, Table } from '../base/store.ts'
import { entriesOf } from './entry-table.ts'

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

/** How many entries the tables have. */
export function stored (store: Store): number {
  return [...store.tables.entries.getRange({})].flatMap(({ value }) => entriesOf(value).filter((entry) => entry.length > 0)).length
}

/** The table, with every call of a function of its told first, by name. */
export function overheard (table: Table, tell: (name: string | symbol) => void): Table {
  return new Proxy(table, {
    get (own, name) {
      const value: unknown = Reflect.get(own, name)
      if (typeof value !== 'function') return value
      return (...parts: unknown[]): unknown => {
        tell(name)
        return value.apply(own, parts)
      }
    }
  })
}
