// The socket side with a socket and a clock in hand, on real rooms, log and tokens: who may say what, when, and how much.

import t from 'tap'
import { encode, type Frame } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import type { Identity } from '../auth/auth.ts'
import { SWEEP_BYTES } from '../rooms/rooms.ts'
import type { Gateway } from './gateway.ts'
import { setUp } from './gateway.suite.ts'

t.test('HELLO first; frames of one message wait for it in order', async (t) => {
  const { connect, token, until } = await setUp(t)
  const { socket, say } = connect()
  say([IN.JOIN, 5, 'a', null])
  t.match(socket.take(), [[OUT.ERR, 5, 1, 'bad_request', /HELLO/]])
  say([IN.HELLO, await token('ann'), 'x'], [IN.JOIN, 1, 'a', null], [IN.SEND, 2, 'a', 'n1', 0, 'hi', null], [IN.PING, 'p', null])
  await until(() => socket.frames.some((frame) => frame[0] === OUT.OK))
  const ops = socket.frames.map((frame) => frame[0])
  t.same(ops.filter((op) => op === OUT.WELCOME || op === OUT.JOINED || op === OUT.PONG || op === OUT.OK), [OUT.WELCOME, OUT.JOINED, OUT.PONG, OUT.OK])
  t.match(socket.frames[0], [OUT.WELCOME, /^s/, ['ann', 'ann', 0], Number, { textCharacters: 500 }])
  t.match(socket.frames.find((frame) => frame[0] === OUT.OK), [OUT.OK, 2, [1, Number]])
  socket.take()
  say([IN.HELLO, null, null])
  t.match(socket.take(), [[OUT.ERR, null, 1, 'bad_request', /already/]])
})

t.test('anonymous viewers read and do not write', async (t) => {
  const { enter } = await setUp(t)
  const { socket, say } = await enter(null)
  say([IN.SEND, 1, 'a', 'n', 0, 'hi', null])
  t.match(socket.take(), [[OUT.ERR, 1, 10, 'unauthorized']])
})

t.test('a token that is not valid closes for good', async (t) => {
  const { connect, until } = await setUp(t)
  const { socket, say } = connect()
  say([IN.HELLO, 'junk', null])
  await until(() => socket.ended !== null)
  t.match(socket.frames, [[OUT.ERR, null, 10, 'unauthorized'], [OUT.BYE, 4501]])
  t.match(socket.ended, { code: 4501 })
})

t.test('an expired token may come back with a fresh one', async (t) => {
  const { connect, until, token, clock } = await setUp(t)
  const stale = await token('ann', 60)
  clock.advance(120_000)
  const { socket, say } = connect()
  say([IN.HELLO, stale, null])
  await until(() => socket.ended !== null)
  t.match(socket.frames, [[OUT.ERR, null, 10, 'unauthorized', /expired/], [OUT.BYE, 4401]])
})

t.test('what is not of the protocol closes with 4500 and is counted', async (t) => {
  const { connect, gateway, metrics } = await setUp(t)
  const bad: [Uint8Array, boolean][] = [
    [Buffer.from('hello'), false], [Buffer.from([0xc1]), true], [new Uint8Array(0), true], [encode([IN.PING, 'x'.repeat(5000)]), true],
    [Buffer.concat(Array(33).fill(encode([IN.PING, null]))), true]
  ]
  for (const [bytes, isBinary] of bad) {
    const { socket, session } = connect()
    gateway.message(session, bytes, isBinary)
    t.match([socket.frames.at(-1), socket.ended], [[OUT.BYE, 4500], { code: 4500 }])
    gateway.message(session, encode([IN.PING, null]), true)
    t.equal(socket.frames.length, 1, 'nothing is answered after it')
  }
  t.equal(metrics.value('uproar_bad_frames_total'), bad.length)
})

t.test('unknown ops, wrong fields and what is not served are refused, and the connection goes on', async (t) => {
  const { enter, metrics } = await setUp(t)
  const { socket, say } = await enter('ann')
  say([99, 1, 2], [IN.SEND, 7, 'a'], [IN.SIGNAL, 'a', 'typing', true], [IN.LEAVE, 9, 'b'], [IN.SEND, 10, 'b', 'n', 0, 'hi', null], [IN.PING, 1, null])
  t.match(socket.take(), [
    [OUT.ERR, 1, 2, 'unsupported'], [OUT.ERR, 7, 1, 'bad_request'], [OUT.ERR, 9, 13, 'not_joined'],
    [OUT.ERR, 10, 13, 'not_joined'], [OUT.PONG, 1]
  ])
  t.equal(metrics.value('uproar_frames_in_total', 'unknown'), 1)
})

t.test('MODERATE: answered with the place of its last entry or a refusal, SEND with HELD where it waits', async (t) => {
  const { enter, until, rooms, clock, token } = await setUp(t)
  const [ann, host] = [await enter('ann'), await enter('host')]
  const answer = async (peer: typeof ann, frame: Frame): Promise<Frame> => {
    peer.socket.take()
    peer.say(frame)
    const isAnswer = (one: Frame): boolean => ([OUT.OK, OUT.ERR, OUT.HELD] as number[]).includes(one[0]) && one[1] === frame[1]
    await until(() => peer.socket.frames.some(isAnswer))
    return peer.socket.frames.find(isAnswer) as Frame
  }
  t.match(await answer(ann, [IN.MODERATE, 8, 'a', 'ban', { user: 'host' }]), [OUT.ERR, 8, 11, 'forbidden', /moderator/])
  t.match(await answer(ann, [IN.MODERATE, 9, 'a', 'explode', {}]), [OUT.ERR, 9, 2, 'unsupported', /explode/])
  t.match(await answer(ann, [IN.MODERATE, 10, 'nowhere', 'ban', { user: 'host' }]), [OUT.ERR, 10, 12, 'not_found'])
  t.match(await answer(await enter(null), [IN.MODERATE, 11, 'a', 'ban', { user: 'host' }]), [OUT.ERR, 11, 10, 'unauthorized'])
  host.say([IN.AUTH, 2, await token('host', 900, ['broadcaster'])])
  await until(() => host.socket.frames.some((frame) => frame[0] === OUT.OK && frame[1] === 2))
  t.match(await answer(host, [IN.MODERATE, 12, 'a', 'set', { settings: { preModeration: true } }]), [OUT.OK, 12, [1, clock.now()]])
  const held = await answer(ann, [IN.SEND, 13, 'a', 'n1', 0, 'may I?', null])
  t.match(held, [OUT.HELD, 13, /^h-/, 'may I?'])
  t.match(await answer(host, [IN.MODERATE, 14, 'a', 'approve', { ref: held[2] }]), [OUT.OK, 14, [4, Number]])
  t.match(await answer(host, [IN.MODERATE, 15, 'a', 'timeout', { user: 'ann', seconds: 60, reason: 'spam' }]), [OUT.OK, 15, [5, Number]])
  t.match(ann.socket.frames.filter((frame) => frame[0] === OUT.SANCTION), [[OUT.SANCTION, 'timeout', clock.now() + 60_000, 'spam']], 'the user concerned is told')
  t.same(host.socket.frames.filter((frame) => frame[0] === OUT.SANCTION), [])
  t.match(await answer(ann, [IN.SEND, 16, 'a', 'n2', 0, 'but', null]), [OUT.ERR, 16, 21, 'timed_out', /spam/, 60_000])
  t.equal((rooms.active('a'))?.guard.size, 1)
})

t.test('JOIN: options are checked, rooms are bounded, a second JOIN starts anew', async (t) => {
  const { enter, until } = await setUp(t, { ROOMS_PER_CONNECTION_MAX: '2' })
  const { socket, say, session } = await enter('ann')
  for (const options of [{ position: 5 }, { position: ['e', -1] }, { history: 201 }, { history: 'x' }, { view: 'half' }, { encoding: 7 }]) say([IN.JOIN, 3, 'a', options])
  await until(() => socket.frames.length === 6)
  for (const frame of socket.take()) t.match(frame, [OUT.ERR, 3, 1, 'bad_request', /options/])
  say([IN.JOIN, 4, 'bad name', null], [IN.JOIN, 5, 'b', { view: 'live' }], [IN.JOIN, 6, 'c', { encoding: 'of tomorrow' }], [IN.JOIN, 7, 'a', { history: 0 }])
  const answers = (): Frame[] => socket.frames.filter((frame) => frame[0] === OUT.ERR || frame[0] === OUT.JOINED)
  await until(() => answers().length === 4)
  t.match(answers().map((frame) => [frame[0], frame[1]]), [[OUT.ERR, 4], [OUT.JOINED, 5], [OUT.ERR, 6], [OUT.JOINED, 7]])
  socket.take()
  t.same(session.rooms, ['b', 'a'])
  t.equal(socket.topics.size, 2)
  say([IN.LEAVE, 8, 'a'])
  t.match(socket.take(), [[OUT.OK, 8, null]])
  t.equal(socket.topics.size, 1)
})

t.test('HISTORY gives a page of the entries as they are', async (t) => {
  const { enter, until } = await setUp(t, { MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0' })
  const { socket, say } = await enter('ann')
  for (let at = 0; at < 30; at++) say([IN.SEND, at, 'a', `n${at}`, 0, `text ${at}`, null])
  await until(() => socket.frames.filter((frame) => frame[0] === OUT.OK).length === 30)
  socket.take()
  say([IN.HISTORY, 50, 'a', 21, 10], [IN.HISTORY, 51, 'a', null, 1000], [IN.HISTORY, 52, 'bad room', null, 5], [IN.HISTORY, 53, 'nowhere', null, 5])
  await until(() => socket.frames.length === 4)
  const [page, all, refused, missing] = socket.frames.sort((a, b) => (a[1] as number) - (b[1] as number)) as [Frame, Frame, Frame, Frame]
  t.match([page[0], page[1], page[2], page[4]], [OUT.PAGE, 50, 'a', true])
  t.same((page[3] as Frame[]).map((entry) => entry[1]), [11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
  t.match((page[3] as Frame[])[0], [OUT.MESSAGE, 11, Number, ['ann', 'ann', 0], 0, /^text/, null])
  t.match([(all[3] as Frame[]).length, all[4]], [30, false])
  t.match(refused, [OUT.ERR, 52, 1, 'bad_request'])
  t.match(missing, [OUT.ERR, 53, 12, 'not_found'], 'reading makes no room')
})

t.test('REPLAY gives a past stream from a moment on, run after run', async (t) => {
  const { enter, until, clock } = await setUp(t, { MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0' })
  const { socket, say } = await enter('ann')
  const start = clock.now()
  for (let at = 0; at < 20; at++) {
    say([IN.SEND, at, 'a', `n${at}`, 0, `text ${at}`, null])
    await until(() => socket.frames.filter((frame) => frame[0] === OUT.OK).length === at + 1)
    clock.advance(1000)
  }
  const sent = socket.take().filter((frame) => frame[0] === OUT.OK).map((frame) => (frame[2] as [number, number]))
  const [fifth] = sent[4] as [number, number]
  say([IN.REPLAY, 50, 'a', (sent[4] as [number, number])[1], null, 10], [IN.REPLAY, 51, 'a', start, 14, 200], [IN.REPLAY, 52, 'a', start + 1e9, null, 5], [IN.REPLAY, 53, 'nowhere', start, null, 5])
  await until(() => socket.frames.length === 4)
  const [run, rest, beyond, missing] = socket.take().sort((a, b) => (a[1] as number) - (b[1] as number)) as [Frame, Frame, Frame, Frame]
  const seqs = (page: Frame): unknown[] => (page[3] as Frame[]).map((entry) => entry[1])
  t.match([run[0], run[1], run[2], run[4]], [OUT.PAGE, 50, 'a', true])
  t.same(seqs(run), Array.from({ length: 10 }, (_, at) => fifth + at), 'from the first entry of that moment on')
  t.same([seqs(rest), rest[4]], [[15, 16, 17, 18, 19, 20], false], 'and behind an entry')
  t.same([seqs(beyond), beyond[4]], [[], false])
  t.match(missing, [OUT.ERR, 53, 12, 'not_found'])
  const limited = await (await setUp(t, { FRAMES_PER_SECOND_MAX: '5' })).enter('ann')
  limited.say([IN.REPLAY, 1, 'a', 0, null, 1], [IN.REPLAY, 2, 'a', 0, null, 1], [IN.REPLAY, 3, 'a', 0, 0, 1])
  t.match(limited.socket.take().filter((frame) => frame[0] === OUT.ERR), [[OUT.ERR, 2, 23, 'rate_limited']], 'finding the place counts as ten frames')
})

t.test('frames beyond the rate are refused with a wait; far beyond, the connection ends', async (t) => {
  const { enter, clock } = await setUp(t, { FRAMES_PER_SECOND_MAX: '5' })
  const { socket, say } = await enter('ann')
  for (let at = 0; at < 18; at++) say([IN.PING, at, null])
  t.same(socket.take().map((frame) => frame[0]), Array(18).fill(OUT.PONG))
  say([IN.LEAVE, 77, 'a'])
  t.match(socket.take(), [[OUT.ERR, 77, 23, 'rate_limited', String, 200]])
  clock.advance(200)
  say([IN.PING, 1, null])
  t.match(socket.take(), [[OUT.PONG, 1]])
  for (let at = 0; at < 600; at++) say([IN.PING, at, null])
  t.match(socket.ended, { code: 4429 })
})

t.test('a resume counts as ten frames, since it may have the server send ten thousand entries', async (t) => {
  const { enter, until } = await setUp(t, { FRAMES_PER_SECOND_MAX: '5' })
  const { socket, say } = await enter('ann')
  say([IN.JOIN, 2, 'a', { position: ['e', 1] }], [IN.JOIN, 3, 'a', { position: ['e', 1] }], [IN.PING, 'p', null])
  await until(() => socket.frames.some((frame) => frame[0] === OUT.PONG))
  t.match(socket.take().filter((frame) => frame[0] === OUT.JOINED || frame[0] === OUT.ERR), [[OUT.JOINED, 2], [OUT.ERR, 3, 23, 'rate_limited', String, Number]])
})

t.test('frames that find no place to wait count too', async (t) => {
  const { connect, token } = await setUp(t)
  const { socket, say } = connect()
  const bearer = await token('ann')
  say([IN.HELLO, bearer, null])
  for (let at = 0; at < 700; at++) say([IN.PING, at, null])
  t.match(socket.ended, { code: 4429 })
})

t.test('WebSocket pings count as frames, and who does not read their answers is cut', async (t) => {
  const { enter, gateway } = await setUp(t, { FRAMES_PER_SECOND_MAX: '5', SLOW_KB: '16' })
  const [many, deaf] = [await enter('ann'), await enter('bob')]
  for (let at = 0; at < 18; at++) gateway.ping(many.session)
  t.same(many.socket.take(), [])
  gateway.ping(many.session)
  t.match(many.socket.take(), [[OUT.ERR, null, 23, 'rate_limited']])
  for (let at = 0; at < 600; at++) gateway.ping(many.session)
  t.match(many.socket.ended, { code: 4429 })
  deaf.socket.held = 16_385 + 3 * SWEEP_BYTES
  gateway.ping(deaf.session)
  t.equal(deaf.socket.isCut, true)
})

t.test('a client that asks without reading is cut', async (t) => {
  const { enter } = await setUp(t, { SLOW_KB: '16' })
  const { socket, say } = await enter('ann')
  socket.held = 16_385
  say([IN.PING, 0, null])
  t.match([socket.take(), socket.isCut], [[[OUT.PONG, 0]], false], 'what its room may have left unread is no reason')
  socket.held = 16_385 + 3 * SWEEP_BYTES
  say([IN.PING, 1, null])
  t.equal(socket.isCut, true)
  t.equal(socket.topics.size, 0, 'and no longer published to')
})

t.test('JOIN without reading: cut, and no member is left behind', async (t) => {
  const { enter, until, rooms } = await setUp(t, { SLOW_KB: '16' })
  const [asking, full] = [await enter('ann'), await enter('bob', 'b')]
  asking.socket.held = 16_385 + 3 * SWEEP_BYTES
  asking.say([IN.JOIN, 2, 'c', null])
  full.socket.isFull = true
  full.say([IN.JOIN, 2, 'c', null])
  await until(() => asking.session.isClosed && full.session.isClosed)
  t.same([asking.socket.isCut, full.socket.ended?.code], [true, 4408])
  await until(() => rooms.active('c') !== null)
  t.same(['a', 'b', 'c'].map((room) => rooms.active(room)?.viewers), [0, 0, 0])
  t.equal(full.socket.topics.size, 0)
})

t.test('HELLO has a deadline', async (t) => {
  const { connect, gateway, clock } = await setUp(t, { HELLO_TIMEOUT_MS: '1000', WS_PORT: '0' })
  await gateway.start()
  t.teardown(() => gateway.stop())
  const { socket } = connect()
  clock.advance(750)
  t.equal(socket.ended, null)
  clock.advance(500)
  t.match([socket.frames, socket.ended], [[[OUT.BYE, 4402]], { code: 4402 }])
})

t.test('one user\'s connections: the oldest gives way', async (t) => {
  const { enter } = await setUp(t, { CONNECTIONS_PER_USER_MAX: '2' })
  const [first, second] = [await enter('ann'), await enter('ann')]
  await enter('bob')
  const third = await enter('ann')
  t.match(first.socket.ended, { code: 4508 })
  t.same([second.socket.ended, third.socket.ended], [null, null])
})

t.test('an operator closes connections for good: of a user, of an address, or one', async (t) => {
  const { enter, gateway } = await setUp(t)
  const [first, second, ben, cleo] = [await enter('ann'), await enter('ann'), await enter('ben'), await enter('cleo')]
  t.equal(gateway.kick({ user: 'ann' }, 'enough'), 2)
  t.match([first.socket.ended, second.socket.ended], [{ code: 4505 }, { code: 4505 }])
  t.match(first.socket.frames.at(-1), [OUT.BYE, 4505, 'enough'])
  t.same([ben.socket.ended, cleo.socket.ended], [null, null])
  const [{ session, address } = { session: '', address: '' }] = gateway.connections({ limit: 1, user: 'ben' })
  t.equal(gateway.kick({ session }, 'enough'), 1)
  t.match([ben.socket.ended, cleo.socket.ended], [{ code: 4505 }, null])
  t.equal(gateway.kick({ user: 'nobody' }, 'enough') + gateway.kick({ session: 'none' }, 'enough') + gateway.kick({ address: '192.0.2.1' }, 'enough'), 0)
  t.ok(gateway.kick({ address }, 'enough') >= 1)
  t.match(cleo.socket.ended, { code: 4505 })
})

t.test('an expired token ends writing, then the connection; AUTH renews it, for the same user only', async (t) => {
  const { connect, gateway, clock, token, until } = await setUp(t, { WS_PORT: '0' })
  await gateway.start()
  t.teardown(() => gateway.stop())
  const { socket, say } = connect()
  const other = connect()
  other.say([IN.HELLO, await token('cat', 300), null])
  say([IN.HELLO, await token('ann', 60), null], [IN.JOIN, 1, 'a', null])
  await until(() => socket.frames.some((frame) => frame[0] === OUT.JOINED) && other.socket.frames.length > 0)
  socket.take()
  clock.advance(61_000)
  say([IN.SEND, 2, 'a', 'n', 0, 'late', null])
  await until(() => socket.frames.some((frame) => frame[0] === OUT.ERR))
  t.match(socket.take().find((frame) => frame[0] === OUT.ERR), [OUT.ERR, 2, 10, 'unauthorized', /expired/])
  say([IN.AUTH, 3, await token('bob')], [IN.AUTH, 4, 'junk'], [IN.AUTH, 5, await token('ann', 60)], [IN.SEND, 6, 'a', 'n', 0, 'again', null])
  await until(() => socket.frames.filter((frame) => frame[0] === OUT.OK).length === 2)
  t.match(socket.take().filter((frame) => frame[0] === OUT.ERR || frame[0] === OUT.OK), [[OUT.ERR, 3, 11], [OUT.ERR, 4, 10], [OUT.OK, 5, Number], [OUT.OK, 6]])
  clock.advance(61_000)
  t.equal(socket.ended, null)
  clock.advance(31_000)
  t.match(socket.ended, { code: 4401 })
  t.equal(other.socket.ended, null)
  clock.advance(177_000)
  t.match(other.socket.ended, { code: 4401 }, 'each at its own time')
})

t.test('an anonymous viewer may become a user', async (t) => {
  const { enter, token, until, gateway } = await setUp(t)
  const { socket, say } = await enter(null)
  say([IN.AUTH, 1, await token('ann')], [IN.SEND, 2, 'a', 'n', 0, 'hi', null])
  await until(() => socket.frames.some((frame) => frame[0] === OUT.OK && frame[1] === 2))
  t.match(gateway.connections({ limit: 10, user: 'ann' }), [{ user: 'ann', rooms: ['a'], address: '10.0.0.1' }])
  t.same(gateway.connections({ limit: 10, room: 'b' }), [])
})

t.test('a PONG that nothing is measured by waits for another write, at most a second; no OK waits with it', async (t) => {
  const { enter, until, gateway, clock } = await setUp(t, { WS_PORT: '0' })
  await gateway.start()
  t.teardown(() => gateway.stop())
  const [ann, bob] = [await enter('ann'), await enter('bob')]
  const ping: Frame = [IN.PING, null, { a: 0 }]
  ann.say(ping, ping)
  t.same(ann.socket.take(), [])
  ann.say([IN.PING, 'now', null])
  t.match(ann.socket.take(), [[OUT.PONG, null], [OUT.PONG, null], [OUT.PONG, 'now']], 'one with a value goes at once, and none overtakes another')
  ann.say(ping, ping)
  bob.say([IN.SEND, 1, 'a', 'n1', 0, 'hi', null])
  await until(() => ann.socket.frames.length > 0)
  t.match(ann.socket.take(), [[OUT.PONG, null], [OUT.PONG, null]], 'with the message')
  clock.advance(1000)
  t.same(ann.socket.take(), [], 'and once')

  ann.say(ping)
  clock.advance(1000)
  t.match(ann.socket.take(), [[OUT.PONG, null]], 'where nothing is written')
  ann.say(ping, [IN.SEND, 2, 'a', 'n2', 0, 'hi', null])
  await until(() => ann.socket.frames.length > 0)
  t.match(ann.socket.take(), [[OUT.PONG, null], [OUT.OK, 2]])
  ann.say(ping, [IN.LEAVE, 3, 'a'])
  t.match(ann.socket.take(), [[OUT.PONG, null], [OUT.OK, 3, null]], 'who leaves has it before')
  ann.say(ping)
  t.match(ann.socket.take(), [[OUT.PONG, null]], 'in no room nothing is to come')
  for (let count = 0; count < 70; count++) bob.say(ping)
  t.equal(bob.socket.take().filter(([op]) => op === OUT.PONG).length, 64, 'so many wait at most')
})

t.test('handshakes: origins, subprotocols, addresses, the whole server', async (t) => {
  const { gateway, connect } = await setUp(t, { ORIGINS: 'https://ok.example', CONNECTIONS_PER_ADDRESS_MAX: '2', CONNECTIONS_MAX: '3', TRUSTED_PROXIES: '10.9.0.0/16' })
  const shake = (over: Partial<Parameters<Gateway['admit']>[0]>) => gateway.admit({ origin: 'https://ok.example', protocols: '', forwardedFor: '', peer: '10.0.0.1', ...over })
  t.match(shake({}), { admitted: true, protocol: '', address: '10.0.0.1' })
  t.match(shake({ origin: 'https://evil.example' }), { admitted: false, status: /^403/ })
  t.match(shake({ origin: 'null' }), { admitted: false, status: /^403/ })
  t.match(shake({ origin: '' }), { admitted: true }, 'no browser')
  t.match(shake({ protocols: 'x, uproar.v1' }), { admitted: true, protocol: 'uproar.v1' })
  t.match(shake({ protocols: 'x, y' }), { admitted: false, status: /^400/ })
  t.match(shake({ peer: '10.9.1.1', forwardedFor: '6.6.6.6, 1.2.3.4' }), { admitted: true, address: '1.2.3.4' })
  t.match(shake({ forwardedFor: '1.2.3.4' }), { admitted: true, address: '10.0.0.1' }, 'nobody else is believed')
  connect('10.0.0.1')
  const { session } = connect('10.0.0.1')
  const refused = shake({})
  t.match(refused, { admitted: false, status: /^429/, retryAfterS: 10 })
  t.match(JSON.parse((refused as { body: string }).body), { error: { name: 'rate_limited', code: 23, retryAfterMs: 10_000 } })
  gateway.close(session)
  t.match(shake({}), { admitted: true })
  const [near, far] = [connect('2001:db8::1'), connect('2001:db8:0:0:1::')]
  t.match(shake({ peer: '2001:0db8:0000:0000:ffff:0000:0000:0009' }), { admitted: false, status: /^(429|503)/ })
  gateway.close(far.session)
  t.match(shake({ peer: '2001:0db8:0000:0000:ffff:0000:0000:0009' }), { admitted: true, address: '2001:db8::ffff:0:0:9' })
  gateway.close(near.session)
  connect('10.0.0.2')
  connect('10.0.0.3')
  t.match(shake({ peer: '10.0.0.4' }), { admitted: false, status: /^503/ })
  t.same([1, 2, 3].map(() => gateway.connect('10.0.0.9')), [true, true, false], 'silent ones of an address are bounded too')
  gateway.speak('10.0.0.9')
  t.ok(gateway.connect('10.0.0.9'), 'who has spoken is silent no more')
  t.ok(Array.from({ length: 10 }, () => gateway.connect('10.9.1.1')).every(Boolean), 'but a proxy\'s, behind whom everybody is')
})

t.test('with others: connections are counted on all instances', async (t) => {
  const noted: unknown[][] = []
  let elsewhere = 0
  const cluster = { note: (...words: unknown[]) => { noted.push(words) }, elsewhere: () => elsewhere, noteUser: (...words: unknown[]) => { noted.push(words) } }
  const { gateway, enter, connect } = await setUp(t, { CONNECTIONS_PER_ADDRESS_MAX: '5', CONNECTIONS_PER_USER_MAX: '2' }, { cluster })
  const admits = (): boolean => gateway.admit({ origin: '', protocols: '', forwardedFor: '', peer: '10.0.0.1' }).admitted
  const stranger = connect()
  t.same(noted.splice(0), [['addresses', '10.0.0.1', 1]])
  elsewhere = 4
  t.notOk(admits(), 'one here and four elsewhere are five')
  elsewhere = 3
  t.ok(admits())
  gateway.close(stranger.session)
  t.same(noted.splice(0), [['addresses', '10.0.0.1', 0]])

  const [first, second] = [await enter('ann'), await enter('ann')]
  const stamps = noted.filter(([user]) => user === 'ann').at(-1)?.[1] as number[]
  t.equal(stamps.length, 2)
  t.ok((stamps[0] as number) < (stamps[1] as number), 'in the order they opened')
  gateway.toUser('ann', encode([OUT.SANCTION, 'warn', null, 'spam']))
  gateway.toUser('nobody', encode([OUT.SANCTION, 'warn', null, 'spam']))
  for (const { socket } of [first, second]) t.match(socket.take(), [[OUT.SANCTION, 'warn', null, 'spam']], 'every device is told')
  gateway.crowded('ann', stamps[1] as number)
  t.match(first.socket.ended, { code: 4508 }, 'the one before the stamp gives way')
  t.equal(second.socket.ended, null)
  gateway.close(first.session)
  t.same(noted.filter(([user]) => user === 'ann').at(-1)?.[1], [stamps[1]])
  gateway.close(second.session)
  t.same(noted.filter(([user]) => user === 'ann').at(-1)?.[1], [])
})

t.test('a revoked token closes its connections within a tick', async (t) => {
  let isRevoked = (_identity: Identity): boolean => false
  const { gateway, enter, clock } = await setUp(t, { WS_PORT: '0' }, { revoked: { has: (identity) => isRevoked(identity) } })
  await gateway.start()
  t.teardown(() => gateway.stop())
  const [ann, ben, anonymous] = [await enter('ann'), await enter('ben'), await enter(null)]
  isRevoked = ({ id }) => id === 'ann'
  clock.advance(250)
  t.equal(ann.socket.ended, null, 'not looked through without a reason')
  gateway.reviewTokens()
  clock.advance(250)
  t.match(ann.socket.frames.at(-1), [OUT.BYE, 4501, /revoked/])
  t.match(ann.socket.ended, { code: 4501 })
  for (const { socket } of [ben, anonymous]) t.equal(socket.ended, null)
  for (const { session } of [ann, ben, anonymous]) gateway.close(session)
})

t.test('a drain takes its time, and few viewers little of it', async (t) => {
  const { gateway, connect } = await setUp(t, { WS_PORT: '0', DRAIN_S: '1' })
  await gateway.start()
  const peers = Array.from({ length: 600 }, () => connect())
  const started = performance.now()
  const away = (): number => peers.filter(({ socket }) => socket.ended !== null).length
  const drained = gateway.sendAway()
  t.ok(gateway.isDraining)
  await new Promise((resolve) => setTimeout(resolve, 500))
  t.ok(away() > 100 && away() < 500, `half-way ${away()} of 600 are gone`)
  await drained
  t.equal(away(), 600)
  t.ok(performance.now() - started > 700)
  for (const { socket } of peers) {
    const [, , , wait] = socket.frames.at(-1) as [number, number, string, number]
    if (!(wait > 0 && wait <= 500)) t.fail(`told to wait ${wait} ms`)
  }
  for (const { session } of peers) gateway.close(session)
  await gateway.stop()
})

t.test('stop says goodbye to everybody with spread delays', async (t) => {
  const { enter, gateway, faults } = await setUp(t, { WS_PORT: '0' })
  await gateway.start()
  const peers = [await enter('ann'), await enter('bob')]
  const stopping = gateway.stop()
  for (const end = performance.now() + 10_000; performance.now() < end && peers.some(({ socket }) => socket.ended === null);) await new Promise((resolve) => setImmediate(resolve))
  for (const { socket, session } of peers) {
    t.match(socket.frames.at(-1), [OUT.BYE, 4413, String, Number])
    gateway.close(session)
  }
  await stopping
  t.match(gateway.admit({ origin: '', protocols: '', forwardedFor: '', peer: '1.1.1.1' }), { admitted: false, status: /^503/ })
  t.same(faults, [])
})
