// Many viewers in one process, each held to the order of its room: every message once, none missing. One in twenty tells
// latencies. Owns the links; must not know who writes. Up to 19,500 viewers, 256 handshakes under way at once.

import { Latency, type LatencySummary } from '../src/replay/latency.ts'
import { DIALECTS, type Dialect, type DialectName, type Hearer } from './dialect.ts'
import { clockMs, Link, type LinkOwner } from './link.ts'
import type { Told } from './told.ts'

export interface ViewersOptions {
  readonly port: number
  readonly dialect: DialectName
  readonly viewers: number
  /** Viewers are dealt out to so many rooms in turn (default 1). */
  readonly rooms?: number
  /** Entries of history on join (default 0). */
  readonly history?: number
}

export interface ViewersReport {
  readonly viewers: number
  /** Messages received by all viewers together, since they opened. */
  readonly received: number
  /** WebSocket messages they came in, with all others. */
  readonly frames: number
  /** Numbers that did not come though a later one did, and numbers that came twice or late. */
  readonly missing: number
  readonly repeated: number
  /** Announced as not sent. */
  readonly skipped: number
  /** Connections that ended, and why the last did. */
  readonly ended: number
  readonly why: string
  /** Since the last report, of one viewer in twenty. */
  readonly latency: LatencySummary
  readonly samples: number
}

const OPENING_MAX = 256
const SAMPLED_ONE_IN = 20
const VIEWERS_PER_ADDRESS = 15_000
/** As the thin client does it: a viewer that hears nothing pings, and each does every three looks, with the next message it hears. */
const PING_MS = 10_000
const REPORT_LOOKS = 3
const PING_PARTS = 200
const OPEN_TIMEOUT_MS = 60_000

export class Viewers {
  readonly #options: ViewersOptions
  readonly #viewers: Viewer[] = []
  readonly #shared: Shared
  #pinger: NodeJS.Timeout | null = null
  #part = 0

  constructor (options: ViewersOptions) {
    this.#options = options
    this.#shared = { dialect: DIALECTS[options.dialect], options, latency: new Latency(), isEnding: false, ended: 0, why: '', onJoined: () => {}, onFailed: () => {} }
  }

  /** Opens and joins all; resolves with the seconds it took, rejects when one fails or the time is up. */
  async open (): Promise<number> {
    const { viewers } = this.#options
    const started = performance.now()
    let joined = 0
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string): void => reject(new Error(`${joined} of ${viewers} viewers joined: ${why}`))
      timer = setTimeout(() => fail(`not more in ${OPEN_TIMEOUT_MS / 1000} s`), OPEN_TIMEOUT_MS)
      const fill = (): void => {
        while (this.#viewers.length < viewers && this.#viewers.length - joined < OPENING_MAX) {
          this.#viewers.push(new Viewer(this.#shared, this.#viewers.length))
        }
      }
      this.#shared.onJoined = () => {
        if (++joined === viewers) resolve()
        else fill()
      }
      this.#shared.onFailed = fail
      fill()
    }).finally(() => clearTimeout(timer))
    this.#shared.onFailed = () => {}
    this.#pinger = setInterval(() => this.#ping(), PING_MS / PING_PARTS)
    return (performance.now() - started) / 1000
  }

  /** The last `count` stop reading, and saying how far they are. */
  stall (count: number): void {
    for (const viewer of this.#viewers.slice(-count)) viewer.stall()
  }

  report (): ViewersReport {
    const { latency, ended, why } = this.#shared
    const sum = { received: 0, frames: 0, missing: 0, repeated: 0, skipped: 0 }
    for (const viewer of this.#viewers) {
      sum.received += viewer.received
      sum.frames += viewer.frames
      if (viewer.isStalled) continue
      sum.missing += viewer.missing
      sum.repeated += viewer.repeated
      sum.skipped += viewer.skippedCount
    }
    this.#shared.latency = new Latency()
    return { viewers: this.#viewers.length, ...sum, ended, why, latency: latency.summary(), samples: latency.count }
  }

  /** Waits until no viewer hears anything new, at most `timeoutMs`; true when it became quiet. */
  async quiet (timeoutMs: number): Promise<boolean> {
    const end = performance.now() + timeoutMs
    for (let before = -1; performance.now() < end;) {
      const received = this.#viewers.reduce((total, viewer) => total + viewer.received, 0)
      if (received === before) return true
      before = received
      await new Promise((resolve) => setTimeout(resolve, 400))
    }
    return false
  }

  end (): void {
    this.#shared.isEnding = true
    if (this.#pinger !== null) clearInterval(this.#pinger)
    for (const viewer of this.#viewers) viewer.link.end()
  }

  #ping (): void {
    this.#part = (this.#part + 1) % PING_PARTS
    for (let at = this.#part; at < this.#viewers.length; at += PING_PARTS) this.#viewers[at]?.pingIfDue()
  }
}

interface Shared {
  readonly dialect: Dialect
  readonly options: ViewersOptions
  latency: Latency
  isEnding: boolean
  ended: number
  why: string
  onJoined: () => void
  onFailed: (why: string) => void
}

class Viewer implements LinkOwner, Hearer {
  readonly link: Link
  received = 0
  frames = 0
  missing = 0
  repeated = 0
  skippedCount = 0
  isStalled = false
  #looks: number
  #receivedBefore = 0
  #isReportDue = false
  readonly #shared: Shared
  readonly #room: number
  readonly #isSampled: boolean
  /** The number that must come next, by voice (dialect.ts); -1: any. */
  readonly #next: number[] = [-1]

  constructor (shared: Shared, index: number) {
    const { rooms = 1 } = shared.options
    const room = index % rooms
    this.#shared = shared
    this.#room = room
    this.#isSampled = Math.floor(index / rooms) % SAMPLED_ONE_IN === 0
    this.#looks = index % REPORT_LOOKS
    this.link = new Link(shared.options.port, shared.dialect.path(room), this, addressOf(index))
  }

  opened (link: Link): void {
    const greeting = this.#shared.dialect.greeting(this.#room, null, this.#shared.options.history ?? 0)
    if (greeting === null) this.#shared.onJoined()
    else link.write(greeting)
  }

  message (_: Link, bytes: Buffer, start: number, end: number, opcode: number): void {
    this.frames++
    this.#shared.dialect.read(this, bytes, start, end, opcode)
  }

  closed (_: Link, why: string): void {
    if (this.#shared.isEnding) return
    this.#shared.ended++
    this.#shared.why = why
    this.#shared.onFailed(why)
  }

  joined (last: number): void {
    if ((this.#shared.options.history ?? 0) === 0 && last > 0) this.#next[0] = last + 1
    this.#shared.onJoined()
  }

  heard (told: Told): void {
    this.received += told.size
    for (let run = 0; run < told.runs; run++) {
      const author = told.authors[run] as number
      const first = told.firsts[run] as number
      const after = first + (told.counts[run] as number)
      const voice = author === 0 ? 0 : Math.floor(author / (this.#shared.options.rooms ?? 1))
      const next = this.#next[voice] ?? -1
      if (next >= 0 && first > next) this.missing += first - next
      else if (first < next) this.repeated += Math.min(after, next) - first
      this.#next[voice] = Math.max(next, after)
    }
    if (this.#isSampled) {
      const now = clockMs()
      for (let index = 0; index < told.size; index++) this.#shared.latency.add(now - told.timeMs(index))
    }
    if (this.#isReportDue) this.#report()
  }

  skipped (first: number, last: number): void {
    this.skippedCount += last - first + 1
    if (last >= (this.#next[0] as number)) this.#next[0] = last + 1
  }

  answered (_: number, refusal: string | null): void {
    if (refusal !== null) this.#shared.onFailed(refusal)
  }

  reply (frames: Uint8Array): void { this.link.write(frames) }

  stall (): void {
    this.isStalled = true
    this.link.pause()
  }

  pingIfDue (): void {
    const isSilent = this.received === this.#receivedBefore
    this.#receivedBefore = this.received
    this.#looks = (this.#looks + 1) % REPORT_LOOKS
    if (isSilent) this.#report()
    else if (this.#looks === 0) this.#isReportDue = true
  }

  #report (): void {
    this.#isReportDue = false
    const frames = this.isStalled ? null : this.#shared.dialect.ping(this.#room, Math.max(0, (this.#next[0] as number) - 1))
    if (frames !== null) this.link.write(frames)
  }
}

function addressOf (index: number): string | undefined {
  return index < VIEWERS_PER_ADDRESS ? undefined : `127.0.0.${1 + Math.floor(index / VIEWERS_PER_ADDRESS)}`
}
