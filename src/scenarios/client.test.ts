// The thin client, as built for strangers, against the real program: chat both ways, cuts on the way, the fallback, tokens.

import { createServer, connect as dial, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { chromiumPath } from '../../deploy/services/services.ts'
import { buildWeb } from '../web/build.ts'
import { connect, UproarError, type ChatRoom, type ClientOptions, type ConnectionState, type MessageEntry, type UproarClient } from '../web/client.ts'
import { eventually, freePort, OPEN_LIMITS, Program, tokenOf } from './harness.ts'

const QUICK = { backoffMs: 20, backoffMaxMs: 200, gapMs: 50 }

/** A wire that can be cut: TCP to the program's socket port, with what passes counted. */
class Wire {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #target: number
  /** While false, what the program sends is swallowed. */
  #letsBack = true

  constructor (target: number) {
    this.#target = target
    this.#server = createServer((near) => this.#join(near, dial(this.#target, '127.0.0.1')))
  }

  async start (): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/ws`
  }

  /** Ends all connections, at once and without a word. */
  cut (): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
    this.#letsBack = true
  }

  /** From now on nothing comes back, until the next cut. */
  deafen (): void {
    this.#letsBack = false
  }

  stop (): void {
    this.cut()
    this.#server.close()
  }

  #join (near: Socket, far: Socket): void {
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      this.#sockets.add(socket)
      socket.on('data', (bytes) => { if (socket === near || this.#letsBack) other.write(bytes) })
      // A reset is what this wire is for; the close that follows tears down the other side.
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
  }
}

interface Viewer { client: UproarClient, room: ChatRoom, bodies: string[], seqs: number[], states: ConnectionState[], recovered: boolean[] }

function view (t: Test, room: string, options: ClientOptions): Viewer {
  const client = connect({ ...options, timing: { ...QUICK, ...options.timing } })
  t.teardown(() => client.close())
  const viewer: Viewer = { client, room: client.join(room), bodies: [], seqs: [], states: [], recovered: [] }
  client.on('connection', (state) => viewer.states.push(state))
  viewer.room.on('joined', ({ recovered }) => viewer.recovered.push(recovered))
  viewer.room.on('message', ({ seq, body }: MessageEntry) => {
    viewer.seqs.push(seq)
    viewer.bodies.push(String(body))
  })
  return viewer
}

const until = async (what: string, isSo: () => boolean): Promise<void> => {
  await eventually(what, () => isSo() ? true : null)
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_none, at) => at + 1)

t.test('the thin client and the real program', async (t) => {
  const program = await Program.start(t, { ...OPEN_LIMITS, WS_PORT: await freePort() })
  const port = Number(new URL(program.ws).port)

  await t.test('two people talk, a third only reads', async (t) => {
    const ann = view(t, 'talk', { url: program.ws, token: tokenOf('ann', { name: 'Ann', roles: ['moderator'] }) })
    const bo = view(t, 'talk', { url: program.ws, token: () => tokenOf('bo') })
    const guest = view(t, 'talk', { url: program.ws })
    t.match(await ann.room.ready(), { seq: 0, recovered: false, reset: true })
    t.match(ann.client.state, { state: 'open', user: { id: 'ann', name: 'Ann' } })
    await Promise.all([bo.room.ready(), guest.room.ready()])
    t.match(guest.client.state, { state: 'open', user: null })
    const first = await ann.room.send('hello', { nonce: 'n-1' })
    t.same(await ann.room.send('hello', { nonce: 'n-1' }), first, 'the same nonce, the same answer')
    await bo.room.send('hi Ann', { ext: { re: first.seq, at: ['ann'] } })
    await until('both messages everywhere', () => [ann, bo, guest].every(({ bodies }) => bodies.length === 2))
    for (const { bodies, seqs } of [ann, bo, guest]) t.same([bodies, seqs], [['hello', 'hi Ann'], [1, 2]])
    const refusal = await guest.room.send('me too').catch((error: unknown) => error)
    t.ok(refusal instanceof UproarError && ['unauthorized', 'forbidden'].includes(refusal.name), String(refusal))
    t.match(await bo.room.send('x'.repeat(2000)).catch((error: unknown) => error), { name: 'too_long' })
    const page = await guest.room.history({ before: 2 })
    t.match(page, { entries: [{ op: 'message', seq: 1, user: { id: 'ann' }, body: 'hello' }], more: false })
    await until('a viewer count', () => guest.room.viewers !== null)
  })

  await t.test('cut again and again, nothing is missing and nothing twice', async (t) => {
    const wire = new Wire(port)
    const url = await wire.start()
    t.teardown(() => wire.stop())
    const cut = view(t, 'cuts', { url, token: tokenOf('cat'), timing: { openMs: 2000 } })
    const other = view(t, 'cuts', { url: program.ws, token: tokenOf('dan') })
    await Promise.all([cut.room.ready(), other.room.ready()])
    const sends: Promise<{ seq: number }>[] = []
    for (const round of numbers(6)) {
      // Together fewer than may wait for their answer: where the machine is slow all of them do.
      for (const at of numbers(16)) sends.push(cut.room.send(`cat ${round} ${at}`), other.room.send(`dan ${round} ${at}`))
      // In every second round the answers are lost: those messages stand already when they are sent again.
      if (round % 2 === 0) wire.deafen()
      await Promise.all(numbers(5).map((at) => other.room.send(`while it is cut ${round} ${at}`)))
      const joins = cut.recovered.length
      wire.cut()
      await until('a rejoin', () => cut.recovered.length > joins)
    }
    const answers = await Promise.all(sends)
    t.equal(new Set(answers.map(({ seq }) => seq)).size, answers.length, 'every message has its own place')
    const total = 6 * (2 * 16 + 5)
    await until('all of it', () => cut.seqs.length >= total && other.seqs.length >= total)
    t.same(cut.seqs, numbers(total), 'in order, once, for the one who was cut')
    t.same(other.seqs, numbers(total), 'and published once')
    t.same(cut.recovered, [false, ...numbers(6).map(() => true)])
  })

  await t.test('a wire that goes deaf is noticed', async (t) => {
    const wire = new Wire(port)
    const url = await wire.start()
    t.teardown(() => wire.stop())
    const viewer = view(t, 'deaf', { url, token: tokenOf('eve'), timing: { pingMs: 100, pongMs: 100 } })
    await viewer.room.ready()
    wire.deafen()
    await until('the dead link', () => viewer.states.some((state) => state.state === 'waiting' && state.reason === 'the link is dead'))
    wire.cut()
    await until('a rejoin', () => viewer.recovered.length === 2)
  })

  await t.test('with the socket port closed, streams and POST do', async (t) => {
    const url = `ws://127.0.0.1:${await freePort()}/ws`
    const viewer = view(t, 'streamed', { url, httpUrl: program.http, token: tokenOf('fay', { name: 'Fay' }) })
    const socket = view(t, 'streamed', { url: program.ws, token: tokenOf('gus') })
    await Promise.all([viewer.room.ready(), socket.room.ready()])
    t.equal(viewer.client.state.state, 'fallback')
    await Promise.all(numbers(20).flatMap((at) => [viewer.room.send(`fay ${at}`), socket.room.send(`gus ${at}`)]))
    await until('all of it', () => viewer.seqs.length === 40 && socket.seqs.length === 40)
    t.same([viewer.seqs, viewer.bodies], [numbers(40), socket.bodies])
    t.match((await viewer.room.history({ before: 3 })).entries, [{ seq: 1 }, { seq: 2 }])
    t.match(await viewer.room.send('y'.repeat(2000)).catch((error: unknown) => error), { name: 'too_long' })
    const opaque = new Promise((resolve) => viewer.room.on('message', ({ kind, body }) => { if (kind === 5) resolve(body) }))
    await socket.room.send(new Uint8Array([0, 255, 1]), { kind: 5 })
    t.same(await opaque, new Uint8Array([0, 255, 1]))
  })

  await t.test('from the fallback to the socket and on, without a gap', async (t) => {
    let isBlocked = true
    const Blocked = class extends WebSocket {
      constructor (url: string, protocols?: string | string[]) {
        if (isBlocked) throw new Error('blocked')
        super(url, protocols)
      }
    }
    const viewer = view(t, 'changing', { url: program.ws, httpUrl: program.http, token: tokenOf('hal'), WebSocket: Blocked, timing: { socketRetryMs: 100 } })
    const other = view(t, 'changing', { url: program.ws, token: tokenOf('ida') })
    await Promise.all([viewer.room.ready(), other.room.ready()])
    for (const round of numbers(20)) {
      await Promise.all([viewer.room.send(`hal ${round}`), other.room.send(`ida ${round}`)])
      if (round === 5) isBlocked = false
      if (round === 10) await until('the socket', () => viewer.client.state.state === 'open')
    }
    await until('all of it', () => viewer.seqs.length === 40)
    t.same(viewer.seqs, numbers(40))
    t.same(viewer.recovered, [false, true])
  })

  await t.test('a fresh token keeps the connection; without one it ends and comes back with one', async (t) => {
    let asked = 0
    const fresh = view(t, 'tokens', { url: program.ws, token: () => tokenOf('jan', { ttlS: ++asked === 1 ? 3 : 3600 }) })
    // A socket may read on for half a minute after its token's end; a stream ends with it.
    let ttlS = 2
    const late = view(t, 'tokens', {
      url: program.ws,
      httpUrl: program.http,
      WebSocket: null,
      token: () => {
        if (late.room.isJoined) throw new Error('no token now')
        return tokenOf('kim', { ttlS })
      }
    })
    await Promise.all([fresh.room.ready(), late.room.ready()])
    ttlS = 3600
    await until('the refresh', () => asked === 2)
    await until('the return', () => late.recovered.length === 2)
    t.match(late.states.find(({ state }) => state === 'waiting'), { code: 4401, reason: 'expired' })
    t.same(late.recovered, [false, true])
    t.match(await Promise.all([fresh.room.send('a'), late.room.send('b')]), [{ seq: Number }, { seq: Number }])
    t.equal(fresh.states.filter(({ state }) => state === 'open').length, 1, 'never away')
    const bad = view(t, 'tokens', { url: program.ws, token: 'not.a.token' })
    await until('the end', () => bad.client.state.state === 'closed')
    t.match(bad.client.state, { code: 4501 })
  })

  await t.test('in a browser, as built: by socket, and by streams where the socket is out of reach', async (t) => {
    await buildWeb(join(import.meta.dirname, '../../dist'))
    const browser = await chromium.launch({ executablePath: chromiumPath() as string, args: ['--no-sandbox'], timeout: 60_000 })
    t.teardown(() => browser.close())
    const page = await browser.newPage()
    await page.goto(new URL('/client.js', program.http).href)
    for (const [room, url] of [['browser-socket', program.ws], ['browser-stream', `ws://127.0.0.1:${await freePort()}/ws`]] as const) {
      const other = view(t, room, { url: program.ws, token: tokenOf('ned') })
      await other.room.ready()
      await other.room.send('from outside')
      const seen = await page.evaluate(async ([room, url, token]) => {
        const { connect } = await import(new URL('/client.js', location.href).href) as typeof import('../web/client.ts')
        const client = connect({ url, httpUrl: location.origin, token })
        const handle = client.join(room)
        const bodies: string[] = []
        const both = new Promise<void>((resolve) => handle.on('message', ({ body }) => { if (bodies.push(String(body)) === 2) resolve() }))
        const { seq } = await handle.send('from the browser 👋')
        await both
        const { state } = client.state
        client.close()
        return { seq, bodies, state }
      }, [room, url, tokenOf('oda')] as const)
      t.same(seen, { seq: 2, bodies: ['from outside', 'from the browser 👋'], state: url === program.ws ? 'open' : 'fallback' })
      await until('it is told outside', () => other.seqs.length === 2)
    }
  })

  await t.test('a room that is deleted begins anew', async (t) => {
    const token = tokenOf('root', { roles: ['admin'] })
    const socket = view(t, 'phoenix', { url: program.ws, token })
    const stream = view(t, 'phoenix', { url: program.ws, httpUrl: program.http, token, WebSocket: null })
    await Promise.all([socket.room.ready(), stream.room.ready()])
    await socket.room.send('old')
    await until('the old entry', () => socket.seqs.length === 1 && stream.seqs.length === 1)
    const refused = new Promise((resolve) => socket.room.on('refused', resolve))
    const refusedToo = new Promise((resolve) => stream.room.on('refused', resolve))
    t.equal((await program.request('DELETE', '/v1/rooms/phoenix', { token })).status < 300, true)
    t.match(await refused, { name: 'not_found' }, 'a socket is told that the room is gone')
    t.match(await refusedToo, { name: 'not_found' }, 'and so is a stream')
    const again = socket.client.join('phoenix')
    t.match(await again.ready(), { seq: 0, reset: true })
    t.match(await stream.client.join('phoenix').ready(), { seq: 0, reset: true })
  })

  await t.test('the program goes away and comes back', async (t) => {
    const socket = view(t, 'restart', { url: program.ws, token: tokenOf('lea') })
    const stream = view(t, 'restart', { url: program.ws, httpUrl: program.http, token: tokenOf('max'), WebSocket: null })
    await Promise.all([socket.room.ready(), stream.room.ready()])
    await socket.room.send('before')
    await program.stop()
    const sends = [socket.room.send('while away'), stream.room.send('me too')]
    await program.launch()
    await Promise.all(sends)
    await until('all of it', () => socket.seqs.length === 3 && stream.seqs.length === 3)
    t.same([socket.seqs, stream.seqs], [[1, 2, 3], [1, 2, 3]])
  })
})
