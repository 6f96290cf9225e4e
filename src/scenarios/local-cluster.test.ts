// `npm run cluster`: one command, one address; what keeps it from starting is said with what to do; nothing is left. With
// `--full` (in `npm run prove`) every role is a process of its own, and a message goes all the way to Kafka and the archive.

import { spawn, type ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { withoutKafka, withoutPrometheus, withoutRedis } from '../../deploy/services/services.ts'
import { eventually, freePort, HERE, OPEN_LIMITS } from './harness.ts'
import { isFull, measured } from './size.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(isFull ? 300_000 : 240_000)

interface Run { readonly child: ChildProcess, readonly exit: Promise<number | null>, text (): string }

function run (t: Test, env: Record<string, string>, words: readonly string[] = []): Run {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../deploy/cluster.ts'), ...words], { env: { ...HERE, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { text += chunk.toString() })
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve))
  t.teardown(() => { child.kill('SIGKILL') })
  return { child, exit, text: () => text }
}

t.test('one command, one address, and Ctrl-C ends all', { skip: withoutRedis() }, async (t) => {
  const port = await freePort()
  const cluster = run(t, { ...OPEN_LIMITS, PORT: port, DRAIN_S: '1' })
  const address = await eventually('the address', () => {
    if (cluster.child.exitCode !== null) throw new Error(cluster.text())
    return /^cluster: open (http:\S+)#token=(\S+)$/m.exec(cluster.text())
  }, 60_000)
  const [, page = '', token = ''] = address
  t.equal(page, `http://127.0.0.1:${port}/`)
  t.equal((await fetch(`${page}readyz`)).status, 200)
  t.equal((await (await fetch(`${page}v1/config`)).json() as { wsUrl: string }).wsUrl, `ws://127.0.0.1:${port}/ws`, 'the page finds its sockets at the same address')
  const viewers = await Promise.all([1, 2, 3].map(async () => Viewer.connect(t, `ws://127.0.0.1:${port}/ws`, token)))
  for (const viewer of viewers) await viewer.join('lobby')
  await viewers[0]?.say('lobby', 'to everybody')
  for (const viewer of viewers) await viewer.until('the message', () => viewer.texts().includes('to everybody') || null)
  t.match(cluster.text(), /^\[1\] \{.*"msg":"ready"/m, 'each line says whose it is')
  t.match(cluster.text(), /^\[3\] /m)
  const others = [...cluster.text().matchAll(/"port":(\d+).*"msg":"ready"/g)].map((match) => match[1] as string)
  t.equal(others.length, 3)

  cluster.child.kill('SIGINT')
  t.equal(await cluster.exit, 0)
  for (const each of [port, ...others]) t.equal(await fetch(`http://127.0.0.1:${each}/healthz`).then(() => 'there', () => 'gone'), 'gone')
  for (const viewer of viewers) t.not(viewer.ending, null)
})

t.test('the full stack, process by process', { skip: isFull ? withoutRedis() || withoutKafka() || withoutPrometheus() : 'in npm run prove -- local-cluster' }, async (t) => {
  const started = performance.now()
  const port = await freePort()
  const cluster = run(t, { ...OPEN_LIMITS, PORT: port, DRAIN_S: '1', API_KEYS: 'a-key-for-the-whole-cluster' }, ['--full'])
  const [, page = '', token = ''] = await eventually('the address', () => {
    if (cluster.child.exitCode !== null) throw new Error(cluster.text())
    return /^cluster: open (http:\S+)#token=(\S+)$/m.exec(cluster.text())
  }, 180_000)
  const startS = (performance.now() - started) / 1000
  const said = (pattern: RegExp): string => pattern.exec(cluster.text())?.[1] ?? ''
  const [relay, archiver, prometheus] = [said(/^cluster: relay at (\S+)/m), said(/^cluster: archiver at (\S+)/m), said(/^cluster: Prometheus at (\S+)/m)]
  t.ok([relay, archiver, prometheus].every((address) => address !== ''), cluster.text().match(/^cluster: .*/gm)?.join('\n') ?? '')
  const viewer = await Viewer.connect(t, `ws://127.0.0.1:${port}/ws`, token)
  await viewer.join('lobby')
  await viewer.say('lobby', 'a goose for the archive')
  await viewer.until('the message', () => viewer.texts().includes('a goose for the archive') || null)
  const ask = async (address: string): Promise<any> => await fetch(address, { headers: { authorization: 'Bearer a-key-for-the-whole-cluster' }, signal: AbortSignal.timeout(10_000) }).then((answer) => answer.json(), () => null)
  await eventually('Kafka to have it', async () => /uproar_kafka_produced_total\{topic="uproar\.messages"\} [1-9]/.test(await fetch(`${relay}metrics`).then((answer) => answer.text())) || null, 30_000)
  await eventually('the archive to have it', async () => JSON.stringify(await ask(`${archiver}v1/rooms/lobby/search?q=goose`)).includes('a goose for the archive') || null, 30_000)
  await eventually('Prometheus to reach all', async () => {
    const { data } = await ask(`${prometheus}api/v1/targets`)
    return data.activeTargets.length === 6 && data.activeTargets.every(({ health }: { health: string }) => health === 'up') ? true : null
  }, 40_000)
  const { detail } = await ask(`${page}v1/status`)
  t.equal(detail.instances.length, 6)
  t.match(detail.engines, [{ part: 'log', engine: 'redis' }, { part: 'feed', engine: 'kafka' }])

  const ending = performance.now()
  cluster.child.kill('SIGINT')
  t.equal(await cluster.exit, 0)
  for (const address of [page, relay, archiver, prometheus]) t.equal(await fetch(address).then(() => 'there', () => 'gone'), 'gone', address)
  t.notMatch(cluster.text(), /the others go on/, 'nothing ended by itself')
  measured(t, `the full stack (Redis, Kafka, three gateways, relay, moderator, archiver on chDB, Prometheus, balancer) on one machine: ready after ${startS.toFixed(0)} s, ended after ${((performance.now() - ending) / 1000).toFixed(0)} s`)
})

t.test('what keeps it from starting', async (t) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const taken = String((server.address() as { port: number }).port)
  const cases: [Record<string, string>, RegExp][] = [
    [{ PORT: taken }, /port \d+ on 127\.0\.0\.1 is taken; .*set PORT/],
    [{ PORT: await freePort(), INSTANCES: '0' }, /INSTANCES must be a whole number from 1 to 16/],
    [{ PORT: await freePort(), REDIS_SERVER_PATH: '/nowhere/redis-server' }, /there is no redis-server.*install it .*or set REDIS_URL/],
    [{ PORT: await freePort(), REDIS_URL: `redis://127.0.0.1:${await freePort()}`, INSTANCES: '1' }, /REDIS_URL: Redis cannot be reached[\s\S]*instance 1 ended before it was ready/]
  ]
  for (const [env, pattern] of cases) {
    const cluster = run(t, env)
    t.equal(await cluster.exit, 1)
    t.match(cluster.text(), pattern)
    t.notMatch(cluster.text(), /\n\s+at /, 'without a stack')
  }
})
