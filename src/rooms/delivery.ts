// From a room's ring to its viewers. Entries are gathered for a window, joined once into messages under 16 KB, and
// published to one slice of viewers after the other, a slice per turn of the loop:
//
//   ring ──▶ window ──▶ [ROOM e e e] [ROOM e e] ──▶ slice 0 │ turn │ slice 1 │ turn │ slice 2 …
//                                                    cursor moves with each message
//
// Nothing is lost silently. uWebSockets.js drops a publish for a socket that holds more than its limit and tells nobody,
// so no socket may ever get there: after every SWEEP_BYTES published to a slice, its members are looked at, and whoever
// holds more than `slowBytes` unsent leaves the topic and is served from the ring at their own pace (catch-up). So a
// subscribed socket holds at most slowBytes + SWEEP_BYTES for each of its rooms, and the gateway sets the limit above that.
// Looking costs about 0.1 µs a member every 64 KB, against 10 µs a member for each flush.

import { encode } from '../../proto/codec.ts'
import { OUT } from '../../proto/ops.ts'
import { LIMITS } from '../../proto/values.ts'
import { entrySeq } from '../../proto/entry.ts'
import type { Member } from './member.ts'
import type { Fanout } from './viewer.ts'

/** What one slice may be sent between two looks at its members, and in one turn of the loop. */
export const SWEEP_BYTES = 65_536

/** A message ready to be published, and the last entry in it (0: none, room frames only). */
export interface Message {
  readonly bytes: Uint8Array
  readonly last: number
  readonly entries: number
}

/** A part of a room's viewers that shares a topic. `cursor` is the last entry that was published to it. */
export class Slice {
  readonly topic: string
  cursor: number
  readonly members: Member[] = []
  #sinceSweep = 0

  constructor (topic: string, cursor: number) {
    this.topic = topic
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
  }

  /** Publishes one message to the slice; returns how many members it went to. */
  publish (message: Message, fanout: Fanout, demote: (member: Member) => void, slowBytes: number): number {
    if (message.last !== 0 && message.last <= this.cursor) return 0
    if (this.members.length > 0) {
      this.#sinceSweep += message.bytes.length
      if (this.#sinceSweep > SWEEP_BYTES) {
        this.#sinceSweep = message.bytes.length
        for (let at = this.members.length - 1; at >= 0; at--) {
          const member = this.members[at] as Member
          if (member.viewer.buffered() > slowBytes) demote(member)
        }
      }
    }
    if (this.members.length > 0) fanout.publish(this.topic, message.bytes)
    if (message.last !== 0) this.cursor = message.last
    return this.members.length
  }
}

/** The ROOM frame that opens every message of a room. */
export function roomFrame (room: string, epoch: string): Uint8Array {
  return encode([OUT.ROOM, room, epoch])
}

/** Joins entries to messages under the broadcast limit, each with the room's frame before them. */
export function joinEntries (frame: Uint8Array, entries: readonly Uint8Array[]): Message[] {
  const messages: Message[] = []
  let run: Uint8Array[] = [frame]
  let size = frame.length
  for (const entry of entries) {
    if (run.length > 1 && size + entry.length > LIMITS.broadcastBytes) {
      messages.push(messageOf(run, size))
      run = [frame]
      size = frame.length
    }
    run.push(entry)
    size += entry.length
  }
  if (run.length > 1) messages.push(messageOf(run, size))
  return messages
}

function messageOf (run: readonly Uint8Array[], size: number): Message {
  return { bytes: Buffer.concat(run, size), last: entrySeq(run[run.length - 1] as Uint8Array), entries: run.length - 1 }
}
