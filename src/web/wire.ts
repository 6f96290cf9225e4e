// MessagePack as this protocol uses it, small enough for the thin client: nil, booleans, numbers, strings, bytes,
// arrays and maps with string keys; whole numbers as far as 2^53. A library costs six of our ten kilobytes.
// Reads only what a server sent: bounded by the message and by 32 levels. Throws on anything malformed.

const NESTING_MAX = 32
const text = new TextDecoder('utf-8', { fatal: true })
const utf8 = new TextEncoder()

/** The values of a message, back to back. */
export function decodeAll (bytes: Uint8Array): unknown[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0

  // Width 1, 2, 4 or 8 of a big-endian number. DataView throws beyond the end.
  const uint = (width: number): number => {
    const start = at
    at += width
    if (width === 8) return view.getUint32(start) * 0x1_0000_0000 + view.getUint32(start + 4)
    return width === 1 ? view.getUint8(start) : width === 2 ? view.getUint16(start) : view.getUint32(start)
  }
  const int = (width: number): number => {
    const value = uint(width)
    // Of 64 bits the upper half alone carries the sign, and the sum stays exact.
    if (width === 8) return view.getInt32(at - 8) * 0x1_0000_0000 + view.getUint32(at - 4)
    return value >= 2 ** (8 * width - 1) ? value - 2 ** (8 * width) : value
  }
  const slice = (length: number): Uint8Array => {
    if (length > bytes.length - at) throw new RangeError('truncated')
    return bytes.subarray(at, at += length)
  }
  const string = (length: number): string => text.decode(slice(length))
  const array = (length: number, depth: number): unknown[] => {
    const values: unknown[] = []
    while (length-- > 0) values.push(value(depth + 1))
    return values
  }
  const map = (length: number, depth: number): Record<string, unknown> => {
    const values: Record<string, unknown> = {}
    while (length-- > 0) {
      const key = value(depth + 1)
      if (typeof key !== 'string' || key === '__proto__') throw new TypeError('a map key')
      values[key] = value(depth + 1)
    }
    return values
  }
  const value = (depth: number): unknown => {
    if (depth > NESTING_MAX) throw new RangeError('nesting')
    const head = uint(1)
    if (head < 0x80) return head
    if (head < 0x90) return map(head & 15, depth)
    if (head < 0xa0) return array(head & 15, depth)
    if (head < 0xc0) return string(head & 31)
    if (head >= 0xe0) return head - 256
    // 1, 2, 4 or 8: within each family the codes are in the order of their widths.
    switch (head) {
      case 0xc0: return null
      case 0xc2: return false
      case 0xc3: return true
      case 0xc4: case 0xc5: case 0xc6: return new Uint8Array(slice(uint(1 << head - 0xc4)))
      case 0xca: return view.getFloat32((at += 4) - 4)
      case 0xcb: return view.getFloat64((at += 8) - 8)
      case 0xcc: case 0xcd: case 0xce: case 0xcf: return uint(1 << head - 0xcc)
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: return int(1 << head - 0xd0)
      case 0xd9: case 0xda: case 0xdb: return string(uint(1 << head - 0xd9))
      case 0xdc: case 0xdd: return array(uint(2 << head - 0xdc), depth)
      case 0xde: case 0xdf: return map(uint(2 << head - 0xde), depth)
      default: throw new TypeError('a type this protocol does not use')
    }
  }

  const values: unknown[] = []
  while (at < bytes.length) values.push(value(0))
  return values
}

/** One value as bytes. What is undefined is left out of maps and nil elsewhere. */
export function encode (value: unknown): Uint8Array<ArrayBuffer> {
  const out: number[] = []

  const put = (code: number, width: number, number: number): void => {
    out.push(code)
    // Division, since shifts end at 32 bits; `&` takes the low byte of negative numbers too.
    while (width-- > 0) out.push(Math.floor(number / 256 ** width) & 255)
  }
  /** A length: in the code itself when it fits, else behind the next code, in 1 (if there is such a code), 2 or 4 bytes. */
  const length = (fixed: number, fixedMax: number, code8: number, code16: number, size: number): void => {
    if (size <= fixedMax) put(fixed | size, 0, 0)
    else if (code8 > 0 && size < 0x100) put(code8, 1, size)
    else if (size < 0x10000) put(code16, 2, size)
    else put(code16 + 1, 4, size)
  }
  const number = (value: number): void => {
    if (!Number.isSafeInteger(value)) {
      out.push(0xcb, ...new Uint8Array(new Float64Array([value]).buffer).reverse())
    } else if (value < 0) value >= -32 ? put(value & 255, 0, 0) : put(0xd3, 8, value)
    else if (value < 0x80) put(value, 0, 0)
    else if (value < 0x1_0000_0000) value < 0x10000 ? put(0xcd, 2, value) : put(0xce, 4, value)
    else put(0xcf, 8, value)
  }
  const write = (value: unknown): void => {
    if (value === null || value === undefined) put(0xc0, 0, 0)
    else if (typeof value === 'boolean') put(value ? 0xc3 : 0xc2, 0, 0)
    else if (typeof value === 'number') number(value)
    else if (typeof value === 'string') {
      const bytes = utf8.encode(value)
      length(0xa0, 31, 0xd9, 0xda, bytes.length)
      for (const byte of bytes) out.push(byte)
    } else if (value instanceof Uint8Array) {
      length(0, -1, 0xc4, 0xc5, value.length)
      for (const byte of value) out.push(byte)
    } else if (Array.isArray(value)) {
      length(0x90, 15, 0, 0xdc, value.length)
      value.forEach(write)
    } else {
      const pairs = Object.entries(value as object).filter(([, inner]) => inner !== undefined)
      length(0x80, 15, 0, 0xde, pairs.length)
      for (const pair of pairs) pair.forEach(write)
    }
  }

  write(value)
  return Uint8Array.from(out)
}
