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
  const watching = new Load()
  const writing = new Load()
  try {
    return await measure(subject, viewersAt, watching, writing, plan)
  } finally {
    for (const load of [watching, writing]) await load.end()
  }
}

async function measure (subject: Subject, viewersAt: Subject, watching: Load, writing: Load, plan: DeliveryPlan): Promise<Delivery> {
  const { viewers, perSecond, warmS, countS, rooms = 1, authorsWatch = false, stalled = 0, warmPerSecond = perSecond } = plan
  const { dialect } = subject.kind
  const ownsEyes = dialect === 'uproar' || authorsWatch
  const authors = plan.authors ?? AUTHORS
  await watching.order('viewers.open', { port: viewersAt.wsPort, dialect, viewers: ownsEyes ? viewers - authors : viewers, rooms })
  await writing.order('authors.open', { port: subject.wsPort, dialect, authors, rooms, watch: authorsWatch })
  const idle = subject.memory().rss
  if (stalled > 0) await watching.order('viewers.stall', stalled)
  const otherS = warmPerSecond === perSecond ? 0 : warmS - WARM_AT_PACE_S
  if (otherS > 0) {
    await writing.order('authors.pace', warmPerSecond)
    await sleep(otherS * 1000)
  }
  await writing.order('authors.pace', perSecond)
  await sleep((warmS - otherS) * 1000)
  const memoryBefore = subject.memory().rss
  const before = await snapshot(subject, watching, writing)
  const over = AbortSignal.timeout(countS * 1000)
  await Promise.all([sleep(countS * 1000), plan.beside?.(subject, watching, over)])
  const after = await snapshot(subject, watching, writing)
  const memoryAfter = subject.memory().rss
  await writing.order('authors.pace', 0)
  await watching.order('viewers.quiet', SETTLE_MS)
  const last = await watching.order('viewers.report')
  const said = await writing.order('authors.report')
  await Promise.all([watching.order('end'), writing.order('end')])

  const received = after.heard.received - before.heard.received + after.said.received - before.said.received
  const seconds = (after.at - before.at) / 1000
  const cpuSeconds = after.cpu - before.cpu
  const { latency } = after.heard
  const each = rooms === 1 ? last.viewers : last.viewers / rooms
  const due = stalled > 0 ? 0 : Math.round((dialect === 'uproar' ? said.accepted : said.sent) * each)
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
    memory: { idle, before: memoryBefore, after: memoryAfter }
  }
}

interface Snapshot { at: number, cpu: number, load: number, heard: ViewersReport, said: AuthorsReport }

async function snapshot (subject: Subject, watching: Load, writing: Load): Promise<Snapshot> {
  const [heard, said] = await Promise.all([watching.order('viewers.report'), writing.order('authors.report')])
  return { at: performance.now(), cpu: subject.cpuSeconds(), load: watching.cpuSeconds() + writing.cpuSeconds(), heard, said }
}

export function sleep (ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
