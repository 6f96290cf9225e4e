// A WebSocket client on a bare TCP or TLS socket: as little work per connection and message as can be, and free to
// break the rules where a test wants that. Owns the handshake and the framing; must not know what a message says.
// A message from the server may have 16 MB; a handshake must be answered in time, else the socket is destroyed.

import { createHash, randomBytes } from 'node:crypto'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { connectionFault } from './faults.ts'

export interface SocketHandlers {
  open? (protocol: string | null): void
  /** The bytes are good during the call only. */
  message (bytes: Uint8Array, isText: boolean): void
  /** Once, also when the connection never opened. 1006: ended without a close frame; the reason then says how. */
  close (code: number, reason: string): void
}

export interface SocketOptions {
  /** Subprotocols offered, as the header has them; null: none. */
  readonly protocol?: string | null
  readonly headers?: Readonly<Record<string, string>>
  readonly localAddress?: string
  readonly openTimeoutMs?: number
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

const MESSAGE_BYTES_MAX = 16 * 1024 * 1024
const HEAD_BYTES_MAX = 16 * 1024
// One key, one mask and one read buffer serve every socket of the process: neither secrecy nor fairness is at stake
// here, and a crowd of 18,000 must fit. The read buffer is safe to share because it is emptied within its callback.
const KEY = randomBytes(16).toString('base64')
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
const MASK = randomBytes(4)
const scratch = Buffer.allocUnsafe(256 * 1024)

export class RawSocket {
  #socket: Socket
  #handlers: SocketHandlers
  #state: 'opening' | 'open' | 'closed' = 'opening'
  #rest: Buffer | null = null
  #parts: Buffer[] = []
  #partsBytes = 0
  #partsText = false
  #closeCode = 1006
  #closeReason = ''
  #deadline: NodeJS.Timeout | null

  constructor (url: string, handlers: SocketHandlers, options: SocketOptions = {}) {
    const target = new URL(url)
    const isTls = target.protocol === 'wss:'
    const host = target.hostname.replace(/^\[|\]$/g, '')
    const port = Number(target.port === '' ? (isTls ? 443 : 80) : target.port)
    this.#handlers = handlers
    if (isTls) {
      this.#socket = connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}) })
      this.#socket.on('data', (chunk: Buffer) => this.#read(chunk, chunk.length))
    } else {
      const onread = { buffer: scratch, callback: (size: number, buffer: Uint8Array) => { this.#read(buffer as Buffer, size); return true } }
      this.#socket = connectTcp({ host, port, noDelay: true, onread, ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }) })
    }
    this.#socket.once(isTls ? 'secureConnect' : 'connect', () => this.#socket.write(request(target, options)))
    this.#socket.on('error', (error) => { this.#closeReason ||= connectionFault(error) })
    this.#socket.once('close', () => this.#ended())
    this.#deadline = setTimeout(() => this.#fail('the handshake was not answered in time'), options.openTimeoutMs ?? 10_000)
  }

  get isOpen (): boolean { return this.#state === 'open' }
  /** Bytes written that the kernel has not taken yet. */
  get unsentBytes (): number { return this.#socket.writableLength }

  /** Sends one message; false when the socket is not open. */
  send (bytes: Uint8Array, opcode: number = OPCODE.binary): boolean {
    if (this.#state !== 'open') return false
    this.#socket.write(maskedFrame(opcode, bytes))
    return true
  }

  /** Puts bytes on the connection as they are, after the handshake. */
  write (bytes: Uint8Array): void {
    if (this.#state === 'open') this.#socket.write(bytes)
  }

  /** Stops reading: the kernel's buffers fill, and then the server's. */
  pause (): void { this.#socket.pause() }
  resume (): void { this.#socket.resume() }

  /** Says goodbye and ends; destroyed when the server does not answer within a second. */
  close (code = 1000): void {
    if (this.#state !== 'open') return this.destroy()
    const body = Buffer.allocUnsafe(2)
    body.writeUInt16BE(code)
    this.send(body, OPCODE.close)
    this.#socket.end()
    this.#deadline ??= setTimeout(() => this.#socket.destroy(), 1000)
  }

  /** Ends without a word. */
  destroy (): void { this.#socket.destroy() }

  /** Ends with a TCP reset, which leaves no port waiting behind. */
  reset (): void { this.#socket.resetAndDestroy() }

  #read (chunk: Buffer, size: number): void {
    let bytes = chunk
    let end = size
    if (this.#rest !== null) {
      bytes = Buffer.concat([this.#rest, chunk.subarray(0, size)])
      end = bytes.length
      this.#rest = null
    }
    let at = 0
    if (this.#state === 'opening') {
      at = this.#readHead(bytes, end)
      if (at < 0) return
    }
    at = this.#readFrames(bytes, at, end)
    if (at >= 0 && at < end) this.#rest = Buffer.from(bytes.subarray(at, end))
  }

  /** Returns where the frames begin, or -1 while the answer is incomplete or was a refusal. */
  #readHead (bytes: Buffer, size: number): number {
    const end = bytes.subarray(0, size).indexOf('\r\n\r\n')
    if (end < 0) {
      if (size > HEAD_BYTES_MAX) this.#fail('the answer to the handshake has no end')
      else this.#rest = Buffer.from(bytes.subarray(0, size))
      return -1
    }
    const head = bytes.toString('latin1', 0, end)
    const status = /^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]
    if (status !== '101') {
      this.#fail(`HTTP ${status ?? '?'}`)
      return -1
    }
    if (headerOf(head, 'sec-websocket-accept') !== ACCEPT) {
      this.#fail('the server answered somebody else\'s handshake')
      return -1
    }
    this.#state = 'open'
    this.#clearDeadline()
    this.#handlers.open?.(headerOf(head, 'sec-websocket-protocol'))
    return end + 4
  }

  /** Hands out every whole frame from `at` on; returns where the first incomplete one starts, -1 when ended. */
  #readFrames (bytes: Buffer, start: number, end: number): number {
    let at = start
    while (end - at >= 2) {
      let length = (bytes[at + 1] as number) & 0x7f
      let head = 2
      if (length === 126) {
        if (end - at < 4) return at
        length = bytes.readUInt16BE(at + 2)
        head = 4
      } else if (length === 127) {
        if (end - at < 10) return at
        length = bytes.readUInt32BE(at + 2) * 0x1_0000_0000 + bytes.readUInt32BE(at + 6)
        head = 10
      }
      if (length > MESSAGE_BYTES_MAX) {
        this.#fail('a message over 16 MB')
        return -1
      }
      if (end - at < head + length) return at
      this.#frame(bytes[at] as number, bytes.subarray(at + head, at + head + length))
      if (this.#socket.destroyed) return -1
      at += head + length
    }
    return at
  }

  #frame (head: number, body: Buffer): void {
    const opcode = head & 0x0f
    if (opcode === OPCODE.binary || opcode === OPCODE.text || opcode === OPCODE.continuation) return this.#data(head, body)
    if (opcode === OPCODE.ping) {
      this.send(body, OPCODE.pong)
    } else if (opcode === OPCODE.close) {
      this.#closeCode = body.length >= 2 ? body.readUInt16BE(0) : 1005
      this.#closeReason = body.toString('utf8', 2)
      this.send(body.subarray(0, 2), OPCODE.close)
      this.#socket.end()
      this.#deadline ??= setTimeout(() => this.#socket.destroy(), 1000)
    }
  }

  #data (head: number, body: Buffer): void {
    const isFinal = (head & 0x80) !== 0
    const opcode = head & 0x0f
    if (isFinal && opcode !== OPCODE.continuation) return this.#handlers.message(body, opcode === OPCODE.text)
    if (opcode !== OPCODE.continuation) this.#partsText = opcode === OPCODE.text
    this.#partsBytes += body.length
    if (this.#partsBytes > MESSAGE_BYTES_MAX) return this.#fail('a message over 16 MB')
    this.#parts.push(Buffer.from(body))
    if (!isFinal) return
    const whole = Buffer.concat(this.#parts)
    this.#parts = []
    this.#partsBytes = 0
    this.#handlers.message(whole, this.#partsText)
  }

  #fail (reason: string): void {
    this.#closeReason = reason
    this.#socket.destroy()
  }

  #ended (): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#rest = null
    this.#clearDeadline()
    this.#handlers.close(this.#closeCode, this.#closeReason)
  }

  #clearDeadline (): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline)
    this.#deadline = null
  }
}

/** A client's frame as bytes: final unless told otherwise, masked. */
export function maskedFrame (opcode: number, body: Uint8Array, flags = 0x80): Buffer {
  const size = body.length
  const head = size < 126 ? 6 : size < 65_536 ? 8 : 14
  const frame = Buffer.allocUnsafe(head + size)
  frame[0] = flags | opcode
  if (size < 126) {
    frame[1] = 0x80 | size
  } else if (size < 65_536) {
    frame[1] = 0x80 | 126
    frame.writeUInt16BE(size, 2)
  } else {
    frame[1] = 0x80 | 127
    frame.writeUInt32BE(0, 2)
    frame.writeUInt32BE(size, 6)
  }
  frame.set(MASK, head - 4)
  for (let i = 0; i < size; i++) frame[head + i] = (body[i] as number) ^ (MASK[i & 3] as number)
  return frame
}

function request (target: URL, options: SocketOptions): string {
  const protocol = options.protocol === undefined ? 'uproar.v1' : options.protocol
  const lines = [
    `GET ${target.pathname}${target.search} HTTP/1.1`, `Host: ${target.host}`, 'Upgrade: websocket', 'Connection: Upgrade',
    `Sec-WebSocket-Key: ${KEY}`, 'Sec-WebSocket-Version: 13'
  ]
  if (protocol !== null) lines.push(`Sec-WebSocket-Protocol: ${protocol}`)
  for (const [name, value] of Object.entries(options.headers ?? {})) lines.push(`${name}: ${value}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

function headerOf (head: string, name: string): string | null {
  const line = head.split('\r\n').find((each) => each.toLowerCase().startsWith(`${name}:`))
  return line === undefined ? null : line.slice(name.length + 1).trim()
}
