// One viewer's place in one room. Live members sit in a slice and cost nothing per entry; members that catch up (after a
// join, a resume, or having been slow) read forward with a Reader as their socket drains.

import type { View } from './broadcast.ts'
import type { Encoding } from './encoding.ts'
import type { Room } from './room.ts'
import type { Reader } from './reader.ts'
import type { Slice } from './delivery.ts'
import type { Viewer } from './viewer.ts'

export class Member {
  readonly viewer: Viewer
  readonly room: Room
  readonly view: View
  readonly encoding: Encoding
  /** Seq of the first entry that it is sent. */
  readonly first: number
  /** Where the member is subscribed; null while it catches up. */
  slice: Slice | null = null
  /** Place in slice.members. */
  index = 0
  /** Its viewer has something to send that goes along with the slice's next write. */
  isWaiting = false
  /** Set while it catches up. */
  reader: Reader | null = null
  /** Catching up because it was slow, not because it just joined. */
  isSlow = false
  /** A read of the log is under way. */
  isReading = false
  /** When it last took bytes off our hands, by clock.elapsed(); meaningful while it catches up. */
  progressAt = 0
  /** When it went live, by clock.elapsed(): all before its slice's cursor of then was sent by that time. */
  liveAt = 0
  isGone = false

  constructor (viewer: Viewer, room: Room, { view, encoding }: { view: View, encoding: Encoding }, first: number) {
    this.viewer = viewer
    this.room = room
    this.view = view
    this.encoding = encoding
    this.first = first
  }
}
