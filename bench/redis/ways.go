package main

import (
	"context"
	"errors"

	"github.com/oncehq/once"
	"github.com/oncehq/once/bench/contest"
	"github.com/oncehq/once/store/onceredis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// A way is one to carry out operations.
type way struct {
	name   string
	fresh  func(ctx context.Context, id string) error // claims and completes
	replay func(ctx context.Context, id string) error // asks for an operation that is done
}

func ways(addr string, store *onceredis.Store, cmds commands, s settings) ([]way, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:         []string{addr},
		ForceSingleClient:   true,
		DisableCache:        true,
		DisableRetry:        true,
		MaxFlushDelay:       s.delay,
		ReadBufferEachConn:  128 << 10, // as the store's
		WriteBufferEachConn: 128 << 10,
	})
	if err != nil {
		return nil, err
	}
	pool := goredis.NewClient(&goredis.Options{Addr: addr, PoolSize: s.callers, MaxRetries: -1})
	return []way{
		onceWay(store, contest.Outcome(s.outcome)),
		rawWay(client, cmds),
		poolWay(pool, cmds),
	}, nil
}

func onceWay(store *onceredis.Store, out once.Outcome) way {
	return way{
		name:   "onceredis",
		fresh:  func(ctx context.Context, id string) error { return contest.Fresh(ctx, store, id, out) },
		replay: func(ctx context.Context, id string) error { return contest.Replay(ctx, store, id) },
	}
}

func rawWay(client rueidis.Client, cmds commands) way {
	evalsha := func(ctx context.Context, cmd []string, id, owner string) error {
		args := cmds.fill(cmd, id, owner)
		n, err := client.Do(ctx, client.B().Evalsha().Sha1(args[0]).Numkeys(1).Key(args[2]).Arg(args[3:]...).Build()).ToInt64()
		return positive(n, err)
	}
	return way{
		name: "raw",
		fresh: func(ctx context.Context, id string) error {
			o := once.NewOwner()
			if err := evalsha(ctx, cmds.claim, id, string(o[:])); err != nil {
				return err
			}
			return evalsha(ctx, cmds.complete, id, string(o[:]))
		},
		replay: func(ctx context.Context, id string) error {
			key := cmds.fill(cmds.claim, id, "")[2]
			v, err := client.Do(ctx, client.B().Get().Key(key).Build()).AsBytes()
			if err == nil && len(v) < 1000 {
				err = errors.New("the value is too short")
			}
			return err
		},
	}
}

func poolWay(client *goredis.Client, cmds commands) way {
	evalsha := func(ctx context.Context, cmd []string, id, owner string) error {
		args := cmds.fill(cmd, id, owner)
		rest := make([]any, len(args)-3)
		for i, a := range args[3:] {
			rest[i] = a
		}
		n, err := client.EvalSha(ctx, args[0], args[2:3], rest...).Int64()
		return positive(n, err)
	}
	return way{
		name: "pool",
		fresh: func(ctx context.Context, id string) error {
			o := once.NewOwner()
			if err := evalsha(ctx, cmds.claim, id, string(o[:])); err != nil {
				return err
			}
			return evalsha(ctx, cmds.complete, id, string(o[:]))
		},
		replay: func(ctx context.Context, id string) error {
			v, err := client.Get(ctx, cmds.fill(cmds.claim, id, "")[2]).Bytes()
			if err == nil && len(v) < 1000 {
				err = errors.New("the value is too short")
			}
			return err
		},
	}
}

func positive(n int64, err error) error {
	if err == nil && n <= 0 {
		err = errors.New("the command was refused")
	}
	return err
}
