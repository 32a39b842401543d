-- What a Redis carries out for the namespaces of a cluster that are not durable; store/redis.h says what lies where. Sent to Redis
-- once a connection, and called by its digest.
--
-- ARGV[1] operation  [2] run id of this Redis  [3] a word for a new life  [4] now  [5] first id of a new life
-- [6] instances  [7] number of this one  [8] idempotency window; then what the operation needs. A channel is seven
-- arguments: name, shelf, 1 if it keeps messages, count, age and bytes that it keeps, kind of ids.

local call = redis.call
local wall = tonumber(ARGV[4])
local FORGET_MS, WALK, STEP = 86400000, 500, 100
local PLAIN, RECALL, RECALLED = 0, 1, 2
local HEAD = '<Bdddd'                    -- kind, id, target, time, expiry; then '<I4': bytes of the payload
local PAYLOAD_AT, NOTHING = 34, string.rep('\0', 8)
local DONE, REPLAYED, CONFLICT, NO_TARGET, PURGED = 0, 1, 2, 3, 4

-- The word of this Redis's life. Another process may have lost what was written last, so it begins another life.
local function life()
  local word, run = call('GET', 'lw:m:life'), call('GET', 'lw:m:run')
  if word and (run == ARGV[2] or ARGV[2] == '') then return word end
  call('SET', 'lw:m:run', ARGV[2])
  if word and (not run or run == '') then return word end
  call('SET', 'lw:m:life', ARGV[3])
  for kind = 0, 3 do
    local key = 'lw:m:id:' .. kind
    if tonumber(call('GET', key) or 0) < tonumber(ARGV[5]) then call('SET', key, ARGV[5]) end
  end
  return ARGV[3]
end

local word = life()

local function policy(c, keeps, count, age, bytes)
  c.keeps, c.count, c.age, c.bytes = keeps == '1', tonumber(count), tonumber(age), tonumber(bytes)
end

local function load(name, shelf)
  local c = { name = name, key = 'lw:m:h:' .. name, list = 'lw:m:l:' .. name, shelf = shelf, n = 0, h = 0, f = 1, b = 0 }
  local v = call('HMGET', c.key, 'w', 'n', 'h', 'f', 'b', 'p', 's', 't')
  if v[1] == word then
    c.is_there, c.n, c.h, c.f, c.b = true, tonumber(v[2]), tonumber(v[3]), tonumber(v[4]), tonumber(v[5])
    c.shelf, c.used = v[7], tonumber(v[8])
    policy(c, string.match(v[6], '^(%d) (%d+) (%d+) (%d+)$'))
  elseif shelf then
    c.n, c.is_old = tonumber(call('HGET', 'lw:m:forgot', shelf) or 0), v[1]
  else
    c.is_old = v[1]
  end
  return c
end

local function load_named(at)
  local c = load(ARGV[at], ARGV[at + 1])
  policy(c, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
  c.kind = ARGV[at + 6]
  return c
end

-- A name that is known without its log was evicted: its seqs begin anew, so they need another epoch.
local function create(c)
  if c.is_old then call('DEL', c.key, c.list) end
  if call('ZADD', 'lw:m:names', 0, c.name) == 0 and not c.is_old then
    c.n = call('HINCRBY', 'lw:m:forgot', c.shelf, 1)
  end
  call('DEL', c.list)
  c.is_there = true
end

local function save(c, used)
  if not c.dirty then return end
  call('HSET', c.key, 'w', word, 'n', c.n, 'h', c.h, 'f', c.f, 'b', c.b, 's', c.shelf, 't', used,
       'p', string.format('%d %.0f %.0f %.0f', c.keeps and 1 or 0, c.count, c.age, c.bytes))
  c.dirty = false
end

local function payload_bytes(item)
  return (struct.unpack('<I4', item, PAYLOAD_AT))
end

-- Drops what the namespace keeps no longer. A list that was evicted keeps nothing.
local function trim(c)
  while c.is_there and c.f <= c.h do
    local is_over = (c.count > 0 and c.h - c.f + 1 > c.count) or (c.bytes > 0 and c.b > c.bytes) or not c.keeps
    if not is_over and c.age == 0 then return end
    local item = call('LINDEX', c.list, 0)
    if not item then
      c.f, c.b, c.dirty = c.h + 1, 0, true
      return
    end
    local _, _, _, time = struct.unpack(HEAD, item)
    if not is_over and time > wall - c.age then return end
    call('LPOP', c.list)
    c.f, c.b, c.dirty = c.f + 1, c.b - payload_bytes(item), true
  end
end

local function purge(c)
  if not c.is_there then return { NO_TARGET } end
  trim(c)
  local first = c.f
  call('DEL', c.list)
  c.f, c.b, c.dirty = c.h + 1, 0, true
  return { PURGED, c.n, first, c.h }
end

-- What an idempotency key says of this append; nil: go on.
local function replay(key, digest)
  local used = call('GET', key)
  if not used or string.sub(used, 1, 16) ~= word then return nil end
  local n, seq, id, time, since = struct.unpack('<ddddd', used, 33)
  if wall - since >= tonumber(ARGV[8]) then return nil end
  if string.sub(used, 17, 32) ~= digest then return { CONFLICT } end
  return { REPLAYED, n, seq, id, time }
end

-- The place in the list that is to be recalled, and what stands there; or nil, and the answer.
local function recall_target(c, target)
  if not c.is_there or target < c.f or target > c.h then return nil, { NO_TARGET } end
  local item = call('LINDEX', c.list, target - c.f)
  if not item then return nil, { NO_TARGET } end
  local kind, _, by, _, expires = struct.unpack(HEAD, item)
  if kind == RECALL or (expires ~= 0 and expires <= wall) then return nil, { NO_TARGET } end
  if kind == RECALLED then
    local _, id, _, time = struct.unpack(HEAD, call('LINDEX', c.list, by - c.f))
    return nil, { REPLAYED, c.n, by, id, time }
  end
  return target - c.f, item
end

local function append(c, kind, key, digest, target, time, expires, rest)
  if kind == 'p' then return purge(c) end
  local said = key ~= '' and replay(key, digest)
  if said then return said end
  trim(c)
  local where, old
  if kind == '1' then
    where, old = recall_target(c, target)
    if not where then return old end
  end
  if not c.is_there then create(c) end
  c.h, c.dirty = c.h + 1, true
  local id = call('INCR', 'lw:m:id:' .. c.kind) * tonumber(ARGV[6]) + tonumber(ARGV[7])
  if c.keeps then
    call('RPUSH', c.list, struct.pack(HEAD, tonumber(kind), id, target, time, expires) .. rest)
    c.b = c.b + (struct.unpack('<I4', rest))
  else
    c.f = c.h + 1
  end
  if where then
    local _, old_id, _, old_time, old_expires = struct.unpack(HEAD, old)
    call('LSET', c.list, where, struct.pack(HEAD, RECALLED, old_id, c.h, old_time, old_expires) .. NOTHING)
    c.b = c.b - payload_bytes(old)
  end
  local answer = { DONE, c.n, c.h, id }
  trim(c)
  if key ~= '' then
    call('SET', key, word .. digest .. struct.pack('<ddddd', c.n, answer[3], id, time, wall), 'PX', ARGV[8])
  end
  return answer
end

local operations = {}

-- Channels, then appends of eight arguments: 0, 1 (a recall) or p (a purge), number of the channel, idempotency key as a
-- key of Redis, digest, target, time, expiry, the rest of the record.
function operations.append()
  local channels, answers, at = {}, { word }, 10
  for i = 1, tonumber(ARGV[9]) do
    channels[i] = load_named(at)
    at = at + 7
  end
  while ARGV[at] do
    local c = channels[tonumber(ARGV[at + 1])]
    answers[#answers + 1] = append(c, ARGV[at], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]),
                                   tonumber(ARGV[at + 6]), ARGV[at + 7])
    at = at + 8
  end
  for _, c in ipairs(channels) do save(c, wall) end
  return answers
end

-- The first seq from `low` on whose message is that old or younger; head + 1 if none is.
local function first_not_before(c, low, time)
  local past = c.h + 1
  while low < past do
    local middle = math.floor((low + past) / 2)
    local _, _, _, found = struct.unpack(HEAD, call('LINDEX', c.list, middle - c.f))
    if found < time then low = middle + 1 else past = middle end
  end
  return low
end

-- All that a page may need: it has enough messages that live, or bytes, or the log is at its end.
local function items_of(c, is_after, low, high, limit, bytes_max)
  local items, live, bytes = {}, 0, 0
  while low <= high and live < limit and bytes < bytes_max do
    local from = is_after and low or math.max(low, high - STEP + 1)
    local to = is_after and math.min(high, low + STEP - 1) or high
    local part = call('LRANGE', c.list, from - c.f, to - c.f)
    for i = 1, #part do
      local item = part[is_after and i or #part + 1 - i]
      local _, _, _, _, expires = struct.unpack(HEAD, item)
      if expires == 0 or expires > wall then live, bytes = live + 1, bytes + #item end
      items[#items + 1] = item
      if live >= limit or bytes >= bytes_max then break end
    end
    if is_after then low = to + 1 else high = from - 1 end
  end
  return items
end

-- A channel, a or b, bound, limit, bytes, since, until. The items go away from the bound.
function operations.read()
  local c, is_after, bound = load_named(9), ARGV[16] == 'a', tonumber(ARGV[17])
  local limit, since, till = tonumber(ARGV[18]), tonumber(ARGV[20]), tonumber(ARGV[21])
  trim(c)
  save(c, c.used)
  local from, past = c.f, 0
  if since > 0 then
    from = first_not_before(c, c.f, since)
    bound = from - 1
  end
  if till > 0 then past = first_not_before(c, from, till + 1) end
  local low, high = c.f, c.h
  if is_after then low = math.max(low, bound + 1)
  elseif bound ~= 0 and bound <= c.h then high = bound - 1 end
  if past > 0 then high = math.min(high, past - 1) end
  return { word, c.n, c.f, c.h, c.b, from - 1, past, items_of(c, is_after, low, high, limit, tonumber(ARGV[19])) }
end

function operations.heads()
  local answers = { word }
  for at = 9, #ARGV, 7 do
    local c = load_named(at)
    trim(c)
    save(c, c.used)
    answers[#answers + 1] = { c.n, c.f, c.h }
  end
  return answers
end

-- From (a name), 1 if behind it, prefix, limit. The third element is where the page ended, or empty: no further channel.
function operations.list()
  local rows, last, seen = {}, '', 0
  local min = (ARGV[10] == '1' and '(' or '[') .. ARGV[9]
  while true do
    local names = call('ZRANGEBYLEX', 'lw:m:names', min, '+', 'LIMIT', 0, STEP)
    for _, name in ipairs(names) do
      if string.sub(name, 1, #ARGV[11]) ~= ARGV[11] then return { word, rows, '' } end
      local c = load(name)
      if c.is_there and #rows == tonumber(ARGV[12]) then return { word, rows, last } end
      if c.is_there then
        trim(c)
        save(c, c.used)
        rows[#rows + 1] = { name, c.n, c.f, c.h, c.b }
      end
      last, seen = name, seen + 1
    end
    if #names < STEP then return { word, rows, '' } end
    if seen >= 2000 then return { word, rows, last } end
    min = '(' .. last
  end
end

-- A step of retention, once a second whichever node asks. What was not used for a day and keeps nothing is forgotten, and so
-- is what is left of earlier lives.
function operations.tick()
  local answer = { word, call('ZCARD', 'lw:m:names') }
  if not call('SET', 'lw:m:tick', '1', 'NX', 'PX', 900) then return answer end
  local from = call('GET', 'lw:m:walk') or ''
  local names = call('ZRANGEBYLEX', 'lw:m:names', from == '' and '-' or '(' .. from, '+', 'LIMIT', 0, WALK)
  for _, name in ipairs(names) do
    local c = load(name)
    if c.is_old and not c.is_there then
      call('DEL', c.key, c.list)
      call('ZREM', 'lw:m:names', name)
    elseif c.is_there then
      trim(c)
      if c.f > c.h and wall - c.used >= FORGET_MS then
        call('DEL', c.key, c.list)
        call('ZREM', 'lw:m:names', name)
        call('HINCRBY', 'lw:m:forgot', c.shelf, 1)
      else
        save(c, c.used)
      end
    end
  end
  call('SET', 'lw:m:walk', #names < WALK and '' or names[#names])
  return answer
end

return operations[ARGV[1]]()
