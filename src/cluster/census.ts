// One shard of the census as one instance sees it: what is here, what was told of it, and how many there are elsewhere.
// What changed is told first, in slices; the rest is told again in turn, which also asks for what changed elsewhere:
//
//   note() ──▶ changed ──┐
//                        ├─▶ slice of names ──▶ one call ──▶ elsewhere, crowded users
//   all, in turn ────────┘
//
// A name that changes here is asked for with that; n that do not are asked for within n / ASKED_MAX beats, and the more
// instances there are the slower, so that all together cost Redis the same (measured: 5.8 µs a name told and asked for,
// so at most some 5 % of a core beside what changes). Bounds: an entry a name that is here; one call at a time.

import type { Redis } from '../base/redis.ts'
import { CENSUS } from './census-scripts.ts'
import { DEAD_MS, type Counted } from './cluster.ts'

/** Names told in one call, besides those in turn: some 1.5 ms of Redis. While more have changed, calls follow one another. */
const TOLD_MAX = 250
/** Names in turn with every beat, up to so many instances; beyond it they share what those would ask. */
const ASKED_MAX = 250
const ASKING_INSTANCES_MAX = 4
/** What is not told again for so long is forgotten; everything is told again in a sixth of it. */
const LIFE_MS = 3_600_000
const BEATS_PER_ROUND = 600

const LETTERS: Readonly<Record<Counted, string>> = { viewers: 'v', addresses: 'a' }

interface Row {
  /** What is here, as Redis is told it; '0': nothing. */
  here: string
  elsewhere: number
}

export interface CensusHooks {
  /** The number elsewhere changed. */
  readonly changed: (what: Counted, name: string) => void
  /** A user has too many connections; those before the stamp, on these instances, give way. */
  readonly crowded: (user: string, stamp: number, instances: readonly string[]) => void
}

export interface CensusOptions {
  readonly redis: Redis
  readonly me: string
  /** The shard's hash tag, such as `c3`. */
  readonly tag: string
  /** Of its keys, such as `uproar:{c3}:`. */
  readonly prefix: string
  readonly usersMax: number
  readonly hooks: CensusHooks
}

export class Census {
  readonly #options: CensusOptions
  #counts = new Map<string, Row>()
  #users = new Map<string, Row>()
  #changed = new Set<string>()
  #countsInTurn: Iterator<string> = [].values()
  #usersInTurn: Iterator<string> = [].values()
  #isAsking = false

  constructor (options: CensusOptions) {
    this.#options = options
  }

  /** Names that are kept. */
  get size (): number { return this.#counts.size + this.#users.size }

  note (what: Counted, name: string, here: number): void {
    this.#note(this.#counts, `${LETTERS[what]}:${name}`, String(here))
  }

  noteUser (user: string, stamps: readonly number[]): void {
    this.#note(this.#users, `u:${user}`, stamps.length === 0 ? '0' : stamps.join(','))
  }

  elsewhere (what: Counted, name: string): number {
    return this.#counts.get(`${LETTERS[what]}:${name}`)?.elsewhere ?? 0
  }

  /** Viewers of these rooms on other instances, asked now. */
  async askViewers (rooms: readonly string[]): Promise<number[]> {
    const answer = await this.#call(rooms.flatMap((room) => [`v:${room}`, '']))
    return answer.slice(1).map(Number)
  }

  /** One beat, of one of so many instances: tells what changed, and the next ones in turn. Nothing when the last one is still under way. Rejects as Redis does. */
  async beat (instances: number): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    try {
      await this.#tell([...this.#slice(), ...this.#inTurn(instances)])
      while (this.#changed.size > 0) await this.#tell(this.#slice())
    } finally {
      this.#isAsking = false
    }
  }

  /** Takes this instance out: what it told no longer counts. */
  async leave (): Promise<void> {
    const { redis, tag, prefix, me } = this.#options
    await redis.call(tag, 'HDEL', [`${prefix}beats`, me])
  }

  #note (rows: Map<string, Row>, key: string, here: string): void {
    const row = rows.get(key)
    if (row === undefined) {
      if (here === '0') return
      rows.set(key, { here, elsewhere: 0 })
    } else {
      if (row.here === here) return
      row.here = here
    }
    this.#changed.add(key)
  }

  #slice (): string[] {
    const slice: string[] = []
    for (const key of this.#changed) {
      this.#changed.delete(key)
      if (slice.push(key) === TOLD_MAX) break
    }
    return slice
  }

  #inTurn (instances: number): string[] {
    const keys: string[] = []
    const share = Math.ceil(ASKED_MAX * Math.min(1, ASKING_INSTANCES_MAX / instances))
    this.#countsInTurn = take(this.#counts, this.#countsInTurn, Math.min(share, this.#counts.size), keys)
    this.#usersInTurn = take(this.#users, this.#usersInTurn, Math.ceil(this.#users.size / BEATS_PER_ROUND), keys)
    return keys
  }

  async #tell (names: readonly string[]): Promise<void> {
    const keys = [...new Set(names)]
    const told = keys.map((key) => this.#row(key)?.here ?? '0')
    let answer: unknown[]
    try {
      answer = await this.#call(keys.flatMap((key, at) => [key, told[at] as string]))
    } catch (error) {
      for (const key of keys) this.#changed.add(key)
      throw error
    }
    // Redis did not know us: we were silent for too long, or it lost its data. All of it is told again.
    if (answer[0] !== 1) this.#tellAll(keys)
    for (const [at, key] of keys.entries()) this.#heard(key, told[at] as string, answer[at + 1])
  }

  #tellAll (but: readonly string[]): void {
    const told = new Set(but)
    for (const rows of [this.#counts, this.#users]) for (const key of rows.keys()) if (!told.has(key)) this.#changed.add(key)
  }

  #heard (key: string, told: string, answer: unknown): void {
    const name = key.slice(2)
    if (key.startsWith('u')) {
      const [stamp, ...instances] = String(answer).split(' ')
      if (instances.length > 0) this.#options.hooks.crowded(name, Number(stamp), instances)
      if (told === '0' && this.#users.get(key)?.here === '0') this.#users.delete(key)
      return
    }
    const row = this.#counts.get(key)
    if (row === undefined) return
    const elsewhere = Number(answer)
    const isOther = row.elsewhere !== elsewhere
    row.elsewhere = elsewhere
    if (told === '0' && row.here === '0') this.#counts.delete(key)
    if (isOther) this.#options.hooks.changed(key.startsWith('v') ? 'viewers' : 'addresses', name)
  }

  #row (key: string): Row | undefined {
    return (key.startsWith('u') ? this.#users : this.#counts).get(key)
  }

  async #call (pairs: readonly string[]): Promise<unknown[]> {
    const { redis, tag, me, prefix, usersMax } = this.#options
    return await CENSUS.run(redis, tag, `${prefix}beats`, me, DEAD_MS, prefix, LIFE_MS, usersMax, ...pairs) as unknown[]
  }
}

/** Adds the next `count` keys to `into`, beginning anew at the end; returns where it stands. Keys that went are passed over. */
function take (rows: ReadonlyMap<string, unknown>, from: Iterator<string>, count: number, into: string[]): Iterator<string> {
  let place = from
  let wraps = 0
  for (let left = count; left > 0;) {
    const { value, done } = place.next()
    if (done === true) {
      if (wraps++ > 0) break
      place = rows.keys()
    } else {
      into.push(value)
      left--
    }
  }
  return place
}
