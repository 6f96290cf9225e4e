// Applies the steps of the schema that the archive does not have yet, in order. Two programs that begin at once do the
// same twice, which is once. Must not know which engine it is.

import type { Row } from './archive.ts'
import { Unfit } from './link.ts'
import { foundation, SCHEMA_STEP, STEPS, type Layout } from './schema.ts'

export interface Ground {
  command (sql: string): Promise<void>
  query (sql: string): Promise<readonly Row[]>
}

/** Brings the archive up to this program's step. Rejects with Unfit when it is of a newer one. */
export async function applySteps (ground: Ground, layout: Layout): Promise<void> {
  for (const statement of foundation(layout)) await ground.command(statement)
  const done = new Set((await ground.query('SELECT DISTINCT number FROM steps')).map(({ number }) => Number(number)))
  const newest = Math.max(0, ...done)
  if (newest > SCHEMA_STEP) throw new Unfit(`the archive is of a newer program: its schema is at step ${newest}, this program knows ${SCHEMA_STEP}`)
  for (const { number, title, statements } of STEPS) {
    if (done.has(number)) continue
    for (const statement of statements(layout)) await ground.command(statement)
    await ground.command(`INSERT INTO steps (number, title) VALUES (${number}, '${title}')`)
  }
}
