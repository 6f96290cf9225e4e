// The wire, held from four sides: PROTOCOL.md against the code's tables, golden vectors byte for byte (and against an
// independent MessagePack library), units of codec, entry and shape, and a seeded enemy. PROVE_SCALE multiplies the enemy.

import { readFileSync } from 'node:fs'
import { inflateSync } from 'node:zlib'
import { Decoder, encode as encodeElsewhere } from '@msgpack/msgpack'
import t from 'tap'
import { closeCode, CLOSES, errorCode, ERRORS, mayReconnect } from './codes.ts'
import { BadFrame, decode, decodeTrusted, encode, unpack, type Frame } from './codec.ts'
import { encodeEntry, encodePage, entryAuthor, entryObject, entryOfObject, entryOp, entrySeq, entryTs, isRemoved, isShadow, packShadowTail, packTail, removedEntry, unshadowed } from './entry.ts'
import { HOSTILITIES, hostileMessage, plausibleFrame, seededRandom } from './hostile.ts'
import { FRAMES, IN, KIND, OUT, PROTOCOL, ROLE, SKIPPED_REASONS, type EntryOp } from './ops.ts'
import { pack } from './pack.ts'
import { checkFrame, ridOf } from './shape.ts'
import { isMap, isNonce, isPosition, isRoom, isUint, LIMITS, nestsWithin } from './values.ts'

const read = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytesOf = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const elsewhere = new Decoder({ maxStrLength: 65_536, maxBinLength: 65_536, maxArrayLength: 65_536, maxMapLength: 65_536, maxExtLength: 0 })

interface Vector { name: string, from: 'client' | 'server', form: 'frame' | 'entry' | 'page' | 'other', hex: string, value: unknown[] }
interface MessageVector { name: string, from: 'client' | 'server', hex: string, values: unknown[][] }

/** JSON of the vectors to values: `{"$bin": hex}` is binary. */
function revive (_key: string, value: unknown): unknown {
  const binary = (value as { $bin?: unknown } | null)?.$bin
  return typeof binary === 'string' ? new Uint8Array(bytesOf(binary)) : value
}

/** Equal in type and value; NaN is itself, and -0 is 0, as pack writes it. */
function same (a: unknown, b: unknown): boolean {
  if (a === b || Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Uint8Array || b instanceof Uint8Array) return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0
  if (Array.isArray(a) !== Array.isArray(b)) return false
  if (Array.isArray(a)) return a.length === (b as unknown[]).length && a.every((inner, i) => same(inner, (b as unknown[])[i]))
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every((key) => Object.hasOwn(b, key) && same(a[key as never], b[key as never]))
}

/** How many values a decoded value holds, itself and map keys included, plus how many bytes of text and binary. */
function weigh (value: unknown): number {
  if (typeof value === 'string') return 1 + Buffer.byteLength(value)
  if (value instanceof Uint8Array) return 1 + value.length
  if (typeof value !== 'object' || value === null) return 1
  let weight = 1
  if (Array.isArray(value)) for (const inner of value) weight += weigh(inner)
  else for (const key of Object.keys(value)) weight += weigh(key) + weigh(value[key as never])
  return weight
}

t.test('PROTOCOL.md says what the tables say', async (t) => {
  const text = read('PROTOCOL.md')
  const rows = (marker: string): string[][] => {
    const [, part] = new RegExp(`<!-- table: ${marker} -->\\n([\\s\\S]*?)\\n\\n`).exec(text) ?? []
    if (part === undefined) throw new Error(`PROTOCOL.md has no table ${marker}`)
    return part.split('\n').slice(2).map((line) => line.replace(/^\| | \|$/g, '').split(' | ').map((cell) => cell.trim().replaceAll('\\|', '|').replaceAll('`', '')))
  }
  const fieldsOf = (frame: (typeof FRAMES)[number]): string => frame.fields.map((field) => `${field.name}: ${field.type}${'nil' in field ? '|nil' : ''}`).join(', ')
  const frames = (from: string): string[][] => FRAMES.filter((frame) => frame.from === from).map((frame) => [String(frame.op), frame.name + ('entry' in frame ? ' (entry)' : ''), fieldsOf(frame)])
  t.same(rows('client frames').map((row) => row.slice(0, 3)), frames('client'))
  t.same(rows('server frames').map((row) => row.slice(0, 3)), frames('server'))
  t.same(rows('errors'), ERRORS.map((row) => [String(row.code), row.name, String(row.http), row.wait ? 'yes' : 'no', row.meaning]))
  t.same(rows('closes'), CLOSES.map((row) => [String(row.code), row.name, row.reconnect ? 'yes' : 'no', row.meaning]))
  t.same(rows('kinds').map((row) => row.slice(0, 2)), Object.entries(KIND).map(([name, kind]) => [String(kind), name]))
  t.same(rows('roles').map((row) => row.slice(0, 2)), Object.entries(ROLE).map(([name, bit]) => [String(bit), name]))
  t.same(rows('skipped').map((row) => row[0]), SKIPPED_REASONS)
  t.same(Object.fromEntries(rows('limits').map((row) => [row[0], Number(row[1])])), LIMITS)
  t.match(text, `\`${PROTOCOL}\``)
  t.match(text, `version 1`)

  t.same(Object.keys(IN), FRAMES.filter((frame) => frame.from === 'client').map((frame) => frame.name))
  t.same(Object.keys(OUT), FRAMES.filter((frame) => frame.from === 'server').map((frame) => frame.name))
  for (const frame of FRAMES) t.equal((frame.from === 'client' ? IN : OUT)[frame.name as never], frame.op)
  for (const list of [FRAMES.map((row) => row.op), ERRORS.map((row) => row.code), CLOSES.map((row) => row.code)]) t.equal(new Set<number>(list).size, list.length, 'no number twice')
  for (const row of CLOSES) t.equal(mayReconnect(row.code), row.reconnect)
  t.ok(mayReconnect(1006))
  t.equal(errorCode('slow_mode').code, 22)
  t.equal(closeCode('too_slow').code, 4408)
})

t.test('every example in PROTOCOL.md is a vector', async (t) => {
  const vectors = new Map((JSON.parse(read('vectors.json')) as { frames: Vector[] }).frames.map((vector) => [vector.hex, JSON.stringify(vector.value)]))
  const examples = [...read('PROTOCOL.md').matchAll(/^- `([0-9a-f ]+)`\n {2}`(\[.*\])`$/gm)]
  t.ok(examples.length >= 27, `${examples.length} examples`)
  for (const [, bytes, json] of examples) t.equal(vectors.get((bytes as string).replaceAll(' ', '')), json)
  t.strictSame(new Set(examples.map(([, , json]) => (JSON.parse(json as string) as number[])[0])), new Set(FRAMES.map((frame) => frame.op)), 'one for every op')
})

t.test('golden vectors', async (t) => {
  const { frames, messages } = JSON.parse(read('vectors.json'), revive) as { frames: Vector[], messages: MessageVector[] }
  for (const { name, form, from, hex: text, value } of frames) {
    const bytes = bytesOf(text)
    const frame = value as unknown as Frame
    const read = from === 'client' ? decode(bytes) : decodeTrusted(bytes)
    if (!same(read, [value])) t.fail(`${name}: read as ${JSON.stringify(read)}`)
    if (!same(elsewhere.decode(bytes), value)) t.fail(`${name}: read otherwise elsewhere`)
    if (form === 'frame') {
      t.equal(hex(encode(frame)), text, name)
      t.equal(hex(encodeElsewhere(value)), text, `${name}, written elsewhere`)
    } else if (form === 'entry') {
      t.equal(hex(entryBytes(value)), text, name)
    } else if (form === 'page') {
      const [, rid, room, entries, more] = value as [number, number, string, unknown[][], boolean]
      t.equal(hex(encodePage(rid, room, entries.map(entryBytes), more)), text, name)
    }
    if (FRAMES.some(({ op }) => op === frame[0])) t.equal(checkFrame(frame, from), null, name)
    else t.equal(form, 'other', name)
  }
  t.strictSame(new Set(frames.filter(({ form }) => form !== 'other').map(({ value }) => value[0])), new Set(FRAMES.map((frame) => frame.op)), 'every op has one')
  for (const { name, from, hex: text, values } of messages) {
    t.ok(same(from === 'client' ? decode(bytesOf(text)) : decodeTrusted(bytesOf(text)), values), name)
    t.ok(same([...elsewhere.decodeMulti(bytesOf(text))], values), `${name}, read elsewhere`)
  }
  const deflated = frames.find(({ value }) => value[0] === OUT.DEFLATED)?.value[1] as unknown as Uint8Array
  t.strictSame((decodeTrusted(inflateSync(deflated)) as Frame[]).map(([op, ...fields]) => [op, fields[0]]), [[OUT.ROOM, 'lobby'], [OUT.MESSAGE, 813], [OUT.MESSAGE, 814]], 'a message in it')
  const refused = (JSON.parse(read('vectors.refused.json')) as { messages: { name: string, reason: string, hex: string }[] }).messages
  for (const { name, reason, hex: text } of refused) t.strictSame(decode(bytesOf(text)), new BadFrame(reason), name)
})

function entryBytes (value: unknown[]): Uint8Array {
  return encodeEntry(value[0] as EntryOp, value[1] as number, value[2] as number, packTail(value.slice(3)))
}

t.test('pack: one form, whatever it is given', async (t) => {
  const forms: [unknown, string][] = [
    [0, '00'], [-0, '00'], [127, '7f'], [128, 'cc80'], [255, 'ccff'], [256, 'cd0100'], [65_535, 'cdffff'], [65_536, 'ce00010000'],
    [4294967295, 'ceffffffff'], [4294967296, 'cf0000000100000000'], [2 ** 53 - 1, 'cf001fffffffffffff'], [2 ** 53, 'cb4340000000000000'],
    [-1, 'ff'], [-32, 'e0'], [-33, 'd0df'], [-128, 'd080'], [-129, 'd1ff7f'], [-32_768, 'd18000'], [-32_769, 'd2ffff7fff'],
    [-(2 ** 31), 'd280000000'], [-(2 ** 31) - 1, 'd3ffffffff7fffffff'], [-(2 ** 53) + 1, 'd3ffe0000000000001'],
    [0.5, 'cb3fe0000000000000'], [NaN, 'cb7ff8000000000000'], [Infinity, 'cb7ff0000000000000'],
    [null, 'c0'], [undefined, 'c0'], [true, 'c3'], [false, 'c2'], ['', 'a0'], ['é', 'a2c3a9'], ['😀', 'a4f09f9880'],
    ['\ud800', 'a3efbfbd'], ['ab\udc00cd', 'a76162efbfbd6364'], [[], '90'], [{}, '80'], [{ a: undefined }, '81a161c0'],
    [Object.fromEntries([['__proto__', 1], ['b', 2]]), '81a16202'], [{ '\ud800': 1 }, '81a3efbfbd01'], [Uint8Array.of(1, 2), 'c4020102'], [Buffer.from([]), 'c400']
  ]
  for (const [value, form] of forms) t.equal(hex(pack(value)), form)
  for (const length of [15, 16, 24, 25, 31, 32, 255, 256, 65_535, 65_536, 200_000]) {
    for (const value of ['x'.repeat(length), 'é'.repeat(length), new Uint8Array(length), new Array(length).fill(1), Object.fromEntries(Array.from({ length }, (_, i) => [`k${i}`, i]))]) {
      t.ok(Buffer.compare(pack(value), encodeElsewhere(value)) === 0, `${length} of ${typeof value}`)
    }
  }
  const kept = pack('first')
  pack('other')
  t.equal(hex(kept), hex(pack('first')), 'what was packed stays')
  for (const value of [1n, Symbol('s'), () => 1, new Date(), new Map(), new Set(), new BadFrame('')]) t.throws(() => pack([value]), TypeError)
  let deep: unknown = 1
  for (let i = 0; i < 33; i++) deep = [deep]
  t.throws(() => pack(deep), RangeError)
  t.equal(hex(pack([1])), '9101', 'and works on after a throw')
  t.ok(same(unpack(pack({ at: 1700000000123, list: [2 ** 40] })), { at: 1700000000123, list: [2 ** 40] }))
})

t.test('decode: what it accepts', async (t) => {
  t.strictSame(decode(bytesOf('9108 9208c0 930305a16c')), [[8], [8, null], [3, 5, 'l']], 'frames back to back')
  t.strictSame(decode(bytesOf('92 08 82 a161 01 a161 02')), [[8, { a: 2 }]], 'of a key given twice the last counts')
  t.strictSame(decode(bytesOf('92 08 82 ab636f6e7374727563746f72 01 a8746f537472696e67 02')), [[8, { constructor: 1, toString: 2 }]])
  t.ok(decode(bytesOf('9208' + '91'.repeat(7) + '01')) instanceof Array, 'nesting of 8')
  t.ok(decodeTrusted(bytesOf('9108'.repeat(5000))) instanceof Array, 'trusted: long batches')
  t.ok(decodeTrusted(Buffer.concat([bytesOf('9108'), bytesOf('9208' + '91'.repeat(32) + '01')])) instanceof BadFrame, 'trusted: bounded too')
  const bytes = new Uint8Array(encode([4, 1, 'lobby', 'n', 5, Uint8Array.of(1, 2, 3), null]))
  const frames = decode(bytes)
  bytes.fill(0)
  t.ok(same(frames, [[4, 1, 'lobby', 'n', 5, Uint8Array.of(1, 2, 3), null]]), 'keeps nothing of the input')
  const within = Buffer.concat([Buffer.alloc(7, 0xff), encode([8, 'x'.repeat(200), { k: 'é'.repeat(80) }]), Buffer.alloc(7, 0xff)])
  t.ok(same(decode(within.subarray(7, -7)), [[8, 'x'.repeat(200), { k: 'é'.repeat(80) }]]), 'a view into a larger buffer')
  t.strictSame(decode(bytesOf('9208cfffffffffffffffff')), [[8, 2 ** 64]], 'a number beyond 2^53 is read, roughly')
})

t.test('entries', async (t) => {
  const tail = packTail([['u1', 'Ann', 4], 0, 'hello 😀', null])
  t.equal(tail.fields, 4)
  for (const seq of [1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1]) {
    for (const ts of [0, 1, 2 ** 32 - 1, 2 ** 32, 1700000000123, 2 ** 53 - 1]) {
      const entry = encodeEntry(OUT.MESSAGE, seq, ts, tail)
      t.strictSame([entryOp(entry), entrySeq(entry), entryTs(entry)], [OUT.MESSAGE, seq, ts])
      t.ok(same(elsewhere.decode(entry), [OUT.MESSAGE, seq, ts, ['u1', 'Ann', 4], 0, 'hello 😀', null]))
      t.equal(entry.byteLength, entry.buffer.byteLength, 'owns its memory')
      t.equal(entry.length, (seq > 0xffffffff ? 20 : 16) + tail.bytes.length)
    }
  }
  t.throws(() => packTail(new Array(13).fill(1)), RangeError)
  const object = (op: EntryOp, ...fields: unknown[]): unknown => entryObject(encodeEntry(op, 5, 7, packTail(fields)))
  const user = ['u1', 'Ann', 4]
  t.strictSame(object(37, user, 0, 'hello', { re: 3 }), { op: 'message', seq: 5, ts: 7, user: { id: 'u1', name: 'Ann', roles: 4 }, kind: 0, body: 'hello', ext: { re: 3 } })
  t.strictSame(object(37, user, 5, Uint8Array.of(0, 255)), { op: 'message', seq: 5, ts: 7, user: { id: 'u1', name: 'Ann', roles: 4 }, kind: 5, body: 'AP8=', ext: null })
  t.strictSame(object(38, { seq: 4 }), { op: 'remove', seq: 5, ts: 7, target: { seq: 4 }, by: null })
  t.strictSame(object(38, { all: true, upTo: 4 }, 'u9'), { op: 'remove', seq: 5, ts: 7, target: { all: true, upTo: 4 }, by: 'u9' })
  t.strictSame(object(39, { locked: true }), { op: 'state', seq: 5, ts: 7, changes: { locked: true } })
  t.strictSame(object(40, 4, 'better', null), { op: 'edit', seq: 5, ts: 7, target: 4, body: 'better', ext: null })
  const round = (entry: Uint8Array, isShadow = false): void => { t.ok(Buffer.from(entry).equals(entryOfObject(entryObject(entry), isShadow)), 'an object gives its entry back, byte for byte') }
  for (const fields of [[user, 0, 'hello \u0000 😀', { re: 3, meta: { size: 1.5, none: null, list: [1, -1, -40000] } }], [user, 5, Uint8Array.of(0, 255, 254), null], [user, 2, '', null]]) round(encodeEntry(OUT.MESSAGE, 2 ** 33, 7, packTail(fields)))
  round(encodeEntry(OUT.MESSAGE, 6, 7, packShadowTail([['u1', 'Ann', 4], 0, 'hidden', null])), true)
  round(encodeEntry(OUT.REMOVE, 6, 7, packTail([{ user: 'u1', upTo: 5 }, null])))
  round(encodeEntry(OUT.STATE, 6, 7, packTail([{ title: null, slowModeSeconds: 5 }])))
  round(encodeEntry(OUT.EDIT, 6, 7, packTail([4, 'better', { at: ['u2'] }])))
  const entries = Array.from({ length: 200 }, (_, i) => encodeEntry(OUT.MESSAGE, i + 1, 7, tail))
  const page = decodeTrusted(encodePage(2 ** 40, 'lobby', entries, true)) as Frame[]
  t.equal((page[0]?.[3] as unknown[]).length, 200)
  t.strictSame([page.length, page[0]?.[1], page[0]?.[4]], [1, 2 ** 40, true])
})

t.test('values', async (t) => {
  for (const room of ['a', 'A-Z_a.z:09', 'x'.repeat(64), '...', 'a..', 'constructor']) t.ok(isRoom(room))
  for (const room of ['', 'x'.repeat(65), 'a b', 'é', 'a\n', '__proto__', '.', '..', 1, null]) t.notOk(isRoom(room))
  t.ok(isNonce('x') && isNonce('x'.repeat(64)))
  t.notOk(isNonce('') || isNonce('x'.repeat(65)) || isNonce(1))
  t.ok(isUint(0) && isUint(2 ** 53 - 1))
  t.notOk(isUint(-1) || isUint(2 ** 53) || isUint(0.5) || isUint(NaN) || isUint('1') || isUint(1n))
  t.ok(isPosition(['k3x9', 0]))
  for (const position of [null, [], ['k3x9'], ['', 1], ['x'.repeat(33), 1], ['k3x9', -1], ['k3x9', 1, 2], { 0: 'k3x9', 1: 1, length: 2 }]) t.notOk(isPosition(position))
  t.ok(isMap({}))
  t.ok(nestsWithin('flat', 0) && nestsWithin({}, 1) && nestsWithin({ a: [{ b: 1 }] }, 3) && nestsWithin({ a: new Uint8Array(2) }, 1))
  t.notOk(nestsWithin([], 0) || nestsWithin({ a: [{ b: 1 }] }, 2))
  t.notOk(nestsWithin(JSON.parse('['.repeat(50_000) + ']'.repeat(50_000)), 6), 'stops at its bound')
  t.notOk(isMap([]) || isMap(null) || isMap(new Uint8Array(1)) || isMap('x'))
})

t.test('shape', async (t) => {
  const faults: [unknown[], string][] = [
    [[2], 'JOIN: rid is missing'],
    [[2, -1, 'lobby'], 'JOIN: rid must be a whole number from 0 to 2^53-1'],
    [[2, 2 ** 53, 'lobby'], 'JOIN: rid must be a whole number from 0 to 2^53-1'],
    [[2, 1.5, 'lobby'], 'JOIN: rid must be a whole number from 0 to 2^53-1'],
    [[2, NaN, 'lobby'], 'JOIN: rid must be a whole number from 0 to 2^53-1'],
    [[2, null, 'lobby'], 'JOIN: rid must be a whole number from 0 to 2^53-1'],
    [[2, 1, Uint8Array.of(97)], 'JOIN: room must be a string'],
    [[2, 1, 'lobby', []], 'JOIN: options must be a map or nil'],
    [[2, 1, 'lobby', Uint8Array.of(1)], 'JOIN: options must be a map or nil'],
    [[4, 1, 'lobby', 'n', 0], 'SEND: body is missing'],
    [[4, 1, 'lobby', 'n', 0, 5], 'SEND: body must be a string or binary'],
    [[5, 1, 'lobby', 7], 'HISTORY: limit is missing'],
    [[5, 1, 'lobby', '7', 5], 'HISTORY: before must be a whole number from 0 to 2^53-1 or nil'],
    [[7, 1, 'lobby', 'ban', null], 'MODERATE: args must be a map'],
    [[8, 1, []], 'PING: positions must be a map or nil'],
    [[1, 5], 'HELLO: token must be a string or nil'],
    [[99, 1], 'op 99 is not one that a client sends'],
    [[37, 1], 'op 37 is not one that a client sends']
  ]
  for (const [frame, sentence] of faults) t.equal(checkFrame(frame as unknown as Frame), sentence)
  for (const frame of [[1], [1, null, null, 'more'], [8], [8, { any: [1] }], [4, 1, 'lobby', 'n', 0, 'x', null, 1, 2], [5, 1, 'lobby', null, 5]]) t.equal(checkFrame(frame as unknown as Frame), null)
  t.equal(checkFrame([32, 's', ['u', 'n'], 1, {}], 'server'), 'WELCOME: user must be a user [id, name, roles] or nil')
  t.equal(checkFrame([35, 1, 'lobby', 'k', 0, {}, 1], 'server'), 'JOINED: recovered must be true or false')
  t.equal(checkFrame([55, 1, 'lobby', {}, true], 'server'), 'PAGE: entries must be an array')
  t.equal(checkFrame([32, 's', ['u', 'n', 0, 'more'], 1, {}], 'server'), null)
  t.equal(checkFrame([1], 'server'), 'op 1 is not one that a server sends')
  t.strictSame([[4, 7], [8, 7], [1, 7], [6, 7], [99, 7], [99, 'x'], [99], [4, 'x'], [33, 7]].map((frame) => ridOf(frame as unknown as Frame)), [7, null, null, null, 7, null, null, null, 7])
})

t.test('the enemy', async (t) => {
  const count = 200_000 * Number(process.env['PROVE_SCALE'] ?? 1)
  const random = seededRandom(Number(process.env['PROVE_SEED'] ?? 20261))
  let accepted = 0
  for (let i = 0; i < count; i++) {
    const bytes = hostileMessage(random)
    const frames = decode(bytes)
    if (frames instanceof BadFrame) continue
    accepted++
    const fault = faultOf(bytes, frames)
    if (fault !== null) throw new Error(`${fault}: ${hex(bytes)}`)
  }
  t.ok(accepted > count / 20, `${accepted} of ${count} messages accepted`)

  const frames = decode(pack(plausibleFrame(seededRandom(1))))
  t.ok(frames instanceof Array, 'and a good frame is still read')
  for (const [name, make] of Object.entries(HOSTILITIES)) {
    const kind = seededRandom(7)
    t.ok(Array.from({ length: 50 }, () => decode(make(kind))).every((read) => read instanceof BadFrame || Array.isArray(read)), name)
  }
  for (let i = 0; i < 2000; i++) {
    const frame = plausibleFrame(random)
    const read = decode(pack(frame))
    // Deep or odd values may be refused, a frame as the contract has it never is.
    if (read instanceof BadFrame && read.reason !== `nesting beyond ${LIMITS.nesting}`) throw new Error(`${read.reason}: ${hex(pack(frame))}`)
  }
})

/** What is wrong with frames that were accepted from these bytes, or null. Counts rather than clocks. */
function faultOf (bytes: Uint8Array, frames: readonly Frame[]): string | null {
  if (frames.length > LIMITS.framesPerMessage) return 'too many frames'
  // Every value takes a byte at least, and every byte of text one more: what comes out cannot outgrow what went in.
  if (weigh(frames) - 1 > bytes.length) return 'more came out than went in'
  const others = [...elsewhere.decodeMulti(bytes)]
  if (!same(frames, others)) return 'another library reads it otherwise'
  for (const frame of frames) {
    const op = frame[0]
    if (!Number.isInteger(op) || op < 0 || op > 127) return 'a bad op'
    const shape = checkFrame(frame)
    if (shape !== null && shape.length > 100) return 'a sentence that grows with the input'
    ridOf(frame)
    if (!same(decode(encode(frame)), [frame])) return 'not the same after packing'
  }
  return null
}

t.test('entries that are not for everybody bear a mark that never leaves the server', (t) => {
  for (const seq of [1, 0xffffffff, 2 ** 33]) {
    for (const id of ['u', 'x'.repeat(31), 'x'.repeat(32), 'ü'.repeat(128), '漢'.repeat(128)]) {
      const fields = [[id, 'Ann', 4], 0, 'hello', null] as const
      const plain = encodeEntry(OUT.MESSAGE, seq, 1_700_000_000_123, packTail(fields))
      const shadow = encodeEntry(OUT.MESSAGE, seq, 1_700_000_000_123, packShadowTail([[id, 'Ann', 4], 0, 'hello', null]))
      const removed = removedEntry(plain)
      t.same([entryAuthor(plain), entryAuthor(shadow), entryAuthor(removed)], [id, id, ''])
      t.same([isShadow(plain), isShadow(shadow), isShadow(removed), isRemoved(plain), isRemoved(shadow), isRemoved(removed)], [false, true, false, false, false, true])
      t.equal(hex(unshadowed(shadow)), hex(plain), 'its author gets the very bytes of any other message')
      t.same([entryOp(removed), entrySeq(removed), entryTs(removed), (unpack(removed) as unknown[]).length], [OUT.MESSAGE, seq, 1_700_000_000_123, 3])
    }
  }
  const state = encodeEntry(OUT.STATE, 5, 7, packTail([{}]))
  t.same([entryAuthor(state), isRemoved(state), isShadow(state)], ['', false, false])
  t.end()
})
