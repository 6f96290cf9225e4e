// Authors at an even pace: each message is written when it is due, with the time in it, and answers are counted. Owns its
// links; each author is in one room and, where the server sends it what it watches, counts as a viewer too.

import { DIALECTS, type Dialect, type DialectName, type Hearer } from './dialect.ts'
import { Link, type LinkOwner } from './link.ts'
import { authorName } from './message.ts'
import { tokenOf } from './token.ts'
import type { Told } from './told.ts'

export interface AuthorsOptions {
  readonly port: number
  readonly dialect: DialectName
  readonly authors: number
  /** Authors are dealt out to so many rooms in turn (default 1). */
  readonly rooms?: number
  /** Peers only: authors watch their room too (Uproar's always do). */
  readonly watch?: boolean
}

export interface AuthorsReport {
  readonly sent: number
  readonly accepted: number
  readonly refused: number
  /** Why the last was refused, or a connection ended. */
  readonly why: string
  /** Messages received by the authors themselves, where they watch; missing and repeated ones among them. */
  readonly received: number
  readonly missing: number
  readonly repeated: number
  /** Connections that ended by themselves. */
  readonly ended: number
}

type Tally = { -readonly [K in keyof AuthorsReport]: AuthorsReport[K] }

const TICK_MS = 5
/** Beyond this the server is not reading: writing on would only fill our memory. */
const UNSENT_MAX = 1024 * 1024
const OPEN_TIMEOUT_MS = 30_000

export class Authors {
  readonly #authors: Author[] = []
  readonly #report: Tally = { sent: 0, accepted: 0, refused: 0, why: '', received: 0, missing: 0, repeated: 0, ended: 0 }
  #timer: NodeJS.Timeout | null = null
  #turn = 0

  static async open (options: AuthorsOptions): Promise<Authors> {
    const authors = new Authors(options)
    const ready = Promise.all(authors.#authors.map((author) => author.ready))
    const timer = setTimeout(() => authors.end(), OPEN_TIMEOUT_MS)
    await ready
    clearTimeout(timer)
    return authors
  }

  private constructor (options: AuthorsOptions) {
    const { rooms = 1 } = options
    for (let index = 0; index < options.authors; index++) this.#authors.push(new Author(options, index, index % rooms, this.#report))
  }

  /** From now on `perSecond` messages a second in all, each by the next author; 0 stops. */
  pace (perSecond: number): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    if (perSecond === 0) return
    const start = performance.now()
    let done = 0
    this.#timer = setInterval(() => {
      const due = Math.floor((performance.now() - start) / 1000 * perSecond)
      for (; done < due; done++) this.#send()
    }, TICK_MS)
  }

  /** From now on each author has so many messages under way all the time; 0 stops. Needs a server that answers. */
  press (underWay: number): void {
    for (const author of this.#authors) {
      author.onAnswers = underWay === 0 ? null : (count) => this.#sendMany(author, count)
      this.#sendMany(author, underWay)
    }
  }

  report (): AuthorsReport { return { ...this.#report } }

  end (): void {
    this.pace(0)
    for (const author of this.#authors) author.end()
  }

  #send (): void {
    this.#sendBy(this.#authors[this.#turn] as Author)
    this.#turn = (this.#turn + 1) % this.#authors.length
  }

  #sendBy (author: Author): void {
    if (author.link.unsentBytes <= UNSENT_MAX) author.link.write(this.#next(author))
  }

  #sendMany (author: Author, count: number): void {
    if (count > 0) author.link.write(Buffer.concat(Array.from({ length: count }, () => this.#next(author))))
  }

  #next (author: Author): Uint8Array {
    this.#report.sent++
    return author.frame()
  }
}

class Author implements LinkOwner, Hearer {
  readonly link: Link
  readonly room: number
  readonly ready: Promise<void>
  /** Told how many answers came since the last time. */
  onAnswers: ((count: number) => void) | null = null
  #answers = 0
  readonly #dialect: Dialect
  readonly #index: number
  readonly #report: Tally
  readonly #token: string | null
  #count = 1
  /** The number that must come next; 0: any. */
  #next = 0
  #onReady: () => void = () => {}
  #onFailed: (error: Error) => void = () => {}
  #isEnding = false

  constructor (options: AuthorsOptions, index: number, room: number, report: Tally) {
    this.#dialect = DIALECTS[options.dialect]
    this.#index = index
    this.#report = report
    this.#token = options.dialect === 'uproar' ? tokenOf(authorName(index)) : null
    this.room = room
    this.ready = new Promise((resolve, reject) => { this.#onReady = resolve; this.#onFailed = reject })
    this.link = new Link(options.port, this.#dialect.path(options.watch === true ? room : -1), this)
  }

  /** The next message, to be written now. */
  frame (): Uint8Array {
    return this.#dialect.message(this.room, this.#index, this.#count++)
  }

  opened (link: Link): void {
    const greeting = this.#dialect.greeting(this.room, this.#token, 0)
    if (greeting === null) this.#onReady()
    else link.write(greeting)
  }

  message (_: Link, bytes: Buffer, start: number, end: number, opcode: number): void {
    this.#dialect.read(this, bytes, start, end, opcode)
  }

  closed (_: Link, why: string): void {
    if (this.#isEnding) return
    this.#report.why = `an author's connection ended: ${why}`
    this.#report.ended++
    this.#onFailed(new Error(this.#report.why))
  }

  joined (last: number): void {
    this.#next = last + 1
    this.#onReady()
  }

  heard (told: Told): void {
    this.#report.received += told.size
    for (let run = 0; run < told.runs; run++) {
      const first = told.firsts[run] as number
      const after = first + (told.counts[run] as number)
      if (this.#next > 0 && first > this.#next) this.#report.missing += first - this.#next
      else if (first < this.#next) this.#report.repeated += Math.min(after, this.#next) - first
      this.#next = Math.max(this.#next, after)
    }
  }

  skipped (first: number, last: number): void { this.#report.missing += last - first + 1 }

  answered (_: number, refusal: string | null): void {
    if (refusal === null) {
      this.#report.accepted++
    } else {
      this.#report.refused++
      this.#report.why = refusal
    }
    if (this.onAnswers !== null && this.#answers++ === 0) {
      setImmediate(() => {
        const count = this.#answers
        this.#answers = 0
        this.onAnswers?.(count)
      })
    }
  }

  reply (frames: Uint8Array): void { this.link.write(frames) }

  end (): void {
    this.#isEnding = true
    this.link.end()
  }
}
