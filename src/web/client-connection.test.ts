// How the thin client keeps itself connected: goodbyes, back-off, dead links, tokens, the page and the network.

import t from 'tap'
import { IN, OUT } from '../../proto/ops.ts'
import type { ConnectionState } from './client.ts'
import { refusalOf, ROOM, stage, tokenUntil, until } from './scripted-server.suite.ts'

t.test('BYE and close codes', async (t) => {
  const { server, client, room, states } = await stage(t)
  await room.ready()
  const before = Date.now()
  server.peer.send([OUT.BYE, 4413, 'draining', 150])
  await until(() => client.state.state === 'waiting')
  const waiting = states.at(-1) as Extract<ConnectionState, { state: 'waiting' }>
  t.match(waiting, { code: 4413, reason: 'draining' })
  t.ok(waiting.retryAt >= before + 150, 'stays away as long as asked')
  await until(() => client.state.state === 'open')
  t.ok(Date.now() >= before + 150)
  await until(() => room.isJoined)
  server.peer.end(4408, 'too slow')
  await until(() => server.peers.length === 3 && room.isJoined)
  server.peer.bytes(Uint8Array.of(0x92, 0x25, 0xc1))
  await until(() => server.peers.length === 4 && room.isJoined)
  t.match(states.filter(({ state }) => state === 'waiting').map((state) => (state as { code: number }).code), [4413, 4408, 1002])
  server.peer.end(4508, 'replaced')
  await until(() => client.state.state === 'closed')
  t.match(client.state, { code: 4508, reason: 'replaced' })
  t.match(await refusalOf(room.send('x')), { name: 'closed' })
})

t.test('backs off more and more, at most so far, never in step', async (t) => {
  const { server, client, states } = await stage(t, { timing: { backoffMs: 8, backoffMaxMs: 30 } }, (server) => {
    server.twists[IN.HELLO] = (peer) => {
      if (server.peers.length === 9) return false
      peer.end(4440)
      return true
    }
  })
  const waits: number[] = []
  client.on('connection', (state) => { if (state.state === 'waiting') waits.push(state.retryAt - Date.now()) })
  await until(() => client.state.state === 'open')
  t.equal(waits.length, 8)
  t.ok(waits.every((wait, at) => wait <= Math.min(30, 8 * 2 ** at) + 1), String(waits))
  t.ok(new Set(waits).size > 1)
  t.equal(states.filter(({ state }) => state === 'connecting').length, 9)
  t.equal(server.peers.length, 9)
})

t.test('a silent link is dead; pings tell how far we are', async (t) => {
  const { server, client, room, states } = await stage(t, { log: 3, timing: { pingMs: 30, pongMs: 60 } })
  await room.ready()
  await until(() => server.peer.of(IN.PING).length > 4)
  t.same(server.peer.of(IN.PING)[0], [IN.PING, null, { [ROOM]: 3 }])
  t.equal(server.peers.length, 1, 'answered pings keep it')
  server.twists[IN.PING] = () => server.peers.length === 1
  await until(() => server.peers.length === 2 && client.state.state === 'open')
  t.match(states.find(({ state }) => state === 'waiting'), { reason: 'the link is dead' })
})

t.test('where much is heard, pings only tell how far we are', async (t) => {
  const { server, room } = await stage(t, { timing: { pingMs: 1000, reportMs: 2000 } })
  await room.ready()
  const since = performance.now()
  const talk = setInterval(() => server.say('and on'), 20)
  t.teardown(() => clearInterval(talk))
  await until(() => server.peer.of(IN.PING).length === 1)
  t.ok(performance.now() - since > 1800, 'no silence, no question')
  t.ok((server.peer.of(IN.PING)[0]?.[2] as Record<string, number>)[ROOM] as number > 1)
  clearInterval(talk)
  await until(() => server.peer.of(IN.PING).length === 2, 'and silence is asked about')
  t.ok(performance.now() - since > 2700)
})

t.test('a ping that only tells how far we are goes with the next message, or by itself where none comes', async (t) => {
  const { server, room } = await stage(t, { timing: { pingMs: 60_000, reportMs: 200 } })
  await room.ready()
  const since = performance.now()
  await until(() => performance.now() - since > 250)
  t.same(server.peer.of(IN.PING), [], 'it is due, and waits')
  server.say('and on')
  await until(() => server.peer.of(IN.PING).length === 1)
  t.same(server.peer.of(IN.PING)[0], [IN.PING, null, { [ROOM]: 1 }])
  await until(() => server.peer.of(IN.PING).length === 2)
  t.same(server.peer.of(IN.PING)[1], [IN.PING, null, { [ROOM]: 1 }])
})

t.test('no welcome in time is a failure too', async (t) => {
  const { server, client } = await stage(t, { timing: { openMs: 50, socketFailures: 9 } }, (server) => {
    server.twists[IN.HELLO] = () => server.peers.length < 3
  })
  await until(() => client.state.state === 'open')
  t.equal(server.peers.length, 3)
})

t.test('tokens: asked at each connect, refreshed before expiry, asked anew when refused', async (t) => {
  let asked = 0
  const token = async (): Promise<string> => {
    asked++
    if (asked === 1) throw new Error('the token service is away')
    return tokenUntil(Date.now() + (asked < 4 ? 1200 : 3_600_000)) + asked
  }
  const { server, client, room, errors } = await stage(t, { token })
  await room.ready()
  t.match(errors, [{ name: 'unauthorized', message: /the token service is away/ }])
  t.match(server.peer.frames[0]?.[1], /c2ln2$/)
  await until(() => server.peer.of(IN.AUTH).length === 2)
  t.match(server.peer.of(IN.AUTH).map((frame) => frame[2]), [/c2ln3$/, /c2ln4$/])
  // The server has seen the second AUTH; once this is answered the client has its answer too. A refusal that comes in one
  // piece with that answer is put down to the token before it, as it should be.
  t.match(await room.send('w'), { seq: 1 })

  server.twists[IN.SEND] = (peer, [, rid]) => {
    if (peer.of(IN.AUTH).length > 2) return false
    peer.send([OUT.ERR, rid, 10, 'unauthorized', 'expired'])
    return true
  }
  t.match(await Promise.all([room.send('x'), room.send('y')]), [{ seq: 2 }, { seq: 3 }], 'refused for the token, then sent with a fresh one')
  t.equal(asked, 5, 'one refresh for both')

  server.twists[IN.AUTH] = (peer, [, rid]) => {
    peer.send([OUT.ERR, rid, 10, 'unauthorized', 'revoked'])
    return true
  }
  server.twists[IN.SEND] = (peer, [, rid]) => {
    peer.send([OUT.ERR, rid, 10, 'unauthorized', 'expired'])
    return true
  }
  t.match(await refusalOf(room.send('z')), { name: 'unauthorized' }, 'once, not for ever')
  t.match(errors.at(-1), { message: 'revoked' })
  server.peer.end(4401, 'expired')
  await until(() => server.peers.length === 2 && client.state.state === 'open')
  t.match(server.peer.frames[0]?.[1], /c2ln7$/)
  server.peer.end(4501, 'unauthorized')
  await until(() => client.state.state === 'closed')
})

t.test('a room that wants a token: a fresh one is tried once, and nobody is refused for good', async (t) => {
  let asked = 0
  const { server, client } = await stage(t, { token: () => { asked++; return null } }, (server) => {
    server.twists[IN.JOIN] = (peer, [, rid, name]) => {
      if (name !== 'secret') return false
      peer.send([OUT.ERR, rid, 10, 'unauthorized', 'the room secret is private'])
      return true
    }
  })
  t.match(await refusalOf(client.join('secret').ready()), { name: 'unauthorized', message: /private/ })
  t.equal(client.rooms.has('secret'), false)
  t.equal(server.peer.of(IN.JOIN).filter((frame) => frame[2] === 'secret').length, 2)
  t.equal(asked, 2, 'at the connect, and once for the room')
})

t.test('a refused token is what pending sends, and later ones, are refused with', async (t) => {
  const { client, room, errors } = await stage(t, { token: () => 'bad' }, (server) => {
    server.twists[IN.HELLO] = (peer) => {
      peer.send([OUT.ERR, null, 10, 'unauthorized', 'not a token of ours'], [OUT.BYE, 4501, 'not a token of ours', 0])
      return true
    }
  })
  const why = { code: 10, name: 'unauthorized', message: 'not a token of ours' }
  t.match(await Promise.all([refusalOf(room.send('x')), refusalOf(room.ready()), refusalOf(room.history())]), [why, why, why])
  t.match(client.state, { state: 'closed', code: 4501 })
  t.match(await refusalOf(room.send('y')), why)
  t.match(await refusalOf(client.join('late').ready()), why)
  t.match(errors, [why])
})

t.test('a provider that goes on giving expired tokens keeps no send waiting, and may recover', async (t) => {
  for (const isFixed of [false, true]) {
    let asked = 0
    const expired = tokenUntil(Date.now() - 1000)
    const { server, client, room } = await stage(t, { token: isFixed ? expired : () => { asked++; return expired } }, (server) => {
      server.twists[IN.HELLO] = (peer) => {
        peer.send([OUT.BYE, 4401, 'the token has expired', 0])
        return true
      }
    })
    t.match(await refusalOf(room.send('x')), { code: 10, name: 'unauthorized', message: 'the token has expired' }, 'long before the deadline of a minute')
    t.equal(server.peers.length, isFixed ? 1 : 3)
    t.equal(asked, isFixed ? 0 : 3)
    server.twists[IN.HELLO] = () => false
    await until(() => client.state.state === 'open')
    t.match(await room.send('again'), { seq: 1 })
  }
})

t.test('a send that was never answered says what kept it', async (t) => {
  const { room: away } = await stage(t, { token: () => { throw new Error('the token service is away') }, sendMs: 80 })
  t.match(await refusalOf(away.send('x')), { name: 'unauthorized', message: /no answer in time: no token: .*away/ })
  const { room: slow } = await stage(t, { sendMs: 80 }, (server) => {
    server.twists[IN.HELLO] = (peer) => {
      peer.end(4440, 'a fault of the server')
      return true
    }
  })
  t.match(await refusalOf(slow.send('x')), { code: 40, name: 'unavailable', message: /no answer in time: a fault/ })
  const { server, room, client } = await stage(t)
  await room.ready()
  server.twists[IN.SEND] = () => true
  const sending = refusalOf(room.send('x'))
  await until(() => server.peer.of(IN.SEND).length === 1)
  server.peer.end(4503, 'banned for spam')
  t.match(await sending, { code: 20, name: 'banned', message: 'banned for spam' })
  t.equal(client.state.state, 'closed')
})

t.test('a provider that fails before expiry is asked again on the same connection', async (t) => {
  let asked = 0
  const token = (): string => {
    if (++asked === 2) throw new Error('away')
    return tokenUntil(Date.now() + (asked === 1 ? 1200 : 3_600_000)) + asked
  }
  const { server, errors } = await stage(t, { token })
  await until(() => server.peer?.of(IN.AUTH).length === 1)
  t.match(server.peer.of(IN.AUTH)[0]?.[2], /c2ln3$/)
  t.equal(server.peers.length, 1)
  t.match(errors, [{ message: /away/ }])
})

t.test('a token provider that never answers does not stop the client for good', async (t) => {
  let asked = 0
  const { client, errors } = await stage(t, { token: () => ++asked === 1 ? new Promise<string>(() => {}) : 'abc', timing: { openMs: 40 } })
  await until(() => client.state.state === 'open')
  t.match(errors[0]?.message, /too long/)
})

t.test('the network or the page coming back ends the waiting', async (t) => {
  const target = new EventTarget()
  const page = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  t.intercept(globalThis, 'addEventListener', { value: target.addEventListener.bind(target), configurable: true })
  t.intercept(globalThis, 'removeEventListener', { value: target.removeEventListener.bind(target), configurable: true })
  t.intercept(globalThis, 'document', { value: page, configurable: true })
  const { server, client, room } = await stage(t, { timing: { backoffMs: 60_000, backoffMaxMs: 60_000 } })
  await room.ready()
  server.peer.cut()
  await until(() => client.state.state === 'waiting')
  target.dispatchEvent(new Event('online'))
  await until(() => client.state.state === 'open')
  page.dispatchEvent(new Event('visibilitychange'))
  await until(() => server.peer.of(IN.PING).length === 1, 'a ping when the page is looked at again')
  server.peer.cut()
  await until(() => client.state.state === 'waiting')
  page.visibilityState = 'hidden'
  page.dispatchEvent(new Event('visibilitychange'))
  t.equal(client.state.state, 'waiting', 'hiding it changes nothing')
  page.visibilityState = 'visible'
  page.dispatchEvent(new Event('visibilitychange'))
  await until(() => client.state.state === 'open')
})
