// The functions that Redis runs for us (redis-functions.lua), called by name. The library's name carries a hash of its
// text, so that instances of two versions each call their own while a deploy rolls. A node that does not know it (it is
// new, was emptied, or a failover's) gets it when it first says so, and the call is made again.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { RedisFault, type Redis, type RedisWord } from './redis.ts'

const TEXT = readFileSync(new URL('redis-functions.lua', import.meta.url), 'utf8')
const LIBRARY = `uproar_${createHash('sha256').update(TEXT).digest('hex').slice(0, 8)}`
const CODE = TEXT.replaceAll('@LIBRARY@', LIBRARY)

export type RedisFunction = 'publish' | 'read' | 'find' | 'look' | 'reset' | 'create' | 'remove' | 'list'

/**
 * Calls a function on the node of `tag`; `prefix` is that of its keys. Rejects with RedisFault.
 * `timeoutMs`: of the call itself; loading may come on top of it once.
 */
export async function callFunction (redis: Redis, tag: string, name: RedisFunction, prefix: string, words: readonly RedisWord[], timeoutMs?: number): Promise<unknown> {
  const call = (): Promise<unknown> => redis.call(tag, 'FCALL', [`${LIBRARY}_${name}`, 1, `${prefix}id`, prefix, ...words], timeoutMs)
  try {
    return await call()
  } catch (error) {
    if (!(error instanceof RedisFault) || !/^ERR Function not found/.test(error.message)) throw error
  }
  await load(redis, tag)
  return call()
}

async function load (redis: Redis, tag: string): Promise<void> {
  try {
    await redis.call(tag, 'FUNCTION', ['LOAD', CODE])
  } catch (error) {
    // Another instance was faster.
    if (!(error instanceof RedisFault) || !/already exists/.test(error.message)) throw error
  }
}
