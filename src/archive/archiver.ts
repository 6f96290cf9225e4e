// The archiver: brings what the feed has into the archive, batch by batch, and acknowledges a batch only once all of it is
// there. While the archive is away the feed waits: that is lag, and nothing is lost.
//
//   feed ─▶ batch ─▶ [pace] ─▶ rows as bytes ─▶ insert messages ─▶ insert audit ─▶ … ─▶ acknowledged
//                                 └─ no row can be made of it ─▶ named to the feed, which puts it aside with the reason
//
// Each record is in the archive exactly once, however often it comes, and the argument is short because it needs no memory
// of what was written. The feed gives every record at least once, in batches that may be cut differently each time: after a
// kill, a lost answer, a change of who reads which partition, or by two archivers that both believe a room is theirs. So:
//
// 1. A row is a function of its record alone, and (room, epoch, seq) names the record for good: the same record makes the
//    same row, byte for byte, whoever makes it and whenever.
// 2. Every table is a set by that name (ReplacingMergeTree): rows that are the same fall together, at the latest in a read
//    with FINAL, by which all reads and the view `chat` read. Which of two same rows stays makes no difference.
// 3. What is counted from rows is made of states that the same row does not change twice: bitmaps of seqs, sets of hashes,
//    maxima. A kill between the table and a view made of it leaves the view behind, and since nothing was acknowledged the
//    record comes again and mends it, which a token that turns the repetition away at the table would prevent.
// 4. Nothing is acknowledged before the insert, with all its views, is done and (embedded) on the disk.
//
// By 4 none is missing, by 1 to 3 none is there twice. Inserts' deduplication tokens would need batches to be cut alike for
// ever, and a high-water mark by room would need that a part of a batch is never stored without what is before it.
// Bounds: one batch at a time, BATCH_MAX records; one insert, CHUNK rows.

import { systemClock } from '../base/clock.ts'
import type { Metrics } from '../base/metrics.ts'
import { RecordFaults, type Feed, type FeedRecord } from '../feed/feed.ts'
import { standBy } from '../feed/standby.ts'
import type { Archive, Lines, Say } from './archive.ts'
import { eraseFromRoom, withoutName } from './erasure.ts'
import { encode, type Encoded } from './rows.ts'

export interface ArchiverOptions {
  readonly feed: Feed
  readonly archive: Archive
  readonly metrics: Metrics
  readonly say: Say
  /** Least time between two inserts while there is little to do, milliseconds: parts of a table are dear. 1,000 when left out. */
  readonly paceMs?: number
}

const BATCH_MAX = 20_000
/** Rows of one insert: while one is under way the next rows are made. */
const CHUNK = 10_000
/** A batch of so many does not wait. */
const FULL = 2000
const PACE_MS = 1000
/** Rows that are made before the loop has its turn: a millisecond or two. */
const ENCODE_AT_ONCE = 250

export class Archiver {
  readonly name = 'archiver'
  readonly #options: ArchiverOptions
  readonly #stop = Promise.withResolvers<void>()
  #consumer: { stop (): Promise<void> } | null = null
  #insertedAt = -Infinity

  constructor (options: ArchiverOptions) { this.#options = options }

  start (): void {
    const { feed, archive, metrics, say } = this.#options
    // Without one there is nothing to wait for, and the log need not keep anything for it.
    if (archive.verdict.state === 'none') return
    metrics.read('uproar_archive_up', () => Number(archive.verdict.state === 'ok'))
    this.#consumer = standBy(feed, { name: 'archiver', topics: ['messages', 'audit'], from: 'beginning', batchMax: BATCH_MAX, handle: (batch) => this.#handle(batch) }, say)
  }

  async stop (): Promise<void> {
    this.#stop.resolve()
    await this.#consumer?.stop()
  }

  async #handle (batch: readonly FeedRecord[]): Promise<void> {
    if (batch.length < FULL) await this.#paced()
    const bad: Encoded['bad'][number][] = []
    let inserting: Promise<void> = Promise.resolve()
    for (let from = 0; from < batch.length; from += CHUNK) {
      const slices = await encodeCalmly(batch.slice(from, from + CHUNK).map(withoutName))
      bad.push(...slices.flatMap((slice) => slice.bad))
      await inserting
      inserting = this.#insertAll(slices)
      // Told below, after the next chunk was encoded.
      inserting.catch(() => {})
    }
    await inserting
    // What stands before the removal of somebody who is erased has gone in by now.
    for (const record of batch) await eraseFromRoom(this.#options.archive, record)
    if (bad.length > 0) throw new RecordFaults(bad)
  }

  async #insertAll (slices: readonly Encoded[]): Promise<void> {
    const began = performance.now()
    await this.#insert('messages', slices.map(({ messages }) => messages))
    await this.#insert('audit', slices.map(({ audit }) => audit))
    this.#insertedAt = performance.now()
    this.#options.metrics.observe('uproar_archive_insert_seconds', (this.#insertedAt - began) / 1000)
  }

  async #insert (table: 'messages' | 'audit', slices: readonly Lines[]): Promise<void> {
    const { archive, metrics } = this.#options
    const lines = joined(slices)
    if (lines === null) return
    try {
      await archive.insert(table, lines)
    } catch (error) {
      metrics.add('uproar_archive_failures_total', 1)
      throw error
    }
    metrics.add('uproar_archive_batches_total', 1)
    metrics.add('uproar_archive_rows_total', lines.count, table)
    metrics.add('uproar_archive_bytes_total', lines.bytes.length)
  }

  /** Waits until an insert is due again; a stop ends the wait. */
  async #paced (): Promise<void> {
    const waitMs = this.#insertedAt + (this.#options.paceMs ?? PACE_MS) - performance.now()
    if (waitMs <= 0) return
    const over = Promise.withResolvers<void>()
    const timer = systemClock.after(waitMs, over.resolve)
    await Promise.race([over.promise, this.#stop.promise])
    timer.cancel()
  }
}

async function encodeCalmly (records: readonly FeedRecord[]): Promise<Encoded[]> {
  const slices: Encoded[] = []
  for (let at = 0; at < records.length; at += ENCODE_AT_ONCE) {
    slices.push(encode(records.slice(at, at + ENCODE_AT_ONCE)))
    await new Promise((resolve) => setImmediate(resolve))
  }
  return slices
}

const LINE_BREAK = Buffer.from('\n')

function joined (slices: readonly Lines[]): Lines | null {
  const full = slices.filter(({ count }) => count > 0)
  const [first] = full
  if (first === undefined) return null
  return { columns: first.columns, bytes: Buffer.concat(full.flatMap(({ bytes }) => [bytes, LINE_BREAK])), count: full.reduce((sum, { count }) => sum + count, 0) }
}
