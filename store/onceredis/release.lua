-- Removes the claim, if ARGV[1] is the owner and there is no outcome. Returns 1, or 0 if not.
local v = redis.call('GETEX', KEYS[1])
if not v or string.byte(v) ~= 67 or string.sub(v, 35, 50) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
TELL
return 1
