// Turns: in order, bounded, none lost, and nobody waits for ever.

import t from 'tap'
import { ManualClock } from '../base/clock.ts'
import { Turns } from './turns.ts'

t.test('turns are taken, waited for in order, refused beyond the bound, and come back once', async (t) => {
  const clock = new ManualClock()
  const turns = new Turns({ atOnce: 2, waiting: 3, waitMs: 1000, retryMs: 500 }, clock)
  const [first, second] = [await turns.take(), await turns.take()]
  const came: number[] = []
  const waiting = [1, 2, 3].map((number) => turns.take().then((back) => { came.push(number); return back }))
  await t.rejects(turns.take(), { code: 'overloaded', retryAfterMs: 500 })
  first()
  first()
  await waiting[0]
  t.same(came, [1], 'a turn that is given back twice is one turn')
  second()
  await waiting[1]
  t.same(came, [1, 2])
  const late = t.rejects(waiting[2] as Promise<unknown>, { code: 'overloaded' }, 'who waited too long is refused')
  clock.advance(1000)
  await late
  for (const back of await Promise.all(waiting.slice(0, 2))) back()
  const backs = [await turns.take(), await turns.take()]
  t.same(came, [1, 2], 'and does not come after all')
  for (const back of backs) back()
  await t.rejects(turns.run(async () => { throw new Error('failed') }), /failed/)
  t.equal(await turns.run(async () => 'fine'), 'fine', 'failed work gives its turn back')
  for (const back of [await turns.take(), await turns.take()]) back()
})
