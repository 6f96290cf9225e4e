// The command line against a server that stands in: what it asks, what it prints, what it says of every fault, and that
// help teaches. The doctor on settings and engines that are well and that are not.

import { execFile } from 'node:child_process'
import { createServer, type IncomingMessage } from 'node:http'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createTcp, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { COMMANDS, runCli } from './cli.ts'

const KEY = 'a-server-key-of-24-letters'

interface Outcome { readonly status: number, readonly printed: string, readonly said: string }

async function run (words: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  let printed = ''
  let said = ''
  const status = await runCli(words, env, { isTty: false, print: (text) => { printed += text }, error: (text) => { said += text } })
  return { status, printed, said }
}

interface Asked { readonly method: string, readonly url: string, readonly body: unknown }

/** A server that answers by path, and takes one key. */
async function standIn (t: Test, answers: Record<string, (body: any, url: URL) => unknown>): Promise<{ url: string, asked: Asked[] }> {
  const asked: Asked[] = []
  const server = createServer(async (request: IncomingMessage, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString()) as unknown
    const url = new URL(request.url ?? '', 'http://here')
    asked.push({ method: request.method ?? '', url: request.url ?? '', body })
    const answer = answers[`${request.method} ${url.pathname}`]
    const isKnown = request.headers.authorization === `Bearer ${KEY}`
    const [status, json] = !isKnown ? [401, { error: { name: 'unauthorized', message: 'who are you' } }] : answer === undefined ? [404, { error: { name: 'not_found', message: 'there is nothing here' } }] : [200, answer(body, url)]
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

t.test('help teaches, and faults show it', async (t) => {
  for (const words of [[], ['--help'], ['-h'], ['help']]) {
    const { status, printed } = await run(words)
    t.equal(status, 0)
    for (const word of Object.keys(COMMANDS)) t.match(printed, new RegExp(`^  ${word} `, 'm'))
    t.match(printed, /UPROAR_URL=.*UPROAR_KEY=/)
  }
  for (const [word, { options }] of Object.entries(COMMANDS)) {
    if (word === 'replay') continue
    for (const words of [[word, '--help'], ['help', word]]) {
      const { status, printed } = await run(words)
      t.equal(status, 0)
      t.match(printed, `usage: uproar ${word}`)
      for (const name of Object.keys(options)) t.match(printed, `--${name}`)
    }
    t.match(await run([word, '--nonsense']), { status: 2, said: /--nonsense/ }, word)
  }
  t.match(await run(['replay', '--help']), { status: 0, printed: /FILE\.csv --room/ })
  t.match(await run(['dance']), { status: 2, said: /there is no command "dance"[\s\S]*usage:/ })
  t.match(await run(['constructor']), { status: 2 })
  for (const words of [['kick'], ['kick', 'ann', '--session', 's'], ['kick', 'ann', 'ben'], ['drain'], ['drain', 'a', 'b'], ['token'], ['doctor', 'x'], ['doctor', '--pid', '-1'], ['rooms', '--limit', '0'], ['rooms', '--limit', 'ten'], ['connections', '--limit', '1001'], ['rooms', '--url', 'ftp://x']]) {
    t.match(await run(words), { status: 2, printed: '', said: new RegExp(`usage: uproar ${words[0]}`) }, words.join(' '))
  }
})

t.test('as a program, and without one', async (t) => {
  const start = (file: string, ...words: string[]): Promise<Outcome> => new Promise((resolve) => {
    execFile(process.execPath, [file, ...words], { timeout: 20_000, env: {} }, (error, printed, said) => resolve({ status: Number(error?.code ?? 0), printed, said }))
  })
  const program = join(import.meta.dirname, 'uproar.js')
  t.match(await start(program, '--help'), { status: 0, printed: /^usage: uproar/, said: '' })
  t.match(await start(program, 'dance'), { status: 2 })
  const folder = mkdtempSync(join(tmpdir(), 'uproar-package-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  copyFileSync(program, join(folder, 'uproar.js'))
  t.match(await start(join(folder, 'uproar.js'), 'rooms'), { status: 1, said: /this package is the client alone/ })
})

t.test('a server that cannot be asked', async (t) => {
  const { url } = await standIn(t, {})
  t.match(await run(['rooms'], { UPROAR_URL: url }), { status: 1, said: /asks who you are: set UPROAR_KEY/ })
  t.match(await run(['rooms'], { UPROAR_URL: url, UPROAR_KEY: 'wrong-key-wrong-key-wrong' }), { status: 1, said: /does not know this key/ })
  t.notMatch((await run(['rooms'], { UPROAR_URL: url, UPROAR_KEY: 'wrong-key-wrong-key-wrong' })).said, 'wrong-key')
  t.match(await run(['status', '--url', url, '--key', KEY]), { status: 1, said: /there is nothing here/ })
  const closed = createTcp()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const { port } = closed.address() as AddressInfo
  await new Promise((resolve) => closed.close(resolve))
  t.match(await run(['rooms'], { UPROAR_URL: `http://127.0.0.1:${port}`, UPROAR_KEY: KEY }), { status: 1, said: /cannot be reached: .*ECONNREFUSED.*Is it running there/ })
  const other = createServer((_request, response) => { response.end('<h1>hello</h1>') })
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  t.teardown(() => other.close())
  t.match(await run(['rooms'], { UPROAR_URL: `http://127.0.0.1:${(other.address() as AddressInfo).port}`, UPROAR_KEY: KEY }), { status: 1, said: /not as this program's server does/ })
})

t.test('rooms, connections, kick', async (t) => {
  const names = Array.from({ length: 450 }, (_, at) => `room-${String(at).padStart(3, '0')}`)
  const { url, asked } = await standIn(t, {
    'GET /v1/rooms': (_, { searchParams }) => {
      const from = names.findIndex((name) => name > (searchParams.get('after') ?? ''))
      const page = names.slice(from, from + 200)
      return { rooms: page.map((room) => ({ room, viewers: Number(room.slice(5)) % 100, seq: 7, settings: room === 'room-099' ? { private: true, slowModeSeconds: 5 } : {} })), more: page.at(-1) !== names.at(-1) }
    },
    'GET /v1/connections': () => ({ connections: [{ session: 's1', user: 'ann\u001b[2J\u202e', address: '192.0.2.7', since: Date.now() - 125_000, rooms: ['lobby', 'hall'], bufferedBytes: 12 }], more: true }),
    'POST /v1/connections/kick': () => ({ closedHere: 2 })
  })
  const env = { UPROAR_URL: url, API_KEYS: `${KEY},another-key-of-24-letters` }
  const rooms = await run(['rooms', '--limit', '2'], env)
  t.match(rooms, { status: 0, printed: 'room      viewers  entries  settings\nroom-099       99        7  private, slow mode 5 s\nroom-199       99        7\n', said: /448 rooms are not shown/ })
  t.equal(asked.length, 3, 'page by page')
  t.match(JSON.parse((await run(['rooms', '--json', '--limit', '500'], env)).printed), { rooms: { length: 450 }, more: false })
  const connections = await run(['connections', '--user', 'ann b', '--room', 'lobby'], env)
  t.match(connections, { status: 0, printed: /s1\s+ann\ufffd\[2J\ufffd\s+192\.0\.2\.7\s+2 min\s+lobby hall\s+12/, said: /there are more/ })
  t.equal(asked.at(-1)?.url, '/v1/connections?limit=100&user=ann+b&room=lobby')
  t.match(await run(['kick', 'ann', '--reason', 'flood'], env), { status: 0, printed: /2 connections closed/ })
  t.same(asked.at(-1), { method: 'POST', url: '/v1/connections/kick', body: { user: 'ann', reason: 'flood' } })
  await run(['kick', '--address', '192.0.2.7', '--json'], env)
  t.same(asked.at(-1)?.body, { address: '192.0.2.7' })
})

t.test('instances, drain, status', async (t) => {
  let left = 3
  let isDraining = false
  const instances = (): unknown[] => [
    { id: 'aa11', host: 'one', pid: 7, port: 8080, wsPort: 9001, startedAt: Date.now() - 90_000_000, connections: isDraining ? left-- : left, version: '1', isDraining, isSelf: true, silentMs: 1 },
    { id: 'aa22', host: 'two', pid: 8, port: 8080, wsPort: 9001, startedAt: Date.now(), connections: 1234, version: '1', isDraining: false, isSelf: false, silentMs: 4000 }
  ]
  let works = true
  const { url, asked } = await standIn(t, {
    'GET /v1/instances': () => ({ instances: instances() }),
    'POST /v1/instances/aa11/drain': () => {
      isDraining = true
      return { id: 'aa11', connections: left }
    },
    'GET /v1/status': () => ({ works, detail: { version: '1', delivery: { verdict: works ? 'ok' : 'deaf', ageMs: 40 }, instances: instances(), connections: 1237, rooms: { active: 1, top: [{ room: 'lobby', viewers: 1200 }] }, engines: [{ part: 'log', engine: 'redis', fault: null }, { part: 'archive', engine: 'clickhouse', fault: 'it is away' }], lag: [{ consumer: 'relay', records: 5, seconds: 61 }] } })
  })
  const env = { UPROAR_URL: url, UPROAR_KEY: KEY }
  t.match(await run(['instances'], env), { status: 0, printed: /aa11\s+one\s+7\s+8080\s+9001\s+3\s+1\s+1 d 1 h\s+serves\naa22 .* 1,234 .* silent for 4 s/ })
  t.match(await run(['drain', 'aa'], env), { status: 1, said: /2 ids begin with "aa"/ })
  t.match(await run(['drain', 'b'], env), { status: 1, said: /no instance's id begins with "b"/ })
  t.match(await run(['drain', 'aa1', '--wait'], env), { status: 0, printed: /aa11 has no viewers any more/ })
  t.same(asked.find(({ method }) => method === 'POST'), { method: 'POST', url: '/v1/instances/aa11/drain', body: {} })
  await run(['drain', 'aa1', '--force'], env)
  t.same(asked.at(-1)?.body, { force: true })
  t.match(await run(['status'], env), { status: 0, printed: /^works[\s\S]*log: redis, archive: clickhouse \(it is away\)[\s\S]*1,237 connections[\s\S]*lobby\s+1,200[\s\S]*relay\s+5\s+1 min/ })
  works = false
  t.match(await run(['status'], env), { status: 1, printed: /^DOES NOT WORK[\s\S]*deaf/ })
  t.match(JSON.parse((await run(['status', '--json'], env)).printed), { works: false })
})

t.test('tokens', async (t) => {
  const secret = 's'.repeat(40)
  const verified = async (token: string): Promise<Record<string, unknown>> => (await jwtVerify(token.trim(), Buffer.from(secret), { issuer: 'me', audience: 'chat' })).payload
  const env = { JWT_SECRET: secret, JWT_ISSUER: 'me', JWT_AUDIENCE: 'chat', PORT: 'rubbish, and somebody else\'s' }
  const payload = await verified((await run(['token', 'ann', '--name', 'Ann', '--role', 'moderator', '--role', 'vip', '--room', 'backstage', '--room', 'stage=broadcaster', '--minutes', '5'], env)).printed)
  t.match(payload, { sub: 'ann', name: 'Ann', roles: ['vip', 'moderator'], rooms: { backstage: [], stage: ['broadcaster'] } })
  t.equal((payload.exp as number) - (payload.iat as number), 300)
  t.match(await run(['token', 'ann', '--role', 'emperor'], env), { status: 1, printed: '', said: /emperor/ })
  t.match(await run(['token', 'ann'], { JWT_SECRET: 'short' }), { status: 1, said: /JWT_SECRET: must have 32 bytes/ })
  const { url } = await standIn(t, {})
  t.match(await run(['token', 'ann', '--url', url], {}), { status: 1, said: /set JWT_SECRET to its secret/ })
})

t.test('doctor: what is well, and what is not', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-doctor-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const well = { JWT_SECRET: 's'.repeat(40), API_KEYS: KEY, PORT: '0', WS_PORT: '0', DATA_DIR: join(folder, 'data') }
  const found = async (env: Record<string, string>): Promise<{ status: number, findings: { level: string, about: string, says: string, remedy?: string }[] }> => {
    const { status, printed } = await run(['doctor', '--json'], env)
    return { status, findings: JSON.parse(printed).findings }
  }
  const good = await found(well)
  t.same(good.findings.filter(({ level }) => level === 'fail'), [])
  t.equal(good.status, 0)
  for (const about of ['settings', 'tokens', 'server keys', 'HOST', 'ports', 'node', 'cores', 'memory', 'DATA_DIR', 'disk', 'log', 'feed']) t.match(good.findings.find((each) => each.about === about), { says: String }, about)
  t.same(good.findings.filter(({ level, remedy }) => level !== 'ok' && remedy === undefined), [], 'whatever is not well comes with what to do')

  const taken = createTcp()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  t.teardown(() => taken.close())
  writeFileSync(join(folder, 'file'), '')
  const bad = await found({ ...well, PORT: '0', WS_PORT: String((taken.address() as AddressInfo).port), CONNECTIONS_MAX: '9000000', REDIS_URL: `redis://127.0.0.1:${(taken.address() as AddressInfo).port}`, REDIS_TIMEOUT_MS: '100', JWT_SECERT: 'x', CLICKHOUSE_URL: '' })
  t.equal(bad.status, 1)
  const level = (about: string): string[] => bad.findings.filter((each) => each.about === about).map((each) => each.level)
  t.same([level('ports'), level('Redis'), level('open files')], [['fail'], ['fail'], ['fail']])
  t.match(bad.findings.find((each) => each.says.includes('JWT_SECERT')), { level: 'warn', remedy: /JWT_SECRET/ })
  const broken = await found({ ...well, STOP_TIMEOUT_S: '1', HOST: '0.0.0.0' })
  t.equal(broken.status, 1)
  t.match(broken.findings[0], { level: 'fail', about: 'settings', says: /^STOP_TIMEOUT_S/ })
  const open = await found({ ...well, HOST: '0.0.0.0', API_KEYS: '', JWT_SECRET: '' })
  for (const about of ['tokens', 'server keys', 'TLS', 'ORIGINS', 'rooms']) t.match(open.findings.find((each) => each.about === about), { level: 'warn' }, about)
  const text = await run(['doctor'], well)
  t.match(text.printed, /^ok {4}settings {6}every one can be used\n/)
  t.match(text.printed, /\n\d+ ok, \d+ to think about, 0 to mend\n$/)
  t.notMatch(text.printed + JSON.stringify([bad, open]), /s{40}|a-server-key/, 'no secret is shown')
  t.match((await run(['doctor', '--pid', '999999999', '--json'], well)).printed, /is there a process 999999999/)
})

t.test('doctor: Redis as it is', { skip: withoutRedis() }, async (t) => {
  const redis = await RedisServer.start(t)
  const env = { JWT_SECRET: 's'.repeat(40), API_KEYS: KEY, PORT: '0', WS_PORT: '0', REDIS_URL: redis.url }
  const first = await run(['doctor'], env)
  t.match(first.printed, /^ok {4}Redis +\d+\.\d+\.\d+, up for/m)
  t.match(first.printed, /^warn {2}Redis +appendonly is off/m)
  t.match(first.printed, /^warn {2}Redis +no maxmemory/m)
  t.match(first.printed, /^ok {4}clocks +Redis's is \d+ ms/m)
  t.equal(first.status, 0)
  await redis.cli('CONFIG', 'SET', 'maxmemory', '100mb')
  await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  t.match(await run(['doctor'], env), { status: 1, printed: /^fail {2}Redis +.*may throw data away/m })
})
