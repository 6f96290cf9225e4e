// How the room log lies in Redis, and how what travels is packed. Owns keys and encodings; redis-functions.lua is the other
// side of each. `k` is the room's shard, and {k} the hash tag that keeps a shard on one node of a Cluster.
//
//   uproar:{0}:shards        ─▶ how many shards there are
//   uproar:{k}:id            ─▶ hash: i incarnation, n last batch, d its stream id; w, v, c dedup windows
//   uproar:{k}:stream        ─▶ stream, what happened in the shard: one entry a batch, one field d
//   uproar:{k}:head:ROOM     ─▶ hash: e epoch, w the one before, l lineage (first epoch), q seq, f first, t last ts,
//                               b bytes, o time of the oldest, i incarnation, x when its expiry was set, v how often it was rewritten
//   uproar:{k}:log:ROOM      ─▶ stream, the room's history: one entry a run, id `SEQ-0` of its first, one field d
//   uproar:{k}:redo:NAME     ─▶ a history that is being rewritten, not finished
//   uproar:{k}:state:ROOM    ─▶ hash: q seq, s:KEY settings, g:KEY guarded; values in MessagePack
//   uproar:{k}:groups        ─▶ hash: consumer of the feed ─▶ "n ms t", what it has acknowledged (redis-outlet.ts)
//   uproar:{k}:lease:CONSUMER ─▶ the member of it that reads this shard
//   uproar:{0}:members:CONSUMER ─▶ sorted set: its members by when they were last here
//   uproar:{k}:nonces:W:T    ─▶ hash of the T-th W minutes: nonce (16) ─▶ seq and ts as in the entry, lineage
//   uproar:{k}:done:INSTANCE ─▶ hash: n the instance's last batch, r the reply to it
//
//   run      [length of tail (3), entry]…                          the same bytes in history and stream
//   stream d [length, incarnation] [n (6)] [kind (1), room, epoch, first seq (6), count (4), length (4), run]…
//
// ROOM is the name in UTF-8; one that is not well-formed is 0xff and its UTF-16 units, so no two are mixed up.

import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { pack, unpack } from '../../proto/codec.ts'
import { checkName } from '../base/names.ts'
import type { Draft, Rewriting, StatePatch } from './log.ts'

/** A room's name as bytes. Throws AppError `bad_request` for one beyond measure. */
export function roomBytes (room: string): Buffer {
  checkName(room)
  return textBytes(room)
}

function textBytes (text: string): Buffer {
  return text.isWellFormed() ? Buffer.from(text) : Buffer.concat([Buffer.of(0xff), Buffer.from(text, 'utf16le')])
}

function bytesText (bytes: Buffer): string {
  return bytes[0] === 0xff ? bytes.subarray(1).toString('utf16le') : bytes.toString()
}

/** The shard of a room; the same in every instance and version. */
export function shardOf (room: Buffer, shards: number): number {
  return crc32(room) % shards
}

/** A room for canaries in each shard, by shard. */
export function canaryRooms (shards: number): string[] {
  const rooms: string[] = []
  for (let at = 0, found = 0; found < shards; at++) {
    const room = `${CANARY}${at}`
    const shard = shardOf(Buffer.from(room), shards)
    if (rooms[shard] !== undefined) continue
    rooms[shard] = room
    found++
  }
  return rooms
}

const CANARY = 'uproar:canary:'

/** Whether nobody will ever read the room's history. */
export function isCanary (room: string): boolean {
  return room.startsWith(CANARY)
}

/** The room's and the author's nonce in 16 bytes: half a SHA-256 over the strings' UTF-16 units and their lengths. */
export function nonceHash (room: string, author: string, nonce: string): Buffer {
  const bytes = Buffer.allocUnsafe(8 + (room.length + author.length + nonce.length) * 2)
  bytes.writeUInt32LE(room.length, 0)
  bytes.writeUInt32LE(author.length, 4)
  bytes.write(room + author + nonce, 8, 'utf16le')
  return hash('sha256', bytes, 'buffer').subarray(0, 16)
}

// ---- what goes in ---------------------------------------------------------------------------------------------------

export const GROUP = { publish: 1, remove: 2, canary: 3, apart: 4 } as const

/** A draft as the function reads it: nonce, flags, 3 bytes of length and 2 of head for the run, tail, patch. */
export interface PackedDraft {
  readonly nonce: Buffer | null
  readonly fields: number
  readonly op: number
  readonly tail: Uint8Array
  readonly patch: Buffer | null
  readonly atState: number | null
  /** Of all of it. */
  readonly size: number
}

export interface PackedGroup {
  readonly kind: number
  readonly room: Buffer
  readonly epoch: string
  readonly drafts: readonly PackedDraft[]
}

const TAIL_BYTES_MAX = 0xffffff
const DRAFT_BYTES = 1 + 1 + 5 + 3

/** Throws RangeError for a tail that no entry can have. */
export function packDraft (draft: Pick<Draft, 'op' | 'tail' | 'patch' | 'atState'>, nonce: Buffer | null): PackedDraft {
  const patch = draft.patch === undefined ? null : packPatch(draft.patch)
  const tail = draft.tail.bytes
  if (tail.length > TAIL_BYTES_MAX) throw new RangeError(`an entry has at most ${TAIL_BYTES_MAX} bytes`)
  const atState = draft.atState ?? null
  return { nonce, fields: draft.tail.fields, op: draft.op, tail, patch, atState, size: DRAFT_BYTES + (nonce?.length ?? 0) + tail.length + (patch?.length ?? 0) + (atState === null ? 0 : 6) }
}

function packPatch (patch: StatePatch): Buffer {
  const parts: Uint8Array[] = []
  let count = 0
  for (const [letter, changes] of [['s', patch.settings], ['g', patch.guarded]] as const) {
    for (const [key, value] of Object.entries(changes ?? {})) {
      const isSet = value !== null && value !== undefined
      parts.push(Buffer.of(isSet ? 1 : 0), ...sized(Buffer.concat([Buffer.from(`${letter}:`), textBytes(key)]), 2))
      if (isSet) parts.push(...sized(pack(value), 4))
      count++
    }
  }
  return Buffer.concat([Buffer.of(count >> 8, count & 0xff), ...parts])
}

function sized (value: Uint8Array, width: number): Uint8Array[] {
  const length = Buffer.alloc(width)
  length.writeUIntBE(value.length, 0, width)
  return [length, value]
}

/** A batch of groups as the `publish` function reads it. */
export function packBatch (groups: readonly PackedGroup[]): Buffer {
  let size = 0
  for (const group of groups) {
    size += 6 + group.room.length + group.epoch.length
    for (const draft of group.drafts) size += draft.size
  }
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const group of groups) {
    bytes[at] = group.kind
    at = bytes.writeUInt16BE(group.room.length, at + 1)
    at += group.room.copy(bytes, at)
    bytes[at++] = group.epoch.length
    at += bytes.write(group.epoch, at, 'latin1')
    at = bytes.writeUInt16BE(group.drafts.length, at)
    for (const draft of group.drafts) at = writeDraft(bytes, at, draft)
  }
  return bytes
}

function writeDraft (bytes: Buffer, start: number, draft: PackedDraft): number {
  let at = start
  bytes[at++] = draft.nonce?.length ?? 0
  if (draft.nonce !== null) at += draft.nonce.copy(bytes, at)
  bytes[at++] = (draft.patch === null ? 0 : 1) + (draft.atState === null ? 0 : 2)
  at = bytes.writeUIntBE(draft.tail.length, at, 3)
  bytes[at++] = 0x90 | (draft.fields + 3)
  bytes[at++] = draft.op
  at = bytes.writeUIntBE(draft.tail.length, at, 3)
  bytes.set(draft.tail, at)
  at += draft.tail.length
  if (draft.atState !== null) at = bytes.writeUIntBE(draft.atState, at, 6)
  if (draft.patch !== null) at += draft.patch.copy(bytes, at)
  return at
}

/** Changes as the `rewrite` function reads them: seq (6), SHA-1 of what the entry was (40), what it becomes. */
export function packRewritings (changes: readonly Rewriting[]): Buffer {
  return Buffer.concat(changes.flatMap(({ seq, was, becomes }) => {
    const head = Buffer.alloc(6)
    head.writeUIntBE(seq, 0, 6)
    return [head, Buffer.from(hash('sha1', was, 'hex'), 'latin1'), ...sized(becomes, 3)]
  }))
}

// ---- what comes out -------------------------------------------------------------------------------------------------

/** What became of a group: new drafts have seqs from `first` on in their order, others stand in `others` by index. */
export interface GroupResult {
  readonly epoch: string
  readonly first: number
  readonly ts: number
  readonly others: ReadonlyMap<number, Other>
}

/** A draft that was not appended: its first result, or why not. */
export interface Other { readonly what: 'repeated' | 'gone' | 'conflict', readonly seq: number, readonly ts: number }
const OTHERS = [undefined, 'repeated', 'gone', 'conflict'] as const

export interface BatchResult {
  readonly incarnation: string
  /** The shard's batch that holds it, or an earlier one when nothing was new. */
  readonly n: number
  readonly groups: readonly GroupResult[]
}

/** Reads the `publish` function's reply behind its first byte. */
export function readReply (reply: Buffer): BatchResult {
  let at = 1
  const text = (): string => {
    const length = reply[at] as number
    at += 1 + length
    return reply.toString('latin1', at - length, at)
  }
  const number = (): number => {
    at += 6
    return reply.readUIntBE(at - 6, 6)
  }
  const incarnation = text()
  const n = number()
  const groups: GroupResult[] = []
  while (at < reply.length) {
    const epoch = text()
    const first = number()
    const ts = number()
    const others = new Map<number, Other>()
    const count = reply.readUInt16BE(at)
    at += 2
    for (let k = 0; k < count; k++) {
      const index = reply.readUInt16BE(at)
      const what = OTHERS[reply[at + 2] as number] as Other['what']
      at += 3
      others.set(index, { what, seq: number(), ts: number() })
    }
    groups.push({ epoch, first, ts, others })
  }
  return { incarnation, n, groups }
}

/** A room's part of a batch in the shard's stream. `run` is a view. */
export interface Segment {
  readonly isRemoval: boolean
  /** The room's bytes, as latin1: a key for maps. */
  readonly room: string
  readonly epoch: string
  readonly first: number
  readonly count: number
  readonly run: Buffer
}

export interface StreamBatch {
  readonly incarnation: string
  readonly n: number
  /** Where the segments begin. */
  readonly at: number
}

export function readBatchHead (data: Buffer): StreamBatch {
  const length = data[0] as number
  return { incarnation: data.toString('latin1', 1, 1 + length), n: data.readUIntBE(1 + length, 6), at: 7 + length }
}

export function * readSegments (data: Buffer, start: number): Generator<Segment> {
  let at = start
  while (at < data.length) {
    const isRemoval = data[at] === 2
    const roomEnd = at + 3 + data.readUInt16BE(at + 1)
    const room = data.toString('latin1', at + 3, roomEnd)
    const epochEnd = roomEnd + 1 + (data[roomEnd] as number)
    const runStart = epochEnd + 14
    const runEnd = runStart + data.readUInt32BE(epochEnd + 10)
    yield {
      isRemoval, room, epoch: data.toString('latin1', roomEnd + 1, epochEnd), first: data.readUIntBE(epochEnd, 6), count: data.readUInt32BE(epochEnd + 6),
      run: data.subarray(runStart, runEnd)
    }
    at = runEnd
  }
}

/** The entries of a run, each in bytes of its own. */
export function readRun (run: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = []
  let at = 0
  while (at < run.length) {
    const tail = (run[at] as number) << 16 | (run[at + 1] as number) << 8 | (run[at + 2] as number)
    const end = at + 3 + tail + (run[at + 5] === 0xcf ? 20 : 16)
    entries.push(new Uint8Array(run.subarray(at + 3, end)))
    at = end
  }
  return entries
}

/** The room's name of a segment. */
export function segmentRoom ({ room }: Segment): string {
  return bytesText(Buffer.from(room, 'latin1'))
}

/** The key of maps by room, as segments carry it. */
export function roomKey (room: Buffer): string {
  return room.toString('latin1')
}

/** A room's state from its hash, given as fields and values in turn. */
export function readState (pairs: readonly Buffer[]): { seq: number, settings: Record<string, unknown>, guarded: Record<string, unknown> } {
  let seq = 0
  const settings = new Map<string, unknown>()
  const guarded = new Map<string, unknown>()
  for (let i = 0; i < pairs.length; i += 2) {
    const field = pairs[i] as Buffer
    const value = pairs[i + 1] as Buffer
    if (field.length === 1) seq = Number(value.toString())
    else (field[0] === 0x73 ? settings : guarded).set(bytesText(field.subarray(2)), unpack(value))
  }
  return { seq, settings: Object.fromEntries(settings), guarded: Object.fromEntries(guarded) }
}
