// Connections to Redis: how its address is written, what keeps us from starting, TLS, and deadlines. Real servers; a
// scripted one only for a version that is too old.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { RedisServer, startCluster, startSentinels } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { CERT, KEY } from './certificate.suite.ts'
import { StartFault } from './errors.ts'
import { parseRedisUrl } from './redis-place.ts'
import { Redis, RedisFault } from './redis.ts'

const skip = withoutRedis()

async function fault (work: () => Promise<unknown>): Promise<Error> {
  try {
    await work()
  } catch (error) {
    return error as Error
  }
  throw new Error('it did not fail')
}

t.test('addresses', (t) => {
  t.match(parseRedisUrl('redis://localhost'), { kind: 'single', addresses: [{ host: 'localhost', port: 6379 }], db: 0, tls: null, password: null })
  t.match(parseRedisUrl('rediss://ann:p%40ss:word@[::1]:7000/3?servername=chat.example'), {
    addresses: [{ host: '::1', port: 7000 }], username: 'ann', password: 'p@ss:word', db: 3, tls: { ca: null, servername: 'chat.example' }
  })
  t.match(parseRedisUrl('redis+sentinel://:secret@a:1,b,c:3/main?db=2&sentinel_password=other'), {
    kind: 'sentinel', name: 'main', addresses: [{ host: 'a', port: 1 }, { host: 'b', port: 26_379 }, { host: 'c', port: 3 }], password: 'secret', username: null, db: 2, sentinelPassword: 'other'
  })
  t.match(parseRedisUrl('redis+cluster://a:1,b:2'), { kind: 'cluster', addresses: [{ host: 'a', port: 1 }, { host: 'b', port: 2 }] })
  for (const bad of [
    '', 'localhost:6379', 'http://localhost', 'redis://', 'redis://a,b', 'redis+sentinel://a:1', 'redis+cluster://a:1/2', 'redis+cluster://a?db=1', 'redis://a:0', 'redis://a:70000',
    'redis://a/x', 'redis://:%zz@a', 'redis://a?password=hunter2', 'rediss://a?ca=/nowhere.pem', 'redis://:hunter2@a b'
  ]) {
    const error = t.throws(() => parseRedisUrl(bad), bad) as Error
    t.notMatch(error.message, /hunter2/, 'no secret is repeated')
  }
  t.end()
})

t.test('what keeps us from starting is said, without secrets', { skip }, async (t) => {
  const server = await RedisServer.start(t, { password: 'hunter2' })
  const cluster = await startCluster(t)
  const check = (url: string): Promise<Error> => fault(async () => {
    const redis = new Redis(parseRedisUrl(url), { timeoutMs: 1000 })
    await redis.check().finally(() => redis.close())
  })
  for (const [url, pattern] of [
    [`redis://127.0.0.1:${server.port}`, /NOAUTH|auth/i], [`redis://:hunter3@127.0.0.1:${server.port}`, /WRONGPASS/], ['redis://127.0.0.1:1', /cannot be reached/],
    [`redis+cluster://:hunter2@127.0.0.1:${server.port}`, /not a node of a Cluster/], [cluster.url.replace('+cluster', '').split(',')[0], /is a node of a Cluster/], ['redis+sentinel://127.0.0.1:1/main', /cannot be reached/]
  ] as [string, RegExp][]) {
    const error = await check(url)
    t.ok(error instanceof StartFault, url)
    t.match(error.message, pattern)
    t.notMatch(error.message, /hunter/)
  }
  await server.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  await server.cli('CONFIG', 'SET', 'maxmemory', '100mb')
  t.match((await check(`redis://:hunter2@127.0.0.1:${server.port}`)).message, /throw data away \(maxmemory-policy allkeys-lru\)/)

  const old = createServer((socket) => {
    socket.on('data', (chunk) => {
      const info = 'redis_version:6.2.6\r\nloading:0\r\n'
      for (const _ of chunk.toString().matchAll(/INFO/gi)) socket.write(`$${info.length}\r\n${info}\r\n`)
      for (const _ of chunk.toString().matchAll(/CLIENT|SELECT/gi)) socket.write('+OK\r\n')
    })
  })
  await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve))
  t.teardown(() => old.close())
  t.match((await check(`redis://127.0.0.1:${(old.address() as AddressInfo).port}`)).message, /Redis 7 or later is needed; this one is 6\.2\.6/)
})

t.test('a call has its deadline, and the next one a new connection', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const redis = new Redis(parseRedisUrl(server.url), { timeoutMs: 300 })
  t.teardown(() => redis.close())
  await redis.call('t', 'SET', ['a', Buffer.of(0xff, 0)])
  t.same(await redis.call('t', 'GET', ['a']), Buffer.of(0xff, 0), 'bytes are bytes')
  server.freeze()
  const started = performance.now()
  const late = await fault(() => redis.call('t', 'GET', ['a']))
  t.ok(late instanceof RedisFault && late.isAway && !late.isUnsent, 'what became of it is not known')
  t.ok(performance.now() - started < 1000)
  t.notMatch(JSON.stringify(late), /"a"/)
  server.thaw()
  t.same(await redis.call('t', 'GET', ['a']), Buffer.of(0xff, 0))
  const refused = await fault(() => redis.call('t', 'LPUSH', ['a', 'hunter2']))
  t.ok(refused instanceof RedisFault && !refused.isAway, 'a refusal is not an outage')
  t.notMatch(`${refused.stack}${JSON.stringify(refused)}`, /hunter2/, 'and carries no argument')
  await server.kill9()
  const gone = await fault(() => redis.call('t', 'GET', ['a']))
  t.ok(gone instanceof RedisFault && gone.isAway)
  await server.launch()
  t.equal(await redis.call('t', 'GET', ['a']), null, 'it is used again when it is back')
  redis.close()
  t.ok((await fault(() => redis.call('t', 'GET', ['a']))) instanceof RedisFault, 'closed')
})

t.test('TLS', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'uproar-tls-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const tls = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
  writeFileSync(tls.cert, CERT)
  writeFileSync(tls.key, KEY)
  const server = await RedisServer.start(t, { tls, password: 'hunter2' })
  const trusting = new Redis(parseRedisUrl(`${server.url}?ca=${encodeURIComponent(tls.cert)}&servername=localhost`), { timeoutMs: 2000 })
  t.teardown(() => trusting.close())
  await trusting.check()
  t.same(await trusting.call('t', 'PING', []), Buffer.from('PONG'))
  const doubting = new Redis(parseRedisUrl(server.url), { timeoutMs: 2000 })
  t.teardown(() => doubting.close())
  t.match((await fault(() => doubting.check())).message, /certificate|self.signed/i, 'a certificate that nobody vouches for is refused')
})

t.test('Sentinels lead to the master', { skip }, async (t) => {
  const { url, master } = await startSentinels(t)
  const redis = new Redis(parseRedisUrl(url), { timeoutMs: 2000 })
  t.teardown(() => redis.close())
  await redis.check()
  await redis.call('t', 'SET', ['where', 'here'])
  t.equal(await master.cli('GET', 'where'), 'here')
})
