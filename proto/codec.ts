// Bytes to frames and back, for the server and for tools on Node. A WebSocket message is one or more MessagePack arrays
// back to back. Reading is strict and bounded (unpack.ts): all of a message is well-formed or none of it is taken.
// Must not know sockets, rooms or what an op means.

import { Unpackr } from 'msgpackr'
import { pack, packAll } from './pack.ts'
import { Malformed, Unpacker } from './unpack.ts'
import { LIMITS } from './values.ts'

export { pack, packAll }

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

const unpacker = new Unpacker()
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number', copyBuffers: true })

/** Unpacks exactly one value of trusted origin (our own log, a golden vector). Throws on malformed bytes. */
export function unpack (bytes: Uint8Array): unknown {
  return unpackr.unpack(bytes)
}

/** One frame as bytes. */
export function encode (frame: Frame): Uint8Array {
  return pack(frame)
}

/** Frames as bytes, back to back: a message. */
export function encodeAll (frames: readonly Frame[]): Uint8Array {
  return packAll(frames)
}

/**
 * Reads the frames of a message that came from a client. Copies what it keeps, so the bytes may be reused after.
 * Every element 0 is a uint below 128; everything else about the fields is for the reader of the frame to check.
 * The message is the bytes from `from` up to `end`.
 */
export function decode (bytes: Uint8Array, limits: DecodeLimits = CLIENT_LIMITS, from = 0, end = bytes.length): Frame[] | BadFrame {
  if (from >= end) return new BadFrame('an empty message')
  let frames: Frame[] | null = null
  unpacker.open(bytes, limits.nesting, from, end)
  try {
    while (!unpacker.isAtEnd) {
      if (!isArrayHead(unpacker.head)) return new BadFrame('a frame is an array')
      if (frames?.length === limits.frames) return new BadFrame(`more than ${limits.frames} frames in a message`)
      const frame = unpacker.value() as unknown[]
      const op = frame[0]
      if (typeof op !== 'number' || !Number.isInteger(op) || op < 0 || op > 127) return new BadFrame('a frame starts with its op')
      // Nearly always the only one: a list that grows takes room for 16 more.
      if (frames === null) frames = [frame as unknown as Frame]
      else frames.push(frame as unknown as Frame)
    }
    return frames as Frame[]
  } catch (error) {
    if (error instanceof Malformed) return new BadFrame(error.reason)
    throw error
  } finally {
    unpacker.close()
  }
}

function isArrayHead (byte: number): boolean {
  return (byte & 0xf0) === 0x90 || byte === 0xdc || byte === 0xdd
}

/** Reads what our own server sent: the same checks, with room for long batches. */
export function decodeTrusted (bytes: Uint8Array): Frame[] | BadFrame {
  return decode(bytes, TRUSTED_LIMITS)
}
