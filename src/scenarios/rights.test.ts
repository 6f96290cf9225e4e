// Stories of people's rights with the real program, embedded and on Redis: everything of a person is given out, then
// erased while the server is killed -9 again and again, and no read finds anything afterwards, on any instance.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { RedisServer } from '../../deploy/services/redis.ts'
import { withoutRedis } from '../../deploy/services/services.ts'
import { OUT } from '../../proto/ops.ts'
import { API_KEY, eventually, freePort, OPEN_LIMITS, Program, tokenOf } from './harness.ts'
import { wholeHistory } from './history-pages.ts'
import { isFull, measured, sized } from './size.ts'
import { Viewer } from './viewer.ts'

t.setTimeout(sized(240_000, 300_000))

const WHO = 'victim-7f3a91'
const NAME = 'Vera Unfindable'
const SECRET = 'a text that nobody may find'
const ROOMS = ['den', 'hall'] as const
/** Anything of the person, in any text that a read gives. */
const TRACE = new RegExp([WHO, NAME, SECRET].join('|'))

interface Stage { readonly programs: readonly Program[], readonly epochs: Map<string, string> }

/** A person who does everything that leaves a trace, among others who talk. */
async function live (t: Test, programs: readonly Program[]): Promise<Stage> {
  const [one, other = one] = programs as [Program, Program?]
  const act = async (room: string, action: string, args: Record<string, unknown>): Promise<void> => {
    const { status, json } = await one.request('POST', `/v1/rooms/${room}/actions`, { token: API_KEY, json: { action, args } })
    t.equal(status, 200, `${action} ${JSON.stringify(json)}`)
  }
  const broadcaster = tokenOf(WHO, { name: NAME, roles: ['broadcaster'] })
  t.equal((await one.request('PUT', '/v1/rooms/own', { token: broadcaster, json: { settings: { title: 'mine' } } })).status, 201)
  const epochs = new Map<string, string>()
  for (const room of ROOMS) {
    const person = await Viewer.connect(t, other.ws, tokenOf(WHO, { name: NAME }))
    const ann = await Viewer.connect(t, one.ws, tokenOf('ann'))
    await Promise.all([person.join(room), ann.join(room)])
    let pinned = 0
    for (let i = 0; i < 30; i++) {
      const [, , [seq]] = await person.say(room, `${SECRET} ${i}`) as unknown as [number, number, [number]]
      if (i === 3) pinned = seq
      await ann.say(room, `talk ${i}`, i % 10 === 0 ? { ext: { at: [WHO, 'bob'] } } : {})
    }
    await act(room, 'pin', { seq: pinned })
    await act(room, 'note', { user: WHO, text: `${SECRET} noted` })
    await act(room, 'timeout', { user: WHO, seconds: 600, reason: `${SECRET} reason` })
    await act(room, 'unban', { user: WHO })
    await one.request('PUT', `/v1/rooms/${room}`, { token: API_KEY, json: { settings: { autoLevel: 2 } } })
    await eventually('the level', async () => (await other.request('GET', `/v1/rooms/${room}`)).json.settings.autoLevel === 2 || null)
    t.match(await person.say(room, `${SECRET} https://held.example`), [OUT.HELD])
    epochs.set(room, ann.frames.find((frame) => frame[0] === OUT.JOINED)?.[3] as string)
    person.socket.destroy()
    ann.socket.destroy()
  }
  return { programs, epochs }
}

async function exported (program: Program, path = `/v1/users/${WHO}/export`): Promise<Record<string, unknown>[]> {
  const { status, text } = await program.request('GET', path, { token: API_KEY })
  if (status !== 200) throw new Error(`the export answered ${status}: ${text}`)
  return text.trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
}

/** Everything that this instance gives to anybody, as one text. */
async function everyRead (t: Test, { programs, epochs }: Stage): Promise<string> {
  const texts: string[] = []
  for (const program of programs) {
    for (const room of ROOMS) {
      texts.push(JSON.stringify(await wholeHistory(program, room)))
      for (const path of ['held', 'sanctions', 'audit?limit=200', `users/${WHO}`]) texts.push((await program.request('GET', `/v1/rooms/${room}/${path}`, { token: API_KEY })).text)
      for (const path of ['search?q=nobody', `search?author=${WHO}`, 'export', 'stats?from=0&stepS=31536000', 'replay?start=0&at=0']) texts.push((await program.request('GET', `/v1/rooms/${room}/${path}`, { token: API_KEY })).text)
      const [late, back] = [await Viewer.connect(t, program.ws), await Viewer.connect(t, program.ws, tokenOf('mod', { roles: ['admin'] }))]
      await Promise.all([late.join(room, { history: 200 }), back.join(room, { position: [epochs.get(room), 0] })])
      await Promise.all([late.roundTrip(), back.roundTrip()])
      t.equal(gaps(back), 0, 'a resume has no hole')
      texts.push(JSON.stringify([late.frames, back.frames]))
      const events = await fetch(`${program.http}/v1/rooms/${room}/events?history=200`)
      texts.push(await untilQuiet(events))
    }
    for (const path of ['/v1/audit?limit=200', '/v1/rooms', '/v1/rooms/own']) texts.push((await program.request('GET', path, { token: API_KEY })).text)
  }
  return texts.join('\n')
}

/** Positions that a viewer was neither given nor told to be left out. */
function gaps (viewer: Viewer): number {
  let next = 1
  let missing = 0
  for (const [op, seq, last] of viewer.frames as [number, number, number][]) {
    if (op !== OUT.SKIPPED && !(op >= OUT.MESSAGE && op <= OUT.EDIT)) continue
    missing += Math.max(0, seq - next)
    next = op === OUT.SKIPPED ? last + 1 : seq + 1
  }
  return missing
}

async function untilQuiet (answer: Response): Promise<string> {
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  for (;;) {
    const chunk = await Promise.race([reader.read(), new Promise<null>((resolve) => setTimeout(resolve, 150, null))])
    if (chunk === null || chunk.done) break
    text += Buffer.from(chunk.value).toString()
  }
  await reader.cancel()
  return text
}

/** Erases, with SIGKILL in between as often as asked; resolves with the finished job. */
async function erase (t: Test, program: Program, kills: number): Promise<Record<string, unknown>> {
  const { status, json } = await program.request('POST', `/v1/users/${WHO}/erase`, { token: API_KEY })
  t.equal(status, 202)
  t.match(json, { user: WHO, isDone: false })
  const id = json.id as string
  for (let kill = 0; kill < kills; kill++) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 40))
    await program.kill9()
    await program.launch()
    const again = await program.request('POST', `/v1/users/${WHO}/erase`, { token: API_KEY })
    if (again.json.id !== id) break
  }
  return eventually('the end of the erasure', async () => {
    const { json } = await program.request('GET', `/v1/erasures/${id}`, { token: API_KEY })
    return json.isDone === true ? json : null
  }, 60_000)
}

async function story (t: Test, programs: readonly Program[], kills: number, hasArchive = false): Promise<void> {
  const stage = await live(t, programs)
  const [first] = programs as [Program]
  const last = programs.at(-1) as Program
  t.equal((await first.request('POST', `/v1/users/${WHO}/erase`, { token: tokenOf('mod', { rooms: { den: ['moderator'] } }) })).status, 403, 'a moderator may not')
  t.equal((await first.request('GET', `/v1/users/${WHO}/export`, { token: tokenOf(WHO) })).status, 403, 'nor the person')
  const types = ['message', 'note', 'held', 'made', 'profile', 'end']
  const all = [60, 2, 2, 1, 1, 1]
  const countIn = (records: readonly Record<string, unknown>[], type: string): number => records.filter((record) => record['type'] === type).length
  // What another instance took in a moment ago comes to this one a moment later.
  const records = await eventually('the export to have all of it', async () => {
    const found = await exported(first)
    const counts = types.map((type) => countIn(found, type))
    return JSON.stringify(counts) === JSON.stringify(all) && countIn(found, 'audit') >= 8 ? found : null
  })
  t.match(records.find((record) => record['type'] === 'profile'), { user: WHO, names: [NAME], messages: 60 })
  t.same((await exported(last, `/v1/users/${WHO}/export?after=den`)).filter((record) => record['type'] === 'message').length, 30, 'goes on behind a room')
  t.match(await everyRead(t, stage), TRACE, 'it is there at first')
  if (hasArchive) {
    for (const room of ROOMS) await eventually('the archive to have it', async () => (await first.request('GET', `/v1/rooms/${room}/search?q=nobody&limit=50`, { token: API_KEY })).text.match(new RegExp(SECRET, 'g'))?.length === 30 || null, 30_000)
    t.ok((await exported(first)).filter(({ type }) => type === 'archived').length >= 60, 'the archive\'s too')
  }

  const watcher = await Viewer.connect(t, last.ws)
  await watcher.join('den', { history: 200 })
  await watcher.until('its texts', () => watcher.texts().some((text) => text.includes(SECRET)) || null)
  const started = performance.now()
  const job = await erase(t, first, kills)
  measured(t, `erased ${job['entries']} entries of ${job['rooms']} rooms in ${((performance.now() - started) / 1000).toFixed(1)} s, ${kills} kills included`)
  t.match(job, { user: null, isDone: true })
  if (kills === 0) t.match(await watcher.until('the removal', () => watcher.frames.find((frame) => frame[0] === OUT.REMOVE && (frame[3] as { user?: string }).user === WHO) ?? null), [OUT.REMOVE, Number, Number, { user: WHO, erased: true }])
  t.notMatch((await everyRead(t, stage)).replaceAll(`/users/${WHO}`, ''), TRACE, 'no read of any instance finds anything')
  const left = await exported(last)
  t.same(left.map(({ type }) => type).filter((type) => type !== 'archivedAudit'), ['begin', 'room', 'profile', 'audit', 'end'], 'an export finds nothing but that it was asked for')
  const audit = JSON.stringify((await first.request('GET', '/v1/audit?limit=200', { token: API_KEY })).json)
  t.match(audit, new RegExp(`"action":"timeout".*"whom":"${job['pseudonym']}"`), 'the audit log still says that somebody was')
  const talk = (await wholeHistory(last, 'den')).filter(({ op }) => op === 'message')
  t.equal(talk.length, 30, 'others\' messages are there')
  t.match(talk[0], { ext: { at: ['bob'] } }, 'without the mention')
  const person = await Viewer.connect(t, first.ws, tokenOf(WHO))
  await person.join('den')
  t.match(await person.say('den', 'here again'), [OUT.OK], 'whoever comes again is new')
}

t.test('embedded, killed -9 in between', async (t) => {
  const program = await Program.start(t, { ...OPEN_LIMITS, ERASURE_ECHO_S: sized('0', '2'), ARCHIVE: sized('off', 'auto'), DEDUP_MINUTES: '1', PORT: await freePort(), WS_PORT: await freePort() })
  await story(t, [program], sized(3, 20), isFull)
  t.same(program.faults.filter((line) => !line.includes('"canRetry":true')), [])
  // The tables' file is made anew at a start.
  await program.restart()
  t.equal((await wholeHistory(program, 'den')).filter(({ op }) => op === 'message').length, 31, 'and has what it is to have')
  await program.stop()
  const bytes = (name: string): Buffer => readFileSync(join(program.dataDir, name))
  for (const name of ['journal/journal-0', 'journal/journal-1', 'lmdb/data.mdb']) {
    t.notOk(bytes(name).includes(SECRET), `${name} has no text of it`)
    t.notOk(bytes(name).includes(NAME), `${name} has no name of it`)
  }
})

t.test('two instances on Redis', { skip: withoutRedis() }, async (t) => {
  const redis = await RedisServer.start(t)
  const programs = await Promise.all([0, 1].map(async () => Program.start(t, { ...OPEN_LIMITS, ERASURE_ECHO_S: '0', REDIS_URL: redis.url, PORT: await freePort(), WS_PORT: await freePort() })))
  // Killed: the other instance, or the next start, takes the job up once its lease has run out.
  await story(t, programs, sized(0, 4))
  // An engine that answers late on a busy machine is no fault of this.
  if (!isFull) for (const program of programs) t.same(program.faults.filter((line) => !line.includes('"canRetry":true')), [])
  for (const key of (await redis.cli('KEYS', '*')).split('\n').filter((name) => /:(stream|(log|state|head):(den|hall|own|uproar:))/.test(name))) {
    const type = (await redis.cli('TYPE', key)).trim()
    const value = type === 'stream' ? await redis.cli('XRANGE', key, '-', '+') : type === 'hash' ? await redis.cli('HGETALL', key) : ''
    // The last message is of after the erasure.
    t.notOk(value.includes(SECRET) || value.includes(NAME), `${key} has nothing of it`)
  }
})
