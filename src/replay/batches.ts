// Reads what the server sends, once per content: a room's viewers all get the same bytes, so whoever plays many of them
// in one process decodes a broadcast for the first and compares it for the rest. Remembers 32 broadcasts.

import { BadFrame, decodeTrusted, type Frame } from '../../proto/codec.ts'
import { OUT } from '../../proto/ops.ts'

export interface Batch {
  readonly frames: readonly Frame[]
  /** Those that answer or address this connection alone: not ROOM, no entry, no VIEWERS or SIGNAL. */
  readonly personal: readonly Frame[]
  /** Seq of the last entry in it or announced by it as skipped; 0 when there is none. */
  readonly lastSeq: number
}

const KEPT = 32
// A broadcast begins with ROOM, an array of three: 93 24.
const ROOM_HEAD = 0x93

export class BatchReader {
  #kept: { readonly bytes: Buffer, readonly batch: Batch }[] = []
  #next = 0

  /** Throws on bytes that are not of the protocol: our server must never send such. The frames may be shared: never change them. */
  read (bytes: Uint8Array): Batch {
    const isBroadcast = bytes[0] === ROOM_HEAD && bytes[1] === OUT.ROOM
    if (!isBroadcast) return batchOf(bytes)
    for (const each of this.#kept) if (each.bytes.length === bytes.length && each.bytes.equals(bytes)) return each.batch
    const batch = batchOf(bytes)
    this.#kept[this.#next] = { bytes: Buffer.from(bytes), batch }
    this.#next = (this.#next + 1) % KEPT
    return batch
  }
}

export function isEntry (frame: Frame): boolean {
  return frame[0] >= OUT.MESSAGE && frame[0] <= OUT.EDIT
}

function batchOf (bytes: Uint8Array): Batch {
  const frames = decodeTrusted(bytes)
  if (frames instanceof BadFrame) throw new Error(`the server sent what is not of the protocol: ${frames.reason}`)
  let lastSeq = 0
  for (const frame of frames) {
    if (isEntry(frame)) lastSeq = frame[1] as number
    else if (frame[0] === OUT.SKIPPED) lastSeq = frame[2] as number
  }
  const personal = frames.filter((frame) => !isEntry(frame) && frame[0] !== OUT.ROOM && frame[0] !== OUT.VIEWERS && frame[0] !== OUT.SIGNAL)
  return { frames, personal, lastSeq }
}
