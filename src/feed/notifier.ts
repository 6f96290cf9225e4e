// The notifier: finds in the messages who is to be told of them (today: who is mentioned) and adds a notification for each
// to the feed, for a service elsewhere that knows devices. At least once; the id makes it one. Must not know delivery.

import { createHash } from 'node:crypto'
import { KIND } from '../../proto/ops.ts'
import type { Feed, FeedRecord, Outgoing, Say } from './feed.ts'
import { SCHEMA_VERSION } from './records.ts'
import { standBy } from './standby.ts'

const BODY_KINDS: ReadonlySet<unknown> = new Set([KIND.text, KIND.emote, KIND.announcement])

export class Notifier {
  readonly name = 'notifier'
  readonly #feed: Feed
  readonly #say: Say
  #consumer: { stop (): Promise<void> } | null = null

  constructor (feed: Feed, say: Say) {
    this.#feed = feed
    this.#say = say
  }

  start (): void {
    const handle = async (batch: readonly FeedRecord[]): Promise<void> => {
      const found = batch.flatMap(notificationsOf)
      if (found.length > 0) await this.#feed.send('notifications', found)
    }
    this.#consumer = standBy(this.#feed, { name: 'notifier', topics: ['messages'], from: 'now', handle }, this.#say)
  }

  async stop (): Promise<void> {
    await this.#consumer?.stop()
  }
}

/** Whoever a message mentions, but its author; nobody is told of messages that they are not shown. */
function notificationsOf ({ room, epoch, seq, ts, value }: FeedRecord): Outgoing[] {
  const from = value['user'] as { id: string } | undefined
  const at = (value['ext'] as { at?: readonly string[] } | null | undefined)?.at
  if (value['op'] !== 'message' || value['shadow'] === true || from === undefined || !Array.isArray(at) || !BODY_KINDS.has(value['kind'])) return []
  return [...new Set<string>(at)].filter((user) => user !== from.id).map((user) => {
    const id = createHash('sha256').update(JSON.stringify([room, epoch, seq, user])).digest('base64url')
    return { room, id, value: { v: SCHEMA_VERSION, id, room, kind: 'mention', user, from, message: { epoch, seq, ts, body: value['body'] } } }
  })
}
