// What every engine of the cluster must hold, by itself: the guarantees of cluster.ts that need no second instance. Run by
// the tests of each engine.

import t from 'tap'
import { BUS_BYTES_MAX, stampOf, type Cluster, type SelfPortrait } from './cluster.ts'

type Scope = Pick<typeof t, 'teardown'>

/** Makes an engine that is not started yet; it ends with the scope. */
export type Maker = (scope: Scope, options: { self: SelfPortrait, usersMax: number }) => Promise<Cluster>

export const portrait: SelfPortrait = () => ({ port: 8080, wsPort: 9001, connections: 7, isDraining: false })

export function clusterSuite (name: string, make: Maker): void {
  t.test(`${name}: an instance alone`, async (t) => {
    const cluster = await make(t, { self: portrait, usersMax: 2 })
    const heard: unknown[] = []
    cluster.listen({
      toUser: (user, bytes) => heard.push(['user', user, [...bytes]]),
      told: (what, value) => heard.push(['told', what, value]),
      crowded: (user) => heard.push(['crowded', user]),
      viewersChanged: (room) => heard.push(['viewers', room])
    })
    await cluster.start()
    t.equal(cluster.size, 1)
    t.match(await cluster.instances(), [{ id: cluster.id, pid: process.pid, port: 8080, wsPort: 9001, connections: 7, isDraining: false, isSelf: true, version: 'test' }])

    cluster.toUser('ann', Uint8Array.of(1, 2))
    cluster.tell('news', { a: [1] })
    t.same(heard.splice(0), [['user', 'ann', [1, 2]], ['told', 'news', { a: [1] }]], 'who listens here is told within the call')

    cluster.note('viewers', 'lobby', 3)
    cluster.note('addresses', '10.0.0.1', 3)
    cluster.noteUser('ann', [1, 2])
    t.equal(cluster.elsewhere('viewers', 'lobby'), 0, 'nobody is elsewhere')
    t.equal(cluster.elsewhere('addresses', '10.9.9.9'), 0)
    t.same(await cluster.askViewers(['lobby', 'other']), [0, 0])
    cluster.toUser('ben', new Uint8Array(BUS_BYTES_MAX))
    await cluster.stop()
    await cluster.stop()
    t.same(heard.map((word) => (word as string[])[0]), ['user'])
  })
}

t.test('stamps order connections by when they opened, then by their number', (t) => {
  const stamps = [{ since: 5, number: 1 }, { since: 5, number: 2 }, { since: 6, number: 0 }].map(stampOf)
  t.same([...stamps].sort((a, b) => a - b), stamps)
  t.ok(Number.isSafeInteger(stampOf({ since: Date.UTC(2200, 0), number: 2 ** 40 })))
  t.end()
})
