// What the tests of the gateway stand on: a gateway on real rooms, log and tokens, with a socket and a clock in hand.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Test } from 'tap'
import { BadFrame, decodeTrusted, encode, type Frame } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { createAuthenticator } from '../auth/authenticator.ts'
import { ManualClock } from '../base/clock.ts'
import { loadConfig } from '../base/config.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import { createLmdbDirectory } from '../directory/lmdb-directory.ts'
import { Ingest, Moderator } from '../ingest/ingest.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import { compileTerms } from '../moderation/screen.ts'
import { Rooms } from '../rooms/rooms.ts'
import { createListener, Gateway, type GatewayOptions } from './gateway.ts'
import type { Session } from './session.ts'
import type { Socket } from './socket.ts'

class FakeSocket implements Socket {
  frames: Frame[] = []
  ended: { code: number, reason: string } | null = null
  isCut = false
  held = 0
  isFull = false
  topics = new Set<string>()
  send (bytes: Uint8Array): boolean {
    const frames = decodeTrusted(bytes)
    if (frames instanceof BadFrame) throw new Error(frames.reason)
    this.frames.push(...frames)
    return !this.isFull
  }

  buffered (): number { return this.held }
  sendAlong (bytes: Uint8Array): void { this.send(bytes) }
  subscribe (topic: string): void { this.topics.add(topic) }
  unsubscribe (topic: string): void { this.topics.delete(topic) }
  end (code: number, reason: string): void { this.ended = { code, reason } }
  cut (): void { this.isCut = true }
  take (): Frame[] { return this.frames.splice(0) }
}

/** A gateway that ends with the test; nothing listens until it is started. */
export async function setUp (t: Pick<Test, 'teardown'>, env: Record<string, string> = {}, others: Partial<Pick<GatewayOptions, 'cluster' | 'revoked'>> = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-gateway-'))
  const clock = new ManualClock(Date.now())
  const metrics = new Metrics()
  const config = loadConfig(env)
  const store = await openStore(dir)
  const log = createLmdbLog(store, { clock, metrics, durability: 'commit', queueMax: 10_000, dedupMinutes: 10, retention: { hours: 168, entriesMax: 1_000_000, mbMax: 1024 } })
  const faults: unknown[] = []
  const fault = (error: unknown): void => { faults.push(error) }
  const rooms = new Rooms({ log, directory: createLmdbDirectory(store), fanout: { publish () {} }, clock, metrics, config, fault })
  const authenticator = createAuthenticator(config, { clock, log: pino({ level: 'silent' }) })
  await authenticator.start()
  const ingest = new Ingest({ log, clock, metrics, config, terms: compileTerms([]), fault })
  const moderator = new Moderator({ log, rooms, clock, metrics, addressOf: (user) => ingest.addressOf(user), fault })
  const listener = createListener(config)
  const gateway = new Gateway({ config, clock, metrics, rooms, ingest, moderator, authenticator, listener, rhythm: log.rhythm, fault, ...others })
  t.teardown(async () => {
    rooms.stop()
    await authenticator.stop()
    await log.close()
    await store.close()
    rmSync(dir, { recursive: true })
  })
  const token = async (id: string, seconds = 600, roles: string[] = []): Promise<string> => {
    const minted = await authenticator.devTokens?.mint({ id, name: id, roles }, seconds)
    if (typeof minted !== 'string') throw new Error('no token')
    return minted
  }
  const connect = (address = '10.0.0.1'): { socket: FakeSocket, session: Session, say: (...frames: Frame[]) => void } => {
    const socket = new FakeSocket()
    const session = gateway.open(socket, address)
    return { socket, session, say: (...frames) => gateway.message(session, Buffer.concat(frames.map(encode)), true) }
  }
  const until = async (isDone: () => boolean): Promise<void> => {
    for (const end = performance.now() + 10_000; performance.now() < end && !isDone();) await new Promise((resolve) => setImmediate(resolve))
    if (!isDone()) throw new Error('it never came')
  }
  const enter = async (user: string | null, room = 'a', address?: string) => {
    const peer = connect(address)
    peer.say([IN.HELLO, user === null ? null : await token(user), 'test'], [IN.JOIN, 1, room, null])
    await until(() => peer.socket.frames.some((frame) => frame[0] === OUT.JOINED))
    peer.socket.take()
    return peer
  }
  return { clock, config, gateway, log, rooms, metrics, connect, enter, token, until, faults }
}
