// How many publishes a second does the embedded log accept, and how long does each take, at growing numbers at once?
// `node bench/log.bench.ts [SECONDS [AT_ONCE ROOMS [told]]]`: all steps, or one, after as long a warm-up (told: by calls instead of
// a promise each); prints one line of JSON.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { Metrics } from '../src/base/metrics.ts'
import { openStore } from '../src/base/store.ts'
import { createLmdbLog } from '../src/log/lmdb-log.ts'
import { entryBytes, publishInto } from './publishing.ts'

const STEPS = [{ atOnce: 1, rooms: 1 }, { atOnce: 64, rooms: 1 }, { atOnce: 1024, rooms: 1 }, { atOnce: 4096, rooms: 1 }, { atOnce: 4096, rooms: 500 }]
const [secondsAsked = 3, atOnce, rooms = 1] = process.argv.slice(2).map(Number)
const isTold = process.argv[5] === 'told'
const seconds = Math.min(60, Math.max(1, secondsAsked))

const dir = mkdtempSync(join(tmpdir(), 'uproar-bench-'))
const metrics = new Metrics()
const store = await openStore(dir)
const log = createLmdbLog(store, {
  clock: systemClock, metrics, durability: 'commit', queueMax: 20_000, dedupMinutes: 10, retention: { hours: 168, entriesMax: 100_000_000, mbMax: 100_000 }
})
try {
  const steps: unknown[] = []
  if (atOnce !== undefined) await publishInto(log, { atOnce, rooms, seconds, prefix: 'warm', isTold })
  for (const [i, step] of (atOnce === undefined ? STEPS : [{ atOnce, rooms }]).entries()) {
    const commits = metrics.value('uproar_log_commits_total')
    const { count, ...published } = await publishInto(log, { ...step, seconds, prefix: `step-${i}`, isTold })
    steps.push({ ...step, ...published, batch: Math.round(count / (metrics.value('uproar_log_commits_total') - commits)) })
  }
  console.log(JSON.stringify({ bench: 'log', entryBytes, seconds, steps }))
} finally {
  await log.close()
  await store.close()
  rmSync(dir, { recursive: true, force: true })
}
