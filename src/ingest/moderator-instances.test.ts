// Two instances on one log, each with its own rooms and moderators: lists that both change at once, what an author is told
// wherever it is, and what staff see of those who write for their own eyes only, marked.

import t from 'tap'
import { OUT } from '../../proto/ops.ts'
import type { Refusal } from '../base/errors.ts'
import type { Person } from './ingest.ts'
import { ANN, BOB, bodies, MOD, MOD2, nameOf, pageBodies, pulled, ROOM, stage } from './moderation.suite.ts'

t.test('terms and notes that two instances add at once are all there', async (t) => {
  const { open, moderator, instance, log } = await stage(t)
  await open(ROOM)
  const other = instance()
  await other.rooms.open(ROOM, MOD2)
  const terms = Array.from({ length: 20 }, (_, at) => `term${at}`)
  const both = [moderator, other.moderator]
  const results = await Promise.all(terms.flatMap((term, at) => [
    both[at % 2]?.act(ROOM, at % 2 === 0 ? MOD : MOD2, 'blockTerm', { term }), both[(at + 1) % 2]?.act(ROOM, MOD, 'note', { user: 'ann', text: `${term} said` })
  ]))
  t.same([...new Set(results.map(nameOf))], ['ok'])
  t.same([...await moderator.terms(ROOM, MOD) as string[]].sort(), [...terms].sort())
  t.equal((await moderator.person(ROOM, MOD, 'ann') as Person).notes.length, 10, 'of the notes the newest ten')
  const rows = (await moderator.audit(ROOM, MOD, { limit: 200 })) as { rows: { action: string, failure: string | null }[] }
  t.equal(rows.rows.length, 40, 'each action has one row, however often it was tried')
  t.ok(rows.rows.every(({ failure }) => failure === null))
  await Promise.all(terms.map((term, at) => both[at % 2]?.act(ROOM, MOD, 'unblockTerm', { term })))
  t.same(await other.moderator.terms(ROOM, MOD), [])
  t.same((await log.state(ROOM)).guarded['blockedTerms'], [])
})

t.test('whoever was held hears of the denial, on whichever instance', async (t) => {
  const { open, enter, say, done, instance } = await stage(t)
  const room = await open(ROOM)
  await done(MOD, 'set', { settings: { preModeration: true } })
  const held = await say(room, ANN, 'wait') as Refusal & { ref: string }
  const [ann, bob] = [enter(room, { as: ANN }), enter(room, { as: BOB })]
  const other = instance()
  await other.rooms.open(ROOM, MOD2)
  t.equal(nameOf(await other.moderator.act(ROOM, MOD2, 'deny', { ref: held.ref, reason: 'off topic' })), 'ok')
  await room.settled()
  t.match(ann.of(OUT.SANCTION), [[OUT.SANCTION, 'denied', null, 'off topic']])
  t.same(bob.of(OUT.SANCTION), [], 'nobody else does')
  const late = enter(room, { as: ANN })
  t.same(late.of(OUT.SANCTION), [], 'and it is told once')
})

t.test('staff see what a shadow banned author writes, marked, in every way; nobody else does', async (t) => {
  const { open, enter, settle, said, done } = await stage(t, { WINDOW_MS_MAX: '0' })
  const room = await open(ROOM)
  const [mod, bob, eve] = [enter(room, { as: MOD }), enter(room, { as: BOB }), enter(room, { as: ANN })]
  const live = enter(room, { view: 'live', as: MOD2 })
  await settle()
  await said(room, BOB, 'before')
  await done(MOD, 'shadowBan', { user: 'ann' })
  await said(room, ANN, 'for nobody')
  await said(room, BOB, 'after')
  await settle()
  const all = ['before', 'for nobody', 'after']
  for (const staff of [mod, live]) {
    t.same(bodies(staff), all)
    t.same(staff.of(OUT.MESSAGE).map((frame) => frame[7]), [undefined, true, undefined], 'the mark')
    t.same(staff.account().faults, [])
  }
  t.same([bodies(bob), bodies(eve)], [['before', 'after'], all])
  t.same(eve.of(OUT.MESSAGE).map((frame) => frame[7]), [undefined, undefined, undefined], 'its author sees no mark')
  const [late, lateBob] = [enter(room, { history: 50, as: MOD }), enter(room, { history: 50, as: BOB })]
  t.same([bodies(late), bodies(lateBob)], [all, ['before', 'after']], 'who comes later')
  t.same(late.of(OUT.MESSAGE).map((frame) => frame[7]), [undefined, true, undefined])
  t.same([await pageBodies(room, MOD), await pageBodies(room, BOB)], [all, ['before', 'after']], 'history')
  t.same(await pulled(room, BOB, [room.epoch, 0]), ['before', 'after'])
})
