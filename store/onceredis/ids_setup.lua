local length, buckets, hashes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = redis.call('TIME')
local period = math.floor((now[1] * 1000 + math.floor(now[2] / 1000)) / length)
-- Of the names of the hashes, the youngest bucket's first. Heads[-1] is that of the next bucket,
-- which has ids after the clock was set back, or if that of a master that failed was ahead.
local heads = {}
for b = -1, buckets do
  heads[b] = KEYS[1] .. string.format('%.0f', period - b) .. ':'
end
local function place(i)
  local id = string.sub(ARGV[4], i * 16 - 15, i * 16)
  local n = math.floor(struct.unpack('>I4', id) * hashes / 4294967296)
  return id, string.format('%.0f', n), string.sub(id, 3)
end
