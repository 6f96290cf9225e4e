// The evasion corpus: thirty mild terms, the dresses in which people get such words past a screen, and words, names and
// lines that only look like them. Owns the words; what is caught and what is not is counted by evasions.test.ts.

export const TERMS = [
  'git', 'prat', 'berk', 'twit', 'nit', 'clot', 'tosh', 'oaf', 'goon', 'scum', 'pest', 'rat', 'moron', 'loser', 'clown',
  'numpty', 'plonker', 'muppet', 'wazzock', 'pillock', 'dimwit', 'nitwit', 'ratbag', 'dingbat', 'bonehead', 'blockhead', 'mooncalf', 'fopdoodle', 'get lost', 'shut it'
] as const

type Dress = (term: string) => string

const letters = (term: string): string[] => [...term]
const swapped = (from: string, to: string): Dress => (term) => letters(term).map((letter) => [...to][from.indexOf(letter)] ?? letter).join('')
const leet = swapped('aeiost', '4310$7')
const CYRILLIC = swapped('acekmopt', 'асекморт')
const stretched: Dress = (term) => term.replace(/[aeiou]/, (vowel) => vowel.repeat(4))
const inside = (mark: string): Dress => (term) => `${term.slice(0, Math.ceil(term.length / 2))}${mark}${term.slice(Math.ceil(term.length / 2))}`
const between = (mark: string): Dress => (term) => letters(term.replace(' ', '')).join(mark)

/** Ways of writing a term; each is used on every one. */
export const DRESSES: Readonly<Record<string, Dress>> = {
  capitals: (term) => letters(term).map((letter, at) => at % 2 === 0 ? letter.toUpperCase() : letter).join(''),
  accents: swapped('aeioun', 'áèïôüñ'),
  marks: (term) => letters(term).map((letter) => `${letter}\u0336`).join(''),
  lookAlikes: CYRILLIC,
  leet,
  spaced: between(' '),
  dotted: (term) => `you ${between('.')(term)}`,
  dashed: (term) => between('-')(term).toUpperCase(),
  zeroWidth: (term) => letters(term).join('\u200b'),
  fullWidth: (term) => letters(term).map((letter) => letter === ' ' ? letter : String.fromCodePoint(letter.charCodeAt(0) + 0xfee0)).join(''),
  bold: (term) => letters(term).map((letter) => letter === ' ' ? letter : String.fromCodePoint(0x1d41a + letter.charCodeAt(0) - 97)).join(''),
  stretched,
  parted: inside('-'),
  starred: (term) => term.replace(/(?<=.)[aeiou]/, '*'),
  leetAndDrawnOut: (term) => `what a ${leet(stretched(term))}!!`,
  spacedCapitals: (term) => between('_')(leet(term)).toUpperCase()
}

/** What must pass: words that hold a term, names of places and people, words one letter away, and plain lines. */
export const INNOCENT: readonly string[] = [
  // git
  'digit', 'digital', 'digits', 'agitate', 'agitated', 'agitation', 'legit', 'legitimate', 'cogitate', 'fugitive', 'fugitives', 'longitude', 'Brigitte', 'gitano', 'GitHub', 'gite', 'vagitus', 'regurgitate', 'sagittal', 'Sagittarius', 'progitor', 'ingite',
  // prat
  'Pratchett', 'Pratt', 'Prato', 'prattle', 'sprat', 'sprats', 'Pratap', 'comprato', 'pratfall', 'supratemporal', 'supranational', 'Prater',
  // berk
  'Berkeley', 'Berkshire', 'Berkhamsted', 'Berkovitz', 'Berkel', 'Berkane', 'Humberk', 'Berkley',
  // twit
  'twitter', 'Twitch', 'twitchy', 'outwit', 'outwitted', 'twitcher', 'twite', 'Twitchell', 'outwits',
  // nit
  'unit', 'units', 'united', 'knit', 'knitting', 'community', 'monitor', 'nitrogen', 'initial', 'initiate', 'opportunity', 'granite', 'definite', 'infinite', 'ignite', 'Unity', 'finite', 'nitro', 'cognition', 'vanity', 'sanity', 'dignity', 'humanity', 'Manitoba', 'Munition', 'Nitra',
  // clot
  'cloth', 'clothes', 'clothing', 'tablecloth', 'Clotilde', 'washcloth', 'Clotho',
  // tosh
  'Toshiba', 'Macintosh', 'Toshiro', 'Toshi', 'McIntosh', 'photoshop', 'Photoshopped',
  // oaf
  'loaf', 'loafer', 'loafers', 'oafish', 'meatloaf', 'goaf',
  // goon
  'lagoon', 'dragoon', 'lagoons', 'goonies', 'Rangoon', 'goo', 'goof', 'good on you', 'Goonhilly', 'gone', 'gon',
  // scum
  'discuss', 'muscum', 'Tuscumbia', 'viscum', 'discumfort', 'Ascum',
  // pest
  'tempest', 'Budapest', 'pester', 'pesto', 'pesticide', 'Bucharest to Budapest', 'pestle', 'Pestalozzi', 'ripest', 'cheapest', 'steepest',
  // rat
  'rate', 'rating', 'ratio', 'great', 'grateful', 'operate', 'separate', 'literature', 'Brat', 'rather', 'celebrate', 'strategy', 'Stratford', 'Stratford-upon-Avon', 'Ararat', 'Karate', 'pirate', 'integration', 'concentrate', 'crate', 'accurate', 'Bratislava', 'Muratov', 'generation', 'rational', 'gratin', 'Ratatouille', 'Surat', 'Socrates', 'democratic', 'Ratcliffe', 'Moratalaz', 'Montserrat',
  // moron, loser, clown
  'Moroni', 'oxymoron', 'Moronvilliers', 'oxymorons', 'close', 'closer', 'closers', 'closest', 'enclosers', 'looser', 'clownfish', 'Moron-like', 'downtown', 'clone', 'clowder', 'Cologne', 'lose', 'losers bracket is on', 'Looser fit',
  // the longer ones
  'muppetry', 'Muppets', 'pillocks', 'dimwittedly', 'boneheadedness', 'blockheads', 'mooncalves', 'dingbats', 'plonkers', 'numpties', 'wazzockery', 'ratbags', 'bone head office', 'block header', 'moon calfskin', 'block heading', 'din bat', 'numb type', 'blocked', 'bonehard', 'dim with', 'ding batter', 'plonk', 'wazz', 'pill ock',
  // phrases in part
  'get', 'lost', 'get the lost one', 'shut', 'it', 'shutter', 'we get losses', 'get lostness', 'shut items', 'shut down', 'it shut', 'lost get', 'do not get tired', 'I got lost', 'gets lost', 'shut its door', 'shutit',
  // spelled out, but another word
  'u n i t', 'd i g i t', 'r a t e', 'g r e a t', 'L A G O O N', 'p e s t o', 'c l o t h', 'K.N.I.T', 'T-E-M-P-E-S-T', 'B U D A P E S T', 'l.o.a.f', 's p r a t', 'c.l.o.s.e.r', 't w i t c h', 'L E G I T', 'P i r a t e',
  // one letter away, abbreviations, punctuation
  'gut', 'got', 'get it', 'net', 'not', 'knot', 'bark', 'perk', 'tash', 'tosk', 'past', 'post', 'best', 'rot', 'rut', 'r.t', 'at', 'n.t', 'g.t.', "it's", "isn't it?", 'e.g. it', 'a.t.', 'Pr. at', 'pe st', 'g it', 'ra t', 'o af', 'oa f', 'sc um', 'cl own', 'ni t', 'r-at', 'o.a.', 'USA', 'w.r.t', 'i.e. that',
  // numbers, stars, addresses, handles
  '917', '6:17', '9 17', '1917', 'r4', '3*4*5', '2 * 2 = 4', '*wow*', '**bold**', '*** nice ***', 'p*', '5* hotel', 'M*A*S*H', 'a*b*c', 'https://example.org/digit/unit?rate=1', 'mail kit@unit.example', '@rate', '@unity', '#community', '#digital', 'C++', '<3', 'o_O', ':-)', '%d', '100%', 'r@e', 'u|n',
  // other scripts and accents
  'пират', 'брат', 'ратный', 'Môron', 'нить', 'оаф', '単位', '联合', 'クロス', 'ラット', 'naïve', 'café', 'über', 'Ratón', 'señal', 'grátis', 'été', 'garçon', 'Zürich', 'Gdańsk', 'İzmir', 'ratón grande',
  // lines
  'what a great stream', 'gg wp', 'that was close', 'good game everyone', 'see you tomorrow at ten', 'the unit rate is great', 'lol lol lol', 'I love this community', 'is it on Twitch too?', 'nice outfit', 'this is the best opportunity', 'we are united', 'pass the pesto', 'my loafers are wet', 'digital rights', 'hello from Bratislava', 'greetings from Budapest', 'Berkeley is sunny',
  'he closed the door and it shut', 'the pirate ate the rate card', 'wow!!!', 'noooooo', 'yesss', 'hahahaha', 'hmmmm', 'ok', 'brb', 'afk', 'PogChamp', 'KEKW KEKW', 'so goooood', 'LETS GOOOO', 'sooo cool', 'aaaaaa', 'what??', 'hellooo', '👍👍', '❤️ from Rangoon'
]
