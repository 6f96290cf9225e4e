// From a room's ring to its live viewers. Entries are gathered for a window (window.ts), joined once into messages under
// 16 KB, and published to one slice of viewers after the other, a slice per turn of the loop, so that a big room never
// blocks it. A room of up to four slices' viewers is not cut up, and is written to in one turn:
//
//   ring ──▶ window ──┬─▶ full: [ROOM e e e] [ROOM e e] ──▶ slice 0 │ turn │ slice 1 │ turn │ slice 2 …
//                     └─▶ live: [ROOM SKIPPED e SKIPPED e] ──▶ slice 0 │ turn │ …
//
// The slices' cursors move with each message. In a `live` slice, the few viewers whom a message left out concerns (it is
// theirs, answers them, names them) are sent one of their own making instead, in the same place of the order. Messages
// that are for their author alone (shadow) reach that author in the same way, in every view. With a publication delay
// the window ends at the newest entry that is old enough; what is removed until then was never shown.
// Owns slices, windows and the sample; must not know how members catch up.

import { entryAuthor, entrySeq, entryTs, isShadow } from '../../proto/entry.ts'
import { LIMITS } from '../../proto/values.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { Counting, Tally } from '../base/metrics.ts'
import { isVeiled, joinEntries, joinMarked, shownToStaff, Message, Slice, type Mark } from './delivery.ts'
import { deflatedFrom, type DeflateLimits, type Encoding } from './encoding.ts'
import type { Member } from './member.ts'
import type { Ring } from './ring.ts'
import { Sampler, sight, type Sighting } from './sampler.ts'
import type { Fanout } from './viewer.ts'
import { WindowEnd } from './window-end.ts'
import type { WindowLimits } from './window.ts'

export type View = 'full' | 'live'

export interface BroadcastContext {
  readonly fanout: Fanout
  readonly clock: Clock
  readonly metrics: Counting
  /** Of seriesOf(metrics). */
  readonly series: BroadcastSeries
  readonly window: WindowLimits
  readonly sliceViewers: number
  readonly slowBytes: number
  readonly deflate: DeflateLimits
}

/** What is counted with every publish, found once: five looks into tables, all cold, took a hot room 0.8 ms of CPU a second. */
export interface BroadcastSeries {
  readonly flushes: Tally
  readonly publishes: Tally
  readonly writes: Tally
  readonly deliveries: Tally
  readonly plainBytes: Tally
  readonly deflatedBytes: Tally
  readonly savedBytes: Tally
}

export function seriesOf (metrics: Counting): BroadcastSeries {
  return {
    flushes: metrics.tally('uproar_flushes_total'),
    publishes: metrics.tally('uproar_publishes_total'),
    writes: metrics.tally('uproar_socket_writes_total'),
    deliveries: metrics.tally('uproar_deliveries_total'),
    plainBytes: metrics.tally('uproar_broadcast_bytes_total', 'plain'),
    deflatedBytes: metrics.tally('uproar_broadcast_bytes_total', 'deflate'),
    savedBytes: metrics.tally('uproar_deflate_saved_bytes_total')
  }
}

export interface BroadcastHooks {
  /** Messages a second that a live view is shown. */
  readonly livePerSecond: () => number
  /** How long entries are kept back, milliseconds; 0: not at all. */
  readonly delayMs: () => number
  /** Whether a member is shown what is for its author alone. */
  readonly isStaff: (member: Member) => boolean
  /** A live member holds too much unsent; it must leave its slice. */
  readonly demote: (member: Member) => void
  /** Every slice was sent everything up to `flushed`. */
  readonly flushed: () => void
}

/** What a window holds for one view: its messages and, where it was sampled, what each left out. */
interface Edition {
  readonly messages: readonly Message[]
  readonly sample: Sample | null
}

interface Sample {
  readonly entries: readonly Uint8Array[]
  readonly marks: readonly Mark[]
  /** By user: the entries left out that concern them, as indexes. */
  readonly concerned: ReadonlyMap<string, readonly number[]>
  /** Indexes of what is for its author alone. */
  readonly shadows: readonly number[]
  readonly left: number
}

/** A flush under way: where it stands, and what it sends. */
interface Work {
  view: View
  slice: number
  message: number
  readonly editions: Readonly<Record<View, Edition>>
  readonly last: number
  /** Of its oldest entry; 0: it has none. */
  readonly ts: number
}

/**
 * A room of no more viewers than so many slices hold is done in one turn of the loop: each turn more costs it as much
 * as some ten viewers and spares others some milliseconds. Nor is it cut up before it has more, for a topic costs too.
 */
const TURN_SLICES = 4
/** Instances' clocks may differ by this much. */
const CLOCK_SLACK_MS = 60_000

let topics = 0

export class Broadcast {
  readonly #context: BroadcastContext
  readonly #hooks: BroadcastHooks
  readonly #ring: Ring
  readonly #frame: Uint8Array
  readonly #topic = `r${topics++}`
  /** Viewers of a room that is not cut up. */
  readonly #uncutMax: number
  readonly #slices: Readonly<Record<View, Slice[]>> = { full: [], live: [] }
  readonly #window: WindowEnd
  readonly #sampler = new Sampler()
  /** Members of live slices, by user. */
  readonly #people = new Map<string, Set<Member>>()
  /** Members who are staff, in every slice. */
  readonly #staff = new Set<Member>()
  #flushed: number
  #size = 0
  /** Of these, who asked for deflated messages. */
  #inflating = 0
  #work: Work | null = null
  #timer: Timer | null = null
  #extra: Uint8Array | null = null
  #isStopped = false

  /** Begins behind the newest entry of the ring that is old enough to be shown. */
  constructor (context: BroadcastContext, hooks: BroadcastHooks, ring: Ring, frame: Uint8Array) {
    this.#context = context
    this.#hooks = hooks
    this.#ring = ring
    this.#frame = frame
    this.#uncutMax = context.sliceViewers * TURN_SLICES
    this.#window = new WindowEnd(context.clock, context.window)
    this.#flushed = hooks.delayMs() === 0 ? ring.last : ring.first - 1
    this.#flushed = this.#horizon()
    if (this.#flushed < ring.last) this.#schedule()
  }

  /** Every slice was sent everything up to here. */
  get flushed (): number { return this.#flushed }

  /** Entries came into the ring: they are sent now or with the window. */
  added (batch: readonly Uint8Array[]): void {
    this.#window.added(batch)
    if (this.#work !== null || this.#hooks.delayMs() > 0) return this.#schedule()
    const end = this.#window.nearEnd(this.#size)
    if (end === null) return this.#schedule()
    this.#timer?.cancel()
    this.#timer = null
    this.#flush(end)
  }

  /** In how many milliseconds the log's commit of what comes now suits the room; 0: at once. `now`: clock.elapsed(). */
  askCommit (now: number): number {
    return this.#hooks.delayMs() > 0 ? 0 : this.#window.askCommit(now, this.#size)
  }

  /** How long entries are kept back has changed. */
  retime (): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#window.stopped()
    this.#releaseAll()
    if (this.#ring.last > this.#flushed || this.#extra !== null) this.#schedule()
  }

  /** Room frames that go out with the next flush, instead of those not sent yet. */
  announce (frames: Uint8Array): void {
    this.#extra = frames
    this.#schedule()
  }

  /** The slice of that view and encoding with room for one more. */
  sliceFor (view: View, encoding: Encoding): Slice {
    const slices = this.#slices[view]
    const most = this.#size < this.#uncutMax ? this.#uncutMax : this.#context.sliceViewers
    for (const slice of slices) if (slice.encoding === encoding && slice.members.length < most) return slice
    // A flush that is past this view will not come by any more: the slice stands where that flush ends.
    const isPast = view === 'full' && this.#work?.view === 'live'
    const slice = new Slice(`${this.#topic}${view}${slices.length}`, encoding, isPast ? this.#work?.last ?? this.#flushed : this.#flushed)
    slices.push(slice)
    return slice
  }

  enter (member: Member, slice: Slice): void {
    this.#size++
    if (slice.encoding === 'deflate') this.#inflating++
    member.slice = slice
    slice.add(member)
    this.identified(member)
  }

  /**
   * The member's viewer has something to send that may wait for the room's next write to it, and go along with that in
   * one. False when there is none soon, unless it `hasTime`: then it does not wait.
   */
  hold (member: Member, hasTime = false): boolean {
    const { slice } = member
    if (slice === null || this.#isStopped) return false
    const isComing = hasTime || (this.#timer === null ? this.#work !== null && slice.cursor < this.#work.last : this.#window.isSoon())
    if (isComing) slice.hold(member)
    return isComing
  }

  /** A member's viewer is known by an identity: from here on what concerns that user is not left out for it. */
  identified (member: Member): void {
    const user = member.viewer.identity?.id
    this.#staff.delete(member)
    if (member.slice !== null && this.#hooks.isStaff(member)) this.#staff.add(member)
    if (member.slice === null || member.view !== 'live' || user === undefined) return
    this.#people.set(user, (this.#people.get(user) ?? new Set()).add(member))
  }

  /** Takes a member out of its slice. `isOpen` false: its socket is closed already. */
  leave (member: Member, isOpen = true): void {
    const { slice } = member
    if (slice === null) return
    member.slice = null
    this.#size--
    if (slice.encoding === 'deflate') this.#inflating--
    this.#staff.delete(member)
    const user = member.viewer.identity?.id
    const own = user === undefined ? undefined : this.#people.get(user)
    if (user !== undefined && own?.delete(member) === true && own.size === 0) this.#people.delete(user)
    // Last, for the viewer is sent what waited, and may turn out to be too slow: then it leaves in the midst of this.
    slice.remove(member, isOpen)
  }

  stop (): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#releaseAll()
  }

  #schedule (): void {
    if (this.#work !== null || this.#timer !== null || this.#isStopped) return
    const gathered = this.#window.remainingMs(this.#size)
    const wait = this.#extra === null ? Math.max(gathered, this.#dueIn()) : gathered
    if (wait <= 0) return this.#flush()
    this.#window.begun(wait)
    this.#timer = this.#context.clock.after(wait, () => this.#due())
  }

  /** The window's time is over; a commit that is about to come, or is due this very moment, is still taken in. */
  #due (): void {
    const grace = this.#window.graceMs()
    if (grace === null) this.#timeUp()
    else this.#timer = this.#context.clock.after(grace, () => this.#timeUp())
  }

  #timeUp (): void {
    this.#timer = null
    this.#flush()
  }

  /** A room that has grown too big for one turn: slices of before are cut to size. Between two flushes, when all stand at the same entry. */
  #cutUp (): void {
    const most = this.#context.sliceViewers
    for (const view of VIEWS) {
      for (const slice of this.#slices[view].filter(({ members }) => members.length > most)) {
        // What waits goes first: a viewer that turns out to be too slow for it leaves.
        slice.release()
        for (const member of slice.members.slice(most)) slice.hand(member, this.sliceFor(view, slice.encoding))
      }
    }
  }

  /** How long until the oldest entry that waits may be shown, milliseconds. */
  #dueIn (): number {
    const delay = this.#hooks.delayMs()
    const next = this.#flushed + 1
    if (delay === 0 || !this.#ring.has(next)) return 0
    return Math.max(0, delay - this.#ageOf(next))
  }

  /** The newest entry that may be shown now. */
  #horizon (): number {
    const delay = this.#hooks.delayMs()
    if (delay === 0) return this.#ring.last
    let last = this.#flushed
    while (this.#ring.has(last + 1) && this.#ageOf(last + 1) >= delay) last++
    return last
  }

  /** Milliseconds since an entry was written; endless when that was far in the future: then the clock was set back. */
  #ageOf (seq: number): number {
    const age = this.#context.clock.now() - entryTs(this.#ring.at(seq))
    return age < -CLOCK_SLACK_MS ? Infinity : age
  }

  /** `endsAt`: when the window should have ended. */
  #flush (endsAt?: number): void {
    if (this.#isStopped) return
    const last = this.#horizon()
    const extra = this.#extra
    this.#extra = null
    this.#window.ended(endsAt)
    if (this.#size === 0) {
      for (const view of VIEWS) for (const slice of this.#slices[view]) slice.cursor = last
      return this.#ended(last)
    }
    const entries = last > this.#flushed ? this.#ring.run(this.#flushed + 1, last, Infinity) : []
    if (entries.length === 0 && extra === null) {
      this.#releaseAll()
      return this.#ring.last > this.#flushed ? this.#schedule() : undefined
    }
    if (this.#size > this.#uncutMax) this.#cutUp()
    const veil = entries.some(isVeiled) ? this.#veil(entries) : null
    const sample = this.#holds('live') ? this.#sample(entries, veil) : null
    const tail = extra === null ? [] : [new Message(Buffer.concat([this.#frame, extra]), 0, 0)]
    // Views that nobody holds are passed in this very turn, so what they would be sent need not be made.
    const whole = sample === null || this.#holds('full') ? [...this.#join(entries, veil), ...tail] : []
    const live = sample === null ? whole : [...this.#join(entries, sample), ...tail]
    this.#context.series.flushes.value++
    this.#work = { view: 'full', slice: 0, message: 0, last, ts: entries[0] === undefined ? 0 : entryTs(entries[0]), editions: { full: { messages: whole, sample: veil }, live: { messages: live, sample: sample ?? veil } } }
    this.#turn()
  }

  #join (entries: readonly Uint8Array[], sample: Sample | null): Message[] {
    return sample === null ? joinEntries(this.#frame, entries) : joinMarked(this.#frame, entries, (index) => sample.marks[index] as Mark)
  }

  #holds (view: View): boolean {
    return this.#slices[view].some((slice) => slice.members.length > 0)
  }

  /** One turn of the loop: one message to one slice, then the others get their chance. */
  #turn (): void {
    const work = this.#work
    if (work === null || this.#isStopped) return
    let slice = this.#slices[work.view][work.slice]
    while (slice === undefined || slice.members.length === 0) {
      if (slice !== undefined) {
        slice.cursor = work.last
        work.slice++
      } else if (work.view === 'full') {
        work.view = 'live'
        work.slice = 0
      } else {
        this.#work = null
        if (work.ts !== 0) this.#context.metrics.observe('uproar_delivery_seconds', Math.max(0, this.#context.clock.now() - work.ts - this.#hooks.delayMs()) / 1000)
        return this.#ended(work.last)
      }
      work.message = 0
      slice = this.#slices[work.view][work.slice]
    }
    this.#publish(slice, work)
    if (this.#mayGoOn(work)) this.#turn()
    else setImmediate(() => this.#turn())
  }

  /** Whether this turn of the loop does more: of a small room the other slices, of any the end. */
  #mayGoOn ({ view, slice, message }: Work): boolean {
    if (message === 0 && this.#size <= this.#uncutMax) return true
    return !this.#slices[view].slice(slice).some(hasMembers) && (view === 'live' || !this.#holds('live'))
  }

  #publish (slice: Slice, work: Work): void {
    const { messages, sample } = work.editions[work.view]
    let bytes = 0
    while (work.message < messages.length) {
      const message = messages[work.message] as Message
      // A slice that was made while this flush ran may stand further on.
      if (message.last !== 0 && message.last <= slice.cursor) {
        work.message++
        continue
      }
      // What is published in one turn goes out in one write while it fits uWebSockets.js' 16 KB buffer; beyond it every
      // socket gets a buffer of its own, zeroed first: 15 % of a hot room's CPU when it was tried.
      const written = message.encoded(slice.encoding, deflatedFrom(this.#context.deflate, this.#inflating))
      if (bytes > 0 && bytes + written.length > LIMITS.broadcastBytes) return
      bytes += written.length
      work.message++
      for (const member of slice.sweep(written.length, this.#context.slowBytes)) this.#hooks.demote(member)
      const apart = sample === null ? [] : this.#tellApart(slice, sample, slice.cursor + 1, message.last, work.view)
      for (const member of apart) member.viewer.unsubscribe(slice.topic)
      slice.publish(written, message, this.#context.fanout)
      for (const member of apart) member.viewer.subscribe(slice.topic)
      this.#count(slice, message, written, sample, apart.length)
    }
    slice.release()
    work.slice++
    work.message = 0
  }

  /** `apart`: so many of its members were not published to. */
  #count (slice: Slice, message: Message, written: Uint8Array, sample: Sample | null, apart: number): void {
    const { metrics, series } = this.#context
    const viewers = slice.members.length - apart
    series.publishes.value++
    series.writes.value += viewers
    series.deliveries.value += slice.members.length * message.entries
    if (written === message.bytes) {
      series.plainBytes.value += viewers * written.length
    } else {
      series.deflatedBytes.value += viewers * written.length
      series.savedBytes.value += viewers * (message.bytes.length - written.length)
    }
    if (sample !== null && sample.left > 0 && message.last === this.#work?.last) metrics.add('uproar_skipped_total', slice.members.length * sample.left, 'sampled')
  }

  // ---- the sample -------------------------------------------------------------------------------------------------------

  /** What everybody is shown of entries some of which are not for everybody. */
  #veil (entries: readonly Uint8Array[]): Sample {
    const concerned = new Map<string, number[]>()
    const shadows = [...entries.keys()].filter((index) => isShadow(entries[index] as Uint8Array))
    for (const index of shadows) note(concerned, entryAuthor(entries[index] as Uint8Array), index)
    return { entries, marks: entries.map((entry) => isVeiled(entry) ? 'removed' : 'shown'), concerned, shadows, left: 0 }
  }

  /** What a live view is shown of these entries; null when all that the veil leaves. */
  #sample (entries: readonly Uint8Array[], veil: Sample | null): Sample | null {
    const now = this.#context.clock.elapsed()
    const room = this.#sampler.budget(entries.length, this.#hooks.livePerSecond(), now)
    if (room >= entries.length) return null
    const sightings = entries.map(sight)
    const chosen = this.#sampler.choose(sightings, room, now)
    const concerned = new Map<string, number[]>([...veil?.concerned ?? []].map(([user, indexes]) => [user, [...indexes]]))
    let left = 0
    for (const [index, sighting] of sightings.entries()) {
      if (chosen[index] === true) continue
      left++
      for (const user of this.#concerns(sighting)) note(concerned, user, index)
    }
    const marks = entries.map((_, index): Mark => veil?.marks[index] === 'removed' ? 'removed' : chosen[index] === true ? 'shown' : 'sampled')
    return { entries, marks, concerned, shadows: veil?.shadows ?? [], left }
  }

  /** Users here whom a message concerns: its author, those it mentions, the author it replies to. */
  #concerns ({ author, at, re }: Sighting): Set<string> {
    const users = new Set([author, ...at])
    if (re !== 0 && this.#ring.has(re)) users.add(sight(this.#ring.at(re)).author)
    for (const user of users) if (!this.#people.has(user)) users.delete(user)
    return users
  }

  /** Sends those of the slice whom something left out concerns their own messages, and returns them. */
  #tellApart (slice: Slice, sample: Sample, from: number, to: number, view: View): Member[] {
    const first = entrySeq(sample.entries[0] as Uint8Array)
    const apart = new Set<Member>()
    const tell = (members: readonly Member[], indexes: readonly number[], show?: (entry: Uint8Array) => Uint8Array): void => {
      const own = new Set(indexes.filter((index) => first + index >= from && first + index <= to))
      if (own.size === 0) return
      const base = from - first
      const part = sample.entries.slice(base, to - first + 1)
      const messages = joinMarked(this.#frame, part, (index) => own.has(base + index) ? 'shown' : sample.marks[base + index] as Mark, show)
      for (const member of members) if (!apart.has(member)) for (const message of messages) member.viewer.send(message.bytes)
      for (const member of members) apart.add(member)
    }
    for (const member of sample.shadows.length > 0 ? this.#staff : []) {
      const user = member.viewer.identity?.id ?? ''
      if (member.slice === slice) tell([member], [...sample.shadows, ...sample.concerned.get(user) ?? []], (entry) => shownToStaff(entry, user))
    }
    for (const [user, indexes] of sample.concerned) tell(this.#membersOf(user, slice, view), indexes)
    return [...apart]
  }

  /** A user's members in a slice. Whole slices are searched only for authors of shadow messages: live ones know theirs. */
  #membersOf (user: string, slice: Slice, view: View): Member[] {
    if (view === 'live') return [...this.#people.get(user) ?? []].filter((member) => member.slice === slice)
    return slice.members.filter((member) => member.viewer.identity?.id === user)
  }

  #releaseAll (): void {
    for (const view of VIEWS) for (const slice of this.#slices[view]) slice.release()
  }

  #ended (last: number): void {
    this.#window.sent(this.#size)
    this.#flushed = last
    this.#ring.trim(last)
    this.#hooks.flushed()
    if (this.#ring.last > last || this.#extra !== null) this.#schedule()
  }
}

const VIEWS = ['full', 'live'] as const

function hasMembers (slice: Slice): boolean {
  return slice.members.length > 0
}

function note (lists: Map<string, number[]>, key: string, value: number): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}
