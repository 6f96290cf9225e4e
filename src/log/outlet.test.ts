// The outlets of both logs where the feed's suite does not reach: what retention and trimming leave for a consumer that
// lags, what goes over the cap, leases that pass on, and gaps that are filled.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { entrySeq } from '../../proto/entry.ts'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { ManualClock, systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { parseRedisUrl } from '../base/redis-place.ts'
import { Redis } from '../base/redis.ts'
import { openStore, type Store } from '../base/store.ts'
import { Consumers } from './cursors.ts'
import { createLmdbLog } from './lmdb-log.ts'
import { message } from './log.suite.ts'
import type { Log } from './log.ts'
import type { Outlet, OutletConsumer, OutletRun } from './outlet.ts'
import { openRedisLog } from './redis-log.ts'

async function until (what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 20_000; !await holds();) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** A consumer whose hands can be held. */
class Taker {
  readonly seqs = new Map<string, number[]>()
  lost = 0
  isHeld = false
  #consumer: OutletConsumer | null = null
  #free: () => void = () => {}

  async open (outlet: Outlet, name = 'taker', from: 'beginning' | 'now' = 'beginning', wants: (room: string) => boolean = (room) => !room.startsWith('uproar:')): Promise<this> {
    this.#consumer = await outlet.open(name, { from, wants, entriesMax: 50, take: (runs) => this.#take(runs), lost: (_room, count) => { this.lost += count } })
    return this
  }

  get lag (): number { return this.#consumer?.lag().entries ?? 0 }
  count (room: string): number { return this.seqs.get(room)?.length ?? 0 }

  free (): void {
    this.isHeld = false
    this.#free()
  }

  async stop (): Promise<void> {
    this.free()
    await this.#consumer?.stop()
  }

  async #take (runs: readonly OutletRun[]): Promise<boolean> {
    if (this.isHeld) await new Promise<void>((resolve) => { this.#free = resolve })
    for (const { room, entries } of runs) this.seqs.set(room, [...this.seqs.get(room) ?? [], ...entries.map(entrySeq)])
    return true
  }
}

t.setTimeout(200_000)

const RETENTION = { hours: 1, entriesMax: 100, mbMax: 1000 } as const
/** Entries younger than ten minutes are never cut. */
const PAST_MS = 11 * 60_000

async function embedded (t: Test, unreadMax: number): Promise<{ log: Log & { outlet (): Outlet }, clock: ManualClock, store: Store, metrics: Metrics }> {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-outlet-'))
  const store = await openStore(dir)
  const clock = new ManualClock()
  const metrics = new Metrics()
  const log = createLmdbLog(store, { clock, metrics, durability: 'commit', queueMax: 20_000, dedupMinutes: 1, retention: RETENTION, unreadMax })
  t.teardown(async () => {
    await log.close()
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  })
  return { log, clock, store, metrics }
}

const publish = async (log: Log, room: string, count: number): Promise<void> => { await Promise.all(Array.from({ length: count }, (_, i) => log.publish(room, message(`m${i}`)))) }

t.test('embedded: retention waits for a consumer, and goes on when it has caught up', async (t) => {
  const { log, clock } = await embedded(t, 10_000)
  const taker = new Taker()
  taker.isHeld = true
  await taker.open(log.outlet())
  await publish(log, 'r', 1000)
  await until('something is in hand', () => taker.lag >= 1000)
  clock.advance(PAST_MS)
  for (let i = 0; i < 20; i++) {
    clock.advance(1000)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  t.equal((await log.head('r')).first, 1, 'nothing has gone, though the room is over its limit tenfold')
  taker.free()
  await until('all is taken', () => taker.count('r') === 1000)
  t.equal(taker.lost, 0)
  await until('retention goes on', async () => {
    clock.advance(1000)
    return (await log.head('r')).first === 901
  })
  await taker.stop()
})

t.test('embedded: over the cap entries go, and the consumer is told', async (t) => {
  const { log, clock } = await embedded(t, 300)
  const taker = await new Taker().open(log.outlet())
  await publish(log, 'r', 50)
  await until('the first are taken', () => taker.count('r') === 50 && taker.lag === 0)
  taker.isHeld = true
  await publish(log, 'other', 1)
  await until('it is held', () => taker.lag === 1)
  await publish(log, 'r', 1000)
  clock.advance(PAST_MS)
  await until('retention has gone to the cap', async () => {
    clock.advance(1000)
    return (await log.head('r')).first === 751
  })
  taker.free()
  await until('the rest is taken', () => taker.count('r') === 350)
  t.equal(taker.lost, 700)
  t.same(taker.seqs.get('r')?.slice(50), Array.from({ length: 300 }, (_, i) => 751 + i))
  await taker.stop()
})

t.test('embedded: a room that was deleted and made again, and consumers long gone', async (t) => {
  const { log, clock, store } = await embedded(t, 300)
  const taker = await new Taker().open(log.outlet())
  await publish(log, 'r', 10)
  await until('taken', () => taker.count('r') === 10)
  await log.remove('r')
  await publish(log, 'r', 5)
  await until('the new one too', () => taker.count('r') === 15)
  t.same(taker.seqs.get('r')?.slice(10), [1, 2, 3, 4, 5], 'from its beginning')
  await log.remove('r')
  await publish(log, 's', 1)
  await until('the third too', () => taker.count('s') === 1)
  await taker.stop()
  const again = await new Taker().open(log.outlet())
  t.same([...store.tables.cursors.getRange({})].length, 2, 'where it stood in a room that is gone is forgotten')
  await again.stop()
  const rows = (): number => [...store.tables.cursors.getRange({})].length
  t.ok(rows() >= 2)
  await new Consumers(store).stamp('taker', clock.now() - 8 * 86_400_000)
  const other = await new Taker().open(log.outlet(), 'other', 'now', () => false)
  t.equal(rows(), 1, 'what nobody came back for in seven days is forgotten')
  await other.stop()
})

t.test('Redis', { skip: withoutRedis() }, async (t) => {
  const server = await RedisServer.start(t)
  let places = 0
  const open = async (t: Test, prefix: string): Promise<Log & { outlet (): Outlet }> => {
    const redis = new Redis(parseRedisUrl(server.url), { timeoutMs: 2000 })
    const log = await openRedisLog(redis, { clock: systemClock, metrics: new Metrics(), prefix, shards: 1, queueMax: 20_000, dedupMinutes: 1, retention: { ...RETENTION, entriesMax: 100_000 }, stream: { minutes: 1, batchesMax: 100, unreadMax: 600 } })
    t.teardown(async () => {
      await log.close()
      redis.close()
    })
    return log
  }
  const fresh = (): string => `outlet-${places++}:`
  const slowly = async (log: Log, room: string, count: number): Promise<void> => { for (let i = 0; i < count; i++) await log.publish(room, message(`m${i}`)) }
  /** A log of its own, and a consumer that has taken its first entries. */
  const begin = async (t: Test, count: number) => {
    const prefix = fresh()
    const log = await open(t, prefix)
    const taker = await new Taker().open(log.outlet())
    await slowly(log, 'r', count)
    await until('the first are taken', () => taker.count('r') === count && taker.lag === 0)
    return { prefix, log, taker }
  }
  const length = async (prefix: string): Promise<number> => Number(await server.cli('XLEN', `${prefix}{0}:stream`))

  await t.test('trimming waits for a consumer, and goes on when it has caught up', async (t) => {
    const { prefix, log, taker } = await begin(t, 10)
    taker.isHeld = true
    await slowly(log, 'r', 550)
    t.ok(await length(prefix) >= 550, 'what is not acknowledged stays')
    taker.free()
    await until('all is taken', () => taker.count('r') === 560)
    t.same(taker.seqs.get('r'), Array.from({ length: 560 }, (_, i) => i + 1))
    await until('the stream is short again', async () => {
      await slowly(log, 'r', 10)
      return await length(prefix) < 300
    })
    await taker.stop()
  })

  await t.test('over the cap batches go, and it is told', async (t) => {
    const { prefix, log, taker } = await begin(t, 5)
    taker.isHeld = true
    await slowly(log, 'r', 1500)
    t.ok(await length(prefix) < 800, 'the stream is bounded')
    taker.free()
    await until('all is taken, what went from the history', () => new Set(taker.seqs.get('r')).size === 1505)
    t.same(taker.seqs.get('r'), Array.from({ length: 1505 }, (_, i) => i + 1))
    t.ok(taker.lost > 0)
    await taker.stop()
  })

  await t.test('a member that dies is replaced, and what it had in hand is given again', async (t) => {
    const prefix = fresh()
    const [one, two] = [await open(t, prefix), await open(t, prefix)]
    const dead = await new Taker().open(one.outlet())
    await slowly(one, 'r', 5)
    await until('taken', () => dead.count('r') === 5)
    dead.isHeld = true
    await slowly(one, 'r', 5)
    // It holds what it took, and its lease ends as if it were gone.
    await until('in hand', async () => Number((await server.cli('XPENDING', `${prefix}{0}:stream`, 'taker')).split('\n')[0]) > 0)
    const heir = await new Taker().open(two.outlet())
    await server.cli('DEL', `${prefix}{0}:lease:taker`, `${prefix}{0}:members:taker`)
    await until('the heir has what was in hand', () => heir.count('r') === 5)
    t.same(heir.seqs.get('r'), [6, 7, 8, 9, 10])
    await slowly(two, 'r', 3)
    await until('and what came after', () => heir.count('r') === 8)
    dead.free()
    await until('the other is through with what it had', () => dead.count('r') > 5)
    await slowly(two, 'r', 3)
    await until('one of them has it', () => heir.count('r') === 11)
    await Promise.all([heir.stop(), dead.stop()])
  })

  await t.test('what was trimmed unread is filled up from the history, and told', async (t) => {
    const { prefix, log, taker } = await begin(t, 5)
    taker.isHeld = true
    await slowly(log, 'r', 1)
    await until('in hand', async () => Number((await server.cli('XPENDING', `${prefix}{0}:stream`, 'taker')).split('\n')[0]) > 0)
    await slowly(log, 'r', 50)
    await server.cli('XTRIM', `${prefix}{0}:stream`, 'MAXLEN', '0')
    await slowly(log, 'r', 5)
    taker.free()
    await until('all is taken', () => new Set(taker.seqs.get('r')).size === 61)
    t.same(taker.seqs.get('r'), Array.from({ length: 61 }, (_, i) => i + 1), 'in order')
    t.ok(taker.lost > 0, 'and it was told of the gap')
    await taker.stop()
  })
})
