// Many instances through one Redis: how many messages a second does it accept by batches, what does a message cost it,
// and how much later does a viewer on another instance get a message than one on the author's? A real redis-server.

import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { RedisServer } from '../deploy/services/redis.ts'
import { redisPath } from '../deploy/services/services.ts'
import { measureBetween, type Delivery } from './delivery.ts'
import { cpuSecondsOf } from './machine.ts'
import type { Published } from './publishing.ts'
import { figure, isComplete, spread, spreadText, type Bench, type Finding, type Row } from './row.ts'
import { CORES, onCore, Subject, uproar } from './subject.ts'

const INSTANCES = 2
const AT_ONCE = 2048
const ROOMS = 64
const ACCEPTED_TARGET = 60_000
const PER_SECOND = 200
const VIEWERS = 100

export const redis: Row = {
  name: 'redis',
  about: 'through one Redis: messages accepted by batches, and what another instance adds to latency',
  needs: 'a Redis server',
  roundsMax: 2,
  async run (bench: Bench): Promise<Finding[]> {
    if (redisPath() === null) throw new Error('there is no redis-server: install Debian\'s package redis-server')
    const accepted: Accepted[] = []
    const same: Delivery[] = []
    const across: Delivery[] = []
    for (let round = 1; round <= bench.rounds; round++) {
      bench.progress(`round ${round} of ${bench.rounds}: ${INSTANCES} instances publish into one Redis`)
      accepted.push(await withServer((server) => accept(server, bench)))
      bench.progress(`  ${Math.round((accepted.at(-1) as Accepted).perSecond)} a second, ${(accepted.at(-1) as Accepted).redisUs.toFixed(1)} µs of Redis each`)
      same.push(await latency(bench, false))
      across.push(await latency(bench, true))
      bench.progress(`  p50 ${same.at(-1)?.p50} and ${across.at(-1)?.p50} ms, p99 ${same.at(-1)?.p99} and ${across.at(-1)?.p99} ms`)
    }
    return [...acceptedFindings(accepted), acrossFinding(same, across)]
  }
}

interface Accepted { readonly perSecond: number, readonly redisUs: number, readonly instanceUs: number }

/** One redis-server on the server's core, for as long as the work takes. */
async function withServer<T> (work: (server: RedisServer) => Promise<T>): Promise<T> {
  const ends: (() => unknown)[] = []
  try {
    const server = await RedisServer.start({ teardown: (end) => { ends.push(end) } }, { args: ['--appendonly', 'yes'] })
    if (CORES !== null) execFileSync('taskset', ['-cp', String(CORES.server), String(server.pid)], { stdio: 'ignore' })
    return await work(server)
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

/** Authors on one instance, viewers on it or on the other; both run either way. The load's nonces are the same each time, so all is fresh. */
function latency (bench: Bench, isAcross: boolean): Promise<Delivery> {
  return withServer(async (server) => {
    const [one, other] = await Promise.all([instance(server, bench), instance(server, bench)])
    try {
      return await measureBetween(one, isAcross ? other : one, { viewers: VIEWERS, perSecond: PER_SECOND, warmS: 3, countS: bench.isQuick ? 3 : 8 })
    } finally {
      await one.stop()
      await other.stop()
    }
  })
}

function instance (server: RedisServer, bench: Bench): Promise<Subject> {
  return Subject.start(uproar({ REDIS_URL: server.url }), bench.nodeOptions)
}

async function accept (server: RedisServer, bench: Bench): Promise<Accepted> {
  const { command, args } = onCore(CORES?.load)
  const before = cpuSecondsOf(server.pid)
  const printed = await Promise.all(Array.from({ length: INSTANCES }, async (_, i) => {
    const program = join(import.meta.dirname, 'redis-publisher.ts')
    const { stdout } = await promisify(execFile)(command, [...args, program, server.url, `bench-${i}`, bench.isQuick ? '2' : '5', String(AT_ONCE), String(ROOMS)])
    return JSON.parse(stdout) as Published
  }))
  const count = printed.reduce((total, each) => total + each.count, 0)
  return {
    perSecond: printed.reduce((total, each) => total + each.perSecond, 0),
    // Reading everything back for the check is in it: a little more than publishing takes.
    redisUs: (cpuSecondsOf(server.pid) - before) / count * 1e6,
    instanceUs: printed.reduce((total, each) => total + each.cpuUs * each.count, 0) / count
  }
}

function acceptedFindings (accepted: readonly Accepted[]): Finding[] {
  const rates = spread(accepted.map(({ perSecond }) => perSecond))
  const redisUs = spread(accepted.map(({ redisUs }) => redisUs))
  const instanceUs = spread(accepted.map(({ instanceUs }) => instanceUs))
  const conditions = `${INSTANCES} instances on one core, ${AT_ONCE} messages of 150 bytes under way each in ${ROOMS} rooms each, with nonces, one redis-server with appendonly on the other core; all read back and checked`
  return [
    {
      question: 'Accepted messages a second into one Redis, by batches',
      result: spreadText(rates),
      conditions,
      target: `at least ${ACCEPTED_TARGET}`,
      isMet: rates.median >= ACCEPTED_TARGET,
      figures: { perSecond: rates }
    },
    {
      question: 'CPU of a message accepted into Redis',
      result: `${spreadText(redisUs, 1)} µs of Redis, ${spreadText(instanceUs, 1)} µs of the instance's log`,
      conditions,
      target: '',
      isMet: null,
      figures: { redisUs, instanceUs }
    }
  ]
}

function acrossFinding (same: readonly Delivery[], across: readonly Delivery[]): Finding {
  const added = (of: (delivery: Delivery) => number): ReturnType<typeof spread> => spread(across.map((delivery, round) => of(delivery) - of(same[round] as Delivery)))
  const p50 = added((delivery) => delivery.p50)
  const p99 = added((delivery) => delivery.p99)
  const whole = [...same, ...across].every(isComplete)
  const text = (deliveries: readonly Delivery[]): string => `p50 ${spreadText(spread(figure(deliveries, (delivery) => delivery.p50)), 1)} ms, p99 ${spreadText(spread(figure(deliveries, (delivery) => delivery.p99)), 1)} ms`
  return {
    question: 'Across instances through Redis, latency added',
    result: `p50 ${spreadText(p50, 1)} ms, p99 ${spreadText(p99, 1)} ms: ${text(same)} on the author's instance, ${text(across)} on the other${whole ? '' : '; NOT everything arrived once and in order'}`,
    conditions: `${VIEWERS} viewers, ${PER_SECOND} messages a second of 130 bytes, ${INSTANCES} instances and one redis-server on one core`,
    target: 'at most 3 ms at p50 and 10 ms at p99',
    isMet: p50.median <= 3 && p99.median <= 10 && whole,
    figures: { p50, p99, sameP50: spread(figure(same, (delivery) => delivery.p50)), sameP99: spread(figure(same, (delivery) => delivery.p99)), acrossP50: spread(figure(across, (delivery) => delivery.p50)), acrossP99: spread(figure(across, (delivery) => delivery.p99)) }
  }
}
