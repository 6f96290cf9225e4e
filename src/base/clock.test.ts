// The system's clock: calls that share a beat come as often as they were asked for.

import t from 'tap'
import { systemClock } from './clock.ts'

t.test('what happens every so many quarters of a second', async (t) => {
  // Unlike the clock's own timers this one keeps the process alive.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  const calls = { often: [] as number[], seldom: [] as number[], odd: [] as number[], never: [] as number[] }
  const note = (to: number[]) => () => { to.push(performance.now()) }
  const never = systemClock.every(250, note(calls.never))
  const timers = [systemClock.every(500, note(calls.seldom)), systemClock.every(70, note(calls.odd))]
  await new Promise<void>((resolve) => {
    const often = systemClock.every(250, () => {
      note(calls.often)()
      if (calls.often.length === 2) never.cancel()
      if (calls.often.length < 9) return
      often.cancel()
      resolve()
    })
  })
  const began = calls.often[0] as number
  t.ok((calls.often[8] as number) - began > 8 * 200, 'not more often')
  t.ok([3, 4, 5].includes(calls.seldom.length), `every second beat: ${calls.seldom.length} of 9`)
  const apart = calls.seldom.slice(1).map((at, index) => at - (calls.seldom[index] as number))
  t.ok(apart.every((ms) => ms > 400), String(apart))
  t.ok(calls.odd.length > 9, 'what fits no beat has a timer of its own')
  t.ok([1, 2].includes(calls.never.length), 'a cancelled one is called no more')
  for (const timer of timers) timer.cancel()
  await new Promise<void>((resolve) => {
    const again = systemClock.every(250, () => {
      again.cancel()
      resolve()
    })
  })
  t.pass('and the beat begins anew after all were cancelled')
})
