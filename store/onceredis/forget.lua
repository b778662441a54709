-- Removes the record in any state, if ARGV[1] is its owner.
-- Returns 1, 0 if another one is, or -1 if there is no record.
local v = redis.call('GETEX', KEYS[1])
if not v then
  return -1
end
if string.sub(v, 35, 50) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
TELL
return 1
