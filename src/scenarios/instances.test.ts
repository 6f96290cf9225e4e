// Three instances on one Redis as one chat: the real log through all of them at once, one killed in the middle; viewers,
// users and addresses counted on all of them; a token revoked at one that counts nowhere.

import t from 'tap'
import type { Frame } from '../../proto/codec.ts'
import { OUT } from '../../proto/ops.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import type { LogLine } from '../replay/csv.ts'
import { replay } from '../replay/replay.ts'
import { signedTokens } from '../replay/tokens.ts'
import { Watcher } from '../replay/watcher.ts'
import { chatLog, measure } from './chat-log.ts'
import { EventReader } from './event-reader.ts'
import { API_KEY, eventually, SECRET, tokenOf } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { startInstances } from './instances.ts'
import { measured, sized, timely } from './size.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(sized(300_000, 1_200_000))
const skip = withoutRedis()

async function * every (lines: AsyncIterable<LogLine>, count: number, at: number): AsyncGenerator<LogLine> {
  for await (const line of lines) if (line.number % count === at) yield line
}

async function * first (lines: AsyncIterable<LogLine>, limit: number): AsyncGenerator<LogLine> {
  let left = limit
  for await (const line of lines) {
    if (left-- <= 0) return
    yield line
  }
}

t.test('the real log through three instances, one killed -9 in the middle', { skip }, async (t) => {
  const { programs } = await startInstances(t)
  const log = chatLog()
  t.comment(log.name)
  const room = 'stage'
  const limit = sized(2400, Infinity)
  const lineOf = (ext: unknown): number => (ext as { meta: { line: number } }).meta.line
  const seen = programs.map(() => new Map<number, number>())
  const streamed = new Map<number, number>()
  const watchers = programs.map((program, at) => new Watcher({ url: program.ws, room, pingMs: 1000, onEntry: (frame: Frame) => { seen[at]?.set(frame[1] as number, lineOf(frame[6])) } }))
  const events = new EventReader({ url: `${programs[2]?.http}/v1/rooms/${room}/events?history=0`, onEntry: (entry) => streamed.set(entry.seq as number, lineOf(entry.ext)) })
  t.teardown(async () => {
    for (const watcher of watchers) watcher.stop()
    await events.stop()
  })
  await Promise.all([...watchers.map((watcher) => watcher.start()), events.start()])

  const { count: expected, tooLong } = await measure(log.lines(), limit)
  const accepted = new Map<number, number>()
  const [, victim] = programs
  let killing: Promise<void> | null = null
  const killAndStart = async (): Promise<void> => {
    await victim?.kill9()
    await victim?.launch()
  }
  const reports = await Promise.all(programs.map((program, at) => replay({
    lines: every(first(log.lines(), limit), programs.length, at), file: log.name, url: program.ws, room, tokens: signedTokens(SECRET), speed: sized(60, 20), connections: sized(150, 300), attempts: 30, settleMs: 30_000,
    onAccepted: (line, { seq }) => {
      accepted.set(line, seq)
      if (killing === null && accepted.size >= expected / 2) killing = killAndStart()
    }
  })))
  await killing
  const sum = (of: (report: (typeof reports)[number]) => number): number => reports.reduce((total, report) => total + of(report), 0)
  const refused = sum((report) => report.refused.too_long ?? 0)
  t.equal(sum((report) => report.sent), expected, 'all of the log was sent')
  t.equal(sum((report) => report.accepted), expected - refused, 'and accepted in the end, but at most the lines over 500 characters')
  t.ok(refused <= tooLong)
  for (const { watcher } of reports) t.match(watcher, { missing: 0, duplicated: 0, outOfOrder: 0, complaint: null })

  const head = Math.max(...accepted.values())
  t.equal(new Set(accepted.values()).size, accepted.size, 'no two lines have one seq')
  for (const [at, watcher] of watchers.entries()) {
    await watcher.until(() => watcher.account.last >= head, `seq ${head} at instance ${at + 1}`)
    t.match(watcher.account, { missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, unrecovered: 0, last: head }, `everything, once, in order at instance ${at + 1}`)
    t.equal(seen[at]?.size, head)
    t.equal([...accepted].filter(([line, seq]) => seen[at]?.get(seq) !== line).length, 0, 'each line where it was said to be')
  }
  t.ok((watchers[1]?.joins ?? 0) > 1, 'the one whose instance was killed came back')
  await eventually('the event stream', () => events.account.last >= head || null)
  t.match(events.account, { missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, last: head })
  t.same(streamed, seen[0], 'on events the same')
  const histories = await Promise.all(programs.map((program) => wholeHistory(program, room)))
  t.same(histories[0]?.map((entry) => entry.seq), Array.from({ length: head }, (_, at) => at + 1), 'history has no hole')
  t.same(histories[1], histories[0])
  t.same(histories[2], histories[0])
  measured(t, `${sum((report) => report.accepted)} of ${expected} lines through three instances, one killed: missing ${sum((report) => report.watcher.missing)}, sent again ${sum((report) => report.retried)}, ` +
    `SEND→OK p50 ${reports.map((report) => report.latency.p50).join('/')} ms p99 ${reports.map((report) => report.latency.p99).join('/')} ms, in ${Math.max(...reports.map((report) => report.seconds)).toFixed(1)} s`)
})

t.test('counted on all of them', { skip }, async (t) => {
  const { programs } = await startInstances(t, { CONNECTIONS_PER_USER_MAX: '3', CONNECTIONS_PER_ADDRESS_MAX: '12' })
  const [a, b, c] = programs as [typeof programs[0], typeof programs[0], typeof programs[0]]
  t.match(await a.request('GET', '/v1/instances', { token: API_KEY }), { status: 200 })
  await eventually('three instances', async () => (await b.request('GET', '/v1/instances', { token: API_KEY })).json.instances.length === 3 || null)
  t.match(await b.request('GET', '/v1/instances', { token: tokenOf('ann') }), { status: 403 })

  const here: Viewer[] = []
  for (const program of [a, a, b, b, b]) {
    const viewer = await Viewer.connect(t, program.ws)
    await viewer.join('hall')
    here.push(viewer)
  }
  const count = async (program: typeof a): Promise<number> => (await program.request('GET', '/v1/rooms/hall/viewers')).json.viewers as number
  for (const program of [a, b, c]) await eventually('five viewers everywhere', async () => await count(program) === 5 || null)
  for (const viewer of here) await viewer.until('VIEWERS 5', () => viewer.frames.some((frame) => frame[0] === OUT.VIEWERS && frame[1] === 5) || null)
  await b.kill9()
  await eventually('those of the dead to be forgotten', async () => await count(a) === 2 || null, 12_000)
  await eventually('and on the third', async () => await count(c) === 2 || null, 12_000)
  await here[0]?.until('VIEWERS 2', () => here[0]?.frames.at(-1)?.[1] === 2 || null)
  await b.launch()

  const devices: Viewer[] = []
  for (const program of [a, b, c, a, b]) devices.push(await Viewer.connect(t, program.ws, tokenOf('ann')))
  t.match(await devices[0]?.ended(), { code: 4508 }, 'of five devices the oldest two give way')
  t.match(await devices[1]?.ended(), { code: 4508 })
  for (const device of devices.slice(2)) {
    await device.roundTrip()
    t.equal(device.ending, null, 'the newest three stay')
  }

  for (const viewer of here.slice(0, 2)) viewer.socket.destroy()
  const many: Viewer[] = []
  // Five are open by now; each instance has at least one, so each knows the sum.
  for (const program of [a, b, c, a, b, c, a, b, c]) {
    const viewer = new Viewer(program.ws)
    t.teardown(() => viewer.socket.destroy())
    await viewer.opened()
    many.push(viewer)
    await viewer.hello()
  }
  for (const program of [a, b, c]) {
    await eventually('the address to be full everywhere', async () => {
      const viewer = new Viewer(program.ws)
      const refused = await viewer.opened().then(() => false, () => true)
      viewer.socket.destroy()
      return refused && /429/.test(viewer.ending?.reason ?? '') ? true : null
    })
  }
})

t.test('a token revoked at one counts nowhere', { skip }, async (t) => {
  const { programs } = await startInstances(t)
  const [a, b, c] = programs as [typeof programs[0], typeof programs[0], typeof programs[0]]
  const token = tokenOf('ann')
  const other = tokenOf('ben')
  const jti = (JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as { jti: string }).jti
  const viewer = await Viewer.connect(t, b.ws, token)
  const ben = await Viewer.connect(t, b.ws, other)
  t.match(await c.request('POST', '/v1/rooms/hall/messages', { token, json: { nonce: 'n1', body: 'hello' } }), { status: 201 })
  const started = performance.now()
  t.match(await a.request('POST', '/v1/revocations', { token: API_KEY, json: { jti } }), { status: 201, json: { jti } })
  t.match(await viewer.ended(2000), { code: 4501 }, 'its connection is closed on another instance')
  timely(t, 'a revocation on another instance', performance.now() - started, 1000)
  t.match(await c.request('POST', '/v1/rooms/hall/messages', { token, json: { nonce: 'n2', body: 'hello' } }), { status: 401, json: { error: { message: /revoked/ } } })
  const again = new Viewer(a.ws)
  await again.opened()
  await t.rejects(again.hello(token))
  t.match(again.ending, { code: 4501 })
  await ben.roundTrip()
  t.equal(ben.ending, null, 'others stay')

  t.match(await b.request('POST', '/v1/revocations', { token: API_KEY, json: { user: 'ben' } }), { status: 201 })
  t.match(await ben.ended(2000), { code: 4501 }, 'all tokens of a user')
  await c.restart()
  t.match(await c.request('GET', '/v1/rooms/hall', { token }), { status: 401 }, 'after a restart too')
  t.match(await c.request('DELETE', `/v1/revocations?jti=${jti}`, { token: API_KEY }), { status: 204 })
  await eventually('it to count again', async () => (await a.request('GET', '/v1/rooms/hall', { token })).status === 200 || null)
  t.match(await a.request('GET', '/v1/revocations', { token: API_KEY }), { json: { revocations: [{ user: 'ben' }], more: false } })
})
