// A load tool's WebSocket client: frames are found in place and handed out as a range of the read buffer, so reading costs
// no allocation per message. Speaks only to servers started by the benches, and believes them. Owns framing and nothing
// else; holds at most one incomplete frame.

import { connect, type Socket } from 'node:net'

/** What the owner of a link is told. The bytes are good during the call only. */
export interface LinkOwner {
  opened (link: Link): void
  message (link: Link, bytes: Buffer, start: number, end: number, opcode: number): void
  /** Once, whoever ended it. */
  closed (link: Link, why: string): void
}

const REQUEST = 'HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
const TEXT = 1
export const BINARY = 2
const CLOSE = 8
const PING = 9
const PONG = 10
// One read buffer for every link of the process: it is emptied within the callback.
const scratch = Buffer.allocUnsafeSlow(512 * 1024)

export class Link {
  readonly #owner: LinkOwner
  readonly #socket: Socket
  #rest: Buffer | null = null
  #isOpen = false
  #why = ''

  constructor (port: number, path: string, owner: LinkOwner, localAddress?: string) {
    this.#owner = owner
    const onread = { buffer: scratch, callback: (size: number) => { this.#read(size); return true } }
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true, onread, ...(localAddress === undefined ? {} : { localAddress }) })
    this.#socket.once('connect', () => this.#socket.write(`GET ${path} ${REQUEST}`))
    this.#socket.on('error', (error) => { this.#why = error.message })
    this.#socket.once('close', () => owner.closed(this, this.#why))
  }

  /** Puts frames made by `clientFrame` on the wire. */
  write (frames: Uint8Array): void { this.#socket.write(frames) }
  /** Bytes that the kernel has not taken yet. */
  get unsentBytes (): number { return this.#socket.writableLength }

  pause (): void { this.#socket.pause() }
  resume (): void { this.#socket.resume() }

  /** Ends with a reset, which leaves no port waiting behind. */
  end (): void { this.#socket.resetAndDestroy() }

  #read (size: number): void {
    let bytes = scratch
    let end = size
    if (this.#rest !== null) {
      bytes = Buffer.concat([this.#rest, scratch.subarray(0, size)])
      end = bytes.length
      this.#rest = null
    }
    const start = this.#isOpen ? 0 : this.#readHead(bytes, end)
    const at = start < 0 ? 0 : this.#readFrames(bytes, start, end)
    if (at < end) this.#rest = Buffer.from(bytes.subarray(at, end))
  }

  /** Where the frames begin, or -1 while the answer to the handshake is incomplete. */
  #readHead (bytes: Buffer, end: number): number {
    const at = bytes.subarray(0, end).indexOf('\r\n\r\n')
    if (at < 0) return -1
    const status = bytes.toString('latin1', 9, 12)
    if (status !== '101') {
      this.#why = `HTTP ${status}`
      this.#socket.destroy()
      return end
    }
    this.#isOpen = true
    this.#owner.opened(this)
    return at + 4
  }

  #readFrames (bytes: Buffer, start: number, end: number): number {
    let at = start
    while (end - at >= 2) {
      let length = (bytes[at + 1] as number) & 0x7f
      let body = at + 2
      if (length === 126) {
        if (end - at < 4) return at
        length = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
        body = at + 4
      } else if (length === 127) {
        if (end - at < 10) return at
        length = bytes.readUInt32BE(at + 6)
        body = at + 10
      }
      if (end - body < length) return at
      const opcode = (bytes[at] as number) & 0x0f
      at = body + length
      if (opcode === BINARY || opcode === TEXT) this.#owner.message(this, bytes, body, at, opcode)
      else if (opcode === PING) this.write(clientFrame(bytes.subarray(body, at), PONG))
      else if (opcode === CLOSE) this.#why = `close ${length >= 2 ? bytes.readUInt16BE(body) : 1005}`
    }
    return at
  }
}

/** A client's frame: masked, as the protocol demands, with the mask zero, which leaves the bytes as they are. */
export function clientFrame (body: Uint8Array, opcode = BINARY): Buffer {
  const size = body.length
  const head = size < 126 ? 6 : 8
  const frame = Buffer.alloc(head + size)
  frame[0] = 0x80 | opcode
  frame[1] = 0x80 | (size < 126 ? size : 126)
  if (size >= 126) frame.writeUInt16BE(size, 2)
  frame.set(body, head)
  return frame
}

/** A text frame of a client. */
export function clientText (text: string): Buffer {
  return clientFrame(Buffer.from(text), TEXT)
}

const monotonic = offsetOf(() => performance.now())

/**
 * What a clock is behind the machine's monotonic one, milliseconds: the best of many looks. One look is not enough, for
 * between its two readings another process may have the CPU, or the clock may have to be loaded.
 */
export function offsetOf (clock: () => number): number {
  let offset = 0
  for (let looks = 0, least = Infinity; looks < 100; looks++) {
    const before = machineMs()
    const now = clock()
    const took = machineMs() - before
    if (took >= least) continue
    least = took
    offset = before + took / 2 - now
  }
  return offset
}

function machineMs (): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Milliseconds of the machine's monotonic clock: comparable between processes, never set back. */
export function clockMs (): number {
  return performance.now() + monotonic
}
