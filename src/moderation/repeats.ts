// Who said the same lately: per author, and how many authors in a room. Owns two maps; must not know rooms' settings.
// Bounds: AUTHORS_MAX and TEXTS_MAX keys, the longest silent forgotten; at most CROWD_MAX authors counted for one text.

import { BoundedMap } from '../base/bounded.ts'
import { REPEAT_MS } from './levels.ts'

const AUTHORS_MAX = 100_000
const TEXTS_MAX = 50_000
const CROWD_MAX = 32

interface Said { text: string, count: number, at: number, nonce: string }
interface Crowd { readonly authors: Set<string>, at: number }

export interface Repeat {
  /** How often this author said it before, in a row. */
  readonly own: number
  /** How many other authors said it, CROWD_MAX at most. */
  readonly others: number
  /** When it was last said, milliseconds ago; Infinity: never. */
  readonly agoMs: number
}

const NEVER: Repeat = { own: 0, others: 0, agoMs: Infinity }

export class Repeats {
  readonly #said = new BoundedMap<string, Said>(AUTHORS_MAX)
  readonly #crowds = new BoundedMap<string, Crowd>(TEXTS_MAX)

  /** What was said before, as of `elapsed` milliseconds. A message's own retry (same nonce) is no repeat. */
  look (room: string, author: string, text: string, nonce: string, elapsed: number): Repeat {
    if (text === '') return NEVER
    const said = this.#said.get(`${room} ${author}`)
    if (said !== undefined && said.nonce === nonce) return NEVER
    const own = said !== undefined && said.text === text && elapsed - said.at < REPEAT_MS ? said.count : 0
    const crowd = this.#crowds.get(`${room} ${text}`)
    if (crowd === undefined || elapsed - crowd.at >= REPEAT_MS) return { own, others: 0, agoMs: own > 0 ? elapsed - (said as Said).at : Infinity }
    return { own, others: crowd.authors.size - (crowd.authors.has(author) ? 1 : 0), agoMs: elapsed - crowd.at }
  }

  /** Notes that it was said. */
  note (room: string, author: string, text: string, nonce: string, elapsed: number): void {
    if (text === '') return
    const key = `${room} ${author}`
    const said = this.#said.get(key)
    const count = said !== undefined && said.text === text && elapsed - said.at < REPEAT_MS ? said.count + (said.nonce === nonce ? 0 : 1) : 1
    this.#said.set(key, { text, count, at: elapsed, nonce })
    const textKey = `${room} ${text}`
    const known = this.#crowds.get(textKey)
    const crowd = known !== undefined && elapsed - known.at < REPEAT_MS ? known : { authors: new Set<string>(), at: elapsed }
    crowd.at = elapsed
    if (crowd.authors.size < CROWD_MAX) crowd.authors.add(author)
    this.#crowds.set(textKey, crowd)
  }
}
