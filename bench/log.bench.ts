// How many publishes a second does the embedded log accept, and how long does each take? Authors without think time,
// as many at once as the steps say, publish 150-byte entries with nonces through the face; the log is then read whole
// and must hold every one of them once, in order. `node bench/log.bench.ts [SECONDS]`; prints one line of JSON.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { entrySeq, packTail } from '../proto/entry.ts'
import { OUT } from '../proto/ops.ts'
import { systemClock } from '../src/base/clock.ts'
import { Metrics } from '../src/base/metrics.ts'
import { openStore } from '../src/base/store.ts'
import { createLmdbLog } from '../src/log/lmdb-log.ts'

const ENTRY_BYTES = 150
const STEPS = [{ atOnce: 1, rooms: 1 }, { atOnce: 64, rooms: 1 }, { atOnce: 1024, rooms: 1 }, { atOnce: 4096, rooms: 1 }, { atOnce: 4096, rooms: 500 }]
const secondsPerStep = Math.min(60, Math.max(1, Number(process.argv[2] ?? 3)))

const dir = mkdtempSync(join(tmpdir(), 'uproar-bench-'))
const metrics = new Metrics()
const store = await openStore(dir)
const log = createLmdbLog(store, {
  clock: systemClock, metrics, durability: 'commit', queueMax: 20_000, dedupMinutes: 10, retention: { hours: 168, entriesMax: 100_000_000, mbMax: 100_000 }
})
const user = ['user-1234', 'User 1234', 1]
const empty = packTail([user, 0, '', null]).bytes.length + 16
const tail = packTail([user, 0, 'x'.repeat(ENTRY_BYTES - 1 - empty), null])

interface Result { atOnce: number, rooms: number, perSecond: number, batch: number, p50Ms: number, p99Ms: number, cpuUs: number }

async function run (atOnce: number, rooms: number, prefix: string): Promise<Result> {
  const took: number[] = []
  const commits = metrics.value('uproar_log_commits_total')
  const cpu = process.cpuUsage()
  const start = performance.now()
  const end = start + secondsPerStep * 1000
  let count = 0
  const author = async (): Promise<void> => {
    for (let now = performance.now(); now < end; now = performance.now()) {
      const n = count++
      await log.publish(`${prefix}-${n % rooms}`, { op: OUT.MESSAGE, tail, author: `user-${n % 5000}`, nonce: `${prefix}-${n}` })
      took.push(performance.now() - now)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, author))
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  took.sort((a, b) => a - b)
  const at = (share: number): number => Number((took[Math.floor(took.length * share)] ?? 0).toFixed(2))
  await check(prefix, rooms, count)
  return {
    atOnce,
    rooms,
    perSecond: Math.round(count / seconds),
    batch: Math.round(count / (metrics.value('uproar_log_commits_total') - commits)),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    cpuUs: Number(((user + system) / count).toFixed(1))
  }
}

/** Every accepted entry is there once: the rooms' logs are dense and together as long as what was published. */
async function check (prefix: string, rooms: number, published: number): Promise<void> {
  let found = 0
  for (let i = 0; i < rooms; i++) {
    const room = `${prefix}-${i}`
    for (let seq = 0; ;) {
      const { entries, head } = await log.after(room, seq, { entries: 1000, bytes: 1e9 })
      for (const entry of entries) if (entrySeq(entry) !== ++seq) throw new Error(`${room} has ${entrySeq(entry)} where ${seq} should be`)
      found += entries.length
      if (seq === head.seq) break
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  if (found !== published) throw new Error(`${published} were accepted and ${found} are there`)
}

try {
  const steps: Result[] = []
  for (const [i, { atOnce, rooms }] of STEPS.entries()) steps.push(await run(atOnce, rooms, `step-${i}`))
  console.log(JSON.stringify({ bench: 'log', entryBytes: 16 + tail.bytes.length, seconds: secondsPerStep, steps }))
} finally {
  await log.close()
  await store.close()
  rmSync(dir, { recursive: true, force: true })
}
