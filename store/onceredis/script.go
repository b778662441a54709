package onceredis

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// The scripts are one per verb, and touch one key. What they rely on:
//
//   - A script is atomic, and its clock does not move (from Redis 7; before, TIME does, forward).
//   - All read with GETEX, which without options only reads, but counts as a command that writes.
//     So a replica refuses it: nobody is given a stale record by a master that was demoted. And
//     so the server does not refuse the writes that follow for want of memory: an operation that
//     has a claim can always be renewed and completed.
//   - Claim alone writes a new record before it read one, so that is refused when memory is full.
//
// The oldest version that has all of the commands is 6.2.
var (
	//go:embed claim.lua
	claimLua string
	//go:embed renew.lua
	renewLua string
	//go:embed complete.lua
	completeLua string
	//go:embed release.lua
	releaseLua string
	//go:embed forget.lua
	forgetLua string
	//go:embed load.lua
	loadLua string
	//go:embed wait.lua
	waitLua string
)

type scripts struct {
	claim, renew, complete, release, forget, load, wait script
}

// A script is known to servers by the SHA-1 of its text.
type script struct {
	name, text, sha string
}

// newScripts fills in what depends on the servers. With sharded, those who wait are told through
// a channel of the key's shard. With barrier, a verb that finds what it was to do done already
// writes one byte of the record anew: so that WAIT, which from Redis 7.2 on waits for the writes
// of its own connection only, has something to wait for.
func newScripts(sharded, barrier bool) scripts {
	publish, again := "PUBLISH", ""
	if sharded {
		publish = "SPUBLISH"
	}
	if barrier {
		again = "redis.call('SETRANGE', KEYS[1], 0, string.sub(v, 1, 1))"
	}
	r := strings.NewReplacer(
		"NEVER", strconv.Itoa(never),
		"TELL", "if string.byte(v, 2) == 49 then redis.pcall('"+publish+"', KEYS[1], '') end",
		"BARRIER", again,
	)
	record := func(name, text string) script { return newScript(name, r.Replace(text)) }
	return scripts{
		claim:    record("claim", claimLua),
		renew:    record("renew", renewLua),
		complete: record("complete", completeLua),
		release:  record("release", releaseLua),
		forget:   record("forget", forgetLua),
		load:     record("load", loadLua),
		wait:     record("wait", waitLua),
	}
}

func newScript(name, text string) script {
	sum := sha1.Sum([]byte(text))
	return script{name: name, text: text, sha: hex.EncodeToString(sum[:])}
}

// evalsha returns the command that runs the script on one key.
func (x script) evalsha(c rueidis.Builder, key string, args ...string) rueidis.Completed {
	return c.Evalsha().Sha1(x.sha).Numkeys(1).Key(key).Arg(args...).Build()
}

// eval is evalsha for a server that does not know the script yet: one that was started, or
// became master, since. It knows it afterwards.
func (x script) eval(c rueidis.Builder, key string, args ...string) rueidis.Completed {
	return c.Eval().Script(x.text).Numkeys(1).Key(key).Arg(args...).Build()
}

// run runs the script in one round trip, and in two if the server does not know it.
func (s *Store) run(
	ctx context.Context, x script, key string, args ...string,
) (rueidis.RedisMessage, error) {
	if err := s.usable(ctx); err != nil {
		return rueidis.RedisMessage{}, err
	}
	reply, err := s.do(ctx, func(b rueidis.Builder) rueidis.Completed { return x.evalsha(b, key, args...) })
	if isNoScript(err) {
		reply, err = s.do(ctx, func(b rueidis.Builder) rueidis.Completed { return x.eval(b, key, args...) })
	}
	return reply, s.explain(x.name, err)
}

// runReplicated is run, followed in the same round trip by WAIT for Config.MinReplicas. It
// returns errUnreplicated beside the reply if fewer replicas had it in time.
func (s *Store) runReplicated(
	ctx context.Context, x script, key string, args ...string,
) (rueidis.RedisMessage, error) {
	if s.cfg.MinReplicas == 0 {
		return s.run(ctx, x, key, args...)
	}
	if err := s.usable(ctx); err != nil {
		return rueidis.RedisMessage{}, err
	}
	// WAIT blocks its connection, so it needs one for itself; the pool does not mind the context.
	select {
	case s.dedicated <- struct{}{}:
		defer func() { <-s.dedicated }()
	case <-ctx.Done():
		return rueidis.RedisMessage{}, s.explain(x.name, ctx.Err())
	}
	conn, release := s.client.Dedicate()
	defer release()
	replies := conn.DoMulti(ctx, x.evalsha(conn.B(), key, args...), s.waitFor(ctx, conn))
	if isNoScript(replies[0].Error()) {
		replies = conn.DoMulti(ctx, x.eval(conn.B(), key, args...), s.waitFor(ctx, conn))
	}
	reply, err := replies[0].ToMessage()
	if err != nil {
		return reply, s.explain(x.name, err)
	}
	have, err := replies[1].AsInt64()
	if err != nil {
		return reply, fmt.Errorf("%w: %w", errUnreplicated, s.explain("wait for replicas", err))
	}
	if have < int64(s.cfg.MinReplicas) {
		return reply, fmt.Errorf("%w: %d of %d", errUnreplicated, have, s.cfg.MinReplicas)
	}
	return reply, nil
}

// waitFor returns the command that waits for the replicas, but not beyond the context's deadline.
func (s *Store) waitFor(ctx context.Context, c rueidis.DedicatedClient) rueidis.Completed {
	patience := s.cfg.MinReplicasTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline))
	}
	return c.B().Wait().Numreplicas(int64(s.cfg.MinReplicas)).Timeout(millis(patience)).Build()
}
