// Server keys (API_KEYS): what a platform's own backend presents instead of a token. Only hashes are kept, and every key
// is compared every time, so that the time an answer takes says nothing about a key.

import { createHash, timingSafeEqual } from 'node:crypto'

const KEY_CHARACTERS_MAX = 4096

export class ServerKeys {
  #digests: readonly Buffer[]

  constructor (keys: readonly string[]) {
    this.#digests = keys.map(digest)
  }

  has (key: string): boolean {
    if (typeof key !== 'string' || key.length > KEY_CHARACTERS_MAX) return false
    const presented = digest(key)
    let isKnown = false
    for (const known of this.#digests) isKnown = timingSafeEqual(known, presented) || isKnown
    return isKnown
  }
}

function digest (key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
