// The records of the journal and the nonces' hashes and filters, by themselves: what goes in comes out, and no nonce that
// was seen is ever denied.

import t from 'tap'
import { RECORD_HEAD } from './journal.ts'
import { hashNonce, NonceFilter } from './nonce-filter.ts'
import { NonceTable } from './nonce-table.ts'
import { decodeRecord, RecordWriter, type Change } from './record.ts'

const EMPTY: Change = { next: 1, heads: new Map(), states: new Map(), appends: [], removed: [], expired: [], rewrites: [] }
const TEXTS = ['', 'a', 'plain', 'ä', 'ÿ', 'Ā', '日本語', '𝕏', '\ud800', 'a\u0000b', 'x'.repeat(900), '長'.repeat(900)]
const NUMBERS = [0, 1, 255, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 47, 2 ** 48 - 1]

t.test('a record comes back as it went in', (t) => {
  const writer = new RecordWriter()
  const any = <T> (all: readonly T[], at: number): T => all[at % all.length] as T
  for (let at = 0; at < 500; at++) {
    const number = (by: number): number => any(NUMBERS, at * 7 + by)
    const text = (by: number): string => any(TEXTS, at * 5 + by)
    const change: Change = {
      next: number(0),
      heads: new Map([[`a${text(0)}`, null], [`b${text(1)}`, { number: number(1), epoch: text(2), first: number(2), seq: number(3), bytes: number(4), lastTs: number(5) }]]),
      states: new Map([[1, null], [2, { bytes: new Uint8Array(at * 3).fill(at) }]]),
      appends: Array.from({ length: at % 7 }, (_, by) => ({
        number: number(by), seq: number(by + 1), ts: number(by + 2), bytes: new Uint8Array(by * at).fill(by), nonce: by % 2 === 0 ? null : { hash: { low: at * 8_000_000 | 0, high: -1 - by }, author: text(by), nonce: text(by + 1) }
      })),
      removed: Array.from({ length: at % 3 }, (_, by) => ({ number: number(by), first: 1, seq: number(by) })),
      expired: Array.from({ length: at % 4 }, (_, by) => ({ number: number(by), first: 2, seq: number(by) })),
      rewrites: Array.from({ length: at % 5 }, (_, by) => ({ number: number(by), seq: number(by + 3), bytes: new Uint8Array(by * 7).fill(at) }))
    }
    const back = decodeRecord(Buffer.from(writer.encode(change).subarray(RECORD_HEAD)))
    if (JSON.stringify(shown(back)) !== JSON.stringify(shown(change))) t.fail(`change ${at} came back as another`)
  }
  t.same(decodeRecord(Buffer.from(writer.encode(EMPTY).subarray(RECORD_HEAD))), EMPTY)
  t.end()
})

t.test('a payload that ends early is no record', (t) => {
  const payload = Buffer.from(new RecordWriter().encode({ ...EMPTY, appends: [{ number: 1, seq: 2, ts: 3, bytes: new Uint8Array(40), nonce: { hash: { low: 1, high: 2 }, author: 'ann', nonce: 'n' } }] }).subarray(RECORD_HEAD))
  for (let end = 0; end < payload.length; end++) t.throws(() => decodeRecord(payload.subarray(0, end)), RangeError)
  t.end()
})

t.test('the filter denies no nonce that it was told, and few others are suspected', (t) => {
  const seed = { low: 0x12345678, high: 0x9abcdef0 }
  const filter = new NonceFilter()
  const known = Array.from({ length: 70_000 }, (_, at) => hashNonce(seed, `room-${at % 3}`, `user-${at % 100}`, `n${at}`))
  for (const hash of known) filter.add(hash)
  t.equal(filter.count, known.length)
  t.ok(known.every((hash) => filter.mayHave(hash)))
  let suspected = 0
  for (let at = 0; at < 50_000; at++) if (filter.mayHave(hashNonce(seed, `room-${at % 3}`, `user-${at % 100}`, `m${at}`))) suspected++
  t.ok(suspected < 500, `${suspected} of 50,000 others are suspected, over two tables`)
  t.end()
})

t.test('hashes tell apart what is alike', (t) => {
  const seed = { low: 1, high: 2 }
  const hashes = [['r', 'a', 'bc'], ['r', 'ab', 'c'], ['ra', 'b', 'c'], ['s', 'a', 'bc'], ['r', 'bc', 'a'], ['r', '', 'abc'], ['r', 'a', 'bd'], ['', 'ra', 'bc'], ['ra', '', 'bc']] as const
  const seen = new Set(hashes.map(([room, author, nonce]) => JSON.stringify(hashNonce(seed, room, author, nonce))))
  t.equal(seen.size, hashes.length)
  t.not(JSON.stringify(hashNonce({ low: 3, high: 4 }, 'r', 'a', 'bc')), JSON.stringify(hashNonce(seed, 'r', 'a', 'bc')), 'another server, another hash')
  t.end()
})

t.test('the table finds what was added last for a nonce, and nothing else', (t) => {
  const seed = { low: 7, high: 9 }
  const table = new NonceTable()
  const add = (number: number, author: string, nonce: string, seq: number): void => table.add({ hash: hashNonce(seed, 'r', author, nonce), number, author, nonce, seq, ts: seq * 2 })
  for (let at = 0; at < 5000; at++) add(1, `user-${at % 7}`, `n${at}`, at)
  add(1, 'user-3', 'n3', 9000)
  const find = (number: number, author: string, nonce: string): unknown => table.find(hashNonce(seed, 'r', author, nonce), number, author, nonce)
  for (let at = 0; at < 5000; at++) if (at !== 3) t.same(find(1, `user-${at % 7}`, `n${at}`), { seq: at, ts: at * 2 })
  t.same(find(1, 'user-3', 'n3'), { seq: 9000, ts: 18_000 })
  t.same([find(2, 'user-0', 'n0'), find(1, 'user-1', 'n0'), find(1, 'user-0', 'x')], [null, null, null])
  t.equal(table.size, 5001)
  t.end()
})

function shown ({ next, heads, states, appends, removed, expired, rewrites }: Change): unknown {
  return {
    next, removed, expired,
    heads: [...heads],
    rewrites: rewrites.map(({ number, seq, bytes }) => [number, seq, Buffer.from(bytes).toString('hex')]),
    states: [...states].map(([number, state]) => [number, state === null ? null : Buffer.from(state.bytes).toString('hex')]),
    appends: appends.map(({ number, seq, ts, bytes, nonce }) => [number, seq, ts, Buffer.from(bytes).toString('hex'), nonce])
  }
}
