// The scaling table against the numbers it rests on: measured rows come out as they were measured, more costs more, and a
// figure that is not there is an error.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { SETTINGS } from './base/config.ts'
import { NUMBERS } from './docs.ts'
import { DEFLATED_FROM_BYTES, SCALING_HEADS, scalingRows, type Figures } from './scaling.ts'

const lines = readFileSync(NUMBERS, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Figures)
const median = (question: string, name: string): number => (lines.findLast((line) => line.question === question)?.figures?.[name] as { median: number }).median

const STEADY = 'Steady room, CPU against bare uWS, unbatched'
const BIG = 'Big room, deliveries per CPU second against bare uWS, windows of 250 ms'

t.test('measured rows agree with their measurement', (t) => {
  const rows = scalingRows(lines)
  t.ok(rows.every((row) => row.length === SCALING_HEADS.length))
  const cores = (at: number): number => Number(rows[at]?.[4])
  // For as many writes as are computed: a slow machine makes fewer.
  const asComputed = (at: number, question: string): number => Number(rows[at]?.[2]) / median(question, 'writesPerSecond')
  const steady = median(STEADY, 'share') / 100 * asComputed(0, STEADY)
  const big = median(BIG, 'serverShare') * asComputed(1, BIG)
  // What is computed rests on the cost of a write in other rows, and a machine is no metronome: it must be near, not the same.
  t.ok(Math.abs(cores(0) / steady - 1) < 0.6, `1,000 viewers: ${cores(0)} computed, ${steady} measured`)
  t.ok(Math.abs(cores(1) / big - 1) < 0.3, `18,000 viewers: ${cores(1)} computed, ${big} measured`)
  t.match(rows[0]?.at(-1), /measured/)
  t.ok(rows.slice(2).every((row) => row.at(-1) === 'computed'))
  for (const column of [3, 4]) for (let at = 2; at < rows.length; at++) t.ok(Number(rows[at]?.[column]?.replace(/,/g, '')) >= Number(rows[at - 1]?.[column]?.replace(/,/g, '')), `${SCALING_HEADS[column]}: more for more`)
  t.end()
})

t.test('deflated is what the server deflates', async (t) => {
  t.equal(DEFLATED_FROM_BYTES, SETTINGS.deflateBytesMin.default)
})

t.test('a figure that is not there is an error', (t) => {
  t.throws(() => scalingRows([]), { message: /the scaling table needs share of "Steady room/ })
  t.throws(() => scalingRows(lines.map((line) => ({ ...line, figures: {} }))), { message: /needs/ })
  t.end()
})
