// People's rights: to have everything erased that is kept about them, and to be given it. The face of the module.
//
//   erase ─▶ audit row ─▶ job (jobs.ts) ─▶ rooms ─▶ records ─▶ estates ─▶ scrub ─▶ … echo … ─▶ rinse ─▶ done
//                            │            (a room after the other; where it stands is durable)
//                            └─ taken up by any instance, after a death by another; each step may be done twice
//
// Rooms: room-erasure.ts. Records: audit log, notifications, dead letters. Estates: what others keep (the archive).
// Scrub and rinse: journal and streams of the log. Echo: for a while the removal stands in the rooms, so that viewers
// who come back take the messages off their screens; it names the user, so then it goes too.
// Must not know HTTP. Bounds: jobs.ts; one job at a time in an instance; LEASE_MS without a sign, and another takes it up.

import { randomBytes } from 'node:crypto'
import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { unpack } from '../../proto/codec.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { AppError, Refusal, refusalOf } from '../base/errors.ts'
import type { Directory } from '../directory/directory.ts'
import { roomOf, TOPICS, deadOf } from '../feed/feed.ts'
import type { Log } from '../log/log.ts'
import { Audit, AUDIT_ROOM } from '../moderation/moderation.ts'
import type { Estate } from './estate.ts'
import { exportOf } from './export.ts'
import { DONE_MAX, Jobs, markKey, STAGES, WAITING_MAX, type Job, type Stage } from './jobs.ts'
import { eraseFromAudit, eraseFromRoom, eraseMark, eraseRecords, type Erasure } from './room-erasure.ts'

export type { Estate } from './estate.ts'
export { STAGES, type Job } from './jobs.ts'

export interface RightsOptions {
  readonly log: Log
  readonly directory: Directory
  readonly clock: Clock
  /** How long removals stand in the rooms, milliseconds. */
  readonly echoMs: number
  /** No other process has this log: what a lease says is of one that is dead. */
  readonly isAlone: boolean
  /** How long a stage may find an engine away before it is said; 60,000 when left out. */
  readonly complainMs?: number
  /** What else keeps things about people. */
  readonly estates?: readonly Estate[]
  /** Called on every instance as somebody begins to be erased: what memory has is to go. */
  readonly forget: (user: string) => void
  readonly fault: (error: unknown, what: string) => void
}

const LOOK_MS = 5000
const LEASE_MS = 10_000
const RENEW_MS = 2000
const COMPLAIN_MS = 60_000
const DONE_KEPT_MS = 90 * 86_400_000
/** All rooms: in audit rows that are about no one room. */
const EVERYWHERE = '*'
/** Logs of records, beside the audit log: what names the person there goes whole. */
const RECORD_ROOMS = [...TOPICS.filter((topic) => topic !== 'messages' && topic !== 'audit').map(roomOf), ...TOPICS.map(deadOf).map(roomOf)]

export class Rights {
  readonly name = 'rights'
  readonly #options: RightsOptions
  readonly #jobs: Jobs
  readonly #audit: Audit
  readonly #instance = randomBytes(9).toString('base64url')
  #timer: Timer | null = null
  #working: Promise<void> | null = null
  #isStopped = false
  /** What could not be done, since when. */
  #waiting: { readonly key: string, readonly since: number, isSaid: boolean } | null = null
  #unwatch = (): void => {}

  constructor (options: RightsOptions) {
    this.#options = options
    this.#jobs = new Jobs(options.log)
    this.#audit = new Audit(options.log)
  }

  /** Begins to look for jobs that nobody works on. */
  start (): void {
    this.#watch()
    this.#timer = this.#options.clock.every(LOOK_MS, () => this.#look())
    this.#look()
  }

  /** Leaves the job where it stands; another instance, or the next start, goes on with it. */
  async stop (): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#unwatch()
    await this.#working
  }

  /** Begins to erase a person; answers the job, or the one that is under way already. Never rejects. */
  async erase (user: string, by: string, reason: string | null = null): Promise<Job | Refusal> {
    return this.#guarded(async () => {
      const { clock, log } = this.#options
      const known = (await this.#jobs.all()).find((job) => job.user === user)
      if (known !== undefined) return known
      const id = randomBytes(9).toString('base64url')
      await this.#audit.append({ room: EVERYWHERE, action: 'erase', by, source: 'human', whom: user, text: null, reason, args: { job: id }, failure: null })
      const now = clock.now()
      const fresh: Job = { id, user, pseudonym: `erased-${randomBytes(9).toString('base64url')}`, by, at: now, stage: 'rooms', after: '', rooms: 0, entries: 0, lease: '', leaseUntil: 0, stageAt: now }
      const job = await this.#jobs.change<Job | Refusal>((jobs) => {
        const other = jobs.find((job) => job.user === user)
        if (other !== undefined) return { put: [], answer: other }
        if (jobs.filter(({ stage }) => stage !== 'done').length >= WAITING_MAX) return { put: [], answer: new Refusal('overloaded', `${WAITING_MAX} erasures are under way; try again later`, 60_000) }
        return { put: [fresh], drop: overdue(jobs, now), answer: fresh }
      })
      if (job === fresh) await log.publish(roomOf('erasures'), { op: OUT.STATE, tail: packTail([{ v: 1, id, user, at: now }]), author: 'uproar', nonce: id })
      this.#look()
      return job
    })
  }

  /** A job, as far as it is now; for GET. Never rejects. */
  async job (id: string): Promise<Job | Refusal> {
    return this.#guarded(async () => (await this.#jobs.all()).find((job) => job.id === id) ?? new Refusal('not_found', 'there is no such erasure (any more)'))
  }

  /**
   * Everything that is kept about a person, as records, with `{type: 'begin'}` first and `{type: 'end'}` last. `after`: only rooms behind this name.
   * Writes its audit row before the first record. Rejects with an AppError when something cannot be read.
   */
  async * export (user: string, by: string, after = ''): AsyncGenerator<Readonly<Record<string, unknown>>> {
    await this.#audit.append({ room: EVERYWHERE, action: 'export', by, source: 'human', whom: user, text: null, reason: null, args: {}, failure: null })
    const { log, directory, estates = [] } = this.#options
    yield * exportOf({ log, directory, audit: this.#audit, estates }, user, after)
  }

  async #guarded<T> (work: () => Promise<T | Refusal>): Promise<T | Refusal> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof AppError)) this.#options.fault(error, 'people\'s rights')
      return refusalOf(error)
    }
  }

  /** Every instance hears who is being erased. */
  #watch (): void {
    const begin = (): void => {
      if (this.#isStopped) return
      this.#unwatch = this.#options.log.watch(roomOf('erasures'), {
        entries: (batch) => { for (const entry of batch) this.#heard(entry) },
        lost: begin
      })
    }
    begin()
  }

  #heard (entry: Uint8Array): void {
    const [, , , record] = unpack(entry) as [number, number, number, { user?: unknown } | undefined]
    if (typeof record?.user === 'string') this.#options.forget(record.user)
  }

  #look (): void {
    if (this.#isStopped) return
    this.#working ??= this.#work().catch((error: unknown) => {
      if (!(error instanceof Ended)) this.#options.fault(error, 'an erasure (it is tried again)')
    }).finally(() => { this.#working = null })
  }

  async #work (): Promise<void> {
    for (;;) {
      const job = await this.#claim()
      if (job === null) return
      await this.#run(job)
    }
  }

  /** Takes the oldest job that is free and has something to do now. */
  #claim (): Promise<Job | null> {
    const now = this.#options.clock.now()
    const isDue = ({ stage, stageAt, lease, leaseUntil }: Job): boolean =>
      stage !== 'done' && (lease === '' ? leaseUntil <= now : this.#options.isAlone || lease === this.#instance || leaseUntil < now) && (stage !== 'echo' || stageAt + this.#options.echoMs <= now)
    return this.#jobs.change<Job | null>((jobs) => {
      const free = this.#isStopped ? undefined : jobs.find(isDue)
      if (free === undefined) return { put: [], answer: null }
      const mine = { ...free, lease: this.#instance, leaseUntil: now + LEASE_MS }
      return { put: [mine], answer: mine }
    })
  }

  /** Does what there is to do of a job now. */
  async #run (claimed: Job): Promise<void> {
    const hand = new Hand(claimed, this.#jobs, { instance: this.#instance, clock: this.#options.clock, isStopped: () => this.#isStopped })
    const erasure: Erasure = {
      log: this.#options.log, user: claimed.user as string, pseudonym: claimed.pseudonym, id: claimed.id, now: () => this.#options.clock.now(),
      mark: (mark) => this.#jobs.mark(claimed, mark), beat: () => hand.beat()
    }
    for (;;) {
      const { stage } = hand.job
      if (stage === 'echo' && hand.job.stageAt + this.#options.echoMs > this.#options.clock.now()) return hand.save({ lease: '', leaseUntil: 0 })
      // The job itself named the user until now.
      if (stage === 'done') return void await this.#options.log.scrubbing()()
      if (!await this.#tried(stage, hand, erasure)) return hand.save({ lease: '', leaseUntil: this.#options.clock.now() + LOOK_MS })
      await hand.advance()
    }
  }

  /** Does a stage; false: not to its end, it is tried again. That an engine stays away is said once. */
  async #tried (stage: Exclude<Stage, 'done'>, hand: Hand, erasure: Erasure): Promise<boolean> {
    try {
      return await this.#stages[stage](hand, erasure)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      // An engine that is away comes back, most of them before anybody need know.
      const { clock, complainMs = COMPLAIN_MS, fault } = this.#options
      const key = `${erasure.id} ${stage}`
      if (this.#waiting?.key !== key) this.#waiting = { key, since: clock.elapsed(), isSaid: false }
      if (this.#waiting.isSaid || clock.elapsed() - this.#waiting.since < complainMs) return false
      this.#waiting.isSaid = true
      fault(error, `an erasure waits (${stage}), and is tried again`)
      return false
    }
  }

  /** What each stage does; false: it has to wait for others. */
  readonly #stages: Readonly<Record<Exclude<Stage, 'done'>, (hand: Hand, erasure: Erasure) => Promise<boolean>>> = {
    rooms: async (hand, erasure) => {
      for (;;) {
        const { rooms, more } = await this.#options.directory.list({ after: hand.job.after, limit: 100 })
        for (const { room, createdBy } of rooms) {
          const entries = await eraseFromRoom(erasure, room)
          if (createdBy === erasure.user) await this.#options.directory.attribute(room, erasure.user, erasure.pseudonym)
          await hand.did(room, entries)
        }
        if (!more) return true
      }
    },
    records: async (hand, erasure) => {
      let entries = await eraseFromAudit(erasure, AUDIT_ROOM)
      for (const room of RECORD_ROOMS) if (room !== roomOf('erasures')) entries += await eraseRecords(erasure, room)
      await hand.save({ entries: hand.job.entries + entries })
      return true
    },
    estates: async (hand, { user, pseudonym }) => {
      for (const estate of this.#options.estates ?? []) {
        await hand.during(estate.erase(user, pseudonym))
        await hand.beat()
      }
      return true
    },
    scrub: (hand) => this.#scrub(hand),
    echo: async (hand, erasure) => {
      for (const mark of await this.#jobs.marks(hand.job)) {
        await eraseMark(erasure, mark)
        await hand.beat()
      }
      await eraseRecords(erasure, roomOf('erasures'))
      // Rows that moderators caused by what they did meanwhile.
      await eraseFromAudit(erasure, AUDIT_ROOM)
      return true
    },
    rinse: (hand) => this.#scrub(hand)
  }

  async #scrub (hand: Hand): Promise<boolean> {
    const scrub = this.#options.log.scrubbing()
    // Consumers of the feed that do not come keep it waiting, but not the jobs behind it: they come in their turn.
    for (const end = this.#options.clock.elapsed() + LEASE_MS; this.#options.clock.elapsed() < end;) {
      if (await scrub()) return true
      await hand.beat()
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    return false
  }
}

/** The work was taken away, or the program stops. */
class Ended extends Error {}

/** A job in hand: where it stands is written now and then, and before the next stage. */
class Hand {
  job: Job
  readonly #jobs: Jobs
  readonly #context: { readonly instance: string, readonly clock: Clock, readonly isStopped: () => boolean }
  #savedAt: number

  constructor (job: Job, jobs: Jobs, context: { readonly instance: string, readonly clock: Clock, readonly isStopped: () => boolean }) {
    this.job = job
    this.#jobs = jobs
    this.#context = context
    this.#savedAt = context.clock.elapsed()
  }

  /** Says now and then that somebody works. Throws Ended. */
  async beat (): Promise<void> {
    if (this.#context.isStopped()) throw new Ended()
    if (this.#context.clock.elapsed() - this.#savedAt >= RENEW_MS) await this.save({ leaseUntil: this.#context.clock.now() + LEASE_MS })
  }

  /** Says so while something long is waited for. */
  async during (work: Promise<void>): Promise<void> {
    let isOver = false
    const done = work.finally(() => { isOver = true })
    // Where this ends before it, nobody waits for it any more.
    done.catch(() => {})
    while (!isOver) {
      await Promise.race([done, new Promise((resolve) => setTimeout(resolve, RENEW_MS))])
      await this.beat()
    }
    await done
  }

  /** A room is finished. */
  async did (room: string, entries: number): Promise<void> {
    this.job = { ...this.job, after: room, rooms: this.job.rooms + 1, entries: this.job.entries + entries }
    await this.beat()
  }

  async save (changes: Partial<Job>): Promise<void> {
    const { instance } = this.#context
    const wanted = { ...this.job, ...changes }
    const isOurs = await this.#jobs.change((jobs) => {
      const now = jobs.find(({ id }) => id === wanted.id)
      return now?.lease === instance ? { put: [wanted], answer: true } : { put: [], answer: false }
    })
    if (!isOurs) throw new Ended()
    this.job = wanted
    this.#savedAt = this.#context.clock.elapsed()
  }

  /** On to the next stage; behind the last one the job forgets whom it was about. */
  async advance (): Promise<void> {
    const stage = STAGES[STAGES.indexOf(this.job.stage) + 1] as Stage
    const now = this.#context.clock.now()
    if (stage !== 'done') return this.save({ stage, stageAt: now, leaseUntil: now + LEASE_MS })
    const wanted: Job = { ...this.job, stage, stageAt: now, user: null, lease: '', leaseUntil: 0 }
    const marks = await this.#jobs.marks(this.job)
    await this.#jobs.change((jobs) => jobs.some(({ id }) => id === wanted.id) ? { put: [wanted], drop: marks.map((mark) => markKey(wanted, mark)), answer: null } : { put: [], answer: null })
    this.job = wanted
  }
}

/** The keys of jobs that are done for long, or are too many. */
function overdue (jobs: readonly Job[], now: number): string[] {
  const done = jobs.filter(({ stage }) => stage === 'done')
  return done.filter(({ stageAt }, at) => now - stageAt > DONE_KEPT_MS || at < done.length - DONE_MAX).map(({ id }) => `job:${id}`)
}
