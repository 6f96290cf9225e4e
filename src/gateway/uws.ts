// uWebSockets.js behind our own small faces; the only file that imports it. What it must know of the library's traps:
// - a message's memory is taken back when the handler returns: sessions decode at once and keep copies;
// - touching a closed socket throws: every call checks `isClosed` first;
// - a publish to a socket past maxBackpressure is dropped without a word: rooms/delivery.ts and sessions keep sockets below it;
// - what was published is written when the loop's turn ends, or before a send to that socket, and then by itself, for that
//   ends a cork too: what is to go along with it must be published as well;
// - an invalid idleTimeout aborts the process: config checks its range;
// - it ends a handshake that is not whole after some 10 s, and says neither whose it was nor that a request came of it;
// - listen() shares a port that is taken: the exclusive option makes it fail as one expects. Workers want to share.

import * as library from 'uWebSockets.js'
import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket, us_socket, us_socket_context_t, WebSocket } from 'uWebSockets.js'
import { whyNotListening } from '../base/listening.ts'
import type { Fanout } from '../rooms/rooms.ts'
import type { Session } from './session.ts'
import type { Socket, SocketEvents } from './socket.ts'

export interface ListenerOptions {
  readonly host: string
  readonly port: number
  /** Other processes listen there too, and the kernel deals connections among them. */
  readonly sharesPort: boolean
  readonly tls: { readonly certFile: string, readonly keyFile: string } | null
  readonly compression: boolean
  readonly idleTimeoutS: number
  /** Unsent bytes past which the library drops; every socket is kept below by its room and session. */
  readonly backpressureMax: number
}

/** The topic of one socket at a time, for the length of a call. */
const OWN = 'own'
/** The library drops the connection of a client that sends more than this at once; the session refuses far less. */
const PAYLOAD_MAX = 16_384

const { App, SSLApp, us_listen_socket_close: closeListening, us_socket_local_port: localPort } = library
// The typings call these numbers types.
const { DISABLED, SHARED_COMPRESSOR, LIBUS_LISTEN_EXCLUSIVE_PORT } = library as unknown as Readonly<Record<string, number>>

// The library lays this object's fields on the socket itself, so it has one, which no method bears.
interface Held { uproar: Session | string }

class UwsSocket implements Socket {
  readonly #app: TemplatedApp
  readonly #ws: WebSocket<Held>
  isClosed = false

  constructor (app: TemplatedApp, ws: WebSocket<Held>) {
    this.#app = app
    this.#ws = ws
  }

  send (bytes: Uint8Array): boolean {
    // 1: written, 0: kept until the socket drains, 2: dropped.
    return !this.isClosed && this.#ws.send(bytes, true) !== 2
  }

  buffered (): number {
    return this.isClosed ? 0 : this.#ws.getBufferedAmount()
  }

  sendAlong (bytes: Uint8Array): void {
    if (this.isClosed) return
    // What is published is noted for the topic's sockets at once, so the topic need not outlast the call.
    this.#ws.subscribe(OWN)
    this.#app.publish(OWN, bytes, true)
    this.#ws.unsubscribe(OWN)
  }

  subscribe (topic: string): void {
    if (!this.isClosed) this.#ws.subscribe(topic)
  }

  unsubscribe (topic: string): void {
    if (!this.isClosed) this.#ws.unsubscribe(topic)
  }

  end (code: number, reason: string): void {
    if (!this.isClosed) this.#ws.end(code, reason)
  }

  cut (): void {
    if (!this.isClosed) this.#ws.close()
  }
}

/** The listening side: accepts sockets, tells SocketEvents of them, and publishes to topics. */
export class Listener implements Fanout {
  readonly #options: ListenerOptions
  #app: TemplatedApp | null = null
  #listening: us_listen_socket | null = null
  #port = 0

  constructor (options: ListenerOptions) {
    this.#options = options
  }

  get port (): number { return this.#port }

  publish (topic: string, bytes: Uint8Array): void {
    this.#app?.publish(topic, bytes, true)
  }

  /** Listens; rejects when the address cannot be had. */
  listen (events: SocketEvents): Promise<void> {
    const { tls, host, port, sharesPort } = this.#options
    const app = tls === null ? App() : SSLApp({ cert_file_name: tls.certFile, key_file_name: tls.keyFile })
    this.#app = app
    this.#route(app, events)
    return new Promise((resolve, reject) => {
      const onListen = (socket: us_listen_socket | false): void => {
        // The library does not say why.
        if (socket === false) return void whyNotListening({ host, port, setting: 'WS_PORT' }).then(reject)
        this.#listening = socket
        this.#port = localPort(socket as us_socket)
        resolve()
      }
      // The typings lack this form: host, port, options, callback.
      const listen = app.listen as unknown as (host: string, port: number, options: number, call: typeof onListen) => void
      listen.call(app, host, port, sharesPort ? 0 : LIBUS_LISTEN_EXCLUSIVE_PORT as number, onListen)
    })
  }

  /** Takes no more sockets; those that are open go on. */
  stopListening (): void {
    if (this.#listening !== null) closeListening(this.#listening)
    this.#listening = null
  }

  /** Cuts whatever is still open. */
  close (): void {
    this.stopListening()
    this.#app?.close()
    this.#app = null
  }

  #route (app: TemplatedApp, events: SocketEvents): void {
    app.ws<Held>('/ws', {
      maxPayloadLength: PAYLOAD_MAX,
      maxBackpressure: this.#options.backpressureMax,
      closeOnBackpressureLimit: false,
      idleTimeout: this.#options.idleTimeoutS,
      sendPingsAutomatically: true,
      compression: this.#options.compression ? SHARED_COMPRESSOR as number : DISABLED as number,
      upgrade: (res, req, context) => upgrade(events, res, req, context),
      open: (ws) => {
        const held = ws.getUserData()
        held.uproar = events.open(new UwsSocket(app, ws), held.uproar as string)
      },
      message: (ws, message, isBinary) => events.message(ws.getUserData().uproar as Session, new Uint8Array(message), isBinary),
      ping: (ws) => events.ping(ws.getUserData().uproar as Session),
      drain: (ws) => events.drain(ws.getUserData().uproar as Session),
      close: (ws) => {
        const session = ws.getUserData().uproar as Session
        ;(session.socket as UwsSocket).isClosed = true
        events.close(session)
      }
    })
    app.filter((res, count) => { if (count > 0 && !events.connect(peerOf(res))) res.close() })
    app.any('/*', (res) => {
      events.speak(peerOf(res))
      answer(res, '404 Not Found', '{"error":{"code":12,"name":"not_found","message":"WebSockets are at /ws","retryAfterMs":null}}', null)
    })
  }
}

function upgrade (events: SocketEvents, res: HttpResponse, req: HttpRequest, context: us_socket_context_t): void {
  const peer = peerOf(res)
  events.speak(peer)
  const admission = events.admit({
    origin: req.getHeader('origin'),
    protocols: req.getHeader('sec-websocket-protocol'),
    forwardedFor: req.getHeader('x-forwarded-for'),
    peer
  })
  if (!admission.admitted) return answer(res, admission.status, admission.body, admission.retryAfterS)
  const held: Held = { uproar: admission.address }
  res.upgrade(held, req.getHeader('sec-websocket-key'), admission.protocol, req.getHeader('sec-websocket-extensions'), context)
}

/** Address of the TCP peer: what a PROXY header says, which anybody may send, is not asked for. */
function peerOf (res: HttpResponse): string {
  return Buffer.from(res.getRemoteAddressAsText()).toString()
}

function answer (res: HttpResponse, status: string, body: string, retryAfterS: number | null): void {
  res.writeStatus(status).writeHeader('content-type', 'application/json; charset=utf-8')
  if (retryAfterS !== null) res.writeHeader('retry-after', String(retryAfterS))
  res.end(body, true)
}
