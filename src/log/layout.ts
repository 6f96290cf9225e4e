// How the log's records lie in the store's tables. Owns keys and encodings; must not know when they are written.
//
//   heads     nameKey of the room           ─▶ [number, epoch, first, seq, bytes, lastTs]
//   states    number (6)                   ─▶ [seq, settings, guarded]
//   entries   number (6)  seq (6)          ─▶ entries from that one on (entry-table.ts)
//   nonces    part (6)  bucket (2)         ─▶ the nonces of one settling (nonces.ts)
//   removed   number (6)                   ─▶ a removed log, whose entries are still to be deleted (1)
//   meta      'next'                       ─▶ the number that the next log gets (6)
//             'commit'                     ─▶ the last of the journal's commits that the tables have whole (6)
//             'unsettled'                  ─▶ there while the journal may have what the tables have not (1)
//             'seed'                       ─▶ of the nonces' hashes (8)
//
// A log is known by a number that is never used again, so removing one is removing its head: entries and nonces of
// that number can no longer be reached, whenever they go. What was accepted last is in the journal and not here yet.

import { pack, unpack } from '../../proto/codec.ts'
import type { RoomState } from './log.ts'

/** The value of a record that says all by being there. */
export const PRESENT = Buffer.of(1)

export const META = { next: Buffer.from('next'), commit: Buffer.from('commit'), unsettled: Buffer.from('unsettled'), seed: Buffer.from('seed') } as const

/** The durable head of a log. `bytes` is the size of its entries. */
export interface HeadRecord {
  readonly number: number
  readonly epoch: string
  readonly first: number
  readonly seq: number
  readonly bytes: number
  readonly lastTs: number
}

export function numberKey (number: number): Buffer {
  const key = Buffer.allocUnsafe(6)
  key.writeUIntBE(number, 0, 6)
  return key
}

export function readNumber (bytes: Uint8Array, at = 0): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readUIntBE(at, 6)
}

/** The first 6 bytes are the number, the last 6 the seq. */
export function entryKey (number: number, seq: number): Buffer {
  const key = Buffer.allocUnsafe(12)
  key.writeUIntBE(number, 0, 6)
  key.writeUIntBE(seq, 6, 6)
  return key
}

export function packHead (head: HeadRecord): Uint8Array {
  return pack([head.number, head.epoch, head.first, head.seq, head.bytes, head.lastTs])
}

export function unpackHead (bytes: Uint8Array): HeadRecord {
  const [number, epoch, first, seq, size, lastTs] = unpack(bytes) as [number, string, number, number, number, number]
  return { number, epoch, first, seq, bytes: size, lastTs }
}

export function packState (state: RoomState): Uint8Array {
  return pack([state.seq, state.settings, state.guarded])
}

export function unpackState (bytes: Uint8Array): RoomState {
  const [seq, settings, guarded] = unpack(bytes) as [number, Record<string, unknown>, Record<string, unknown>]
  return { seq, settings, guarded }
}
