// Sends hostile messages over many connections in every state and holds the server to its word: what the codec calls bad
// closes the connection with 4500, anything else leaves it open and answering. Counts what was sent; owns its sockets.

import { BadFrame, decode, decodeTrusted, encode, type Frame } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { isMap } from '../../proto/values.ts'
import { RawSocket } from '../replay/socket.ts'
import { HostileMessages, STATES, type State } from './hostile-messages.ts'
import type { Random } from './random.ts'

export interface HostileRun {
  readonly url: string
  readonly random: Random
  readonly messages: HostileMessages
  readonly tokens: readonly string[]
  readonly room: string
  readonly count: number
  readonly connectionsAtOnce: number
}

export interface HostileTally {
  messages: number
  connections: number
  closedBad: number
  /** Closed as too slow, by their own word: a PING that said they were far behind. */
  closedSlow: number
  answers: number
  /** What the server did that it should not have, with the message in hex; the first twenty. */
  offences: string[]
}

const MESSAGE_BYTES_MAX = 4096
const DROPPED_BYTES = 16_384
const BATCH = 12
const BATCHES_PER_CONNECTION = 16
const PROBE_MS = 250
const HANG_MS = 15_000
const TOO_SLOW = 4408

/** Sends `count` messages; resolves when all were read by the server, or a hang was found. */
export async function sendHostile (run: HostileRun): Promise<HostileTally> {
  const tally: HostileTally = { messages: 0, connections: 0, closedBad: 0, closedSlow: 0, answers: 0, offences: [] }
  const work = async (): Promise<void> => {
    while (tally.messages < run.count && tally.offences.length < 20) {
      const connection = new Connection(run, tally)
      await connection.play(STATES[tally.connections++ % STATES.length] as State)
    }
  }
  await Promise.all(Array.from({ length: run.connectionsAtOnce }, work))
  return tally
}

/** Whether the server must close because of this message. */
function isBad (bytes: Uint8Array): boolean {
  return bytes.length > MESSAGE_BYTES_MAX || decode(bytes) instanceof BadFrame
}

/** Whether a PING in it says how far the sender has read. */
function saysPosition (bytes: Uint8Array): boolean {
  const frames = decode(bytes)
  return !(frames instanceof BadFrame) && frames.some((frame) => frame[0] === IN.PING && isMap(frame[2]))
}

class Connection {
  #run: HostileRun
  #tally: HostileTally
  #socket: RawSocket
  #isOpen = false
  #end: { code: number, reason: string } | null = null
  #probes = 0
  /** The value that the last PING of ours carried, and whether it came back: none that the generator would send. */
  #probed = ''
  #isAnswered = false
  #wake: () => void = () => {}

  constructor (run: HostileRun, tally: HostileTally) {
    this.#run = run
    this.#tally = tally
    this.#socket = new RawSocket(run.url, {
      open: () => { this.#isOpen = true; this.#wake() },
      message: (bytes) => this.#read(bytes),
      close: (code, reason) => { this.#end = { code, reason }; this.#wake() }
    })
  }

  get #endCode (): number { return this.#end?.code ?? 0 }

  async play (state: State): Promise<void> {
    if (!await this.#until(() => this.#isOpen, 'the handshake', null)) return
    const { random, messages, tokens, room } = this.#run
    if (state !== 'fresh') this.#send([IN.HELLO, state === 'anonymous' ? null : random.pick(tokens), 'hostile/1'])
    if (state === 'joined') this.#send([IN.JOIN, 1, room, { history: 0 }])
    for (let batch = 0; batch < BATCHES_PER_CONNECTION && this.#end === null; batch++) {
      const sent = Array.from({ length: state === 'fresh' ? random.between(1, 3) : BATCH }, () => messages.next())
      const badAt = sent.findIndex(isBad)
      for (const bytes of sent) this.#socket.send(bytes)
      // A connection that said nothing yet is asked to say HELLO before it can be asked whether it lives.
      if (state === 'fresh') this.#send([IN.HELLO, null, null])
      const isAlive = await this.#probe(sent)
      this.#tally.messages += this.#endCode === TOO_SLOW ? 1 : badAt < 0 ? sent.length : badAt + 1
      this.#judge(sent, badAt, isAlive, state)
      if (state === 'fresh') break
    }
    this.#socket.reset()
  }

  /** True when the server answers a PING sent after the batch, false when the connection ended. */
  async #probe (sent: readonly Buffer[]): Promise<boolean> {
    const value = `are you there? ${++this.#probes}`
    this.#probed = value
    this.#isAnswered = false
    const timer = setInterval(() => this.#send([IN.PING, value, null]), PROBE_MS)
    this.#send([IN.PING, value, null])
    try {
      return await this.#until(() => this.#isAnswered, 'PONG', sent)
    } finally {
      clearInterval(timer)
    }
  }

  #judge (sent: readonly Buffer[], badAt: number, isAlive: boolean, state: State): void {
    const bad = sent[badAt]
    if (isAlive) {
      if (bad !== undefined) this.#offence('stayed open after a bad message', [bad])
      return
    }
    const { code, reason } = this.#end ?? { code: 0, reason: 'no answer' }
    if (bad !== undefined && (code === 4500 || (code === 1006 && bad.length > DROPPED_BYTES))) {
      this.#tally.closedBad++
      return
    }
    if (code === TOO_SLOW && sent.some(saysPosition)) {
      this.#tally.closedSlow++
      return
    }
    // HELLO with a token that is none, or is over, ends the connection too.
    if (state === 'fresh' && (code === 4501 || code === 4401)) return
    if (code !== 0) this.#offence(`closed with ${code} ${reason} in state ${state}`, bad === undefined ? sent : [bad])
  }

  #offence (what: string, messages: readonly Buffer[]): void {
    if (this.#tally.offences.length < 20) this.#tally.offences.push(`${what}: ${messages.map((bytes) => bytes.toString('hex').slice(0, 300)).join(' | ').slice(0, 1500)}`)
  }

  #send (frame: Frame): void { this.#socket.send(encode(frame)) }

  #read (bytes: Uint8Array): void {
    // Broadcasts of the room are the watcher's to check.
    if (bytes[0] === 0x93 && bytes[1] === OUT.ROOM) return
    const frames = decodeTrusted(bytes)
    if (frames instanceof BadFrame) return this.#offence(`the server sent what is not of the protocol (${frames.reason})`, [Buffer.from(bytes)])
    this.#tally.answers += frames.length
    for (const frame of frames) {
      if (frame[0] === OUT.PONG && frame[1] === this.#probed) this.#isAnswered = true
      if (frame[0] === OUT.ERR && (frame[3] === 'internal' || frame[2] === 50)) this.#offence('internal error', [Buffer.from(bytes)])
    }
    this.#wake()
  }

  /** True when the condition holds, false when the connection ended first; a hang is an offence and ends it. */
  async #until (holds: () => boolean, what: string, sent: readonly Buffer[] | null): Promise<boolean> {
    const timer = setTimeout(() => {
      this.#offence(`no ${what} in ${HANG_MS} ms`, sent ?? [])
      this.#socket.destroy()
    }, HANG_MS)
    while (!holds() && this.#end === null) await new Promise<void>((resolve) => { this.#wake = resolve })
    clearTimeout(timer)
    return holds()
  }
}
