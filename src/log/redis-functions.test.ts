// The numbers of batches, asked of the functions themselves: what is sent twice is answered twice and done once, what was
// overtaken is refused, what was acknowledged and is not there is said.

import t from 'tap'
import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { callFunction } from '../base/redis-functions.ts'
import { parseRedisUrl } from '../base/redis-place.ts'
import { Redis } from '../base/redis.ts'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { GROUP, packBatch, packDraft, readReply } from './redis-layout.ts'

const skip = withoutRedis()
const PREFIX = 'test:{0}:'

t.test('numbers of batches', { skip }, async (t) => {
  const server = await RedisServer.start(t)
  const redis = new Redis(parseRedisUrl(server.url), { timeoutMs: 2000 })
  t.teardown(() => redis.close())
  const batch = packBatch([{ kind: GROUP.publish, room: Buffer.from('r'), epoch: '', drafts: [packDraft({ op: OUT.MESSAGE, tail: packTail([['a', 'a', 0], 0, 'hi', null]) }, null)] }])
  const publish = async (instance: string, number: number, claim: number): Promise<Buffer> =>
    await callFunction(redis, '0', 'publish', PREFIX, [instance, number, claim, 1_700_000_000_000, 'seed', 600_000, 3_600_000, 10_000, 1e9, 1000, 60_000, 5000, batch]) as Buffer
  const seqOf = (reply: Buffer): number | undefined => readReply(reply).groups[0]?.first

  const first = await publish('one', 1, 0)
  t.equal(seqOf(first), 1)
  t.same(await publish('one', 1, 0), first, 'the same number gets the same answer')
  t.equal(await server.cli('XLEN', `${PREFIX}stream`), '1', 'and is done once')
  t.equal(seqOf(await publish('one', 3, 1)), 2, 'numbers may be left out: their batches were given up')
  t.same(await publish('one', 2, 1), Buffer.from('S'), 'one that comes late is refused')
  t.equal(seqOf(await publish('two', 1, 0)), 3, 'each instance has its own')
  t.same(await publish('one', 5, 4), Buffer.from('L'), 'an acknowledged batch that is not there')
  t.equal(await server.cli('HGET', `${PREFIX}head:r`, 'q'), '3', 'and nothing was done')

  const look = async (): Promise<string[]> => (await callFunction(redis, '0', 'look', PREFIX, ['seed', '']) as Buffer[]).map(String)
  const [incarnation = ''] = await look()
  await callFunction(redis, '0', 'reset', PREFIX, [incarnation, 'next', 1000, 60_000])
  await callFunction(redis, '0', 'reset', PREFIX, [incarnation, 'other', 1000, 60_000])
  t.equal((await look())[0], 'next', 'of two that find a loss one begins the next life')
  const { groups } = readReply(await publish('one', 5, 0))
  t.match(groups[0], { first: 4, epoch: 'seed' }, 'seqs go on')
})
