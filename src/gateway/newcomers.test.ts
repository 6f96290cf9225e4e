// Connections that have said nothing yet, by address, with a clock in hand.

import t from 'tap'
import { ManualClock } from '../base/clock.ts'
import { Newcomers } from './newcomers.ts'

t.test('an address has only so many silent connections, until they are over or speak', (t) => {
  const clock = new ManualClock()
  const newcomers = new Newcomers(clock, 3)
  const come = (address = '10.0.0.1'): boolean => newcomers.came(address)
  t.same([come(), come(), come(), come()], [true, true, true, false])
  t.ok(come('10.0.0.2'), 'another address is not concerned')
  newcomers.spoke('10.0.0.1')
  t.same([come(), come()], [true, false], 'who speaks makes room')
  t.same([1, 2, 3, 4].map((n) => come(`2001:db8:0:1::${n}`)), [true, true, true, false], 'of IPv6 its first 64 bits count')
  clock.advance(12_000)
  t.notOk(come(), 'the library may still hold them')
  clock.advance(12_000)
  t.ok(come(), 'by now they are gone')
  newcomers.spoke('10.0.0.77')
  t.same([1, 2, 3, 4].map(() => come('10.0.0.77')), [true, true, true, false], 'a word too many counts for nothing')
  const open = new Newcomers(clock, 0)
  t.ok(Array.from({ length: 1000 }, () => open.came('10.0.0.1')).every(Boolean), '0: no limit')
  t.end()
})
