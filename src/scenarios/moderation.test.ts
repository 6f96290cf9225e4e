// Stories of moderation with the real program: a removal reaches everybody at once and nobody who comes later, a hidden
// author stays hidden, sanctions outlive a restart, and no action is without its audit row after kill -9.

import t from 'tap'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { API_KEY, freePort, OPEN_LIMITS, Program, tokenOf } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { measured, sized, timely } from './size.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(sized(240_000, 300_000))

const ROOM = 'stage'
const modToken = (): string => tokenOf('mod', { rooms: { [ROOM]: ['moderator'] } })

interface Row { readonly action: string, readonly args: { readonly seq?: number }, readonly text: string }

t.test('a removal is gone from every viewer within a second, and never comes to a late one', async (t) => {
  const program = await Program.start(t, OPEN_LIMITS)
  const viewers = await Promise.all(Array.from({ length: sized(50, 200) }, () => Viewer.connect(t, program.ws)))
  for (const [at, viewer] of viewers.entries()) await viewer.join(ROOM, at % 2 === 0 ? null : { view: 'live' })
  const author = await Viewer.connect(t, program.ws, tokenOf('ann'))
  const moderator = await Viewer.connect(t, program.ws, modToken())
  await author.join(ROOM)
  await moderator.join(ROOM)
  const took: number[] = []
  const secrets: string[] = []
  for (let round = 0; round < sized(20, 100); round++) {
    const secret = `secret ${round}`
    const [, , [seq]] = await author.say(ROOM, secret) as unknown as [number, number, [number]]
    await author.say(ROOM, `talk ${round}`)
    const started = performance.now()
    t.match(await moderator.ask(IN.MODERATE, ROOM, 'remove', { seq }), [OUT.OK, Number, [Number, Number]])
    await Promise.all(viewers.map(async (viewer) => {
      await viewer.until('the removal', () => viewer.frames.findLast((frame) => frame[0] === OUT.REMOVE && (frame[3] as { seq: number }).seq === seq) ?? null)
      took.push(performance.now() - started)
    }))
    secrets.push(secret)
  }
  took.sort((a, b) => a - b)
  const p99 = took[Math.floor(took.length * 0.99)] as number
  timely(t, 'a removal at 99 of 100 viewers', p99, 1000)
  const epoch = viewers[0]?.frames.find((frame) => frame[0] === OUT.JOINED)?.[3] as string
  const [late, back] = [await Viewer.connect(t, program.ws), await Viewer.connect(t, program.ws)]
  await late.join(ROOM, { history: 200 })
  await back.join(ROOM, { position: [epoch, 0] })
  await Promise.all([late.roundTrip(), back.roundTrip()])
  t.same([...late.texts(), ...back.texts()].filter((text) => secrets.includes(text)), [], 'nobody who comes later has it')
  t.match(await late.ask(IN.HISTORY, ROOM, null, 200), [OUT.PAGE])
  t.notOk(JSON.stringify(late.frames).includes('secret'))
  t.notOk(JSON.stringify(await wholeHistory(program, ROOM)).includes('secret'))
  measured(t, `${took.length} removals at ${viewers.length} viewers: p50 ${(took[took.length >> 1] as number).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, most ${(took.at(-1) as number).toFixed(1)} ms`)
})

t.test('bans, shadow bans and held messages outlive a restart', async (t) => {
  const program = await Program.start(t, { ...OPEN_LIMITS, WS_PORT: await freePort() })
  const act = async (action: string, args: Record<string, unknown>): Promise<void> => {
    const { status, json } = await program.request('POST', `/v1/rooms/${ROOM}/actions`, { token: API_KEY, json: { action, args } })
    t.equal(status, 200, `${action} ${JSON.stringify(json)}`)
  }
  await program.request('PUT', `/v1/rooms/${ROOM}`, { token: API_KEY, json: { settings: { autoLevel: 2 } } })
  await act('ban', { user: 'bob', reason: 'enough' })
  await act('shadowBan', { user: 'eve' })
  const ann = await Viewer.connect(t, program.ws, tokenOf('ann'))
  await ann.join(ROOM)
  t.match(await ann.say(ROOM, 'look at https://somewhere.example'), [OUT.HELD, Number, /^h-/, 'look at https://somewhere.example'])
  await program.restart()
  const again = await Viewer.connect(t, program.ws, tokenOf('ann'))
  await again.join(ROOM)
  const eve = await Viewer.connect(t, program.ws, tokenOf('eve'))
  await eve.join(ROOM)
  t.match(await eve.say(ROOM, 'can you see me?'), [OUT.OK])
  const bob = await Viewer.connect(t, program.ws, tokenOf('bob'))
  await bob.join(ROOM)
  t.match(await bob.next(OUT.SANCTION), [OUT.SANCTION, 'ban', null, 'enough'])
  t.match(await bob.say(ROOM, 'let me in'), [OUT.ERR, Number, 20, 'banned', /enough/])
  const { json } = await program.request('GET', `/v1/rooms/${ROOM}/held`, { token: API_KEY }) as { json: { held: { ref: string }[] } }
  t.match(json, { held: [{ body: 'look at https://somewhere.example', user: { id: 'ann' } }] })
  await act('approve', { ref: json.held[0]?.ref })
  await again.until('the message', () => again.texts().includes('look at https://somewhere.example') || null)
  await eve.until('her own', () => eve.texts().includes('can you see me?') || null)
  t.notOk(again.texts().includes('can you see me?'))
  t.notOk(bob.texts().includes('can you see me?'))
})

t.test('after kill -9 no removal is without its audit row', async (t) => {
  const program = await Program.start(t, { ...OPEN_LIMITS, WS_PORT: await freePort() })
  const author = await Viewer.connect(t, program.ws, tokenOf('ann'))
  const moderator = await Viewer.connect(t, program.ws, modToken())
  await author.join(ROOM)
  await moderator.join(ROOM)
  const count = sized(60, 300)
  for (let n = 1; n <= count; n++) t.equal((await author.say(ROOM, `m${n}`))[0], OUT.OK)
  let rid = 1000
  for (let seq = 1; seq <= count; seq++) moderator.send([IN.MODERATE, rid++, ROOM, 'remove', { seq }])
  await moderator.until('a third of them', () => moderator.frames.filter((frame) => frame[0] === OUT.OK && (frame[1] as number) >= 1000).length >= count / 3 || null)
  await program.kill9()
  await program.launch()
  const removed = (await wholeHistory(program, ROOM) as unknown as { op: string, target?: { seq: number } }[]).flatMap((entry) => entry.op === 'remove' ? [entry.target?.seq as number] : [])
  const rows: Row[] = []
  for (let before: number | null | undefined; before !== null;) {
    const { json } = await program.request('GET', `/v1/rooms/${ROOM}/audit?limit=200${before === undefined ? '' : `&before=${before}`}`, { token: API_KEY }) as { json: { rows: Row[], next: number | null } }
    rows.push(...json.rows)
    before = json.next
  }
  const told = new Map(rows.filter(({ action }) => action === 'remove').map(({ args, text }) => [args.seq, text]))
  t.ok(removed.length >= count / 3)
  t.same(removed.filter((seq) => told.get(seq) !== `m${seq}`), [], 'each with the text as it was')
  measured(t, `killed with ${removed.length} of ${count} removals done and ${told.size} audit rows`)
})

t.test('two instances on one Redis: what one decides is in force on the other within a second', { skip: withoutRedis() }, async (t) => {
  const redis = await RedisServer.start(t)
  const env = { ...OPEN_LIMITS, REDIS_URL: redis.url }
  const [here, there] = [await Program.start(t, env), await Program.start(t, env)]
  const moderator = await Viewer.connect(t, here.ws, modToken())
  await moderator.join(ROOM)
  const [ann, eve, viewer] = [await Viewer.connect(t, there.ws, tokenOf('ann')), await Viewer.connect(t, there.ws, tokenOf('eve')), await Viewer.connect(t, there.ws)]
  for (const one of [ann, eve, viewer]) await one.join(ROOM)
  const [, , [seq]] = await ann.say(ROOM, 'rude') as unknown as [number, number, [number]]
  await moderator.until('it here', () => moderator.texts().includes('rude') || null)
  const removedAt = performance.now()
  t.match(await moderator.ask(IN.MODERATE, ROOM, 'remove', { seq }), [OUT.OK])
  await viewer.until('the removal there', () => viewer.frames.find((frame) => frame[0] === OUT.REMOVE) ?? null)
  const removalMs = performance.now() - removedAt
  const bannedAt = performance.now()
  t.match(await moderator.ask(IN.MODERATE, ROOM, 'ban', { user: 'ann', reason: 'rude' }), [OUT.OK])
  t.match(await ann.next(OUT.SANCTION), [OUT.SANCTION, 'ban', null, 'rude'])
  t.match(await ann.say(ROOM, 'but'), [OUT.ERR, Number, 20, 'banned'])
  const banMs = performance.now() - bannedAt
  t.match(await moderator.ask(IN.MODERATE, ROOM, 'shadowBan', { user: 'eve' }), [OUT.OK])
  t.match(await moderator.ask(IN.MODERATE, ROOM, 'set', { settings: { emoteOnly: true } }), [OUT.OK])
  await viewer.until('the mode there', () => viewer.frames.find((frame) => frame[0] === OUT.STATE && (frame[3] as { emoteOnly?: boolean }).emoteOnly === true) ?? null)
  t.match(await eve.say(ROOM, '🔥🔥'), [OUT.OK], 'hidden, though she was hidden elsewhere')
  t.match(await moderator.say(ROOM, 'staff may still write'), [OUT.OK])
  await viewer.until('what comes behind it', () => viewer.texts().includes('staff may still write') || null)
  await eve.until('her own', () => eve.texts().includes('🔥🔥') || null)
  t.notOk(viewer.texts().includes('🔥🔥'))
  t.ok(await moderator.until('what staff alone are shown', () => moderator.frames.some((frame) => frame[5] === '🔥🔥' && frame[7] === true) || null), 'staff are, marked')
  const late = await Viewer.connect(t, there.ws)
  await late.join(ROOM, { history: 200 })
  await late.roundTrip()
  t.same(late.texts(), ['staff may still write'])
  timely(t, 'over Redis, from one instance to the other: a removal', removalMs, 1000)
  timely(t, 'and a ban with its notice and the refusal', banMs, 1000)
})
