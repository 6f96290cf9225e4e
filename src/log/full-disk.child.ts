// Publishes under a limit on the size of files until commits fail, has the limit lifted, publishes once more:
// `node full-disk.child.ts DIR` under `ulimit -S -f`. Prints one line of JSON.

import { execFileSync } from 'node:child_process'
import { systemClock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbLog } from './lmdb-log.ts'
import { message } from './log.suite.ts'

// As the program does: the write fails, and that is enough.
process.on('SIGXFSZ', () => {})
const store = await openStore(process.argv[2] ?? '')
const log = createLmdbLog(store, {
  clock: systemClock,
  metrics: new Metrics(),
  durability: 'commit',
  queueMax: 20_000,
  retention: { hours: 1, entriesMax: 1_000_000, mbMax: 1000 },
  dedupMinutes: 10
})
const body = 'x'.repeat(1000)
const codes = new Set<string>()
let accepted = 0
let rejected = 0
for (let round = 0; round < 100 && rejected < 500; round++) {
  const settled = await Promise.allSettled(Array.from({ length: 100 }, (_, i) => log.publish('r', message(body, `${round}-${i}`))))
  for (const one of settled) {
    if (one.status === 'fulfilled') accepted++
    else {
      rejected++
      codes.add(one.reason instanceof AppError ? one.reason.code : String(one.reason))
    }
  }
}
execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=unlimited'])
const { seq } = await log.publish('r', message('there is room again', 'last'))
await log.close()
await store.close()
process.stdout.write(JSON.stringify({ accepted, rejected, codes: [...codes], afterwards: seq }))
