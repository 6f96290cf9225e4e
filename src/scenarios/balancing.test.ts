// Three instances behind one address, by the sample configurations of nginx and HAProxy and by the plain balancer: any
// client lands anywhere and resumes anywhere, through all ways in; the page works through it in a real browser.

import { createServer, request } from 'node:http'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { configured, startBalancer, type BalancerKind } from '../../deploy/balancer.ts'
import { withoutBalancer, withoutChromium, withoutRedis } from '../../deploy/services/services.ts'
import { Watcher } from '../replay/watcher.ts'
import { buildWeb } from '../web/build.ts'
import { launch, live, picture, pictures, row, say, visit } from '../web/page/browser.suite.ts'
import { EventReader } from './event-reader.ts'
import { API_KEY, eventually, freePort, tokenOf, type Program } from './harness.ts'
import { startInstances } from './instances.ts'
import { measured } from './size.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(300_000)

interface Front { readonly http: string, readonly ws: string, readonly programs: readonly Program[] }

async function front (t: Test, kind: BalancerKind): Promise<Front> {
  const port = await freePort()
  const [http, ws] = [`http://127.0.0.1:${port}`, `ws://127.0.0.1:${port}/ws`]
  const { programs } = await startInstances(t, { WS_PUBLIC_URL: ws, TRUSTED_PROXIES: '127.0.0.1', DRAIN_S: '2', CONNECTIONS_PER_USER_MAX: '10' })
  const balancer = await startBalancer(kind, Number(port), programs.map((program) => ({ port: Number(new URL(program.http).port), wsPort: Number(new URL(program.ws).port) })))
  t.teardown(() => balancer.stop())
  await eventually('the balancer to find an instance', async () => await fetch(`${http}/healthz`).then((answer) => answer.ok || null, () => null))
  return { http, ws, programs }
}

async function story (t: Test, kind: BalancerKind): Promise<void> {
  const { http, ws, programs } = await front(t, kind)
  const room = 'hall'
  const watchers = Array.from({ length: 9 }, () => new Watcher({ url: ws, room, pingMs: 500 }))
  const events = Array.from({ length: 3 }, () => new EventReader({ url: `${http}/v1/rooms/${room}/events?history=0` }))
  t.teardown(async () => {
    for (const watcher of watchers) watcher.stop()
    await Promise.all(events.map((reader) => reader.stop()))
  })
  await Promise.all([...watchers, ...events].map((one) => one.start()))
  const spread = await Promise.all(programs.map(async (program) => (await program.request('GET', '/v1/connections', { token: API_KEY })).json.connections.length as number))
  t.same(spread, [3, 3, 3], 'sockets are dealt evenly')
  let head = 0
  let nonce = 0
  const post = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) {
      const own = `n${nonce++}`
      head = await eventually(`message ${own}`, async () => {
        const answer = await fetch(`${http}/v1/rooms/${room}/messages`, {
          method: 'POST', headers: { authorization: `Bearer ${tokenOf('ann')}`, 'content-type': 'application/json' }, body: JSON.stringify({ nonce: own, body: `message ${own}` }), signal: AbortSignal.timeout(5000)
        }).catch(() => null)
        return answer?.ok === true ? (await answer.json() as { seq: number }).seq : null
      })
    }
  }
  const arrived = async (what: string): Promise<void> => {
    for (const watcher of watchers) {
      await watcher.until(() => watcher.account.last >= head, `${what}: seq ${head}`)
      t.match(watcher.account, { missing: 0, duplicates: 0, outOfOrder: 0, unrecovered: 0, last: head }, what)
    }
    for (const { account } of events) {
      await eventually(`${what}: the event streams`, () => account.last >= head || null)
      t.match(account, { missing: 0, duplicates: 0, outOfOrder: 0, unrecovered: 0, last: head }, `${what}, on events`)
    }
  }
  await post(30)
  await arrived('through all instances')
  t.equal(head, 30)

  if (kind !== 'plain') {
    const { json } = await (programs[0] as Program).request('GET', '/v1/connections', { token: API_KEY })
    t.ok((json.connections as { address: string }[]).every(({ address }) => address === '127.0.0.1'), 'the client\'s address is seen through the balancer')
    const claimed = await Viewer.connect(t, ws, tokenOf('liar'), { headers: { 'x-forwarded-for': '9.9.9.9' } })
    const found = (await Promise.all(programs.map(async (program) => (await program.request('GET', '/v1/connections?user=liar', { token: API_KEY })).json.connections as { address: string }[]))).flat()
    t.same(found.map(({ address }) => address), ['127.0.0.1'], 'whatever it claims itself')
    claimed.socket.destroy()
  }

  const [first, second] = programs as [Program, Program, Program]
  await first.kill9()
  await post(10)
  await arrived('one instance killed')
  await first.launch()
  const leaving = second.stop()
  await post(10)
  t.equal(await leaving, 0)
  await arrived('one instance drained')
  await second.launch()
  t.ok(watchers.every((watcher) => watcher.joins >= 1) && watchers.filter((watcher) => watcher.joins >= 2).length >= 3, 'some were moved')
  t.equal(head, 50, 'each message once, however often it was tried')
  measured(t, `${kind}: 9 sockets and 3 event streams through kill -9 and a drain: nothing lost; joins ${watchers.map((watcher) => watcher.joins).join(' ')}`)
}

for (const kind of ['nginx', 'haproxy'] as const) {
  t.test(`behind ${kind}`, { skip: withoutRedis() || withoutBalancer(kind) }, (t) => story(t, kind))
}
t.test('behind the plain balancer', { skip: withoutRedis() }, (t) => story(t, 'plain'))

/** Something that takes sockets and keeps them, in the place of an instance. */
async function standIn (t: Test, port: string): Promise<void> {
  const held = new Set<Duplex>()
  const server = createServer().on('upgrade', (_request, socket) => {
    held.add(socket.on('error', () => {}))
    socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n')
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(Number(port), '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of held) socket.destroy()
    server.close()
  })
}

/** Asks for a socket; resolves with the status of the answer. */
function upgraded (t: Test, port: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path: '/ws', headers: { connection: 'upgrade', upgrade: 'websocket' }, agent: false, timeout: 5000 })
    asked.on('upgrade', (_answer, socket) => {
      t.teardown(() => socket.destroy())
      resolve(101)
    }).on('response', (answer) => { answer.resume(); resolve(answer.statusCode ?? 0) }).on('error', reject).end()
  })
}

t.test('nginx: instances that were away get their sockets back at once', { skip: withoutBalancer('nginx') }, async (t) => {
  const [port, first, second, http] = [await freePort(), await freePort(), await freePort(), await freePort()] as [string, string, string, string]
  const balancer = await startBalancer('nginx', Number(port), [{ port: Number(http), wsPort: Number(first) }, { port: Number(http), wsPort: Number(second) }])
  t.teardown(() => balancer.stop())
  t.same(await Promise.all(Array.from({ length: 4 }, () => upgraded(t, port))), [502, 502, 502, 502], 'nobody is there')
  for (const own of [first, second]) await standIn(t, own)
  // A socket does not end, so nginx never hears that a server which once refused is well again, if it keeps count of that.
  t.same(await Promise.all(Array.from({ length: 20 }, () => upgraded(t, port))), Array.from({ length: 20 }, () => 101))
})

t.test('samples are filled in line by line', (t) => {
  const places = [{ port: 1, wsPort: 2 }, { port: 3, wsPort: 4 }]
  t.match(configured('nginx', 77, places), /listen 127\.0\.0\.1:77 backlog/)
  t.same(configured('nginx', 77, places).match(/server 127\.0\.0\.1:\d+/g), ['server 127.0.0.1:1', 'server 127.0.0.1:3', 'server 127.0.0.1:2', 'server 127.0.0.1:4'])
  t.same(configured('haproxy', 77, places).match(/server instance-.*/g), ['server instance-1 127.0.0.1:1', 'server instance-2 127.0.0.1:3', 'server instance-1 127.0.0.1:2 port 1', 'server instance-2 127.0.0.1:4 port 3'])
  t.match(configured('haproxy', 77, places), /bind 127\.0\.0\.1:77\n/)
  t.end()
})

t.test('the page on one address', { skip: withoutRedis() || withoutBalancer('nginx') || withoutChromium(), timeout: 120_000 }, async (t) => {
  await buildWeb(join(import.meta.dirname, '../../dist'))
  const browser = await launch()
  t.teardown(() => browser.close())
  const { http, programs } = await front(t, 'nginx')
  const people = await Promise.all(['Ann', 'Ben', 'Cleo'].map((name) => visit(browser, `${http}/#token=${tokenOf(name.toLowerCase(), { name, roles: name === 'Ann' ? ['broadcaster'] : [] })}`)))
  for (const { page } of people) await live(page)
  const connections = await Promise.all(programs.map(async (program) => (await program.request('GET', '/v1/connections', { token: API_KEY })).json.connections.length as number))
  t.same(connections, [1, 1, 1], 'each is on another instance')
  for (const [at, { page }] of people.entries()) {
    await say(page, `line ${at + 1} from my own instance`)
    for (const other of people) await row(other.page, `line ${at + 1} from`).waitFor()
  }
  for (const { page } of people) await page.locator('#viewers-label', { hasText: /^3 viewers$/ }).waitFor({ state: 'attached' })
  await programs[0]?.kill9()
  await say((people[1] as (typeof people)[0]).page, 'one instance is gone')
  for (const { page } of people) await row(page, 'one instance is gone').waitFor({ timeout: 20_000 })
  for (const { page } of people) t.equal(await page.locator('#rows .body').count(), 4, 'all of it, once')
  const shots = await pictures()
  t.comment(`pictures are in ${shots}`)
  await picture((people[0] as (typeof people)[0]).page, shots, 'cluster')
  for (const { page } of people) await page.context().close()
})
