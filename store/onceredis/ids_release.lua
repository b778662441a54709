-- Removes the owner's claims. KEYS[1], ARGV: as in ids_claim.
SETUP
for i = 1, #ARGV[4] / 16 do
  local claim = KEYS[1] .. 'c' .. string.sub(ARGV[4], i * 16 - 15, i * 16)
  if redis.call('GET', claim) == ARGV[5] then
    redis.call('DEL', claim)
  end
end
return 1
