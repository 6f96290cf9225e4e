// The table of settled entries against a plain map: whatever is written, rewritten, let go, or written once more after a
// crash, every entry reads as it should, and nothing of what is gone stays in a record. A real store, seeded chance.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { encodeEntry, packTail } from '../../proto/entry.ts'
import { seededRandom } from '../../proto/hostile.ts'
import { OUT } from '../../proto/ops.ts'
import { openStore } from '../base/store.ts'
import { EntryTable, entriesOf } from './entry-table.ts'
import { entryKey } from './layout.ts'

const SEED = Number(process.env['SEED'] ?? 0x5eed)
const ROUNDS = 250
const LOGS = [1, 2, 7] as const

const dir = mkdtempSync(join(tmpdir(), 'uproar-entries-'))
const store = await openStore(dir)
t.teardown(async () => {
  await store.close()
  rmSync(dir, { recursive: true, force: true })
})

/** A log as it should read. `again`: where the run began that a crash would have settled once more, whatever went of it since. */
interface Model { readonly number: number, readonly entries: Map<number, Uint8Array>, readonly lost: Map<number, Uint8Array>, next: number, first: number, again: number }

let texts = 0
const entry = (seq: number, length: number): Uint8Array => encodeEntry(OUT.MESSAGE, seq, 1_700_000_000_000, packTail([`<${texts++}>`, 'x'.repeat(length)]))
/** What an entry says that no other does. */
const markOf = (bytes: Uint8Array): string => /<\d+>/.exec(Buffer.from(bytes).toString('latin1'))?.[0] as string

/** Takes the steps, so many a transaction. */
async function take (table: EntryTable, steps: Generator<void>, many: number): Promise<void> {
  for (let isDone = false; !isDone;) {
    await store.commit(() => { for (let step = 0; step < many && !isDone; step++) isDone = steps.next().done === true })
    if (isDone) table.settled()
  }
}

t.test('whatever becomes of entries, each reads as it should', async (t) => {
  const random = seededRandom(SEED)
  const below = (end: number): number => Math.floor(random() * end)
  const table = new EntryTable(store.tables.entries)
  const models = LOGS.map((number): Model => ({ number, entries: new Map(), lost: new Map(), next: 1, first: 1, again: 1 }))
  const gone = new Set<string>()
  const steps = (): number => [1, 3, 1000][below(3)] as number
  // What an older version left: a record for every entry.
  const [old] = models as [Model]
  await store.commit(() => {
    for (; old.next <= 100; old.next++) {
      old.entries.set(old.next, entry(old.next, 20))
      void store.tables.entries.put(entryKey(old.number, old.next), old.entries.get(old.next) as Uint8Array)
    }
  })
  // The last of them are of a settling that was cut short: it will be made again, here, with what has become of them since.
  old.again = 41
  for (let seq = 41; seq <= 60; seq++) {
    gone.add(markOf(old.entries.get(seq) as Uint8Array))
    old.entries.set(seq, entry(seq, 30))
  }

  const put = async (model: Model, round: number): Promise<void> => {
    // Sometimes with what was there before: a settling that was cut short is made again, and has more in it then.
    if (round > 0 && below(3) > 0) model.again = model.next
    const from = model.again
    for (let left = [1, 5, 64, 200][below(4)] as number; left > 0; left--) {
      model.entries.set(model.next, entry(model.next, below(50) === 0 ? 70_000 : below(300)))
      model.next++
    }
    const run = Array.from({ length: model.next - from }, (_, at) => (model.entries.get(from + at) ?? model.lost.get(from + at)) as Uint8Array)
    await take(table, table.put(model.number, from, run), steps())
    if (from < model.first) await take(table, table.expire(model.number, model.first - 1), steps())
  }
  const rewrite = async (model: Model): Promise<void> => {
    const changes = new Map<number, Uint8Array>()
    for (let left = below(40); left > 0; left--) {
      const seq = model.first + below(model.next - model.first + 3)
      const was = model.entries.get(seq)
      if (was !== undefined && changes.get(seq) === undefined) gone.add(markOf(was))
      const becomes = entry(seq, below(400))
      // What is not there is left out.
      changes.set(seq, becomes)
      if (was !== undefined) model.entries.set(seq, becomes)
    }
    await take(table, table.rewrite(model.number, changes), steps())
  }
  const expire = async (model: Model): Promise<void> => {
    if (model.first === model.next) return
    const seq = model.first + below(model.next - model.first)
    for (; model.first <= seq; model.first++) {
      const bytes = model.entries.get(model.first) as Uint8Array
      gone.add(markOf(bytes))
      model.lost.set(model.first, bytes)
      model.entries.delete(model.first)
    }
    await take(table, table.expire(model.number, seq), steps())
  }
  const clear = async (model: Model): Promise<void> => {
    for (const bytes of model.entries.values()) gone.add(markOf(bytes))
    model.entries.clear()
    model.first = model.again = model.next
    for (let isDone = false; !isDone;) await store.commit(() => { isDone = table.clear(model.number, 2) })
    table.settled()
  }
  const wrong = ({ number, entries, first, next }: Model): string[] => {
    const found: string[] = []
    const seqs = Array.from({ length: next + 3 - Math.max(0, first - 130) }, (_, at) => next + 2 - at)
    for (const seq of [...seqs, ...[...seqs].reverse(), ...Array.from({ length: 100 }, () => below(next))]) {
      const [is, should] = [table.get(number, seq), entries.get(seq)]
      if (is === undefined ? should !== undefined : should === undefined || Buffer.compare(is, should) !== 0) found.push(`${number}:${seq}`)
    }
    for (const { value } of store.tables.entries.getRange({ start: entryKey(number, 0), end: entryKey(number + 1, 0) })) {
      for (const [mark] of Buffer.from(value).toString('latin1').matchAll(/<\d+>/g)) if (gone.has(mark)) found.push(`${mark} is kept`)
    }
    return found
  }

  for (let round = 0; round < ROUNDS; round++) {
    const model = round === 0 ? old : models[below(models.length)] as Model
    const kind = round === 0 ? 0 : below(20)
    await (kind < 10 ? put(model, round) : kind < 15 ? rewrite(model) : kind < 19 ? expire(model) : clear(model))
    const found = wrong(model)
    if (found.length > 0) return t.same(found, [], `round ${round} of seed ${SEED}`)
  }
  t.pass(`${ROUNDS} rounds, ${texts} entries, ${gone.size} gone`)
})

t.test('many entries are few records, and each holds no more than its share', async (t) => {
  const table = new EntryTable(store.tables.entries)
  const before = store.tables.entries.getCount()
  const run = Array.from({ length: 1000 }, (_, at) => entry(at + 1, 100))
  await take(table, table.put(50, 1, run), 1000)
  t.equal(store.tables.entries.getCount() - before, 16)
  for (const { value } of store.tables.entries.getRange({ start: entryKey(50, 0), end: entryKey(51, 0) })) t.ok(entriesOf(value).length <= 64)
  await take(table, table.expire(50, 1000), 1000)
  t.equal(store.tables.entries.getCount(), before, 'the last goes with its last entry')
})

t.test('a store that cannot be read says so', async (t) => {
  const place = mkdtempSync(join(tmpdir(), 'uproar-entries-'))
  t.teardown(() => rmSync(place, { recursive: true, force: true }))
  const closed = await openStore(place)
  const table = new EntryTable(closed.tables.entries)
  await closed.close()
  t.throws(() => table.get(1, 1), { code: 'unavailable' })
  t.throws(() => table.clear(1, 1), { code: 'unavailable' })
})
