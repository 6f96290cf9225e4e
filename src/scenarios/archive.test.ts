// The archive as a newcomer has it: the program with nothing configured for it, a real chat log said through its sockets,
// and then search, statistics, replay, export and paging asked for what was accepted. And chat that goes on meanwhile.

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { withoutChromium } from '../../deploy/services/services.ts'
import { replay } from '../replay/replay.ts'
import { signedTokens } from '../replay/tokens.ts'
import { buildWeb } from '../web/build.ts'
import { audit, launch, visit } from '../web/page/browser.suite.ts'
import { chatLog, measure } from './chat-log.ts'
import { API_KEY, eventually, freePort, OPEN_LIMITS, Program, SECRET, tokenOf } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { Stage } from './moderate.suite.ts'
import { isFull, measured, sized, timely } from './size.ts'
import { Speaker } from './speaker.ts'

t.setTimeout(sized(240_000, 1_200_000))

/** One program for the whole story. Fixed ports, as it is started again. */
let program: Program

t.before(async () => {
  await buildWeb(join(import.meta.dirname, '../../dist'))
  program = await Program.start(t, { ...OPEN_LIMITS, ARCHIVE: 'auto', RETENTION_ENTRIES_MAX: '10000', PORT: await freePort(), WS_PORT: await freePort() })
})

interface Said { readonly seq: number, readonly ts: number, readonly body: string, readonly user: string | { readonly id: string } }

/** What identifies a run of messages: how many, and their places and texts. */
function checksum (messages: readonly Said[]): string {
  const hash = createHash('sha256')
  for (const { seq, ts, body, user } of messages) hash.update(JSON.stringify([seq, ts, typeof user === 'string' ? user : user.id, body]))
  return `${messages.length} ${hash.digest('base64url')}`
}

/** The words of a text as a search takes them. */
const wordsOf = (text: string): Set<string> => new Set(text.toLowerCase().split(/[\u0000-/:-@[-`{-\u007f]+/))

async function exported (room: string): Promise<Said[]> {
  const answer = await fetch(`${program.http}/v1/rooms/${room}/export`, { headers: { authorization: `Bearer ${API_KEY}` }, signal: AbortSignal.timeout(120_000) })
  const text = await answer.text()
  if (!answer.ok) throw new Error(text)
  return text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Said)
}

/** Waits until the archive has so many messages of a room. */
async function archived (room: string, count: number, timeoutMs = 60_000): Promise<void> {
  await eventually(`${count} messages of ${room} in the archive`, async () => {
    const { status, json } = await program.request('GET', `/v1/rooms/${room}/stats?from=0&stepS=31536000`)
    return status === 200 && json.totals.messages === count ? true : null
  }, timeoutMs)
}

t.test('a real log is found, counted, watched again and exported as it was accepted', async (t) => {
  const log = chatLog()
  t.comment(log.name)
  const room = 'stage'
  const limit = sized(2000, Infinity)
  const { count } = await measure(log.lines(), limit)
  const began = Date.now()
  const report = await replay({ lines: log.lines(), file: log.name, url: program.ws, room, tokens: signedTokens(SECRET), speed: sized(100, 40), connections: 200, limit: Number.isFinite(limit) ? limit : null })
  t.equal(report.sent, count)
  const archivedAt = performance.now()
  await archived(room, report.accepted)
  t.comment(`archived ${((performance.now() - archivedAt) / 1000).toFixed(1)} s after the last message`)
  const history = (await wholeHistory(program, room)).filter(({ op }) => op === 'message') as unknown as Said[]
  t.equal(history.length, report.accepted, 'history has what was accepted')
  const truth = checksum(history)

  t.equal(checksum(await exported(room)), truth, 'the export: every message, once, in order, to the letter')

  const { json: stats } = await program.request('GET', `/v1/rooms/${room}/stats?from=${began - 60_000}&to=${Date.now() + 60_000}&stepS=60`)
  t.equal(stats.totals.messages, history.length)
  t.equal(stats.points.reduce((sum: number, { messages }: { messages: number }) => sum + messages, 0), history.length, 'by minute')
  const authors = new Set(history.map(({ user }) => (user as { id: string }).id)).size
  t.ok(Math.abs(stats.totals.chatters - authors) <= Math.max(1, authors * 0.02), `chatters: ${stats.totals.chatters} of ${authors}, as near as the count claims to be`)

  const counts = new Map<string, number>()
  for (const { body } of history) for (const word of wordsOf(body)) counts.set(word, (counts.get(word) ?? 0) + 1)
  const ranked = [...counts].filter(([word]) => word !== '').sort(([, one], [, other]) => other - one)
  const chosen = [...ranked.slice(0, 5), ...ranked.slice(-5), ...ranked.filter(([word]) => /[^\u0000-\u007f]/.test(word)).slice(0, 5)]
  let slowest = 0
  for (const [word, expected] of chosen) {
    const found: number[] = []
    for (let before: string | null = ''; before !== null && found.length < 3000;) {
      const asked = performance.now()
      const { status, json } = await program.request('GET', `/v1/rooms/${room}/search?${new URLSearchParams({ q: word, limit: '100', ...before === '' ? {} : { before } })}`)
      slowest = Math.max(slowest, performance.now() - asked)
      if (status !== 200) throw new Error(JSON.stringify(json))
      found.push(...json.messages.map(({ seq }: Said) => seq))
      before = json.next
    }
    const all = history.filter(({ body }) => wordsOf(body).has(word)).map(({ seq }) => seq).reverse()
    t.same(found, all.slice(0, found.length), `the ${expected} messages with one word, newest first`)
    t.ok(found.length === all.length || found.length >= 3000)
  }
  measured(t, `${history.length} messages archived, ${chosen.length} words searched, slowest page ${slowest.toFixed(0)} ms`)

  const start = history[0]?.ts ?? 0
  const watched: Said[] = []
  let run = await program.request('GET', `/v1/rooms/${room}/replay?start=${start}`)
  for (;;) {
    watched.push(...run.json.entries.filter(({ op }: { op: string }) => op === 'message'))
    if (run.json.more !== true) break
    run = await program.request('GET', `/v1/rooms/${room}/replay?start=${start}&after=${run.json.entries.at(-1).seq}`)
  }
  t.equal(checksum(watched), truth, 'the replay, run after run')
  const middle = history[history.length >> 1] as Said
  const { json: moment } = await program.request('GET', `/v1/rooms/${room}/replay?start=${start}&at=${middle.ts - start}&limit=1`)
  t.equal(moment.entries[0].seq, history.find(({ ts }) => ts >= middle.ts)?.seq, 'and from a moment on')
  t.same(program.faults, [])
})

t.test('a heavy search slows neither chat nor what is archived', async (t) => {
  const speaker = await Speaker.connect(t, program.ws, 'busy', tokenOf('ann', { name: 'Ann' }))
  const filler = 'the same words again and again, so that every message is found '
  for (let number = 1; number <= sized(8000, 200_000); number++) await speaker.say(`${filler}${number}`)
  await speaker.answered()
  await archived('busy', speaker.accepted)

  const latencies = async (ms: number): Promise<number[]> => {
    const all: number[] = []
    for (const end = performance.now() + ms; performance.now() < end;) {
      const asked = performance.now()
      await speaker.say(`round ${all.length}`)
      await speaker.answered()
      all.push(performance.now() - asked)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    return all.sort((one, other) => one - other)
  }
  const alone = await latencies(sized(500, 5000))
  let isOver = false
  let searches = 0
  const outcomes = new Set<number>()
  const searching = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      outcomes.add((await program.request('GET', `/v1/search?${new URLSearchParams({ q: 'the same words every message found', limit: '100' })}`, { token: API_KEY })).status)
      searches++
    }
  })
  const beside = await latencies(sized(1500, 10_000))
  isOver = true
  await Promise.all(searching)
  const at = (all: readonly number[], share: number): number => all[Math.floor((all.length - 1) * share)] as number
  measured(t, `SEND→OK p50 ${at(alone, 0.5).toFixed(1)} ms alone, ${at(beside, 0.5).toFixed(1)} ms beside ${searches} searches by 8 who never stop; p99 ${at(alone, 0.99).toFixed(0)} and ${at(beside, 0.99).toFixed(0)} ms`)
  t.ok(searches > 0)
  t.ok(outcomes.has(200) && [...outcomes].every((status) => status === 200 || status === 503), 'searches were answered, or told to come again')
  timely(t, 'nine in ten beside searches', at(beside, 0.9), 500)
  t.same(speaker.refusals, [])
  await archived('busy', speaker.accepted, 20_000)
  t.pass('and all of it is in the archive')
})

t.test('the pages, as the server serves them', { skip: withoutChromium() }, async (t) => {
  const browser = await launch()
  t.teardown(() => browser.close())
  const stage = new Stage(program)
  for (const [who, text] of [[0, 'a goose!'], [1, 'where is the goose?'], [4, 'rude goose'], [2, 'behind you']] as const) {
    const seq = await stage.say('tv', who, text)
    if (text.startsWith('rude')) await stage.act('tv', 'remove', { seq, reason: 'rude' })
  }
  await archived('tv', 4)
  // The action's row comes behind the messages.
  await eventually('the reason of the removal', async () => (await program.request('GET', '/v1/rooms/tv/search?q=rude', { token: API_KEY })).json.messages?.[0]?.removed?.reason === 'rude' ? true : null)

  const { page: desk, faults } = await stage.console(browser, ['tv'])
  await desk.getByRole('tab', { name: 'Search' }).click()
  await desk.getByLabel('Words that were said').fill('GOOSE')
  await desk.getByRole('button', { name: 'Search', exact: true }).click()
  await desk.getByText('3 messages', { exact: true }).waitFor()
  t.same(await desk.locator('#find-rows > li > bdi').allInnerTexts(), ['rude goose', 'where is the goose?', 'a goose!'])
  await desk.locator('#find-rows').getByText('removed by server: rude').waitFor()
  t.same(await audit(desk), [], 'the search, for assistive technology')
  await desk.getByLabel('Only what this user id said').fill('u1')
  await desk.getByLabel('Words that were said').press('Enter')
  await desk.getByText('1 message', { exact: true }).waitFor()
  await desk.locator('#find-rows').getByRole('button', { name: 'Nadia_K' }).click()
  await desk.getByRole('heading', { name: 'Nadia_K' }).waitFor()

  const replayed = await visit(browser, `${program.http}/replay?room=tv`)
  await replayed.page.locator('#rows > .row').first().waitFor()
  await replayed.page.locator('#seek').press('End')
  await replayed.page.locator('#rows > .row').filter({ hasText: 'behind you' }).waitFor()
  t.notMatch(await replayed.page.locator('#rows').innerText(), 'rude', 'what was removed is not watched again')

  const numbers = await visit(browser, `${program.http}/stats?room=tv#token=${tokenOf('mod', { rooms: { tv: ['moderator'] } })}`)
  await numbers.page.getByText('Moderation', { exact: true }).waitFor()
  t.match((await numbers.page.locator('.figure').allInnerTexts()).map((text) => text.replace(/\s+/g, ' ')), ['messages 4', 'chatters 4'])
  t.same([...faults, ...replayed.faults, ...numbers.faults], [], 'no exception, and nothing that the security policy refused')
})

t.test('history over a short log and the archive is whole; without the archive it ends where the log does', async (t) => {
  const count = sized(10_400, 60_000)
  const speaker = await Speaker.connect(t, program.ws, 'long', tokenOf('ann', { name: 'Ann' }))
  for (let number = 1; number <= count; number++) await speaker.say(`line ${number}`)
  await speaker.answered()
  t.equal(speaker.accepted, count)
  await archived('long', count)
  const whole = (await wholeHistory(program, 'long')).map(({ seq, body }) => `${seq} ${body}`)
  t.same(whole, Array.from({ length: count }, (_, at) => `${at + 1} line ${at + 1}`), 'every entry once and in order')

  await program.restart({ ARCHIVE: 'off' })
  const short = await eventually('the log to be trimmed', async () => {
    const left = await wholeHistory(program, 'long')
    return left.length < count ? left : null
  }, 20_000)
  t.equal(short.at(-1)?.seq, count)
  t.equal(short[0]?.seq, count - short.length + 1, `the log alone has the newest ${short.length}`)
  const { status, json } = await program.request('GET', '/v1/rooms/long/search?q=line')
  t.match({ status, json }, { status: 503, json: { error: { name: 'unavailable', message: /ARCHIVE is off/ } } }, 'what needs the archive says why it is not there')
  t.equal((await program.request('POST', '/v1/rooms/long/messages', { token: tokenOf('ann'), json: { nonce: 'still', body: 'still here' } })).status, 201, 'and chat goes on')

  if (!isFull) return
  await program.restart({ ARCHIVE: 'auto' })
  await archived('long', count + 1)
  t.equal((await wholeHistory(program, 'long')).length, count + 1, 'back with the archive it is whole again, with what was said meanwhile')
})
