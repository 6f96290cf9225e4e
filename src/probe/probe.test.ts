// The built-in viewer against servers that behave and misbehave: it counts what became of each message, connects anew after
// what goes wrong, and lets go at the end. The server is another library's; time is turned by hand.

import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import t, { type Test } from 'tap'
import { type WebSocket, WebSocketServer } from 'ws'
import { decodeTrusted, encode, type Frame } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { ManualClock } from '../base/clock.ts'
import { Metrics } from '../base/metrics.ts'
import { traceIdOf, type Place } from '../base/traces.ts'
import { issueTicket, Probe, type ProbeOptions } from './probe.ts'

type Say = (socket: WebSocket, frame: Frame) => void

interface Stand { readonly probe: Probe, readonly clock: ManualClock, readonly metrics: Metrics, readonly server: Server, readonly sockets: WebSocketServer, count (outcome: string): number }

/** A server that lets it in and answers each SEND by `onSend`. */
async function stand (t: Test, onSend: Say, traces: ProbeOptions['traces'] = null): Promise<Stand> {
  const ticket = issueTicket()
  const server = createServer((_request, response) => response.writeHead(503).end())
  const sockets = new WebSocketServer({ server, path: '/ws', handleProtocols: (offered) => offered.has(ticket.secret) ? 'uproar.v1' : false })
  sockets.on('connection', (socket) => socket.on('message', (bytes: Buffer) => {
    for (const frame of decodeTrusted(bytes) as Frame[]) {
      if (frame[0] === IN.JOIN) socket.send(encode([OUT.JOINED, frame[1], frame[2], 'e1', 0, {}, false]))
      else if (frame[0] === IN.SEND) onSend(socket, frame)
    }
  }))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const clock = new ManualClock()
  const metrics = new Metrics()
  const probe = new Probe({ ticket, room: 'uproar:probe', everyS: 5, target: () => ({ host: '127.0.0.1', port, isTls: false }), clock, metrics, traces })
  t.teardown(() => {
    probe.stop()
    for (const socket of sockets.clients) socket.terminate()
    server.close()
  })
  probe.start()
  return { probe, clock, metrics, server, sockets, count: (outcome) => metrics.value('uproar_probe_messages_total', outcome) }
}

async function until (what: string, isSo: () => boolean): Promise<void> {
  const end = performance.now() + 10_000
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`waited for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

const message = (frame: Frame, words = frame[5]): Uint8Array => Buffer.concat([encode([OUT.ROOM, 'uproar:probe', 'e1']), encode([OUT.MESSAGE, 1, 1, ['u', 'U', 0], 0, words, null])])

t.test('words that come back are seen, at once and then at every turn', async (t) => {
  const { clock, metrics, count, sockets } = await stand(t, (socket, frame) => {
    // Others' words first, in pieces as a network may deliver them, and a ping that wants its answer.
    socket.ping('there?')
    socket.send(message(frame, 'of another'))
    socket.send(message(frame))
  })
  let pongs = 0
  sockets.on('connection', (socket) => socket.on('pong', () => { pongs++ }))
  await until('the first words', () => count('seen') === 1)
  for (const turn of [2, 3]) {
    clock.advance(5000)
    await until(`turn ${turn}`, () => count('seen') === turn)
  }
  t.match(await metrics.text(), /^uproar_probe_seconds_count 3$/m)
  t.same([count('late'), count('refused'), count('unconnected')], [0, 0, 0])
  t.ok(pongs >= 2, 'it answers pings')
})

t.test('what it measures leads to the message\'s trace, where there are traces', async (t) => {
  const places: Place[] = []
  const { metrics, count } = await stand(t, (socket, frame) => socket.send(message(frame)), { probed: (place) => { places.push(place); return traceIdOf(place) } })
  await until('its words', () => count('seen') === 1)
  const place = { room: 'uproar:probe', epoch: 'e1', seq: 1 }
  t.same(places, [place])
  t.match(await metrics.textWithExemplars(), `uproar_probe_seconds_bucket{le="0.0005"} 1 # {trace_id="${traceIdOf(place)}"} 0 `)
})

t.test('a frame that arrives byte by byte, and a long one, are read', async (t) => {
  const { count } = await stand(t, (socket, frame) => {
    const raw = (socket as unknown as { _socket: Socket })._socket
    const long = Buffer.concat([message(frame, 'x'.repeat(70_000)), message(frame)])
    const head = Buffer.alloc(10)
    head.set([0x82, 127])
    head.writeBigUInt64BE(BigInt(long.length), 2)
    for (const byte of head) raw.write(Buffer.from([byte]))
    raw.write(long)
  })
  await until('the words', () => count('seen') === 1)
  t.equal(count('late'), 0)
})

t.test('words that do not come back are late, and it connects anew', async (t) => {
  let sends = 0
  const { clock, count } = await stand(t, (socket, frame) => { if (++sends > 1) socket.send(message(frame)) })
  await until('the first SEND', () => sends === 1)
  clock.advance(5000)
  await until('the second, on another connection', () => count('seen') === 1)
  t.equal(count('late'), 1)
})

t.test('what is refused, and a server that is away', async (t) => {
  const { clock, count, sockets, server } = await stand(t, (socket, frame) => socket.send(encode([OUT.ERR, frame[1], 3, 'unavailable', 'no log', 1000])))
  await until('the refusal', () => count('refused') === 1)
  for (const socket of sockets.clients) socket.terminate()
  await new Promise<void>((resolve) => server.close(() => resolve()))
  await until('misses', () => {
    clock.advance(5000)
    return count('unconnected') >= 2
  })
  t.ok(count('late') <= 1, 'but for one that was said into the end of the connection')
  t.equal(count('seen'), 0)
})

t.test('a server that sends rubbish costs it its connection, and no more', async (t) => {
  let sends = 0
  const { clock, count } = await stand(t, (socket, frame) => {
    if (++sends === 1) (socket as unknown as { _socket: Socket })._socket.write(Buffer.from([0x82, 127, 0, 0, 255, 255, 255, 255, 255, 255]))
    else socket.send(message(frame))
  })
  await until('the first SEND', () => sends === 1)
  clock.advance(5000)
  await until('the words', () => count('seen') === 1)
  t.equal(count('late'), 1)
})
