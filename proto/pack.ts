// A value as MessagePack, in the one form that this server writes: the shortest integer, unsigned unless negative and
// 64 bits wide beyond 32; float 64; the shortest length; text always UTF-8; no extension types. Libraries leave that form
// in just the places that hurt: wide integers as floats or signed, lone surrogates as bytes that are no UTF-8, dates and
// sets as extensions. A strict reader drops such bytes, and with them everything that shares their WebSocket message.
// Must not know frames. Bounds: nesting 32; the scratch buffer goes back to 64 KB after a larger value.

const NESTING_MAX = 32
const SCRATCH_BYTES = 65_536
/** Strings up to this many UTF-16 units are tried as ASCII in place, which beats a call into native code. */
const SHORT = 24

let scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
let at = 0

/**
 * Packs nil, booleans, numbers, strings, Uint8Array, arrays and plain objects; undefined becomes nil, a lone surrogate
 * U+FFFD. The key `__proto__` is left out: readers refuse it. Throws TypeError for anything else and RangeError for
 * nesting beyond 32, so values of foreign origin are checked before.
 */
export function pack (value: unknown): Uint8Array {
  at = 0
  write(value, 0)
  return written()
}

/** The same for values one behind the other, with no list around them. */
export function packAll (values: readonly unknown[]): Uint8Array {
  at = 0
  for (const value of values) write(value, 0)
  return written()
}

function written (): Uint8Array {
  const bytes = Buffer.allocUnsafe(at)
  scratch.copy(bytes, 0, 0, at)
  if (scratch.length > SCRATCH_BYTES) scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  return bytes
}

function write (value: unknown, depth: number): void {
  if (scratch.length - at < 16) grow(16)
  switch (typeof value) {
    case 'string': writeText(value); return
    case 'number': writeNumber(value); return
    case 'boolean': scratch[at++] = value ? 0xc3 : 0xc2; return
    case 'undefined': scratch[at++] = 0xc0; return
    case 'object': break
    default: throw new TypeError(`a ${typeof value} has no place in a frame`)
  }
  if (value === null) {
    scratch[at++] = 0xc0
    return
  }
  if (value instanceof Uint8Array) {
    writeBinary(value)
    return
  }
  if (depth === NESTING_MAX) throw new RangeError(`nesting beyond ${NESTING_MAX}`)
  if (Array.isArray(value)) {
    writeLength(value.length, 0x90, 0xdc)
    for (let i = 0; i < value.length; i++) write(value[i], depth + 1)
    return
  }
  writeMap(value as Record<string, unknown>, depth)
}

function writeMap (map: Record<string, unknown>, depth: number): void {
  const prototype: unknown = Object.getPrototypeOf(map)
  if (prototype !== Object.prototype && prototype !== null) throw new TypeError(`a ${map.constructor?.name ?? 'class'} has no place in a frame`)
  let keys = Object.keys(map)
  if (keys.includes('__proto__')) keys = keys.filter((key) => key !== '__proto__')
  writeLength(keys.length, 0x80, 0xde)
  for (const key of keys) {
    writeText(key)
    write(map[key], depth + 1)
  }
}

/** Length of an array or map: in the head up to 15, else as 16 or 32 bits. */
function writeLength (length: number, short: number, long: number): void {
  if (length < 16) scratch[at++] = short | length
  else if (length < 0x10000) uint16(long, length)
  else uint32(long + 1, length)
}

function writeText (text: string): void {
  const length = text.length
  if (scratch.length - at < length * 3 + 16) grow(length * 3 + 16)
  if (length <= SHORT) {
    const start = at++
    let i = 0
    for (; i < length; i++) {
      const unit = text.charCodeAt(i)
      if (unit > 0x7f) break
      scratch[at++] = unit
    }
    if (i === length) {
      scratch[start] = 0xa0 | length
      return
    }
    at = start
  }
  // Written behind the head that plain text would have, which most is; moved where it takes a longer one.
  const start = at
  const plain = headLength(length)
  const size = scratch.write(text, start + plain, 'utf8')
  const head = headLength(size)
  if (head !== plain) scratch.copyWithin(start + head, start + plain, start + plain + size)
  if (head === 1) scratch[at++] = 0xa0 | size
  else if (head === 2) uint8(0xd9, size)
  else if (head === 3) uint16(0xda, size)
  else uint32(0xdb, size)
  at += size
}

/** Bytes before a text of so many. */
function headLength (size: number): number {
  if (size < 32) return 1
  if (size < 0x100) return 2
  return size < 0x10000 ? 3 : 5
}

function writeBinary (bytes: Uint8Array): void {
  const size = bytes.length
  if (scratch.length - at < size + 16) grow(size + 16)
  if (size < 0x100) uint8(0xc4, size)
  else if (size < 0x10000) uint16(0xc5, size)
  else uint32(0xc6, size)
  scratch.set(bytes, at)
  at += size
}

function writeNumber (value: number): void {
  if (!Number.isSafeInteger(value)) {
    scratch[at++] = 0xcb
    at = scratch.writeDoubleBE(value, at)
  } else if (value >= 0) {
    if (value < 0x80) scratch[at++] = value
    else if (value < 0x100) uint8(0xcc, value)
    else if (value < 0x10000) uint16(0xcd, value)
    else if (value <= 0xffffffff) uint32(0xce, value)
    else int64(0xcf, value)
  } else if (value >= -0x20) scratch[at++] = value
  else if (value >= -0x80) uint8(0xd0, value)
  else if (value >= -0x8000) uint16(0xd1, value)
  else if (value >= -0x80000000) uint32(0xd2, value)
  else int64(0xd3, value)
}

function uint8 (head: number, value: number): void {
  scratch[at++] = head
  scratch[at++] = value
}

function uint16 (head: number, value: number): void {
  scratch[at++] = head
  scratch[at++] = value >> 8
  scratch[at++] = value
}

function uint32 (head: number, value: number): void {
  scratch[at++] = head
  scratch[at++] = value >>> 24
  scratch[at++] = value >>> 16
  scratch[at++] = value >>> 8
  scratch[at++] = value
}

/** Two halves, the upper one floored, so that a negative value comes out as its two's complement. */
function int64 (head: number, value: number): void {
  uint32(head, Math.floor(value / 0x1_0000_0000))
  at = scratch.writeUInt32BE(value >>> 0, at)
}

/** Makes room for `more` bytes after `at`. */
function grow (more: number): void {
  const larger = Buffer.allocUnsafeSlow(Math.max(scratch.length * 2, at + more))
  scratch.copy(larger, 0, 0, at)
  scratch = larger
}
