// Erasing and exporting on the real embedded log, with the clock in hand: what stays bare and what goes, two persons at
// once, a job that is taken up by another after its worker died, estates that are away, and what is refused.

import t, { type Test } from 'tap'
import { packTail } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { systemClock } from '../base/clock.ts'
import { AppError, Refusal } from '../base/errors.ts'
import type { Log } from '../log/log.ts'
import { Audit } from '../moderation/moderation.ts'
import { setUp } from '../rooms/stage.suite.ts'
import { Rights, type Estate, type Job } from './rights.ts'

const message = (author: string, body: string, ext: unknown = null) => ({ op: OUT.MESSAGE, tail: packTail([[author, `${author}-name`, 0], 0, body, ext]), author, nonce: null }) as const

async function bench (t: Test, options: { estates?: Estate[], echoMs?: number } = {}) {
  const stage = await setUp(t)
  const { log, directory } = stage
  const forgotten: string[] = []
  const faults: unknown[] = []
  const made: Rights[] = []
  const rights = (more: Partial<ConstructorParameters<typeof Rights>[0]> = {}): Rights => {
    const one = new Rights({ log, directory, clock: systemClock, echoMs: options.echoMs ?? 0, isAlone: true, estates: options.estates ?? [], forget: (user) => forgotten.push(user), fault: (error, what) => faults.push([what, (error as Error).message]), ...more })
    made.push(one)
    return one
  }
  t.teardown(() => Promise.all(made.map((one) => one.stop())))
  for (const room of ['a', 'b']) await directory.create({ room, kind: 'stream', createdAt: 1, createdBy: room === 'a' ? 'ann' : null })
  return { ...stage, rights, forgotten, faults }
}

async function until<T> (what: string, look: () => Promise<T | null> | T | null): Promise<T> {
  for (const end = performance.now() + 15_000; ;) {
    const found = await look()
    if (found !== null) return found
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function job (result: Promise<Job | Refusal>): Promise<Job> {
  const found = await result
  if (found instanceof Refusal) throw new Error(found.message)
  return found
}

const done = (rights: Rights, id: string): Promise<Job> => until('the end of the job', async () => {
  const found = await job(rights.job(id))
  return found.stage === 'done' ? found : null
})

async function raw (log: Log, rooms: readonly string[]): Promise<string> {
  const texts: string[] = []
  for (const room of rooms) {
    const { entries } = await log.after(room, 0, { entries: 1000, bytes: 1e8 })
    texts.push(...entries.map((entry) => Buffer.from(entry).toString('latin1')), JSON.stringify(await log.state(room)))
  }
  return texts.join('\n')
}

t.test('what must bind stays, bare; what is about others is renamed; all else goes', async (t) => {
  const { log, directory, rights, forgotten } = await bench(t)
  const now = Date.now()
  for (let i = 0; i < 5; i++) {
    await log.publish('a', message('ann', `mine ${i}`))
    await log.publish('a', message('bob', `his ${i}`, { at: ['ann', 'cid'], re: 1 }))
  }
  await log.publish('a', { op: OUT.REMOVE, tail: packTail([{ seq: 2 }, 'ann']), author: 'ann', nonce: null })
  await log.publish('a', {
    op: OUT.STATE, tail: packTail([{ pinned: 3 }]), author: 'x', nonce: null,
    patch: {
      settings: { pinned: 3, title: 'stays' },
      guarded: {
        'ban:ann': [null, 2, 'mod', 'for this', now], 'timeout:ann': [now - 1, 2, 'mod', 'over', now - 9], 'ban:bob': [null, 2, 'ann', 'by her', now], 'note:ann': [['a note', 'mod', now]],
        'note:bob': [['his note', 'ann', now], ['another', 'mod', now]], 'request:ann': ['please', now], 'held:h1': [['ann', 'ann-name', 0], 0, 'held words', null, 'n', '', 'why', now], 'held:h2': [['bob', 'bob-name', 0], 0, 'his', null, 'n', '', 'why', now]
      }
    }
  })
  await log.publish('b', message('bob', 'nothing of hers'))
  const untouched = await raw(log, ['b'])
  const audit = new Audit(log)
  await audit.append({ room: 'a', action: 'ban', by: 'mod', source: 'human', whom: 'ann', text: 'mine 1', reason: 'for this', args: { user: 'ann', reason: 'for this' }, failure: null })
  await audit.append({ room: 'a', action: 'ban', by: 'ann', source: 'human', whom: 'bob', text: null, reason: 'he did', args: { user: 'bob' }, failure: null })
  await log.publish('uproar:notifications', { op: OUT.STATE, tail: packTail([{ v: 1, user: 'ann', from: { id: 'bob' } }]), author: 'feed', nonce: null })
  await log.publish('uproar:messages.dead', { op: OUT.STATE, tail: packTail([{ record: { user: { id: 'ann' } } }]), author: 'feed', nonce: null })
  const one = rights()
  one.start()
  const { id } = await job(one.erase('ann', 'root', 'request 7'))
  const { pseudonym } = await done(one, id)
  t.same(await raw(log, ['b']), untouched, 'rooms without the person stay as they are')
  const state = await log.state('a')
  t.same(state.settings, { title: 'stays' }, 'nothing of theirs is pinned')
  t.same(state.guarded, {
    'ban:ann': [null, 2, 'mod', '', now], 'ban:bob': [null, 2, pseudonym, 'by her', now], 'note:bob': [['his note', pseudonym, now], ['another', 'mod', now]], 'held:h2': [['bob', 'bob-name', 0], 0, 'his', null, 'n', '', 'why', now]
  })
  t.notMatch((await raw(log, ['a', 'uproar:audit', 'uproar:notifications', 'uproar:messages.dead', 'uproar:erasures', 'uproar:jobs'])).replaceAll('ban:ann', ''), /ann|mine|held words|a note|for this/, 'nothing else names them')
  const { rows } = await audit.query({ limit: 10 })
  t.match(rows, [
    { action: 'erase', by: 'root', whom: pseudonym, reason: 'request 7', args: { job: id } }, { action: 'ban', by: pseudonym, whom: 'bob', reason: 'he did' }, { action: 'ban', by: 'mod', whom: pseudonym, text: null, reason: null, args: { user: pseudonym } }
  ])
  t.equal((await directory.get('a'))?.createdBy, pseudonym)
  t.same(forgotten, ['ann'])
})

t.test('the removal stands for a while, so that those who come back hear of it, and then goes too', async (t) => {
  const { log, rights } = await bench(t, { echoMs: 400 })
  await log.publish('a', message('ann', 'mine'))
  const one = rights()
  one.start()
  const { id } = await job(one.erase('ann', 'root'))
  await until('the echo', async () => (await job(one.job(id))).stage === 'echo' ? true : null)
  t.match(await raw(log, ['a']), /erased/)
  t.match(await raw(log, ['a']), /ann/, 'for now the removal names them')
  t.notMatch(await raw(log, ['a']), /mine/)
  t.equal((await job(one.erase('ann', 'root'))).id, id, 'the same job meanwhile')
  await done(one, id)
  t.notMatch(await raw(log, ['a']), /ann/)
  t.not((await job(one.erase('ann', 'root'))).id, id, 'afterwards another')
})

t.test('two persons at once, by two instances, in the same rows', async (t) => {
  const { log, rights } = await bench(t)
  for (let i = 0; i < 300; i++) await log.publish('a', message(i % 2 === 0 ? 'ann' : 'eve', `said ${i}`, { at: ['ann', 'eve', 'bob'] }))
  const audit = new Audit(log)
  for (let i = 0; i < 50; i++) await audit.append({ room: 'a', action: 'warn', by: 'ann', source: 'human', whom: 'eve', text: null, reason: 'x', args: { user: 'eve' }, failure: null })
  const [one, other] = [rights({ isAlone: false }), rights({ isAlone: false })]
  const jobs = await Promise.all([job(one.erase('ann', 'root')), job(other.erase('eve', 'root')), job(other.erase('ann', 'root'))])
  t.equal(jobs[2].id, jobs[0].id, 'of two who ask for the same at once one begins')
  one.start()
  other.start()
  const [ann, eve] = await Promise.all([done(one, jobs[0].id), done(other, jobs[1].id)])
  const { rows } = await audit.query({ limit: 100, action: 'warn' })
  t.equal(rows.length, 50)
  t.ok(rows.every(({ by, whom }) => by === ann.pseudonym && whom === eve.pseudonym), 'neither brings the other back')
  t.notMatch(await raw(log, ['a', 'uproar:audit']), /\bann\b|\beve\b|said \d/)
})

t.test('a worker that dies, and estates that are away', async (t) => {
  let isAway = true
  const erased: string[] = []
  const estate: Estate = {
    name: 'shed',
    async erase (user, pseudonym) {
      if (isAway) throw new AppError('unavailable', 'the shed is locked')
      erased.push(`${user} ${pseudonym}`)
    },
    async * export (user) { yield { type: 'thing', user } }
  }
  const { log, rights, faults } = await bench(t, { estates: [estate] })
  await log.publish('a', message('ann', 'mine'))
  const one = rights({ complainMs: 0 })
  one.start()
  const { id, pseudonym } = await job(one.erase('ann', 'root'))
  await until('the complaint', () => faults.length > 0 || null)
  t.match(faults, [[/estates/, 'the shed is locked']])
  await one.stop()
  isAway = false
  const other = rights()
  other.start()
  t.match(await done(other, id), { user: null, stage: 'done' })
  t.same(erased, [`ann ${pseudonym}`])
  const types: unknown[] = []
  for await (const record of other.export('bob', 'root')) types.push(record['type'])
  t.same(types, ['begin', 'room', 'profile', 'audit', 'thing', 'end'])
  t.match(await other.job('nobody'), { name: 'not_found' })
})
