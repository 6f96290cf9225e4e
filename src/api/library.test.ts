// What is looked up over REST, with the real embedded archive behind it: who finds what, paging, text as it was written,
// removals that count at once, replay, statistics, exports, limits, and no archive at all.

import { request as httpRequest } from 'node:http'
import t, { type Test } from 'tap'
import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import type { Archive } from '../archive/archive.ts'
import { archiveOf } from '../archive/archive.suite.ts'
import { Archiver } from '../archive/archiver.ts'
import { systemClock } from '../base/clock.ts'
import { LogFeed } from '../feed/log-feed.ts'
import { refused, SERVER_KEY, startBench, type Bench } from './api.suite.ts'

const archive: Archive = archiveOf(t)

/** A server whose log is brought into the archive; `archived` waits until all of it is there. */
async function start (t: Test): Promise<Bench & { archived (): Promise<void>, act (room: string, action: string, args: unknown): Promise<void> }> {
  const bench = await startBench(t, { archive })
  const feed = new LogFeed({ log: bench.roomLog, clock: systemClock, metrics: bench.metrics, say: () => {} })
  const archiver = new Archiver({ feed, archive, metrics: bench.metrics, say: () => {}, paceMs: 20 })
  archiver.start()
  t.teardown(async () => { await archiver.stop(); await feed.close() })
  return {
    ...bench,
    async archived () {
      const { json } = await bench.ask('GET', '/v1/rooms?limit=200', { token: SERVER_KEY })
      const heads = await Promise.all(json.rooms.map(({ room }: { room: string }) => bench.roomLog.head(room))) as { seq: number }[]
      const wanted = { messages: heads.reduce((sum, { seq }) => sum + seq, 0), audit: (await bench.roomLog.head('uproar:audit')).seq }
      // Counted when an insert is done with all that is made of it.
      const isThere = (): boolean => (['messages', 'audit'] as const).every((table) => bench.metrics.value('uproar_archive_rows_total', table) >= wanted[table])
      for (const end = performance.now() + 20_000; !isThere();) {
        if (performance.now() > end) throw new Error('the archive did not get everything')
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    },
    async act (room, action, args) {
      const { status, json } = await bench.ask('POST', `/v1/rooms/${room}/actions`, { token: SERVER_KEY, body: { action, args } })
      if (status !== 200) throw new Error(`${action}: ${JSON.stringify(json)}`)
    }
  }
}

interface Message { seq: number, body: string, room: string, shadow?: boolean, removed?: unknown }
const bodies = ({ json }: { json: { messages: Message[] } }): string[] => json.messages.map(({ body }) => body)

t.test('who finds what', async (t) => {
  const bench = await start(t)
  const [ann, eve, mod] = [await bench.token('ann'), await bench.token('eve'), await bench.token('mod', [], { stage: ['moderator'], kitchen: [] })]
  await bench.send('stage', ann, 'the first goose')
  const rude = await bench.send('stage', ann, 'a rude goose')
  await bench.send('stage', eve, 'Goose! GOOSE?')
  await bench.act('stage', 'shadowBan', { user: 'eve' })
  await bench.send('stage', eve, 'a hidden goose')
  await bench.act('stage', 'remove', { seq: rude, reason: 'rude' })
  await bench.send('kitchen', ann, 'roast goose')
  await bench.ask('PUT', '/v1/rooms/secret', { token: SERVER_KEY, body: { settings: { private: true } } })
  await bench.send('secret', SERVER_KEY, 'secret goose')
  await bench.archived()
  const search = (path: string, token?: string) => bench.ask('GET', path, token === undefined ? {} : { token })

  t.same(bodies(await search('/v1/rooms/stage/search?q=goose')), ['Goose! GOOSE?', 'the first goose'], 'newest first, in any case, without what is gone or hidden')
  t.notMatch(JSON.stringify((await search('/v1/rooms/stage/search?q=goose')).json), /removed|shadow/, 'nor a word about that')
  t.same(bodies(await search('/v1/rooms/stage/search?q=goose', eve)), ['a hidden goose', 'Goose! GOOSE?', 'the first goose'], 'a hidden author finds their own')
  const whole = await search('/v1/rooms/stage/search?q=goose', mod)
  t.match(whole.json.messages, [
    { body: 'a hidden goose', shadow: true, removed: null },
    { body: 'Goose! GOOSE?', shadow: false, removed: null },
    { body: 'a rude goose', seq: rude, removed: { at: Number, by: 'server', reason: 'rude' }, room: 'stage', epoch: String, ts: Number, user: { id: 'ann', name: 'ANN', roles: 0 }, kind: 0, ext: null },
    { body: 'the first goose', removed: null }
  ], 'moderators find all, with who and why')
  t.same(bodies(await search('/v1/rooms/stage/search?q=goose%20FIRST')), ['the first goose'], 'all words, in any order')
  t.same(bodies(await search('/v1/rooms/stage/search?author=ann')), ['the first goose'])
  t.same(bodies(await search('/v1/rooms/stage/search?q=goose&kind=1')), [])
  t.same(bodies(await search('/v1/rooms/stage/search?q=goos')), [], 'words, not parts of them')

  refused(t, await search('/v1/rooms/secret/search?q=goose'), 'unauthorized')
  refused(t, await search('/v1/rooms/secret/search?q=goose', ann), 'forbidden')
  refused(t, await search('/v1/rooms/nowhere/search?q=goose'), 'not_found')
  refused(t, await search('/v1/search?q=goose'), 'unauthorized')
  refused(t, await search('/v1/search?q=goose', ann), 'forbidden', 'who moderates nothing searches no rooms')
  const rooms = (answer: { json: { messages: Message[] } }): string[] => [...new Set(answer.json.messages.map(({ room }) => room))].sort()
  t.same(rooms(await search('/v1/search?q=goose', mod)), ['stage'], 'moderators: their rooms')
  t.same(rooms(await search('/v1/search?q=goose', SERVER_KEY)), ['kitchen', 'secret', 'stage'], 'a server key: all')
  t.same(rooms(await search('/v1/search?q=goose&rooms=kitchen,secret', SERVER_KEY)), ['kitchen', 'secret'])
  refused(t, await search('/v1/search?q=goose&rooms=kitchen', mod), 'forbidden')

  t.same(bodies(await search('/v1/users/ann/messages', ann)), ['roast goose', 'the first goose'], 'one\'s own in all rooms, but what is gone')
  t.same(bodies(await search('/v1/users/eve/messages', eve)), ['a hidden goose', 'Goose! GOOSE?'])
  refused(t, await search('/v1/users/ann/messages'), 'unauthorized')
  refused(t, await search('/v1/users/ann/messages', eve), 'forbidden')
  t.same(bodies(await search('/v1/users/ann/messages', mod)), ['a rude goose', 'the first goose'], 'moderators: what was said in their rooms')
  t.same(bodies(await search('/v1/users/ann/messages?room=kitchen', eve)), ['roast goose'], 'in a public room anybody, as by searching there')
  t.same(bodies(await search('/v1/users/ann/messages', SERVER_KEY)), ['roast goose', 'a rude goose', 'the first goose'])

  // The archive has not heard of it when the next request comes.
  await bench.act('stage', 'purge', { user: 'ann' })
  t.same(bodies(await search('/v1/rooms/stage/search?q=goose')), ['Goose! GOOSE?'], 'what is removed is gone at once')
  await bench.act('stage', 'clear', {})
  t.same(bodies(await search('/v1/rooms/stage/search?q=goose')), [])

  t.equal((await bench.ask('DELETE', '/v1/rooms/stage', { token: SERVER_KEY })).status, 204)
  t.same(bodies(await search('/v1/search?q=goose', mod)), [], 'a room that was deleted is nobody\'s to moderate')
  await bench.send('stage', ann, 'another goose')
  for (const end = performance.now() + 20_000; performance.now() < end && !bodies(await search('/v1/search?q=another', SERVER_KEY)).includes('another goose');) await new Promise((resolve) => setTimeout(resolve, 20))
  t.same(bodies(await search('/v1/search?q=goose', mod)), ['another goose'], 'nor by who moderates one of its name')
  t.same(bodies(await search('/v1/users/ann/messages', mod)), ['another goose'])
  t.equal(bodies(await search('/v1/search?q=goose&rooms=stage', SERVER_KEY)).length, 5, 'a server key finds what was')
})

t.test('who was erased is found in nobody\'s mentions either, before the archive hears of it', async (t) => {
  const bench = await start(t)
  const eve = await bench.token('eve')
  await bench.send('gone', await bench.token('ann'), 'a swan')
  await bench.ask('POST', '/v1/rooms/gone/messages', { token: eve, body: { nonce: 'm1', body: 'what a swan', ext: { at: ['ann'], re: 1 } } })
  await bench.archived()
  const search = () => bench.ask('GET', '/v1/rooms/gone/search?q=swan')
  t.match((await search()).json.messages, [{ body: 'what a swan', ext: { at: ['ann'], re: 1 } }, { body: 'a swan' }])
  await bench.roomLog.publish('gone', { op: OUT.REMOVE, tail: packTail([{ user: 'ann', upTo: 2, erased: true }, null]), author: 'server', nonce: null, patch: { guarded: { 'purged:ann': 2 } } })
  const { messages } = (await search()).json
  t.equal(messages.length, 1)
  t.notMatch(JSON.stringify(messages), 'ann')
  t.match(messages, [{ body: 'what a swan', ext: { re: 1 } }], 'what others said stays')
})

t.test('pages of what is found', async (t) => {
  const bench = await start(t)
  const ann = await bench.token('ann')
  for (let number = 1; number <= 12; number++) await bench.send('pages', ann, `line ${number}`)
  for (const seq of [3, 4, 5, 6, 7, 8]) await bench.act('pages', 'remove', { seq })
  await bench.archived()
  const found: string[] = []
  let asked = 0
  for (let before: string | null = ''; before !== null; asked++) {
    const answer = await bench.ask('GET', `/v1/rooms/pages/search?q=line&limit=2${before === '' ? '' : `&before=${before}`}`)
    t.equal(answer.status, 200)
    if (answer.json.next !== null) t.ok(answer.json.messages.length > 0, 'no page is empty while there is more')
    found.push(...bodies(answer))
    before = answer.json.next
  }
  t.same(found, [12, 11, 10, 9, 2, 1].map((number) => `line ${number}`), 'each once, newest first, over a run of removed ones')
  t.ok(asked <= 5)
  const { ts } = (await bench.ask('GET', '/v1/rooms/pages/messages?limit=200')).json.entries.find(({ seq }: { seq: number }) => seq === 10)
  t.same(bodies(await bench.ask('GET', `/v1/rooms/pages/search?q=line&from=${ts}`)).at(-1), 'line 10')
  t.notOk(bodies(await bench.ask('GET', `/v1/rooms/pages/search?q=line&to=${ts}`)).includes('line 10'))

  const faulty = async (query: string, sentence: RegExp, path = '/v1/rooms/pages/search'): Promise<void> => {
    const answer = await bench.ask('GET', `${path}?${query}`, { token: SERVER_KEY })
    refused(t, answer, 'bad_request')
    t.match(answer.json.error.message, sentence)
  }
  await faulty('', /query.q or query.author must be given/)
  await faulty('q=!!!', /has no word/)
  await faulty('q=line&limit=0', /query.limit/)
  await faulty('q=line&limit=101', /query.limit/)
  await faulty('q=line&from=9&to=9', /query.to must be after/)
  await faulty('q=line&kind=7', /query.kind/)
  await faulty(`q=${'x'.repeat(501)}`, /query.q/)
  await faulty('q=line&colour=red', /unknown field "colour"/)
  for (const before of ['x', 'bm90IGpzb24', Buffer.from('[1,2,3,4]').toString('base64url'), Buffer.from('{"ts":1}').toString('base64url')]) await faulty(`q=line&before=${before}`, /query.before must be the `next`/)
  await faulty('q=line&rooms=a%20b', /query.rooms/, '/v1/search')
  await faulty('from=5&to=1', /query.to must be after/, '/v1/rooms/pages/stats')
  await faulty('stepS=61', /whole minutes/, '/v1/rooms/pages/stats')
  await faulty('from=0&stepS=60', /more than 2000 steps/, '/v1/rooms/pages/stats')
  await faulty('', /query must have required property 'start'/, '/v1/rooms/pages/replay')
  await faulty('start=-1', /query.start/, '/v1/rooms/pages/replay')
  await faulty('format=csv', /ndjson, parquet/, '/v1/rooms/pages/export')
})

t.test('text goes in and out as it was written, and is never SQL', async (t) => {
  const bench = await start(t)
  const ann = await bench.token("a'nn\\")
  const texts = [
    "goose'); DROP TABLE messages; --", 'goose {room:String} {{x}}', '\\goose\\', '"goose"', '`goose`', '=goose+1', '@goose(A1)', '%goose%_', '<script>goose</script>', 'goose \u202Eright to left', 'goose 😀👩‍👩‍👧‍👦', 'مرحبا goose',
    '你好 goose', 'goose\u2028two', 'Ğöösé goose', '[goose, NULL]', '\\N goose'
  ]
  for (const text of texts) await bench.send('hostile', ann, text)
  await bench.archived()
  const stored: string[] = (await bench.ask('GET', '/v1/rooms/hostile/messages?limit=200')).json.entries.map(({ body }: { body: string }) => body)
  t.equal(stored.length, texts.length)
  t.same(bodies(await bench.ask('GET', '/v1/rooms/hostile/search?q=goose&limit=100')).reverse(), stored, 'what is found is what the log has')
  t.same(bodies(await bench.ask('GET', `/v1/users/${encodeURIComponent("a'nn\\")}/messages?room=hostile&limit=100`, { token: SERVER_KEY })).reverse(), stored)
  for (const [query, expected] of [["goose' OR 1=1 --", 0], ["'); DROP TABLE messages; --", 1], ['{room:String}', 1], ['ğöösé', 1], ['ĞÖÖSÉ', 1], ['你好', 1], ['مرحبا', 1], ['\\', -1], ['\u0000', -1]] as const) {
    const answer = await bench.ask('GET', `/v1/rooms/hostile/search?${new URLSearchParams({ q: query })}`)
    t.equal(answer.status, expected < 0 ? 400 : 200, `${JSON.stringify(query)}`)
    if (expected >= 0) t.equal(answer.json.messages.length, expected, `${JSON.stringify(query)} finds ${expected}`)
  }
  for (const author of ["' OR '1'='1", '{author:String}', "a'nn\\"]) t.equal((await bench.ask('GET', `/v1/rooms/hostile/search?${new URLSearchParams({ author, limit: '100' })}`)).json.messages.length, author.startsWith('a') ? texts.length : 0)
  const lines = (await text(bench, '/v1/rooms/hostile/export')).body.toString().trim().split('\n').map((line) => JSON.parse(line) as { body: string, user: string })
  t.same(lines.map(({ body }) => body), stored, 'an export has them too')
  t.same([...new Set(lines.map(({ user }) => user))], ["a'nn\\"])
})

t.test('a past stream from a moment on', async (t) => {
  const bench = await start(t)
  const ann = await bench.token('ann')
  for (let number = 1; number <= 30; number++) await bench.send('past', ann, `line ${number}`)
  await bench.act('past', 'remove', { seq: 12 })
  const entries = (await bench.ask('GET', '/v1/rooms/past/messages?limit=200')).json.entries as { seq: number, ts: number }[]
  const start30 = (entries[0] as { ts: number }).ts - 1000
  const moment = entries.find(({ seq }) => seq === 15) as { ts: number }
  const first = entries.find(({ ts }) => ts >= moment.ts) as { seq: number }
  const run = await bench.ask('GET', `/v1/rooms/past/replay?start=${start30}&at=${moment.ts - start30}&lead=5&limit=10`)
  t.match(run, { status: 200, json: { room: 'past', lead: 4, more: true, head: 31, epoch: String } })
  const seqs = (answer: { json: { entries: { seq: number }[] } }): number[] => answer.json.entries.map(({ seq }) => seq)
  const shown = entries.map(({ seq }) => seq)
  const from = shown.indexOf(first.seq)
  t.same(seqs(run), [...shown.slice(from - 4, from), ...shown.slice(from, from + 10)], 'five before it, of which one is gone')
  const last = seqs(run).at(-1) as number
  const rest = await bench.ask('GET', `/v1/rooms/past/replay?start=${start30}&after=${last}`)
  t.same([seqs(rest), rest.json.more], [shown.slice(shown.indexOf(last) + 1), false], 'and on, to the end')
  t.same(seqs(await bench.ask('GET', `/v1/rooms/past/replay?start=${start30}`)), shown, 'what was removed is not in it')
  t.same(seqs(await bench.ask('GET', `/v1/rooms/past/replay?start=${Date.now() + 60_000}&lead=2`)), shown.slice(-2), 'beyond the end only what came before')
})

t.test('a room\'s numbers', async (t) => {
  const bench = await start(t)
  const [ann, eve, mod] = [await bench.token('ann'), await bench.token('eve'), await bench.token('mod', ['moderator'])]
  for (let number = 1; number <= 5; number++) await bench.send('numbers', number % 2 === 0 ? ann : eve, `line ${number}`)
  await bench.act('numbers', 'remove', { seq: 1 })
  await bench.archived()
  const minute = Math.floor(Date.now() / 60_000) * 60
  await archive.insert('viewers', [{ room: 'numbers', minute, viewers: 7 }, { room: 'numbers', minute, viewers: 9 }])
  const { status, json } = await bench.ask('GET', '/v1/rooms/numbers/stats')
  t.equal(status, 200)
  t.match(json, { room: 'numbers', totals: { messages: 5, chatters: 2, viewersMax: 9 }, moderation: null, words: null, emotes: null, first: Number, last: Number, stepS: 900 })
  const sum = (points: { messages: number }[]): number => points.reduce((total, { messages }) => total + messages, 0)
  t.equal(sum(json.points), 5)
  const whole = (await bench.ask('GET', '/v1/rooms/numbers/stats?stepS=60', { token: mod })).json
  t.match(whole.moderation, { removals: 1, actions: [{ name: 'remove', count: 1 }] })
  t.equal(whole.moderation.points.reduce((total: number, { removals }: { removals: number }) => total + removals, 0), 1)
  t.ok(Array.isArray(whole.words) && Array.isArray(whole.emotes))
  t.match((await bench.ask('GET', `/v1/rooms/numbers/stats?from=0&to=${Date.now() - 30 * 86_400_000}`)).json, { totals: { messages: 0, chatters: 0, viewersMax: null }, points: [], first: Number })
})

t.test('exports', async (t) => {
  const bench = await start(t)
  const [ann, owner] = [await bench.token('ann'), await bench.token('zoe', [], { files: ['broadcaster'] })]
  for (let number = 1; number <= 5; number++) await bench.send('files', ann, `line ${number}`)
  await bench.act('files', 'remove', { seq: 2, reason: 'rude' })
  await bench.archived()
  refused(t, await bench.ask('GET', '/v1/rooms/files/export'), 'unauthorized')
  refused(t, await bench.ask('GET', '/v1/rooms/files/export', { token: ann }), 'forbidden')
  refused(t, await bench.ask('GET', '/v1/rooms/files/export', { token: await bench.token('mod', ['moderator']) }), 'forbidden', 'it is all of it: for broadcasters')
  const file = await text(bench, '/v1/rooms/files/export', owner)
  t.match(file.headers, { 'content-type': 'application/x-ndjson; charset=utf-8', 'content-disposition': 'attachment; filename="files.ndjson"' })
  const rows = file.body.toString().trim().split('\n').map((line) => JSON.parse(line))
  t.same(rows.map(({ seq, body }) => [seq, body]), [1, 2, 3, 4, 5].map((number) => [number, `line ${number}`]))
  t.match(rows[1], { removed: true, removedBy: 'server', removedWhy: 'rude', removedAt: Number, user: 'ann', name: 'ANN', shadow: false, room: 'files' })
  t.match(rows[0], { removed: false })
  const parquet = await text(bench, '/v1/rooms/files/export?format=parquet', owner)
  t.equal(parquet.headers['content-type'], 'application/vnd.apache.parquet')
  t.same([parquet.body.subarray(0, 4).toString(), parquet.body.subarray(-4).toString()], ['PAR1', 'PAR1'])
  t.equal((await text(bench, `/v1/rooms/files/export?to=${rows[0].ts}`, owner)).body.length, 0, 'nothing of that time is an empty file')
})

t.test('whoever goes away in the middle of an export ends it, and too many are refused', { timeout: 60_000 }, async (t) => {
  const bench = await start(t)
  const ann = await bench.token('ann')
  await bench.send('large', ann, 'first')
  await bench.archived()
  const { epoch } = await bench.roomLog.head('large')
  const columns = ['room', 'epoch', 'seq', 'ts', 'op', 'user', 'name', 'body']
  const filler = 'x'.repeat(400)
  for (let at = 0; at < 2; at++) {
    const lines = Array.from({ length: 20_000 }, (_, line) => JSON.stringify(['large', epoch, 10 + at * 20_000 + line, Date.now() - 1000, 'message', 'ann', 'Ann', `${filler}${line}`]))
    await archive.insert('messages', { columns, bytes: Buffer.from(lines.join('\n')), count: lines.length })
  }
  const held = await Promise.all([1, 2].map(() => begun(bench, '/v1/rooms/large/export')))
  const third = await bench.ask('GET', '/v1/rooms/large/export', { token: SERVER_KEY })
  refused(t, third, 'overloaded')
  t.match(third.headers['retry-after'], /^\d+$/)
  t.equal((await bench.ask('GET', '/v1/rooms/large/messages')).status, 200)
  for (const { destroy } of held) destroy()
  const whole = await until(t, async () => {
    const answer = await text(bench, '/v1/rooms/large/export')
    if (answer.status !== 200) t.comment(answer.body.toString())
    return answer.status === 200 ? answer.body : null
  })
  t.equal(whole.toString().trim().split('\n').length, 40_001, 'their turns came back, and who stays has all of it')
})

t.test('searches at once: some wait, the rest are told when to come again, and sending goes on', { timeout: 60_000 }, async (t) => {
  const bench = await start(t)
  const ann = await bench.token('ann')
  await bench.send('busy', ann, 'a needle')
  await bench.archived()
  const searches = Array.from({ length: 60 }, () => bench.ask('GET', '/v1/rooms/busy/search?q=needle'))
  const moderators = bench.ask('GET', '/v1/rooms/busy/search?q=needle', { token: await bench.token('mod', ['moderator']) })
  const began = performance.now()
  for (let number = 0; number < 20; number++) await bench.send('busy', ann, `meanwhile ${number}`)
  t.comment(`20 messages while 60 searched: ${(performance.now() - began).toFixed(0)} ms`)
  const answers = await Promise.all(searches)
  const served = answers.filter(({ status }) => status === 200)
  const turnedAway = answers.filter(({ status }) => status !== 200)
  t.ok(served.length >= 3, `${served.length} were served`)
  t.ok(served.every((answer) => bodies(answer)[0] === 'a needle'))
  t.ok(turnedAway.length > 0, `${turnedAway.length} were not`)
  t.equal((await moderators).status, 200, 'a moderator does not stand in that line')
  for (const answer of turnedAway) t.match(answer, { status: 503, json: { error: { name: 'overloaded', retryAfterMs: Number } }, headers: { 'retry-after': /^\d+$/ } })
})

t.test('without an archive', async (t) => {
  const bench = await startBench(t)
  const ann = await bench.token('ann')
  await bench.send('plain', ann, 'hello')
  for (const path of ['/v1/rooms/plain/search?q=hello', '/v1/search?q=hello', '/v1/users/ann/messages', '/v1/rooms/plain/stats', '/v1/rooms/plain/export']) {
    const answer = await bench.ask('GET', path, { token: SERVER_KEY })
    refused(t, answer, 'unavailable', path)
    t.match(answer.json.error.message, /this test has no archive/, 'with the reason')
    t.ok(Number(answer.headers['retry-after']) >= 1)
  }
  t.match(await bench.ask('GET', '/v1/rooms/plain/messages'), { status: 200, json: { entries: [{ body: 'hello' }], more: false } })
  t.match(await bench.ask('GET', '/v1/rooms/plain/replay?start=0'), { status: 200, json: { entries: [{ body: 'hello' }], more: false } }, 'the log alone can be watched again')
})

/** An answer's bytes, whatever they are. */
function text (bench: Bench, path: string, token: string = SERVER_KEY): Promise<{ status: number, headers: Record<string, unknown>, body: Buffer }> {
  return new Promise((resolve, reject) => {
    httpRequest({ host: '127.0.0.1', port: bench.api.port, path, headers: { authorization: `Bearer ${token}` } }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.once('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }))
      response.once('error', reject)
    }).once('error', reject).end()
  })
}

/** Asks, and reads no more than the head of the answer. */
function begun (bench: Bench, path: string): Promise<{ destroy: () => void }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port: bench.api.port, path, headers: { authorization: `Bearer ${SERVER_KEY}` } }, (response) => {
      if (response.statusCode !== 200) return reject(new Error(`answered ${response.statusCode}`))
      response.on('error', () => {})
      resolve({ destroy: () => request.destroy() })
    })
    request.once('error', reject).end()
  })
}

async function until<T> (t: Test, call: () => Promise<T | null>): Promise<T> {
  for (const end = performance.now() + 20_000; ;) {
    const result = await call()
    if (result !== null) return result
    if (performance.now() > end) t.bailout('waited too long')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
