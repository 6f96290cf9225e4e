// What proto/PROTOCOL.md says, held to the real program by a client that was written from that document alone: section
// by section, over WebSocket, REST and event streams. Must not know the server's code; every wait has a deadline.

import t from 'tap'
import { join } from 'node:path'
import { encode } from '@msgpack/msgpack'
import { generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { API_KEY, freePort, Program, SECRET } from './harness.ts'
import { BAD_FRAMES, bytes, clean, Client, crowd, deep, Events, handshake, isError, isHttpError, mint as sign, OP, serveKeys, setRoom, type Frame, type Mint } from './independent-client.ts'

const keys = { es: await generateKeyPair('ES256'), ed: await generateKeyPair('EdDSA'), rs: await generateKeyPair('RS256') }
const jwksUrl = await serveKeys(t, keys)

// One that is started again needs ports that were asked for by number.
const [open, strict] = await Promise.all([
  Program.start(t, { MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0', FRAMES_PER_SECOND_MAX: '0', REQUESTS_PER_MINUTE_MAX: '0', DEFLATE_BYTES_MIN: '400', DEFLATE_VIEWERS_MIN: '1', PORT: await freePort(), WS_PORT: await freePort() }),
  Program.start(t, {
    ROOMS_ON_DEMAND: 'false', ORIGINS: 'https://example.org', HELLO_TIMEOUT_MS: '300', JWT_ISSUER: 'platform', JWT_AUDIENCE: 'chat', ROOMS_PER_CONNECTION_MAX: '2',
    CONNECTIONS_PER_ADDRESS_MAX: '12', CONNECTIONS_PER_USER_MAX: '3', BLOCKED_TERMS_FILE: join(t.testdir({ terms: 'turnip\n' }), 'terms'), IDLE_TIMEOUT_S: '8', CLIENT_MESSAGE_BYTES_MAX: '1024', TEXT_CHARACTERS_MAX: '20'
  })
])

const mint = async (id: string, more: Partial<Mint> = {}): Promise<string> => await sign(id, { secret: SECRET, ...more })
const mintStrict = async (id: string, more: Partial<Mint> = {}): Promise<string> => await mint(id, { issuer: 'platform', audience: 'chat', ...more })
const user = async (id: string, more: Partial<Mint> = {}): Promise<Client> => await Client.ready(open.ws, await mint(id, more))
const strictly = async (token: string | null, until: number): Promise<Client> => await Client.ready(strict.ws, token, { headers: { origin: 'https://example.org' }, until })
const anonymous = async (): Promise<Client> => await Client.ready(open.ws)
const bodies = (stay: { entries: Frame[] }): unknown[] => stay.entries.map((entry) => entry[5])

// What takes the server seconds goes on behind the other tests; they are looked at near the end.
const silent = handshake(strict.ws, { origin: 'https://example.org' }, encode([OP.HELLO, null, null]))
const idleEvents = Events.open(`${open.http}/v1/rooms/quiet/events`)
const others = Promise.all([
  Program.start(t, { JWT_SECRET: '', JWKS_URL: jwksUrl, ROOMS_ACTIVE_MAX: '1' }),
  Program.start(t, { JWT_SECRET: '', JWKS_URL: 'http://127.0.0.1:9/jwks' }),
  Program.start(t, { JWT_SECRET: '', API_KEYS: '', CONNECTIONS_MAX: '1' })
])
const watched = await Promise.all([anonymous(), anonymous()])
for (const client of watched) await client.join('watched')

t.test('handshake: subprotocol, origin, limits', async (t) => {
  t.match(await handshake(open.ws, { 'sec-websocket-protocol': 'uproar.v1' }), { status: 101, headers: { 'sec-websocket-protocol': 'uproar.v1' } })
  t.match(await handshake(open.ws, { 'sec-websocket-protocol': 'graphql-ws, uproar.v1' }), { status: 101, headers: { 'sec-websocket-protocol': 'uproar.v1' } }, 'among others')
  const none = await handshake(open.ws, { origin: 'https://anywhere.test' })
  t.equal(none.status, 101, 'no subprotocol, any origin')
  t.notOk(none.headers['sec-websocket-protocol'], 'none is answered')
  t.notOk(none.headers['sec-websocket-extensions'], 'no compression')
  isHttpError(t, await handshake(open.ws, { 'sec-websocket-protocol': 'uproar.v2' }), 1, 'only another subprotocol')
  isHttpError(t, await handshake(strict.ws, { origin: 'https://example.com' }), 11, 'another origin')
  t.equal((await handshake(strict.ws, { origin: 'https://example.org' })).status, 101, 'the origin that may')
  const bare = await Client.open(open.ws, { protocols: [] })
  t.equal(bare.protocol, '')
  bare.send([OP.HELLO, null, null])
  t.equal((await bare.first(OP.WELCOME))[2], null, 'an anonymous user')
  clean(t, bare)
})

t.test('HELLO, WELCOME, what one message may hold', async (t) => {
  const ann = await Client.open(open.ws)
  t.equal(ann.protocol, 'uproar.v1')
  ann.send([OP.PING, 'early'], [OP.JOIN, 70, 'hello', null])
  isError(t, await ann.first(OP.ERR, (frame) => frame[1] === null), 1, 'PING before HELLO', null)
  isError(t, await ann.answer(70), 1, 'JOIN before HELLO', 70)
  ann.send([OP.HELLO, await mint('ann', { name: 'Ann', roles: ['moderator', 'no such role', 'verified'], rooms: { hello: ['vip'] } }), 'x/1', 'extra', { more: 1 }],
    [OP.JOIN, 71, 'hello', { history: 10, unknown: true }, 'extra'], [OP.PING, { a: [1, null, -5.5] }], [OP.SEND, 72, 'hello', 'n-1', 0, 'hi', null, 'extra', 9], [OP.PING])
  const welcome = await ann.first(OP.WELCOME)
  t.match(welcome, [OP.WELCOME, /^.+$/, ['ann', 'Ann', 68]])
  t.ok(Math.abs(welcome[3] - Date.now()) < 5_000, 'serverTime')
  t.match(welcome[4], { messageBytes: 4096, textCharacters: 500, framesPerMessage: 32, rooms: 16, historyEntries: 200, pingSeconds: 10, reportSeconds: 30, metaBytes: 1024 })
  t.match(await ann.answer(71), [OP.JOINED, 71, 'hello', /^.{1,32}$/, 0, {}, false])
  const ok = await ann.answer(72)
  t.match(ok, [OP.OK, 72, [1, Number]])
  t.same((await ann.first(OP.PONG))[1], { a: [1, null, -5.5] }, 'the value comes back')
  t.ok((await ann.first(OP.PONG, (frame) => (frame[1] ?? null) === null)) !== undefined, 'no value, no value')
  t.same((await ann.first(OP.MESSAGE)).slice(0, 7), [OP.MESSAGE, 1, ok[2][1], ['ann', 'Ann', 70], 0, 'hi', null], 'roles held in the room too')
  ann.send([OP.HELLO, null, null])
  isError(t, await ann.first(OP.ERR, (frame) => frame[1] === null && frame !== ann.frames[0]), 1, 'a second HELLO', null)
  const long = await user('l'.repeat(128), { name: 'n'.repeat(80) })
  t.match((await long.first(OP.WELCOME))[2], ['l'.repeat(128), 'n'.repeat(64), 0], 'a long name is cut')
  const plain = await user('plain')
  t.match((await plain.first(OP.WELCOME))[2], ['plain', 'plain', 0], 'the id where there is no name')
  plain.send(...Array.from({ length: 16 }, (_, n) => [[OP.JOIN, plain.nextRid(), `made-${n}`, null], [OP.PING, n]]).flat())
  for (let n = 0; n < 4; n++) plain.send(...Array.from({ length: 32 }, () => [OP.PING, 'waits']))
  isError(t, await plain.first(OP.ERR), 41, 'more than 64 frames wait for JOINs')
  for (let rid = 1; rid <= 16; rid++) t.equal((await plain.answer(rid))[0], OP.JOINED)
  clean(t, ann, long, plain)
})

t.test('rooms: JOIN, history, LEAVE, several on one connection', async (t) => {
  const ann = await user('ann')
  for (const room of ['A-z_0.9:x', 'x'.repeat(64), 'many']) t.match(await ann.join(room), { head: 0, recovered: false, entries: [] }, room)
  await crowd(open, 'many', 60)
  await ann.until('all live', () => ann.stay('many').entries.length === 60)
  t.same(ann.stay('many').entries.map((entry) => entry[1]), Array.from({ length: 60 }, (_, i) => i + 1), 'one order, no hole')
  t.ok(ann.stay('many').entries.every((entry, i, all) => i === 0 || entry[2] >= all[i - 1]?.[2]), 'time never goes back')
  t.ok(ann.longestLiveMessage < 16_384, 'live messages stay below 16 KB')
  const { epoch, entries } = ann.stay('many')
  const asked: Array<[Record<string, unknown> | null, number, boolean]> = [[null, 50, false], [{}, 50, false], [{ history: 0 }, 0, false], [{ history: 7 }, 7, false], [{ history: 200 }, 60, false],
    [{ position: [epoch, 60] }, 0, true], [{ position: [epoch, 55] }, 5, true], [{ position: [epoch, 0] }, 60, true], [{ position: [epoch, 61], history: 3 }, 3, false],
    [{ position: ['other', 10], history: 4 }, 4, false], [{ position: [epoch, 10], view: 'live' }, 50, true]]
  for (const [options, count, recovered] of asked) {
    const stay = await ann.join('many', options)
    await ann.ping({ many: 60, elsewhere: 3 })
    t.match(stay, { epoch, head: 60, recovered }, JSON.stringify(options))
    t.same(stay.entries, entries.slice(60 - count), `the very same ${count} entries`)
  }
  const bad: Array<[unknown, unknown]> = [['', null], ['x'.repeat(65), null], ['no spaces', null], ['ä', null], ['__proto__', null], [5, null], ['many', 'options'], ['many', { history: 201 }],
    ['many', { history: -1 }], ['many', { history: 1.5 }], ['many', { view: 'other' }], ['many', { position: [epoch] }], ['many', { position: [epoch, -1] }], ['many', { position: ['', 1] }]]
  for (const [room, options] of bad) isError(t, await ann.ask(OP.JOIN, room, options), 1, `JOIN ${JSON.stringify([room, options])}`)
  isError(t, await ann.ask(OP.LEAVE, 'elsewhere'), 13, 'LEAVE of a room not joined')
  t.equal((await ann.ask(OP.LEAVE, 'many'))[2] ?? null, null, 'OK nil')
  ann.forget('many')
  isError(t, await ann.ask(OP.LEAVE, 'many'), 13, 'LEAVE twice')
  const bob = await user('bob')
  const again = await bob.join('many', { history: 1 })
  const said = await Promise.all(['A-z_0.9:x', 'many'].map(async (room) => { await bob.ping(); if (room !== 'many') await bob.join(room); return await bob.say(room, `in ${room}`) }))
  t.match(said, [[OP.OK, Number, [1, Number]], [OP.OK, Number, [61, Number]]])
  await ann.until('bob', () => ann.stay('A-z_0.9:x').entries.length === 1)
  await bob.until('himself', () => again.entries.length === 2)
  await ann.ping()
  isError(t, await ann.say('many', 'gone'), 13, 'SEND after LEAVE')
  for (let n = 3; n <= 16; n++) await ann.join(`room-${n}`)
  isError(t, await ann.ask(OP.JOIN, 'room-17', null), 11, 'one room too many')
  t.equal((await ann.ask(OP.JOIN, 'room-16'))[0], OP.JOINED, 'the same again is not one more')
  clean(t, ann, bob)
})

t.test('SEND: texts, kinds, ext', async (t) => {
  const [ann, mod, bot, admin, reader] = await Promise.all([user('ann'), user('mod', { rooms: { texts: ['moderator'] } }), user('bot', { roles: ['bot'] }), user('boss', { roles: ['admin'] }), anonymous()])
  for (const client of [ann, mod, bot, admin, reader]) await client.join('texts')
  const accepted: Array<[Client, number, unknown, unknown, unknown?, unknown?]> = [
    [ann, 0, '  a\nb\tc  ', 'a b c'], [ann, 0, '👩‍👩‍👧‍👦', '👩‍👩‍👧‍👦'], [ann, 0, '🔥'.repeat(500), '🔥'.repeat(500)], [ann, 0, 'x'.repeat(500), 'x'.repeat(500)], [ann, 0, 'a\u0007\u0000b', 'ab'],
    [ann, 0, `z${'\u0300'.repeat(9)}`, `z${'\u0300'.repeat(4)}`], [ann, 1, 'waves', 'waves'], [mod, 2, 'Listen', 'Listen'], [admin, 2, 'Listen', 'Listen'], [admin, 3, 'System', 'System'], [bot, 6, 'Card', 'Card', { meta: { a: 1 } }],
    [ann, 5, Uint8Array.of(0, 1, 0xff), Uint8Array.of(0, 1, 0xff)], [ann, 5, new Uint8Array(2048).fill(0xc1), new Uint8Array(2048).fill(0xc1)],
    [ann, 0, 'ext', 'ext', { re: 1, thread: 1, at: ['mod', 'bot'], meta: { list: [1, -1, 1.5, null, true], deep: { b: { c: { d: { e: 1 } } } } } }], [ann, 0, 'dropped', 'dropped', { re: 1, other: 2 }, { re: 1 }], [ann, 0, 'none', 'none', { other: 2 }, null]
  ]
  let seq = 0
  for (const [client, kind, body, seen, ext = null, seenExt = ext] of accepted) {
    const ok = await client.say('texts', body, { kind, ext })
    const what = `kind ${kind}: ${String(body).slice(0, 20)}`
    t.match(ok, [OP.OK, Number, [++seq, Number]], what)
    const entry = await reader.first(OP.MESSAGE, (frame) => frame[1] === seq)
    t.same([entry[2], entry[4], entry[6] ?? null], [ok[2][1], kind, seenExt], `${what}, as seen`)
    t.same(entry[5] instanceof Uint8Array ? [...entry[5]] : entry[5], seen instanceof Uint8Array ? [...seen] : seen, `${what}, its body`)
  }
  const meta = (size: number): unknown => ({ meta: { k: 'x'.repeat(size) } })
  const refused: Array<[Client, number, unknown, unknown, number | number[]]> = [
    [ann, 0, '', null, 1], [ann, 0, ' \n ', null, 1], [ann, 0, 'x'.repeat(501), null, 25], [ann, 0, '🔥'.repeat(501), null, 25], [ann, 0, Uint8Array.of(65), null, 1], [ann, 5, 'text', null, 1], [ann, 5, new Uint8Array(), null, 1],
    [ann, 5, new Uint8Array(2049), null, [1, 25]], [ann, 2, 'Listen', null, 11], [ann, 3, 'System', null, 11], [mod, 3, 'System', null, 11], [mod, 6, 'Card', null, 11], [ann, 4, 'picture', null, 2], [ann, 99, 'kind', null, [1, 2]],
    [ann, 0, 'at', { at: Array.from({ length: 21 }, (_, i) => `u${i}`) }, [1, 25]], [ann, 0, 'at', { at: 'bob' }, 1], [ann, 0, 're', { re: 'x' }, 1], [ann, 0, 'meta', meta(1100), [1, 25]], [ann, 0, 'ext', 'ext', 1]
  ]
  let wrongly = 0
  for (const [client, kind, body, ext, code] of refused) {
    const answer = await client.say('texts', body, { kind, ext })
    if (answer[0] === OP.OK) wrongly++
    isError(t, answer, code, `kind ${kind}, ${String(body).slice(0, 12)}, ${JSON.stringify(ext)?.slice(0, 40)}`)
  }
  t.equal((await ann.say('texts', 'x', { ext: meta(1017) }))[0], OP.OK, 'meta of 1023 bytes')
  for (const nonce of ['', 'n'.repeat(65)]) isError(t, await ann.say('texts', 'x', { nonce }), [1, 25], `a nonce of ${nonce.length}`)
  t.equal((await ann.say('texts', 'x', { nonce: '💬'.repeat(32) }))[0], OP.OK, 'a nonce of 64 units')
  isError(t, await reader.say('texts', 'x'), 10, 'SEND without an account')
  isError(t, await ann.say('nowhere', 'x'), 13, 'SEND to a room not joined')
  for (const fields of [[], ['texts'], ['texts', 'n', 'zero', 'x'], ['texts', 5, 0, 'x'], ['texts', 'n', 0, null], ['texts', 'n', -1, 'x']]) isError(t, await ann.ask(OP.SEND, ...fields), 1, `SEND ${JSON.stringify(fields)}`)
  t.equal((await ann.ask(OP.SEND, 'texts', 'left out', 0, 'no ext'))[0], OP.OK, 'ext may be left out')
  await reader.until('the last', () => bodies(reader.stay('texts')).at(-1) === 'no ext')
  t.equal(reader.stay('texts').entries.length, seq + 3 + wrongly, 'what was refused is not in the log')
  clean(t, ann, mod, bot, admin, reader)
})

t.test('nonces, slow mode, locks, blocked terms: a repeat gets the first answer', async (t) => {
  const [ann, other, mod] = await Promise.all([user('ann'), user('ann'), user('mod', { roles: ['moderator'] })])
  for (const client of [ann, other, mod]) await client.join('rules')
  const first = await ann.say('rules', 'first', { nonce: 'same' })
  const repeats = await Promise.all([ann.say('rules', 'another', { nonce: 'same' }), other.say('rules', 'first', { nonce: 'same' })])
  t.same(repeats.map((frame) => frame[2]), [first[2], first[2]], 'the first answer')
  const both = await Promise.all([ann, other, ann].map(async (client) => await client.say('rules', 'at once', { nonce: 'race' })))
  t.equal(new Set(both.map((frame) => frame[2][0])).size, 1, 'at the same time')
  t.not((await mod.say('rules', 'mine', { nonce: 'same' }))[2][0], first[2][0], 'a nonce is per user')
  await setRoom(open, 'rules', { slowModeSeconds: 60, blockedTerms: ['parsnip'] })
  t.same((await ann.first(OP.STATE)).slice(3)[0]?.slowModeSeconds, 60, 'STATE says so')
  const repeat = async (why: string, body = 'first'): Promise<void> => { t.same((await ann.say('rules', body, { nonce: 'same' }))[2], first[2], why) }
  const early = await ann.say('rules', 'too soon', { nonce: 'later' })
  isError(t, early, 22, 'slow mode, its last message was just now')
  if (early[0] === OP.OK) isError(t, await ann.say('rules', 'too soon', { nonce: 'latest' }), 22, 'slow mode')
  t.ok((await ann.say('rules', 'too soon'))[5] <= 60_000, 'no longer than the mode')
  await repeat('a repeat in slow mode')
  isError(t, await other.say('rules', 'a Parsnip here'), [22, 26], 'blocked or too soon')
  await setRoom(open, 'rules', { slowModeSeconds: 0 })
  isError(t, await ann.say('rules', 'a Parsnip here'), 26, 'a term of the room')
  await repeat('a repeat, whatever its body', 'parsnip')
  await repeat('a repeat, whatever its length', 'x'.repeat(501))
  t.equal((await ann.say('rules', 'after an ERR', { nonce: 'later' }))[0], OP.OK, 'a nonce that got ERR may be used again')
  await setRoom(open, 'rules', { locked: true })
  isError(t, await ann.say('rules', 'locked'), 30, 'a locked room')
  await repeat('a repeat in a locked room')
  t.equal((await mod.say('rules', 'staff'))[0], OP.OK, 'staff may')
  const page = await ann.ask(OP.HISTORY, 'rules', null, 200)
  t.same(page[3].filter((entry: Frame) => entry[0] === OP.MESSAGE).map((entry: Frame) => entry[5]), ['first', 'at once', 'mine', early[0] === OP.OK ? 'too soon' : 'after an ERR', 'staff'], 'each once')
  const late = await anonymous()
  t.match((await late.join('rules')).state, { slowModeSeconds: 0, locked: true }, 'the sum of all STATE')
  await setRoom(open, 'rules', { locked: null, title: 'Rules' })
  await late.first(OP.STATE, (frame) => frame[3].locked === null || frame[3].locked === false)
  clean(t, ann, other, mod, late)
})

t.test('frames that are well made, odd or bad', async (t) => {
  const ann = await user('ann')
  await ann.join('odd')
  for (const op of [0, 11, 31]) {
    ann.send([op, 900 + op, 'x'], [op, 'no rid'], [op])
    isError(t, await ann.answer(900 + op), 2, `op ${op}`, 900 + op)
    await ann.ping()
    t.equal(ann.frames.filter((frame) => frame[0] === OP.ERR && frame[1] === null && frame[2] === 2).length, 2, `op ${op} without a rid`)
    ann.frames.length = 0
  }
  for (const [action, code] of [['clear', 11], ['explode', 2]] as const) isError(t, await ann.ask(OP.MODERATE, 'odd', action, {}), code, `MODERATE ${action} without the role`)
  ann.frames.length = 0
  ann.send([OP.SIGNAL, 'odd', 'typing', true], [OP.SIGNAL, 'elsewhere', 'unknown'])
  ann.send([OP.PING, 1, 'no map'], [OP.PING, 2, 7])
  await ann.ping()
  t.same(ann.frames.filter((frame) => frame[0] !== OP.VIEWERS && frame[0] !== OP.ROOM && frame[0] !== OP.PONG && frame[1] !== null && frame[2] !== 2), [], 'SIGNAL is not answered')
  t.equal(ann.frames.filter((frame) => frame[0] === OP.ERR && frame[1] === null && frame[2] === 1).length, 2, 'positions must be a map')
  ann.raw(bytes('9303cb4059000000000000', encode('nowhere'), '9303d30000000000000065', encode('nowhere'), '9303cf001fffffffffffff', encode('nowhere')))
  for (const rid of [100, 101, 2 ** 53 - 1]) isError(t, await ann.answer(rid), 13, `a rid in another form, ${rid}`, rid)
  isError(t, await ann.ask(OP.AUTH), 1, 'AUTH without a token')
  t.same((await Promise.all([ann.ask(OP.HISTORY, 'odd', null, 5), ann.ask(OP.HISTORY, 'odd', 5, 0)])).map((frame) => frame.slice(2)), [['odd', [], false], ['odd', [], false]])
  for (const fields of [['odd', null], ['odd', -1, 5], ['odd', null, 'x'], ['no room!', null, 5]]) isError(t, await ann.ask(OP.HISTORY, ...fields), 1, `HISTORY ${JSON.stringify(fields)}`)
  ann.raw(bytes(deep(8)))
  await ann.ping()
  clean(t, ann)
  await Promise.all(Object.entries(BAD_FRAMES).map(async ([what, data]) => {
    const client = await anonymous()
    client.raw(data)
    const { bye, code } = await client.end()
    t.match([bye, code], [[OP.BYE, 4500, String, Number], 4500], what)
    t.same(client.faults, [])
  }))
  const bob = await user('bob')
  await bob.join('odd')
  bob.raw(bytes(encode([OP.SEND, 1000, 'odd', 'n', 0, 'not acted on', null]), 'c1'))
  t.equal((await bob.end()).code, 4500)
  const [long, fits] = [await anonymous(), await anonymous()]
  long.raw(new Uint8Array(16_385))
  t.equal((await long.end()).code, 1006, 'above 16 KiB: no close code')
  fits.raw(bytes('9208c50ffb', new Uint8Array(4091)))
  t.equal((await fits.first(OP.PONG))[1].length, 4091, '4096 bytes')
  t.same((await fits.ask(OP.HISTORY, 'odd', null, 9))[3], [], 'what came before a bad frame was not acted on')
  clean(t, fits)
})

t.test('AUTH, private and deleted rooms, expiry, too many connections', async (t) => {
  const expires = Math.floor(Date.now() / 1000) + 900
  const ann = await user('ann', { rooms: { club: [] }, expires: Math.floor(Date.now() / 1000) + 5 })
  const [bob, reader] = [await user('bob'), await anonymous()]
  for (const client of [ann, bob, reader]) for (const room of ['club', 'hall']) await client.join(room)
  const { epoch } = ann.stay('club')
  await setRoom(open, 'club', { private: true })
  for (const [client, code] of [[bob, 11], [reader, 10]] as const) {
    isError(t, await client.first(OP.ERR), 11, 'out of a room that became private', null)
    isError(t, await client.ask(OP.JOIN, 'club', null), code, 'JOIN of a private room')
    isError(t, await client.ask(OP.HISTORY, 'club', null, 5), code, 'HISTORY of a private room')
    t.same([...client.stays.keys()], ['hall'], 'only out of that one')
  }
  isHttpError(t, await open.request('GET', '/v1/rooms/club/messages'), 10, 'GET of a private room')
  await t.rejects(Events.open(`${open.http}/v1/rooms/club/events`), /^401/, 'events of a private room')
  isError(t, await ann.ask(OP.AUTH, 'rubbish'), 10, 'AUTH with rubbish')
  isError(t, await ann.ask(OP.AUTH, await mint('bob')), 11, 'AUTH as another')
  t.equal((await ann.say('club', 'still')).at(0), OP.OK, 'the former token counts on')
  t.same((await reader.ask(OP.AUTH, await mint('new', { expires })))[2], expires * 1000, 'AUTH of an anonymous connection')
  t.match(await reader.say('hall', 'now I may'), [OP.OK])
  await bob.first(OP.MESSAGE, (frame) => frame[5] === 'now I may' && frame[3][0] === 'new')
  let answer: Frame
  do answer = await ann.say('hall', 'until it expires'); while (answer[0] === OP.OK && Date.now() < expires * 1000 - 890_000)
  isError(t, answer, 10, 'SEND with a token that has expired')
  t.match(await ann.ask(OP.HISTORY, 'hall', null, 1), [OP.PAGE], 'reading goes on')
  t.same((await ann.ask(OP.AUTH, await mint('ann', { rooms: { club: [] }, expires })))[2], expires * 1000, 'a fresh token')
  t.match(await ann.say('club', 'fresh'), [OP.OK])
  t.same((await ann.ask(OP.AUTH, await mint('ann', { expires })))[2], expires * 1000, 'one without the room')
  isError(t, await ann.first(OP.ERR, (frame) => frame[1] === null), 11, 'out of the room that the new token does not allow', null)
  t.same((await open.request('DELETE', '/v1/rooms/hall', { token: API_KEY })).status, 204)
  for (const client of [ann, bob]) isError(t, await client.first(OP.ERR, (frame) => frame[1] === null && frame[2] === 12), 12, 'out of a room that was deleted', null)
  const again = await bob.join('hall', { position: [epoch, 0] })
  t.match(again, { head: 0, recovered: false }, 'a new room')
  const many: Client[] = []
  for (let n = 0; n < 11; n++) many.push(await user('many'))
  t.match(await many[0]?.end(), { bye: [OP.BYE, 4508, String, Number], code: 4508 }, 'the oldest gives way')
  await many[1]?.ping()
  clean(t, ann, bob, reader, ...many.slice(1))
})

t.test('HISTORY and REST: paging, sending, rooms', async (t) => {
  const reader = await anonymous()
  await crowd(open, 'pages', 450)
  const all: Frame[] = []
  for (let page: Frame = await reader.ask(OP.HISTORY, 'pages', null, 999); ; page = await reader.ask(OP.HISTORY, 'pages', all[0]?.[1], 200)) {
    t.ok(page[3].length <= 200 && page[3].length > 0, `a page of ${page[3].length}`)
    all.unshift(...page[3])
    if (page[4] === false) break
  }
  t.same(all.map((entry) => entry[1]), Array.from({ length: 450 }, (_, i) => i + 1), 'to the beginning')
  t.match(await reader.ask(OP.HISTORY, 'pages', 1, 10), [OP.PAGE, Number, 'pages', [], false], 'nothing before the first')
  t.match((await reader.ask(OP.HISTORY, 'pages', 100, 0)).slice(3), [[[OP.MESSAGE, 99]], true], 'a limit of 0 counts as 1')
  const get = async (query: string): Promise<any> => (await open.request('GET', `/v1/rooms/pages/messages?${query}`)).json
  const asJson = all.map(([, seq, ts, [id, name, roles], kind, body, ext]) => ({ op: 'message', seq, ts, user: { id, name, roles }, kind, body, ext: ext ?? null }))
  const newest = await get('')
  t.same([newest.head, newest.more, newest.entries], [450, true, asJson.slice(-50)], 'the newest 50, the same entries')
  t.same([(await get('before=11')).entries, (await get('before=11')).more], [asJson.slice(0, 10), false], 'before')
  t.match(await get('after=440&limit=5'), { entries: [{ seq: 441 }, {}, {}, {}, { seq: 445 }], more: true }, 'after, in that direction')
  t.match(await get('after=445&limit=5'), { entries: { length: 5 }, more: false }, 'after, to the end')
  isHttpError(t, await open.request('GET', '/v1/rooms/pages/messages?before=5&after=2'), 1, 'before and after')
  isHttpError(t, await open.request('GET', '/v1/rooms/never-made'), 12, 'no such room')
  await reader.ask(OP.HISTORY, 'never-made', null, 5)
  isHttpError(t, await open.request('GET', '/v1/rooms/never-made'), 12, 'HISTORY makes no room')
  const ann = await mint('ann')
  const post = async (json: unknown, token: string | null = ann): Promise<Awaited<ReturnType<Program['request']>>> => await open.request('POST', '/v1/rooms/rest/messages', { json, ...(token === null ? {} : { token }) })
  const first = await post({ nonce: 'r-1', body: ' by REST ', ext: { at: ['bob'], other: 1 } })
  t.match(first, { status: 201, json: { seq: 1, ts: Number, epoch: String } })
  t.match(await post({ nonce: 'r-1', body: 'other' }), { status: 200, json: first.json }, 'a nonce that is known')
  const stay = await reader.join('rest')
  t.same(stay.entries[0], [OP.MESSAGE, 1, first.json.ts, ['ann', 'ann', 0], 0, 'by REST', { at: ['bob'] }])
  t.equal(stay.epoch, first.json.epoch)
  t.equal((await post({ nonce: 'r-5', kind: 5, body: 'AAH/' })).status, 201)
  t.same([...(await reader.first(OP.MESSAGE, (frame) => frame[4] === 5))[5]], [0, 1, 255], 'kind 5 as base64')
  t.match((await open.request('GET', '/v1/rooms/rest/messages?limit=1')).json.entries, [{ kind: 5, body: 'AAH/' }])
  const refused: Array<[unknown, string | null, number]> = [[{ nonce: 'n', body: 'x' }, null, 10], [{ nonce: 'n', body: 'x' }, 'rubbish', 10], [{ nonce: 'n', body: '' }, ann, 1], [{ nonce: 'n', body: 'x'.repeat(501) }, ann, 25], [{ body: 'x' }, ann, 1],
    [{ nonce: 'n', body: 'x', kind: 4 }, ann, 2], [{ nonce: 'n', body: 'x', kind: 2 }, ann, 11]]
  for (const [json, token, code] of refused) isHttpError(t, await post(json, token), code, JSON.stringify(json).slice(0, 40))
  t.equal((await post({ nonce: 'r-6', kind: 2, body: 'Listen', as: { id: 'u', name: 'Ursula', roles: ['broadcaster'] } }, API_KEY)).status, 201)
  t.match(await reader.first(OP.MESSAGE, (frame) => frame[4] === 2), [OP.MESSAGE, 3, Number, ['u', 'Ursula', 8]], 'as any user')
  await setRoom(open, 'rest', { slowModeSeconds: 30 })
  t.match((await open.request('GET', '/v1/rooms?prefix=res&limit=5', { token: API_KEY })).json, { rooms: [{}], more: false })
  await post({ nonce: 'r-7', body: 'one' })
  isHttpError(t, await post({ nonce: 'r-8', body: 'two' }), 22, 'slow mode')
  t.match((await open.request('GET', '/v1/rooms/rest/viewers')).json, { room: 'rest', viewers: 1 })
  isHttpError(t, await open.request('PUT', '/v1/rooms/rest', { token: ann, json: { settings: { title: 'Mine' } } }), 11, 'PUT by a viewer')
  clean(t, reader)
})

t.test('server-sent events', async (t) => {
  const url = `${open.http}/v1/rooms/stream/events`
  await crowd(open, 'stream', 30)
  const stream = await Events.open(`${url}?history=5`)
  const { id, data } = await stream.first('joined')
  t.match([id, data], [`${data.epoch}-25`, { room: 'stream', seq: 30, state: {}, recovered: false, viewers: Number }])
  await stream.first('message', (entry) => entry.seq === 30)
  t.equal(stream.retry, 2000)
  await setRoom(open, 'stream', { title: 'Live' })
  const state = await stream.first('state')
  t.match(state, { id: `${data.epoch}-31`, data: { op: 'state', seq: 31, changes: { title: 'Live' } } })
  t.same(stream.events.filter(({ id: one, event }) => one !== null && event !== 'joined').map((one) => one.id), [26, 27, 28, 29, 30, 31].map((seq) => `${data.epoch}-${seq}`))
  const resumes: Array<[string, string, boolean, number]> = [[`${data.epoch}-28`, '', true, 28], [`${data.epoch}-31`, '', true, 31], [`${data.epoch}-99`, '', false, 29], ['other-28', '', false, 29], ['rubbish', '', false, 29], ['', `&lastEventId=${data.epoch}-20`, true, 20]]
  for (const [last, query, recovered, before] of resumes) {
    const again = await Events.open(`${url}?history=2${query}`, last === '' ? {} : { 'last-event-id': last })
    t.match(await again.first('joined'), { id: `${data.epoch}-${before}`, data: { seq: 31, recovered } }, `${last}${query}`)
    if (before < 31) t.equal((await again.until('the first', () => again.events.find((one) => one.event !== 'joined' && one.id !== null))).id, `${data.epoch}-${before + 1}`)
    again.close()
  }
  const short = await Events.open(`${url}?token=${await mint('short', { expires: Math.floor(Date.now() / 1000) + 1 })}`)
  t.match((await short.first('bye')).data, { code: 4401, reason: String, reconnectAfterMs: Number }, 'the end of the token ends the stream')
  await t.rejects(Events.open(`${url}?token=rubbish`), /^401/)
  const gone = await Events.open(`${open.http}/v1/rooms/gone/events`)
  await gone.first('joined')
  await open.request('DELETE', '/v1/rooms/gone', { token: API_KEY })
  await gone.until('the end', () => gone.over)
  t.same(gone.events.map(({ event }) => event).filter((event) => !['joined', 'message', 'remove', 'state', 'edit', 'skipped', 'viewers', 'refused', 'bye'].includes(event)), [], 'a deleted room ends the stream with an event of the document')
  const idle = await idleEvents
  await idle.until('a comment within 15 s', () => idle.comments > 0, 15_000)
  for (const one of [idle, stream]) one.close()
})

t.test('a live view of a hot room: what is left out is said', async (t) => {
  await setRoom(open, 'hot', { liveMessagesPerSecond: 2 })
  const [live, full, author, mod] = await Promise.all([user('viewer'), user('watcher'), user('fan'), user('mod', { roles: ['moderator'] })])
  const sampled = await live.join('hot', { view: 'live' })
  for (const client of [full, author, mod]) await client.join('hot', { encoding: client === full ? 'deflate' : 'of tomorrow' })
  const mine = (await live.say('hot', 'mine'))[2][0]
  const kept = ['mine', 'for you', 'a reply', 'by staff', 'ha '.repeat(150).trim(), 'the last']
  const half = crowd(open, 'hot', 150, 40)
  await full.until('heat', () => full.stay('hot').entries.length > 60)
  await Promise.all([author.say('hot', 'for you', { ext: { at: ['viewer'] } }), author.say('hot', 'a reply', { ext: { re: mine } }), mod.say('hot', 'by staff'), mod.say('hot', kept[4], { kind: 2 })])
  await half
  const last = (await mod.say('hot', 'the last'))[2][0]
  await live.until('the last', () => sampled.next === last + 1)
  await full.until('the last', () => full.stay('hot').next === last + 1)
  t.same(kept.filter((body) => !bodies(sampled).includes(body)), [], 'never left out')
  const missed = sampled.skipped.reduce((sum, [, , , count]) => sum + Number(count), 0)
  t.ok(missed > 0 && sampled.skipped.every(([, , , , reason]) => reason === 'sampled'), `${missed} left out of ${last}`)
  t.equal(sampled.entries.filter((entry) => entry[1] > sampled.head).length + missed, last - sampled.head, 'shown and left out make up all')
  t.same([full.stay('hot').skipped, full.deflated > 0, live.deflated + author.deflated + mod.deflated], [[], true, 0], 'a full view is never sampled; deflated is what asked for it')
  t.equal((await live.join('hot', { view: 'live', position: [sampled.epoch, sampled.head] })).entries.length, last - sampled.head, 'what follows a resume is not sampled')
  clean(t, live, full, author, mod)
})

t.test('limits of a strict server', async (t) => {
  const quiet = await Client.open(strict.ws, { headers: { origin: 'https://example.org' } })
  t.match(await quiet.end(), { bye: [OP.BYE, 4402, String, Number], code: 4402 }, 'no HELLO')
  const ready = async (id: string | null): Promise<Client> => await strictly(id === null ? null : await mintStrict(id), OP.WELCOME)
  const ann = await ready('ann')
  t.match((await ann.first(OP.WELCOME))[4], { messageBytes: 1024, textCharacters: 20, rooms: 2 })
  isError(t, await ann.ask(OP.JOIN, 'unmade', null), 12, 'JOIN where rooms are not made on demand')
  for (const room of ['a', 'b', 'c']) await setRoom(strict, room, { title: room })
  for (const room of ['a', 'b']) await ann.join(room)
  isError(t, await ann.ask(OP.JOIN, 'c', null), 11, 'a third room')
  isError(t, await ann.say('a', 'x'.repeat(21)), 25, '21 characters')
  isError(t, await ann.say('a', 'TURNIP'), 26, 'a blocked term')
  for (let n = 0; ; n++) {
    const answer = await ann.say('a', `burst ${n}`)
    if (answer[0] === OP.OK && n < 50) continue
    t.ok(n >= 7, `${n} at once`)
    isError(t, answer, 23, 'too many messages')
    break
  }
  for (let n = 0; n < 200 && ann.closed === null; n++) {
    const before = ann.frames.length
    ann.send(...Array.from({ length: 32 }, () => [OP.HISTORY, ann.nextRid(), 'a', null, 1]))
    // One message at a time: one on its way when the server closes would have the system drop the close frame.
    await ann.until('32 answers', () => ann.closed ?? ann.frames.length >= before + 32)
  }
  t.match(await ann.end(), { bye: [OP.BYE, 4429, String, Number], code: 4429 }, 'frames regardless of ERR')
  isError(t, await ann.first(OP.ERR, (frame) => frame[2] === 23 && frame[1] !== null && /frame/.test(frame[4])), 23, 'too many frames')
  const crowded = await Promise.all(Array.from({ length: 10 }, async () => await ready(null)))
  let refused = await handshake(strict.ws, { origin: 'https://example.org' }, encode([OP.HELLO, null, null]))
  for (let n = 0; n < 3 && refused.status === 101; n++) refused = await handshake(strict.ws, { origin: 'https://example.org' }, encode([OP.HELLO, null, null]))
  isHttpError(t, refused, 23, 'too many connections from one address')
  clean(t, ...crowded)
  await silent.then(async ({ end }) => await end)
  t.pass('a connection from which nothing comes is closed')
})

t.test('tokens', async (t) => {
  const [keyed, cut, free] = await others
  const bad: Record<string, string> = {
    rubbish: 'aaa.bbb.ccc',
    empty: '',
    'another secret': await mint('u', { secret: 'another secret of more than thirty-two bytes' }),
    expired: await mint('u', { expires: new Date(Date.now() - 120_000) }),
    'none as algorithm': new UnsecuredJWT({ sub: 'u' }).setExpirationTime('1h').encode(),
    'no exp': await new SignJWT({ sub: 'u' }).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(SECRET)),
    'no sub': await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setExpirationTime('1h').sign(new TextEncoder().encode(SECRET)),
    'a sub too long': await mint('u'.repeat(129))
  }
  for (const [what, token] of Object.entries(bad)) {
    const client = await Client.open(open.ws)
    client.send([OP.HELLO, token, null])
    const { bye, code } = await client.end()
    // Section 4 says 4501 for what is not valid, section 10 has 4401 for what has expired: take either there.
    const expected = what === 'expired' && code === 4401 ? 4401 : 4501
    t.match(client.frames, [[OP.ERR, null, 10, 'unauthorized', String], [OP.BYE, expected, String, Number]], `${what}: ERR, BYE, close`)
    t.same([bye?.[1], code], [expected, expected], what)
  }
  for (const alg of ['HS384', 'HS512']) {
    clean(t, await Client.ready(open.ws, await new SignJWT({}).setProtectedHeader({ alg }).setSubject(alg).setExpirationTime('1h').sign(new TextEncoder().encode(SECRET))))
  }
  for (const [kid, alg] of [['es', 'ES256'], ['ed', 'EdDSA'], ['rs', 'RS256']] as const) {
    const token = await new SignJWT({ name: alg }).setProtectedHeader({ alg, kid }).setSubject(kid).setExpirationTime('1h').sign(keys[kid].privateKey)
    const client = await Client.ready(keyed.ws, token)
    t.same((await client.first(OP.WELCOME))[2], [kid, alg, 0], `${alg} by JWKS`)
    clean(t, client)
  }
  const busy = await Client.ready(keyed.ws)
  await busy.ask(OP.JOIN, 'one', null)
  isError(t, await busy.ask(OP.JOIN, 'another', null), 41, 'more rooms than the server keeps')
  clean(t, busy)
  const away = await Client.open(cut.ws)
  away.send([OP.HELLO, await new SignJWT({}).setProtectedHeader({ alg: 'ES256', kid: 'es' }).setSubject('u').setExpirationTime('1h').sign(keys.es.privateKey), null])
  t.match(await away.end(), { bye: [OP.BYE, 4440, String, Number], code: 4440 }, 'keys out of reach')
  isError(t, await away.first(OP.ERR), 40, 'keys out of reach', null)
  const dev = await free.request('POST', '/v1/dev/token', { json: { id: 'dev', name: 'Dev', roles: ['admin'] } })
  const client = await Client.ready(free.ws, dev.json.token)
  t.same((await client.first(OP.WELCOME))[2], ['dev', 'Dev', 16], 'a development token')
  isHttpError(t, await handshake(free.ws), 41, 'the server is full')
  clean(t, client)
  isHttpError(t, await open.request('POST', '/v1/dev/token', { json: { id: 'dev' } }), 12, 'no development tokens where there is a key')
  for (const [what, more] of [['issuer', { issuer: 'x' }], ['audience', { audience: 'x' }]] as const) {
    t.equal((await (await strictly(await mintStrict('u', more), OP.ERR)).end()).code, 4501, `another ${what}`)
  }
})

t.test('VIEWERS, a restart, resume, BYE', async (t) => {
  const [one, two] = watched
  await one.until('VIEWERS', () => one.stay('watched').viewers === 2)
  const ann = await user('ann')
  for (const room of ['back', 'forth']) await ann.join(room)
  const first = await ann.say('back', 'before', { nonce: 'kept' })
  const events = await Events.open(`${open.http}/v1/rooms/back/events`)
  const { epoch } = ann.stay('back')
  const stopped = open.stop()
  for (const client of [one, two, ann]) t.match(await client.end(), { bye: [OP.BYE, 4413, String, Number], code: 4413 }, 'BYE')
  t.match((await events.first('bye')).data, { code: 4413, reason: String, reconnectAfterMs: Number })
  t.equal(await stopped, 0)
  clean(t, one, two, ann)
  await open.launch()
  const again = await user('ann')
  t.match(await again.join('back', { position: [epoch, 0] }), { epoch, head: 1, recovered: true, entries: [[OP.MESSAGE, 1]] }, 'the log is still there')
  t.same((await again.say('back', 'before', { nonce: 'kept' }))[2], first[2], 'and its nonces')
  const resumed = await Events.open(`${open.http}/v1/rooms/back/events`, { 'last-event-id': `${epoch}-0` })
  t.match((await resumed.first('joined')).data, { seq: 1, recovered: true })
  resumed.close()
  clean(t, again)
})
