// How each kind of server is spoken to by the load: the way in, what a viewer and an author say, and where the messages are
// in what comes back. Tables of functions on ranges of bytes; owns no sockets. Anything that is not of the expected form
// is an error of the bench and is thrown.

import { inflateSync } from 'node:zlib'
import { decodeTrusted, encode, type Frame } from '../proto/codec.ts'
import { IN, OUT } from '../proto/ops.ts'
import { BINARY, clientFrame, clientText } from './link.ts'
import { bodyNow, entryTimeMs, isOurEntry, MESSAGE_BYTES, peerAuthor, peerCount, peerMessageNow, peerTimeMs } from './message.ts'
import { Known, Told } from './told.ts'

export type DialectName = 'uproar' | 'plain' | 'socket.io'

/** What reading a message may tell. */
export interface Hearer {
  /** The connection may be used: joined, subscribed. `last` is the number of the last message that will not come. */
  joined (last: number): void
  /**
   * Messages came; what is told of them is good during the call only. Uproar numbers a room's messages (author 0); a peer's
   * are numbered by each author for itself, since what comes over two connections has no order there.
   */
  heard (told: Told): void
  /** Messages from first to last are announced as not sent. */
  skipped (first: number, last: number): void
  /** One of this connection's own messages was accepted (its number) or refused (why). */
  answered (number: number, refusal: string | null): void
  /** Something to be sent back. */
  reply (frames: Uint8Array): void
}

export interface Dialect {
  /** Whether a message may come as a part of a larger one (then the server says when it is joined). */
  path (room: number): string
  /** What is sent as soon as the handshake is done; null: nothing, and the connection is joined with it. */
  greeting (room: number, token: string | null, history: number): Uint8Array | null
  read (hearer: Hearer, bytes: Buffer, start: number, end: number, opcode: number): void
  /** A message into a room; `count` is this author's own count. */
  message (room: number, author: number, count: number): Uint8Array
  /** Said every ten seconds; null: nothing. */
  ping (room: number, last: number): Uint8Array | null
}

export function roomName (room: number): string {
  return `bench-${room}`
}

/** A JOIN of this room. */
export function joinFrame (room: number, history: number): Uint8Array {
  return clientFrame(join(room, history))
}

function join (room: number, history: number): Uint8Array {
  return encode([IN.JOIN, 1, roomName(room), { history, encoding: 'deflate' }])
}

const known = new Known()

const uproar: Dialect = {
  path: () => '/ws',
  greeting (room, token, history) {
    return clientFrame(Buffer.concat([encode([IN.HELLO, token, 'bench/1']), join(room, history)]))
  },
  read (hearer, bytes, start, end) {
    const told = known.find(bytes, start, end)
    if (told !== null) return hearer.heard(told)
    entries.clear()
    const isShared = readFrames(hearer, bytes, start, end)
    if (isShared) known.keep(bytes, start, end, entries)
    hearEntries(hearer)
  },
  message (room, author, count) {
    return clientFrame(encode([IN.SEND, count, roomName(room), `n${author}-${count}`, 0, bodyNow(), null]))
  },
  ping: (room, last) => clientFrame(encode([IN.PING, null, { [roomName(room)]: last }]))
}

/** Entries of the message that is being read, until they are heard. */
const entries = new Told(entryTimeMs)

function hearEntries (hearer: Hearer): void {
  if (entries.size > 0) hearer.heard(entries)
  entries.clear()
}

/** Reads frames; true: there were entries and nothing that is for this connection alone. What is neither is passed over. */
function readFrames (hearer: Hearer, bytes: Buffer, start: number, end: number): boolean {
  let isShared = true
  let at = start
  while (at < end) {
    if (isOurEntry(bytes, at, end)) {
      entries.add(0, bytes.readUInt32BE(at + 3), bytes, at)
      at += MESSAGE_BYTES
      continue
    }
    const next = afterValue(bytes, at)
    const op = bytes[at + 1]
    if (op === OUT.DEFLATED) {
      const frames = inflateSync(bytes.subarray(at + (bytes[at + 2] === 0xc4 ? 4 : 5), next))
      // Entries of one message of bytes are heard together, and those before it are of another.
      const isAll = entries.size === 0 && next === end
      hearEntries(hearer)
      isShared = readFrames(hearer, frames, 0, frames.length) && isAll && isShared
      if (!isShared) hearEntries(hearer)
    } else if (op !== OUT.ROOM && op !== OUT.VIEWERS) {
      const frames = decodeTrusted(bytes.subarray(at, next))
      if (!Array.isArray(frames)) throw new Error(`not of the protocol: ${bytes.toString('hex', at, Math.min(end, at + 64))}`)
      hearEntries(hearer)
      isShared = false
      for (const frame of frames) hearFrame(hearer, frame)
    }
    at = next
  }
  return isShared
}

// Bytes of the values whose head tells their length, by head from c0 to d8; 0: see below.
const FIXED = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9, 2, 3, 5, 9]

/** Where the MessagePack value that starts at `at` ends. */
function afterValue (bytes: Buffer, at: number): number {
  const head = bytes[at] as number
  if (head < 0x80 || head >= 0xe0) return at + 1
  if (head < 0x90) return afterValues(bytes, at + 1, (head & 0x0f) * 2)
  if (head < 0xa0) return afterValues(bytes, at + 1, head & 0x0f)
  if (head < 0xc0) return at + 1 + (head & 0x1f)
  const fixed = FIXED[head - 0xc0] ?? 0
  if (fixed > 0) return at + fixed
  switch (head) {
    case 0xc4: case 0xd9: return at + 2 + (bytes[at + 1] as number)
    case 0xc5: case 0xda: return at + 3 + bytes.readUInt16BE(at + 1)
    case 0xc6: case 0xdb: return at + 5 + bytes.readUInt32BE(at + 1)
    case 0xdc: return afterValues(bytes, at + 3, bytes.readUInt16BE(at + 1))
    case 0xdd: return afterValues(bytes, at + 5, bytes.readUInt32BE(at + 1))
    case 0xde: return afterValues(bytes, at + 3, bytes.readUInt16BE(at + 1) * 2)
  }
  throw new Error(`not of the protocol: ${head.toString(16)} at ${at}`)
}

function afterValues (bytes: Buffer, start: number, count: number): number {
  let at = start
  for (let i = 0; i < count; i++) at = afterValue(bytes, at)
  return at
}

function hearFrame (hearer: Hearer, frame: Frame): void {
  switch (frame[0]) {
    case OUT.JOINED: return hearer.joined(frame[4] as number)
    case OUT.MESSAGE: throw new Error(`an entry that is not of the benches: ${JSON.stringify(frame).slice(0, 200)}`)
    case OUT.SKIPPED: return hearer.skipped(frame[1] as number, frame[2] as number)
    case OUT.OK: return hearer.answered((frame[2] as [number] | null)?.[0] ?? 0, null)
    case OUT.ERR: return hearer.answered(0, String(frame[3]))
    case OUT.BYE: throw new Error(`the server said goodbye: ${String(frame[2])}`)
  }
}

/** A peer's messages of the message that is being read. */
const texts = new Told(peerTimeMs)

/** The bare programs on uWebSockets.js and ws: messages of 130 bytes, alone or back to back. */
const plain: Dialect = {
  path: (room) => room < 0 ? '/ws' : `/ws?room=${room}`,
  greeting: () => null,
  read (hearer, bytes, start, end) {
    if ((end - start) % MESSAGE_BYTES !== 0) throw new Error(`a message of ${end - start} bytes`)
    const told = known.find(bytes, start, end)
    if (told !== null) return hearer.heard(told)
    texts.clear()
    for (let at = start; at < end; at += MESSAGE_BYTES) texts.add(peerAuthor(bytes, at), peerCount(bytes, at), bytes, at)
    known.keep(bytes, start, end, texts)
    hearer.heard(texts)
  },
  message (room, author, count) {
    const body = Buffer.allocUnsafe(2 + MESSAGE_BYTES)
    body.writeUInt16BE(room)
    body.write(peerMessageNow(author, count), 2, 'latin1')
    return clientFrame(body)
  },
  ping: () => null
}

const SOCKET_IO_EVENT = '42["m","'

/** Socket.IO over WebSocket alone: Engine.IO packets are texts that begin with a digit. */
const socketIo: Dialect = {
  path: (room) => `/socket.io/?EIO=4&transport=websocket${room < 0 ? '' : `&room=${room}`}`,
  greeting: () => clientText('40'),
  read (hearer, bytes, start, end, opcode) {
    if (opcode === BINARY) throw new Error('Socket.IO sent bytes')
    const first = bytes[start]
    if (first === 0x34 && bytes[start + 1] === 0x32) {
      const at = start + SOCKET_IO_EVENT.length
      if (end - at !== MESSAGE_BYTES + 2) throw new Error(`a Socket.IO message of ${end - start} bytes`)
      texts.clear()
      texts.add(peerAuthor(bytes, at), peerCount(bytes, at), bytes, at)
      hearer.heard(texts)
    } else if (first === 0x32) {
      hearer.reply(clientText('3'))
    } else if (first === 0x34 && bytes[start + 1] === 0x30) {
      hearer.joined(0)
    }
  },
  message: (room, author, count) => clientText(`42["m",${room},"${peerMessageNow(author, count)}"]`),
  ping: () => null
}

export const DIALECTS: Readonly<Record<DialectName, Dialect>> = { uproar, plain, 'socket.io': socketIo }
