// Stories of connections: how one begins, who may open it and how many, how its token ends or is refreshed, and how it is
// sent away.

import t from 'tap'
import { encode } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { eventually, freePort, OPEN_LIMITS, Program, tokenOf } from './harness.ts'
import { Viewer } from './viewer.ts'

t.test('handshake, HELLO and its deadline', async (t) => {
  const program = await Program.start(t, { HELLO_TIMEOUT_MS: '300', ORIGINS: 'https://good.example' })
  const origin = { origin: 'https://good.example' }

  await t.test('subprotocol', async (t) => {
    const ours = await Viewer.connect(t, program.ws, null, { headers: origin, protocol: 'other, uproar.v1' })
    t.equal(ours.protocol, 'uproar.v1', 'ours is chosen from the list')
    const none = await Viewer.connect(t, program.ws, null, { headers: origin, protocol: null })
    t.equal(none.protocol, null, 'offering none is fine')
    const others = new Viewer(program.ws, { headers: origin, protocol: 'other, uproar.v2' })
    t.match(await others.ended(), { code: 1006, reason: 'HTTP 400' }, 'offering only others is refused in the handshake')
  })

  await t.test('origins', async (t) => {
    for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }] as Record<string, string>[]) {
      t.match(await new Viewer(program.ws, { headers }).ended(), { reason: 'HTTP 403' }, `origin ${JSON.stringify(headers)} may not connect`)
    }
  })

  await t.test('HELLO', async (t) => {
    const silent = new Viewer(program.ws, { headers: origin })
    t.match(await silent.ended(), { code: 4402 }, 'silence ends with hello_timeout')
    t.match(silent.frames.at(-1), [OUT.BYE, 4402], 'after a BYE')

    const viewer = await Viewer.connect(t, program.ws, null, { headers: origin })
    t.match(viewer.frames[0], [OUT.WELCOME, String, null, Number, { messageBytes: 4096, textCharacters: 500 }], 'an anonymous viewer is welcome')
    t.match(await viewer.say('stage', 'hello'), [OUT.ERR, Number, 10, 'unauthorized'], 'and may not write')
    viewer.send([IN.HELLO, null, null])
    t.match(await viewer.next(OUT.ERR, viewer.frames.length), [OUT.ERR, null, 1, 'bad_request'], 'a second HELLO is refused')
    await viewer.roundTrip()

    const author = await Viewer.connect(t, program.ws, tokenOf('ann', { name: 'Ann', roles: ['vip', 'moderator'] }), { headers: origin })
    t.match(author.frames[0], [OUT.WELCOME, String, ['ann', 'Ann', 6], Number], 'a token says who one is')

    for (const [token, code] of [['nonsense', 4501], [tokenOf('ann').slice(0, -4), 4501], [tokenOf('late', { ttlS: -60 }), 4401]] as const) {
      const wrong = new Viewer(program.ws, { headers: origin })
      await wrong.opened()
      wrong.send([IN.HELLO, token, null])
      const { code: ended } = await wrong.ended()
      t.equal(ended, code, `a token that is ${code === 4401 ? 'over' : 'not valid'} ends the connection`)
      t.ok(wrong.frames.some((frame) => frame[0] === OUT.ERR && frame[3] === 'unauthorized'), 'after an ERR that says why')
    }
    const early = new Viewer(program.ws, { headers: origin })
    await early.opened()
    t.match(await early.join('stage'), [OUT.ERR, Number, 1, 'bad_request'], 'anything before HELLO is refused')
    early.socket.destroy()

    const pipelined = new Viewer(program.ws, { headers: origin })
    await pipelined.opened()
    pipelined.send([IN.HELLO, tokenOf('bob'), null], [IN.JOIN, 1, 'stage', null], [IN.SEND, 2, 'stage', 'n1', 0, 'all at once', null])
    t.match(await pipelined.until('OK', () => pipelined.frames.find((frame) => frame[0] === OUT.OK) ?? null), [OUT.OK, 2, [1, Number]], 'HELLO, JOIN and SEND may come in one message')
    pipelined.socket.destroy()
  })

  await t.test('frames', async (t) => {
    const viewer = await Viewer.connect(t, program.ws, null, { headers: origin })
    viewer.send([100, 7, 'what is this'])
    t.match(await viewer.next(OUT.ERR), [OUT.ERR, 7, 2, 'unsupported'], 'an op that is not known is answered, and the connection goes on')
    t.match(await viewer.ask(IN.MODERATE, 'stage', 'ban', { user: 'x' }), [OUT.ERR, Number, 10, 'unauthorized'])
    viewer.send([IN.PING, 'ping', null, 'and', 'more', 'to come'])
    t.match(await viewer.next(OUT.PONG), [OUT.PONG, 'ping'], 'trailing elements are ignored')
    viewer.socket.send(Buffer.concat(Array.from({ length: 33 }, () => encode([IN.PING, 1, null]))))
    t.match(await viewer.ended(), { code: 4500 }, 'more than 32 frames in a message')
    const text = await Viewer.connect(t, program.ws, null, { headers: origin })
    text.socket.send(encode([IN.PING, 1, null]), 1)
    t.match(await text.ended(), { code: Number }, 'text messages end the connection')
  })
})

t.test('how many connections', async (t) => {
  const program = await Program.start(t, { CONNECTIONS_PER_USER_MAX: '2', CONNECTIONS_PER_ADDRESS_MAX: '5', CONNECTIONS_MAX: '7' })
  const [first, second, third] = [await Viewer.connect(t, program.ws, tokenOf('ann')), await Viewer.connect(t, program.ws, tokenOf('ann')), await Viewer.connect(t, program.ws, tokenOf('ann'))]
  t.match(await first.ended(), { code: 4508 }, 'the oldest of a user gives way to the newest')
  t.match(first.frames.at(-1), [OUT.BYE, 4508])
  await second.roundTrip()
  await third.roundTrip()
  const others = [await Viewer.connect(t, program.ws), await Viewer.connect(t, program.ws), await Viewer.connect(t, program.ws)]
  t.match(await new Viewer(program.ws).ended(), { reason: 'HTTP 429' }, 'one address may have five')
  const elsewhere = { localAddress: '127.0.0.2' }
  await Viewer.connect(t, program.ws, null, elsewhere)
  await Viewer.connect(t, program.ws, null, elsewhere)
  t.match(await new Viewer(program.ws, elsewhere).ended(), { reason: 'HTTP 503' }, 'and the process seven')
  others[0]?.socket.destroy()
  await eventually('a place to come free', async () => {
    const viewer = new Viewer(program.ws)
    const free = await viewer.opened().then(() => true, () => null)
    viewer.socket.destroy()
    return free
  })
})

t.test('tokens end, and are refreshed', async (t) => {
  const program = await Program.start(t, { ...OPEN_LIMITS })
  const viewer = await Viewer.connect(t, program.ws, tokenOf('ann', { ttlS: 4 }))
  await viewer.join('stage')
  t.match(await viewer.say('stage', 'in time'), [OUT.OK])
  const refusal = await eventually('the token to end', async () => {
    const answer = await viewer.say('stage', 'still?')
    return answer[0] === OUT.ERR ? answer : null
  })
  t.match(refusal, [OUT.ERR, Number, 10, 'unauthorized'], 'an expired token ends publishing first')
  const watching = await Viewer.connect(t, program.ws, tokenOf('bob'))
  await watching.join('stage')
  t.match(await watching.say('stage', 'who reads this?'), [OUT.OK])
  await viewer.until('the message', () => viewer.texts().includes('who reads this?') || null)
  t.match(await viewer.ask(IN.AUTH, 'nonsense'), [OUT.ERR, Number, 10, 'unauthorized'], 'a token that is none changes nothing')
  t.match(await viewer.ask(IN.AUTH, tokenOf('bob')), [OUT.ERR, Number, 11, 'forbidden'], 'nor does one of another user')
  t.match(await viewer.ask(IN.AUTH, tokenOf('ann', { name: 'Ann', roles: ['vip'] })), [OUT.OK, Number, Number], 'a fresh one is taken on the live connection')
  t.match(await viewer.say('stage', 'here again'), [OUT.OK])
  await viewer.until('the message', () => viewer.texts().includes('here again') || null)
  t.match(viewer.entries().at(-1)?.[3], ['ann', 'Ann', 2], 'with the roles it brings')
  const anonymous = await Viewer.connect(t, program.ws)
  await anonymous.join('stage')
  t.match(await anonymous.ask(IN.AUTH, tokenOf('cat')), [OUT.OK], 'an anonymous viewer may sign in')
  t.match(await anonymous.say('stage', 'signed in'), [OUT.OK])
})

t.test('rates', async (t) => {
  const program = await Program.start(t, { MESSAGES_PER_SECOND_MAX: '1', MESSAGES_BURST_MAX: '3', FRAMES_PER_SECOND_MAX: '20' })
  const [one, two] = [await Viewer.connect(t, program.ws, tokenOf('ann')), await Viewer.connect(t, program.ws, tokenOf('ann'))]
  await one.join('stage')
  await two.join('stage')
  const answers = [await one.say('stage', 'a'), await two.say('stage', 'b'), await one.say('stage', 'c'), await two.say('stage', 'd')]
  t.same(answers.map((answer) => answer[0]), [OUT.OK, OUT.OK, OUT.OK, OUT.ERR], 'three at once for a user, whichever connection they come by')
  t.match(answers[3], [OUT.ERR, Number, 23, 'rate_limited', String, Number], 'then a wait is named')
  t.ok((answers[3]?.[5] as number) <= 1000)
  const rest = await program.request('POST', '/v1/rooms/stage/messages', { token: tokenOf('ann'), json: { nonce: 'r', kind: 0, body: 'over REST' } })
  t.match(rest, { status: 429, json: { error: { name: 'rate_limited', retryAfterMs: Number } } }, 'REST is no way round')

  const flood = await Viewer.connect(t, program.ws)
  for (let at = 0; at < 200; at++) flood.send([IN.PING, at, null])
  t.match(await flood.next(OUT.ERR), [OUT.ERR, null, 23, 'rate_limited'], 'frames of any kind are limited too')
  for (let at = 0; at < 40; at++) flood.socket.send(Buffer.concat(Array.from({ length: 30 }, () => encode([IN.PING, 1, null]))))
  t.match(await flood.ended(), { code: 4429 }, 'and a flood ends the connection')
})

t.test('SIGTERM sends everybody away, and what was accepted is there after', async (t) => {
  const program = await Program.start(t, { WS_PORT: await freePort() })
  const viewers = await Promise.all(Array.from({ length: 20 }, () => Viewer.connect(t, program.ws)))
  const author = await Viewer.connect(t, program.ws, tokenOf('ann'))
  await Promise.all([...viewers, author].map((viewer) => viewer.join('stage')))
  const events = await fetch(`${program.http}/v1/rooms/stage/events`, { signal: AbortSignal.timeout(20_000) })
  const ended = events.text()
  t.match(await author.say('stage', 'last words'), [OUT.OK])
  const stopping = program.stop()
  const endings = await Promise.all(viewers.map((viewer) => viewer.ended()))
  t.ok(endings.every(({ code }) => code === 4413), 'each is closed with draining')
  const delays = viewers.map((viewer) => viewer.frames.findLast((frame) => frame[0] === OUT.BYE)?.[3] as number)
  t.ok(delays.every((delay) => delay > 0 && delay <= 10_000) && new Set(delays).size > 5, `after a BYE that says when to come back, spread out: ${delays.slice(0, 5).join(', ')} …`)
  t.ok(viewers.every((viewer) => viewer.texts().includes('last words')), 'and after all that was said')
  t.match(await ended, /event: bye\ndata: .*4413/, 'event streams end with bye')
  t.equal(await stopping, 0, 'the exit status is 0')
  await program.launch()
  const { json } = await program.request('GET', '/v1/rooms/stage/messages')
  t.match(json.entries, [{ body: 'last words' }])
})
