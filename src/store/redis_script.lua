-- What a Redis carries out for the namespaces of a cluster that are not durable; store/redis.h says what lies where. Sent to Redis
-- once a connection, and called by its digest.
--
-- ARGV[1] operation  [2] run id of this Redis  [3] a word for a new life  [4] now  [5] first id of a new life
-- [6] instances  [7] number of this one  [8] idempotency window; then what the operation needs. Channels stand in one argument, each
-- as CHANNEL says: kind of ids, shelf, what its namespace keeps (as in the field `p`), name.

local ARGV, call, pack, unpack, format = ARGV, redis.call, struct.pack, struct.unpack, string.format
local wall, instances, instance = tonumber(ARGV[4]), tonumber(ARGV[6]), tonumber(ARGV[7])
local second = wall - wall % 1000
local FORGET_MS, WALK, STEP = 86400000, 500, 100
local PLAIN, RECALL, RECALLED, PURGE = 0, 1, 2, 3
local HEAD = '<Bdddd'                    -- kind, id, target, time, expiry; then '<I4': bytes of the payload
local PAYLOAD_AT, NOTHING = 34, string.rep('\0', 8)
local CHANNEL, APPEND, ANSWER = '<BI4Bc0Hc0', '<BHI4Hc0', '<Bdddd'
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

-- What a namespace keeps: 1 or 0 (no messages), count, age and bytes. Most channels of a call have the same text.
local rules_known = {}

local function rules_of(text)
  local rules = rules_known[text]
  if not rules then
    local keeps, count, age, bytes = string.match(text, '^(%d) (%d+) (%d+) (%d+)$')
    rules = { text = text, keeps = keeps == '1', count = tonumber(count), age = tonumber(age), bytes = tonumber(bytes) }
    rules_known[text] = rules
  end
  return rules
end

local function load(name)
  local key = 'lw:m:h:' .. name
  local v = call('HMGET', key, 'w', 'n', 'h', 'f', 'b', 't', 'p', 'o')
  local c = { name = name, key = key, list = 'lw:m:l:' .. name, n = 0, h = 0, f = 1, b = 0, f_saved = 1, used = 0, kind = 0, shelf = 0, since = 0, since_saved = 0,
              rules = false, rules_saved = false, is_there = false, is_old = false, is_dirty = false }
  if v[1] == word then
    c.is_there, c.n, c.h, c.f, c.b, c.used = true, v[2] + 0, v[3] + 0, v[4] + 0, v[5] + 0, v[6] + 0  -- tonumber() takes twice as long
    c.since = v[8] and v[8] + 0 or 0  -- a node of an earlier release does not write it
    c.f_saved, c.rules_saved, c.since_saved = c.f, v[7], c.since
    c.rules = rules_of(v[7])
  else
    c.is_old = v[1]
  end
  return c
end

-- And where the next one stands.
local function load_named(text, at)
  local kind, shelf, rules, name, past = unpack(CHANNEL, text, at)
  local c = load(name)
  c.kind, c.shelf, c.rules = kind, shelf, rules_of(rules)
  if not c.is_there then c.n = tonumber(call('HGET', 'lw:m:forgot', shelf) or 0) end
  return c, past
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

-- What has changed. A number as text is cheaper made here than by redis.call(), which makes 17 digits.
local function save(c)
  local is_whole = c.is_dirty and c.rules_saved ~= c.rules.text
  if c.since ~= c.since_saved and not is_whole then call('HSET', c.key, 'o', format('%d', c.since)) end
  if not c.is_dirty then return end
  local used = c.used == wall and ARGV[4] or c.used
  if is_whole then
    call('HSET', c.key, 'w', word, 'n', c.n, 'h', c.h, 'f', c.f, 'b', c.b, 's', c.shelf, 't', used, 'p', c.rules.text, 'o', c.since)
  elseif c.f ~= c.f_saved then
    call('HSET', c.key, 'h', format('%d', c.h), 'f', format('%d', c.f), 'b', format('%d', c.b), 't', used)
  else
    call('HSET', c.key, 'h', format('%d', c.h), 'b', format('%d', c.b), 't', used)
  end
end

local function payload_bytes(item)
  return (unpack('<I4', item, PAYLOAD_AT))
end

-- A list that was evicted keeps nothing.
local function drop_oldest(c)
  local item = call('LPOP', c.list)
  if item then
    c.f, c.b = c.f + 1, c.b - payload_bytes(item)
  else
    c.f, c.b = c.h + 1, 0
  end
  c.is_dirty = true
end

-- Drops what is more than the namespace keeps.
local function trim_to_bounds(c)
  local rules = c.rules
  while c.f <= c.h and (not rules.keeps or (rules.count > 0 and c.h - c.f + 1 > rules.count) or (rules.bytes > 0 and c.b > rules.bytes)) do
    drop_oldest(c)
  end
end

-- … and what is older. The oldest message is looked at once it may be too old: it is copied for that, and may be long. `since` is its time, or
-- that of one before it.
local function trim(c)
  if not c.is_there then return end
  trim_to_bounds(c)
  local oldest_kept = wall - c.rules.age
  while c.rules.age > 0 and c.f <= c.h do
    if c.since > oldest_kept then
      if call('LLEN', c.list) > 0 then return end  -- else it was evicted
    else
      local item = call('LINDEX', c.list, 0)
      if item then
        local _, _, _, time = unpack(HEAD, item)
        c.since = time
        if time > oldest_kept then return end
      end
    end
    drop_oldest(c)
  end
end

local function say(outcome, n, first, last, time)
  return pack(ANSWER, outcome, n or 0, first or 0, last or 0, time or 0)
end

local function purge(c)
  if not c.is_there then return say(NO_TARGET) end
  trim(c)
  local first = c.f
  call('DEL', c.list)
  c.f, c.b, c.used, c.is_dirty = c.h + 1, 0, wall, true
  return say(PURGED, c.n, first, c.h)
end

-- What an idempotency key says of this append; nil: go on.
local function replay(key, digest)
  local used = call('GET', key)
  if not used or string.sub(used, 1, 16) ~= word then return nil end
  local n, seq, id, time, since = unpack('<ddddd', used, 33)
  if wall - since >= tonumber(ARGV[8]) then return nil end
  if string.sub(used, 17, 32) ~= digest then return say(CONFLICT) end
  return say(REPLAYED, n, seq, id, time)
end

-- The place in the list that is to be recalled, and what stands there; or nil, and the answer.
local function recall_target(c, target)
  if not c.is_there or target < c.f or target > c.h then return nil, say(NO_TARGET) end
  local item = call('LINDEX', c.list, target - c.f)
  if not item then return nil, say(NO_TARGET) end
  local kind, _, by, _, expires = unpack(HEAD, item)
  if kind == RECALL or (expires ~= 0 and expires <= wall) then return nil, say(NO_TARGET) end
  if kind == RECALLED then
    local _, id, _, time = unpack(HEAD, call('LINDEX', c.list, by - c.f))
    return nil, say(REPLAYED, c.n, by, id, time)
  end
  return target - c.f, item
end

-- Ids are taken for all appends of the call that are left, because the others are likely to need them, too.
local ids, appends_left = {}, 0

local function next_id(kind)
  local last = ids[kind] or call('INCRBY', 'lw:m:id:' .. kind, appends_left) - appends_left
  ids[kind] = last + 1
  return (last + 1) * instances + instance
end

-- The list is as long as the log, unless it was evicted.
local function push(c, item, bytes)
  local length = call('RPUSH', c.list, item)
  c.b = c.b + bytes
  if length ~= c.h - c.f + 1 then
    c.f, c.b = c.h - length + 1, bytes
  end
end

-- What is too old goes with the first append of a second, and with each read; what is too much goes at once.
local function append(c, kind, bytes, key, rest)
  if kind == PURGE then return purge(c) end
  local digest
  if key ~= '' then
    key, digest = string.sub(key, 1, -17), string.sub(key, -16)
    local said = replay(key, digest)
    if said then return said end
  end
  if kind == RECALL or c.used < second then trim(c) end
  local where, old
  if kind == RECALL then
    where, old = recall_target(c, (unpack('<d', rest)))
    if not where then return old end
  end
  if not c.is_there then create(c) end
  if c.f > c.h then
    local _, time = unpack('<dd', rest)
    c.since = time
  end
  c.h, c.used, c.is_dirty = c.h + 1, wall, true
  local id = next_id(c.kind)
  if c.rules.keeps then
    push(c, pack('<Bd', kind, id) .. rest, bytes)
  else
    c.f = c.h + 1
  end
  if where then
    local _, old_id, _, old_time, old_expires = unpack(HEAD, old)
    call('LSET', c.list, where, pack(HEAD, RECALLED, old_id, c.h, old_time, old_expires) .. NOTHING)
    c.b = c.b - payload_bytes(old)
  end
  local seq = c.h
  trim_to_bounds(c)
  if key ~= '' then
    local _, time = unpack('<dd', rest)
    call('SET', key, word .. digest .. pack('<ddddd', c.n, seq, id, time, wall), 'PX', ARGV[8])
  end
  return pack(ANSWER, DONE, c.n, seq, id, 0)
end

local operations = {}

-- Channels, appends, and of each append the record behind its id. An append is, as APPEND says: kind (0, 1 (a recall) or 3 (a purge)), number of
-- the channel, bytes of the payload, idempotency key as a key of Redis with 16 bytes of digest behind it, or nothing. Answers are one text.
-- Lua hashes each text in full, so long ones are not put together.
function operations.append()
  local channels, answers, at, past = {}, {}, 1, #ARGV[9]
  while at <= past do
    local c
    c, at = load_named(ARGV[9], at)
    channels[#channels + 1] = c
  end
  at = 1
  for i = 11, #ARGV do
    local kind, number, bytes, key
    kind, number, bytes, key, at = unpack(APPEND, ARGV[10], at)
    appends_left = #ARGV + 1 - i
    answers[i - 10] = append(channels[number], kind, bytes, key, ARGV[i])
  end
  for _, c in ipairs(channels) do save(c) end
  return { word, table.concat(answers) }
end

-- The first seq from `low` on whose message is that old or younger; head + 1 if none is.
local function first_not_before(c, low, time)
  local past = c.h + 1
  while low < past do
    local middle = math.floor((low + past) / 2)
    local _, _, _, found = unpack(HEAD, call('LINDEX', c.list, middle - c.f))
    if found < time then low = middle + 1 else past = middle end
  end
  return low
end

-- So many messages of this log may be wanted, by their usual length. Whatever is taken from the list is copied, and nobody is served meanwhile.
local function step_of(c, bytes_left)
  return math.max(1, math.min(STEP, math.ceil(bytes_left / (PAYLOAD_AT + c.b / (c.h - c.f + 1)))))
end

-- All that a page may need: it has enough messages that live, or bytes, or the log is at its end.
local function items_of(c, is_after, low, high, limit, bytes_max)
  local items, live, bytes = {}, 0, 0
  while low <= high and live < limit and bytes < bytes_max do
    local step = step_of(c, bytes_max - bytes)
    local from = is_after and low or math.max(low, high - step + 1)
    local to = is_after and math.min(high, low + step - 1) or high
    local part = call('LRANGE', c.list, from - c.f, to - c.f)
    for i = 1, #part do
      local item = part[is_after and i or #part + 1 - i]
      local _, _, _, _, expires = unpack(HEAD, item)
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
  local c, is_after, bound = load_named(ARGV[9], 1), ARGV[10] == 'a', tonumber(ARGV[11])
  local limit, since, till = tonumber(ARGV[12]), tonumber(ARGV[14]), tonumber(ARGV[15])
  trim(c)
  save(c)
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
  return { word, c.n, c.f, c.h, c.b, from - 1, past, items_of(c, is_after, low, high, limit, tonumber(ARGV[13])) }
end

function operations.heads()
  local answers, at, past = { word }, 1, #ARGV[9]
  while at <= past do
    local c
    c, at = load_named(ARGV[9], at)
    trim(c)
    save(c)
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
        save(c)
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
        call('HINCRBY', 'lw:m:forgot', call('HGET', c.key, 's'), 1)
        call('DEL', c.key, c.list)
        call('ZREM', 'lw:m:names', name)
      else
        save(c)
      end
    end
  end
  call('SET', 'lw:m:walk', #names < WALK and '' or names[#names])
  return answer
end

return operations[ARGV[1]]()
