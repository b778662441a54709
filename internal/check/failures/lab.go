package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/redis/rueidis"

	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

// A lab has the servers: they outlive every consumer.
type lab struct {
	lease  time.Duration // of claims; brokers wait for half of it
	window time.Duration // the short one
	cells  atomic.Int64

	dsn         string // of PostgreSQL
	pool        *pgxpool.Pool
	redis       *servers.RedisServer
	redisClient rueidis.Client
	nats        *server.Server
	rabbit      func() (*rabbit, error) // waits until it is ready, which takes longest
}

func openLab(t testing.TB, lease time.Duration) *lab {
	t.Helper()
	l := &lab{lease: lease, window: 2 * lease, rabbit: startRabbit()}
	t.Cleanup(func() {
		if r, err := l.rabbit(); err == nil {
			r.Close()
		}
	})
	// Nothing is lost by this, since it is the consumers that are killed.
	l.dsn = servers.Postgres(t, "fsync = off", "max_connections = 400").DSN
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.migrate(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.pool.Close)
	l.redis = servers.Redis(t)
	var err error
	l.redisClient, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{l.redis.Addr}, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.redisClient.Close)
	l.nats = startNATS(t)
	return l
}

func (l *lab) migrate(ctx context.Context) (err error) {
	if l.pool, err = pgxpool.New(ctx, l.dsn); err != nil {
		return err
	}
	if err := oncepg.Migrate(ctx, oncepg.Config{DSN: l.dsn}); err != nil {
		return err
	}
	_, err = l.pool.Exec(ctx, "CREATE TABLE effects (cell text NOT NULL, message text NOT NULL)")
	return err
}

// committed returns how often a message has taken effect in the database.
func (l *lab) committed(ctx context.Context, cell, message string) (n int, err error) {
	err = l.pool.QueryRow(ctx, "SELECT count(*) FROM effects WHERE cell = $1 AND message = $2", cell, message).Scan(&n)
	return n, err
}

func (l *lab) cellName() string { return fmt.Sprintf("cell-%d", l.cells.Add(1)) }
