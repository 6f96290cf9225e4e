// One WebSocket connection of our own to this very server, for the probe: Node's HTTP client asks for the upgrade, and here
// are the few frames that follow. Over TLS the certificate is not looked at, since it is for the name that viewers use and
// this is loopback. Bounds: MESSAGE_BYTES_MAX held of a message, OPEN_MS for the handshake. Must not know what is said.

import { randomBytes } from 'node:crypto'
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Duplex } from 'node:stream'

const OPEN_MS = 5000
const MESSAGE_BYTES_MAX = 1 << 20
const OPCODE = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface LinkHandlers {
  open (): void
  /** The bytes are good during the call only. */
  message (bytes: Uint8Array): void
  /** Once, also when it never opened. */
  close (): void
}

export interface LinkTarget {
  readonly host: string
  readonly port: number
  readonly isTls: boolean
  /** Value of Sec-WebSocket-Protocol. */
  readonly protocols: string
}

export class Link {
  readonly #handlers: LinkHandlers
  readonly #request: ReturnType<typeof requestHttp>
  #socket: Duplex | null = null
  #rest: Buffer = Buffer.alloc(0)
  #isClosed = false

  constructor ({ host, port, isTls, protocols }: LinkTarget, handlers: LinkHandlers) {
    this.#handlers = handlers
    const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': randomBytes(16).toString('base64'), 'sec-websocket-protocol': protocols }
    const options = { host, port, path: '/ws', headers, timeout: OPEN_MS, agent: false as const }
    this.#request = isTls ? requestHttps({ ...options, rejectUnauthorized: false }) : requestHttp(options)
    this.#request.once('upgrade', (_response, socket, head) => this.#opened(socket, head))
      .once('response', () => this.close()).once('timeout', () => this.close()).once('error', () => this.close())
    this.#request.end()
  }

  /** Sends one binary message; false when it is not open. */
  send (bytes: Uint8Array): boolean {
    return this.#write(OPCODE.binary, bytes)
  }

  /** Ends at once, without a word. May be called twice. */
  close (): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#request.destroy()
    this.#socket?.destroy()
    this.#handlers.close()
  }

  #opened (socket: Duplex, head: Buffer): void {
    this.#socket = socket
    // The time-out was for the handshake: the probe itself sees to it that something comes.
    ;(socket as Duplex & { setTimeout? (ms: number): void }).setTimeout?.(0)
    socket.on('data', (chunk: Buffer) => this.#read(chunk)).once('error', () => this.close()).once('close', () => this.close())
    this.#handlers.open()
    if (head.length > 0) this.#read(head)
  }

  #read (chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (!this.#isClosed && bytes.length - at >= 2) {
      const frame = frameAt(bytes, at)
      if (frame === null) break
      at = frame.end
      this.#take(frame.opcode, bytes.subarray(frame.start, frame.end))
    }
    this.#rest = Buffer.from(bytes.subarray(at))
    if (this.#rest.length > MESSAGE_BYTES_MAX) this.close()
  }

  #take (opcode: number, body: Buffer): void {
    if (opcode === OPCODE.binary) this.#handlers.message(body)
    else if (opcode === OPCODE.ping) this.#write(OPCODE.pong, body)
    else if (opcode === OPCODE.close) this.close()
  }

  #write (opcode: number, body: Uint8Array): boolean {
    if (this.#socket === null || this.#isClosed) return false
    const head = body.length < 126 ? Buffer.from([0x80 | opcode, 0x80 | body.length]) : Buffer.from([0x80 | opcode, 0x80 | 126, body.length >> 8, body.length & 0xff])
    const mask = randomBytes(4)
    this.#socket.write(Buffer.concat([head, mask, body.map((byte, at) => byte ^ (mask[at & 3] as number))]))
    return true
  }
}

/** The server's frame that begins there; null while it is not there whole. */
function frameAt (bytes: Buffer, at: number): { opcode: number, start: number, end: number } | null {
  const opcode = (bytes[at] as number) & 0x0f
  const short = (bytes[at + 1] as number) & 0x7f
  const start = at + (short < 126 ? 2 : short === 126 ? 4 : 10)
  if (bytes.length < start) return null
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
  return bytes.length < start + length ? null : { opcode, start, end: start + length }
}
