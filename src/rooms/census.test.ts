// Viewers of a room on all instances, with the census in hand: what rooms note, what viewers and REST are told.

import t from 'tap'
import { OUT } from '../../proto/ops.ts'
import { Refusal } from '../base/errors.ts'
import type { Census } from './rooms.ts'
import { setUp } from './stage.suite.ts'

class Others implements Census {
  noted = new Map<string, number>()
  counts = new Map<string, number>()
  asked: string[][] = []
  note (_what: string, name: string, here: number): void { this.noted.set(name, here) }
  elsewhere (_what: string, name: string): number { return this.counts.get(name) ?? 0 }
  async askViewers (rooms: readonly string[]): Promise<number[]> {
    this.asked.push([...rooms])
    return rooms.map((room) => this.counts.get(room) ?? 0)
  }
}

t.test('viewers are those of all instances', async (t) => {
  const others = new Others()
  const { rooms, open, enter, settle } = await setUp(t, {}, others)
  const room = await open('hall')
  others.counts.set('hall', 40)
  const viewer = enter(room)
  await settle()
  t.equal(others.noted.get('hall'), 1)
  t.same(viewer.of(OUT.VIEWERS).at(-1), [OUT.VIEWERS, 41], 'told on joining')
  others.counts.set('hall', 50)
  await settle()
  t.same(viewer.of(OUT.VIEWERS).at(-1), [OUT.VIEWERS, 41], 'not before it is known to have changed')
  rooms.viewersChanged('hall')
  rooms.viewersChanged('another')
  await settle()
  t.same(viewer.of(OUT.VIEWERS).at(-1), [OUT.VIEWERS, 51])
  const view = await rooms.describe('hall', null)
  t.equal(view instanceof Refusal ? view.message : view.viewers, 51)
  t.same(others.asked, [], 'what is known here is not asked for')

  room.leave(viewer.member as NonNullable<typeof viewer.member>)
  t.equal(others.noted.get('hall'), 0)
  const empty = await rooms.describe('hall', null)
  t.equal(empty instanceof Refusal ? empty.message : empty.viewers, 50, 'of a room without viewers here the others are asked')
  await open('attic')
  others.counts.set('attic', 3)
  others.asked = []
  const list = await rooms.list({ limit: 10 }, null)
  t.same(list instanceof Refusal ? list.message : list.rooms.map((each) => [each.room, each.viewers]), [['attic', 3], ['hall', 50]])
  t.same(others.asked, [['attic', 'hall']], 'a list asks once')
})
