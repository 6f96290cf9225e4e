// The functions that Redis runs for us (redis-functions.lua), called by name. The library's name carries a hash of its
// text, so that instances of two versions each call their own while a deploy rolls. A node that does not know it (it is
// new, was emptied, or a failover's) gets it when it first says so, and the call is made again.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { RedisFault, type Redis, type RedisWord } from './redis.ts'

const TEXT = readFileSync(new URL('redis-functions.lua', import.meta.url), 'utf8')
const LIBRARY = `uproar_${createHash('sha256').update(TEXT).digest('hex').slice(0, 8)}`
const CODE = TEXT.replaceAll('@LIBRARY@', LIBRARY)

export type RedisFunction = 'publish' | 'read' | 'find' | 'look' | 'reset' | 'rewrite' | 'scrub' | 'attribute' | 'acknowledge' | 'create' | 'remove' | 'list'

/** A Cluster may have moved the keys between the loading and the call. */
const LOADS_MAX = 3

/**
 * Calls a function on the node of `tag`; `prefix` is that of its keys. Rejects with RedisFault.
 * `timeoutMs`: of one call; loading the functions may come on top of it.
 */
export async function callFunction (redis: Redis, tag: string, name: RedisFunction, prefix: string, words: readonly RedisWord[], timeoutMs?: number): Promise<unknown> {
  for (let loads = 0; ; loads++) {
    try {
      return await redis.call(tag, 'FCALL', [`${LIBRARY}_${name}`, 1, `${prefix}id`, prefix, ...words], timeoutMs)
    } catch (error) {
      if (!(error instanceof RedisFault) || !error.message.startsWith('ERR Function not found') || loads === LOADS_MAX) throw error
    }
    await load(redis, tag)
  }
}

async function load (redis: Redis, tag: string): Promise<void> {
  try {
    await redis.call(tag, 'FUNCTION', ['LOAD', CODE])
  } catch (error) {
    // Another instance was faster.
    if (!(error instanceof RedisFault) || !/already exists/.test(error.message)) throw error
  }
}
