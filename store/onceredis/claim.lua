-- Claims the record, or returns the standing one.
-- ARGV: the head of a new record up to and with "forget"; lease in µs; time to live in ms, 0 for
-- none; takeover. Returns the fence of a new record, 0 for a mismatch, or {clock, record}, with a
-- third element if the record was taken over. The clock is as in load.
local left = redis.call('PTTL', KEYS[1])
if left == -2 then
  local t = redis.call('TIME')
  local now = t[1] * 1000000 + t[2]
  local record = ARGV[1] .. struct.pack('>I4I8I8I8B', 1, now, now, math.min(now + ARGV[2], NEVER), 0)
  if ARGV[3] == '0' then
    redis.call('SET', KEYS[1], record)
  else
    redis.call('SET', KEYS[1], record, 'PX', ARGV[3])
  end
  return now
end
local v = redis.call('GETEX', KEYS[1])
local state = string.byte(v)
if #v < 87 or state ~= 67 and state ~= 68 and state ~= 70 then
  return {0, v}
end
local fp, asked = string.sub(v, 3, 34), string.sub(ARGV[1], 3, 34)
if fp ~= asked then
  local none = string.rep('\0', 32)
  if fp ~= none and asked ~= none then
    return 0
  end
end
if state ~= 67 then
  BARRIER
  return {left, v}
end
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
if string.sub(v, 35, 50) == string.sub(ARGV[1], 35, 50) then
  BARRIER
  return {now, v}
end
local attempt, fence, created, ends = struct.unpack('>I4I8I8I8', v, 59)
if now < ends or attempt >= tonumber(ARGV[4]) then
  return {now, v}
end
local record = 'C0' .. fp .. string.sub(ARGV[1], 35) .. struct.pack('>I4I8I8I8B',
  attempt + 1, math.max(fence + 1, now), created, math.min(now + ARGV[2], NEVER), 0)
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], record)
else
  redis.call('SET', KEYS[1], record, 'PX', ARGV[3])
end
TELL
return {now, record, 1}
