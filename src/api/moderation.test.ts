// Moderation over HTTP: the same refusals as over the socket, what moderators may look at, and that nothing removed or
// hidden comes by REST or by event stream.

import t from 'tap'
import { refused, SERVER_KEY, startBench, type EventReader, type ServerEvent } from './api.suite.ts'

const ROOM = 'den'

/** The events of a stream up to the one that is waited for. */
async function upTo (reader: EventReader, isIt: (event: ServerEvent) => boolean): Promise<ServerEvent[]> {
  const events: ServerEvent[] = []
  for (;;) {
    const event = await reader.next()
    if (event === undefined) throw new Error(`it never came; there was ${JSON.stringify(events)}`)
    events.push(event)
    if (isIt(event)) return events
  }
}

t.test('actions: who may, what is answered, and what comes of it', async (t) => {
  const bench = await startBench(t)
  const ann = await bench.token('ann')
  const bob = await bench.token('bob')
  const mod = await bench.token('mod', [], { [ROOM]: ['moderator'] })
  const act = (action: string, args: unknown, token: string | undefined = mod, more: Record<string, unknown> = {}) =>
    bench.ask('POST', `/v1/rooms/${ROOM}/actions`, { ...token === undefined ? {} : { token }, body: { action, args, ...more } })
  const first = await bench.send(ROOM, ann, 'first')
  await bench.send(ROOM, bob, 'second')
  refused(t, await act('remove', { seq: first }, ann), 'forbidden')
  refused(t, await bench.ask('POST', `/v1/rooms/${ROOM}/actions`, { body: { action: 'clear', args: {} } }), 'unauthorized')
  refused(t, await act('explode', {}), 'unsupported')
  refused(t, await act('ban', {}), 'bad_request')
  refused(t, await act('ban', 'x'), 'bad_request', 'args that are no object')
  refused(t, await act('remove', { seq: 99 }), 'not_found')
  refused(t, await bench.ask('POST', '/v1/rooms/nowhere/actions', { token: SERVER_KEY, body: { action: 'clear' } }), 'not_found')
  refused(t, await act('clear', {}, SERVER_KEY, { as: { id: 'ann' } }), 'forbidden', 'a server key acting for somebody has their rights')
  const stream = await bench.events(`/v1/rooms/${ROOM}/events`)
  const done = await act('remove', { seq: first, reason: 'rude' })
  t.match(done, { status: 200, json: { seq: 3, ts: Number, epoch: String } })
  t.match((await upTo(stream, (event) => event.event === 'remove')).at(-1), { data: { op: 'remove', target: { seq: first }, by: 'mod' } })
  const { json: page } = await bench.ask('GET', `/v1/rooms/${ROOM}/messages`)
  t.same(page.entries.map((entry: { op: string, seq: number }) => [entry.op, entry.seq]), [['message', 2], ['remove', 3]])
  const late = await bench.events(`/v1/rooms/${ROOM}/events`)
  const lateGot = await upTo(late, (event) => event.event === 'remove')
  t.match(lateGot.find((event) => event.event === 'skipped'), { data: { first: 1, last: 1, count: 1, reason: 'removed' } })
  const resumed = await bench.events(`/v1/rooms/${ROOM}/events`, { 'last-event-id': `${page.epoch}-0` })
  const resumedGot = await upTo(resumed, (event) => event.event === 'remove')
  t.match(resumedGot.at(-1), { id: `${page.epoch}-3` })
  t.same([...lateGot, ...resumedGot].filter((event) => event.data.body === 'first'), [])
  t.equal((await act('ban', { user: 'ann', reason: 'enough' })).status, 200)
  refused(t, await bench.ask('POST', `/v1/rooms/${ROOM}/messages`, { token: ann, body: { nonce: 'x1', body: 'hi' } }), 'banned')
  t.match((await bench.ask('GET', `/v1/rooms/${ROOM}/sanctions`, { token: mod })).json, { sanctions: [{ kind: 'ban', whom: 'ann', until: null, by: 'mod', reason: 'enough' }], requests: [] })
  t.notOk(JSON.stringify((await bench.ask('GET', `/v1/rooms/${ROOM}`)).json).includes('ann'), 'viewers see nothing of it')
})

t.test('a hidden author, by REST and by stream', async (t) => {
  const bench = await startBench(t)
  const [ann, bob, mod] = [await bench.token('ann'), await bench.token('bob'), await bench.token('mod', ['moderator'])]
  await bench.send(ROOM, bob, 'before')
  await bench.ask('POST', `/v1/rooms/${ROOM}/actions`, { token: mod, body: { action: 'shadowBan', args: { user: 'ann' } } })
  const watching = await bench.events(`/v1/rooms/${ROOM}/events?token=${bob}`)
  const own = await bench.events(`/v1/rooms/${ROOM}/events?token=${ann}`)
  const hidden = await bench.send(ROOM, ann, 'hidden')
  await bench.send(ROOM, bob, 'after')
  const isAfter = (event: ServerEvent): boolean => event.data?.body === 'after'
  const ownGot = await upTo(own, isAfter)
  const watchingGot = await upTo(watching, isAfter)
  t.match(ownGot.find((event) => event.data?.body === 'hidden'), { event: 'message', data: { seq: hidden, ext: null } })
  t.same(watchingGot.filter((event) => event.data.body === 'hidden'), [])
  t.match(watchingGot.filter((event) => event.event === 'skipped'), [{ data: { first: hidden, last: hidden } }])
  for (const [token, sees] of [[ann, true], [bob, false], [mod, true], [undefined, false]] as const) {
    const { text } = await bench.ask('GET', `/v1/rooms/${ROOM}/messages`, token === undefined ? {} : { token })
    t.equal(text.includes('hidden'), sees)
    t.equal(text.includes('"shadow":true'), token === mod, 'staff see the mark')
  }
})

t.test('held messages and the audit log', async (t) => {
  const bench = await startBench(t)
  const [ann, mod, admin] = [await bench.token('ann'), await bench.token('mod', [], { [ROOM]: ['moderator'] }), await bench.token('root', ['admin'])]
  const host = await bench.token('host', ['broadcaster'])
  t.equal((await bench.ask('PUT', `/v1/rooms/${ROOM}`, { token: host, body: { settings: { preModeration: true } } })).status, 201)
  const held = await bench.ask('POST', `/v1/rooms/${ROOM}/messages`, { token: ann, body: { nonce: 'n1', body: 'may I?' } })
  refused(t, held, 'held')
  t.equal(held.status, 202)
  const { json: list } = await bench.ask('GET', `/v1/rooms/${ROOM}/held`, { token: mod })
  t.match(list, { held: [{ ref: /^h-/, user: { id: 'ann', name: 'ANN', roles: 0 }, kind: 0, body: 'may I?', reason: /waits/, at: Number }] })
  refused(t, await bench.ask('GET', `/v1/rooms/${ROOM}/held`, { token: ann }), 'forbidden')
  refused(t, await bench.ask('GET', `/v1/rooms/${ROOM}/held`), 'unauthorized')
  t.equal((await bench.ask('POST', `/v1/rooms/${ROOM}/actions`, { token: mod, body: { action: 'approve', args: { ref: list.held[0].ref } } })).status, 200)
  t.match(await bench.ask('POST', `/v1/rooms/${ROOM}/messages`, { token: ann, body: { nonce: 'n1', body: 'may I?' } }), { status: 200, json: { seq: 3 } }, 'a repeat is answered with its place')
  const { json: rows } = await bench.ask('GET', `/v1/rooms/${ROOM}/audit`, { token: mod })
  t.match(rows, { rows: [{ action: 'approve', by: 'mod', whom: 'ann', text: 'may I?', source: 'human' }, { action: 'hold', by: null, source: 'rule' }, { action: 'configure', by: 'host', args: { settings: { preModeration: true } } }], next: null })
  refused(t, await bench.ask('GET', `/v1/rooms/${ROOM}/audit`, { token: ann }), 'forbidden')
  refused(t, await bench.ask('GET', '/v1/audit', { token: mod }), 'forbidden')
  t.match(await bench.ask('GET', `/v1/audit?room=${ROOM}&user=ann&limit=1`, { token: admin }), { status: 200, json: { rows: [{ action: 'approve' }], next: Number } })
  refused(t, await bench.ask('GET', '/v1/rooms/uproar:audit/messages', { token: admin }), 'forbidden', 'the audit log is no room')
})

t.test('what moderators know of a user, and the blocked terms', async (t) => {
  const bench = await startBench(t)
  const [ann, bob, mod] = [await bench.token('ann'), await bench.token('bob'), await bench.token('mod', [], { [ROOM]: ['moderator'] })]
  const act = (action: string, args: unknown) => bench.ask('POST', `/v1/rooms/${ROOM}/actions`, { token: mod, body: { action, args } })
  const person = async (user: string) => bench.ask('GET', `/v1/rooms/${ROOM}/users/${user}`, { token: mod })
  await bench.send(ROOM, ann, 'one')
  const gone = await bench.send(ROOM, ann, 'two')
  await bench.send(ROOM, bob, 'not hers')
  t.same((await person('nobody')).json, { messages: [], sanctions: [], notes: [], request: null })
  await act('remove', { seq: gone })
  await act('shadowBan', { user: 'ann', reason: 'hm' })
  const hidden = await bench.send(ROOM, ann, 'three')
  for (let at = 1; at <= 11; at++) t.equal((await act('note', { user: 'ann', text: `note ${at}` })).status, 200)
  const { json } = await person('ann')
  t.match(json, { sanctions: [{ kind: 'shadow', reason: 'hm', by: 'mod' }], request: null })
  t.same(json.messages.map(({ body, isShadow }: { body: string, isShadow: boolean }) => [body, isShadow]), [['three', true], ['one', false]], 'newest first, without what is gone')
  t.match(json.messages[0], { seq: hidden, kind: 0, user: { id: 'ann', name: 'ANN' } })
  t.same(json.notes.map(({ text }: { text: string }) => text), Array.from({ length: 10 }, (_, at) => `note ${at + 2}`), 'the newest ten')
  for (const path of ['users/ann', 'terms']) {
    refused(t, await bench.ask('GET', `/v1/rooms/${ROOM}/${path}`, { token: ann }), 'forbidden')
    refused(t, await bench.ask('GET', `/v1/rooms/${ROOM}/${path}`), 'unauthorized')
  }
  t.notOk(JSON.stringify((await bench.ask('GET', `/v1/rooms/${ROOM}`)).json).includes('note'), 'viewers see nothing of it')

  t.same((await bench.ask('GET', `/v1/rooms/${ROOM}/terms`, { token: mod })).json, { terms: [] })
  for (const term of ['rutabaga', 'turnip*', 'rutabaga']) t.equal((await act('blockTerm', { term })).status, 200)
  t.same((await bench.ask('GET', `/v1/rooms/${ROOM}/terms`, { token: mod })).json, { terms: ['rutabaga', 'turnip*'] }, 'once each')
  const send = (nonce: string) => bench.ask('POST', `/v1/rooms/${ROOM}/messages`, { token: bob, body: { nonce, body: 'a rutabaga' } })
  refused(t, await send('t1'), 'blocked')
  refused(t, await act('blockTerm', { term: 'x'.repeat(65) }), 'bad_request')
  t.equal((await act('unblockTerm', { term: 'rutabaga' })).status, 200)
  refused(t, await act('unblockTerm', { term: 'rutabaga' }), 'not_found')
  t.equal((await send('t2')).status, 201)
  const { json: audit } = await bench.ask('GET', `/v1/rooms/${ROOM}/audit?action=blockTerm`, { token: mod })
  t.same(audit.rows.map(({ action, text }: { action: string, text: string }) => [action, text]), [['blockTerm', 'rutabaga'], ['blockTerm', 'turnip*'], ['blockTerm', 'rutabaga']])
})
