// Scorers and what follows from scores: rules on made-up talk with innocents beside, hysteresis in time, and a scorer
// elsewhere that answers, dawdles, lies and rests.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import type { Log } from '../log/log.ts'
import { Breaker } from './breaker.ts'
import { jsonServer } from './json-server.suite.ts'
import { Audit, HttpScorer, RulesScorer } from './moderation.ts'
import type { Scorable, Score } from './scorer.ts'
import { Verdicts } from './verdicts.ts'

const START = 1_700_000_000_000
let seqs = 0

function talk (user: string, body: string, atMs: number, room = 'r'): Scorable {
  return { room, epoch: 'e', seq: ++seqs, ts: START + atMs, user: { id: user, name: user, roles: 0 }, body }
}

async function openLog (t: Test): Promise<Log> {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-rules-'))
  const store = await openStore(dir)
  const log = createLmdbLog(store, { clock: systemClock, metrics: new Metrics(), durability: 'commit', queueMax: 1000, dedupMinutes: 1, retention: { hours: 1, entriesMax: 100_000, mbMax: 100 } })
  t.teardown(async () => {
    await log.close()
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  })
  return log
}

const labels = (scores: readonly (Score | null)[]): (string | null)[] => scores.map((score) => score?.label ?? null)

t.test('rules: floods, and talk that is none', async (t) => {
  const rules = new RulesScorer(await openLog(t))
  const calm = await rules.score(Array.from({ length: 30 }, (_, i) => talk('calm', `what I think, number ${i}`, i * 1100)))
  t.same(calm.filter((score) => score !== null), [], 'one message a second is no flood')
  const many = await rules.score(Array.from({ length: 20 }, (_, i) => talk('many', `quick thought ${i}`, i * 200)))
  t.same(labels(many.slice(0, 10)), Array.from({ length: 10 }, () => null))
  t.same(labels(many.slice(10)), Array.from({ length: 10 }, () => 'flood'), 'from the eleventh within ten seconds on')
  t.ok((many[19] as Score).score > (many[10] as Score).score, 'the further, the worse')
  const same = await rules.score(Array.from({ length: 5 }, (_, i) => talk('same', i % 2 === 0 ? 'FREE stuff!!' : 'free  stuff', i * 4000)))
  t.same(labels(same), [null, null, null, 'flood', 'flood'], 'one text in other clothes')
  t.match(same[3], { why: 'one text 4 times in 30 s' })
})

t.test('rules: a raid of newcomers, and a crowd that cheers', async (t) => {
  const rules = new RulesScorer(await openLog(t))
  await rules.score(Array.from({ length: 20 }, (_, i) => talk(`old${i}`, `good evening ${i}`, 0)))
  const raid = await rules.score(Array.from({ length: 12 }, (_, i) => talk(`new${i}`, 'come to my channel now', 120_000 + i * 500)))
  t.same(labels(raid).filter((label) => label === 'raid').length, 5, 'from the eighth newcomer on')
  t.ok(raid.every((score) => score === null || score.score >= 0.9))
  const regulars = await rules.score(Array.from({ length: 20 }, (_, i) => talk(`old${i}`, 'what a wonderful goal', 130_000 + i * 100)))
  t.same(labels(regulars).filter((label) => label !== null), [], 'regulars who say the same are a crowd')
  const cheers = await rules.score(Array.from({ length: 20 }, (_, i) => talk(`fresh${i}`, 'GOAL', 131_000 + i * 100)))
  t.same(labels(cheers).filter((label) => label !== null), [], 'short cheers too')
})

t.test('rules: whoever was sanctioned elsewhere weighs more', async (t) => {
  const log = await openLog(t)
  const audit = new Audit(log)
  const row = { action: 'timeout', by: 'mod', source: 'human', text: null, reason: null, args: {}, failure: null } as const
  const now = Date.now() - START
  await audit.append({ ...row, room: 'elsewhere', whom: 'known' })
  const rules = new RulesScorer(log)
  await rules.start()
  t.teardown(() => rules.stop())
  await log.remove('uproar:audit')
  await audit.append({ ...row, room: 'third', whom: 'known' })
  await audit.append({ ...row, room: 'third', whom: 'lucky', failure: 'it was not carried out' })
  const flood = async (user: string): Promise<Score> => (await rules.score(Array.from({ length: 12 }, (_, i) => talk(user, `text ${i}`, now + i * 100)))).at(-1) as Score
  const [known, lucky] = [await flood('known'), await flood('lucky')]
  t.equal(known.score, lucky.score * 2)
  t.match(known.why, /sanctioned in 2 other rooms within a day/)
  t.notMatch(lucky.why, /sanctioned/)
})

t.test('verdicts: removal at once, sanctions with hysteresis', (t) => {
  const verdicts = new Verdicts('rules')
  const judge = (atMs: number, score: number, user = 'u'): string[] =>
    verdicts.judge(talk(user, 'x', atMs), { score, label: 'flood', why: 'too much' }).map(({ action, args }) => action === 'timeout' ? `timeout ${args['seconds']}${args['purge'] === true ? ' purge' : ''}` : action)
  t.same(judge(0, 0.95, 'once'), ['remove'], 'one bad message goes, and its author stays')
  t.same([0, 1, 2, 3].map((i) => judge(i * 1000, 0.5)), [[], [], [], []], 'warm')
  t.same(judge(4000, 0.5), ['timeout 60'], 'hot')
  t.same([5, 6, 7].map((i) => judge(i * 1000, 0.5)), [[], [], []], 'not again for the same heat')
  t.same(judge(8000, 1), ['remove'])
  t.same(judge(9000, 1), ['remove', 'timeout 600 purge'], 'but again when it has doubled')
  t.same(judge(200_000, 0.5), [], 'cooled down')
  t.same([1, 2, 3, 4].flatMap((i) => judge(200_000 + i * 100, 0.6)), ['timeout 3600 purge'], 'and then longer')
  t.same([1, 2, 3, 4].flatMap((i) => judge(7_500_000 + i * 100, 0.6)), ['timeout 3600 purge'], 'a good hour is one step down')
  const [timeout] = [1, 2, 3, 4, 5].flatMap((i) => verdicts.judge(talk('wordy', 'x', i), { score: 0.5, label: 'raid', why: 'w'.repeat(500) }))
  t.equal((timeout?.args['reason'] as string).length, 200)
  t.match(timeout?.args['reason'], /^raid: www/, 'says what and why')
  t.end()
})

t.test('the breaker', (t) => {
  const breaker = new Breaker()
  for (let i = 0; i < 5; i++) {
    t.ok(breaker.may(0))
    breaker.done(false, 0)
  }
  t.notOk(breaker.may(9999), 'rests')
  t.ok(breaker.may(10_000), 'tries once')
  t.notOk(breaker.may(10_000), 'one at a time')
  breaker.done(false, 10_001)
  t.notOk(breaker.may(20_000))
  t.ok(breaker.may(20_001))
  breaker.done(true, 20_002)
  t.ok(breaker.may(20_002) && breaker.may(20_002), 'well again')
  t.end()
})

t.test('a scorer elsewhere', async (t) => {
  const server = await jsonServer(t)
  const metrics = new Metrics()
  const scorer = new HttpScorer({ url: server.url, timeoutMs: 300, token: 'the word', metrics })
  const messages = Array.from({ length: 120 }, (_, i) => talk('u', `text ${i}`, i))
  server.answer = ({ messages }) => ({ scores: messages.map(({ seq }: Scorable) => seq % 2 === 0 ? null : { score: 0.5, label: 'spam', why: 'line\nbreak' }) })
  const scores = await scorer.score(messages)
  t.same(scores.map((score) => score?.why ?? null), messages.map(({ seq }) => seq % 2 === 0 ? null : 'line break'), 'in order')
  t.same(server.asked.map(({ body, authorization }) => [body.messages.length, authorization]), [[100, 'Bearer the word'], [20, 'Bearer the word']], 'in batches')
  const wrong: [string, unknown][] = [
    ['a status', 503], ['no JSON', 'what?'], ['no scores', {}], ['too few', { scores: [null] }], ['beyond measure', { scores: [{ score: 2 }, null] }]
  ]
  for (const [what, answer] of wrong) {
    server.answer = () => answer
    await t.rejects(scorer.score(messages.slice(0, 2)), { code: 'unavailable' }, what)
  }
  const asked = server.asked.length
  await t.rejects(scorer.score(messages.slice(0, 2)), { code: 'unavailable', message: /rests/ })
  t.equal(server.asked.length, asked, 'and then it is left alone')
  const late = new HttpScorer({ url: server.url, timeoutMs: 50, token: null, metrics })
  server.answer = () => null
  const start = performance.now()
  await t.rejects(late.score(messages.slice(0, 1)), { code: 'unavailable' })
  t.ok(performance.now() - start < 2000, 'it has a time budget')
  server.answer = () => 'x'.repeat(300_000)
  await t.rejects(new HttpScorer({ url: server.url, timeoutMs: 1000, token: null, metrics }).score(messages.slice(0, 1)), { message: /bytes/ }, 'and a bound')
  t.equal(metrics.value('uproar_scorer_calls_total', 'answered'), 2)
})
