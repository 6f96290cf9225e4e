// A crowd of viewers in one process: raw sockets, every broadcast decoded once, every viewer's sequence held to account.
// Some may stall (stop reading) and be woken later. Owns the sockets; must not know who speaks. Up to 18,000 viewers, for a
// process here may hold 20,000 files; at most 256 handshakes are under way at once.

import { encode, type Frame } from '../proto/codec.ts'
import { IN, OUT } from '../proto/ops.ts'
import { Account } from '../src/replay/account.ts'
import { BatchReader, isEntry, type Batch } from '../src/replay/batches.ts'
import { Latency, type LatencySummary } from '../src/replay/latency.ts'
import { RawSocket, type SocketHandlers } from '../src/replay/socket.ts'

export interface CrowdOptions {
  readonly url: string
  readonly room: string
  readonly viewers: number
  /** Entries of history on join (default 0). */
  readonly history?: number
  readonly view?: 'full' | 'live'
  readonly pingMs?: number
  /** Local addresses 127.0.0.1 … to spread over (default: one for every 15,000 viewers). */
  readonly addresses?: number
  /** Viewers that were closed come back with their position. */
  readonly comeBack?: boolean
  /** Where they come back to, in turn; by default where they were. */
  readonly comeBackTo?: readonly string[]
}

export interface CrowdReport {
  readonly viewers: number
  /** Connections open and joined now. */
  readonly joined: number
  readonly received: number
  readonly missing: number
  readonly duplicates: number
  readonly outOfOrder: number
  readonly skipped: number
  readonly unrecovered: number
  /** Viewers with anything missing, doubled or out of order. */
  readonly harmed: number
  /** Connections that ended, by close code. */
  readonly closes: Readonly<Record<string, number>>
  /** From the time in an entry (a body that starts with `@<Unix ms>`, else its ts) to its arrival here, milliseconds. */
  readonly latency: LatencySummary
  /** Of those who came back the longest time between being closed and having joined again. */
  readonly longestAwayMs: number
  /** Lowest and highest seq that a viewer has got to. */
  readonly lowest: number
  readonly highest: number
  readonly seconds: { readonly joining: number }
}

/** Reports of the two parts of a crowd: those who read all the time, and those who were told to stall. */
export interface CrowdReports { readonly readers: CrowdReport, readonly stalled: CrowdReport }

const OPENING_MAX = 256
const VIEWERS_PER_ADDRESS = 15_000
const RING_PARTS = 100

export class Crowd {
  readonly options: CrowdOptions
  readonly #viewers: Member[] = []
  readonly #shared: Shared
  #ticker: NodeJS.Timeout | null = null
  #tick = 0
  #joiningS = 0

  constructor (options: CrowdOptions) {
    this.options = options
    this.#shared = { options, reader: new BatchReader(), hello: encode([IN.HELLO, null, 'crowd/1']), times: new WeakMap(), stopped: false, onStep: null }
  }

  /** Opens and joins everyone; rejects when not all have joined in time. */
  async start (timeoutMs = 120_000): Promise<void> {
    const { viewers, addresses = Math.ceil(viewers / VIEWERS_PER_ADDRESS), pingMs = 10_000 } = this.options
    const started = performance.now()
    let opening = 0
    let joined = 0
    let failure = ''
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${joined} of ${viewers} viewers joined in ${timeoutMs} ms; ${failure}`)), timeoutMs)
      const fill = (): void => {
        while (opening < OPENING_MAX && this.#viewers.length < viewers) {
          const member = new Member(this.#shared, addresses > 1 ? `127.0.0.${1 + this.#viewers.length % addresses}` : undefined)
          this.#viewers.push(member)
          opening++
          member.open()
        }
      }
      this.#shared.onStep = (member, end) => {
        if (end !== null) {
          failure = `the last failure: ${end}`
          return member.open()
        }
        opening--
        if (++joined < viewers) return fill()
        clearTimeout(timer)
        this.#shared.onStep = null
        resolve()
      }
      fill()
    })
    this.#joiningS = (performance.now() - started) / 1000
    this.#ticker = setInterval(() => this.#ping(), pingMs / RING_PARTS)
  }

  /** The last `count` viewers stop reading; they also stop pinging unless told otherwise. */
  stall (count: number, keepPinging = false): void {
    for (const member of this.#viewers.slice(-count)) member.stall(keepPinging)
  }

  wake (): void {
    for (const member of this.#viewers) member.wake()
  }

  /** Breaks the connections of the first `count` viewers. */
  cut (count: number): void {
    for (const member of this.#viewers.slice(0, count)) member.cut()
  }

  /** Resolves true when every viewer that reads has got to `seq`, false when the time is up. `stalledToo`: all of them. */
  async settled (seq: number, timeoutMs: number, stalledToo = false): Promise<boolean> {
    const end = performance.now() + timeoutMs
    const waiting = this.#viewers.filter((member) => stalledToo || !member.wasStalled)
    while (waiting.some((member) => member.account.last < seq)) {
      if (performance.now() > end) return false
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return true
  }

  report (): CrowdReports {
    const stalled = this.#viewers.filter((member) => member.wasStalled)
    const readers = this.#viewers.filter((member) => !member.wasStalled)
    return { readers: this.#sum(readers), stalled: this.#sum(stalled) }
  }

  stop (): void {
    this.#shared.stopped = true
    if (this.#ticker !== null) clearInterval(this.#ticker)
    for (const member of this.#viewers) member.end()
  }

  #sum (members: readonly Member[]): CrowdReport {
    const total = { received: 0, missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, unrecovered: 0, harmed: 0, joined: 0 }
    const closes: Record<string, number> = {}
    let lowest = Infinity
    let longestAwayMs = 0
    let highest = 0
    for (const { account, isJoined, endings, longestAwayMs: awayMs } of members) {
      total.received += account.received
      total.missing += account.missing
      total.duplicates += account.duplicates
      total.outOfOrder += account.outOfOrder
      total.skipped += account.skipped
      total.unrecovered += account.unrecovered
      if (!account.isWhole) total.harmed++
      if (isJoined) total.joined++
      lowest = Math.min(lowest, account.last)
      longestAwayMs = Math.max(longestAwayMs, awayMs)
      highest = Math.max(highest, account.last)
      for (const code of endings ?? []) closes[code] = (closes[code] ?? 0) + 1
    }
    const latency = (members[0]?.wasStalled === true ? this.#shared.lateLatency : this.#shared.latency) ?? new Latency()
    return { viewers: members.length, ...total, closes, latency: latency.summary(), longestAwayMs, lowest: members.length === 0 ? 0 : lowest, highest, seconds: { joining: this.#joiningS } }
  }

  /** A hundredth of the crowd at a time, so that pings come evenly. */
  #ping (): void {
    this.#tick = (this.#tick + 1) % RING_PARTS
    for (let at = this.#tick; at < this.#viewers.length; at += RING_PARTS) this.#viewers[at]?.ping()
  }
}

/** What the members have in common, so that each stays small. */
interface Shared {
  readonly options: CrowdOptions
  readonly reader: BatchReader
  readonly hello: Uint8Array
  /** When the entries of a batch were written: time and how many. */
  readonly times: WeakMap<Batch, [at: number, count: number][]>
  latency?: Latency
  lateLatency?: Latency
  stopped: boolean
  /** Called when a member has joined (null) or failed to (why) while the crowd gathers. */
  onStep: ((member: Member, end: string | null) => void) | null
}

class Member implements SocketHandlers {
  readonly account = new Account()
  isJoined = false
  wasStalled = false
  /** Close codes; made when there is one. */
  endings: number[] | null = null
  longestAwayMs = 0
  #awayAt = 0
  #shared: Shared
  #localAddress: string | undefined
  #socket: RawSocket | null = null
  #isStalled = false
  #isSilent = false
  #joins = 0
  /** Connections that were had; picks where to come back to. */
  #turn = Math.floor(Math.random() * 1024)

  constructor (shared: Shared, localAddress: string | undefined) {
    this.#shared = shared
    this.#localAddress = localAddress
  }

  // One object is its own handlers: no closures for each of 18,000.
  open (): void {
    if (this.#socket?.isOpen === true) {
      this.#socket.send(this.#shared.hello)
      return
    }
    const { url, comeBackTo = [] } = this.#shared.options
    const target = this.#joins === 0 || comeBackTo.length === 0 ? url : comeBackTo[this.#turn++ % comeBackTo.length] as string
    this.#socket = new RawSocket(target, this, this.#localAddress === undefined ? {} : { localAddress: this.#localAddress })
  }

  message (bytes: Uint8Array): void {
    const batch = this.#shared.reader.read(bytes)
    if (batch.lastSeq > 0) this.#measure(batch)
    for (const frame of batch.frames) this.#frame(frame)
  }

  close (code: number, reason: string): void {
    const wasJoined = this.isJoined
    this.isJoined = false
    this.#socket = null
    if (this.#shared.stopped) return
    if (wasJoined) this.#awayAt = performance.now()
    if (wasJoined || this.#shared.onStep === null) (this.endings ??= []).push(code)
    if (!wasJoined && this.#shared.onStep !== null) setTimeout(() => this.#shared.onStep?.(this, `${code} ${reason}`), 50)
    else if (this.#shared.options.comeBack === true) setTimeout(() => { if (!this.#shared.stopped) this.open() }, 50 + Math.random() * 200)
  }

  stall (keepPinging: boolean): void {
    this.wasStalled = true
    this.#isStalled = true
    this.#isSilent = !keepPinging
    this.#socket?.pause()
  }

  wake (): void {
    if (!this.#isStalled) return
    this.#isStalled = false
    this.#isSilent = false
    this.#socket?.resume()
  }

  cut (): void { this.#socket?.reset() }
  end (): void { this.#socket?.reset() }

  ping (): void {
    if (!this.isJoined || this.#isSilent) return
    const { account } = this
    this.#socket?.send(encode([IN.PING, null, account.last > 0 ? { [this.#shared.options.room]: account.last } : null]))
  }

  #frame (frame: Frame): void {
    const { account } = this
    if (isEntry(frame)) return account.entry(frame[1] as number)
    switch (frame[0]) {
      case OUT.WELCOME: {
        const { room, view = 'full', history = 0 } = this.#shared.options
        const options = this.#joins === 0 ? { view, history } : { view, history: 0, position: [account.epoch, account.last] }
        return void this.#socket?.send(encode([IN.JOIN, 1, room, options]))
      }
      case OUT.JOINED: return this.#joined(frame)
      case OUT.SKIPPED: return account.skip(frame[1] as number, frame[2] as number, frame[3] as number)
      case OUT.ERR: this.#socket?.close()
    }
  }

  #joined (frame: Frame): void {
    const [, , , epoch, head, , recovered] = frame as unknown as [number, number, string, string, number, unknown, boolean]
    const isFirst = this.#joins++ === 0
    if (isFirst) this.account.join(epoch, (this.#shared.options.history ?? 0) === 0 ? head + 1 : null)
    else if (!recovered) this.account.restart(epoch)
    this.isJoined = true
    if (!isFirst) this.longestAwayMs = Math.max(this.longestAwayMs, performance.now() - this.#awayAt)
    if (isFirst) this.#shared.onStep?.(this, null)
  }

  #measure (batch: Batch): void {
    let times = this.#shared.times.get(batch)
    if (times === undefined) {
      times = timesOf(batch)
      this.#shared.times.set(batch, times)
    }
    const now = performance.timeOrigin + performance.now()
    const latency = this.wasStalled ? this.#shared.lateLatency ??= new Latency() : this.#shared.latency ??= new Latency()
    for (const [at, count] of times) latency.add(now - at, count)
  }
}

function timesOf (batch: Batch): [number, number][] {
  const times = new Map<number, number>()
  for (const frame of batch.frames) {
    if (frame[0] !== OUT.MESSAGE) continue
    const body = frame[5]
    const written = typeof body === 'string' && body.startsWith('@') ? Number.parseFloat(body.slice(1)) : NaN
    const at = Number.isFinite(written) ? written : frame[2] as number
    times.set(at, (times.get(at) ?? 0) + 1)
  }
  return [...times]
}
