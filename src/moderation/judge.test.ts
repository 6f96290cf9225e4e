// The levels: what each does about links, shouting, floods and repeats, and that nothing of it touches plain chat.

import t from 'tap'
import { gist, habitsOf, isEmotesOnly, linkHosts } from './habits.ts'
import { judge, type Question } from './judge.ts'
import { LEVELS, REPEAT_MS } from './levels.ts'
import { Repeats } from './repeats.ts'
import { compileTerms } from './screen.ts'

const terms = [compileTerms(['plonker'])]
const fresh = { own: 0, others: 0, agoMs: Infinity }
const ask = (text: string, level: number, more: Partial<Question> = {}): string => {
  const { judgement, rule } = judge({ text, level, mentions: 0, terms, allowedLinks: [], repeat: fresh, ...more })
  return `${judgement} ${rule}`
}

t.test('plain chat passes at every level, a blocked term at none', (t) => {
  for (let level = 0; level < LEVELS.length; level++) {
    for (const text of ['hello everyone', 'GG', 'LETS GO', 'lol!!!', '😂😂😂', 'what? wait.what', 'e.g. this', 'see you at 10:30', 'ПРИВЕТ', 'noooooo', ':wave: hi']) t.equal(ask(text, level), 'allow none', `${text} at ${level}`)
    t.equal(ask('you pl0nker', level), 'block term')
  }
  t.end()
})

t.test('each rule at each level', (t) => {
  const rows: readonly [what: string, text: string, expected: readonly string[]][] = [
    ['a link', 'see https://spam.example/x', ['allow none', 'allow none', 'hold link', 'block link', 'block link']],
    ['a bare link', 'see spam.com now', ['allow none', 'allow none', 'hold link', 'block link', 'block link']],
    ['a link in disguise', 'see spam (dot) com now', ['allow none', 'allow none', 'hold link', 'block link', 'block link']],
    ['12 capitals', 'GIVE ME THE PRIZE', ['allow none', 'allow none', 'allow none', 'allow none', 'block capitals']],
    ['long shouting', 'WHY DOES NOBODY EVER READ WHAT I AM WRITING HERE AT ALL PLEASE', ['allow none', 'block capitals', 'block capitals', 'block capitals', 'block capitals']],
    ['20 emotes', '😂'.repeat(10) + ' ' + '🔥'.repeat(10), ['allow none', 'allow none', 'allow none', 'block emotes', 'block emotes']],
    ['10 codes', ':kappa: '.repeat(10), ['allow none', 'allow none', 'allow none', 'allow none', 'block emotes']],
    ['30 in a row', 'o' + 'h'.repeat(30), ['allow none', 'allow none', 'allow none', 'block signs', 'block signs']]
  ]
  for (const [what, text, expected] of rows) t.same(LEVELS.map((_, level) => ask(text, level)), expected, what)
  t.same(LEVELS.map((_, level) => ask('hi', level, { mentions: 6 })), ['allow none', 'allow none', 'allow none', 'block mentions', 'block mentions'])
  t.same(LEVELS.map((_, level) => ask('hi', level, { repeat: { own: 2, others: 0, agoMs: 5 } })), ['allow none', 'allow none', 'allow none', 'block repeat', 'block repeat'])
  t.same(LEVELS.map((_, level) => ask('hi', level, { repeat: { own: 0, others: 20, agoMs: 5 } })), ['allow none', 'allow none', 'hold crowd', 'hold crowd', 'shadow crowd'])
  t.equal(ask('https://clips.good.example/1', 3, { allowedLinks: ['good.example'] }), 'allow none')
  t.equal(ask('https://notgood.example/1', 3, { allowedLinks: ['good.example'] }), 'block link')
  t.end()
})

t.test('how a text is written', (t) => {
  t.same(habitsOf('ABc 1! 😂:ok:'), { letters: 5, capitals: 2, signs: 3, emotes: 2, row: 1 })
  t.same(linkHosts('https://user@x.example:80/a WWW.Y.example http://z'), ['user', 'y.example', 'z'])
  t.same(linkHosts('mail ann@site.com or v1.2.3, 3.de'), ['3.de'])
  for (const text of ['😂', '🇩🇪 ❤️', ':wave: 👍🏽', '1️⃣'.slice(1)]) t.ok(isEmotesOnly(text), text)
  for (const text of ['a', '😂 a', ': :', '1']) t.notOk(isEmotesOnly(text), text)
  t.equal(gist('HELLO,   wooorld!!'), gist('helo world'))
  t.end()
})

t.test('repeats: by one author, by many, forgotten in time, and a retry is none', (t) => {
  const repeats = new Repeats()
  t.same(repeats.look('r', 'a', 'x', 'n1', 0), fresh)
  repeats.note('r', 'a', 'x', 'n1', 0)
  t.same(repeats.look('r', 'a', 'x', 'n1', 10), fresh, 'its own retry')
  t.same(repeats.look('r', 'a', 'x', 'n2', 10), { own: 1, others: 0, agoMs: 10 })
  t.same(repeats.look('r', 'b', 'x', 'n3', 10), { own: 0, others: 1, agoMs: 10 })
  t.same(repeats.look('other', 'b', 'x', 'n3', 10), fresh, 'rooms are apart')
  repeats.note('r', 'b', 'x', 'n3', 20)
  repeats.note('r', 'a', 'x', 'n2', 30)
  t.same(repeats.look('r', 'c', 'x', 'n4', 40), { own: 0, others: 2, agoMs: 10 })
  t.same(repeats.look('r', 'a', 'x', 'n5', 40), { own: 2, others: 1, agoMs: 10 })
  t.same(repeats.look('r', 'a', 'x', 'n5', 30 + REPEAT_MS), fresh)
  t.same(repeats.look('r', 'a', '', 'n5', 40), fresh, 'nothing is no text')
  t.end()
})
