// Client messages as an enemy would send them, from a seed: random bytes, mutated good frames, lies about lengths, bombs
// of nesting, wrong types, text that is not UTF-8, huge numbers, extensions. For tests of whatever reads the wire. The
// same seed gives the same messages. Bound: a message stays below 4 KiB.

import { pack } from './pack.ts'
import { FRAMES } from './ops.ts'

/** Numbers from 0 (included) to 1 (excluded), the same ones for the same seed (mulberry32). */
export function seededRandom (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

type Random = () => number
const CLIENT_FRAMES = FRAMES.filter((frame) => frame.from === 'client')
const HEADS = [0xc1, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcf, 0xd3, 0xd4, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0x81, 0x8f, 0x91, 0x9f, 0xa1, 0xbf, 0xff]
const NUMBERS = [0, -0, 1, -1, 127, 128, 255, 256, 65_535, 65_536, -33, -129, -32_769, 2 ** 31, -(2 ** 31) - 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1, 2 ** 60, 2 ** 63, 2 ** 64, 1e300, 0.5, NaN, Infinity, -Infinity]
const TEXTS = ['', 'a', 'lobby', 'show:2', '..', '__proto_', 'constructor', 'toString', '\0', 'é', '😀', '\u202e', 'a\u0301'.repeat(20), '日本語', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(255), 'y'.repeat(256), '\ufffd']
// Lone surrogates (both halves), overlong, stray continuation, beyond U+10FFFF, cut short, bytes that never occur.
const BROKEN_TEXTS = ['a3eda080', 'a3edb080', 'a2c080', 'a3e08080', 'a180', 'a4f4908080', 'a3f09f98', 'a1ff', 'd902c328'].map((hex) => Buffer.from(hex, 'hex'))

const below = (random: Random, n: number): number => Math.floor(random() * n)
const pick = <T>(random: Random, list: readonly T[]): T => list[below(random, list.length)] as T

/** A frame of the contract whose fields have the right types, with a value here and there that is not. */
export function plausibleFrame (random: Random): unknown[] {
  const { op, fields } = pick(random, CLIENT_FRAMES)
  const frame: unknown[] = [op]
  for (const field of fields) frame.push(random() < 0.9 ? fieldValue(random, field.type) : anyValue(random, 0))
  if (random() < 0.1) frame.length = 1 + below(random, frame.length)
  if (random() < 0.1) frame.push(anyValue(random, 0))
  return frame
}

function fieldValue (random: Random, type: string): unknown {
  switch (type) {
    case 'str': return pick(random, TEXTS)
    case 'uint': return pick(random, NUMBERS)
    case 'map': return random() < 0.3 ? null : anyMap(random, 1)
    case 'str|bin': return random() < 0.8 ? pick(random, TEXTS) : randomBytes(random, below(random, 40))
    default: return anyValue(random, 1)
  }
}

function anyMap (random: Random, depth: number): Record<string, unknown> {
  return Object.fromEntries(Array.from({ length: below(random, 6) }, () => [pick(random, TEXTS), anyValue(random, depth + 1)]))
}

function anyValue (random: Random, depth: number): unknown {
  switch (below(random, depth > 5 ? 5 : 7)) {
    case 0: return null
    case 1: return random() < 0.5
    case 2: return pick(random, NUMBERS)
    case 3: return pick(random, TEXTS)
    case 4: return randomBytes(random, below(random, 20))
    case 5: return Array.from({ length: below(random, 6) }, () => anyValue(random, depth + 1))
    default: return anyMap(random, depth)
  }
}

function randomBytes (random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at++) bytes[at] = below(random, 256)
  return bytes
}

/** Frames of the contract back to back, 1 to 4 of them, cut off below 4 KiB. */
function good (random: Random): Buffer {
  return Buffer.concat(Array.from({ length: 1 + below(random, 4) }, () => pack(plausibleFrame(random)))).subarray(0, 4095)
}

/** The ways to be hostile, by name; each returns one message. */
export const HOSTILITIES: Readonly<Record<string, (random: Random) => Uint8Array>> = {
  plausible: good,
  noise: (random) => randomBytes(random, below(random, 64)),
  // Starts as a frame does, so that the noise reaches further in.
  noiseInFrame: (random) => Buffer.concat([Uint8Array.of(0x90 | (1 + below(random, 6)), below(random, 10)), randomBytes(random, below(random, 48))]),
  mutated (random) {
    const bytes = good(random)
    for (let times = 1 + below(random, 4); times > 0; times--) {
      const at = below(random, bytes.length)
      bytes[at] = random() < 0.5 ? pick(random, HEADS) : (bytes[at] as number) ^ (1 << below(random, 8))
    }
    return bytes
  },
  truncated (random) {
    const bytes = good(random)
    return bytes.subarray(0, below(random, bytes.length))
  },
  spliced (random) {
    const [one, other] = [good(random), good(random)]
    return Buffer.concat([one.subarray(0, below(random, one.length)), other.subarray(below(random, other.length))]).subarray(0, 4095)
  },
  lengthLie (random) {
    const width = pick(random, [1, 2, 4])
    const head = pick(random, { 1: [0xc4, 0xc7, 0xd9], 2: [0xc5, 0xc8, 0xda, 0xdc, 0xde], 4: [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] }[width] as number[])
    const length = random() < 0.3 ? Buffer.alloc(width, 0xff) : randomBytes(random, width)
    return Buffer.concat([Uint8Array.of(0x92 + below(random, 4), below(random, 10), head), length, randomBytes(random, below(random, 32))])
  },
  bomb (random) {
    const level = pick(random, [Uint8Array.of(0x91), Uint8Array.of(0x81, 0xa1, 0x61), Uint8Array.of(0xdc, 0, 1), Uint8Array.of(0x9f), Uint8Array.of(0xde, 0xff, 0xff)])
    return Buffer.concat([Uint8Array.of(0x92, 8), ...new Array<Uint8Array>(1 + below(random, 1200)).fill(level), Uint8Array.of(1)]).subarray(0, 4095)
  },
  brokenText: (random) => Buffer.concat([Uint8Array.of(0x93, 3, 1), pick(random, BROKEN_TEXTS)]),
  brokenKey: (random) => Buffer.concat([Uint8Array.of(0x92, 8, 0x82, 0xa1, 0x61, 1), random() < 0.5 ? pick(random, BROKEN_TEXTS) : pack(pick(random, NUMBERS)), Uint8Array.of(1)]),
  prototypeKey: (random) => Buffer.concat([Uint8Array.of(0x92, 8, 0x81), pick(random, [Uint8Array.of(0xa9), Uint8Array.of(0xd9, 9), Uint8Array.of(0xda, 0, 9)]), Buffer.from('__proto__'), pack(anyValue(random, 2))]),
  extension: (random) => Buffer.concat([Uint8Array.of(0x92, 8, 0xd4 + below(random, 5), pick(random, [0x72, 0x42, 0x74, 0x65, 0x73, 0x78, 0xff])), randomBytes(random, 16)]),
  crowd: (random) => Buffer.concat(new Array<Uint8Array>(20 + below(random, 30)).fill(pack([8, pick(random, NUMBERS)]))),
  // Valid, and as many objects as the bytes can make.
  swarm (random) {
    const length = random() < 0.1 ? 0x0ff0 : below(random, 0x100)
    return Buffer.concat([Uint8Array.of(0x92, 8, 0xdc, length >> 8, length), Buffer.alloc(length, pick(random, [0x80, 0x90, 0xa0, 0xc0]))])
  }
}

const NAMES = Object.keys(HOSTILITIES)

/** One message of some hostile kind. */
export function hostileMessage (random: Random): Uint8Array {
  return (HOSTILITIES[pick(random, NAMES)] as (random: Random) => Uint8Array)(random)
}
