//go:build linux

package powercut_test

import (
	"context"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

func TestRedis(t *testing.T) {
	const rewrite = "auto-aof-rewrite-min-size 64kb" // the file is rewritten all the time
	runAll(t,
		setting{name: "appendfsync always", start: onRedis("appendfsync always", rewrite), durable: true},
		setting{name: "appendfsync everysec", start: onRedis("appendfsync everysec")},
		setting{name: "appendfsync no", start: onRedis("appendfsync no"), rare: true},
		setting{name: "appendonly no", start: onRedis("appendonly no"), rare: true},
		setting{name: "on a disk that lies", start: onRedis("appendfsync always"), disk: lies, rare: true},
	)
}

type redis struct{ *servers.RedisServer }

func onRedis(settings ...string) func(*testing.T) system {
	return func(t *testing.T) system { return redis{servers.Redis(t, settings...)} }
}

func (r redis) start(t *testing.T) { r.Restart(t) }
func (r redis) kill()              { r.Kill() }

func (r redis) open(t *testing.T) (once.Store, func() error) {
	t.Helper()
	s, err := onceredis.Open(t.Context(), onceredis.Config{DSN: "redis://" + r.Addr})
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Close
}

func (r redis) load(ctx context.Context, t *testing.T, round string, l *ledger) func() {
	return loadFromHere(ctx, t, r, round, l)
}
