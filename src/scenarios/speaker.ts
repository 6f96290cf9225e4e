// An author who says many things fast: sends over one connection, keeps a bounded number in flight, and knows what was
// accepted. For crowds and volumes; the stories' texts are made by the caller.

import { decodeTrusted, encode } from '../../proto/codec.ts'
import { IN, OUT } from '../../proto/ops.ts'
import { RawSocket } from '../replay/socket.ts'

const IN_FLIGHT_MAX = 64

export class Speaker {
  accepted = 0
  /** Highest seq that was answered. */
  head = 0
  /** Names of the refusals, in the order they came. */
  readonly refusals: string[] = []
  #socket: RawSocket
  #room: string
  #rid = 1
  #inFlight = 0
  #isReady = false
  #end: string | null = null
  #wakers: (() => void)[] = []

  static async connect (scope: { teardown (end: () => unknown): void }, url: string, room: string, token: string): Promise<Speaker> {
    const speaker = new Speaker(url, room, token)
    scope.teardown(() => speaker.#socket.destroy())
    await speaker.#until(() => speaker.#isReady)
    return speaker
  }

  constructor (url: string, room: string, token: string) {
    this.#room = room
    this.#socket = new RawSocket(url, {
      open: () => { this.#socket.send(Buffer.concat([encode([IN.HELLO, token, 'speaker/1']), encode([IN.JOIN, 0, room, { history: 0, view: 'live' }])])) },
      message: (bytes) => this.#read(bytes),
      close: (code, reason) => { this.#end = `${code} ${reason}`; this.#wake() }
    })
  }

  /** Sends one message, waiting while too many are in flight. */
  async say (text: string): Promise<void> {
    await this.#until(() => this.#inFlight < IN_FLIGHT_MAX)
    this.#inFlight++
    const rid = this.#rid++
    this.#socket.send(encode([IN.SEND, rid, this.#room, `say-${rid}`, 0, text, null]))
  }

  /** Resolves when everything said was answered. */
  async answered (): Promise<void> {
    await this.#until(() => this.#inFlight === 0)
  }

  #read (bytes: Uint8Array): void {
    // Broadcasts are for others to check.
    if (bytes[0] === 0x93 && bytes[1] === OUT.ROOM) return
    const frames = decodeTrusted(bytes)
    if (!Array.isArray(frames)) throw new Error('the server sent what is not of the protocol')
    for (const frame of frames) {
      if (frame[0] === OUT.JOINED) this.#isReady = true
      if (frame[0] === OUT.OK) {
        this.#inFlight--
        this.accepted++
        this.head = Math.max(this.head, (frame[2] as [number, number])[0])
      } else if (frame[0] === OUT.ERR) {
        this.#inFlight--
        this.refusals.push(frame[3] as string)
      }
    }
    this.#wake()
  }

  async #until (holds: () => boolean): Promise<void> {
    const end = performance.now() + 30_000
    while (!holds()) {
      if (this.#end !== null) throw new Error(`the author's connection ended: ${this.#end}`)
      if (performance.now() > end) throw new Error(`the author waited 30 s for answers (${this.#inFlight} in flight)`)
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        this.#wakers.push(resolve)
        timer = setTimeout(resolve, 1000)
      })
      clearTimeout(timer)
    }
  }

  #wake (): void {
    for (const wake of this.#wakers.splice(0)) wake()
  }
}
