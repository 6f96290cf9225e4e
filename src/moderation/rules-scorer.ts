// The scorer that needs nothing else: floods of one author, raids by many newcomers who post alike, and repeat offenders.
// Time is the messages' own, so a backlog is judged as it was written. A rule says how far beyond it somebody is:
//
//   flood   more than 10 messages of an author in 10 s, or one text 4 times in 30 s
//   raid    8 newcomers (first seen in the room within 60 s) who post one text of 12 characters or more within 30 s
//   repeat  whoever was sanctioned in other rooms within a day counts as half as bad again for each, up to double
//
// Bounds: AUTHORS_MAX authors, TEXTS_MAX texts, OFFENDERS_MAX users, the oldest of each forgotten.

import { BoundedMap } from '../base/bounded.ts'
import type { Log } from '../log/log.ts'
import { Audit } from './audit.ts'
import { gist } from './habits.ts'
import type { Scorable, Score, Scorer } from './scorer.ts'

const AUTHORS_MAX = 100_000
const TEXTS_MAX = 20_000
const OFFENDERS_MAX = 50_000

const FLOOD = { messages: 10, ms: 10_000, same: 4, sameMs: 30_000 } as const
const RAID = { newcomers: 8, newMs: 60_000, ms: 30_000, characters: 12 } as const
const OFFENCES: ReadonlySet<string> = new Set(['timeout', 'ban', 'shadowBan'])
const OFFENCE_MS = 86_400_000
const OFFENCE_FACTOR = 0.5

interface Author { readonly since: number, readonly times: number[], readonly texts: { readonly text: string, readonly ts: number }[] }
interface Text { readonly users: Map<string, number> }

export class RulesScorer implements Scorer {
  readonly name = 'rules'
  readonly #authors = new BoundedMap<string, Author>(AUTHORS_MAX)
  readonly #texts = new BoundedMap<string, Text>(TEXTS_MAX)
  /** By user, the rooms that sanctioned it and when. */
  readonly #offences = new BoundedMap<string, Map<string, number>>(OFFENDERS_MAX)
  readonly #audit: Audit
  #unfollow: () => void = () => {}

  /** `log`: whose audit rows tell of offenders, in every room and from every instance. */
  constructor (log: Log) { this.#audit = new Audit(log) }

  async start (): Promise<void> {
    this.#unfollow = await this.#audit.follow(({ action, whom, room, ts, failure }) => {
      if (whom !== null && failure === null && OFFENCES.has(action)) this.#offended(whom, room, ts)
    })
  }

  stop (): void {
    this.#unfollow()
  }

  async score (messages: readonly Scorable[]): Promise<readonly (Score | null)[]> {
    return messages.map((message) => this.#score(message))
  }

  #offended (user: string, room: string, ts: number): void {
    const rooms = this.#offences.get(user) ?? new Map<string, number>()
    if (rooms.size < 100 || rooms.has(room)) rooms.set(room, ts)
    this.#offences.set(user, rooms)
  }

  #score (message: Scorable): Score | null {
    const author = this.#note(message)
    const found = [this.#flood(author, message), this.#raid(author, message)].filter((score) => score !== null).sort((a, b) => b.score - a.score)[0]
    return found === undefined ? null : this.#weighed(found, message)
  }

  #note ({ room, user, ts, body }: Scorable): Author {
    const key = `${room}\n${user.id}`
    const author: Author = this.#authors.get(key) ?? { since: ts, times: [], texts: [] }
    author.times.push(ts)
    while ((author.times[0] as number) <= ts - FLOOD.ms) author.times.shift()
    author.texts.push({ text: gist(body), ts })
    while (author.texts.length > 64 || (author.texts[0]?.ts ?? Infinity) <= ts - FLOOD.sameMs) author.texts.shift()
    this.#authors.set(key, author)
    return author
  }

  #flood ({ times, texts }: Author, { body }: Scorable): Score | null {
    const text = gist(body)
    const same = texts.filter((each) => each.text === text).length
    const over = Math.max(times.length / FLOOD.messages, same / (FLOOD.same - 1))
    if (over <= 1) return null
    const why = times.length > FLOOD.messages ? `${times.length} messages in ${FLOOD.ms / 1000} s` : `one text ${same} times in ${FLOOD.sameMs / 1000} s`
    return { score: Math.min(1, 0.4 + (over - 1) * 0.4), label: 'flood', why }
  }

  #raid ({ since }: Author, { room, user, ts, body }: Scorable): Score | null {
    const text = gist(body)
    if (ts - since > RAID.newMs || text.length < RAID.characters) return null
    const key = `${room}\n${text}`
    const { users } = this.#texts.get(key) ?? { users: new Map<string, number>() }
    // The one longest silent first.
    users.delete(user.id)
    users.set(user.id, ts)
    for (const [id, at] of users) {
      if (at > ts - RAID.ms) break
      users.delete(id)
    }
    this.#texts.set(key, { users })
    if (users.size < RAID.newcomers) return null
    return { score: Math.min(1, 0.9 + (users.size - RAID.newcomers) * 0.01), label: 'raid', why: `${users.size} newcomers post the same within ${RAID.ms / 1000} s` }
  }

  #weighed ({ score, label, why }: Score, { user, room, ts }: Scorable): Score {
    const rooms = [...this.#offences.get(user.id) ?? []].filter(([name, at]) => name !== room && ts - at < OFFENCE_MS).length
    if (rooms === 0) return { score, label, why }
    return { score: Math.min(1, score * Math.min(2, 1 + rooms * OFFENCE_FACTOR)), label, why: `${why}; sanctioned in ${rooms} other ${rooms === 1 ? 'room' : 'rooms'} within a day` }
  }
}
