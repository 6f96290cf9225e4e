// Actions on real rooms and the real embedded log: who may do what to whom, bad arguments, sanctions and their end, held
// messages, modes, pins, and the audit log. What removal and shadow bans do to readers is in removal.test.ts.

import t from 'tap'
import { OUT, ROLE } from '../../proto/ops.ts'
import { AppError, Refusal } from '../base/errors.ts'
import { RANKS, type ActionName, type AuditRow } from '../moderation/moderation.ts'
import type { Room } from '../rooms/rooms.ts'
import { person } from '../rooms/stage.suite.ts'
import type { Held } from './ingest.ts'
import { ANN, bodies, BOB, HOST, MOD, MOD2, nameOf, pageBodies, ROOM, ROOT, stage, VIP } from './moderation.suite.ts'

t.test('who may do what to whom', async (t) => {
  const { open, said, act, clock } = await stage(t)
  const room = await open(ROOM)
  const seqs: Record<string, number> = {}
  for (const who of [ANN, BOB, VIP, MOD, MOD2, HOST, ROOT]) seqs[who.id] = await said(room, who, `I am ${who.id}`)
  const ranks: Record<string, number> = { ann: 0, bob: 0, vip: 1, mod: 2, mod2: 2, host: 3, root: 4 }
  for (const actor of [ANN, VIP, MOD, HOST, ROOT]) {
    for (const whom of [BOB, VIP, MOD2, HOST, ROOT]) {
      const may = (ranks[actor.id] as number) >= 2 && (ranks[actor.id] as number) > (ranks[whom.id] as number)
      for (const action of ['timeout', 'ban', 'shadowBan', 'warn', 'purge'] as const) {
        const args = action === 'timeout' ? { user: whom.id, seconds: 60 } : action === 'warn' ? { user: whom.id, reason: 'hm' } : { user: whom.id }
        // An admin who is the actor is the same person, and so is nobody's better.
        t.equal(nameOf(await act(actor, action, args)), may ? 'ok' : 'forbidden', `${actor.id} may ${may ? '' : 'not '}${action} ${whom.id}`)
        if (may) await act(actor, 'unban', { user: whom.id })
      }
      clock.advance(1000)
    }
  }
  for (const action of Object.keys(RANKS) as ActionName[]) {
    const args: Record<string, unknown> = { remove: { seq: seqs['ann'] }, purge: { user: 'ann' }, warn: { user: 'ann', reason: 'x' }, timeout: { user: 'ann', seconds: 10 }, ban: { user: 'ann' }, shadowBan: { user: 'ann' }, banAddress: { address: '10.9.9.9' }, unban: { user: 'ann' }, approve: { ref: 'h' }, deny: { ref: 'h' }, approveUnban: { user: 'ann' }, denyUnban: { user: 'ann' }, set: { settings: { emoteOnly: true } }, pin: { seq: 1 }, announce: { text: 'x' }, blockTerm: { term: 'x' }, unblockTerm: { term: 'y' }, note: { user: 'ann', text: 'x' }, requestUnban: { text: 'x' } }
    const own = ['acknowledge', 'requestUnban'].includes(action)
    t.equal(nameOf(await act(BOB, action, args[action] ?? {})), own ? 'not_found' : 'forbidden', `${action} by somebody without a role`)
    t.equal(nameOf(await act(VIP, action, args[action] ?? {})), own ? 'not_found' : 'forbidden', `${action} by a vip`)
    t.equal(nameOf(await act(null, action, args[action] ?? {})), 'unauthorized', `${action} by nobody`)
  }
  t.equal(nameOf(await act(MOD, 'banAddress', { address: '10.9.9.9' })), 'forbidden', 'addresses are for broadcasters')
  t.equal(nameOf(await act(person('else', 0, { other: ROLE.moderator }), 'ban', { user: 'ann' })), 'forbidden', 'a moderator of another room')
  t.equal(nameOf(await act({ ...MOD, expiresAt: clock.now() - 1 }, 'ban', { user: 'ann' })), 'unauthorized', 'an expired token')
  for (const who of [MOD, MOD2, HOST]) seqs[who.id] = await said(room, who, `again ${who.id}`)
  t.equal(nameOf(await act(MOD, 'remove', { seq: seqs['host'] })), 'forbidden', 'a moderator and the broadcaster\'s message')
  t.equal(nameOf(await act(MOD, 'remove', { seq: seqs['mod2'] })), 'forbidden')
  t.equal(nameOf(await act(MOD, 'remove', { seq: seqs['mod'] })), 'ok', 'one\'s own')
  t.equal(nameOf(await act(HOST, 'remove', { seq: seqs['mod2'] })), 'ok')
})

t.test('a sanction does not bind whoever is not below its giver, even where the roles were not known', async (t) => {
  const { open, act, say, said } = await stage(t)
  const room = await open(ROOM)
  await said(room, ANN, 'hello')
  t.equal(nameOf(await act(MOD, 'ban', { user: HOST.id })), 'ok', 'nothing here knows who that is')
  t.equal(nameOf(await say(room, HOST, 'I am the host')), 'ok')
  t.equal(nameOf(await act(HOST, 'ban', { user: MOD.id })), 'ok')
  t.equal(nameOf(await say(room, MOD, 'may I?')), 'banned')
  t.equal(nameOf(await act(MOD2, 'unban', { user: MOD.id })), 'forbidden', 'what a broadcaster decided')
  t.equal(nameOf(await act(ROOT, 'unban', { user: MOD.id })), 'ok')
  t.equal(nameOf(await say(room, MOD, 'back')), 'ok')
})

t.test('nothing of somebody above is purged, even where that was said long ago', async (t) => {
  const { open, act, said, done, instance } = await stage(t, { RING_ENTRIES_MAX: '200' })
  const room = await open(ROOM)
  await said(room, HOST, 'welcome')
  await Promise.all(Array.from({ length: 250 }, (_, n) => said(room, ANN, `m${n}`)))
  t.equal(room.ring.has(1), false)
  for (const [what, moderator] of Object.entries({ here: { act }, elsewhere: { act: (by: typeof MOD, action: string, args: unknown) => instance().moderator.act(ROOM, by, action, args) } })) {
    t.equal(nameOf(await moderator.act(MOD, 'purge', { user: HOST.id })), 'forbidden', `${what}: a purge`)
    t.equal(nameOf(await moderator.act(MOD, 'ban', { user: HOST.id, purge: true })), 'forbidden', `${what}: a ban that takes what was said along`)
  }
  t.ok((await pageBodies(room, null, { after: 0, limit: 10 })).includes('welcome'))
  await done(ROOT, 'purge', { user: HOST.id })
  t.notOk((await pageBodies(room, null, { after: 0, limit: 10 })).includes('welcome'))
})

t.test('of several connections of a user the highest role counts', async (t) => {
  const { open, act, enter } = await stage(t)
  const room = await open(ROOM)
  enter(room, { as: person(MOD2.id) })
  enter(room, { as: MOD2 })
  t.equal(nameOf(await act(MOD, 'timeout', { user: MOD2.id, seconds: 60 })), 'forbidden')
})

t.test('who may not write may not announce', async (t) => {
  const { open, act, done, enter, settle, clock } = await stage(t)
  const room = await open(ROOM)
  const [viewer, own] = [enter(room, { as: BOB }), enter(room, { as: MOD })]
  for (const [action, args, refused] of [['ban', {}, 'banned'], ['timeout', { seconds: 60 }, 'timed_out'], ['warn', { reason: 'mind your words' }, 'forbidden'], ['shadowBan', {}, 'ok']] as const) {
    await done(HOST, action, { user: MOD.id, ...args })
    t.equal(nameOf(await act(MOD, 'announce', { text: `after ${action}` })), refused, action)
    t.equal(nameOf(await act(MOD, 'pin', { seq: 999 })), 'not_found', `${action}: what is no writing is not touched`)
    await done(HOST, 'unban', { user: MOD.id })
    clock.advance(1000)
  }
  await done(MOD, 'announce', { text: 'back' })
  await settle()
  t.same(bodies(viewer), ['back'], 'what was announced in the shadow is for its author alone')
  t.same(bodies(own), ['after shadowBan', 'back'])
})

t.test('bad arguments are named', async (t) => {
  const { open, act, said } = await stage(t)
  const room = await open(ROOM)
  await said(room, ANN, 'hello')
  const rows: readonly [action: unknown, args: unknown, name: string, message: RegExp][] = [
    ['explode', {}, 'unsupported', /no action "explode"/], [5, {}, 'unsupported', /no action/], ['ban', [], 'bad_request', /args must be a map/], ['ban', {}, 'bad_request', /user is missing/],
    ['__proto__', {}, 'unsupported', /no action/], ['ban', { user: '' }, 'bad_request', /user must be/], ['ban', { user: 'x'.repeat(129) }, 'bad_request', /user/], ['ban', { usr: 'ann' }, 'bad_request', /takes no "usr"/],
    ['ban', { user: 'ann', reason: 'x'.repeat(201) }, 'bad_request', /reason/], ['ban', { user: 'ann', reason: 'a\nb' }, 'bad_request', /reason/], ['ban', { user: 'ann', purge: 1 }, 'bad_request', /purge/],
    ['timeout', { user: 'ann' }, 'bad_request', /seconds is missing/], ['timeout', { user: 'ann', seconds: 9 }, 'bad_request', /from 10 to 1209600/], ['timeout', { user: 'ann', seconds: 1209601 }, 'bad_request', /seconds/], ['timeout', { user: 'ann', seconds: 10.5 }, 'bad_request', /seconds/],
    ['remove', { seq: 0 }, 'bad_request', /seq/], ['remove', { seq: '1' }, 'bad_request', /seq/], ['remove', { seq: 99 }, 'not_found', /no message 99/],
    ['warn', { user: 'ann' }, 'bad_request', /reason is missing/], ['unban', {}, 'bad_request', /either user or address/], ['banAddress', { user: 'a', address: '1.2.3.4' }, 'bad_request', /either/], ['banAddress', { address: 'somewhere' }, 'not_found', /address/],
    ['banAddress', { user: 'nobody' }, 'not_found', /no address/], ['unban', { user: 'ann' }, 'not_found', /nothing to be lifted/], ['approve', { ref: 'h-none' }, 'not_found', /h-none/], ['approveUnban', { user: 'ann' }, 'not_found', /not asked/],
    ['set', { settings: {} }, 'bad_request', /at least one/], ['set', { settings: { colour: 1 } }, 'bad_request', /no setting "colour"/], ['set', { settings: { title: 'x' } }, 'forbidden', /settings.title/], ['set', { settings: { blockedTerms: ['x'] } }, 'forbidden', /blockedTerms/],
    ['set', { settings: { publicationDelaySeconds: 3 } }, 'bad_request', /one of 0, 2, 4, 6/], ['set', { settings: { autoLevel: 5 } }, 'bad_request', /from 0 to 4/], ['set', { settings: { allowedLinks: ['HTTP://X'] } }, 'bad_request', /host names/],
    ['announce', { text: ' ' }, 'bad_request', /text/], ['pin', { seq: 99 }, 'not_found', /99/], ['acknowledge', { x: 1 }, 'bad_request', /takes no "x"; it takes none/]
  ]
  for (const [action, args, name, message] of rows) {
    const result = await act(HOST, action as string, args)
    t.match(result, { name, message }, `${String(action)} ${JSON.stringify(args).slice(0, 60)}`)
  }
  t.equal(nameOf(await (await stage(t)).act(MOD, 'ban', { user: 'ann' })), 'not_found', 'a room that there is not')
})

t.test('time-outs end by themselves, bans do not, and whom it concerns is told once', async (t) => {
  const { open, enter, settle, act, done, say, clock, instance } = await stage(t)
  const room = await open(ROOM)
  const ann = enter(room, { as: ANN })
  const bob = enter(room, { as: BOB })
  await done(MOD, 'timeout', { user: 'ann', seconds: 60, reason: 'spam' })
  t.match(await say(room, ANN, 'x'), { name: 'timed_out', retryAfterMs: 60_000, message: /spam/ })
  clock.advance(59_000)
  t.match(await say(room, ANN, 'x'), { name: 'timed_out', retryAfterMs: 1000 })
  clock.advance(1000)
  t.equal(nameOf(await say(room, ANN, 'x')), 'ok')
  await done(MOD, 'ban', { user: 'ann', reason: 'again' })
  clock.advance(20 * 60_000)
  t.match(await say(room, ANN, 'x'), { name: 'banned', message: /again/ })
  const other = await instance().rooms.open(ROOM, null) as Room
  t.equal(nameOf(await say(other, ANN, 'x')), 'banned', 'on an instance that starts now')
  await done(MOD, 'unban', { user: 'ann' })
  t.equal(nameOf(await say(room, ANN, 'y')), 'ok')
  await settle()
  t.match(ann.of(OUT.SANCTION), [[OUT.SANCTION, 'timeout', Number, 'spam'], [OUT.SANCTION, 'ban', null, 'again'], [OUT.SANCTION, 'lifted', null, 'ban']])
  t.same(bob.of(OUT.SANCTION), [], 'nobody else is told')
  await done(MOD, 'ban', { user: 'ann', seconds: 100 })
  const late = enter(room, { as: ANN })
  t.match(late.of(OUT.SANCTION), [[OUT.SANCTION, 'ban', Number, '']], 'whoever comes later is told too')
  t.equal(nameOf(await act(MOD, 'requestUnban', { text: 'why' })), 'not_found')
})

t.test('a ban may take what was said with it', async (t) => {
  const { open, enter, settle, said, done } = await stage(t)
  const room = await open(ROOM)
  await said(room, BOB, 'rude')
  await said(room, ANN, 'nice')
  const viewer = enter(room)
  await done(MOD, 'ban', { user: 'bob', purge: true })
  await settle()
  t.match(viewer.of(OUT.REMOVE), [[OUT.REMOVE, Number, Number, { user: 'bob', upTo: 3 }, 'mod']])
  t.same(await pageBodies(room), ['nice'])
})

t.test('warnings, and asking to be let back in', async (t) => {
  const { open, act, done, say, moderator } = await stage(t)
  const room = await open(ROOM)
  await done(MOD, 'warn', { user: 'ann', reason: 'mind your tone' })
  t.match(await say(room, ANN, 'x'), { name: 'forbidden', message: /acknowledge.*mind your tone/ })
  t.equal(nameOf(await act(BOB, 'acknowledge')), 'not_found', 'another\'s warning')
  await done(ANN, 'acknowledge')
  t.equal(nameOf(await say(room, ANN, 'x')), 'ok')
  t.equal(nameOf(await act(ANN, 'requestUnban', { text: 'please' })), 'not_found', 'there is nothing to lift')
  await done(MOD, 'ban', { user: 'ann' })
  await done(ANN, 'requestUnban', { text: 'please' })
  t.equal(nameOf(await act(ANN, 'requestUnban', { text: 'please!' })), 'duplicate')
  t.match(await moderator.standing(ROOM, MOD), { sanctions: [{ kind: 'ban', whom: 'ann', by: 'mod' }], requests: [{ user: 'ann', text: 'please' }] })
  t.equal(nameOf(await moderator.standing(ROOM, ANN)), 'forbidden')
  t.equal(nameOf(await moderator.held(ROOM, VIP)), 'forbidden')
  await done(MOD, 'denyUnban', { user: 'ann' })
  t.equal(nameOf(await say(room, ANN, 'y')), 'banned')
  await done(ANN, 'requestUnban', { text: 'pretty please' })
  await done(MOD, 'approveUnban', { user: 'ann' })
  t.equal(nameOf(await say(room, ANN, 'z')), 'ok')
  t.match(await moderator.standing(ROOM, MOD), { sanctions: [], requests: [] })
})

t.test('an address is banned with all who write from it', async (t) => {
  const { open, act, done, say } = await stage(t)
  const room = await open(ROOM)
  await say(room, ANN, 'x', { address: '2001:db8:1:2::3' })
  await done(HOST, 'banAddress', { user: 'ann' })
  t.equal(nameOf(await say(room, BOB, 'x', { address: '2001:db8:1:2:ffff::1' })), 'banned', 'the same household')
  t.equal(nameOf(await say(room, BOB, 'x', { address: '2001:db8:1:3::1' })), 'ok')
  t.equal(nameOf(await say(room, BOB, 'y', { address: '' })), 'ok', 'a server that acts for its users has no address')
  t.equal(nameOf(await act(HOST, 'banAddress', { address: 'evil::/64' })), 'not_found', 'no range')
  await done(HOST, 'banAddress', { address: '2001:db8:9:9::/64' })
  t.equal(nameOf(await say(room, person('cat'), 'x', { address: '2001:db8:9:9::5' })), 'banned', 'a range as it is listed')
  await done(HOST, 'unban', { address: '2001:db8:9:9::/64' })
  await done(HOST, 'unban', { address: '2001:db8:1:2::9' })
  t.equal(nameOf(await say(room, BOB, 'z', { address: '2001:db8:1:2::1' })), 'ok')
})

t.test('held messages wait, also over a restart, and are let through once or not at all', async (t) => {
  const { open, enter, settle, act, done, say, moderator, instance, log } = await stage(t)
  const room = await open(ROOM)
  const viewer = enter(room)
  const ann = enter(room, { as: ANN })
  await done(MOD, 'set', { settings: { preModeration: true } })
  const held = await say(room, ANN, 'may I?', { nonce: 'n-held' }) as Held
  t.match(held, { name: 'held', text: 'may I?', ref: /^h-/ })
  t.match(await say(room, ANN, 'may I?', { nonce: 'n-held' }), { name: 'held', ref: held.ref }, 'a repeat is the same message')
  const other = await say(room, BOB, 'me too') as Held
  t.equal(nameOf(await say(room, MOD, 'staff need not wait')), 'ok')
  t.match(await moderator.held(ROOM, MOD), [{ ref: held.ref, body: 'may I?', user: ['ann', 'ann', 0] }, { ref: other.ref }])
  const restarted = instance()
  t.match(await restarted.moderator.held(ROOM, MOD), [{ ref: held.ref }, { ref: other.ref }], 'after a restart')
  await settle()
  t.notOk(bodies(viewer).includes('may I?'))
  t.notOk(JSON.stringify(viewer.frames).includes('may I?'), 'no frame of any kind has it')
  const twice = await Promise.all([moderator.act(ROOM, MOD, 'approve', { ref: held.ref }), restarted.moderator.act(ROOM, MOD2, 'approve', { ref: held.ref })])
  t.ok(twice.some((result) => !(result instanceof Refusal)))
  await done(MOD, 'deny', { ref: other.ref, reason: 'off topic' })
  await settle()
  t.same(bodies(viewer).filter((text) => text === 'may I?').length, 1, 'once, whoever approved')
  t.match(await say(room, ANN, 'may I?', { nonce: 'n-held' }), { repeated: true }, 'a repeat is answered with its place')
  t.same(bodies(ann).filter((text) => text === 'may I?').length, 1)
  t.notOk(bodies(viewer).includes('me too'))
  t.equal(nameOf(await act(MOD, 'deny', { ref: other.ref })), 'not_found')
  t.same(Object.keys((await log.state(ROOM)).guarded).filter((key) => key.startsWith('held:')), [])
})

t.test('the held queue is bounded', async (t) => {
  const { open, done, say, moderator } = await stage(t)
  const room = await open(ROOM)
  await done(MOD, 'set', { settings: { preModeration: true } })
  for (let n = 0; n < 10; n++) t.equal(nameOf(await say(room, ANN, `m${n}`)), 'held')
  t.match(await say(room, ANN, 'one too many'), { name: 'overloaded', message: /of yours/, retryAfterMs: 10_000 }, 'nobody alone fills it')
  for (let n = 0; n < 90; n++) t.equal(nameOf(await say(room, person(`u${n % 9}`), `m${n}`)), 'held')
  t.match(await say(room, BOB, 'one too many'), { name: 'overloaded', message: /^100 /, retryAfterMs: 10_000 })
  const [first] = await moderator.held(ROOM, MOD) as readonly { ref: string }[]
  await done(MOD, 'approve', { ref: first?.ref })
  t.equal(nameOf(await say(room, ANN, 'now')), 'held')
})

t.test('modes', async (t) => {
  const { open, enter, done, say, clock } = await stage(t)
  const room = await open(ROOM)
  // Somebody is here, so that the room does not leave memory.
  enter(room)
  const set = (settings: Record<string, unknown>) => done(MOD, 'set', { settings })
  const sub = person('sub', ROLE.subscriber)
  const member = person('member', 0, { [ROOM]: 0 })
  const outcomes = async (text = 'hello'): Promise<string[]> => {
    clock.advance(60_000)
    return Promise.all([ANN, member, sub, VIP, MOD].map(async (who) => nameOf(await say(room, who, `${text}`))))
  }
  await set({ membersOnly: true })
  t.same(await outcomes(), ['members_only', 'ok', 'ok', 'ok', 'ok'])
  await set({ membersOnly: null, subscribersOnly: true })
  t.same(await outcomes(), ['members_only', 'members_only', 'ok', 'ok', 'ok'])
  await set({ subscribersOnly: false, emoteOnly: true })
  t.same(await outcomes(), ['emote_only', 'emote_only', 'emote_only', 'emote_only', 'ok'])
  t.same(await outcomes('🔥 :wave:'), ['ok', 'ok', 'ok', 'ok', 'ok'])
  await set({ emoteOnly: null, minimumAccountAgeDays: 7 })
  t.same(await outcomes(), ['forbidden', 'forbidden', 'forbidden', 'forbidden', 'ok'])
  t.equal(nameOf(await say(room, { ...ANN, accountSince: clock.now() - 8 * 86_400_000 }, 'old')), 'ok')
  t.equal(nameOf(await say(room, { ...ANN, accountSince: clock.now() - 6 * 86_400_000 }, 'young')), 'forbidden')
  await set({ minimumAccountAgeDays: null, uniqueChat: true })
  clock.advance(60_000)
  t.equal(nameOf(await say(room, ANN, 'the same')), 'ok')
  t.match(await say(room, BOB, 'The  SAME!'), { name: 'duplicate', retryAfterMs: 30_000 })
  clock.advance(30_000)
  t.equal(nameOf(await say(room, BOB, 'the same')), 'ok')
  await set({ uniqueChat: null, autoLevel: 3, allowedLinks: ['good.example'] })
  t.equal(nameOf(await say(room, ANN, 'https://bad.example')), 'blocked')
  t.equal(nameOf(await say(room, ANN, 'https://good.example/x')), 'ok')
  await set({ autoLevel: 2 })
  t.match(await say(room, ANN, 'https://bad.example'), { name: 'held', message: /links/ })
  await set({ autoLevel: null, shield: true })
  clock.advance(60_000)
  t.equal(nameOf(await say(room, ANN, 'in')), 'members_only')
  t.equal(nameOf(await say(room, sub, 'first')), 'ok')
  t.equal(nameOf(await say(room, sub, 'second')), 'slow_mode')
  clock.advance(11_000)
  t.equal(nameOf(await say(room, sub, 'https://bad.example')), 'blocked')
  t.equal(nameOf(await say(room, ANN, 'you plonker')), 'members_only')
  await set({ shield: null })
  clock.advance(11_000)
  t.equal(nameOf(await say(room, ANN, 'you plonker')), 'blocked')
  t.equal(nameOf(await say(room, ANN, 'fine')), 'ok')
  t.same(room.told, { title: '', slowModeSeconds: 0, locked: false, private: false, liveMessagesPerSecond: 20, allowedLinks: ['good.example'] }, 'what is at its default is not told')
})

t.test('pins and announcements', async (t) => {
  const { open, enter, settle, said, done, act } = await stage(t)
  const room = await open(ROOM)
  const viewer = enter(room)
  const seq = await said(room, ANN, 'a fine thing')
  await done(MOD, 'pin', { seq })
  t.equal(room.told.pinned, seq)
  await done(MOD, 'remove', { seq })
  t.equal(room.told.pinned, undefined, 'what is removed is not pinned')
  t.equal(nameOf(await act(MOD, 'pin', { seq })), 'not_found')
  await done(MOD, 'announce', { text: '  Starting\u0000 soon ' }).catch((error: Error) => t.match(error.message, /line breaks/))
  await done(MOD, 'announce', { text: ' Starting soon ' })
  await settle()
  t.match(viewer.of(OUT.MESSAGE).at(-1), [OUT.MESSAGE, Number, Number, ['mod', 'mod', ROLE.moderator], 2, 'Starting soon', null])
})

t.test('every action has its audit row, before it, and rows are never changed', async (t) => {
  const { open, said, done, act, moderator, log, say } = await stage(t)
  const room = await open(ROOM)
  const seq = await said(room, BOB, 'rude words')
  await done(MOD, 'remove', { seq, reason: 'rude' })
  await done(MOD, 'timeout', { user: 'bob', seconds: 60 })
  await act(MOD, 'ban', { user: 'host2', seconds: 1 })
  await done(MOD, 'set', { settings: { preModeration: true } })
  await say(room, ANN, 'wait for me')
  const page = await moderator.audit(ROOM, MOD, { limit: 10 }) as { rows: readonly AuditRow[], next: number | null }
  t.match(page.rows, [
    { action: 'hold', by: null, source: 'rule', whom: 'ann', text: 'wait for me', reason: /waits/ }, { action: 'set', by: 'mod', args: { settings: { preModeration: true } } },
    { action: 'timeout', by: 'mod', whom: 'bob', source: 'human', args: { seconds: 60 }, failure: null }, { action: 'remove', by: 'mod', whom: 'bob', text: 'rude words', reason: 'rude', args: { seq }, room: ROOM }
  ])
  t.same([page.rows.length, page.next], [4, null], 'what was refused is no action')
  const first = await moderator.audit(ROOM, MOD, { limit: 3 }) as { rows: unknown[], next: number }
  t.match(await moderator.audit(ROOM, MOD, { limit: 3, before: first.next }), { rows: [{ action: 'remove' }], next: null })
  t.match(await moderator.audit(ROOM, MOD, { limit: 9, user: 'ann' }), { rows: [{ action: 'hold' }] })
  t.match(await moderator.auditAll({ limit: 9, room: 'other' }), { rows: [] })
  t.equal(nameOf(await moderator.audit(ROOM, ANN, { limit: 3 })), 'forbidden')
  // The log ends for the room between the row and the action: the row stands, and says so.
  const before = (await log.head('uproar:audit')).seq
  const publish = log.publish.bind(log)
  const order: string[] = []
  log.publish = async (name, draft) => {
    order.push(name)
    if (name === ROOM) throw new AppError('unavailable', 'the store is away')
    return publish(name, draft)
  }
  t.match(await act(MOD, 'clear'), { name: 'unavailable' })
  log.publish = publish
  t.same(order, ['uproar:audit', ROOM, 'uproar:audit'])
  t.match((await moderator.auditAll({ limit: 2 })), { rows: [{ action: 'clear', failure: 'the store is away' }, { action: 'clear', failure: null }] })
  t.equal((await log.head('uproar:audit')).seq, before + 2)
})
