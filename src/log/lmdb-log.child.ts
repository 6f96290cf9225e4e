// A publisher to be killed, as log.suite.ts describes it: `node lmdb-log.child.ts DIR ROUND`.

import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbLog } from './lmdb-log.ts'
import { message } from './log.suite.ts'

const [dir = '', round = ''] = process.argv.slice(2)
const store = await openStore(dir)
const log = createLmdbLog(store, {
  clock: systemClock,
  metrics: new Metrics(),
  durability: 'commit',
  queueMax: 20_000,
  retention: { hours: 1, entriesMax: 1_000_000, mbMax: 1000 },
  dedupMinutes: 60
})

let count = 0
async function author (name: string): Promise<void> {
  for (;;) {
    const n = count++
    const room = `room-${n % 3}`
    const nonce = `${round}-${n}`
    const { seq } = await log.publish(room, message(nonce, nonce, name))
    process.stdout.write(`${JSON.stringify([room, name, nonce, seq])}\n`)
  }
}
await Promise.all(Array.from({ length: 64 }, (_, i) => author(`author-${i}`)))
