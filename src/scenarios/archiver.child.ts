// A program to be killed: log, feed, archiver and embedded archive on one folder, with authors that write without end.
// `node archiver.child.ts DIR ROUND` writes [room, nonce, seq] of what was accepted, and `open`; `node archiver.child.ts DIR drain`
// writes nothing new and ends once the archive has all there is.

import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { Archiver } from '../archive/archiver.ts'
import { createChdbArchive } from '../archive/chdb-archive.ts'
import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { LogFeed } from '../feed/log-feed.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'

const ROOMS = 7
const AUTHORS = 16
const PAUSE_MS = 2

const [dir = '', round = ''] = process.argv.slice(2)
const metrics = new Metrics()
const say = (): void => {}
const store = await openStore(dir)
const log = createLmdbLog(store, { clock: systemClock, metrics, durability: 'commit', queueMax: 20_000, retention: { hours: 1, entriesMax: 1_000_000, mbMax: 1000 }, dedupMinutes: 60 })
const feed = new LogFeed({ log, clock: systemClock, metrics, say })
const archive = createChdbArchive({ directory: `${dir}/archive`, say })
const archiver = new Archiver({ feed, archive, metrics, say, paceMs: 20 })
archive.start()
archiver.start()

let count = 0
async function author (name: string): Promise<void> {
  for (;;) {
    const n = count++
    const nonce = `${round}-${n}`
    const room = `room-${n % ROOMS}`
    const { seq } = await log.publish(room, { op: OUT.MESSAGE, tail: packTail([[name, name, 0], 0, `said ${nonce}`, null]), author: name, nonce })
    process.stdout.write(`${JSON.stringify([room, nonce, seq])}\n`)
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

async function stored (): Promise<number> {
  const [row] = await archive.query<{ n: number }>('SELECT count() AS n FROM messages FINAL', {}, { seconds: 10, rowsMax: 1 }).catch(() => [])
  return row?.n ?? -1
}

async function drain (): Promise<void> {
  const heads = await Promise.all(Array.from({ length: ROOMS }, (_, n) => log.head(`room-${n}`)))
  const all = heads.reduce((sum, { seq }) => sum + seq, 0)
  while (await stored() < all) await new Promise((resolve) => setTimeout(resolve, 50))
  await archiver.stop()
  await feed.close()
  await archive.close()
  await log.close()
  await store.close()
}

// When the archive is open, and rows are on their way.
async function tellOpen (): Promise<void> {
  while (archive.verdict.state !== 'ok') await new Promise((resolve) => setTimeout(resolve, 5))
  process.stdout.write('open\n')
}

if (round === 'drain') await drain()
else await Promise.all([tellOpen(), ...Array.from({ length: AUTHORS }, (_, i) => author(`author-${i}`))])
