// The reducer alone: bounds, what makes room at them, and who decides over whom. What actions do to readers is tested on
// real rooms (ingest/moderator.test.ts, ingest/removal.test.ts).

import t from 'tap'
import { ROLE } from '../../proto/ops.ts'
import { Refusal } from '../base/errors.ts'
import { decide, holdRefusal, TERMS_MAX, type Actor, type Decision, type Facts } from './actions.ts'
import { Guard, guardOf, HELD_MAX, heldPatch, NOTED_MAX, NOTES_MAX, PURGED_MAX, REMOVED_MAX, REQUESTS_MAX, sanctionPatch, SANCTIONS_MAX } from './guard.ts'
import { parseAction, type Request } from './requests.ts'

const NOW = 1_700_000_000_000
const MOD: Actor = { id: 'mod', name: 'Mod', roles: ROLE.moderator }

const factsOf = (guarded: Record<string, unknown>, more: Partial<Facts> = {}): Facts =>
  ({ now: NOW, first: 1, seq: 100_000, guard: guardOf(guarded), settings: {}, terms: [], roles: 0, message: { user: 'ann', roles: 0, text: 'x' }, address: null, ...more })
const ask = (action: string, args: unknown, facts: Facts, actor = MOD): Decision | Refusal => decide(parseAction(action, args) as Request, actor, facts)
const many = (count: number, key: (n: number) => string, value: (n: number) => unknown): Record<string, unknown> => Object.fromEntries(Array.from({ length: count }, (_, n) => [key(n), value(n)]))
const guardedOf = (decision: Decision | Refusal): Record<string, unknown> => {
  if (decision instanceof Refusal) throw new Error(decision.message)
  return Object.assign({}, ...decision.effects.map((effect) => effect.op === 'state' ? effect.guarded : effect.op === 'remove' ? effect.forget : {})) as Record<string, unknown>
}

t.test('sanctions are bounded; those that ended make room', (t) => {
  const endless = many(SANCTIONS_MAX, (n) => `ban:u${n}`, () => [null, 2, 'mod', '', NOW])
  t.match(ask('ban', { user: 'new' }, factsOf(endless)), { name: 'overloaded', message: /2000 sanctions/ })
  t.ok(!(ask('ban', { user: 'u5', reason: 'again' }, factsOf(endless)) instanceof Refusal), 'one that stands may be given anew')
  const ended = { ...endless, ...many(30, (n) => `timeout:u${n}`, () => [NOW, 2, 'mod', '', NOW - 1000]) }
  delete ended['ban:u0']
  const patch = guardedOf(ask('ban', { user: 'new' }, factsOf(ended)))
  t.same(patch['ban:new'], [null, 2, 'mod', '', NOW])
  t.equal(Object.values(patch).filter((value) => value === null).length, 30, 'what ended is forgotten')
  t.equal(Object.values(guardedOf(ask('warn', { user: 'x', reason: 'y' }, factsOf(many(30, (n) => `timeout:u${n}`, () => [NOW - 1, 2, 'mod', '', 0])))) ).filter((value) => value === null).length, 20, 'with every new one a slice of those that ended')
  t.end()
})

t.test('removals are bounded; what the log has let go makes room', (t) => {
  const singles = many(REMOVED_MAX, (n) => `removed:${n + 1}`, () => 1)
  t.match(ask('remove', { seq: 50_000 }, factsOf(singles)), { name: 'overloaded', message: /clear it/ })
  t.equal(Object.keys(guardedOf(ask('remove', { seq: 50_000 }, factsOf(singles, { first: 101 })))).length, 100)
  const users = many(PURGED_MAX, (n) => `purged:u${n}`, (n) => n + 1)
  t.match(ask('purge', { user: 'new' }, factsOf(users)), { name: 'overloaded', message: /purged users/ })
  t.match(ask('ban', { user: 'new', purge: true }, factsOf(users)), { name: 'overloaded' })
  t.same(guardedOf(ask('purge', { user: 'new' }, factsOf(users, { first: 2 }))), { 'purged:u0': null })
  t.equal(Object.keys(guardedOf(ask('clear', {}, factsOf({ ...singles, ...users })))).length, REMOVED_MAX + PURGED_MAX, 'clearing forgets them all')
  t.end()
})

t.test('held messages and requests are bounded', (t) => {
  const held = Object.assign({}, ...Array.from({ length: HELD_MAX }, (_, n) => heldPatch({ ref: `h${n}`, user: ['u', 'U', 0], kind: 0, body: 'x', ext: null, nonce: `n${n}`, address: '', reason: '', at: NOW }))) as Record<string, unknown>
  t.match(holdRefusal(guardOf(held), 'v'), { name: 'overloaded', message: /^100 messages wait/ })
  delete held['held:h0']
  t.equal(holdRefusal(guardOf(held), 'v'), null)
  t.match(holdRefusal(guardOf(held), 'u'), { name: 'overloaded', message: /^99 messages of yours/ })
  t.equal(holdRefusal(guardOf({}), 'u'), null)
  const requests = many(REQUESTS_MAX, (n) => `request:u${n}`, () => ['please', NOW])
  const banned = { ...requests, 'ban:ann': [null, 2, 'mod', '', NOW] }
  t.match(ask('requestUnban', { text: 'please' }, factsOf(banned), { id: 'ann', name: 'Ann', roles: 0 }), { name: 'overloaded' })
  t.end()
})

t.test('terms are bounded; of notes the newest stay', (t) => {
  const terms = Array.from({ length: TERMS_MAX }, (_, n) => `term${n}`)
  t.match(ask('blockTerm', { term: 'one more' }, factsOf({}, { terms })), { name: 'overloaded', message: /1000 terms/ })
  t.same(guardedOf(ask('blockTerm', { term: 'term5' }, factsOf({}, { terms }))), { blockedTerms: terms }, 'one that stands is no fault')
  t.same(guardedOf(ask('unblockTerm', { term: 'term0' }, factsOf({}, { terms }))), { blockedTerms: terms.slice(1) })
  const notes = many(NOTED_MAX, (n) => `note:u${n}`, (n) => [['x', 'mod', NOW + n]])
  const patch = guardedOf(ask('note', { user: 'new', text: 'hm' }, factsOf(notes)))
  t.same(patch, { 'note:u0': null, 'note:new': [['hm', 'mod', NOW]] }, 'the user noted longest ago leaves')
  t.same(Object.keys(guardedOf(ask('note', { user: 'u3', text: 'hm' }, factsOf(notes)))), ['note:u3'], 'a user that has notes takes no more room')
  const full = { 'note:ann': Array.from({ length: NOTES_MAX }, (_, n) => [`n${n}`, 'mod', NOW]) }
  t.same((guardedOf(ask('note', { user: 'ann', text: 'last' }, factsOf(full)))['note:ann'] as unknown[][]).map(([text]) => text), [...Array.from({ length: NOTES_MAX - 1 }, (_, n) => `n${n + 1}`), 'last'])
  t.end()
})

t.test('ranks: of who is known, and of who has decided before', (t) => {
  const host: Actor = { id: 'host', name: 'Host', roles: ROLE.broadcaster }
  const byHost = sanctionPatch({ kind: 'timeout', whom: 'ann', until: NOW + 1000, rank: 3, by: 'host', reason: '', at: NOW })
  t.match(ask('timeout', { user: 'ann', seconds: 10 }, factsOf(byHost)), { name: 'forbidden' }, 'a moderator does not shorten what a broadcaster gave')
  t.match(ask('unban', { user: 'ann' }, factsOf(byHost)), { name: 'forbidden' })
  t.notOk(ask('unban', { user: 'ann' }, factsOf(byHost), host) instanceof Refusal)
  t.match(ask('ban', { user: 'x' }, factsOf({}, { roles: ROLE.moderator })), { name: 'forbidden' })
  t.match(ask('ban', { user: 'mod' }, factsOf({})), { name: 'forbidden' }, 'nobody bans themselves')
  t.match(ask('unban', { user: 'mod' }, factsOf({ 'ban:mod': [null, 3, 'host', '', NOW] })), { name: 'forbidden' }, 'nor lifts their own')
  t.notOk(ask('ban', { user: 'x' }, factsOf({}, { roles: ROLE.vip })) instanceof Refusal)
  t.end()
})

t.test('guarded state that is not of moderation is left alone', (t) => {
  const guard = new Guard({ blockedTerms: ['x'], 'other:thing': 5, nothing: null, cleared: 7 })
  t.same([guard.size, guard.held.size, guard.cleared], [0, 0, 7])
  t.equal(guardOf({}).noted({ seq: 5 }).removed.has(5), true)
  t.equal(guardOf({}).removed.size, 0, 'what rooms share is never written to')
  t.end()
})
