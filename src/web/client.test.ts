// The thin client against a scripted server over real sockets: order, resume, sends.

import { deflateSync } from 'node:zlib'
import t from 'tap'
import { encode, type Frame } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { connect, type Skipped, type UproarError } from './client.ts'
import { range, refusalOf, ROOM, stage, until } from './scripted-server.suite.ts'

t.test('joins, hears and sends', async (t) => {
  const { server, client, room, seqs, states } = await stage(t, { client: 'test 1', join: { history: 3 }, log: 10 })
  const joined = await room.ready()
  t.match(joined, { room: ROOM, epoch: 'e1', seq: 10, state: { title: 'A room' }, recovered: false, reset: true, viewers: null })
  t.same(seqs, [8, 9, 10])
  t.same(server.peer.frames[0], [IN.HELLO, 'abc', 'test 1'])
  t.same(server.peer.frames[1], [IN.JOIN, 1, ROOM, { history: 3, view: 'full', encoding: 'deflate' }])
  t.match(states, [{ state: 'connecting', attempt: 1 }, { state: 'open', session: 's1', user: { id: 'u1', name: 'Ann', roles: 1 }, limits: { textCharacters: 500 } }])
  t.equal(client.state, states.at(-1))

  const sent = await room.send('hello', { kind: 1, ext: { re: 9, at: ['u2'], thread: undefined as never, meta: { big: 2 ** 40, less: -5, half: 0.5 } } })
  t.same(sent, { seq: 11, ts: 1_700_000_000_011 })
  const [, , roomName, nonce, kind, body, ext] = server.peer.of(IN.SEND)[0] as unknown as unknown[]
  t.same([roomName, kind, body, ext], [ROOM, 1, 'hello', { re: 9, at: ['u2'], meta: { big: 2 ** 40, less: -5, half: 0.5 } }])
  t.match(nonce, /^[0-9a-f]{32}$/)
  t.same(seqs, [8, 9, 10, 11])
  t.same(room.position, ['e1', 11])

  const told: unknown[] = []
  for (const name of ['message', 'remove', 'edit', 'state', 'viewers', 'signal', 'sanction', 'held'] as const) room.on(name, (event) => told.push(event))
  client.on('inbox', (inbox) => told.push(inbox))
  server.tell(
    [OUT.MESSAGE, 12, 5, ['u2', 'Bo', 4], 5, new Uint8Array([1, 2, 3])], [OUT.REMOVE, 13, 6, { seq: 9 }, 'u2'], [OUT.EDIT, 14, 7, 11, 'hallo', null],
    [OUT.STATE, 15, 8, { slowModeSeconds: 5 }], [OUT.VIEWERS, 17], [OUT.SIGNAL, 'reactions', { heart: 3 }], [OUT.SANCTION, 'timeout', 99, 'spam'],
    [OUT.HELD, null, 'r1', 'hm'], [OUT.INBOX, 'dm:1', server.entry(4)], [99, 'an op of tomorrow'])
  await until(() => told.length === 9)
  t.same(told, [
    { op: 'message', seq: 12, ts: 5, user: { id: 'u2', name: 'Bo', roles: 4 }, kind: 5, body: new Uint8Array([1, 2, 3]), ext: null },
    { op: 'remove', seq: 13, ts: 6, target: { seq: 9 }, by: 'u2' }, { op: 'edit', seq: 14, ts: 7, target: 11, body: 'hallo', ext: null },
    { op: 'state', seq: 15, ts: 8, changes: { slowModeSeconds: 5 } }, 17, { what: 'reactions', value: { heart: 3 } },
    { room: ROOM, kind: 'timeout', until: 99, reason: 'spam' }, { room: ROOM, ref: 'r1', text: 'hm' },
    { room: 'dm:1', entry: { op: 'message', seq: 4, ts: 1_700_000_000_004, user: { id: 'u1', name: 'Ann', roles: 1 }, kind: 0, body: 'text 4', ext: null } }
  ])
  t.same(room.state, { title: 'A room', slowModeSeconds: 5 })
  t.equal(room.viewers, 17)

  const page = await room.history({ before: 5, limit: 2 })
  t.same(page.entries.map(({ seq }) => seq), [3, 4])
  t.equal(page.more, true)
  room.signal('typing')
  await room.moderate('remove', { seq: 3 })
  t.same(server.peer.of(IN.SIGNAL)[0], [IN.SIGNAL, ROOM, 'typing', null])
  t.same(server.peer.of(IN.MODERATE)[0]?.slice(2), [ROOM, 'remove', { seq: 3 }])

  t.equal(client.join(ROOM), room, 'the same handle again')
  await room.leave()
  await room.leave()
  t.equal(server.peer.of(IN.LEAVE).length, 1)
  t.equal(client.rooms.size, 0)
  server.tell(16)
  await client.history(ROOM)
  t.notOk(seqs.includes(16), 'nothing after leaving')
})

t.test('a deflated message is heard in its place, however long inflating takes', async (t) => {
  const { server, client, room, seqs, skipped, states } = await stage(t)
  await room.ready()
  t.equal(server.peer.of(IN.JOIN)[0]?.[3]?.['encoding' as never], 'deflate', 'asked for')
  const deflated = (...frames: Frame[]): Frame => [OUT.DEFLATED, deflateSync(Buffer.concat([[OUT.ROOM, ROOM, 'e1'] as Frame, ...frames].map((frame) => encode(frame))))]
  server.peer.send(deflated(...range(1, 100).map((seq) => server.entry(seq))))
  server.tell(101)
  server.peer.send(deflated(server.entry(102), [OUT.SKIPPED, 103, 110, 8, 'sampled']))
  server.peer.send(deflated(server.entry(111)))
  server.tell(112)
  await until(() => seqs.includes(112))
  t.same(seqs, [...range(1, 102), 111, 112])
  t.same(skipped, [{ first: 103, last: 110, count: 8, reason: 'sampled' }])
  t.equal(server.peer.of(IN.HISTORY).length, 0, 'nothing seemed to lack')

  server.peer.send(deflated(server.entry(113)))
  server.peer.send([OUT.BYE, 4413, 'draining', 0])
  server.peer.end(4413)
  await until(() => client.state.state === 'open' && server.peers.length === 2 && room.isJoined)
  t.equal(seqs.at(-1), 113, 'what came before the goodbye was heard before it')
  t.match(states.find(({ state }) => state === 'waiting'), { code: 4413 })
  t.same(server.peer.of(IN.JOIN)[0]?.[3], { history: 50, view: 'full', encoding: 'deflate', position: ['e1', 113] })

  server.peer.send([OUT.DEFLATED, new Uint8Array([1, 2, 3])])
  server.tell(114)
  await until(() => server.peers.length === 3 && room.isJoined)
  t.match(states.findLast(({ state }) => state === 'waiting'), { code: 1002, reason: /unreadable/ })
  t.notOk(seqs.includes(114), 'nothing is heard behind what cannot be read')
  t.same(server.peer.of(IN.JOIN)[0]?.[3], { history: 50, view: 'full', position: ['e1', 113] }, 'and it is not asked for again')
})

t.test('what inflates beyond any message is refused', async (t) => {
  const { server, room, states } = await stage(t)
  await room.ready()
  server.peer.send([OUT.DEFLATED, deflateSync(new Uint8Array(1_000_000))])
  await until(() => server.peers.length === 2 && room.isJoined)
  t.match(states.find(({ state }) => state === 'waiting'), { code: 1002, reason: /unreadable/ })
})

t.test('several rooms on one connection, each with its own order', async (t) => {
  const { server, client } = await stage(t, { log: 2 })
  const other = client.join('other:1', { view: 'live', history: 0 })
  const heard: string[] = []
  other.on('message', ({ seq, body }) => heard.push(`${seq} ${String(body)}`))
  await other.ready()
  server.peer.send([OUT.ROOM, 'other:1', 'e1'], [OUT.MESSAGE, 3, 1, ['u', 'U', 0], 0, 'one'], [OUT.ROOM, ROOM, 'e1'], server.entry(3), [OUT.ROOM, 'other:1', 'e1'], [OUT.MESSAGE, 4, 1, ['u', 'U', 0], 0, 'two'])
  await until(() => heard.length === 2)
  t.same(heard, ['3 one', '4 two'])
  t.same(client.rooms.get(ROOM)?.position, ['e1', 3])
})

t.test('duplicates are dropped, what comes out of order is put in order, a gap is filled from history', async (t) => {
  const { server, room, seqs, skipped } = await stage(t)
  const repaired: unknown[] = []
  room.on('repaired', (gap) => repaired.push(gap))
  await room.ready()
  server.append(...range(1, 30).map(String))
  server.tell(1, 1, 2, 1)
  server.tell(4, 5, 5, 3, 6)
  await until(() => seqs.length === 6)
  t.equal(server.peer.of(IN.HISTORY).length, 0, 'no need to ask')
  server.tell(10)
  server.tell(11, 8)
  await until(() => seqs.length === 11)
  t.same(seqs, range(1, 11))
  t.same(server.peer.of(IN.HISTORY).map((frame) => frame.slice(2)), [[ROOM, 8, 1], [ROOM, 10, 1]].slice(0, server.peer.of(IN.HISTORY).length))
  t.same(repaired[0], { first: 7, last: 7 })
  t.same(skipped, [])
})

t.test('a gap of several pages is read whole; what history lacks was removed', async (t) => {
  const { server, room, seqs, skipped } = await stage(t)
  await room.ready()
  server.append(...range(1, 500).map(String))
  server.twists[IN.HISTORY] = (peer, [, rid, name, before, limit]) => {
    const seqs = range(Math.max(1, (before as number) - (limit as number) - 2), (before as number) - 1).filter((seq) => seq % 100 !== 50)
    peer.send([OUT.PAGE, rid, name, seqs.slice(-(limit as number)).map((seq) => server.entry(seq)), seqs[0] !== 1])
    return true
  }
  server.tell(451)
  await until(() => seqs.length === 446)
  t.same(seqs, range(1, 451).filter((seq) => seq % 100 !== 50))
  t.same(skipped, [{ first: 1, last: 450, count: 5, reason: 'removed' }])
  t.ok(server.peer.of(IN.HISTORY).length >= 3)
})

t.test('a gap that cannot be filled is told', async (t) => {
  const { server, room, seqs, skipped } = await stage(t)
  await room.ready()
  server.twists[IN.HISTORY] = (peer, [, rid]) => {
    peer.send([OUT.ERR, rid, 40, 'unavailable', 'not now', 1000])
    return true
  }
  server.tell(1, 4)
  await until(() => seqs.includes(4))
  t.same(seqs, [1, 4])
  t.same(skipped, [{ first: 2, last: 3, count: 2, reason: 'gap' }])
  server.tell(5, 3000)
  await until(() => seqs.includes(3000))
  t.same(skipped[1], { first: 6, last: 2999, count: 2994, reason: 'gap' }, 'one too wide is not even asked')
  for (let first = 3002; first < 4200; first += 100) server.tell(...range(first, first + 99))
  await until(() => seqs.includes(4200))
  t.same(skipped[2], { first: 3001, last: 3001, count: 1, reason: 'gap' }, 'given up when too much is held')
})

t.test('SKIPPED accounts for what does not come', async (t) => {
  const { server, room, seqs, skipped } = await stage(t)
  await room.ready()
  server.tell(1, [OUT.SKIPPED, 2, 90, 89, 'slow'], 91)
  await until(() => seqs.includes(91))
  t.same(room.position, ['e1', 91])
  server.tell([OUT.SKIPPED, 92, 93, 2, 'slow'])
  await until(() => skipped.length === 2)
  t.same(room.position, ['e1', 93], 'the place to resume from is behind it')
  server.tell(95, 98, [OUT.SKIPPED, 94, 100, 5, 'sampled'])
  await until(() => seqs.includes(98))
  server.tell(101)
  await until(() => seqs.includes(101))
  server.tell([OUT.SKIPPED, 102, 110, 7, 'sampled'], 104, 109, 111)
  await until(() => seqs.includes(111))
  t.same(seqs, [1, 91, 95, 98, 101, 104, 109, 111])
  t.same(skipped, [
    { first: 2, last: 90, count: 89, reason: 'slow' }, { first: 92, last: 93, count: 2, reason: 'slow' },
    { first: 94, last: 100, count: 5, reason: 'sampled' }, { first: 102, last: 110, count: 7, reason: 'sampled' }
  ])
  t.equal(server.peer.of(IN.HISTORY).length, 0)
})

t.test('comes back after a cut and resumes where it was', async (t) => {
  const { server, room, seqs, states } = await stage(t, { log: 5 })
  const joins: unknown[] = []
  room.on('joined', ({ recovered, reset }) => joins.push({ recovered, reset }))
  await until(() => seqs.length === 5)
  server.peer.cut()
  server.append('six', 'seven')
  await until(() => seqs.length === 7)
  t.same(seqs, range(1, 7))
  t.same(server.peer.of(IN.JOIN)[0]?.[3], { history: 50, view: 'full', encoding: 'deflate', position: ['e1', 5] })
  t.match(states.slice(2), [{ state: 'waiting', code: 1006 }, { state: 'connecting', attempt: 2 }, { state: 'open' }])

  server.log.length = 0
  server.append('another', 'log')
  server.epoch = 'e2'
  server.peer.end(4413)
  await until(() => seqs.length === 9)
  t.same(seqs.slice(7), [1, 2])

  server.twists[IN.JOIN] = (peer, [, rid]) => {
    peer.send([OUT.JOINED, rid, ROOM, 'e2', 40, {}, false], [OUT.ROOM, ROOM, 'e2'], ...range(31, 40).map((seq) => server.entry(seq)))
    return true
  }
  const skipped: Skipped[] = []
  room.on('skipped', (skip) => skipped.push(skip))
  server.peer.cut()
  await until(() => seqs.includes(40))
  t.same(skipped, [{ first: 3, last: 30, count: 28, reason: 'gap' }], 'too old a place, the same log: what is missing is told')
  t.same(joins, [{ recovered: false, reset: true }, { recovered: true, reset: false }, { recovered: false, reset: true }, { recovered: false, reset: false }])
})

t.test('a cut right after joining loses nothing of what was to come', async (t) => {
  const { server, room, seqs } = await stage(t, { log: 20, join: { history: 5 } }, (server) => {
    server.twists[IN.JOIN] = (peer, [, rid]) => {
      if (server.peers.length > 1) return false
      peer.send([OUT.JOINED, rid, ROOM, 'e1', 20, {}, false])
      return true
    }
  })
  await room.ready()
  t.same(room.position, ['e1', 15])
  server.peer.cut()
  await until(() => seqs.length === 5)
  t.same(seqs, range(16, 20))
})

t.test('resumes from a position kept from an earlier time; another log on the way is noticed', async (t) => {
  const { server, room, seqs } = await stage(t, { log: 9, join: { position: ['e1', 7] } })
  t.match(await room.ready(), { recovered: true, reset: false })
  await until(() => seqs.length === 2)
  t.same(seqs, [8, 9])
  server.epoch = 'e9'
  server.tell(10)
  await until(() => server.peers.length === 2 && room.position?.[0] === 'e9')
})

t.test('sends again, with the same nonce, what a lost connection left unanswered', async (t) => {
  const { server, room, seqs } = await stage(t)
  await room.ready()
  server.twists[IN.SEND] = (peer, [, , , nonce, , body]) => {
    if (server.peers.length > 2) return false
    // The first time it is lost before it was published, the second time after.
    if (server.peers.length === 2) {
      server.append(body as string)
      server.nonces.set(nonce as string, [server.log.length, 77])
    }
    peer.cut()
    return true
  }
  t.same(await room.send('once'), { seq: 1, ts: 77 })
  t.equal(server.peers.length, 3)
  t.equal(new Set(server.peers.flatMap((peer) => peer.of(IN.SEND)).map((frame) => frame[3])).size, 1)
  await until(() => seqs.length === 1)
  t.same(server.log, ['once'])
})

t.test('what was sent while away goes out in order after the join', async (t) => {
  const { server, client, room } = await stage(t)
  const sends = ['a', 'b', 'c'].map((text) => room.send(text))
  t.same((await Promise.all(sends)).map(({ seq }) => seq), [1, 2, 3])
  t.same(server.log, ['a', 'b', 'c'])
  t.ok(server.peer.frames.findIndex(([op]) => op === IN.JOIN) < server.peer.frames.findIndex(([op]) => op === IN.SEND))
  t.match(await client.send('elsewhere', 'd'), { seq: 4 }, 'a room not joined is not waited for')
})

t.test('refusals reject; what can be waited out is waited out', async (t) => {
  const { server, room, client } = await stage(t, { pendingMax: 2, sendMs: 400 })
  await room.ready()
  const answers: unknown[][] = [[22, 'slow_mode', 'too soon', 4000], [41, 'overloaded', 'busy', 1], [40, 'unavailable', 'away', 1], [26, 'blocked', 'no']]
  server.twists[IN.SEND] = (peer, [, rid]) => {
    const answer = answers.shift()
    if (answer === undefined) return false
    peer.send([OUT.ERR, rid, ...answer])
    return true
  }
  t.match(await refusalOf(room.send('x')), { code: 22, name: 'slow_mode', message: 'too soon', retryAfterMs: 4000 })
  t.match(await refusalOf(room.send('x')), { code: 26, name: 'blocked', retryAfterMs: null }, 'after two tries that were busy')
  t.equal(answers.length, 0)

  server.twists[IN.SEND] = (peer, [, rid]) => {
    peer.send([OUT.HELD, rid, 'r7', 'x'])
    return true
  }
  const held: unknown[] = []
  client.on('held', (event) => held.push(event))
  t.match(await refusalOf(room.send('x')), { code: 27, name: 'held' })
  t.same(held, [{ room: ROOM, ref: 'r7', text: 'x' }])

  server.twists[IN.SEND] = () => true
  const slow = [room.send('1'), room.send('2')].map(refusalOf)
  t.match(await refusalOf(room.send('3')), { name: 'overloaded' }, 'more than pendingMax')
  for (const error of await Promise.all(slow)) t.match(error, { code: 40, name: 'unavailable', retryAfterMs: null }, 'the deadline')

  const last = refusalOf(room.send('4'))
  const asked = refusalOf(room.history())
  server.twists[IN.HISTORY] = () => true
  client.close()
  t.match(await last, { code: 0, name: 'closed' })
  t.match(await asked, { name: 'unavailable' })
  t.match(await refusalOf(room.send('5')), { name: 'closed' })
  t.match(await refusalOf(client.join('late').ready()), { name: 'closed' })
  client.close()
  t.equal(client.state.state, 'closed')
})

t.test('after a try without an answer, a limit is waited out to learn what became of it', async (t) => {
  const { server, room } = await stage(t)
  await room.ready()
  server.twists[IN.SEND] = (peer, [, rid]) => {
    if (server.peers.length === 1) peer.cut()
    else if (peer.of(IN.SEND).length === 1) peer.send([OUT.ERR, rid, 23, 'rate_limited', 'slowly', 5])
    else return false
    return true
  }
  t.match(await room.send('x'), { seq: 1 })
})

t.test('history with holes is no gap: those messages were removed', async (t) => {
  const { server, room, seqs, skipped } = await stage(t, {}, (server) => {
    server.twists[IN.JOIN] = (peer, [, rid]) => {
      peer.send([OUT.JOINED, rid, ROOM, 'e1', 20, {}, false], [OUT.ROOM, ROOM, 'e1'], ...[12, 13, 16, 18].map((seq) => server.entry(seq)))
      return true
    }
  })
  await room.ready()
  await until(() => seqs.length === 4)
  server.tell(21, 23, 22)
  await until(() => seqs.length === 7)
  t.same(seqs, [12, 13, 16, 18, 21, 22, 23])
  t.same(skipped, [])
  t.equal(server.peer.of(IN.HISTORY).length, 0)
})

t.test('being put out of a room: for good, or to come again', async (t) => {
  const { server, client, room, seqs, errors } = await stage(t, { log: 2 })
  await until(() => seqs.length === 2)
  server.append('three')
  server.tell([OUT.ERR, null, 40, 'unavailable', 'join anew', 1])
  await until(() => !room.isJoined)
  await until(() => seqs.length === 3)
  t.equal(server.peer.of(IN.JOIN).length, 2)
  const refused = new Promise((resolve) => room.on('refused', resolve))
  server.peer.send([OUT.ERR, 77, 11, 'forbidden', 'to a request long forgotten'])
  server.peer.send([OUT.ERR, null, 1, 'bad_request', 'about no room'])
  server.tell([OUT.ERR, null, 12, 'not_found', 'deleted'])
  t.match(await refused, { name: 'not_found', message: 'deleted' })
  t.equal(client.rooms.size, 0)
  t.match(errors, [{ name: 'bad_request' }])
  t.not(client.join(ROOM), room, 'joining again is a new beginning')
  await client.join(ROOM).ready()
})

t.test('a room that refuses is given up; one that is busy is asked again', async (t) => {
  const { server, client, room } = await stage(t, {}, (server) => {
    server.twists[IN.JOIN] = (peer, [, rid, name]) => {
      if (name === ROOM && peer.of(IN.JOIN).filter((frame) => frame[2] === ROOM).length < 2) peer.send([OUT.ERR, rid, 41, 'overloaded', 'busy', 5])
      else if (name === 'secret') peer.send([OUT.ERR, rid, 11, 'forbidden', 'members only'])
      else return false
      return true
    }
  })
  const secret = client.join('secret')
  const refused: UproarError[] = []
  secret.on('refused', (error) => refused.push(error))
  t.match(await refusalOf(secret.ready()), { code: 11, name: 'forbidden' })
  t.match(refused, [{ name: 'forbidden' }])
  t.equal(client.rooms.has('secret'), false)
  await room.ready()
  t.equal(server.peer.of(IN.JOIN).filter((frame) => frame[2] === ROOM).length, 2)
})

t.test('a listener that throws stops nobody', async (t) => {
  const { server, room, seqs } = await stage(t)
  const caught: unknown[] = []
  t.intercept(globalThis, 'queueMicrotask', { value: (job: () => void) => { try { job() } catch (error) { caught.push(error) } }, configurable: true })
  const off = room.on('message', () => { throw new Error('mine') })
  let others = 0
  room.on('message', () => { others++ })
  await room.ready()
  server.say('a')
  await until(() => seqs.length === 1 && others === 1)
  off()
  server.say('b')
  await until(() => others === 2)
  t.match(caught, [{ message: 'mine' }])
})

t.test('what cannot be an address is said at once', (t) => {
  t.throws(() => connect({ url: 'not a url' }), TypeError)
  t.end()
})
