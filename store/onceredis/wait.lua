-- Asks to be told of the end of the claim by ARGV[1]. Returns 1, or 0 if it is not in flight.
local v = redis.call('GETEX', KEYS[1])
if not v or string.byte(v) ~= 67 or string.sub(v, 35, 50) ~= ARGV[1] then
  return 0
end
local t = redis.call('TIME')
if struct.unpack('>I8', v, 79) <= t[1] * 1000000 + t[2] then
  return 0
end
if string.byte(v, 2) ~= 49 then
  redis.call('SETRANGE', KEYS[1], 1, '1')
end
return 1
