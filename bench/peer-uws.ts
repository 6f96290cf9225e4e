// The limit that Uproar is held against: uWebSockets.js with nothing around it. Forwards each message to its room's topic,
// at once, or joined over a window of WINDOW_MS as Uproar joins them: the first at once, the next when the window is over.
// No log, no rooms' state, no answers, no slow viewers' care.

import { App, us_socket_local_port as localPort, type us_listen_socket, type us_socket, type WebSocket } from 'uWebSockets.js'

interface Held { room: string | null }

const windowMs = Number(process.env.WINDOW_MS ?? 0)
/** Above 16 KB the library writes at once, one call per socket. */
const JOINED_BYTES_MAX = 16_000

class Room {
  readonly #topic: string
  #waiting: Uint8Array[] = []
  #bytes = 0
  #flushedAt = -Infinity
  #isTimed = false

  constructor (topic: string) { this.#topic = topic }

  forward (message: ArrayBuffer): void {
    if (windowMs === 0) {
      app.publish(this.#topic, new Uint8Array(message, 2), true)
      return
    }
    if (this.#bytes + message.byteLength > JOINED_BYTES_MAX) this.#publish()
    this.#waiting.push(Buffer.from(new Uint8Array(message, 2)))
    this.#bytes += message.byteLength - 2
    if (this.#isTimed) return
    const wait = this.#flushedAt + windowMs - performance.now()
    if (wait <= 0) return this.#flush()
    this.#isTimed = true
    setTimeout(() => { this.#isTimed = false; this.#flush() }, wait)
  }

  #flush (): void {
    this.#flushedAt = performance.now()
    this.#publish()
  }

  #publish (): void {
    if (this.#waiting.length === 0) return
    app.publish(this.#topic, Buffer.concat(this.#waiting, this.#bytes), true)
    this.#waiting = []
    this.#bytes = 0
  }
}

const rooms = new Map<number, Room>()

function roomOf (number: number): Room {
  let room = rooms.get(number)
  if (room === undefined) rooms.set(number, room = new Room(String(number)))
  return room
}

const app = App()
app.ws<Held>('/ws', {
  maxPayloadLength: 16_384,
  maxBackpressure: 16 * 1024 * 1024,
  idleTimeout: 60,
  sendPingsAutomatically: true,
  upgrade: (res, req, context) => {
    const held: Held = { room: req.getQuery('room') ?? null }
    res.upgrade(held, req.getHeader('sec-websocket-key'), req.getHeader('sec-websocket-protocol'), req.getHeader('sec-websocket-extensions'), context)
  },
  open: (ws: WebSocket<Held>) => {
    const { room } = ws.getUserData()
    if (room !== null) ws.subscribe(room)
  },
  message: (_, message) => roomOf(new DataView(message).getUint16(0)).forward(message)
})
app.listen('127.0.0.1', 0, (socket: us_listen_socket | false) => {
  if (socket === false) throw new Error('cannot listen')
  console.log(JSON.stringify({ msg: 'ready', wsPort: localPort(socket as us_socket) }))
})
