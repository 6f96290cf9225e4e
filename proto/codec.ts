// Bytes to frames and back, for the server and for tools on Node. A WebSocket message is one or more MessagePack
// arrays back to back. Reading is strict and bounded: scan() walks the bytes once, without allocating, and only
// what it found well-formed is decoded, so a lie about a length or a bomb of nesting costs nothing.
// Must not know sockets, rooms or what an op means.

import { isUtf8 } from 'node:buffer'
import { Unpackr } from 'msgpackr'
import { pack } from './pack.ts'
import { LIMITS } from './values.ts'

export { pack }

/** A frame as it is read or written: `[op, ...fields]`. */
export type Frame = readonly [op: number, ...fields: unknown[]]

export interface DecodeLimits {
  readonly frames: number
  readonly nesting: number
}

const CLIENT_LIMITS: DecodeLimits = { frames: LIMITS.framesPerMessage, nesting: LIMITS.nesting }
const TRUSTED_LIMITS: DecodeLimits = { frames: 65_536, nesting: 32 }

/** Why bytes were refused; never thrown, always returned. */
export class BadFrame {
  readonly reason: string
  constructor (reason: string) {
    this.reason = reason
  }
}

const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number', copyBuffers: true })

/** Unpacks exactly one value of trusted origin (our own log, a golden vector). Throws on malformed bytes. */
export function unpack (bytes: Uint8Array): unknown {
  return unpackr.unpack(bytes)
}

/** One frame as bytes. */
export function encode (frame: Frame): Uint8Array {
  return pack(frame)
}

/**
 * Reads the frames of a message that came from a client. Copies what it keeps, so the bytes may be reused after.
 * Every element 0 is a uint below 128; everything else about the fields is for the reader of the frame to check.
 */
export function decode (bytes: Uint8Array, limits: DecodeLimits = CLIENT_LIMITS): Frame[] | BadFrame {
  const ends = scan(bytes, limits)
  if (ends instanceof BadFrame) return ends
  const frames: Frame[] = []
  let start = 0
  for (const end of ends) {
    const frame = unpackr.unpack(bytes.subarray(start, end)) as unknown[]
    const op = frame[0]
    if (typeof op !== 'number' || !Number.isInteger(op) || op < 0 || op > 127) return new BadFrame('a frame starts with its op')
    frames.push(frame as unknown as Frame)
    start = end
  }
  return frames
}

/** Reads what our own server sent: the same checks, with room for long batches. */
export function decodeTrusted (bytes: Uint8Array): Frame[] | BadFrame {
  return decode(bytes, TRUSTED_LIMITS)
}

// One byte of MessagePack says what follows. `pending[depth]` counts the values still due at each level:
//
//   93 25 c0 81 a1 61 01        array of 3 → 2 left after 25, 1 after c0, then a map of 1 pair → key, value
//   └ depth 1 ───────┘└ depth 2
//
// so the walk needs neither recursion nor memory beyond one small array.

/**
 * Finds where each frame ends. Refuses whatever is not arrays back to back: truncated values, trailing bytes,
 * extension types, the unused byte c1, map keys that are not strings or are `__proto__`, strings that are not UTF-8,
 * nesting beyond the limit, too many frames. Linear in the number of bytes; allocates the list of ends only.
 */
export function scan (bytes: Uint8Array, limits: DecodeLimits = CLIENT_LIMITS): number[] | BadFrame {
  const size = bytes.length
  if (size === 0) return new BadFrame('an empty message')
  const view = new DataView(bytes.buffer, bytes.byteOffset, size)
  const ends: number[] = []
  const pending = new Array<number>(limits.nesting + 1).fill(0)
  const isMapAt = new Array<boolean>(limits.nesting + 1).fill(false)
  let at = 0
  while (at < size) {
    const head = bytes[at] as number
    if (!((head & 0xf0) === 0x90 || head === 0xdc || head === 0xdd)) return new BadFrame('a frame is an array')
    if (head === 0x90) return new BadFrame('a frame starts with its op')
    if (ends.length === limits.frames) return new BadFrame(`more than ${limits.frames} frames in a message`)
    let depth = 0
    pending[0] = 1
    isMapAt[0] = false
    for (;;) {
      while (depth > 0 && pending[depth] === 0) depth--
      if (depth === 0 && pending[0] === 0) break
      if (at >= size) return new BadFrame('truncated')
      const isKey = isMapAt[depth] === true && (pending[depth] as number) % 2 === 0
      pending[depth] = (pending[depth] as number) - 1
      const byte = bytes[at++] as number
      let text = -1
      let skip = 0
      let open = -1
      let map = false
      if (byte <= 0x7f || byte >= 0xe0 || byte === 0xc0 || byte === 0xc2 || byte === 0xc3) skip = 0
      else if (byte <= 0x8f) { open = (byte & 0x0f) * 2; map = true } else if (byte <= 0x9f) open = byte & 0x0f
      else if (byte <= 0xbf) text = byte & 0x1f
      else {
        const width = WIDTH[byte - 0xc0] as number
        if (width < 0) return new BadFrame('a type this protocol does not use')
        if (at + width > size) return new BadFrame('truncated')
        if (byte >= 0xca && byte <= 0xd3) skip = width
        else {
          const length = width === 1 ? view.getUint8(at) : width === 2 ? view.getUint16(at) : view.getUint32(at)
          at += width
          if (byte <= 0xc6) skip = length
          else if (byte <= 0xdb) text = length
          else if (byte <= 0xdd) open = length
          else { open = length * 2; map = true }
        }
      }
      if (isKey && text < 0) return new BadFrame('a map key that is not a string')
      if (text >= 0) {
        if (at + text > size) return new BadFrame('truncated')
        if (text > 0 && !isUtf8(bytes.subarray(at, at + text))) return new BadFrame('a string that is not UTF-8')
        if (isKey && text === PROTO.length && isProto(bytes, at)) return new BadFrame('the map key __proto__')
        at += text
      } else if (open >= 0) {
        // Every value takes a byte at least: a length beyond what is left is a lie, found before it is believed.
        if (open > size - at) return new BadFrame('truncated')
        if (depth === limits.nesting) return new BadFrame(`nesting beyond ${limits.nesting}`)
        depth++
        pending[depth] = open
        isMapAt[depth] = map
      } else {
        at += skip
        if (at > size) return new BadFrame('truncated')
      }
    }
    ends.push(at)
  }
  return ends
}

// Bytes that follow c0…df: the width of a length or number; -1 for types that have no place here (c1, extensions).
const WIDTH = [
  0, -1, 0, 0, 1, 2, 4, -1, -1, -1, 4, 8, 1, 2, 4, 8,
  1, 2, 4, 8, -1, -1, -1, -1, -1, 1, 2, 4, 2, 4, 2, 4
]

// No reader agrees with another on this key (renamed, refused, or worse), so it has no place in a frame.
const PROTO = Buffer.from('__proto__')

function isProto (bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < PROTO.length; i++) if (bytes[at + i] !== PROTO[i]) return false
  return true
}
