// A viewer on server-sent events: reads one room over plain HTTP, keeps account by the ids, and comes back with
// Last-Event-ID when the stream ends. Keeps nothing of what it read but the numbers.

import { setTimeout as sleep } from 'node:timers/promises'
import { Account } from '../replay/account.ts'

export interface EventReaderOptions {
  readonly url: string
  readonly onEntry?: (entry: Record<string, unknown>) => void
}

export class EventReader {
  readonly account = new Account()
  joins = 0
  skipped = 0
  /** Ids that did not agree with the entry they came with. */
  wrongIds = 0
  #options: EventReaderOptions
  #lastId = ''
  #aborted = new AbortController()
  #reading: Promise<void> = Promise.resolve()

  constructor (options: EventReaderOptions) {
    this.#options = options
  }

  async start (): Promise<void> {
    let joined: () => void = () => {}
    const first = new Promise<void>((resolve) => { joined = resolve })
    this.#reading = this.#readOn(joined)
    await Promise.race([first, sleep(15_000, undefined, { ref: false }).then(() => { throw new Error('the event stream did not begin in 15 s') })])
  }

  async stop (): Promise<void> {
    this.#aborted.abort()
    await this.#reading
  }

  async #readOn (joined: () => void): Promise<void> {
    const { signal } = this.#aborted
    while (!signal.aborted) {
      try {
        const headers: Record<string, string> = this.#lastId === '' ? {} : { 'last-event-id': this.#lastId }
        const answer = await fetch(this.#options.url, { headers, signal })
        if (answer.ok && answer.body !== null) await this.#readStream(answer.body, joined)
      } catch (error) {
        if (!signal.aborted && !(error instanceof TypeError)) throw error
      }
      if (!signal.aborted) await sleep(100, undefined, { signal }).catch(() => undefined)
    }
  }

  async #readStream (body: ReadableStream<Uint8Array>, joined: () => void): Promise<void> {
    const decoder = new TextDecoder()
    let text = ''
    for await (const chunk of body) {
      text += decoder.decode(chunk, { stream: true })
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        this.#event(text.slice(0, end), joined)
        text = text.slice(end + 2)
      }
    }
  }

  #event (block: string, joined: () => void): void {
    const field = (name: string): string | undefined => block.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
    const name = field('event')
    if (name === undefined) return
    const data = JSON.parse(field('data') ?? 'null') as Record<string, unknown>
    const id = field('id')
    if (id !== undefined) this.#lastId = id
    const [, epoch = '', seq = ''] = /^(.*)-(\d+)$/.exec(id ?? '') ?? []
    if (name === 'joined') {
      if (this.joins++ === 0) this.account.join(epoch, Number(seq) + 1)
      else if (data.recovered !== true) this.account.restart(epoch)
      joined()
    } else if (name === 'skipped') {
      this.skipped += data.count as number
      this.account.skip(data.first as number, data.last as number, data.count as number)
    } else if (['message', 'remove', 'state', 'edit'].includes(name)) {
      if (Number(seq) !== data.seq || epoch !== this.account.epoch) this.wrongIds++
      this.account.entry(data.seq as number)
      this.#options.onEntry?.(data)
    }
  }
}
