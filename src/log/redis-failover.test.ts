// What happens when a master dies under load and another takes its place: with all of its data, or without the last of
// it. The same must hold as in redis-faults.test.ts. And when nothing takes its place, that we say so.

import t from 'tap'
import { RedisServer, startCluster, startReplica, startSentinels } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { TcpProxy } from '../../deploy/services/tcp-proxy.ts'
import { systemClock } from '../base/clock.ts'
import { Canary } from './canary.ts'
import { message } from './log.suite.ts'
import { Follower, Load, openInstance, openTwo, SHARDS, until } from './redis-load.suite.ts'
import { canaryRooms } from './redis-log.ts'

const skip = withoutRedis()

t.test('a replica promoted that lacks the last writes', { skip }, async (t) => {
  const master = await RedisServer.start(t)
  const replica = await startReplica(t, master)
  const proxy = await TcpProxy.start(t, master.port)
  const instances = await openTwo(t, `redis://127.0.0.1:${proxy.port}`)
  const load = new Load(instances, 'failover')
  await load.progress(2000)
  await until('the replica follows', async () => {
    const [theirs, mine] = await Promise.all([master.info('master_repl_offset'), replica.info('slave_repl_offset')])
    return Number(theirs) - Number(mine) < 100_000 && Number(await replica.cli('DBSIZE')) > 10
  })
  await replica.cli('REPLICAOF', 'NO', 'ONE')
  await load.progress(500)
  const before = performance.now()
  proxy.mode = 'refuse'
  await master.kill9()
  proxy.target = replica.port
  proxy.cut()
  proxy.mode = 'pass'
  await load.progress(2000)
  t.comment(`going on after ${Math.round(performance.now() - before)} ms`)
  await load.end()
  const gone = await load.verify(t, true)
  t.ok(gone > 0 && gone < 2000, `${gone} of ${load.acks.length} that were answered are gone`)
  t.ok(load.followers.every(({ sections }) => sections.length > 1), 'and every watcher was told')
  t.equal(instances[0].metrics.value('uproar_redis_resets_total') > 0 && instances[1].metrics.value('uproar_redis_resets_total') > 0, true)
})

t.test('the master dies under Sentinels', { skip, timeout: 120_000 }, async (t) => {
  const { master, url } = await startSentinels(t)
  const load = new Load(await openTwo(t, url), 'sentinel')
  await load.progress(2000)
  const before = performance.now()
  await master.kill9()
  await load.progress(2000, 40_000)
  t.comment(`going on ${Math.round(performance.now() - before)} ms after the master's death`)
  await load.end()
  t.comment(`${await load.verify(t, true)} acknowledged messages were lost by Redis`)
})

t.test('a master of a Cluster dies', { skip, timeout: 120_000 }, async (t) => {
  const cluster = await startCluster(t, { replicas: true })
  const load = new Load(await openTwo(t, cluster.url), 'cluster')
  await load.progress(2000)
  const before = performance.now()
  await cluster.masters[1]?.kill9()
  await until('its replica is promoted', async () => await cluster.replicas[1]?.info('role') === 'master')
  await load.progress(2000, 40_000)
  t.comment(`going on ${Math.round(performance.now() - before)} ms after the master's death`)
  await load.end()
  t.comment(`${await load.verify(t, true)} acknowledged messages were lost by Redis`)
})

t.test('a loss that only a reader has seen', { skip }, async (t) => {
  const master = await RedisServer.start(t)
  const replica = await startReplica(t, master)
  const proxy = await TcpProxy.start(t, master.port)
  const [author, viewer] = await openTwo(t, `redis://127.0.0.1:${proxy.port}`)
  const told = new Follower(viewer.log, 'stage')
  await author.log.publish('stage', message('one', 'n1'))
  await until('the replica has it', async () => (await replica.cli('KEYS', 'test:*:log:stage')) !== '')
  await replica.cli('REPLICAOF', 'NO', 'ONE')
  const lost = await author.log.publish('stage', message('two', 'n2'))
  await until('the viewer has both', () => told.last.seqs.length === 2)
  await author.stop()
  await master.kill9()
  proxy.target = replica.port
  proxy.cut()
  await until('the viewer was told', () => told.sections.length === 2)
  const next = await viewer.log.publish('stage', message('another two', 'n3'))
  t.equal(next.seq, lost.seq, 'its seq is given again')
  t.not(next.epoch, lost.epoch, 'in another epoch')
  const late = await viewer.log.publish('stage', { ...message('three', 'n4'), epoch: lost.epoch })
  t.same([late.seq, late.epoch], [next.seq + 1, next.epoch], 'what was on its way for the epoch before is of the same room')
  t.match(await viewer.log.find('stage', 'ann', 'n1'), { seq: 1, epoch: next.epoch, repeated: true }, 'what is left keeps its nonces')
})

t.test('one shard of a Cluster is gone: the canaries say so', { skip, timeout: 120_000 }, async (t) => {
  const cluster = await startCluster(t, { args: ['--cluster-require-full-coverage', 'no'] })
  const { log } = await openInstance(t, cluster.url)
  const canary = new Canary(log, systemClock, canaryRooms(SHARDS))
  t.teardown(() => canary.stop())
  await canary.start()
  t.equal(canary.verdict, 'ok')
  cluster.masters[1]?.freeze()
  const started = performance.now()
  await until('it is not ready', () => canary.verdict !== 'ok')
  t.ok(performance.now() - started < 6000, `not ready after ${Math.round(performance.now() - started)} ms`)
  cluster.masters[1]?.thaw()
  await until('it is ready again', () => canary.verdict === 'ok')
})

t.test('a slot that moves to another node', { skip, timeout: 120_000 }, async (t) => {
  const { masters, url } = await startCluster(t)
  const load = new Load(await openTwo(t, url), 'slot')
  await load.progress(2000)
  const ids = await Promise.all(masters.map((node) => node.cli('CLUSTER', 'MYID')))
  for (const tag of ['0', '1', '2', '3']) {
    const slot = await (masters[0] as RedisServer).cli('CLUSTER', 'KEYSLOT', `{${tag}}`)
    const counts = await Promise.all(masters.map(async (node) => Number(await node.cli('CLUSTER', 'COUNTKEYSINSLOT', slot))))
    const from = counts.findIndex((count) => count > 0)
    const to = (from + 1) % masters.length
    const [source, target] = [masters[from] as RedisServer, masters[to] as RedisServer]
    await target.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from] as string)
    await source.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to] as string)
    for (;;) {
      const keys = (await source.cli('CLUSTER', 'GETKEYSINSLOT', slot, '1')).split('\n').filter((key) => key !== '')
      if (keys.length === 0) break
      await source.cli('MIGRATE', '127.0.0.1', String(target.port), '', '0', '5000', 'KEYS', ...keys)
    }
    for (const node of [target, source, ...masters]) await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to] as string)
    await load.progress(1000)
  }
  await load.end()
  t.equal(await load.verify(t, false), 0)
})
