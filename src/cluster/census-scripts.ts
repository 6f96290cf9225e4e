// What the census asks Redis to do in one go, as scripts that Redis keeps by the hash of their text: two versions of the
// program run side by side, and one that Redis does not know (it was restarted, or another node took over) is sent whole
// again. Every key of a call bears the same hash tag. Time is Redis' own, so that instances' clocks need not agree.

import { createHash } from 'node:crypto'
import type { Redis, RedisWord } from '../base/redis.ts'

export class Script {
  readonly #text: string
  readonly #hash: string

  constructor (text: string) {
    this.#text = text
    this.#hash = createHash('sha1').update(text).digest('hex')
  }

  /** Runs it at the node that has the keys of this tag. Text in the answer comes as Buffers. Rejects with RedisFault. */
  async run (redis: Redis, tag: string, key: string, ...args: RedisWord[]): Promise<unknown> {
    try {
      return await redis.call(tag, 'EVALSHA', [this.#hash, 1, key, ...args])
    } catch (error) {
      if (!(error as Error).message.startsWith('NOSCRIPT')) throw error
      return await redis.call(tag, 'EVAL', [this.#text, 1, key, ...args])
    }
  }
}

/** Who is alive: reads the beats, takes out those that are over, and writes our own where `me` is not empty. */
const BEATS = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function beat (key, me, deadMs, ttlMs)
  local alive, silent, known, over = {}, {}, 0, {}
  local beats = redis.call('HGETALL', key)
  for i = 1, #beats, 2 do
    local age = now - tonumber(beats[i + 1])
    if age > deadMs then over[#over + 1] = beats[i]
    else
      alive[beats[i]] = true
      silent[beats[i]] = age
    end
  end
  if #over > 0 then redis.call('HDEL', key, unpack(over)) end
  if me ~= '' then
    if alive[me] then known = 1 end
    alive[me] = true
    silent[me] = 0
    redis.call('HSET', key, me, string.format('%.0f', now))
    redis.call('PEXPIRE', key, ttlMs)
  end
  return alive, silent, known, over
end
`

/**
 * KEYS[1] the shard's beats; ARGV: me, dead after ms, prefix of the shard's names, their life in ms, connections of a user
 * at most (0: no limit), then pairs of name and what there is of it here (empty: only asked; 0: nothing any more).
 * Answers with whether we were known (if not, what we told before may be gone), then for each name how many there are on
 * other instances; for a user the oldest stamp that stays and the instances that hold older ones, or nothing.
 *
 *   {c3}:beats          hash  instance ─▶ time
 *   {c3}:v:lobby        hash  instance ─▶ viewers
 *   {c3}:a:10.0.0.1     hash  instance ─▶ connections
 *   {c3}:u:ann          hash  instance ─▶ stamps of her newest connections, by commas
 */
export const CENSUS = new Script(`${BEATS}
local me, deadMs, prefix, ttlMs, usersMax = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local alive, _, known = beat(KEYS[1], me, deadMs, ttlMs)
local answer = { known }
local function crowd (all)
  if usersMax == 0 or #all <= usersMax then return '' end
  table.sort(all, function (a, b) return a[1] > b[1] end)
  local words, seen = { all[usersMax][2] }, {}
  for i = usersMax + 1, #all do
    local id = all[i][3]
    if not seen[id] then
      seen[id] = true
      words[#words + 1] = id
    end
  end
  return table.concat(words, ' ')
end
for i = 6, #ARGV, 2 do
  local name, here = ARGV[i], ARGV[i + 1]
  local key = prefix .. name
  if here == '0' then redis.call('HDEL', key, me)
  elseif here ~= '' then
    redis.call('HSET', key, me, here)
    redis.call('PEXPIRE', key, ttlMs)
  end
  local isUser = string.sub(name, 1, 1) == 'u'
  local fields, sum, all = redis.call('HGETALL', key), 0, {}
  for j = 1, #fields, 2 do
    local id, value = fields[j], fields[j + 1]
    if not alive[id] then redis.call('HDEL', key, id)
    elseif isUser then
      for stamp in string.gmatch(value, '[^,]+') do all[#all + 1] = { tonumber(stamp), stamp, id } end
    elseif id ~= me then sum = sum + tonumber(value) end
  end
  answer[#answer + 1] = isUser and crowd(all) or sum
end
return answer`)

/** KEYS[1] the beats of all instances; ARGV: me (empty: only asked), dead after ms, key of what they tell, life in ms, what we tell. Answers with id, what it tells and ms since then, for each alive. */
export const REGISTRY = new Script(`${BEATS}
local me, infos = ARGV[1], ARGV[3]
local alive, silent, _, over = beat(KEYS[1], me, tonumber(ARGV[2]), ARGV[4])
if #over > 0 then redis.call('HDEL', infos, unpack(over)) end
if me ~= '' then
  redis.call('HSET', infos, me, ARGV[5])
  redis.call('PEXPIRE', infos, ARGV[4])
end
local answer = {}
for id in pairs(alive) do
  local info = redis.call('HGET', infos, id)
  if info then
    answer[#answer + 1] = id
    answer[#answer + 1] = info
    answer[#answer + 1] = silent[id]
  end
end
return answer`)
