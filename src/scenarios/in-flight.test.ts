// An instance is killed -9 with thousands of messages in flight. Their authors go to the other instances and repeat what
// was not answered: whatever was answered OK keeps its place, and everything is there once.

import t from 'tap'
import { withoutRedis } from '../../deploy/services/services.ts'
import type { Frame } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { Watcher } from '../replay/watcher.ts'
import { tokenOf, type Program } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { startInstances } from './instances.ts'
import { measured, sized } from './size.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(sized(240_000, 300_000))

const ROOM = 'stage'
const FRAMES_PER_MESSAGE = 32

interface Author { readonly id: string, readonly nonces: readonly string[], viewer: Viewer }

function sends (nonces: readonly string[], rids: ReadonlyMap<string, number>): Frame[] {
  return nonces.map((nonce) => [IN.SEND, rids.get(nonce), ROOM, nonce, 0, `says ${nonce}`, null] as unknown as Frame)
}

function submit (author: Author, nonces: readonly string[], rids: ReadonlyMap<string, number>): void {
  for (let at = 0; at < nonces.length; at += FRAMES_PER_MESSAGE) author.viewer.send(...sends(nonces.slice(at, at + FRAMES_PER_MESSAGE), rids))
}

/** Seqs that were answered, by rid. */
function answersOf (viewer: Viewer): Map<number, number> {
  return new Map(viewer.frames.filter((frame) => frame[0] === OUT.OK && Array.isArray(frame[2])).map((frame) => [frame[1] as number, (frame[2] as number[])[0] as number]))
}

t.test('killed with thousands in flight', { skip: withoutRedis() }, async (t) => {
  const { programs } = await startInstances(t)
  const [victim, ...others] = programs as [Program, Program, Program]
  const watchers = others.map((program) => new Watcher({ url: program.ws, room: ROOM, pingMs: 1000 }))
  t.teardown(() => { for (const watcher of watchers) watcher.stop() })
  await Promise.all(watchers.map((watcher) => watcher.start()))

  const count = sized(60, 200)
  const rids = new Map<string, number>()
  const authors: Author[] = []
  for (let at = 0; at < count; at++) {
    const id = `author-${at}`
    const nonces = Array.from({ length: 64 }, (_, i) => `${id}-${i}`)
    for (const [i, nonce] of nonces.entries()) rids.set(nonce, 1000 + i)
    const viewer = await Viewer.connect(t, victim.ws, tokenOf(id))
    await viewer.join(ROOM, { history: 0, view: 'live' })
    authors.push({ id, nonces, viewer })
  }
  const total = count * 64
  for (const author of authors) submit(author, author.nonces, rids)
  const [first] = authors as [Author]
  await first.viewer.until('the first OK', () => answersOf(first.viewer).size > 0 || null)
  await victim.kill9()
  for (const { viewer } of authors) await viewer.ended()
  const answered = new Map<string, number>()
  for (const { nonces, viewer } of authors) {
    const answers = answersOf(viewer)
    for (const nonce of nonces) {
      const seq = answers.get(rids.get(nonce) as number)
      if (seq !== undefined) answered.set(nonce, seq)
    }
  }
  const inFlight = total - answered.size
  t.ok(inFlight >= sized(1000, 3000), `${inFlight} of ${total} were in flight`)

  // Everybody goes elsewhere and repeats all of it, what was answered too.
  for (const [at, author] of authors.entries()) {
    author.viewer = await Viewer.connect(t, (others[at % others.length] as Program).ws, tokenOf(author.id))
    await author.viewer.join(ROOM, { history: 0, view: 'live' })
    submit(author, author.nonces, rids)
  }
  const places = new Map<string, number>()
  for (const { nonces, viewer } of authors) {
    await viewer.until('every answer', () => answersOf(viewer).size === nonces.length || null, 30_000)
    for (const nonce of nonces) places.set(nonce, answersOf(viewer).get(rids.get(nonce) as number) as number)
  }
  t.equal([...answered].filter(([nonce, seq]) => places.get(nonce) !== seq).length, 0, 'what was answered before has the same place')
  const history = await wholeHistory(others[1] as Program, ROOM)
  t.same(history.map((entry) => entry.seq), Array.from({ length: total }, (_, at) => at + 1), 'as many entries as messages, without a hole')
  t.equal([...places].filter(([nonce, seq]) => history[seq - 1]?.body !== `says ${nonce}`).length, 0, 'each where it was said to be')
  for (const watcher of watchers) {
    await watcher.until(() => watcher.account.last >= total, 'everything')
    t.match(watcher.account, { missing: 0, duplicates: 0, outOfOrder: 0, skipped: 0, last: total })
  }
  const kept = [...answered.keys()].length
  measured(t, `killed -9 with ${inFlight} of ${total} messages in flight (${kept} answered): every one in the log once, the answered where they were`)
})
