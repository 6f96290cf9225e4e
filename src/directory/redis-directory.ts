// The directory of rooms in Redis: a hash of records, and a sorted set of names for lists. Creating, removing and listing
// are functions (base/redis-functions.lua), so each is one act. Bound: a list is at most 1,000 rooms; a deadline
// on every call.
//
//   uproar:{rooms}:records ─▶ hash: name ─▶ [kind, createdAt, createdBy] in MessagePack
//   uproar:{rooms}:names   ─▶ sorted set, all at score 0: names in order
//
// A name is its UTF-16 units, big-endian: Redis sorts bytes, and that order is the one of code units.

import { pack, unpack } from '../../proto/codec.ts'
import { AppError } from '../base/errors.ts'
import { checkName, NAME_CHARACTERS_MAX } from '../base/names.ts'
import { RedisFault, type Redis, type RedisWord } from '../base/redis.ts'
import { callFunction, type RedisFunction } from '../base/redis-functions.ts'
import { ROOM_KINDS, type Directory, type RoomKind, type RoomList, type RoomRecord } from './directory.ts'

const LIST_MAX = 1000
const TAG = 'rooms'
/** How long a call may take, outages included. */
const CALL_MS = 5000
const RETRY_MS = 50

/** The directory under `prefix` (such as `uproar:`). */
export function createRedisDirectory (redis: Redis, prefix: string): Directory {
  return new RedisDirectory(redis, prefix)
}

class RedisDirectory implements Directory {
  readonly #redis: Redis
  readonly #prefix: string

  constructor (redis: Redis, prefix: string) {
    this.#redis = redis
    this.#prefix = `${prefix}{${TAG}}:`
  }

  async get (room: string): Promise<RoomRecord | null> {
    const name = nameBytes(room)
    const found = await patiently(() => this.#redis.call(TAG, 'HGET', [`${this.#prefix}records`, name])) as Buffer | null
    return found === null ? null : readRecord(room, found)
  }

  async create (record: RoomRecord): Promise<{ record: RoomRecord, created: boolean }> {
    const { room, kind, createdAt, createdBy } = record
    const bytes = Buffer.from(pack([kind, createdAt, createdBy]))
    let attempts = 0
    const [found, isMade] = await patiently(() => {
      attempts++
      return this.#call('create', [nameBytes(room), bytes])
    }) as [Buffer, number]
    // A second attempt that finds our own record: the first one made it, and its answer was lost.
    return { record: readRecord(room, found), created: isMade === 1 || (attempts > 1 && bytes.equals(found)) }
  }

  async attribute (room: string, from: string, to: string): Promise<boolean> {
    const record = await this.get(room)
    if (record?.createdBy !== from) return false
    const [before, after] = [from, to].map((name) => Buffer.from(pack([record.kind, record.createdAt, name])))
    // A repeat of a call whose answer was lost finds what it wrote itself.
    return await patiently(() => this.#call('attribute', [nameBytes(room), before as Buffer, after as Buffer])) === 1
  }

  async remove (room: string): Promise<boolean> {
    const name = nameBytes(room)
    return await patiently(() => this.#call('remove', [name]), (fault) => fault.isUnsent) === 1
  }

  async list (query: { prefix?: string, after?: string, limit: number }): Promise<RoomList> {
    const { prefix = '', after = '' } = query
    const limit = Math.min(LIST_MAX, Math.max(1, query.limit))
    const from = after !== '' && after >= prefix ? bound('(', nameBytes(after)) : bound('[', nameBytes(prefix))
    const end = prefix === '' ? '+' : bound('[', Buffer.concat([nameBytes(prefix), Buffer.alloc(NAME_CHARACTERS_MAX * 2, 0xff)]))
    const pairs = await patiently(() => this.#call('list', [from, end, limit + 1])) as Buffer[]
    const rooms: RoomRecord[] = []
    for (let i = 0; i < pairs.length; i += 2) rooms.push(readRecord(bytesName(pairs[i] as Buffer), pairs[i + 1] as Buffer))
    return { rooms: rooms.slice(0, limit), more: rooms.length > limit }
  }

  #call (name: RedisFunction, words: readonly RedisWord[]): Promise<unknown> {
    return callFunction(this.#redis, TAG, name, this.#prefix, words)
  }
}

/** Calls again while Redis is away, until CALL_MS have passed; `mayRepeat` says after which faults. */
async function patiently (call: () => Promise<unknown>, mayRepeat: (fault: RedisFault) => boolean = () => true): Promise<unknown> {
  for (const end = performance.now() + CALL_MS; ;) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof RedisFault)) throw error
      if (!error.isAway) throw new AppError('internal', 'the directory could not be reached', { cause: error })
      if (performance.now() >= end || !mayRepeat(error)) throw new AppError('unavailable', 'the directory does not answer; try again', { cause: error })
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

function bound (kind: '(' | '[', name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(kind), name])
}

/** Throws AppError `bad_request` for a name beyond measure. */
function nameBytes (name: string): Buffer {
  checkName(name)
  return Buffer.from(name, 'utf16le').swap16()
}

function bytesName (bytes: Buffer): string {
  return Buffer.from(bytes).swap16().toString('utf16le')
}

function readRecord (room: string, bytes: Uint8Array): RoomRecord {
  const [kind, createdAt, createdBy] = unpack(bytes) as [string, number, string | null]
  if (!(ROOM_KINDS as readonly string[]).includes(kind)) throw new AppError('internal', `the directory holds a room of the unknown kind ${JSON.stringify(kind)}`)
  return { room, kind: kind as RoomKind, createdAt, createdBy }
}
