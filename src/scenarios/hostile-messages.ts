// Hostile client messages from a seeded generator: what a fuzzer, a broken client and an attacker would send. Each kind
// is a row in a table with its weight. Most are well-formed enough to be answered; which are not, the codec itself says.

import { Packr } from 'msgpackr'
import type { Frame } from '../../proto/codec.ts'
import { IN } from '../../proto/ops.ts'
import type { Random } from './random.ts'

/** Where a connection stands when the message is sent. */
export type State = 'fresh' | 'anonymous' | 'user' | 'joined'
export const STATES: readonly State[] = ['fresh', 'anonymous', 'user', 'joined']

export interface HostileOptions {
  /** Rooms that hostile frames name, besides made-up ones. */
  readonly rooms: readonly string[]
  readonly tokens: readonly string[]
}

const INTERESTING_BYTES = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x93, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcf, 0xd3, 0xd4, 0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff]
const HUGE: readonly unknown[] = [
  -1, 0xffffffff, 0x100000000, Number.MAX_SAFE_INTEGER, 2 ** 53, 0xffffffffffffffffn, -0x8000000000000000n, 1.5, -0.0, 1e308, Infinity, -Infinity, NaN
]
const MESSAGE_BYTES_MAX = 4096
// Not our own packer, which refuses what has no place in a frame: 64-bit integers, floats for large numbers, extensions.
const packr = new Packr({ useRecords: false })
const encode = (value: unknown): Buffer => packr.pack(value)

export class HostileMessages {
  readonly #random: Random
  readonly #options: HostileOptions
  #nonce = 0

  constructor (random: Random, options: HostileOptions) {
    this.#random = random
    this.#options = options
  }

  /** The next message, 1 byte to 20 KB; nearly all fit the server's limit of 4 KB. */
  next (): Buffer {
    const random = this.#random
    let at = random.below(TOTAL)
    for (const [weight, make] of KINDS) {
      at -= weight
      if (at < 0) return make(this, random)
    }
    return random.bytes(1)
  }

  /** A frame of the contract with fields that are mostly right. */
  valid (): Frame {
    const random = this.#random
    const rid = random.below(1000)
    const room = random.pick(this.#options.rooms)
    switch (random.between(1, 9)) {
      case IN.HELLO: return [IN.HELLO, random.chance(0.5) ? null : random.pick(this.#options.tokens), 'hostile/1']
      case IN.JOIN: return [IN.JOIN, rid, room, random.pick([null, {}, { history: random.below(201) }, { position: ['nowhere', random.below(100)] }, { view: 'live', history: 0 }])]
      case IN.LEAVE: return [IN.LEAVE, rid, room]
      case IN.SEND: return [IN.SEND, rid, room, `h${this.#nonce++}`, 0, `hostile ${this.#nonce}`, random.chance(0.5) ? null : { re: 1, at: ['you'], meta: { a: 1 } }]
      case IN.HISTORY: return [IN.HISTORY, rid, room, random.chance(0.5) ? null : random.below(50), random.below(200)]
      case IN.SIGNAL: return [IN.SIGNAL, room, random.pick(['typing', 'reaction', 'read']), random.pick([null, '👊', { a: 1 }])]
      case IN.MODERATE: return [IN.MODERATE, rid, room, random.pick(['remove', 'ban', 'timeout']), { seq: 1 }]
      case IN.PING: return [IN.PING, random.below(1000), random.chance(0.5) ? null : { [room]: random.below(1000) }]
      default: return [IN.AUTH, rid, random.pick(this.#options.tokens)]
    }
  }

  /** A value of any type, at most a few levels deep. */
  value (depth = 0): unknown {
    const random = this.#random
    switch (random.below(depth > 2 ? 8 : 10)) {
      case 0: return null
      case 1: return random.chance(0.5)
      case 2: return random.below(1000)
      case 3: return random.pick(HUGE)
      case 4: return random.bytes(random.below(40)).toString('latin1')
      case 5: return random.bytes(random.below(40))
      case 6: return random.pick(['', '\u0000', '\u202e', 'e\u0301\u0301\u0301\u0301\u0301', '__proto__', 'constructor', 'toString', 'uproar:canary', '../..', 'x'.repeat(random.below(700))])
      case 7: return random.pick(this.#options.rooms)
      case 8: return Array.from({ length: random.below(6) }, () => this.value(depth + 1))
      default: return Object.fromEntries(Array.from({ length: random.below(5) }, () => [random.pick(['__proto__', 'constructor', 'position', 'history', 'meta', 're', 'at', 'a']), this.value(depth + 1)]))
    }
  }
}

type Make = (messages: HostileMessages, random: Random) => Buffer

const asIs: Make = (messages) => encode(messages.valid())

const wrongTypes: Make = (messages, random) => {
  const frame = [...messages.valid()] as unknown[]
  for (let times = random.between(1, 3); times > 0; times--) frame[random.between(1, frame.length - 1)] = messages.value()
  return encode(frame)
}

const tooFewOrMany: Make = (messages, random) => {
  const frame = [...messages.valid()] as unknown[]
  if (random.chance(0.5)) frame.length = random.between(1, frame.length)
  else frame.push(...Array.from({ length: random.between(1, 12) }, () => messages.value()))
  return encode(frame)
}

const anyOp: Make = (messages, random) => {
  const fields = Array.from({ length: random.below(7) }, () => messages.value())
  return encode([random.below(128), ...fields])
}

const hugeNumbers: Make = (messages, random) => {
  const frame = messages.valid().map((field, at) => at > 0 && (typeof field === 'number' || random.chance(0.2)) ? random.pick(HUGE) : field)
  return encode(frame)
}

const manyFrames: Make = (messages, random) => {
  const frames = Array.from({ length: random.between(2, 40) }, () => encode(messages.valid()))
  return Buffer.concat(frames).subarray(0, random.chance(0.8) ? MESSAGE_BYTES_MAX : undefined)
}

const mutated: Make = (messages, random) => {
  let bytes = Buffer.from(encode(messages.valid()))
  for (let times = random.between(1, 4); times > 0 && bytes.length > 0; times--) {
    const at = random.below(bytes.length)
    switch (random.below(6)) {
      case 0: bytes[at] = (bytes[at] as number) ^ (1 << random.below(8)); break
      case 1: bytes[at] = random.pick(INTERESTING_BYTES); break
      case 2: bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]); break
      case 3: bytes = Buffer.concat([bytes.subarray(0, at), random.bytes(random.between(1, 4)), bytes.subarray(at)]); break
      case 4: bytes = bytes.subarray(0, at); break
      default: bytes = Buffer.concat([bytes, bytes.subarray(at)])
    }
  }
  return bytes.length === 0 ? Buffer.from([0x90]) : bytes
}

/** A length that is a lie: far more is promised than follows. */
const lies: Make = (_messages, random) => {
  const head = random.pick(['dd', 'df', 'db', 'c6', 'dc', 'de', 'da', 'c5', 'c9', 'd9', 'c4'])
  const width = { dd: 4, df: 4, db: 4, c6: 4, c9: 4, dc: 2, de: 2, da: 2, c5: 2, d9: 1, c4: 1 }[head] as number
  const length = random.chance(0.5) ? Buffer.alloc(width, 0xff) : random.bytes(width)
  const lie = Buffer.concat([Buffer.from(head, 'hex'), length, random.bytes(random.below(20))])
  if (random.chance(0.3)) return lie
  return Buffer.concat([Buffer.from([0x96, random.between(1, 9), random.below(128)]), lie])
}

const nested: Make = (_messages, random) => {
  const depth = random.pick([7, 8, 9, 10, 60, 1000, 2000])
  const level = random.pick([Buffer.from([0x91]), Buffer.from([0x81, 0xa1, 0x61]), Buffer.from([0xdc, 0, 1])])
  const bomb = Buffer.concat([...Array.from({ length: depth }, () => level), Buffer.from([0xc0])])
  return Buffer.concat([Buffer.from([0x93, IN.PING, 0x01]), bomb]).subarray(0, MESSAGE_BYTES_MAX)
}

/** Text that no encoder would write: surrogates, overlong forms, cut sequences. */
const badText: Make = (messages, random) => {
  const bad = random.pick(['eda080', 'edbfbf', 'c080', 'f4908080', 'e282', 'ff', 'eda0bdeda18a', 'c3'])
  const text = Buffer.concat([Buffer.from('say '), Buffer.from(bad, 'hex')])
  const [, rid] = messages.valid()
  const body = Buffer.concat([Buffer.from([0xa0 | text.length]), text])
  return Buffer.concat([Buffer.from([0x97, IN.SEND]), encode([typeof rid === 'number' ? rid & 127 : 1]).subarray(1), Buffer.from([0xa5]), Buffer.from('stage'), Buffer.from([0xa1, 0x6e, 0x00]), body, Buffer.from([0xc0])])
}

const noise: Make = (_messages, random) => random.bytes(random.between(1, random.chance(0.9) ? 200 : MESSAGE_BYTES_MAX))
const oversized: Make = (messages, random) => encode([IN.SEND, 1, 'stage', 'big', 0, 'x'.repeat(random.between(MESSAGE_BYTES_MAX, 15_000)), messages.value()])
const dropped: Make = (_messages, random) => Buffer.alloc(random.between(16_385, 20_000), random.below(256))
const atTheLimit: Make = (_messages, random) => encode([IN.SEND, 1, 'stage', `l${random.next()}`, random.below(8), random.pick(['x', 'é', '👊', '\u0301']).repeat(random.between(490, 1000)), null])

const KINDS: readonly (readonly [weight: number, make: Make])[] = [
  [100, asIs], [250, wrongTypes], [80, tooFewOrMany], [120, anyOp], [120, hugeNumbers], [30, manyFrames], [15, atTheLimit],
  [60, mutated], [15, lies], [8, nested], [8, badText], [10, noise], [3, oversized], [1, dropped]
]
const TOTAL = KINDS.reduce((sum, [weight]) => sum + weight, 0)
