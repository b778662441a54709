-- Makes ids done. KEYS[1], ARGV: as in ids_claim. It begins by deleting, since a script that has
-- written is not stopped for want of memory: what has happened is recorded.
SETUP
for i = 1, #ARGV[4] / 16 do
  local id, hash, field = place(i)
  redis.call('DEL', KEYS[1] .. 'c' .. id)
  local name = heads[0] .. hash
  if redis.call('HSET', name, field, '') == 1 and redis.call('HLEN', name) == 1 then
    redis.call('PEXPIREAT', name, string.format('%.0f', (period + 1 + buckets) * length))
  end
end
return 1
