// The thin client where WebSockets do not get through: server-sent events and POST, and the way back to the socket.

import type { IncomingMessage, ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { IN } from '../../proto/ops.ts'
import { connect, UproarError, type ClientOptions, type ConnectionState, type Entry, type UproarClient } from './client.ts'
import { listen, range, ROOM, ScriptedServer, tokenUntil, until } from './scripted-server.suite.ts'
import { EventParser } from './stream-link.ts'

const QUICK = { backoffMs: 5, backoffMaxMs: 40, gapMs: 20, gapMaxMs: 300, openMs: 1000, socketRetryMs: 60_000 }

interface Asked { method: string, url: string, token: string | undefined, lastEventId: string | undefined, body: Record<string, unknown> | null }

/** Answers a request; false lets the usual answer follow. */
type HttpTwist = (asked: Asked, response: ServerResponse) => boolean

/** REST and event streams over a room that is a list of texts, answered as the real API does. */
class RestRoom {
  readonly asked: Asked[] = []
  readonly streams: ServerResponse[] = []
  readonly log: string[] = []
  readonly nonces = new Map<string, number>()
  epoch = 'e-1'
  twist: HttpTwist = () => false

  get stream (): ServerResponse {
    return this.streams.at(-1) as ServerResponse
  }

  entry (seq: number): Entry {
    return { op: 'message', seq, ts: seq, user: { id: 'u1', name: 'Ann', roles: 0 }, kind: 0, body: this.log[seq - 1] as string, ext: null }
  }

  tell (...seqs: number[]): void {
    for (const seq of seqs) this.event('message', this.entry(seq), seq)
  }

  event (name: string, data: unknown, seq?: number): void {
    this.stream.write(`${seq === undefined ? '' : `id: ${this.epoch}-${seq}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  async handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat(await request.toArray()).toString()
    const asked: Asked = {
      method: request.method as string,
      url: request.url as string,
      token: request.headers.authorization,
      lastEventId: request.headers['last-event-id'] as string | undefined,
      body: body === '' ? null : JSON.parse(body) as Record<string, unknown>
    }
    this.asked.push(asked)
    if (this.twist(asked, response)) return
    if (asked.method === 'POST') this.#publish(asked, response)
    else if (asked.url.includes('/events')) this.#follow(asked, response)
    else {
      const query = new URL(asked.url, 'http://x').searchParams
      const last = Number(query.get('before') ?? this.log.length + 1) - 1
      const first = Math.max(1, last - Number(query.get('limit')) + 1)
      answer(response, 200, { epoch: this.epoch, head: this.log.length, entries: range(first, last).map((seq) => this.entry(seq)), more: first > 1 })
    }
  }

  #publish ({ body }: Asked, response: ServerResponse): void {
    const nonce = body?.nonce as string
    const seq = this.nonces.get(nonce) ?? this.log.push(body?.body as string)
    if (!this.nonces.has(nonce)) this.tell(seq)
    this.nonces.set(nonce, seq)
    answer(response, 201, { seq, ts: seq, epoch: this.epoch })
  }

  #follow ({ url, lastEventId }: Asked, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    this.streams.push(response)
    const recovered = lastEventId?.startsWith(`${this.epoch}-`) ?? false
    const history = Number(new URL(url, 'http://x').searchParams.get('history'))
    const start = recovered ? Number(lastEventId?.split('-').at(-1)) : Math.max(0, this.log.length - history)
    response.write('retry: 2000\n\n')
    this.event('joined', { room: ROOM, epoch: this.epoch, seq: this.log.length, state: { title: 'Here' }, recovered, viewers: 3 }, start)
    this.tell(...range(start + 1, this.log.length))
  }
}

function answer (response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function refuse (response: ServerResponse, status: number, code: number, name: string, retryAfterMs: number | null = null): true {
  answer(response, status, { error: { code, name, message: `${name} it is`, retryAfterMs } })
  return true
}

async function stage (t: Test, options: Partial<ClientOptions> = {}): Promise<{ rest: RestRoom, client: UproarClient, base: string, states: ConnectionState[] }> {
  const rest = new RestRoom()
  const { base, stop } = await listen((request, response) => { void rest.handle(request, response) })
  // A socket address where nobody listens: the port was ours and is closed again.
  const closed = await new ScriptedServer().start()
  closed.stop()
  const client = connect({ url: closed.url, httpUrl: base, token: 'abc', ...options, timing: { ...QUICK, ...options.timing } })
  const states: ConnectionState[] = []
  client.on('connection', (state) => states.push(state))
  t.teardown(() => {
    client.close()
    stop()
  })
  return { rest, client, base, states }
}

function seqsOf (client: UproarClient): number[] {
  const seqs: number[] = []
  client.join(ROOM).on('message', ({ seq }) => seqs.push(seq))
  return seqs
}

t.test('falls back after two failures and does the same there', async (t) => {
  const { rest, client, states } = await stage(t)
  rest.log.push('one', 'two', 'three')
  const seqs = seqsOf(client)
  const room = client.join(ROOM)
  const told: unknown[] = []
  room.on('viewers', (count) => told.push(count))
  room.on('skipped', (skipped) => told.push(skipped))
  for (const name of ['remove', 'edit', 'state'] as const) room.on(name, (entry) => told.push(entry))
  t.match(await room.ready(), { epoch: 'e-1', seq: 3, recovered: false, reset: true, viewers: 3, state: { title: 'Here' } })
  await until(() => seqs.length === 3)
  t.match(states.map(({ state }) => state), ['connecting', 'waiting', 'connecting', 'waiting', 'connecting', 'fallback'])
  t.match(rest.asked[0], { method: 'GET', url: `/v1/rooms/${ROOM}/events?history=50&view=full`, token: 'Bearer abc', lastEventId: undefined })

  t.same(await room.send('four', { kind: 1, ext: { re: 2 } }), { seq: 4, ts: 4 })
  t.match(rest.asked.at(-1)?.body, { kind: 1, body: 'four', ext: { re: 2 }, nonce: /^[0-9a-f]{32}$/ })
  await room.send(new Uint8Array([0, 255, 128]), { kind: 5 })
  t.equal(rest.asked.at(-1)?.body?.body, 'AP+A')
  await until(() => seqs.length === 5)
  rest.event('remove', { op: 'remove', seq: 6, ts: 1, target: { seq: 2 }, by: null }, 6)
  rest.event('edit', { op: 'edit', seq: 7, ts: 1, target: 3, body: 'drei', ext: null }, 7)
  rest.event('state', { op: 'state', seq: 8, ts: 1, changes: { locked: true } }, 8)
  rest.event('skipped', { first: 9, last: 20, count: 12, reason: 'slow' }, 20)
  rest.event('viewers', { count: 9 })
  rest.event('of tomorrow', { op: 'what' })
  rest.stream.write(': \n\n')
  await until(() => told.length === 5)
  t.match(told, [{ target: { seq: 2 } }, { target: 3, body: 'drei' }, { changes: { locked: true } }, { first: 9, last: 20, count: 12, reason: 'slow' }, 9])
  t.same(room.state, { title: 'Here', locked: true })
  t.same(room.position, ['e-1', 20])
  t.same((await room.history({ before: 4, limit: 2 })).entries.map(({ seq }) => seq), [2, 3])
  room.signal('typing')
  rest.twist = ({ url }, response) => {
    if (!url.endsWith('/actions')) return false
    answer(response, 200, { seq: 21, ts: 5, epoch: 'e-1' })
    return true
  }
  t.same(await room.moderate('remove', { seq: 2 }), [21, 5])
  t.match(rest.asked.at(-1), { method: 'POST', url: `/v1/rooms/${ROOM}/actions`, body: { action: 'remove', args: { seq: 2 } } })
  await room.leave()
  await until(() => rest.stream.closed)
})

t.test('opaque bodies come as bytes', async (t) => {
  const { rest, client } = await stage(t)
  const bodies: unknown[] = []
  client.join(ROOM).on('message', ({ body }) => bodies.push(body))
  await client.join(ROOM).ready()
  rest.event('message', { op: 'message', seq: 1, ts: 1, user: { id: 'u', name: 'U', roles: 0 }, kind: 5, body: 'AP+A', ext: null }, 1)
  await until(() => bodies.length === 1)
  t.same(bodies[0], new Uint8Array([0, 255, 128]))
})

t.test('resumes by Last-Event-ID, whatever ends the stream; gaps are filled by REST', async (t) => {
  const { rest, client } = await stage(t, { timing: { pingMs: 60, pongMs: 60 } })
  rest.log.push('1', '2')
  const seqs = seqsOf(client)
  await until(() => seqs.length === 2)
  rest.stream.destroy()
  rest.log.push('3')
  await until(() => seqs.length === 3)
  t.equal(rest.asked.at(-1)?.lastEventId, 'e-1-2', 'cut')
  rest.event('bye', { code: 4413, reason: 'draining', reconnectAfterMs: 20 })
  await until(() => rest.streams.length === 3)
  t.equal(rest.asked.at(-1)?.lastEventId, 'e-1-3', 'bye')
  await until(() => client.state.state === 'fallback')
  await until(() => rest.streams.length === 4, 'silence is noticed')
  await until(() => client.state.state === 'fallback')
  rest.stream.end()
  await until(() => rest.streams.length >= 5, 'an end without a bye')
  await until(() => client.state.state === 'fallback')
  rest.log.push('4', '5', '6')
  rest.tell(6)
  await until(() => seqs.length === 6)
  rest.stream.write('data: {"not json\n\n')
  const streams = rest.streams.length
  await until(() => rest.streams.length > streams)
  t.same(seqs, range(1, 6))
  rest.epoch = 'e-2'
  rest.log.splice(0)
  rest.log.push('new')
  rest.event('joined', { room: ROOM, epoch: 'e-2', seq: 1, state: {}, recovered: false, viewers: 1 }, 0)
  rest.tell(1)
  await until(() => seqs.length === 7)
  t.same(client.join(ROOM).position, ['e-2', 1], 'the room began anew on the same stream')
})

t.test('sends until it is answered, with one nonce; refusals reject', async (t) => {
  const { rest, client } = await stage(t, { sendMs: 2000 })
  const seqs = seqsOf(client)
  const room = client.join(ROOM)
  await room.ready()
  const twists: HttpTwist[] = [
    (_asked, response) => { response.destroy(); return true },
    (_asked, response) => { response.writeHead(502).end('<html>'); return true },
    (_asked, response) => refuse(response, 503, 41, 'overloaded', 5)
  ]
  let tries = 0
  rest.twist = (asked, response) => asked.method === 'POST' && ++tries > 0 && (twists.shift()?.(asked, response) ?? false)
  t.match(await room.send('x'), { seq: 1 })
  t.equal(tries, 4)
  t.equal(new Set(rest.asked.filter(({ method }) => method === 'POST').map(({ body }) => body?.nonce)).size, 1)
  for (const [status, code, name, wait] of [[429, 22, 'slow_mode', 3000], [422, 26, 'blocked', null], [202, 27, 'held', null]] as const) {
    rest.twist = (_asked, response) => refuse(response, status, code, name, wait)
    const error = await room.send('y').catch((error: unknown) => error)
    t.ok(error instanceof UproarError)
    t.match(error, { code, name, message: `${name} it is`, retryAfterMs: wait })
  }
  rest.twist = (_asked, response) => { response.writeHead(404).end('what?'); return true }
  await t.rejects(room.history(), { name: 'unavailable' }, 'not our server')
  await until(() => seqs.length === 1)
})

t.test('a refused stream: the room, the token or the server', async (t) => {
  const { rest, client } = await stage(t)
  let isBusy = true
  rest.twist = ({ url }, response) => {
    if (url.includes('secret')) return refuse(response, 403, 11, 'forbidden')
    if (isBusy) return refuse(response, 503, 40, 'unavailable', 10)
    return false
  }
  const room = client.join(ROOM)
  await until(() => rest.asked.length > 1)
  isBusy = false
  await room.ready()
  await t.rejects(client.join('secret').ready(), { name: 'forbidden' })
  t.equal(client.rooms.size, 1)
  rest.twist = (_asked, response) => refuse(response, 401, 10, 'unauthorized')
  rest.stream.destroy()
  await until(() => client.state.state === 'closed')
  t.match(client.state, { code: 4501 }, 'a fixed token that is refused at the start is final')
})

t.test('anonymous viewers are refused by the room alone', async (t) => {
  const { rest, client } = await stage(t, { token: null })
  rest.twist = (_asked, response) => refuse(response, 401, 10, 'unauthorized')
  await t.rejects(client.join(ROOM).ready(), { name: 'unauthorized' })
  t.equal(rest.asked[0]?.token, undefined)
  t.equal(client.state.state, 'fallback')
})

t.test('the token is refreshed before it expires, and when a POST is refused for it', async (t) => {
  let asked = 0
  const { rest, client } = await stage(t, { token: () => tokenUntil(Date.now() + (++asked < 4 ? 1100 : 3_600_000)) + asked })
  const room = client.join(ROOM)
  await room.ready()
  t.match(rest.asked[0]?.token, /c2ln3$/, 'one for each attempt')
  await until(() => asked === 4)
  rest.twist = ({ method, token }, response) => method === 'POST' && !(token as string).endsWith('c2ln5') && refuse(response, 401, 10, 'unauthorized')
  t.match(await room.send('x'), { seq: 1 })
  t.equal(asked, 5)
})

t.test('goes back to the WebSocket once it gets through, and resumes there', async (t) => {
  const socket = await new ScriptedServer().start()
  t.teardown(() => socket.stop())
  socket.epoch = 'e-1'
  let isBlocked = true
  let tries = 0
  const Blocked = class extends WebSocket {
    constructor (url: string, protocols?: string | string[]) {
      tries++
      if (isBlocked) throw new Error('not allowed here')
      super(url, protocols)
    }
  }
  const { rest, client, states } = await stage(t, { url: socket.url, WebSocket: Blocked, timing: { socketRetryMs: 30 } })
  const seqs = seqsOf(client)
  rest.log.push('1', '2')
  await until(() => seqs.length === 2)
  socket.twists[IN.HELLO] = (peer) => {
    if (socket.peers.length > 1) return false
    peer.cut()
    return true
  }
  await until(() => tries > 4)
  socket.append('1', '2', '3')
  isBlocked = false
  await until(() => seqs.length === 3)
  t.equal(client.state.state, 'open')
  t.same(seqs, [1, 2, 3])
  t.same(socket.peer.of(IN.JOIN)[0]?.[3], { history: 50, view: 'full', encoding: 'deflate', position: ['e-1', 2] })
  t.same(states.slice(-2).map(({ state }) => state), ['fallback', 'open'], 'without a moment of being away')
  await until(() => rest.stream.closed)
  socket.peer.cut()
  await until(() => client.state.state === 'open' && socket.peers.length === 3, 'once open, the socket it stays')
})

t.test('without a WebSocket at all the fallback is there at once; with nothing at all both are tried in turn', async (t) => {
  const { rest, client, states } = await stage(t, { WebSocket: null })
  await client.join(ROOM).ready()
  t.same(states.map(({ state }) => state), ['connecting', 'fallback'])
  t.equal(rest.streams.length, 1)

  const { client: lost, states: tried } = await stage(t, { httpUrl: 'http://127.0.0.1:1' })
  lost.join(ROOM)
  await until(() => tried.filter(({ state }) => state === 'waiting').length >= 6)
  t.notOk(tried.some(({ state }) => state === 'fallback' || state === 'open'))
})

t.test('where REST is follows from the socket\'s address', async (t) => {
  const urls: string[] = []
  t.intercept(globalThis, 'fetch', { value: async (url: string) => { urls.push(url); throw new TypeError('no network') }, configurable: true })
  for (const url of ['ws://127.0.0.1:9001/ws', 'wss://chat.example/ws', 'wss://example.org:9001/chat/ws/', 'wss://example.org/other']) {
    const client = connect({ url, WebSocket: null })
    client.join('r')
    const before = urls.length
    await until(() => urls.length > before)
    client.close()
  }
  t.same([...new Set(urls.map((url) => url.replace(/\/v1\/.*/, '')))], ['http://127.0.0.1:8080', 'https://chat.example', 'https://example.org:8080/chat', 'https://example.org/other'])
})

t.test('a wrong address is named, with the option that mends it', async (t) => {
  // As the sockets' own port answers plain HTTP.
  const { base, stop } = await listen((_request, response) => { refuse(response, 404, 12, 'not_found') })
  t.teardown(stop)
  const guessing = connect({ url: `${base.replace('http', 'ws')}/ws`, WebSocket: null, timing: QUICK })
  t.teardown(() => guessing.close())
  const named = { name: 'not_found', message: new RegExp(`not_found it is \\(asked ${base}.*; is httpUrl right\\?\\)`) }
  await t.rejects(guessing.join(ROOM).ready(), named)
  await t.rejects(guessing.send(ROOM, 'x'), named)
  const { client: told } = await stage(t, { WebSocket: null, httpUrl: base })
  await t.rejects(told.join(ROOM).ready(), { name: 'not_found', message: /^not_found it is$/ }, 'a given address is not doubted')
  for (const isJoined of [true, false]) {
    const { client: lost, states } = await stage(t, { WebSocket: null, httpUrl: 'http://127.0.0.1:1', sendMs: 60 })
    if (isJoined) lost.join(ROOM)
    await t.rejects(lost.send(ROOM, 'x'), { name: 'unavailable', message: /no answer in time: .*fetch failed.*asked http:\/\/127\.0\.0\.1:1\/.*httpUrl/ })
    if (isJoined) t.match(states.find(({ state }) => state === 'waiting'), { reason: /asked http:\/\/127\.0\.0\.1:1\// })
  }
})

t.test('event streams are read in pieces of any size', (t) => {
  const text = ': hello\r\nid: e-1\revent: message\r\ndata: {"a":\ndata:1}\n\ndata\n\nid: e-2\ndata: zwei\u2028\n\nevent: lost\n\n'
  for (let size = 1; size <= text.length; size++) {
    const parser = new EventParser()
    const events = []
    for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)))
    t.same(events, [{ name: 'message', id: 'e-1', data: '{"a":\n1}' }, { name: '', id: 'e-1', data: '' }, { name: '', id: 'e-2', data: 'zwei\u2028' }])
  }
  t.throws(() => new EventParser().push('data: ' + 'x'.repeat(2_000_000)), /too long/)
  t.end()
})
