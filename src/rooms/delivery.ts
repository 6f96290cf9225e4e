// Messages as a room's viewers get them, and the slices that they are published to. Nothing is lost silently:
// uWebSockets.js drops a publish for a socket that holds more than its limit and tells nobody, so no socket may ever get
// there. After every SWEEP_BYTES published to a slice its members are looked at, and whoever holds more than `slowBytes`
// unsent leaves the topic and is served from the ring at their own pace (catch-up). So a subscribed socket holds at most
// slowBytes + 2 × SWEEP_BYTES for each of its rooms (what is published in one turn shows only in the next), and the
// gateway sets the limit above that. Looking costs up to 1 µs a member every 128 KB, against 10 µs a member a flush.

import { encode } from '../../proto/codec.ts'
import { entryAuthor, entrySeq, isRemoved, isShadow, unshadowed } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { LIMITS } from '../../proto/values.ts'
import { deflated, type Encoding } from './encoding.ts'
import type { Member } from './member.ts'
import type { Skip } from './reader.ts'
import type { Fanout } from './viewer.ts'

/** What one slice may be sent between two looks at its members. */
export const SWEEP_BYTES = 131_072

/** A message ready to be sent, and the last entry that it delivers or accounts for (0: none, room frames only). */
export class Message {
  readonly bytes: Uint8Array
  readonly last: number
  readonly entries: number
  #deflated: Uint8Array | null | undefined

  constructor (bytes: Uint8Array, last: number, entries: number) {
    this.bytes = bytes
    this.last = last
    this.entries = entries
  }

  /** As it is written in that encoding, where what has `deflatedFrom` bytes is deflated; made once. One entry that is longer than a message may be is not. */
  encoded (encoding: Encoding, deflatedFrom: number): Uint8Array {
    if (encoding === 'plain' || this.bytes.length < deflatedFrom || this.bytes.length > LIMITS.broadcastBytes) return this.bytes
    if (this.#deflated === undefined) this.#deflated = deflated(this.bytes)
    return this.#deflated ?? this.bytes
  }
}

/** A part of a room's viewers that shares a topic and an encoding. `cursor` is the last entry that was published to it. */
export class Slice {
  readonly topic: string
  readonly encoding: Encoding
  cursor: number
  readonly members: Member[] = []
  /** Members with something to send that goes along with the next write to them. */
  #held: Member[] = []
  #sinceSweep = 0

  constructor (topic: string, encoding: Encoding, cursor: number) {
    this.topic = topic
    this.encoding = encoding
    this.cursor = cursor
  }

  add (member: Member): void {
    member.index = this.members.length
    this.members.push(member)
    member.viewer.subscribe(this.topic)
  }

  remove (member: Member, isOpen = true): void {
    const last = this.members.pop() as Member
    if (last !== member) {
      this.members[member.index] = last
      last.index = member.index
    }
    if (isOpen) member.viewer.unsubscribe(this.topic)
    if (!member.isWaiting) return
    member.isWaiting = false
    this.#held = this.#held.filter((other) => other !== member)
    if (isOpen) member.viewer.flush()
  }

  /** Hands a member, for whom nothing is held, over to another slice that stands at the same entry. */
  hand (member: Member, other: Slice): void {
    this.remove(member)
    member.slice = other
    other.add(member)
    // What it may hold unsent of this one counts there.
    other.#sinceSweep = Math.max(other.#sinceSweep, this.#sinceSweep)
  }

  /** The member's viewer has something to send that goes along with the next write to it. */
  hold (member: Member): void {
    if (member.isWaiting) return
    member.isWaiting = true
    this.#held.push(member)
  }

  /** The write has come, or will not: what was held goes. */
  release (): void {
    if (this.#held.length === 0) return
    const held = this.#held
    this.#held = []
    for (const member of held) {
      member.isWaiting = false
      member.viewer.flush()
    }
  }

  /** Members that hold more than `slowBytes`, when so much is about to be published that it is time to look. */
  sweep (bytes: number, slowBytes: number): Member[] {
    this.#sinceSweep += bytes
    if (this.#sinceSweep <= SWEEP_BYTES) return []
    this.#sinceSweep = bytes
    return this.members.filter((member) => member.viewer.buffered() > slowBytes)
  }

  /** Publishes to the slice: these bytes, which are that message. */
  publish (bytes: Uint8Array, { last }: Message, fanout: Fanout): void {
    if (this.members.length > 0) fanout.publish(this.topic, bytes)
    if (last !== 0) this.cursor = last
  }
}

/** The ROOM frame that opens every message of a room. */
export function roomFrame (room: string, epoch: string): Uint8Array {
  return encode([OUT.ROOM, room, epoch])
}

/** The SKIPPED frame for the entries from `first` to `last`. */
export function skippedFrame (first: number, last: number, reason: 'sampled' | 'slow' | 'removed'): Uint8Array {
  return encode([OUT.SKIPPED, first, last, last - first + 1, reason])
}

/** Gathers frames into messages under the broadcast limit, each with the room's frame before them. */
class Packer {
  readonly #frame: Uint8Array
  readonly messages: Message[] = []
  #run: Uint8Array[]
  #size: number
  #entries = 0
  #last = 0

  constructor (frame: Uint8Array) {
    this.#frame = frame
    this.#run = [frame]
    this.#size = frame.length
  }

  add (bytes: Uint8Array, last: number, entries: number): void {
    if (this.#run.length > 1 && this.#size + bytes.length > LIMITS.broadcastBytes) this.end()
    this.#run.push(bytes)
    this.#size += bytes.length
    this.#entries += entries
    this.#last = last
  }

  end (): Message[] {
    if (this.#run.length > 1) this.messages.push(new Message(Buffer.concat(this.#run, this.#size), this.#last, this.#entries))
    this.#run = [this.#frame]
    this.#size = this.#frame.length
    this.#entries = 0
    return this.messages
  }
}

/** Joins consecutive entries to messages. */
export function joinEntries (frame: Uint8Array, entries: readonly Uint8Array[]): Message[] {
  const packer = new Packer(frame)
  let seq = entries[0] === undefined ? 0 : entrySeq(entries[0])
  for (const entry of entries) packer.add(entry, seq++, 1)
  return packer.end()
}

/** What becomes of an entry in one view: shown, left out of a sample, or not for this view at all. */
export type Mark = 'shown' | 'sampled' | 'removed'

/** Whether an entry is not for everybody: it was removed, or is for its author alone. */
export function isVeiled (entry: Uint8Array): boolean {
  return isRemoved(entry) || isShadow(entry)
}

/** Joins the shown ones of consecutive entries to messages, with SKIPPED in the place of every run left out. */
export function joinMarked (frame: Uint8Array, entries: readonly Uint8Array[], mark: (index: number) => Mark, show: (entry: Uint8Array) => Uint8Array = plain): Message[] {
  const packer = new Packer(frame)
  const first = entries[0] === undefined ? 0 : entrySeq(entries[0])
  let left: { from: number, mark: 'sampled' | 'removed' } | null = null
  const skip = (end: number): void => {
    if (left !== null) packer.add(skippedFrame(first + left.from, first + end - 1, left.mark), first + end - 1, 0)
    left = null
  }
  for (const [index, entry] of entries.entries()) {
    const what = mark(index)
    if (what !== 'shown') {
      if (left !== null && left.mark !== what) skip(index)
      left ??= { from: index, mark: what }
      continue
    }
    skip(index)
    packer.add(show(entry), first + index, 1)
  }
  skip(entries.length)
  return packer.end()
}

/** A shadow message as its author is shown it. */
function plain (entry: Uint8Array): Uint8Array {
  return isShadow(entry) ? unshadowed(entry) : entry
}

/** The same for staff: those of others keep their mark. */
export function shownToStaff (entry: Uint8Array, user: string | null): Uint8Array {
  return isShadow(entry) && entryAuthor(entry) === user ? unshadowed(entry) : entry
}

/** Consecutive entries as one viewer is given them: entries, and the runs of them that are not for this user. `isStaff`: shadow messages of others come too, with their mark. */
export function partsFor (entries: readonly Uint8Array[], user: string | null, isStaff = false): (Uint8Array | Skip)[] {
  if (!entries.some(isVeiled)) return [...entries]
  const parts: (Uint8Array | Skip)[] = []
  for (const entry of entries) {
    const own = isShadow(entry) && (isStaff || entryAuthor(entry) === user)
    if (own || !isVeiled(entry)) {
      parts.push(shownToStaff(entry, user))
      continue
    }
    const seq = entrySeq(entry)
    const before = parts.at(-1)
    if (before !== undefined && !(before instanceof Uint8Array)) parts[parts.length - 1] = { ...before, last: seq }
    else parts.push({ first: seq, last: seq, reason: 'removed' })
  }
  return parts
}
