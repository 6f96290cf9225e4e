// A deploy at noon: three instances are replaced one after the other while a crowd watches and the log is replayed, all
// through one balancer. Nothing is lost, nothing comes twice, nobody is without chat for longer than a breath, and those
// who are sent away come back at the pace that was set.

import t from 'tap'
import { balancerAtHand, startBalancer } from '../../deploy/balancer.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import type { LogLine } from '../replay/csv.ts'
import { replay } from '../replay/replay.ts'
import { signedTokens } from '../replay/tokens.ts'
import { chatLog } from './chat-log.ts'
import { CrowdLink } from './crowd-link.ts'
import { eventually, freePort, SECRET, type Program } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { startInstances } from './instances.ts'
import { busiest, metricOf, watch } from './rates.ts'
import { measured, sized } from './size.ts'

t.setTimeout(sized(240_000, 600_000))
/** What is promised, where nothing else runs (it takes 0.6 s). The suite runs other stories beside it: 4.1 s were seen. */
const WITHOUT_CHAT_MS_MAX = sized(10_000, 3000)
/** A drain is no slower than this (gateway). */
const PACE_MIN = 200

/** The log until it is told that it is enough. */
async function * whileTrue (lines: AsyncIterable<LogLine>, holds: () => boolean): AsyncGenerator<LogLine> {
  for await (const line of lines) {
    if (!holds()) return
    yield line
  }
}

t.test('three instances replaced one after the other', { skip: withoutRedis() }, async (t) => {
  const viewers = sized(300, 3000)
  const drainS = sized(1, 10)
  const room = 'stage'
  const port = await freePort()
  const url = `ws://127.0.0.1:${port}/ws`
  const { programs } = await startInstances(t, { WS_PUBLIC_URL: url, TRUSTED_PROXIES: '127.0.0.1', DRAIN_S: String(drainS), STOP_TIMEOUT_S: String(drainS + 10) })
  const kind = balancerAtHand()
  const balancer = await startBalancer(kind, Number(port), programs.map((program) => ({ port: Number(new URL(program.http).port), wsPort: Number(new URL(program.ws).port) })))
  t.teardown(() => balancer.stop())
  const crowd = await CrowdLink.gather(t, { url, room, viewers, comeBack: true }, sized(30_000, 120_000))

  let isRolling = true
  // Also when it fails: what goes on as long as they are replaced ends with it.
  t.teardown(() => { isRolling = false })
  const log = chatLog()
  t.comment(log.name)
  const talking = replay({ lines: whileTrue(log.lines(), () => isRolling), file: log.name, url, room, tokens: signedTokens(SECRET), speed: sized(5, 1), authors: sized(40, 200), connections: sized(60, 300), attempts: 30, settleMs: 30_000 })
  // A failure of it is told where it is awaited.
  talking.catch(() => {})
  const arrivals = watch(() => isRolling, async () => (await Promise.all(programs.map((program) => countOf(program)))).reduce((sum, count) => sum + count, 0))
  const started = performance.now()
  for (const program of programs) {
    t.equal(await program.stop(), 0, 'it goes cleanly')
    await program.launch()
    await eventually('the new one to serve', async () => (await program.request('GET', '/readyz')).status === 200 || null)
    await eventually('everybody to have a place', async () => (await crowd.report()).readers.joined === viewers || null, sized(30_000, 60_000))
  }
  const tookS = (performance.now() - started) / 1000
  isRolling = false
  const report = await talking
  const came = busiest(await arrivals)
  const { json } = await (programs[0] as Program).request('GET', `/v1/rooms/${room}`)
  const head = json.seq as number
  t.ok(await crowd.settled(head, 30_000), 'everybody gets to the last message')

  const { readers } = await crowd.report()
  t.match(readers, { viewers, joined: viewers, missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, unrecovered: 0, harmed: 0 }, 'nothing is lost, and nothing comes twice')
  t.ok((readers.closes[4413] ?? 0) >= viewers, `each was sent away at least once: ${readers.closes[4413]}`)
  const refused = report.refused.too_long ?? 0
  t.equal(report.accepted, report.sent - refused, 'what was said is accepted in the end')
  t.ok(report.accepted > sized(30, 200), `people talked all the time: ${report.accepted}`)
  t.match(report.watcher, { missing: 0, duplicated: 0, outOfOrder: 0, complaint: null })
  const history = await wholeHistory(programs[2] as Program, room)
  t.equal(history.length, head)
  t.equal(new Set(history.map(({ ext }) => ext?.meta?.line)).size, report.accepted, 'each line once, however often it was tried')

  t.ok(readers.longestAwayMs <= WITHOUT_CHAT_MS_MAX, `nobody was away for longer than ${WITHOUT_CHAT_MS_MAX} ms: ${Math.round(readers.longestAwayMs)}`)
  t.ok(readers.latency.max <= WITHOUT_CHAT_MS_MAX, `and no message came later than that: ${readers.latency.max} ms`)
  // The most that one instance can have is all of them, once the first has been replaced; the replay's authors come back too.
  const pace = Math.max(viewers / drainS, PACE_MIN)
  t.ok(came <= pace * 2.5, `in the busiest second ${came} came, of ${Math.round(pace)} a second`)
  for (const program of programs) t.same(program.faults, [])
  measured(t, `3 instances replaced under ${viewers} viewers by ${kind} in ${tookS.toFixed(1)} s (DRAIN_S ${drainS}): ${report.accepted} messages, lost ${readers.missing}, twice ${readers.duplicates}; longest away ${Math.round(readers.longestAwayMs)} ms, latest message ${readers.latency.max} ms after it was written, p99 ${readers.latency.p99} ms; in the busiest second ${came} came (pace ${Math.round(pace)})`)
})

/** Connections since the start of a process begin anew with it; what it had before counts on. */
const before = new Map<Program, { last: number, sum: number }>()
async function countOf (program: Program): Promise<number> {
  const known = before.get(program) ?? { last: 0, sum: 0 }
  const now = await metricOf(program, 'uproar_connections_total').catch(() => known.last)
  if (now < known.last) known.sum += known.last
  known.last = now
  before.set(program, known)
  return known.sum + now
}
