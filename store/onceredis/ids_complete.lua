-- Makes ids done. KEYS[1], ARGV: as in ids_claim.
SETUP
for i = 1, #ARGV[4] / 16 do
  local id, hash, field = place(i)
  local name = heads[0] .. hash
  if redis.call('HSET', name, field, '') == 1 and redis.call('HLEN', name) == 1 then
    redis.call('PEXPIREAT', name, string.format('%.0f', (period + 1 + buckets) * length))
  end
  redis.call('DEL', KEYS[1] .. 'c' .. id)
end
return 1
