// The load's reading: what it tells of a server is only as good as this. Real frames of both kinds of server.

import { deflateSync } from 'node:zlib'
import t from 'tap'
import { encode } from '../proto/codec.ts'
import { encodeEntry, packTail } from '../proto/entry.ts'
import { OUT } from '../proto/ops.ts'
import { DIALECTS, type DialectName, type Hearer } from './dialect.ts'
import { BINARY, clockMs, offsetOf } from './link.ts'
import { authorName, bodyNow, MESSAGE_BYTES, peerMessageNow } from './message.ts'
import { WINDOW_BYTES_MIN, type Told } from './told.ts'

class Listener implements Hearer {
  readonly told: string[] = []
  readonly times: number[] = []
  joined (last: number): void { this.told.push(`joined ${last}`) }
  skipped (first: number, last: number): void { this.told.push(`skipped ${first}–${last}`) }
  answered (seq: number, refusal: string | null): void { this.told.push(refusal ?? `ok ${seq}`) }
  reply (): void {}
  heard (told: Told): void {
    this.told.push(Array.from({ length: told.runs }, (_, run) => `${told.authors[run]}: ${told.firsts[run]} ×${told.counts[run]}`).join(', '))
    for (let index = 0; index < told.size; index++) this.times.push(told.timeMs(index))
  }
}

function entry (seq: number): Uint8Array {
  const name = authorName(seq % 20)
  return encodeEntry(OUT.MESSAGE, seq, Date.now(), packTail([[name, name, 0], 0, bodyNow(), null]))
}

const room = encode([OUT.ROOM, 'bench-0', 'epoch'])
const from = (first: number, count: number): Uint8Array[] => Array.from({ length: count }, (_, at) => entry(first + at))

function read (dialect: DialectName, ...messages: Uint8Array[]): Listener {
  const listener = new Listener()
  for (const message of messages) {
    // At an odd place of a larger buffer, as a socket's read buffer has them.
    const bytes = Buffer.concat([Buffer.from('abc'), message, Buffer.from('defg')])
    DIALECTS[dialect].read(listener, bytes, 3, 3 + message.length, BINARY)
  }
  return listener
}

t.test('the clock is that of the machine, however late it is loaded', async (t) => {
  const machineMs = (): number => Number(process.hrtime.bigint()) / 1e6
  t.ok(Math.abs(offsetOf(clockMs)) < 0.5)
  let isLoaded = false
  const lazy = (): number => {
    for (const end = machineMs() + 20; !isLoaded && machineMs() < end;);
    isLoaded = true
    return performance.now()
  }
  t.ok(Math.abs(offsetOf(lazy) - offsetOf(() => performance.now())) < 0.5, 'a first look that takes 20 ms counts for nothing')
})

t.test('windows of Uproar, plain and deflated', async (t) => {
  t.equal(entry(70_000).length, MESSAGE_BYTES, 'an entry as the benches know it')
  const before = clockMs()
  const window = Buffer.concat([room, ...from(70_000, 100)])
  const after = clockMs()
  const deflated = encode([OUT.DEFLATED, deflateSync(window)])
  for (const message of [window, deflated]) {
    const times: number[][] = []
    for (let viewer = 0; viewer < 3; viewer++) {
      const listener = read('uproar', message)
      t.same(listener.told, ['0: 70000 ×100'], 'all of it, to each who gets it')
      times.push(listener.times)
    }
    t.ok(times[0]?.length === 100 && times[0].every((ms) => ms > before - 0.02 && ms < after + 0.02), 'with the times of writing')
    t.same(times[2], times[0], 'from memory too')
  }
  const small = encode([OUT.DEFLATED, deflateSync(Buffer.concat([room, ...from(71_000, 5)]))])
  t.ok(small.length >= WINDOW_BYTES_MIN, 'the smallest that are deflated are not inflated for each viewer')
  for (let viewer = 0; viewer < 2; viewer++) t.same(read('uproar', small).told, ['0: 71000 ×5'])
})

t.test('what is missing, doubled or another\'s is never taken for what is known', async (t) => {
  const whole = from(80_000, 40)
  const window = Buffer.concat([room, ...whole])
  t.same(read('uproar', window).told, ['0: 80000 ×40'])
  t.same(read('uproar', Buffer.concat([room, ...whole.filter((_, at) => at !== 20)])).told, ['0: 80000 ×20, 0: 80021 ×19'])
  t.same(read('uproar', Buffer.concat([room, ...whole.slice(0, 21), ...whole.slice(20)])).told, ['0: 80000 ×21, 0: 80020 ×20'])
  const other = Buffer.from(window)
  other.writeUInt32BE(90_000, room.length + 3)
  t.same(read('uproar', other).told, ['0: 90000 ×1, 0: 80001 ×39'], 'one byte is enough, wherever it is')
  t.same(read('uproar', window).told, ['0: 80000 ×40'])
})

t.test('what is for one connection is told each time, in its place', async (t) => {
  const ok = encode([OUT.OK, 7, [7]])
  const mixed = Buffer.concat([room, ...from(70_000, 10), ok, encode([OUT.SKIPPED, 70_010, 70_014, 'slow']), ...from(70_015, 10)])
  for (let time = 0; time < 2; time++) t.same(read('uproar', mixed).told, ['0: 70000 ×10', 'ok 7', 'skipped 70010–70014', '0: 70015 ×10'])
  const deflated = encode([OUT.DEFLATED, deflateSync(mixed)])
  for (let time = 0; time < 2; time++) t.same(read('uproar', deflated).told, ['0: 70000 ×10', 'ok 7', 'skipped 70010–70014', '0: 70015 ×10'])
  const behind = Buffer.concat([encode([OUT.DEFLATED, deflateSync(Buffer.concat([room, ...from(70_000, 10)]))]), room, ...from(70_010, 10)])
  for (let time = 0; time < 2; time++) t.same(read('uproar', behind).told, ['0: 70000 ×10', '0: 70010 ×10'])
})

t.test('a peer\'s messages are numbered by author', async (t) => {
  const say = (author: number, count: number): Buffer => Buffer.from(peerMessageNow(author, count), 'latin1')
  const window = Buffer.concat([say(3, 1), say(4, 9), say(3, 2), say(4, 10), say(4, 12), say(3, 3)])
  for (let viewer = 0; viewer < 2; viewer++) t.same(read('plain', window).told, ['3: 1 ×3, 4: 9 ×2, 4: 12 ×1'])
  t.same(read('plain', say(3, 4), say(3, 4)).told, ['3: 4 ×1', '3: 4 ×1'], 'alone, and doubled')
  t.throws(() => read('plain', window.subarray(1)), /a message of/)
})
