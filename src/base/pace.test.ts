// A steady pace: spread over the time, never slower than the least rate, never in a burst after the loop was held up.

import t from 'tap'
import { paced } from './pace.ts'

t.test('many are spread over the time', async (t) => {
  const at: number[] = []
  const started = performance.now()
  await paced(Array.from({ length: 400 }, (_, i) => i), { ms: 800, perSecondMin: 1 }, () => at.push(performance.now() - started))
  t.equal(at.length, 400)
  t.ok((at.at(-1) as number) >= 600, `the last after ${Math.round(at.at(-1) as number)} ms`)
  const halfWay = at.filter((ms) => ms < 400).length
  t.ok(halfWay >= 10 && halfWay <= 300, `${halfWay} in the first half`)
})

t.test('few go at the least rate, none at all at once', async (t) => {
  const started = performance.now()
  const order: number[] = []
  await paced([1, 2, 3, 4, 5], { ms: 60_000, perSecondMin: 200 }, (item) => order.push(item))
  t.same(order, [1, 2, 3, 4, 5])
  await paced([], { ms: 60_000, perSecondMin: 1 }, () => t.fail('there is nobody'))
  await paced([1], { ms: 0, perSecondMin: 1 }, (item) => order.push(item))
  t.ok(performance.now() - started < 5000)
})

t.test('a loop that was held up is not made up for', async (t) => {
  const at: number[] = []
  let isHeld = false
  await paced(Array.from({ length: 100 }, (_, i) => i), { ms: 1000, perSecondMin: 1 }, () => {
    at.push(performance.now())
    if (isHeld || at.length < 20) return
    isHeld = true
    for (const end = performance.now() + 400; performance.now() < end;);
  })
  const most = Math.max(...at.map((start) => at.filter((ms) => ms >= start && ms < start + 25).length))
  t.ok(most <= 15, `at most ${most} at once`)
})
