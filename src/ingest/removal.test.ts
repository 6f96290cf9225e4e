// What readers get of what was removed, hidden or kept back: live, joining late, resuming, paging, by event stream, on
// another instance and after a restart. Every way gives every entry once, in order, or accounts for it.

import t from 'tap'
import { unpack } from '../../proto/codec.ts'
import { entryOp, entrySeq } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import type { Room } from '../rooms/rooms.ts'
import { person, type Watcher } from '../rooms/stage.suite.ts'
import { ANN, bodies, BOB, HOST, MOD, MOD2, nameOf, pageBodies, pulled, ROOM, stage } from './moderation.suite.ts'

t.test('what is removed is gone in every way of reading, after a restart too', async (t) => {
  const { open, enter, settle, said, done, act, instance, log, rooms } = await stage(t, { RING_ENTRIES_MAX: '200' })
  const room = await open(ROOM)
  const live = enter(room)
  const seqs: number[] = []
  for (let n = 0; n < 300; n++) seqs.push(await said(room, n % 3 === 0 ? BOB : ANN, `m${n}`))
  await settle()
  await done(MOD, 'remove', { seq: seqs[10] })
  await done(MOD, 'remove', { seq: seqs[290] })
  await settle()
  t.same(live.of(OUT.REMOVE).map((frame) => frame.slice(3)), [[{ seq: seqs[10] }, 'mod'], [{ seq: seqs[290] }, 'mod']])
  t.equal(nameOf(await act(MOD, 'remove', { seq: seqs[290] })), 'not_found', 'once is enough')
  const check = async (room: Room, gone: readonly string[], left: number, what: string): Promise<void> => {
    const late = enter(room, { history: 200 })
    const back = enter(room, { position: [room.epoch, 0] })
    await settle()
    t.same(late.account().faults, [], `${what}: a late joiner's order`)
    t.same(back.account().faults, [], `${what}: a resumed viewer's order`)
    t.equal(back.account().last, room.seq, `${what}: all is accounted for`)
    const all = [...await pageBodies(room, null, { limit: 200 }), ...await pageBodies(room, null, { before: room.seq - 199, limit: 200 })]
    for (const [way, texts] of Object.entries({ late: bodies(late), back: bodies(back), history: all, forward: await pageBodies(room, null, { after: 0, limit: 200 }), stream: await pulled(room, null), resumed: await pulled(room, null, [room.epoch, 0]) })) {
      t.same(texts.filter((text) => gone.includes(text as string)), [], `${what}: ${way} has none of it`)
    }
    t.equal(bodies(back).length, left, `${what}: and all the rest`)
    for (const viewer of [late, back]) if (viewer.member !== null) room.leave(viewer.member)
  }
  await check(room, ['m10', 'm290'], 298, 'one by one')
  await done(MOD, 'purge', { user: 'bob' })
  const bobs = Array.from({ length: 300 }, (_, n) => n).filter((n) => n % 3 === 0).map((n) => `m${n}`)
  await check(room, ['m10', ...bobs], 198, 'a user')
  const other = await instance().rooms.open(ROOM, null) as Room
  await check(other, ['m10', ...bobs], 198, 'a user, on an instance that starts now')
  const after = await said(room, BOB, 'bob again')
  await settle()
  t.ok((await pageBodies(room)).includes('bob again'), 'what comes later stands')
  await done(MOD, 'clear')
  await settle()
  t.match(live.of(OUT.REMOVE).at(-1), [OUT.REMOVE, Number, Number, { all: true, upTo: after }, 'mod'])
  await check(room, ['m1', 'm299', 'bob again'], 0, 'all')
  const page = await room.history({ limit: 50 }, null)
  t.same([page.more, page.entries.map(entryOp)], [false, [OUT.REMOVE]], 'history begins behind what was cleared')
  t.same(Object.keys((await log.state(ROOM)).guarded), ['cleared'], 'single removals and purges are forgotten with it')
  await said(room, ANN, 'a fresh start')
  await check(await instance().rooms.open(ROOM, null) as Room, ['m1', 'm299', 'bob again'], 1, 'all, on an instance that starts now')
  t.same(live.account().faults, [])
  t.ok(rooms)
})

t.test('a page is never empty while there is more', async (t) => {
  const { open, said, say, done, log } = await stage(t, { RING_ENTRIES_MAX: '200' })
  const room = await open(ROOM)
  await said(room, ANN, 'the oldest')
  await Promise.all(Array.from({ length: 700 }, (_, n) => say(room, BOB, `flood ${n}`)))
  await done(MOD, 'purge', { user: 'bob' })
  await said(room, ANN, 'the newest')
  let before: number | undefined
  const found: unknown[] = []
  for (let pages = 0; pages < 10; pages++) {
    const page = await room.history({ limit: 50, ...before === undefined ? {} : { before } }, null)
    found.unshift(...page.entries.filter((entry) => entryOp(entry) === OUT.MESSAGE).map((entry) => (unpack(entry) as unknown[])[5]))
    t.ok(page.entries.length > 0, 'somewhere to go on from')
    before = entrySeq(page.entries[0] as Uint8Array)
    if (!page.more) break
  }
  t.same(found, ['the oldest', 'the newest'])
  t.same((await room.history({ after: 0, limit: 50 }, null)).entries.length, 1)
  t.equal((await log.head(ROOM)).seq, 703)
})

t.test('a long run of what is gone is looked through once, and shown right for everybody', async (t) => {
  const { open, said, say, done, log } = await stage(t, { RING_ENTRIES_MAX: '200' })
  const room = await open(ROOM)
  await said(room, ANN, 'the oldest')
  await Promise.all(Array.from({ length: 4000 }, (_, n) => say(room, BOB, `flood ${n}`)))
  await done(MOD, 'shadowBan', { user: 'cat' })
  await done(MOD, 'purge', { user: 'bob' })
  await Promise.all(Array.from({ length: 2000 }, (_, n) => say(room, person('cat'), `hidden ${n}`)))
  const last = await said(room, ANN, 'behind it')
  const [ban, purge] = [last - 2002, last - 2001]
  for (let n = 0; n < 300; n++) await said(room, ANN, `new ${n}`)
  let reads = 0
  for (const way of ['before', 'after'] as const) {
    const call = log[way].bind(log) as typeof log.after
    Object.assign(log, { [way]: (...args: Parameters<typeof log.after>) => { reads++; return call(...args) } })
  }
  const counted = async (query: { before?: number, after?: number }, as: typeof ANN | null): Promise<[unknown[], number]> => {
    reads = 0
    return [await pageBodies(room, as, { ...query, limit: 5 }), reads]
  }
  const older = { before: last }
  t.ok((await counted({ before: ban }, null))[1] > 3, 'the first look takes its reads')
  t.same(await counted({ before: ban }, null), [['the oldest'], 1], 'the next passes over it')
  t.same((await counted(older, null))[0], [], 'the shadow ban\'s entry and the purge stand between')
  t.same((await counted(older, null))[1], 1)
  t.same((await counted(older, BOB))[1], 1, 'for who wrote what was purged too')
  t.same((await counted(older, person('cat')))[0], [1995, 1996, 1997, 1998, 1999].map((n) => `hidden ${n}`), 'but who wrote what is hidden has it')
  await counted({ after: purge }, null)
  t.same(await counted({ after: purge }, null), [['behind it', 'new 0', 'new 1', 'new 2', 'new 3'], 1], 'forward too')
  t.same(await counted({ after: 1 }, person('cat')), [['hidden 0', 'hidden 1', 'hidden 2'], 1], 'behind ban and purge, which stand before them')
})

t.test('a shadow-banned author sees only own messages, and nobody else does, in every way of reading', async (t) => {
  const { open, enter, settle, said, done, instance, rooms } = await stage(t, { RING_ENTRIES_MAX: '200' })
  const room = await open(ROOM)
  const viewers = { author: enter(room, { as: ANN }), again: enter(room, { as: ANN, view: 'live' }), other: enter(room, { as: BOB }), live: enter(room, { as: BOB, view: 'live' }), nobody: enter(room), moderator: enter(room, { as: MOD }) }
  await said(room, ANN, 'before')
  await done(MOD, 'shadowBan', { user: 'ann', reason: 'trolling' })
  await said(room, BOB, 'one')
  const hidden = await said(room, ANN, 'hidden')
  await said(room, BOB, 'two')
  await settle()
  t.same(viewers.author.of(OUT.SANCTION), [], 'it is told to nobody')
  const check = async (room: Room, what: string, isNear = true): Promise<void> => {
    const late = { ann: enter(room, { as: ANN }), bob: enter(room, { as: BOB }), nobody: enter(room), back: enter(room, { as: ANN, position: [room.epoch, 1] }), away: enter(room, { as: BOB, position: [room.epoch, 1] }) }
    await settle()
    const own: Record<string, unknown[]> = { joined: bodies(late.ann), resumed: bodies(late.back), history: await pageBodies(room, ANN), forward: await pageBodies(room, ANN, { after: 0, limit: 100 }), stream: await pulled(room, ANN) }
    const others: Record<string, unknown[]> = { joined: bodies(late.bob), anonymous: bodies(late.nobody), resumed: bodies(late.away), history: await pageBodies(room, BOB), nobodys: await pageBodies(room, null), stream: await pulled(room, BOB), nobodysStream: await pulled(room, null) }
    for (const [way, texts] of Object.entries(own)) if (isNear || way === 'resumed' || way === 'forward') t.ok(texts.includes('hidden'), `${what}: ${way} has it for its author`)
    for (const [way, texts] of Object.entries(others)) t.notOk(texts.includes('hidden'), `${what}: ${way} has it for nobody else`)
    for (const viewer of Object.values(late)) {
      t.same(viewer.account().faults, [], `${what}: nothing looks lost`)
      if (viewer.member !== null) room.leave(viewer.member)
    }
    for (const frame of late.ann.of(OUT.MESSAGE)) t.equal(frame.length, 7, 'a shadow message looks like any other')
  }
  for (const [who, viewer] of Object.entries(viewers)) {
    t.equal(bodies(viewer).includes('hidden'), ['author', 'again', 'moderator'].includes(who), `live: ${who}`)
    t.ok(bodies(viewer).includes('two'), `live: ${who} goes on`)
    t.same(viewer.account().faults, [], `live: ${who} misses nothing`)
  }
  t.same(viewers.other.of(OUT.SKIPPED), [[OUT.SKIPPED, hidden, hidden, 1, 'removed']])
  await check(room, 'from memory')
  await check(await instance().rooms.open(ROOM, null) as Room, 'after a restart')
  for (let n = 0; n < 250; n++) await said(room, BOB, `more ${n}`)
  await settle()
  t.equal(room.ring.has(hidden), false)
  await check(await instance().rooms.open(ROOM, null) as Room, 'from the log', false)
  await done(MOD, 'unban', { user: 'ann' })
  await said(room, ANN, 'after')
  await settle()
  t.ok(bodies(viewers.other).includes('after'))
  t.notOk((await pageBodies(room, BOB, { after: 0, limit: 100 })).includes('hidden'), 'what was hidden stays hidden')
  t.ok(rooms)
})

t.test('many saying the same are hidden at the strictest level, each seeing themselves', async (t) => {
  const { open, enter, settle, done, say } = await stage(t)
  const room = await open(ROOM)
  await done(MOD, 'set', { settings: { autoLevel: 4 } })
  const viewer = enter(room, { as: BOB })
  const raider = person('raider9')
  const own = enter(room, { as: raider })
  for (let n = 0; n < 10; n++) await say(room, person(`raider${n}`), 'buy followers')
  await settle()
  t.equal(bodies(viewer).filter((text) => text === 'buy followers').length, 5)
  t.equal(bodies(own).filter((text) => text === 'buy followers').length, 6, 'five and their own')
  t.same([...viewer.account().faults, ...own.account().faults], [])
})

t.test('with a publication delay viewers wait, moderators do not, and what is removed in time was never shown', async (t) => {
  const { open, enter, settle, clock, said, done } = await stage(t)
  const room = await open(ROOM)
  const live = enter(room, { as: BOB })
  const mod = enter(room, { as: MOD })
  const ahead = enter(room, { as: HOST, view: 'live' })
  await said(room, ANN, 'before')
  await settle()
  await done(MOD, 'set', { settings: { publicationDelaySeconds: 4 } })
  clock.advance(4000)
  await settle()
  const turns = async (): Promise<void> => { for (let n = 0; n < 20; n++) await new Promise((resolve) => setImmediate(resolve)) }
  const bad = await said(room, ANN, 'bad')
  await said(room, ANN, 'good')
  await turns()
  t.ok(bodies(mod).includes('bad') && bodies(ahead).includes('bad'), 'moderators see it at once')
  t.notOk(bodies(live).includes('good'))
  const late = enter(room)
  const lateMod = enter(room, { as: MOD2 })
  await turns()
  t.notOk(bodies(late).includes('good'))
  t.ok(bodies(lateMod).includes('good'))
  t.notOk((await pageBodies(room, BOB)).includes('good'), 'nor is it in history yet')
  t.ok((await pageBodies(room, MOD)).includes('good'))
  clock.advance(3000)
  await turns()
  t.notOk(bodies(live).includes('good'))
  await done(MOD, 'remove', { seq: bad })
  clock.advance(1000)
  await turns()
  t.ok(bodies(live).includes('good'))
  t.notOk(bodies(live).includes('bad'), 'it was never shown')
  clock.advance(4000)
  await turns()
  t.equal(live.of(OUT.REMOVE).length, 1)
  await said(room, ANN, 'waiting')
  await done(MOD, 'set', { settings: { publicationDelaySeconds: null } })
  await settle()
  await said(room, ANN, 'no delay any more')
  await settle()
  for (const [who, viewer] of Object.entries({ live, mod, ahead, late, lateMod })) {
    t.same(viewer.account().faults, [], `${who}: in order, nothing twice`)
    t.ok(bodies(viewer).includes('waiting') && bodies(viewer).includes('no delay any more'), `${who} is live again`)
    t.equal(viewer.account().last, room.seq, who)
  }
})

t.test('with a publication delay an instance that opens the room keeps back what the others do', async (t) => {
  const { open, enter, clock, said, done, instance } = await stage(t)
  const room = await open(ROOM)
  await said(room, ANN, 'long ago')
  await done(MOD, 'set', { settings: { publicationDelaySeconds: 4 } })
  clock.advance(4000)
  const bad = await said(room, ANN, 'bad')
  await said(room, ANN, 'good')
  const turns = async (): Promise<void> => { for (let n = 0; n < 20; n++) await new Promise((resolve) => setImmediate(resolve)) }
  const other = await instance().rooms.open(ROOM, null) as Room
  const late = enter(other, { as: BOB })
  const mod = enter(other, { as: MOD })
  await turns()
  for (const [way, texts] of Object.entries({ joined: bodies(late), history: await pageBodies(other, BOB), forward: await pageBodies(other, null, { after: 0, limit: 100 }), stream: await pulled(other, BOB), resumed: await pulled(other, null, [room.epoch, 1]) })) {
    t.same(texts.filter((text) => text !== 'long ago'), [], `${way}: nothing that is to wait`)
  }
  t.ok(bodies(mod).includes('bad'), 'moderators see it at once there too')
  await done(MOD, 'remove', { seq: bad })
  clock.advance(4000)
  await turns()
  t.same(bodies(late), ['long ago', 'good'], 'and then it comes, without what was removed in time')
  for (const viewer of [late, mod]) t.same(viewer.account().faults, [])
})

t.test('a viewer too slow for the ring is told of every removal that it passes over', async (t) => {
  const { open, enter, settle, said, done, say, log } = await stage(t, { SLOW_KB: '16', RING_KB_MAX: '64', RING_ENTRIES_MAX: '200', SLOW_TIMEOUT_S: '300' })
  const room = await open(ROOM)
  const sleeper = enter(room)
  const seq = await said(room, ANN, 'rude')
  await settle()
  t.ok(bodies(sleeper).includes('rude'))
  sleeper.isPaused = true
  const flood = async (): Promise<void> => {
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 60 }, (_, n) => say(room, person(`u${n}`), `${round} ${'x'.repeat(400)}`)))
      await settle()
    }
  }
  await flood()
  await done(MOD, 'remove', { seq })
  await flood()
  sleeper.resume()
  await settle()
  sleeper.resume()
  await settle()
  t.match(sleeper.of(OUT.SKIPPED), [[OUT.SKIPPED, Number, Number, Number, 'slow'], [OUT.SKIPPED, Number, Number, Number, 'slow']], 'before it and behind it')
  t.match(sleeper.of(OUT.REMOVE), [[OUT.REMOVE, Number, Number, { seq }, 'mod']])
  t.same(sleeper.account(), { first: 1, last: (await log.head(ROOM)).seq, faults: [] })
})

t.test('in any mixture every viewer gets every entry once, in order, and nothing that is not for it', async (t) => {
  const { open, enter, settle, say, act, clock } = await stage(t, { SLOW_KB: '16', RING_KB_MAX: '64', RING_ENTRIES_MAX: '200', SLICE_VIEWERS: '5' })
  const room = await open(ROOM)
  let state = 11
  const random = (below: number): number => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return Math.floor(state / 2 ** 32 * below) }
  const people = [ANN, BOB, MOD, HOST, person('cat'), null]
  const here: Watcher[] = []
  const all: { viewer: Watcher, who: string | undefined }[] = []
  const hidden = new Set<unknown>()
  let isHidden = false
  for (let round = 0; round < 500; round++) {
    const what = random(14)
    if (what < 5) {
      for (let n = random(6); n >= 0; n--) {
        const author = people[random(2)] as typeof ANN
        const text = `${round}.${n} ${'x'.repeat(random(300))}`
        if (author === ANN && isHidden) hidden.add(text)
        await say(room, author, text)
      }
    } else if (what < 7) {
      const as = people[random(people.length)] ?? null
      const viewer = enter(room, { history: random(100), view: random(2) === 0 ? 'full' : 'live', as, position: random(3) === 0 && room.seq > 0 ? [room.epoch, random(room.seq)] : null })
      here.push(viewer)
      all.push({ viewer, who: as?.id })
    } else if (what === 7 && here.length > 4) { const [gone] = here.splice(random(here.length), 1); if (gone?.member != null) room.leave(gone.member) }
    else if (what === 8 && here.length > 0) (here[random(here.length)] as Watcher).isPaused = true
    else if (what === 9 && here.length > 0) (here[random(here.length)] as Watcher).resume()
    else if (what === 10) await act(MOD, 'remove', { seq: 1 + random(Math.max(1, room.seq)) })
    else if (what === 11) await act(HOST, 'set', { settings: { publicationDelaySeconds: random(2) * 2 } })
    else if (what === 12) {
      await act(MOD, isHidden ? 'unban' : 'shadowBan', { user: 'ann' })
      isHidden = !isHidden
      if (random(6) === 0) await act(MOD, random(3) === 0 ? 'clear' : 'purge', random(3) === 0 ? {} : { user: 'bob' })
    } else { clock.advance(random(1500)); await new Promise((resolve) => setImmediate(resolve)) }
  }
  await act(HOST, 'set', { settings: { publicationDelaySeconds: 0 } })
  for (let turn = 0; turn < 3; turn++) {
    for (const viewer of here) viewer.resume()
    await settle()
  }
  t.ok(all.length > 40 && hidden.size > 20, `${all.length} viewers, ${hidden.size} hidden messages, ${room.seq} entries`)
  t.same(all.flatMap(({ viewer }) => viewer.account().faults), [], 'in order, once, nothing missing')
  t.same(all.filter(({ viewer, who }) => !['ann', 'mod', 'host'].includes(String(who)) && bodies(viewer).some((text) => hidden.has(text))).map(({ who }) => who), [], 'nobody but staff was shown what is hidden')
  t.ok(all.some(({ viewer, who }) => who === 'ann' && bodies(viewer).some((text) => hidden.has(text))), 'its author was')
  t.same(here.filter((viewer) => viewer.closed === '' && viewer.account().last !== room.seq).map((viewer) => viewer.account()), [], 'everybody stands at the head')
})
