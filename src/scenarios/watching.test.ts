// Stories of watching the real program: the built-in viewer is seen by nobody, traces hang together and their ids are in the
// log, the log's level changes while it runs, connections are in the log, and secrets are not.

import t from 'tap'
import { IN } from '../../proto/ops.ts'
import { traceIdOf } from '../base/traces.ts'
import { startCollector } from './collector.ts'
import { API_KEY, eventually, Program, SECRET, tokenOf } from './harness.ts'
import { Viewer } from './viewer.ts'

const valueOf = (text: string, series: string): number => Number(text.split('\n').find((line) => line.startsWith(`${series} `))?.split(' ').at(-1))

t.test('one program, watched', async (t) => {
  const { url, spans, close } = await startCollector(t)
  const collectorKey = 'key-of-the-collector'
  const program = await Program.start(t, { PROBE_S: '1', LOG_CONNECTIONS: '1', OTLP_URL: url.replace('//', `//uproar:${collectorKey}@`), TRACE_SAMPLE: '1', SCORERS: 'rules', CONNECTIONS_MAX: '1' })
  const numbers = async (): Promise<string> => (await program.request('GET', '/metrics')).text
  const server = (method: string, path: string, json?: unknown): ReturnType<Program['request']> => program.request(method, path, { token: API_KEY, json })

  // ---- the built-in viewer
  const seen = await eventually('the built-in viewer to hear itself', async () => {
    const text = await numbers()
    return valueOf(text, 'uproar_probe_messages_total{outcome="seen"}') >= 2 ? text : null
  })
  for (const series of ['uproar_connections', 'uproar_connections_total', 'uproar_rooms', 'uproar_joins_total{kind="fresh"}', 'uproar_messages_accepted_total{via="socket"}', 'uproar_deliveries_total', 'uproar_publishes_total', 'uproar_accept_seconds_count']) t.equal(valueOf(seen, series), 0, `${series} does not count it`)
  t.equal(valueOf(seen, 'uproar_probe_messages_total{outcome="late"}'), 0)
  t.same((await server('GET', '/v1/rooms')).json.rooms, [])
  t.same((await server('GET', '/v1/connections')).json.connections, [])
  t.equal((await server('GET', '/v1/rooms/uproar:probe/messages')).status, 403, 'nobody enters its room')
  t.same([valueOf(seen, 'uproar_ready'), valueOf(seen, 'uproar_draining')], [1, 0])
  t.ok(valueOf(seen, 'uproar_disk_free_bytes') > 0 && valueOf(seen, 'uproar_canary_seconds') < 10)
  const ada = await Viewer.connect(t, program.ws, tokenOf('ada'))
  t.match(await ada.ask(IN.JOIN, 'uproar:probe', null), { 3: 'forbidden' }, 'nor by the socket, whose one place it has not taken')

  // ---- the log's level, and a message's trace through log and feed
  t.equal((await program.request('PUT', '/v1/admin/log-level', { token: tokenOf('root', { roles: ['admin'] }), json: { level: 'debug' } })).status, 403, 'an admin is no server key')
  t.equal((await server('PUT', '/v1/admin/log-level', { level: 'loud' })).status, 400)
  t.same((await server('PUT', '/v1/admin/log-level', { level: 'debug', minutes: 5 })).json, { level: 'debug', configured: 'info' })
  const joined = await ada.ask(IN.JOIN, 'stage', null)
  const [, , [seq]] = await ada.ask(IN.SEND, 'stage', 'n1', 0, 'hello', null) as [number, number, [number]]
  const trace = traceIdOf({ room: 'stage', epoch: joined[3] as string, seq })
  const line = await eventually('its line in the log', () => program.lines.find((line) => line.includes(trace)) ?? null)
  t.match(JSON.parse(line), { level: 20, trace, room: 'stage', seq, msg: 'a message was accepted' })
  const own = await eventually('its spans', () => {
    const found = spans.filter(({ traceId }) => traceId === trace)
    return found.length >= 3 ? found : null
  })
  const root = own.find(({ name }) => name === 'accept')
  t.same(own.map(({ name }) => name).sort(), ['accept', 'feed moderator-rules', 'log'])
  t.same(own.filter((span) => span !== root).map(({ parentSpanId }) => parentSpanId), [root?.spanId, root?.spanId])
  t.equal(root?.parentSpanId, undefined)

  // ---- the collector goes: nobody notices but the numbers
  close()
  for (let turn = 0; turn < 3; turn++) t.match(await ada.ask(IN.SEND, 'stage', `after-${turn}`, 0, 'still here', null), { 0: 33 })
  await eventually('spans that are given up', async () => valueOf(await numbers(), 'uproar_spans_total{outcome="failed"}') > 0 || null)
  t.equal(program.lines.filter((said) => said.includes('the collector of traces does not take them')).length, 1)

  // ---- by signal; connections in the log
  process.kill(program.pid, 'SIGUSR2')
  await eventually('the level to be as configured', async () => (await server('GET', '/v1/admin/log-level')).json.level === 'info' || null)
  process.kill(program.pid, 'SIGUSR2')
  await eventually('debug again', async () => (await server('GET', '/v1/admin/log-level')).json.level === 'debug' || null)
  ada.socket.destroy()
  const went = await eventually('the line of the end', () => program.lines.find((said) => said.includes('a connection went')) ?? null)
  t.match(JSON.parse(went), { user: 'ada', rooms: ['stage'], by: 'client', address: '127.0.0.1' })
  t.ok(program.lines.some((said) => said.includes('a connection came')))
  t.equal(await program.stop(), 0)
  for (const secret of [API_KEY, SECRET, collectorKey]) t.notOk(program.lines.some((said) => said.includes(secret)), 'no secret is in the log, debug lines included')
})
