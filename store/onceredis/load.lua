-- Returns {clock, record}, or nothing. For a record that is done the clock is its time to live in
-- ms, else the time in µs.
local left = redis.call('PTTL', KEYS[1])
local v = redis.call('GETEX', KEYS[1])
if not v then
  return false
end
if string.byte(v) ~= 67 then
  return {left, v}
end
local t = redis.call('TIME')
return {t[1] * 1000000 + t[2], v}
