// Rooms: which are active on this instance, how one is found or made, what may be set. The face of the module.
//
//   open ──▶ active? ──▶ directory ──▶ (made on demand) ──▶ log: state + newest entries ──▶ Room
//                                                              idle for a while, nobody in it ──▶ leaves memory
//
// Bounds: ROOMS_ACTIVE_MAX rooms in memory. Must not know sockets or HTTP.

import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { isRoom, type Position } from '../../proto/values.ts'
import { can, type Identity } from '../auth/auth.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import { Refusal, refusalOf } from '../base/errors.ts'
import { UNCOUNTED, type Metrics } from '../base/metrics.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { ROOM_KINDS, type Directory, type RoomKind, type RoomRecord } from '../directory/directory.ts'
import type { Log } from '../log/log.ts'
import { Audit } from '../moderation/moderation.ts'
import { seriesOf } from './broadcast.ts'
import { Busiest } from './busiest.ts'
import type { Member } from './member.ts'
import type { Past } from './pages.ts'
import { Room, type RoomContext } from './room.ts'
import { parseSettings, readSettings, toldSettings, type ToldSettings } from './settings.ts'
import type { Fanout } from './viewer.ts'

export { Room, RESUME_ENTRIES, type JoinOptions } from './room.ts'
export type { History, Past } from './pages.ts'
export { Member } from './member.ts'
export type { Cursor, CursorStep } from './cursor.ts'
export type { Skip } from './reader.ts'
export type { Fanout, Viewer } from './viewer.ts'
export { blockedTerms, parseModes, SETTING_NAMES, type RoomSettings } from './settings.ts'
export { partsFor, SWEEP_BYTES } from './delivery.ts'

/** Names with this prefix belong to the server and are refused to clients. */
export const RESERVED_PREFIX = 'uproar:'

/**
 * Where the built-in viewer of every instance talks. It has a log and nothing else: no record in the directory, so it is in
 * no list; no count of its viewers or messages; and the feed passes over what is in it, as over all rooms of the server.
 */
export const PROBE_ROOM = `${RESERVED_PREFIX}probe`

/** A room as REST shows it. */
export interface RoomView {
  readonly room: string
  readonly kind: RoomKind
  readonly createdAt: number
  readonly createdBy: string | null
  readonly epoch: string
  readonly seq: number
  readonly viewers: number
  readonly settings: ToldSettings
}

export interface RoomsOptions {
  readonly log: Log
  readonly directory: Directory
  readonly fanout: Fanout
  readonly clock: Clock
  readonly metrics: Metrics
  readonly config: Config
  /** Who counts viewers on other instances; by default there are none. */
  readonly cluster?: Census
  /** What the log no longer has; by default nothing is kept. */
  readonly past?: Past
  /** Told of faults that have no caller to go to. */
  readonly fault: (error: unknown, what: string) => void
}

/** What rooms need of the cluster. */
export type Census = Pick<Cluster, 'note' | 'elsewhere' | 'askViewers'>

const ALONE: Census = { note () {}, elsewhere: () => 0, askViewers: async (rooms) => rooms.map(() => 0) }

const TICK_MS = 1000
const TICKS_PER_ANNOUNCEMENT = 2
const TICKS_PER_RANKING = 3
/** Idle rooms that leave memory in one tick: what that asks of the log must leave room for messages. */
const RETIRED_PER_TICK = 1000

export class Rooms {
  readonly #log: Log
  readonly #directory: Directory
  readonly #clock: Clock
  readonly #metrics: Metrics
  readonly #config: Config
  readonly #fault: (error: unknown, what: string) => void
  readonly #context: RoomContext
  readonly #census: Census
  readonly #audit: Audit
  readonly #busiest: Busiest
  #active = new Map<string, Room>()
  #opening = new Map<string, Promise<Room | Refusal>>()
  /** The last making, setting, deleting or forgetting under way of each room: one after the other. */
  #turns = new Map<string, Promise<unknown>>()
  #changed = new Set<Room>()
  #behind = new Set<Member>()
  /** Rooms without viewers, and since when. */
  #idle = new Map<Room, number>()
  #tick: Timer | null = null
  #ticks = 0
  #isStopped = false

  constructor (options: RoomsOptions) {
    const { log, directory, clock, metrics, config, fault } = options
    this.#log = log
    this.#directory = directory
    this.#clock = clock
    this.#metrics = metrics
    this.#config = config
    this.#fault = fault
    this.#census = options.cluster ?? ALONE
    this.#audit = new Audit(log)
    this.#busiest = new Busiest(metrics)
    this.#context = {
      log, clock, metrics, series: seriesOf(metrics), fault, fanout: options.fanout, past: options.past ?? null,
      window: { maxMs: config.windowMsMax, bigMaxMs: config.windowBigMsMax },
      sliceViewers: config.sliceViewers,
      slowBytes: config.slowKb * 1024,
      deflate: { bytesMin: config.deflateBytesMin, viewersMin: config.deflateViewersMin },
      slowTimeoutMs: config.slowTimeoutS * 1000,
      ringEntriesMax: config.ringEntriesMax,
      ringBytesMax: config.ringKbMax * 1024,
      whyLost: (room) => this.#whyLost(room),
      elsewhere: (room) => this.#census.elsewhere('viewers', room),
      noteViewers: (room) => this.#noteViewers(room),
      noteBehind: (member) => { this.#behind.add(member) },
      noteEnd: (room) => this.#forget(room)
    }
  }

  /** Rooms that are watched here, with all their viewers on all instances. */
  * watched (): Iterable<readonly [room: string, viewers: number]> {
    for (const [name, room] of this.#active) if (room.viewers > 0) yield [name, room.total]
  }

  start (): void {
    this.#tick = this.#clock.every(TICK_MS, () => this.#onTick())
  }

  /** Lets every room go. Viewers should have been sent away before. */
  stop (): void {
    this.#isStopped = true
    this.#tick?.cancel()
    for (const room of [...this.#active.values()]) room.close()
  }

  /** The active room of that name, or null. */
  active (name: string): Room | null {
    return this.#active.get(name) ?? null
  }

  /** The room's viewers on other instances changed: those here are told with the next announcement. */
  viewersChanged (name: string): void {
    const room = this.#active.get(name)
    if (room !== undefined) this.#changed.add(room)
  }

  /**
   * The active room, loaded or made where that is allowed. Refuses with bad_request (name), not_found,
   * unauthorized or forbidden (private), overloaded (too many active rooms), unavailable (the store). With a position that
   * another instance has sent, it waits until this one has heard of it (a while at most).
   */
  async open (name: string, by: Identity | null, position: Position | null = null): Promise<Room | Refusal> {
    const room = this.#active.get(name) ?? await this.#load(name, by)
    if (room instanceof Refusal) return room
    if (room.name === PROBE_ROOM && by?.isProbe !== true) return checkName(name) as Refusal
    if (room.isClosed) return new Refusal('unavailable', `the room ${name} is being closed`, 1000)
    this.#touch(room)
    if (!can(by, 'read', { name, isPrivate: room.settings.private })) return closedTo(by, name)
    if (position === null || !room.isBehind(position)) return room
    await this.#reach(room, position)
    return this.open(name, by)
  }

  /** Waits until the room has heard of what somebody says to have, a while at most, where the log does have it. */
  async #reach (room: Room, [epoch, seq]: Position): Promise<void> {
    const head = await this.#log.head(room.name).catch(() => null)
    if (head !== null && head.epoch === epoch && head.seq >= seq && room.isBehind([epoch, seq])) await room.awaited.until(seq)
  }

  /** Like open, but makes nothing: for those who only read what is there. */
  async find (name: string, by: Identity | null): Promise<Room | Refusal> {
    const fault = checkName(name)
    if (fault !== null) return fault
    if (this.#active.has(name)) return this.open(name, by)
    const record = await this.#guard(() => this.#directory.get(name))
    if (record instanceof Refusal) return record
    return record === null ? missing(name) : this.open(name, by)
  }

  /** The room's record, settings and numbers; makes nothing. */
  async describe (name: string, by: Identity | null): Promise<RoomView | Refusal> {
    const fault = checkName(name)
    if (fault !== null) return fault
    return this.#guard(async () => {
      const record = await this.#directory.get(name)
      if (record === null) return missing(name)
      const view = await this.#view(record)
      return can(by, 'read', { name, isPrivate: view.settings.private }) ? view : closedTo(by, name)
    })
  }

  /** Makes the room when there is none, and sets what the request says; viewers are told by a STATE entry. */
  async configure (name: string, by: Identity, request: { kind?: RoomKind, settings?: Record<string, unknown> }): Promise<{ view: RoomView, created: boolean } | Refusal> {
    const fault = checkName(name)
    if (fault !== null) return fault
    const patch = parseSettings(request.settings ?? {})
    if (patch instanceof Refusal) return patch
    if (request.kind !== undefined && !ROOM_KINDS.includes(request.kind)) return new Refusal('bad_request', `kind must be one of ${ROOM_KINDS.join(', ')}`)
    return this.#guard(() => this.#inTurn(name, async () => {
      const known = await this.#directory.get(name)
      const settings = readSettings(await this.#stateOf(known, name))
      if (!can(by, 'read', { name, isPrivate: settings.private })) return closedTo(by, name)
      if (!can(by, known === null ? 'create' : 'configure', { name, isPrivate: settings.private })) return new Refusal('forbidden', `making or setting ${name} needs the role broadcaster or admin`)
      if (known !== null && request.kind !== undefined && request.kind !== known.kind) return new Refusal('bad_request', 'the kind of a room cannot be changed')
      const { record, created } = known !== null
        ? { record: known, created: false }
        : await this.#directory.create({ room: name, kind: request.kind ?? 'stream', createdAt: this.#clock.now(), createdBy: by.id })
      const isEmpty = Object.keys(patch.settings ?? {}).length + Object.keys(patch.guarded ?? {}).length === 0
      if (!isEmpty) await this.#noteAct('configure', name, by, { settings: request.settings })
      if (!isEmpty) await this.#log.publish(name, { op: OUT.STATE, tail: packTail([patch.settings]), author: by.id, nonce: null, patch })
      await this.#active.get(name)?.settled()
      return { view: await this.#view(record), created }
    }))
  }

  /** Deletes the room, its log and its record; viewers are told and let go. */
  async remove (name: string, by: Identity): Promise<true | Refusal> {
    const fault = checkName(name)
    if (fault !== null) return fault
    if (!can(by, 'delete', { name, isPrivate: false })) return new Refusal('forbidden', `deleting ${name} needs the role admin`)
    // The record goes last: where the log fails, or the process ends, between the two, the deletion can be repeated.
    return this.#guard(() => this.#inTurn(name, async () => {
      if (await this.#directory.get(name) === null) return missing(name)
      await this.#noteAct('delete', name, by, {})
      await this.#log.remove(name)
      await this.#directory.remove(name)
      return true
    }))
  }

  /** Rooms by name, without private ones that the asker may not enter. */
  async list (query: { prefix?: string, after?: string, limit: number }, by: Identity | null): Promise<{ rooms: RoomView[], more: boolean } | Refusal> {
    return this.#guard(async () => {
      const page = await this.#directory.list(query)
      const counts = await this.#census.askViewers(page.rooms.map(({ room }) => room))
      const views = await Promise.all(page.rooms.map((record, at) => this.#view(record, counts[at])))
      return { rooms: views.filter((view) => can(by, 'read', { name: view.room, isPrivate: view.settings.private })), more: page.more }
    })
  }

  /** Rooms in memory here with the most viewers on all instances, most first. Looks at every one of them: for people, not for a hot path. */
  mostWatched (count: number): { room: string, viewers: number }[] {
    return [...this.#active.values()].filter((room) => room.viewers > 0 && !room.name.startsWith(RESERVED_PREFIX))
      .map((room) => ({ room: room.name, viewers: room.total }))
      .sort((a, b) => b.viewers - a.viewers || (a.room < b.room ? -1 : 1)).slice(0, count)
  }

  /** The audit row of a change that is no action of moderation; it stands before the change. */
  #noteAct (action: string, room: string, by: Identity, args: Record<string, unknown>): Promise<void> {
    return this.#audit.append({ room, action, by: by.id, source: 'human', whom: null, text: null, reason: null, args, failure: null })
  }

  async #load (name: string, by: Identity | null): Promise<Room | Refusal> {
    const fault = checkName(name, by)
    if (fault !== null) return fault
    if (this.#isStopped) return new Refusal('unavailable', 'the server is stopping', 1000)
    const opening = this.#opening.get(name)
    if (opening !== undefined) return opening
    if (!this.#hasSpace()) return new Refusal('overloaded', 'too many rooms are active on this server', 5000)
    const promise = this.#guard(() => this.#inTurn(name, () => this.#make(name, by))).finally(() => this.#opening.delete(name))
    this.#opening.set(name, promise)
    return promise
  }

  /** Whether one more room may be active; where all places are taken, the room that nobody has used for longest gives way. */
  #hasSpace (): boolean {
    const { roomsActiveMax } = this.#config
    const isFull = (): boolean => this.#active.size + this.#opening.size >= roomsActiveMax
    const [oldest] = isFull() ? this.#idle : []
    // One that was opened just now is about to be entered.
    if (oldest !== undefined && oldest[1] < this.#clock.elapsed() - TICK_MS) this.#retire(oldest[0])
    return !isFull()
  }

  async #make (name: string, by: Identity | null): Promise<Room | Refusal> {
    const isProbe = name === PROBE_ROOM
    let record = isProbe ? { room: name, kind: 'stream' as const, createdAt: this.#clock.now(), createdBy: null } : await this.#directory.get(name)
    if (record === null) {
      if (!this.#config.roomsOnDemand && !can(by, 'create', { name, isPrivate: false })) return missing(name)
      record = (await this.#directory.create({ room: name, kind: 'stream', createdAt: this.#clock.now(), createdBy: null })).record
    }
    const room = await Room.open(isProbe ? { ...this.#context, metrics: UNCOUNTED, series: seriesOf(UNCOUNTED) } : this.#context, record)
    if (room.isClosed) return new Refusal('unavailable', `the room ${name} is being closed`, 1000)
    this.#active.set(name, room)
    this.#noteRooms()
    this.#noteViewers(room)
    return room
  }

  /** `elsewhere`: viewers on other instances, where they were asked for already. */
  async #view (record: RoomRecord, elsewhere?: number): Promise<RoomView> {
    const room = this.#active.get(record.room)
    const { kind, createdAt, createdBy } = record
    if (room !== undefined) {
      return { room: record.room, kind, createdAt, createdBy, epoch: room.epoch, seq: room.seq, viewers: room.viewers + (elsewhere ?? await this.#elsewhere(room)), settings: room.told }
    }
    const head = await this.#log.head(record.room)
    const settings = toldSettings(readSettings(await this.#log.state(record.room)))
    const viewers = elsewhere ?? (await this.#census.askViewers([record.room]))[0]
    return { room: record.room, kind, createdAt, createdBy, epoch: head.epoch, seq: head.seq, viewers: viewers ?? 0, settings }
  }

  /** Of a room that nobody watches here the cluster keeps no count, so it is asked. */
  async #elsewhere (room: Room): Promise<number> {
    if (room.viewers > 0) return room.total - room.viewers
    return (await this.#census.askViewers([room.name]))[0] ?? 0
  }

  async #stateOf (record: RoomRecord | null, name: string): Promise<{ seq: number, settings: Record<string, unknown>, guarded: Record<string, unknown> }> {
    return record === null ? { seq: 0, settings: {}, guarded: {} } : await this.#log.state(name)
  }

  async #whyLost (name: string): Promise<Refusal> {
    await this.#turns.get(name)?.catch(() => null)
    return await this.#directory.get(name) === null
      ? new Refusal('not_found', `the room ${name} was deleted`)
      : new Refusal('unavailable', `the room ${name} has to be joined anew`, 1000)
  }

  async #inTurn<T> (name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name)
    const mine = before === undefined ? work() : before.then(work, work)
    this.#turns.set(name, mine)
    try {
      return await mine
    } finally {
      if (this.#turns.get(name) === mine) this.#turns.delete(name)
    }
  }

  /** Turns a failing store into the refusal that the caller gets. */
  async #guard<T> (work: () => Promise<T>): Promise<T | Refusal> {
    try {
      return await work()
    } catch (error) {
      this.#fault(error, 'the room store')
      return refusalOf(error)
    }
  }

  #noteViewers (room: Room): void {
    this.#changed.add(room)
    // One that has ended may have made way for another of its name.
    const active = this.#active.get(room.name)
    if (room.name !== PROBE_ROOM && (active === undefined || active === room)) this.#census.note('viewers', room.name, room.viewers)
    this.#touch(room)
  }

  /** Notes that the room is in use now; from here on it may be idle. */
  #touch (room: Room): void {
    this.#idle.delete(room)
    if (room.viewers === 0 && !room.isClosed) this.#idle.set(room, this.#clock.elapsed())
  }

  #forget (room: Room): void {
    if (this.#active.get(room.name) === room) this.#active.delete(room.name)
    this.#changed.delete(room)
    this.#idle.delete(room)
    this.#noteRooms()
  }

  #noteRooms (): void {
    this.#metrics.set('uproar_rooms', this.#active.size - (this.#active.has(PROBE_ROOM) ? 1 : 0))
  }

  #onTick (): void {
    this.#ticks++
    if (this.#ticks % TICKS_PER_ANNOUNCEMENT === 0) {
      for (const room of this.#changed) room.announceViewers()
      this.#changed.clear()
    }
    for (const member of this.#behind) if (!member.room.checkBehind(member)) this.#behind.delete(member)
    this.#metrics.set('uproar_slow_viewers', this.#behind.size)
    if (this.#ticks % TICKS_PER_RANKING === 0 || this.#busiest.isUnderWay) this.#busiest.look(this.#active.values(), this.#clock.elapsed())
    const over = this.#clock.elapsed() - this.#config.roomIdleS * 1000
    let left = RETIRED_PER_TICK
    for (const [room, since] of this.#idle) {
      if (since > over || left-- === 0) break
      this.#retire(room)
    }
  }

  /** An idle room leaves memory; one that was made on demand and never used leaves the store too. */
  #retire (room: Room): void {
    const isForgettable = room.isBlank && room.name !== PROBE_ROOM && this.#config.roomsOnDemand && room.record.createdBy === null
    room.close()
    if (!isForgettable) return
    this.#inTurn(room.name, () => this.#forgetBlank(room.name)).catch((error: unknown) => this.#fault(error, `forgetting ${room.name}`))
  }

  async #forgetBlank (name: string): Promise<void> {
    if ((await this.#log.head(name)).seq > 0) return
    await this.#log.remove(name)
    await this.#directory.remove(name)
  }
}

function checkName (name: string, by: Identity | null = null): Refusal | null {
  if (!isRoom(name)) return new Refusal('bad_request', 'room must be 1 to 64 of A-Z a-z 0-9 _ . : -, and not . or ..')
  if (by?.isProbe === true && name === PROBE_ROOM) return null
  return name.startsWith(RESERVED_PREFIX) ? new Refusal('forbidden', `names that start with ${RESERVED_PREFIX} belong to the server`) : null
}

/** Why somebody may not enter a private room, and what would help. */
function closedTo (by: Identity | null, name: string): Refusal {
  return by === null
    ? new Refusal('unauthorized', `the room ${name} is private: it needs a token that names it`)
    : new Refusal('forbidden', `the room ${name} is private: the token (with a server key, \`as\`) must name it in \`rooms\``)
}

function missing (name: string): Refusal {
  return new Refusal('not_found', `there is no room ${name}`)
}
