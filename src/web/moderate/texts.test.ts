// The console's words for times and refusals: what moderators write as a time is what they get, and no refusal is jargon.

import t from 'tap'
import { left, readSpan, refusal, span } from './texts.ts'

t.test('times as they are written and as they are said', (t) => {
  const rows: readonly [text: string, seconds: number | null][] = [
    ['10', 600], ['90 s', 90], ['90s', 90], ['5 min', 300], ['5m', 300], ['2 h', 7200], ['2 hours', 7200], ['3 d', 259_200], ['1 w', 604_800], [' 1 Day ', 86_400],
    ['', null], ['soon', null], ['-5 min', null], ['5 5', null], ['1.5 h', null], ['5 months', null], ['99999999', null]
  ]
  for (const [text, seconds] of rows) t.equal(readSpan(text), seconds, JSON.stringify(text))
  t.same([10, 60, 90, 600, 3600, 7200, 86_400, 604_800, 1_209_600].map(span), ['10 s', '1 min', '90 s', '10 min', '1 hour', '2 hours', '1 day', '1 week', '2 weeks'])
  t.same([1, 60_000, 599_000, 7_199_000, 86_400_000, 600_000_000].map(left), ['1 s', '60 s', '10 min', '2 h', '24 h', '7 days'])
  t.end()
})

t.test('refusals as sentences', (t) => {
  t.equal(refusal('forbidden', 'ban is not possible on somebody of the same or a higher role', null), 'You cannot do that to somebody of the same or a higher role.')
  t.equal(refusal('forbidden', 'banAddress needs the role broadcaster or admin in this room', null), 'That is for broadcasters and admins.')
  t.equal(refusal('overloaded', 'this room has 2000 sanctions in force; lift some', 60_000), 'This room has 2000 sanctions in force; lift some. Try again in 60 s.')
  t.equal(refusal('not_found', 'there is nothing to be lifted from that user', null), 'There is nothing to be lifted from that user.')
  t.equal(refusal('rate_limited', 'x', 0), 'You are too fast for the server.')
  t.end()
})
