// The hook on real rooms and a real HTTP server: what it decides, what its absence means where, and that rooms without it
// never wait for it.

import t from 'tap'
import { AppError } from '../base/errors.ts'
import { jsonServer } from '../moderation/json-server.suite.ts'
import { Held } from './ingest.ts'
import { ANN, HOST, nameOf, pageBodies, ROOM, ROOT, stage } from './moderation.suite.ts'

t.test('allow, hold, block', async (t) => {
  const server = await jsonServer(t)
  server.answer = ({ body }) => ({ verdict: /hold/.test(body) ? 'hold' : /block/.test(body) ? 'block' : 'allow', reason: /why/.test(body) ? 'because\nof this' : undefined })
  const { open, say, rooms, moderator } = await stage(t, { HOOK_URL: server.url, HOOK_TOKEN: 'the word', HOOK_TIMEOUT_MS: '2000' })
  const room = await open(ROOM)
  t.equal(nameOf(await say(room, ANN, 'block this')), 'ok', 'a room without the setting is not shown to it')
  t.equal(server.asked.length, 0)
  await rooms.configure(ROOM, HOST, { settings: { hook: 'closed' } })
  t.equal(room.told['hook' as 'title'], undefined, 'viewers are not told')
  t.equal(nameOf(await say(room, ANN, 'hello', { at: ['bob'] })), 'ok')
  t.match(server.asked[0], { authorization: 'Bearer the word', body: { v: 1, room: ROOM, user: { id: 'ann', name: String, roles: 0 }, kind: 0, body: 'hello', ext: { at: ['bob'] } } })
  const held = await say(room, ANN, 'hold this, why?')
  t.ok(held instanceof Held)
  t.match(held, { message: 'because of this' })
  t.match(await moderator.held(ROOM, HOST), [{ body: 'hold this, why?', reason: 'because of this' }])
  t.match(await say(room, ANN, 'block this', { nonce: 'b' }), { name: 'blocked', message: 'this message is not allowed here' })
  t.match(await moderator.audit(ROOM, HOST, { limit: 10 }), { rows: [{ action: 'block', source: 'hook', whom: 'ann', text: 'block this' }, { action: 'hold', source: 'hook', text: 'hold this, why?' }] })
  const asked = server.asked.length
  t.match(await say(room, ANN, 'once', { nonce: 'n' }), { repeated: false })
  t.match(await say(room, ANN, 'once', { nonce: 'n' }), { repeated: true }, 'a repeat has its first result')
  t.equal(server.asked.length, asked + 1, 'and is not shown again')
})

t.test('away: open passes, closed refuses, within the budget', async (t) => {
  const server = await jsonServer(t)
  const { open, say, rooms, metrics } = await stage(t, { HOOK_URL: server.url, HOOK_TIMEOUT_MS: '100' })
  const room = await open(ROOM)
  const answers: [string, unknown][] = [['it does not answer', null], ['it fails', 500], ['it talks nonsense', { verdict: 'maybe' }], ['no JSON', 'yes']]
  for (const [what, answer] of answers) {
    server.answer = () => answer
    await rooms.configure(ROOM, HOST, { settings: { hook: 'open' } })
    const start = performance.now()
    t.equal(nameOf(await say(room, ANN, what)), 'ok', `${what}: open`)
    t.ok(performance.now() - start < 1500)
    await rooms.configure(ROOM, HOST, { settings: { hook: 'closed' } })
    t.match(await say(room, ANN, `${what}!`), { name: 'unavailable', retryAfterMs: 2000 }, `${what}: closed`)
    server.answer = () => ({ verdict: 'allow' })
    t.equal(nameOf(await say(room, ANN, `${what}, but it came back`)), 'ok')
  }
  t.equal(metrics.value('uproar_hook_calls_total', 'away'), answers.length * 2)
  server.answer = () => 500
  for (let i = 0; i < 5; i++) await say(room, ANN, `failure ${i}`)
  const asked = server.asked.length
  t.equal(nameOf(await say(room, ANN, 'and now?')), 'unavailable')
  t.equal(server.asked.length, asked, 'after five failures it is left alone for a while')
})

t.test('while the log does not answer the hook is not asked, nor does anybody wait for the log twice', async (t) => {
  const server = await jsonServer(t)
  server.answer = () => ({ verdict: 'allow' })
  const { open, say, rooms, log, faults } = await stage(t, { HOOK_URL: server.url, HOOK_TIMEOUT_MS: '2000' })
  const room = await open(ROOM)
  await rooms.configure(ROOM, HOST, { settings: { hook: 'open' } })
  const find = log.find.bind(log)
  let published = 0
  Object.assign(log, { find: () => Promise.reject(new AppError('unavailable', 'the log does not answer')), submit: () => { published++ } })
  t.match(await say(room, ANN, 'hello', { nonce: 'n' }), { name: 'unavailable', message: 'the log does not answer' })
  t.same([server.asked.length, published, faults], [0, 0, []])
  Reflect.deleteProperty(log, 'submit')
  Object.assign(log, { find })
  t.equal(nameOf(await say(room, ANN, 'hello', { nonce: 'n' })), 'ok')
})

t.test('an author\'s messages keep their order, however long each takes', async (t) => {
  const server = await jsonServer(t)
  server.answer = async ({ body }) => {
    await new Promise((resolve) => setTimeout(resolve, body === 'first' ? 150 : body === 'second' ? 60 : 0))
    return { verdict: 'allow' }
  }
  const { open, say, rooms } = await stage(t, { HOOK_URL: server.url, HOOK_TIMEOUT_MS: '3000' })
  const room = await open(ROOM)
  await rooms.configure(ROOM, HOST, { settings: { hook: 'open' } })
  await Promise.all(['first', 'second', 'third'].map((body) => say(room, ANN, body)))
  t.same(await pageBodies(room), ['first', 'second', 'third'])
})

t.test('no hook at all, and settings that are none', async (t) => {
  const { open, say, rooms } = await stage(t)
  const room = await open(ROOM)
  await rooms.configure(ROOM, ROOT, { settings: { hook: 'closed' } })
  t.equal(nameOf(await say(room, ANN, 'x')), 'unavailable', 'closed means that')
  await rooms.configure(ROOM, ROOT, { settings: { hook: null } })
  t.equal(nameOf(await say(room, ANN, 'x')), 'ok')
  t.match(await rooms.configure(ROOM, ROOT, { settings: { hook: 'ajar' } }), { name: 'bad_request', message: /settings.hook must be one of off, open, closed/ })
})
