// What viewers feel, measured where it cannot be fooled: a viewer of our own that connects to this server's socket as
// everybody does, talks in a room of its own (PROBE_ROOM, which no list, count or archive has) and waits for its words to
// come back through log, room and socket.
//
//   every PROBE_S: SEND ──▶ … the whole way of a message … ──▶ MESSAGE of the same words ──▶ uproar_probe_seconds
//                  not back by the next turn ──▶ `late`, and it connects anew
//
// One message is under way at a time. Must not know the server's insides: it has an address and a ticket.

import { randomBytes } from 'node:crypto'
import { decodeTrusted, encode, BadFrame, type Frame } from '../../proto/codec.ts'
import { IN, KIND, OUT, PROTOCOL } from '../../proto/ops.ts'
import type { Identity } from '../auth/auth.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Traces } from '../base/traces.ts'
import { Link } from './link.ts'

/** How the server knows its own: offered as a subprotocol, it stands for the identity. */
export interface ProbeTicket {
  readonly secret: string
  readonly identity: Identity
}

export interface ProbeOptions {
  readonly ticket: ProbeTicket
  readonly room: string
  readonly everyS: number
  /** Where the socket is; asked at each connect. */
  readonly target: () => { readonly host: string, readonly port: number, readonly isTls: boolean }
  readonly clock: Clock
  readonly metrics: Pick<Metrics, 'add' | 'observe' | 'exemplify'>
  /** Null or left out: nothing is traced. */
  readonly traces?: Pick<Traces, 'probed'> | null
}

/** A ticket of this process, or of all workers that share `secret`. */
export function issueTicket (secret: string = randomBytes(32).toString('hex')): ProbeTicket {
  // A user of its own for each process: the connections of one user are counted over all of them.
  const id = `uproar:probe:${randomBytes(6).toString('hex')}`
  return { secret, identity: { id, name: 'Uproar', roles: 0, rooms: new Map(), expiresAt: Infinity, tokenId: null, isProbe: true } }
}

export class Probe {
  readonly name = 'probe'
  readonly #options: ProbeOptions
  #link: Link | null = null
  #isJoined = false
  /** Of the room's log, as the frame before its messages says. */
  #epoch = ''
  #timer: Timer | null = null
  #count = 0
  /** The words on their way, and when they were sent, by clock.elapsed(). */
  #underWay: { readonly words: string, readonly at: number } | null = null

  constructor (options: ProbeOptions) { this.#options = options }

  start (): void {
    this.#timer = this.#options.clock.every(this.#options.everyS * 1000, () => this.#turn())
    this.#connect()
  }

  stop (): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#link?.close()
  }

  #turn (): void {
    if (this.#underWay === null && this.#isJoined) return this.#say()
    this.#note(this.#underWay === null ? 'unconnected' : 'late')
    this.#link?.close()
    this.#connect()
  }

  #connect (): void {
    const { target, ticket } = this.#options
    const link: Link = new Link({ ...target(), protocols: `${PROTOCOL}, ${ticket.secret}` }, {
      open: () => { link.send(Buffer.concat([encode([IN.HELLO, 'by ticket', 'uproar-probe']), encode([IN.JOIN, 1, this.#options.room, { history: 0 }])])) },
      message: (bytes) => this.#read(bytes),
      close: () => {
        if (this.#link !== link) return
        this.#link = null
        this.#isJoined = false
      }
    })
    this.#link = link
  }

  #say (): void {
    const words = `${this.#options.ticket.identity.id} ${++this.#count}`
    this.#underWay = { words, at: this.#options.clock.elapsed() }
    if (this.#link?.send(encode([IN.SEND, 2, this.#options.room, String(this.#count), KIND.text, words, null])) !== true) this.#note('unconnected')
  }

  #read (bytes: Uint8Array): void {
    const frames = decodeTrusted(bytes)
    if (!(frames instanceof BadFrame)) for (const frame of frames) this.#take(frame)
  }

  #take (frame: Frame): void {
    const [op] = frame
    const underWay = this.#underWay
    if (op === OUT.JOINED && !this.#isJoined) {
      this.#isJoined = true
      this.#say()
    } else if (op === OUT.MESSAGE && underWay !== null && frame[5] === underWay.words) {
      const { clock, metrics, room, traces } = this.#options
      const seconds = (clock.elapsed() - underWay.at) / 1000
      metrics.observe('uproar_probe_seconds', seconds)
      if (traces != null) metrics.exemplify('uproar_probe_seconds', { trace: traces.probed({ room, epoch: this.#epoch, seq: frame[1] as number }, underWay.at), seconds, at: clock.now() })
      this.#note('seen')
    } else if (op === OUT.ROOM) {
      this.#epoch = frame[2] as string
    } else if (op === OUT.ERR) {
      // Of the JOIN, or the room was let go of: the next turn connects anew.
      if (frame[1] === 2 && underWay !== null) this.#note('refused')
      else this.#isJoined = false
    }
  }

  #note (outcome: 'seen' | 'late' | 'refused' | 'unconnected'): void {
    this.#underWay = null
    this.#options.metrics.add('uproar_probe_messages_total', 1, outcome)
  }
}
