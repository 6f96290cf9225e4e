// One measurement of delivery: a server, viewers, authors at a pace; warm up, count for some seconds, then let everything
// arrive and hold every viewer to account. Shared by the rows that ask what a delivery costs and how long it takes.

import type { AuthorsReport } from './authors.ts'
import { Load } from './load.ts'
import { Subject, type SubjectKind } from './subject.ts'
import type { ViewersReport } from './viewers.ts'

export interface DeliveryPlan {
  readonly viewers: number
  readonly perSecond: number
  readonly warmS: number
  /** The pace of all but the last WARM_AT_PACE_S seconds of that (default the same): what V8 compiles it finds by calls. */
  readonly warmPerSecond?: number
  readonly countS: number
  readonly rooms?: number
  /** Connections that write (default 20), the same for all: what is read of one connection costs less together. Uproar's are viewers too, and are taken off `viewers`; a peer's where they watch. */
  readonly authors?: number
  /** A peer's authors watch too, and write in their own room. */
  readonly authorsWatch?: boolean
  /** So many viewers stop reading before the count starts. */
  readonly stalled?: number
  readonly nodeOptions?: readonly string[]
  /** Runs beside the count, until `over` says so. */
  readonly beside?: (subject: Subject, watching: Load, over: AbortSignal) => Promise<void>
}

export interface Delivery {
  /** Messages times viewers that arrived while counting. */
  readonly deliveries: number
  /** Messages that were written while counting, a second. */
  readonly sentPerSecond: number
  /** Server, user and system, while counting. */
  readonly cpuSeconds: number
  readonly seconds: number
  readonly perCpuSecond: number
  /** WebSocket messages that one viewer got a second: for a server that gathers, its windows. */
  readonly framesPerSecond: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Missing, doubled or late numbers at all viewers; announced as skipped. */
  readonly missing: number
  readonly repeated: number
  readonly skipped: number
  /** Written but not arrived when the time to settle was over: the server had fallen behind. */
  readonly behind: number
  readonly refused: number
  /** Connections that ended by themselves. */
  readonly ended: number
  /** Share of its core that the load took. */
  readonly loadShare: number
  /** Resident bytes of the server: before anyone wrote, when the count began, when it ended. */
  readonly memory: { readonly idle: number, readonly before: number, readonly after: number }
}

const AUTHORS = 20
const SETTLE_MS = 2000
const WARM_AT_PACE_S = 8
/** A crowd that rested writes for so long before it is counted. */
const LEAD_S = 1

export async function measureDelivery (kind: SubjectKind, plan: DeliveryPlan): Promise<Delivery> {
  const subject = await Subject.start(kind, plan.nodeOptions)
  try {
    return await measureBetween(subject, subject, plan)
  } finally {
    await subject.stop()
  }
}

/** The same on servers that run: authors on one, viewers on the same or another. What is read of a server is read of the authors'. */
export async function measureBetween (subject: Subject, viewersAt: Subject, plan: DeliveryPlan): Promise<Delivery> {
  const crowd = new MeasuredCrowd(subject, viewersAt, plan)
  try {
    await crowd.open()
    return await crowd.count()
  } finally {
    await crowd.end()
  }
}

/** Viewers and authors on a server that runs: opened and warmed up once, counted as often as is wanted. */
export class MeasuredCrowd {
  readonly #subject: Subject
  readonly #viewersAt: Subject
  readonly #plan: DeliveryPlan
  readonly #watching = new Load()
  readonly #writing = new Load()
  #idle = 0
  #isWriting = false

  constructor (subject: Subject, viewersAt: Subject, plan: DeliveryPlan) {
    this.#subject = subject
    this.#viewersAt = viewersAt
    this.#plan = plan
  }

  /** Opens all and warms up; the authors go on writing. */
  async open (): Promise<void> {
    const { viewers, perSecond, warmS, rooms = 1, authorsWatch = false, authors = AUTHORS, stalled = 0, warmPerSecond = perSecond } = this.#plan
    const { dialect } = this.#subject.kind
    const ownsEyes = dialect === 'uproar' || authorsWatch
    await this.#watching.order('viewers.open', { port: this.#viewersAt.wsPort, dialect, viewers: ownsEyes ? viewers - authors : viewers, rooms })
    await this.#writing.order('authors.open', { port: this.#subject.wsPort, dialect, authors, rooms, watch: authorsWatch })
    this.#idle = this.#subject.memory().rss
    if (stalled > 0) await this.#watching.order('viewers.stall', stalled)
    const otherS = warmPerSecond === perSecond ? 0 : warmS - WARM_AT_PACE_S
    if (otherS > 0) await this.#write(warmPerSecond, otherS)
    await this.#write(perSecond, warmS - otherS)
  }

  /** Counts for the plan's time, then waits until everything has arrived. What is said of all that arrived is said of all counts. */
  async count (): Promise<Delivery> {
    const { perSecond, countS, rooms = 1, stalled = 0, beside } = this.#plan
    if (!this.#isWriting) await this.#write(perSecond, LEAD_S)
    const memoryBefore = this.#subject.memory().rss
    const before = await this.#snapshot()
    const over = AbortSignal.timeout(countS * 1000)
    await Promise.all([sleep(countS * 1000), beside?.(this.#subject, this.#watching, over)])
    const after = await this.#snapshot()
    const memoryAfter = this.#subject.memory().rss
    await this.rest()
    await this.#watching.order('viewers.quiet', SETTLE_MS)
    const last = await this.#watching.order('viewers.report')
    const said = await this.#writing.order('authors.report')

    const received = after.heard.received - before.heard.received + after.said.received - before.said.received
    const seconds = (after.at - before.at) / 1000
    const cpuSeconds = after.cpu - before.cpu
    const { latency } = after.heard
    const each = rooms === 1 ? last.viewers : last.viewers / rooms
    const due = stalled > 0 ? 0 : Math.round((this.#subject.kind.dialect === 'uproar' ? said.accepted : said.sent) * each)
    return {
      deliveries: received,
      sentPerSecond: (after.said.sent - before.said.sent) / seconds,
      cpuSeconds,
      seconds,
      perCpuSecond: received / cpuSeconds,
      framesPerSecond: (after.heard.frames - before.heard.frames) / seconds / last.viewers,
      p50: latency.p50,
      p99: latency.p99,
      max: latency.max,
      missing: last.missing + said.missing,
      repeated: last.repeated + said.repeated,
      skipped: last.skipped,
      behind: Math.max(0, due - last.received),
      refused: said.refused,
      ended: last.ended + said.ended,
      loadShare: (after.load - before.load) / seconds,
      memory: { idle: this.#idle, before: memoryBefore, after: memoryAfter }
    }
  }

  /** Nobody writes until the next count. */
  async rest (): Promise<void> {
    this.#isWriting = false
    await this.#writing.order('authors.pace', 0)
  }

  async end (): Promise<void> {
    // Closed from their side first: a server that stops would have each of them come again.
    await Promise.allSettled([this.#watching.order('end'), this.#writing.order('end')])
    for (const load of [this.#watching, this.#writing]) await load.end()
  }

  async #write (perSecond: number, seconds: number): Promise<void> {
    this.#isWriting = true
    await this.#writing.order('authors.pace', perSecond)
    await sleep(seconds * 1000)
  }

  async #snapshot (): Promise<Snapshot> {
    const [heard, said] = await Promise.all([this.#watching.order('viewers.report'), this.#writing.order('authors.report')])
    return { at: performance.now(), cpu: this.#subject.cpuSeconds(), load: this.#watching.cpuSeconds() + this.#writing.cpuSeconds(), heard, said }
  }
}

interface Snapshot { at: number, cpu: number, load: number, heard: ViewersReport, said: AuthorsReport }

export function sleep (ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
