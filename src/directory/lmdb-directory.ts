// The directory of rooms on the embedded store: one record a room, sorted by name. Owns the table `rooms`; creating
// and removing are decided here, one process owning the store, and answered when they are durable.
// Bound: the rooms being created or removed at this moment; a list is at most 1,000 rooms.

import { pack, unpack } from '../../proto/codec.ts'
import { AppError } from '../base/errors.ts'
import { keyName, nameKey, read, type Store, type Table } from '../base/store.ts'
import { ROOM_KINDS, type Directory, type RoomKind, type RoomList, type RoomRecord } from './directory.ts'

const LIST_MAX = 1000
/** Changes under way at once; beyond it callers get `overloaded`. */
const CHANGES_MAX = 10_000

/** The directory in `store`. */
export function createLmdbDirectory (store: Store): Directory {
  return new LmdbDirectory(store)
}

class LmdbDirectory implements Directory {
  readonly #store: Store
  readonly #table: Table
  /** The last change under way of each room, so that changes of one room happen one after the other. */
  readonly #changes = new Map<string, Promise<unknown>>()

  constructor (store: Store) {
    this.#store = store
    this.#table = store.tables.rooms
  }

  async get (room: string): Promise<RoomRecord | null> {
    return this.#read(room)
  }

  create (record: RoomRecord): Promise<{ record: RoomRecord, created: boolean }> {
    return this.#inTurn(record.room, async () => {
      const existing = this.#read(record.room)
      if (existing !== null) return { record: existing, created: false }
      const { room, kind, createdAt, createdBy } = record
      const value = pack([kind, createdAt, createdBy])
      await this.#store.commit(() => { void this.#table.put(nameKey(room), value) })
      return { record: { room, kind, createdAt, createdBy }, created: true }
    })
  }

  attribute (room: string, from: string, to: string): Promise<boolean> {
    return this.#inTurn(room, async () => {
      const existing = this.#read(room)
      if (existing?.createdBy !== from) return false
      const value = pack([existing.kind, existing.createdAt, to])
      await this.#store.commit(() => { void this.#table.put(nameKey(room), value) })
      return true
    })
  }

  remove (room: string): Promise<boolean> {
    return this.#inTurn(room, async () => {
      if (this.#read(room) === null) return false
      await this.#store.commit(() => { void this.#table.remove(nameKey(room)) })
      return true
    })
  }

  async list (query: { prefix?: string, after?: string, limit: number }): Promise<RoomList> {
    const { prefix = '', after = '' } = query
    const limit = Math.min(LIST_MAX, Math.max(1, query.limit))
    // The key after a name's own is that name with one more zero byte, which no name has.
    const start = after !== '' && after >= prefix ? Buffer.concat([nameKey(after), Buffer.alloc(1)]) : nameKey(prefix)
    const rooms: RoomRecord[] = []
    for (const { key, value } of this.#table.getRange({ start, limit: limit + 1 })) {
      const room = keyName(key)
      if (!room.startsWith(prefix)) break
      rooms.push(readRecord(room, value))
    }
    return { rooms: rooms.slice(0, limit), more: rooms.length > limit }
  }

  #read (room: string): RoomRecord | null {
    const stored = read(this.#table, nameKey(room))
    return stored === undefined ? null : readRecord(room, stored)
  }

  async #inTurn<T> (room: string, change: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(room)
    if (this.#changes.size >= CHANGES_MAX && before === undefined) throw new AppError('overloaded', 'too many rooms are being made; try again', { retryAfterMs: 500 })
    const mine = before === undefined ? change() : before.then(change, change)
    this.#changes.set(room, mine)
    try {
      return await mine
    } finally {
      if (this.#changes.get(room) === mine) this.#changes.delete(room)
    }
  }
}

function readRecord (room: string, bytes: Uint8Array): RoomRecord {
  const [kind, createdAt, createdBy] = unpack(bytes) as [string, number, string | null]
  if (!(ROOM_KINDS as readonly string[]).includes(kind)) throw new AppError('internal', `the directory holds a room of the unknown kind ${JSON.stringify(kind)}`)
  return { room, kind: kind as RoomKind, createdAt, createdBy }
}
