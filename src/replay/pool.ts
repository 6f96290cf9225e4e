// Many authors over few connections: each speaks on a connection of its own, at most `connections` are open at once, and
// the one that has been idle longest gives way. A draft whose connection was lost is sent again with the same nonce, a
// bounded number of times; one author's drafts keep their order. At most WAITING_MAX drafts wait.

import { BatchReader } from './batches.ts'
import { Link, RETRIABLE, type Accepted, type Draft, type LinkEnd, type Refused } from './link.ts'
import type { TokenSource } from './tokens.ts'

export interface PoolOptions {
  readonly url: string
  readonly room: string
  readonly run: string
  readonly connections: number
  readonly tokens: TokenSource
  /** Times that a draft is sent, or a connection tried, at most (default 12, half a minute or less). */
  readonly attempts?: number
  /** Called once for every draft that was offered. `lost`: given up after all attempts. */
  settled (draft: Draft, outcome: Accepted | Refused): void
}

export interface PoolCounts { opened: number, retried: number, lost: number }

interface Author {
  readonly id: string
  readonly drafts: Draft[]
  link: Link | null
  failures: number
  /** Retiring: its connection is being closed in favour of another's. Resting: it was lost and waits to come back. */
  state: 'idle' | 'waiting' | 'opening' | 'linked' | 'retiring' | 'resting'
}

const WAITING_MAX = 10_000
const REST_MS_MAX = 2000
const PING_MS = 10_000

export class Pool {
  /** Connections opened, drafts sent again, connections lost. */
  readonly counts: PoolCounts = { opened: 0, retried: 0, lost: 0 }
  #options: PoolOptions
  #authors = new Map<string, Author>()
  #waiting = new Set<Author>()
  /** Authors with a ready connection and nothing to say, longest idle first. */
  #idle = new Set<Author>()
  /** Connections open or being opened or closed. */
  #slots = 0
  #retiring = 0
  #unsettled = 0
  #reader = new BatchReader()
  #ticker: NodeJS.Timeout
  #lastPing = performance.now()
  #isClosed = false
  #attempts: number
  #wakers: (() => void)[] = []

  constructor (options: PoolOptions) {
    this.#options = options
    this.#attempts = options.attempts ?? 12
    this.#ticker = setInterval(() => this.#tick(), 1000)
  }

  get unsettled (): number { return this.#unsettled }
  get open (): number { return this.#slots }

  /** Takes a draft; false when too many wait already and the draft was not taken. */
  offer (draft: Draft): boolean {
    if (this.#isClosed || this.#unsettled >= WAITING_MAX) return false
    this.#unsettled++
    let author = this.#authors.get(draft.user)
    if (author === undefined) {
      author = { id: draft.user, drafts: [], link: null, failures: 0, state: 'idle' }
      this.#authors.set(draft.user, author)
    }
    author.drafts.push(draft)
    this.#serve(author)
    return true
  }

  /** Resolves when at most `count` drafts are unsettled. */
  async drained (count = 0): Promise<void> {
    while (this.#unsettled > count && !this.#isClosed) await new Promise<void>((resolve) => this.#wakers.push(resolve))
  }

  /** Ends every connection; drafts that are unsettled stay so. */
  close (): void {
    this.#isClosed = true
    clearInterval(this.#ticker)
    for (const author of this.#authors.values()) author.link?.close()
    this.#wake()
  }

  #serve (author: Author): void {
    if (author.link?.isReady === true) {
      this.#idle.delete(author)
      while (author.drafts.length > 0 && author.link.canSend) author.link.send(author.drafts.shift() as Draft)
      if (author.link.isIdle) this.#rest(author)
    } else if (author.state === 'idle' && author.drafts.length > 0) {
      author.state = 'waiting'
      this.#waiting.add(author)
      this.#openNext()
    }
  }

  /** The author has nothing to say: keeps the connection unless someone waits for one. */
  #rest (author: Author): void {
    this.#idle.add(author)
    if (this.#waiting.size > 0) this.#openNext()
  }

  #openNext (): void {
    for (const author of this.#waiting) {
      if (this.#slots >= this.#options.connections) break
      this.#waiting.delete(author)
      void this.#open(author)
    }
    // Full: one idle connection gives way for each author who waits, and its slot comes free when it has closed.
    while (this.#retiring < this.#waiting.size) {
      const longest = this.#idle.values().next().value
      if (longest === undefined) return
      this.#idle.delete(longest)
      this.#retiring++
      longest.state = 'retiring'
      longest.link?.close()
    }
  }

  async #open (author: Author): Promise<void> {
    this.#slots++
    author.state = 'opening'
    try {
      const token = await this.#options.tokens.token(author.id)
      if (this.#isClosed) return
      this.counts.opened++
      author.state = 'linked'
      author.link = new Link(author.id, { ...this.#options, token, reader: this.#reader }, {
        ready: () => { author.failures = 0; this.#serve(author) },
        answered: (_link, draft, answer) => this.#answered(author, draft, answer),
        closed: (_link, unanswered, end) => this.#closed(author, unanswered, end)
      })
    } catch (error) {
      this.#closed(author, [], { mayReturn: true, name: 'no token', message: (error as Error).message })
    }
  }

  #answered (author: Author, draft: Draft, answer: Accepted | Refused): void {
    if ('name' in answer && RETRIABLE.has(answer.name) && draft.attempts < this.#attempts) {
      this.counts.retried++
      author.drafts.unshift(draft)
      setTimeout(() => this.#serve(author), restMs(draft.attempts))
      return
    }
    this.#settle(draft, answer)
    this.#serve(author)
  }

  #closed (author: Author, unanswered: readonly Draft[], end: LinkEnd): void {
    const wasRetiring = author.state === 'retiring'
    if (wasRetiring) this.#retiring--
    this.#slots--
    this.#idle.delete(author)
    author.link = null
    author.state = 'idle'
    if (this.#isClosed) return
    author.drafts.unshift(...unanswered)
    if (author.drafts.length === 0) this.#authors.delete(author.id)
    else if (wasRetiring) this.#serve(author)
    else this.#comeBack(author, unanswered.length, end)
    this.#openNext()
  }

  /** The connection went while there was something to say. */
  #comeBack (author: Author, inFlight: number, end: LinkEnd): void {
    this.counts.lost++
    author.failures++
    const isFinal = !end.mayReturn || author.failures > this.#attempts
    for (const draft of author.drafts.splice(0)) {
      if (isFinal || draft.attempts >= this.#attempts) this.#settle(draft, { name: end.name, message: end.message })
      else author.drafts.push(draft)
    }
    if (author.drafts.length === 0) {
      this.#authors.delete(author.id)
      return
    }
    this.counts.retried += inFlight
    author.state = 'resting'
    setTimeout(() => {
      author.state = 'idle'
      this.#serve(author)
    }, restMs(author.failures))
  }

  #settle (draft: Draft, outcome: Accepted | Refused): void {
    this.#unsettled--
    this.#options.settled(draft, outcome)
    this.#wake()
  }

  #wake (): void {
    for (const wake of this.#wakers.splice(0)) wake()
  }

  #tick (): void {
    const now = performance.now()
    const isPingDue = now - this.#lastPing >= PING_MS
    if (isPingDue) this.#lastPing = now
    for (const { link } of this.#authors.values()) {
      if (isPingDue) link?.ping()
      link?.checkDeadline(now)
    }
  }
}

/** Back-off with jitter: about 100 ms, doubling, up to two seconds. */
function restMs (failures: number): number {
  return Math.min(REST_MS_MAX, 50 * 2 ** failures) * (0.5 + Math.random() / 2)
}
