// Entries of the room log as records of the feed, and back: which room's entries are which topic, and what a record's
// value says. The schemas in proto/feed are the other side of it, and a test holds the two together.
//
//   any room               ─▶ messages: every entry, with where it stands
//   uproar:audit           ─▶ audit: the row, under the room that it is about
//   uproar:erasures        ─▶ erasures: who is erased
//   uproar:actions, …      ─▶ that topic: what was sent to it
//   other rooms of uproar: ─▶ nothing (canaries)

import { createHash } from 'node:crypto'
import { entryObject, entrySeq, entryTs, isRemoved } from '../../proto/entry.ts'
import { OUT } from '../../proto/ops.ts'
import { TOPICS, type FeedRecord, type FeedTopic } from './feed.ts'

/** Version of every topic's schema, as `v` in each value. */
export const SCHEMA_VERSION = 1

const RESERVED = 'uproar:'
/** First byte of a message that its author alone is shown. */
const SHADOW = 0x98
const REASON_CHARACTERS_MAX = 500

const BY_ROOM: ReadonlyMap<string, FeedTopic> = new Map(TOPICS.flatMap((topic) => [
  ...(topic === 'messages' ? [] : [[`${RESERVED}${topic}`, topic] as const]),
  [`${RESERVED}${topic}.dead`, `${topic}.dead`] as const
]))

/** The topic that a room's entries belong to; null: none. */
export function topicOf (room: string): FeedTopic | null {
  return room.startsWith(RESERVED) ? BY_ROOM.get(room) ?? null : 'messages'
}

/** An entry as a record. Throws when the bytes are no entry, or not one of this topic's. */
export function recordOf (topic: FeedTopic, room: string, epoch: string, entry: Uint8Array): FeedRecord {
  if (topic === 'messages' && isRemoved(entry)) {
    const [seq, ts] = [entrySeq(entry), entryTs(entry)]
    return { topic, room, epoch, seq, ts, value: { v: SCHEMA_VERSION, room, epoch, op: 'erased', seq, ts } }
  }
  const object = entryObject(entry)
  const { seq, ts } = object
  if (topic === 'messages') {
    const isShadow = entry[0] === SHADOW && entry[1] === OUT.MESSAGE
    return { topic, room, epoch, seq, ts, value: { v: SCHEMA_VERSION, room, epoch, ...object, ...(isShadow ? { shadow: true } : {}) } }
  }
  if (object.op !== 'state') throw new Error(`an entry of ${room} is no record of ${topic}`)
  const { changes } = object
  const about = typeof changes['room'] === 'string' ? changes['room'] : ''
  return { topic, room: about, epoch, seq, ts, value: topic === 'audit' ? { v: SCHEMA_VERSION, epoch, seq, ts, ...changes } : { ...changes } }
}

/** Where an entry stands whose bytes make no record. */
export function unreadable (topic: FeedTopic, room: string, epoch: string, entry: Uint8Array): FeedRecord {
  return { topic, room, epoch, seq: entrySeq(entry), ts: entryTs(entry), value: { bytes: Buffer.from(entry).toString('base64') } }
}

/** A dead letter. */
export function deadLetter (consumer: string, record: FeedRecord, reason: string, now: number): { readonly id: string, readonly room: string, readonly value: Record<string, unknown> } {
  const { topic, room, epoch, seq, ts, value } = record
  const id = createHash('sha256').update(JSON.stringify([consumer, topic, room, epoch, seq])).digest('base64url')
  return { id, room, value: { v: SCHEMA_VERSION, id, consumer, topic, room, epoch, seq, ts, reason: reason.slice(0, REASON_CHARACTERS_MAX).toWellFormed(), at: now, record: value } }
}
