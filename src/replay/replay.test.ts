// The replay against a server that keeps the contract and against servers that break it: a tool that proves delivery must
// itself be seen to notice what is lost, doubled or late.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import { CERT, KEY } from '../base/certificate.suite.ts'
import { Account } from './account.ts'
import { parseCommand, runCommand, USAGE } from './command.ts'
import { logLines, type LogLine } from './csv.ts'
import { Latency } from './latency.ts'
import { replay, type ReplayOptions } from './replay.ts'
import { isWhole, progressLine, tableOf, type ReplayReport } from './report.ts'
import { ScriptedServer, type Script } from './scripted-server.suite.ts'
import { RawSocket } from './socket.ts'
import { devTokens } from './tokens.ts'

async function * chunked (text: string, size: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size)
}

async function parse (text: string, size = 3): Promise<LogLine[]> {
  const lines: LogLine[] = []
  for await (const line of logLines(chunked(text, size))) lines.push(line)
  return lines
}

async function * spoken (count: number, users: number): AsyncGenerator<LogLine> {
  for (let number = 1; number <= count; number++) yield { number, offsetMs: number, user: `user-${number % users}`, text: `line ${number}` }
}

async function replayed (t: Test, script: Script, options: Partial<ReplayOptions> & { count?: number, users?: number, onServer?: (server: ScriptedServer) => void } = {}): Promise<{ report: ReplayReport, server: ScriptedServer }> {
  const server = new ScriptedServer(script)
  await server.start()
  t.teardown(() => server.stop())
  options.onServer?.(server)
  const report = await replay({
    lines: spoken(options.count ?? 200, options.users ?? 40), file: 'spoken', url: server.url, room: 'stage', speed: Infinity, connections: 10,
    tokens: { token: async (user) => user }, settleMs: 300, run: 'run', ...options
  })
  return { report, server }
}

t.test('csv: quotes, line breaks, any chunking, faults by record', async (t) => {
  const text = '\uFEFFuser,offset_ms,text\r\nann,0,"she said ""hi"", twice\nand left"\r\nbob,12.5,plain 👊\n\ncat,13,\ndan,14,""'
  const expected = [
    { number: 1, offsetMs: 0, user: 'ann', text: 'she said "hi", twice\nand left' }, { number: 2, offsetMs: 12.5, user: 'bob', text: 'plain 👊' },
    { number: 3, offsetMs: 13, user: 'cat', text: '' }, { number: 4, offsetMs: 14, user: 'dan', text: '' }
  ]
  for (const size of [4, 7, 1000]) t.same(await parse(text, size), expected, `in chunks of ${size}`)
  await t.rejects(parse(''), { message: /empty/ })
  await t.rejects(parse('a,b,c\n1,2,3'), { message: /header must name offset_ms, user, text/ })
  await t.rejects(parse('offset_ms,user,text\nsoon,ann,x'), { message: /record 1: offset_ms must be a number/ })
  await t.rejects(parse('offset_ms,user,text\n1,,x'), { message: /record 1: user is empty/ })
  await t.rejects(parse('offset_ms,user,text\n1,ann,x\n2,bob'), { message: /record 2 has 2 fields/ })
  await t.rejects(parse('offset_ms,user,text\n1,ann,"x'), { message: /ends within quotes/ })
  await t.rejects(parse(`offset_ms,user,text\n1,ann,"${'x'.repeat(70_000)}`, 5000), { message: /is a quote missing/ })
})

t.test('account: what is lost, doubled, late, skipped', async (t) => {
  const account = new Account()
  account.join('e', 5)
  for (const seq of [5, 6, 8, 7, 8, 11]) account.entry(seq)
  t.match(account, { received: 6, outOfOrder: 1, duplicates: 1, missing: 2, last: 11, isWhole: false })
  const other = new Account()
  other.join('e', null)
  other.entry(40)
  other.skip(41, 50, 10)
  other.entry(51)
  t.match(other, { missing: 0, skipped: 10, isWhole: true })
  other.skip(51, 53, 3)
  t.equal(other.duplicates, 1, 'skipping what was sent')
  other.skip(55, 60, 6)
  t.equal(other.missing, 1, 'a hole before what is skipped')
  const first = new Account()
  first.join('e', 1)
  first.entry(30_000)
  t.equal(first.missing, 29_999, 'more holes than are remembered still count')
})

t.test('latency: precise to 2 %, at any size', async (t) => {
  const latency = new Latency()
  t.equal(latency.at(0.5), 0)
  for (let ms = 1; ms <= 10_000; ms++) latency.add(ms)
  for (const share of [0.01, 0.5, 0.9, 0.99]) t.ok(Math.abs(latency.at(share) / (10_000 * share) - 1) < 0.02, `p${share * 100} is ${latency.at(share)}`)
  t.equal(latency.max, 10_000)
  t.equal(latency.at(1), 10_000)
  latency.add(-3)
  latency.add(1e12)
  t.equal(latency.count, 10_002)
})

t.test('everything arrives: a whole report', async (t) => {
  const { report, server } = await replayed(t, {}, { count: 600, users: 90 })
  t.match(report, { sent: 600, accepted: 600, authors: 90, refused: {}, watcher: { received: 600, missing: 0, duplicated: 0, outOfOrder: 0, skipped: 0, resumed: 0 } })
  t.ok(isWhole(report))
  t.ok(server.openMax <= 11, `${server.openMax} connections at once: ten authors and the watcher`)
  t.ok(report.connectionsOpened >= 90, 'each author had a connection of its own')
  const byUser = new Map<string, number[]>()
  for (const [, , , user, , , ext] of server.entries as unknown as [number, number, number, [string], number, string, { meta: { line: number } }][]) {
    byUser.set(user[0], [...byUser.get(user[0]) ?? [], ext.meta.line])
  }
  for (const [user, lines] of byUser) if (!lines.every((line, at) => at === 0 || line > (lines[at - 1] as number))) t.fail(`${user} spoke out of order: ${lines.join(' ')}`)
  t.match(tableOf(report), /sent +600 by 90 authors[\s\S]*everything accepted arrived once, in order/)
})

t.test('authors are mapped, the limit holds, refusals are told by reason', async (t) => {
  const { report } = await replayed(t, { refuse: (line) => line % 10 === 0 ? 'rate_limited' : line % 15 === 0 ? 'blocked' : null }, { authors: 5, limit: 60 })
  t.ok(report.authors <= 5)
  t.match(report, { sent: 60, accepted: 52, refused: { rate_limited: 6, blocked: 2 }, watcher: { received: 52, missing: 0 } })
})

t.test('connections lost between publish and OK: sent again, said once', async (t) => {
  const { report, server } = await replayed(t, { dropAfter: (line, attempt) => line % 7 === 0 && attempt <= 2 })
  t.match(report, { sent: 200, accepted: 200, watcher: { received: 200, missing: 0, duplicated: 0, outOfOrder: 0 } })
  t.ok(report.retried >= 28)
  t.equal(server.entries.length, 200)
})

t.test('the watcher resumes', async (t) => {
  let running: ScriptedServer | undefined
  const { report } = await replayed(t, {}, { onServer: (server) => { running = server }, onAccepted: (line) => { if (line === 60 || line === 120) running?.dropAll() } })
  t.match(report, { accepted: 200, watcher: { received: 200, missing: 0, duplicated: 0, outOfOrder: 0 } })
  t.ok(report.watcher.resumed >= 1)
})

for (const [name, script, found] of [
  ['an entry that never comes', { deliver: (seq) => seq === 50 ? 'never' : 'once' }, { missing: 1, duplicated: 0, outOfOrder: 0 }],
  ['an entry that comes twice', { deliver: (seq) => seq === 50 ? 'twice' : 'once' }, { missing: 0, duplicated: 1, outOfOrder: 0 }],
  ['an entry that comes late', { deliver: (seq) => seq === 50 ? 'late' : 'once' }, { missing: 0, duplicated: 0, outOfOrder: 1 }],
  ['a retry that is published again', { isForgetful: true, dropAfter: (line, attempt) => line === 50 && attempt === 1 }, { missing: 0, duplicated: Number }]
] as [string, Script, object][]) {
  t.test(`noticed: ${name}`, async (t) => {
    const { report } = await replayed(t, script)
    t.match(report.watcher, found)
    t.notOk(isWhole(report), 'the report says so')
    t.match(tableOf(report), /NOT everything/)
  })
}

t.test('a refusal that says "come again" is tried again, then told', async (t) => {
  const { report } = await replayed(t, { refuse: (line) => line === 3 ? 'unavailable' : null }, { count: 5, users: 2, attempts: 4 })
  t.match(report, { sent: 5, accepted: 4, refused: { unavailable: 1 } })
})

t.test('command line: every fault at once, usage, exit status', async (t) => {
  t.match(parseCommand(['--speed', 'fast', '--connections', '0', '--url', 'http://x'], {}), [
    /--speed/, /FILE.csv is missing/, /--room is missing/, /--connections/, /--url/
  ].map(() => String), 'five faults')
  t.match(parseCommand(['--nonsense'], {}), [/nonsense/])
  const folder = mkdtempSync(join(tmpdir(), 'uproar-replay-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'log.csv')
  writeFileSync(file, `offset_ms,user,text\n${Array.from({ length: 50 }, (_, at) => `${at},user-${at % 9},"line, ${at}"`).join('\n')}\n`)
  const server = new ScriptedServer({ deliver: (seq) => seq === 51 ? 'never' : 'once' })
  await server.start()
  t.teardown(() => server.stop())
  const run = async (...argv: string[]): Promise<{ status: number, out: string, err: string }> => {
    const said = { out: '', err: '' }
    const status = await runCommand(argv, { JWT_SECRET: 'a secret of thirty-two bytes or more' }, { isTty: false, print: (text) => { said.out += text }, error: (text) => { said.err += text } })
    return { status, ...said }
  }
  t.match(await run('nowhere.csv', '--room', 'stage'), { status: 2, err: /nowhere\.csv is not a file/ })
  t.ok((await run()).err.includes(USAGE))
  const whole = await run(file, '--room', 'stage', '--speed', 'max', '--url', server.url, '--json', '--run', 'first')
  t.match(whole, { status: 0, out: /accepted +50[\s\S]*missing 0/, err: /100 %/ })
  t.match(JSON.parse(whole.out.trim().split('\n').at(-1) as string), { accepted: 50, watcher: { received: 50 } })
  const { port } = new URL(server.url)
  server.stop()
  const unreachable = await run(file, '--room', 'stage', '--url', `ws://127.0.0.1:${port}/ws`)
  t.match(unreachable, { status: 1, err: /ECONNREFUSED/ })
})

t.test('what keeps it from beginning is told with its address and reason', async (t) => {
  const file = join(t.testdir({ 'log.csv': 'offset_ms,user,text\n0,ann,hello\n' }), 'log.csv')
  const run = async (env: Record<string, string>, ...argv: string[]): Promise<{ status: number, out: string, err: string }> => {
    const said = { out: '', err: '' }
    const status = await runCommand([file, '--room', 'stage', ...argv], env, { isTty: false, print: (text) => { said.out += text }, error: (text) => { said.err += text } })
    return { status, ...said }
  }
  t.match(await run({}, '--help'), { status: 0, out: USAGE, err: '' })
  const server = new ScriptedServer({ turnAway: 'the signature does not fit' })
  await server.start()
  t.teardown(() => server.stop())
  const { port } = new URL(server.url)
  const noTokens = await run({ JWT_SECRET: '' }, '--url', server.url, '--http', 'http://127.0.0.1:1')
  t.match(noTokens, { status: 1, err: /127\.0\.0\.1:1\/v1\/dev\/token \(--http\) cannot be asked for a token: .*(ECONNREFUSED|bad port)/ })
  t.notMatch(noTokens.err, port, 'the address that was not at fault is not named')
  const refused = await run({ JWT_SECRET: 'from the environment, thirty-two bytes' }, '--url', server.url)
  t.match(refused, { status: 1, err: /4501 unauthorized: the signature does not fit/ })
  t.match(refused.err, /signed with JWT_SECRET of the environment/)
  t.notMatch((await run({ JWT_SECRET: 'x' }, '--url', server.url, '--secret', 'given')).err, /of the environment/)
})

t.test('a certificate that is not trusted', async (t) => {
  const server = createTlsServer({ key: KEY, cert: CERT })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const reason = await new Promise<string>((resolve) => { void new RawSocket(`wss://127.0.0.1:${port}/ws`, { message () {}, close: (_code, reason) => resolve(reason) }) })
  t.match(reason, /self-signed certificate: set NODE_EXTRA_CA_CERTS/)
  await t.rejects(devTokens(`https://127.0.0.1:${port}`).token('ann'), { message: /self-signed certificate: set NODE_EXTRA_CA_CERTS/ })
})

t.test('progress: a bar where the length is known', async (t) => {
  const progress = { offsetMs: 65_000, share: 0.5, sent: 1234, accepted: 1200, refused: 4, open: 12, seconds: 3.2 }
  t.equal(progressLine(progress, 10), '[█████·····]  50 %  1:05 of the log  sent 1,234  accepted 1,200  refused 4  12 connections  3 s')
  t.match(progressLine({ ...progress, share: null }), /^1:05 of the log/)
})
