// The servers that tests start: they answer, come back with or without their data, and make a Cluster and a set of
// Sentinels that promote a replica.

import t from 'tap'
import { RedisServer, startCluster, startSentinels } from './redis.ts'
import { withoutRedis } from './services.ts'

const skip = withoutRedis()

t.test('one server, killed and started again', { skip }, async (t) => {
  const server = await RedisServer.start(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'], password: 'of the test' })
  t.equal(await server.cli('SET', 'a', '1'), 'OK')
  await server.kill9()
  await server.launch()
  t.equal(await server.cli('GET', 'a'), '1', 'with its data')
  await server.kill9()
  server.forget()
  await server.launch()
  t.equal(await server.cli('GET', 'a'), '', 'without')
  t.match(await server.info('redis_version'), /^\d/)
  await server.stop()
})

t.test('a Cluster of three', { skip }, async (t) => {
  const { masters, replicas } = await startCluster(t, { replicas: true })
  t.equal(replicas.length, 3)
  t.match(await masters[0]?.cli('CLUSTER', 'INFO'), /cluster_slots_ok:16384/)
})

t.test('Sentinels promote the replica', { skip }, async (t) => {
  const { master, replica, sentinels } = await startSentinels(t)
  await master.kill9()
  const end = performance.now() + 30_000
  const named = async (): Promise<string> => await sentinels[0]?.cli('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main') ?? ''
  while (!(await named()).includes(String(replica.port)) && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 50))
  t.match(await named(), new RegExp(String(replica.port)))
  t.equal(await replica.info('role'), 'master')
})
