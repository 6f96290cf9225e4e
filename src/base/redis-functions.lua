#!lua name=@LIBRARY@

-- What Redis itself does for the room log and the directory: everything that must be atomic. Loaded by
-- redis-functions.ts under a name that carries a hash of this text, so two versions can serve side by side; keys and
-- encodings are described in redis-layout.ts. Every key of a call has the shard's hash tag and is derived from the
-- prefix `p` ("uproar:{3}:"); KEYS[1] is there to send the call to the right node.
--
-- Within a function all reads come before the first write, and `publish` asks for every key that it will write, so that
-- an error (a key that a Cluster is moving) leaves nothing half done; the head is the truth if something is all the same.
-- Numbers are 48 bits at most, which Lua's doubles hold exactly.

-- Lua's libraries and `redis.call` are there only while a function runs: each call sets these first.
local call, decode, encode, floor, min, max, concat

-- Never cut, whatever is configured: the newest entries that are also young, so that a viewer can resume.
local KEPT_ENTRIES, KEPT_MS = 10000, 600000
-- A publish trims only when it is worth it; a read trims exactly.
local SLACK = { entries = 1024, bytes = 1048576, ms = 60000 }
local EXACT = { entries = 0, bytes = 0, ms = 0 }
local PUBLISH_RUNS, READ_RUNS = 8, 64
-- Instances' clocks may differ by so much where a nonce's bucket ends.
local SKEW_MS = 10000
local DONE_MS = 86400000
-- How long a stream waits for a consumer of the feed that does not come back.
local AWAITED_MS = 604800000
-- How long a window that was changed still counts, and how many buckets of one width are looked into.
local WINDOW_MS_MAX, BUCKETS_MAX = 86400000, 60

-- ---- the shard and its rooms -------------------------------------------------------------------------------------

-- The shard's life: `i` its incarnation, `n` its stream's last batch, `d` the stream id of that; `w` the dedup window by
-- which nonces are kept, and `v` the one before, until `c`.
-- `k`, `km`, `kt`: what the feed's consumers have of the stream (its acknowledge below), where there are any.
local function shard_of (p, seed)
  local v = call('HMGET', p .. 'id', 'i', 'n', 'd', 'w', 'v', 'c', 'k', 'km', 'kt')
  if not v[1] then return { i = seed, n = 0, d = '0-0', isNew = true } end
  return {
    i = v[1], n = tonumber(v[2]), d = v[3], w = tonumber(v[4] or nil), v = tonumber(v[5] or nil), c = tonumber(v[6] or nil),
    k = tonumber(v[7] or nil), km = tonumber(v[8] or nil), kt = tonumber(v[9] or nil)
  }
end

local function keep_shard (p, shard)
  if shard.isNew then call('HSET', p .. 'id', 'i', shard.i, 'n', shard.n, 'd', shard.d) end
  shard.isNew = nil
end

-- Epochs of one call: its random seed, and a count behind the first.
local function epochs (seed)
  local count = 0
  return function ()
    count = count + 1
    return count == 1 and seed or seed .. '.' .. count
  end
end

-- A room's head, or false. One of another incarnation of the shard goes on under a fresh epoch: `was` is the old one.
local function head_of (p, room, shard, fresh)
  local v = call('HMGET', p .. 'head:' .. room, 'q', 't', 'b', 'e', 'l', 'f', 'i', 'o', 'x', 'w')
  if not v[1] then return false end
  local h = {
    room = room, q = tonumber(v[1]), t = tonumber(v[2]), b = tonumber(v[3]), e = v[4], l = v[5], f = tonumber(v[6]),
    i = v[7], o = tonumber(v[8]), x = tonumber(v[9]), w = v[10]
  }
  if h.i ~= shard.i then h.w, h.e, h.i, h.isDirty = h.e, fresh(), shard.i, true end
  return h
end

-- Of a log that is gone nothing may be left for the next one.
local function new_head (p, room, shard, fresh)
  local epoch = fresh()
  call('DEL', p .. 'log:' .. room, p .. 'state:' .. room)
  return { room = room, e = epoch, l = epoch, q = 0, f = 1, t = 0, b = 0, i = shard.i, o = 0, x = 0, w = '', isDirty = true }
end

local function keep_head (p, h)
  if h.isDirty then
    call('HSET', p .. 'head:' .. h.room, 'q', h.q, 't', h.t, 'b', h.b, 'e', h.e, 'l', h.l, 'f', h.f, 'i', h.i, 'o', h.o, 'x', h.x, 'w', h.w)
  elseif h.hasGrown then
    call('HSET', p .. 'head:' .. h.room, 'q', h.q, 't', h.t, 'b', h.b)
  end
  h.isDirty, h.hasGrown = false, false
end

local function seq_of (id)
  return tonumber(id:match('^%d+'))
end

-- ---- retention ---------------------------------------------------------------------------------------------------

local function is_due (h, now, keep, slack)
  if h.f > h.q then return false end
  return h.q - h.f + 1 - keep.entries > slack.entries or h.b - keep.bytes > slack.bytes or h.o < now - keep.ms - slack.ms
end

-- All entries of a run have one time; its first one stands behind 3 bytes of length.
local function run_ts (data)
  local at = data:byte(6) == 206 and 12 or 16
  local high, low = decode('>I4I4', data, at)
  return high * 4294967296 + low
end

-- Moves the head's `f` and drops whole runs before it; looks at `budget` runs at most.
local function trim (p, h, now, keep, budget)
  local log = p .. 'log:' .. h.room
  local old, young = now - keep.ms, now - KEPT_MS
  local from, beyond, take = '-', nil, 1
  while budget > 0 do
    local runs = call('XRANGE', log, from, '+', 'COUNT', take + 1)
    if #runs == 0 then
      -- The history of an idle room has expired as a whole.
      if from == '-' then h.f, h.b, h.isDirty = h.q + 1, 0, true end
      break
    end
    local isDone = #runs <= take
    for k = 1, min(take, #runs) do
      local data, following = runs[k][2][2], runs[k + 1]
      local last = following and seq_of(following[1]) - 1 or h.q
      local ts = run_ts(data)
      local wanted = (ts < old or h.b > keep.bytes) and last or min(last, h.q - keep.entries)
      local upto = min(wanted, ts >= young and h.q - KEPT_ENTRIES or last)
      if upto >= h.f then h.f = upto + 1 end
      if upto < last then
        h.o, isDone = ts, true
        break
      end
      h.b = max(0, h.b - #data)
      beyond = following and following[1] or (h.q + 1) .. '-0'
    end
    h.isDirty = true
    if isDone then break end
    from = runs[take + 1][1]
    budget = budget - take
    take = 8
  end
  if beyond then call('XTRIM', log, 'MINID', beyond) end
end

-- A room in which nothing happens any more loses its history by Redis' own clock.
local function keep_alive (p, h, now, keep)
  if math.abs(now - h.x) <= keep.ms / 16 then return end
  h.x, h.isDirty = now, true
  call('PEXPIRE', p .. 'log:' .. h.room, floor(keep.ms * 1.125) + KEPT_MS)
end

-- ---- nonces ------------------------------------------------------------------------------------------------------

local function redis_ms ()
  local time = call('TIME')
  return time[1] * 1000 + floor(time[2] / 1000)
end

local function bucket_of (width, ms)
  return floor(width / 60000) .. ':' .. floor(ms / width)
end

-- The buckets that still count, newest first, by Redis' clock so that all instances agree; the one that begins next too,
-- for another node's clock may have been ahead. Where the window was changed, or instances have different ones, buckets
-- of both widths are looked into.
local function buckets (shard, ms, window)
  local all, isIn = {}, {}
  local widths = { window, shard.w, shard.c and ms < shard.c and shard.v or nil }
  for _, width in pairs(widths) do
    local oldest = max(floor((ms - window) / width), floor(ms / width) - BUCKETS_MAX)
    for at = floor((ms + SKEW_MS) / width), oldest, -1 do
      local name = bucket_of(width, at * width)
      if not isIn[name] then all[#all + 1] = name end
      isIn[name] = true
    end
  end
  return all
end

local function keep_window (p, shard, ms, window)
  if shard.w == window then return end
  call('HSET', p .. 'id', 'w', window, 'v', shard.w or window, 'c', ms + WINDOW_MS_MAX)
end

-- A nonce's value is the seq and the ts as they stand in the entry, and the log's lineage.
local function nonce_result (value, h, now, window)
  if not h or not value then return nil end
  local at, seq = 6, nil
  if value:byte(1) == 206 then
    seq = decode('>I4', value, 2)
  else
    local high, low = decode('>I4I4', value, 2)
    at, seq = 10, high * 4294967296 + low
  end
  local high, low = decode('>I4I4', value, at + 1)
  local ts = high * 4294967296 + low
  if value:sub(at + 9) ~= h.l or now - ts >= window then return nil end
  return seq, ts
end

local function known_nonces (p, asked, all)
  local known = {}
  if #asked == 0 then return known end
  for _, bucket in ipairs(all) do
    local values = call('HMGET', p .. 'nonces:' .. bucket, unpack(asked))
    for k, value in ipairs(values) do
      if value and not known[asked[k]] then known[asked[k]] = value end
    end
  end
  return known
end

-- ---- publish -----------------------------------------------------------------------------------------------------

local function seq_bytes (seq)
  if seq < 4294967296 then return encode('>BI4', 206, seq) end
  return encode('>BI4I4', 207, floor(seq / 4294967296), seq % 4294967296)
end

local function ts_bytes (ts)
  return encode('>BI4I4', 207, floor(ts / 4294967296), ts % 4294967296)
end

local function read_patch (blob, at)
  local count, patch = nil, {}
  count, at = decode('>I2', blob, at)
  for k = 1, count do
    local isSet, field, value
    isSet, field, at = decode('>BI2c0', blob, at)
    if isSet == 1 then value, at = decode('>I4c0', blob, at) end
    patch[k] = { field, value }
  end
  return patch, at
end

-- The batch as the instance packed it (redis-layout.ts), and the nonces in it.
local function read_batch (blob)
  local groups, asked, at, size = {}, {}, 1, #blob
  while at <= size do
    local kind, room, epoch, count
    kind, room, epoch, count, at = decode('>BI2c0I1c0I2', blob, at)
    local group = { kind = kind, room = room, epoch = epoch, count = count, nonces = {}, heads = {}, tails = {}, patches = {}, states = {} }
    for k = 1, count do
      local flags
      group.nonces[k], flags, group.heads[k], group.tails[k], at = decode('>I1c0Bc5I3c0', blob, at)
      if flags >= 2 then group.states[k], at = decode('>I6', blob, at) end
      if flags % 2 == 1 then group.patches[k], at = read_patch(blob, at) end
      if group.nonces[k] ~= '' then asked[#asked + 1] = group.nonces[k] end
    end
    groups[#groups + 1] = group
  end
  return groups, asked
end

local function merge_state (p, room, patch, seq)
  local key = p .. 'state:' .. room
  call('HSET', key, 'q', seq)
  for _, change in ipairs(patch) do
    if change[2] then call('HSET', key, change[1], change[2]) else call('HDEL', key, change[1]) end
  end
end

local CONFLICT, GONE, REPEATED = 3, 2, 1

-- Fails before anything is written when one of the keys is being moved to another node.
local function touch_all (p, groups, bucket)
  local keys = { p .. 'stream', p .. 'nonces:' .. bucket }
  for _, group in ipairs(groups) do
    keys[#keys + 1] = p .. 'log:' .. group.room
    if next(group.patches) or next(group.states) then keys[#keys + 1] = p .. 'state:' .. group.room end
  end
  call('EXISTS', unpack(keys))
end

-- Appends a run. Runs from there on that are no part of the log are what an act that failed half-way left behind.
local function add_run (log, first, run)
  local id = first .. '-0'
  local added = redis.pcall('XADD', log, id, 'd', run)
  if type(added) ~= 'table' or not added.err then return end
  for _, orphan in ipairs(call('XRANGE', log, id, '+')) do call('XDEL', log, orphan[1]) end
  call('XSETID', log, (first - 1) .. '-0')
  call('XADD', log, id, 'd', run)
end

-- Appends what is new of a group. Answers its part of the reply, and its part of the shard's stream if it has one.
local function append_group (p, group, h, batch)
  local ts = max(batch.now, h and h.t or 0)
  local isOver = group.epoch ~= '' and (not h or (h.e ~= group.epoch and h.w ~= group.epoch))
  local tsb, parts, others, first = ts_bytes(ts), {}, {}, h and h.q + 1 or 1
  local size, seq = 0, first - 1
  for k = 1, group.count do
    local nonce = group.nonces[k]
    local oldSeq, oldTs = nonce_result(nonce ~= '' and batch.known[nonce] or nil, h, batch.now, batch.window)
    if oldSeq then
      others[#others + 1] = encode('>I2BI6I6', k - 1, REPEATED, oldSeq, oldTs)
    elseif isOver then
      others[#others + 1] = encode('>I2BI6I6', k - 1, GONE, 0, 0)
    elseif group.states[k] and group.states[k] ~= (h and tonumber(call('HGET', p .. 'state:' .. group.room, 'q') or 0) or 0) then
      others[#others + 1] = encode('>I2BI6I6', k - 1, CONFLICT, 0, 0)
    else
      if not h then h = batch.make(group.room) end
      seq = seq + 1
      local seqb = seq_bytes(seq)
      parts[size + 1], parts[size + 2], parts[size + 3], parts[size + 4] = group.heads[k], seqb, tsb, group.tails[k]
      size = size + 4
      if nonce ~= '' then
        local value = seqb .. tsb .. h.l
        batch.known[nonce] = value
        batch.fresh[#batch.fresh + 1] = nonce
        batch.fresh[#batch.fresh + 1] = value
      end
      if group.patches[k] then merge_state(p, group.room, group.patches[k], seq) end
    end
  end
  local epoch = h and h.e or ''
  local reply = encode('>I1c0I6I6I2', #epoch, epoch, first, ts, #others) .. concat(others)
  if size == 0 then return reply, nil end
  local run = concat(parts)
  add_run(p .. 'log:' .. group.room, first, run)
  if h.f > h.q then h.o, h.isDirty = ts, true end
  h.q, h.t, h.b, h.hasGrown = seq, ts, h.b + #run, true
  return reply, encode('>BI2c0I1c0I6I4I4', 1, #group.room, group.room, #epoch, epoch, first, seq - first + 1, #run) .. run
end

local function remove_group (p, group, h)
  if not h then return nil end
  call('DEL', p .. 'head:' .. group.room, p .. 'log:' .. group.room, p .. 'state:' .. group.room)
  return encode('>BI2c0I1c0I6I4I4', 2, #group.room, group.room, #h.e, h.e, 0, 0, 0)
end

-- Trimming waits for what the feed's consumers have not acknowledged, up to a cap of batches, and not for ever.
local function announce (p, shard, segments, ms, stream)
  shard.n = shard.n + 1
  local isAwaited = shard.k and ms - shard.kt < AWAITED_MS
  local upto = ms - stream.ms
  if isAwaited then
    if shard.n - shard.k < stream.unread then upto = min(upto, shard.km) end
    stream.max = max(stream.max, min(stream.unread, shard.n - shard.k))
  end
  local data = encode('>I1c0I6', #shard.i, shard.i, shard.n) .. segments
  shard.d = call('XADD', p .. 'stream', 'MAXLEN', '~', stream.max, '*', 'd', data)
  call('HSET', p .. 'id', 'i', shard.i, 'n', shard.n, 'd', shard.d)
  shard.isNew = nil
  if shard.n % 64 == 0 then call('XTRIM', p .. 'stream', 'MINID', '~', upto) end
end

local function stream_of (args, at)
  return { max = tonumber(args[at]), ms = tonumber(args[at + 1]), unread = tonumber(args[at + 2]) }
end

local function keep_of (args, at)
  return { ms = tonumber(args[at]), entries = tonumber(args[at + 1]), bytes = tonumber(args[at + 2]) }
end

-- Canary rooms are written for ever and read by nobody: no more of them than must be kept.
local function keep_for (group, keep, apart)
  if group.kind == 4 then return apart end
  if group.kind ~= 3 then return keep end
  return { ms = KEPT_MS, entries = 0, bytes = 0 }
end

-- args: p, instance, batch's number, last acknowledged number, now, seed, window, keep ×3, stream's bounds ×3, batch, keep of rooms kept apart ×3
-- Answers 'O' and the results; 'S' for a batch that a later one overtook; 'L' when what was acknowledged is not there.
local function publish (_, args)
  local p, instance, number, now, window = args[1], args[2], tonumber(args[3]), tonumber(args[5]), tonumber(args[7])
  local done = call('HMGET', p .. 'done:' .. instance, 'n', 'r')
  local last = tonumber(done[1] or 0)
  if last == number then return done[2] end
  if last > number then return 'S' end
  if last < tonumber(args[4]) then return 'L' end

  local shard, fresh, keep, ms = shard_of(p, args[6]), epochs(args[6]), keep_of(args, 8), redis_ms()
  local apart = keep_of(args, 15)
  local groups, asked = read_batch(args[14])
  local heads, trims = {}, {}
  for _, group in ipairs(groups) do
    if heads[group.room] == nil then heads[group.room] = head_of(p, group.room, shard, fresh) end
  end
  local all = buckets(shard, ms, window)
  touch_all(p, groups, bucket_of(window, ms))
  local batch = {
    now = now, window = window, known = known_nonces(p, asked, all), fresh = {},
    make = function (room)
      heads[room] = new_head(p, room, shard, fresh)
      return heads[room]
    end
  }

  local replies, segments = {}, {}
  for _, group in ipairs(groups) do
    local h, segment = heads[group.room], nil
    if group.kind == 2 then
      segment = remove_group(p, group, h)
      heads[group.room] = false
      replies[#replies + 1] = encode('>I1I6I6I2', 0, 0, 0, 0)
    else
      replies[#replies + 1], segment = append_group(p, group, h, batch)
      trims[group.room] = keep_for(group, keep, apart)
    end
    segments[#segments + 1] = segment
  end
  for room, h in pairs(heads) do
    if h then
      if trims[room] and is_due(h, now, trims[room], SLACK) then trim(p, h, now, trims[room], PUBLISH_RUNS) end
      if h.hasGrown then keep_alive(p, h, now, trims[room] or keep) end
      keep_head(p, h)
    end
  end
  if #batch.fresh > 0 then
    local bucket = p .. 'nonces:' .. bucket_of(window, ms)
    call('HSET', bucket, unpack(batch.fresh))
    call('PEXPIRE', bucket, window * 2 + 60000)
    keep_window(p, shard, ms, window)
  end
  if #segments > 0 then announce(p, shard, concat(segments), ms, stream_of(args, 11)) end
  keep_shard(p, shard)
  local reply = 'O' .. encode('>I1c0I6', #shard.i, shard.i, shard.n) .. concat(replies)
  call('HSET', p .. 'done:' .. instance, 'n', number, 'r', reply)
  call('PEXPIRE', p .. 'done:' .. instance, DONE_MS)
  return reply
end

-- ---- reading -----------------------------------------------------------------------------------------------------

local function runs_after (log, h, seq, entries, bytes)
  local from, out, total = max(seq + 1, h.f), {}, 0
  if from > h.q then return out end
  local containing = call('XREVRANGE', log, from .. '-0', '-', 'COUNT', 1)[1]
  local start, take = containing and containing[1] or '-', 2
  while true do
    local runs = call('XRANGE', log, start, '+', 'COUNT', take)
    for _, run in ipairs(runs) do
      local first = seq_of(run[1])
      if #out > 0 and (first - from >= entries or total >= bytes) then return out end
      out[#out + 1] = run[2][2]
      if #out > 2 or first >= from then total = total + #run[2][2] end
      start = '(' .. run[1]
    end
    if #runs < take then return out end
    take = 8
  end
end

local function runs_before (log, h, seq, entries, bytes)
  local upto, out, total = min(seq - 1, h.q), {}, 0
  if upto < h.f then return out end
  local start, take = upto .. '-0', 2
  while true do
    local runs = call('XREVRANGE', log, start, '-', 'COUNT', take)
    for _, run in ipairs(runs) do
      local first = seq_of(run[1])
      out[#out + 1] = run[2][2]
      total = total + #run[2][2]
      if upto - first + 1 >= entries or total >= bytes or first <= h.f then return out end
      start = '(' .. run[1]
    end
    if #runs < take then return out end
    take = 8
  end
end

-- args: p, room, now, seed, keep ×3, 'head' | 'after' | 'before', seq, entries, bytes
-- Answers epoch, first, seq, and runs: oldest first for `after`, newest first for `before`.
local function read (_, args)
  local p, room, now = args[1], args[2], tonumber(args[3])
  local shard, fresh, keep = shard_of(p, args[4]), epochs(args[4]), keep_of(args, 5)
  local h = head_of(p, room, shard, fresh) or new_head(p, room, shard, fresh)
  if is_due(h, now, keep, EXACT) then trim(p, h, now, keep, READ_RUNS) end
  keep_head(p, h)
  keep_shard(p, shard)
  local log, runs = p .. 'log:' .. room, {}
  local seq, entries, bytes = tonumber(args[9]), tonumber(args[10]), tonumber(args[11])
  if args[8] == 'after' then runs = runs_after(log, h, seq, entries, bytes) end
  if args[8] == 'before' then runs = runs_before(log, h, seq, entries, bytes) end
  return { h.e, tostring(h.f), tostring(h.q), runs }
end

-- args: p, room, now, seed, window, nonce
-- Answers epoch, seq, ts, or nothing.
local function find (_, args)
  local p, now, window = args[1], tonumber(args[3]), tonumber(args[5])
  local shard = shard_of(p, args[4])
  local all = buckets(shard, redis_ms(), window)
  local h = head_of(p, args[2], shard, epochs(args[4]))
  if not h then return {} end
  local seq, ts = nonce_result(known_nonces(p, { args[6] }, all)[args[6]], h, now, window)
  keep_head(p, h)
  keep_shard(p, shard)
  if not seq then return {} end
  return { h.e, tostring(seq), string.format('%.0f', ts) }
end

-- ---- lives of the shard ------------------------------------------------------------------------------------------

-- Whether stream id `a` is before `b`.
local function is_before (a, b)
  local ams, an = a:match('^(%d+)-(%d+)$')
  local bms, bn = b:match('^(%d+)-(%d+)$')
  ams, an, bms, bn = tonumber(ams), tonumber(an), tonumber(bms), tonumber(bn)
  return ams < bms or (ams == bms and an < bn)
end

-- args: p, seed, the stream id that a reader saw last, or ''
-- Answers incarnation, n, the stream's last id, and 1 when that entry is there or was trimmed.
local function look (_, args)
  local p, seen = args[1], args[3]
  local shard, isThere = shard_of(p, args[2]), 1
  if seen ~= '' and seen ~= '0-0' and #call('XRANGE', p .. 'stream', seen, seen) == 0 then
    local oldest = call('XRANGE', p .. 'stream', '-', '+', 'COUNT', 1)[1]
    -- What is before the oldest was trimmed; of an empty stream everything was, up to its last.
    if is_before(oldest and oldest[1] or shard.d, seen) then isThere = 0 end
  end
  keep_shard(p, shard)
  return { shard.i, tostring(shard.n), shard.d, isThere }
end

-- args: p, the incarnation that lost something, the next one, stream's bounds ×3
-- Begins the next incarnation, unless another instance did. Answers the one that is now.
local function reset (_, args)
  local p = args[1]
  local shard, ms = shard_of(p, args[3]), redis_ms()
  if shard.isNew or shard.i == args[2] then
    shard.i = args[3]
    announce(p, shard, '', ms, stream_of(args, 4))
  end
  return shard.i
end

-- ---- rewriting -------------------------------------------------------------------------------------------------------

-- A stream's entries cannot be changed, so a history in which some are to be is copied, a step at a time, and the copy
-- takes its place in the act of the last step. `v` of the head counts that: of two copies made at once one counts.

local REDO_MS = 3600000
-- More entries than a run ever has; a step gets more changes than that, unless it gets all.
local RUN_MAX = 1024

-- The run with other bytes for entries that are as they are said to be; their count.
local function rewritten (data, changes)
  local at, parts, count = 1, {}, 0
  while at <= #data do
    local size = decode('>I3', data, at)
    local wide = data:byte(at + 5) == 207
    local finish = at + 3 + size + (wide and 20 or 16)
    local seq
    if wide then
      local high, low = decode('>I4I4', data, at + 6)
      seq = high * 4294967296 + low
    else
      seq = decode('>I4', data, at + 6)
    end
    local entry, change = data:sub(at + 3, finish - 1), changes[seq]
    if change and redis.sha1hex(entry) == change[1] then
      entry, count = change[2], count + 1
    end
    parts[#parts + 1] = encode('>I3', #entry - (wide and 20 or 16))
    parts[#parts + 1] = entry
    at = finish
  end
  return concat(parts), count
end

local function read_changes (blob)
  local changes, seqs, at = {}, {}, 1
  while at <= #blob do
    local seq, was, becomes
    seq, was, becomes, at = decode('>I6c40I3c0', blob, at)
    changes[seq], seqs[#seqs + 1] = { was, becomes }, seq
  end
  return changes, seqs
end

-- args: p, room, seed, epoch, copy's name, head's `v` or '', the last run copied or '', 1 when these are all the changes left, bytes, changes, growth so far
-- Answers 'G' (another epoch), 'C' (begin again); or v, last run, count, growth behind 'M' (there is more), 'O' (it is done)
-- or 'U' (there is more, from the seq behind that on, and it takes further changes).
local function rewrite (_, args)
  local p, room, redo, from, isAll = args[1], args[2], args[5], args[7], args[8] == '1'
  local shard = shard_of(p, '')
  local h = head_of(p, room, shard, epochs(args[3]))
  if not h or h.e ~= args[4] then return { 'G' } end
  local v = call('HGET', p .. 'head:' .. room, 'v') or '0'
  local log, copy = p .. 'log:' .. room, p .. 'redo:' .. redo
  if (args[6] ~= '' and args[6] ~= v) or (from ~= '' and call('EXISTS', copy) == 0) then
    call('DEL', copy)
    return { 'C' }
  end
  local changes, seqs = read_changes(args[10])
  local upto = isAll and math.huge or seqs[#seqs] or 0
  local left, next, count, growth, start, isEnd = tonumber(args[9]), 1, 0, 0, from == '' and '-' or '(' .. from, false
  while left > 0 and not isEnd do
    local runs = call('XRANGE', log, start, '+', 'COUNT', 8)
    isEnd = #runs < 8
    for _, run in ipairs(runs) do
      local first, data = seq_of(run[1]), run[2][2]
      if first + RUN_MAX > upto then
        call('PEXPIRE', copy, REDO_MS)
        return { 'U', v, from, tostring(count), tostring(growth), tostring(first) }
      end
      while seqs[next] and seqs[next] < first do next = next + 1 end
      local more = 0
      local fresh = data
      -- An entry has 19 bytes at least.
      if seqs[next] and seqs[next] < first + #data / 19 then fresh, more = rewritten(data, changes) end
      call('XADD', copy, run[1], 'd', fresh)
      count, growth, left, from = count + more, growth + #fresh - #data, left - #data, run[1]
    end
    start = '(' .. from
  end
  if not isEnd then
    call('PEXPIRE', copy, REDO_MS)
    return { 'M', v, from, tostring(count), tostring(growth) }
  end
  local oldest, alive = call('XRANGE', log, '-', '+', 'COUNT', 1)[1], call('PTTL', log)
  if oldest then
    call('XTRIM', copy, 'MINID', oldest[1])
    call('RENAME', copy, log)
    if alive > 0 then call('PEXPIRE', log, alive) else call('PERSIST', log) end
  end
  call('HSET', p .. 'head:' .. room, 'b', max(0, h.b + growth + tonumber(args[11])))
  call('HINCRBY', p .. 'head:' .. room, 'v', 1)
  return { 'O', v, '', tostring(count), tostring(growth) }
end

-- args: p, batch n, its stream id
-- Takes batches up to that one out of the stream, once consumers of the feed have them. Answers whether they are gone.
local function scrub (_, args)
  local p, shard = args[1], shard_of(args[1], '')
  if shard.isNew then return 1 end
  if shard.k and redis_ms() - shard.kt < AWAITED_MS and shard.k < tonumber(args[2]) then return 0 end
  local ms, n = args[3]:match('^(%d+)-(%d+)$')
  call('XTRIM', p .. 'stream', 'MINID', ms .. '-' .. string.format('%.0f', tonumber(n) + 1))
  return 1
end

-- ---- consumers of the feed ---------------------------------------------------------------------------------------

-- Where a consumer stands is its group's own place in the stream; what of it matters for trimming is kept beside it:
-- `groups`: name ─▶ "n ms t": acknowledged up to batch n, of the time ms, said at t.

-- args: p, name, member, lease in ms, batch n, ms of its id, ids to acknowledge…
-- Answers the shard's last batch, or -1 when the lease is not this member's any more.
local function acknowledge (_, args)
  local p, name, ms = args[1], args[2], redis_ms()
  local lease = p .. 'lease:' .. name
  if call('GET', lease) ~= args[3] then return '-1' end
  local rows = call('HGETALL', p .. 'groups')
  local shard = shard_of(p, '')
  if #args > 6 then call('XACK', p .. 'stream', name, unpack(args, 7)) end
  call('PEXPIRE', lease, args[4])
  call('HSET', p .. 'groups', name, args[5] .. ' ' .. args[6] .. ' ' .. string.format('%.0f', ms))
  local k, km = tonumber(args[5]), tonumber(args[6])
  for i = 1, #rows, 2 do
    local n, at, t = rows[i + 1]:match('^(%d+) (%d+) (%d+)$')
    if rows[i] ~= name then
      if ms - tonumber(t) > AWAITED_MS then call('HDEL', p .. 'groups', rows[i])
      elseif tonumber(n) < k then k, km = tonumber(n), tonumber(at) end
    end
  end
  if not shard.isNew then call('HSET', p .. 'id', 'k', k, 'km', string.format('%.0f', km), 'kt', string.format('%.0f', ms)) end
  return string.format('%.0f', shard.n)
end

-- ---- the directory -----------------------------------------------------------------------------------------------

-- args: p, name, record. Answers the record that is there, and 1 when this call made it.
local function create (_, args)
  local p = args[1]
  local existing = call('HGET', p .. 'records', args[2])
  if existing then return { existing, 0 } end
  call('HSET', p .. 'records', args[2], args[3])
  call('ZADD', p .. 'names', 0, args[2])
  return { args[3], 1 }
end

-- args: p, name, record as it was, record as it is to be. Answers 1 when it is that now.
local function attribute (_, args)
  local existing = call('HGET', args[1] .. 'records', args[2])
  if existing == args[3] then call('HSET', args[1] .. 'records', args[2], args[4]) end
  return (existing == args[3] or existing == args[4]) and 1 or 0
end

-- args: p, name. Answers 1 when there was one.
local function remove (_, args)
  call('ZREM', args[1] .. 'names', args[2])
  return call('HDEL', args[1] .. 'records', args[2])
end

-- args: p, range's start, range's end, count. Answers names and records in turn.
local function list (_, args)
  local p, out = args[1], {}
  local names = call('ZRANGE', p .. 'names', args[2], args[3], 'BYLEX', 'LIMIT', 0, args[4])
  if #names == 0 then return out end
  local records = call('HMGET', p .. 'records', unpack(names))
  for k, name in ipairs(names) do
    if records[k] then
      out[#out + 1] = name
      out[#out + 1] = records[k]
    end
  end
  return out
end

local function serve (name, work)
  redis.register_function('@LIBRARY@_' .. name, function (keys, args)
    call, decode, encode = redis.call, struct.unpack, struct.pack
    floor, min, max, concat = math.floor, math.min, math.max, table.concat
    return work(keys, args)
  end)
end

serve('publish', publish)
serve('read', read)
serve('find', find)
serve('look', look)
serve('reset', reset)
serve('rewrite', rewrite)
serve('scrub', scrub)
serve('acknowledge', acknowledge)
serve('create', create)
serve('attribute', attribute)
serve('remove', remove)
serve('list', list)
