// Revocations on the real embedded log: in force at once, on every reader of the log and after a restart, ended by
// themselves, bounded, and written again where the log lost them.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Identity } from '../auth/auth.ts'
import { ManualClock } from '../base/clock.ts'
import { Refusal } from '../base/errors.ts'
import { Metrics } from '../base/metrics.ts'
import { openStore } from '../base/store.ts'
import type { Log } from '../log/log.ts'
import { createLmdbLog } from '../log/lmdb-log.ts'
import { Revocations, REVOCATIONS_MAX } from './revocation.ts'

type Scope = Pick<typeof t, 'teardown'>

const clock = new ManualClock()
const faults: unknown[] = []
const person = (id: string, tokenId: string | null, issuedAt: number | null = clock.now()): Identity =>
  ({ id, name: id, roles: 0, rooms: new Map(), expiresAt: clock.now() + 3_600_000, tokenId, issuedAt })

async function openLog (t: Scope): Promise<Log> {
  const dir = mkdtempSync(join(tmpdir(), 'uproar-revocation-'))
  const store = await openStore(dir)
  const log = createLmdbLog(store, { clock, metrics: new Metrics(), durability: 'commit', queueMax: 10_000, dedupMinutes: 10, retention: { hours: 168, entriesMax: 1_000_000, mbMax: 1024 } })
  t.teardown(async () => {
    await log.close()
    await store.close()
    rmSync(dir, { recursive: true })
  })
  return log
}

async function begin (log: Log): Promise<{ revocations: Revocations, calls: () => number }> {
  const revocations = new Revocations({ log, clock, hours: 2, fault: (error) => faults.push(error) })
  let calls = 0
  revocations.changed(() => { calls++ })
  await revocations.start()
  return { revocations, calls: () => calls }
}

t.test('a token, and all tokens of a user before a time', async (t) => {
  const log = await openLog(t)
  const [here, there] = [await begin(log), await begin(log)]
  const before = there.calls()
  t.same(await here.revocations.revoke({ jti: 'a' }), { target: { jti: 'a' }, until: clock.now() + 2 * 3_600_000 })
  for (const { revocations } of [here, there]) {
    t.ok(revocations.has(person('ann', 'a')), 'on every reader')
    t.notOk(revocations.has(person('ann', 'b')))
    t.notOk(revocations.has(person('ann', null)))
  }
  t.ok(there.calls() > before, 'who holds connections is told')

  await there.revocations.revoke({ user: 'ben', before: clock.now() })
  t.ok(here.revocations.has(person('ben', 'x', clock.now() - 1)), 'issued before')
  t.notOk(here.revocations.has(person('ben', 'x', clock.now())), 'issued since')
  t.ok(here.revocations.has(person('ben', null, null)), 'one that does not say when is as old as any')
  t.notOk(here.revocations.has({ ...person('ben', null, null), expiresAt: Infinity }), 'a server key is no token')
  t.same(here.revocations.list(1), [{ target: { jti: 'a' }, until: clock.now() + 2 * 3_600_000 }])

  const later = await begin(log)
  t.ok(later.revocations.has(person('ann', 'a')), 'after a restart too')
  t.equal(await later.revocations.restore({ jti: 'a' }), null)
  t.notOk(here.revocations.has(person('ann', 'a')), 'taken back, everywhere')
  t.match(await later.revocations.restore({ jti: 'a' }), { name: 'not_found' })
  for (const { revocations } of [here, there, later]) revocations.stop()
})

t.test('they end, and go from the log with the next', async (t) => {
  const log = await openLog(t)
  const { revocations } = await begin(log)
  await revocations.revoke({ jti: 'short' }, clock.now() + 1000)
  t.ok(revocations.has(person('ann', 'short')))
  clock.advance(1000)
  t.notOk(revocations.has(person('ann', 'short')))
  t.same(revocations.list(10), [])
  await revocations.revoke({ jti: 'next' })
  t.same(Object.keys((await log.state('uproar:revocations')).guarded), ['j:next'])
  t.equal(revocations.size, 1)
  revocations.stop()
})

t.test('there is a most, and it is said', async (t) => {
  const log = await openLog(t)
  const guarded = Object.fromEntries(Array.from({ length: REVOCATIONS_MAX }, (_, at) => [`j:${at}`, [clock.now() + 1000, 0]]))
  await log.publish('uproar:revocations', { op: 39, tail: { fields: 1, bytes: Uint8Array.of(0x80) }, author: 'uproar', nonce: null, patch: { guarded } })
  const { revocations } = await begin(log)
  t.equal(revocations.size, REVOCATIONS_MAX)
  t.match(await revocations.revoke({ jti: 'more' }), { name: 'overloaded', message: /10000 revocations/ })
  t.notOk(await revocations.revoke({ jti: '7' }, clock.now() + 9000) instanceof Refusal, 'one that is there may be set anew')
  clock.advance(1000)
  t.notOk(await revocations.revoke({ jti: 'more' }) instanceof Refusal, 'when they have ended there is room')
  revocations.stop()
})

t.test('a log that lost them is told again', async (t) => {
  const log = await openLog(t)
  const { revocations } = await begin(log)
  await revocations.revoke({ jti: 'a' })
  await log.remove('uproar:revocations')
  for (const end = performance.now() + 5000; performance.now() < end && !Object.hasOwn((await log.state('uproar:revocations')).guarded, 'j:a');) await new Promise((resolve) => setImmediate(resolve))
  t.ok(Object.hasOwn((await log.state('uproar:revocations')).guarded, 'j:a'))
  t.ok(revocations.has(person('ann', 'a')), 'and it was in force all the time')
  await revocations.revoke({ jti: 'b' })
  t.ok(revocations.has(person('ann', 'b')), 'what comes then is heard')
  t.same(faults, [])
  revocations.stop()
})
