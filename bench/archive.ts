// The archive: how many rows a second does the archiver bring into the embedded archive, what does a message cost on the
// disk, and how long do a search, a page and a day's numbers take once millions are there? Generated messages of 200 rooms
// over 14 months, some removed, each accounted for at the end. And: how soon has it caught up with ten minutes of outage
// at 1,000 messages a second, from the real log?

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packTail } from '../proto/entry.ts'
import { OUT } from '../proto/ops.ts'
import type { Archive, Limits, Params } from '../src/archive/archive.ts'
import { Archiver } from '../src/archive/archiver.ts'
import { chdbProcess, createChdbArchive } from '../src/archive/chdb-archive.ts'
import { systemClock } from '../src/base/clock.ts'
import { Metrics } from '../src/base/metrics.ts'
import { openStore } from '../src/base/store.ts'
import type { Feed, FeedRecord } from '../src/feed/feed.ts'
import { LogFeed } from '../src/feed/log-feed.ts'
import { createLmdbLog } from '../src/log/lmdb-log.ts'
import { sleep } from './delivery.ts'
import { spread, spreadText, type Bench, type Finding, type Row, type Spread } from './row.ts'

const MESSAGES = 5_000_000
const ROOMS = 200
const MONTHS = 14
const REMOVED_ONE_IN = 200
const USERS = 50_000
const WORDS = 20_000
const OUTAGE = { seconds: 600, perSecond: 1000 } as const
const TARGET = { perSecond: 50_000, roomMs: 300, acrossMs: 2000, pageMs: 50, catchUpS: 60 } as const
const ASKED = 30
const LIMITS: Limits = { seconds: 60, rowsMax: 100_000, readRowsMax: 1_000_000_000 }
const DEADLINE_MS = 900_000
const EPOCH = 'e1'
const START = Date.UTC(2025, 0, 1)
const END = Date.UTC(2026, 2, 1)

export const archive: Row = {
  name: 'archive',
  about: 'the embedded archive: rows a second in, bytes a message, searches, pages, catching up',
  needs: 'the embedded ClickHouse',
  roundsMax: 1,
  async run (bench: Bench): Promise<Finding[]> {
    return [...await filled(bench, MESSAGES / (bench.isQuick ? 10 : 1)), await caughtUp(bench, OUTAGE.seconds * OUTAGE.perSecond / (bench.isQuick ? 10 : 1))]
  }
}

/** Numbers that are the same in every run. */
class Dice {
  #state = 1
  next (below: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor(this.#state / 2 ** 32 * below)
  }

  /** Small numbers are likelier, as words and rooms are. */
  skewed (below: number): number {
    const share = this.next(1_000_000) / 1_000_000
    return Math.floor(below * share ** 3)
  }
}

/** A feed that makes its records: as they would come, in the order of time. */
class Generated {
  readonly seqs = new Map<string, number>()
  readonly #dice = new Dice()
  readonly #words = Array.from({ length: WORDS }, (_, at) => `${'bcdfghjklmnpqrstvwxz'[at % 20]}${'aeiou'[at % 5]}${at.toString(36)}`)
  readonly #count: number
  #made = 0
  ended = Promise.withResolvers<void>()

  constructor (count: number) { this.#count = count }

  get feed (): Feed {
    return {
      consume: async ({ batchMax = 500, handle }) => {
        this.#run(batchMax, handle).then(() => this.ended.resolve(), (error: unknown) => this.ended.reject(error))
        return { lag: () => ({ records: this.#count - this.#made, seconds: 0 }), stop: async () => {} }
      },
      send: async () => {},
      close: async () => {}
    }
  }

  async #run (batchMax: number, handle: (batch: readonly FeedRecord[]) => Promise<void>): Promise<void> {
    while (this.#made < this.#count) await handle(Array.from({ length: Math.min(batchMax, this.#count - this.#made) }, () => this.#record()))
  }

  #record (): FeedRecord {
    const dice = this.#dice
    const ts = START + Math.floor((END - START) * this.#made++ / this.#count)
    const room = `room-${dice.skewed(ROOMS)}`
    const seq = (this.seqs.get(room) ?? 0) + 1
    this.seqs.set(room, seq)
    const head = { v: 1, room, epoch: EPOCH }
    if (seq > 50 && dice.next(REMOVED_ONE_IN) === 0) {
      return { topic: 'messages', room, epoch: EPOCH, seq, ts, value: { ...head, op: 'remove', seq, ts, target: { seq: seq - 1 - dice.next(40) }, by: `mod-${dice.next(20)}` } }
    }
    const user = dice.skewed(USERS)
    return { topic: 'messages', room, epoch: EPOCH, seq, ts, value: { ...head, op: 'message', seq, ts, user: { id: `user-${user}`, name: `User ${user}`, roles: user % 7 === 0 ? 1 : 0 }, kind: 0, body: this.#text(), ext: dice.next(10) === 0 ? { re: seq - 1 } : null } }
  }

  #text (): string {
    let text = this.#words[this.#dice.skewed(WORDS)] as string
    for (let left = 3 + this.#dice.next(10); left > 0; left--) text += ` ${this.#words[this.#dice.skewed(WORDS)]}`
    return text
  }

  word (at: number): string { return this.#words[at] as string }
}

async function filled (bench: Bench, count: number): Promise<Finding[]> {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-bench-'))
  const child = chdbProcess(dir)
  const opened = createChdbArchive({ directory: dir, say: () => {}, process: child })
  const generated = new Generated(count)
  const archiver = new Archiver({ feed: generated.feed, archive: opened, metrics: new Metrics(), say: () => {} })
  try {
    opened.start()
    await until('the archive is open', () => opened.verdict.state === 'ok')
    const cpu = process.cpuUsage()
    const began = performance.now()
    archiver.start()
    await generated.ended.promise
    const seconds = (performance.now() - began) / 1000
    const { user, system } = process.cpuUsage(cpu)
    bench.progress(`${count} rows in ${seconds.toFixed(1)} s, ${Math.round(count / seconds)} a second; ${((user + system) / count).toFixed(1)} µs of CPU each in this process, its part of making them included`)
    await checked(opened, generated, count)
    const mb = Math.round(peakKb(child.pid as number) / 1024)
    const bytes = await bytesAMessage(opened)
    bench.progress(`all there, once; ${bytes.messages.toFixed(1)} bytes each, ${bytes.all.toFixed(1)} with all that is counted; the child's memory ${mb} MB at most`)
    return [...inserted(count, seconds, bytes, mb), ...await asked(bench, opened, generated, count)]
  } finally {
    await archiver.stop()
    await opened.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

function inserted (count: number, seconds: number, bytes: { messages: number, all: number }, mb: number): Finding[] {
  const conditions = conditionsOf(count)
  const perSecond = count / seconds
  return [
    { question: 'Rows a second into the embedded archive, through the archiver', result: `${Math.round(perSecond)}`, conditions: `${conditions}; archiver, generator and chDB on the same two cores; chDB's process took ${mb} MB of memory at most`, target: `at least ${TARGET.perSecond}`, isMet: perSecond >= TARGET.perSecond, figures: { perSecond, seconds, mb } },
    { question: 'Bytes on the disk for a message in the archive', result: `${bytes.messages.toFixed(1)} (${bytes.all.toFixed(1)} with all that is counted from them)`, conditions: `${conditions}; text index included`, target: '', isMet: null, figures: { messages: bytes.messages, all: bytes.all } }
  ]
}

const conditionsOf = (count: number): string => `${count} generated entries of ${ROOMS} rooms over ${MONTHS} months, 4 to 13 words each of ${WORDS}, one in ${REMOVED_ONE_IN} removed`

/** Throws when an entry is missing or there twice. */
async function checked (archive: Archive, { seqs }: Generated, count: number): Promise<void> {
  const rows = await archive.query<{ room: string, n: number, last: number }>('SELECT room, count() AS n, max(seq) AS last FROM messages FINAL GROUP BY room', {}, LIMITS)
  for (const { room, n, last } of rows) if (n !== seqs.get(room) || last !== n) throw new Error(`${room} has ${n} entries up to ${last}, not ${seqs.get(room)}`)
  const all = rows.reduce((sum, { n }) => sum + n, 0)
  if (all !== count) throw new Error(`of ${count} entries ${all} are there`)
}

async function bytesAMessage (archive: Archive): Promise<{ messages: number, all: number }> {
  const [row] = await archive.query<{ messages: number, all: number, rows: number }>("SELECT sumIf(bytes_on_disk, table = 'messages') AS messages, sum(bytes_on_disk) AS all, sumIf(rows, table = 'messages') AS rows FROM system.parts WHERE active AND database = currentDatabase()", {}, LIMITS)
  const { messages = 0, all = 0, rows = 1 } = row ?? {}
  return { messages: messages / rows, all: all / rows }
}

interface Question { readonly name: string, readonly targetMs: number, readonly sql: string, params (turn: number): Params }

const SELECTED = 'room, epoch, seq, toUnixTimestamp64Milli(ts) AS at, user, name, roles, kind, body, ext, entry'
const NEWEST = 'ORDER BY ts DESC, room DESC, epoch DESC, seq DESC LIMIT 1 BY room, epoch, seq LIMIT 50'

function questions (generated: Generated): Question[] {
  // The skew makes the first words some of the commonest, those at the end rare.
  const word = (turn: number): string => generated.word(turn % 3 === 0 ? turn : turn % 3 === 1 ? 1000 + turn : WORDS - 1 - turn)
  const room = (turn: number): string => `room-${turn % 10}`
  return [
    { name: 'Word search in a room', targetMs: TARGET.roomMs, sql: `SELECT ${SELECTED} FROM messages WHERE room = {room:String} AND op = 'message' AND hasAllTokens(body, {word:String}) ${NEWEST}`, params: (turn) => ({ room: room(turn), word: word(turn) }) },
    { name: 'Word search across rooms', targetMs: TARGET.acrossMs, sql: `SELECT ${SELECTED} FROM messages WHERE op = 'message' AND hasAllTokens(body, {word:String}) ${NEWEST}`, params: (turn) => ({ word: word(turn) }) },
    { name: 'A page of 50 entries of history', targetMs: TARGET.pageMs, sql: `SELECT ${SELECTED} FROM messages FINAL WHERE room = {room:String} AND epoch = '${EPOCH}' AND seq >= {first:UInt64} AND seq < {last:UInt64} ORDER BY seq`, params: (turn) => { const last = 100 + Math.floor((generated.seqs.get(room(turn)) as number) * turn / ASKED); return { room: room(turn), first: last - 50, last } } },
    { name: 'The same with what was removed, by whom and why (the view chat)', targetMs: TARGET.roomMs, sql: `SELECT ${SELECTED}, removed, removed_by, removed_why FROM chat WHERE room = {room:String} AND epoch = '${EPOCH}' AND seq >= {first:UInt64} AND seq < {last:UInt64} ORDER BY seq`, params: (turn) => { const last = 100 + Math.floor((generated.seqs.get(room(turn)) as number) * turn / ASKED); return { room: room(turn), first: last - 50, last } } },
    { name: 'A user\'s newest messages, all rooms', targetMs: TARGET.acrossMs, sql: `SELECT ${SELECTED} FROM messages WHERE op = 'message' AND user = {user:String} ${NEWEST}`, params: (turn) => ({ user: `user-${turn * 1000 + 1}` }) },
    { name: 'A room\'s messages and chatters of a month, by hour', targetMs: TARGET.roomMs, sql: "SELECT toStartOfHour(minute) AS hour, sum(messages) AS n, max(chatters) AS c FROM minutes_of_rooms WHERE room = {room:String} AND minute >= toDateTime({from:UInt32}, 'UTC') AND minute < toDateTime({from:UInt32} + 2592000, 'UTC') GROUP BY hour ORDER BY hour", params: (turn) => ({ room: room(turn), from: START / 1000 + turn * 1_000_000 }) }
  ]
}

async function asked (bench: Bench, archive: Archive, generated: Generated, count: number): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const { name, targetMs, sql, params } of questions(generated)) {
    const times: number[] = []
    let rows = 0
    for (let turn = 0; turn < ASKED; turn++) {
      const began = performance.now()
      rows += (await archive.query(sql, params(turn), LIMITS)).length
      times.push(performance.now() - began)
    }
    const ms = spread(times)
    const read = await granules(archive, sql, params(1))
    bench.progress(`${name}: ${spreadText(ms, 1)} ms, ${Math.round(rows / ASKED)} rows; ${read}`)
    findings.push(answered(name, ms, targetMs, `${conditionsOf(count)}; ${ASKED} different ones, the first cold, common and rare words; ${Math.round(rows / ASKED)} rows each in the mean; ${read}`))
  }
  return findings
}

function answered (name: string, ms: Spread, targetMs: number, conditions: string): Finding {
  return { question: `${name}, in the embedded archive`, result: `${spreadText(ms, 1)} ms`, conditions, target: `at most ${targetMs} ms`, isMet: ms.median <= targetMs, figures: { ms } }
}

/** What the plan reads of the largest table in it, index by index. */
async function granules (archive: Archive, sql: string, params: Params): Promise<string> {
  const lines = (await archive.query<{ explain: string }>(`EXPLAIN indexes = 1 ${sql}`, params, LIMITS)).map(({ explain }) => explain.trim())
  const from = lines.findIndex((line) => line.includes('ReadFromMergeTree'))
  const steps: string[] = []
  let name = ''
  for (const line of lines.slice(from + 1)) {
    if (line.includes('ReadFromMergeTree')) break
    if (/^[│ ]*(MinMax|Min-Max|Partition|PrimaryKey|PrimaryKeyExpand|Skip)$/.test(line)) name = line.replace(/[│ ]/g, '')
    const skip = /Name: (\w+)/.exec(line)?.[1]
    if (skip !== undefined) name = skip
    const granule = /Granules: (\d+\/\d+)/.exec(line)?.[1]
    if (granule !== undefined) steps.push(`${name} ${granule}`)
  }
  return `granules that remain, index by index: ${steps.join(', ')}`
}

async function caughtUp (bench: Bench, count: number): Promise<Finding> {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-bench-'))
  const metrics = new Metrics()
  const store = await openStore(join(dir, 'log'))
  const log = createLmdbLog(store, { clock: systemClock, metrics, durability: 'commit', queueMax: 20_000, dedupMinutes: 1, retention: { hours: 168, entriesMax: 100_000_000, mbMax: 100_000 } })
  const feed = new LogFeed({ log, clock: systemClock, metrics, say: () => {} })
  const opened = createChdbArchive({ directory: join(dir, 'archive'), say: () => {} })
  const archiver = new Archiver({ feed, archive: opened, metrics, say: () => {} })
  try {
    await fill(log, count)
    opened.start()
    await until('the archive is open', () => opened.verdict.state === 'ok')
    const began = performance.now()
    archiver.start()
    await until('all is archived', () => metrics.value('uproar_feed_records_total', 'archiver') >= count)
    const seconds = (performance.now() - began) / 1000
    const [row] = await opened.query<{ n: number }>('SELECT count() AS n FROM messages FINAL', {}, LIMITS)
    if (row?.n !== count) throw new Error(`of ${count} messages ${row?.n} are there`)
    bench.progress(`caught up with ${count} messages in ${seconds.toFixed(1)} s, ${Math.round(count / seconds)} a second`)
    return {
      question: `Catching up with ${count / OUTAGE.perSecond} s of outage of the archive at ${OUTAGE.perSecond} messages a second`, result: `${seconds.toFixed(1)} s`,
      conditions: `${count} messages of ${ROOMS} rooms that wait in the embedded log; log, archiver and chDB on the same two cores; every message there once`, target: `under ${TARGET.catchUpS} s`, isMet: seconds < TARGET.catchUpS, figures: { seconds, perSecond: count / seconds }
    }
  } finally {
    await archiver.stop()
    await feed.close()
    await opened.close()
    await log.close()
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function fill (log: ReturnType<typeof createLmdbLog>, count: number): Promise<void> {
  let next = 0
  const author = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) {
      await log.publish(`room-${n % ROOMS}`, { op: OUT.MESSAGE, tail: packTail([[`user-${n % 1000}`, `User ${n % 1000}`, 1], 0, `message ${n}, of some sixty characters as they are in a chat`, null]), author: `user-${n % 1000}`, nonce: null })
    }
  }
  await Promise.all(Array.from({ length: 2000 }, author))
}

/** The most memory that the process has had, in kilobytes. */
function peakKb (pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? NaN)
}

async function until (what: string, holds: () => boolean): Promise<void> {
  for (const end = performance.now() + DEADLINE_MS; !holds();) {
    if (performance.now() > end) throw new Error(`waited ${DEADLINE_MS} ms in vain until ${what}`)
    await sleep(5)
  }
}
