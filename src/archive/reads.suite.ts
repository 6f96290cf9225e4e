// What is read of the archive, for every engine: runs of entries over holes, search with what was removed and why, numbers,
// highlights, exports. Who may see what is tested where it is decided (api/library.test.ts).

import type { Test } from 'tap'
import { entryObject, entrySeq, isRemoved, isShadow } from '../../proto/entry.ts'
import type { Archive } from './archive.ts'
import { auditRecord, isOpen, message, put, removal } from './archive.suite.ts'
import { Reads, words, type Search } from './reads.ts'

const ROOM = 'reads'
/** When the entry of this seq was said, by archive.suite.ts: a millisecond apart. */
const at = (seq: number): number => 1_767_225_600_000 + seq
const ALL: Search = { rooms: [ROOM], epochs: ['e1'], words: [], author: null, from: null, to: null, kind: null, newest: null, shadowOf: null, before: null, limit: 1000 }

export async function readsSuite (t: Test, open: (t: Test) => Promise<Archive>): Promise<void> {
  const archive = await open(t)
  archive.start()
  await isOpen(archive)
  const reads = new Reads(archive)
  const lines = Array.from({ length: 300 }, (_, index) => message(ROOM, index + 1, `line ${index + 1}${index % 100 === 0 ? ' Größe' : ''}`, { user: `u${index % 3}`, shadow: index === 9 }))
  // Retention took 101 to 200 away.
  const kept = lines.filter(({ seq }) => seq <= 100 || seq > 200)
  await put(archive, [...kept, removal(ROOM, 301, { seq: 299 }), removal(ROOM, 302, { user: 'u1', upTo: 60 }), message(ROOM, 5, 'of another epoch', { epoch: 'e2' }), message('elsewhere', 7, 'line 7')])
  await put(archive, kept.slice(-50))
  await put(archive, [auditRecord(ROOM, 300, { args: { seq: 299 }, reason: 'rude' }), auditRecord(ROOM, 301, { action: 'timeout', whom: 'u1', reason: 'enough' })])
  const seqs = (entries: readonly Uint8Array[]): number[] => entries.map(entrySeq)
  const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index)

  await t.test('runs of entries, over what retention took away', async (t) => {
    t.ok(reads.isKept)
    t.equal(reads.whyNot, null)
    t.same(seqs(await reads.before(ROOM, 'e1', 303, 5)), [298, 299, 300, 301, 302], 'each once, though some were inserted again')
    t.same(seqs(await reads.before(ROOM, 'e1', 205, 8)), [97, 98, 99, 100, 201, 202, 203, 204])
    t.same(seqs(await reads.before(ROOM, 'e1', 9999, 2)), [301, 302])
    t.same(seqs(await reads.before(ROOM, 'e1', 4, 10)), [1, 2, 3])
    t.same(await reads.before(ROOM, 'e1', 1, 10), [])
    t.same(seqs(await reads.before(ROOM, 'e2', 100, 10)), [5], 'epochs are not mixed up')
    t.same(seqs(await reads.after(ROOM, 'e1', 0, 1000, 4)), [1, 2, 3, 4])
    t.same(seqs(await reads.after(ROOM, 'e1', 100, 1000, 3)), [201, 202, 203])
    t.same(seqs(await reads.after(ROOM, 'e1', 97, 100, 200)), [98, 99], 'below a bound')
    t.same(await reads.after(ROOM, 'e1', 302, 1000, 5), [])
    t.same([await reads.seqAt(ROOM, 'e1', at(150)), await reads.seqAt(ROOM, 'e1', 0), await reads.seqAt(ROOM, 'e1', at(303))], [201, 1, null])
    const entries = await reads.before(ROOM, 'e1', 303, 400)
    t.same(seqs(entries.filter(isRemoved)), [...range(1, 60).filter((seq) => (seq - 1) % 3 === 1), 299], 'what was removed stands as such')
    t.same(seqs(entries.filter(isShadow)), [10])
    t.same(entryObject(entries.find((entry) => entrySeq(entry) === 302) as Uint8Array), { op: 'remove', seq: 302, ts: at(302), target: { user: 'u1', upTo: 60 }, by: 'mod' })
  })

  await t.test('search', async (t) => {
    const found = async (query: Partial<Search>): Promise<number[]> => (await reads.search({ ...ALL, ...query }, true)).map(({ seq }) => seq)
    t.same(await found({ words: words('LINE  7') }), [7])
    t.same(await found({ words: words('grösse') }), [], 'as it is written')
    t.same(await found({ words: words('GRÖßE') }), [201, 1], 'newest first, in any case')
    t.same((await found({})).length, 199, 'all but the hidden one, each once')
    t.same((await found({ shadowOf: 'everybody' })).length, 200)
    t.same((await found({ shadowOf: 'u0', to: at(11) })), range(1, 10).reverse(), 'of hidden ones one\'s own')
    t.same(await found({ author: 'u2', from: at(210), to: at(216) }), [213, 210])
    t.same(await found({ newest: 3 }), [3, 2, 1])
    t.same(await found({ kind: 4 }), [])
    t.same(await found({ limit: 3 }), [300, 299, 298])
    t.same(await found({ limit: 3, before: { ts: at(298), room: ROOM, epoch: 'e1', seq: 298 } }), [297, 296, 295])
    t.same((await reads.search({ ...ALL, rooms: null, epochs: null, words: words('line 7') }, false)).map(({ room }) => room), [ROOM, 'elsewhere'], 'across rooms')
    const [gone] = await reads.search({ ...ALL, words: words('299') }, true)
    t.match(gone, { seq: 299, ts: at(299), user: { id: 'u1', name: 'Ann', roles: 0 }, body: 'line 299', isShadow: false, removed: { at: at(301), by: 'mod', reason: 'rude' } })
    t.match(await reads.search({ ...ALL, words: words('line 50') }, true), [{ seq: 50, removed: { at: at(302), by: 'mod', reason: 'enough' } }])
    t.match(await reads.search({ ...ALL, words: words('line 50') }, false), [{ removed: { reason: null } }], 'the reason for whoever asks for it')
  })

  await t.test('numbers', async (t) => {
    const from = Math.floor(at(0) / 60_000) * 60
    const span = { room: ROOM, epoch: 'e1', from, to: from + 60, stepS: 60 }
    t.same(await reads.points(span), [{ at: from, messages: 199, chatters: 3, removals: 2 }])
    t.same(await reads.total({ ...span, from: from - 600, to: from }), { messages: 0, chatters: 0, removals: 0 })
    await archive.insert('viewers', [{ room: ROOM, minute: from, viewers: 7 }, { room: ROOM, minute: from, viewers: 9 }])
    t.same(await reads.viewers(span), [{ at: from, viewers: 9 }])
    t.same(await reads.actions(span), [{ at: from, action: 'remove', count: 1 }, { at: from, action: 'timeout', count: 1 }])
    await archive.insert('highlights', [{ room: ROOM, day: '2026-01-01', version: 1, words: [['goose', 3], ['line', 2]], emotes: [[':hype:', 1]] }, { room: ROOM, day: '2026-01-01', version: 2, words: [['goose', 5], ['swan', 4]], emotes: [] }])
    t.same(await reads.highlights(span), { words: [{ name: 'goose', count: 5 }, { name: 'swan', count: 4 }], emotes: [] }, 'of a day the newest count')
    t.same([await reads.extent(ROOM, 'e1'), await reads.extent('nowhere', 'e1')], [{ first: from, last: from }, null])
  })

  await t.test('exports', async (t) => {
    const bytes = async (format: 'ndjson' | 'parquet', to = at(400)): Promise<Buffer> => {
      const parts: Uint8Array[] = []
      for await (const part of reads.exported({ room: ROOM, epoch: 'e1', from: 0, to }, format, new AbortController().signal)) parts.push(part)
      return Buffer.concat(parts)
    }
    const rows = (await bytes('ndjson')).toString().trim().split('\n').map((line) => JSON.parse(line) as { seq: number, removed: boolean, removedWhy: string, shadow: boolean })
    t.same(rows.map(({ seq }) => seq), kept.map(({ seq }) => seq), 'every message once, in order')
    t.match(rows.find(({ seq }) => seq === 299), { removed: true, removedWhy: 'rude', removedBy: 'mod', removedAt: at(301), user: 'u1', name: 'Ann', body: 'line 299', shadow: false, ts: at(299) })
    t.same(rows.filter(({ shadow }) => shadow).map(({ seq }) => seq), [10])
    t.equal((await bytes('ndjson', at(1))).length, 0)
    t.equal((await bytes('parquet')).subarray(0, 4).toString(), 'PAR1')
  })
}
