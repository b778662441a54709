package onceredisstream

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncehq/once"
)

// randomName returns a name of the form by which leave knows it.
func randomName() string { return "once-" + once.NewOwner().String() }

// leave removes this consumer from the group, and others with random names that were not heard of for
// a lease, since their processes have died: but none that has entries, which would be lost with it. Nothing
// comes of it if one of them is alive: reading makes a consumer again.
func (r *reader) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replyTime)
	defer cancel()
	err := leave.Exec(ctx, r.cfg.Client, []string{r.cfg.Stream},
		[]string{r.cfg.Group, r.cfg.Name, strconv.FormatInt(max(r.cfg.Lease, time.Second).Milliseconds(), 10)}).Error()
	if err != nil && !rueidis.IsRedisNil(err) {
		r.cfg.Logger.Warn("onceredisstream: the consumer could not be removed from the group; it stays there, idle",
			"stream", r.cfg.Stream, "group", r.cfg.Group, "err", err)
	}
}

var leave = rueidis.NewLuaScript(`
for _, reply in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local c = {}
  for i = 1, #reply, 2 do
    c[reply[i]] = reply[i + 1]
  end
  local dead = #c.name == 37 and string.match(c.name, '^once%-%x+$') and c.idle > tonumber(ARGV[3])
  if c.pending == 0 and (c.name == ARGV[2] or dead) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], c.name)
  end
end
return 1
`)
