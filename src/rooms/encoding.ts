// How a room's messages are written to a viewer: as they are, or DEFLATED for who asked for that. Made once for all who
// did, so it costs a room 0.1 to 0.5 ms a message whatever its viewers, and saves each of them about half of the bytes:
// windows of 100 messages of a real chat become 2.5 times smaller, of 20 2.2 times, of 5 1.8 times. To carry 5 KB
// instead of 13 takes 2 µs less of CPU a viewer too (measured in the hot room, bench/README.md).

import { deflateSync } from 'node:zlib'
import { encode } from '../../proto/codec.ts'
import { OUT } from '../../proto/ops.ts'

export type Encoding = 'plain' | 'deflate'

/** Level 1 takes four fifths of the time of level 3 and gains 2 % less; no message is longer than its window of 16 KB. */
const OPTIONS = { level: 1, windowBits: 14 }
/** It must save so much of the message: inflating costs a viewer something too. */
const SAVED_SHARE_MIN = 0.15

/** What is worth deflating. */
export interface DeflateLimits {
  /** Messages shorter than this are not; 0: none is, for then everybody joins with `plain`. */
  readonly bytesMin: number
  /** Nor are those of rooms with fewer viewers here who asked for it. */
  readonly viewersMin: number
}

/** From what length on the messages of a room with so many viewers who asked for it are deflated. */
export function deflatedFrom ({ bytesMin, viewersMin }: DeflateLimits, viewers: number): number {
  return viewers < viewersMin ? Infinity : bytesMin
}

/** A room's message as a DEFLATED frame; null when that saves too little. */
export function deflated (bytes: Uint8Array): Uint8Array | null {
  const deflated = deflateSync(bytes, OPTIONS)
  return deflated.length > bytes.length * (1 - SAVED_SHARE_MIN) ? null : encode([OUT.DEFLATED, deflated])
}
