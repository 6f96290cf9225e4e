// What the archive does beside taking in entries: viewers by minute, top words and emotes of a day, retention. Over the
// embedded archive, with time turned by hand.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ManualClock } from '../base/clock.ts'
import type { FeedRecord } from '../feed/feed.ts'
import { isOpen, LIMITS, message, put, removal } from './archive.suite.ts'
import { Audience } from './audience.ts'
import { createChdbArchive } from './chdb-archive.ts'
import { Upkeep } from './upkeep.ts'

const root = mkdtempSync(join(tmpdir(), 'uproar-archive-'))
const archive = createChdbArchive({ directory: root, say: () => {} })
t.teardown(async () => {
  await archive.close()
  rmSync(root, { recursive: true, force: true })
})
archive.start()
await isOpen(archive)

const fault = (error: unknown): void => { throw error }
const DAY = Date.UTC(2026, 0, 1)
const setting = (room: string, seq: number, archiveDays: number | null): FeedRecord => ({ topic: 'messages', room, epoch: 'e1', seq, ts: DAY + seq, value: { v: 1, room, epoch: 'e1', op: 'state', seq, ts: DAY + seq, changes: { archiveDays } } })

await t.test('viewers: the most of each minute, once, kept while the archive is away', async (t) => {
  const clock = new ManualClock(DAY)
  let viewers = 5
  let isAway = true
  const gate = { ...archive, get verdict () { return isAway ? { state: 'away', reason: 'away' } as const : archive.verdict }, insert: archive.insert.bind(archive) }
  const audience = new Audience({ archive: gate as typeof archive, clock, watched: () => [['a', viewers], ['b', 1]], fault })
  audience.start()
  clock.advance(20_000)
  viewers = 9
  clock.advance(20_000)
  viewers = 2
  clock.advance(60_000)
  isAway = false
  await audience.stop()
  t.same(await archive.query("SELECT room, toUnixTimestamp(minute) AS minute, max(viewers) AS most FROM viewers GROUP BY room, minute ORDER BY room, minute", {}, LIMITS), [
    { room: 'a', minute: DAY / 1000, most: 9 }, { room: 'a', minute: DAY / 1000 + 60, most: 2 }, { room: 'b', minute: DAY / 1000, most: 1 }, { room: 'b', minute: DAY / 1000 + 60, most: 1 }
  ])
})

await t.test('top words and emotes of a day, made anew when it changed', async (t) => {
  const clock = new ManualClock(DAY + 3_600_000)
  const upkeep = new Upkeep({ archive, clock, days: 0, fault })
  await put(archive, [
    message('top', 1, 'Hello hello WORLD :kappa: 😂😂', { ts: DAY + 1 }), message('top', 2, 'hello, it is Привет :kappa:', { ts: DAY + 2 }), message('top', 3, 'spam spam spam', { ts: DAY + 3 }),
    message('top', 4, 'ghostly', { ts: DAY + 4, shadow: true }), { ...removal('top', 5, { seq: 3 }), ts: DAY + 5 }
  ])
  await upkeep.remake(0)
  const read = async (): Promise<{ words: [string, number][], emotes: [string, number][] } | undefined> => (await archive.query<{ words: [string, number][], emotes: [string, number][] }>("SELECT words, emotes FROM highlights FINAL WHERE room = 'top'", {}, LIMITS))[0]
  t.same(await read(), { words: [['hello', 2], ['is', 1], ['it', 1], ['world', 1], ['привет', 1]], emotes: [[':kappa:', 2], ['😂', 1]] })
  await put(archive, [message('top', 6, 'world', { ts: DAY + 6 })])
  await upkeep.remake(0)
  t.equal((await read())?.words[1]?.[0], 'is', 'not so soon')
  clock.advance(3_600_000)
  await upkeep.remake(DAY)
  t.same((await read())?.words.slice(0, 2), [['hello', 2], ['world', 2]])
  await upkeep.stop()
})

t.test('retention: what a room says, else the setting', async (t) => {
  const old = DAY - 40 * 86_400_000
  for (const room of ['default', 'short', 'ever', 'reset']) await put(archive, [message(room, 1, 'old', { ts: old }), message(room, 2, 'of yesterday', { ts: DAY - 86_400_000 }), message(room, 3, 'new', { ts: DAY })])
  await put(archive, [setting('short', 4, 1), setting('ever', 4, 0), setting('reset', 4, 0), setting('reset', 5, null)])
  const left = async (room: string): Promise<string[]> => (await archive.query<{ body: string }>("SELECT body FROM messages FINAL WHERE room = {room:String} AND op = 'message' ORDER BY seq", { room }, LIMITS)).map(({ body }) => body)
  const clock = new ManualClock(DAY + 3_600_000)
  await new Upkeep({ archive, clock, days: 0, fault }).forget()
  t.same(await left('default'), ['old', 'of yesterday', 'new'], 'for ever, where nothing is said')
  await new Upkeep({ archive, clock, days: 30, fault }).forget()
  t.same(await left('default'), ['of yesterday', 'new'])
  t.same(await left('reset'), ['of yesterday', 'new'])
  t.same(await left('short'), ['new'])
  t.same(await left('ever'), ['old', 'of yesterday', 'new'])
  t.same(await archive.query("SELECT sum(messages) AS n FROM minutes_of_rooms WHERE room = 'short'", {}, LIMITS), [{ n: 1 }], 'and what was counted')
})
