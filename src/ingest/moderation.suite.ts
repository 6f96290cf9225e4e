// What the tests of moderation stand on: real rooms on the real embedded log, people of every role, and what each way of
// reading gives to whom.

import type { Test } from 'tap'
import { unpack } from '../../proto/codec.ts'
import { entryOp, entrySeq } from '../../proto/entry.ts'
import { OUT, ROLE } from '../../proto/ops.ts'
import type { Identity } from '../auth/auth.ts'
import { Refusal } from '../base/errors.ts'
import type { Published } from '../log/log.ts'
import { compileTerms } from '../moderation/screen.ts'
import { partsFor, Rooms, type Room } from '../rooms/rooms.ts'
import { person, setUp, type Watcher } from '../rooms/stage.suite.ts'
import { Author, Ingest, Moderator } from './ingest.ts'

export const ROOM = 'den'
export const MOD = person('mod', 0, { [ROOM]: ROLE.moderator })
export const MOD2 = person('mod2', 0, { [ROOM]: ROLE.moderator })
export const HOST = person('host', 0, { [ROOM]: ROLE.broadcaster })
export const ROOT = person('root', ROLE.admin)
export const VIP = person('vip', 0, { [ROOM]: ROLE.vip })
export const ANN = person('ann')
export const BOB = person('bob')

/** Rooms, ingest and moderator with a clock in hand. */
export async function stage (t: Test, env: Record<string, string> = {}) {
  const bench = await setUp(t, { MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0', ...env })
  const { log, clock, metrics, config, faults } = bench
  const fault = (error: unknown, what: string): void => { faults.push([what, error]) }
  const parts = (rooms: Rooms) => {
    const ingest = new Ingest({ log, clock, metrics, config, terms: compileTerms(['plonker']), fault })
    return { rooms, ingest, moderator: new Moderator({ log, rooms, clock, metrics, addressOf: (user) => ingest.addressOf(user), fault }) }
  }
  const one = parts(bench.rooms)
  let nonces = 0
  const say = async (room: Room, by: Identity, body: string, options: { nonce?: string, address?: string, at?: string[] } = {}): Promise<Published | Refusal> =>
    one.ingest.accept(new Author(room, by, options.address ?? '10.0.0.1', 'socket'), { nonce: options.nonce ?? `n${nonces++}`, kind: 0, body, ext: options.at === undefined ? null : { at: options.at } })
  const said = async (room: Room, by: Identity, body: string): Promise<number> => {
    const result = await say(room, by, body)
    if (result instanceof Refusal) throw new Error(`${result.name}: ${result.message}`)
    return result.seq
  }
  const act = (by: Identity | null, action: string, args: unknown = {}) => one.moderator.act(ROOM, by, action, args)
  const done = async (by: Identity, action: string, args: unknown = {}): Promise<Published> => {
    const result = await act(by, action, args)
    if (result instanceof Refusal) throw new Error(`${action}: ${result.name}: ${result.message}`)
    return result
  }
  /** Another instance on the same log. */
  const instance = () => parts(new Rooms({ log, directory: bench.directory, fanout: bench.wire, clock, metrics, config, fault }))
  return { ...bench, ...one, say, said, act, done, instance }
}

export const nameOf = (result: unknown): string => result instanceof Refusal ? result.name : 'ok'
export const bodies = (viewer: Watcher): unknown[] => viewer.of(OUT.MESSAGE).map((frame) => frame[5])
export const pageBodies = async (room: Room, as: Identity | null = null, query: { before?: number, after?: number, limit: number } = { limit: 200 }): Promise<unknown[]> =>
  (await room.history(query, as)).entries.filter((entry) => entryOp(entry) === OUT.MESSAGE).map((entry) => (unpack(entry) as unknown[])[5])

/** What an event stream or a resume would be given, removed ones left out. */
export async function pulled (room: Room, as: Identity | null, position: [string, number] | null = null): Promise<unknown[]> {
  const cursor = room.cursor(position, 200, as)
  const found: unknown[] = []
  let at = cursor.start
  while (at < room.flushed) {
    const step = await cursor.next()
    if (step === 'closed' || step instanceof Refusal) break
    if (step.skipped !== null) at = step.skipped.last
    for (const part of partsFor(step.entries, as?.id ?? null)) {
      at = part instanceof Uint8Array ? entrySeq(part) : part.last
      if (part instanceof Uint8Array && entryOp(part) === OUT.MESSAGE) found.push((unpack(part) as unknown[])[5])
    }
  }
  cursor.close()
  return found
}
