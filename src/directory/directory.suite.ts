// What every engine of the directory is held to: the promises on the face (directory.ts).

import type { Test } from 'tap'
import { AppError } from '../base/errors.ts'
import { ROOM_KINDS, type Directory, type RoomRecord } from './directory.ts'

export interface DirectoryEngine {
  readonly directory: Directory
  readonly place: string
  stop (): Promise<void>
}

/** Opens the engine on a place that outlives it; without one, on a fresh place. */
export type OpenDirectory = (place?: string) => Promise<DirectoryEngine>

function record (room: string, more: Partial<RoomRecord> = {}): RoomRecord {
  return { room, kind: 'stream', createdAt: 1_700_000_000_000, createdBy: 'ann', ...more }
}

export async function directorySuite (t: Test, open: OpenDirectory): Promise<void> {
  await t.test('get, create, remove', (t) => records(t, open))
  await t.test('list', (t) => listing(t, open))
  await t.test('names', (t) => names(t, open))
}

async function records (t: Test, open: OpenDirectory): Promise<void> {
  const { directory, place, stop } = await open()
  t.equal(await directory.get('r'), null)
  const kinds = ROOM_KINDS.map((kind) => record(`of-${kind}`, { kind, createdBy: kind === 'stream' ? null : 'bob' }))
  for (const each of kinds) t.same(await directory.create(each), { record: each, created: true })
  t.same(await directory.create(record('of-group', { kind: 'direct' })), { record: kinds[1], created: false }, 'the first record stays')

  const racing = await Promise.all(Array.from({ length: 50 }, (_, i) => directory.create(record('race', { createdBy: `user-${i}` }))))
  t.equal(racing.filter(({ created }) => created).length, 1, 'of many at once one creates')
  const winner = racing.find(({ created }) => created)?.record
  t.ok(racing.every(({ record }) => record.createdBy === winner?.createdBy), 'and all get that record')
  t.same(await directory.get('race'), winner)

  t.equal(await directory.attribute('of-group', 'ann', 'x'), false, 'only where it is as it was thought to be')
  t.equal(await directory.attribute('nobody made', 'ann', 'x'), false)
  t.equal(await directory.attribute('of-direct', 'bob', 'somebody'), true)
  t.same(await directory.get('of-direct'), record('of-direct', { kind: 'direct', createdBy: 'somebody' }))
  t.equal(await directory.attribute('of-direct', 'somebody', 'bob'), true)

  const removals = await Promise.all([directory.remove('race'), directory.remove('race'), directory.remove('nobody made')])
  t.same(removals, [true, false, false])
  t.equal(await directory.get('race'), null)
  const mixed = await Promise.all([
    directory.create(record('m', { createdBy: 'one' })), directory.remove('m'), directory.create(record('m', { createdBy: 'two' })), directory.get('of-group')
  ])
  t.same(mixed, [{ record: record('m', { createdBy: 'one' }), created: true }, true, { record: record('m', { createdBy: 'two' }), created: true }, kinds[1]], 'changes of one room happen in their order')
  await stop()

  const again = await open(place)
  for (const each of kinds) t.same(await again.directory.get(each.room), each, 'records outlive the process')
  t.match(await again.directory.get('m'), { createdBy: 'two' })
  t.equal(await again.directory.get('race'), null)
  await again.stop()
}

async function listing (t: Test, open: OpenDirectory): Promise<void> {
  const { directory, stop } = await open()
  t.same(await directory.list({ limit: 10 }), { rooms: [], more: false })
  const rooms = Array.from({ length: 1500 }, (_, i) => `room-${i}`)
  await Promise.all([...rooms, 'alpha', 'alpha:1', 'alpha:2', 'alphabet', 'Zeta'].map((room) => directory.create(record(room))))
  const namesOf = async (query: Parameters<Directory['list']>[0]): Promise<[string[], boolean]> => {
    const { rooms, more } = await directory.list(query)
    return [rooms.map(({ room }) => room), more]
  }
  t.same(await namesOf({ limit: 3 }), [['Zeta', 'alpha', 'alpha:1'], true], 'ascending by code unit')
  t.same(await namesOf({ limit: 3, after: 'alpha:1' }), [['alpha:2', 'alphabet', 'room-0'], true])
  t.same(await namesOf({ limit: 3, after: 'alpha:' }), [['alpha:1', 'alpha:2', 'alphabet'], true], 'after need not be a room')
  t.same(await namesOf({ limit: 10, prefix: 'alpha' }), [['alpha', 'alpha:1', 'alpha:2', 'alphabet'], false])
  t.same(await namesOf({ limit: 4, prefix: 'alpha' }), [['alpha', 'alpha:1', 'alpha:2', 'alphabet'], false], 'exactly full: no more')
  t.same(await namesOf({ limit: 3, prefix: 'alpha' }), [['alpha', 'alpha:1', 'alpha:2'], true])
  t.same(await namesOf({ limit: 3, prefix: 'alpha:', after: 'alpha:1' }), [['alpha:2'], false])
  t.same(await namesOf({ limit: 3, prefix: 'alpha:', after: 'A' }), [['alpha:1', 'alpha:2'], false], 'after may lie before the prefix')
  t.same(await namesOf({ limit: 3, prefix: 'alpha:', after: 'b' }), [[], false], 'or behind it')
  t.same(await namesOf({ limit: 3, prefix: 'nothing' }), [[], false])

  const walked: string[] = []
  for (let after: string | undefined; ;) {
    const page = await directory.list({ prefix: 'room-', limit: 1000, ...(after === undefined ? {} : { after }) })
    walked.push(...page.rooms.map(({ room }) => room))
    after = page.rooms.at(-1)?.room
    if (!page.more) break
  }
  t.same(walked, [...rooms].sort(), 'pages walk over all')
  t.ok((await directory.list({ limit: 1e6 })).rooms.length <= 1000, 'a page has its bound')
  await stop()
}

async function names (t: Test, open: OpenDirectory): Promise<void> {
  const { directory, stop } = await open()
  const weird = ['a', 'a:b', 'A', 'ä', 'a\u0000', 'a\u0000b', '\uffff', '𝕏', '日本語', '__proto__', 'x'.repeat(64), 'ü'.repeat(64)]
  await Promise.all(weird.map((room) => directory.create(record(room, { createdBy: room }))))
  for (const room of weird) t.match(await directory.get(room), { room, createdBy: room })
  t.same((await directory.list({ limit: 100 })).rooms.map(({ room }) => room), [...weird].sort())
  await t.rejects(directory.create(record('x'.repeat(5000))), AppError, 'a name beyond measure is refused')
  await t.rejects(directory.get('x'.repeat(5000)), { code: 'bad_request' })
  await stop()
}
