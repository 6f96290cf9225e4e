// Which nonces may have been seen: a Bloom filter (Bloom 1970) over a 64-bit hash of the nonce, whose bits for one nonce all
// lie in one block of 64 bytes (Putze, Sanders and Singler 2007): memory is asked once, and it is memory that takes the time.
// "No" is certain and is what nearly every message gets, without a look at the store; "maybe" is wrong once in ten
// thousand for each table that is asked. Grows by a further table when it is full, GROWTH times as large as the one before: each is a look more.
// Bound: 24 bits for each nonce that there is room for, of NONCES_MAX (3 MB) at most in a table.

const BITS_A_NONCE = 24
const PROBES = 8
/** Words of 32 bits in a block, and bits of the hash that choose one of its bits. */
const BLOCK_WORDS = 16
const CHOICE_BITS = 9
/** The next choice is the last times this, and one (a linear congruential generator, Knuth 3.2.1): its upper bits are the ones to take. */
const STEP = 0x19660d
const NONCES_MIN = 65_536
const NONCES_MAX = 1_048_576
const GROWTH = 8

/** A nonce's hash: two halves, signed 32 bits each: the engine keeps other numbers in boxes of their own. */
export interface NonceHash { readonly low: number, readonly high: number }

interface Table { readonly words: Uint32Array, readonly blocks: number, readonly capacity: number, count: number }

export class NonceFilter {
  readonly #tables: Table[]

  /** `expected`: how many nonces are likely to come. */
  constructor (expected = 0) {
    this.#tables = [makeTable(expected)]
  }

  get count (): number { return this.#tables.reduce((sum, { count }) => sum + count, 0) }

  add (hash: NonceHash): void {
    let table = this.#tables[this.#tables.length - 1] as Table
    if (table.count >= table.capacity) {
      table = makeTable(table.capacity * GROWTH)
      this.#tables.push(table)
    }
    table.count++
    const start = blockOf(table, hash)
    for (let probe = 0, choices = hash.high; probe < PROBES; probe++, choices = Math.imul(choices, STEP) + 1) {
      const bit = choices >>> 32 - CHOICE_BITS
      table.words[start + (bit >>> 5)] = (table.words[start + (bit >>> 5)] as number) | 1 << (bit & 31)
    }
  }

  /** False: it was never added. */
  mayHave (hash: NonceHash): boolean {
    for (const table of this.#tables) if (isIn(table, hash)) return true
    return false
  }
}

function isIn (table: Table, hash: NonceHash): boolean {
  const { words } = table
  const start = blockOf(table, hash)
  for (let probe = 0, choices = hash.high; probe < PROBES; probe++, choices = Math.imul(choices, STEP) + 1) {
    const bit = choices >>> 32 - CHOICE_BITS
    if (((words[start + (bit >>> 5)] as number) & 1 << (bit & 31)) === 0) return false
  }
  return true
}

/** Of its first word. */
function blockOf ({ blocks }: Table, { low }: NonceHash): number {
  return Math.floor((low >>> 0) / 0x1_0000_0000 * blocks) * BLOCK_WORDS
}

function makeTable (expected: number): Table {
  const capacity = 2 ** Math.ceil(Math.log2(Math.min(NONCES_MAX, Math.max(NONCES_MIN, expected))))
  const words = capacity * BITS_A_NONCE / 32
  return { words: new Uint32Array(words), blocks: words / BLOCK_WORDS, capacity, count: 0 }
}

/**
 * The hash of an author's nonce in a room, by MurmurHash3's mixing (Appleby 2011) over UTF-16 units. The seed is random
 * and kept by the server, so nobody can make nonces that collide; whoever looks one up still compares it whole.
 */
export function hashNonce (seed: NonceHash, room: string, author: string, nonce: string): NonceHash {
  let low = seed.low ^ room.length
  let high = seed.high ^ author.length
  for (let round = 0; round < 3; round++) {
    const text = round === 0 ? room : round === 1 ? author : nonce
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at)
      low = Math.imul(low ^ unit, 0x85ebca6b)
      low ^= low >>> 15
      high = Math.imul(high ^ unit, 0xc2b2ae35)
      high ^= high >>> 13
    }
  }
  return { low: finished(low ^ high), high: finished(Math.imul(high, 0x9e3779b1) ^ low) | 1 }
}

function finished (value: number): number {
  let mixed = Math.imul(value ^ value >>> 16, 0x85ebca6b)
  mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35)
  return mixed ^ mixed >>> 16
}
