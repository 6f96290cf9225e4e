// What frames of clients ask, read out of them, and how they are counted. Must not know sessions.

import type { Frame } from '../../proto/codec.ts'
import { IN } from '../../proto/ops.ts'
import { isMap, isPosition, isUint, LIMITS } from '../../proto/values.ts'
import { Refusal } from '../base/errors.ts'
import type { Counting, Tally } from '../base/metrics.ts'
import type { JoinOptions } from '../rooms/rooms.ts'

/** Frames that came, by op. */
export interface FramesIn { readonly known: Readonly<Record<number, Tally | undefined>>, readonly unknown: Tally }

export function framesIn (metrics: Pick<Counting, 'tally'>): FramesIn {
  const known = Object.fromEntries(Object.entries(IN).map(([name, op]) => [op, metrics.tally('uproar_frames_in_total', name)]))
  return { known, unknown: metrics.tally('uproar_frames_in_total', 'unknown') }
}

/** Whether a frame of a client, whose fields are not checked yet, is a JOIN with a position, or a REPLAY whose place has to be found. */
export function isDear (frame: Frame): boolean {
  if (frame[0] === IN.REPLAY) return frame[4] == null
  return frame[0] === IN.JOIN && isMap(frame[3]) && frame[3]['position'] != null
}

export function parseJoin (value: unknown): JoinOptions | Refusal {
  const options = isMap(value) ? value : {}
  const position = options['position'] ?? null
  if (position !== null && !isPosition(position)) return new Refusal('bad_request', 'options.position must be [epoch, seq]')
  const history = options['history'] ?? LIMITS.historyEntriesDefault
  if (!isUint(history) || history > LIMITS.historyEntries) return new Refusal('bad_request', `options.history must be a whole number from 0 to ${LIMITS.historyEntries}`)
  const view = options['view'] ?? 'full'
  if (view !== 'full' && view !== 'live') return new Refusal('bad_request', 'options.view must be full or live')
  const encoding = options['encoding'] ?? 'plain'
  if (typeof encoding !== 'string') return new Refusal('bad_request', 'options.encoding must be a string')
  // One that this version does not know is no fault: such a viewer gets messages as they are.
  return { position, history, view, encoding: encoding === 'deflate' ? encoding : 'plain' }
}

const REPORT_HEAD = 4

/**
 * The seq in a message from `from` up to `end` that is nothing but [PING, nil, {room: seq}]; null: it is something else, or the
 * same in a longer form, and for the codec. It is the frame that a server hears most, and is read where it lies: a thousand
 * viewers send 33 a second, a few at a time, which find nothing in the processor's caches, so the less is called and made the better.
 *
 *   93           08   c0    81            a7 62 65 6e 63 68 2d 31   ce 00 00 00 2a
 *   array of 3   op   nil   map of one    room                      seq
 */
export function reportIn (bytes: Uint8Array, from: number, end: number, room: string): number | null {
  if (bytes[from + 1] !== IN.PING || bytes[from] !== 0x93 || bytes[from + 2] !== 0xc0 || bytes[from + 3] !== 0x81) return null
  let at = from + REPORT_HEAD
  const { length } = room
  if (bytes[at] === (0xa0 | length) && length < 32) at++
  else if (bytes[at] === 0xd9 && bytes[at + 1] === length) at += 2
  else return null
  // Names of rooms are ASCII, a byte each.
  for (let index = 0; index < length; index++) if (bytes[at++] !== room.charCodeAt(index)) return null
  const head = bytes[at++] as number
  const size = head < 0x80 ? 0 : head === 0xcc ? 1 : head === 0xcd ? 2 : head === 0xce ? 4 : -1
  // Compared last: nothing behind the message counts, and whatever was read there is not taken.
  if (size < 0 || at + size !== end) return null
  let seq = size === 0 ? head : 0
  for (; at < end; at++) seq = seq * 256 + (bytes[at] as number)
  return seq
}
