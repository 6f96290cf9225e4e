// Workers under their supervisor: what keeps them from starting is said once; they share the ports; one that dies comes
// back; all are restarted one after the other under load without a message lost; none outlives the supervisor.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { freePort as findPort } from '../../deploy/services/ports.ts'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { replay } from '../replay/replay.ts'
import { signedTokens } from '../replay/tokens.ts'
import { Watcher } from '../replay/watcher.ts'
import { backOff } from '../supervisor.ts'
import { chatLog, measure } from './chat-log.ts'
import { API_KEY, eventually, freePort, HERE, OPEN_LIMITS, Program, SECRET } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { measured, sized } from './size.ts'

t.setTimeout(sized(300_000, 900_000))
const skip = withoutRedis()

async function run (words: readonly string[], env: Record<string, string>, cwd: string): Promise<{ status: number | null, text: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../main.ts'), ...words], { cwd, env: { ...HERE, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { text += chunk.toString() })
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000)
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  return { status, text }
}

/** Process ids of the workers by number, as they said last. */
function workersOf (program: Program): Map<number, number> {
  const said = program.lines.filter((line) => line.includes('"msg":"worker ready"')).map((line) => JSON.parse(line) as { worker: number, pid: number })
  return new Map(said.map(({ worker, pid }) => [worker, pid]))
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

t.test('the wait before a restart doubles, up to half a minute', (t) => {
  t.same([0, 1, 2, 20].map((failures) => backOff(failures, 1)), [500, 1000, 2000, 30_000])
  t.same([0, 20].map((failures) => backOff(failures, 0)), [250, 15_000])
  t.end()
})

t.test('what keeps workers from starting', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-workers-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const redis = await RedisServer.start(t)
  const good = { REDIS_URL: redis.url, PORT: '0', WS_PORT: '0' }
  const file = join(folder, 'not-a.pem')
  writeFileSync(file, 'not a key')
  const cases: [readonly string[], Record<string, string>, RegExp][] = [
    [['--workers', '2'], { PORT: '0', WS_PORT: '0' }, /^ {2}WORKERS: .*set REDIS_URL/m],
    [['--workers', '65'], good, /^ {2}WORKERS: must be a whole number from 1 to 64/m],
    [['--threads', '2'], good, /^ {2}the command line takes --workers N alone/m],
    [['--workers=2'], { ...good, PORT: String(redis.port) }, /^uproar: PORT: port \d+ on 127\.0\.0\.1 is taken/m],
    [['--workers', '2'], { ...good, WS_PORT: String(redis.port) }, /^uproar: WS_PORT: port \d+ on 127\.0\.0\.1 is taken/m],
    [['--workers', '2'], { ...good, JWT_PUBLIC_KEY_FILE: file }, /^ {2}JWT_PUBLIC_KEY_FILE: must hold a public key/m],
    [['--workers', '2'], { ...good, REDIS_URL: `redis://127.0.0.1:${await freePort()}` }, /^uproar: REDIS_URL: Redis cannot be reached/m],
    [['--workers', '2'], { ...good, DRAIN_S: '30' }, /^ {2}STOP_TIMEOUT_S, DRAIN_S: .*at least 35/m]
  ]
  for (const [words, env, pattern] of cases) {
    const { status, text } = await run(words, env, folder)
    t.equal(status, 1, `${words.join(' ')} ${String(pattern)}`)
    t.match(text, pattern)
    t.equal([...text.matchAll(new RegExp(pattern.source, 'gm'))].length, 1, 'said once')
    t.notMatch(text, /\n\s+at |"stack"/, 'without a stack')
  }
})

t.test('workers come back, restart in turn under load, and end with their supervisor', { skip }, async (t) => {
  const redis = await RedisServer.start(t)
  const base = await findPort(3)
  const program = await Program.start(t, { ...OPEN_LIMITS, REDIS_URL: redis.url, WORKERS: '3', WORKER_PORT_BASE: String(base), DRAIN_S: '2' })
  t.equal(workersOf(program).size, 3)
  const own = async (number: number, path: string): Promise<Response> => fetch(`http://127.0.0.1:${base + number}${path}`, { headers: { authorization: `Bearer ${API_KEY}` }, signal: AbortSignal.timeout(5000) })
  for (const number of [1, 2, 3]) t.equal((await own(number, '/readyz')).status, 200, 'each can be asked by itself')
  const { instances } = await (await own(2, '/v1/instances')).json() as { instances: { pid: number, isSelf: boolean }[] }
  t.same(instances.map(({ pid }) => pid).sort(), [...workersOf(program).values()].sort())
  t.equal(instances.find(({ isSelf }) => isSelf)?.pid, workersOf(program).get(2))

  const log = chatLog()
  const room = 'stage'
  const limit = sized(3000, 20_000)
  const watchers = Array.from({ length: 12 }, () => new Watcher({ url: program.ws, room, pingMs: 1000 }))
  t.teardown(() => { for (const watcher of watchers) watcher.stop() })
  await Promise.all(watchers.map((watcher) => watcher.start()))
  const connections = await Promise.all([1, 2, 3].map(async (number) => Number(/^uproar_connections (\d+)/m.exec(await (await own(number, '/metrics')).text())?.[1])))
  t.equal(connections.reduce((sum, count) => sum + count, 0), 12)
  t.ok(connections.filter((count) => count > 0).length >= 2, `the kernel deals connections among them: ${connections.join(', ')}`)

  const whole = (await program.request('GET', '/metrics')).text
  t.same([1, 2, 3].map((number) => Number(new RegExp(`^uproar_connections\\{worker="${number}"\\} (\\d+)`, 'm').exec(whole)?.[1])), connections, 'the shared port has the numbers of all')
  t.equal([...whole.matchAll(/^uproar_worker_up\{worker="\d"\} 1$/gm)].length, 3)

  const accepted = new Map<number, number>()
  let rolling: Promise<void> | null = null
  const before = new Set(workersOf(program).values())
  const roll = async (): Promise<void> => {
    process.kill(workersOf(program).get(2) as number, 'SIGKILL')
    await eventually('the killed one to come back', () => program.lines.some((line) => /"worker":2.*a worker is back/.test(line)) || null, 30_000)
    process.kill(program.pid, 'SIGHUP')
    await eventually('every worker to be restarted', () => program.lines.some((line) => line.includes('every worker was restarted')) || null, 60_000)
  }
  const report = await replay({
    lines: log.lines(), file: log.name, url: program.ws, room, tokens: signedTokens(SECRET), speed: sized(12, 20), connections: 200, attempts: 30, limit, settleMs: 30_000,
    onAccepted: (line, { seq }) => {
      accepted.set(line, seq)
      if (accepted.size === Math.floor(limit / 10)) rolling = roll()
    }
  })
  await rolling
  t.same([...workersOf(program).values()].filter((pid) => before.has(pid)), [], 'all are other processes now')
  const tooLong = report.refused.too_long ?? 0
  t.match(report, { sent: limit, accepted: limit - tooLong, watcher: { missing: 0, duplicated: 0, outOfOrder: 0, complaint: null } }, 'nothing lost, nothing twice')
  t.ok(tooLong <= (await measure(log.lines(), limit)).tooLong)
  const head = Math.max(...accepted.values())
  for (const watcher of watchers) {
    await watcher.until(() => watcher.account.last >= head, `seq ${head}`)
    t.match(watcher.account, { missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, unrecovered: 0, last: head })
  }
  t.ok(watchers.every((watcher) => watcher.closes.includes(4413) || watcher.closes.includes(1006)), 'everybody was moved')
  const history = await wholeHistory(program, room)
  t.equal([...accepted].filter(([line, seq]) => history[seq - 1]?.ext?.meta?.line !== line).length, 0)
  measured(t, `three workers, one killed, then all restarted in turn during ${report.accepted} messages: missing ${report.watcher.missing}, sent again ${report.retried}, SEND→OK p50 ${report.latency.p50} ms p99 ${report.latency.p99} ms`)

  t.same(program.faults.filter((line) => !/"worker":2.*a worker ended/.test(line)), [], 'nothing but the kill was a fault')
  const pids = [...workersOf(program).values()]
  for (const watcher of watchers) watcher.stop()
  await program.kill9()
  await eventually('no worker to outlive its supervisor', () => pids.every((pid) => !isAlive(pid)) || null, 15_000)
})

t.test('without a key all workers take the tokens that one gives', { skip }, async (t) => {
  const redis = await RedisServer.start(t)
  const base = await findPort(3)
  const program = await Program.start(t, { REDIS_URL: redis.url, WORKERS: '2', WORKER_PORT_BASE: String(base), JWT_SECRET: '', API_KEYS: '' })
  const post = async (number: number, path: string, body: unknown, token?: string): Promise<Response> => fetch(`http://127.0.0.1:${base + number}${path}`, {
    method: 'POST', headers: { 'content-type': 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }, body: JSON.stringify(body), signal: AbortSignal.timeout(5000)
  })
  const { token } = await (await post(1, '/v1/dev/token', { id: 'ann' })).json() as { token: string }
  for (const number of [1, 2]) t.equal((await post(number, '/v1/rooms/hall/messages', { nonce: `n${number}`, body: 'hello' }, token)).status, 201)
  t.equal(await program.stop(), 0, 'SIGTERM ends all of them cleanly')
  t.equal(program.lines.filter((line) => /"worker":\d.*"msg":"stopped"/.test(line)).length, 2)
  t.same(program.faults, [])
})
