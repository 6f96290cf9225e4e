// Rooms as event streams, over real HTTP: order, resume, what ends a stream, what bounds it.

import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { systemClock, type Clock, type Timer } from '../base/clock.ts'
import { refused, SERVER_KEY, startBench, type EventReader, type ServerEvent } from './api.suite.ts'

const PATH = '/v1/rooms/lobby/events'

/** The seqs of the next entries; fails on anything else but viewer counts. */
async function seqs (t: Test, stream: EventReader, count: number): Promise<number[]> {
  const found: number[] = []
  while (found.length < count) {
    const event = await stream.next()
    if (event === undefined) break
    if (event.event === 'viewers') continue
    t.equal(event.id?.endsWith(`-${event.data.seq}`), true, `${event.event} ${event.data.seq} has its position as id`)
    found.push(event.data.seq)
  }
  return found
}

/** Real time, with the every-second timer in the test's hand. */
class HandClock implements Clock {
  skew = 0
  #calls = new Map<number, Set<() => void>>()
  now (): number { return systemClock.now() + this.skew }
  elapsed (): number { return systemClock.elapsed() }
  after (ms: number, call: () => void): Timer { return systemClock.after(ms, call) }
  every (ms: number, call: () => void): Timer {
    const calls = this.#calls.get(ms) ?? new Set()
    this.#calls.set(ms, calls.add(call))
    return { cancel: () => { calls.delete(call) } }
  }

  tick (count: number): void {
    for (let n = 0; n < count; n++) for (const call of this.#calls.get(1000) ?? []) call()
  }
}

t.test('a stream tells what is there and what comes', async (t) => {
  const { events, send, token, ask, metrics } = await startBench(t)
  const ada = await token('ada')
  for (let n = 1; n <= 5; n++) await send('lobby', ada, `text ${n}`)
  const stream = await events(`${PATH}?history=3`)
  t.equal(stream.status, 200)
  t.match(stream.headers, { 'content-type': /^text\/event-stream/, 'cache-control': /no-store/, 'x-content-type-options': 'nosniff' })
  const joined = await stream.next() as ServerEvent
  t.match(joined, { event: 'joined', data: { room: 'lobby', seq: 5, recovered: false, viewers: 1, state: { title: '', slowModeSeconds: 0, locked: false, private: false } } })
  t.equal(joined.id, `${joined.data.epoch}-2`, 'whoever is cut here misses nothing')
  t.same(stream.asides, ['retry: 2000'])
  t.same(await seqs(t, stream, 3), [3, 4, 5])
  await send('lobby', ada, 'six')
  const six = await stream.next() as ServerEvent
  t.match(six, { event: 'message', data: { op: 'message', seq: 6, body: 'six', user: { id: 'ada', name: 'ADA', roles: 0 }, kind: 0, ext: null } })
  await ask('PUT', '/v1/rooms/lobby', { token: SERVER_KEY, body: { settings: { title: 'New' } } })
  t.match(await stream.next(), { event: 'state', data: { op: 'state', seq: 7, changes: { title: 'New' } } })
  t.equal(metrics.value('uproar_streams'), 1)
  t.equal((await ask('GET', '/v1/rooms/lobby/viewers')).json.viewers, 1)

  const other = await events(`${PATH}?history=0`)
  t.match(await other.next(), { event: 'joined', data: { seq: 7, viewers: 2, state: { title: 'New' } } })
  await send('lobby', ada, 'eight')
  t.same((await other.next())?.data.body, 'eight')
  other.close()
  stream.close()
  while (metrics.value('uproar_streams') > 0) await new Promise((resolve) => { setImmediate(resolve) })
  t.equal((await ask('GET', '/v1/rooms/lobby/viewers')).json.viewers, 0, 'gone viewers do not count')
  t.equal((await ask('HEAD', PATH)).status, 404, 'HEAD opens no stream')
})

t.test('a stream resumes where it was', async (t) => {
  const { events, send, token, ask } = await startBench(t)
  const ada = await token('ada')
  for (let n = 1; n <= 6; n++) await send('lobby', ada, `text ${n}`)
  const { epoch } = (await ask('GET', '/v1/rooms/lobby')).json
  const resume = async (header: string | null, query = ''): Promise<unknown> => {
    const stream = await events(`${PATH}?history=2${query}`, header === null ? {} : { 'last-event-id': header })
    const joined = await stream.next() as ServerEvent
    const rest = await seqs(t, stream, joined.data.recovered === true ? 6 - Number(joined.id?.split('-').at(-1)) : 2)
    stream.close()
    return [joined.data.recovered, rest]
  }
  t.same(await resume(`${epoch}-2`), [true, [3, 4, 5, 6]])
  t.same(await resume(`${epoch}-6`), [true, []])
  t.same(await resume(null, `&lastEventId=${epoch}-4`), [true, [5, 6]])
  t.same(await resume(`${epoch}-5`, `&lastEventId=${epoch}-1`), [true, [6]], 'the header is the fresher one')
  for (const bad of [`${epoch}-7`, 'other-3', epoch, `${epoch}-`, `${epoch}--1`, `${epoch}-1e0`, `${epoch}-99999999999999999`, '-', 'x'.repeat(500)]) {
    t.same(await resume(bad), [false, [5, 6]], `${bad.slice(0, 40)} is no place in this log`)
  }
  refused(t, await ask('GET', `${PATH}?history=201`), 'bad_request')
  refused(t, await ask('GET', `${PATH}?history=x`), 'bad_request')
  refused(t, await ask('GET', `${PATH}?view=wide`), 'bad_request')
})

t.test('many streams get all of a busy room, in order', async (t) => {
  const { events, token, ask } = await startBench(t)
  const ada = await token('ada')
  const streams = await Promise.all(Array.from({ length: 20 }, () => events(`${PATH}?history=0`)))
  await Promise.all(streams.map((stream) => stream.next()))
  const sends = Array.from({ length: 400 }, (_, n) => ask('POST', '/v1/rooms/lobby/messages', { token: ada, body: { nonce: `n${n}`, body: `text ${n}` } }))
  const sent = await Promise.all(sends)
  t.ok(sent.every(({ status }) => status === 201))
  const expected = Array.from({ length: 400 }, (_, n) => n + 1)
  for (const stream of streams) {
    const seqs: unknown[] = []
    // Viewer counts may stand between the messages.
    while (seqs.length < 400) {
      const { event, data } = await stream.next() as ServerEvent
      if (event === 'message') seqs.push(data.seq)
    }
    t.same(seqs, expected)
    stream.close()
  }
})

t.test('viewer counts, heartbeats, and the end of a token', async (t) => {
  const clock = new HandClock()
  const { events, token, ask } = await startBench(t, { clock })
  const ada = await token('ada', [], {}, 60)
  const stream = await events(`${PATH}?token=${ada}`)
  t.match(await stream.next(), { event: 'joined', data: { viewers: 1 } })
  const other = await events(PATH, { authorization: `Bearer ${ada}` })
  t.match(await other.next(), { event: 'joined', data: { viewers: 2 } })
  clock.tick(2)
  t.same(await stream.next(), { id: null, event: 'viewers', data: { count: 2 } })
  clock.tick(8)
  await stream.aside(': ')
  await other.aside(': ')
  clock.skew = 200_000
  clock.tick(1)
  t.same(await stream.ended(), [{ id: null, event: 'bye', data: { code: 4401, reason: 'expired', reconnectAfterMs: 0 } }], 'no count was told twice')
  t.match((await other.ended()).at(-1), { event: 'bye' })
  refused(t, await ask('GET', `${PATH}?token=${ada}`), 'unauthorized')
  refused(t, await ask('GET', `${PATH}?token=${ada}x`), 'unauthorized')
  refused(t, await ask('GET', `${PATH}?token=a&token=b`), 'unauthorized')
})

t.test('a room that is deleted or closed under a stream', async (t) => {
  const { events, send, token, ask } = await startBench(t)
  const ada = await token('ada')
  await send('lobby', ada, 'old')
  const stream = await events(`${PATH}?token=${ada}`)
  const [before] = await stream.take(2)
  t.equal((await ask('DELETE', '/v1/rooms/lobby', { token: SERVER_KEY })).status, 204)
  t.match((await stream.ended()).at(-1), { event: 'refused', data: { error: { code: 12, name: 'not_found' } } }, 'nobody makes it again by having been there')
  await send('lobby', ada, 'new')
  const anew = await events(`${PATH}?token=${ada}`)
  const after = await anew.next() as ServerEvent
  t.match(after, { event: 'joined', data: { room: 'lobby', seq: 1, recovered: false } })
  t.not(after.data.epoch, before?.data.epoch)

  const guest = await events(`${PATH}?token=${await token('guest', [], { lobby: [] })}&history=0`)
  await guest.next()
  await ask('PUT', '/v1/rooms/lobby', { token: SERVER_KEY, body: { settings: { private: true } } })
  t.match((await anew.ended()).at(-1), { event: 'refused', data: { error: { code: 11, name: 'forbidden' } } }, 'who may not stay is sent away')
  t.match(await guest.next(), { event: 'state', data: { changes: { private: true } } }, 'who may, stays')
  refused(t, await ask('GET', `${PATH}?token=${ada}`), 'forbidden')
  guest.close()
})

t.test('rooms on demand are a setting', async (t) => {
  const { ask } = await startBench(t, { env: { ROOMS_ON_DEMAND: 'false' } })
  refused(t, await ask('GET', PATH), 'not_found')
})

t.test('streams are bounded by address and by process', async (t) => {
  const { events, ask, metrics } = await startBench(t, { env: { CONNECTIONS_PER_ADDRESS_MAX: '2', CONNECTIONS_MAX: '3', TRUSTED_PROXIES: '127.0.0.1' } })
  const from = (address: string): Record<string, string> => ({ 'x-forwarded-for': address })
  const first = await events(PATH, from('192.0.2.1'))
  const second = await events(PATH, from('192.0.2.1'))
  await Promise.all([first.next(), second.next()])
  const over = await ask('GET', PATH, { headers: from('192.0.2.1') })
  refused(t, over, 'rate_limited')
  t.equal(over.headers['retry-after'], '5')
  for (const bad of ['/v1/rooms/uproar:x/events']) for (let n = 0; n < 3; n++) refused(t, await ask('GET', bad, { headers: from('192.0.2.2') }), 'forbidden', 'a refused stream takes no place')
  const third = await events(PATH, from('192.0.2.2'))
  await third.next()
  refused(t, await ask('GET', PATH, { headers: from('192.0.2.3') }), 'overloaded')
  first.close()
  while (metrics.value('uproar_streams') > 2) await new Promise((resolve) => { setImmediate(resolve) })
  t.equal((await events(PATH, from('192.0.2.1'))).status, 200, 'a place that is given back')
})

t.test('a viewer that does not read is cut, the others miss nothing', async (t) => {
  const { api, events, token, ask, metrics } = await startBench(t, { env: { SLOW_TIMEOUT_S: '1', TEXT_CHARACTERS_MAX: '2000' } })
  const ada = await token('ada')
  const stalled = connect(api.port, '127.0.0.1')
  stalled.write(`GET ${PATH} HTTP/1.1\r\nhost: a\r\n\r\n`)
  await new Promise((resolve) => { stalled.once('data', resolve) })
  stalled.pause()
  const closed = new Promise((resolve) => { stalled.on('error', () => {}).once('close', resolve) })
  const reader = await events(PATH)
  await reader.next()
  const text = 'é'.repeat(2000)
  let sent = 0
  // The kernel takes some megabytes before it lets a writer feel that nobody reads.
  while (metrics.value('uproar_slow_viewers_total', 'closed') === 0 && sent < 20_000) {
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask('POST', '/v1/rooms/lobby/messages', { token: ada, body: { nonce: `n${sent++}`, body: text } })))
    if (!answers.every(({ status }) => status === 201)) throw new Error('not accepted')
    await reader.take(50)
  }
  t.equal(metrics.value('uproar_slow_viewers_total', 'closed'), 1)
  t.equal(metrics.value('uproar_closes_total', 'too_slow'), 1)
  while (metrics.value('uproar_streams') > 1) await new Promise((resolve) => { setImmediate(resolve) })
  t.notOk(reader.isEnded, 'the one that reads stays')
  stalled.resume()
  await closed
  reader.close()
})

t.test('a stream asked for behind another request ends with its connection', async (t) => {
  let isAsked = (): void => {}
  const asked = new Promise<void>((resolve) => { isAsked = resolve })
  const { api, metrics, rooms } = await startBench(t, { deps: { ready: () => { isAsked(); return new Promise(() => {}) } } })
  const socket = connect(api.port, '127.0.0.1')
  socket.write(`GET /readyz HTTP/1.1\r\nhost: a\r\n\r\nGET ${PATH} HTTP/1.1\r\nhost: a\r\n\r\n`)
  await asked
  while (metrics.value('uproar_streams') === 0) await new Promise((resolve) => { setImmediate(resolve) })
  socket.destroy()
  while (metrics.value('uproar_streams') > 0) await new Promise((resolve) => { setImmediate(resolve) })
  t.equal(rooms.active('lobby')?.viewers, 0)
})

t.test('the server says goodbye', async (t) => {
  const { api, events, send, token, rooms, metrics } = await startBench(t)
  const ada = await token('ada')
  await send('lobby', ada, 'hello')
  const streams = await Promise.all(Array.from({ length: 10 }, () => events(PATH)))
  await Promise.all(streams.map((stream) => stream.take(2)))
  const started = performance.now()
  await api.stop()
  t.ok(performance.now() - started < 1000, 'streams do not hold up the stop')
  const waits = new Set<number>()
  for (const stream of streams) {
    const bye = (await stream.ended()).at(-1)
    t.match(bye, { event: 'bye', data: { code: 4413, reason: 'draining' } })
    waits.add(bye?.data.reconnectAfterMs)
  }
  t.ok([...waits].every((ms) => ms >= 0 && ms <= 3000) && waits.size > 3, 'they are told to come back one after the other')
  t.equal(metrics.value('uproar_streams'), 0)
  t.equal(rooms.active('lobby')?.viewers, 0, 'no cursor is left')
  await t.rejects(events(PATH), 'nobody listens any more')
})
