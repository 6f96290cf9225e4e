// The real log through the real program: as its many authors, over few connections, to viewers who come early, late, by
// another way, and who are cut. What was accepted arrives at each of them once, in order, and history has all of it.

import t from 'tap'
import type { Frame } from '../../proto/codec.ts'
import { replay } from '../replay/replay.ts'
import { isWhole, tableOf } from '../replay/report.ts'
import { signedTokens } from '../replay/tokens.ts'
import { Watcher } from '../replay/watcher.ts'
import { chatLog, measure } from './chat-log.ts'
import { EventReader } from './event-reader.ts'
import { OPEN_LIMITS, Program, SECRET } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { measured, sized } from './size.ts'

t.setTimeout(sized(240_000, 600_000))

t.test('a real log arrives everywhere, once, in order', async (t) => {
  const program = await Program.start(t, OPEN_LIMITS)
  const log = chatLog()
  t.comment(log.name)
  const room = 'stage'
  const limit = sized(2000, Infinity)
  /** Seq → line, as each viewer saw it. */
  const seen = { cut: new Map<number, number>(), late: new Map<number, number>(), events: new Map<number, number>() }
  const onFrame = (into: Map<number, number>) => (frame: Frame): void => { into.set(frame[1] as number, (frame[6] as { meta: { line: number } }).meta.line) }
  const cut = new Watcher({ url: program.ws, room, onEntry: onFrame(seen.cut), pingMs: 500 })
  const late = new Watcher({ url: program.ws, room, history: 200, onEntry: onFrame(seen.late) })
  const events = new EventReader({ url: `${program.http}/v1/rooms/${room}/events?history=0`, onEntry: (entry) => seen.events.set(entry.seq as number, (entry.ext as { meta: { line: number } }).meta.line) })
  t.teardown(async () => {
    cut.stop()
    late.stop()
    await events.stop()
  })
  await Promise.all([cut.start(), events.start()])
  const { count: expected, tooLong } = await measure(log.lines(), limit)
  const accepted = new Map<number, number>()
  let lateStarted: Promise<void> = Promise.resolve()
  const onAccepted = (line: number, { seq }: { seq: number }): void => {
    accepted.set(line, seq)
    if (accepted.size === Math.floor(expected * 0.3) || accepted.size === Math.floor(expected * 0.7)) cut.cut()
    if (accepted.size === Math.floor(expected * 0.5)) lateStarted = late.start()
  }
  const cpu = program.cpuSeconds()
  const report = await replay({
    lines: log.lines(), file: log.name, url: program.ws, room, tokens: signedTokens(SECRET), speed: sized(60, 20), connections: 500,
    limit: Number.isFinite(limit) ? limit : null, onAccepted
  })
  await lateStarted
  t.comment(`\n${tableOf(report)}`)
  t.ok(isWhole(report), 'the watcher that came first got everything')
  t.equal(report.sent, expected, 'all of the log was sent')
  t.same(Object.keys(report.refused).filter((name) => name !== 'too_long'), [], 'and nothing refused')
  t.equal(report.accepted, expected - (report.refused.too_long ?? 0), `but at most the ${tooLong} lines over 500 characters`)
  t.ok((report.refused.too_long ?? 0) <= tooLong)

  const head = Math.max(...accepted.values())
  for (const viewer of [cut, late]) await viewer.until(() => viewer.account.last >= head, `seq ${head}`)
  await late.until(() => events.account.last >= head, 'the event stream').catch(() => undefined)
  t.match(cut.account, { missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, unrecovered: 0 }, 'cut twice')
  t.equal(cut.joins, 3, 'it came back twice')
  t.match(late.account, { missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0 }, 'joined late')
  t.match(events, { wrongIds: 0, account: { missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, last: head } }, 'on server-sent events')
  const differing = (lines: Map<number, number>, from: number): number => [...accepted].filter(([line, seq]) => seq >= from && lines.get(seq) !== line).length
  t.equal(differing(seen.cut, 1), 0, 'every accepted line reached the one that was cut')
  t.equal(differing(seen.events, 1), 0, 'and the one on events')
  t.equal(differing(seen.late, Math.min(...seen.late.keys())), 0, 'and, from its history on, the one that came late')

  const history = await wholeHistory(program, room)
  t.same(history.map((entry) => entry.seq), Array.from({ length: head }, (_, at) => at + 1), 'history pages through all of it, without a hole')
  t.equal([...accepted].filter(([line, seq]) => history[seq - 1]?.ext?.meta?.line !== line).length, 0, 'history has every line where it was accepted')
  measured(t, `${report.accepted} of ${report.sent} lines by ${report.authors} authors over ${report.connectionsOpened} connections (500 at once) at ${report.speed}×: ` +
    `missing ${report.watcher.missing}, duplicated ${report.watcher.duplicated}, SEND→OK p50 ${report.latency.p50} ms p99 ${report.latency.p99} ms, server CPU ${(program.cpuSeconds() - cpu).toFixed(1)} s in ${report.seconds.toFixed(1)} s`)
})
