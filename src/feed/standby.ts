// A consumer that waits for the feed to be there: Kafka may start after the program, and the program does not wait for it.
// Registering is tried again until it works. Bound: one try at a time, RETRY_MS apart.

import { AppError } from '../base/errors.ts'
import type { Consumer, ConsumerOptions, Feed, Say } from './feed.ts'

const RETRY_MS = 2000

/** Begins to consume, now or as soon as the feed is there. */
export function standBy (feed: Feed, options: ConsumerOptions, say: Say): { stop (): Promise<void> } {
  let consumer: Consumer | null = null
  let timer: NodeJS.Timeout | null = null
  let isStopped = false
  let hasSaid = false
  const attempt = async (): Promise<void> => {
    try {
      consumer = await feed.consume(options)
      if (isStopped) await consumer.stop()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      if (!hasSaid) say('warn', 'a consumer waits for the feed', { consumer: options.name, reason: error.message })
      hasSaid = true
      if (!isStopped) timer = setTimeout(() => { trying = attempt() }, RETRY_MS)
    }
  }
  let trying = attempt()
  return {
    async stop () {
      isStopped = true
      if (timer !== null) clearTimeout(timer)
      await trying
      await consumer?.stop()
    }
  }
}
