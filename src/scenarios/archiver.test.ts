// The archiver is killed without warning at random points of a load, again and again, its archive with it. Whatever was
// accepted is in the archive once, to the letter, and what is counted from it is counted once. And (in full) two archivers
// that share Kafka's partitions while others come and go.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import { KafkaServer } from '../../deploy/services/kafka.ts'
import { withoutKafka } from '../../deploy/services/services.ts'
import { entryObject } from '../../proto/entry.ts'
import { isOpen, message } from '../archive/archive.suite.ts'
import { Archiver } from '../archive/archiver.ts'
import { createChdbArchive } from '../archive/chdb-archive.ts'
import { systemClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { KafkaFeed } from '../feed/kafka-feed.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import { isFull, measured, sized } from './size.ts'

t.setTimeout(sized(150_000, 600_000))
const PROGRAM = join(import.meta.dirname, 'archiver.child.ts')
/** What never becomes whole is killed, and told. */
const DRAIN_MS_MAX = sized(25_000, 120_000)
const ROUND_MS_MAX = 60_000
const LIMITS = { seconds: 30, rowsMax: 10_000_000 } as const

type Accepted = readonly [room: string, nonce: string, seq: number]

/** Runs the program; kills it some time after its archive is open, or before that. */
async function runAndKill (dir: string, round: number, afterMs: number, isEarly: boolean): Promise<Accepted[]> {
  const child = spawn(process.execPath, [PROGRAM, dir, String(round)], { stdio: ['ignore', 'pipe', 'inherit'], timeout: ROUND_MS_MAX, killSignal: 'SIGKILL' })
  const accepted: Accepted[] = []
  const lines = createInterface(child.stdout)
  let timer: NodeJS.Timeout | undefined
  lines.on('line', (line) => {
    if (line === 'open' || isEarly) timer ??= setTimeout(() => child.kill('SIGKILL'), afterMs)
    // The last one may be cut.
    if (line.startsWith('[') && line.endsWith(']')) accepted.push(JSON.parse(line) as Accepted)
  })
  await new Promise((resolve) => child.once('close', resolve))
  return accepted
}

async function drain (dir: string): Promise<number | null> {
  const child = spawn(process.execPath, [PROGRAM, dir, 'drain'], { stdio: ['ignore', 'ignore', 'inherit'], timeout: DRAIN_MS_MAX, killSignal: 'SIGKILL' })
  return new Promise((resolve) => child.once('close', resolve))
}

/** What the log has, by room: seq and text. */
async function logged (dir: string, rooms: readonly string[]): Promise<Map<string, string[]>> {
  const store = await openStore(dir)
  const log = createLmdbLog(store, { clock: systemClock, metrics: new Metrics(), durability: 'commit', queueMax: 1000, retention: { hours: 1, entriesMax: 1_000_000, mbMax: 1000 }, dedupMinutes: 60 })
  const all = new Map<string, string[]>()
  for (const room of rooms) {
    const { entries } = await log.after(room, 0, { entries: 1_000_000, bytes: 1_000_000_000 })
    all.set(room, entries.map((entry) => { const { seq, body } = entryObject(entry) as { seq: number, body: string }; return `${seq} ${body}` }))
  }
  await log.close()
  await store.close()
  return all
}

t.test('kill -9 of the archiver and its archive', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-archiver-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const kills = sized(3, 20)
  const accepted: Accepted[] = []
  // Chance decides where it is hit: while it opens, reads, inserts, or between the insert and the acknowledgement.
  for (let round = 0; round < kills; round++) accepted.push(...await runAndKill(dir, round, Math.random() * sized(400, 2000), round % 10 === 9))
  t.equal(await drain(dir), 0, 'it ends by itself once it has all')

  const rooms = [...new Set(accepted.map(([room]) => room))]
  const log = await logged(dir, rooms)
  const archive = createChdbArchive({ directory: join(dir, 'archive'), say: () => {} })
  t.teardown(() => archive.close())
  archive.start()
  await isOpen(archive)
  for (const room of rooms) {
    const rows = await archive.query<{ seq: number, body: string }>('SELECT seq, body FROM messages FINAL WHERE room = {room:String} ORDER BY seq', { room }, LIMITS)
    t.same(rows.map(({ seq, body }) => `${seq} ${body}`), log.get(room), `${room}: ${rows.length} entries, each once, as the log has them`)
    t.same(await archive.query('SELECT sum(messages) AS n FROM minutes_of_rooms WHERE room = {room:String}', { room }, LIMITS), [{ n: rows.length }], 'and counted once')
  }
  t.equal(accepted.filter(([room, nonce, seq]) => log.get(room)?.[seq - 1] !== `${seq} said ${nonce}`).length, 0, 'whatever was accepted is there')
  const [raw] = await archive.query<{ n: number }>('SELECT count() AS n FROM messages', {}, LIMITS)
  const total = [...log.values()].reduce((sum, entries) => sum + entries.length, 0)
  measured(t, `${kills} × kill -9 of archiver and archive: ${total} entries of ${rooms.length} rooms, each there once; ${(raw?.n ?? 0) - total} rows of repeated batches were not merged yet`)
})

t.test('archivers that share Kafka come and go in the middle of batches', { skip: isFull ? withoutKafka() : 'in full only' }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-archiver-'))
  const server = await KafkaServer.start(t)
  const say = (): void => {}
  const archive = createChdbArchive({ directory: dir, say })
  t.teardown(async () => {
    await archive.close()
    rmSync(dir, { recursive: true, force: true })
  })
  archive.start()
  await isOpen(archive)
  const entered = (): { feed: KafkaFeed, archiver: Archiver } => {
    const metrics = new Metrics()
    const feed = new KafkaFeed({ brokers: [server.broker], prefix: 'archive.', partitions: 6, tls: false, sasl: null, metrics, say })
    const archiver = new Archiver({ feed, archive, metrics, say, paceMs: 0 })
    archiver.start()
    return { feed, archiver }
  }
  const rooms = Array.from({ length: 12 }, (_, n) => `room-${n}`)
  const seqs = 2000
  const members = [entered()]
  const [{ feed }] = members as [{ feed: KafkaFeed, archiver: Archiver }]
  // Each seq comes three times over: a relay repeats too.
  for (let from = 1; from <= seqs; from += 100) {
    for (const repeat of [0, 0, 50]) await feed.produce(rooms.flatMap((room) => Array.from({ length: 100 }, (_, n) => message(room, Math.max(1, from + n - repeat), `said ${Math.max(1, from + n - repeat)}`))))
    if (from % 500 === 401) members.push(entered())
    // One goes without a word: what it had in hand is given to another.
    if (from % 700 === 601) await members.pop()?.feed.close()
  }
  const counted = async (): Promise<{ n: number, raw: number }[]> => archive.query('SELECT uniqExact(room, epoch, seq) AS n, count() AS raw FROM messages', {}, LIMITS)
  const end = performance.now() + 120_000
  while ((await counted())[0]?.n !== rooms.length * seqs && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 200))
  t.same(await archive.query('SELECT room, count() AS n, min(seq) AS first, max(seq) AS last FROM messages FINAL GROUP BY room ORDER BY room', {}, LIMITS), rooms.toSorted().map((room) => ({ room, n: seqs, first: 1, last: seqs })))
  t.same(await archive.query('SELECT sum(messages) AS n FROM minutes_of_rooms', {}, LIMITS), [{ n: rooms.length * seqs }])
  measured(t, `${members.length + 2} archivers came and went over Kafka: ${rooms.length * seqs} entries, each there once; ${((await counted())[0]?.raw ?? 0) - rooms.length * seqs} repeated rows were not merged yet`)
  await Promise.all(members.map(async ({ archiver, feed }) => {
    await archiver.stop()
    await feed.close()
  }))
})
