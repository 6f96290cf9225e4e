// Orders of an operator: carried out here within the call, only those that are meant for this instance, and nothing that
// comes over the bus and is none.

import t from 'tap'
import { systemClock } from '../base/clock.ts'
import { portrait } from './cluster.suite.ts'
import { createLocalCluster } from './local-cluster.ts'
import { Orders } from './orders.ts'

t.test('kick and drain', (t) => {
  const cluster = createLocalCluster({ clock: systemClock, version: 'test', self: portrait })
  const done: unknown[] = []
  const orders = new Orders(cluster, {
    kick (target, reason) {
      done.push(['kick', target, reason])
      return 2
    },
    drain () { done.push(['drain']) }
  })
  t.equal(orders.kick({ user: 'ann' }, 'enough'), 2)
  t.equal(orders.kick({ address: '192.0.2.7' }, 'enough'), 2, 'each is counted by itself')
  orders.drain('somebody else')
  orders.drain(cluster.id)
  t.same(done.splice(0), [['kick', { user: 'ann' }, 'enough'], ['kick', { address: '192.0.2.7' }, 'enough'], ['drain']])
  for (const value of [null, 5, 'ann', {}, { target: {} }, { target: { user: 5 }, reason: '' }, { target: { user: 'a', session: 'b' }, reason: '' }, { target: { all: 'x' }, reason: '' }, { target: { user: 'ann' } }]) cluster.tell('kick', value)
  for (const value of [null, {}, [cluster.id]]) cluster.tell('drain', value)
  cluster.tell('news', cluster.id)
  t.same(done, [], 'what is none is left alone')
  t.end()
})
