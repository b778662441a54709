-- Makes the lease end in ARGV[2] µs from now, if ARGV[1] is the owner and there is no outcome.
-- Returns 1, or 0 if it is not.
local v = redis.call('GETEX', KEYS[1])
if not v or string.byte(v) ~= 67 or string.sub(v, 35, 50) ~= ARGV[1] then
  return 0
end
local t = redis.call('TIME')
local lease, forget = tonumber(ARGV[2]), struct.unpack('>I8', v, 51)
local ends = math.min(t[1] * 1000000 + t[2] + lease, NEVER)
local waited = string.sub(v, 2, 2)
if lease == 0 then
  waited = '0'
end
local record = 'C' .. waited .. string.sub(v, 3, 78) .. struct.pack('>I8B', ends, 0)
if forget == 0 or ends == NEVER then
  redis.call('SET', KEYS[1], record)
else
  redis.call('SET', KEYS[1], record, 'PX', string.format('%.0f', math.ceil((lease + forget) / 1000)))
end
if lease == 0 then
  TELL
end
return 1
