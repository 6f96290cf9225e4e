// Replays a chat log into a room through real sockets, as its many authors and at its own rhythm, while a viewer that
// joined first checks that whatever was accepted arrives once, in order.
//
//   lines ──pace──▶ pool (many authors, few connections) ──SEND──▶ server ──entries──▶ watcher ──▶ report
//
// Owns the pace and the tally; a line is remembered as two numbers. At most 10,000 drafts are under way.

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Frame } from '../../proto/codec.ts'
import { OUT } from '../../proto/ops.ts'
import type { LogLine } from './csv.ts'
import { Latency } from './latency.ts'
import type { Accepted, Draft, Refused } from './link.ts'
import { Pool } from './pool.ts'
import type { Progress, ReplayReport } from './report.ts'
import type { TokenSource } from './tokens.ts'
import { Watcher } from './watcher.ts'

export interface ReplayOptions {
  readonly lines: AsyncIterable<LogLine>
  /** Only for the report. */
  readonly file: string
  readonly url: string
  readonly room: string
  readonly tokens: TokenSource
  /** Times the log's own rhythm; Infinity: as fast as it goes. */
  readonly speed: number
  /** Connections open at once, at most. */
  readonly connections: number
  /** The log's users speak as this many; null: each as their own. */
  readonly authors?: number | null
  /** Lines to send; null: all. */
  readonly limit?: number | null
  /** Makes the nonces: the same run repeated is recognised by the server. */
  readonly run?: string
  /** Length of the log for the progress bar, when known. */
  readonly lastOffsetMs?: number | null
  readonly onAccepted?: (line: number, accepted: Accepted) => void
  readonly onProgress?: (progress: Progress) => void
  readonly signal?: AbortSignal
  /** See the pool's. */
  readonly attempts?: number
  /** How long the watcher is waited for after the last answer. */
  readonly settleMs?: number
}

/** Sends the log. Rejects when the watcher cannot join, the log is malformed or no author got through at all. */
export async function replay (options: ReplayOptions): Promise<ReplayReport> {
  const run = options.run ?? randomBytes(4).toString('hex')
  const tally = new Tally(run)
  const watcher = new Watcher({ url: options.url, room: options.room, token: () => options.tokens.token('replay-watcher'), onEntry: (frame) => tally.arrived(frame) })
  const pool = new Pool({ ...options, run, settled: (draft, outcome) => tally.settled(draft, outcome, options.onAccepted) })
  let progress: NodeJS.Timeout | null = null
  try {
    await watcher.start()
    const started = performance.now()
    const report = (): void => options.onProgress?.({
      offsetMs: tally.offsetMs, share: shareOf(options, tally), sent: tally.sent, accepted: tally.accepted, refused: tally.refusedCount, open: pool.open, seconds: (performance.now() - started) / 1000
    })
    progress = setInterval(report, 250)
    await pace(options, run, pool, tally)
    await pool.drained()
    const seconds = (performance.now() - started) / 1000
    await settle(watcher, tally, options.settleMs ?? 10_000)
    report()
    return {
      file: options.file, room: options.room, run, speed: options.speed, authors: tally.authors.size,
      connectionsMax: options.connections, connectionsOpened: pool.counts.opened, seconds,
      behindMsMax: tally.behindMsMax, sent: tally.sent, accepted: tally.accepted, retried: pool.counts.retried,
      refused: Object.fromEntries(tally.refused), latency: tally.latency.summary(),
      watcher: {
        ...tally.verdict(), complaint: tally.complaint, outOfOrder: watcher.account.outOfOrder,
        duplicated: tally.duplicated + watcher.account.duplicates, skipped: watcher.account.skipped, resumed: watcher.joins - 1
      }
    }
  } finally {
    if (progress !== null) clearInterval(progress)
    pool.close()
    watcher.stop()
  }
}

/** Hands the lines to the pool when they are due, waiting where it is full. */
async function pace (options: ReplayOptions, run: string, pool: Pool, tally: Tally): Promise<void> {
  const { speed, authors = null, limit = null, signal } = options
  const started = performance.now()
  const isAborted = (): boolean => signal?.aborted === true
  let firstOffset = -1
  for await (const line of options.lines) {
    if (isAborted() || (limit !== null && tally.sent >= limit)) return
    if (firstOffset < 0) firstOffset = line.offsetMs
    const due = (line.offsetMs - firstOffset) / speed
    const early = due - (performance.now() - started)
    if (early >= 1) await sleep(early, undefined, { signal }).catch(() => undefined)
    const user = authors === null ? line.user : `author-${numberOf(line.user) % authors + 1}`
    const draft: Draft = { number: line.number, user, text: line.text, nonce: `${run}-${line.number}`, attempts: 0, firstSentAt: 0 }
    while (!pool.offer(draft)) {
      await pool.drained(pool.unsettled - 1)
      if (isAborted()) return
    }
    tally.offered(draft, line.offsetMs, performance.now() - started - due)
  }
}

/** Waits until the watcher has all that was accepted; what is not there after the time counts as missing. */
async function settle (watcher: Watcher, tally: Tally, timeoutMs: number): Promise<void> {
  await watcher.until(() => tally.isComplete, 'the last of what was accepted', timeoutMs).catch((error: Error) => { tally.complaint = error.message })
}

function shareOf (options: ReplayOptions, tally: Tally): number | null {
  if (options.limit != null) return tally.sent / options.limit
  return options.lastOffsetMs == null ? null : tally.offsetMs / Math.max(1, options.lastOffsetMs)
}

/** FNV-1a: the same user always speaks as the same author. */
function numberOf (user: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < user.length; i++) hash = Math.imul(hash ^ user.charCodeAt(i), 0x01000193) >>> 0
  return hash
}

/** Who said what, what became of it, and whether it arrived; a line is known by its number, which travels in `ext.meta`. */
class Tally {
  sent = 0
  accepted = 0
  refusedCount = 0
  offsetMs = 0
  behindMsMax = 0
  duplicated = 0
  complaint: string | null = null
  readonly refused = new Map<string, number>()
  readonly latency = new Latency()
  readonly authors = new Set<string>()
  #run: string
  /** Line → seq it was accepted as. */
  #acceptedSeqs = new Map<number, number>()
  /** Line → seq it arrived as. */
  #arrivedSeqs = new Map<number, number>()
  /** Seqs under which a line came once more. */
  #otherSeqs = new Set<number>()
  #unseen = 0

  constructor (run: string) {
    this.#run = run
  }

  get isComplete (): boolean { return this.#unseen === 0 }

  offered (draft: Draft, offsetMs: number, behindMs: number): void {
    this.sent++
    this.authors.add(draft.user)
    this.offsetMs = offsetMs
    this.behindMsMax = Math.max(this.behindMsMax, behindMs)
  }

  settled (draft: Draft, outcome: Accepted | Refused, onAccepted?: ReplayOptions['onAccepted']): void {
    if ('name' in outcome) {
      this.refusedCount++
      this.refused.set(outcome.name, (this.refused.get(outcome.name) ?? 0) + 1)
      return
    }
    this.accepted++
    this.latency.add(performance.now() - draft.firstSentAt)
    this.#acceptedSeqs.set(draft.number, outcome.seq)
    if (!this.#hasArrived(draft.number, outcome.seq)) this.#unseen++
    onAccepted?.(draft.number, outcome)
  }

  arrived (frame: Frame): void {
    if (frame[0] !== OUT.MESSAGE) return
    const meta = (frame[6] as { meta?: { run?: unknown, line?: unknown } } | null | undefined)?.meta
    if (meta?.run !== this.#run || typeof meta.line !== 'number') return
    const seq = frame[1] as number
    const before = this.#arrivedSeqs.get(meta.line)
    // The same seq twice is the account's to count; here, the same line under a second seq.
    if (before === seq || this.#otherSeqs.has(seq)) return
    if (before === undefined) {
      this.#arrivedSeqs.set(meta.line, seq)
    } else {
      this.#otherSeqs.add(seq)
      this.duplicated++
    }
    if (this.#acceptedSeqs.get(meta.line) === seq) this.#unseen--
  }

  verdict (): { received: number, missing: number } {
    let missing = 0
    for (const [line, seq] of this.#acceptedSeqs) if (!this.#hasArrived(line, seq)) missing++
    return { received: this.accepted - missing, missing }
  }

  #hasArrived (line: number, seq: number): boolean {
    return this.#arrivedSeqs.get(line) === seq || this.#otherSeqs.has(seq)
  }
}
