// Many viewers in one room of one process: nothing is lost, HTTP still answers, and a viewer costs little memory.

import t from 'tap'
import { CrowdLink } from './crowd-link.ts'
import { eventually, OPEN_LIMITS, Program, tokenOf, type Memory } from './harness.ts'
import { isFull, measured, megabytes, sized } from './size.ts'
import { Speaker } from './speaker.ts'

t.setTimeout(sized(240_000, 600_000))

t.test('a crowd in one room', async (t) => {
  const viewers = sized(1000, 18_000)
  const seconds = sized(4, 60)
  const perSecond = 5
  const program = await Program.start(t, OPEN_LIMITS)
  // One of everything first, so that what is loaded once is not counted as the crowd's.
  const speaker = await Speaker.connect(t, program.ws, 'stage', tokenOf('speaker'))
  await speaker.say('first')
  await speaker.answered()
  await program.request('GET', '/v1/rooms/stage/messages')
  const idle = await settledMemory(program)

  const crowd = await CrowdLink.gather(t, { url: program.ws, room: 'stage', viewers }, sized(30_000, 180_000))
  const { json } = await program.request('GET', '/v1/rooms/stage/viewers')
  t.equal(json.viewers, viewers + 1, 'all are counted, the author too')
  const from = speaker.head
  const cpu = program.cpuSeconds()
  const started = performance.now()
  const answers: number[] = []
  let isSpeaking = true
  const asking = (async () => {
    while (isSpeaking) {
      const asked = performance.now()
      const { status } = await program.request('GET', '/v1/rooms/stage/messages?limit=20')
      if (status !== 200) t.fail(`history answered ${status}`)
      answers.push(performance.now() - asked)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })()
  for (let said = 0; said < seconds * perSecond; said++) {
    const due = started + said * 1000 / perSecond
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())))
    await speaker.say(`@${performance.timeOrigin + performance.now()} something to say of the usual length, as people do`)
  }
  await speaker.answered()
  const cpuSeconds = program.cpuSeconds() - cpu
  const tookS = (performance.now() - started) / 1000
  t.ok(await crowd.settled(speaker.head, 30_000), 'everybody gets to the last message')
  isSpeaking = false
  await asking
  const { readers } = await crowd.report()
  t.match(readers, { viewers, joined: viewers, received: viewers * (speaker.head - from), missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, harmed: 0, closes: {} }, 'nothing is lost')
  const slowest = Math.max(...answers)
  t.ok(slowest < 5000, `HTTP answered ${answers.length} times meanwhile`)
  const full = await settledMemory(program)
  const perViewer = (full.rss - idle.rss) / viewers
  if (isFull) t.ok(perViewer <= 3 * 1024, `a viewer takes ${Math.round(perViewer)} bytes of the process, 3 KB at most`)
  answers.sort((a, b) => a - b)
  measured(t, `${viewers} viewers at ${perSecond} msg/s for ${tookS.toFixed(0)} s: received ${readers.received}, lost ${readers.missing}; latency p50 ${readers.latency.p50} ms p99 ${readers.latency.p99} ms; ` +
    `HTTP p50 ${(answers[answers.length >> 1] ?? 0).toFixed(0)} ms max ${slowest.toFixed(0)} ms; memory ${megabytes(idle.rss)} → ${megabytes(full.rss)}, ${Math.round(perViewer)} bytes a viewer; ` +
    `joined in ${readers.seconds.joining.toFixed(1)} s; CPU ${(cpuSeconds / tookS * 100).toFixed(0)} %`)
})

/** The memory once it has stopped moving, or after a while. */
async function settledMemory (program: Program): Promise<Memory> {
  let before = program.memory()
  let calm = 0
  return eventually('memory to settle', async () => {
    await new Promise((resolve) => setTimeout(resolve, sized(100, 500)))
    const now = program.memory()
    calm = Math.abs(now.rss - before.rss) < 256 * 1024 ? calm + 1 : 0
    before = now
    return calm >= 4 ? now : null
  }, sized(3000, 30_000)).catch(() => program.memory())
}
