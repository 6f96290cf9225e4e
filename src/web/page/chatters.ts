// Who wrote lately, for completing mentions. Bound: the 500 most recent. Must not know the page.

import type { Author } from '../client.ts'

const CHATTERS_MAX = 500
const SUGGESTIONS_MAX = 6

export class Chatters {
  readonly #byId = new Map<string, Author>()

  /** Somebody wrote: becomes the most recent one. */
  saw (author: Author): void {
    this.#byId.delete(author.id)
    this.#byId.set(author.id, author)
    if (this.#byId.size > CHATTERS_MAX) this.#byId.delete(this.#byId.keys().next().value as string)
  }

  /** Names that begin with (or else contain) what was typed, most recent first, each name once. `except`: the reader's id. */
  suggest (typed: string, except: string | null): Author[] {
    const wanted = plain(typed)
    const begins: Author[] = []
    const contains: Author[] = []
    const names = new Set<string>()
    for (const author of [...this.#byId.values()].reverse()) {
      if (author.id === except || names.has(author.name)) continue
      const name = plain(author.name)
      const list = name.startsWith(wanted) ? begins : name.includes(wanted) ? contains : null
      if (list === null) continue
      names.add(author.name)
      list.push(author)
      if (begins.length === SUGGESTIONS_MAX) break
    }
    return [...begins, ...contains].slice(0, SUGGESTIONS_MAX)
  }

  /** The ids of those whose `@name` stands in a text, at most `max`. */
  mentioned (text: string, max: number): string[] {
    if (!text.includes('@')) return []
    const lower = text.toLocaleLowerCase()
    const ids: string[] = []
    for (const author of this.#byId.values()) {
      if (ids.length === max) break
      if (isMentioned(lower, `@${author.name.toLocaleLowerCase()}`)) ids.push(author.id)
    }
    return ids
  }
}

function isMentioned (text: string, name: string): boolean {
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    if (!/[\p{L}\p{N}_]/u.test(text.charAt(at + name.length))) return true
  }
  return false
}

// Without case and accents: who types "jose" finds "José".
function plain (text: string): string {
  return text.normalize('NFKD').replace(/\p{M}+/gu, '').toLocaleLowerCase()
}
