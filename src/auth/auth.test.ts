// Tokens of every algorithm with real keys, every way a token can be wrong, JWKS rotation against a real HTTP server,
// and the whole table of permissions.

import { createHmac, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { exportJWK, SignJWT, UnsecuredJWT, type JWK } from 'jose'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { ROLE, type RoleName } from '../../proto/ops.ts'
import { ManualClock } from '../base/clock.ts'
import { loadConfig } from '../base/config.ts'
import { Refusal } from '../base/errors.ts'
import { can, rolesIn, userIn, type Action, type Identity } from './auth.ts'
import { Authenticator, createAuthenticator, parseIdentity, TOKEN_EXPIRED, type DevTokens } from './authenticator.ts'
import { cleanName } from './claims.ts'

const SECRET = 'a secret of thirty-two bytes or more'
const NOW_S = 1_700_000_000

interface Line { readonly level: number, readonly msg: string, readonly [key: string]: unknown }

function setUp (env: Record<string, string>): { authenticator: Authenticator, clock: ManualClock, lines: Line[] } {
  const clock = new ManualClock(NOW_S * 1000)
  const lines: Line[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => { lines.push(JSON.parse(line) as Line) } })
  return { authenticator: createAuthenticator(loadConfig(env), { clock, log }), clock, lines }
}

interface Signing { alg?: string, key?: KeyObject | Uint8Array, kid?: string, header?: Record<string, unknown> }

function sign (claims: Record<string, unknown> = {}, { alg = 'HS256', key = Buffer.from(SECRET), kid, header }: Signing = {}): Promise<string> {
  const token = new SignJWT({ sub: 'ann', exp: NOW_S + 60, ...claims })
  return token.setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }), ...header }).sign(key)
}

/** Signs whatever text stands for header and payload, as no library would. */
function forge (header: string, payload: string, hash = 'sha256', secret: string | Buffer = SECRET): string {
  const input = `${Buffer.from(header).toString('base64url')}.${Buffer.from(payload).toString('base64url')}`
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`
}

function identity (t: Test, verdict: Identity | Refusal): Identity {
  if (verdict instanceof Refusal) t.fail(`refused: ${verdict.message}`)
  return verdict as Identity
}

function refused (t: Test, verdict: Identity | Refusal, sentence: RegExp, name = 'unauthorized'): void {
  t.ok(verdict instanceof Refusal, `refused: ${sentence.source}`)
  if (verdict instanceof Refusal) t.match({ name: verdict.name, message: verdict.message }, { name, message: sentence })
}

const pairs = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519')
}

function pemFile (t: Test, key: KeyObject): string {
  const path = join(t.testdir(), 'key.pem')
  writeFileSync(path, key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }))
  return path
}

t.test('a shared secret takes HS256, HS384 and HS512', async (t) => {
  const { authenticator } = setUp({ JWT_SECRET: SECRET })
  await authenticator.start()
  t.equal(authenticator.devTokens, null)
  for (const alg of ['HS256', 'HS384', 'HS512']) {
    t.equal(identity(t, await authenticator.verify(await sign({}, { alg }))).id, 'ann', alg)
  }
  refused(t, await authenticator.verify(await sign({}, { key: randomBytes(32) })), /signature does not fit/)
  for (const alg of ['RS256', 'ES256', 'EdDSA'] as const) {
    refused(t, await authenticator.verify(await sign({}, { alg, key: pairs[alg].privateKey })), /sign it with HS256 or HS384 or HS512/)
  }
  await authenticator.stop()
})

t.test('a key file takes the one algorithm of its key', async (t) => {
  for (const alg of ['RS256', 'ES256', 'EdDSA'] as const) {
    const { publicKey, privateKey } = pairs[alg]
    const { authenticator } = setUp({ JWT_PUBLIC_KEY_FILE: pemFile(t, publicKey) })
    refused(t, await authenticator.verify(await sign()), /starting/, 'unavailable')
    await authenticator.start()
    t.equal(identity(t, await authenticator.verify(await sign({}, { alg, key: privateKey }))).id, 'ann', alg)
    // The classic confusion: the public key, which everyone has, used as the secret of an HS256 token.
    const pem = publicKey.export({ type: 'spki', format: 'pem' })
    refused(t, await authenticator.verify(forge('{"alg":"HS256"}', `{"sub":"eve","exp":${NOW_S + 60}}`, 'sha256', pem)), /algorithm is not accepted/)
    const other = alg === 'RS256' ? 'ES256' : 'RS256'
    refused(t, await authenticator.verify(await sign({}, { alg: other, key: pairs[other].privateKey })), /algorithm is not accepted/)
    const stranger = alg === 'RS256' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
    refused(t, await authenticator.verify(await sign({}, { alg, key: stranger.privateKey })), /signature does not fit/)
  }
})

t.test('a key file that will not do fails the start with a sentence', async (t) => {
  const bad: readonly [string, KeyObject, RegExp][] = [
    ['P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey, /P-256/],
    ['Ed448', generateKeyPairSync('ed448').publicKey, /not ed448/],
    ['short RSA', generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey, /2048 bits/],
    ['private', pairs.EdDSA.privateKey, /private key/]
  ]
  for (const [what, key, sentence] of bad) {
    await t.rejects(setUp({ JWT_PUBLIC_KEY_FILE: pemFile(t, key) }).authenticator.start(), { message: sentence }, what)
  }
  const junk = join(t.testdir({ 'key.pem': 'no key at all' }), 'key.pem')
  await t.rejects(setUp({ JWT_PUBLIC_KEY_FILE: junk }).authenticator.start(), { message: /public key in PEM/ })
})

t.test('tokens that are wrong are refused with a sentence that holds nothing of them', async (t) => {
  const { authenticator } = setUp({ JWT_SECRET: SECRET, JWT_ISSUER: 'https://issuer.example', JWT_AUDIENCE: 'chat' })
  await authenticator.start()
  const right = { iss: 'https://issuer.example', aud: ['chat', 'video'] }
  t.equal(identity(t, await authenticator.verify(await sign(right))).id, 'ann')
  const json = (claims: Record<string, unknown>): string => JSON.stringify({ sub: 'ann', exp: NOW_S + 60, ...right, ...claims })
  const hs = '{"alg":"HS256"}'
  const wrong: readonly [string, string, RegExp][] = [
    ['empty', '', /there is no token/],
    ['junk', 'junk', /not a signed JWT/],
    ['two parts', 'aaaa.bbbb', /not a signed JWT/],
    ['five parts', 'a.b.c.d.e', /not a signed JWT/],
    ['other characters', `${await sign(right)}\n`, /not a signed JWT/],
    ['base64url of nothing', 'aaaa.bbbb.cccc', /malformed|cannot be verified/],
    ['oversized', await sign({ ...right, pad: 'x'.repeat(4096) }), /longer than 4096/],
    ['alg none', new UnsecuredJWT({ sub: 'ann', exp: NOW_S + 60, ...right }).encode(), /algorithm is not accepted/],
    ['alg None', `${forge('{"alg":"None"}', json({})).split('.').slice(0, 2).join('.')}.`, /algorithm is not accepted/],
    ['alg missing', forge('{}', json({})), /malformed/],
    ['a key of its own', await new SignJWT({ sub: 'eve', exp: NOW_S + 60, ...right }).setProtectedHeader({ alg: 'ES256', jwk: pairs.ES256.publicKey.export({ format: 'jwk' }) as JWK }).sign(pairs.ES256.privateKey), /algorithm is not accepted/],
    ['an empty secret, by kid', forge('{"alg":"HS256","kid":"../../../dev/null"}', json({}), 'sha256', ''), /signature does not fit/],
    ['unencoded', forge('{"alg":"HS256","b64":false,"crit":["b64"]}', json({})), /not a JSON object/],
    ['alg a number', forge('{"alg":1}', json({})), /malformed/],
    ['crit unknown', forge('{"alg":"HS256","crit":["x"],"x":1}', json({})), /malformed or asks/],
    ['payload not JSON', forge(hs, 'no json'), /not a JSON object/],
    ['payload an array', forge(hs, '[]'), /not a JSON object/],
    ['tampered', (await sign(right)).replace(/\.[^.]*\./, `.${Buffer.from(json({ sub: 'eve' })).toString('base64url')}.`), /signature does not fit/],
    ['no signature', (await sign(right)).replace(/[^.]*$/, ''), /signature does not fit/],
    ['no exp', forge(hs, JSON.stringify({ sub: 'ann', ...right })), /has no "exp"/],
    ['exp a string', forge(hs, json({ exp: '1800000000' })), /"exp" must be a number/],
    ['exp endless', forge(hs, json({}).replace(/"exp":\d+/, '"exp":1e999')), /"exp" must be a number/],
    ['exp in milliseconds', await sign({ ...right, exp: NOW_S * 1000 }), /in seconds, not milliseconds/],
    ['nbf ahead', await sign({ ...right, nbf: NOW_S + 6 }), /"nbf" lies ahead/],
    ['nbf a string', forge(hs, json({ nbf: 'soon' })), /"nbf" must be a number/],
    ['no iss', await sign({ aud: 'chat' }), /has no "iss"/],
    ['other iss', await sign({ ...right, iss: 'https://secret-name.example' }), /"iss" is not the one/],
    ['no aud', await sign({ iss: right.iss }), /has no "aud"/],
    ['other aud', await sign({ ...right, aud: ['secret-name'] }), /"aud" is not the one/],
    ['no sub', forge(hs, JSON.stringify({ exp: NOW_S + 60, ...right })), /has no "sub"/],
    ['sub empty', await sign({ ...right, sub: '' }), /"sub" must be a string of 1 to 128/],
    ['sub a number', forge(hs, json({ sub: 7 })), /"sub" must be a string/],
    ['sub long', await sign({ ...right, sub: 'x'.repeat(129) }), /"sub" must be a string/],
    ['sub with control characters', await sign({ ...right, sub: 'ann\u0000' }), /"sub" must be a string/],
    ['sub with a bidi override', await sign({ ...right, sub: 'ann\u202egnp' }), /"sub" must be a string/],
    ['sub a lone surrogate', forge(hs, json({}).replace('"ann"', '"\\ud800"')), /"sub" must be a string/],
    ['name a number', forge(hs, json({ name: 7 })), /"name" must be a string/],
    ['roles a string', forge(hs, json({ roles: 'admin' })), /"roles" must be an array/],
    ['roles of numbers', forge(hs, json({ roles: [16] })), /"roles" must be an array/],
    ['too many roles', forge(hs, json({ roles: Array(65).fill('vip') })), /"roles" must be an array of at most 64/],
    ['rooms an array', forge(hs, json({ rooms: ['lobby'] })), /"rooms" must be an object/],
    ['rooms with a bad name', forge(hs, json({ rooms: { 'secret name': [] } })), /"rooms" has a key/],
    ['rooms of null', forge(hs, json({ rooms: { lobby: null } })), /"rooms" must map/],
    ['rooms of strings', forge(hs, json({ rooms: { 'secret-name': 'admin' } })), /each value in "rooms"/],
    ['too many rooms', forge(hs, json({ rooms: Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`r${n}`, []])) })), /"rooms" must have at most 200/],
    ['jti a number', forge(hs, json({ jti: 7 })), /"jti" must be a string/]
  ]
  for (const [what, token, sentence] of wrong) {
    await t.test(what, async (t) => {
      const verdict = await authenticator.verify(token)
      refused(t, verdict, sentence)
      t.notMatch((verdict as Refusal).message, /ann|eve|secret-name/)
    })
  }
  refused(t, await authenticator.verify(undefined as unknown as string), /no token/)
  t.equal(identity(t, await authenticator.verify(await sign({ ...right, nbf: NOW_S + 5 }))).id, 'ann', 'nbf within the tolerance')
  t.equal(identity(t, await authenticator.verify(await sign({ ...right, aud: 'chat' }))).id, 'ann', 'aud as a string')
})

t.test('a token ends at exp, give or take five seconds, remembered or not', async (t) => {
  const { authenticator, clock } = setUp({ JWT_SECRET: SECRET })
  await authenticator.start()
  const token = await sign({ exp: NOW_S + 10 })
  t.equal(identity(t, await authenticator.verify(token)).expiresAt, (NOW_S + 10) * 1000)
  clock.advance(14_999)
  t.ok(identity(t, await authenticator.verify(token)), 'remembered, within the tolerance')
  t.ok(identity(t, await authenticator.verify(await sign({ exp: NOW_S + 10, jti: 'fresh' }))), 'not remembered, within the tolerance')
  clock.advance(1)
  t.equal(await authenticator.verify(token), TOKEN_EXPIRED)
  t.equal(await authenticator.verify(token), TOKEN_EXPIRED, 'and again, by its signature')
  t.equal(await authenticator.verify(await sign({ exp: NOW_S + 10, jti: 'other' })), TOKEN_EXPIRED)
})

t.test('a verdict is remembered, a refusal is not', async (t) => {
  const { authenticator, clock } = setUp({ JWT_SECRET: SECRET })
  await authenticator.start()
  const token = await sign()
  const first = await authenticator.verify(token)
  t.equal(await authenticator.verify(token), first, 'the same identity, not a second one')
  const early = await sign({ nbf: NOW_S + 20 })
  refused(t, await authenticator.verify(early), /nbf/)
  clock.advance(20_000)
  t.equal(identity(t, await authenticator.verify(early)).id, 'ann')
})

t.test('claims become an identity', async (t) => {
  const { authenticator } = setUp({ JWT_SECRET: SECRET })
  await authenticator.start()
  const full = identity(t, await authenticator.verify(await sign({
    name: '  Ann \u202eof\u0007  Green\u200b Gables ', roles: ['subscriber', 'verified', 'emperor', '__proto__'], rooms: { lobby: ['moderator'], 'a:b.c-d_1': [], __proto__x: ['vip'] }, jti: 'one'
  })))
  t.same({ ...full, rooms: [...full.rooms] }, {
    id: 'ann', name: 'Ann of Green Gables', roles: ROLE.subscriber | ROLE.verified, rooms: [['lobby', ROLE.moderator], ['a:b.c-d_1', 0], ['__proto__x', ROLE.vip]], expiresAt: (NOW_S + 60) * 1000, tokenId: 'one', issuedAt: null
  })
  t.equal(rolesIn(full, 'lobby'), ROLE.subscriber | ROLE.verified | ROLE.moderator)
  t.same(userIn(full, 'elsewhere'), ['ann', 'Ann of Green Gables', ROLE.subscriber | ROLE.verified])
  const plain = identity(t, await authenticator.verify(await sign({ name: null, roles: null, rooms: null })))
  t.same({ ...plain, rooms: plain.rooms.size }, { id: 'ann', name: 'ann', roles: 0, rooms: 0, expiresAt: (NOW_S + 60) * 1000, tokenId: null, issuedAt: null })
  t.equal(identity(t, await authenticator.verify(await sign({ account_since: 1_600_000_000 }))).accountSince, 1_600_000_000_000)
  for (const since of ['2020', -1, 1e15, null]) refused(t, await authenticator.verify(await sign({ account_since: since })), /account_since/)
  const every = identity(t, await authenticator.verify(await sign({ roles: Object.keys(ROLE) })))
  t.equal(every.roles, 127)
})

t.test('names are made fit to show', (t) => {
  const cases: readonly [string, string][] = [
    ['Zoë Ünal', 'Zoë Ünal'], ['山田太郎', '山田太郎'], ['👩‍🚀 Ann', '👩‍🚀 Ann'], ['a\nb\tc', 'a b c'], ['\u0000\u001f', ''], ['\u200d\u200b', ''], ['\u3164', ''], ['   ', ''],
    ['x'.repeat(100), 'x'.repeat(64)], [`${'x'.repeat(63)}😀`, 'x'.repeat(63)], ['a\ud800b', 'ab'], ['z' + '\u0301'.repeat(50), 'z' + '\u0301'.repeat(4)], ['\u2066mod\u2069', 'mod'], ['a'.repeat(1_000_000), 'a'.repeat(64)]
  ]
  for (const [from, to] of cases) {
    t.equal(cleanName(from), to)
    t.ok(cleanName(from).isWellFormed())
  }
  t.end()
})

t.test('server keys', async (t) => {
  const keys = ['k'.repeat(24), 'another key, of some length']
  const { authenticator } = setUp({ API_KEYS: keys.join(',').replace('key, of', 'key of') })
  t.ok(authenticator.devTokens !== null, 'they are no keys for tokens')
  t.ok(authenticator.serverKey('k'.repeat(24)))
  t.ok(authenticator.serverKey('another key of some length'))
  for (const key of ['', 'k'.repeat(23), 'k'.repeat(25), 'x', 'k'.repeat(100_000)]) t.notOk(authenticator.serverKey(key))
  t.notOk(setUp({}).authenticator.serverKey(''), 'no keys, no entry')
})

t.test('the user that a server key acts for', (t) => {
  const bot = parseIdentity({ id: 'bot', name: 'Bot', roles: ['bot'], rooms: { lobby: ['moderator'] } })
  t.match(bot, { id: 'bot', name: 'Bot', roles: ROLE.bot, expiresAt: Infinity, tokenId: null })
  t.equal(rolesIn(bot as Identity, 'lobby'), ROLE.bot | ROLE.moderator)
  t.match(parseIdentity({ id: 'ann', roles: ['vip', 'mod'] }), { name: 'bad_request', message: /"roles" has the unknown role "mod"; there are subscriber, vip, moderator/ }, 'meant for us, so a slip')
  t.match(parseIdentity({ id: 'ann', rooms: { den: ['toString'] } }), { name: 'bad_request', message: /"rooms" has the unknown role "toString"/ })
  t.match(parseIdentity({ id: 'ann' }), { id: 'ann', name: 'ann', roles: 0 })
  const wrong: readonly [unknown, RegExp][] = [[null, /"as" must be/], ['ann', /"as" must be/], [[], /"as" must be/], [{}, /"as": "id" must/], [{ id: 7 }, /"id"/], [{ id: 'a', name: 7 }, /"name"/], [{ id: 'a', roles: 'bot' }, /"roles"/], [{ id: 'a', rooms: { 'no room': [] } }, /"rooms"/]]
  for (const [as, sentence] of wrong) refused(t, parseIdentity(as), sentence, 'bad_request')
  t.end()
})

t.test('without a key there are dev tokens, and a loud word', async (t) => {
  const { authenticator, clock, lines } = setUp({ JWT_ISSUER: 'me', JWT_AUDIENCE: 'you' })
  await authenticator.start()
  t.match(lines, [{ level: 40, msg: /NO KEY IS CONFIGURED/ }])
  const dev = authenticator.devTokens as DevTokens
  const token = await dev.mint({ id: 'ann', name: 'Ann', roles: ['moderator'], rooms: { den: ['vip'] } }) as string
  const verdict = identity(t, await authenticator.verify(token))
  t.match(verdict, { id: 'ann', name: 'Ann', roles: ROLE.moderator, expiresAt: (NOW_S + 86_400) * 1000 })
  t.same([...verdict.rooms], [['den', ROLE.vip]])
  t.not(await dev.mint({ id: 'ann' }), await dev.mint({ id: 'ann' }), 'each has its own jti')
  for (const request of [null, {}, { id: '' }, { id: 'a', roles: 'admin' }, { id: 'a', roles: ['mod'] }, { id: 'a', rooms: { den: ['vip', 'king'] } }]) t.match(await dev.mint(request), { name: 'bad_request' })
  refused(t, await setUp({}).authenticator.verify(token), /signature/)
  const brief = await dev.mint({ id: 'ann' }, 1) as string
  clock.advance(6000)
  t.equal(await authenticator.verify(brief), TOKEN_EXPIRED)
})

t.test('who may do what', (t) => {
  const room = (isPrivate: boolean): { name: string, isPrivate: boolean } => ({ name: 'den', isPrivate })
  const person = (roles: number, rooms: [string, number][] = []): Identity => ({ id: 'ann', name: 'Ann', roles, rooms: new Map(rooms), expiresAt: Infinity, tokenId: null })
  const actions: readonly Action[] = ['read', 'send', 'announce', 'configure', 'create', 'delete']
  const allowed = (who: Identity | null, isPrivate: boolean): string => actions.filter((action) => can(who, action, room(isPrivate))).join(' ')
  const inside: Record<RoleName | 'nothing', string> = {
    nothing: 'read send',
    subscriber: 'read send',
    vip: 'read send',
    verified: 'read send',
    bot: 'read send',
    moderator: 'read send announce',
    broadcaster: 'read send announce configure create',
    admin: 'read send announce configure create delete'
  }
  t.equal(allowed(null, false), 'read', 'anonymous, public')
  t.equal(allowed(null, true), '', 'anonymous, private')
  for (const [name, expected] of Object.entries(inside) as [RoleName | 'nothing', string][]) {
    const bits = name === 'nothing' ? 0 : ROLE[name]
    t.equal(allowed(person(bits), false), expected, `${name} everywhere, public`)
    t.equal(allowed(person(0, [['den', bits]]), false), expected, `${name} here, public`)
    t.equal(allowed(person(0, [['den', bits]]), true), expected, `${name} here, private`)
    t.equal(allowed(person(bits, [['den', 0]]), true), expected, `${name} everywhere and named, private`)
    t.equal(allowed(person(bits), true), name === 'admin' ? expected : '', `${name} everywhere but not named, private`)
    t.equal(allowed(person(0, [['other', bits]]), false), 'read send', `${name} elsewhere, public`)
    t.equal(allowed(person(0, [['other', bits]]), true), '', `${name} elsewhere, private`)
  }
  t.end()
})

interface KeyServer { url: string, server: Server, requests: number, answer: (response: ServerResponse) => void }

async function keyServer (t: Test): Promise<KeyServer> {
  const state: KeyServer = { url: '', requests: 0, answer: (response) => { response.end('{}') }, server: createServer((_, response) => { state.requests++; state.answer(response) }) }
  state.server.listen(0, '127.0.0.1')
  await once(state.server, 'listening')
  state.url = `http://127.0.0.1:${(state.server.address() as AddressInfo).port}/keys?x=1`
  t.teardown(() => { state.server.closeAllConnections(); state.server.close() })
  return state
}

async function jwks (keys: Record<string, KeyObject>): Promise<string> {
  return JSON.stringify({ keys: await Promise.all(Object.entries(keys).map(async ([kid, key]) => ({ ...await exportJWK(key), kid, use: 'sig' }))) })
}

const json = (text: string) => (response: ServerResponse): void => { response.setHeader('content-type', 'application/json').end(text) }

/** Waits until a line of the log fits. */
async function logged (lines: readonly Line[], pattern: RegExp, count = 1): Promise<void> {
  const end = performance.now() + 10_000
  while (lines.filter((line) => pattern.test(line.msg)).length < count) {
    if (performance.now() > end) throw new Error(`never logged: ${pattern.source}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

t.test('JWKS: every algorithm, by kid', async (t) => {
  const keys = await keyServer(t)
  keys.answer = json(await jwks({ r: pairs.RS256.publicKey, e: pairs.ES256.publicKey, d: pairs.EdDSA.publicKey }))
  const { authenticator } = setUp({ JWKS_URL: keys.url })
  t.teardown(() => authenticator.stop())
  refused(t, await authenticator.verify(await sign({}, { alg: 'RS256', key: pairs.RS256.privateKey, kid: 'r' })), /keys that verify/, 'unavailable')
  await authenticator.start()
  for (const [kid, alg] of [['r', 'RS256'], ['e', 'ES256'], ['d', 'EdDSA']] as const) {
    t.equal(identity(t, await authenticator.verify(await sign({}, { alg, key: pairs[alg].privateKey, kid }))).id, 'ann', alg)
    t.equal(identity(t, await authenticator.verify(await sign({ jti: 'no kid' }, { alg, key: pairs[alg].privateKey }))).id, 'ann', `${alg}, the only key of its kind`)
  }
  refused(t, await authenticator.verify(await sign({}, { alg: 'RS256', key: pairs.RS256.privateKey, kid: 'e' })), /no key of the JWKS fits/)
  refused(t, await authenticator.verify(await sign({}, { kid: 'r' })), /algorithm is not accepted/)
  // Keys that a token brings along, or says where to fetch, are not looked at.
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  for (const header of [{ jwk: own.publicKey.export({ format: 'jwk' }) }, { jku: `${keys.url}?mine` }, { x5u: `${keys.url}?mine` }]) {
    refused(t, await authenticator.verify(await sign({}, { alg: 'ES256', key: own.privateKey, kid: 'e', header })), /signature does not fit/)
    t.ok(identity(t, await authenticator.verify(await sign({ jti: JSON.stringify(Object.keys(header)) }, { alg: 'ES256', key: pairs.ES256.privateKey, kid: 'e', header }))))
  }
  refused(t, await authenticator.verify(forge('{"alg":"HS256","kid":"r"}', `{"sub":"eve","exp":${NOW_S + 60}}`, 'sha256', pairs.RS256.publicKey.export({ type: 'spki', format: 'pem' }))), /algorithm is not accepted/)
  t.equal(keys.requests, 1)
})

t.test('JWKS: a new key comes, an old one goes', async (t) => {
  const keys = await keyServer(t)
  const fresh = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const oldToken = await sign({ exp: NOW_S + 86_400 }, { alg: 'ES256', key: pairs.ES256.privateKey, kid: 'old' })
  const newToken = await sign({ exp: NOW_S + 86_400 }, { alg: 'ES256', key: fresh.privateKey, kid: 'new' })
  keys.answer = json(await jwks({ old: pairs.ES256.publicKey }))
  const { authenticator, clock, lines } = setUp({ JWKS_URL: keys.url })
  t.teardown(() => authenticator.stop())
  await authenticator.start()
  t.ok(identity(t, await authenticator.verify(oldToken)))

  keys.answer = json(await jwks({ old: pairs.ES256.publicKey, new: fresh.publicKey }))
  refused(t, await authenticator.verify(newToken), /no key of the JWKS fits/)
  t.equal(keys.requests, 1, 'within 30 s of a fetch there is no other')
  clock.advance(30_000)
  const verdicts = await Promise.all(Array.from({ length: 20 }, () => authenticator.verify(newToken)))
  t.ok(verdicts.every((verdict) => !(verdict instanceof Refusal)), 'all that waited are let in')
  t.equal(keys.requests, 2, 'by one fetch')
  t.ok(identity(t, await authenticator.verify(oldToken)), 'the old one still counts')

  keys.answer = json(await jwks({ new: fresh.publicKey }))
  clock.advance(600_000)
  await logged(lines, /keys changed/, 2)
  t.equal(keys.requests, 3, 'refreshed in the background')
  refused(t, await authenticator.verify(oldToken), /no key of the JWKS fits/)
  t.ok(identity(t, await authenticator.verify(newToken)))

  clock.advance(60_000)
  const unknown = await Promise.all(Array.from({ length: 50 }, (_, n) => sign({}, { alg: 'ES256', key: fresh.privateKey, kid: `junk${n}` }).then((token) => authenticator.verify(token))))
  t.ok(unknown.every((verdict) => verdict instanceof Refusal && verdict.name === 'unauthorized'))
  t.equal(keys.requests, 4, 'fifty unknown keys cost one fetch')
})

t.test('JWKS: stale keys serve while the address is away, for a day', async (t) => {
  const keys = await keyServer(t)
  const token = (kid = 'e'): Promise<string> => sign({ exp: NOW_S + 400_000, jti: randomBytes(8).toString('hex') }, { alg: 'ES256', key: pairs.ES256.privateKey, kid })
  keys.answer = json(await jwks({ e: pairs.ES256.publicKey }))
  const { authenticator, clock, lines } = setUp({ JWKS_URL: keys.url })
  t.teardown(() => authenticator.stop())
  await authenticator.start()
  const garbage: readonly [string, (response: ServerResponse) => void][] = [
    ['an error', (response) => { response.writeHead(503).end() }],
    ['a redirect', (response) => { response.writeHead(302, { location: keys.url }).end() }],
    ['no JSON', json('<html>')], ['no set', json('null')], ['not an array', json('{"keys":{}}')], ['an empty set', json('{"keys":[]}')], ['keys that are none', json('{"keys":[1]}')],
    ['too many keys', json(JSON.stringify({ keys: Array(101).fill({ kty: 'EC' }) }))],
    ['too much', json(`{"keys":[{"kty":"${'x'.repeat(300_000)}"}]}`)],
    ['an endless answer', (response) => { const more = (): void => { if (response.write('x'.repeat(65_536))) setImmediate(more); else response.once('drain', more) }; more() }],
    ['broken UTF-8', (response) => { response.end(Buffer.from([0x7b, 0xff, 0x7d])) }],
    ['a cut connection', (response) => { response.destroy() }]
  ]
  clock.advance(540_000)
  for (const [index, [what, answer]] of garbage.entries()) {
    keys.answer = answer
    clock.advance(60_000)
    await logged(lines, /the fetch failed; the keys that are here go on/, index + 1)
    t.ok(identity(t, await authenticator.verify(await token())), what)
  }
  t.match(lines.find((line) => line.level === 40), { address: keys.url.replace('?x=1', ''), reason: /answered 503/, hasKeys: true })

  let hung = Promise.withResolvers<void>()
  keys.answer = () => { hung.resolve() }
  clock.advance(60_000)
  await hung.promise
  t.ok(identity(t, await authenticator.verify(await token())), 'nobody waits for a fetch in the background')
  clock.advance(5000)
  await logged(lines, /the fetch failed; the keys that are here go on/, garbage.length + 1)
  t.match(lines.at(-1), { reason: /no answer in 5000 ms/ })

  hung = Promise.withResolvers<void>()
  clock.advance(60_000)
  await hung.promise
  const waiting = authenticator.verify(await token('unknown'))
  clock.advance(5000)
  refused(t, await waiting, /keys that verify/, 'unavailable')
  const verdict = await authenticator.verify(await token('unknown'))
  refused(t, verdict, /keys that verify/, 'unavailable')
  t.ok(((verdict as Refusal).retryAfterMs ?? 0) > 0, 'an unknown key may be new: not a word of unauthorized while nobody can tell')

  keys.answer = (response) => { response.destroy() }
  const remembered = await token()
  t.ok(identity(t, await authenticator.verify(remembered)))
  clock.advance(25 * 3_600_000)
  refused(t, await authenticator.verify(await token()), /keys that verify/, 'unavailable')
  refused(t, await authenticator.verify(remembered), /keys that verify/, 'unavailable')
  t.ok(lines.some((line) => line.level === 50))
})

t.test('JWKS: a start without the address is retried until it answers', async (t) => {
  const keys = await keyServer(t)
  keys.answer = (response) => { response.destroy() }
  const { authenticator, clock, lines } = setUp({ JWKS_URL: keys.url })
  t.teardown(() => authenticator.stop())
  await authenticator.start()
  const token = await sign({ exp: NOW_S + 86_400 }, { alg: 'ES256', key: pairs.ES256.privateKey, kid: 'e' })
  refused(t, await authenticator.verify(token), /keys that verify/, 'unavailable')
  t.match(await authenticator.verify(token), { retryAfterMs: 1000 })
  const waits = [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
  for (const [index, wait] of waits.entries()) {
    t.match(lines.at(-1), { level: 40, retryMs: wait, failures: index + 1 })
    clock.advance(wait)
    await logged(lines, /no keys yet/, index + 2)
  }
  keys.answer = json(await jwks({ e: pairs.ES256.publicKey }))
  clock.advance(60_000)
  let verdict = await authenticator.verify(token)
  const end = performance.now() + 10_000
  while (verdict instanceof Refusal && performance.now() < end) {
    await new Promise((resolve) => setImmediate(resolve))
    verdict = await authenticator.verify(token)
  }
  t.equal(identity(t, verdict).id, 'ann')
  await authenticator.stop()
  await authenticator.stop()
  const { requests } = keys
  clock.advance(3_600_000)
  t.equal(keys.requests, requests, 'after stop nothing is fetched')
})

t.test('JWKS: an address with a password is refused, one without https is warned of', async (t) => {
  t.throws(() => setUp({ JWKS_URL: 'https://me:secret@example.org/keys' }), { message: /must not hold/ })
  const { authenticator, lines } = setUp({ JWKS_URL: 'http://0.0.0.0:1/keys' })
  const started = authenticator.start()
  await authenticator.stop()
  await started
  t.match(lines[0], { level: 40, msg: /not https/ })
})
