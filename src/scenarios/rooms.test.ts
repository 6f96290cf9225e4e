// Stories of rooms, through socket and REST together: what is said, who may come in, what is set, resumed, paged and deleted.

import t from 'tap'
import { IN, OUT } from '../../proto/ops.ts'
import { API_KEY, eventually, freePort, Program, tokenOf, type Answer } from './harness.ts'
import { Viewer } from './viewer.ts'

const LOOSE = { MESSAGES_PER_SECOND_MAX: '0', MESSAGES_BURST_MAX: '0', REQUESTS_PER_MINUTE_MAX: '0', FRAMES_PER_SECOND_MAX: '0' }

t.test('one program, many rooms', async (t) => {
  const program = await Program.start(t, LOOSE)
  const put = async (room: string, settings: Record<string, unknown>, token = API_KEY): Promise<Answer> => program.request('PUT', `/v1/rooms/${room}`, { token, json: { settings } })

  await t.test('several rooms on one connection', async (t) => {
    const viewer = await Viewer.connect(t, program.ws, tokenOf('ann'))
    t.match(await viewer.join('one'), [OUT.JOINED, Number, 'one', String, 0, {}, false])
    await viewer.join('two')
    t.match(await viewer.say('two', 'in two'), [OUT.OK, Number, [1, Number]])
    t.match(await viewer.say('one', 'in one'), [OUT.OK, Number, [1, Number]], 'each room counts for itself')
    await viewer.until('both', () => viewer.entries().length === 2 || null)
    const named = viewer.frames.flatMap((frame, at) => frame[0] === OUT.MESSAGE ? [[viewer.frames.slice(0, at).findLast((each) => each[0] === OUT.ROOM)?.[1], frame[5]]] : [])
    t.same(new Map(named as [string, string][]), new Map([['two', 'in two'], ['one', 'in one']]), 'ROOM names the room of what follows')
    t.match(await viewer.ask(IN.LEAVE, 'one'), [OUT.OK])
    t.match(await viewer.say('one', 'gone'), [OUT.ERR, Number, 13, 'not_joined'])
    t.match(await viewer.ask(IN.LEAVE, 'one'), [OUT.ERR, Number, 13, 'not_joined'])
    for (const room of ['', 'no spaces', 'x'.repeat(65), 'ünlaut']) t.match(await viewer.join(room), [OUT.ERR, Number, 1, 'bad_request'], `no room is called ${JSON.stringify(room.slice(0, 10))}`)
    for (let at = 3; at <= 17; at++) await viewer.join(`room-${at}`)
    t.match(await viewer.join('one-more'), [OUT.ERR, Number, 11, 'forbidden'], 'sixteen at most')
    t.match(await viewer.join('two', { history: 201 }), [OUT.ERR, Number, 1, 'bad_request'])
    t.match(await viewer.join('two', { view: 'sideways' }), [OUT.ERR, Number, 1, 'bad_request'])
  })

  await t.test('what is said: order, text, kinds, ext', async (t) => {
    const [author, reader] = [await Viewer.connect(t, program.ws, tokenOf('ann', { name: 'Ann' })), await Viewer.connect(t, program.ws)]
    await author.join('talk')
    await reader.join('talk')
    const said = ['first', '  trimmed  ', 'bell\u0007 and bidi\u202e', 'e\u0301 zalgo z\u0301\u0302\u0303\u0304\u0305\u0306\u0307', '👩‍👩‍👧 and 你好', 'x'.repeat(500), '👊'.repeat(500)]
    for (const text of said) t.equal((await author.say('talk', text))[0], OUT.OK, `${text.slice(0, 20)} is taken`)
    t.match(await author.say('talk', 'x'.repeat(501)), [OUT.ERR, Number, 25, 'too_long'])
    for (const body of ['', '   ', '\u0000\u0007']) t.match(await author.say('talk', body), [OUT.ERR, Number, 1, 'bad_request'], 'nothing to say')
    t.match(await author.say('talk', 'x', { kind: 2 }), [OUT.ERR, Number, 11, 'forbidden'], 'announcements need a role')
    t.match(await author.say('talk', 'x', { kind: 77 }), [OUT.ERR, Number, 2, 'unsupported'])
    t.match(await author.say('talk', 'a reply', { ext: { re: 1, at: ['bob'], meta: { colour: 'red', deep: [1, { a: null }] } } }), [OUT.OK])
    t.match(await author.say('talk', 'to nobody', { ext: { re: 10_000 } }), [OUT.ERR, Number, 1, 'bad_request'], 'a reply to what is not there')
    t.match(await author.say('talk', 'x', { ext: { meta: { big: 'y'.repeat(1025) } } }), [OUT.ERR, Number, 25, 'too_long'])
    t.match(await author.say('talk', 'Kappa', { kind: 1 }), [OUT.OK], 'an emote')
    t.match(await author.ask(IN.SEND, 'talk', 'opaque', 5, new Uint8Array([1, 2, 255]), null), [OUT.OK], 'opaque bytes')
    await reader.until('all of it', () => reader.entries().length === said.length + 3 || null)
    t.same(reader.seqs(), reader.seqs().map((_, at) => at + 1), 'in order, from 1 on')
    t.match(reader.entries()[0], [OUT.MESSAGE, 1, Number, ['ann', 'Ann', 0], 0, 'first'])
    t.equal(reader.texts()[1], 'trimmed')
    t.notMatch(reader.texts()[2], /[\u0007]/, 'control characters are stripped')
    t.match(reader.entries().at(-3)?.[6], { re: 1, at: ['bob'], meta: { colour: 'red', deep: [1, { a: null }] } })
    t.same(reader.entries().at(-1)?.[5], Buffer.from([1, 2, 255]))
    t.same(author.seqs(), reader.seqs(), 'the author sees the same')
  })

  await t.test('a nonce counts once', async (t) => {
    const author = await Viewer.connect(t, program.ws, tokenOf('ann'))
    await author.join('once')
    const first = await author.say('once', 'said', { nonce: 'n1' })
    t.same((await author.say('once', 'said', { nonce: 'n1' }))[2], first[2], 'the first result again')
    t.same((await author.say('once', 'something else', { nonce: 'n1' }))[2], first[2], 'whatever it says now')
    const rest = await program.request('POST', '/v1/rooms/once/messages', { token: tokenOf('ann'), json: { nonce: 'n1', kind: 0, body: 'said' } })
    t.match(rest.json, { seq: (first[2] as number[])[0], ts: (first[2] as number[])[1] }, 'over REST too')
    const other = await Viewer.connect(t, program.ws, tokenOf('bob'))
    await other.join('once')
    t.match(await other.say('once', 'said', { nonce: 'n1' }), [OUT.OK, Number, [2, Number]], 'for each author')
    const both = await Promise.all([author.say('once', 'twice', { nonce: 'n2' }), author.say('once', 'twice', { nonce: 'n2' })])
    t.same(both[0][2], both[1][2], 'also when both are under way')
    for (const nonce of ['', 'x'.repeat(65)]) t.match(await author.say('once', 'x', { nonce }), [OUT.ERR, Number, 1, 'bad_request'])
    await author.roundTrip()
    t.equal((await program.request('GET', '/v1/rooms/once')).json.seq, 3)
  })

  await t.test('settings: slow mode, lock, blocked terms; who may set them', async (t) => {
    const [ann, mod] = [await Viewer.connect(t, program.ws, tokenOf('ann')), await Viewer.connect(t, program.ws, tokenOf('mod', { rooms: { set: ['moderator'] } }))]
    await ann.join('set')
    await mod.join('set')
    t.match(await put('set', { title: 'mine' }, tokenOf('ann')), { status: 403, json: { error: { code: 11, name: 'forbidden' } } })
    t.match(await put('set', { title: 'On air', slowModeSeconds: 30 }, tokenOf('host', { rooms: { set: ['broadcaster'] } })), { status: 200, json: { settings: { title: 'On air', slowModeSeconds: 30 } } }, 'a broadcaster of that room may')
    t.match(await ann.next(OUT.STATE), [OUT.STATE, 1, Number, { title: 'On air', slowModeSeconds: 30 }], 'viewers are told by an entry')
    t.match(await ann.say('set', 'once', { nonce: 's1' }), [OUT.OK])
    const refused = await ann.say('set', 'again')
    t.match(refused, [OUT.ERR, Number, 22, 'slow_mode', String, Number])
    t.ok((refused[5] as number) > 20_000 && (refused[5] as number) <= 30_000, 'with the time to wait')
    t.match(await ann.say('set', 'once', { nonce: 's1' }), [OUT.OK, Number, [2, Number]], 'a retry of what was accepted is answered with the first result')
    t.match(await mod.say('set', 'staff 1'), [OUT.OK])
    t.match(await mod.say('set', 'staff 2'), [OUT.OK], 'staff are exempt')

    await put('set', { slowModeSeconds: 0, locked: true })
    t.match(await ann.say('set', 'locked?'), [OUT.ERR, Number, 30, 'room_locked'])
    t.match(await mod.say('set', 'staff 3'), [OUT.OK])
    t.match(await program.request('POST', '/v1/rooms/set/messages', { token: tokenOf('ann'), json: { nonce: 'l', kind: 0, body: 'x' } }), { status: 423 })

    t.match(await put('set', { locked: null, blockedTerms: ['forbidden fruit'] }), { status: 200 })
    for (const text of ['a forbidden fruit', 'FORBIDDEN   Fruit', 'fórbidden fruit']) t.match(await ann.say('set', text), [OUT.ERR, Number, 26, 'blocked'], text)
    t.match(await ann.say('set', 'a fruit'), [OUT.OK])
    const shown = JSON.stringify([ann.frames, (await program.request('GET', '/v1/rooms/set')).json, (await program.request('GET', '/v1/rooms/set/messages')).json])
    t.notMatch(shown, /forbidden fruit/i, 'the terms are never shown')
    for (const settings of [{ slowModeSeconds: -1 }, { slowModeSeconds: 3601 }, { title: 'x'.repeat(121) }, { locked: 'yes' }, { nonsense: 1 }, { blockedTerms: ['x'.repeat(65)] }]) {
      t.match(await put('set', settings), { status: 400, json: { error: { name: 'bad_request' } } }, JSON.stringify(settings).slice(0, 60))
    }
  })

  await t.test('private rooms', async (t) => {
    await put('green', { private: true })
    const stranger = await Viewer.connect(t, program.ws, tokenOf('ann'))
    t.match(await stranger.join('green'), [OUT.ERR, Number, 11, 'forbidden'])
    t.match(await stranger.ask(IN.HISTORY, 'green', null, 10), [OUT.ERR, Number, 11, 'forbidden'])
    const anonymous = await Viewer.connect(t, program.ws)
    t.match(await anonymous.join('green'), [OUT.ERR, Number, 10, 'unauthorized'])
    t.match(await anonymous.ask(IN.HISTORY, 'green', null, 10), [OUT.ERR, Number, 10, 'unauthorized'])
    const guest = await Viewer.connect(t, program.ws, tokenOf('guest', { rooms: { green: [] } }))
    t.match(await guest.join('green'), [OUT.JOINED, Number, 'green', String, Number, { private: true }])
    t.match(await guest.say('green', 'among us'), [OUT.OK])
    for (const path of ['', '/messages', '/viewers', '/events']) {
      t.match(await program.request('GET', `/v1/rooms/green${path}`, { token: tokenOf('ann') }), { status: 403 }, `GET ${path} is refused to strangers`)
      t.match(await program.request('GET', `/v1/rooms/green${path}`), { status: 401 }, 'and to the anonymous')
    }
    t.match(await program.request('POST', '/v1/rooms/green/messages', { token: tokenOf('ann'), json: { nonce: 'x', kind: 0, body: 'x' } }), { status: 403 })
    t.notMatch((await program.request('GET', '/v1/rooms?prefix=green')).text, /green/, 'nor is it listed')
    const inside = await Viewer.connect(t, program.ws, tokenOf('ann'))
    await inside.join('turning')
    await put('turning', { private: true })
    t.match(await inside.next(OUT.ERR), [OUT.ERR, null, 11, 'forbidden'], 'who is inside when a room turns private is told and let go')
    const key = await Viewer.connect(t, program.ws, tokenOf('guest', { rooms: { turning: [] } }))
    await key.join('turning')
    await key.say('turning', 'behind doors')
    await inside.roundTrip()
    t.notOk(inside.texts().includes('behind doors'), 'and hears nothing more')
  })

  await t.test('history: on join, by pages, over REST', async (t) => {
    const author = await Viewer.connect(t, program.ws, tokenOf('ann'))
    await author.join('pages')
    for (let at = 1; at <= 130; at++) await author.say('pages', `line ${at}`)
    for (const [history, count] of [[0, 0], [10, 10], [200, 130], [undefined, 50]] as const) {
      const viewer = await Viewer.connect(t, program.ws)
      const joined = await viewer.join('pages', history === undefined ? null : { history })
      t.match(joined, [OUT.JOINED, Number, 'pages', String, 130, {}, false])
      await viewer.until('history', () => viewer.entries().length === count || null)
      t.same(viewer.seqs(), Array.from({ length: count }, (_, at) => 131 - count + at), `history ${history ?? 'by default'}: the newest ${count}, oldest first`)
    }
    const viewer = await Viewer.connect(t, program.ws)
    const seen: number[] = []
    let before: number | null = null
    for (let more = true; more;) {
      const page = await viewer.ask(IN.HISTORY, 'pages', before, 40)
      t.match(page, [OUT.PAGE, Number, 'pages', Array, Boolean])
      const seqs = (page[3] as [number, number][]).map((entry) => entry[1])
      seen.unshift(...seqs)
      before = seqs[0] ?? 1
      more = page[4] as boolean
    }
    t.same(seen, Array.from({ length: 130 }, (_, at) => at + 1), 'pages join to the whole')
    const rest = await program.request('GET', '/v1/rooms/pages/messages?after=100&limit=20')
    t.match(rest.json, { head: 130, more: true, epoch: String })
    t.same(rest.json.entries.map((entry: { seq: number }) => entry.seq), Array.from({ length: 20 }, (_, at) => 101 + at), 'REST pages forward too')
    t.match(rest.json.entries[0], { op: 'message', seq: 101, ts: Number, user: { id: 'ann', name: 'ann', roles: 0 }, kind: 0, body: 'line 101', ext: null })
    t.match(await viewer.ask(IN.HISTORY, 'pages', 1, 40), [OUT.PAGE, Number, 'pages', [], false], 'before the first there is nothing')
  })

  await t.test('long pages do not count as reading slowly', async (t) => {
    const author = await Viewer.connect(t, program.ws, tokenOf('ann'))
    await author.join('long')
    for (let at = 0; at < 200; at++) await author.say('long', `${at} ${'👊'.repeat(490)}`)
    const viewer = await Viewer.connect(t, program.ws)
    await viewer.join('long', { history: 200 })
    viewer.send(...Array.from({ length: 8 }, (_, at): [number, ...unknown[]] => [IN.HISTORY, at, 'long', null, 200]), [IN.PING, 'still here', null])
    await viewer.until('eight pages and a PONG', () => viewer.frames.filter((frame) => frame[0] === OUT.PAGE).length === 8 && viewer.frames.some((frame) => frame[0] === OUT.PONG) ? true : null)
    t.same(viewer.seqs(), Array.from({ length: 200 }, (_, at) => at + 1), 'eight pages of 400 KB, asked for at once, and a viewer who reads them stays')
  })

  await t.test('resuming by position', async (t) => {
    const author = await Viewer.connect(t, program.ws, tokenOf('ann'))
    const joined = await author.join('resume')
    const epoch = joined[3] as string
    for (let at = 1; at <= 60; at++) await author.say('resume', `line ${at}`)
    const resumed = await Viewer.connect(t, program.ws)
    t.match(await resumed.join('resume', { position: [epoch, 20] }), [OUT.JOINED, Number, 'resume', epoch, 60, {}, true], 'recovered')
    await resumed.until('what was missed', () => resumed.entries().length === 40 || null)
    t.same(resumed.seqs(), Array.from({ length: 40 }, (_, at) => 21 + at), 'every missed entry follows')
    const current = await Viewer.connect(t, program.ws)
    t.match(await current.join('resume', { position: [epoch, 60] }), [OUT.JOINED, Number, 'resume', epoch, 60, {}, true])
    for (const position of [['elsewhere', 20], [epoch, 61], [epoch, 2 ** 53 - 1]]) {
      const lost = await Viewer.connect(t, program.ws)
      t.match(await lost.join('resume', { position, history: 5 }), [OUT.JOINED, Number, 'resume', epoch, 60, {}, false], `${String(position)} is not recovered`)
      await lost.until('history', () => lost.entries().length === 5 || null)
      t.same(lost.seqs(), [56, 57, 58, 59, 60], 'and the newest history follows')
    }
    for (const position of ['x', [epoch], [epoch, -1], ['', 1], [1, 1], { epoch, seq: 1 }]) {
      t.match(await current.join('resume', { position }), [OUT.ERR, Number, 1, 'bad_request'], JSON.stringify(position))
    }
    t.match(await author.say('resume', 'more'), [OUT.OK])
    await resumed.until('live again', () => resumed.seqs().at(-1) === 61 || null)
  })

  await t.test('viewers are counted', async (t) => {
    const first = await Viewer.connect(t, program.ws)
    await first.join('count')
    const others = await Promise.all(Array.from({ length: 4 }, () => Viewer.connect(t, program.ws)))
    await Promise.all(others.map((viewer) => viewer.join('count')))
    t.match((await program.request('GET', '/v1/rooms/count/viewers')).json, { viewers: 5 })
    await first.until('the count', () => first.frames.findLast((frame) => frame[0] === OUT.VIEWERS)?.[1] === 5 || null)
    for (const viewer of others.slice(0, 3)) viewer.socket.destroy()
    await first.until('the count', () => first.frames.findLast((frame) => frame[0] === OUT.VIEWERS)?.[1] === 2 || null)
    t.pass('and recounted when they go')
  })

  await t.test('deleting a room', async (t) => {
    const viewer = await Viewer.connect(t, program.ws, tokenOf('ann'))
    const before = await viewer.join('gone')
    await viewer.say('gone', 'to be forgotten', { nonce: 'g' })
    t.match(await program.request('DELETE', '/v1/rooms/gone', { token: tokenOf('ann') }), { status: 403 })
    t.match(await program.request('DELETE', '/v1/rooms/gone', { token: tokenOf('root', { roles: ['admin'] }) }), { status: 204 })
    t.match(await viewer.next(OUT.ERR), [OUT.ERR, null, 12, 'not_found'], 'viewers are told')
    t.match(await program.request('GET', '/v1/rooms/gone'), { status: 404, json: { error: { code: 12, name: 'not_found', message: String } } })
    t.match(await program.request('DELETE', '/v1/rooms/gone', { token: API_KEY }), { status: 404 })
    const after = await viewer.join('gone', { position: [before[3], 1] })
    t.match(after, [OUT.JOINED, Number, 'gone', String, 0, {}, false], 'a later room of that name begins anew')
    t.not(after[3], before[3], 'in another epoch')
    t.match(await viewer.say('gone', 'new', { nonce: 'g' }), [OUT.OK, Number, [1, Number]], 'and has forgotten the nonces')
  })

  await t.test('server keys act for users; rooms are listed; connections are seen by admins', async (t) => {
    const said = await program.request('POST', '/v1/rooms/backend/messages', { token: API_KEY, json: { nonce: 'b1', kind: 2, body: 'from the backend', as: { id: 'bot', name: 'Bot', roles: ['bot', 'admin'] } } })
    t.match(said, { status: 201, json: { seq: 1, ts: Number, epoch: String } })
    const viewer = await Viewer.connect(t, program.ws, tokenOf('ann'))
    await viewer.join('backend')
    t.match(await viewer.next(OUT.MESSAGE), [OUT.MESSAGE, 1, Number, ['bot', 'Bot', 48], 2, 'from the backend'])
    const list = await program.request('GET', '/v1/rooms?prefix=back')
    t.match(list.json, { rooms: [{ room: 'backend', kind: 'stream', seq: 1, viewers: 1 }], more: false })
    t.match(await program.request('GET', '/v1/connections', { token: tokenOf('ann') }), { status: 403 })
    const connections = await program.request('GET', '/v1/connections?user=ann', { token: API_KEY })
    t.equal(connections.status, 200)
    t.match(JSON.stringify(connections.json), /"backend"/)
    for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json']) t.equal((await program.request('GET', path)).status, 200, path)
  })
  t.same(program.faults, [], 'the program logged no fault')
})

t.test('rooms that are not made on demand', async (t) => {
  const program = await Program.start(t, { ...LOOSE, ROOMS_ON_DEMAND: 'false', WS_PORT: await freePort() })
  const viewer = await Viewer.connect(t, program.ws, tokenOf('ann'))
  t.match(await viewer.join('nowhere'), [OUT.ERR, Number, 12, 'not_found'])
  t.match(await program.request('PUT', '/v1/rooms/stage', { token: API_KEY, json: { kind: 'stream', settings: { title: 'Stage' } } }), { status: 201, json: { room: 'stage', kind: 'stream', settings: { title: 'Stage' } } })
  const joined = await viewer.join('stage')
  t.match(joined, [OUT.JOINED, Number, 'stage', String, 1, { title: 'Stage' }])
  t.match(await viewer.say('stage', 'kept'), [OUT.OK])
  await program.restart()
  const again = await eventually('the program', () => Viewer.connect(t, program.ws, tokenOf('ann')).catch(() => null))
  t.match(await again.join('stage', { position: [joined[3], 1] }), [OUT.JOINED, Number, 'stage', joined[3], 2, { title: 'Stage' }, true], 'room, settings, epoch and entries outlive the program')
  t.match(await again.next(OUT.MESSAGE), [OUT.MESSAGE, 2, Number, ['ann', 'ann', 0], 0, 'kept'])
})
