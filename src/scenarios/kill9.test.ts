// The program is killed without warning in the middle of a replay and started again on the same folder and ports, several
// times over. Whatever was answered OK is in history once, and nothing is there twice; viewers and authors come back by themselves.

import t from 'tap'
import { replay } from '../replay/replay.ts'
import { signedTokens } from '../replay/tokens.ts'
import { Watcher } from '../replay/watcher.ts'
import { chatLog, measure } from './chat-log.ts'
import { EventReader } from './event-reader.ts'
import { freePort, OPEN_LIMITS, Program, SECRET } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { measured, sized } from './size.ts'

t.setTimeout(sized(240_000, 900_000))

t.test('kill -9 in the middle of a replay', async (t) => {
  const program = await Program.start(t, { ...OPEN_LIMITS, WS_PORT: await freePort() })
  const log = chatLog()
  const room = 'stage'
  const kills = sized(2, 10)
  const lines = sized(1500, 28_013)
  const viewer = new Watcher({ url: program.ws, room })
  const events = new EventReader({ url: `${program.http}/v1/rooms/${room}/events?history=0` })
  t.teardown(async () => {
    viewer.stop()
    await events.stop()
  })
  await Promise.all([viewer.start(), events.start()])

  const accepted = new Map<number, number>()
  let done = 0
  let downMs = 0
  let restarting: Promise<void> = Promise.resolve()
  const killAndStart = async (): Promise<void> => {
    const started = performance.now()
    const { joins } = viewer
    await program.kill9()
    await program.launch()
    downMs = Math.max(downMs, performance.now() - started)
    // The next kill finds everybody back.
    await viewer.until(() => viewer.joins > joins, 'the viewer to come back')
  }
  const report = await replay({
    lines: log.lines(), file: log.name, url: program.ws, room, tokens: signedTokens(SECRET), speed: sized(25, 20), connections: sized(200, 500), limit: lines, attempts: 30, settleMs: 20_000,
    onAccepted: (line, { seq }) => {
      accepted.set(line, seq)
      if (done < kills && accepted.size >= lines * (done + 1) / (kills + 1)) {
        done++
        restarting = restarting.then(killAndStart)
      }
    }
  })
  await restarting
  t.equal(done, kills, `killed ${kills} times`)
  const tooLong = report.refused.too_long ?? 0
  t.match(report, { sent: lines, accepted: lines - tooLong }, 'every line got through in the end')
  t.ok(tooLong <= (await measure(log.lines(), lines)).tooLong, 'but at most the ones over 500 characters')
  t.match(report.watcher, { missing: 0, duplicated: 0, outOfOrder: 0, complaint: null }, 'the watcher came back each time and missed nothing')

  const history = await wholeHistory(program, room)
  const head = history.length
  t.same(history.map((entry) => entry.seq), Array.from({ length: head }, (_, at) => at + 1), 'history has no hole')
  t.equal([...accepted].filter(([line, seq]) => history[seq - 1]?.ext?.meta?.line !== line).length, 0, 'whatever was answered OK is in history where it was said to be')
  t.equal(new Set(history.map((entry) => entry.ext?.meta?.line)).size, head, 'no line is there twice')
  await viewer.until(() => viewer.account.last >= head, 'the viewer to have all')
  await viewer.until(() => events.account.last >= head, 'the event stream').catch(() => undefined)
  t.match(viewer.account, { missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, unrecovered: 0 }, 'a viewer resumed without a gap')
  t.ok(viewer.joins > kills, `it joined ${viewer.joins} times`)
  t.match(events.account, { missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, unrecovered: 0, last: head }, 'so did one on server-sent events')
  measured(t, `${kills} × kill -9 during ${report.sent} lines: ${accepted.size} answered OK, all in history once; ${report.retried} sent again; a restart took ${Math.round(downMs)} ms at most`)
})
