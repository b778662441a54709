-- Claims ids. KEYS[1]: start of all keys of the ids' part. ARGV: what the layout's setup reads; the
-- ids; owner; lease in ms. Returns a digit for each id: 1 claimed, 2 in flight, 3 done.
SETUP
local owner, lease, answers, mine = ARGV[5], ARGV[6], {}, {}
for i = 1, #ARGV[4] / 16 do
  local id, hash, field = place(i)
  local answer = 1
  for b = -1, buckets do
    if redis.call('HEXISTS', heads[b] .. hash, field) == 1 then
      answer = 3
      break
    end
  end
  if answer == 1 then
    local claim = KEYS[1] .. 'c' .. id
    local standing = redis.call('GET', claim)
    if mine[id] or standing and standing ~= owner then
      answer = 2
    else
      redis.call('SET', claim, owner, 'PX', lease) -- a claim that is repeated has its whole lease again
    end
    mine[id] = true
  end
  answers[i] = answer
end
return table.concat(answers)
