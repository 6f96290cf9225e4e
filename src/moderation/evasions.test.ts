// How many evasions the screen catches, and how often it raises a false alarm, on a corpus of its own. Both numbers are
// printed, and every miss and false alarm by name, so that a change of the screen shows what it costs.

import t from 'tap'
import { DRESSES, INNOCENT, TERMS } from './evasions.suite.ts'
import { compileTerms, screen } from './screen.ts'

const CAUGHT_MIN = 0.95
const FALSE_MAX = 0.02
const terms = compileTerms(TERMS)

t.test('evasions of thirty terms are caught', (t) => {
  const variants = TERMS.flatMap((term) => Object.entries(DRESSES).map(([dress, wear]) => ({ dress, text: wear(term) })))
  const texts = new Map(variants.map((variant) => [variant.text, variant]))
  const missed = [...texts.values()].filter(({ text }) => screen(text, terms) === null)
  const share = 1 - missed.length / texts.size
  t.comment(`caught ${texts.size - missed.length} of ${texts.size} variants (${(share * 100).toFixed(1)} %); missed: ${missed.map(({ dress, text }) => `${text} (${dress})`).join(', ')}`)
  t.equal(TERMS.length, 30)
  t.ok(texts.size >= 300, `${texts.size} different variants`)
  t.ok(share >= CAUGHT_MIN, `caught ${(share * 100).toFixed(1)} %`)
  t.end()
})

t.test('the innocent pass', (t) => {
  const lines = [...new Set(INNOCENT)]
  const alarms = lines.filter((text) => screen(text, terms) !== null)
  const share = alarms.length / lines.length
  t.comment(`${alarms.length} false alarms in ${lines.length} innocent texts (${(share * 100).toFixed(1)} %): ${alarms.join(', ')}`)
  t.ok(lines.length >= 300, `${lines.length} different texts`)
  t.ok(share <= FALSE_MAX, `false alarms ${(share * 100).toFixed(1)} %`)
  t.end()
})

t.test('three ways to write a term', (t) => {
  const set = compileTerms(['plonk*', '"tosh"', 'get lo*', '"c\'est la"', 'pest'])
  t.equal(set.size, 5)
  const caught = ['plonk', 'plonkers', 'PL0NKING', 'p l o n k', 'tosh', 'TOSH!', 'get lost', 'get lo', "c'est la vie", 'p*st', 'pe*t']
  for (const text of caught) t.ok(screen(text, set), text)
  const passes = ['explonk', 'plon', 't0sh', 't o s h', 'toshiba', 'get l', "c'est", 'p**t?', 'p***', '*pest', 'pos*t']
  for (const text of passes.slice(0, -4)) t.equal(screen(text, set), null, text)
  t.equal(screen('p***', set), null, 'three of four letters hidden is anything')
  t.equal(screen('pos*t', set), null)
  t.equal(compileTerms(['*', '"', '""', '"!!"', '!*']).size, 0, 'nothing that could match')
  t.end()
})

t.test('a hostile text costs a time that grows with its length', (t) => {
  const dense = compileTerms([...TERMS, ...Array.from({ length: 1000 }, (_, n) => 'a '.repeat(1 + n % 31) + 'b'), ...Array.from({ length: 500 }, (_, n) => 'ab'.repeat(1 + n % 32))])
  const cost = (text: string): number => {
    for (let warm = 0; warm < 3; warm++) screen(text, dense)
    return Math.min(...Array.from({ length: 10 }, () => {
      const from = performance.now()
      screen(text, dense)
      return performance.now() - from
    }))
  }
  for (const piece of ['b*', 'a ', 'a.', 'a$1|!', 'ab ', 'b.a.', 'b b ', '*a', 'а1 ']) {
    // Eight times the text: 8 when linear, 64 when quadratic. A busy machine may spoil a measurement, but not five.
    let least = Infinity
    for (let round = 0; round < 5 && least > 16; round++) least = Math.min(least, cost(piece.repeat(8000).slice(0, 8000)) / cost(piece.repeat(1000).slice(0, 1000)))
    t.ok(least <= 24, `${JSON.stringify(piece)}: ${least.toFixed(1)} times the time for eight times the text`)
  }
  t.end()
})
