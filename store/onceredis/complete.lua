-- Records the outcome, if ARGV[1] is the owner and there is none, or the same one.
-- ARGV: owner; state; time to live in ms, 0 for none, -1 to remove the record; type; data.
-- Returns 1, 2 if it was recorded before, or 0 if the caller has lost the operation.
local v = redis.call('GETEX', KEYS[1])
if not v or string.sub(v, 35, 50) ~= ARGV[1] then
  return 0
end
if string.byte(v) ~= 67 then
  if string.sub(v, 1, 1) == ARGV[2] and string.sub(v, 87) == ARGV[4] .. ARGV[5] then
    BARRIER
    return 2
  end
  return 0
end
if ARGV[3] == '-1' then
  redis.call('DEL', KEYS[1])
else
  local record = ARGV[2] .. '0' .. string.sub(v, 3, 86) .. ARGV[4] .. ARGV[5]
  if ARGV[3] == '0' then
    redis.call('SET', KEYS[1], record)
  else
    redis.call('SET', KEYS[1], record, 'PX', ARGV[3])
  end
end
TELL
return 1
