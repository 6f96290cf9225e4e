// What tests of rooms stand on: rooms on the real embedded log, with topics, sockets and the clock in hand, and viewers
// that can account for what they were sent.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { decodeTrusted, BadFrame, type Frame } from '../../proto/codec.ts'
import { packTail } from '../../proto/entry.ts'
import { OUT, ROLE } from '../../proto/ops.ts'
import type { Identity } from '../auth/auth.ts'
import { ManualClock } from '../base/clock.ts'
import { loadConfig } from '../base/config.ts'
import { Refusal } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbDirectory } from '../directory/lmdb-directory.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import type { Encoding } from './encoding.ts'
import { Rooms, type Census, type Member, type Past, type Room, type Viewer } from './rooms.ts'

type Test = Pick<typeof import('tap').t, 'teardown'>

export const person = (id: string, roles = 0, rooms: Record<string, number> = {}): Identity =>
  ({ id, name: id, roles, rooms: new Map(Object.entries(rooms)), expiresAt: Infinity, tokenId: null })
export const admin = person('root', ROLE.admin)

/** Topics and sockets in memory; a paused socket keeps what it is given. */
export class Wire {
  topics = new Map<string, Set<Watcher>>()
  publish (topic: string, bytes: Uint8Array): void {
    for (const viewer of this.topics.get(topic) ?? []) viewer.receive(bytes)
  }
}

export class Watcher implements Viewer {
  identity: Identity | null
  readonly wire: Wire
  isPaused = false
  held: Uint8Array[] = []
  frames: Frame[] = []
  /** Messages that came as a DEFLATED frame; what was in them is in `frames`. */
  deflated: Uint8Array[] = []
  closed = ''
  /** How many messages it had been sent whenever it was told to flush. */
  flushes: number[] = []
  member: Member | null = null

  constructor (wire: Wire, identity: Identity | null = null) {
    this.wire = wire
    this.identity = identity
  }

  send (bytes: Uint8Array): boolean { this.receive(bytes); return true }
  buffered (): number { return this.held.reduce((sum, bytes) => sum + bytes.length, 0) }
  flush (): void { this.flushes.push(this.of(OUT.MESSAGE).length) }
  subscribe (topic: string): void {
    const set = this.wire.topics.get(topic) ?? new Set()
    this.wire.topics.set(topic, set.add(this))
  }

  unsubscribe (topic: string): void { this.wire.topics.get(topic)?.delete(this) }
  tooSlow (): void { this.closed = 'too_slow'; this.member?.room.leave(this.member) }
  evicted (): void { this.closed = 'evicted' }

  receive (bytes: Uint8Array): void {
    if (this.isPaused) { this.held.push(bytes); return }
    const frames = decodeTrusted(bytes)
    if (frames instanceof BadFrame) throw new Error(frames.reason)
    const [first, ...others] = frames
    if (first?.[0] !== OUT.DEFLATED) return void this.frames.push(...frames)
    if (others.length > 0 || this.member?.encoding !== 'deflate') throw new Error('DEFLATED beside others, or to who did not ask for it')
    this.deflated.push(bytes)
    this.receive(inflateSync(first[1] as Uint8Array))
  }

  resume (): void {
    this.isPaused = false
    for (const bytes of this.held.splice(0)) this.receive(bytes)
    this.member?.room.drained(this.member)
  }

  of (op: number): Frame[] { return this.frames.filter((frame) => frame[0] === op) }
  get seqs (): number[] { return this.of(OUT.MESSAGE).concat(this.of(OUT.STATE)).map((frame) => frame[1] as number).sort((a, b) => a - b) }

  /** Every seq from the first one received on is there once and in order, or was announced as skipped. */
  account (): { first: number, last: number, faults: string[] } {
    let next = -1
    let first = -1
    const faults: string[] = []
    for (const frame of this.frames) {
      const [op, seq, last] = frame as [number, number, number]
      if (op === OUT.SKIPPED) {
        if (next !== -1 && seq !== next) faults.push(`skipped from ${seq}, expected ${next}`)
        if (first === -1) first = seq
        next = last + 1
      } else if (op >= OUT.MESSAGE && op <= OUT.EDIT) {
        if (next !== -1 && seq !== next) faults.push(`got ${seq}, expected ${next}`)
        if (first === -1) first = seq
        next = seq + 1
      }
    }
    return { first, last: next - 1, faults }
  }
}

export async function setUp (t: Test, env: Record<string, string> = {}, cluster?: Census, past?: Past) {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-rooms-'))
  const clock = new ManualClock()
  const metrics = new Metrics()
  const config = loadConfig(env)
  const store = await openStore(dir)
  const log = createLmdbLog(store, { clock, metrics, durability: 'commit', queueMax: 10_000, dedupMinutes: 10, retention: { hours: config.retentionHours, entriesMax: config.retentionEntriesMax, mbMax: config.retentionMbMax } })
  const directory = createLmdbDirectory(store)
  const wire = new Wire()
  const faults: unknown[] = []
  const rooms = new Rooms({ log, directory, fanout: wire, clock, metrics, config, cluster, ...(past === undefined ? {} : { past }), fault: (error, what) => faults.push([what, error]) })
  rooms.start()
  t.teardown(async () => {
    rooms.stop()
    await log.close()
    await store.close()
    rmSync(dir, { recursive: true })
  })
  let nonce = 0
  const say = async (room: string, count = 1, body: number | Uint8Array = 20): Promise<void> => {
    const tail = packTail(typeof body === 'number' ? [['u', 'U', 0], 0, 'x'.repeat(body), null] : [['u', 'U', 0], 5, body, null])
    await Promise.all(Array.from({ length: count }, () => log.publish(room, { op: OUT.MESSAGE, tail, author: 'u', nonce: `n${nonce++}` })))
  }
  const open = async (name: string, by: Identity | null = null): Promise<Room> => {
    const room = await rooms.open(name, by)
    if (room instanceof Refusal) throw new Error(room.message)
    return room
  }
  const enter = (room: Room, options: { position?: [string, number] | null, history?: number, as?: Identity | null, view?: 'full' | 'live', encoding?: Encoding } = {}): Watcher => {
    const viewer = new Watcher(wire, options.as ?? null)
    viewer.member = room.join(viewer, 1, { position: options.position ?? null, history: options.history ?? 50, view: options.view ?? 'full', encoding: options.encoding ?? 'plain' })
    return viewer
  }
  /** Lets windows and slices run out. */
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 50; turn++) {
      clock.advance(50)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { clock, metrics, config, log, directory, wire, rooms, faults, say, open, enter, settle }
}
