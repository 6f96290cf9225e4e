// An active room: what is known of its log, who is here, and how they come in, catch up and leave. Live viewers are sent
// everything by the room's Broadcast; whoever is not live yet, or no longer, reads forward with a Reader as their socket
// drains, and goes live once they stand where a slice stands:
//
//   join ──▶ catching up ──▶ live in a slice ──▶ (too much unsent) ──▶ catching up ──▶ …
//
// Made and let go by Rooms. Must not know what a message says or how a socket works. Bounds: the ring; one Member a viewer.

import { encode, pack, unpack } from '../../proto/codec.ts'
import { entryOp, entryTs, isRemoved } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { LIMITS, type Position, type User } from '../../proto/values.ts'
import { can, rolesIn, type Identity } from '../auth/auth.ts'
import { Refusal } from '../base/errors.ts'
import type { RoomRecord } from '../directory/directory.ts'
import type { Log, LogPage, RoomState, Watcher } from '../log/log.ts'
import { rankOf, RANK, type Guard } from '../moderation/moderation.ts'
import type { Terms } from '../moderation/screen.ts'
import { Awaited } from './awaited.ts'
import { Cursor } from './cursor.ts'
import { Broadcast, type BroadcastContext, type View } from './broadcast.ts'
import { partsFor, roomFrame, skippedFrame, type Slice } from './delivery.ts'
import type { Encoding } from './encoding.ts'
import { Member } from './member.ts'
import { noticesOf } from './notices.ts'
import { Pages, type History, type HistoryQuery, type Past } from './pages.ts'
import { Reader, type Skip, type Step } from './reader.ts'
import { Removals } from './removals.ts'
import { Ring } from './ring.ts'
import { Rules } from './rules.ts'
import type { RoomModes, RoomSettings, ToldSettings } from './settings.ts'
import type { Viewer } from './viewer.ts'

export interface RoomContext extends BroadcastContext {
  readonly log: Log
  readonly past: Past | null
  readonly slowTimeoutMs: number
  readonly ringEntriesMax: number
  readonly ringBytesMax: number
  /** Why the room's log ended: it was deleted, or is to be joined anew. */
  readonly whyLost: (room: string) => Promise<Refusal>
  /** Viewers of the room on other instances, as last known. */
  readonly elsewhere: (room: string) => number
  /** Called when the room's viewers changed, when somebody began to catch up, and when the room ended. */
  readonly noteViewers: (room: Room) => void
  readonly noteBehind: (member: Member) => void
  readonly noteEnd: (room: Room) => void
  /** A fault that has no caller to go to. */
  readonly fault: (error: unknown, what: string) => void
}

export interface JoinOptions {
  readonly position: Position | null
  readonly history: number
  readonly view: View
  readonly encoding: Encoding
}

/** How many missed entries a resume replays; further back it says so and gives the newest history instead. */
export const RESUME_ENTRIES = 10_000
/** A viewer that catches up is handed this much before its socket must drain. */
const CATCH_UP_BYTES = 65_536
/** A live view that falls so far behind goes on near the end, instead of being sent all that the others were not. */
const LIVE_LAG_ENTRIES = 200

export class Room implements Watcher {
  readonly name: string
  readonly record: RoomRecord
  /** What binds here now. */
  #rules: Rules
  readonly #context: RoomContext
  readonly epoch: string
  /** For Busiest alone. */
  rankedSeq = -1
  readonly #frame: Uint8Array
  readonly ring: Ring
  readonly #broadcast: Broadcast
  readonly #removals = new Removals()
  readonly awaited: Awaited
  readonly pages: Pages
  /** Staff who are sent everything at once while others wait for the publication delay. */
  #prompt = new Set<Member>()
  #members = new Set<Member>()
  #cursors = new Set<Cursor>()
  /** Members that already have what the window still gathers; they go live with the next flush. */
  #ahead: Member[] = []
  #announced = 0
  #unwatch: () => void = () => {}
  #stateReading: Promise<void> | null = null
  #stateStale = false
  #isClosed = false

  private constructor (context: RoomContext, record: RoomRecord, page: LogPage, state: RoomState) {
    this.#context = context
    this.awaited = new Awaited(context.clock)
    this.name = record.room
    this.record = record
    this.epoch = page.head.epoch
    this.#frame = roomFrame(this.name, this.epoch)
    this.ring = new Ring(page.head.seq - page.entries.length, context.ringEntriesMax, context.ringBytesMax)
    this.#rules = new Rules(state)
    this.#removals.learn(this.guard)
    for (const entry of page.entries) this.ring.push(this.#removals.redact(entry))
    this.pages = new Pages(this.name, this.epoch, context.log, this.ring, this.#removals, context.past)
    this.#broadcast = new Broadcast(context, {
      livePerSecond: () => this.settings.liveMessagesPerSecond,
      delayMs: () => this.#rules.delayMs,
      isStaff: (member) => this.isStaff(member.viewer.identity),
      demote: (member) => this.#demote(member),
      flushed: () => this.#flushed()
    }, this.ring, this.#frame)
  }

  /** Loads the room from the log: its state, and the newest entries into the ring. Rejects with the log's AppError. */
  static async open (context: RoomContext, record: RoomRecord): Promise<Room> {
    const early: Uint8Array[] = []
    let target: Watcher = { entries: (batch) => { early.push(...batch) }, lost: () => { isLost = true } }
    let isLost = false
    const unwatch = context.log.watch(record.room, { entries: (batch) => target.entries(batch), lost: () => target.lost() })
    try {
      await context.log.head(record.room)
      const page = await context.log.before(record.room, null, { entries: context.ringEntriesMax, bytes: context.ringBytesMax })
      const room = new Room(context, record, page, await context.log.state(record.room))
      room.#unwatch = unwatch
      target = room
      room.entries(early)
      if (isLost) room.lost()
      return room
    } catch (error) {
      unwatch()
      throw error
    }
  }

  get settings (): RoomSettings { return this.#rules.settings }
  get told (): ToldSettings { return this.#rules.told }
  get blockedTerms (): readonly string[] { return this.#rules.blockedTerms }
  get modes (): RoomModes { return this.#rules.modes }
  get terms (): Terms { return this.#rules.terms }
  get guard (): Guard { return this.#rules.guard }
  /** Seq of the newest entry. */
  get seq (): number { return this.ring.last }
  /** Seq up to which every live viewer was sent everything. */
  get flushed (): number { return this.#broadcast.flushed }
  /** Viewers on this instance, event streams included. */
  get viewers (): number { return this.#members.size + this.#cursors.size }
  /** Viewers on all instances, those elsewhere as last counted. */
  get total (): number { return this.viewers + this.#context.elsewhere(this.name) }
  get isClosed (): boolean { return this.#isClosed }
  /** Nothing was ever said or set here: the room may be forgotten. */
  get isBlank (): boolean { return this.ring.last === 0 }

  /** Whether somebody has been sent, elsewhere, what this instance has not heard of yet; or says so. */
  isBehind ([epoch, seq]: Position): boolean { return epoch === this.epoch && seq > this.seq && !this.#isClosed }

  /** Takes a viewer in: JOINED, then entries by its options, then live. */
  join (viewer: Viewer, rid: number, options: JoinOptions): Member {
    const { next, recovered } = this.#startOf(options)
    const head = Math.max(this.flushed, next - 1)
    const encoding = this.#context.deflate.bytesMin === 0 ? 'plain' : options.encoding
    const member = new Member(viewer, this, { view: options.view, encoding }, next)
    this.#members.add(member)
    member.reader = new Reader(this.name, this.#context.log, this.#removals, next, this.flushed)
    this.#context.metrics.add('uproar_joins_total', 1, options.position === null ? 'fresh' : recovered ? 'recovered' : 'not_recovered')
    this.#catchUp(member, this.#joined(rid, head, recovered))
    const user = viewer.identity?.id
    if (user !== undefined) for (const { frame } of noticesOf(null, this.guard, this.#context.clock.now(), user)) viewer.send(Buffer.concat([this.#frame, frame]))
    this.#context.noteViewers(this)
    return member
  }

  /** Lets a viewer go. `isOpen` false: its socket is closed already. */
  leave (member: Member, isOpen = true): void {
    if (member.isGone) return
    member.isGone = true
    this.#members.delete(member)
    this.#prompt.delete(member)
    this.#broadcast.leave(member, isOpen)
    this.#context.noteViewers(this)
  }

  /** In how many milliseconds the log is to commit what comes now, for it cannot be shown before; 0: at once. `now`: clock.elapsed(). */
  askCommit (now: number): number { return this.#broadcast.askCommit(now) }

  /** Whether the member's viewer will be told to flush() soon, when the room next writes to it; where it `hasTime`, whenever that is. */
  hold (member: Member, hasTime = false): boolean { return this.#broadcast.hold(member, hasTime) }

  /** The viewer has another token: one that no longer allows the room lets go of it, and tells it. */
  identified (member: Member): void {
    if (can(member.viewer.identity, 'read', { name: this.name, isPrivate: this.settings.private })) this.#broadcast.identified(member)
    else this.#evict(member, new Refusal('forbidden', `the token does not allow ${this.name}`))
  }

  /** The viewer's socket took bytes: if it catches up here, it is given more. */
  drained (member: Member): void {
    member.progressAt = this.#context.clock.elapsed()
    if (member.reader !== null && !member.isReading) this.#catchUp(member, null)
  }

  /**
   * What a viewer says it has (in PING). The kernel hides megabytes of lag from us, so a live viewer that lacks an entry
   * sent to it longer ago than twice the slow time-out is too slow, whatever its socket says. Entries are sent as they
   * are written, but those of a catch-up, however old, only by the time that it ends.
   */
  reported (member: Member, seq: number): void {
    const { slice } = member
    const missing = Math.max(seq + 1, member.first, this.ring.first)
    const { clock, slowTimeoutMs } = this.#context
    if (slice === null || missing > slice.cursor || clock.elapsed() - member.liveAt <= slowTimeoutMs * 2) return
    if (clock.now() - entryTs(this.ring.at(missing)) > slowTimeoutMs * 2) {
      this.#context.metrics.add('uproar_slow_viewers_total', 1, 'position')
      member.viewer.tooSlow()
    }
  }

  /** A reader that pulls, for event streams; it counts as a viewer until it is closed. */
  cursor (position: Position | null, history: number, identity: Identity | null): Cursor {
    const { next, recovered } = this.#startOf({ position, history })
    const reader = new Reader(this.name, this.#context.log, this.#removals, next, this.flushed)
    const cursor = new Cursor(this, reader, recovered, identity, () => {
      this.#cursors.delete(cursor)
      this.#context.noteViewers(this)
    })
    this.#cursors.add(cursor)
    this.#context.noteViewers(this)
    return cursor
  }

  /** A page of history as this reader may see it. Throws the log's AppError. */
  history (query: HistoryQuery, identity: Identity | null = null): Promise<History> {
    return this.pages.read(query, identity?.id ?? null, this.newestFor(identity), this.isStaff(identity))
  }

  /** Seq of the newest entry that this reader may see. */
  newestFor (identity: Identity | null): number {
    return this.isStaff(identity) || this.#rules.delayMs === 0 ? this.seq : this.flushed
  }

  /** The message of this seq, unless it is gone. Throws the log's AppError. */
  async message (seq: number): Promise<Uint8Array | null> {
    const entry = this.ring.has(seq) ? this.ring.at(seq) : await this.pages.at(seq)
    return entry === null || entryOp(entry) !== OUT.MESSAGE || isRemoved(entry) ? null : entry
  }

  /** Roles of a user as far as they are known here: of all its connections here, or of the newest message in memory; null: not known. */
  rolesOf (user: string): number | null {
    const here = [...this.#members].flatMap(({ viewer: { identity } }) => identity?.id === user ? rolesIn(identity, this.name) : [])
    if (here.length > 0) return here.reduce((all, roles) => all | roles)
    const newest = this.ring.newestBy(user)
    return newest === null ? null : ((unpack(newest) as unknown[])[3] as User)[2]
  }

  /** Sends room frames to a user's connections in this room. */
  tell (user: string, frames: Uint8Array): void {
    for (const { viewer } of this.#members) if (viewer.identity?.id === user) viewer.send(Buffer.concat([this.#frame, frames]))
  }

  /** The log's watcher: entries became durable. */
  entries (batch: readonly Uint8Array[]): void {
    if (this.#isClosed) return
    try {
      for (const entry of batch) {
        if (!this.ring.push(entry)) continue
        const op = entryOp(entry)
        if (op === OUT.STATE) this.#refresh()
        else if (op === OUT.REMOVE) this.#remove(entry)
      }
    } catch (error) {
      this.#context.fault(error, `the log of ${this.name} has a gap`)
      return this.lost()
    }
    this.#broadcast.added(batch)
    this.awaited.heard(this.seq)
    for (const member of this.#prompt) this.drained(member)
  }

  /** What a REMOVE entry names is gone from memory at once; whatever is read later is asked about. */
  #remove (entry: Uint8Array): void {
    const { from, to, target } = this.#removals.apply(entry)
    this.#rules.guard = this.guard.noted(target)
    this.ring.redact(from, to, (held) => this.#removals.redact(held))
  }

  /** The log's watcher: continuity ended. The room ends; whoever opens it again gets the log as it is then. */
  lost (): void {
    this.#stop()
    this.#context.whyLost(this.name).then((why) => this.#end(why), (error: unknown) => {
      this.#context.fault(error, `looking up ${this.name}`)
      this.#end(new Refusal('unavailable', `the room ${this.name} has to be joined anew`, 1000))
    })
  }

  /** Lets the room go when nobody is in it. */
  close (): void {
    this.#end(new Refusal('unavailable', 'the server is stopping', 1000))
  }

  /** Resolves when every STATE entry that has arrived is in force. */
  async settled (): Promise<void> { await this.#stateReading }

  /** Tells the viewers how many they are, when that changed; goes out with the next flush. */
  announceViewers (): void {
    const { total } = this
    if (total === this.#announced || this.#members.size === 0) return
    this.#announced = total
    this.#broadcast.announce(encode([OUT.VIEWERS, total]))
  }

  /** Says what became of a member that has been catching up: false when it no longer needs watching. */
  checkBehind (member: Member): boolean {
    // Who reads ahead of the others and has all there is, is not behind.
    if (member.isGone || member.reader === null || this.#prompt.has(member)) return false
    if (member.isReading || this.#context.clock.elapsed() - member.progressAt < this.#context.slowTimeoutMs) return true
    this.#context.metrics.add('uproar_slow_viewers_total', 1, 'closed')
    member.viewer.tooSlow()
    return false
  }

  /** The next run for a Cursor, up to what viewers were sent; nothing once the room ended: its log may be another's. */
  take (reader: Reader, bytesMax: number): Step | null | Promise<Step | null> {
    if (this.#isClosed) return null
    return reader.take(this.ring, this.flushed, bytesMax)
  }

  #startOf (options: Pick<JoinOptions, 'position' | 'history'>): { next: number, recovered: boolean } {
    const { position } = options
    if (position !== null && position[0] === this.epoch && position[1] <= this.seq && this.flushed - position[1] <= RESUME_ENTRIES) {
      return { next: position[1] + 1, recovered: true }
    }
    return { next: Math.max(1, this.flushed - options.history + 1), recovered: false }
  }

  #joined (rid: number, head: number, recovered: boolean): Uint8Array {
    // [35, rid, room, epoch, seq, state, recovered], the state packed once for all who join.
    return Buffer.concat([
      new Uint8Array([0x97, OUT.JOINED]), pack(rid), pack(this.name), pack(this.epoch), pack(head), this.#rules.packed, pack(recovered),
      this.#frame, encode([OUT.VIEWERS, this.total])
    ])
  }

  // ---- catch-up: entries at the viewer's own pace, then live ------------------------------------------------------

  #catchUp (member: Member, before: Uint8Array | null): void {
    const first = before === null ? [] : [before]
    while (!member.isGone && !this.#isClosed && member.reader !== null) {
      if (first.length === 0 && member.viewer.buffered() >= CATCH_UP_BYTES) return this.#watchBehind(member)
      const slice = this.#broadcast.sliceFor(member.view, member.encoding)
      const isPrompt = this.#rules.delayMs > 0 && this.isStaff(member.viewer.identity)
      const step = member.reader.take(this.ring, isPrompt ? this.ring.last : slice.cursor, LIMITS.broadcastBytes)
      if (step instanceof Promise) {
        if (first.length > 0) member.viewer.send(first[0] as Uint8Array)
        return this.#readOn(member, step)
      }
      if (step === null) {
        if (first.length > 0) member.viewer.send(first[0] as Uint8Array)
        if (isPrompt) this.#prompt.add(member)
        else if (member.reader.next > slice.cursor + 1) this.#ahead.push(member)
        else this.#goLive(member, slice)
        return
      }
      this.#hand(member, step, first)
      first.length = 0
    }
  }

  #readOn (member: Member, step: Promise<Step | null>): void {
    member.isReading = true
    this.#watchBehind(member)
    // One page a turn of the loop: the log reads at once, so hundreds who come back together would stop everything else.
    step.then((read) => setImmediate(() => this.#goOn(member, read)), (error: unknown) => {
      member.isReading = false
      // The place is kept: checkBehind closes the viewer if the log stays away, and its client resumes elsewhere.
      this.#context.fault(error, `reading ${this.name} for a viewer`)
    })
  }

  #goOn (member: Member, read: Step | null): void {
    member.isReading = false
    member.progressAt = this.#context.clock.elapsed()
    if (member.isGone || this.#isClosed) return
    if (read !== null) this.#hand(member, read, [])
    this.#catchUp(member, null)
  }

  #hand (member: Member, step: Step, before: readonly Uint8Array[]): void {
    const frames = [...before, this.#frame]
    if (step.skipped !== null) frames.push(this.#skipped(step.skipped))
    for (const part of partsFor(step.entries, member.viewer.identity?.id ?? null, this.isStaff(member.viewer.identity))) frames.push(part instanceof Uint8Array ? part : this.#skipped(part))
    this.#context.metrics.add('uproar_deliveries_total', step.entries.length)
    member.viewer.send(Buffer.concat(frames))
  }

  #skipped ({ first, last, reason }: Skip): Uint8Array {
    this.#context.metrics.add('uproar_skipped_total', last - first + 1, reason)
    return skippedFrame(first, last, reason)
  }

  #goLive (member: Member, slice: Slice): void {
    if (member.isSlow) this.#context.metrics.add('uproar_slow_viewers_total', 1, 'caught_up')
    member.reader = null
    member.isSlow = false
    this.#prompt.delete(member)
    member.liveAt = this.#context.clock.elapsed()
    this.#broadcast.enter(member, slice)
  }

  #watchBehind (member: Member): void {
    this.#prompt.delete(member)
    if (member.progressAt === 0) member.progressAt = this.#context.clock.elapsed()
    this.#context.noteBehind(member)
  }

  /** A live member holds too much unsent: it leaves the topic and reads on by itself. */
  #demote (member: Member): void {
    if (member.slice !== null) this.#readOnFrom(member, member.slice)
    if (member.isGone) return
    member.isSlow = true
    this.#context.metrics.add('uproar_slow_viewers_total', 1, 'behind')
    this.#context.noteBehind(member)
  }

  #flushed (): void {
    for (const cursor of this.#cursors) cursor.wake()
    for (const member of this.#ahead.splice(0)) this.#catchUp(member, null)
  }

  /** Reads the room's state anew, after a STATE entry; entries that arrive meanwhile make it read again. */
  #refresh (): void {
    this.#stateStale = true
    this.#stateReading ??= this.#readState()
      .catch((error: unknown) => this.#context.fault(error, `reading the state of ${this.name}`))
      .finally(() => { this.#stateReading = null })
  }

  async #readState (): Promise<void> {
    while (this.#stateStale && !this.#isClosed) {
      this.#stateStale = false
      this.#adopt(await this.#context.log.state(this.name))
    }
    const access = { name: this.name, isPrivate: this.settings.private }
    const why = new Refusal('forbidden', `the room ${this.name} is private now`)
    for (const member of this.#members) if (!can(member.viewer.identity, 'read', access)) this.#evict(member, why)
    for (const cursor of this.#cursors) if (!can(cursor.identity, 'read', access)) cursor.end(why)
  }

  /** The room's state is this now. */
  #adopt (state: RoomState): void {
    const before = this.#rules
    this.#rules = new Rules(state, before)
    if (this.#rules.delayMs !== before.delayMs) this.#delayed()
    for (const { user, frame } of noticesOf(before.guard, this.guard, this.#context.clock.now(), null)) this.tell(user, frame)
  }

  /** Whether this is staff here: sent entries at once while others wait, and what is for its author alone. */
  isStaff (identity: Identity | null): boolean {
    return identity !== null && rankOf(rolesIn(identity, this.name)) >= RANK.moderator
  }

  /** The publication delay changed: staff leave their slices and read ahead, or wait for the others and go live again. */
  #delayed (): void {
    const staff = [...this.#members].filter(({ viewer }) => this.isStaff(viewer.identity))
    for (const member of this.#rules.delayMs > 0 ? staff : []) if (member.slice !== null) this.#readOnFrom(member, member.slice)
    this.#broadcast.retime()
    const waiting = [...this.#prompt]
    this.#prompt.clear()
    for (const member of new Set([...staff, ...waiting])) if (member.reader !== null && !member.isReading) this.#catchUp(member, null)
  }

  /** A live member leaves its slice and reads on by itself from where that stands. */
  #readOnFrom (member: Member, slice: Slice): void {
    this.#broadcast.leave(member)
    if (member.isGone) return
    member.progressAt = this.#context.clock.elapsed()
    member.reader = new Reader(this.name, this.#context.log, this.#removals, slice.cursor + 1, 0, member.view === 'live' ? LIVE_LAG_ENTRIES : Infinity)
  }

  #evict (member: Member, why: Refusal): void {
    this.leave(member)
    member.viewer.send(Buffer.concat([this.#frame, encode([OUT.ERR, null, why.code, why.name, why.message, why.retryAfterMs])]))
    member.viewer.evicted(member)
  }

  #stop (): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#unwatch()
    this.#broadcast.stop()
    this.awaited.heard(Infinity)
    this.#context.noteEnd(this)
  }

  #end (why: Refusal): void {
    this.#stop()
    for (const member of this.#members) this.#evict(member, why)
    for (const cursor of this.#cursors) cursor.end(why)
  }
}
