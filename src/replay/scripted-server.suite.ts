// A server that lies on request, so that tests see the replay notice. It keeps one room in memory, answers HELLO, JOIN,
// SEND and PING, and departs from the contract where its script says so. For tests only; holds whatever it is sent.

import { App, us_listen_socket_close, us_socket_local_port, type us_listen_socket, type WebSocket } from 'uWebSockets.js'
import { decode, encode, type Frame } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'

export interface Script {
  /** Answers SEND with this error name, for drafts whose number says so. */
  refuse? (line: number): string | null
  /** Breaks the author's connection after the message was published, before it is told. */
  dropAfter? (line: number, attempt: number): boolean
  /** How the entry of this seq is delivered. */
  deliver? (seq: number): 'once' | 'twice' | 'never' | 'late'
  /** Refuses every HELLO with this sentence. */
  turnAway?: string
  /** Forgets nonces: a repeated draft is published again. */
  isForgetful?: boolean
}

interface Session { user: string | null, joined: boolean, rid: number }
type Peer = WebSocket<{ session: Session }>

const EPOCH = 'e1'
const ROOM = 'stage'

export class ScriptedServer {
  readonly entries: Frame[] = []
  opened = 0
  open = 0
  openMax = 0
  #script: Script
  #peers = new Set<Peer>()
  #nonces = new Map<string, [number, number]>()
  #attempts = new Map<number, number>()
  #late: Frame[] = []
  #listening: us_listen_socket | null = null
  #port = 0

  constructor (script: Script = {}) {
    this.#script = script
  }

  get url (): string { return `ws://127.0.0.1:${this.#port}/ws` }

  async start (): Promise<void> {
    const app = App().ws<{ session: Session }>('/ws', {
      upgrade: (res, req, context) => res.upgrade(
        { session: { user: null, joined: false, rid: 0 } }, req.getHeader('sec-websocket-key'), 'uproar.v1', '', context),
      open: (peer) => {
        this.#peers.add(peer)
        this.opened++
        this.openMax = Math.max(this.openMax, this.#peers.size)
      },
      message: (peer, bytes) => {
        const frames = decode(new Uint8Array(bytes))
        if (Array.isArray(frames)) for (const frame of frames) if (this.#peers.has(peer)) this.#frame(peer, frame)
      },
      close: (peer) => { this.#peers.delete(peer) }
    })
    await new Promise<void>((resolve, reject) => app.listen('127.0.0.1', 0, (socket) => {
      if (socket === false) return reject(new Error('no port'))
      this.#listening = socket
      this.#port = us_socket_local_port(socket)
      resolve()
    }))
  }

  stop (): void {
    if (this.#listening !== null) us_listen_socket_close(this.#listening)
    this.#listening = null
    for (const peer of [...this.#peers]) this.#drop(peer)
  }

  /** Breaks every connection. */
  dropAll (): void {
    for (const peer of [...this.#peers]) this.#drop(peer)
  }

  #drop (peer: Peer): void {
    this.#peers.delete(peer)
    peer.close()
  }

  #frame (peer: Peer, frame: Frame): void {
    const { session } = peer.getUserData()
    const send = (...answers: Frame[]): void => { peer.send(Buffer.concat(answers.map(encode)), true) }
    switch (frame[0]) {
      case IN.HELLO:
        session.user = frame[1] as string
        if (this.#script.turnAway !== undefined) {
          send([OUT.ERR, null, 10, 'unauthorized', this.#script.turnAway, null])
          return void peer.end(4501, 'unauthorized')
        }
        return send([OUT.WELCOME, 's', [session.user, session.user, 0], Date.now(), {}])
      case IN.JOIN: {
        session.joined = true
        const position = (frame[3] as { position?: [string, number] | null }).position ?? null
        send([OUT.JOINED, frame[1], ROOM, EPOCH, this.entries.length, {}, position !== null], ...(position === null ? [] : [room(), ...this.entries.slice(position[1])]))
        return
      }
      case IN.SEND: return this.#sent(peer, session, frame)
      case IN.PING: return send([OUT.PONG, frame[1]])
    }
  }

  #sent (peer: Peer, session: Session, frame: Frame): void {
    const [, rid, , nonce, kind, body, ext] = frame as unknown as [number, number, string, string, number, string, { meta: { line: number } }]
    const { line } = ext.meta
    const attempt = (this.#attempts.get(line) ?? 0) + 1
    this.#attempts.set(line, attempt)
    const refusal = this.#script.refuse?.(line) ?? null
    if (refusal !== null) return void peer.send(encode([OUT.ERR, rid, 23, refusal, 'as scripted', null]), true)
    let result = this.#script.isForgetful === true ? undefined : this.#nonces.get(nonce)
    if (result === undefined) {
      result = [this.entries.length + 1, Date.now()]
      this.#nonces.set(nonce, result)
      const entry: Frame = [OUT.MESSAGE, ...result, [session.user, session.user, 0], kind, body, ext]
      this.entries.push(entry)
      this.#deliver(entry)
    }
    if (this.#script.dropAfter?.(line, attempt) === true) return this.#drop(peer)
    peer.send(encode([OUT.OK, rid, result]), true)
  }

  #deliver (entry: Frame): void {
    const way = this.#script.deliver?.(entry[1] as number) ?? 'once'
    if (way === 'never') return
    if (way === 'late') {
      this.#late.push(entry)
      return
    }
    const batch = [entry, ...(way === 'twice' ? [entry] : []), ...this.#late.splice(0)]
    const bytes = Buffer.concat([room(), ...batch].map(encode))
    for (const peer of this.#peers) if (peer.getUserData().session.joined) peer.send(bytes, true)
  }
}

function room (): Frame { return [OUT.ROOM, ROOM, EPOCH] }
