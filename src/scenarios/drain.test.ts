// An instance that is stopped moves its viewers to the others: at its pace, so that nobody sees a storm, and without an
// entry lost or repeated, while people talk.

import t from 'tap'
import { withoutRedis } from '../../deploy/services/services.ts'
import { CrowdLink } from './crowd-link.ts'
import { eventually, tokenOf, type Program } from './harness.ts'
import { startInstances } from './instances.ts'
import { busiest, metricOf, watch } from './rates.ts'
import { measured, sized } from './size.ts'
import { Speaker } from './speaker.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(sized(240_000, 600_000))

t.test('a drain moves everybody at a pace', { skip: withoutRedis() }, async (t) => {
  const viewers = sized(1500, 10_000)
  const drainS = sized(5, 10)
  const { programs } = await startInstances(t, { DRAIN_S: String(drainS), STOP_TIMEOUT_S: String(drainS + 10), REDIS_TIMEOUT_MS: '5000' })
  const [leaving, ...others] = programs as [Program, Program, Program]
  const crowd = await CrowdLink.gather(t, { url: leaving.ws, room: 'stage', viewers, comeBack: true, comeBackTo: others.map((program) => program.ws) }, sized(30_000, 120_000))
  const speaker = await Speaker.connect(t, others[0].ws, 'stage', tokenOf('speaker'))
  const isServed = async (): Promise<boolean> => (await leaving.request('GET', '/readyz')).status === 200
  t.ok(await isServed())

  let isWatching = true
  const arrivals = watch(() => isWatching, async () => (await Promise.all(others.map((program) => metricOf(program, 'uproar_connections_total')))).reduce((sum, count) => sum + count, 0))
  const departures = watch(() => isWatching, () => metricOf(leaving, 'uproar_closes_total{name="draining"}'))
  const talking = (async () => {
    while (isWatching) {
      await speaker.say('while they move')
      await new Promise((resolve) => setTimeout(resolve, sized(20, 200)))
    }
  })()

  const started = performance.now()
  const stopped = leaving.stop()
  await eventually('readiness to fail', async () => !await isServed() || null, 1000)
  const late = new Viewer(leaving.ws)
  await t.rejects(late.opened(), 'who comes now is not taken')
  t.equal(await stopped, 0, 'it ends cleanly')
  const tookS = (performance.now() - started) / 1000
  await eventually('everybody to be elsewhere', async () => (await crowd.report()).readers.joined === viewers || null, sized(15_000, 60_000))
  isWatching = false
  const [left, came] = [busiest(await departures), busiest(await arrivals)]
  await talking
  await speaker.answered()
  t.ok(await crowd.settled(speaker.head, 30_000), 'everybody gets to the last message')
  const { readers } = await crowd.report()
  t.match(readers, { viewers, joined: viewers, missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, unrecovered: 0, harmed: 0, closes: { 4413: viewers } }, 'nothing lost or repeated, and each was told once')

  const pace = viewers / drainS
  t.ok(tookS >= drainS * 0.8, `it took its time: ${tookS.toFixed(1)} s`)
  t.ok(tookS <= drainS + 6, 'and not much more')
  t.ok(left <= pace * 1.4, `in the busiest second ${left} left, of ${pace} a second`)
  // Who comes back when is the crowd's doing too, one process with all of them in it; a storm would be all within a second.
  t.ok(came <= pace * 2.5, `and ${came} came`)
  for (const program of others) t.same(program.faults, [])
  measured(t, `${viewers} viewers moved in ${tookS.toFixed(1)} s (DRAIN_S ${drainS}): in the busiest second ${left} left and ${came} came (pace ${Math.round(pace)}), lost ${readers.missing}, repeated ${readers.duplicates}; ${speaker.accepted} messages meanwhile`)
})
