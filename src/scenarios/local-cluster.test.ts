// `npm run cluster`: one command, one address; what keeps it from starting is said with what to do; nothing is left.

import { spawn, type ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { withoutRedis } from '../../deploy/services/services.ts'
import { eventually, freePort, OPEN_LIMITS } from './harness.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(110_000)

interface Run { readonly child: ChildProcess, readonly exit: Promise<number | null>, text (): string }

function run (t: Test, env: Record<string, string>): Run {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../deploy/cluster.ts')], { env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
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
