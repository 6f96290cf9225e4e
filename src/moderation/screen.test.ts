// What the screen must catch and what it must leave alone, as two tables; then hostile input and the terms file.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { compileTerms, loadTermsFile, screen } from './screen.ts'

const LIST = [
  'bad', 'ass', 'asshole', 'hell', 'shit', 'fuck', 'cunt', 'bitch', 'kill', 'kill yourself', 'kys', 'sex', 'whore', 'tit', 'god', 'pot', 'cop', 'ss', 'but', 'coon', 'idiot', 'cum', 'dick',
  '1488', 'Straße', 'señor', 'хуй', 'сука', 'μαλάκας', '傻逼', 'ばか', '시발', 'หี', 'שרמוטה', '🍆', 'free v-bucks', 'h4x0r', 'covid19', 'c++', '!!!'
]
const terms = compileTerms(LIST)

const CAUGHT: readonly [text: string, term: string][] = [
  ['bad', 'bad'], ['BAD', 'bad'], ['so bad!', 'bad'], ['"bad"', 'bad'], ['bad,bad', 'bad'], ['(bad)', 'bad'], ['it is bad.', 'bad'], ['bad-tempered', 'bad'], ['really_bad_idea', 'bad'], ['#bad', 'bad'], ['@bad', 'bad'], ["bad's", 'bad'], ['x/bad/y', 'bad'], ['bad?!?!', 'bad'], ['bad🔥', 'bad'], ['bad🇩🇪', 'bad'], ['🇩🇪bad', 'bad'],
  // accents and marks
  ['bäd', 'bad'], ['bád', 'bad'], ['b̶a̶d̶', 'bad'], ['b' + '\u0301'.repeat(40) + 'ad', 'bad'], ['bå̊d', 'bad'], ['shït', 'shit'], ['strasse', 'Straße'], ['STRASSE', 'Straße'], ['senor', 'señor'], ['SEÑOR', 'señor'],
  // invisible characters
  ['b\u200bad', 'bad'], ['b\u00adad', 'bad'], ['b\u2060a\ufeffd', 'bad'], ['b\u200da\u200cd', 'bad'], ['b\u3164ad', 'bad'], ['b\ufe0fad', 'bad'], ['\u202ebad\u202c', 'bad'], ['b\u{e0061}ad', 'bad'],
  // other shapes of the letters
  ['ｂａｄ', 'bad'], ['𝐛𝐚𝐝', 'bad'], ['𝓫𝓪𝓭', 'bad'], ['𝔟𝔞𝔡', 'bad'], ['ⓑⓐⓓ', 'bad'], ['🅱🅰🅳', 'bad'], ['🇧🇦🇩', 'bad'], ['🄱🄰🄳', 'bad'], ['ʙᴀᴅ', 'bad'], ['ᵇᵃᵈ', 'bad'], ['bɑd', 'bad'], ['bađ', 'bad'], ['ꜱʜɪᴛ', 'shit'], ['ﬆ shit', 'shit'],
  // look-alikes of other scripts
  ['bаd', 'bad'], ['ЬАd', 'bad'], ['аss', 'ass'], ['fuсk', 'fuck'], ['сор', 'cop'], ['рот', 'pot'], ['βαd', 'bad'], ['ΒΑD', 'bad'], ['ΗELL', 'hell'], ['ѕех', 'sex'], ['xуй', 'хуй'],
  // digits and signs as letters
  ['b4d', 'bad'], ['B4D', 'bad'], ['b@d', 'bad'], ['@ss', 'ass'], ['a$$', 'ass'], ['@$$', 'ass'], ['4$$', 'ass'], ['a55', 'ass'], ['a$$h0le', 'asshole'], ['@$$h0l3', 'asshole'], ['sh1t', 'shit'], ['sh!t', 'shit'], ['sh!t!!', 'shit'], ['$hit', 'shit'], ['$h!t', 'shit'], ['b1tch', 'bitch'], ['k1ll', 'kill'], ['ki11', 'kill'], ['ki|l', 'kill'], ['k|ll', 'kill'], ['he11', 'hell'], ['h3ll', 'hell'], ['5ex', 'sex'], ['s3x', 'sex'], ['wh0r3', 'whore'], ['7i7', 'tit'], ['@sh1t', 'shit'], ['1d10t', 'idiot'], ['h4x0r', 'h4x0r'], ['haxor', 'h4x0r'], ['covid19', 'covid19'], ['$hit, lads', 'shit'],
  // drawn out
  ['baaaad', 'bad'], ['baad', 'bad'], ['bbbbaaaadddd', 'bad'], ['bbaadd', 'bad'], ['badddd', 'bad'], ['fuuuuck', 'fuck'], ['fuucck', 'fuck'], ['ffuck', 'fuck'], ['fuckk', 'fuck'], ['asssss', 'ass'], ['aaass', 'ass'], ['helllll', 'hell'], ['goooood', 'god'], ['shiiiit', 'shit'], ['sh1111t', 'shit'], ['b44444d', 'bad'],
  // spelled out, parted
  ['b a d', 'bad'], ['b.a.d', 'bad'], ['b-a-d', 'bad'], ['b_a_d', 'bad'], ['b  a  d', 'bad'], ['b. a. d.', 'bad'], ['b\na\nd', 'bad'], ['b*a*d', 'bad'], ['b a  d', 'bad'], ['b-a.d', 'bad'], ['you are b a d', 'bad'], ['u r b a d', 'bad'], ['b a d u', 'bad'], ['a b a d guy', 'bad'], ['B 4 D', 'bad'], ['b.@.d', 'bad'], ['b a a a d', 'bad'], ['a s s', 'ass'], ['f.u.c.k y.o.u', 'fuck'], ['f u c k  y o u', 'fuck'], ['f-uck', 'fuck'], ['fu-ck', 'fuck'], ['sh.it', 'shit'], ['s.h.it', 'shit'], ['bi_tch', 'bitch'], ['b🔥a🔥d', 'bad'], ['sh🔥it', 'shit'], ['b а d', 'bad'], ['k y s', 'kys'], ['s s', 'ss'],
  // phrases
  ['kill yourself', 'kill'], ['free v-bucks', 'free v-bucks'], ['FREE V BUCKS!!', 'free v-bucks'], ['fr33 v.bucks', 'free v-bucks'], ['f r e e v bucks', 'free v-bucks'], ['get free, v-bucks', 'free v-bucks'],
  // other scripts
  ['ну и хуй', 'хуй'], ['ХУЙ', 'хуй'], ['х у й', 'хуй'], ['вот сука', 'сука'], ['ΜΑΛΆΚΑΣ', 'μαλάκας'], ['μαλακας', 'μαλάκας'], ['你是傻逼吗', '傻逼'], ['傻 逼', '傻逼'], ['傻.逼', '傻逼'], ['おばかさん', 'ばか'], ['시발아', '시발'], ['시 발', '시발'], ['อีหีนี่', 'หี'], ['שַׁרְמוּטָה', 'שרמוטה'], ['nice🍆🍆', '🍆'], ['🍆🏻', '🍆'], ['1488', '1488'], ['1 4 8 8', '1488'], ['go 1488!', '1488'], ['１４８８', '1488']
]

const INNOCENT: readonly string[] = [
  // words that hold a term
  'Scunthorpe', 'badge', 'badminton', 'class', 'glass', 'grass', 'assess', 'assassin', 'bass', 'passage', 'compass', 'embassy', 'classic', 'hello', 'shell', 'Michelle', 'shitake', 'Matsushita', 'Essex', 'Sussex', 'Middlesex', 'sextant', 'title', 'constitution', 'titan', 'button', 'butter', 'tycoon', 'raccoon', 'cocoon', 'document', 'cucumber', 'circumstance', 'Dickens', 'skill', 'killer', 'Kilimanjaro', 'godly', 'copper', 'potato', 'spot', 'sinbad', 'Mossad', 'idiotic',
  // words that differ only in a doubled letter
  'as', 'as well as', 'good', 'good game', 'hel', 'he said', 'butt', 'con', 'coop', 'titt', 'poot', 'Kil', 'fuk', 'cope',
  // apostrophes and punctuation
  "he'll", "he’ll be back", "she'll", 'his hit', "it's hit!", 'was hit', 'this.hit', 'a.s.a.p', 'A.S.A.P.', 'as.so', 'i.e. this', 'as such', 'e.g. so', 'cu m8', 'co op', 'ba d', 'as s', 'classes',
  // spelled out, but another word
  'C L A S S', 'g r a s s', 's c u n t h o r p e', 'S.C.U.N.T.H.O.R.P.E', 'b a d g e', 'h e l l o', 's k i l l', 'B-U-T-T-O-N', 'U S A', 'F B I', 'w w w', 'a b c d', 'x y z',
  // numbers, prices, versions
  '455', 'I scored 455 points', '$5', 'a $5 bill', 'a $ 5 bill', '5s', 'iPhone 5s', '$455', '14880', '21488', '14 88', '1 488', '14888', '3d', 'h3', '10k', '1st', '4th', '100%', 'v1.2.3', '2023-10-05', '12:34:56', 'a 5 5', 'covid', 'covid 19', '7 1 7',
  // addresses and mentions
  'mail ann@class.example', 'https://example.org/embassy?x=1', '@classy', '@good', 'user@ssh.example', 'C++', 'c', 'what is C', '!', '!!!', '$$', '<3', ':)', 'xD', 'o_O', 'a|b|c',
  // languages
  'мой рот закрыт', 'весь сор из избы', 'хор поёт', 'скука', 'рассука', 'хуйня', 'μαλακ', '傻', '逼真', '你傻不傻', 'はか', 'ガカ', '다시 발표', '시장', 'bäder', 'Straßenbahn', 'señorita', '🍎🍌', '👍🏿', '🇩🇪', '❤️', 'ทดสอบ',
  // phrases in part
  'free', 'free bucks', 'free v', 'v-bucks', 'free and v-bucks', 'yourself', ''
]

t.test('evasions are caught', (t) => {
  t.ok(CAUGHT.length >= 60)
  for (const [text, term] of CAUGHT) t.same(screen(text, terms), { term }, JSON.stringify(text))
  t.end()
})

t.test('the innocent stay innocent', (t) => {
  t.ok(INNOCENT.length >= 60)
  for (const text of INNOCENT) t.equal(screen(text, terms), null, JSON.stringify(text))
  t.end()
})

t.test('several sets, empty sets, and terms that match nothing', (t) => {
  t.equal(screen('bad'), null)
  t.equal(screen('bad', compileTerms([])), null)
  t.same(screen('a worse word', compileTerms(['bad']), compileTerms([]), compileTerms(['worse'])), { term: 'worse' })
  t.same(screen('KILL   Yourself', compileTerms(['Kill Yourself'])), { term: 'Kill Yourself' }, 'the term comes back as it was given')
  t.same(screen('k i l l y o u r s e l f', compileTerms(['kill yourself'])), { term: 'kill yourself' })
  t.equal(screen('killyourself', compileTerms(['kill yourself'])), null)
  t.same(screen('a s s', compileTerms(['a nice', 'ass'])), { term: 'ass' }, 'one term never hides another')
  t.same(screen('a b c', compileTerms(['ab c'])), { term: 'ab c' })
  t.equal(screen('a b c d', compileTerms(['ab c'])), null, 'half of what was spelled out is another word')
  t.same(screen('a nice day', compileTerms(['anice', 'a nice'])), { term: 'a nice' })
  t.same(screen('boob', compileTerms(['bob', 'boob'])), { term: 'boob' }, 'terms that differ in a double live side by side')
  t.equal(screen('bob', compileTerms(['boob'])), null)
  for (const nothing of ['', ' ', '!!!', '...', '\u200b', 'c++', '-']) t.equal(compileTerms([nothing]).size, 0, JSON.stringify(nothing))
  t.equal(compileTerms(['k', '1', '字', '🍆', 'c']).size, 5)
  t.same(screen('so k', compileTerms(['k'])), { term: 'k' })
  t.equal(compileTerms(['bad', 'BAD', 'b4d']).size, 3)
  t.end()
})

t.test('every term of a set is found in every dress that keeps its letters', (t) => {
  const words = ['alpha', 'bravo', 'charlie', 'delta', 'echo', 'foxtrot', 'golf', 'hotel', 'india', 'kilo', 'lima', 'mike', 'november', 'oscar', 'papa', 'quebec', 'romeo', 'sierra', 'tango', 'uniform', 'victor', 'whiskey', 'xray', 'yankee', 'zulu']
  const dresses: readonly ((word: string) => string)[] = [
    (word) => word.toUpperCase(), (word) => [...word].join(' '), (word) => [...word].join('.'), (word) => [...word].join('\u200b'), (word) => [...word].map((letter) => letter.repeat(3)).join(''), (word) => [...word].map((letter) => `${letter}\u0336`).join(''),
    (word) => word.replace(/o/g, '0').replace(/e/g, '3').replace(/i/g, '1').replace(/a/g, '4'), (word) => word.replace(/l/g, '1'), (word) => word.replace(/a/g, 'а').replace(/o/g, 'ο'),
    (word) => [...word].map((letter) => String.fromCodePoint(0x1d41a + letter.charCodeAt(0) - 97)).join(''), (word) => `well, ${word}!`, (word) => `${word}🔥`
  ]
  const set = compileTerms(words)
  for (const word of words) {
    const missed = dresses.map((dress) => dress(word)).filter((text) => screen(text, set)?.term !== word)
    t.same(missed, [], word)
  }
  t.end()
})

t.test('hostile text does not throw', (t) => {
  const dense = compileTerms([...LIST, ...Array.from({ length: 1000 }, (_, n) => 'a '.repeat(1 + n % 31) + 'b'), ...Array.from({ length: 500 }, (_, n) => 'ab'.repeat(1 + n % 32)), ...Array.from({ length: 300 }, (_, n) => `${'a'.repeat(1 + n % 20)}${'b'.repeat(1 + n % 17)}`)])
  const pieces = ['a', 'a ', 'ab', 'a.', '@', '$', '!', '|', '1', '\u0301', '\u200b', '\ud800', '\udc00', '\ufdfa', '傻', '시', '🍆', 'а', 'и', ' ', '\0', 'Ǆ', 'İ', 'ﬃ', '\u{10ffff}', "'", '🇧', '\uffff']
  let seed = 7
  const random = (below: number): number => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor(seed / 2147483648 * below) }
  for (const piece of pieces) t.doesNotThrow(() => screen(piece.repeat(2000).slice(0, 2000), dense))
  for (let run = 0; run < 500; run++) {
    const text = Array.from({ length: 200 }, () => pieces[random(pieces.length)]).join('')
    const verdict = screen(text, dense)
    t.ok(verdict === null || typeof verdict.term === 'string')
    compileTerms([text.slice(0, 64)])
  }
  t.end()
})

t.test('a file of terms', (t) => {
  const folder = t.testdir()
  const file = (content: string | Uint8Array): string => {
    const path = join(folder, 'terms.txt')
    writeFileSync(path, content)
    return path
  }
  const loaded = loadTermsFile(file('\uFEFF# a comment\r\nbad\r\n\r\n  kill yourself  \n#also\nзло'))
  t.equal(loaded.size, 3)
  t.same(screen('Kill yourself', loaded), { term: 'kill yourself' })
  t.same(screen('ЗЛО', loaded), { term: 'зло' })
  t.equal(loadTermsFile(file('')).size, 0)
  t.equal(loadTermsFile(file(Array.from({ length: 20_000 }, (_, n) => `term${n}x`).join('\n'))).size, 20_000)
  t.throws(() => loadTermsFile(file(`bad\n${'x'.repeat(65)}\n???\n`)), { message: /line 2: is longer than 64 characters; line 3: has nothing that could match/ })
  t.throws(() => loadTermsFile(file(Array.from({ length: 20_012 }, (_, n) => `term${n}x`).join('\n'))), { message: /line 20001: is beyond the 20000 terms.*and 2 more/ })
  t.throws(() => loadTermsFile(file(Buffer.from([0x62, 0xff, 0x0a]))), { message: /line 1: is not UTF-8/ })
  t.throws(() => loadTermsFile(file(Buffer.alloc(5 * 1024 * 1024, 'a'))), { message: /over 4194304 bytes/ })
  t.throws(() => loadTermsFile(join(folder, 'missing')), { code: 'ENOENT' })
  t.end()
})
