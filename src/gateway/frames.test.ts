// The short way for the frame that comes most must say what the codec says, and nothing where that says otherwise.

import t from 'tap'
import { BadFrame, decode, encode } from '../../proto/codec.ts'
import { IN } from '../../proto/ops.ts'
import { LIMITS } from '../../proto/values.ts'
import { reportIn } from './frames.ts'

const SEQS = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]
const ROOMS = ['a', 'bench-1', 'x'.repeat(31), 'y'.repeat(32), 'Z_.:-'.repeat(12), 'z'.repeat(LIMITS.roomCharacters)]

t.test('a report as clients write it is read, wherever in the bytes it lies', (t) => {
  for (const room of ROOMS) {
    for (const seq of SEQS) {
      const bytes = encode([IN.PING, null, { [room]: seq }])
      t.equal(reportIn(bytes, 0, bytes.length, room), seq)
      const around = Buffer.concat([Buffer.alloc(3, 0x93), bytes, bytes])
      t.equal(reportIn(around, 3, 3 + bytes.length, room), seq)
      t.equal(reportIn(around, 3, around.length, room), null, 'two frames are for the codec')
    }
  }
  t.end()
})

t.test('anything else is for the codec', (t) => {
  const others: unknown[][] = [
    [IN.PING, null, null], [IN.PING], [IN.PING, 1, { room: 5 }], [IN.PING, null, { other: 5 }], [IN.PING, null, { rooms: 5 }], [IN.PING, null, { roo: 5 }],
    [IN.PING, null, {}], [IN.PING, null, { room: 5, other: 1 }], [IN.PING, null, { room: -1 }], [IN.PING, null, { room: 1.5 }], [IN.PING, null, { room: '5' }],
    [IN.PING, null, { room: 2 ** 40 }], [IN.PING, null, { room: null }], [IN.PING, null, { room: true }], [IN.HELLO, null, { room: 5 }], [IN.PING, null, { room: 5 }, 1]
  ]
  for (const frame of others) {
    const bytes = encode(frame as never)
    t.equal(reportIn(bytes, 0, bytes.length, 'room'), null, JSON.stringify(frame))
  }
  const whole = encode([IN.PING, null, { room: 70_000 }])
  for (let end = 0; end < whole.length; end++) {
    t.equal(reportIn(whole, 0, end, 'room'), null, `cut off after ${end} bytes, with the rest behind it`)
    t.equal(reportIn(whole.slice(0, end), 0, end, 'room'), null, `and without`)
  }
  t.end()
})

t.test('of 200,000 bent messages it takes only what the codec reads the same', (t) => {
  let state = 20261130
  const random = (below: number): number => {
    state = Math.imul(state, 0x19660d) + 0x3c6ef35f | 0
    return (state >>> 8) % below
  }
  const wrong: string[] = []
  let taken = 0
  for (let round = 0; round < 200_000; round++) {
    const room = ROOMS[random(ROOMS.length)] as string
    const bytes = Buffer.from(encode([IN.PING, null, { [room]: SEQS[random(SEQS.length)] }]))
    for (let bends = random(3); bends > 0; bends--) bytes[random(bytes.length)] = random(256)
    const end = bytes.length - random(4) * random(2)
    const seq = reportIn(bytes, 0, end, room)
    if (seq === null) continue
    taken++
    const frames = decode(bytes, undefined, 0, end)
    const isSame = !(frames instanceof BadFrame) && frames.length === 1 && JSON.stringify(frames[0]) === JSON.stringify([IN.PING, null, { [room]: seq }])
    if (!isSame) wrong.push(bytes.toString('hex'))
  }
  t.same(wrong, [])
  t.ok(taken > 40_000, `${taken} were taken`)
  t.end()
})
