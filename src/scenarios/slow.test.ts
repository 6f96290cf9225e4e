// Viewers who stop reading in a busy room: the others get everything, the server's memory stays bounded, and those who
// stalled are told what they were not sent, or closed; when they read again their account has no hole.

import t from 'tap'
import { CrowdLink } from './crowd-link.ts'
import { OPEN_LIMITS, Program, tokenOf } from './harness.ts'
import { megabytes, measured, sized } from './size.ts'
import { Speaker } from './speaker.ts'

t.setTimeout(sized(240_000, 600_000))

// The kernel hides some four megabytes a connection before the server sees that a viewer does not read.
const TEXT = '👊'.repeat(490)
const MEGABYTES = sized(9, 12)
const CHUNK = 100

async function flood (speaker: Speaker, crowd: CrowdLink, messages: number): Promise<boolean> {
  for (let said = 0; said < messages; said += CHUNK) {
    for (let at = 0; at < CHUNK; at++) await speaker.say(`${said + at} ${TEXT}`)
    await speaker.answered()
    // The author waits for the readers, so that this proves delivery on any machine and not its speed.
    if (!await crowd.settled(speaker.head, 20_000)) return false
  }
  return true
}

t.test('viewers who never read again', async (t) => {
  const viewers = sized(200, 1000)
  const stalled = viewers / 10
  const slowTimeoutS = 4
  const program = await Program.start(t, { ...OPEN_LIMITS, SLOW_TIMEOUT_S: String(slowTimeoutS) })
  const crowd = await CrowdLink.gather(t, { url: program.ws, room: 'stage', viewers, pingMs: 1000, comeBack: true })
  const speaker = await Speaker.connect(t, program.ws, 'stage', tokenOf('speaker'))
  // The room's own memory and the code that serves it are warm before anything is compared.
  t.ok(await flood(speaker, crowd, 200), 'warm')
  const before = program.memory()
  await crowd.stall(stalled)
  const messages = Math.ceil(MEGABYTES * 1_048_576 / Buffer.byteLength(TEXT) / CHUNK) * CHUNK
  t.ok(await flood(speaker, crowd, messages), 'every reader got every message')
  const after = program.memory()
  const { readers } = await crowd.report()
  t.match(readers, { viewers: viewers - stalled, joined: viewers - stalled, received: (viewers - stalled) * speaker.head, missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, harmed: 0, closes: {} }, 'the others noticed nothing')
  const growth = after.anonymous - before.anonymous
  t.ok(growth < stalled * 512 * 1024 + 96 * 1_048_576, `memory stays bounded: ${megabytes(growth)} for ${stalled} stalled viewers, each ${MEGABYTES} MB behind`)

  // Everybody reads again: those who were cut come back and resume, the rest read on.
  await crowd.wake()
  t.ok(await crowd.settled(speaker.head, 30_000, true), 'those who stalled get to the end, by resuming or by being told')
  const woken = (await crowd.report()).stalled
  t.match(woken, { joined: stalled, missing: 0, duplicates: 0, outOfOrder: 0, harmed: 0 }, 'and their account has no hole')
  const closed = Object.values(woken.closes).reduce((sum, count) => sum + count, 0)
  t.ok(woken.skipped > 0 || closed >= stalled, `each was told or closed: ${woken.skipped} entries announced as skipped, ${closed} closed`)
  measured(t, `${viewers} viewers, ${stalled} of them stalled for ${MEGABYTES} MB: the others missed nothing (p99 ${readers.latency.p99} ms); of the stalled ${closed} were closed and ${woken.skipped} entries announced as skipped; server memory grew by ${megabytes(growth)}`)
})

t.test('viewers who are slow but come back in time are told what they missed', async (t) => {
  const program = await Program.start(t, { ...OPEN_LIMITS, SLOW_TIMEOUT_S: '120' })
  const crowd = await CrowdLink.gather(t, { url: program.ws, room: 'stage', viewers: 20, pingMs: 1000 })
  const speaker = await Speaker.connect(t, program.ws, 'stage', tokenOf('speaker'))
  await crowd.stall(5)
  t.ok(await flood(speaker, crowd, 6000), 'every reader got every message')
  await crowd.wake()
  t.ok(await crowd.settled(speaker.head, 30_000, true), 'the slow ones get to the end on the same connection')
  const { stalled, readers } = await crowd.report()
  t.match(stalled, { joined: 5, missing: 0, duplicates: 0, outOfOrder: 0, closes: {} }, 'without a hole')
  t.ok(stalled.skipped > 0, `${stalled.skipped} entries were announced as skipped`)
  t.equal(stalled.received + stalled.skipped, 5 * speaker.head, 'what came and what was skipped add up')
  t.match(readers, { missing: 0, skipped: 0, duplicates: 0, outOfOrder: 0 })
})
