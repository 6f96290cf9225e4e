// The erasures that are under way and those that are done, as state of a room of the server's own: every instance reads
// them, and they are there again after a death. A change counts only upon the state that it was made of, so of two
// instances one begins a job, and one has it at a time:
//
//   job:<id>   ─▶ [user, pseudonym, by, at, stage, after, rooms, entries, lease, leaseUntil, stageAt]
//   mark:<id> <room>  ─▶ [epoch, seq, becomes]    the removal that stands in the room until the job ends
//
// A job that is done has no user any more: nothing leads from the pseudonym back to the person.
// Bounds: WAITING_MAX at once, DONE_MAX that are done, MARKS_MAX marks a job.

import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { StateConflict, type Log, type RoomState } from '../log/log.ts'

/** In this order. `echo`: everything is erased but the notices that tell viewers to take it off their screens. */
export const STAGES = ['rooms', 'records', 'estates', 'scrub', 'echo', 'rinse', 'done'] as const
export type Stage = (typeof STAGES)[number]

export interface Job {
  readonly id: string
  /** Null once it is done. */
  readonly user: string | null
  readonly pseudonym: string
  readonly by: string
  /** Unix milliseconds. */
  readonly at: number
  readonly stage: Stage
  /** The room that was finished last. */
  readonly after: string
  readonly rooms: number
  readonly entries: number
  /** The instance that works on it, and until when that counts. */
  readonly lease: string
  readonly leaseUntil: number
  /** When the stage began. */
  readonly stageAt: number
}

export interface Mark { readonly room: string, readonly epoch: string, readonly seq: number }

const ROOM = 'uproar:jobs'
export const WAITING_MAX = 100
export const DONE_MAX = 1000
const TRIES_MAX = 20
type Fields = readonly [string | null, string, string, number, Stage, string, number, number, string, number, number]

export class Jobs {
  readonly #log: Log

  constructor (log: Log) { this.#log = log }

  /** All, the oldest first. Rejects with the log's AppError. */
  async all (): Promise<Job[]> {
    return jobsOf(await this.#log.state(ROOM))
  }

  /**
   * Changes what `decide` says, made of the jobs as they are: called again when another was faster. What it answers beside
   * the changes is handed on. Rejects with the log's AppError.
   */
  async change<T> (decide: (jobs: readonly Job[]) => { readonly put: readonly Job[], readonly drop?: readonly string[], readonly answer: T }): Promise<T> {
    for (let tries = 1; ; tries++) {
      const state = await this.#log.state(ROOM)
      const { put, drop = [], answer } = decide(jobsOf(state))
      if (put.length + drop.length === 0) return answer
      const guarded = { ...Object.fromEntries(drop.map((key) => [key, null])), ...Object.fromEntries(put.map((job) => [`job:${job.id}`, fieldsOf(job)])) }
      try {
        await this.#publish(guarded, state.seq)
        return answer
      } catch (error) {
        if (!(error instanceof StateConflict) || tries === TRIES_MAX) throw error
      }
    }
  }

  /** Notes where a job's removal stands in a room. */
  async mark ({ id }: Job, { room, epoch, seq }: Mark): Promise<void> {
    await this.#publish({ [`mark:${id} ${room} ${seq}`]: epoch })
  }

  async marks ({ id }: Job): Promise<Mark[]> {
    const { guarded } = await this.#log.state(ROOM)
    return Object.entries(guarded).filter(([key]) => key.startsWith(`mark:${id} `)).map(([key, epoch]) => {
      const [, room, seq] = key.split(' ') as [string, string, string]
      return { room, epoch: epoch as string, seq: Number(seq) }
    })
  }

  async #publish (guarded: Readonly<Record<string, unknown>>, atState?: number): Promise<void> {
    await this.#log.publish(ROOM, { op: OUT.STATE, tail: packTail([{}]), author: 'uproar', nonce: null, patch: { guarded }, ...(atState === undefined ? {} : { atState }) })
  }
}

/** The key of a mark, for its end. */
export function markKey ({ id }: Job, { room, seq }: Mark): string {
  return `mark:${id} ${room} ${seq}`
}

function jobsOf ({ guarded }: RoomState): Job[] {
  return Object.entries(guarded).filter(([key]) => key.startsWith('job:')).map(([key, value]): Job => {
    const [user, pseudonym, by, at, stage, after, rooms, entries, lease, leaseUntil, stageAt] = value as Fields
    return { id: key.slice(4), user, pseudonym, by, at, stage, after, rooms, entries, lease, leaseUntil, stageAt }
  }).sort((a, b) => a.at - b.at)
}

function fieldsOf ({ user, pseudonym, by, at, stage, after, rooms, entries, lease, leaseUntil, stageAt }: Job): Fields {
  return [user, pseudonym, by, at, stage, after, rooms, entries, lease, leaseUntil, stageAt]
}
