// Publishing straight into a room log, for the benches of its engines: authors without think time, as many at once as is
// said, each message with a nonce; afterwards the log is read whole and must hold every one of them once, in order.

import { entrySeq, packTail } from '../proto/entry.ts'
import { OUT } from '../proto/ops.ts'
import { AppError } from '../src/base/errors.ts'
import type { Draft, Log } from '../src/log/log.ts'

export interface PublishingPlan {
  readonly seconds: number
  readonly atOnce: number
  readonly rooms: number
  /** Of the rooms' names. */
  readonly prefix: string
  /** Told by calls, as the server is, instead of a promise each. */
  readonly isTold?: boolean
}

export interface Published {
  readonly count: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** CPU of this process, user and system, a message. */
  readonly cpuUs: number
}

const ENTRY_BYTES = 150
const user = ['user-1234', 'User 1234', 1]
const empty = packTail([user, 0, '', null]).bytes.length + 16
const tail = packTail([user, 0, 'x'.repeat(ENTRY_BYTES - 1 - empty), null])

export const entryBytes = 16 + tail.bytes.length

/** Publishes for so many seconds, then checks. Throws when anything is missing, doubled or out of order. */
export async function publishInto (log: Log, { seconds, atOnce, rooms, prefix, isTold = false }: PublishingPlan): Promise<Published> {
  const took: number[] = []
  const cpu = process.cpuUsage()
  const start = performance.now()
  const end = start + seconds * 1000
  const roomOf = (n: number): string => `${prefix}-${n % rooms}`
  const draftOf = (n: number): Draft => ({ op: OUT.MESSAGE, tail, author: `user-${n % 5000}`, nonce: `${prefix}-${n}` })
  let count = 0
  const author = async (): Promise<void> => {
    for (let now = performance.now(); now < end; now = performance.now()) {
      const n = count++
      for (let isTaken = false; !isTaken;) {
        try {
          await log.publish(roomOf(n), draftOf(n))
          isTaken = true
        } catch (error) {
          await new Promise((resolve) => setTimeout(resolve, waitOf(error)))
        }
      }
      took.push(performance.now() - now)
    }
  }
  /** The same, told by calls: each begins the next. */
  const toldAuthor = (): Promise<void> => new Promise((resolve, reject) => {
    let n = 0
    let since = 0
    const send = (): void => log.submit(roomOf(n), draftOf(n), outcome)
    const begin = (): void => {
      since = performance.now()
      if (since >= end) return resolve()
      n = count++
      send()
    }
    const outcome = {
      resolve: () => {
        took.push(performance.now() - since)
        begin()
      },
      reject: (error: unknown) => {
        try {
          setTimeout(send, waitOf(error))
        } catch (fault) {
          reject(fault as Error)
        }
      }
    }
    begin()
  })
  await Promise.all(Array.from({ length: atOnce }, isTold ? toldAuthor : author))
  const elapsed = (performance.now() - start) / 1000
  const { user: own, system } = process.cpuUsage(cpu)
  took.sort((a, b) => a - b)
  const at = (share: number): number => Number((took[Math.floor(took.length * share)] ?? 0).toFixed(2))
  await check(log, prefix, rooms, count)
  return { count, perSecond: Math.round(count / elapsed), p50Ms: at(0.5), p99Ms: at(0.99), cpuUs: Number(((own + system) / count).toFixed(1)) }
}

/** It takes more than it can settle for a while, and says so then: an author waits and comes again. Milliseconds; throws what is no such refusal. */
function waitOf (error: unknown): number {
  if (!(error instanceof AppError) || error.retryAfterMs === null) throw error
  return error.retryAfterMs
}

/** Every accepted entry is there once: the rooms' logs are dense and together as long as what was published. */
async function check (log: Log, prefix: string, rooms: number, published: number): Promise<void> {
  let found = 0
  for (let i = 0; i < rooms; i++) {
    const room = `${prefix}-${i}`
    for (let seq = 0; ;) {
      const { entries, head } = await log.after(room, seq, { entries: 1000, bytes: 1e9 })
      for (const entry of entries) if (entrySeq(entry) !== ++seq) throw new Error(`${room} has ${entrySeq(entry)} where ${seq} should be`)
      found += entries.length
      if (seq === head.seq) break
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  if (found !== published) throw new Error(`${published} were accepted and ${found} are there`)
}
